//! The tenant: does it give a token, for what, where do accounts go, and how fast may they?

use super::{Finding, Level};
use crate::{
    auth0::{CallError, Class, Client, Strategy},
    config::Config,
    service,
    telemetry::with_causes,
};

/// What the mirror calls (README, "On your own database and tenant").
const NEEDED: [&str; 4] = ["read:users", "create:users", "update:users", "delete:users"];
/// Lets first loads go by import jobs, and this check look.
const HARMLESS: &str = "read:connections";

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let client = match service::client(config) {
        Ok(client) => client,
        Err(error) => {
            let remedy = "set AUTH0_MGMT_DOMAIN, AUTH0_MGMT_CLIENT_ID and AUTH0_MGMT_CLIENT_SECRET to those of a machine-to-machine application";
            return vec![Finding::fault("tenant", with_causes(&error), remedy)];
        }
    };
    let scopes = match client.check_token().await {
        Ok(scopes) => scopes,
        Err(error) => return vec![refused("token", &error)],
    };
    let mut findings = vec![Finding::fine(
        "token",
        "Auth0 gives one to this application",
    )];
    findings.push(judged(&scopes));
    findings.push(connection(&client, &scopes).await);
    findings.push(pace(&client).await);
    findings
}

fn judged(scopes: &[String]) -> Finding {
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|needed| !scopes.iter().any(|scope| scope == needed))
        .collect();
    if !missing.is_empty() {
        return Finding::fault(
            "scopes",
            format!("missing: {}", missing.join(", ")),
            "Auth0's dashboard: Applications, APIs, Auth0 Management API, Machine to Machine Applications: add them",
        );
    }
    let superfluous: Vec<&str> = scopes
        .iter()
        .map(String::as_str)
        .filter(|scope| !NEEDED.contains(scope) && *scope != HARMLESS)
        .collect();
    match superfluous.is_empty() {
        true => Finding::fine("scopes", "what Roster needs, and nothing more"),
        false => Finding::warning(
            "scopes",
            format!("granted and never used: {}", superfluous.join(", ")),
            "take them away at the same place: a stolen secret could use them",
        ),
    }
}

async fn connection(client: &Client, scopes: &[String]) -> Finding {
    let name = client.connection();
    if !scopes.iter().any(|scope| scope == HARMLESS) {
        return Finding::bad(
            "connection",
            Level::Unknown,
            format!("whether there is a database connection {name} cannot be seen"),
            "see in Auth0's dashboard: Authentication, Database; or grant read:connections, with which first loads go by import jobs too",
        );
    }
    match client.strategy().await {
        Ok(Strategy::Database) => {
            Finding::fine("connection", format!("{name} is a database connection"))
        }
        Ok(Strategy::Other(strategy)) => Finding::fault(
            "connection",
            format!("{name} is no database connection but {strategy}"),
            "set auth0.connection to a database connection, such as Username-Password-Authentication",
        ),
        Ok(Strategy::None) => Finding::fault(
            "connection",
            format!("there is no connection {name}"),
            "set auth0.connection to one that is there, or make it: Authentication, Database, Create DB Connection",
        ),
        Err(error) => refused("connection", &error),
    }
}

/// Limits are learnt from answers; looking at nobody brings one.
async fn pace(client: &Client) -> Finding {
    if let Err(error) = client.user(&"auth0|roster-doctor".into()).await {
        return refused("rate limit", &error);
    }
    let budget = client.pace().budget();
    let reads = budget.iter().find(|one| one.class == Class::ReadUsers);
    match reads.and_then(|reads| Some((reads.limit?, reads.remaining?))) {
        Some((limit, remaining)) => Finding::fine(
            "rate limit",
            format!(
                "bursts of {limit} reads of users, {remaining} left; the pace of writes is learnt from the first one"
            ),
        ),
        None => Finding::fine("rate limit", "Auth0's answers name none"),
    }
}

fn refused(check: &'static str, error: &CallError) -> Finding {
    let (level, remedy) = match error.code() {
        "not_sent" | "answer_lost" | "token_unreachable" => (
            Level::Unreachable,
            "see that this machine reaches AUTH0_MGMT_DOMAIN by https",
        ),
        _ => (
            Level::Fault,
            "see that client id, secret and auth0.audience are those of an application that may use the Management API",
        ),
    };
    Finding::bad(check, level, with_causes(error), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(scopes: &[&str]) -> (Level, String) {
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let finding = judged(&scopes);
        (finding.level, finding.found)
    }

    #[test]
    fn a_scope_too_few_is_a_fault_and_one_too_many_a_warning() {
        assert_eq!(level(&NEEDED).0, Level::Fine);
        let (few, missing) = level(&NEEDED[..3]);
        assert_eq!((few, &*missing), (Level::Fault, "missing: delete:users"));
        let many = [&NEEDED[..], &["read:connections", "delete:clients"]].concat();
        let (many, extra) = level(&many);
        assert_eq!(
            (many, &*extra),
            (Level::Warning, "granted and never used: delete:clients")
        );
    }
}
