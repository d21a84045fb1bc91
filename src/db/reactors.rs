//! Who is running: heartbeat, last listen and sweep, and the settings the planner reads.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    DbError,
    pool::{Pool, QUICK},
};

/// What `run` writes to `roster.settings`, so that the planner knows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The tenant's base URL.
    pub tenant: String,
    /// The database connection users are created in.
    pub connection: String,
    /// Removals within this time count together, in seconds.
    pub guard_window: f64,
    /// So many removals are never held.
    pub guard_removals_min: i32,
    /// Nor is this share of the active users.
    pub guard_removals_share: f64,
    /// Addresses (lower case) or user keys.
    pub guard_protected: Vec<String>,
    /// The last so many of the role.
    pub guard_min_admins: i32,
    /// The role that counts as administrator.
    pub guard_admin_role: Option<String>,
    /// Deletion so many seconds after the block.
    pub delete_after: Option<f64>,
    /// Access tokens are good for so many seconds.
    pub token_lifetime: f64,
    /// `auth0_email` or `none`.
    pub invitation_send: String,
}

/// Why a start began in observe although another mode was chosen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// The mode was chosen for another database, of which this one is a copy.
    AnotherDatabase,
    /// The mirror belongs to another tenant.
    AnotherTenant,
}

/// Registers a reactor and writes its settings. A mode that was chosen for another database or another tenant falls back to
/// observe, and says so.
///
/// # Errors
/// [`DbError`].
pub async fn register(
    pool: &Pool,
    reactor: Uuid,
    settings: &Settings,
) -> Result<Option<Fallback>, DbError> {
    pool.transaction(QUICK, async |tx| {
        let before = tx
            .query_one(
                "select mode, tenant, database_identity is distinct from roster.this_database() and database_identity is not null, \
                    case when written_by is not null then to_jsonb(s) - '{written_by, written_at}'::text[] end \
                 from roster.settings s for update",
                &[],
            )
            .await?;
        let (mode, tenant, elsewhere): (String, Option<String>, bool) =
            (before.get(0), before.get(1), before.get(2));
        let known: Option<Value> = before.get(3);
        let fallback = match (mode.as_str(), tenant) {
            ("observe", _) => None,
            _ if elsewhere => Some(Fallback::AnotherDatabase),
            (_, Some(tenant)) if tenant != settings.tenant => Some(Fallback::AnotherTenant),
            _ => None,
        };
        if let Some(fallback) = fallback {
            // Kept, so that who wonders later why nothing is written finds out.
            let by = match fallback {
                Fallback::AnotherDatabase => {
                    "roster: this database is a copy of the one the mode was chosen for"
                }
                Fallback::AnotherTenant => "roster: this mirror belonged to another tenant",
            };
            tx.execute(
                "update roster.settings set mode = 'observe', mode_chosen_by = $1, mode_chosen_at = null",
                &[&by],
            )
            .await?;
        }
        tx.execute(
            "update roster.settings set tenant = $1, connection = $2, guard_window = make_interval(secs => $3), guard_removals_min = $4, \
                guard_removals_share = $5, guard_protected = $6, guard_min_admins = $7, guard_admin_role = $8, \
                delete_after = make_interval(secs => $9), invitation_send = $10, written_by = $11, written_at = now(), \
                token_lifetime = make_interval(secs => $12)",
            &[
                &settings.tenant,
                &settings.connection,
                &settings.guard_window,
                &settings.guard_removals_min,
                &settings.guard_removals_share,
                &settings.guard_protected,
                &settings.guard_min_admins,
                &settings.guard_admin_role,
                &settings.delete_after,
                &settings.invitation_send,
                &reactor,
                &settings.token_lifetime,
            ],
        )
        .await?;
        let differs = "select coalesce(to_jsonb(s) - '{written_by, written_at}'::text[] <> $1::jsonb, false) from roster.settings s";
        if tx.query_one(differs, &[&known]).await?.get(0) {
            // Whom the guard holds, and who is to be deleted by now, may be others: everybody is looked at.
            tx.execute(
                "insert into roster.changes (op, reason) values ('settings', 'another configuration')",
                &[],
            )
            .await?;
        }
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let host = nix::unistd::gethostname()
            .map_or_else(|_| "?".to_owned(), |h| h.to_string_lossy().into_owned());
        tx.execute(
            "insert into roster.reactors (id, host, pid, version, settings) values ($1, $2, $3, $4, $5)",
            &[
                &reactor,
                &host,
                &pid,
                &env!("CARGO_PKG_VERSION"),
                &serde_json::to_value(settings).unwrap_or(Value::Null),
            ],
        )
        .await?;
        // Those that are long gone need not be listed for ever.
        tx.execute(
            "delete from roster.reactors where coalesce(stopped_at, heartbeat_at) < now() - interval '7 days'",
            &[],
        )
        .await?;
        Ok(fallback)
    })
    .await
}

/// What a reactor says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// LISTEN stands.
    Listened,
    /// Everybody was looked at.
    Swept,
    /// The test notification came back, or not.
    Bell {
        /// It came back.
        heard: bool,
    },
    /// It stops in order.
    Stopped,
}

/// Writes a note down; false if the database does not know this reactor, such as after a failover that lost the last commits. It is no
/// heartbeat: that comes in time only from the task that does nothing else.
///
/// # Errors
/// [`DbError`].
pub async fn note(pool: &Pool, reactor: Uuid, note: Note) -> Result<bool, DbError> {
    let set = match note {
        Note::Listened => "last_listen_at = now()",
        Note::Swept => "last_sweep_at = now()",
        Note::Bell { heard: true } => "bell_heard_at = now(), bell_deaf = false",
        Note::Bell { heard: false } => "bell_deaf = true",
        Note::Stopped => "stopped_at = now()",
    };
    let update = format!("update roster.reactors set {set} where id = $1");
    pool.on(QUICK, async |session| {
        let written = session.execute(&update, &[&reactor]).await?;
        Ok(written > 0)
    })
    .await
}

/// A sign of life, with what is left of Auth0's rate limits.
///
/// # Errors
/// [`DbError`].
pub async fn heartbeat(pool: &Pool, reactor: Uuid, budget: &Value) -> Result<(), DbError> {
    pool.on(QUICK, async |session| {
        session
            .execute(
                "select roster.heartbeat($1, $2), set_config('synchronous_commit', 'off', true)",
                &[&reactor, budget],
            )
            .await?;
        Ok(())
    })
    .await
}

/// The mode in force, and since when the mirror is paused.
///
/// # Errors
/// [`DbError`].
pub async fn mode(pool: &Pool) -> Result<(String, bool), DbError> {
    pool.on(QUICK, async |session| {
        let row = session
            .query_one(
                "select mode, paused_at is not null from roster.settings",
                &[],
            )
            .await?;
        Ok((row.get(0), row.get(1)))
    })
    .await
}
