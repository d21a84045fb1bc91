//! How people log in and out: `/authorize`, the login page's two forms and `/v2/logout`.
//!
//! Authorization code with PKCE (RFC 6749 section 4.1, RFC 7636). No browser session is kept, so every `/authorize` shows
//! the page. Everything here can be driven by plain form posts, as the tour and the tests do.

use std::{collections::HashMap, sync::Arc};

use warp::{
    Filter, Reply,
    filters::BoxedFilter,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use super::{
    action::{self, ActionError},
    grants::{Authorization, Login},
    journal::Event,
    options::Options,
    pages,
    profile::{Identity, User},
    rules::GOOGLE,
    tenant::{Guard, SharedGuard, Tenant},
    validate::is_email,
};
use crate::http::first_of;

type Parameters = HashMap<String, String>;

/// The routes of this part.
pub(super) fn routes(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    let with_tenant = {
        let tenant = tenant.clone();
        warp::any().map(move || tenant.clone())
    };
    let authorize = warp::path!("authorize")
        .and(warp::get())
        .and(with_tenant.clone())
        .and(warp::query::<Parameters>())
        .map(|tenant: Arc<Tenant>, query: Parameters| authorize(&tenant, query));
    let with_password = warp::path!("u" / "login")
        .and(warp::post())
        .and(with_tenant.clone())
        .and(warp::body::form::<Parameters>())
        .then(|tenant: Arc<Tenant>, form: Parameters| {
            blocking(move || log_in(&tenant, &form, with_password, "pwd"))
        });
    let with_google = warp::path!("u" / "login" / "google")
        .and(warp::post())
        .and(with_tenant.clone())
        .and(warp::body::form::<Parameters>())
        .then(|tenant: Arc<Tenant>, form: Parameters| {
            blocking(move || log_in(&tenant, &form, with_google, "federated"))
        });
    let logout = warp::path!("v2" / "logout")
        .and(warp::get())
        .and(with_tenant)
        .and(warp::query::<Parameters>())
        .map(|tenant: Arc<Tenant>, query: Parameters| logout(&tenant, &query));
    first_of([
        authorize.boxed(),
        with_password.boxed(),
        with_google.boxed(),
        logout.boxed(),
    ])
}

/// The Action takes milliseconds of processor time; other requests need not wait for it.
async fn blocking(work: impl FnOnce() -> Response + Send + 'static) -> Response {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn authorize(tenant: &Tenant, mut query: Parameters) -> Response {
    let options = tenant.options();
    let mut take = |name: &str| query.remove(name).filter(|value| !value.is_empty());
    // Until the client and its callback are known, errors are shown and never sent anywhere (RFC 6749 section 4.1.2.1).
    if take("client_id").as_ref() != Some(&options.app.client_id) {
        return pages::message(
            StatusCode::BAD_REQUEST,
            "Unknown client",
            "No application has this client_id.",
        );
    }
    let redirect_uri = match take("redirect_uri") {
        Some(uri) if may_redirect(&options, &uri) => uri,
        _ => {
            return pages::message(
                StatusCode::FORBIDDEN,
                "Callback URL mismatch",
                "The redirect_uri is neither on this machine nor among the application's callbacks.",
            );
        }
    };
    let state = take("state");
    let refuse = |error: &str, description: &str| {
        redirect_with(
            &redirect_uri,
            &[
                ("error", Some(error)),
                ("error_description", Some(description)),
                ("state", state.as_deref()),
            ],
        )
    };
    if take("response_type").as_deref() != Some("code") {
        return refuse(
            "unsupported_response_type",
            "Only response_type=code is supported",
        );
    }
    let code_challenge = take("code_challenge");
    if code_challenge.is_some() && take("code_challenge_method").as_deref() != Some("S256") {
        return refuse(
            "invalid_request",
            "Only code_challenge_method=S256 is supported",
        );
    }
    if code_challenge.is_none() && options.app.client_secret.is_none() {
        return refuse(
            "invalid_request",
            "Parameter 'code_challenge' is required for public clients",
        );
    }
    let audience = take("audience");
    if audience
        .as_ref()
        .is_some_and(|audience| !options.audiences.contains(audience))
    {
        return refuse("access_denied", "Service not found");
    }
    if take("prompt").as_deref() == Some("none") {
        return refuse("login_required", "Login required");
    }
    let authorization = Authorization {
        client_id: options.app.client_id.clone(),
        nonce: take("nonce"),
        scope: granted(&options, &take("scope").unwrap_or_default()),
        audience,
        code_challenge,
        state: state.clone(),
        redirect_uri: redirect_uri.clone(),
    };
    let hint = take("login_hint").unwrap_or_default();
    let transaction = tenant
        .grants
        .guard()
        .begin(authorization, tenant.clock.now());
    pages::login(StatusCode::OK, &transaction, &hint, None)
}

/// The scopes that exist, of those asked for.
fn granted(options: &Options, asked: &str) -> String {
    const OPENID: &[&str] = &[
        "openid",
        "profile",
        "email",
        "address",
        "phone",
        "offline_access",
    ];
    let exists = |scope: &&str| {
        OPENID.contains(scope) || options.api_scopes.iter().any(|known| known == scope)
    };
    asked
        .split(' ')
        .filter(exists)
        .collect::<Vec<_>>()
        .join(" ")
}

/// How a form proves who somebody is; an error is shown on the page.
type Proof = fn(&Tenant, &Options, &Parameters) -> Result<Arc<User>, &'static str>;

/// `method` names the proof in the session.
fn log_in(tenant: &Tenant, form: &Parameters, prove: Proof, method: &'static str) -> Response {
    let transaction = form.get("state").map(String::as_str).unwrap_or_default();
    let authorization = tenant
        .grants
        .guard()
        .transaction(transaction, tenant.clock.now())
        .cloned();
    let Some(authorization) = authorization else {
        return pages::message(
            StatusCode::BAD_REQUEST,
            "This login has ended",
            "Go back to the application and start again.",
        );
    };
    let user = match prove(tenant, &tenant.options(), form) {
        Ok(user) => user,
        Err(error) => {
            let email = form.get("email").map(String::as_str).unwrap_or_default();
            return pages::login(StatusCode::BAD_REQUEST, transaction, email, Some(error));
        }
    };
    tenant.grants.guard().end(transaction);
    // A login moves these even if it is refused in the end.
    let now = tenant.clock.now();
    let user = tenant
        .directory
        .write_guard()
        .update(&user.user_id, now, |user| {
            user.last_login = Some(now);
            user.last_ip = Some("127.0.0.1".into());
            user.logins_count = Some(user.logins_count.unwrap_or(0) + 1);
        })
        .unwrap_or(user);

    let back = |parameters: &[(&str, Option<&str>)]| {
        let mut parameters = parameters.to_vec();
        parameters.push(("state", authorization.state.as_deref()));
        redirect_with(&authorization.redirect_uri, &parameters)
    };
    let client_id = authorization.client_id.as_str();
    if user.is_blocked() {
        tenant.note(Event::FailedLogin, &user, Some(client_id));
        return back(&[
            ("error", Some("unauthorized")),
            ("error_description", Some("user is blocked")),
        ]);
    }
    let claims = match action::run(tenant, &authorization, &user) {
        Ok(claims) => claims,
        Err(ActionError::Denied(reason)) => {
            return back(&[
                ("error", Some("access_denied")),
                ("error_description", Some(&reason)),
            ]);
        }
        Err(error @ ActionError::Failed(_)) => {
            let reason = error.to_string();
            return back(&[
                ("error", Some("access_denied")),
                ("error_description", Some(&reason)),
            ]);
        }
    };
    tenant.note(Event::Login, &user, Some(client_id));
    let sid = tenant
        .sessions
        .guard()
        .open(&user.user_id, client_id, method, now);
    let login = Login {
        authorization: authorization.clone(),
        user_id: user.user_id.clone(),
        sid,
        claims,
    };
    let code = tenant.grants.guard().issue_code(login, now);
    back(&[("code", Some(&code))])
}

fn with_password(
    tenant: &Tenant,
    options: &Options,
    form: &Parameters,
) -> Result<Arc<User>, &'static str> {
    const WRONG: &str = "Wrong email or password.";
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let email = field("email").to_lowercase();
    let (user, password) =
        {
            let directory = tenant.directory.read_guard();
            // Who logs in with a linked account is the primary one.
            match directory.find(&options.connection, &email) {
                Some(user) => Some((user.clone(), user.password.clone())),
                None => directory.linked.find(&options.connection, &email).and_then(
                    |(primary, linked)| {
                        Some((directory.get(primary)?.clone(), linked.password.clone()))
                    },
                ),
            }
        }
        .ok_or(WRONG)?;
    let client_id = Some(options.app.client_id.as_str());
    if tenant.brute_force.guard().is_blocked(&user.user_id) {
        tenant.note(Event::BruteForce, &user, client_id);
        return Err("Your account has been blocked after multiple consecutive login attempts.");
    }
    if !password.is_some_and(|password| password.is(field("password"))) {
        tenant.brute_force.guard().fail(&user.user_id);
        tenant.note(Event::WrongPassword, &user, client_id);
        return Err(WRONG);
    }
    tenant.brute_force.guard().lift(&user.user_id);
    Ok(user)
}

