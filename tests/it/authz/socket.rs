//! Clients that never come to the point: each takes a place for a bounded time, and everybody else is served meanwhile.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use roster::{
    authz::{self, Authz},
    http::{BodyError, Limits, MAX_BODY, Unread, body, raise_open_files, serve, warp_service},
    telemetry::Metrics,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use warp::{Filter, Rejection, Reply, http::StatusCode};

use crate::support::{
    Database,
    authz::{client, get},
    issuer::Issuer,
    world::eventually,
};

/// Far beyond every limit of the socket. Only a failing story waits so long.
const CEILING: Duration = Duration::from_secs(120);
const HEAD: &str = "Host: roster\r\n";

/// Tells how long the body was.
fn echo() -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone {
    warp::path!("echo").and(body(MAX_BODY)).then(told)
}

async fn told(body: Unread) -> impl Reply {
    let (status, length) = match body.read().await {
        Ok(body) => (StatusCode::OK, body.len()),
        Err(BodyError::TooLarge(_)) => (StatusCode::PAYLOAD_TOO_LARGE, 0),
        Err(BodyError::TooSlow) => (StatusCode::REQUEST_TIMEOUT, 0),
        Err(BodyError::Broken) => (StatusCode::BAD_REQUEST, 0),
    };
    warp::reply::with_status(length.to_string(), status)
}

/// A server that a test can stop.
struct Serving {
    address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Serving {
    async fn start<F, R>(routes: F, limits: Limits) -> Self
    where
        F: Filter<Extract = (R,), Error = std::convert::Infallible> + Clone + Send + Sync + 'static,
        F::Future: Send,
        R: Reply + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let stop = CancellationToken::new();
        let served = serve(listener, warp_service(routes), limits, stop.clone());
        Self {
            address,
            stop,
            ended: tokio::spawn(served),
        }
    }

    /// A place taken by who has said this much.
    async fn says(&self, what: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.expect("a place");
        socket.write_all(what.as_bytes()).await.expect("written");
        socket
    }

    /// The status line that this is answered with.
    async fn answers(&self, what: &str) -> String {
        let status = timeout(CEILING, async {
            let mut socket = TcpStream::connect(self.address).await.expect("a place");
            // What is refused in the middle is not read to its end.
            let _ = socket.write_all(what.as_bytes()).await;
            let mut line = String::new();
            let _ = BufReader::new(socket).read_line(&mut line).await;
            line.trim_end().to_owned()
        });
        status.await.expect("an answer")
    }
}

fn plain() -> impl Filter<Extract = (impl Reply,), Error = std::convert::Infallible> + Clone {
    echo().recover(authz::recover)
}

