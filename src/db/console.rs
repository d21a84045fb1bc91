//! What the console reads: users a page at a time, one user whole, and how things stand.
//!
//! Each look keeps the statements that it is made of ([`Statement`]), so that the page can show them as one would type them into psql.
//! The console is another SQL client: it reads the views that everybody may read, and writes ([`edit`]) the application's own tables.

pub mod bulk;
pub mod drift;
pub mod edit;
mod guard;
pub mod imports;
pub mod press;
pub mod problems;
pub mod roles;

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::{Client, Row, types::ToSql};

use super::{DbError, control, plan::PlanRow, statement::Statement};

/// Users on a page.
pub const PAGE: usize = 50;
/// Events of one user's timeline.
const TIMELINE: i64 = 50;

/// Which users are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    Everybody,
    Pending,
    Failing,
    Disputed,
    Held,
    Drift,
    Blocked,
}

impl Filter {
    /// All of them with the word that stands in addresses.
    pub const ALL: [(&'static str, Self); 7] = [
        ("all", Self::Everybody),
        ("pending", Self::Pending),
        ("failing", Self::Failing),
        ("disputed", Self::Disputed),
        ("held", Self::Held),
        ("drift", Self::Drift),
        ("blocked", Self::Blocked),
    ];

    /// Those that are mostly few are read first, and found by key.
    const fn condition(self) -> Option<&'static str> {
        Some(match self {
            Self::Everybody => return None,
            // Often everybody, as at a first load.
            Self::Pending => {
                "exists (select from roster.mirror m where m.user_key = d.user_key and m.due and m.error_code is null and m.disputed is null)"
            }
            Self::Failing => {
                "d.user_key = any (array(select m.user_key from roster.mirror m where m.error_code is not null and m.disputed is null
        union select s.user_key from roster.stuck s where s.state = 'parked'))"
            }
            Self::Disputed => {
                "d.user_key = any (array(select p.user_key from roster.disputed p))"
            }
            // Whose row is gone is on no list of users.
            Self::Held => {
                "d.user_key = any (array(select h.user_key from roster.held h where h.removed_by is null))"
            }
            Self::Drift => {
                "d.user_key = any (array(select f.user_key from roster.drift f where f.user_key is not null))"
            }
            Self::Blocked => "d.blocked",
        })
    }
}

/// Where a page of users begins: behind this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// Lower case.
    pub email: String,
    pub user_key: String,
}

/// One line of the list.
#[derive(Debug, Clone)]
pub struct Listed {
    pub user_key: String,
    pub email: Option<String>,
    pub name: Option<String>,
    pub role: Option<String>,
    pub blocked: bool,
    /// As `roster.user_sync` says it.
    pub sync: String,
    pub pending_since: Option<Timestamp>,
}

/// A page of users.
#[derive(Debug)]
pub struct Page {
    pub users: Vec<Listed>,
    /// Where the next one begins; none: this is the last.
    pub next: Option<After>,
    pub statement: Statement,
}

/// The users whose address begins with `prefix`, in the order of their addresses.
///
/// # Errors
/// [`DbError`].
pub async fn page(
    client: &Client,
    prefix: &str,
    filter: Filter,
    after: Option<&After>,
) -> Result<Page, DbError> {
    let mut values = Vec::new();
    let mut conditions = matching(prefix, filter, &mut values);
    if let Some(after) = after {
        let at = values.len();
        values.extend([Some(after.email.clone()), Some(after.user_key.clone())]);
        conditions.push(format!(
            "(lower(d.email) collate \"C\", d.user_key collate \"C\") > (${}::text, ${}::text)",
            at + 1,
            at + 2
        ));
    }
    let condition = match conditions.is_empty() {
        true => String::new(),
        false => format!("where {}\n", conditions.join("\n    and ")),
    };
    let statement = Statement::new(
        format!(
            "select d.user_key, d.email, d.name, d.role, d.blocked is true as blocked, lower(d.email) as place\n\
             from roster.desired_users d\n{condition}\
             order by lower(d.email) collate \"C\", d.user_key collate \"C\" limit {}",
            PAGE + 1
        ),
        values.iter().map(Option::as_deref),
    );
    let mut rows = statement.rows(client).await?;
    let is_last = rows.len() <= PAGE;
    rows.truncate(PAGE);
    let next = rows.last().filter(|_| !is_last).and_then(|row| {
        Some(After {
            email: row.get::<_, Option<String>>("place")?,
            user_key: row.get("user_key"),
        })
    });
    let keys: Vec<String> = rows.iter().map(|row| row.get("user_key")).collect();
    let standing = client
        .query(
            "select user_key, sync, pending_since from roster.user_sync where user_key = any ($1)",
            &[&keys],
        )
        .await?;
    let users = rows.iter().map(|row| {
        let user_key: String = row.get("user_key");
        let stands = standing
            .iter()
            .find(|row| row.get::<_, &str>("user_key") == user_key);
        Listed {
            email: row.get("email"),
            name: row.get("name"),
            role: row.get("role"),
            blocked: row.get("blocked"),
            sync: stands.map_or_else(String::new, |row| row.get("sync")),
            pending_since: stands.and_then(|row| row.get("pending_since")),
            user_key,
        }
    });
    Ok(Page {
        users: users.collect(),
        next,
        statement,
    })
}

