//! Replaying one recording: its requests against a tenant of its own, its answers beside that tenant's.

use jiff::Timestamp;
use roster::emulator::Plan;
use serde_json::Map;

use super::{
    super::*,
    table::{Given, Recording},
};

/// Recordings with complete headers were made on a plan with a limit of 50 for the whole Management API.
const WITH_HEADERS: &str = "-with-ratelimit-headers";
/// Values under these keys are tokens: made up, and taken out of the recordings.
const TOKENS: &[&str] = &["access_token", "id_token", "refresh_token"];

/// Sends what was sent and compares what is answered.
pub(super) async fn replay(recording: &Recording, text: &str) {
    let mut recorded: Value = serde_json::from_str(text).unwrap();
    // The table changes texts, whose fields are in the order of the alphabet whether serde_json keeps another one or not.
    recorded.sort_all_objects();
    let exchanges = recorded["exchanges"].as_array().unwrap();
    let headers_count = recording.name.ends_with(WITH_HEADERS);
    let mut options = Options {
        requires_username: true,
        ..privileged()
    };
    if headers_count {
        options.plan = Plan::Enterprise;
    }
    (recording.change)(&mut options);
    let mut player = Player::new(recording, options).await;
    player.set_up(exchanges).await;
    for (number, exchange) in exchanges.iter().enumerate() {
        if let Some((_, why)) = recording.without.iter().find(|(n, _)| *n == number) {
            println!("{} {number}: not replayed: {why}", recording.name);
            continue;
        }
        for (_, method, path, body) in recording.meanwhile.iter().filter(|m| m.0 == number) {
            player.act(method, path, body).await;
        }
        player.play(number, exchange, headers_count).await;
    }
}

/// A tenant, and what is called there otherwise than here.
struct Player<'a> {
    recording: &'a Recording,
    tenant: Tenant,
    /// Theirs and ours, in the order they became known.
    names: Vec<(String, String)>,
    /// An access token of a person.
    person: Option<String>,
}

impl<'a> Player<'a> {
    async fn new(recording: &'a Recording, options: Options) -> Self {
        let tenant = Tenant::with(options).await;
        let base = &tenant.base;
        let names = recording.names.iter().chain(&[
            ("https://TENANT.auth0.com", "{base}"),
            ("[REDACTED-PASSWORD]", PASSWORD),
        ]);
        let names = names
            .map(|(theirs, ours)| ((*theirs).to_owned(), ours.replace("{base}", base)))
            .collect();
        Self {
            recording,
            tenant,
            names,
            person: None,
        }
    }

    async fn set_up(&mut self, exchanges: &[Value]) {
        for given in self.recording.given {
            match given {
                Given::Shown(number) => {
                    let body = &exchanges[*number]["response"]["body"];
                    let shown = body.as_array().cloned();
                    for user in shown.unwrap_or_else(|| vec![body.clone()]) {
                        let user = without(without(user, "updated_at"), "last_ip");
                        self.act("POST", "/_emulator/users", &user.to_string())
                            .await;
                    }
                }
                Given::Call(method, path, body) => self.act(method, path, body).await,
                Given::Made(theirs, path, body) => {
                    let answer = self.tenant.call("POST", path, Some(read(body))).await;
                    let made = json_of(answer).await;
                    let ours = made["id"].as_str().unwrap().to_owned();
                    self.names.push(((*theirs).to_owned(), ours));
                }
                Given::LoggedIn(email, scope, session) => {
                    let asked = [("scope", *scope), ("audience", "")];
                    let state = transaction_in(self.tenant.authorize(&asked).await).await;
                    let form = [("state", &*state), ("email", email), ("password", PASSWORD)];
                    let code = redirected(&self.tenant.form("/u/login", &form).await);
                    let tokens = json_of(self.tenant.redeem(&code["code"], &[]).await).await;
                    self.person = tokens["access_token"].as_str().map(str::to_owned);
                    let person = claims(tokens["id_token"].as_str().unwrap());
                    let id = |claim: &str| person[claim].as_str().unwrap().replace('|', "%7C");
                    self.names.push(((*session).to_owned(), id("sid")));
                    self.names.push(("UserID".into(), id("sub")));
                }
            }
        }
    }

