//! What doctor asks the database.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio_postgres::Client;

use super::DbError;

/// Which server this is.
#[derive(Debug, Clone)]
pub struct Server {
    pub version: String,
    /// As `server_version_num`: 150004.
    pub number: i32,
    pub user: String,
    /// Tells this database from every other one, also from a copy of it on another server.
    pub database: String,
    pub is_standby: bool,
    pub now: SystemTime,
}

/// Asks the server who it is.
///
/// # Errors
/// [`DbError`].
pub async fn server(client: &Client) -> Result<Server, DbError> {
    let query = "select current_setting('server_version') as version, current_setting('server_version_num')::int as number, \
         current_user::text as who, pg_is_in_recovery() as standby, clock_timestamp() as now, \
         (select system_identifier::text from pg_control_system()) || '/' || (select oid::text from pg_database where datname = current_database()) as database";
    let row = client.query_one(query, &[]).await?;
    Ok(Server {
        version: row.get("version"),
        number: row.get("number"),
        user: row.get("who"),
        database: row.get("database"),
        is_standby: row.get("standby"),
        now: row.get("now"),
    })
}

/// What this user lacks of what a reactor needs.
#[derive(Debug, Clone)]
pub struct Rights {
    /// Such as `write roster.mirror`.
    pub missing: Vec<String>,
    /// The statement that gives them.
    pub grant: String,
}

impl Rights {
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Compares what this user may do with what `roster_reactor` may.
///
/// # Errors
/// [`DbError`].
pub async fn rights(client: &Client) -> Result<Rights, DbError> {
    let query = "select array( \
            select 'write roster.' || c.relname from pg_class c \
            where c.relnamespace = 'roster'::regnamespace and c.relkind = 'r' and c.relname <> 'migrations' \
                and not (has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert') \
                    and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete')) \
            union all \
            select 'read roster.' || c.relname from pg_class c \
            where c.relnamespace = 'roster'::regnamespace and c.relkind = 'v' and not has_table_privilege(c.oid, 'select') \
            union all \
            select 'call roster.' || p.proname || '()' from pg_proc p \
            where p.pronamespace = 'roster'::regnamespace and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype) \
                and p.proname not in ('watch', 'unwatch', 'attach', 'detach') and not has_function_privilege(p.oid, 'execute') \
            order by 1 desc) as missing, \
        format('grant roster_reactor to %I;', current_user) as remedy";
    let row = client.query_one(query, &[]).await?;
    Ok(Rights {
        missing: row.get("missing"),
        grant: row.get("remedy"),
    })
}

/// The tables that looking up one user reads as a whole, for want of an index, whichever way the planner turns.
///
/// # Errors
/// [`DbError`].
pub async fn slow_lookups(client: &Client) -> Result<Vec<String>, DbError> {
    let mut tables = Vec::new();
    for filter in [
        "user_key = 'roster-doctor'",
        "lower(email) = 'roster@doctor.invalid'",
    ] {
        // A small table is read as a whole even where an index is there; forbidding that shows whether one is.
        client
            .batch_execute("begin read only; set local enable_seqscan = off")
            .await?;
        let explain =
            format!("explain (format json) select * from roster.desired_users where {filter}");
        let plan = client.query_one(&explain, &[]).await;
        client.batch_execute("rollback").await?;
        let plan: Value = plan?.get(0);
        whole(&plan, &mut tables);
    }
    tables.sort();
    tables.dedup();
    Ok(tables)
}

/// Tables that hold users, read as a whole: those of permissions hang on the user that was found.
fn whole(plan: &Value, tables: &mut Vec<String>) {
    match plan {
        Value::Object(node) => {
            if node.get("Node Type").and_then(Value::as_str) == Some("Seq Scan")
                && node.get("Parent Relationship").and_then(Value::as_str) != Some("SubPlan")
                && let Some(table) = node.get("Relation Name").and_then(Value::as_str)
            {
                tables.push(table.to_owned());
            }
            node.values().for_each(|value| whole(value, tables));
        }
        Value::Array(values) => values.iter().for_each(|value| whole(value, tables)),
        _ => {}
    }
}

/// How an installation stands.
#[derive(Debug, Clone)]
pub struct Standing {
    pub mode_was_chosen: bool,
    pub users_watched: bool,
    pub capture_off: Vec<String>,
    /// Addresses that several users have.
    pub colliding: i64,
    /// Users whose metadata are larger than what was asked for.
    pub large_profiles: i64,
    pub reactors: i64,
    pub sweep_age: Option<Duration>,
    /// Since the last audit that came to an end.
    pub audit_age: Option<Duration>,
}

/// Looks at it. `profile` is the size of metadata, in bytes of JSON, above which they are counted.
///
/// # Errors
/// [`DbError`].
pub async fn standing(client: &Client, profile: i32) -> Result<Standing, DbError> {
    let query = "select s.mode_was_chosen, s.capture_off, s.reactors, \
            extract(epoch from clock_timestamp() - s.last_sweep_at)::double precision as sweep_age, \
            extract(epoch from clock_timestamp() - s.last_audit_at)::double precision as audit_age, \
            exists (select from roster.watched where attached and of_users) as users_watched, \
            (select count(*) from (select from roster.desired_users group by lower(email) having count(*) > 1) c) as colliding, \
            (select count(*) from roster.desired_users d where octet_length( \
                (roster.owned_app_metadata(d.app_metadata, d.role, d.permissions) || coalesce(d.user_metadata, '{}'))::text) > $1) as large_profiles \
        from roster.status s";
    let row = client.query_one(query, &[&profile]).await?;
    let age = |name: &str| {
        let seconds: Option<f64> = row.get(name);
        seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0)))
    };
    Ok(Standing {
        mode_was_chosen: row.get("mode_was_chosen"),
        users_watched: row.get("users_watched"),
        capture_off: row.get("capture_off"),
        colliding: row.get("colliding"),
        large_profiles: row.get("large_profiles"),
        reactors: row.get("reactors"),
        sweep_age: age("sweep_age"),
        audit_age: age("audit_age"),
    })
}
