//! The body of Hasura's auth hook: the headers of its client, as JSON.

use std::{collections::HashMap, fmt};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use warp::http::{HeaderMap, HeaderName, HeaderValue};

use super::object;
use crate::authz::rejection::Refusal;

/// The body of the hook; whatever else is in it is not looked at.
#[derive(Deserialize, JsonSchema)]
pub(in crate::authz) struct Hook {
    #[schemars(with = "HashMap<String, String>")]
    headers: Pairs,
}

/// The client's headers. Those of the hook's own request are Hasura's, and say nothing of the client.
///
/// A name that is doubled, in whatever case, is there twice, so that two tokens are seen to be two.
///
/// # Errors
/// [`Refusal::BadRequest`] for anything but `{"headers": {name: text}}`, whatever else is in it.
pub(super) fn client_headers(body: &[u8]) -> Result<HeaderMap, Refusal> {
    let Hook {
        headers: Pairs(pairs),
    } = object(body).ok_or(Refusal::BadRequest)?;
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::try_from(name).map_err(|_| Refusal::BadRequest)?;
        let value = HeaderValue::try_from(value).map_err(|_| Refusal::BadRequest)?;
        let kept = headers.try_append(name, value);
        kept.map_err(|_| Refusal::BadRequest)?;
    }
    Ok(headers)
}

/// The members of an object, doubles too.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_read_strictly() {
        let tokens = |body: &'static str| {
            let headers = client_headers(body.as_bytes()).ok()?;
            Some(headers.get_all("authorization").iter().count())
        };
        let table = [
            (
                r#"{"headers": {"Authorization": "Bearer x"}, "request": null}"#,
                Some(1),
            ),
            (r#"{"headers": {}}"#, Some(0)),
            (
                r#"{"headers": {"Authorization": "a", "authorization": "b"}}"#,
                Some(2),
            ),
            (
                r#"{"headers": {"Authorization": "a", "Authorization": "b"}}"#,
                Some(2),
            ),
            (r#"{"headers": {}, "headers": {}}"#, None),
            (r#"{"headers": {"Authorization": ["Bearer x"]}}"#, None),
            (r#"{"headers": {"Authorization": "a\nb"}}"#, None),
            (r#"{"headers": [["Authorization", "Bearer x"]]}"#, None),
            (r#"[{"Authorization": "Bearer x"}]"#, None),
            (r#"{"request": {}}"#, None),
            ("", None),
        ];
        for (body, expected) in table {
            assert_eq!(tokens(body), expected, "{body}");
        }
    }
}
