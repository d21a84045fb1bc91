//! The Authorization API of `OpenID` `AuthZEN`, held to its certification scenario (Basic, Batch and Search Core, Discovery) and to
//! what the scenario leaves open. The people, records and permissions of the scenario are rows.

mod batch;
mod callers;
mod discovery;
mod evaluation;
mod search;

use std::mem::ManuallyDrop;

use aws_lc_rs::digest;
use roster::authz::{Caller, Credential, Settings};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::{
    Database,
    authz::{Answer, Server, answer, client},
};

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";
const SEARCH_SUBJECT: &str = "/access/v1/search/subject";
const SEARCH_RESOURCE: &str = "/access/v1/search/resource";
const SEARCH_ACTION: &str = "/access/v1/search/action";

/// Of a program that may ask everything.
const KEY: &str = "3f1c9a07d2e84b56";

/// Alice reads all records and writes record-1, Bob reads all records; both have an account.
const SCENARIO: &str = "
    insert into public.role_permissions values ('Reader', 'read:record');
    insert into public.users (id, email, role) values
        ('alice', 'alice@example.com', 'Reader'), ('bob', 'bob@example.com', 'Reader');
    insert into public.user_permissions values ('alice', 'write:record:record-1');
    select roster.fold();
    insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state, email)
    select 'auth0|' || m.user_key, m.user_key, m.incarnation, 'made', 'linked', m.email from roster.mirror m;";

async fn scenario() -> Server {
    scenario_with(|_| ()).await
}

async fn scenario_with(set: impl FnOnce(&mut Settings)) -> Server {
    static TEMPLATE: OnceCell<ManuallyDrop<Database>> = OnceCell::const_new();
    let template = TEMPLATE.get_or_init(|| async {
        let database = Database::empty().await;
        let mut sql = database.client().await;
        // Their keys are names.
        sql.batch_execute(
            "create table public.users (id text primary key, auth0_user_id text unique, email text unique not null,
                name text, role text, blocked boolean not null default false)",
        )
        .await
        .expect("an application's table");
        roster::db::migrate::migrate(&mut sql, false)
            .await
            .expect("a migrated database");
        sql.batch_execute(SCENARIO).await.expect("the scenario");
        ManuallyDrop::new(database)
    });
    let database = Database::copy_of(template.await).await;
    Server::over(database, |settings| {
        settings.callers = vec![by_key(KEY, true, true)];
        set(settings);
    })
    .await
}

pub(super) fn by_key(key: &str, evaluate: bool, search: bool) -> Caller {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    Caller {
        credential: Credential::ApiKeySha256(hash),
        evaluate,
        search,
    }
}

impl Server {
    /// As the program that may ask everything.
    async fn ask(&self, path: &str, body: Value) -> Answer {
        self.ask_as(KEY, path, body).await
    }

    async fn ask_as(&self, bearer: &str, path: &str, body: Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send(bearer, path, &headers, body.to_string()).await
    }

    async fn send(
        &self,
        bearer: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answer {
        let mut request = client().post(format!("{}{path}", self.url)).body(body);
        request = request.header("authorization", format!("Bearer {bearer}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await
    }

    /// The decision about a user.
    async fn decision(&self, user: &str, action: &str, record: &str) -> bool {
        let answer = self.ask(EVALUATION, about(user, action, record)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["decision"].as_bool().expect("a decision")
    }
}

impl Answer {
    /// The standard's error: a status, and a line of text.
    fn line(&self) -> (u16, &str) {
        assert_eq!(self.headers["content-type"], "text/plain; charset=utf-8");
        (self.status, self.body.as_str().expect("a line"))
    }

    /// What was found, by id or name.
    fn found(&self) -> Vec<&str> {
        assert_eq!(self.status, 200, "{}", self.body);
        let results = self.body["results"].as_array().expect("results");
        results
            .iter()
            .map(|result| result.get("id").or(result.get("name")))
            .map(|text| text.and_then(Value::as_str).expect("an id or a name"))
            .collect()
    }
}

fn about(user: &str, action: &str, record: &str) -> Value {
    json!({ "subject": user_of(user), "action": { "name": action }, "resource": record_of(record) })
}

fn user_of(id: &str) -> Value {
    json!({ "type": "user", "id": id })
}

fn record_of(id: &str) -> Value {
    json!({ "type": "record", "id": id })
}

/// `body` with another value at a path such as `subject.id`, or without it.
fn with(body: &Value, path: &str, value: Option<Value>) -> Value {
    let mut changed = body.clone();
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let pointer = parent.split('.').filter(|part| !part.is_empty());
    let pointer: String = pointer.map(|part| format!("/{part}")).collect();
    let object = changed.pointer_mut(&pointer).and_then(Value::as_object_mut);
    let object = object.expect("an object");
    match value {
        Some(value) => drop(object.insert(name.to_owned(), value)),
        None => drop(object.remove(name)),
    }
    changed
}
