//! Looking at the emulated Auth0 through its control face.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// How long one look may take.
const LIMIT: Duration = Duration::from_secs(5);

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

    /// How many mails there are.
    pub(super) async fn mails(&self) -> Result<usize> {
        Ok(self.list("mail").await?.len())
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
