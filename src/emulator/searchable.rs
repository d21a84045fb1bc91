//! What of a user can be searched for, and how its values compare.
//!
//! Docs (user-search-query-syntax): `email`, `name`, `given_name`, `family_name` and `nickname` compare without case, all
//! else with; arrays on the way to a value are passed over; `null`, empty arrays and empty objects are not indexed.

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde_json::Value;

use super::{clock::iso, profile::User};

/// One searchable field.
#[derive(Debug)]
pub(super) struct Field {
    path: Vec<String>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Text that compares without case.
    Folded,
    Text,
    Flag,
    Number,
    Date,
    AppMetadata,
    /// Neither ranges nor wildcards.
    UserMetadata,
}

/// What a value must be like.
#[derive(Debug)]
pub(super) enum Test {
    /// There is one.
    Exists,
    /// It reads like this.
    Like(Pattern),
    /// It is between.
    Numbers(Bound<f64>, Bound<f64>),
    /// It is between.
    Texts(Bound, Bound),
    /// It is this moment, or between.
    Times(Bound<Timestamp>, Bound<Timestamp>),
}

/// One end of a range.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bound<T = String> {
    Included(T),
    Excluded(T),
    Unbounded,
}

/// A text with stars in it.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// What stands between the stars; one part means no star.
    parts: Vec<String>,
}

impl Field {
    /// # Errors
    /// No such field is indexed.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let path: Vec<String> = name.split('.').map(str::to_owned).collect();
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        let kind = match parts[..] {
            ["email" | "name" | "given_name" | "family_name" | "nickname"]
            | ["email", "domain"] => Kind::Folded,
            ["user_id" | "username" | "phone_number" | "picture" | "last_ip"]
            | ["identities", "connection" | "provider" | "user_id"] => Kind::Text,
            ["email_verified" | "phone_verified" | "blocked"] | ["identities", "isSocial"] => {
                Kind::Flag
            }
            ["logins_count"] => Kind::Number,
            ["created_at" | "updated_at" | "last_login" | "last_password_reset"] => Kind::Date,
            ["app_metadata", _, ..] => Kind::AppMetadata,
            ["user_metadata", _, ..] => Kind::UserMetadata,
            _ => return Err(format!("there is no field {name}")),
        };
        Ok(Self { path, kind })
    }

    /// Metadata cannot be sorted by (docs: sort-search-results).
    pub(super) fn is_metadata(&self) -> bool {
        matches!(self.kind, Kind::AppMetadata | Kind::UserMetadata)
    }

    /// The test of `field:pattern`.
    ///
    /// # Errors
    /// A value of this field never reads so.
    pub(super) fn text(&self, pattern: Pattern) -> Result<Test, String> {
        let wildcard = pattern.has_stars();
        let unfit = |what: &str| Err(format!("{} takes {what}", self.path.join(".")));
        match self.kind {
            Kind::UserMetadata if wildcard => unfit("no wildcards"),
            Kind::Flag if !matches!(pattern.plain(), Some("true" | "false")) => {
                unfit("true or false")
            }
            Kind::Number
                if pattern
                    .plain()
                    .is_none_or(|text| text.parse::<f64>().is_err()) =>
            {
                unfit("a number")
            }
            Kind::Date => match pattern.plain().and_then(|text| moment(text).ok()) {
                Some(time) => Ok(Test::Times(Bound::Included(time), Bound::Included(time))),
                None => unfit("a time, as 2016-01-01T00:00:00.000Z"),
            },
            Kind::Folded => Ok(Test::Like(pattern.folded())),
            _ => Ok(Test::Like(pattern)),
        }
    }

    /// The test of `field:[lower TO upper]`.
    ///
    /// # Errors
    /// The field has no order, or a bound is none of its values.
    pub(super) fn range(&self, lower: Bound, upper: Bound) -> Result<Test, String> {
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
        match self.kind {
            Kind::UserMetadata | Kind::Flag => {
                Err(format!("{} takes no ranges", self.path.join(".")))
            }
            Kind::Number => Ok(Test::Numbers(
                lower.try_map(number)?,
                upper.try_map(number)?,
            )),
            Kind::Date => Ok(Test::Times(from_day(lower)?, to_day(upper)?)),
            Kind::AppMetadata if lower.is_number() && upper.is_number() => Ok(Test::Numbers(
                lower.try_map(number)?,
                upper.try_map(number)?,
            )),
            Kind::Folded => {
                let fold = |text: String| Ok::<_, String>(text.to_lowercase());
                Ok(Test::Texts(lower.try_map(fold)?, upper.try_map(fold)?))
            }
            Kind::Text | Kind::AppMetadata => Ok(Test::Texts(lower, upper)),
        }
    }

    /// Whether one of the user's values passes.
    pub(super) fn passes(&self, test: &Test, user: &User) -> bool {
        self.values(user)
            .iter()
            .any(|value| test.holds(value, self.kind == Kind::Folded))
    }

    /// The user's values that are indexed.
    pub(super) fn values(&self, user: &User) -> Vec<Value> {
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let time = |time: &Option<Timestamp>| time.map(|time| Value::from(iso(time)));
        let name = self.path[0].as_str();
        let one = match name {
            "identities" => {
                return user
                    .identities
                    .iter()
                    .map(|identity| match self.path[1].as_str() {
                        "connection" => Value::from(identity.connection.as_str()),
                        "provider" => identity.provider.as_str().into(),
                        "user_id" => identity.user_id.as_str().into(),
                        _ => identity.is_social.into(),
                    })
                    .collect();
            }
            "app_metadata" | "user_metadata" => {
                let metadata = match name {
                    "app_metadata" => &user.app_metadata,
                    _ => &user.user_metadata,
                };
                let mut found = Vec::new();
                if let Some(value) = metadata.as_ref().and_then(|map| map.get(&self.path[1])) {
                    leaves(value, &self.path[2..], &mut found);
                }
                return found;
            }
            "email" if self.path.len() == 2 => user
                .email
                .as_deref()
                .and_then(|email| email.rsplit_once('@'))
                .map(|(_, domain)| domain.into()),
            "email" => text(&user.email),
            "name" => text(&user.name),
            "given_name" => text(&user.given_name),
            "family_name" => text(&user.family_name),
            "nickname" => text(&user.nickname),
            "username" => text(&user.username),
            "phone_number" => text(&user.phone_number),
            "picture" => text(&user.picture),
            "last_ip" => text(&user.last_ip),
            "user_id" => Some(user.user_id.as_str().into()),
            "email_verified" => Some(user.email_verified.into()),
            "phone_verified" => user.phone_verified.map(Value::from),
            "blocked" => user.blocked.map(Value::from),
            "logins_count" => user.logins_count.map(Value::from),
            "created_at" => time(&Some(user.created_at)),
            "updated_at" => time(&Some(user.updated_at)),
            "last_login" => time(&user.last_login),
            "last_password_reset" => time(&user.last_password_reset),
            _ => None,
        };
        one.into_iter().collect()
    }
}