/// Says this, then no more than a byte now and then if it drips, until the server lets go.
async fn stalls(address: SocketAddr, said: &str, drips: bool) {
    let mut socket = TcpStream::connect(address).await.expect("a place");
    let _ = socket.write_all(said.as_bytes()).await;
    let (mut from, mut to) = socket.split();
    let drip = async {
        while drips && to.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(200)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    tokio::select! {
        _ = from.read_to_end(&mut answer) => {}
        () = drip => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_and_fifty_clients_that_stall_are_let_go_and_everybody_else_is_answered() {
    raise_open_files().expect("open files");
    let (database, issuer) = (Database::migrated().await, Issuer::start().await);
    let sql = database.client().await;
    sql.batch_execute("insert into public.users (email) values ('ada@example.com')")
        .await
        .expect("Ada");
    let authz = Authz::new(issuer.settings(), database.pool(), Metrics::default());
    let routes = authz::endpoints(authz.expect("the server")).or(echo());
    let server = Serving::start(routes.recover(authz::recover), Limits::default()).await;

    let kinds = [
        (format!("GET /v1/me HTTP/1.1\r\n{HEAD}X-Half: "), false),
        (String::new(), false),
        ("PRI * HTTP/2.0\r\n\r\nSM".to_owned(), false),
        (format!("GET /livez HTTP/1.1\r\n{HEAD}\r\n"), false),
        (
            format!("POST /echo HTTP/1.1\r\n{HEAD}Content-Length: 9999\r\n\r\n"),
            true,
        ),
    ];
    let mut stalling = JoinSet::new();
    for (said, drips) in kinds.iter().cycle().take(250).cloned() {
        let address = server.address;
        stalling.spawn(async move { stalls(address, &said, drips).await });
    }
    let token = issuer.token_of("auth0|ada", "ada@example.com", true);
    let (url, bearer) = (
        format!("http://{}/v1/me", server.address),
        format!("Bearer {token}"),
    );
    let answered = AtomicUsize::new(0);
    let others = async {
        loop {
            let answer = get(&url, &[("authorization", &bearer)]).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    tokio::select! {
        let_go = timeout(CEILING, stalling.join_all()) => drop(let_go.expect("all of them are let go")),
        () = others => {}
    }
    assert!(answered.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn when_every_place_is_taken_the_next_client_waits_for_one_and_gets_it() {
    let limits = Limits {
        max_connections: 3,
        header_timeout: Duration::from_millis(500),
        ..Limits::default()
    };
    let server = Serving::start(plain(), limits).await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(server.says("").await);
    }
    let request = format!("POST /echo HTTP/1.1\r\n{HEAD}Content-Length: 2\r\n\r\nhi");
    assert_eq!(server.answers(&request).await, "HTTP/1.1 200 OK");
    for mut socket in taken {
        assert_eq!(socket.read(&mut [0]).await.unwrap_or(0), 0, "let go before");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_loses_its_place() {
    let limits = Limits {
        max_connections: 1,
        write_timeout: Duration::from_millis(500),
        ..Limits::default()
    };
    let big = warp::path!("big").map(|| "x".repeat(8 << 20)).or(echo());
    let server = Serving::start(big.recover(authz::recover), limits).await;
    let deaf = server
        .says(&format!("GET /big HTTP/1.1\r\n{HEAD}\r\n").repeat(8))
        .await;
    let request = format!("POST /echo HTTP/1.1\r\n{HEAD}Content-Length: 2\r\n\r\nhi");
    assert_eq!(server.answers(&request).await, "HTTP/1.1 200 OK");
    drop(deaf);
}

#[tokio::test]
async fn headers_and_bodies_beyond_their_limits_are_refused_with_their_status() {
    let server = Serving::start(plain(), Limits::default()).await;
    let post = format!("POST /echo HTTP/1.1\r\n{HEAD}");
    let whole = "x".repeat(MAX_BODY);
    let many: String = (0..101).map(|n| format!("X-{n}: y\r\n")).collect();
    let chunk = format!("{:x}\r\n{whole}\r\n", MAX_BODY);
    let table = [
        (
            format!("{post}X-Long: {}\r\n\r\n", "y".repeat(16 * 1024)),
            "200",
        ),
        (
            format!("{post}Content-Length: {MAX_BODY}\r\n\r\n{whole}"),
            "200",
        ),
        (
            format!("{post}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"),
            "200",
        ),
        (
            format!("{post}Content-Length: {}\r\n\r\n", MAX_BODY + 1),
            "413",
        ),
        (
            format!("{post}Transfer-Encoding: chunked\r\n\r\n{chunk}1\r\nx\r\n"),
            "413",
        ),
        (format!("{post}Content-Length: 9\r\n\r\nslow"), "408"),
        (
            format!("{post}X-Long: {}\r\n\r\n", "y".repeat(128 * 1024)),
            "431",
        ),
        (format!("{post}{many}\r\n"), "431"),
        (
            format!("GET /{} HTTP/1.1\r\n{HEAD}\r\n", "y".repeat(128 * 1024)),
            "431",
        ),
    ];
    for (request, status) in table {
        let answer = server.answers(&request).await;
        let begin = &request[..request.len().min(80)];
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{begin:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_stop_answers_what_was_asked_and_drops_who_does_not_come_to_an_end() {
    let limits = Limits {
        drain: Duration::from_secs(1),
        header_timeout: CEILING,
        ..Limits::default()
    };
    let server = Serving::start(plain(), limits).await;
    let post = format!("POST /echo HTTP/1.1\r\n{HEAD}Content-Length: 2\r\n\r\nh");
    let mut asked = server.says(&post).await;
    let mut stalled = server
        .says(&format!("GET /v1/me HTTP/1.1\r\n{HEAD}X-Half: "))
        .await;
    // Both are being served once somebody who came after them has been.
    let later = format!("GET /echo HTTP/1.1\r\n{HEAD}\r\n");
    assert_eq!(server.answers(&later).await, "HTTP/1.1 200 OK");
    server.stop.cancel();
    asked.write_all(b"i").await.expect("the rest");
    let mut answer = String::new();
    asked
        .read_to_string(&mut answer)
        .await
        .expect("an answer and the end");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    timeout(CEILING, server.ended)
        .await
        .expect("an end")
        .expect("no panic");
    let end = timeout(CEILING, stalled.read(&mut [0]))
        .await
        .expect("dropped");
    assert_eq!(end.unwrap_or(0), 0);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_server_that_ran_out_of_open_files_goes_on_once_there_are_some() {
    let log = tempfile::NamedTempFile::new().expect("a log");
    let mut emulator = tokio::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -n 48; exec \"$0\" emulator --listen 127.0.0.1:0 --json",
        ])
        .arg(env!("CARGO_BIN_EXE_roster"))
        .current_dir(std::env::temp_dir())
        .stdout(Stdio::piped())
        .stderr(log.reopen().expect("a handle"))
        .kill_on_drop(true)
        .spawn()
        .expect("the binary");
    let mut told = String::new();
    let stdout = emulator.stdout.take().expect("a pipe");
    BufReader::new(stdout)
        .read_line(&mut told)
        .await
        .expect("a line");
    let told: serde_json::Value = serde_json::from_str(&told).expect(&told);
    let url = told["url"].as_str().expect("its address").to_owned();
    let address: SocketAddr = url
        .trim_start_matches("http://")
        .parse()
        .expect("an address");

    let mut crowd = Vec::new();
    for _ in 0..96 {
        crowd.push(TcpStream::connect(address).await.expect("the backlog"));
    }
    let refusals = || {
        let log = std::fs::read_to_string(log.path()).expect("a log");
        log.matches("could not be accepted").count()
    };
    eventually("it ran out", async || refusals() > 0).await;
    drop(crowd);
    let answer = client().get(format!("{url}/_emulator/users")).send().await;
    assert_eq!(answer.expect("an answer").status(), 200);
    // Waiting in between, not spinning: that would be thousands.
    assert!(refusals() < 200, "{}", refusals());
}
