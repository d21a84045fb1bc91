use std::error::Error;

use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use super::*;

fn parsed(url: &str) -> tokio_postgres::Config {
    Endpoint::parse(url)
        .expect("a good connection string")
        .config
}

fn refused(url: &str) -> String {
    let error = Endpoint::parse(url).expect_err("a bad connection string");
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[test]
fn what_the_string_does_not_say_gets_our_defaults() {
    let config = parsed("postgres://roster:pw@db/app");
    assert_eq!(config.get_application_name(), Some("roster"));
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(5)));
    assert_eq!(
        config.get_tcp_user_timeout(),
        Some(&Duration::from_secs(20))
    );
    assert_eq!(config.get_keepalives_idle(), Duration::from_secs(15));
    assert_eq!(
        config.get_keepalives_interval(),
        Some(Duration::from_secs(5))
    );
    assert_eq!(config.get_keepalives_retries(), Some(3));
    assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::Any);
    assert_eq!(config.get_ssl_mode(), SslMode::Prefer);
}

#[test]
fn of_several_hosts_the_one_that_accepts_writes_is_wanted() {
    let config = parsed("postgresql://roster@db1,db2:5433,[::1]:5434/app");
    assert_eq!(config.get_ports(), [5432, 5433, 5434]);
    assert_eq!(config.get_hosts().len(), 3);
    assert_eq!(
        config.get_target_session_attrs(),
        TargetSessionAttrs::ReadWrite
    );
    let any = parsed("postgres://db1,db2/app?target_session_attrs=any");
    assert_eq!(any.get_target_session_attrs(), TargetSessionAttrs::Any);
}

#[test]
fn times_mean_what_they_mean_to_libpq() {
    let config = parsed(
        "postgres://db/app?tcp_user_timeout=20000&keepalives_count=7&keepalives_idle=60&connect_timeout=3&keepalives=1",
    );
    assert_eq!(
        config.get_tcp_user_timeout(),
        Some(&Duration::from_secs(20))
    );
    assert_eq!(config.get_keepalives_retries(), Some(7));
    assert_eq!(config.get_keepalives_idle(), Duration::from_secs(60));
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(3)));
}

#[test]
fn the_deadline_leaves_each_host_its_time() {
    let deadline = |url: &str| {
        Endpoint::parse(url)
            .expect("a good connection string")
            .deadline()
    };
    assert_eq!(deadline("postgres://db/app"), Duration::from_secs(10));
    assert_eq!(deadline("postgres://a,b,c/app"), Duration::from_secs(20));
    assert_eq!(
        deadline("postgres://db/app?connect_timeout=20"),
        Duration::from_secs(25)
    );
}

#[test]
fn both_notations_say_the_same() {
    let url =
        parsed("postgres://ro%40ster:p%20w%27@db:5433/app?application_name=x&sslmode=disable");
    let pairs = parsed(
        r"host = db port=5433 user=ro@ster password='p w\'' dbname=app application_name=x sslmode=disable",
    );
    assert_eq!(url, pairs);
}

#[test]
fn keys_after_the_question_mark_override_what_stands_before_it() {
    let config = parsed("postgres://db/app?host=%2Frun%2Fpg&port=6000&dbname=other&user=me");
    assert_eq!(config.get_hosts(), [Host::Unix("/run/pg".into())]);
    assert_eq!(config.get_ports(), [6000]);
    assert_eq!(config.get_dbname(), Some("other"));
    assert_eq!(config.get_user(), Some("me"));
}

#[test]
fn sslmode_maps_to_what_tokio_postgres_can_do() {
    let mode =
        |sslmode: &str| parsed(&format!("postgres://db/app?sslmode={sslmode}")).get_ssl_mode();
    assert_eq!(mode("disable"), SslMode::Disable);
    assert_eq!(mode("allow"), SslMode::Prefer);
    assert_eq!(mode("prefer"), SslMode::Prefer);
    assert_eq!(mode("require"), SslMode::Require);
    assert_eq!(mode("verify-full&sslrootcert=system"), SslMode::Require);
    // A Unix socket has no TLS, as with libpq.
    let socket = parsed("postgres:///app?host=/run/pg&sslmode=verify-full");
    assert_eq!(socket.get_ssl_mode(), SslMode::Disable);
}

#[test]
fn what_libpq_accepts_without_consequence_is_accepted() {
    parsed(
        "postgres://db/app?gssencmode=prefer&sslcompression=0&client_encoding=UTF8&channel_binding=prefer&sslsni=1",
    );
    parsed(
        "postgres://db/app?ssl_min_protocol_version=TLSv1.3&load_balance_hosts=random&options=-c%20jit%3Doff",
    );
    parsed("postgres:///app");
}

