//! What keeps a copy of the directory true: all users once, then whoever has changed since.
//!
//! Promises:
//! * [`Feed::look`] gives whatever a look-up by account may answer otherwise than at the snapshot it looks from, as it is at the
//!   snapshot it gives; nothing is left out, however long a transaction stayed open, for the cursor is a snapshot and no number.
//! * All looks of a feed are made on one session. A server that crashes, is left for another or becomes a standby ends it
//!   ([`Ended`]), so snapshots of one feed can always be compared. What begins anew loads anew.
//! * [`load`] reads everybody from one snapshot of the same server, or fails.
//!
//! What leaves no row in `roster.changes` is told too: [`Look::mapping`] is another word once the views, the watched tables or
//! their triggers are other ones, and [`Feed::blind`] says what about them cannot be relied on.

use std::{sync::LazyLock, time::Duration};

use futures_util::{TryStreamExt, pin_mut};
use tokio::{sync::mpsc, time::timeout};
use tokio_postgres::{Client, Row, Statement, types::ToSql};

use super::{Permissions, Snapshot};
use crate::db::{
    connect::{Endpoint, SESSION_SETTINGS},
    listener::Ended,
};

/// More users named at once are not worth reading one by one: everybody is read.
const MANY: i64 = 2_000;
/// Users handed over at a time while everybody is read.
const BATCH: usize = 256;
/// Who has not answered by then is gone. Until then a slow answer only makes a copy old.
const PATIENCE: Duration = Duration::from_secs(10);
/// For reading everybody. A million users take about a dozen seconds.
const LOAD_PATIENCE: Duration = Duration::from_secs(10 * 60);

const FACTS: &str = include_str!("facts.sql");
const MAPPING: &str = include_str!("mapping.sql");
const BLIND: &str = include_str!("blind.sql");
static LOOK: LazyLock<String> = LazyLock::new(|| {
    let few = "any ((select few.user_keys from few)::text[])";
    let facts = FACTS
        .replace("{users}", &format!("d.user_key = {few}"))
        .replace("{accounts}", &format!("a.user_key = {few}"));
    include_str!("look.sql")
        .replace("{facts}", &facts)
        .replace("{mapping}", MAPPING)
});
static LOAD: LazyLock<String> = LazyLock::new(|| {
    FACTS
        .replace("{users}", "true")
        .replace("{accounts}", "true")
});

/// A user, and the accounts that find it.
#[derive(Clone, PartialEq, Eq)]
pub struct Fact {
    pub key: String,
    pub email: Option<String>,
    pub name: Option<String>,
    pub role: Option<String>,
    /// Sorted, without doubles.
    pub permissions: Vec<String>,
    pub blocked: bool,
    /// The account that is the user's first.
    pub primary: Option<String>,
    /// Accounts for which a look-up finds this user, whatever the token's address.
    pub subjects: Vec<String>,
}

/// What a look found.
pub struct Look {
    /// Everything is told up to here: the next look goes on from it.
    pub snapshot: Snapshot,
    /// How users come out of tables, and how their changes are captured.
    pub mapping: String,
    pub news: News,
}

/// Whom a look found changed.
pub enum News {
    /// These keys, each as it is now.
    Of(Vec<Change>),
    /// Anybody could be.
    Everybody,
}

/// A key that may mean something else than before.
pub struct Change {
    pub key: String,
    /// None where the view shows no such user, or two.
    pub user: Option<Fact>,
}

/// The session that looks.
pub struct Feed {
    session: Client,
    look: Statement,
    server: String,
}

