//! Whole exchanges, shown to whoever serves the tenant in process: tests that hold it to Auth0's published schema.
//!
//! * Promised: every request but those of the control face and those too large to be read is shown once, with its answer or
//!   with none where the connection was cut; one whose answer a fault made up says so.
//! * Not done: nothing is cleaned, so what is shown holds tokens and passwords; nothing is kept.

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes};
use warp::reply;

use super::front::Cut;

/// One request and what it was answered.
#[derive(Debug)]
pub struct Exchange {
    /// As it came, read to its end.
    pub request: Request<Bytes>,
    /// None: the connection was cut instead.
    pub answer: Option<Response<Bytes>>,
    /// The answer is none of the tenant's own: a fault of `/_emulator/faults` gave status and body.
    pub faulted: bool,
}

/// Is shown each exchange before its answer is sent, which waits for it.
pub type Watch = Arc<dyn Fn(&Exchange) + Send + Sync>;

/// Marks an answer that a fault made up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faulted;

/// A request that is to be shown with its answer.
pub(super) struct Watched {
    watch: Watch,
    request: Request<Bytes>,
}

impl Watched {
    pub(super) fn new(watch: &Watch, request: &Request<Full<Bytes>>, body: &Bytes) -> Self {
        let mut copy = Request::new(body.clone());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        Self {
            watch: watch.clone(),
            request: copy,
        }
    }

    /// Shows the exchange, and gives the answer back.
    pub(super) async fn show(
        self,
        result: Result<reply::Response, Cut>,
    ) -> Result<reply::Response, Cut> {
        let (result, faulted, answer) = match result {
            Err(cut) => (Err(cut), false, None),
            Ok(response) => {
                let (parts, body) = response.into_parts();
                // A body that breaks off is a cut: that is what the client gets.
                let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
                let mut copy = Response::new(body.clone());
                *copy.status_mut() = parts.status;
                *copy.headers_mut() = parts.headers.clone();
                let faulted = parts.extensions.get::<Faulted>().is_some();
                let response = reply::Response::from_parts(parts, body.into());
                (Ok(response), faulted, Some(copy))
            }
        };
        (self.watch)(&Exchange {
            request: self.request,
            answer,
            faulted,
        });
        result
    }
}
