//! Runs the tenant's post-login Action: the very JavaScript that a user would paste into Auth0.
//!
//! `event` and `api` hold what Auth0 documents (explore-triggers/post-login) as far as tokens go: claims and denial.
//! Anything else an Action might call is absent and fails the login, as a mistake in an Action does at Auth0.

use std::time::{Duration, Instant};

use rquickjs::{CatchResultExt, Context, Function, Object, Promise, Runtime, Value as JsValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    grants::{Authorization, CustomClaims},
    profile::User,
    tenant::{Guard, Tenant},
};

/// How long an Action may run. Auth0 allows 20 s, network included; ours has no network.
const TIME: Duration = Duration::from_secs(2);
/// How much memory it may take, in bytes.
const MEMORY: usize = 32 * 1024 * 1024;

/// Why a login did not go through.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActionError {
    /// The Action said no, for this reason.
    #[error("the action denied the login")]
    Denied(String),
    /// The Action threw, or is no JavaScript.
    #[error("the action failed: {0}")]
    Failed(String),
}

/// Runs the Action for a user who has just logged in, and returns the claims it wants.
///
/// Takes a few milliseconds of processor time.
///
/// # Errors
/// [`ActionError`]: either way there is no login.
pub(super) fn run(
    tenant: &Tenant,
    authorization: &Authorization,
    user: &User,
) -> Result<CustomClaims, ActionError> {
    let options = tenant.options();
    let Some(source) = options.action_source() else {
        return Ok(CustomClaims::default());
    };
    execute(source, &event(tenant, authorization, user))
}

/// What the harness hands back.
#[derive(Deserialize)]
struct Outcome {
    access: serde_json::Map<String, Value>,
    id: serde_json::Map<String, Value>,
    denied: Option<String>,
}

/// Calls the Action with an `api` that notes what it is asked for. Like Auth0's, every setter returns the `api`.
const HARNESS: &str = r"(async (action, eventText) => {
  const noted = { access: {}, id: {}, denied: null };
  const setter = (claims) => ({ setCustomClaim(name, value) { claims[name] = value; return api; } });
  const api = {
    accessToken: setter(noted.access),
    idToken: setter(noted.id),
    access: { deny(reason) { noted.denied ??= String(reason); return api; } },
  };
  await action(JSON.parse(eventText), api);
  return JSON.stringify(noted);
})";

fn execute(source: &str, event: &Value) -> Result<CustomClaims, ActionError> {
    let failed = |error: &dyn std::fmt::Display| ActionError::Failed(error.to_string());
    let runtime = Runtime::new().map_err(|error| failed(&error))?;
    runtime.set_memory_limit(MEMORY);
    let started = Instant::now();
    runtime.set_interrupt_handler(Some(Box::new(move || started.elapsed() > TIME)));
    let context = Context::full(&runtime).map_err(|error| failed(&error))?;
    let noted: String = context.with(|ctx| {
        let work = || -> rquickjs::Result<String> {
            // The module's first line stays the first line, so that errors name the right one.
            let load: Function = ctx.eval(format!(
                "(function (exports, module, console) {{ {source}\n}})"
            ))?;
            let exports = Object::new(ctx.clone())?;
            let module = Object::new(ctx.clone())?;
            module.set("exports", exports.clone())?;
            let console: JsValue = ctx.eval("({ log() {}, warn() {}, error() {}, info() {} })")?;
            load.call::<_, ()>((exports, module.clone(), console))?;
            let exports: Object = module.get("exports")?;
            let action: Function = exports.get("onExecutePostLogin")?;
            let harness: Function = ctx.eval(HARNESS)?;
            let noted: Promise = harness.call((action, event.to_string()))?;
            noted.finish()
        };
        work().catch(&ctx).map_err(|error| failed(&error))
    })?;
    let outcome: Outcome = serde_json::from_str(&noted).map_err(|error| failed(&error))?;
    match outcome.denied {
        Some(reason) => Err(ActionError::Denied(reason)),
        None => Ok(CustomClaims {
            access_token: outcome.access,
            id_token: outcome.id,
        }),
    }
}

fn event(tenant: &Tenant, authorization: &Authorization, user: &User) -> Value {
    let mut shown = json!(user);
    // Actions always see both, if only as empty objects.
    for key in ["app_metadata", "user_metadata"] {
        if shown.get(key).is_none() {
            shown[key] = json!({});
        }
    }
    let connection = user.identities.first();
    let roles: Vec<String> = {
        let rbac = tenant.rbac.guard();
        let names = rbac.roles_of(&user.user_id).map(|role| role.name.clone());
        names.collect()
    };
    json!({
        "user": shown,
        "authorization": {"roles": roles},
        "client": {"client_id": authorization.client_id, "name": authorization.client_id, "metadata": {}},
        "connection": {
            "name": connection.map(|identity| identity.connection.as_str()),
            "strategy": connection.map(|identity| identity.provider.as_str()),
            "metadata": {},
        },
        "request": {"ip": "127.0.0.1", "method": "POST", "hostname": tenant.base_url, "query": {}, "body": {}, "geoip": {}},
        "resource_server": authorization.audience.as_ref().map(|audience| json!({"identifier": audience})),
        "stats": {"logins_count": user.logins_count.unwrap_or(0)},
        "tenant": {"id": "emulator"},
        "transaction": {
            "protocol": "oidc-basic-profile",
            "requested_scopes": authorization.scope.split(' ').collect::<Vec<_>>(),
            "redirect_uri": authorization.redirect_uri,
            "state": authorization.state,
        },
        "secrets": {},
        "configuration": {},
    })
}

#[cfg(test)]
mod tests {
    use super::{super::options::SHIPPED_ACTION, *};

    fn denied(source: &str) -> ActionError {
        execute(source, &json!({"user": {}})).unwrap_err()
    }

    #[test]
    fn the_shipped_action_copies_role_permissions_and_the_verified_address() {
        let event = json!({"user": {
            "email": "ann@a.test", "email_verified": true,
            "app_metadata": {"role": "Artist", "permissions": ["read:songs"]},
        }});
        let claims = execute(SHIPPED_ACTION, &event).unwrap();
        let expected = json!({
            "https://roster.dev/role": "Artist", "https://roster.dev/permissions": ["read:songs"],
            "https://roster.dev/email": "ann@a.test", "https://roster.dev/email_verified": true,
        });
        assert_eq!(Value::from(claims.access_token), expected);
        assert_eq!(claims.id_token["https://roster.dev/role"], "Artist");
    }

    #[test]
    fn the_shipped_action_says_nothing_of_what_is_not_there() {
        let event = json!({"user": {"app_metadata": {}}});
        let claims = execute(SHIPPED_ACTION, &event).unwrap();
        assert_eq!(claims, CustomClaims::default());
    }

    #[test]
    fn an_action_may_deny() {
        let error =
            denied("exports.onExecutePostLogin = async (e, api) => { api.access.deny('no'); };");
        assert!(matches!(error, ActionError::Denied(reason) if reason == "no"));
    }

    #[test]
    fn an_action_that_throws_or_never_ends_fails_the_login() {
        for source in [
            "exports.onExecutePostLogin = async () => { throw new Error('oops'); };",
            "exports.onExecutePostLogin = async () => { for (;;) {} };",
            "exports.onExecutePostLogin = async () => { await new Promise(() => {}); };",
            "exports.somethingElse = 1;",
            "this is not JavaScript",
        ] {
            assert!(matches!(denied(source), ActionError::Failed(_)), "{source}");
        }
    }
}
