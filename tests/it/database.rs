//! The private server and our way to it: what every other story stands on.

use std::{fs, path::PathBuf, process::Command};

use roster::{
    db::connect::{Endpoint, is_lost},
    db::pool::QUICK,
    demo::cluster::{Cluster, Options},
};

use crate::support::Database;

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, other) = (Database::empty().await, Database::empty().await);
    assert_ne!(one.name(), other.name());
    one.client()
        .await
        .batch_execute("create table only_here ()")
        .await
        .expect("created");
    let query = "select count(*) from pg_tables where tablename = 'only_here'";
    for (database, expected) in [(&one, 1_i64), (&other, 0)] {
        let row = database
            .client()
            .await
            .query_one(query, &[])
            .await
            .expect("counted");
        assert_eq!(row.get::<_, i64>(0), expected);
    }
}

#[tokio::test]
async fn sessions_of_a_pool_have_our_settings() {
    let database = Database::empty().await;
    let pool = database.pool();
    let settings = [
        ("jit", "off"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "30s"),
        ("search_path", "pg_catalog, pg_temp"),
        ("application_name", "roster"),
    ];
    for (name, expected) in settings {
        let setting = pool.on(QUICK, async |session| {
            let row = session
                .query_one("select current_setting($1)", &[&name])
                .await?;
            Ok(row.get::<_, String>(0))
        });
        assert_eq!(setting.await.expect("a setting"), expected, "{name}");
    }
}

#[tokio::test]
async fn socket_and_tcp_lead_to_the_same_database() {
    let database = Database::empty().await;
    for url in [database.url(), database.tcp_url()] {
        let endpoint = Endpoint::parse(&url).expect("a good string");
        let client = endpoint.session().await.expect("a session");
        let row = client
            .query_one("select current_database()::text", &[])
            .await
            .expect("its name");
        assert_eq!(row.get::<_, &str>(0), database.name());
    }
}

#[tokio::test]
async fn a_private_cluster_asks_for_its_password_over_tcp() {
    let cluster = Cluster::start(Options::default())
        .await
        .expect("a private PostgreSQL");
    let url = cluster.url("postgres");
    Endpoint::parse(&url)
        .expect("a good string")
        .session()
        .await
        .expect("the right password");
    let mut wrong = url::Url::parse(&url).expect("a URL");
    wrong
        .set_password(Some("wrong"))
        .expect("a password can be set");
    let endpoint = Endpoint::parse(wrong.as_str()).expect("a good string");
    assert!(endpoint.session().await.is_err());
}

#[tokio::test]
async fn a_session_ended_by_the_server_counts_as_lost_and_a_bad_query_does_not() {
    let database = Database::empty().await;
    let client = database.client().await;
    let bad = client
        .batch_execute("select 1 / 0")
        .await
        .expect_err("a division by zero");
    assert!(!is_lost(&bad), "{bad:?}");
    let ended = client
        .batch_execute("select pg_terminate_backend(pg_backend_pid())")
        .await
        .expect_err("the session is ended");
    assert!(is_lost(&ended), "{ended:?}");
    let read_only = database
        .client()
        .await
        .batch_execute("begin read only; create table never ()")
        .await
        .expect_err("a standby refuses like this");
    assert!(is_lost(&read_only), "{read_only:?}");
}

#[tokio::test]
async fn a_stopped_cluster_leaves_neither_process_nor_directory() {
    let cluster = Cluster::start(Options::default())
        .await
        .expect("a private PostgreSQL");
    let endpoint = Endpoint::parse(&cluster.socket_url("postgres")).expect("a good string");
    let client = endpoint.session().await.expect("a session");
    let row = client
        .query_one("show data_directory", &[])
        .await
        .expect("the directory");
    let data = PathBuf::from(row.get::<_, &str>(0));
    assert!(data.is_dir());
    let pid = cluster.pid().expect("a running server");
    cluster.stop().await;
    assert!(!data.parent().expect("a parent").exists());
    assert!(!runs(pid));
}

#[test]
fn a_server_that_cannot_start_shows_its_log() {
    let options = Options::default().set("no_such_setting", "1");
    let error = Cluster::start_blocking(&options).expect_err("an unknown setting");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

fn runs(pid: u32) -> bool {
    let output = Command::new("kill").args(["-0", &pid.to_string()]).output();
    output.is_ok_and(|output| output.status.success())
        && fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
