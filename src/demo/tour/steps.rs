//! Telling a tour step by step: what was seen and how long it took, or what was not, and the count of both.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Result;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::super::Verdict;

/// A step did not hold, and has been told.
#[derive(Debug)]
pub(super) struct Broken;

/// Who tells.
pub(super) struct Steps<'a> {
    pub(super) verdict: Verdict,
    pub(super) patience: Duration,
    json: bool,
    act: String,
    out: &'a mut (dyn Write + Send),
    /// The first error of `out`, after which nothing more is said.
    unheard: Option<io::Error>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(patience: Duration, json: bool, out: &'a mut (dyn Write + Send)) -> Self {
        Self {
            verdict: Verdict::default(),
            patience,
            json,
            act: String::new(),
            out,
            unheard: None,
        }
    }

    /// Begins an act: a title, and the statement a person would type.
    pub(super) fn act(&mut self, title: &str, statement: &str) {
        title.clone_into(&mut self.act);
        if !self.json {
            self.write(&format!(
                "\n{title}\n  {}\n",
                statement.replace('\n', "\n  ")
            ));
        }
    }

    /// Says something that is no step.
    pub(super) fn say(&mut self, text: &str) {
        if !self.json {
            self.write(text);
        }
    }

    /// Takes one step, which yields something for the steps after it, and what was seen.
    pub(super) async fn step<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<(T, String)>>,
    ) -> Result<T, Broken> {
        let started = Instant::now();
        // Waiting has its own limit, so this one ends only what hangs.
        let ended = timeout(self.patience * 2, work).await;
        let took = started.elapsed();
        let ended = ended.unwrap_or_else(|_| Err(anyhow::anyhow!("no end was seen")));
        match ended {
            Ok((value, seen)) => {
                self.verdict.held += 1;
                self.tell(true, name, &seen, took);
                Ok(value)
            }
            Err(error) => {
                self.verdict.failed += 1;
                self.tell(false, name, &format!("{error:#}"), took);
                Err(Broken)
            }
        }
    }

    /// The last words.
    ///
    /// # Errors
    /// If anything could not be written, now or before.
    pub(super) fn end(mut self, took: Duration) -> io::Result<Verdict> {
        let Verdict { held, failed } = self.verdict;
        if self.json {
            let line = json!({"held": held, "failed": failed, "ms": millis(took)});
            self.write(&format!("{line}\n"));
        } else if failed == 0 {
            self.write(&format!("\nAll {held} steps held, in {}.\n", short(took)));
        } else {
            self.write(&format!(
                "\n{failed} of {} steps did not hold; what follows on them was not tried.\n",
                held + failed
            ));
        }
        match self.unheard {
            Some(error) => Err(error),
            None => Ok(self.verdict),
        }
    }

    fn tell(&mut self, held: bool, name: &str, seen: &str, took: Duration) {
        let text = if self.json {
            let line = json!({"act": self.act, "step": name, "held": held, "seen": seen, "ms": millis(took)});
            format!("{line}\n")
        } else {
            let mark = if held { '✓' } else { '✗' };
            let colon = if seen.is_empty() { "" } else { ": " };
            format!("  {mark} {name}{colon}{seen} ({})\n", short(took))
        };
        self.write(&text);
    }

    fn write(&mut self, text: &str) {
        if self.unheard.is_none() {
            let written = self
                .out
                .write_all(text.as_bytes())
                .and_then(|()| self.out.flush());
            self.unheard = written.err();
        }
    }
}

fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}

fn short(took: Duration) -> String {
    match took.as_secs_f64() {
        seconds if seconds >= 1.0 => format!("{seconds:.1} s"),
        seconds => format!("{:.0} ms", seconds * 1000.0),
    }
}
