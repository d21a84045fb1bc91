//! `roster migrate`.

use super::{Exit, output};
use crate::{
    config::Config,
    db::migrate::{self, Report},
    service::Ways,
};

pub(super) async fn migrate(
    config: &Config,
    print_sql: bool,
    apply: bool,
    json: bool,
) -> anyhow::Result<Exit> {
    let mut client = Ways::of(config)?
        .main
        .named("roster migrate")
        .session()
        .await?;
    if print_sql {
        println!("{}", migrate::script(&mut client).await?);
        return Ok(Exit::Done);
    }
    let report = migrate::migrate(&mut client, apply).await?;
    if json {
        output::json(&report)?;
    } else {
        tell(&report);
    }
    Ok(if report.view_to_write.is_some() {
        Exit::Configuration
    } else {
        Exit::Done
    })
}

fn tell(report: &Report) {
    match report.applied.as_slice() {
        [] => println!("The schema was up to date; triggers and views were applied again."),
        applied => println!("Applied {}.", applied.join(", ")),
    }
    if !report.watched.is_empty() {
        println!("Changes are captured on {}.", report.watched.join(", "));
    }
    if !report.for_a_superuser.is_empty() {
        println!(
            "\nThis user may not do the following; Roster works without, with fewer roles to grant. Someone who may:"
        );
        for statement in &report.for_a_superuser {
            println!("    {statement}");
        }
    }
    if !report.indexes.is_empty() {
        println!(
            "\nThe users table was there before, so its indexes are yours to add. Look-ups need these (roster migrate --apply does it):"
        );
        for statement in &report.indexes {
            println!("    {statement};");
        }
    }
    match &report.view_to_write {
        Some(view) => println!(
            "\nThe users table has other columns than expected. Write this view, then run roster migrate again:\n\n{view}"
        ),
        None => println!(
            "\nNext: roster run (observes only), roster plan (what would be done), roster mode enforce."
        ),
    }
}
