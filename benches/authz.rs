//! `cargo bench --bench authz`: Roster's authorization server beside what most would write on Express, Fastify and FastAPI, and
//! beside warp answering a constant.
//!
//! Every server verifies an RS256 token (issuer, audience, expiry; keys fetched once) and answers `GET /v1/me` with user, role
//! and permissions, out of the same private PostgreSQL with 10 000 users, over 10 sessions. Each is one process: Node.js and
//! Python run their program on one thread (what they leave to others is little), Roster on as many as there are cores. So rates
//! compare what one process gives; processor time for a request compares the work itself. Load comes from this process, over
//! connections that stay open, with 2000 tokens in turn. Servers take turns within a round.
//!
//! Roster is measured asking PostgreSQL for each answer; answering from memory, with a token that it has not seen before in
//! each request (a new process each round, each token sent once); and answering from memory with tokens that it knows. Only the
//! second of these verifies a signature for each answer, as the peers do. The constant is served by warp's filters on Roster's own
//! socket: what HTTP itself costs here. `SECONDS=1 ROUNDS=1` is enough to see whether the bench runs.

mod support;

use std::{net::SocketAddr, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use hyper::{StatusCode, header::HeaderValue};
use roster::http;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use warp::Filter;

use support::{
    contestants::{Contestant, Surroundings},
    database::Database,
    figures::{Report, median, percentile, print_machine, show_ms, thousands},
    issuer::{AUDIENCE, Issuer},
    load::{self, Connection, Tokens},
    processes, rounds,
};

const USERS: u32 = 10_000;
const TOKENS: usize = 2_000;
/// Tokens for a server that is to verify each: more than one answers in a round of five seconds on two cores takes longer to make
/// than to measure, so such a round is shorter.
const NEW_TOKENS: usize = 30_000;
/// Enough to keep a server busy, few enough not to measure queues.
const CONNECTIONS: usize = 32;
/// Requests a second.
const RATE: u32 = 1_500;
const READING: &str = "Roster, reading through";
const COLD: &str = "Roster, from memory, new tokens";
const WARM: &str = "Roster, from memory, known tokens";

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
    let surroundings = Surroundings {
        database_url: database.cluster.url("postgres"),
        issuer: issuer.settings(),
    };
    let tokens = mint(&database, &issuer, TOKENS).await?;
    let new = New {
        closed: mint(&database, &issuer, NEW_TOKENS).await?,
        paced: mint(
            &database,
            &issuer,
            RATE as usize * seconds().as_secs() as usize,
        )
        .await?,
    };

    let mut servers = surroundings.peers().await?;
    let reading = surroundings.reading_through(READING).await?;
    let mut connection = Connection::open(reading.address).await?;
    let (_, answer) = connection.me(&tokens.all()[0]).await?;
    let answer = answer.to_string();
    servers.push(surroundings.constant("warp, a constant", &answer).await?);
    servers.push(reading);
    servers.push(surroundings.in_memory(WARM, USERS).await?);
    for server in &servers {
        agree(&database, server, &tokens).await?;
        // Code is compiled, sessions and statements are there before anything is timed.
        load::closed(server.address, &tokens, CONNECTIONS, seconds()).await?;
    }

    let mut measured: Vec<Measured> = servers.iter().map(|s| Measured::of(s.name)).collect();
    let mut cold = Measured::of(COLD);
    for _ in 0..rounds() {
        for (server, measured) in servers.iter().zip(&mut measured) {
            measured.add(&database, server, &tokens, &tokens).await?;
        }
        let server = surroundings.in_memory(COLD, USERS).await?;
        load::closed(server.address, &one(&tokens)?, CONNECTIONS, seconds() / 4).await?;
        cold.add(&database, &server, &new.closed.once(), &new.paced.once())
            .await?;
    }
    measured.insert(measured.len() - 1, cold);
    print(&measured)?;
    drop(servers);
    database.stop().await;
    Ok(())
}

/// Tokens that no server has seen, for each of the two loads.
struct New {
    closed: Tokens,
    paced: Tokens,
}

