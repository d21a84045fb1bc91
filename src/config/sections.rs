//! Each section out of the layers: ranges, what follows from what, and what is missing.

use std::time::Duration;

use url::Url;

use super::{
    Audit, Auth0, Authz, Config, ConfigError, Database, DecisionSink, DirectoryMode, EmailMatch,
    Guard, History, Http, Invitation, InvitationSend, Log, LogFormat, Missing, Reactor, Removal,
    Sweep, Tls, callers::callers, console::console, layers::Layers,
};

const SECOND: Duration = Duration::from_secs(1);

impl Config {
    pub(super) fn read(from: &Layers) -> Result<Self, ConfigError> {
        let base_url = base_url(from)?;
        Ok(Self {
            database: database(from)?,
            auth0: auth0(from, base_url.as_ref())?,
            authz: authz(from, base_url.as_ref())?,
            http: Http {
                listen: from.parsed(
                    "http.listen",
                    "an address and a port, such as 127.0.0.1:8080",
                )?,
                tls: tls(from)?,
                stop_delay: stop_delay(from)?,
            },
            console: console(from)?,
            invitation: Invitation {
                send: from.choice(
                    "invitation.send",
                    &[
                        ("auth0_email", InvitationSend::Auth0Email),
                        ("none", InvitationSend::Nothing),
                    ],
                )?,
                client_id: from.text("invitation.client_id")?,
                per_minute: from.number("invitation.per_minute", 1..=10_000)?,
            },
            guard: Guard {
                window: from.duration("guard.window", SECOND)?,
                removals_min: from.number("guard.removals_min", 0..=1_000_000)?,
                removals_share: from.share("guard.removals_share")?,
                protected: from.list("guard.protected")?,
                min_admins: from.number("guard.min_admins", 0..=1_000_000)?,
                admin_role: from.text("guard.admin_role")?,
            },
            removal: Removal {
                delete_after: from.optional_duration("removal.delete_after", SECOND)?,
                token_lifetime: from.duration("removal.token_lifetime", SECOND)?,
            },
            reactor: Reactor {
                poll_interval: from.duration("reactor.poll_interval", Duration::from_millis(10))?,
                workers: from.number("reactor.workers", 1..=256)?,
                lease: from.duration("reactor.lease", SECOND)?,
            },
            sweep: Sweep {
                every: from.duration("sweep.every", SECOND)?,
            },
            audit: Audit {
                every: from.optional_duration("audit.every", Duration::from_secs(60))?,
            },
            history: History {
                keep: from.duration("history.keep", Duration::from_secs(60))?,
            },
            log: Log {
                format: from.choice(
                    "log.format",
                    &[
                        ("auto", LogFormat::Auto),
                        ("text", LogFormat::Text),
                        ("json", LogFormat::Json),
                    ],
                )?,
                filter: filter(from)?,
            },
        })
    }
}