/// Values at the end of a path, through whatever arrays lie on it.
fn leaves(value: &Value, path: &[String], found: &mut Vec<Value>) {
    match (value, path) {
        (Value::Array(items), _) => items.iter().for_each(|item| leaves(item, path, found)),
        (Value::Object(object), [key, rest @ ..]) => {
            if let Some(value) = object.get(key) {
                leaves(value, rest, found);
            }
        }
        (Value::Null, _) | (_, [_, ..]) => {}
        (Value::Object(object), []) if object.is_empty() => {}
        (value, []) => found.push(value.clone()),
    }
}

impl Test {
    fn holds(&self, value: &Value, fold: bool) -> bool {
        match (self, value) {
            (Self::Exists, _) => true,
            (Self::Like(pattern), Value::String(text)) if fold => pattern.is(&text.to_lowercase()),
            (Self::Like(pattern), Value::String(text)) => pattern.is(text),
            (Self::Like(pattern), Value::Bool(flag)) => pattern.is(&flag.to_string()),
            (Self::Like(pattern), Value::Number(number)) => pattern
                .plain()
                .and_then(|text| text.parse().ok())
                .is_some_and(|wanted: f64| number.as_f64() == Some(wanted)),
            (Self::Numbers(lower, upper), Value::Number(number)) => number
                .as_f64()
                .is_some_and(|number| is_between(lower, &number, upper)),
            (Self::Texts(lower, upper), Value::String(text)) => {
                let text = if fold {
                    text.to_lowercase()
                } else {
                    text.clone()
                };
                is_between(lower, &text, upper)
            }
            (Self::Times(lower, upper), Value::String(text)) => text
                .parse()
                .is_ok_and(|time: Timestamp| is_between(lower, &time, upper)),
            _ => false,
        }
    }
}

fn is_between<T: PartialOrd>(lower: &Bound<T>, value: &T, upper: &Bound<T>) -> bool {
    let above = match lower {
        Bound::Included(lower) => value >= lower,
        Bound::Excluded(lower) => value > lower,
        Bound::Unbounded => true,
    };
    let below = match upper {
        Bound::Included(upper) => value <= upper,
        Bound::Excluded(upper) => value < upper,
        Bound::Unbounded => true,
    };
    above && below
}

