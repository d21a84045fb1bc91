//! `cargo bench --bench authz`: Roster's authorization server beside what most would write on Express, Fastify and FastAPI, and
//! beside warp answering a constant.
//!
//! Every server verifies an RS256 token (issuer, audience, expiry; keys fetched once) and answers `GET /v1/me` with user, role
//! and permissions, out of the same private PostgreSQL with 10 000 users, over 10 sessions. Each is one process: Node.js and
//! Python run their program on one thread (what they leave to the other core is little), Roster on as many as there are
//! cores. So rates compare what one process gives; processor time per request compares the work itself. Load comes from this
//! process, over connections that stay open, with 2000 tokens in turn. Servers take turns within a round.
//!
//! The constant is served by warp's filters on Roster's own socket: what HTTP itself costs here. `SECONDS=1 ROUNDS=1` is
//! enough to see whether the bench runs.

mod support;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hyper::{StatusCode, header::HeaderValue};
use roster::http;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use warp::Filter;

use support::{
    contestants::{Contestant, Surroundings},
    database::Database,
    figures::{Report, median, ms, percentile, print_machine, show_ms, thousands},
    issuer::{AUDIENCE, Issuer},
    load::{self, Connection, Tokens},
    processes, rounds,
};

const USERS: u32 = 10_000;
const TOKENS: u32 = 2_000;
/// Enough to keep a server busy, few enough not to measure queues.
const CONNECTIONS: usize = 32;
/// Requests a second that every server but a busy machine's FastAPI keeps up with.
const RATE: u32 = 1_500;
const CHANGES: u32 = 300;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, address, answer] = arguments.as_slice()
        && mode == "constant"
    {
        return constant(address.parse()?, answer.clone()).await;
    }
    let database = Database::start().await?;
    print_machine(&database.sql).await?;
    database.people(USERS).await?;
    database
        .sql
        .batch_execute(
            "insert into user_permissions select id, 'read:own' || id % 100 from users where id % 10 = 0;
            update roster.changes set folded_at = now() where folded_at is null",
        )
        .await?;
    database.tidy().await?;
    let issuer = Issuer::start().await;
    let tokens = tokens(&database, &issuer).await?;
    let surroundings = Surroundings {
        database_url: database.cluster.url("postgres"),
        issuer: issuer.settings(),
    };

    let mut servers = surroundings.peers().await?;
    let reading = surroundings.roster("Roster, reading through", &[]).await?;
    let (_, answer) = Connection::open(reading.address)
        .await?
        .json(&tokens.all()[0])
        .await?;
    servers.push(
        surroundings
            .constant("warp, a constant", &answer.to_string())
            .await?,
    );
    servers.push(reading);
    for server in &servers {
        agree(&database, server, &tokens).await?;
    }
    side_by_side(&database, &servers, &tokens).await?;
    let mut report = Report::new("from commit to answer");
    for server in servers
        .iter()
        .filter(|server| server.name.starts_with("Roster"))
    {
        freshness(&database, server, &tokens, &mut report).await?;
    }
    report.print("9-fresh")?;
    drop(servers);
    database.stop().await;
    Ok(())
}

/// Any path answered with `answer` until this process is killed.
async fn constant(address: SocketAddr, answer: String) -> Result<()> {
    let me = warp::path!("v1" / "me")
        .and(warp::get())
        .map(move || warp::reply::with_header(answer.clone(), "content-type", "application/json"));
    let listener = tokio::net::TcpListener::bind(address).await?;
    // A rejection cannot come of the only request this is asked.
    let service = http::warp_service(me.recover(async |_| Ok("")));
    http::serve(
        listener,
        service,
        http::Limits::default(),
        CancellationToken::new(),
    )
    .await;
    Ok(())
}

/// Tokens as large as Auth0's, of as many users, with the claims that `config/auth0-action.js` adds.
async fn tokens(database: &Database, issuer: &Issuer) -> Result<Tokens> {
    let query = "select auth0_user_id, email, role from users order by md5(id::text) limit $1";
    let limit = i64::from(TOKENS);
    let rows = database.sql.query(query, &[&limit]).await?;
    ensure!(rows.len() == TOKENS as usize, "{} users", rows.len());
    Tokens::new(rows.iter().map(|row| {
        let (subject, email, role): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        issuer.token_with(
            subject,
            json!({
                "aud": [AUDIENCE, "https://tenant.example/userinfo"], "azp": "XkTzmYb8y1N2zQeWqDn7vR4pLs0cUaHj",
                "scope": "openid profile email offline_access", "https://roster.dev/email": email,
                "https://roster.dev/email_verified": true, "https://roster.dev/role": role,
                "https://roster.dev/permissions": ["read:songs", "write:songs"],
            }),
        )
    }))
}

/// A server says the same of users as PostgreSQL, and knows nobody whose token was touched.
async fn agree(database: &Database, server: &Contestant, tokens: &Tokens) -> Result<()> {
    let mut connection = Connection::open(server.address).await?;
    let is_constant = server.name.contains("constant");
    for token in tokens.all().iter().step_by(97) {
        let (status, answer) = connection.json(token).await?;
        ensure!(status == StatusCode::OK, "{}: {status}", server.name);
        let key = answer["user"]["key"].as_str().context("a key")?;
        let expected = expected(database, key).await?;
        ensure!(
            answer["user"] == expected,
            "{}: {answer}, not {expected}",
            server.name
        );
        let mut touched = token.to_str()?.to_owned();
        touched.truncate(touched.len() - 8);
        touched.push_str("AAAAAAAA");
        for bad in [touched.as_str(), "Bearer a.b.c"] {
            let (status, _) = connection.json(&HeaderValue::from_str(bad)?).await?;
            ensure!(
                is_constant || status == StatusCode::UNAUTHORIZED,
                "{}: {status} for a bad token",
                server.name
            );
        }
    }
    Ok(())
}

