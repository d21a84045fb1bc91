//! The control face, `/_emulator/*`: what a test sees and does behind the tenant's back. No token is asked for.

use std::{collections::HashMap, sync::Arc};

use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use warp::{Filter, Reply, filters::BoxedFilter, http::StatusCode, reply::Response};

use super::{
    control_tokens,
    control_users::NewUser,
    errors::json_response,
    faults::Fault,
    keys::SigningKey,
    mailbox::Mail,
    profile::User,
    tenant::{Guard, SharedGuard, Tenant},
};

/// What a control call was wrong about.
pub(super) type Refusal = String;

/// The routes of this part.
pub(super) fn routes(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    let tenant = tenant.clone();
    warp::path("_emulator")
        .and(warp::path::tail())
        .and(warp::method())
        .and(warp::query::<HashMap<String, String>>())
        .and(warp::body::bytes())
        .then(
            move |rest: warp::path::Tail, method: warp::http::Method, query, body| {
                let tenant = tenant.clone();
                async move {
                    // Making keys, minting and showing 100 000 users take long enough to be kept off the workers.
                    tokio::task::spawn_blocking(move || {
                        answer(&tenant, method.as_str(), rest.as_str(), &query, &body)
                            .unwrap_or_else(|refusal| {
                                json_response(StatusCode::BAD_REQUEST, &json!({"message": refusal}))
                            })
                    })
                    .await
                    .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
                }
            },
        )
        .boxed()
}

fn answer(
    tenant: &Tenant,
    method: &str,
    path: &str,
    query: &HashMap<String, String>,
    body: &Bytes,
) -> Result<Response, Refusal> {
    match (method, path) {
        ("GET", "users") => {
            let users: Vec<Arc<User>> = tenant.directory.read_guard().iter().cloned().collect();
            let users: Vec<&User> = users.iter().map(|user| &**user).collect();
            Ok(json_response(StatusCode::OK, &users))
        }
        ("POST", "users") => {
            let users = put_users(tenant, body)?;
            Ok(json_response(StatusCode::CREATED, &users))
        }
        ("GET", "mail") => {
            let mails: Vec<Mail> = tenant.mailbox.guard().iter().cloned().collect();
            Ok(json_response(StatusCode::OK, &mails))
        }
        ("GET", "requests") => {
            let after = match query.get("after") {
                Some(after) => after
                    .parse()
                    .map_err(|_| "after: not a number".to_owned())?,
                None => 0,
            };
            Ok(json_response(StatusCode::OK, &tenant.requests.show(after)))
        }
        ("DELETE", "requests") => {
            tenant.requests.clear();
            Ok(done())
        }
        ("GET", "faults") => Ok(json_response(StatusCode::OK, &tenant.faults.list())),
        ("POST", "faults") => {
            tenant.faults.add(read::<Fault>(body)?);
            Ok(done())
        }
        ("DELETE", "faults") => {
            tenant.faults.clear();
            Ok(done())
        }
        ("POST", "tokens") => {
            let tokens = control_tokens::mint(tenant, read(body)?)?;
            Ok(json_response(StatusCode::OK, &tokens))
        }
        ("POST", "keys/rotate") => {
            let fresh = SigningKey::generate().map_err(|_| "no key could be made".to_owned())?;
            tenant.keys.write_guard().rotate(fresh);
            Ok(json_response(
                StatusCode::OK,
                &tenant.keys.read_guard().jwks(),
            ))
        }
        ("POST", "keys/revoke") => {
            tenant.keys.write_guard().revoke_previous();
            tenant.verified.clear();
            Ok(json_response(
                StatusCode::OK,
                &tenant.keys.read_guard().jwks(),
            ))
        }
        ("POST", "clock") => {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Advance {
                advance_seconds: u32,
            }
            tenant.clock.advance(read::<Advance>(body)?.advance_seconds);
            Ok(done())
        }
        ("GET", "options") => Ok(json_response(StatusCode::OK, &*tenant.options())),
        ("POST", "options") => {
            let changes: Map<String, Value> = read(body)?;
            if changes.contains_key("base_url") {
                return Err("base_url: read at the start only".into());
            }
            let options = tenant
                .options()
                .with(changes)
                .map_err(|error| error.to_string())?;
            tenant.set_options(options);
            Ok(done())
        }
        ("POST", "reset") => {
            tenant.reset();
            Ok(done())
        }
        _ => Ok(json_response(
            StatusCode::NOT_FOUND,
            &json!({"message": "no such control call"}),
        )),
    }
}

/// One user or a list of them, put there whatever Auth0's rules say.
fn put_users(tenant: &Tenant, body: &Bytes) -> Result<Value, Refusal> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        Many(Vec<Map<String, Value>>),
        One(Map<String, Value>),
    }
    let (bodies, many) = match read(body)? {
        OneOrMany::Many(bodies) => (bodies, true),
        OneOrMany::One(body) => (vec![body], false),
    };
    let options = tenant.options();
    let now = tenant.clock.now();
    let users = bodies
        .into_iter()
        .map(|body| {
            let new: NewUser =
                serde_json::from_value(body.into()).map_err(|error| error.to_string())?;
            new.into_user(&options, now)
        })
        .collect::<Result<Vec<User>, Refusal>>()?;
    let mut directory = tenant.directory.write_guard();
    let users: Vec<Arc<User>> = users
        .into_iter()
        .map(|user| directory.insert(user, now))
        .collect();
    drop(directory);
    match users.as_slice() {
        [user] if !many => Ok(json!(&**user)),
        // Nobody reads a hundred thousand users back.
        users => Ok(json!({"put": users.len()})),
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
