//! Typed values out of the layers, strict about types and ranges. An error says what fits.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use ::config::ValueKind;
use jiff::{Span, SpanRelativeTo};
use url::{Host, Url};

use super::{
    ConfigError,
    layers::{Layers, origin},
};

impl Layers {
    /// The error for a value that does not fit.
    pub(super) fn bad(&self, key: &str, expected: impl Into<String>) -> ConfigError {
        ConfigError::BadValue {
            key: key.to_owned(),
            origin: origin(&self.value(key)),
            expected: expected.into(),
        }
    }

    /// `None` where it is empty.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.value(key).kind {
            ValueKind::String(text) if text.trim().is_empty() => Ok(None),
            ValueKind::String(text) => Ok(Some(text.trim().to_owned())),
            _ => Err(self.bad(key, "a text in quotes")),
        }
    }

    pub(super) fn required_text(&self, key: &str) -> Result<String, ConfigError> {
        self.text(key)?
            .ok_or_else(|| self.bad(key, "a text that is not empty"))
    }

    pub(super) fn parsed<T: FromStr>(&self, key: &str, expected: &str) -> Result<T, ConfigError> {
        let text = self.text(key)?.and_then(|text| text.parse().ok());
        text.ok_or_else(|| self.bad(key, expected))
    }

    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<T, ConfigError> {
        let text = self.text(key)?.unwrap_or_default();
        choices
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.bad(key, format!("one of {}", names.join(", ")))
            })
    }

    /// A whole number within the range.
    pub(super) fn number<T>(&self, key: &str, range: RangeInclusive<T>) -> Result<T, ConfigError>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let number = match self.value(key).kind {
            ValueKind::I64(number) => Some(number),
            _ => None,
        };
        number
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                self.bad(key, expected)
            })
    }

    /// A number from 0 to 1.
    pub(super) fn share(&self, key: &str) -> Result<f64, ConfigError> {
        let number = match self.value(key).kind {
            ValueKind::Float(number) => Some(number),
            ValueKind::I64(0) => Some(0.0),
            ValueKind::I64(1) => Some(1.0),
            _ => None,
        };
        number
            .filter(|number| (0.0..=1.0).contains(number))
            .ok_or_else(|| self.bad(key, "a number from 0 to 1, such as 0.05 for five per cent"))
    }

    /// Texts without blanks around them.
    pub(super) fn list(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        const EXPECTED: &str = "a list of texts, such as [\"a\", \"b\"], or a,b in a variable";
        let items: Option<Vec<String>> = match self.value(key).kind {
            ValueKind::Array(items) => items
                .into_iter()
                .map(|item| match item.kind {
                    ValueKind::String(text) => Some(text.trim().to_owned()),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        items
            .filter(|items| items.iter().all(|item| !item.is_empty()))
            .ok_or_else(|| self.bad(key, EXPECTED))
    }

    pub(super) fn duration(&self, key: &str, at_least: Duration) -> Result<Duration, ConfigError> {
        self.optional_duration(key, at_least)?
            .ok_or_else(|| self.bad(key, duration_expected(at_least)))
    }

    pub(super) fn optional_duration(
        &self,
        key: &str,
        at_least: Duration,
    ) -> Result<Option<Duration>, ConfigError> {
        let Some(text) = self
            .text(key)
            .map_err(|_| self.bad(key, duration_expected(at_least)))?
        else {
            return Ok(None);
        };
        parse_duration(&text)
            .filter(|duration| *duration >= at_least)
            .map(Some)
            .ok_or_else(|| self.bad(key, duration_expected(at_least)))
    }

    /// An absolute `https` URL; `http` only where nobody is in between, since secrets and keys travel there.
    pub(super) fn url(&self, key: &str) -> Result<Option<Url>, ConfigError> {
        const EXPECTED: &str = "a URL such as https://example.com (http:// only for localhost)";
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let url = Url::parse(&text).ok().filter(|url| {
            let local = match url.host() {
                Some(Host::Domain(name)) => name == "localhost",
                Some(Host::Ipv4(address)) => address.is_loopback(),
                Some(Host::Ipv6(address)) => address.is_loopback(),
                None => return false,
            };
            let plain = url.username().is_empty() && url.password().is_none();
            let ends = url.query().is_none() && url.fragment().is_none();
            plain && ends && (url.scheme() == "https" || url.scheme() == "http" && local)
        });
        url.map(Some).ok_or_else(|| self.bad(key, EXPECTED))
    }
}

fn duration_expected(at_least: Duration) -> String {
    format!("a duration such as 500ms, 2s, 5m, 1h or 30d, at least {at_least:?}")
}

/// A day is 24 hours here; months and years have no fixed length and are refused.
fn parse_duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(signed).ok()
}
