//! No protected path is reached without an allow, however it is spelt.

use super::Stage;

/// Spellings of `/songs/edit`, or of something that somebody could take for it.
const SPELLINGS: [&str; 46] = [
    "/songs/edit",
    "/SONGS/EDIT",
    "/Songs/%45dit",
    "//songs/edit",
    "/songs//edit",
    "/./songs/edit",
    "/songs/./edit",
    "/songs/x/../edit",
    "/public/../songs/edit",
    "/public//../songs/edit",
    "/public/..//songs/edit",
    "/public/%2e%2e/songs/edit",
    "/public/.%2e/songs/edit",
    "/public/%2E./songs/edit",
    "/public/..%2fsongs/edit",
    "/public/..%2Fsongs%2Fedit",
    "/public%2f..%2fsongs%2fedit",
    "/public/%252e%252e/songs/edit",
    "/public/..%252fsongs/edit",
    "/public/..;/songs/edit",
    "/public/..;a=b/songs/edit",
    "/public;/../songs/edit",
    "/songs;a=b/edit",
    "/songs/edit;a=b",
    "/public/..\\songs\\edit",
    "/public/..%5csongs%5cedit",
    "\\songs\\edit",
    "/%73ongs/edit",
    "/songs/%65dit",
    "/%73%6f%6e%67%73/%65%64%69%74",
    "/songs%2fedit",
    "/songs%2Fedit",
    "/songs/edit%00",
    "/songs%00/edit",
    "/songs/edit/",
    "/songs/edit/.",
    "/songs/edit/x/..",
    "/songs/edit?x=/public/",
    "/songs/edit#/public/",
    "/public/#/../../songs/edit",
    "/public/%23/../../songs/edit",
    "/songs/edit%3fx",
    "http://app/songs/edit",
    "http://app/public/../songs/edit",
    "http://public//songs/edit",
    "songs/edit",
];

fn requests(path: &str, headers: &str) -> Vec<String> {
    let plain = |method: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: app\r\nConnection: close\r\n{headers}\r\n")
    };
    let mut requests: Vec<String> = ["GET", "POST", "OPTIONS"].map(plain).into();
    requests.push(format!("GET {path} HTTP/1.0\r\n{headers}\r\n"));
    requests
}

#[tokio::test]
async fn a_path_that_needs_a_permission_needs_it_in_every_spelling() {
    let stage = Stage::set().await;
    let ada = format!("Authorization: {}\r\n", stage.ada);
    for proxy in &stage.proxies {
        for path in SPELLINGS {
            for request in requests(path, "") {
                let (_, reached) = stage.send(proxy, request.as_bytes()).await;
                for seen in reached {
                    let read = seen.careless_path();
                    assert!(read.starts_with("/public"), "{proxy} {request:?}: {seen:?}");
                }
            }
            // Who may read songs does not edit them.
            for request in requests(path, &ada) {
                let (_, reached) = stage.send(proxy, request.as_bytes()).await;
                for seen in reached {
                    let read = seen.careless_path();
                    assert!(
                        !read.starts_with("/songs/edit"),
                        "{proxy} {request:?}: {seen:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn no_method_and_no_second_request_gets_past_the_question() {
    let stage = Stage::set().await;
    let inner =
        "GET /songs/edit HTTP/1.1\r\nHost: app\r\nConnection: close\r\nX-Roster-User: 99\r\n\r\n";
    let public = "POST /public/1 HTTP/1.1\r\nHost: app\r\n";
    let length = inner.len();
    let mut requests: Vec<String> = [
        "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "get", "SONGS",
    ]
    .map(|method| {
        format!("{method} /songs/edit HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
    })
    .into();
    requests.extend([
        "GET /songs/edit\r\n".to_owned(),
        "CONNECT app:80 HTTP/1.1\r\nHost: app\r\n\r\nGET /songs/edit HTTP/1.1\r\nHost: app\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /songs/edit HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        // Requests in a row, and one inside another's body, by each idea of where a body ends.
        format!("GET /public/1 HTTP/1.1\r\nHost: app\r\n\r\n{inner}"),
        format!("{public}Content-Length: {length}\r\nConnection: close\r\n\r\n{inner}"),
        format!("{public}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{public}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{inner}"),
        format!("{public}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{inner}"),
        format!("{public}Content-Length: +{length}\r\n\r\n{inner}"),
        format!("{public}Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{inner}"),
        format!("{public}Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{inner}"),
        format!("{public}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{inner}"),
        format!("{public}Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{public}Transfer-Encoding: chunked\r\n\r\n0;\nx\r\n\r\n{inner}"),
        format!("{public}Transfer-Encoding: chunked\r\n\r\n0\r\nX-Roster-User: 99\r\n\r\n{inner}"),
        format!("{public}Expect: 100-continue\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{inner}"),
    ]);
    for proxy in &stage.proxies {
        for request in &requests {
            let (_, reached) = stage.send(proxy, request.as_bytes()).await;
            for seen in reached {
                let read = seen.careless_path();
                assert!(read.starts_with("/public"), "{proxy} {request:?}: {seen:?}");
                assert_eq!(seen.identity(), [""; 4], "{proxy} {request:?}");
            }
        }
    }
}
