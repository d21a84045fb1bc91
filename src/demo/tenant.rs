//! Looking at the emulated Auth0 through its control face.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// How long one look may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Between two looks. Each is a request to this machine.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// The emulated tenant.
#[derive(Debug, Clone)]
pub(super) struct Tenant {
    /// Without a slash at its end.
    pub(super) url: String,
    http: reqwest::Client,
}

impl Tenant {
    pub(super) fn new(url: String) -> Result<Self> {
        // Whatever proxy the environment names, it does not lead to this machine.
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(LIMIT)
            .build()?;
        Ok(Self { url, http })
    }

    /// The accounts with this address, in the order they were made.
    pub(super) async fn accounts(&self, email: &str) -> Result<Vec<Value>> {
        let mut accounts = self.list("users").await?;
        accounts.retain(|account| account["email"] == email);
        Ok(accounts)
    }

    /// The links of the mails to this address, oldest first.
    pub(super) async fn links(&self, email: &str) -> Result<Vec<String>> {
        let mails = self.list("mail").await?;
        let mine = mails.iter().filter(|mail| mail["to"] == email);
        Ok(mine
            .filter_map(|mail| mail["link"].as_str())
            .map(str::to_owned)
            .collect())
    }

    /// Waits until so many people have an account and a mail.
    pub(super) async fn welcomes(&self, people: usize, patience: Duration) -> Result<()> {
        until(patience, || async move {
            let accounts = self.list("users").await?.len();
            let mails = self.list("mail").await?.len();
            ensure!(
                (accounts, mails) == (people, people),
                "{accounts} accounts and {mails} mails for {people} people"
            );
            Ok(())
        })
        .await
    }

    async fn list(&self, what: &str) -> Result<Vec<Value>> {
        let url = format!("{}/_emulator/{what}", self.url);
        let answer = self.http.get(url).send().await?.error_for_status()?;
        answer
            .json()
            .await
            .with_context(|| format!("the emulator's {what} could not be read"))
    }
}

/// Looks again and again until there is something to be seen; an error is what was seen instead.
pub(super) async fn until<T, F: Future<Output = Result<T>>>(
    patience: Duration,
    mut look: impl FnMut() -> F,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match look().await {
            Ok(seen) => return Ok(seen),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}
