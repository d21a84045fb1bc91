//! `cargo bench --bench console`: how long the server takes for each page of the console at 100 000 users (`USERS=5000` for another number),
//! and what a page weighs. Of the users some wait, some fail and some differ from Auth0; one transaction has changed all of them, and 30 000
//! one of them each.
//!
//! Time is from a request to the whole answer, on this machine, one request after another; nobody else asks.

mod support;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use reqwest::{Client, header};

use support::{
    database::Database,
    figures::{Report, ms, percentile, print_machine, show_ms, thousands},
    processes::Process,
    rounds,
};

const USERS: u32 = 100_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// Looks at a page in one round.
const LOOKS: usize = 10;
/// The way in, and its SHA-256.
const GLASS: (&str, &str) = (
    "a-long-random-token",
    "b780ec04f0ac941421b556e74f31ff207f799c4ad119ea0178a81054b373b34b",
);
/// Something on every page that shows something.
/// More removals than the guard lets through are among it.
const PAST: &str = "insert into roles values ('Admin', 'May do everything');
    insert into role_permissions select format('Role %s', r), format('do:%s', p) from generate_series(1, 20) r, generate_series(1, 30) p;
    update users set role = 'Editor';
    update roster.mirror set due = false, due_since = null;
    update roster.changes set folded_at = now() where folded_at is null;
    update roster.mirror set error_code = 'server_error', error_class = 'transient', error_at = now(), due = true, due_since = now()
        where user_key::integer % 1000 = 0;
    delete from users where id % 18 = 7;
    select roster.fold();
    insert into roster.stuck (user_key, auth0_user_id, email, action, state, code, reason, since, removed_by)
        select p.user_key, p.auth0_user_id, p.email, p.action, p.state, p.code, p.reason, m.removed_at, m.removed_by
        from roster.plan p join roster.mirror m on m.user_key = p.user_key where p.state = 'held';
    update roster.mirror set due = false where user_key in (select user_key from roster.stuck);
    insert into roster.audits (state, finished_at) values ('finished', now());
    insert into roster.drift_found (audit, kind, user_key, auth0_user_id, changes)
        select max(a.id), 'changed', d.user_key, d.auth0_user_id, '{\"name\": {\"from\": \"Somebody\", \"to\": \"Somebody else\"}}'
        from roster.audits a, roster.desired_users d where d.user_key::integer % 500 = 2 group by d.user_key, d.auth0_user_id";

const MONTH: &str = "do $$ begin
    set local synchronous_commit = off;
    for n in 1..30000 loop
        update users set name = 'Person ' || n where id = n % 20000 + 10;
        commit;
        set local synchronous_commit = off;
    end loop;
end $$";

#[tokio::main]
async fn main() -> Result<()> {
    let users = std::env::var("USERS").ok().and_then(|n| n.parse().ok());
    let users: u32 = users.unwrap_or(USERS);
    let database = Database::start().await?;
    print_machine(&database.sql).await?;
    database.people(users).await?;
    database.sql.batch_execute(PAST).await?;
    // A month's work, a transaction each.
    database.sql.batch_execute(MONTH).await?;
    let left = "select sum(folded) > 0 from roster.fold(100000)";
    while database.sql.query_one(left, &[]).await?.get(0) {}
    database.tidy().await?;
    let console = Console::start(&database).await?;
    let all = "select txid::text from roster.transactions order by user_keys desc limit 1";
    let all: String = database.sql.query_one(all, &[]).await?.get(0);
    let one = "select max(txid)::text from roster.transactions";
    let one: String = database.sql.query_one(one, &[]).await?.get(0);
    let finding = "select min(id)::text from roster.drift";
    let finding: String = database.sql.query_one(finding, &[]).await?.get(0);

    let of = format!("console, {} users", thousands(users.into()));
    let mut report = Report::<4>::of([&of, "p50", "p99", "page weight"]);
    for (name, path) in [
        ("Overview", "/console".to_owned()),
        ("Users", "/console/users".to_owned()),
        (
            "Users whose address begins so",
            "/console/users?q=person77".to_owned(),
        ),
        ("Users that wait", "/console/users?state=pending".to_owned()),
        ("Users that fail", "/console/users?state=failing".to_owned()),
        ("Users that differ", "/console/users?state=drift".to_owned()),
        (
            "Users that are held",
            "/console/users?state=held".to_owned(),
        ),
        (
            "Users that are disputed",
            "/console/users?state=disputed".to_owned(),
        ),
        (
            "Users, far down the list",
            "/console/users?after=person55@example.test&after_key=55".to_owned(),
        ),
        ("a user", "/console/user/77".to_owned()),
        (
            "a user whose removal is held",
            "/console/user/25".to_owned(),
        ),
        ("New user", "/console/new-user".to_owned()),
        ("Roles and permissions", "/console/roles".to_owned()),
        ("Changes", "/console/changes".to_owned()),
        (
            "a transaction of one user",
            format!("/console/change/{one}"),
        ),
        (
            "a transaction of all users",
            format!("/console/change/{all}"),
        ),
        ("Problems", "/console/problems".to_owned()),
        ("Drift", "/console/drift".to_owned()),
        ("a finding", format!("/console/drift/{finding}")),
        ("Held", "/console/held".to_owned()),
        ("Import", "/console/import".to_owned()),
    ] {
        let (times, bytes) = console.time(&path, &[]).await?;
        report.cells(row(name, times, bytes));
    }
    for (name, path, form) in [
        (
            "a block of everybody, before it is confirmed",
            "/console/users/bulk",
            [("do", "block"), ("all", "yes"), ("state", "all")],
        ),
        (
            "a permission for everybody's role, before it is saved",
            "/console/roles",
            [
                ("step", "look"),
                ("role", "Editor"),
                ("permission", "do:more"),
            ],
        ),
    ] {
        let (times, bytes) = console.time(path, &form).await?;
        report.cells(row(name, times, bytes));
    }
    let style = console.time("/console/style.css", &[]).await?.1;
    let script = console.time("/console/script.js", &[]).await?.1;
    report.cells([
        "style sheet and script, kept by the browser".to_owned(),
        String::new(),
        String::new(),
        format!("{:.1} KB", (style + script) as f64 / 1000.0),
    ]);
    report.print("12-console")?;
    drop(console);
    database.stop().await;
    Ok(())
}

