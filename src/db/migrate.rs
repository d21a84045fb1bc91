//! Installs and upgrades the schema `roster`, its triggers and, where missing, the application's tables.
//!
//! Numbered files of `sql/` run once (refinery keeps the book in `roster.migrations`); the files of `triggers/` are the
//! present tense and are applied again each time. Repeating is harmless. What belongs to others is asked for, not done:
//! roles this user may not create and indexes on a table that was there before are handed back as statements.
//!
//! It promises not to wait long for anybody's table (`lock_timeout`), and never to replace `roster.desired_users` or
//! `roster.write_back` once they exist.

use refinery::{Migration, Runner};
use tokio_postgres::Client;

mod users_table;

use self::users_table::UsersTable;

mod embedded {
    refinery::embed_migrations!("sql");
}

/// Applied at each migrate, in this order, in one transaction.
const PRESENT: &[(&str, &str)] = &[
    ("bell", include_str!("../../triggers/bell.sql")),
    ("touch", include_str!("../../triggers/touch.sql")),
    ("watch", include_str!("../../triggers/watch.sql")),
    ("guard", include_str!("../../triggers/guard.sql")),
    ("addresses", include_str!("../../triggers/addresses.sql")),
    ("leases", include_str!("../../triggers/leases.sql")),
    ("plan", include_str!("../../triggers/plan.sql")),
    ("stuck", include_str!("../../triggers/stuck.sql")),
    ("sweep", include_str!("../../triggers/sweep.sql")),
    ("fold", include_str!("../../triggers/fold.sql")),
    ("write_id", include_str!("../../triggers/write_id.sql")),
    ("accounts", include_str!("../../triggers/accounts.sql")),
    ("control", include_str!("../../triggers/control.sql")),
    ("clock", include_str!("../../triggers/clock.sql")),
    ("wait", include_str!("../../triggers/wait.sql")),
    ("audit", include_str!("../../triggers/audit.sql")),
    ("status", include_str!("../../triggers/status.sql")),
    ("history", include_str!("../../triggers/history.sql")),
    ("explain", include_str!("../../triggers/explain.sql")),
    ("import", include_str!("../../triggers/import.sql")),
];
const ACCESS: &str = include_str!("../../triggers/access.sql");
const DESIRED_USERS: &str = include_str!("../../triggers/desired_users.sql");
pub(super) const WRITE_BACK: &str = include_str!("../../triggers/write_back.sql");
const WRITE_BACK_NONE: &str = include_str!("../../triggers/write_back_none.sql");

/// Roles that hold rights; log-ins are granted them.
const ROLES: &[&str] = &[
    "roster_owner",
    "roster_reactor",
    "roster_server",
    "roster_reader",
    "roster_operator",
];

/// Nobody's transaction waits behind ours for longer than this.
const SESSION: &str = "set lock_timeout = '5s'; set statement_timeout = '5min'; set search_path = pg_catalog, pg_temp; \
     set client_min_messages = warning";

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The server refused a statement.
    #[error("applying {what} failed")]
    Sql {
        /// The file or step.
        what: String,
        /// The server's answer.
        source: tokio_postgres::Error,
    },
    /// A numbered file failed, or the ones applied are not those of this program.
    #[error("a numbered migration could not be applied")]
    Numbered(#[source] Box<refinery::Error>),
    /// The server is older than 14.
    #[error("PostgreSQL {version} is too old; Roster needs 14 or newer")]
    TooOld {
        /// What the server says of itself.
        version: String,
    },
}

/// What was done, and what is left for somebody else.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// Numbered migrations applied now.
    pub applied: Vec<String>,
    /// Tables whose changes are captured.
    pub watched: Vec<String>,
    /// No table whose rows are the users is watched: nothing is captured until `roster.watch` is called.
    pub users_unwatched: bool,
    /// Statements for someone who may create roles.
    pub for_a_superuser: Vec<String>,
    /// Indexes an adopted table needs; run by `--apply`.
    pub indexes: Vec<String>,
    /// The view to write where the users table does not have the expected columns. While it is missing nothing runs.
    pub view_to_write: Option<String>,
}

/// What [`SESSION`] set, as it was before.
const RESET: &str = "reset lock_timeout; reset statement_timeout; reset search_path; reset client_min_messages; \
     select pg_advisory_unlock(1380930374, 2)";

/// Brings the schema up to date. With `build_indexes` the indexes an adopted table lacks are built, CONCURRENTLY.
///
/// # Errors
/// [`MigrateError`]; each step is a transaction of its own, so what was applied before stays.
pub async fn migrate(client: &mut Client, build_indexes: bool) -> Result<Report, MigrateError> {
    let result = migrate_locked(client, build_indexes).await;
    let reset = run(client, "the session's settings", RESET).await;
    let report = result?;
    reset?;
    Ok(report)
}

