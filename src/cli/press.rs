//! The buttons: mode, pause, resume, sync, and the verdict on what is held. Each is one function of the schema.

use serde_json::json;

use super::{Exit, Mode, output, session};
use crate::{config::Config, db::control};

pub(super) async fn mode(config: &Config, mode: Mode, json: bool) -> anyhow::Result<Exit> {
    let client = session(config).await?;
    control::set_mode(&client, mode.as_str()).await?;
    if json {
        output::json(&json!({"mode": mode.as_str()}))?;
    } else {
        output::say!(
            "{}",
            match mode {
                Mode::Observe => "Mode observe: nothing is written to Auth0.",
                Mode::Additive =>
                    "Mode additive: users are created and updated, nobody is blocked or deleted.",
                Mode::Enforce =>
                    "Mode enforce: Auth0 follows the users table. Removals beyond the guard's limit are held; see roster held.",
            }
        );
    }
    Ok(Exit::Done)
}

pub(super) async fn pause(config: &Config, reason: &str) -> anyhow::Result<Exit> {
    let client = session(config).await?;
    control::pause(&client, reason).await?;
    output::say!(
        "Paused. Changes are captured and authorization goes on; roster resume lets the mirror go on."
    );
    Ok(Exit::Done)
}

pub(super) async fn resume(config: &Config) -> anyhow::Result<Exit> {
    let client = session(config).await?;
    control::resume(&client).await?;
    output::say!("Resumed.");
    Ok(Exit::Done)
}

pub(super) async fn held(
    config: &Config,
    release: Option<String>,
    discard: Option<String>,
    json: bool,
) -> anyhow::Result<Exit> {
    let client = session(config).await?;
    let (number, word) = match (release, discard) {
        (Some(which), _) => (control::release_held(&client, &which).await?, "released"),
        (None, Some(which)) => (
            control::discard_held(&client, &which).await?,
            "discarded; the accounts are kept until their rows change again",
        ),
        (None, None) => unreachable!("listing is another command"),
    };
    if json {
        output::json(&json!({"users": number}))?;
    } else {
        output::say!("{} {word}.", output::count(number.into(), "removal"));
    }
    Ok(Exit::Done)
}

pub(super) async fn sync(
    config: &Config,
    who: &[String],
    all: bool,
    failed: Option<&Option<String>>,
    wait: Option<f64>,
    json: bool,
) -> anyhow::Result<Exit> {
    let client = session(config).await?;
    // One transaction, so that one receipt covers everybody named.
    client.batch_execute("begin").await?;
    let users = if all {
        control::resync_all(&client).await?;
        None
    } else if let Some(code) = failed {
        Some(control::retry_failed(&client, code.as_deref()).await?)
    } else {
        let mut users = 0;
        for one in who {
            users += control::resync(&client, one).await?;
        }
        Some(users)
    };
    client.batch_execute("commit").await?;
    let asked = users.map_or_else(
        || "everybody".to_owned(),
        |number| output::count(number.into(), "user"),
    );
    let Some(seconds) = wait.filter(|_| users != Some(0)) else {
        if json {
            output::json(&json!({"users": users}))?;
        } else {
            output::say!("Asked for a look at {asked}.");
        }
        return Ok(Exit::Done);
    };
    let status = control::status(&client).await?;
    if status["reactors"].as_i64() == Some(0) {
        eprintln!("No reactor is running, so nothing happens until one does: roster run");
    }
    let receipt = control::wait(&client, seconds).await?;
    let exit = match (receipt.held, receipt.converged) {
        (1.., _) => Exit::Held,
        (_, true) => Exit::Done,
        _ => Exit::Differences,
    };
    if json {
        output::json(&receipt)?;
    } else if receipt.converged {
        output::say!("In sync: {asked}, after {:.2} s.", receipt.waited);
    } else {
        output::say!(
            "Not in sync after {:.1} s: {} held, {} for a person, {} suppressed by mode or pause. See roster plan and roster status.",
            receipt.waited,
            receipt.held,
            receipt.failed,
            receipt.suppressed
        );
    }
    Ok(exit)
}
