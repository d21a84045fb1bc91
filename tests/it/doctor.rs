//! `roster doctor`: each thing that can be wrong is found, named, and its remedy mends it.

use std::collections::BTreeMap;

use roster::{
    config::Config,
    doctor::{self, Finding, Level},
    emulator,
};
use secrecy::ExposeSecret;

use crate::support::{
    process::{output, roster, with_tenant},
    world::{Tenant, World},
};

/// An installation with a reactor in it.
struct Installation {
    world: World,
    variables: BTreeMap<String, String>,
}

impl Installation {
    async fn new() -> Self {
        let world = World::new().await;
        let options = emulator::Options::default();
        let variables = [
            ("DATABASE_URL", world.database.url()),
            ("ROSTER__AUTH0__BASE_URL", world.tenant.url.clone()),
            ("AUTH0_MGMT_CLIENT_ID", options.m2m.client_id),
            (
                "AUTH0_MGMT_CLIENT_SECRET",
                options.m2m.client_secret.expose_secret().to_owned(),
            ),
            ("ROSTER__AUTHZ__AUDIENCE", options.audiences.join(",")),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        let installation = Self {
            world,
            variables: variables.into(),
        };
        installation
            .sees("update roster.reactors set last_sweep_at = now()")
            .await;
        installation
    }

    async fn sees(&self, statements: &str) {
        self.world.run(statements).await;
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    async fn findings(&self) -> Vec<Finding> {
        let config = Config::load_from(None, &self.variables).expect("a configuration");
        doctor::examine(&config).await
    }

    async fn finding(&self, check: &str) -> Finding {
        let findings = self.findings().await;
        let found = findings.iter().find(|finding| finding.check == check);
        found
            .unwrap_or_else(|| panic!("{check} is none of {findings:?}"))
            .clone()
    }

    /// That check found this, and says what to do.
    async fn is(&self, check: &str, level: Level, found: &str) -> String {
        let finding = self.finding(check).await;
        assert_eq!(finding.level, level, "{finding:?}");
        assert!(finding.found.contains(found), "{finding:?}");
        finding.remedy.unwrap_or_default()
    }
}

#[tokio::test]
async fn nothing_is_wrong_where_nothing_is() {
    let installation = Installation::new().await;
    let findings = installation.findings().await;
    let bad: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.level != Level::Fine)
        .collect();
    assert!(
        bad.iter()
            .all(|finding| finding.check == "scopes" || finding.check == "connection"),
        "{bad:?}"
    );
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
    assert_eq!(
        checks,
        [
            "database",
            "clock",
            "listen",
            "schema",
            "rights",
            "roles",
            "indexes",
            "capture",
            "addresses",
            "profiles",
            "reactor",
            "audit",
            "token",
            "scopes",
            "connection",
            "rate limit",
            "issuer"
        ]
    );
    let requests = installation.world.tenant.list("requests").await;
    assert!(
        requests
            .iter()
            .all(|request| request["method"] == "GET" || request["path"] == "/oauth/token"),
        "it writes nothing: {requests:?}"
    );
}

#[tokio::test]
async fn what_is_wrong_in_the_database_is_mended_by_the_statement_that_doctor_says() {
    let table = [
        (
            "alter table users disable trigger roster_update",
            "capture",
            Level::Fault,
        ),
        (
            "drop trigger roster_insert on users",
            "capture",
            Level::Fault,
        ),
        (
            "alter table users drop constraint users_email_key; drop index users_email_without_case",
            "indexes",
            Level::Warning,
        ),
        ("drop index users_id_as_text", "indexes", Level::Warning),
    ];
    let installation = Installation::new().await;
    installation
        .sees("alter table users owner to current_user")
        .await;
    for (harm, check, level) in table {
        installation.sees(harm).await;
        let remedy = installation.is(check, level, "users").await;
        match remedy.strip_prefix("roster migrate --apply") {
            None => installation.sees(&remedy).await,
            Some(_) => {
                let mut client = installation.world.database.client().await;
                let migrated = roster::db::migrate::migrate(&mut client, true).await;
                migrated.expect("a migration");
            }
        }
        installation.is(check, Level::Fine, "").await;
    }
}

#[tokio::test]
async fn what_users_are_made_of_is_looked_at() {
    let mut installation = Installation::new().await;
    installation
        .sees(
            "drop index users_email_without_case; \
             insert into users (email, name) values ('ada@example.test', 'Ada'), ('Ada@Example.test', 'Ada'); \
             insert into user_permissions select u.id, 'permission:' || i from users u, generate_series(1, 600) i where u.email = 'ada@example.test'",
        )
        .await;
    for (check, found) in [("addresses", "1 address"), ("profiles", "1 user")] {
        let remedy = installation.is(check, Level::Warning, found).await;
        assert_eq!(
            installation
                .world
                .sql
                .query(&remedy, &[])
                .await
                .map(|rows| !rows.is_empty())
                .ok(),
            Some(true),
            "{remedy}"
        );
    }
    installation
        .sees("update roster.reactors set last_sweep_at = now() - interval '1 hour'")
        .await;
    installation.is("reactor", Level::Fault, "60 min ago").await;
    installation
        .sees("update roster.reactors set stopped_at = now()")
        .await;
    installation
        .is("reactor", Level::Warning, "none is running")
        .await;
    installation.set("ROSTER__AUDIT__EVERY", "1h");
    installation
        .is("audit", Level::Warning, "no audit was made yet")
        .await;
    installation
        .sees("insert into roster.audits (state, finished_at) values ('finished', now() - interval '2 hours')")
        .await;
    installation.is("audit", Level::Fine, "2 h ago").await;
}

#[tokio::test]
async fn a_log_in_without_rights_is_told_the_grant_that_gives_them() {
    let mut installation = Installation::new().await;
    let name = format!("doctor_of_{}", installation.world.database.name());
    installation
        .sees(&format!("create role {name} login"))
        .await;
    let url = installation.world.database.url();
    let (_, rest) = url.split_once('@').expect("user@host");
    installation.set("DATABASE_URL", &format!("postgres://{name}@{rest}"));
    // Whoever may not even look is told of the first thing that it may not.
    let findings = installation.findings().await;
    assert!(
        findings.iter().any(|finding| finding.level > Level::Fine),
        "{findings:?}"
    );
    installation
        .sees(&format!("grant roster_reader to {name}"))
        .await;
    let remedy = installation
        .is("rights", Level::Fault, "write roster.")
        .await;
    installation.sees(&remedy).await;
    installation.is("rights", Level::Fine, "").await;
    installation.sees(&format!("drop role {name}")).await;
}

#[tokio::test]
async fn a_database_without_roster_is_told_to_be_migrated() {
    let mut installation = Installation::new().await;
    let empty = crate::support::Database::empty().await;
    installation.set("DATABASE_URL", &empty.url());
    let remedy = installation
        .is("schema", Level::Fault, "V1__application_tables")
        .await;
    assert_eq!(remedy, "roster migrate");
    installation.set(
        "ROSTER__DATABASE__LISTEN_URL",
        &installation.world.database.url(),
    );
    installation
        .is("listen", Level::Fault, "another database")
        .await;
}

#[tokio::test]
async fn the_tenant_and_the_issuer_are_asked_and_each_answer_has_its_remedy() {
    let mut installation = Installation::new().await;
    let mut options = emulator::Options::default();
    options.m2m.scopes = [
        "read:users",
        "create:users",
        "update:users",
        "read:connections",
    ]
    .map(Into::into)
    .into();
    let tenant = Tenant::start(options).await;
    installation.set("ROSTER__AUTH0__BASE_URL", &tenant.url);
    installation
        .is("scopes", Level::Fault, "missing: delete:users")
        .await;
    installation
        .is(
            "connection",
            Level::Fine,
            "Username-Password-Authentication",
        )
        .await;
    for (connection, found) in [
        ("google-oauth2", "no database connection but google-oauth2"),
        ("Nowhere", "no connection Nowhere"),
    ] {
        installation.set("ROSTER__AUTH0__CONNECTION", connection);
        let remedy = installation.is("connection", Level::Fault, found).await;
        assert!(remedy.contains("auth0.connection"), "{remedy}");
    }
    installation.set("AUTH0_MGMT_CLIENT_SECRET", "wrong");
    let remedy = installation.is("token", Level::Fault, "").await;
    assert!(remedy.contains("secret"), "{remedy}");
    installation.set("ROSTER__AUTH0__BASE_URL", "http://127.0.0.1:1");
    installation.is("token", Level::Unreachable, "").await;
    installation.set("ROSTER__AUTHZ__JWKS_URL", "http://127.0.0.1:1/keys");
    installation.is("issuer", Level::Unreachable, "").await;
    installation.set(
        "ROSTER__AUTHZ__JWKS_URL",
        &format!("{}/.well-known/jwks.json", tenant.url),
    );
    installation.set("ROSTER__AUTHZ__ISSUER", &tenant.url);
    let remedy = installation
        .is("issuer", Level::Fault, "calls itself")
        .await;
    assert_eq!(remedy, format!("set authz.issuer to {}/", tenant.url));
}

#[tokio::test]
async fn its_exit_code_says_how_bad_it_is_and_nothing_secret_is_printed() {
    let installation = Installation::new().await;
    let world = &installation.world;
    for (harm, code) in [
        ("select 1", 0),
        ("alter table users disable trigger roster_update", 1),
    ] {
        installation.sees(harm).await;
        let (ended, told, _) = output(with_tenant(roster(&world.database, "doctor"), world)).await;
        assert_eq!(ended, code, "{told}");
        let secret = emulator::Options::default().m2m.client_secret;
        assert!(!told.contains(secret.expose_secret()), "{told}");
    }
    let mut command = roster(&world.database, "doctor --json");
    command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere");
    let (ended, told, _) = output(command).await;
    assert_eq!(ended, 5);
    let findings: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(findings[0]["level"], "unreachable");
}
