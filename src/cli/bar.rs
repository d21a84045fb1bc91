//! How far a long command is: a bar with the time left on a terminal, a line every ten seconds elsewhere. On stderr, beside the logs.

use std::{
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line is written where there is no terminal.
const LINE_EACH: Duration = Duration::from_secs(10);

/// A bar, or lines.
pub(super) struct Bar {
    bar: ProgressBar,
    /// When the last line was written, where it is lines.
    told_at: Option<Mutex<Instant>>,
}

impl Bar {
    /// As it suits stderr.
    pub(super) fn new() -> Self {
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(200));
            return Self { bar, told_at: None };
        }
        Self {
            bar: ProgressBar::hidden(),
            told_at: Some(Mutex::new(Instant::now())),
        }
    }

    /// So much of `what` is done, of so much where that is known.
    pub(super) fn show(&self, what: &str, done: u64, of: Option<u64>) {
        let of = of.filter(|of| *of > 0);
        if self.bar.message() != what {
            self.bar.reset();
            self.bar.set_message(what.to_owned());
        }
        if self.bar.length() != of {
            self.bar.set_style(style(of.is_some()));
            match of {
                Some(of) => self.bar.set_length(of),
                None => self.bar.unset_length(),
            }
        }
        self.bar.set_position(done);
        if let Some(told_at) = &self.told_at {
            let mut told_at = told_at.lock().unwrap_or_else(PoisonError::into_inner);
            if told_at.elapsed() >= LINE_EACH {
                *told_at = Instant::now();
                eprintln!("{}", line(what, done, of, self.bar.eta()));
            }
        }
    }

    /// Something worth a line of its own.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(has_an_end: bool) -> ProgressStyle {
    let template = match has_an_end {
        true => "{msg} {wide_bar} {human_pos}/{human_len}, {eta} left",
        false => "{msg} {spinner} {human_pos} ({elapsed})",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn line(what: &str, done: u64, of: Option<u64>, left: Duration) -> String {
    match of {
        None => format!("{what}: {} so far", HumanCount(done)),
        // No pace tells yet.
        Some(of) if left.is_zero() => format!("{what}: {} of {}", HumanCount(done), HumanCount(of)),
        Some(of) => format!(
            "{what}: {} of {}, about {} left",
            HumanCount(done),
            HumanCount(of),
            HumanDuration(left)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_it_is_and_what_is_left() {
        for (done, of, left, expected) in [
            (
                40,
                Some(400),
                540,
                "looking: 40 of 400, about 9 minutes left",
            ),
            (0, Some(4000), 0, "looking: 0 of 4,000"),
            (7, None, 0, "looking: 7 so far"),
        ] {
            let left = Duration::from_secs(left);
            assert_eq!(line("looking", done, of, left), expected);
        }
    }

    #[test]
    fn what_is_left_is_judged_by_the_pace_of_the_step_at_hand() {
        let shown = Bar {
            bar: ProgressBar::hidden(),
            told_at: None,
        };
        shown.show("reading", 7, None);
        assert_eq!(shown.bar.length(), None);
        shown.show("looking", 0, Some(1_000_000));
        std::thread::sleep(Duration::from_millis(20));
        for done in 1..=20 {
            shown.show("looking", done, Some(1_000_000));
        }
        assert_eq!(
            (shown.bar.position(), shown.bar.length()),
            (20, Some(1_000_000))
        );
        assert!(shown.bar.eta() > Duration::ZERO);
    }
}
