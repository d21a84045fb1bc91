//! Searching for users: the query language, the order, the pages, and how late it all is.

use reqwest::StatusCode;
use roster::emulator::Options;
use serde_json::{Value, json};

use super::{CONNECTION, Tenant, json_of, new_user};

/// Three people who differ in everything that can be searched for.
async fn people(tenant: &Tenant) {
    let users = json!([
        {
            "user_id": "auth0|ann", "email": "ann@a.test", "name": "Ann Smith", "blocked": true, "logins_count": 3,
            "created_at": "2024-01-01T12:00:00Z",
            "app_metadata": {"role": "Admin", "level": 5, "tags": [{"name": "jazz"}, {"name": "pop"}], "none": null},
        },
        {
            "user_id": "auth0|bob", "email": "bob@b.test", "name": "Bob", "logins_count": 20, "email_verified": true,
            "created_at": "2024-02-29T23:00:00Z", "app_metadata": {"role": "artist", "tags": []},
            "user_metadata": {"city": "Paris"},
        },
        {
            "user_id": "google-oauth2|7", "email": "Cara@a.test", "name": "cara*", "nickname": "C",
            "created_at": "2024-03-01T00:00:00Z", "user_metadata": {"city": "Rome", "sizes": {"shoe": 39}},
        },
    ]);
    tenant.control("users", users).await;
}

async fn search(tenant: &Tenant, query: &[(&str, &str)]) -> reqwest::Response {
    let url = format!("{}/api/v2/users", tenant.base);
    let request = tenant.http.get(url).bearer_auth(&tenant.token);
    request.query(query).send().await.unwrap()
}

/// Whom a query finds, by the first letter of the name.
async fn found(tenant: &Tenant, query: &[(&str, &str)]) -> String {
    let users: Vec<Value> = json_of(search(tenant, query).await)
        .await
        .as_array()
        .unwrap()
        .clone();
    let initial = |user: &Value| user["name"].as_str().unwrap().to_lowercase().remove(0);
    users.iter().map(initial).collect()
}

async fn expect(cases: &[(&str, &str)]) {
    let tenant = Tenant::start().await;
    people(&tenant).await;
    for (q, names) in cases {
        assert_eq!(found(&tenant, &[("q", q)]).await, *names, "{q}");
    }
}

#[tokio::test]
async fn names_and_addresses_compare_without_case_and_all_else_with() {
    expect(&[
        ("email:\"ANN@A.TEST\"", "a"),
        ("email:cara@A.test", "c"),
        ("name:\"ann smith\"", "a"),
        ("nickname:c", "c"),
        ("app_metadata.role:Admin", "a"),
        ("app_metadata.role:admin", ""),
        ("user_id:\"auth0|bob\"", "b"),
        ("user_id:\"AUTH0|bob\"", ""),
        ("email.domain:a.test", "ac"),
    ])
    .await;
}

#[tokio::test]
async fn a_star_stands_for_any_rest_and_a_backslash_takes_its_meaning() {
    expect(&[
        ("email:bo*", "b"),
        ("name:*mith", "a"),
        (r"name:cara\*", "c"),
        (r"name:ann\ smith", "a"),
        ("name:ann", ""),
        ("user_id:auth0|*", "ab"),
    ])
    .await;
}

#[tokio::test]
async fn terms_join_by_operators_and_parentheses() {
    expect(&[
        ("blocked:true AND app_metadata.role:Admin", "a"),
        ("blocked:true OR name:bob", "ab"),
        ("NOT blocked:true", "bc"),
        ("-blocked:true", "bc"),
        ("+email.domain:a.test -name:cara*", "a"),
        (
            "(name:bob OR nickname:c) AND NOT user_metadata.city:Rome",
            "b",
        ),
        ("name:bob OR nickname:c AND user_metadata.city:Paris", "b"),
        ("name:(bob OR \"ann smith\")", "ab"),
    ])
    .await;
}

