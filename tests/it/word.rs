//! The net that holds every emulated tenant, and Roster's own client, to Auth0's published schema, catches what it is to catch.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use hyper::{Request, Response};
use roster::emulator::{Exchange, Options};
use serde_json::{Value, json};

use crate::support::{
    tenant::Tenant,
    word::{Schema, misfits},
};

const USER: &str = "/api/v2/users/auth0%7Cann";

/// An exchange as it should be: Roster's client changes a name.
fn exchange() -> Exchange {
    let request = Request::patch(USER)
        .header("user-agent", "roster/1.0")
        .header("content-type", "application/json")
        .body(json!({"name": "Ann"}).to_string().into())
        .expect("a request");
    Exchange {
        request,
        answer: Some(answer(200, json!({"user_id": "auth0|ann", "name": "Ann"}))),
        faulted: false,
    }
}

fn answer(status: u16, body: Value) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json; charset=utf-8")
        .body(body.to_string().into())
        .expect("an answer")
}

/// What does not fit in an exchange after a change; nothing is tried where the schema is not at hand.
fn caught(change: impl FnOnce(&mut Exchange)) -> Option<String> {
    let Some(schema) = Schema::published() else {
        println!("skipped: the schema is not at hand");
        return None;
    };
    let mut exchange = exchange();
    change(&mut exchange);
    Some(misfits(schema, &exchange).join("\n"))
}

fn catches(what: &str, change: impl FnOnce(&mut Exchange)) {
    if let Some(caught) = caught(change) {
        assert!(caught.contains(what), "{caught:?} does not say {what:?}");
    }
}

fn passes(change: impl FnOnce(&mut Exchange)) {
    assert_eq!(caught(change).unwrap_or_default(), "");
}

#[test]
fn an_exchange_as_described_passes() {
    passes(|_| {});
}

#[test]
fn an_answer_of_another_shape_is_caught_with_its_place() {
    catches("PATCH /users/{id} answered 200: /email_verified", |e| {
        e.answer = Some(answer(200, json!({"email_verified": "yes"})));
    });
    catches("answered 200: /identities/0/isSocial", |e| {
        e.answer = Some(answer(200, json!({"identities": [{"isSocial": 1}]})));
    });
}

#[test]
fn a_status_that_is_not_listed_is_caught_unless_it_is_known_why() {
    catches("answered 418: a status that is not listed", |e| {
        e.answer = Some(answer(418, json!({})));
    });
    passes(|e| {
        let body = json!({"statusCode": 409, "error": "Conflict", "message": "taken"});
        e.answer = Some(answer(409, body));
    });
}

#[test]
fn an_error_that_has_not_auth0s_shape_is_caught() {
    catches("answered 404: : \"message\" is a required property", |e| {
        e.answer = Some(answer(
            404,
            json!({"statusCode": 404, "error": "Not Found"}),
        ));
    });
    catches("answered 404: /statusCode: 400", |e| {
        e.answer = Some(answer(404, json!({"statusCode": 400})));
    });
}

#[test]
fn a_key_that_auth0_does_not_describe_is_caught_where_the_schema_is_left_open_too() {
    catches("PATCH /users/{id} asked: /shoe", |e| {
        *e.request.body_mut() = json!({"shoe": 42}).to_string().into();
    });
}

#[test]
fn an_answer_that_is_no_json_is_caught() {
    catches("a body of type", |e| {
        e.answer.as_mut().expect("an answer").headers_mut().clear();
    });
    catches("not JSON", |e| {
        *e.answer.as_mut().expect("an answer").body_mut() = "<html>".into();
    });
}

#[test]
fn an_answer_that_a_fault_made_up_is_nobodys_word() {
    passes(|e| {
        e.answer = Some(answer(418, json!("teapot")));
        e.faulted = true;
    });
    passes(|e| e.answer = None);
}

#[test]
fn a_request_of_our_client_that_auth0_would_not_take_is_caught() {
    catches("PATCH /users/{id} asked: /name", |e| {
        *e.request.body_mut() = json!({"name": ""}).to_string().into();
    });
    catches("asked: with a body of type \"text/plain\"", |e| {
        let headers = e.request.headers_mut();
        headers.insert("content-type", "text/plain".parse().expect("a type"));
    });
    catches("POST /users asked: without its body", |e| {
        *e.request.method_mut() = "POST".parse().expect("a method");
        *e.request.uri_mut() = "/api/v2/users".parse().expect("a path");
        *e.request.body_mut() = Bytes::new();
    });
    catches("asked: no parameter page", |e| {
        *e.request.uri_mut() = format!("{USER}?page=1").parse().expect("a path");
    });
    catches("PATCH /api/v2/persons: no such operation", |e| {
        *e.request.uri_mut() = "/api/v2/persons".parse().expect("a path");
    });
}

#[test]
fn a_parameter_of_our_client_has_to_fit() {
    let list = |query: &str| {
        let path = format!("/api/v2/users?{query}").parse().expect("a path");
        move |e: &mut Exchange| {
            *e.request.method_mut() = "GET".parse().expect("a method");
            *e.request.uri_mut() = path;
            *e.request.body_mut() = Bytes::new();
            e.answer = None;
        }
    };
    passes(list("per_page=50&include_totals=true&q=a&search_engine=v3"));
    catches("per_page", list("per_page=101"));
    catches("include_totals", list("include_totals=perhaps"));
    catches("search_engine", list("search_engine=v9"));
    catches("email is missing", |e| {
        list("")(e);
        *e.request.uri_mut() = "/api/v2/users-by-email".parse().expect("a path");
    });
}

#[test]
fn what_others_ask_is_their_own_affair() {
    passes(|e| {
        e.request.headers_mut().remove("user-agent");
        *e.request.body_mut() = "nonsense".into();
    });
}

#[tokio::test]
async fn a_wrong_request_of_our_client_fails_the_test_of_its_tenant() {
    if Schema::published().is_none() {
        println!("skipped: the schema is not at hand");
        return;
    }
    let tenant = Tenant::start(Options::default()).await;
    let ours = reqwest::Client::builder().user_agent("roster/1.0");
    let ours = ours.build().expect("a client");
    let url = format!("{}/api/v2/users-by-email", tenant.url);
    ours.get(url).send().await.expect("an answer");
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(tenant)));
    let panic = dropped.expect_err("a failed test");
    let text = panic.downcast_ref::<String>().expect("a text");
    assert!(
        text.contains("GET /users-by-email asked: email is missing"),
        "{text}"
    );
}
