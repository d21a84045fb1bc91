//! `roster run`, `roster demo` and `roster emulator`: what goes on until it is stopped.

use std::{net::SocketAddr, path::Path};

use anyhow::Context;
use serde_json::json;
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{Exit, Only, output, stop_on_signal};
use crate::{
    config::Config,
    demo::{self, Outcome},
    emulator::{self, Options},
    progress::Progress,
    service::{self, Part},
    supervision::supervise,
};

pub(super) async fn run(config: &Config, only: Option<Only>) -> anyhow::Result<Exit> {
    let part = match only {
        None => Part::Everything,
        Some(Only::Reactor) => Part::Reactor,
        Some(Only::Server) => Part::Server,
    };
    let (stop, progress) = (stop_on_signal()?, Progress::default());
    let (ready, is_ready) = oneshot::channel();
    let supervised = supervise(progress.clone(), is_ready, stop.clone());
    let _supervised = AbortOnDropHandle::new(tokio::spawn(supervised));
    service::run(config, part, progress, ready, stop).await?;
    Ok(Exit::Done)
}

pub(super) async fn demo(tour: bool, json: bool) -> anyhow::Result<Exit> {
    let outcome = demo::run(demo::Options { tour, json }, stop_on_signal()?).await?;
    match outcome {
        Outcome::Interrupted => anyhow::bail!("the tour was stopped before its end"),
        _ if outcome.held() => Ok(Exit::Done),
        _ => anyhow::bail!("the tour did not hold"),
    }
}

pub(super) async fn emulator(
    listen: SocketAddr,
    options: Option<&Path>,
    json: bool,
) -> anyhow::Result<Exit> {
    let options = match options {
        Some(file) => emulator_options(file)?,
        None => Options::default(),
    };
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("--listen: {listen} cannot be listened on"))?;
    let url = format!("http://{}", listener.local_addr()?);
    if json {
        output::json(&json!({
            "url": url, "users": format!("{url}/_emulator/users"), "mail": format!("{url}/_emulator/mail"),
            "options": format!("{url}/_emulator/options"), "client_id": options.m2m.client_id,
        }))?;
    } else {
        output::say!("Auth0 emulator at {url}; everything is forgotten when it ends.");
        output::say!("Its users: {url}/_emulator/users   mailbox: {url}/_emulator/mail");
        output::say!("Its options: {url}/_emulator/options");
        output::say!("To let roster use it:");
        output::say!("    export ROSTER__AUTH0__BASE_URL={url}");
        output::say!("    export AUTH0_MGMT_CLIENT_ID={}", options.m2m.client_id);
        output::say!(
            "    export AUTH0_MGMT_CLIENT_SECRET={}",
            emulator_secret(&options)
        );
        output::say!(
            "    export ROSTER__AUTHZ__AUDIENCE={}",
            options.audiences.join(",")
        );
        output::say!("    export ROSTER__AUTHZ__EMAIL_CLAIM=https://roster.dev/email");
        output::say!(
            "A token for one of its users: curl -d '{{\"user_id\": \"auth0|…\"}}' {url}/_emulator/tokens"
        );
    }
    emulator::serve(listener, options, stop_on_signal()?).await?;
    Ok(Exit::Done)
}

fn emulator_options(file: &Path) -> anyhow::Result<Options> {
    let read = || -> anyhow::Result<Options> {
        let changes = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        Ok(Options::default().with(changes)?)
    };
    read().with_context(|| {
        format!(
            "--options: {} is not a JSON object of the emulator's options; GET /_emulator/options shows them all",
            file.display()
        )
    })
}

/// The emulator's secret is no secret: it is the same for everybody.
fn emulator_secret(options: &Options) -> &str {
    use secrecy::ExposeSecret;
    options.m2m.client_secret.expose_secret()
}