/// Only the first of them.
fn one(tokens: &Tokens) -> Result<Tokens> {
    let first = tokens.all()[0].to_str()?;
    Tokens::new(first.strip_prefix("Bearer ").map(str::to_owned))
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

/// Tokens as large as Auth0's, of as many users as there are for them, with the claims that `config/auth0-action.js` adds.
async fn mint(database: &Database, issuer: &Issuer, number: usize) -> Result<Tokens> {
    let query = "select auth0_user_id, email, role from users order by md5(id::text) limit $1";
    let rows = database.sql.query(query, &[&(number as i64)]).await?;
    let users: Vec<[String; 3]> = rows
        .iter()
        .map(|row| [row.get(0), row.get(1), row.get(2)])
        .collect();
    let mint = |turn: usize| {
        let [subject, email, role] = &users[turn % users.len()];
        let claims = json!({
            "aud": [AUDIENCE, "https://tenant.example/userinfo"], "azp": "XkTzmYb8y1N2zQeWqDn7vR4pLs0cUaHj",
            "jti": format!("{number}-{turn}"), "scope": "openid profile email offline_access",
            "https://roster.dev/email": email, "https://roster.dev/email_verified": true,
            "https://roster.dev/role": role, "https://roster.dev/permissions": ["read:songs", "write:songs"],
        });
        issuer.token_with(subject, claims)
    };
    let threads = thread::available_parallelism()?.get();
    let minted: Vec<Vec<String>> = thread::scope(|scope| {
        let share =
            |first| scope.spawn(move || (first..number).step_by(threads).map(mint).collect());
        let running: Vec<_> = (0..threads).map(share).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("tokens"))
            .collect()
    });
    Tokens::new(minted.into_iter().flatten())
}

/// A server says the same of users as PostgreSQL, and knows nobody whose token was touched.
async fn agree(database: &Database, server: &Contestant, tokens: &Tokens) -> Result<()> {
    let mut connection = Connection::open(server.address).await?;
    if server.name.contains("constant") {
        ensure!(connection.me(&tokens.all()[0]).await?.0 == StatusCode::OK);
        return Ok(());
    }
    for token in tokens.all().iter().step_by(97) {
        let (status, answer) = connection.me(token).await?;
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
            let (status, _) = connection.me(&HeaderValue::from_str(bad)?).await?;
            ensure!(
                status == StatusCode::UNAUTHORIZED,
                "{}: {status} for a bad token",
                server.name
            );
        }
    }
    Ok(())
}

async fn expected(database: &Database, key: &str) -> Result<Value> {
    let query = "select jsonb_build_object('key', user_key, 'email', email, 'name', name, 'role', role, \
        'permissions', permissions, 'auth0_user_id', auth0_user_id) \
        from roster.desired_users where user_key = $1";
    let row = database.sql.query_one(query, &[&key]).await?;
    Ok(row.get(0))
}

/// What was measured of one server, a value a round.
#[derive(Default)]
struct Measured {
    name: &'static str,
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// Microseconds of processor time for a request, in the server and in PostgreSQL.
    own: Vec<f64>,
    postgres: Vec<f64>,
    /// Megabytes.
    memory: Vec<f64>,
    /// At [`RATE`].
    paced_p99: Vec<f64>,
}

impl Measured {
    fn of(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// One round: as fast as it goes, then at [`RATE`].
    async fn add(
        &mut self,
        database: &Database,
        server: &Contestant,
        tokens: &Tokens,
        paced: &Tokens,
    ) -> Result<()> {
        let used = || {
            let postgres = processes::postgres_usage(&database.cluster).cpu_seconds;
            (server.process.usage().cpu_seconds, postgres)
        };
        let before = used();
        let mut closed = load::closed(server.address, tokens, CONNECTIONS, seconds())
            .await
            .context(server.name)?;
        let after = used();
        let requests = closed.milliseconds.len() as f64;
        self.rate.push(requests / closed.took.as_secs_f64());
        self.p50.push(percentile(&mut closed.milliseconds, 0.5));
        self.p99.push(percentile(&mut closed.milliseconds, 0.99));
        self.own.push((after.0 - before.0) * 1e6 / requests);
        self.postgres.push((after.1 - before.1) * 1e6 / requests);
        self.memory.push(server.process.usage().now_kb / 1024.0);
        let mut paced = load::open(server.address, paced, CONNECTIONS, RATE, seconds())
            .await
            .context(server.name)?;
        self.paced_p99
            .push(percentile(&mut paced.milliseconds, 0.99));
        Ok(())
    }
}

/// Medians; the first is what the others are compared with.
fn print(measured: &[Measured]) -> Result<()> {
    let middle = |values: &Vec<f64>| median(values.clone());
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
    for server in measured {
        report.cells([
            server.name.to_owned(),
            thousands(middle(&server.rate)),
            show_ms(middle(&server.p50)),
            show_ms(middle(&server.p99)),
            format!("{:.0} µs", middle(&server.own)),
            format!("{:.0} µs", middle(&server.postgres)),
            format!("{:.1}", middle(&server.rate) / middle(&express.rate)),
            format!("{:.1}", middle(&express.own) / middle(&server.own)),
            format!("{:.0} MB", middle(&server.memory)),
            show_ms(middle(&server.paced_p99)),
        ]);
    }
    report.print("8-authz")
}

fn seconds() -> Duration {
    let seconds = std::env::var("SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}