/// The conditions on `roster.desired_users d` for those whose address begins so, in this state.
fn matching(prefix: &str, filter: Filter, values: &mut Vec<Option<String>>) -> Vec<String> {
    let mut conditions: Vec<String> = filter.condition().map(str::to_owned).into_iter().collect();
    if !prefix.is_empty() {
        values.push(Some(prefix.to_lowercase()));
        // A range, which an index has; chr(1114111) is the last character there is.
        conditions.push(
            "lower(d.email) collate \"C\" >= $1::text and lower(d.email) collate \"C\" < $1::text || chr(1114111)"
                .to_owned(),
        );
    }
    conditions
}

/// A user as the row says it.
#[derive(Debug, Clone)]
pub struct Desired {
    pub user_key: String,
    pub email: Option<String>,
    pub name: Option<String>,
    pub role: Option<String>,
    /// Of the role and the user's own.
    pub permissions: Vec<String>,
    pub blocked: bool,
    /// Another one as soon as anything above is.
    pub version: String,
}

/// The version leaves out the Auth0 id, which Roster itself writes.
const DESIRED: &str = "select d.user_key, d.email, d.name, d.role, d.permissions, d.blocked is true as blocked,\n    \
    encode(sha256(convert_to(jsonb_build_array(d.email, d.name, d.role, d.permissions, d.blocked)::text, 'UTF8')), 'hex') as version\n\
    from roster.desired_users d where d.user_key = $1";

async fn desired(client: &Client, key: &str) -> Result<Option<Desired>, DbError> {
    let rows = Statement::new(DESIRED, [Some(key)]).rows(client).await?;
    Ok(rows.first().map(|row| Desired {
        user_key: row.get("user_key"),
        email: row.get("email"),
        name: row.get("name"),
        role: row.get("role"),
        permissions: row.get::<_, Option<_>>("permissions").unwrap_or_default(),
        blocked: row.get("blocked"),
        version: row.get("version"),
    }))
}

/// An account as Auth0 last showed it.
#[derive(Debug)]
pub struct Account {
    pub auth0_user_id: String,
    /// `made`, `adopted` or `further`.
    pub origin: String,
    pub state: String,
    pub email: Option<String>,
    pub name: Option<String>,
    pub role: Option<String>,
    pub permissions: Vec<String>,
    pub blocked: bool,
    pub observed_at: Option<Timestamp>,
}

/// One user, from all sides.
#[derive(Debug)]
pub struct Whole {
    /// None: there is no row any more.
    pub desired: Option<Desired>,
    /// Permissions of the user's own; none where the application has no table for them.
    pub own: Option<Vec<String>>,
    /// Permissions of the role.
    pub of_role: Vec<String>,
    pub accounts: Vec<Account>,
    pub plan: Vec<PlanRow>,
    /// As `roster.user_sync` says it.
    pub sync: Option<String>,
    pub what_to_do: Option<String>,
    /// The mails that invited the user, or are to, newest first: `state`, `changed_at`, `email`.
    pub invitations: Vec<Value>,
    /// The last events, newest first, as `roster.history_of` has them.
    pub timeline: Vec<Value>,
    pub statements: Vec<Statement>,
}

