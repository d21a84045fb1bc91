//! The authorization server: whose tokens does it take, and can it verify them?

use super::{Finding, Level};
use crate::{
    authz::{self, discovery::Issuer},
    config::Config,
    http,
    telemetry::with_causes,
};

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(files) = &config.http.tls
        && let Err(error) = http::Tls::load(files).await
    {
        findings.push(Finding::fault(
            "certificate",
            with_causes(&error),
            "mend http.tls",
        ));
    }
    let settings = match config.authz() {
        Ok(config) => authz::Settings::from(config),
        Err(error) => {
            let remedy = "set authz.audience to the identifier of the API that applications ask tokens for; or run --only reactor";
            findings.push(Finding::warning("issuer", with_causes(&error), remedy));
            return findings;
        }
    };
    findings.push(match authz::discovery::ask(&settings).await {
        Ok(Issuer::Same { keys }) => Finding::fine(
            "issuer",
            format!("{} signs with {keys} keys", settings.issuer),
        ),
        Ok(Issuer::Named { name }) => Finding::fault(
            "issuer",
            format!(
                "it calls itself {name}, not {}: its tokens are refused",
                settings.issuer
            ),
            format!("set authz.issuer to {name}"),
        ),
        Ok(Issuer::Unnamed { keys }) => Finding::warning(
            "issuer",
            format!("its discovery document cannot be read; its {keys} keys can"),
            format!(
                "see that authz.issuer ({}) is what stands in its tokens as iss",
                settings.issuer
            ),
        ),
        Err(error) => Finding::bad(
            "issuer",
            Level::Unreachable,
            with_causes(&error),
            format!("see that this machine reaches {}", settings.jwks_url),
        ),
    });
    findings
}
