//! Who changed whom, by transaction, and what became of it.

use super::Site;

#[tokio::test]
async fn a_change_is_shown_with_who_made_it_with_what_and_what_auth0_was_told() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    ada.post("/console/user/3", "/console/user/3/block", &[])
        .await;
    let page = ada.get("/console/changes").await;
    assert!(
        page.says("<bdi>ada@example.com (user 1)</bdi> by ") && page.says("update public.users"),
        "{}",
        page.body
    );
    assert!(
        page.says("not taken over yet") && page.says("roster history\n")
            || page.says("roster history<")
    );
    site.world.settle().await;
    let page = ada.get("/console/changes").await;
    let first = page.body.split("<tr>").nth(2).expect("a line");
    assert!(
        first.contains("/console/user/3") && first.contains("ok 200"),
        "{first}"
    );
    let (_, rest) = first.split_once("href=\"").expect("a link");
    let one = ada.get(rest.split('"').next().unwrap_or_default()).await;
    assert!(
        one.says("block") && one.says("blocked from false to true") && one.says("by the console"),
        "{}",
        one.body
    );
    assert!(one.says("roster history --transaction "));
}

#[tokio::test]
async fn transactions_and_the_users_of_one_are_paged_without_a_gap() {
    let site = Site::new().await;
    let (mut rita, _) = site.log_in("rita@example.com").await;
    site.world.add_many(120).await;
    let txid = site
        .one("select max(txid)::text from roster.transactions")
        .await;
    let met = rita
        .walk(&format!("/console/change/{txid}"), "/console/user/")
        .await;
    let all = "select id::text from users where id > 3 order by id::text collate \"C\"";
    assert_eq!(met, site.world.texts(all).await);
    for n in 0..60 {
        let touch = format!("update users set name = 'Name {n}' where id = 3");
        site.world.run(&touch).await;
    }
    let mut met = rita.walk("/console/changes", "/console/change/").await;
    // The time and the outcome of many users both lead there.
    met.dedup();
    let all = "select t.txid::text from roster.transactions t order by t.txid desc";
    assert_eq!(met, site.world.texts(all).await);
    let beyond = rita.get("/console/changes?before=1").await;
    assert!(beyond.says("Nothing older is kept"), "{}", beyond.body);
    assert_eq!(rita.get("/console/change/1").await.status, 404);
    assert_eq!(rita.get("/console/change/x").await.status, 404);
}
