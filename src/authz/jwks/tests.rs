use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use serde_json::json;
use warp::{Filter, http::Response};

use super::*;
use crate::authz::testing::{CURRENT, NEXT, with};

/// An issuer that lists what it is told to, and counts who asks.
#[derive(Clone)]
struct Issuer {
    answer: Arc<Mutex<(u16, String)>>,
    fetches: Arc<AtomicU64>,
    url: Url,
}

impl Issuer {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self {
            answer: Arc::new(Mutex::new((404, String::new()))),
            fetches: Arc::default(),
            url: format!("http://{}/jwks", listener.local_addr().unwrap())
                .parse()
                .unwrap(),
        };
        let seen = issuer.clone();
        let routes = warp::path("jwks").map(move || {
            seen.fetches.fetch_add(1, Ordering::SeqCst);
            let (status, body) = seen.answer.lock().unwrap().clone();
            Response::builder()
                .status(status)
                .header("location", "/jwks?redirected")
                .body(body)
                .unwrap()
        });
        tokio::spawn(warp::serve(routes).incoming(listener).run());
        issuer
    }

    fn lists(&self, keys: &[Value]) {
        *self.answer.lock().unwrap() = (200, json!({ "keys": keys }).to_string());
    }

    fn fails(&self, status: u16) {
        self.answer.lock().unwrap().0 = status;
    }

    fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::SeqCst)
    }

    fn client(&self) -> Jwks {
        Jwks::new(self.url.clone(), |_| ()).unwrap()
    }
}

/// What a look-up ends in.
async fn look_up(jwks: &Jwks, kid: &str) -> &'static str {
    jwks.key(kid).await.map_or_else(TokenError::code, |_| "ok")
}

#[tokio::test]
async fn a_key_rotated_without_notice_is_found_by_its_id() {
    let issuer = Issuer::start().await;
    issuer.lists(&[CURRENT.jwk()]);
    let jwks = issuer.client();
    assert_eq!(look_up(&jwks, CURRENT.kid).await, "ok");

    issuer.lists(&[NEXT.jwk()]);
    assert_eq!(look_up(&jwks, CURRENT.kid).await, "ok");
    assert_eq!(issuer.fetches(), 1);
    assert_eq!(look_up(&jwks, NEXT.kid).await, "ok");
    assert_eq!(look_up(&jwks, CURRENT.kid).await, "key_unknown");
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn another_listing_of_keys_is_another_generation_and_the_same_one_is_not() {
    let issuer = Issuer::start().await;
    let jwks = issuer.client();
    assert_eq!(jwks.generation(), None);
    for (keys, expected) in [
        (vec![CURRENT.jwk()], Some(1)),
        (vec![CURRENT.jwk()], Some(1)),
        (vec![CURRENT.jwk(), NEXT.jwk()], Some(2)),
        (vec![], Some(2)),
        (vec![NEXT.jwk()], Some(3)),
    ] {
        issuer.lists(&keys);
        jwks.fetch().await;
        assert_eq!(jwks.generation(), expected);
    }
}

#[tokio::test]
async fn a_flood_of_unknown_ids_reaches_the_issuer_a_bounded_number_of_times() {
    let issuer = Issuer::start().await;
    issuer.lists(&[CURRENT.jwk()]);
    let jwks = issuer.client();
    let started = Instant::now();
    let mut flood = tokio::task::JoinSet::new();
    for n in 0..500 {
        let jwks = jwks.clone();
        flood.spawn(async move {
            for m in 0..4 {
                assert_eq!(look_up(&jwks, &format!("{n}-{m}")).await, "key_unknown");
            }
        });
    }
    while let Some(done) = flood.join_next().await {
        done.unwrap();
    }
    // However slow this machine is: the burst, and one more for each cooldown that has passed.
    let granted = u64::from(BURST) + started.elapsed().as_secs() / COOLDOWN.as_secs();
    assert!((1..=granted).contains(&issuer.fetches()));
    assert_eq!(look_up(&jwks, CURRENT.kid).await, "ok");
}

#[tokio::test]
async fn without_any_set_the_keys_are_unavailable_and_that_is_bounded_too() {
    for status in [404, 500, 302] {
        let issuer = Issuer::start().await;
        issuer.fails(status);
        let jwks = issuer.client();
        let started = Instant::now();
        for _ in 0..50 {
            assert_eq!(look_up(&jwks, CURRENT.kid).await, "keys_unavailable");
        }
        let granted = u64::from(BURST) + started.elapsed().as_secs() / COOLDOWN.as_secs();
        assert!((1..=granted).contains(&issuer.fetches()), "{status}");
        assert!(!jwks.health().usable);
    }
}

#[tokio::test]
async fn an_outage_of_the_issuer_keeps_the_last_good_set() {
    let issuer = Issuer::start().await;
    issuer.lists(&[CURRENT.jwk()]);
    let jwks = issuer.client();
    assert_eq!(look_up(&jwks, CURRENT.kid).await, "ok");

    issuer.fails(503);
    assert_eq!(look_up(&jwks, NEXT.kid).await, "keys_unavailable");
    assert_eq!(look_up(&jwks, CURRENT.kid).await, "ok");
    issuer.lists(&[]);
    assert!(!jwks.fetch().await);
    assert_eq!(look_up(&jwks, CURRENT.kid).await, "ok");
    assert!(jwks.health().usable);
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_not_waited_for_or_kept() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    // What comes after the headers: bytes without end, or one now and then.
    for (pause, expected) in [(0, "TooLarge"), (100, "Fetch")] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            assert_ne!(socket.read(&mut [0; 1024]).await.unwrap(), 0);
            let mut text = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
            while socket.write_all(&text).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                text = vec![b' '; if pause == 0 { 8192 } else { 1 }];
            }
        });
        let url: Url = url.parse().unwrap();
        let jwks = Jwks::new(url.clone(), |_| ()).unwrap();
        let error = jwks.download(url).await.err().unwrap();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
    }
}

