//! The tour: a user is created, updated and deleted in SQL, and each step is believed only when it is seen from outside.
//!
//! It is played twice, for a person with a password and for one who comes with Google. A step that does not hold ends the
//! part of that person, since what follows stands on it.

mod steps;

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use serde_json::Value;

use crate::db::{
    self,
    demo::{People, Sample},
};

use super::{
    Verdict,
    application::{Answer, Tokens, claims},
    person::{Person, Way},
    stage::Set,
    tenant::until,
};
use steps::{Broken, Steps};

const TESSA: Sample = Sample {
    email: "tessa@example.com",
    name: "Tessa Tour",
};
const GUS: Sample = Sample {
    email: "gus@example.com",
    name: "Gus Google",
};
/// The role everybody begins with, and the one they are given; the permissions are those of `sql/demo/people.sql`.
const ARTIST: Role = Role {
    name: "Artist",
    permissions: &["read:songs", "write:songs"],
};
const MANAGER: Role = Role {
    name: "Manager",
    permissions: &["publish:songs", "read:songs"],
};
/// The namespace of `config/auth0-action.js`.
const ROLE_CLAIM: &str = "https://roster.dev/role";
const PERMISSIONS_CLAIM: &str = "https://roster.dev/permissions";

/// A role and what it may do, sorted.
struct Role {
    name: &'static str,
    permissions: &'static [&'static str],
}

impl Role {
    fn in_words(&self) -> String {
        format!("{} ({})", self.name, self.permissions.join(", "))
    }

    /// Whether a role and permissions that were seen are these; an error says what was seen.
    fn check(&self, role: &Value, permissions: &Value) -> Result<()> {
        let same = *role == self.name && *permissions == serde_json::json!(self.permissions);
        ensure!(
            same,
            "the role is {role} and the permissions are {permissions}"
        );
        Ok(())
    }
}

