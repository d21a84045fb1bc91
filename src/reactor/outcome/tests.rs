//! The meaning of every answer, as tables.

use std::time::Duration;

use serde_json::{Map, json};

use super::*;
use crate::{
    auth0::{Detail, Identity, TokenError},
    user::Auth0UserId,
};

const HERE: &str = "Username-Password-Authentication";

fn refused(status: u16) -> CallError {
    CallError::Refused {
        call: "update user auth0|1".into(),
        status,
        error_code: None,
        retry_after: None,
        detail: Detail::default(),
    }
}

fn cause() -> crate::auth0::Cause {
    "cut".into()
}

fn lost() -> CallError {
    CallError::AnswerLost {
        call: "update user auth0|1".into(),
        source: cause(),
    }
}

fn failure(action: Action, error: &CallError) -> Failure {
    match of_error(action, error) {
        Effect::Failed(failure) => failure,
        other => panic!("{action:?}, {error}: {other:?}"),
    }
}

#[test]
fn what_a_refusal_means_depends_on_the_action() {
    use Action::*;
    for (action, status, class, perhaps) in [
        (Create, 400, Class::Data, false),
        (Create, 401, Class::Config, false),
        (Create, 403, Class::Config, false),
        (Create, 408, Class::Transient, true),
        (Create, 409, Class::Conflict, false),
        (Create, 429, Class::Throttled, false),
        (Create, 500, Class::Transient, true),
        (Create, 503, Class::Transient, true),
        (Update, 400, Class::Data, false),
        (Update, 409, Class::Transient, false),
        (Block, 409, Class::Transient, false),
        (Block, 400, Class::Data, false),
        (Update, 502, Class::Transient, true),
        (Block, 429, Class::Throttled, false),
        (Block, 500, Class::Transient, true),
        (Look, 400, Class::Config, false),
        (Look, 500, Class::Transient, false),
        (Invite, 400, Class::Data, false),
        (Invite, 404, Class::Config, false),
        (Invite, 500, Class::Transient, true),
        (Invite, 429, Class::Throttled, false),
    ] {
        let failure = failure(action, &refused(status));
        assert_eq!(
            (failure.class, failure.perhaps_applied),
            (class, perhaps),
            "{action:?} {status}"
        );
    }
}

#[test]
fn an_account_that_is_not_found_is_missing_and_never_done_unless_it_was_to_be_deleted() {
    for action in [
        Action::Update,
        Action::Block,
        Action::Unblock,
        Action::MoveAside,
    ] {
        assert_eq!(
            of_error(action, &refused(404)),
            Effect::Missing,
            "{action:?}"
        );
    }
    assert_eq!(of_error(Action::Delete, &refused(404)), Effect::Deleted);
}

#[test]
fn a_lost_answer_may_have_been_applied_and_an_unsent_call_was_not() {
    let not_sent = CallError::NotSent {
        call: "create user".into(),
        source: cause(),
    };
    for action in [
        Action::Create,
        Action::Update,
        Action::Block,
        Action::Delete,
        Action::Invite,
    ] {
        assert!(failure(action, &lost()).perhaps_applied, "{action:?}");
        assert!(!failure(action, &not_sent).perhaps_applied, "{action:?}");
    }
    assert!(
        !failure(Action::Look, &lost()).perhaps_applied,
        "a read changes nothing"
    );
}

#[test]
fn a_wait_that_was_told_is_kept() {
    let throttled = CallError::Throttled {
        call: "update user".into(),
        retry_after: Duration::from_secs(7),
    };
    let failure = failure(Action::Update, &throttled);
    assert_eq!(failure.class, Class::Throttled);
    assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
}

#[test]
fn a_refused_token_is_a_matter_of_configuration_and_an_unavailable_one_is_not() {
    let token = |source| CallError::Token {
        call: "update user".into(),
        source,
    };
    let wait = Duration::from_secs(30);
    let refused = token(TokenError::Refused {
        status: 401,
        error_code: None,
        retry_after: wait,
    });
    let unavailable = token(TokenError::Unavailable {
        status: 503,
        retry_after: wait,
    });
    assert_eq!(failure(Action::Update, &refused).class, Class::Config);
    assert_eq!(
        failure(Action::Update, &unavailable).class,
        Class::Transient
    );
}

fn account(id: &str, connection: &str, verified: bool) -> User {
    let (provider, bare) = id.split_once('|').expect("provider|id");
    User {
        id: Auth0UserId::from(id),
        email: Some("ada@example.test".into()),
        email_verified: verified,
        name: None,
        blocked: false,
        app_metadata: Map::new(),
        user_metadata: Map::new(),
        identities: vec![Identity {
            provider: provider.into(),
            user_id: bare.into(),
            connection: connection.into(),
            is_social: false,
        }],
        last_login: None,
        logins_count: None,
        created_at: None,
    }
}

fn look() -> Look {
    Look {
        user_key: "17".into(),
        id: None,
        known: false,
        email: Some("Ada@example.test".into()),
        live: true,
        conflict: false,
    }
}

fn found(users: Vec<User>) -> Seen {
    Seen {
        by_id: None,
        by_email: users,
    }
}

