//! Auth0's word: every exchange with an emulated tenant is held to Auth0's published Management API schema.
//!
//! * Promised, where the schema is at hand (`shared.rs`): each answer of a described operation, whoever asked, has a status
//!   and a body that the schema has; each request of Roster's own client has the parameters and the body that the schema
//!   has. A misfit fails the test when its tenant is dropped.
//! * Not done: the Authentication API is not in the schema; parts of a multipart body are not looked at; an answer that a
//!   fault made up is nobody's word. Where Auth0 is known to depart from its schema, `exceptions.rs` says so.
//!
//! Read `schema.rs` (what is described), then `judge.rs` (what is compared).

use std::sync::{Arc, Mutex, PoisonError};

use roster::emulator::{self, Exchange, Options, Watch};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

mod exceptions;
mod judge;
mod schema;

pub(crate) use self::{judge::misfits, schema::Schema};

/// So many misfits are told; the rest are most likely the same.
const TOLD: usize = 20;

/// What one tenant said that Auth0 would not, and what it was asked that Auth0 would not take.
#[derive(Default)]
pub(crate) struct Net {
    caught: Arc<Mutex<Vec<String>>>,
}

impl Net {
    /// Serves a tenant that is held to the schema, until `stop`.
    pub(crate) fn serve(&self, listener: TcpListener, options: Options, stop: CancellationToken) {
        match self.watch() {
            Some(watch) => tokio::spawn(emulator::serve_watched(listener, options, stop, watch)),
            None => tokio::spawn(emulator::serve(listener, options, stop)),
        };
    }

    /// Looks at each exchange; none where the schema is not at hand.
    fn watch(&self) -> Option<Watch> {
        let schema = Schema::published()?;
        let caught = self.caught.clone();
        Some(Arc::new(move |exchange: &Exchange| {
            for misfit in misfits(schema, exchange) {
                let mut caught = caught.lock().unwrap_or_else(PoisonError::into_inner);
                if caught.len() < TOLD && !caught.contains(&misfit) {
                    caught.push(misfit);
                }
            }
        }))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let caught = self.caught.lock().unwrap_or_else(PoisonError::into_inner);
        // A test that fails already has something better to say.
        if !caught.is_empty() && !std::thread::panicking() {
            panic!("this is not Auth0's word:\n{}", caught.join("\n"));
        }
    }
}