/// Plays the whole tour.
pub(super) async fn walk(
    set: &Set,
    patience: Duration,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Result<Verdict> {
    let started = Instant::now();
    let mut steps = Steps::new(patience, json, out);
    steps.say("Roster tour: SQL on one side, Auth0 (emulated) and the application on the other.\n");
    let sample = sample_people(set, &mut steps).await;
    if sample.is_ok() {
        for (sample, way) in [(TESSA, Way::Password), (GUS, Way::Google)] {
            let mut visit = Visit {
                set,
                sample,
                way,
                person: Person::new(sample.email, way)?,
                steps: &mut steps,
            };
            // Told already, and counted.
            let _: Result<(), Broken> = visit.whole().await;
        }
    }
    Ok(steps.end(started.elapsed())?)
}

async fn sample_people(set: &Set, steps: &mut Steps<'_>) -> Result<(), Broken> {
    steps.act(
        "Before: roles, permissions and sample people",
        "(sql/demo/people.sql)",
    );
    let patience = steps.patience;
    let mirrored = async {
        let People { all, active } = db::demo::add_people(&set.dba).await?;
        set.tenant.welcomes(active, patience).await?;
        Ok(((), format!("{all} rows, {active} accounts, {active} mails")))
    };
    steps.step("mirrored", mirrored).await
}

/// One person's part.
struct Visit<'a, 'b> {
    set: &'a Set,
    sample: Sample,
    way: Way,
    person: Person,
    steps: &'a mut Steps<'b>,
}

impl Visit<'_, '_> {
    async fn whole(&mut self) -> Result<(), Broken> {
        let tokens = self.create().await?;
        let tokens = self.update(tokens).await?;
        self.delete(tokens).await
    }

    fn title(&self, what: &str) -> String {
        match self.way {
            Way::Password => format!("{what}: a person with a password"),
            Way::Google => format!("{what}: a person who logs in with Google"),
        }
    }

    fn log_in_name(&self) -> &'static str {
        match self.way {
            Way::Password => "log-in",
            Way::Google => "log-in by Google",
        }
    }

    async fn create(&mut self) -> Result<Tokens, Broken> {
        self.change("Create", self.sample.insert(ARTIST.name))
            .await?;
        self.accounts("mirrored to Auth0", 1, &ARTIST, None).await?;
        self.written_back().await?;
        if let Way::Password = self.way {
            let link = self.mail().await?;
            let chosen = async {
                self.person.set_password(&link).await?;
                Ok(((), "through the mailed link".to_owned()))
            };
            self.steps.step("password set", chosen).await?;
        }
        let tokens = match self.way {
            Way::Password => self.log_in(Some(&ARTIST)).await?,
            // Auth0 makes the Google account at this log-in, so its first token cannot carry anything yet.
            Way::Google => self.log_in(None).await?,
        };
        self.me(&tokens, &ARTIST).await?;
        if let Way::Google = self.way {
            self.accounts("Google account", 2, &ARTIST, Some(&tokens))
                .await?;
        }
        Ok(tokens)
    }

    async fn update(&mut self, before: Tokens) -> Result<Tokens, Broken> {
        self.change("Update", self.sample.set_role(MANAGER.name))
            .await?;
        // Asked once and at once, with the token from before: Postgres decides, whatever Auth0 has been told yet.
        self.me(&before, &MANAGER).await?;
        let accounts = match self.way {
            Way::Password => 1,
            Way::Google => 2,
        };
        self.accounts("app_metadata", accounts, &MANAGER, None)
            .await?;
        let tokens = self.log_in(Some(&MANAGER)).await?;
        let refresh = before.refresh_token.as_deref().unwrap_or_default();
        let refreshed = async {
            let fresh = self
                .set
                .application
                .refresh(refresh)
                .await?
                .map_err(|r| anyhow!("refused: {r}"))?;
            let claims = claims(&fresh.access_token)?;
            MANAGER.check(&claims[ROLE_CLAIM], &claims[PERMISSIONS_CLAIM])?;
            Ok(((), "the renewed token carries it too".to_owned()))
        };
        self.steps.step("old session", refreshed).await?;
        Ok(tokens)
    }

    async fn delete(&mut self, tokens: Tokens) -> Result<(), Broken> {
        self.change("Delete", self.sample.delete()).await?;
        self.refused(&tokens, "GET /v1/me at once").await?;
        let (set, email, patience) = (self.set, self.sample.email, self.steps.patience);
        let blocked = async {
            until(patience, || async move {
                let accounts = set.tenant.accounts(email).await?;
                let open: Vec<_> = accounts.iter().filter(|a| a["blocked"] != true).collect();
                ensure!(!accounts.is_empty(), "the accounts are gone");
                ensure!(
                    open.is_empty(),
                    "{} of {} accounts are not blocked",
                    open.len(),
                    accounts.len()
                );
                Ok(match &accounts[..] {
                    [one] => ((), one["user_id"].as_str().unwrap_or_default().to_owned()),
                    _ => ((), "both accounts".to_owned()),
                })
            })
            .await
        };
        self.steps.step("blocked in Auth0", blocked).await?;
        let login = async {
            match self.person.log_in(&set.application).await? {
                Ok(_) => Err(anyhow!("Auth0 let the person in")),
                Err(refusal) => Ok(((), format!("refused, {refusal}"))),
            }
        };
        self.steps.step(self.log_in_name(), login).await?;
        let refresh = tokens.refresh_token.as_deref().unwrap_or_default();
        let session = async {
            match set.application.refresh(refresh).await? {
                Ok(_) => Err(anyhow!("the session was renewed")),
                Err(refusal) => Ok(((), format!("not renewed, {refusal}"))),
            }
        };
        self.steps.step("old session", session).await?;
        self.refused(&tokens, "GET /v1/me, old token").await
    }

    /// Begins an act by committing its statement.
    async fn change(&mut self, what: &str, statement: String) -> Result<(), Broken> {
        self.steps.act(&self.title(what), &statement);
        let commit = async {
            db::demo::run(&self.set.dba, &statement).await?;
            Ok(((), String::new()))
        };
        self.steps.step("committed", commit).await
    }

    /// Waits until the person has so many accounts, all with this role and its permissions. Meanwhile the application goes
    /// on asking with `tokens`, as it does at each of its own requests: a further account is followed from one of them on.
    async fn accounts(
        &mut self,
        name: &str,
        number: usize,
        role: &Role,
        tokens: Option<&Tokens>,
    ) -> Result<(), Broken> {
        let (set, email, patience) = (self.set, self.sample.email, self.steps.patience);
        let seen = async {
            until(patience, || async move {
                if let Some(tokens) = tokens {
                    set.application.me(&tokens.access_token, None).await?;
                }
                let accounts = set.tenant.accounts(email).await?;
                ensure!(
                    accounts.len() == number,
                    "{} accounts instead of {number}",
                    accounts.len()
                );
                for account in &accounts {
                    let metadata = &account["app_metadata"];
                    role.check(&metadata["role"], &metadata["permissions"])?;
                }
                let on = if number > 1 { ", both accounts" } else { "" };
                Ok(((), format!("{}{on}", role.in_words())))
            })
            .await
        };
        self.steps.step(name, seen).await
    }

    /// Waits until the row holds the id of the account.
    async fn written_back(&mut self) -> Result<(), Broken> {
        let (dba, email, patience) = (&self.set.dba, self.sample.email, self.steps.patience);
        let seen = async {
            until(patience, || async move {
                let id = db::demo::auth0_user_id(dba, email).await?;
                let id = id.ok_or_else(|| anyhow!("the row names no account"))?;
                Ok(((), id))
            })
            .await
        };
        self.steps.step("id in the row", seen).await
    }

    /// Waits for the mail; gives its link.
    async fn mail(&mut self) -> Result<String, Broken> {
        let (tenant, email, patience) = (&self.set.tenant, self.sample.email, self.steps.patience);
        let seen = async {
            until(patience, || async move {
                let links = tenant.links(email).await?;
                ensure!(links.len() == 1, "{} mails instead of one", links.len());
                Ok((links[0].clone(), format!("one, to {email}")))
            })
            .await
        };
        self.steps.step("mail in the mailbox", seen).await
    }

    /// Logs in; the token has to carry the role and its permissions, or nothing of either.
    async fn log_in(&mut self, role: Option<&Role>) -> Result<Tokens, Broken> {
        let name = self.log_in_name();
        let login = async {
            let tokens = self
                .person
                .log_in(&self.set.application)
                .await?
                .map_err(|r| anyhow!("refused: {r}"))?;
            let claims = claims(&tokens.access_token)?;
            let seen = match role {
                Some(role) => {
                    role.check(&claims[ROLE_CLAIM], &claims[PERMISSIONS_CLAIM])?;
                    format!("token says {}", role.in_words())
                }
                None => format!("as {}", claims["sub"].as_str().unwrap_or_default()),
            };
            Ok((tokens, seen))
        };
        self.steps.step(name, login).await
    }

    /// Asks Roster once: it has to let the person in, with this role and its permissions.
    async fn me(&mut self, tokens: &Tokens, role: &Role) -> Result<(), Broken> {
        let asked = async {
            let answer = ask(self.set, tokens).await?;
            ensure!(
                answer.status == 200,
                "{}, {}",
                answer.status,
                answer.body["code"]
            );
            let user = &answer.body["user"];
            role.check(&user["role"], &user["permissions"])?;
            let carried = claims(&tokens.access_token)?[ROLE_CLAIM].clone();
            let although = match carried.as_str() {
                Some(carried) if carried == role.name => String::new(),
                Some(carried) => format!("; token says {carried}"),
                None => "; token says nothing".to_owned(),
            };
            Ok(((), format!("{}{although}", role.in_words())))
        };
        self.steps.step("GET /v1/me", asked).await
    }

    /// Asks Roster once: it has to refuse.
    async fn refused(&mut self, tokens: &Tokens, name: &str) -> Result<(), Broken> {
        let asked = async {
            let answer = ask(self.set, tokens).await?;
            ensure!(answer.status == 403, "{} instead of 403", answer.status);
            let code = answer.body["code"].as_str().unwrap_or_default();
            Ok(((), format!("403 {code}")))
        };
        self.steps.step(name, asked).await
    }
}

/// Asks Roster for an answer that knows of everything committed before.
async fn ask(set: &Set, tokens: &Tokens) -> Result<Answer> {
    let revision = db::demo::revision(&set.dba).await?;
    let asked = set.application.me(&tokens.access_token, Some(&revision));
    asked.await
}