/// Whoever says so is the owner of a Google account; Auth0 makes its user at the first login.
fn with_google(tenant: &Tenant, _: &Options, form: &Parameters) -> Result<Arc<User>, &'static str> {
    let email = form
        .get("email")
        .filter(|email| is_email(email))
        .ok_or("That is no e-mail address.")?;
    let verified = form
        .get("email_verified")
        .is_some_and(|value| value == "true");
    let now = tenant.clock.now();
    let mut directory = tenant.directory.write_guard();
    if let Some((primary, _)) = directory.linked.find(GOOGLE, email) {
        return directory
            .get(primary)
            .cloned()
            .ok_or("That account is gone.");
    }
    if let Some(user_id) = directory
        .find(GOOGLE, email)
        .filter(|user| !user.is_database_user())
        .map(|user| user.user_id.clone())
    {
        return directory
            .update(&user_id, now, |user| user.email_verified = verified)
            .ok_or("That account is gone.");
    }
    let mut user = User::new(
        Identity {
            connection: GOOGLE.into(),
            user_id: google_id(),
            provider: GOOGLE.into(),
            is_social: true,
            profile_data: None,
        },
        now,
    );
    user.email = Some(email.clone());
    user.email_verified = verified;
    user.name = form.get("name").filter(|name| !name.is_empty()).cloned();
    user.fill_defaults();
    Ok(directory.insert(user, now))
}

