//! What is asked and answered, as the standard spells it. Unknown members are ignored.
//!
//! A part that is missing, has another form or a name twice is kept as that ([`Part`]), so that in a batch it spoils the evaluations
//! that use it and no others. What is said of it names the part and never quotes a value.

use std::{borrow::Cow, num::NonZeroU64};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error},
};
use serde_json::{Map, Number, Value};

use crate::authz::unique::Unique;

type Properties = Map<String, Value>;

/// A part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::authz) enum Part<T> {
    #[default]
    Missing,
    /// It is not what it should be.
    Odd,
    Given(T),
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Part<T> {
    /// From an object alone: serde would take a list for a struct, by position.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Unique::deserialize(deserializer)?.0 {
            Some(Value::Null) => Self::Missing,
            Some(object @ Value::Object(_)) => {
                T::deserialize(object).map_or(Self::Odd, Self::Given)
            }
            _ => Self::Odd,
        })
    }
}

impl<T: JsonSchema> JsonSchema for Part<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    /// Null is as good as nothing.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Option<T>>()
    }
}

fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Part<Vec<T>>, D::Error> {
    Ok(match Unique::deserialize(deserializer)?.0 {
        Some(Value::Null) => Part::Missing,
        Some(list @ Value::Array(_)) => Vec::deserialize(list).map_or(Part::Odd, Part::Given),
        _ => Part::Odd,
    })
}

impl<T> Part<T> {
    /// The part, which is required.
    pub(in crate::authz) fn required(&self, otherwise: &'static str) -> Result<&T, &'static str> {
        match self {
            Self::Given(part) => Ok(part),
            Self::Missing | Self::Odd => Err(otherwise),
        }
    }

    /// The part, if it is there.
    pub(in crate::authz) fn optional(
        &self,
        otherwise: &'static str,
    ) -> Result<Option<&T>, &'static str> {
        match self {
            Self::Given(part) => Ok(Some(part)),
            Self::Missing => Ok(None),
            Self::Odd => Err(otherwise),
        }
    }

    /// This part, or else the other one: a whole replaces a whole.
    pub(in crate::authz) fn or<'a>(&'a self, default: &'a Self) -> &'a Self {
        match self {
            Self::Missing => default,
            Self::Odd | Self::Given(_) => self,
        }
    }
}

pub(in crate::authz) const SUBJECT: &str =
    "`subject` must be an object with the texts `type` and `id`, and `properties` an object";
pub(in crate::authz) const ACTION: &str =
    "`action` must be an object with the text `name`, and `properties` an object";
pub(in crate::authz) const RESOURCE: &str =
    "`resource` must be an object with the texts `type` and `id`, and `properties` an object";
pub(in crate::authz) const CONTEXT: &str = "`context` must be an object";
pub(in crate::authz) const SUBJECT_TYPE: &str = "`subject` must be an object with the text `type`";
pub(in crate::authz) const RESOURCE_TYPE: &str =
    "`resource` must be an object with the text `type`";
pub(in crate::authz) const EVALUATIONS: &str =
    "`evaluations` must be a list of at most 1000 evaluations";
pub(in crate::authz) const EVALUATION: &str = "an evaluation must be an object";
pub(in crate::authz) const OPTIONS: &str = "`options.evaluations_semantic` must be execute_all, deny_on_first_deny or permit_on_first_permit";
pub(in crate::authz) const PAGE: &str =
    "`page.limit` must be a whole number of at least 1, and `page.token` a text";

/// Who it is about.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in crate::authz) struct Subject {
    pub(in crate::authz) r#type: String,
    pub(in crate::authz) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties>,
}

impl Subject {
    pub(in crate::authz) fn new(r#type: &str, id: String) -> Self {
        Self {
            r#type: r#type.to_owned(),
            id,
            properties: None,
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in crate::authz) struct Action {
    pub(in crate::authz) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties>,
}

/// What it is to be done with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in crate::authz) struct Resource {
    pub(in crate::authz) r#type: String,
    pub(in crate::authz) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties>,
}

/// A subject or a resource of which the id is searched; one that is sent is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in crate::authz) struct OfType {
    pub(in crate::authz) r#type: String,
}

/// `POST /access/v1/evaluation`, and one of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(extend("required" = ["subject", "action", "resource"]))]
pub(in crate::authz) struct Evaluation {
    #[serde(default)]
    #[schemars(with = "Subject")]
    pub(in crate::authz) subject: Part<Subject>,
    #[serde(default)]
    #[schemars(with = "Action")]
    pub(in crate::authz) action: Part<Action>,
    #[serde(default)]
    #[schemars(with = "Resource")]
    pub(in crate::authz) resource: Part<Resource>,
    #[serde(default)]
    pub(in crate::authz) context: Part<Properties>,
}

