//! The database: can it be reached, is Roster installed in it, may this user do what a reactor does, is every change seen?

use std::time::{Duration, SystemTime};

use tokio_postgres::Client;

use super::{Finding, Level};
use crate::{
    config::Config,
    db::{
        connect::{Endpoint, SESSION_SETTINGS},
        doctor::{self, Standing},
        listener, migrate,
    },
    service::Ways,
    telemetry::with_causes,
};

/// A clock may be so far from another before times in logs and leases mislead.
const CLOCKS: Duration = Duration::from_secs(5);
/// A sweep is late after so many times its interval.
const LATE: u32 = 3;
/// Auth0 warns of profiles larger than 10 KB (user profile structure, August 2026); the rest of a profile needs room too.
const PROFILE: i32 = 8_000;

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let ways = match Ways::of(config) {
        Ok(ways) => ways,
        Err(error) => {
            let remedy = "set DATABASE_URL, such as postgres://roster:secret@db.example.com/app?sslmode=verify-full";
            return vec![Finding::fault("database", said(&error), remedy)];
        }
    };
    let client = match session(&ways.main).await {
        Ok(client) => client,
        Err(error) => {
            return vec![Finding::bad(
                "database",
                Level::Unreachable,
                error,
                format!(
                    "see that PostgreSQL runs and lets this user in: psql \"{}\"",
                    ways.main
                ),
            )];
        }
    };
    let mut findings = Vec::new();
    match doctor::server(&client).await {
        Ok(server) => {
            findings.push(Finding::fine(
                "database",
                format!("PostgreSQL {} as {}", server.version, server.user),
            ));
            findings.push(clock(server.now));
            if server.number < 140_000 {
                findings.push(Finding::fault(
                    "version",
                    format!("PostgreSQL {} is too old", server.version),
                    "upgrade it to 14 or newer",
                ));
            }
            if server.is_standby {
                findings.push(Finding::fault(
                    "primary",
                    "this server takes no writes",
                    "name all hosts in DATABASE_URL (postgres://u@db1,db2/app), or the primary",
                ));
            }
            findings.push(listening(&ways, &server.database).await);
        }
        Err(error) => findings.push(unknown("database", &error)),
    }
    findings.extend(installation(config, &client).await);
    findings
}

async fn session(endpoint: &Endpoint) -> Result<Client, String> {
    let client = endpoint.clone().named("roster doctor").session().await;
    let client = client.map_err(|error| with_causes(&error))?;
    match client.batch_execute(SESSION_SETTINGS).await {
        Ok(()) => Ok(client),
        Err(error) => Err(with_causes(&error)),
    }
}

fn clock(there: SystemTime) -> Finding {
    let here = SystemTime::now();
    let apart = there
        .duration_since(here)
        .or_else(|_| here.duration_since(there))
        .unwrap_or_default();
    match apart > CLOCKS {
        false => Finding::fine("clock", "this machine's and the database's agree"),
        true => Finding::warning(
            "clock",
            format!(
                "this machine's and the database's are {} s apart",
                apart.as_secs()
            ),
            "set both by NTP: timedatectl set-ntp true",
        ),
    }
}

/// LISTEN hears what is rung where writers are.
async fn listening(ways: &Ways, database: &str) -> Finding {
    const DIRECT: &str = "set database.listen_url to a direct connection to the same database; until then changes wait for reactor.poll_interval";
    let there = match session(&ways.listen).await {
        Ok(client) => doctor::server(&client).await.map(|server| server.database),
        Err(error) => {
            return Finding::bad(
                "listen",
                Level::Unreachable,
                error,
                "set database.listen_url to where PostgreSQL is",
            );
        }
    };
    match there {
        Ok(there) if there != database => {
            return Finding::fault(
                "listen",
                "database.listen_url is another database than database.url",
                "make both name the same one",
            );
        }
        Ok(_) => {}
        Err(error) => return unknown("listen", &error),
    }
    match listener::round_trip(&ways.listen, &ways.main).await {
        Ok(took) => Finding::fine(
            "listen",
            format!("a notification comes back after {} ms", took.as_millis()),
        ),
        Err(listener::Ended::Deaf) => Finding::fault(
            "listen",
            "notifications do not come back: a transaction pooler?",
            DIRECT,
        ),
        Err(error) => Finding::fault("listen", with_causes(&error), DIRECT),
    }
}

