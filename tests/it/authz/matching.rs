//! Whom an address finds, where addresses are alike, handed on, or shared.

use crate::support::authz::Server;

#[tokio::test]
async fn an_address_that_two_rows_share_but_for_case_finds_neither() {
    let server = Server::start().await.with_ada().await;
    server
        .run(
            "drop index public.users_email_without_case;
             insert into public.users (id, email) values (2, 'ADA@EXAMPLE.COM')",
        )
        .await;
    server.fold().await;
    let google = server
        .issuer
        .token_of("google-oauth2|1", "ada@example.com", true);
    assert_eq!(
        server.me(&google).await.refusal(),
        (403, "identity_conflict")
    );
    // Whose account is stored needs no address.
    let stored = server.issuer.token_of("auth0|ada", "ada@example.com", true);
    assert_eq!(server.me(&stored).await.body["user"]["key"], "1");
}

#[tokio::test]
async fn an_address_that_folds_to_another_one_is_not_that_one() {
    let server = Server::start().await;
    for (id, row, token) in [
        // The Kelvin sign, which PostgreSQL lowers to k; a letter that becomes i; a plus tag; a blank at the end.
        (1, "\u{212a}ate@example.com", "kate@example.com"),
        (2, "\u{130}da@example.com", "ida@example.com"),
        (3, "bob+roster@example.com", "bob@example.com"),
        (4, "eve@example.com", "eve@example.com "),
        (5, "zo\u{eb}@example.com", "zo\u{eb}@example.com"),
    ] {
        server
            .run(&format!(
                "insert into public.users (id, email) values ({id}, '{row}')"
            ))
            .await;
        let token = server.issuer.token_of("google-oauth2|1", token, true);
        assert_eq!(
            server.me(&token).await.refusal(),
            (403, "user_not_provisioned"),
            "{row}"
        );
    }
}

#[tokio::test]
async fn an_address_handed_on_takes_nobodys_account_along() {
    let server = Server::start().await.with_ada().await;
    let google = server
        .issuer
        .token_of("google-oauth2|1", "ada@example.com", true);
    assert_eq!(server.me(&google).await.body["user"]["key"], "1");
    server.fold().await;
    server
        .run(
            "update public.users set email = 'ada@new.example' where id = 1;
             insert into public.users (id, email, role) values (2, 'ada@example.com', 'Curator')",
        )
        .await;
    server.fold().await;
    // Her Google account says the old address for ever, and is hers.
    for account in [&google, &server.issuer.token("auth0|ada")] {
        assert_eq!(server.me(account).await.body["user"]["key"], "1");
    }
    let other = server
        .issuer
        .token_of("google-oauth2|2", "ada@example.com", true);
    assert_eq!(server.me(&other).await.body["user"]["key"], "2");
}

#[tokio::test]
async fn a_blocked_user_is_found_by_address_and_not_let_in() {
    let server = Server::start().await.with_ada().await;
    server.run("update public.users set blocked = true").await;
    server.fold().await;
    let google = server
        .issuer
        .token_of("google-oauth2|1", "ada@example.com", true);
    for _ in 0..2 {
        assert_eq!(server.me(&google).await.refusal(), (403, "user_blocked"));
    }
}