/// The values, or the keys of those that are not there.
fn all_of<const N: usize>(
    pairs: [(&'static str, Option<String>); N],
) -> Result<[String; N], Missing> {
    let missing: Missing = pairs
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(key, _)| *key)
        .collect();
    if missing.is_empty() {
        Ok(pairs.map(|(_, value)| value.unwrap_or_default()))
    } else {
        Err(missing)
    }
}

fn database(from: &Layers) -> Result<Result<Database, Missing>, ConfigError> {
    let url = from.text("database.url")?;
    let listen_url = from.text("database.listen_url")?;
    let pool_size = from.number("database.pool_size", 2..=1_000)?;
    Ok(all_of([("database.url", url)]).map(|[url]| Database {
        listen_url: listen_url.unwrap_or_else(|| url.clone()).into(),
        url: url.into(),
        pool_size,
    }))
}

fn base_url(from: &Layers) -> Result<Option<Url>, ConfigError> {
    const DOMAIN: &str =
        "the tenant's domain without https:// or a path, such as my-tenant.eu.auth0.com";
    let domain = from.text("auth0.domain")?;
    let from_domain = match &domain {
        None => None,
        Some(domain) => Some(
            Url::parse(&format!("https://{domain}"))
                .ok()
                .filter(|url| url.host_str() == Some(domain.to_ascii_lowercase().as_str()))
                .ok_or_else(|| from.bad("auth0.domain", DOMAIN))?,
        ),
    };
    let given = from.url("auth0.base_url")?;
    if given.as_ref().is_some_and(|url| url.path() != "/") {
        return Err(from.bad("auth0.base_url", "a URL without a path"));
    }
    Ok(given.or(from_domain))
}

fn auth0(from: &Layers, base_url: Option<&Url>) -> Result<Result<Auth0, Missing>, ConfigError> {
    let connection = from.required_text("auth0.connection")?;
    let connection_id = from.text("auth0.connection_id")?;
    let import_jobs = from.choice("auth0.import_jobs", &[("auto", true), ("never", false)])?;
    let budget_share = from.share("auth0.budget_share")?;
    if budget_share == 0.0 {
        return Err(from.bad("auth0.budget_share", "a number above 0, at most 1"));
    }
    let audience = from.text("auth0.audience")?;
    let values = all_of([
        ("auth0.domain", base_url.map(Url::to_string)),
        ("auth0.client_id", from.text("auth0.client_id")?),
        ("auth0.client_secret", from.text("auth0.client_secret")?),
    ]);
    Ok(values.and_then(|[base, client_id, client_secret]| {
        Ok(Auth0 {
            // A URL without a path is written with a slash at its end.
            audience: audience.unwrap_or_else(|| format!("{base}api/v2/")),
            base_url: base_url.cloned().ok_or_else(|| vec!["auth0.domain"])?,
            client_id,
            client_secret: client_secret.into(),
            connection,
            connection_id,
            import_jobs,
            budget_share,
        })
    }))
}

fn authz(from: &Layers, base_url: Option<&Url>) -> Result<Result<Authz, Missing>, ConfigError> {
    from.url("authz.issuer")?;
    let issuer = from
        .text("authz.issuer")?
        .or_else(|| base_url.map(Url::to_string));
    let jwks_url = from.url("authz.jwks_url")?;
    let jwks_url = jwks_url.or_else(|| {
        let issuer = issuer.as_deref()?.trim_end_matches('/');
        Url::parse(&format!("{issuer}/.well-known/jwks.json")).ok()
    });
    let audience = from.list("authz.audience")?;
    let email_claim = from.required_text("authz.email_claim")?;
    let email_match = from.choice(
        "authz.email_match",
        &[
            ("verified", EmailMatch::Verified),
            ("never", EmailMatch::Never),
        ],
    )?;
    let email_match_subjects = from.list("authz.email_match_subjects")?;
    let directory = from.choice(
        "authz.directory",
        &[
            ("memory", DirectoryMode::Memory),
            ("read_through", DirectoryMode::ReadThrough),
        ],
    )?;
    let max_stale = from.duration("authz.max_stale", Duration::ZERO)?;
    let max_token_age = from.optional_duration("authz.max_token_age", SECOND)?;
    let permission_format = from.parsed(
        "authz.permission_format",
        "{action} and {resource type}, each once, with a sign between them that is no part of a name, and nothing behind them, \
         such as {action}:{resource type}",
    )?;
    let callers = callers(from)?;
    let public_url = public_url(from)?;
    let decision_log = decision_log(from)?;
    let decision_log_sample = from.share("authz.decision_log_sample")?;

    let mut missing = Missing::new();
    if audience.is_empty() {
        missing.push("authz.audience");
    }
    let (Some(issuer), Some(jwks_url), false) = (issuer, jwks_url, audience.is_empty()) else {
        if from.text("authz.issuer")?.is_none() && base_url.is_none() {
            missing.insert(0, "authz.issuer");
        }
        return Ok(Err(missing));
    };
    Ok(Ok(Authz {
        issuer,
        audience,
        jwks_url,
        email_claim,
        email_match,
        email_match_subjects,
        directory,
        max_stale,
        max_token_age,
        permission_format,
        callers,
        public_url,
        decision_log,
        decision_log_sample,
    }))
}

fn decision_log(from: &Layers) -> Result<DecisionSink, ConfigError> {
    const KEY: &str = "authz.decision_log";
    match from.required_text(KEY)?.as_str() {
        "off" => Ok(DecisionSink::Off),
        "stdout" => Ok(DecisionSink::Stdout),
        // So that a word that is misspelt is no file.
        path if path.contains('/') => Ok(DecisionSink::File(path.into())),
        _ => Err(from.bad(KEY, "off, stdout, or a file's path with a / in it")),
    }
}

/// With the open requests after it, a stop ends within half a minute all the same.
fn stop_delay(from: &Layers) -> Result<Duration, ConfigError> {
    const KEY: &str = "http.stop_delay";
    let delay = from.duration(KEY, Duration::ZERO)?;
    if delay > Duration::from_secs(15) {
        return Err(from.bad(KEY, "a duration such as 5s, at most 15s"));
    }
    Ok(delay)
}

fn tls(from: &Layers) -> Result<Option<Tls>, ConfigError> {
    const KEYS: [&str; 2] = ["http.tls.certificate", "http.tls.key"];
    match (from.text(KEYS[0])?, from.text(KEYS[1])?) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(Tls {
            certificate: certificate.into(),
            key: key.into(),
        })),
        (None, Some(_)) => Err(from.bad(KEYS[0], "a PEM file, since http.tls.key is set")),
        (Some(_), None) => Err(from.bad(KEYS[1], "a PEM file, since http.tls.certificate is set")),
    }
}

/// Kept as it was written: whoever discovers the server compares it with the address it asked.
fn public_url(from: &Layers) -> Result<Option<String>, ConfigError> {
    let url = from.url("authz.public_url")?;
    if url.is_some_and(|url| url.scheme() != "https") {
        return Err(from.bad("authz.public_url", "an https:// URL"));
    }
    from.text("authz.public_url")
}

fn filter(from: &Layers) -> Result<String, ConfigError> {
    let filter = from.required_text("log.filter")?;
    match tracing_subscriber::EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(_) => Err(from.bad(
            "log.filter",
            "a level or directives, such as info or warn,roster=debug",
        )),
    }
}