impl Feed {
    /// Opens the session. The endpoint must be direct: behind a pooler it would be several servers'.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, Ended> {
        let session = endpoint.session().await?;
        within(session.batch_execute(SESSION_SETTINGS)).await?;
        let look = within(session.prepare(&LOOK)).await?;
        let server = within(server(&session)).await?;
        Ok(Self {
            session,
            look,
            server,
        })
    }

    /// Where the first look goes on from.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn begin(&self) -> Result<Snapshot, Ended> {
        let now = "select pg_current_snapshot()::text";
        snapshot(&within(self.session.query_one(now, &[])).await?)
    }

    /// Whoever has changed since `then`.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn look(&self, then: &Snapshot) -> Result<Look, Ended> {
        let xmax = then.xmax().to_string();
        let open: Vec<String> = then.open().iter().map(u64::to_string).collect();
        let limit = MANY + 1;
        let rows = within(self.session.query(&self.look, &[&xmax, &open, &limit])).await?;
        let first = rows.first().ok_or(Ended::Silent)?;
        if first.get("read_only") {
            return Err(Ended::ReadOnly);
        }
        let everybody = first.get("everybody") || rows.len() > MANY as usize;
        Ok(Look {
            snapshot: snapshot(first)?,
            mapping: first.get("mapping"),
            news: match everybody {
                true => News::Everybody,
                false => News::Of(changes(&rows)),
            },
        })
    }

    /// What would change users and leave no row in `roster.changes`: where this is not empty, no copy can be relied on.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn blind(&self) -> Result<Vec<String>, Ended> {
        let rows = within(self.session.query(BLIND, &[])).await?;
        Ok(rows.iter().map(|row| row.get("reason")).collect())
    }

    /// Sends `nonce` round by way of the server, to whoever listens to `roster_canary` there.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn ring(&self, nonce: &str) -> Result<(), Ended> {
        let ring = "select pg_notify('roster_canary', $1)";
        within(self.session.execute(ring, &[&nonce])).await?;
        Ok(())
    }

    /// Which server this is: another one, or the same one started anew, has another word.
    pub fn server(&self) -> &str {
        &self.server
    }
}

/// Reads everybody, on a session of its own, in one snapshot that is not older than this call: once it stands, an empty batch is handed
/// over, then everybody. Says the mapping they were read by.
///
/// # Errors
/// [`Ended`]; what was handed over until then is true all the same.
pub async fn load(
    endpoint: &Endpoint,
    of: &str,
    batches: mpsc::Sender<Vec<Fact>>,
) -> Result<String, Ended> {
    let session = endpoint.session().await?;
    let begin = format!(
        "{SESSION_SETTINGS}; set statement_timeout = '{}s'; begin isolation level repeatable read read only",
        LOAD_PATIENCE.as_secs()
    );
    within(session.batch_execute(&begin)).await?;
    let mapping = within(session.query_one(MAPPING, &[])).await?.get(0);
    if within(server(&session)).await? != of {
        return Err(Ended::AnotherServer);
    }
    // The snapshot stands: a look that begins from here on is newer.
    let _ = batches.send(Vec::new()).await;
    let none: [&(dyn ToSql + Sync); 0] = [];
    let read = async {
        let rows = session.query_raw(LOAD.as_str(), none).await?;
        pin_mut!(rows);
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(row) = rows.try_next().await? {
            batch.push(fact(&row));
            if batch.len() == BATCH && batches.send(std::mem::take(&mut batch)).await.is_err() {
                return Ok(());
            }
        }
        // Nobody who waits for it any more is no fault of the load's.
        let _ = batches.send(batch).await;
        Ok(())
    };
    match timeout(LOAD_PATIENCE, read).await {
        Ok(read) => read.map_err(Ended::Sql)?,
        Err(_) => return Err(Ended::Silent),
    }
    Ok(mapping)
}

/// The moment it was started, to the microsecond. A standby that took over was started at another one.
async fn server(session: &Client) -> Result<String, tokio_postgres::Error> {
    let started = "select pg_postmaster_start_time()::text";
    Ok(session.query_one(started, &[]).await?.get(0))
}

fn snapshot(row: &Row) -> Result<Snapshot, Ended> {
    Snapshot::parse(row.get(0)).ok_or(Ended::Silent)
}

/// The rows of one key stand anywhere; a key that has two is nobody's.
fn changes(rows: &[Row]) -> Vec<Change> {
    let mut changes: Vec<(Change, usize)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for row in rows {
        let Some(key) = row.get::<_, Option<&str>>("changed") else {
            continue;
        };
        let user = row.get::<_, Option<&str>>("user_key").map(|_| fact(row));
        let place = *places.entry(key).or_insert_with(|| {
            let key = key.to_owned();
            changes.push((Change { key, user: None }, 0));
            changes.len() - 1
        });
        let (change, users) = &mut changes[place];
        *users += 1;
        change.user = user.filter(|_| *users == 1);
    }
    changes.into_iter().map(|(change, _)| change).collect()
}

fn fact(row: &Row) -> Fact {
    Fact {
        key: row.get("user_key"),
        email: row.get("email"),
        name: row.get("name"),
        role: row.get("role"),
        permissions: row.get::<_, Permissions>("permissions").0,
        blocked: row.get("blocked"),
        primary: row.get("primary_account"),
        subjects: row.get("subjects"),
    }
}

async fn within<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Ended> {
    match timeout(PATIENCE, work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Ended::Silent),
    }
}
