//! Import jobs: many new users in one file, for one call and a few questions.
//!
//! Only new users go this way: an import overwrites both metadata of a user who is there, and can neither block nor rename one; so it is
//! begun without `upsert`, and who is there already is a record that failed. Each record carries its id, chosen by us.
//!
//! Nobody is mailed: the owners of the tenant not at the end, and the users not to verify their addresses, which the records therefore call
//! verified. Such an account has no password; who wants to log in with it asks for one by a link that is mailed to the address, and
//! shows by that to have it.
//!
//! Source: <https://auth0.com/docs/manage-users/user-migration/bulk-user-imports>.

use reqwest::Method;
use uuid::Uuid;

use super::{Job, job};
use crate::{
    auth0::{Client, NewUser, call::Call, error::CallError, limits::Class, wire},
    user::Auth0UserId,
};

/// Of a file, in bytes: what is documented as 500 KB is 512 000 in the server's own words. The form around it needs little.
const FILE_LIMIT: usize = 500_000;

/// The file of an import as it grows.
#[derive(Default)]
pub struct ImportFile {
    /// A JSON array without its end.
    text: Vec<u8>,
    users: usize,
}

impl ImportFile {
    /// Adds a user; false if there is no room for one more, or the id is none of a database connection.
    pub fn push(&mut self, new: &NewUser) -> bool {
        let Some(record) = wire::ImportRecord::new(new) else {
            return false;
        };
        let record = serde_json::to_vec(&record)
            .expect("texts, booleans and maps with text keys always serialize");
        if self.text.len() + record.len() + 2 > FILE_LIMIT {
            return false;
        }
        self.text.push(if self.users == 0 { b'[' } else { b',' });
        self.text.extend(record);
        self.users += 1;
        true
    }

    /// How many users are in it.
    pub fn users(&self) -> usize {
        self.users
    }
}

/// A record that Auth0 did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whose; absent where Auth0 does not say.
    pub id: Option<Auth0UserId>,
    /// Auth0's code, such as `DUPLICATED_USER`.
    pub code: String,
}

impl Client {
    /// Auth0's id of the configured connection; `None` where there is no such connection. Needs `read:connections`.
    pub async fn connection_id(&self) -> Result<Option<String>, CallError> {
        Ok(self.own_connection().await?.map(|own| own.id))
    }

    /// Begins an import of this file into the connection of this id.
    ///
    /// While two imports of the tenant are under way, Auth0 refuses a third with a 429 that no waiting for the rate limit helps against.
    pub async fn begin_import(
        &self,
        connection_id: &str,
        file: &ImportFile,
    ) -> Result<Job, CallError> {
        let (other, path) = (Class::Other, "/api/v2/jobs/users-imports");
        let call = Call::on("begin an import", Method::POST, other, path);
        let boundary = Uuid::new_v4().simple().to_string();
        let form = form(&boundary, connection_id, file);
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let call = self.write(call).with_form(form, content_type);
        job(&call, self.send(&call).await?)
    }

    /// The records of an import that Auth0 did not take.
    pub async fn refusals(&self, job: &str) -> Result<Vec<Refusal>, CallError> {
        let call = Call::on_job("get job errors", Method::GET, Class::Other, job)?.asking("errors");
        let answer = self.send(&call).await?;
        if answer.status == reqwest::StatusCode::NO_CONTENT {
            return Ok(Vec::new());
        }
        let records: Vec<wire::ImportError> = call.parse(answer)?;
        Ok(records
            .into_iter()
            .map(wire::ImportError::refusal)
            .collect())
    }
}

/// RFC 7578, of parts that hold no line of the boundary.
fn form(boundary: &str, connection_id: &str, file: &ImportFile) -> Vec<u8> {
    let mut form = Vec::with_capacity(file.text.len() + 1024);
    let fields = [
        ("connection_id", connection_id),
        ("upsert", "false"),
        ("send_completion_email", "false"),
    ];
    for (name, value) in fields {
        form.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .as_bytes(),
        );
    }
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"users\"; filename=\"users.json\"\r\nContent-Type: application/json\r\n\r\n"
    );
    form.extend_from_slice(head.as_bytes());
    form.extend_from_slice(if file.users == 0 { b"[" } else { &file.text });
    form.extend_from_slice(format!("]\r\n--{boundary}--\r\n").as_bytes());
    form
}