fn row(name: &str, mut times: Vec<f64>, bytes: usize) -> [String; 4] {
    [
        name.to_owned(),
        show_ms(percentile(&mut times, 0.5)),
        show_ms(percentile(&mut times, 0.99)),
        format!("{:.1} KB", bytes as f64 / 1000.0),
    ]
}

/// The server, and who is in its console by the break-glass token.
struct Console {
    _process: Process,
    url: String,
    http: Client,
    cookie: String,
}

impl Console {
    async fn start(database: &Database) -> Result<Self> {
        let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Process::spawn(
            Command::new(env!("CARGO_BIN_EXE_roster"))
                .args(["run", "--only", "server"])
                .env("DATABASE_URL", database.url())
                .env("ROSTER__AUTHZ__ISSUER", "https://tenant.example/")
                .env("ROSTER__AUTHZ__AUDIENCE", "https://api.example.test")
                .env("ROSTER__CONSOLE__BREAK_GLASS_SHA256", GLASS.1)
                .env("ROSTER__HTTP__LISTEN", free.to_string())
                .env("RUST_LOG", "off")
                .stdout(Stdio::null()),
        )?;
        let url = format!("http://{free}");
        let follow = reqwest::redirect::Policy::none();
        let http = Client::builder().no_proxy().redirect(follow).build()?;
        let begin = Instant::now();
        while http.get(format!("{url}/livez")).send().await.is_err() {
            ensure!(begin.elapsed() < PATIENCE, "the server does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let enter = http
            .post(format!("{url}/console/break-glass"))
            .header(header::ORIGIN, &url)
            .form(&[("token", GLASS.0)]);
        let entered = enter.send().await?;
        let cookies = entered.headers().get_all(header::SET_COOKIE).iter();
        let pairs: Vec<&str> = cookies
            .filter_map(|set| set.to_str().ok()?.split(';').next())
            .collect();
        Ok(Self {
            _process: process,
            cookie: pairs.join("; "),
            url,
            http,
        })
    }

    /// Milliseconds of each look at a page, or of each sending of a form, and the bytes of the answer.
    async fn time(&self, path: &str, form: &[(&str, &str)]) -> Result<(Vec<f64>, usize)> {
        let mut form = form.to_vec();
        let csrf = match form.is_empty() {
            true => String::new(),
            false => self.csrf().await?,
        };
        form.push(("csrf", &csrf));
        let url = format!("{}{path}", self.url);
        let mut times = Vec::new();
        let mut bytes = 0;
        // The first ones prepare statements and read the page's data from disk.
        for look in 0..LOOKS * rounds() + 3 {
            let begin = Instant::now();
            let asked = match csrf.is_empty() {
                true => self.http.get(&url),
                false => self.http.post(&url).form(&form),
            };
            let asked = asked.header(header::ORIGIN, &self.url);
            let answer = asked.header(header::COOKIE, &self.cookie).send().await?;
            ensure!(answer.status() == 200, "{path}: {}", answer.status());
            bytes = answer.bytes().await?.len();
            if look >= 3 {
                times.push(ms(begin.elapsed()));
            }
        }
        Ok((times, bytes))
    }

    /// What a form of this session carries.
    async fn csrf(&self) -> Result<String> {
        let asked = self.http.get(format!("{}/console/new-user", self.url));
        let page = asked.header(header::COOKIE, &self.cookie).send().await?;
        let page = page.text().await?;
        let value = page.split("name=\"csrf\" value=\"").nth(1);
        let value = value.and_then(|rest| rest.split('"').next());
        Ok(value.context("a page with a form")?.to_owned())
    }
}
