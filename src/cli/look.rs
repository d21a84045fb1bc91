//! `roster status`, `roster plan` and `roster held` without a verdict: what is read, never changed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{Exit, output, session, stop_on_signal};
use crate::{
    config::Config,
    db::{control, plan},
};

/// How often `status --watch` looks.
const WATCH: Duration = Duration::from_secs(2);

pub(super) async fn status(config: &Config, watch: bool, json: bool) -> anyhow::Result<Exit> {
    let client = session(config).await?;
    if !watch {
        return show_status(&client, json).await;
    }
    let stop = stop_on_signal()?;
    loop {
        if !json {
            // Clear the terminal and begin at its top.
            print!("\x1b[2J\x1b[H");
        }
        let exit = show_status(&client, json).await?;
        tokio::select! {
            () = stop.cancelled() => return Ok(exit),
            () = tokio::time::sleep(WATCH) => {}
        }
    }
}

async fn show_status(client: &Client, as_json: bool) -> anyhow::Result<Exit> {
    let status = control::status(client).await?;
    let problems = control::problems(client).await?;
    // The whole plan is read only where something may be suppressed.
    let suppressed = match (status["mode"].as_str(), status["paused_at"].is_null()) {
        (Some("enforce"), true) => 0,
        _ => control::suppressed(client).await?,
    };
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let behind = number("pending") + number("unfolded") + suppressed;
    let exit = if number("held") > 0 {
        Exit::Held
    } else if behind > 0 || !problems.is_empty() {
        Exit::Differences
    } else {
        Exit::Done
    };
    if as_json {
        output::json(&json!({"status": status, "problems": problems}))?;
        return Ok(exit);
    }
    output::say!("{}", sentence(&status, problems.len()));
    let mut table = output::list();
    for (label, field) in [
        ("mode", "mode"),
        ("chosen by", "mode_chosen_by"),
        ("tenant", "tenant"),
        ("paused since", "paused_at"),
        ("because", "pause_reason"),
        ("reactors running", "reactors"),
        ("pending", "pending"),
        ("by lane", "pending_by_lane"),
        ("oldest since", "oldest_pending_since"),
        ("time left, about", "eta"),
        ("judged by", "eta_from"),
        ("held", "held"),
        ("parked", "parked"),
        ("disputed", "disputed"),
        ("failing", "failing"),
        ("invitations staged", "invitations_staged"),
        ("last LISTEN", "last_listen_at"),
        ("last sweep", "last_sweep_at"),
        ("last audit", "last_audit_at"),
        ("drift it found", "drift"),
        ("Auth0 budget", "budget"),
        ("changes not captured of", "capture_off"),
    ] {
        let text = output::plain(&status[field]);
        if !text.is_empty() && text != "{}" && text != "[]" {
            table.add_row([label.to_owned(), text]);
        }
    }
    if suppressed > 0 {
        table.add_row([
            "suppressed by mode or pause".to_owned(),
            suppressed.to_string(),
        ]);
    }
    output::say!("{table}");
    if !problems.is_empty() {
        output::say!(
            "{}",
            rows(
                &problems,
                &["problem", "code", "users", "examples", "advice"]
            )
        );
    }
    Ok(exit)
}

/// How things stand, in one sentence that ends in the next step.
fn sentence(status: &Value, problems: usize) -> String {
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    if !status["mode_was_chosen"].as_bool().unwrap_or(false) {
        let because = status["mode_chosen_by"]
            .as_str()
            .map(|by| format!(" ({by})"))
            .unwrap_or_default();
        return format!(
            "Observing only{because}: nothing is written to Auth0 until you choose. Look at roster plan, then run roster mode enforce."
        );
    }
    if status["mode"] == "observe" {
        return "Mode observe: nothing is written to Auth0. See roster plan; roster mode enforce lets it act.".to_owned();
    }
    if !status["paused_at"].is_null() {
        return "Paused: nothing is done until roster resume.".to_owned();
    }
    if number("reactors") == 0 {
        return "No reactor is running: changes wait. Start one with roster run.".to_owned();
    }
    if number("held") > 0 {
        return format!(
            "{} held for a person: see roster held, then roster held --release all (or --discard).",
            output::count(number("held"), "removal")
        );
    }
    let behind = number("pending") + number("unfolded");
    if behind > 0 {
        return format!("{} on the way to Auth0.", output::count(behind, "change"));
    }
    if problems > 0 {
        return format!(
            "Nothing is on its way, but {} below for a person.",
            match problems {
                1 => "there is a problem".to_owned(),
                n => format!("there are {n} problems"),
            }
        );
    }
    let staged = number("invitations_staged");
    if staged > 0 {
        return format!(
            "In sync; {} staged until a person releases them: roster.invite(who) in SQL.",
            output::count(staged, "invitation")
        );
    }
    "In sync.".to_owned()
}

pub(super) async fn plan(config: &Config, who: &[String], json: bool) -> anyhow::Result<Exit> {
    let client = session(config).await?;
    let rows = plan::read(&client, who).await?;
    let exit = if rows.iter().any(|row| row.state == "held") {
        Exit::Held
    } else if rows
        .iter()
        .all(|row| matches!(row.state.as_str(), "kept" | "staged"))
    {
        // A person has decided, or will when it suits.
        Exit::Done
    } else {
        Exit::Differences
    };
    if json {
        output::json(&rows)?;
        return Ok(exit);
    }
    if rows.is_empty() {
        output::say!("Nothing to do.");
        return Ok(exit);
    }
    let mut table = output::table(&["user", "e-mail", "action", "state", "why", "changes"]);
    for row in &rows {
        table.add_row([
            row.user_key.as_str(),
            row.email.as_deref().unwrap_or_default(),
            row.action.as_str(),
            &row.state,
            row.reason.as_deref().unwrap_or_default(),
            &output::changes(&row.changes),
        ]);
    }
    output::say!("{table}");
    Ok(exit)
}

pub(super) async fn held(config: &Config, json: bool) -> anyhow::Result<Exit> {
    let client = session(config).await?;
    let held = control::held(&client).await?;
    let exit = if held.is_empty() {
        Exit::Done
    } else {
        Exit::Held
    };
    if json {
        output::json(&held)?;
    } else if held.is_empty() {
        output::say!("No removal is held.");
    } else {
        output::say!(
            "{}",
            rows(&held, &["user_key", "email", "action", "reason", "since"])
        );
        output::say!(
            "Let them go ahead: roster held --release all. Keep the accounts: roster held --discard all. Or one user instead of all."
        );
    }
    Ok(exit)
}

/// Objects as a table of these columns.
pub(super) fn rows(objects: &[Value], columns: &[&str]) -> comfy_table::Table {
    let header: Vec<String> = columns
        .iter()
        .map(|column| column.replace('_', " "))
        .collect();
    let mut table = output::table(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for object in objects {
        table.add_row(columns.iter().map(|column| output::plain(&object[*column])));
    }
    table
}
