//! What was logged during a story.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::{
    Dispatch,
    subscriber::{DefaultGuard, NoSubscriber},
};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Everything the test's own thread logs while this lives; a story's tasks all run on it.
pub(crate) struct Logs {
    lines: Lines,
    _guard: DefaultGuard,
    /// With one subscriber alone, the first thread to meet a log line, of whatever test, decides for all whether it is wanted.
    /// With a second one they are asked themselves.
    _second: Dispatch,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Logs {
    pub(crate) fn capture(filter: &str) -> Self {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_ansi(false)
            .with_writer(lines.clone())
            .finish();
        Self {
            lines,
            _guard: tracing::subscriber::set_default(subscriber),
            _second: Dispatch::new(NoSubscriber::new()),
        }
    }

    pub(crate) fn text(&self) -> String {
        let lines = self.lines.0.lock().expect("nobody panicked with it");
        String::from_utf8_lossy(&lines).into_owned()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("nobody panicked with it")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