#[tokio::test]
async fn ranges_of_numbers_and_times_have_closed_open_and_missing_ends() {
    expect(&[
        ("logins_count:[3 TO 20]", "ab"),
        ("logins_count:{3 TO 20]", "b"),
        ("logins_count:[3 TO 20}", "a"),
        ("logins_count:{3 TO *]", "b"),
        ("created_at:[2024-02-29 TO 2024-02-29]", "b"),
        ("created_at:[2024-02-29 TO *]", "bc"),
        ("created_at:[* TO 2024-01-01T12:00:00.000Z]", "a"),
        ("app_metadata.level:[5 TO 9]", "a"),
    ])
    .await;
}

#[tokio::test]
async fn metadata_is_found_by_its_path_through_arrays_and_never_where_it_is_empty() {
    expect(&[
        ("app_metadata.tags.name:pop", "a"),
        ("user_metadata.sizes.shoe:39", "c"),
        ("identities.connection:\"google-oauth2\"", "c"),
        ("identities.isSocial:true", "c"),
        ("_exists_:app_metadata.tags", "a"),
        ("_exists_:app_metadata.none", ""),
        ("NOT _exists_:logins_count", "c"),
        ("_exists_:blocked", "a"),
    ])
    .await;
}

#[tokio::test]
async fn what_search_does_not_understand_is_refused_and_not_answered_wrongly() {
    let tenant = Tenant::start().await;
    for query in [
        ("q", "jane"),
        ("q", "name:jane~"),
        ("q", "user_metadata.city:Par*"),
        ("q", "name:*th"),
        ("q", "shoe_size:39"),
        ("sort", "app_metadata.role:1"),
        ("sort", "name"),
        ("search_engine", "v2"),
        ("connection", CONNECTION),
        ("per_page", "101"),
        ("order", "name"),
    ] {
        let refused = search(&tenant, &[query]).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{query:?}");
        assert_eq!(json_of(refused).await["errorCode"], "invalid_query_string");
    }
}

#[tokio::test]
async fn a_query_may_be_too_long_or_take_too_long() {
    let tenant = Tenant::start().await;
    let long = format!("name:{}", "x".repeat(5000));
    let refused = search(&tenant, &[("q", &long)]).await;
    assert_eq!(refused.status(), StatusCode::URI_TOO_LONG);
    let fault = json!({"route": "GET /api/v2/users", "kind": "status", "status": 503, "times": 1});
    tenant.control("faults", fault).await;
    let slow = search(&tenant, &[("q", "name:a*")]).await;
    assert_eq!(slow.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn results_are_sorted_both_ways() {
    let tenant = Tenant::start().await;
    people(&tenant).await;
    for (sort, names) in [
        ("created_at:-1", "cba"),
        ("email:1", "cab"),
        ("logins_count:1", "cab"),
        ("logins_count:-1", "bac"),
    ] {
        assert_eq!(found(&tenant, &[("sort", sort)]).await, names, "{sort}");
    }
}

#[tokio::test]
async fn search_is_as_late_as_the_option_says_while_reads_are_not() {
    let tenant = Tenant::with(Options {
        search_delay_ms: 60_000,
        ..Options::default()
    })
    .await;
    let status = async |path: &str| tenant.get(path).await.status();
    tenant.ann(json!({})).await;
    assert_eq!(status("/api/v2/users/auth0%7Cann").await, StatusCode::OK);
    let by_email = json_of(tenant.get("/api/v2/users-by-email?email=ann@a.test").await).await;
    assert_eq!(by_email.as_array().unwrap().len(), 1);
    let totals = [("include_totals", "true")];
    assert_eq!(json_of(search(&tenant, &totals).await).await["total"], 0);
    tenant
        .control("clock", json!({"advance_seconds": 61}))
        .await;
    assert_eq!(found(&tenant, &[]).await, "a");

    tenant.patch_ann(json!({"name": "Zoe"})).await;
    tenant
        .call("POST", "/api/v2/users", Some(new_user("bob", json!({}))))
        .await;
    assert_eq!(found(&tenant, &[]).await, "a", "neither the change nor bob");
    tenant
        .control("clock", json!({"advance_seconds": 61}))
        .await;
    tenant
        .call("DELETE", "/api/v2/users/auth0%7Cann", None)
        .await;
    assert_eq!(
        found(&tenant, &[]).await,
        "zb",
        "both, and still who is gone"
    );
    tenant
        .control("clock", json!({"advance_seconds": 61}))
        .await;
    assert_eq!(found(&tenant, &[]).await, "b");
}