async fn expected(database: &Database, key: &str) -> Result<Value> {
    let query = "select jsonb_build_object('key', user_key, 'email', email, 'name', name, 'role', role, \
        'permissions', array(select distinct p from unnest(permissions) p order by p), 'auth0_user_id', auth0_user_id) \
        from roster.desired_users where user_key = $1";
    let row = database.sql.query_one(query, &[&key]).await?;
    Ok(row.get(0))
}

/// What was measured of one server, a value a round.
#[derive(Default)]
struct Measured {
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// Microseconds of processor time for a request, in the server and in PostgreSQL.
    own: Vec<f64>,
    postgres: Vec<f64>,
    /// At [`RATE`].
    paced_p99: Vec<f64>,
}

async fn side_by_side(database: &Database, servers: &[Contestant], tokens: &Tokens) -> Result<()> {
    let mut measured: Vec<Measured> = servers.iter().map(|_| Measured::default()).collect();
    for server in servers {
        // Code is compiled, sessions and statements are there before anything is timed.
        load::closed(server.address, tokens, CONNECTIONS, seconds()).await?;
    }
    for _ in 0..rounds() {
        for (server, measured) in servers.iter().zip(&mut measured) {
            once(database, server, tokens, measured).await?;
        }
    }
    let [rate, own] = [
        |m: &Measured| median(m.rate.clone()),
        |m: &Measured| median(m.own.clone()),
    ];
    let express = &measured[0];
    let mut report = Report::of([
        "10 000 users, 2 000 tokens",
        "requests/s",
        "p50",
        "p99",
        "CPU a request",
        "and in PostgreSQL",
        "× Express by rate",
        "by CPU",
        "memory",
        "p99 at 1 500/s",
    ]);
    for (server, measured) in servers.iter().zip(&measured) {
        report.cells([
            server.name.to_owned(),
            thousands(rate(measured)),
            show_ms(median(measured.p50.clone())),
            show_ms(median(measured.p99.clone())),
            format!("{:.0} µs", own(measured)),
            format!("{:.0} µs", median(measured.postgres.clone())),
            format!("{:.1}", rate(measured) / rate(express)),
            format!("{:.1}", own(express) / own(measured)),
            format!("{:.0} MB", server.process.usage().now_kb / 1024.0),
            show_ms(median(measured.paced_p99.clone())),
        ]);
    }
    report.print("8-authz")
}

async fn once(
    database: &Database,
    server: &Contestant,
    tokens: &Tokens,
    measured: &mut Measured,
) -> Result<()> {
    let used = || {
        let postgres = processes::postgres_usage(&database.cluster).cpu_seconds;
        (server.process.usage().cpu_seconds, postgres)
    };
    let before = used();
    let mut closed = load::closed(server.address, tokens, CONNECTIONS, seconds())
        .await
        .with_context(|| server.name)?;
    let after = used();
    let requests = closed.milliseconds.len() as f64;
    measured.rate.push(requests / closed.took.as_secs_f64());
    measured.p50.push(percentile(&mut closed.milliseconds, 0.5));
    measured
        .p99
        .push(percentile(&mut closed.milliseconds, 0.99));
    measured.own.push((after.0 - before.0) * 1e6 / requests);
    measured
        .postgres
        .push((after.1 - before.1) * 1e6 / requests);
    let mut paced = load::open(server.address, tokens, CONNECTIONS, RATE, seconds())
        .await
        .with_context(|| server.name)?;
    measured
        .paced_p99
        .push(percentile(&mut paced.milliseconds, 0.99));
    Ok(())
}

/// How long a change of role takes to be answered: from the return of its commit to the end of the first answer that has it,
/// asked for again and again; and of one request that names the commit, which no older answer may come to.
async fn freshness(
    database: &Database,
    server: &Contestant,
    tokens: &Tokens,
    report: &mut Report,
) -> Result<()> {
    let sql = database.session().await?;
    let update = sql
        .prepare(
            "update users set role = $2 where auth0_user_id = $1 returning roster.revision()::text",
        )
        .await?;
    let mut connection = Connection::open(server.address).await?;
    let (mut polled, mut asked) = (Vec::new(), Vec::new());
    for (number, token) in (0..CHANGES).zip(tokens.all().iter().cycle()) {
        let (_, answer) = connection.json(token).await?;
        let account = answer["user"]["auth0_user_id"]
            .as_str()
            .context("an account")?;
        let role = format!("{} {number}", server.name);
        let revision: String = sql.query_one(&update, &[&account, &role]).await?.get(0);
        let committed = Instant::now();
        if number % 2 == 0 {
            while connection.json(token).await?.1["user"]["role"] != role {
                ensure!(
                    committed.elapsed() < Duration::from_secs(10),
                    "a change is not seen"
                );
            }
            polled.push(ms(committed.elapsed()));
        } else {
            let headers = [
                ("authorization", token.clone()),
                ("x-roster-at-least", HeaderValue::from_str(&revision)?),
            ];
            let (status, body) = connection.me(headers).await?;
            let answer: Value = serde_json::from_slice(&body)?;
            ensure!(answer["user"]["role"] == role, "{status}: an older answer");
            asked.push(ms(committed.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for (what, times) in [
        ("asked again and again", &mut polled),
        ("asked with its revision", &mut asked),
    ] {
        report.row(
            &format!("{}, {what}", server.name),
            format!("p50 {}", show_ms(percentile(times, 0.5))),
            format!("p99 {}", show_ms(percentile(times, 0.99))),
        );
    }
    Ok(())
}

fn seconds() -> Duration {
    let seconds = std::env::var("SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}
