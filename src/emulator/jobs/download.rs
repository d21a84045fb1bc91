//! The links to the files of exports: signed, good for a minute, made anew at each look at the job.
//!
//! Auth0's lead to another host, which asks for no token and knows nothing of the Management API; so these lead out of
//! `/api/v2/`, count against no limit, and are refused in XML, as object stores do.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use warp::{
    Filter, Reply,
    filters::BoxedFilter,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use super::file;
use crate::emulator::{grants::secret, options::ExportFile, tenant::Tenant};

/// How long a link is good for (docs: 60 seconds).
const GOOD_FOR: SignedDuration = SignedDuration::from_secs(60);

type Parameters = HashMap<String, String>;

/// A new link to the file of the export `id`.
pub(super) fn link(tenant: &Tenant, id: &str) -> String {
    let expires_at = tenant.clock.now().saturating_add(GOOD_FOR);
    let expires = expires_at.unwrap_or(Timestamp::MAX).as_millisecond();
    let nonce = secret();
    let tag = hmac::sign(&tenant.jobs.key, &signed_text(id, expires, &nonce));
    let signature = URL_SAFE_NO_PAD.encode(tag);
    format!(
        "{}/_exports/{id}/users.gz?Expires={expires}&Nonce={nonce}&Signature={signature}",
        tenant.base_url
    )
}

/// The route of this part.
pub(super) fn route(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    let tenant = tenant.clone();
    warp::path!("_exports" / String / "users.gz")
        .and(warp::get())
        .and(warp::query::<Parameters>())
        .map(move |id: String, query: Parameters| download(&tenant, &id, &query))
        .boxed()
}

fn download(tenant: &Tenant, id: &str, query: &Parameters) -> Response {
    let now = tenant.clock.now();
    if !is_signed(tenant, id, query, now) {
        return refusal(StatusCode::FORBIDDEN, "AccessDenied");
    }
    let Some((export, whole)) = tenant.jobs.file(id, now) else {
        return refusal(StatusCode::NOT_FOUND, "NoSuchKey");
    };
    let file = match tenant.options().jobs.export_file {
        ExportFile::Whole => whole,
        ExportFile::Truncated => whole.slice(..whole.len() / 2),
        ExportFile::Empty => file::write_empty(&export)
            .map(Bytes::from)
            .unwrap_or_default(),
    };
    let mut response = Response::new(file.into());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/gzip"),
    );
    response
}

fn is_signed(tenant: &Tenant, id: &str, query: &Parameters, now: Timestamp) -> bool {
    let field = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let (Ok(expires), Ok(signature)) = (
        field("Expires").parse::<i64>(),
        URL_SAFE_NO_PAD.decode(field("Signature")),
    ) else {
        return false;
    };
    let text = signed_text(id, expires, field("Nonce"));
    now.as_millisecond() < expires && hmac::verify(&tenant.jobs.key, &text, &signature).is_ok()
}

fn signed_text(id: &str, expires: i64, nonce: &str) -> Vec<u8> {
    format!("{id}\n{expires}\n{nonce}").into_bytes()
}

fn refusal(status: StatusCode, code: &str) -> Response {
    let body =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code></Error>");
    let reply = warp::reply::with_header(body, header::CONTENT_TYPE, "application/xml");
    warp::reply::with_status(reply, status).into_response()
}