    /// What somebody does who was not recorded.
    async fn act(&self, method: &str, path: &str, body: &str) {
        let body = Some(read(&self.here(body))).filter(|body| !body.is_null());
        let answer = self.tenant.call(method, &self.here(path), body).await;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
    }

    async fn play(&mut self, number: usize, exchange: &Value, headers_count: bool) {
        let (request, recorded) = (&exchange["request"], &exchange["response"]);
        let method = request["method"].as_str().unwrap();
        let elsewhere = self.recording.elsewhere.iter().find(|(n, ..)| *n == number);
        let path = match elsewhere {
            Some((_, path, _)) => self.here(path),
            None => self.here(request["path"].as_str().unwrap()),
        };
        let case = format!("{} {number}: {method} {path}", self.recording.name);
        if recorded["status"] == 429 {
            // Others had used the limit up. The fault says when, the emulator what a 429 looks like.
            let route = path.split('?').next().unwrap();
            let fault = json!({"route": format!("{method} {route}"), "kind": "status", "status": 429, "times": 1});
            self.tenant.control("faults", fault).await;
        }
        let answer = self.send(method, &path, request, recorded).await;
        assert_eq!(answer.status().as_u16(), recorded["status"], "{case}");
        let theirs = recorded["headers"]["Content-Type"].as_str();
        let ours = answer.headers().get("content-type");
        let ours = ours.map(|kind| kind.to_str().unwrap());
        if answer.status() != StatusCode::NO_CONTENT && theirs.is_some() {
            assert_eq!(ours, theirs, "{case}");
        }
        let other = self.recording.other_limits.iter();
        if headers_count && !other.clone().any(|(n, _)| *n == number) {
            assert_eq!(limit_here(&answer), limit_there(recorded), "{case}");
        }
        let text = answer.text().await.unwrap();
        let answered = match &recorded["body"] {
            Value::Null => {
                assert_eq!(text, "", "{case}");
                return;
            }
            Value::String(_) => json!(text),
            _ => serde_json::from_str(&text).unwrap(),
        };
        self.learn(&recorded["body"], &answered);
        let expected = read(&self.here(&recorded["body"].to_string()));
        let apart = |value: Value| {
            let apart_from = self.recording.apart_from.iter();
            apart_from
                .filter(|(n, ..)| *n == number)
                .fold(comparable(value), |value, (_, key, _)| without(value, key))
        };
        assert_eq!(apart(answered), apart(expected), "{case}");
        self.compare_tokens(exchange, &read(&text), &case);
    }

    async fn send(&self, method: &str, path: &str, request: &Value, recorded: &Value) -> Response {
        let url = format!("{}{path}", self.tenant.base);
        let mut sent = self.tenant.http.request(method.parse().unwrap(), url);
        let missing = recorded["body"]["message"] == "Missing authentication";
        let token = match recorded["status"] == 401 {
            true => Some("not-a-token"),
            false if path.starts_with("/userinfo") => self.person.as_deref(),
            false if path.starts_with("/api/") => Some(self.tenant.token.as_str()),
            false => None,
        };
        if let Some(token) = token.filter(|_| !missing) {
            sent = sent.bearer_auth(token);
        }
        if let Some(kind) = request["headers"]["Content-Type"].as_str() {
            sent = sent.header("content-type", kind);
        }
        sent = match &request["body"] {
            Value::Null => sent,
            Value::String(text) => sent.body(self.here(text)),
            body => sent.body(self.here(&body.to_string())),
        };
        sent.send().await.unwrap()
    }

