//! Many decisions in one request.

use serde_json::{Value, json};

use super::{EVALUATIONS, about, record_of, scenario, user_of, with};

fn decisions(body: &Value) -> Vec<bool> {
    let evaluations = body["evaluations"].as_array().expect("evaluations");
    let decision = |one: &Value| one["decision"].as_bool().expect("a decision");
    evaluations.iter().map(decision).collect()
}

/// What Bob may do with record-1, in the order of `actions`.
fn bob(actions: &[&str], semantic: Option<&str>) -> Value {
    let evaluations: Vec<Value> = actions
        .iter()
        .map(|action| json!({ "action": { "name": action } }))
        .collect();
    let body = json!({ "subject": user_of("bob"), "resource": record_of("record-1"), "evaluations": evaluations });
    match semantic {
        Some(semantic) => with(
            &body,
            "options",
            Some(json!({ "evaluations_semantic": semantic })),
        ),
        None => body,
    }
}

#[tokio::test]
async fn decisions_come_in_the_order_of_the_request() {
    let server = scenario().await;
    let answer = server.ask(EVALUATIONS, bob(&["read", "write"], None)).await;
    assert_eq!(answer.status, 200);
    let expected = json!({ "evaluations": [{ "decision": true }, { "decision": false }] });
    assert_eq!(answer.body, expected);
    let several = json!({ "evaluations": [
        about("bob", "write", "record-1"), about("alice", "write", "record-1"),
        about("nobody", "read", "record-1"), about("alice", "read", "record-2"), about("alice", "write", "record-2"),
    ]});
    let answer = server.ask(EVALUATIONS, several).await;
    assert_eq!(decisions(&answer.body), [false, true, false, true, false]);
}

#[tokio::test]
async fn an_evaluation_replaces_defaults_as_a_whole() {
    let server = scenario().await;
    let body = json!({
        "subject": user_of("alice"), "action": { "name": "write" }, "resource": record_of("record-1"),
        "context": { "time": "2026-01-01T00:00:00Z" },
        "evaluations": [
            {},
            { "resource": record_of("record-2") },
            { "subject": user_of("bob") },
            { "action": { "name": "read" }, "subject": user_of("bob"), "context": { "source": "here" } },
            { "resource": { "id": "record-1" } },
            { "subject": null },
        ],
    });
    let answer = server.ask(EVALUATIONS, body).await;
    assert_eq!(
        decisions(&answer.body),
        [true, false, false, true, false, true]
    );
}

#[tokio::test]
async fn one_evaluation_that_cannot_be_made_is_denied_and_the_others_stand() {
    let server = scenario().await;
    let body = json!({
        "subject": user_of("alice"), "action": { "name": "read" },
        "evaluations": [
            { "resource": record_of("record-1") },
            {}, [], "x", null,
            { "resource": record_of("record-1"), "subject": "alice" },
            { "resource": record_of("record-1"), "context": 1 },
            { "resource": record_of("record-2") },
        ],
    });
    let answer = server.ask(EVALUATIONS, body).await;
    assert_eq!(answer.status, 200);
    let expected = [true, false, false, false, false, false, false, true];
    assert_eq!(decisions(&answer.body), expected);
    let error = &answer.body["evaluations"][1]["context"]["error"];
    assert_eq!(error["status"], 400);
    assert!(
        error["message"].as_str().unwrap().contains("`resource`"),
        "{error}"
    );

    // A subject that nobody gives is missing in each of them.
    let nobody = with(&bob(&["read", "write"], None), "subject", None);
    let answer = server.ask(EVALUATIONS, nobody).await;
    assert_eq!(
        (answer.status, decisions(&answer.body)),
        (200, vec![false, false])
    );
}

#[tokio::test]
async fn a_batch_without_evaluations_is_a_single_one() {
    let server = scenario().await;
    for evaluations in [None, Some(json!([])), Some(Value::Null)] {
        let body = with(
            &about("alice", "read", "record-1"),
            "evaluations",
            evaluations.clone(),
        );
        let answer = server.ask(EVALUATIONS, body).await;
        assert_eq!(
            (answer.status, answer.body),
            (200, json!({ "decision": true }))
        );
        let half = with(
            &json!({ "subject": user_of("alice") }),
            "evaluations",
            evaluations,
        );
        assert_eq!(server.ask(EVALUATIONS, half).await.line().0, 400);
    }
}

#[tokio::test]
async fn a_batch_ends_when_its_semantic_says() {
    let server = scenario().await;
    let all = ["read", "write", "read"];
    for (actions, semantic, expected) in [
        (&all[..], None, &[true, false, true][..]),
        (&all, Some("execute_all"), &[true, false, true]),
        (&all, Some("deny_on_first_deny"), &[true, false]),
        (&all, Some("permit_on_first_permit"), &[true]),
        (
            &["write", "delete", "read", "read"],
            Some("permit_on_first_permit"),
            &[false, false, true],
        ),
        (&["read", "read"], Some("deny_on_first_deny"), &[true, true]),
        (
            &["write", "write"],
            Some("permit_on_first_permit"),
            &[false, false],
        ),
    ] {
        let answer = server.ask(EVALUATIONS, bob(actions, semantic)).await;
        assert_eq!(
            decisions(&answer.body),
            expected,
            "{actions:?} {semantic:?}"
        );
    }
    // One that cannot be made is a deny here too.
    let body = with(
        &bob(&all, Some("deny_on_first_deny")),
        "evaluations",
        Some(json!([{}, {}])),
    );
    assert_eq!(
        decisions(&server.ask(EVALUATIONS, body).await.body),
        [false]
    );
}

#[tokio::test]
async fn options_of_another_form_are_refused_and_unknown_ones_ignored() {
    let server = scenario().await;
    let whole = bob(&["read"], None);
    for (options, status) in [
        (json!({}), 200),
        (json!({ "further": 1 }), 200),
        (json!({ "evaluations_semantic": "first_come" }), 400),
        (json!({ "evaluations_semantic": "EXECUTE_ALL" }), 400),
        (json!({ "evaluations_semantic": 1 }), 400),
        (json!("execute_all"), 400),
        (json!([]), 400),
    ] {
        let body = with(&whole, "options", Some(options.clone()));
        assert_eq!(
            server.ask(EVALUATIONS, body).await.status,
            status,
            "{options}"
        );
    }
    let odd = with(
        &whole,
        "evaluations",
        Some(json!({ "action": { "name": "read" } })),
    );
    assert_eq!(server.ask(EVALUATIONS, odd).await.line().0, 400);
}

#[tokio::test]
async fn a_thousand_evaluations_are_answered_and_one_more_is_refused() {
    let server = scenario().await;
    let subjects = |count: usize| {
        let each = (0..count).map(|n| {
            let id = if n == 7 {
                "alice".to_owned()
            } else {
                format!("nobody-{n}")
            };
            json!({ "subject": { "type": "user", "id": id } })
        });
        let body = json!({ "action": { "name": "read" }, "resource": record_of("record-1") });
        with(&body, "evaluations", Some(each.collect()))
    };
    let answer = server.ask(EVALUATIONS, subjects(1000)).await;
    let decisions = decisions(&answer.body);
    assert_eq!(decisions.len(), 1000);
    let permitted = decisions
        .iter()
        .enumerate()
        .filter(|(_, permitted)| **permitted);
    assert_eq!(permitted.map(|(n, _)| n).collect::<Vec<_>>(), [7]);
    let answer = server.ask(EVALUATIONS, subjects(1001)).await;
    assert!(answer.line().1.contains("at most 1000"), "{}", answer.body);
}
