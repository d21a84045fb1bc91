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
        .listen
        .named("roster migrate")
        .session()
        .await?;
    if print_sql {
        output::say!("{}", migrate::script(&mut client).await?);
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
        [] => output::say!("The schema was up to date; triggers and views were applied again."),
        applied => output::say!("Applied {}.", applied.join(", ")),
    }
    if !report.watched.is_empty() {
        output::say!("Changes are captured on {}.", report.watched.join(", "));
    }
    if report.users_unwatched && report.view_to_write.is_none() {
        output::say!(
            "\nNo users table is watched yet, so changes are found only by the sweep. Name it, its key and the columns your view reads:\n    \
             select roster.watch('public.users', key => 'id', columns => array['email', …]);"
        );
    }
    if !report.for_a_superuser.is_empty() {
        output::say!(
            "\nThis user may not do the following; Roster works without, with fewer roles to grant. Someone who may:"
        );
        for statement in &report.for_a_superuser {
            output::say!("    {statement}");
        }
    }
    if !report.indexes.is_empty() {
        output::say!(
            "\nThe users table was there before, so its indexes are yours to add. Look-ups need these (roster migrate --apply does it):"
        );
        for statement in &report.indexes {
            output::say!("    {statement};");
        }
    }
    match &report.view_to_write {
        Some(view) => output::say!(
            "\nThe users table has other columns than expected. Write this view, run roster migrate again, then call roster.watch on the table:\n\n{view}"
        ),
        None => output::say!(
            "\nNext: roster run (observes only), roster plan (what would be done), roster mode enforce."
        ),
    }
}