#[test]
fn one_verified_account_in_the_connection_is_adopted_and_anything_else_is_for_a_person() {
    let here = |id, verified| account(id, HERE, verified);
    for (users, adopt, dispute) in [
        (vec![], None, None),
        (vec![here("auth0|1", true)], Some("auth0|1"), None),
        (
            vec![here("auth0|1", false)],
            None,
            Some("account_unverified"),
        ),
        (
            vec![here("auth0|1", true), here("auth0|2", true)],
            None,
            Some("accounts_double"),
        ),
    ] {
        let findings = of_look(&look(), found(users), HERE);
        assert_eq!(findings.adopt.map(|a| a.auth0_user_id).as_deref(), adopt);
        assert_eq!(findings.dispute, dispute);
    }
}

#[test]
fn a_verified_log_in_elsewhere_is_a_further_account_and_an_unverified_one_is_nobody() {
    let users = vec![
        account("google-oauth2|7", "google-oauth2", true),
        account("github|8", "github", false),
    ];
    let findings = of_look(&look(), found(users), HERE);
    let further: Vec<_> = findings
        .further
        .iter()
        .map(|a| a.auth0_user_id.as_str())
        .collect();
    assert_eq!(further, ["google-oauth2|7"]);
    assert_eq!((findings.adopt, findings.dispute), (None, None));
}

#[test]
fn an_account_with_rosters_own_mark_for_this_user_was_made_and_invited_before() {
    for (marked_for, is_ours) in [("17", true), ("18", false)] {
        let mut marked = account("auth0|1", HERE, false);
        let mark = json!({"user_key": marked_for});
        marked.app_metadata.insert("roster".into(), mark);
        let claimed = Look {
            id: Some("auth0|1".into()),
            ..look()
        };
        let seen = Seen {
            by_id: Some(marked.clone()),
            by_email: vec![],
        };
        assert_eq!(of_look(&claimed, seen, HERE).made_before, is_ours);
        let findings = of_look(&look(), found(vec![marked]), HERE);
        assert_eq!(findings.adopt.is_some(), is_ours);
        assert_eq!(findings.made_before, is_ours);
        assert_eq!(findings.dispute.is_none(), is_ours);
    }
}

#[test]
fn a_conflict_that_nothing_explains_is_said_to_be_so_and_not_disputed_at_once() {
    let look = Look {
        conflict: true,
        ..look()
    };
    let findings = of_look(&look, found(vec![]), HERE);
    assert!(findings.unexplained);
    assert_eq!(findings.dispute, None);
}

#[test]
fn a_claimed_id_is_compared_and_never_believed() {
    let claim = Look {
        id: Some("auth0|1".into()),
        ..look()
    };
    let seen = |user: User| Seen {
        by_id: Some(user),
        by_email: vec![],
    };
    let same = of_look(&claim, seen(account("auth0|1", HERE, false)), HERE);
    assert!(same.adopt.is_some() && same.dispute.is_none());

    let mut other = account("auth0|1", HERE, true);
    other.email = Some("bob@example.test".into());
    assert_eq!(
        of_look(&claim, seen(other), HERE).dispute,
        Some("claimed_account_differs")
    );
    let elsewhere = account("auth0|1", "another-connection", true);
    assert_eq!(
        of_look(&claim, seen(elsewhere), HERE).dispute,
        Some("claimed_account_differs")
    );
    assert_eq!(
        of_look(&claim, found(vec![]), HERE).dispute,
        Some("claimed_account_missing")
    );
}

#[test]
fn an_account_of_ours_that_was_linked_into_another_is_followed_there() {
    let mut primary = account("google-oauth2|7", "google-oauth2", true);
    primary.identities.push(Identity {
        provider: "auth0".into(),
        user_id: "1".into(),
        connection: HERE.into(),
        is_social: false,
    });
    let by_id = Seen {
        by_id: Some(primary.clone()),
        by_email: vec![],
    };
    // Also once the user is removed: who is to be blocked has another log-in now.
    for live in [true, false] {
        let known = Look {
            id: Some("auth0|1".into()),
            known: true,
            live,
            ..look()
        };
        for seen in [by_id.clone(), found(vec![primary.clone()])] {
            let findings = of_look(&known, seen, HERE);
            assert_eq!(findings.adopt, None);
            assert_eq!(
                findings.moved_into.map(|a| a.auth0_user_id).as_deref(),
                Some("google-oauth2|7")
            );
        }
    }
}

#[test]
fn a_look_for_a_removed_user_adopts_nothing() {
    let removed = Look {
        id: Some("auth0|1".into()),
        known: true,
        live: false,
        ..look()
    };
    let users = vec![account("auth0|2", HERE, true)];
    assert_eq!(of_look(&removed, found(users), HERE), Findings::default());
}

#[test]
fn permissions_are_recorded_in_order() {
    let mut user = account("auth0|1", HERE, true);
    user.app_metadata
        .insert("permissions".into(), json!(["b:x", "B:x", "a:x"]));
    assert_eq!(
        observed(&user).app_metadata["permissions"],
        json!(["B:x", "a:x", "b:x"])
    );
}