/// Everything about one user; none: nobody has or had that key.
///
/// # Errors
/// [`DbError`].
pub async fn whole(client: &Client, key: &str) -> Result<Option<Whole>, DbError> {
    let key_given = || [Some(key)];
    let row = Statement::new(
        "select * from roster.desired_users where user_key = $1",
        key_given(),
    );
    let accounts = Statement::new(
        "select auth0_user_id, origin, state, email, name, app_metadata ->> 'role' as role,\n    \
         app_metadata -> 'permissions' as permissions, blocked, observed_at\n\
         from roster.accounts where user_key = $1 and state <> 'gone' order by origin = 'further', auth0_user_id",
        key_given(),
    );
    let plan = Statement::new(
        "select user_key, auth0_user_id, email, action, state, lane, due_at, reason, changes, code from roster.plan where user_key = $1",
        key_given(),
    );
    let sync = Statement::new(
        "select sync, what_to_do from roster.user_sync where user_key = $1",
        key_given(),
    );
    let invitations = Statement::new(
        "select state, changed_at, email from roster.invitations where user_key = $1 order by incarnation desc, epoch desc",
        key_given(),
    );
    let timeline = Statement::new(
        format!("select * from roster.history_of($1) order by at desc limit {TIMELINE}"),
        key_given(),
    );
    let standing = sync.rows(client).await?;
    let Some(standing) = standing.first() else {
        return Ok(None);
    };
    let desired = desired(client, key).await?;
    let role = desired.as_ref().and_then(|user| user.role.as_deref());
    let seen = accounts.rows(client).await?;
    let rows = plan.rows(client).await?;
    Ok(Some(Whole {
        own: own_permissions(client, key).await?,
        of_role: permissions_of(client, role).await?,
        accounts: seen.iter().map(account).collect(),
        plan: rows
            .iter()
            .map(PlanRow::from_row)
            .collect::<Result<_, _>>()?,
        sync: standing.get("sync"),
        what_to_do: standing.get("what_to_do"),
        invitations: invitations.objects(client).await?,
        timeline: events(client, key).await?,
        desired,
        statements: vec![row, accounts, plan, sync, invitations, timeline],
    }))
}

fn account(row: &Row) -> Account {
    let permissions: Option<Value> = row.get("permissions");
    let permissions = permissions.and_then(|list| serde_json::from_value(list).ok());
    Account {
        auth0_user_id: row.get("auth0_user_id"),
        origin: row.get("origin"),
        state: row.get("state"),
        email: row.get("email"),
        name: row.get("name"),
        role: row.get("role"),
        permissions: permissions.unwrap_or_default(),
        blocked: row.get("blocked"),
        observed_at: row.get("observed_at"),
    }
}

async fn events(client: &Client, key: &str) -> Result<Vec<Value>, DbError> {
    let mut events = super::past::of_user(client, key, TIMELINE).await?;
    events.reverse();
    Ok(events)
}

async fn has_table(client: &Client, name: &str) -> Result<bool, DbError> {
    let asked = "select to_regclass($1::text) is not null";
    Ok(client.query_one(asked, &[&name]).await?.get(0))
}

async fn own_permissions(client: &Client, key: &str) -> Result<Option<Vec<String>>, DbError> {
    if !has_table(client, "public.user_permissions").await? {
        return Ok(None);
    }
    let own = "select permission from public.user_permissions where user_id::text = $1 order by permission collate \"C\"";
    Ok(Some(texts(client, own, &[&key]).await?))
}

async fn permissions_of(client: &Client, role: Option<&str>) -> Result<Vec<String>, DbError> {
    if !has_table(client, "public.role_permissions").await? {
        return Ok(Vec::new());
    }
    let of_role = "select permission from public.role_permissions where role = $1 order by permission collate \"C\"";
    texts(client, of_role, &[&role]).await
}

/// The roles that there are, to choose from.
///
/// # Errors
/// [`DbError`].
pub async fn roles(client: &Client) -> Result<Vec<String>, DbError> {
    if !has_table(client, "public.roles").await? {
        return Ok(Vec::new());
    }
    let roles = "select name from public.roles union select role from public.role_permissions order by 1 limit 500";
    texts(client, roles, &[]).await
}

async fn texts(
    client: &Client,
    query: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<String>, DbError> {
    let rows = client.query(query, parameters).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The row of `roster.status`, and what one would type to see it.
///
/// # Errors
/// [`DbError`].
pub async fn overview(client: &Client) -> Result<(Value, Statement), DbError> {
    let shown = Statement::new("select * from roster.status", []);
    Ok((control::status(client).await?, shown))
}

/// Of how many users removals are held, and the first of them, as objects, the longest held first.
///
/// # Errors
/// [`DbError`].
pub async fn held(client: &Client, most: i64) -> Result<(usize, Vec<Value>), DbError> {
    let number: i64 = client
        .query_one(
            "select count(*) from (select distinct user_key from roster.held) h",
            &[],
        )
        .await?
        .get(0);
    let first = format!("{} limit $1", control::HELD);
    let rows = client.query(&first, &[&most]).await?;
    let first = rows.iter().map(|row| row.get(0)).collect();
    Ok((usize::try_from(number).unwrap_or(0), first))
}

/// What one would type to see the held removals, and to judge all of them.
pub fn held_shown() -> [Statement; 3] {
    [
        Statement::new("select * from roster.held order by since, user_key", []),
        Statement::new("select roster.release_held($1)", [Some("all")]),
        Statement::new("select roster.discard_held($1)", [Some("all")]),
    ]
}
