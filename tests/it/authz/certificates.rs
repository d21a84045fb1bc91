//! The authorization server over TLS of its own: which pair it shows, and what it makes of one that does not fit.

use std::{fs, path::PathBuf, time::Duration};

use roster::{
    authz, config,
    http::{Limits, Tls, serve_watched, warp_service},
    progress::Progress,
};
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use warp::Filter;

use crate::support::{https::Authority, logs::Logs, program::roster, world::eventually};

/// The two files, and a place for them.
struct Files {
    _dir: TempDir,
    paths: config::Tls,
}

impl Files {
    fn of(authority: &Authority) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| -> PathBuf { dir.path().join(name) };
        let paths = config::Tls {
            certificate: path("certificate.pem"),
            key: path("key.pem"),
        };
        let files = Self { _dir: dir, paths };
        files.hold(authority);
        files
    }

    /// A new pair of this authority.
    fn hold(&self, authority: &Authority) {
        let (certificate, key) = authority.pair();
        fs::write(&self.paths.certificate, certificate).expect("written");
        fs::write(&self.paths.key, key).expect("written");
    }
}

/// Serves `/livez` with these files, looking at them all the time.
async fn start(files: &Files, limits: Limits) -> String {
    let tls = Tls::load(&files.paths).await.expect("a good pair");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    let live = warp::path!("livez").map(|| "ok").recover(authz::recover);
    let stop = CancellationToken::new();
    let (following, stopped) = (tls.clone(), stop.clone());
    tokio::spawn(async move { following.follow(Duration::from_millis(20), stopped).await });
    let part = Progress::default().part("server", Duration::MAX);
    tokio::spawn(serve_watched(
        listener,
        Some(tls),
        warp_service(live),
        limits,
        part,
        stop,
    ));
    address
}

/// Whether a client that trusts this authority alone is answered.
async fn trusts(authority: &Authority, address: &str) -> bool {
    let root = fs::read(authority.file()).expect("its certificate");
    let root = reqwest::Certificate::from_pem(&root).expect("PEM");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]);
    let asked = client
        .build()
        .expect("a client")
        .get(format!("https://{address}/livez"));
    asked
        .send()
        .await
        .is_ok_and(|answer| answer.status() == 200)
}

#[tokio::test]
async fn requests_are_answered_over_tls_with_the_configured_certificate_and_over_nothing_else() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = Files::of(&authority);
    let address = start(&files, Limits::default()).await;
    assert!(trusts(&authority, &address).await);
    assert!(!trusts(&other, &address).await);
    let plain = reqwest::get(format!("http://{address}/livez")).await;
    assert!(plain.is_err(), "{plain:?}");
}

#[tokio::test]
async fn a_changed_certificate_is_shown_without_a_restart() {
    let (before, after) = (Authority::new(), Authority::new());
    let files = Files::of(&before);
    let address = start(&files, Limits::default()).await;
    assert!(trusts(&before, &address).await);
    files.hold(&after);
    eventually("the new certificate", async || {
        trusts(&after, &address).await
    })
    .await;
    assert!(!trusts(&before, &address).await);
}

#[tokio::test]
async fn a_pair_that_does_not_fit_leaves_the_one_before_in_use_and_is_told_once() {
    let logs = Logs::capture("roster=info");
    let authority = Authority::new();
    let files = Files::of(&authority);
    let address = start(&files, Limits::default()).await;
    let (_, another) = authority.pair();
    let told = |what: &str| logs.text().matches(what).count();
    for (text, reason) in [
        (another.as_str(), "is not the key of the first certificate"),
        ("half a fi", "a private key that is not encrypted"),
    ] {
        fs::write(&files.paths.key, text).expect("written");
        eventually(reason, async || told(reason) == 1).await;
        assert!(trusts(&authority, &address).await);
    }
    fs::remove_file(&files.paths.key).expect("removed");
    eventually("it is missed", async || told("cannot be read") == 1).await;
    files.hold(&authority);
    eventually("taken over", async || {
        told("the certificate has changed") == 1
    })
    .await;
    assert!(trusts(&authority, &address).await);
    for reason in ["is not the key", "not encrypted", "cannot be read"] {
        assert_eq!(told(reason), 1, "{}", logs.text());
    }
}

#[tokio::test]
async fn who_never_ends_the_handshake_is_let_go() {
    let authority = Authority::new();
    let files = Files::of(&authority);
    let limits = Limits {
        max_connections: 1,
        header_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let address = start(&files, limits).await;
    let mut silent = TcpStream::connect(&address).await.expect("the only place");
    eventually("the next one gets it", async || {
        trusts(&authority, &address).await
    })
    .await;
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
}

#[test]
fn files_that_cannot_be_used_stop_the_start_and_are_named() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (files, others) = (Files::of(&authority), Files::of(&other));
    let nowhere = PathBuf::from("/nowhere/key.pem");
    let (certificate, key) = (&files.paths.certificate, &files.paths.key);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let table = [
        (
            certificate,
            &nowhere,
            "http.tls.key: /nowhere/key.pem cannot be read",
        ),
        (
            &nowhere,
            key,
            "http.tls.certificate: /nowhere/key.pem cannot be read",
        ),
        (key, key, "is no PEM file with certificates"),
        (
            certificate,
            certificate,
            "is no PEM file with a private key that is not encrypted",
        ),
        (
            certificate,
            &others.paths.key,
            "is not the key of the first certificate in http.tls.certificate",
        ),
    ];
    for (certificate, key, expected) in table {
        let paths = config::Tls {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let error = runtime
            .block_on(Tls::load(&paths))
            .expect_err(expected)
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn half_a_pair_is_a_wrong_configuration() {
    let started = roster(&[(
        "ROSTER__HTTP__TLS__CERTIFICATE",
        "/etc/roster/certificate.pem",
    )])
    .args(["run", "--only", "server"])
    .output()
    .expect("the binary");
    let told = String::from_utf8_lossy(&started.stderr);
    assert_eq!(started.status.code(), Some(4), "{told}");
    assert!(told.contains("http.tls.key"), "{told}");
}
