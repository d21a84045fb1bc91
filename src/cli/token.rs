//! `roster explain --token`: which check of a token fails, without a network and without a database.

use std::{io::Read, path::Path};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use super::{Exit, failure::Usage, output};
use crate::{
    authz::{
        Settings,
        explain::{Outcome, explain},
        jwks::KeySet,
        token::MAX_TOKEN,
    },
    config::Config,
};

pub(super) fn token(
    config: &Config,
    token: &str,
    jwks: Option<&Path>,
    json: bool,
) -> anyhow::Result<Exit> {
    let settings = Settings::from(config.authz()?);
    let keys = jwks.map(read_keys).transpose()?;
    let read = match token {
        "-" => read_token()?,
        token => token.to_owned(),
    };
    let steps = explain(read.trim(), &settings, keys.as_ref(), Timestamp::now());
    let failed = steps.iter().find(|step| step.outcome == Outcome::Failed);
    if json {
        let unknown = steps.iter().any(|step| step.outcome == Outcome::Unknown);
        // Without the signature it cannot be said.
        let accepted = match failed {
            Some(_) => Some(false),
            None => (!unknown).then_some(true),
        };
        output::json(&json!({"accepted": accepted, "checks": steps}))?;
    } else {
        let mut table = output::table(&["check", "", "code", "detail"]);
        for step in &steps {
            let outcome = match step.outcome {
                Outcome::Ok => "ok",
                Outcome::Failed => "failed",
                Outcome::Unknown => "unknown",
            };
            table.add_row([
                step.check,
                outcome,
                step.code.unwrap_or_default(),
                &step.detail,
            ]);
        }
        output::say!("{table}");
        output::say!(
            "{}",
            match failed {
                Some(step) => format!("Refused: {}.", step.detail),
                None if keys.is_none() =>
                    "Nothing fails; whether its signature holds is not known without --jwks."
                        .to_owned(),
                None =>
                    "Accepted. What its bearer may do is Postgres's to say: roster explain WHO."
                        .to_owned(),
            }
        );
    }
    Ok(match failed {
        Some(_) => Exit::Failed,
        None => Exit::Done,
    })
}

/// Not much longer than what is looked at, so that one that is too long is still told as such.
fn read_token() -> anyhow::Result<String> {
    let mut token = Vec::new();
    let mut stdin = std::io::stdin().lock().take(2 * MAX_TOKEN as u64);
    let read = stdin.read_to_end(&mut token);
    read.map_err(|error| Usage("--token -: stdin cannot be read".into(), error))?;
    Ok(String::from_utf8_lossy(&token).into_owned())
}

fn read_keys(file: &Path) -> anyhow::Result<KeySet> {
    let text = std::fs::read(file)
        .map_err(|error| Usage(format!("--jwks: {} cannot be read", file.display()), error))?;
    KeySet::parse(&text).with_context(|| {
        format!(
            "--jwks: {} is no set of keys as an issuer lists it",
            file.display()
        )
    })
}