impl Bound<String> {
    fn is_number(&self) -> bool {
        match self {
            Self::Included(text) | Self::Excluded(text) => text.parse::<f64>().is_ok(),
            Self::Unbounded => true,
        }
    }
}

impl<T> Bound<T> {
    fn try_map<U, E>(self, map: impl FnOnce(T) -> Result<U, E>) -> Result<Bound<U>, E> {
        Ok(match self {
            Self::Included(value) => Bound::Included(map(value)?),
            Self::Excluded(value) => Bound::Excluded(map(value)?),
            Self::Unbounded => Bound::Unbounded,
        })
    }
}

/// A lower bound in time. A bare day stands for its start, or if excluded for its end.
fn from_day(bound: Bound) -> Result<Bound<Timestamp>, String> {
    Ok(match bound {
        Bound::Excluded(text) => match day(&text) {
            Some((_, end)) => Bound::Included(end),
            None => Bound::Excluded(moment(&text)?),
        },
        other => other
            .try_map(|text| day(&text).map_or_else(|| moment(&text), |(start, _)| Ok(start)))?,
    })
}

/// An upper bound in time. A bare day stands for its end, or if excluded for its start.
fn to_day(bound: Bound) -> Result<Bound<Timestamp>, String> {
    Ok(match bound {
        Bound::Included(text) => match day(&text) {
            Some((_, end)) => Bound::Excluded(end),
            None => Bound::Included(moment(&text)?),
        },
        other => other
            .try_map(|text| day(&text).map_or_else(|| moment(&text), |(start, _)| Ok(start)))?,
    })
}

/// Start and end of a day in UTC.
fn day(text: &str) -> Option<(Timestamp, Timestamp)> {
    // A time would parse as a day, too.
    let date: Date = (text.len() == 10).then(|| text.parse().ok()).flatten()?;
    let start = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some((
        start,
        start.saturating_add(SignedDuration::from_hours(24)).ok()?,
    ))
}

fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| format!("{text} is no time"))
}

impl Pattern {
    /// This text and no other.
    pub(super) fn exact(text: String) -> Self {
        Self { parts: vec![text] }
    }

    /// A word without quotes: `*` stands for any rest, a backslash takes the meaning from what follows.
    ///
    /// # Errors
    /// It has other special characters, or a star at its start and fewer than three letters.
    pub(super) fn word(text: &str) -> Result<Self, String> {
        let mut parts = vec![String::new()];
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            let char = match char {
                '*' => {
                    parts.push(String::new());
                    continue;
                }
                '\\' => chars.next().ok_or("it ends in a backslash")?,
                '?' | '~' | '^' | '!' | '"' | '[' | ']' | '{' | '}' | '(' | ')' => {
                    return Err(format!("{char} must be escaped"));
                }
                char => char,
            };
            if let Some(part) = parts.last_mut() {
                part.push(char);
            }
        }
        let pattern = Self { parts };
        let letters: usize = pattern.parts.iter().map(|part| part.chars().count()).sum();
        if pattern.has_stars() && pattern.parts[0].is_empty() && letters < 3 {
            return Err("a wildcard at the start needs three letters at least".into());
        }
        Ok(pattern)
    }

    fn has_stars(&self) -> bool {
        self.parts.len() > 1
    }

    fn plain(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    fn folded(mut self) -> Self {
        for part in &mut self.parts {
            *part = part.to_lowercase();
        }
        self
    }

    fn is(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.plain() == Some(text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        for part in middle {
            match rest.split_once(part.as_str()) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_rest_unless_it_is_escaped() {
        for (pattern, text, is) in [
            ("ann*", "anna", true),
            ("ann*", "ann", true),
            ("ann*", "joann", false),
            ("*anna", "joanna", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            (r"ann\*", "ann*", true),
            (r"ann\*", "anna", false),
            (r"a\ b", "a b", true),
        ] {
            assert_eq!(
                Pattern::word(pattern).unwrap().is(text),
                is,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn a_bare_day_in_a_range_is_the_whole_day() {
        let field = Field::named("created_at").unwrap();
        let at = |text: &str| Value::from(text);
        let day = || Bound::Included("2024-02-29".to_owned());
        let within = field.range(day(), day()).unwrap();
        assert!(within.holds(&at("2024-02-29T00:00:00.000Z"), false));
        assert!(within.holds(&at("2024-02-29T23:59:59.999Z"), false));
        assert!(!within.holds(&at("2024-03-01T00:00:00.000Z"), false));
        let after = Bound::Excluded("2024-02-29".to_owned());
        let after = field.range(after, Bound::Unbounded).unwrap();
        assert!(!after.holds(&at("2024-02-29T12:00:00.000Z"), false));
        assert!(after.holds(&at("2024-03-01T00:00:00.000Z"), false));
    }
}