/// An evaluation that is whole.
#[derive(Debug, Clone, Copy)]
pub(in crate::authz) struct Question<'a> {
    pub(in crate::authz) subject: &'a Subject,
    pub(in crate::authz) action: &'a Action,
    pub(in crate::authz) resource: &'a Resource,
}

impl Evaluation {
    /// All of it, with what is missing taken from `default`.
    pub(in crate::authz) fn question<'a>(
        &'a self,
        default: &'a Self,
    ) -> Result<Question<'a>, &'static str> {
        self.context.or(&default.context).optional(CONTEXT)?;
        Ok(Question {
            subject: self.subject.or(&default.subject).required(SUBJECT)?,
            action: self.action.or(&default.action).required(ACTION)?,
            resource: self.resource.or(&default.resource).required(RESOURCE)?,
        })
    }
}

/// `POST /access/v1/evaluations`: evaluations, and what they take where they say nothing themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(in crate::authz) struct Evaluations {
    #[serde(flatten)]
    pub(in crate::authz) default: Evaluation,
    #[serde(default, deserialize_with = "list")]
    pub(in crate::authz) evaluations: Part<Vec<Part<Evaluation>>>,
    #[serde(default)]
    pub(in crate::authz) options: Part<Options>,
}

impl JsonSchema for Evaluations {
    fn schema_name() -> Cow<'static, str> {
        "Evaluations".into()
    }

    /// What an evaluation has or takes from here is judged for each of them, so none is too odd to be sent.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let evaluation = generator.subschema_for::<Evaluation>();
        json_schema!({
            "description": "Evaluations, and what they take where they say nothing themselves. One that is not whole is a deny, and its context says why",
            "type": "object",
            "required": ["evaluations"],
            "properties": {
                "subject": true, "action": true, "resource": true, "context": true,
                "evaluations": {
                    "type": "array", "minItems": 1, "maxItems": 1000, "items": { "anyOf": [evaluation, true] },
                },
                "options": generator.subschema_for::<Part<Options>>(),
            },
        })
    }
}

/// How a batch is evaluated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub(in crate::authz) struct Options {
    #[serde(default)]
    pub(in crate::authz) evaluations_semantic: Semantic,
}

/// When a batch ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::authz) enum Semantic {
    /// With the last one.
    #[default]
    ExecuteAll,
    /// With the first one that is denied.
    DenyOnFirstDeny,
    /// With the first one that is permitted.
    PermitOnFirstPermit,
}

/// `POST /access/v1/search/subject`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(extend("required" = ["subject", "action", "resource"]))]
pub(in crate::authz) struct SubjectSearch {
    #[serde(default)]
    #[schemars(with = "OfType")]
    pub(in crate::authz) subject: Part<OfType>,
    #[serde(default)]
    #[schemars(with = "Action")]
    pub(in crate::authz) action: Part<Action>,
    #[serde(default)]
    #[schemars(with = "Resource")]
    pub(in crate::authz) resource: Part<Resource>,
    #[serde(default)]
    pub(in crate::authz) context: Part<Properties>,
    #[serde(default)]
    pub(in crate::authz) page: Part<Page>,
}

/// `POST /access/v1/search/resource`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(extend("required" = ["subject", "action", "resource"]))]
pub(in crate::authz) struct ResourceSearch {
    #[serde(default)]
    #[schemars(with = "Subject")]
    pub(in crate::authz) subject: Part<Subject>,
    #[serde(default)]
    #[schemars(with = "Action")]
    pub(in crate::authz) action: Part<Action>,
    #[serde(default)]
    #[schemars(with = "OfType")]
    pub(in crate::authz) resource: Part<OfType>,
    #[serde(default)]
    pub(in crate::authz) context: Part<Properties>,
    #[serde(default)]
    pub(in crate::authz) page: Part<Page>,
}

/// `POST /access/v1/search/action`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(extend("required" = ["subject", "resource"]))]
pub(in crate::authz) struct ActionSearch {
    #[serde(default)]
    #[schemars(with = "Subject")]
    pub(in crate::authz) subject: Part<Subject>,
    #[serde(default)]
    #[schemars(with = "Resource")]
    pub(in crate::authz) resource: Part<Resource>,
    #[serde(default)]
    pub(in crate::authz) context: Part<Properties>,
    #[serde(default)]
    pub(in crate::authz) page: Part<Page>,
}

/// Which part of a search's results is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub(in crate::authz) struct Page {
    /// `next_token` of the page before; empty is the first page.
    #[serde(default)]
    #[schemars(extend("format" = "roster-page-token"))]
    pub(in crate::authz) token: Option<String>,
    /// The most results of this page.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "Option<NonZeroU64>")]
    pub(in crate::authz) limit: Option<NonZeroU64>,
}