    /// A text of the recording, in the words of this tenant.
    fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (theirs, ours) in &self.names {
            text = text.replace(theirs, ours);
        }
        text
    }

    /// Ids stand at the same place in both answers; from now on ours is meant where theirs is said.
    fn learn(&mut self, theirs: &Value, ours: &Value) {
        match (theirs, ours) {
            (Value::Object(theirs), Value::Object(ours)) => {
                for (key, theirs) in theirs {
                    match (key.as_str(), theirs, &ours.get(key)) {
                        ("next", Value::String(theirs), Some(Value::String(ours))) => {
                            self.names.push((theirs.clone(), ours.clone()));
                        }
                        (_, _, Some(ours)) => self.learn(theirs, ours),
                        _ => {}
                    }
                }
            }
            (Value::Array(theirs), Value::Array(ours)) => {
                for (theirs, ours) in theirs.iter().zip(ours) {
                    self.learn(theirs, ours);
                }
            }
            (Value::String(theirs), Value::String(ours)) => {
                let bare = |id: &str| id.strip_prefix("auth0|").unwrap_or(id).to_owned();
                let (theirs, ours) = (bare(theirs), bare(ours));
                let known = self.names.iter().any(|(name, _)| *name == theirs);
                if is_made_up(&theirs) && is_made_up(&ours) && !known {
                    self.names.push((theirs, ours));
                }
            }
            _ => {}
        }
    }

    /// What the recording kept of the tokens it took out.
    fn compare_tokens(&self, exchange: &Value, answered: &Value, case: &str) {
        let kept = exchange["decoded_jwts"].as_array().into_iter().flatten();
        // An access token that is opaque has nothing to decode.
        let ours: Vec<&str> = TOKENS
            .iter()
            .filter_map(|key| answered[*key].as_str())
            .filter(|token| token.matches('.').count() == 2)
            .collect();
        for (theirs, ours) in kept.zip(ours) {
            let part = |number: usize| {
                let text = ours.split('.').nth(number).unwrap();
                serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
            };
            for (number, name) in [(0, "header"), (1, "payload")] {
                let expected = read(&self.here(&theirs[name].to_string()));
                assert_eq!(of_a_token(part(number)), of_a_token(expected), "{case}");
            }
        }
    }
}

/// Ids that the tenants made: 24 hexadecimal digits, or a kind and letters.
fn is_made_up(id: &str) -> bool {
    let hex = id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex || ["rol_", "job_"].iter().any(|kind| id.starts_with(kind))
}

/// What the headers say: the limit, and that what is left and when it is full again are numbers.
fn limit_here(answer: &Response) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        let value = answer.headers().get(name)?;
        value.to_str().unwrap().parse().ok()
    };
    let limit = number("x-ratelimit-limit")?;
    assert!(number("x-ratelimit-remaining").unwrap() < limit);
    assert!(number("x-ratelimit-reset").unwrap() > 0);
    Some(limit)
}

fn limit_there(recorded: &Value) -> Option<u64> {
    let limit = recorded["headers"]["X-Ratelimit-Limit"].as_str()?;
    limit.parse().ok()
}

/// Without this key, at any depth.
fn without(value: Value, left_out: &str) -> Value {
    match value {
        Value::Object(object) => object
            .into_iter()
            .filter(|(key, _)| key != left_out)
            .map(|(key, value)| (key, without(value, left_out)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items
            .into_iter()
            .map(|item| without(item, left_out))
            .collect(),
        other => other,
    }
}

/// Without what differs from moment to moment.
fn comparable(value: Value) -> Value {
    match value {
        Value::Object(object) => object
            .into_iter()
            .map(|(key, value)| match TOKENS.contains(&key.as_str()) {
                true => (key, json!(value.is_string())),
                false => (key, comparable(value)),
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(comparable).collect(),
        Value::String(text) => comparable_text(text).into(),
        other => other,
    }
}

fn comparable_text(text: String) -> String {
    let gravatar = |host: &str| text.starts_with(host);
    if text.parse::<Timestamp>().is_ok() {
        "a time".to_owned()
    } else if gravatar("https://s.gravatar.com/") || gravatar("https://secure.gravatar.com/") {
        "a gravatar".to_owned()
    } else if let Some((page, _)) = text.split_once("?ticket=") {
        let end = if text.ends_with('#') { "#" } else { "" };
        format!("{page}?ticket={end}")
    } else {
        text
    }
}

/// A part of a token: how long it lasts instead of when it ends.
fn of_a_token(mut part: Value) -> Value {
    if let (Some(from), Some(to)) = (part["iat"].as_i64(), part["exp"].as_i64()) {
        part["exp"] = json!(to - from);
        part["iat"] = json!("a time");
    }
    for key in ["kid", "sid"] {
        if part.get(key).is_some() {
            part[key] = json!("made up");
        }
    }
    comparable(part)
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}