async fn migrate_locked(client: &mut Client, build_indexes: bool) -> Result<Report, MigrateError> {
    let mut report = Report::default();
    run(client, "the session's settings", SESSION).await?;
    let version: i32 = scalar(
        client,
        "the version",
        "select current_setting('server_version_num')::int",
    )
    .await?;
    if version < 140_000 {
        let version = scalar(
            client,
            "the version",
            "select current_setting('server_version')",
        )
        .await?;
        return Err(MigrateError::TooOld { version });
    }
    // One migrate at a time; the lock ends with the session.
    run(client, "the lock", "select pg_advisory_lock(1380930374, 2)").await?;
    run(client, "the schema", "create schema if not exists roster").await?;
    make_roles(client, &mut report).await?;

    let numbered = runner()
        .run_async(client)
        .await
        .map_err(|e| MigrateError::Numbered(Box::new(e)))?;
    report.applied = numbered
        .applied_migrations()
        .iter()
        .map(file_name)
        .collect();

    let users = UsersTable::inspect(client).await?;
    let mapped: bool = scalar(
        client,
        "desired_users",
        "select to_regclass('roster.desired_users') is not null",
    )
    .await?;
    let first_time = !mapped;
    if first_time {
        match users.mapping() {
            Ok(view) => run(client, "desired_users.sql", &view).await?,
            Err(proposal) => {
                report.view_to_write = Some(proposal);
                return Ok(report);
            }
        }
    }
    let present: String = PRESENT
        .iter()
        .map(|(_, sql)| *sql)
        .collect::<Vec<_>>()
        .join("\n");
    let write_back: bool = scalar(
        client,
        "write_back",
        "select to_regprocedure('roster.write_back(text, text)') is not null",
    )
    .await?;
    let write_back = match (write_back, users.has("auth0_user_id")) {
        (true, _) => "",
        (false, true) => WRITE_BACK,
        (false, false) => WRITE_BACK_NONE,
    };
    run(
        client,
        "triggers/",
        &format!("begin; {present}\n{write_back}\n{ACCESS}\ncommit"),
    )
    .await?;
    watch(client, &users, first_time).await?;
    run(client, "access.sql", ACCESS).await?;
    run(
        client,
        "statistics",
        "comment on table roster.migrations is 'Which numbered files of sql/ were applied, kept by roster migrate.'; \
         analyze roster.settings",
    )
    .await?;

    report.indexes = users.missing_indexes(client).await?;
    if build_indexes {
        for statement in std::mem::take(&mut report.indexes) {
            run(client, &statement, &statement).await?;
        }
    }
    report.users_unwatched = scalar(
        client,
        "the watched tables",
        "select not exists (select from roster.watched where attached and of_users)",
    )
    .await?;
    report.watched = client
        .query(
            "select relation from roster.watched where attached order by relation",
            &[],
        )
        .await
        .map_err(sql("the watched tables"))?
        .iter()
        .map(|row| row.get(0))
        .collect();
    Ok(report)
}

/// Everything [`migrate`] would run on this database, as a script.
///
/// # Errors
/// [`MigrateError`] if the database cannot be asked what it has.
pub async fn script(client: &mut Client) -> Result<String, MigrateError> {
    let applied: Vec<String> = match client
        .query("select version::text from roster.migrations", &[])
        .await
    {
        Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
        Err(_) => Vec::new(),
    };
    let mut script = format!("{SESSION};\n\ncreate schema if not exists roster;\n");
    for role in ROLES {
        script.push_str(&format!(
            "-- if missing, and if you may: create role {role} nologin;\n"
        ));
    }
    for migration in runner().get_migrations() {
        if !applied.contains(&migration.version().to_string()) {
            script.push_str(&format!(
                "\n-- sql/{}.sql\n{}",
                file_name(migration),
                migration.sql().unwrap_or_default()
            ));
        }
    }
    // As refinery keeps its book, so that a later migrate knows what was run by hand.
    script.push_str(
        "\ncreate table if not exists roster.migrations (version int8 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255));\n",
    );
    for migration in runner().get_migrations() {
        script.push_str(&format!(
            "insert into roster.migrations values ({}, '{}', to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '{}') on conflict do nothing;\n",
            migration.version(),
            migration.name(),
            migration.checksum()
        ));
    }
    let mapped: bool = scalar(
        client,
        "desired_users",
        "select to_regclass('roster.desired_users') is not null",
    )
    .await?;
    let users = UsersTable::inspect(client).await?;
    if !mapped {
        match users.mapping() {
            Ok(view) => script.push_str(&format!("\n-- triggers/desired_users.sql\n{view}")),
            Err(proposal) => script.push_str(&format!(
                "\n-- write this view yourself, then migrate again\n{proposal}"
            )),
        }
    }
    for (name, sql) in PRESENT {
        script.push_str(&format!("\n-- triggers/{name}.sql\n{sql}"));
    }
    if users.has("auth0_user_id") || !users.exists {
        script.push_str(&format!(
            "\n-- triggers/write_back.sql, if there is none yet\n{WRITE_BACK}"
        ));
    }
    script.push_str(&format!("\n-- triggers/access.sql\n{ACCESS}"));
    if !mapped {
        for statement in DEFAULT_WATCH {
            script.push_str(&format!("\n{statement};"));
        }
    }
    script.push('\n');
    Ok(script)
}