/// Google's ids are 21 digits.
fn google_id() -> String {
    format!("1{:020}", rand::random::<u64>())
}

fn logout(tenant: &Tenant, query: &Parameters) -> Response {
    match query.get("returnTo") {
        Some(uri) if may_redirect(&tenant.options(), uri) => redirect_with(uri, &[]),
        Some(_) => pages::message(
            StatusCode::BAD_REQUEST,
            "Logged out",
            "The returnTo URL is not allowed.",
        ),
        None => pages::message(StatusCode::OK, "Logged out", "OK"),
    }
}

/// The configured callbacks, and whatever is on this machine (RFC 8252 section 7.3).
fn may_redirect(options: &Options, uri: &str) -> bool {
    if options.app.callbacks.iter().any(|callback| callback == uri) {
        return true;
    }
    url::Url::parse(uri).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && match url.host() {
                Some(url::Host::Domain(name)) => name == "localhost",
                Some(url::Host::Ipv4(address)) => address.is_loopback(),
                Some(url::Host::Ipv6(address)) => address.is_loopback(),
                None => false,
            }
    })
}

fn redirect_with(uri: &str, parameters: &[(&str, Option<&str>)]) -> Response {
    let Ok(mut url) = url::Url::parse(uri) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let given: Vec<_> = parameters
        .iter()
        .filter_map(|(name, value)| Some((*name, (*value)?)))
        .collect();
    if !given.is_empty() {
        url.query_pairs_mut().extend_pairs(given);
    }
    let Ok(location) = HeaderValue::from_str(url.as_str()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut response = StatusCode::FOUND.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