#[tokio::test]
async fn the_background_reads_the_keys_before_anybody_asks() {
    let issuer = Issuer::start().await;
    issuer.lists(&[CURRENT.jwk(), NEXT.jwk()]);
    let (told, mut fetched) = tokio::sync::mpsc::unbounded_channel();
    let jwks = Jwks::new(issuer.url.clone(), move |ok| told.send(ok).unwrap()).unwrap();
    let stop = CancellationToken::new();
    let (background, stopped) = (jwks.clone(), stop.clone());
    let background = tokio::spawn(async move { background.keep_fresh(stopped).await });

    assert_eq!(fetched.recv().await, Some(true));
    assert_eq!(look_up(&jwks, NEXT.kid).await, "ok");
    assert_eq!(issuer.fetches(), 1);
    stop.cancel();
    background.await.unwrap();
}

#[test]
fn the_allowance_is_a_burst_and_then_one_for_each_cooldown() {
    let start = Instant::now();
    let mut allowance = Allowance::new(start);
    let table = [
        (0, true),
        (0, true),
        (0, false),
        (9, false),
        (10, true),
        (11, false),
        (20, true),
        (29, false),
        (100, true),
        (100, true),
        (100, false),
    ];
    for (seconds, granted) in table {
        let now = start + Duration::from_secs(seconds);
        assert_eq!(allowance.take(now), granted, "after {seconds} s");
    }
}

#[test]
fn a_set_too_old_to_be_trusted_yields_no_key() {
    let read_at = Instant::now();
    let set = KeySet::parse(json!({ "keys": [CURRENT.jwk()] }).to_string().as_bytes()).unwrap();
    let known = Known {
        set: Some((set, read_at)),
        generation: 1,
        fetches: 1,
        last_failed: true,
    };
    assert!(known.key(CURRENT.kid, read_at + MAX_AGE).is_some());
    let later = read_at + MAX_AGE + Duration::from_secs(1);
    assert!(known.key(CURRENT.kid, later).is_none());
}

#[test]
fn only_rsa_keys_for_rs256_signatures_are_taken_from_a_set() {
    let unusable = [
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        json!({ "kty": "EC" }),
        json!({ "use": "enc" }),
        json!({ "alg": "RS512" }),
        json!({ "alg": "RSA-OAEP" }),
        json!({ "kid": null }),
        json!({ "n": null }),
        json!({ "n": "not base64!" }),
        json!({ "n": URL_SAFE_NO_PAD.encode([0xff; 128]) }),
        json!({ "n": URL_SAFE_NO_PAD.encode([0xff; 1025]) }),
        json!({ "n": URL_SAFE_NO_PAD.encode([0xff; 2048]) }),
        json!({ "e": "" }),
        json!({ "e": URL_SAFE_NO_PAD.encode([1]) }),
        json!({ "e": URL_SAFE_NO_PAD.encode([4]) }),
    ];
    for changes in unusable {
        let set = json!({ "keys": [with(CURRENT.jwk(), &changes)] }).to_string();
        let parsed = KeySet::parse(set.as_bytes());
        assert!(matches!(parsed, Err(JwksError::Empty)), "{changes}");
    }
    for changes in [json!({}), json!({ "use": null, "alg": null })] {
        let set = json!({ "keys": [{ "kty": "OKP" }, with(CURRENT.jwk(), &changes)] }).to_string();
        assert_eq!(
            KeySet::parse(set.as_bytes()).unwrap().keys.len(),
            1,
            "{changes}"
        );
    }
}

#[test]
fn a_set_out_of_bounds_is_refused_whole() {
    let many = json!({ "keys": vec![json!({}); MAX_KEYS + 1] }).to_string();
    let table: [(&[u8], &str); 4] = [
        (many.as_bytes(), "TooMany"),
        (&[b' '; MAX_BODY + 1], "TooLarge"),
        (b"<html>", "Malformed"),
        (br#"{"keys":[]}"#, "Empty"),
    ];
    for (body, expected) in table {
        let error = KeySet::parse(body).err().unwrap();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
    }
}

#[test]
fn keys_are_fetched_in_the_clear_from_this_machine_only() {
    let table = [
        ("https://tenant.example/jwks", true),
        ("http://127.0.0.1:8080/jwks", true),
        ("http://[::1]:8080/jwks", true),
        ("http://localhost/jwks", true),
        ("http://tenant.example/jwks", false),
        ("http://127.0.0.1.evil.example/jwks", false),
        ("ftp://localhost/jwks", false),
    ];
    for (url, accepted) in table {
        let made = Jwks::new(url.parse().unwrap(), |_| ());
        assert_eq!(made.is_ok(), accepted, "{url}");
    }
}
