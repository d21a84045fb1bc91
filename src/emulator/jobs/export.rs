//! `POST /api/v2/jobs/users-exports`: which users, which of their fields, in which format.

use std::sync::Arc;

use hyper::body::Bytes;
use serde_json::{Value, json};
use warp::{Filter, filters::BoxedFilter, http::StatusCode, reply::Response};

use super::queue::Work;
use crate::emulator::{
    errors::{ApiError, json_response},
    limits::Class,
    management::answer,
    options::{Options, Plan},
    rules::text,
    tenant::Tenant,
    validate::{
        self,
        Form::{AnyList, ConnectionId, Count, OneOf, Text},
        Object, Schema,
    },
};

/// How many columns a CSV file may have (docs: 30).
const MAX_COLUMNS: usize = 30;

/// An export as it was asked for.
#[derive(Debug)]
pub(super) struct Export {
    /// The request, which the job repeats.
    asked: Object,
    /// None: the users of all connections.
    pub(super) connection: Option<String>,
    pub(super) format: Format,
    pub(super) limit: usize,
    pub(super) fields: Vec<Field>,
}

/// The format of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object a line.
    Json,
    Csv,
}

impl Format {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

/// One field of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Where it is in the user: `email`, `app_metadata.role`, `identities[0].connection`.
    pub(super) name: String,
    /// What it is called in the file.
    pub(super) title: String,
}

/// The route of this part.
pub(super) fn route(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    let tenant = tenant.clone();
    warp::path!("api" / "v2" / "jobs" / "users-exports")
        .and(warp::post())
        .and(warp::header::optional::<String>("authorization"))
        .and(warp::body::bytes())
        .map(move |bearer: Option<String>, body: Bytes| {
            answer(
                &tenant,
                bearer.as_deref(),
                Class::Others,
                &["read:users"],
                |_| create(&tenant, &body),
            )
        })
        .boxed()
}

fn create(tenant: &Tenant, body: &[u8]) -> Result<Response, ApiError> {
    let options = tenant.options();
    if options.plan == Plan::Free {
        // The docs say that this plan has no exports, not how they are refused.
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            Some(options.answers.missing_feature.code()),
            "Exporting users is not available on this plan.",
        ));
    }
    let export = Export::read(body, &options)?;
    let work = Work::Export(Arc::new(export));
    let job = tenant.jobs.add(work, &options, tenant.clock.now());
    Ok(json_response(StatusCode::OK, &job))
}

const EXPORT: Schema = &[
    ("connection_id", ConnectionId, false),
    ("format", OneOf(&["json", "csv"]), false),
    ("limit", Count(1), false),
    ("fields", AnyList, false),
];

const FIELD: Schema = &[
    ("name", Text(0, 100), false),
    ("export_as", Text(0, 100), false),
];

/// What is exported when no fields are named. The docs speak of "a predefined set" and do not say which.
const PREDEFINED: &[&str] = &[
    "user_id",
    "email",
    "email_verified",
    "name",
    "given_name",
    "family_name",
    "nickname",
    "picture",
    "created_at",
    "updated_at",
];

impl Export {
    fn read(body: &[u8], options: &Options) -> Result<Self, ApiError> {
        let mut asked = validate::body(EXPORT, &[], body)?;
        let connection = match text(&asked, "connection_id") {
            None => None,
            Some(id) => Some(options.connection_named(id).ok_or_else(|| {
                ApiError::new(
                    StatusCode::BAD_REQUEST,
                    None,
                    "The connection does not exist.",
                )
            })?),
        };
        let format = match text(&asked, "format") {
            Some("json") => Format::Json,
            _ => Format::Csv,
        };
        asked.insert("format".into(), format.name().into());
        let fields: Vec<Field> = match asked.get("fields").and_then(Value::as_array) {
            Some(fields) if !fields.is_empty() => {
                fields.iter().map(Field::read).collect::<Result<_, _>>()?
            }
            _ => PREDEFINED.iter().map(|name| Field::named(name)).collect(),
        };
        if format == Format::Csv {
            fits_csv(&fields)?;
        }
        let limit = asked.get("limit").and_then(Value::as_u64);
        Ok(Self {
            connection: connection.map(str::to_owned),
            format,
            limit: limit.map_or(usize::MAX, |limit| {
                usize::try_from(limit).unwrap_or(usize::MAX)
            }),
            fields,
            asked,
        })
    }

    pub(super) fn show(&self) -> Value {
        let mut shown = Value::from(self.asked.clone());
        shown["type"] = "users_export".into();
        if let Some(connection) = &self.connection {
            shown["connection"] = json!(connection);
        }
        shown
    }
}

impl Field {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            title: name.to_owned(),
        }
    }

    fn read(field: &Value) -> Result<Self, ApiError> {
        let Value::Object(field) = field else {
            return Err(ApiError::invalid_body(
                "'Expected type object' on property fields",
            ));
        };
        validate::check(FIELD, field)?;
        let name = text(field, "name").ok_or_else(|| {
            ApiError::invalid_body("'Missing required property: name' on property fields")
        })?;
        let title = text(field, "export_as").unwrap_or(name);
        Ok(Self {
            name: name.to_owned(),
            title: title.to_owned(),
        })
    }
}

/// A table has so many columns and no objects in them.
fn fits_csv(fields: &[Field]) -> Result<(), ApiError> {
    if fields.len() > MAX_COLUMNS {
        return Err(ApiError::invalid_body(format_args!(
            "'Array is too long ({}), maximum {MAX_COLUMNS}' on property fields",
            fields.len()
        )));
    }
    match fields
        .iter()
        .find(|field| matches!(&*field.name, "app_metadata" | "user_metadata"))
    {
        None => Ok(()),
        Some(field) => Err(ApiError::invalid_body(format_args!(
            "'{} cannot be exported to CSV as a single object' on property fields",
            field.name
        ))),
    }
}
