//! `console.*`: who may log in to the console, and from where.

use std::{net::SocketAddr, time::Duration};

use secrecy::SecretString;
use url::Url;

use super::{ConfigError, callers::sha256, layers::Layers};

/// Characters of a session key: what it signs is as good as it is long.
const SHORTEST_KEY: usize = 32;
const SHORTEST_SESSION: Duration = Duration::from_secs(60);

/// The console of one server.
#[derive(Debug, Clone)]
pub struct Console {
    /// Where browsers reach the server, without a path; none: where it listens, on this machine.
    pub url: Option<Url>,
    /// The log-in with Auth0.
    pub login: Option<Login>,
    /// Of the token that opens the console without Auth0.
    pub break_glass_sha256: Option<[u8; 32]>,
    /// What sessions are signed with; none: drawn at the start.
    pub session_key: Option<SecretString>,
    /// How long a log-in lasts.
    pub session: Duration,
}

/// The Auth0 application people log in to.
#[derive(Debug, Clone)]
pub struct Login {
    /// Its id.
    pub client_id: String,
    /// Its secret; none of a public client.
    pub client_secret: Option<SecretString>,
}

pub(super) fn console(from: &Layers) -> Result<Option<Console>, ConfigError> {
    let client_secret = from.text("console.client_secret")?;
    let login = from.text("console.client_id")?.map(|client_id| Login {
        client_id,
        client_secret: client_secret.map(SecretString::from),
    });
    let break_glass_sha256 = break_glass(from)?;
    let url = from.url("console.url")?;
    if url.as_ref().is_some_and(|url| url.path() != "/") {
        return Err(from.bad("console.url", "a URL without a path"));
    }
    let session = from.duration("console.session", SHORTEST_SESSION)?;
    let session_key = session_key(from)?;
    if login.is_none() && break_glass_sha256.is_none() {
        return Ok(None);
    }
    let listen: Option<SocketAddr> = from.text("http.listen")?.and_then(|text| text.parse().ok());
    let is_here = listen.is_some_and(|listen| listen.ip().is_loopback());
    if url.is_none() && (!is_here || from.text("http.tls.certificate")?.is_some()) {
        let expected = "the URL where browsers reach this server, such as https://roster.example.com, since http.listen is not plain HTTP \
                        on this machine";
        return Err(from.bad("console.url", expected));
    }
    Ok(Some(Console {
        url,
        login,
        break_glass_sha256,
        session_key,
        session,
    }))
}

fn break_glass(from: &Layers) -> Result<Option<[u8; 32]>, ConfigError> {
    const KEY: &str = "console.break_glass_sha256";
    let Some(digits) = from.text(KEY)? else {
        return Ok(None);
    };
    let hash = sha256(&digits);
    hash.map(Some)
        .ok_or_else(|| from.bad(KEY, "a SHA-256 in 64 hexadecimal digits"))
}

fn session_key(from: &Layers) -> Result<Option<SecretString>, ConfigError> {
    const KEY: &str = "console.session_key";
    match from.text(KEY)? {
        Some(key) if key.len() < SHORTEST_KEY => Err(from.bad(
            KEY,
            format!("a secret of at least {SHORTEST_KEY} characters"),
        )),
        key => Ok(key.map(SecretString::from)),
    }
}
