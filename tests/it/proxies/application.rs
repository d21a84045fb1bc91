//! The application behind a proxy: it answers everything, and keeps what reached it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use warp::{
    Filter,
    http::{HeaderMap, Method},
    path::FullPath,
};

use super::IDENTITY;

/// Serves until the test's runtime ends.
pub(super) struct Application {
    /// Host and port.
    pub(super) address: String,
    reached: Arc<Mutex<Vec<Reached>>>,
}

/// One request as the application saw it.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    pub(super) method: String,
    /// Path and query.
    pub(super) address: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Application {
    pub(super) async fn start() -> Self {
        let reached = Arc::new(Mutex::new(Vec::new()));
        let seen = reached.clone();
        let query = warp::query::raw().or(warp::any().map(String::new)).unify();
        let routes = warp::method()
            .and(warp::path::full())
            .and(query)
            .and(warp::header::headers_cloned())
            .and(warp::body::bytes())
            .map(
                move |method: Method, path: FullPath, query: String, headers, body: Bytes| {
                    let path = path.as_str();
                    let address = match query.as_str() {
                        "" => path.to_owned(),
                        query => format!("{path}?{query}"),
                    };
                    seen.lock().expect("no panic").push(Reached {
                        method: method.to_string(),
                        address,
                        headers,
                        body: String::from_utf8_lossy(&body).into_owned(),
                    });
                    "reached"
                },
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        tokio::spawn(warp::serve(routes).incoming(listener).run());
        Self { address, reached }
    }

    pub(super) fn forget(&self) {
        self.reached.lock().expect("no panic").clear();
    }

    pub(super) fn reached(&self) -> Vec<Reached> {
        self.reached.lock().expect("no panic").clone()
    }
}

impl Reached {
    /// What the application takes its user for. A header that is not there is an empty one.
    ///
    /// It reads as CGI and WSGI do, to which a dash, an underscore and capitals are all one, and joins what is there twice.
    pub(super) fn identity(&self) -> [String; 4] {
        IDENTITY.map(|name| {
            let values: Vec<&str> = self
                .headers
                .iter()
                .filter(|(sent, _)| {
                    sent.as_str()
                        .replace(|c: char| !c.is_ascii_alphanumeric(), "-")
                        == name
                })
                .map(|(_, value)| value.to_str().unwrap_or("(unreadable)"))
                .collect();
            values.join(",")
        })
    }

    /// The path, as the most careless application would read it.
    pub(super) fn careless_path(&self) -> String {
        let mut path = self
            .address
            .split('?')
            .next()
            .unwrap_or_default()
            .to_owned();
        loop {
            let decoded = percent_encoding::percent_decode_str(&path)
                .decode_utf8_lossy()
                .into_owned();
            if decoded == path {
                break;
            }
            path = decoded;
        }
        let path = path.replace('\\', "/").to_lowercase();
        let mut parts = Vec::new();
        for part in path.split(['/', '\0', '#']) {
            match part.split(';').next().unwrap_or_default() {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/"))
    }
}
