//! What each endpoint answers: its success, and each status that a refusal gets there, with the codes that stand for it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use warp::http::{Response, header};

use super::{Schemas, reference, requests};
use crate::{
    authz::{
        authzen::request::{Decision, Decisions, FoundAction, FoundEntity, Results},
        endpoint::Endpoint,
        handlers::{
            authzen::{discovery::Configuration, line},
            check::Checked,
            forward::{Door, Session},
            me::Me,
            probes::{Liveness, Readiness},
        },
        problem::Body,
        rejection::Refusal,
    },
    telemetry::OPENMETRICS,
};

/// Every answer's, then those about a request, about a decision, and about who it is.
const ALL: [&str; 2] = ["Cache-Control", "Vary"];
const COUNTED: &str = "X-Request-ID";
const DECIDED: &str = "X-Roster-Decision-Id";
const IDENTITY: [&str; 5] = [
    "X-Roster-User",
    "X-Roster-Email",
    "X-Roster-Role",
    "X-Roster-Permissions",
    "X-Roster-Code",
];
const CHALLENGE: &str = "WWW-Authenticate";

pub(super) fn headers() -> Value {
    let required = |description: &str| json!({ "description": description, "required": true, "schema": { "type": "string" } });
    json!({
        "Cache-Control": required("Who may keep the answer: nobody, but for discovery"),
        "Vary": required("Authorization"),
        "X-Request-ID": required("As it was sent, or a new one"),
        "X-Roster-Decision-Id": {
            "description": "Names the decision, as in the decision log",
            "required": true,
            "schema": { "type": "string", "format": "uuid" },
        },
        "X-Roster-User": required("The user's key; empty if nobody is known. Percent-encoded, as the others"),
        "X-Roster-Email": required("The user's address"),
        "X-Roster-Role": required("The user's role"),
        "X-Roster-Permissions": required("The user's permissions, separated by spaces"),
        "X-Roster-Code": required("ok, or the code of the refusal"),
        "WWW-Authenticate": required("As RFC 6750 has it"),
    })
}

/// By status.
pub(super) fn responses(schemas: &mut Schemas, endpoint: Endpoint) -> Value {
    let mut responses = Map::new();
    for (status, refused) in refusals(endpoint) {
        responses.insert(status.to_string(), refused.response(schemas, endpoint));
    }
    for (status, description, content) in successes(schemas, endpoint) {
        let mut response = json!({
            "description": description, "headers": headers_of(endpoint, &[]),
        });
        if let Some((media_type, schema)) = content {
            response["content"] = json!({ media_type: { "schema": schema } });
        }
        responses.insert(status.to_owned(), response);
    }
    responses.into()
}

/// A status, what it means, and the body.
type Success = (&'static str, &'static str, Option<(&'static str, Value)>);

fn successes(schemas: &mut Schemas, endpoint: Endpoint) -> Vec<Success> {
    let as_json = |schema| Some(("application/json", schema));
    let (description, content) = match endpoint {
        Endpoint::Me => ("The user", as_json(schemas.written::<Me>())),
        Endpoint::Check => ("Has them all", as_json(schemas.written::<Checked>())),
        Endpoint::Nginx | Endpoint::Traefik | Endpoint::Caddy | Endpoint::Envoy => {
            ("Let it through", None)
        }
        Endpoint::Hasura => (
            "The variables of the session",
            as_json(schemas.written::<Session<'_>>()),
        ),
        Endpoint::Evaluation => ("Decided", as_json(schemas.written::<Decision>())),
        Endpoint::Evaluations => (
            "Decided, in the order of the request; without evaluations, the one decision",
            as_json(json!({
                "anyOf": [schemas.written::<Decisions>(), schemas.written::<Decision>()],
            })),
        ),
        Endpoint::SearchSubject | Endpoint::SearchResource => (
            "A page of what was found",
            as_json(schemas.written::<Results<FoundEntity>>()),
        ),
        Endpoint::SearchAction => (
            "A page of what was found",
            as_json(schemas.written::<Results<FoundAction>>()),
        ),
        Endpoint::Discovery => (
            "The metadata of this policy decision point",
            as_json(schemas.written::<Configuration<'_>>()),
        ),
        Endpoint::Livez => ("It does", as_json(schemas.written::<Liveness>())),
        Endpoint::Readyz => {
            let body = schemas.written::<Readiness>();
            return vec![
                ("200", "Ready", as_json(body.clone())),
                ("503", "Not ready; the checks say why", as_json(body)),
            ];
        }
        Endpoint::Metrics => (
            "The metrics",
            Some((OPENMETRICS, json!({ "type": "string" }))),
        ),
        Endpoint::OpenApi => ("The document", as_json(json!({ "type": "object" }))),
    };
    vec![("200", description, content)]
}

/// The refusals of one status.
#[derive(Default)]
struct Refused {
    codes: Vec<&'static str>,
    details: Vec<String>,
    /// Of all of them: without, the header is not promised.
    challenges: usize,
}

fn refusals(endpoint: Endpoint) -> BTreeMap<u16, Refused> {
    let mut by_status: BTreeMap<u16, Refused> = BTreeMap::new();
    let ends = Refusal::every().into_iter();
    for refusal in ends.filter(|refusal| requests::can_end_in(endpoint, refusal)) {
        let response = answered(endpoint, &refusal);
        let refused = by_status.entry(response.status().as_u16()).or_default();
        refused.challenges +=
            usize::from(response.headers().contains_key(header::WWW_AUTHENTICATE));
        if !refused.codes.contains(&refusal.code()) {
            refused.codes.push(refusal.code());
        }
        refused.details.push(refusal.to_string());
    }
    by_status
}

/// As the endpoint would.
fn answered(endpoint: Endpoint, refusal: &Refusal) -> Response<String> {
    if let Some(door) = Door::of(endpoint) {
        door.problem(refusal).into_response("")
    } else if is_line(endpoint) {
        line(refusal, "")
    } else {
        refusal.problem().into_response("")
    }
}

/// Whether a refusal is a line of text.
fn is_line(endpoint: Endpoint) -> bool {
    requests::purpose(endpoint).0 == "authzen" && endpoint != Endpoint::Discovery
}

impl Refused {
    fn response(&self, schemas: &mut Schemas, endpoint: Endpoint) -> Value {
        let (media_type, schema) = if is_line(endpoint) {
            ("text/plain", json!({ "type": "string" }))
        } else {
            let codes = json!({ "properties": { "code": { "enum": self.codes } } });
            let problem = schemas.written::<Body<'_>>();
            (
                "application/problem+json",
                json!({ "allOf": [problem, codes] }),
            )
        };
        let is_challenge = self.challenges == self.details.len();
        let more: &[&str] = if is_challenge { &[CHALLENGE] } else { &[] };
        json!({
            "description": self.codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", "),
            "headers": headers_of(endpoint, more),
            "content": { media_type: { "schema": schema } },
        })
    }
}

fn headers_of(endpoint: Endpoint, more: &[&str]) -> Value {
    let mut names = ALL.to_vec();
    if endpoint == Endpoint::Discovery && more.is_empty() {
        names = vec![ALL[0]];
    }
    if endpoint.is_counted() {
        names.push(COUNTED);
    }
    if endpoint.decides() {
        names.push(DECIDED);
    }
    if Door::of(endpoint).is_some() {
        names.extend(IDENTITY);
    }
    names.extend(more);
    let references = names
        .into_iter()
        .map(|name| (name.to_owned(), reference("headers", name)));
    references.collect::<Map<_, _>>().into()
}
