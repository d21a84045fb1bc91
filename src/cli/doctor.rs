//! `roster doctor`: every check with what it found, and what to do.

use super::{Exit, output};
use crate::{
    config::Config,
    doctor::{self, Level},
};

pub(super) async fn doctor(config: &Config, json: bool) -> anyhow::Result<Exit> {
    let findings = doctor::examine(config).await;
    let worst = findings.iter().map(|one| one.level).max();
    let exit = match worst {
        Some(Level::Unreachable) => Exit::Unreachable,
        Some(Level::Fault) => Exit::Failed,
        _ => Exit::Done,
    };
    if json {
        output::json(&findings)?;
        return Ok(exit);
    }
    for finding in &findings {
        let word = match finding.level {
            Level::Fine => "fine",
            Level::Unknown => "not known",
            Level::Warning => "warning",
            Level::Fault => "fault",
            Level::Unreachable => "unreachable",
        };
        output::say!("{word:<11} {}: {}", finding.check, finding.found);
        if let Some(remedy) = &finding.remedy {
            output::say!("{:<11} do: {remedy}", "");
        }
    }
    let bad = findings.iter().filter(|one| one.level > Level::Warning);
    let warnings = findings.iter().filter(|one| one.level == Level::Warning);
    output::say!(
        "{} checks, {} bad, {}",
        findings.len(),
        bad.count(),
        output::count(warnings.count() as i64, "warning")
    );
    Ok(exit)
}
