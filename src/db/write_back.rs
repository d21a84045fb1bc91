//! Write-back: the application's table learns the ids of its users' accounts.

use tokio_postgres::error::SqlState;

use super::{
    DbError,
    pool::{LONG, Pool, QUICK},
};

/// Accounts whose id the application's table does not have yet are written back, each in a transaction of its own; a row
/// that somebody holds or whose address changed is left for the next time, and so is everybody once the whole table is held.
///
/// # Errors
/// [`DbError`].
pub async fn write_back(pool: &Pool, keys: Option<&[&str]>) -> Result<(), DbError> {
    // Not one statement for both: the plan of "null or one of these" reads everybody each time.
    let of_whom = match keys {
        Some(_) => "a.user_key = any($1)",
        None => "$1::text[] is null",
    };
    let missing: Vec<(String, String)> = pool
        .on(LONG, async |session| {
            let statement = session
                .prepare_cached(&format!(
                    "select a.user_key, a.auth0_user_id from roster.accounts a \
                     join roster.mirror m on m.user_key = a.user_key and m.incarnation = a.incarnation \
                     join roster.desired_users d on d.user_key = a.user_key \
                     where a.origin <> 'further' and a.state = 'linked' and m.email is not distinct from lower(d.email) and (d.auth0_user_id is null or d.auth0_user_id <> a.auth0_user_id and roster.is_of_the_past(d.auth0_user_id, a.user_key)) \
                        and {of_whom} limit 256"
                ))
                .await?;
            let rows = session.query(&statement, &[&keys]).await?;
            Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
        })
        .await?;
    for (key, id) in missing {
        match write(pool, &key, &id).await {
            Err(error)
                if error
                    .server()
                    .is_some_and(|e| *e.code() == SqlState::LOCK_NOT_AVAILABLE) =>
            {
                tracing::debug!(
                    "somebody holds the application's table; ids are written back by the next sweep"
                );
                break;
            }
            // The row changed meanwhile, and perhaps hands: its user is due soon, and the id is written after that.
            Err(error)
                if error
                    .server()
                    .is_some_and(|e| *e.code() == SqlState::T_R_SERIALIZATION_FAILURE) => {}
            Err(error) if !error.is_unreachable() => {
                // The DBA's own function, or a constraint of the application's table; the link does not depend on it.
                tracing::warn!(user.key = %key, code = error.server().map_or("", |e| e.code().code()), "the Auth0 id could not be written back");
            }
            written => written?,
        }
    }
    Ok(())
}

async fn write(pool: &Pool, key: &str, id: &str) -> Result<(), DbError> {
    pool.on(QUICK, async |session| {
        let statement = session
            .prepare_cached("select roster.write_id($1, $2)")
            .await?;
        session.execute(&statement, &[&key, &id]).await?;
        Ok(())
    })
    .await
}
