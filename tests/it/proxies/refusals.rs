//! What a client is told who may not, and who cannot be told whether they may.

use crate::support::{authz::Server, issuer::Issuer};

use super::Stage;

#[tokio::test]
async fn who_brings_no_good_token_is_challenged_and_who_may_not_is_told_so() {
    let stage = Stage::set().await;
    let stranger = Issuer::start().await.token("auth0|ada");
    let nobody = stage.roster.issuer.token("auth0|nobody");
    let table = [
        (String::new(), 401),
        ("Authorization: Basic cm9vdDpyb290\r\n".to_owned(), 401),
        ("Authorization: Bearer x\r\n".to_owned(), 401),
        (format!("Authorization: Bearer {stranger}\r\n"), 401),
        (format!("Authorization: Bearer {nobody}\r\n"), 403),
        (format!("Authorization: {}\r\n", stage.bob), 403),
    ];
    for proxy in &stage.proxies {
        for (headers, status) in &table {
            let (told, reached) = stage.get(proxy, "/songs", headers).await;
            assert_eq!(
                (told.status, reached.len()),
                (*status, 0),
                "{proxy} {headers}"
            );
            if *status == 401 {
                let challenge = told.header("www-authenticate").unwrap_or_default();
                assert!(
                    challenge.starts_with("Bearer realm=\"roster\""),
                    "{proxy} {challenge}"
                );
            }
            let (told, reached) = stage.get(proxy, "/public/1", headers).await;
            assert_eq!((told.status, reached.len()), (200, 1), "{proxy} {headers}");
        }
    }
}

#[tokio::test]
async fn while_postgres_does_not_answer_nobody_is_let_through() {
    let stage = Stage::set().await;
    stage
        .roster
        .run("begin; lock table public.users in access exclusive mode")
        .await;
    let ada = format!("Authorization: {}\r\n", stage.ada);
    for (proxy, status) in stage.proxies.iter().zip([503, 503, 403]) {
        let (told, reached) = stage.get(proxy, "/songs", &ada).await;
        assert_eq!((told.status, reached.len()), (status, 0), "{proxy}");
    }
    stage.roster.run("rollback").await;
    for proxy in &stage.proxies {
        assert_eq!(
            stage.get(proxy, "/songs", &ada).await.0.status,
            200,
            "{proxy}"
        );
    }
}

#[tokio::test]
async fn while_roster_does_not_answer_nobody_is_let_through() {
    // A port that nobody listens on.
    let stage = Stage::before(Server::reading_through().await, "127.0.0.1:1").await;
    let ada = format!("Authorization: {}\r\n", stage.ada);
    for (proxy, status) in stage.proxies.iter().zip([500, 502, 403]) {
        for path in ["/songs", "/songs/edit", "/"] {
            let (told, reached) = stage.get(proxy, path, &ada).await;
            assert_eq!((told.status, reached.len()), (status, 0), "{proxy} {path}");
        }
        let (told, _) = stage.get(proxy, "/public/1", &ada).await;
        assert_eq!(told.status, 200, "{proxy}");
    }
}

#[tokio::test]
async fn a_user_with_more_permissions_than_fit_is_let_through_with_all_or_not_at_all() {
    let stage = Stage::set().await;
    let ada = format!("Authorization: {}\r\n", stage.ada);
    for (more, must_fit) in [(100, true), (5_000, false)] {
        stage
            .roster
            .run(&format!(
                "insert into public.role_permissions select 'Lead Artist', 'read:album-' || n
                 from generate_series(1, {more}) n on conflict do nothing"
            ))
            .await;
        for proxy in &stage.proxies {
            let (told, reached) = stage.get(proxy, "/songs", &ada).await;
            assert!(told.status == 200 || !must_fit, "{proxy}: {told:?}");
            for request in reached {
                let all = request.identity()[3].split(' ').count();
                assert_eq!(all, more + 1, "{proxy}");
            }
        }
    }
}