async fn installation(config: &Config, client: &Client) -> Vec<Finding> {
    match migrate::pending(client).await {
        Ok(pending) if pending.is_empty() => {}
        Ok(pending) => {
            return vec![Finding::fault(
                "schema",
                format!("not applied: {}", pending.join(", ")),
                "roster migrate",
            )];
        }
        Err(error) => return vec![unknown("schema", &error)],
    }
    match migrate::is_installed(client).await {
        Ok(true) => {}
        Ok(false) => {
            let remedy = "roster migrate: it prints the view roster.desired_users to write";
            return vec![Finding::fault(
                "schema",
                "roster.desired_users is not written yet",
                remedy,
            )];
        }
        Err(error) => return vec![unknown("schema", &error)],
    }
    let mut findings = vec![Finding::fine("schema", "up to date")];
    findings.push(match doctor::rights(client).await {
        Ok(rights) if rights.is_empty() => {
            Finding::fine("rights", "this user may do what a reactor does")
        }
        Ok(rights) => Finding::fault(
            "rights",
            format!("this user may not {}", first_of(&rights.missing)),
            rights.grant,
        ),
        Err(error) => unknown("rights", &error),
    });
    findings.push(match migrate::roles_missing(client).await {
        Ok(missing) if missing.is_empty() => Finding::fine("roles", "the roles to grant are there"),
        Ok(missing) => Finding::warning(
            "roles",
            "roles that rights are granted through are missing",
            format!(
                "someone who may create roles: {} Then: roster migrate",
                missing.join(" ")
            ),
        ),
        Err(error) => unknown("roles", &error),
    });
    findings.push(match doctor::slow_lookups(client).await {
        Ok(tables) if tables.is_empty() => Finding::fine("indexes", "users are found by key and by address without reading all of them"),
        Ok(tables) => Finding::warning(
            "indexes",
            format!("finding one user reads the whole of {}", tables.join(", ")),
            "roster migrate --apply; or, where your columns have other names: create index concurrently on TABLE ((KEY::text)); \
             create index concurrently on TABLE (lower(EMAIL));",
        ),
        Err(error) => unknown("indexes", &error),
    });
    match doctor::standing(client, PROFILE).await {
        Ok(standing) => findings.extend(stands(config, &standing)),
        Err(error) => findings.push(unknown("capture", &error)),
    }
    findings
}

fn stands(config: &Config, standing: &Standing) -> Vec<Finding> {
    let mut findings = vec![
        match (standing.users_watched, standing.capture_off.is_empty()) {
            (true, true) => Finding::fine("capture", "every watched table has its triggers"),
            (_, false) => Finding::fault(
                "capture",
                format!(
                    "triggers are missing or disabled: {}",
                    standing.capture_off.join(", ")
                ),
                "select roster.attach();",
            ),
            (false, _) => Finding::fault(
                "capture",
                "no table whose rows are the users is watched",
                "select roster.watch('public.users', key => 'id', columns => array['email', 'name', 'role', 'blocked']);",
            ),
        },
        match standing.colliding {
            0 => Finding::fine("addresses", "no two users share one"),
            number => Finding::warning(
                "addresses",
                format!("{number} addresses belong to several users, but for case"),
                "select lower(email), array_agg(user_key) from roster.desired_users group by 1 having count(*) > 1;",
            ),
        },
        match standing.large_profiles {
            0 => Finding::fine(
                "profiles",
                "all metadata are well below Auth0's 10 KB a profile",
            ),
            number => Finding::warning(
                "profiles",
                format!(
                    "{number} users have metadata of more than {} KB; Auth0 wants a profile below 10",
                    PROFILE / 1_000
                ),
                "select user_key, octet_length(app_metadata::text), cardinality(permissions) from roster.desired_users order by 2 desc limit 10;",
            ),
        },
    ];
    findings.push(match (standing.reactors, standing.sweep_age) {
        (0, _) => Finding::warning("reactor", "none is running", "roster run"),
        (_, None) => Finding::warning(
            "reactor",
            "no sweep has been made yet",
            "wait; or look at the log of roster run",
        ),
        (_, Some(age)) if age > config.sweep.every * LATE => Finding::fault(
            "reactor",
            format!(
                "the last sweep was {} min ago; sweep.every is {} min",
                age.as_secs() / 60,
                config.sweep.every.as_secs() / 60
            ),
            "look at the log of roster run; restart it",
        ),
        (number, Some(age)) => Finding::fine(
            "reactor",
            format!("{number} running, last sweep {} s ago", age.as_secs()),
        ),
    });
    findings.push(audited(config.audit.every, standing.audit_age));
    if !standing.mode_was_chosen {
        findings.push(Finding::warning(
            "mode",
            "nobody chose a mode yet, so nothing is written to Auth0",
            "roster plan, then roster mode enforce",
        ));
    }
    findings
}

fn audited(every: Option<Duration>, age: Option<Duration>) -> Finding {
    let told = age.map_or("no audit was made yet".to_owned(), |age| {
        format!("the last audit was {} h ago", age.as_secs() / 3600)
    });
    let is_late = every.is_some_and(|every| age.is_none_or(|age| age > every * LATE));
    match is_late {
        true => Finding::warning("audit", told, "select roster.audit(); or roster audit"),
        false => Finding::fine("audit", told),
    }
}

/// The first three, and how many more.
fn first_of(all: &[String]) -> String {
    let first = all[..all.len().min(3)].join(", ");
    match all.len() - all.len().min(3) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn unknown(check: &'static str, error: &(impl std::error::Error + 'static)) -> Finding {
    Finding::bad(
        check,
        Level::Unknown,
        said(error),
        "mend what stands above, then ask again",
    )
}

fn said(error: &(impl std::error::Error + 'static)) -> String {
    with_causes(error)
}
