//! `roster audit`: compare with Auth0 itself, show what differs, and say what is to become of it.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use serde_json::json;

use super::{
    Exit,
    bar::Bar,
    drift::{self, Format},
    failure::Usage,
    output, session, stop_on_signal,
};
use crate::{
    audit::{Audit, Step, Witness},
    config::Config,
    db::audit::{self, Summary},
    service::{self, Ways},
};

/// Looks under way at a time; the rate limit is the pace, so few are enough.
const LOOKS: usize = 4;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Have everything mended that the plan can mend, through its guards
    #[arg(long)]
    repair: bool,
    /// Write what was found to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How it is written
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Also list every account, and every user without one, with its class: linked, matchable, disputed, only in Auth0, only in Postgres (CSV)
    #[arg(long, value_name = "FILE")]
    accounts: Option<PathBuf>,
    /// No audit: have these findings of the last one mended
    #[arg(long, value_name = "WHICH", group = "verdict", conflicts_with_all = ["repair", "output", "accounts"])]
    revert: Option<String>,
    /// No audit: print the statements that would let the rows say what Auth0 has; runs none of them
    #[arg(long, value_name = "WHICH", group = "verdict", conflicts_with_all = ["repair", "output", "accounts"])]
    adopt: Option<String>,
    /// No audit: leave these findings of the last one as they are, until they change
    #[arg(long, value_name = "WHICH", group = "verdict", conflicts_with_all = ["repair", "output", "accounts"])]
    ignore: Option<String>,
}

pub(super) async fn audit(config: &Config, options: Options, json: bool) -> anyhow::Result<Exit> {
    if let Some(which) = options.adopt {
        return show_statements(config, &which, json).await;
    }
    if let Some(which) = options.revert {
        let findings = audit::revert(&session(config).await?, &which).await?;
        return judged(findings, "given to the plan; see roster plan", json);
    }
    if let Some(which) = options.ignore {
        let findings = audit::ignore(&session(config).await?, &which).await?;
        return judged(findings, "ignored until they change", json);
    }
    // Found out before an hour's work.
    drop(session(config).await?);
    let file = options
        .output
        .as_deref()
        .map(|path| create("--output", path))
        .transpose()?;
    let to_a_file = file.is_some();
    let mut work = Audit::new(Ways::of(config)?.listen, service::client(config)?, LOOKS);
    if let Some(path) = &options.accounts {
        work.list = Some(Arc::new(create("--accounts", path)?));
    }
    let summary = {
        let shown = Shown(Bar::new());
        work.run(&shown, &stop_on_signal()?).await?
    };
    let client = session(config).await?;
    let found = audit::drift(&client).await?;
    let format = if json { Format::Json } else { options.format };
    let text = drift::text(format, &summary, &found, to_a_file)?;
    let text = text.trim_end();
    match file {
        Some(mut file) => writeln!(file, "{text}")?,
        None if text.is_empty() => {}
        None => output::say!("{text}"),
    }
    let reverted = match options.repair {
        true => audit::revert_all(&client).await?,
        false => 0,
    };
    if format == Format::Table || to_a_file {
        tell(&summary, reverted);
    }
    Ok(match summary.open {
        0 => Exit::Done,
        _ => Exit::Differences,
    })
}

fn create(option: &str, path: &Path) -> Result<File, Usage> {
    let what = || format!("{option}: {} cannot be written", path.display());
    File::create(path).map_err(|error| Usage(what(), error))
}

fn judged(findings: i32, word: &str, json: bool) -> anyhow::Result<Exit> {
    if json {
        output::json(&json!({"findings": findings}))?;
    } else {
        output::say!("{} {word}.", output::count(findings.into(), "finding"));
    }
    Ok(Exit::Done)
}

async fn show_statements(config: &Config, which: &str, json: bool) -> anyhow::Result<Exit> {
    let statements = audit::adopt(&session(config).await?, which).await?;
    if json {
        output::json(&statements)?;
    } else {
        for statement in statements {
            output::say!("{statement}");
        }
    }
    Ok(Exit::Done)
}

fn tell(summary: &Summary, reverted: i32) {
    let seen = match summary.source.as_str() {
        "export" => format!(
            "{} in the export",
            output::count(summary.accounts_seen, "account")
        ),
        _ => format!(
            "{} read one by one, since there are no exports here: accounts that Roster did not link were not seen",
            output::count(summary.accounts_seen, "linked account")
        ),
    };
    let differ = match summary.open {
        0 => "no differences".to_owned(),
        n => output::count(n, "difference"),
    };
    output::say!(
        "{seen}, {} looked at by id: {differ}.",
        summary.candidates - summary.unconfirmed
    );
    for (number, words) in [
        (summary.found - summary.open, "ignored, as a person said."),
        (
            summary.on_their_way,
            "not judged, since Roster is at work with them.",
        ),
        (
            summary.unconfirmed,
            "seem to differ and were not looked at; audit again once these are settled.",
        ),
    ] {
        if number > 0 {
            output::say!("{number} {words}");
        }
    }
    if reverted > 0 {
        output::say!(
            "{} given to the plan, which mends them through its guards: see roster plan and roster held.",
            output::count(reverted.into(), "finding")
        );
    } else if summary.open > 0 {
        output::say!(
            "Next: roster audit --revert, --adopt or --ignore with all, #id, a kind or a user; psql has them in roster.drift."
        );
    }
}

/// Shows the steps of an audit.
struct Shown(Bar);

impl Witness for Shown {
    fn sees(&self, step: Step<'_>) {
        match step {
            Step::Export { percent } => {
                self.0.show("Auth0 exports its users (percent)", percent.unwrap_or(0).into(), percent.map(|_| 100));
            }
            Step::Load { received, length, .. } => {
                self.0.show("reading the export (bytes)", received, length);
            }
            Step::NoExport { code } => self.0.say(&format!(
                "no export of this tenant ({code}): its linked accounts are read one by one, and accounts that Roster did not link are not seen"
            )),
            Step::Compare => self.0.show("comparing", 0, None),
            Step::Look { done, of } => self.0.show("looking at accounts", done, Some(of)),
        }
    }
}
