//! Who serves a tenant in process may see whole exchanges.

use std::sync::{Arc, Mutex};

use roster::emulator::Exchange;

use super::*;

/// A tenant whose exchanges are written down as `POST /path answer fault`.
async fn watched() -> (Client, String, Arc<Mutex<Vec<String>>>, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, seen) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
    let written = seen.clone();
    let watch = Arc::new(move |exchange: &Exchange| {
        let (request, answer) = (&exchange.request, exchange.answer.as_ref());
        let asked = String::from_utf8_lossy(request.body()).into_owned();
        let status = answer.map_or(0, |answer| answer.status().as_u16());
        let bytes = answer.map_or(0, |answer| answer.body().len());
        written.lock().unwrap().push(format!(
            "{} {} {asked:?} {status} {} {}",
            request.method(),
            request.uri(),
            if bytes > 0 { "with a body" } else { "empty" },
            if exchange.faulted { "faulted" } else { "own" },
        ));
    });
    tokio::spawn(emulator::serve_watched(
        listener,
        Options::default(),
        stop.clone(),
        watch,
    ));
    (Client::new(), base, seen, stop.drop_guard())
}

#[tokio::test]
async fn a_watch_is_shown_request_and_answer_before_the_client_has_it() {
    let (http, base, seen, _stop) = watched().await;
    let url = format!("{base}/api/v2/users?page=0");
    let answer = http.post(url).body("abc").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(!answer.bytes().await.unwrap().is_empty());
    assert_eq!(
        *seen.lock().unwrap(),
        ["POST /api/v2/users?page=0 \"abc\" 401 with a body own"]
    );
}

#[tokio::test]
async fn faults_and_cuts_are_shown_as_such_and_the_control_face_not_at_all() {
    let (http, base, seen, _stop) = watched().await;
    for kind in ["status", "cut_after"] {
        let fault = json!({"kind": kind, "status": 503, "times": 1});
        let request = http.post(format!("{base}/_emulator/faults")).json(&fault);
        request.send().await.unwrap();
    }
    let url = format!("{base}/api/v2/users");
    assert_eq!(http.get(&url).send().await.unwrap().status(), 503);
    assert!(http.get(&url).send().await.is_err());
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "GET /api/v2/users \"\" 503 with a body faulted",
            "GET /api/v2/users \"\" 0 empty own",
        ]
    );
}
