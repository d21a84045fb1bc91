//! The sample people, and one of them who is logged in for real.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use crate::db::{self, demo::People};

use super::{
    application::Tokens,
    person::{PASSWORD, Person, Way},
    stage::Set,
};

/// Who is logged in.
const ADA: &str = "ada@example.com";

/// What there is once everybody is in.
pub(super) struct Welcome {
    /// Rows of the users table.
    pub(super) people: People,
    /// From the commit until all who are active had an account and a mail.
    pub(super) took: Duration,
    /// Who is logged in.
    pub(super) email: &'static str,
    /// With what.
    pub(super) password: &'static str,
    /// The tokens of that log-in.
    pub(super) tokens: Tokens,
    /// The header `Authorization` with the access token, for `curl -H @FILE`.
    pub(super) header: PathBuf,
}

/// Puts the sample people in, waits until Auth0 knows them, and logs one in through the mailed link.
pub(super) async fn welcome(set: &Set, patience: Duration) -> Result<Welcome> {
    let people = db::demo::add_people(&set.dba).await?;
    let started = Instant::now();
    let mirrored = set.tenant.welcomes(people.active, patience).await;
    mirrored
        .with_context(|| format!("the sample people had not reached Auth0 after {patience:?}"))?;
    let took = started.elapsed();
    let ada = Person::new(ADA, Way::Password)?;
    let links = set.tenant.links(ADA).await?;
    ada.set_password(
        links
            .last()
            .context("no mail came for the first sample person")?,
    )
    .await?;
    let tokens = ada
        .log_in(&set.application)
        .await?
        .map_err(|refusal| anyhow!("the first log-in was refused: {refusal}"))?;

    let header = set.dir.join("ada.header");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&header)?;
    writeln!(file, "Authorization: Bearer {}", tokens.access_token)?;
    Ok(Welcome {
        people,
        took,
        email: ADA,
        password: PASSWORD,
        tokens,
        header,
    })
}
