//! Accounts as Auth0 showed them, copied into the database as they come: COPY in binary, some thousands at a time, so that neither
//! memory nor a transaction grows with their number.

use std::pin::Pin;

use serde_json::Value;
use tokio_postgres::{
    Client,
    binary_copy::BinaryCopyInWriter,
    types::{Json, ToSql, Type},
};

use super::within;
use crate::db::{DbError, done::Observed};

/// Accounts in one transaction: it keeps no dead row of others from being cleaned up for long.
const BATCH: u32 = 10_000;

const COLUMNS: &str = "auth0_user_id, found, moved_into, in_connection, email, email_verified, name, blocked, app_metadata, user_metadata";
const TYPES: [Type; 10] = [
    Type::TEXT,
    Type::BOOL,
    Type::TEXT,
    Type::BOOL,
    Type::TEXT,
    Type::BOOL,
    Type::TEXT,
    Type::BOOL,
    Type::JSONB,
    Type::JSONB,
];

/// What Auth0 showed of an account.
#[derive(Debug, Clone)]
pub struct Seen {
    /// As shown; of one that was asked for and is not there, its id alone.
    pub account: Observed,
    /// Whether it is there.
    pub found: bool,
    /// Whether it belongs to the connection that Roster creates users in.
    pub in_connection: bool,
    /// Of one that is not there: the account it was linked into.
    pub moved_into: Option<String>,
}

/// A COPY that goes on.
pub struct Loading<'a> {
    client: &'a Client,
    table: &'static str,
    copy: Option<Pin<Box<BinaryCopyInWriter>>>,
    rows: u32,
}

impl<'a> Loading<'a> {
    pub(super) fn into(client: &'a Client, table: &'static str) -> Self {
        Self {
            client,
            table,
            copy: None,
            rows: 0,
        }
    }

    /// Adds an account; waits while the database takes its time.
    ///
    /// # Errors
    /// [`DbError`]; nothing more can be added then.
    pub async fn add(&mut self, seen: Seen) -> Result<(), DbError> {
        let mut copy = match self.copy.take() {
            Some(copy) => copy,
            None => {
                let copy = format!("copy {} ({COLUMNS}) from stdin binary", self.table);
                let sink = within(async { Ok(self.client.copy_in(&copy).await?) }).await?;
                Box::pin(BinaryCopyInWriter::new(sink, &TYPES))
            }
        };
        let Observed {
            auth0_user_id,
            email,
            email_verified,
            name,
            blocked,
            has_logged_in: _,
            app_metadata,
            user_metadata,
        } = seen.account;
        let row: [&(dyn ToSql + Sync); 10] = [
            &auth0_user_id,
            &seen.found,
            &seen.moved_into,
            &seen.in_connection,
            &email.map(without_nul),
            &email_verified,
            &name.map(without_nul),
            &blocked,
            &Json(storable(app_metadata.into())),
            &Json(storable(user_metadata.into())),
        ];
        within(async { Ok(copy.as_mut().write(&row).await?) }).await?;
        self.rows += 1;
        if self.rows == BATCH {
            self.rows = 0;
            within(async { Ok(copy.as_mut().finish().await?) }).await?;
        } else {
            self.copy = Some(copy);
        }
        Ok(())
    }

    /// That was the last one.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn end(mut self) -> Result<(), DbError> {
        if let Some(mut copy) = self.copy.take() {
            within(async { Ok(copy.as_mut().finish().await?) }).await?;
        }
        Ok(())
    }
}

/// PostgreSQL stores the character NUL in no text. Nobody wants it in a field of ours, so that it then differs is right.
fn without_nul(text: String) -> String {
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}"),
        false => text,
    }
}

fn storable(value: Value) -> Value {
    match value {
        Value::String(text) => without_nul(text).into(),
        Value::Array(values) => values.into_iter().map(storable).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (without_nul(key), storable(value)))
            .collect(),
        other => other,
    }
}