#[test]
fn a_bad_string_is_refused_with_the_key_and_what_to_do() {
    let table = [
        (
            "postgres://db/app?sslmod=require",
            "unknown key `sslmod`; did you mean `sslmode`?",
        ),
        (
            "postgres://db/app?frobnicate=1",
            "unknown key `frobnicate`; take it out",
        ),
        (
            "postgres://db/app?keepalives_retries=3",
            "unknown key `keepalives_retries`",
        ),
        (
            "postgres://db/app?sslmode=yes",
            "`sslmode` in the connection string does not fit: expected disable, allow",
        ),
        ("postgres://db/app?gssencmode=require", "`gssencmode`"),
        (
            "postgres://db/app?service=x",
            "`service` of the connection string is not supported; write",
        ),
        ("postgres://db/app?requirepeer=x", "`requirepeer`"),
        (
            "postgres://db/app?target_session_attrs=standby",
            "expected read-write",
        ),
        (
            "postgres://db/app?connect_timeout=soon",
            "expected a whole number of seconds",
        ),
        ("postgres://db/app?hostaddr=nowhere", "`hostaddr`"),
        ("host=a,b port=1,2,3", "as many as there are hosts"),
        ("postgres://db:port/app", "cannot be read"),
        ("postgres://db/app?sslmode", "every key needs `=`"),
        (
            "postgres://db/app?sslrootcert=/no/such/ca.pem&sslmode=verify-ca",
            "`sslrootcert`",
        ),
        (
            "postgres://db/app?sslrootcert=system&sslmode=require",
            "expected verify-full",
        ),
        (
            "postgres://db/app?sslcert=/no/such.crt",
            "sslcert and sslkey together",
        ),
        ("postgres://db/app?passfile=/no/such/pgpass", "`passfile`"),
        ("mysql://db/app", "starts with postgres://"),
        ("nonsense", "key=value"),
        ("", "key=value"),
    ];
    for (url, expected) in table {
        let error = refused(url);
        assert!(
            error.contains(expected),
            "{url:?} gave {error:?}, expected {expected:?}"
        );
    }
}

#[test]
fn the_password_is_in_no_error_and_no_debug() {
    let bad = [
        "postgres://u:hunter2@db/app?x=1",
        "postgres://u:hunter2@db:port/app",
        "postgres://u:p@hunter2@db/app",
        "postgres://u:/hunter2@db/app?sslmode",
        "host=db password=my hunter2",
        "host=db password='hunter2",
        "host=db password=hunter2 sslmode=hunter2",
    ];
    for url in bad {
        let error = format!("{} {:?}", refused(url), Endpoint::parse(url));
        assert!(!error.contains("hunter2"), "{url:?} gave {error:?}");
    }
    let endpoint = Endpoint::parse("postgres://u:hunter2@db1,db2:5433/app").expect("a good string");
    assert_eq!(endpoint.to_string(), "db1:5432,db2:5433/app as u");
    assert_eq!(
        format!("{endpoint:?}"),
        "Endpoint(db1:5432,db2:5433/app as u)"
    );
}

#[test]
fn an_endpoint_is_shown_as_a_person_would_name_it() {
    let table = [
        ("postgres://db1,db2:5433/app", "db1:5432,db2:5433/app"),
        ("hostaddr=10.0.0.1 port=6000 user=u", "10.0.0.1:6000 as u"),
        ("host=/run/pg dbname=app", "/run/pg:5432/app"),
    ];
    for (url, expected) in table {
        assert_eq!(
            Endpoint::parse(url).expect("a good string").to_string(),
            expected
        );
    }
}

#[test]
fn a_password_file_must_be_private_and_is_used() {
    use std::os::unix::fs::PermissionsExt;

    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "db:5432:app:u:from-file\n").expect("written");
    let set = |mode| {
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("chmod")
    };
    let url = format!("postgres://u@db/app?passfile={}", file.path().display());
    set(0o600);
    assert_eq!(parsed(&url).get_password(), Some(&b"from-file"[..]));
    set(0o644);
    assert!(refused(&url).contains("chmod 0600"));
}

#[tokio::test]
async fn a_server_that_never_answers_ends_in_a_timeout() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a listener");
    let port = silent.local_addr().expect("its address").port();
    let endpoint = Endpoint::parse(&format!("postgres://u:hunter2@127.0.0.1:{port}/app"))
        .expect("a good string");
    tokio::time::pause();
    let error = endpoint.connect().await.err().expect("nobody answers");
    assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
}