/// Whether `roster.desired_users` and the planner are there, so that `run` has something to do.
///
/// # Errors
/// [`MigrateError`] if the database cannot be asked.
pub async fn is_installed(client: &Client) -> Result<bool, MigrateError> {
    scalar(
        client,
        "the schema",
        "select to_regclass('roster.plan') is not null",
    )
    .await
}

/// The numbered files that are not applied yet, by name.
///
/// # Errors
/// [`MigrateError`] if the database cannot be asked.
pub async fn pending(client: &Client) -> Result<Vec<String>, MigrateError> {
    let begun: bool = scalar(
        client,
        "the migrations",
        "select to_regclass('roster.migrations') is not null",
    )
    .await?;
    let applied: Vec<i64> = match begun {
        false => Vec::new(),
        true => client
            .query("select version from roster.migrations", &[])
            .await
            .map_err(sql("the migrations"))?
            .iter()
            .map(|row| row.get(0))
            .collect(),
    };
    let runner = runner();
    let all = runner.get_migrations().iter();
    Ok(all
        .filter(|one| !applied.contains(&one.version()))
        .map(file_name)
        .collect())
}

/// The roles to grant that are not there, as the statements that make them.
///
/// # Errors
/// [`MigrateError`] if the database cannot be asked.
pub async fn roles_missing(client: &Client) -> Result<Vec<String>, MigrateError> {
    let mut missing = Vec::new();
    for role in ROLES {
        if role_is_missing(client, role).await? {
            missing.push(format!("create role {role} nologin;"));
        }
    }
    Ok(missing)
}

fn runner() -> Runner {
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name("roster.migrations");
    runner
}

fn file_name(migration: &Migration) -> String {
    format!("V{}__{}", migration.version(), migration.name())
}

async fn make_roles(client: &Client, report: &mut Report) -> Result<(), MigrateError> {
    let may: bool = scalar(
        client,
        "the roles",
        "select rolsuper or rolcreaterole from pg_roles where rolname = current_user",
    )
    .await?;
    for role in ROLES {
        let missing: bool = client
            .query_one(
                "select not exists (select from pg_roles where rolname = $1)",
                &[role],
            )
            .await
            .map_err(sql("the roles"))?
            .get(0);
        if missing {
            let statement = format!("create role {role} nologin");
            // Another migrate, on another database of this cluster, may be making the same role.
            let made = may && client.batch_execute(&statement).await.is_ok();
            if !made && role_is_missing(client, role).await? {
                report.for_a_superuser.push(format!("{statement};"));
            }
        }
    }
    // The one who migrates acts for the owner; a user who made the role may grant it to himself.
    let member: bool = scalar(
        client,
        "the owner role",
        "select coalesce((select pg_has_role(current_user, oid, 'member') from pg_roles where rolname = 'roster_owner'), true)",
    )
    .await?;
    if !member {
        let me: String = scalar(client, "the user", "select quote_ident(current_user)").await?;
        let grant = format!("grant roster_owner to {me}");
        if client.batch_execute(&grant).await.is_err() {
            report.for_a_superuser.push(format!("{grant};"));
        }
    }
    Ok(())
}

async fn role_is_missing(client: &Client, role: &str) -> Result<bool, MigrateError> {
    Ok(client
        .query_one(
            "select not exists (select from pg_roles where rolname = $1)",
            &[&role],
        )
        .await
        .map_err(sql("the roles"))?
        .get(0))
}

/// What a first migrate watches where `desired_users` is the default mapping.
const DEFAULT_WATCH: &[&str] = &[
    "select roster.watch('public.users', 'id', array['id', 'email', 'name', 'role', 'blocked', 'auth0_user_id'])",
    "select roster.watch('public.user_permissions', 'user_id', array['user_id', 'permission'])",
    "select roster.watch('public.role_permissions', null, array['role', 'permission'])",
];

async fn watch(client: &Client, users: &UsersTable, first_time: bool) -> Result<(), MigrateError> {
    if !first_time {
        // The capture functions are written anew by this version's roster.watch().
        return run(
            client,
            "the change triggers",
            "select roster.watch(w.relation::regclass, w.key_column, w.columns, w.for_each) from roster.watched w \
             where w.attached and to_regclass(w.relation) is not null",
        )
        .await;
    }
    for statement in DEFAULT_WATCH {
        let statement = if users.has("blocked") {
            (*statement).to_owned()
        } else {
            statement.replace("'blocked', ", "")
        };
        run(client, "the change triggers", &statement).await?;
    }
    Ok(())
}

async fn run(client: &Client, what: &str, statement: &str) -> Result<(), MigrateError> {
    client.batch_execute(statement).await.map_err(sql(what))
}

async fn scalar<T>(client: &Client, what: &str, query: &str) -> Result<T, MigrateError>
where
    T: for<'a> tokio_postgres::types::FromSql<'a>,
{
    Ok(client
        .query_one(query, &[])
        .await
        .map_err(sql(what))?
        .get(0))
}

fn sql(what: &str) -> impl FnOnce(tokio_postgres::Error) -> MigrateError {
    let what = what.to_owned();
    move |source| MigrateError::Sql { what, source }
}
