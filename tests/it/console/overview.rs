//! The first page says in one sentence how things stand, whatever is the matter.

use super::Site;

/// As if a reactor was at work that is never done with anything.
const REACTOR: &str = r#"update roster.reactors set heartbeat_at = now() + interval '1 hour',
    budget = '[{"class": "write_users", "limit": 20, "remaining": 7.9, "per_second": 3.333}]'"#;

#[tokio::test]
async fn how_things_stand_is_one_sentence_and_never_better_than_it_is() {
    let site = Site::new().await;
    let (mut rita, _) = site.log_in("rita@example.com").await;
    // Her log-in is remembered, which is a change too.
    site.world.settle().await;
    let mut says = async |what: &str| {
        let page = rita.get("/console").await;
        let (_, lead) = page
            .body
            .split_once("<p class=\"lead\">")
            .expect("a sentence");
        let (lead, _) = lead.split_once("</p>").expect("its end");
        assert!(lead.starts_with(what), "{what}: {lead}");
        page
    };
    site.world
        .run("update roster.reactors set heartbeat_at = now() - interval '1 hour'")
        .await;
    says("No reactor is running").await;
    site.world.run(REACTOR).await;
    site.world.run("delete from roster.attempts").await;
    let page = says("In sync: Auth0 has what the table says.").await;
    assert!(
        page.says("Budget, write users")
            && page.says("7 of 20 calls left, 3.3 a second in the long run"),
        "{}",
        page.body
    );
    site.world
        .run("update users set name = 'Otto II' where id = 3")
        .await;
    says("Catching up: what was just changed is not taken over").await;
    site.world.fold().await;
    let page = says("Catching up: one user still on the way to Auth0, the oldest since").await;
    assert!(
        page.says("by Auth0&#39;s limit: 3.33 calls a second")
            || page.says("by Auth0's limit: 3.33 calls a second"),
        "{}",
        page.body
    );
    site.world.run("select roster.pause('a look around')").await;
    says("Paused: nothing is sent to Auth0; one user to be looked at.").await;
    site.world
        .run("select roster.resume(); select roster.set_mode('observe')")
        .await;
    says("Roster only observes").await;
    site.world.run("select roster.set_mode('enforce')").await;
    site.world.settle().await;
    site.world.run(REACTOR).await;
    site.world
        .run(
            "update roster.mirror set error_code = 'server_error', error_class = 'transient' where user_key = '1';
             update roster.mirror set error_code = 'bad_request', error_class = 'data' where user_key = '2';
             update roster.mirror set disputed = 'several_accounts' where user_key = '3'",
        )
        .await;
    says("Not in sync: 1 failing, 1 parked, 1 disputed.").await;
}