/// A whole number however it is written: JSON knows 3 and 3.0 as one, and many languages write the second.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NonZeroU64>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let is_whole = |number: &f64| number.fract() == 0.0;
    let written_otherwise = || number.as_f64().filter(is_whole).map(|number| number as u64);
    let limit = number.as_u64().or_else(written_otherwise);
    let limit = limit.and_then(NonZeroU64::new);
    limit.map(Some).ok_or_else(|| D::Error::custom(PAGE))
}

/// The answer to an evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::authz) struct Decision {
    pub(in crate::authz) decision: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::authz) context: Option<DecisionContext>,
}

/// Why an evaluation of a batch could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::authz) struct DecisionContext {
    pub(in crate::authz) error: EvaluationError,
}

/// As the request would have been refused, had it been alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::authz) struct EvaluationError {
    pub(in crate::authz) status: u16,
    pub(in crate::authz) message: &'static str,
}

/// The answer to a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::authz) struct Decisions {
    pub(in crate::authz) evaluations: Vec<Decision>,
}

/// The answer to a search. The page comes first, as the standard has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "{T}Results")]
pub(in crate::authz) struct Results<T> {
    pub(in crate::authz) page: NextPage,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::authz) context: Option<ResourceContext>,
    pub(in crate::authz) results: Vec<T>,
}

/// Where a search goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::authz) struct NextPage {
    /// Empty at the end.
    pub(in crate::authz) next_token: String,
    /// Results of this page.
    pub(in crate::authz) count: usize,
}

/// What a list of resources cannot say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::authz) struct ResourceContext {
    /// The action is permitted on every resource of the type, also on those that no permission names.
    pub(in crate::authz) every_resource: bool,
}

/// A subject or a resource that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::authz) struct FoundEntity {
    pub(in crate::authz) r#type: String,
    pub(in crate::authz) id: String,
}

/// An action that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::authz) struct FoundAction {
    pub(in crate::authz) name: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_is_missing_odd_or_given() {
        let of = |value: Value| serde_json::from_value::<Evaluation>(value).unwrap().subject;
        let given = Subject::new("user", "1".into());
        assert_eq!(of(json!({})), Part::Missing);
        assert_eq!(of(json!({ "subject": null })), Part::Missing);
        for odd in [
            json!("alice"),
            json!(["user", "1", null]),
            json!({}),
            json!({ "type": "user" }),
            json!({ "id": "1" }),
            json!({ "type": "user", "id": 1 }),
            json!({ "type": "user", "id": null }),
            json!({ "type": "user", "id": "1", "properties": "all" }),
        ] {
            assert_eq!(of(json!({ "subject": odd })), Part::Odd, "{odd}");
        }
        let subject = json!({ "type": "user", "id": "1", "further": true });
        assert_eq!(
            of(json!({ "subject": subject, "further": [] })),
            Part::Given(given)
        );
    }

    #[test]
    fn a_limit_is_a_whole_number_however_it_is_written() {
        let table = [
            ("3", Some(3)),
            ("3.0", Some(3)),
            ("3e2", Some(300)),
            ("1e30", Some(u64::MAX)),
            ("99999999999999999999", Some(u64::MAX)),
            ("0", None),
            ("0.0", None),
            ("-1", None),
            ("-2.0", None),
            ("1.5", None),
            ("\"3\"", None),
        ];
        for (limit, expected) in table {
            let page = serde_json::from_str::<Page>(&format!("{{\"limit\": {limit}}}"));
            let limited = page.ok().and_then(|page| page.limit);
            assert_eq!(limited.map(NonZeroU64::get), expected, "{limit}");
        }
    }

    #[test]
    fn a_list_is_no_evaluation() {
        let batch: Evaluations =
            serde_json::from_value(json!({ "evaluations": [[], {}, null, 1] })).unwrap();
        let Part::Given(list) = batch.evaluations else {
            panic!("a list")
        };
        let given = list.iter().map(|part| part.required(EVALUATION).is_ok());
        assert_eq!(given.collect::<Vec<_>>(), [false, true, false, false]);
        let odd: Evaluations = serde_json::from_value(json!({ "evaluations": {} })).unwrap();
        assert_eq!(odd.evaluations, Part::Odd);
    }

    #[test]
    fn an_evaluation_replaces_a_default_as_a_whole() {
        let whole = json!({
            "subject": { "type": "user", "id": "1" }, "action": { "name": "read" },
            "resource": { "type": "record", "id": "1" },
        });
        let default: Evaluation = serde_json::from_value(whole).unwrap();
        let part = |value: Value| serde_json::from_value::<Evaluation>(value).unwrap();
        let other = part(json!({ "resource": { "type": "song", "id": "2" } }));
        assert_eq!(other.question(&default).unwrap().resource.r#type, "song");
        let half = part(json!({ "resource": { "id": "2" } }));
        assert_eq!(half.question(&default).unwrap_err(), RESOURCE);
        assert_eq!(
            default.question(&Evaluation::default()).unwrap().subject.id,
            "1"
        );
    }
}
