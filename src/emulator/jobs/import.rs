//! `POST /api/v2/jobs/users-imports`: a form with a file of users. What becomes of them is in [`super::records`].

use std::{convert::Infallible, sync::Arc};

use futures_util::stream;
use hyper::body::Bytes;
use multer::Multipart;
use serde_json::{Value, json};
use warp::{Filter, filters::BoxedFilter, http::StatusCode, reply::Response};

use super::queue::Work;
use crate::emulator::{
    errors::{ApiError, json_response},
    limits::Class,
    management::answer,
    tenant::Tenant,
    validate::is_connection_id,
};

/// An import as it was asked for.
#[derive(Debug, Clone)]
pub(super) struct Import {
    pub(super) connection: String,
    connection_id: String,
    external_id: Option<String>,
    /// Whether users who are there already are changed instead of refused.
    pub(super) upsert: bool,
    /// Whether the owners of the tenant are mailed at the end.
    pub(super) mails_completion: bool,
    /// The file, which should be a JSON array; empty once the import has begun.
    pub(super) users: Bytes,
}

impl Import {
    /// The import as it is to be done; the file goes along and is kept no longer.
    pub(super) fn begin(&mut self) -> Self {
        let users = std::mem::take(&mut self.users);
        Self {
            users,
            ..self.clone()
        }
    }

    pub(super) fn show(&self) -> Value {
        let mut shown = json!({
            "type": "users_import",
            "connection": self.connection,
            "connection_id": self.connection_id,
        });
        if let Some(external_id) = &self.external_id {
            shown["external_id"] = external_id.as_str().into();
        }
        shown
    }
}

/// The route of this part. The front door lets no larger body through than Auth0 does.
pub(super) fn route(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    let tenant = tenant.clone();
    warp::path!("api" / "v2" / "jobs" / "users-imports")
        .and(warp::post())
        .and(warp::header::optional::<String>("authorization"))
        .and(warp::header::optional::<String>("content-type"))
        .and(warp::body::bytes())
        .then(
            move |bearer: Option<String>, content_type: Option<String>, body: Bytes| {
                let tenant = tenant.clone();
                async move {
                    let form = Form::read(content_type.as_deref(), body).await;
                    answer(
                        &tenant,
                        bearer.as_deref(),
                        Class::Others,
                        &["create:users"],
                        |_| create(&tenant, form?),
                    )
                }
            },
        )
        .boxed()
}

fn create(tenant: &Tenant, form: Form) -> Result<Response, ApiError> {
    let options = tenant.options();
    let users = form
        .users
        .ok_or_else(|| refusal("Must provide 'users' file as multipart part."))?;
    if users.is_empty() {
        return Err(refusal("Users file must not be empty."));
    }
    let connection_id = form
        .connection_id
        .ok_or_else(|| refusal("Must provide 'connection_id' as multipart part."))?;
    if !is_connection_id(&connection_id) {
        return Err(ApiError::invalid_body(
            "'String does not match pattern ^con_[A-Za-z0-9]{16}$' on property connection_id",
        ));
    }
    let connection = options
        .connection_named(&connection_id)
        .ok_or_else(|| refusal("The connection does not exist."))?;
    if connection != options.connection {
        return Err(refusal("Connection must be a database connection."));
    }
    let import = Import {
        connection: connection.to_owned(),
        connection_id,
        external_id: form.external_id.filter(|id| !id.is_empty()),
        upsert: flag("upsert", form.upsert.as_deref(), false)?,
        mails_completion: flag(
            "send_completion_email",
            form.send_completion_email.as_deref(),
            true,
        )?,
        users,
    };
    let job = tenant
        .jobs
        .add(Work::Import(import), &options, tenant.clock.now())
        .ok_or_else(too_many_active)?;
    Ok(json_response(StatusCode::ACCEPTED, &job))
}

/// The parts of the form that mean something; others are passed over.
#[derive(Debug, Default)]
struct Form {
    users: Option<Bytes>,
    connection_id: Option<String>,
    upsert: Option<String>,
    external_id: Option<String>,
    send_completion_email: Option<String>,
}

impl Form {
    async fn read(content_type: Option<&str>, body: Bytes) -> Result<Self, ApiError> {
        Self::parse(content_type, body)
            .await
            .map_err(|_| ApiError::invalid_body("'Invalid multipart payload format'"))
    }

    async fn parse(content_type: Option<&str>, body: Bytes) -> multer::Result<Self> {
        let boundary = multer::parse_boundary(content_type.unwrap_or_default())?;
        let body = stream::iter([Ok::<_, Infallible>(body)]);
        let mut parts = Multipart::new(body, boundary);
        let mut form = Self::default();
        while let Some(part) = parts.next_field().await? {
            match part.name() {
                Some("users") => form.users = Some(part.bytes().await?),
                Some("connection_id") => form.connection_id = Some(part.text().await?),
                Some("upsert") => form.upsert = Some(part.text().await?),
                Some("external_id") => form.external_id = Some(part.text().await?),
                Some("send_completion_email") => {
                    form.send_completion_email = Some(part.text().await?);
                }
                _ => {}
            }
        }
        Ok(form)
    }
}

fn flag(name: &str, value: Option<&str>, default: bool) -> Result<bool, ApiError> {
    match value {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(ApiError::invalid_body(format_args!(
            "'Expected type boolean but found type string' on property {name}"
        ))),
    }
}

fn refusal(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, None, message)
}

/// A 429 that is not about rate: no reset of any bucket helps, only the end of an import does.
fn too_many_active() -> ApiError {
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        None,
        "There are 2 active import users jobs, please wait until some of them are finished and try again",
    )
}
