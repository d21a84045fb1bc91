//! `roster init`: an existing users table is adopted by a mapping that a person has read.

use serde_json::{Value, json};

use super::{Exit, look::rows, output};
use crate::{
    config::Config,
    db::{
        adopt::{self, Proposal, Unclear},
        migrate,
    },
    service::Ways,
};

/// Users that are shown as they would be mapped.
const SHOWN: i64 = 5;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The table that holds the users, such as hr.people
    #[arg(long, value_name = "TABLE")]
    users_table: String,
    /// Which column holds what, where that cannot be guessed: key, email, name, role, blocked or `auth0_user_id`
    #[arg(long, value_name = "WHAT=COLUMN", value_parser = said)]
    column: Vec<(String, String)>,
    /// Write the view, install Roster around it, watch the tables and build the indexes
    #[arg(long)]
    apply: bool,
}

fn said(text: &str) -> Result<(String, String), String> {
    let known = ["key", "email", "name", "role", "blocked", "auth0_user_id"];
    match text.split_once('=') {
        Some((what, column)) if known.contains(&what) => Ok((what.to_owned(), column.to_owned())),
        _ => Err(format!(
            "it is WHAT=COLUMN, and WHAT one of {}",
            known.join(", ")
        )),
    }
}

/// Why nothing is proposed.
#[derive(Debug, thiserror::Error)]
pub(super) enum InitError {
    #[error("there is no table {0}, or this user may not see it")]
    NoTable(String),
    #[error(
        "the users are mapped already: see \\d+ roster.desired_users in psql, and redefine the view there"
    )]
    Mapped,
    #[error(transparent)]
    Unclear(#[from] Unclear),
}

pub(super) async fn init(config: &Config, args: &Args, json: bool) -> anyhow::Result<Exit> {
    let endpoint = Ways::of(config)?.listen.named("roster init");
    let mut client = endpoint.session().await?;
    let shape = adopt::inspect(&client, &args.users_table).await?;
    let shape = shape.ok_or_else(|| InitError::NoTable(args.users_table.clone()))?;
    if adopt::is_mapped(&client).await? {
        return Err(InitError::Mapped.into());
    }
    let proposal = adopt::proposal::propose(&shape, &args.column).map_err(InitError::from)?;
    let users = adopt::sample(&client, &proposal, SHOWN).await?;
    if json {
        output::json(
            &json!({"view": proposal.view, "after": proposal.after, "indexes": proposal.indexes, "users": users}),
        )?;
    } else {
        tell(&proposal, &users);
    }
    if !args.apply {
        if !json {
            output::say!(
                "Nothing is written. Do it with --apply; or change the view to your liking, run it, then roster migrate, then the rest."
            );
        }
        return Ok(Exit::Done);
    }
    adopt::map(&client, &proposal).await?;
    migrate::migrate(&mut client, false).await?;
    adopt::settle(&client, &proposal).await?;
    if !json {
        output::say!(
            "Done. Nothing goes to Auth0 yet. Next: roster doctor, roster run (observes only), roster audit --accounts FILE (each account and its class), roster mode enforce."
        );
    }
    Ok(Exit::Done)
}

fn tell(proposal: &Proposal, users: &[Value]) {
    output::say!("-- 1. The mapping.\n{}", proposal.view);
    output::say!("-- 2. roster migrate\n");
    output::say!(
        "-- 3. What hangs on the table.\n{}",
        proposal.after.concat()
    );
    if !proposal.indexes.is_empty() {
        output::say!("-- 4. Look-ups need these.\n{}", proposal.indexes.concat());
    }
    match users {
        [] => output::say!("The table has no users to show."),
        users => output::say!(
            "{}",
            rows(
                users,
                &[
                    "user_key",
                    "email",
                    "name",
                    "role",
                    "permissions",
                    "blocked",
                    "auth0_user_id"
                ]
            )
        ),
    }
}
