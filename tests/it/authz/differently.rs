//! Memory is held to the look-up in the database: whatever happens to users and accounts, both say the same of everybody.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use roster::authz::DirectoryMode;
use serde_json::Value;

use crate::support::authz::{Answer, Server, get, serve};

const ADDRESSES: [&str; 5] = [
    "a@example.com",
    "B@example.com",
    "c@example.com",
    "d@example.com",
    "e@example.com",
];

/// A statement of a DBA, of the reactor, or of somebody with a good reason.
fn change(random: &mut StdRng) -> String {
    let id = random.random_range(1..5);
    let other = random.random_range(1..6);
    let address = ADDRESSES[random.random_range(0..ADDRESSES.len())];
    let account = format!("auth0|{}", random.random_range(1..5));
    let statements = [
        format!("insert into users (id, email) values ({id}, '{address}') on conflict do nothing"),
        format!("insert into users (id, email) values ({id}, '{address}') on conflict do nothing"),
        format!("delete from users where id = {id}"),
        format!(
            "update users set email = '{address}' where id = {id} and not exists (select from users where lower(email) = lower('{address}'))"
        ),
        format!(
            "update users set role = (array['Artist', 'Editor'])[{other} % 2 + 1] where id = {id}"
        ),
        format!("update users set blocked = not blocked where id = {id}"),
        format!(
            "update users set id = {other} where id = {id} and not exists (select from users where id = {other})"
        ),
        format!(
            "begin; delete from users where id = {id}; insert into users (id, email) values ({id}, '{address}') on conflict do nothing; commit"
        ),
        format!(
            "insert into user_permissions select id, 'own' from users where id = {id} on conflict do nothing"
        ),
        "delete from user_permissions".to_owned(),
        format!(
            "insert into role_permissions values ('Artist', 'p{other}') on conflict do nothing"
        ),
        "truncate users cascade".to_owned(),
        "select roster.fold()".to_owned(),
        "select roster.fold()".to_owned(),
        "select roster.sweep()".to_owned(),
        format!(
            "insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state, email) \
             select '{account}', m.user_key, m.incarnation, 'further', 'linked', (array['{address}', d.email, null])[{other} % 3 + 1] \
             from roster.mirror m left join roster.desired_users d on d.user_key = m.user_key where m.user_key = '{id}' \
             on conflict (auth0_user_id) do nothing"
        ),
        format!(
            "update roster.accounts set origin = 'made' where auth0_user_id = '{account}' and not exists (select from roster.accounts where origin <> 'further')"
        ),
        format!("update roster.accounts set email = '{address}' where auth0_user_id = '{account}'"),
        format!(
            "update roster.accounts set state = (array['gone', 'linked', 'missing'])[{other} % 3 + 1] where auth0_user_id = '{account}' and origin = 'further'"
        ),
        format!(
            "update roster.accounts a set user_key = m.user_key, incarnation = m.incarnation from roster.mirror m \
             where a.auth0_user_id = '{account}' and a.origin = 'further' and m.user_key = '{id}'"
        ),
        format!("delete from roster.accounts where auth0_user_id = '{account}'"),
        format!(
            "update roster.mirror set disputed = case when disputed is null then 'x' end where user_key = '{id}'"
        ),
        format!(
            "update roster.mirror set incarnation = incarnation + 1 where user_key = '{id}' and incarnation < 3"
        ),
    ];
    statements[random.random_range(0..statements.len())].clone()
}

/// What an answer says, without the state it was made from.
fn said(answer: Answer) -> (u16, Value, Value) {
    let (mut body, status) = (answer.body, answer.status);
    (status, body["user"].take(), body["code"].take())
}

#[tokio::test]
async fn memory_and_database_say_the_same_of_everybody_whatever_happens() {
    let server = Server::start().await;
    let (read_through, _, _) = serve(&server.issuer, &server.database, |settings, _| {
        settings.directory = DirectoryMode::ReadThrough;
    })
    .await;
    let accounts = (1..5).map(|n| format!("auth0|{n}"));
    let tokens: Vec<String> = accounts
        .flat_map(|account| {
            let of = |address| server.issuer.token_of(&account, address, true);
            [
                server.issuer.token(&account),
                of("a@example.com"),
                of("b@example.com"),
            ]
        })
        .collect();
    let seed = std::env::var("ROSTER_TEST_SEED").map_or_else(
        |_| rand::rng().random(),
        |seed| seed.parse().expect("a number"),
    );
    let random = &mut StdRng::seed_from_u64(seed);
    let (mut told, mut let_in) = (Vec::new(), 0);
    for _ in 0..40 {
        for _ in 0..random.random_range(1..5) {
            let statement = change(random);
            server.run(&statement).await;
            told.push(statement);
        }
        let revision = server.revision().await;
        let token = &tokens[random.random_range(0..tokens.len())];
        for token in tokens
            .iter()
            .filter(|other| *other == token || random.random_bool(0.3))
        {
            let bearer = format!("Bearer {token}");
            let headers = [
                ("authorization", bearer.as_str()),
                ("x-roster-at-least", revision.as_str()),
            ];
            let ours = said(server.get("/v1/me", &headers).await);
            let theirs = said(get(&format!("{read_through}/v1/me"), &headers).await);
            assert_eq!(ours, theirs, "seed {seed}, after {told:#?}");
            let_in += u32::from(ours.0 == 200);
        }
    }
    assert!(let_in > 0, "nobody was ever let in: seed {seed}");
}
