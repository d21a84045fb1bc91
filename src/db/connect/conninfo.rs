//! libpq's connection strings, mapped to what tokio-postgres can do.
//!
//! tokio-postgres reads a part of libpq's keys, calls `tcp_user_timeout` seconds where libpq says milliseconds, and
//! knows nothing of certificates. So every key is read here and set by hand. The list of keys and their meaning is
//! PostgreSQL's documentation, section 34.1.2 "Parameter Key Words".

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{
    ChannelBinding, Config, Host, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{TCP_CONNECT_TIMEOUT, UrlError, pairs::key_values, passfile, tls};

/// Every key that [`Draft::set`] has an arm for.
const KEYS: &[&str] = &[
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "passfile",
    "password",
    "port",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcompression",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Keys of libpq's that would be dangerous or pointless to ignore, each with what to do.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("gssdelegation", "take it out: GSSAPI is not available"),
    ("gsslib", "take it out: GSSAPI is not available"),
    ("krbsrvname", "take it out: GSSAPI is not available"),
    ("replication", "take it out: Roster opens ordinary sessions"),
    (
        "require_auth",
        "take it out, and use sslmode=verify-full to be sure of the server",
    ),
    (
        "requirepeer",
        "take it out, or connect by TCP with sslmode=verify-full",
    ),
    (
        "service",
        "write the service's settings into the connection string",
    ),
    (
        "servicefile",
        "write the service's settings into the connection string",
    ),
    (
        "ssl_max_protocol_version",
        "take it out: TLS 1.2 and 1.3 are used",
    ),
    (
        "sslcertmode",
        "take it out: a certificate is sent when sslcert and sslkey are given",
    ),
    ("sslcrl", "take it out: revocation lists are not read"),
    ("sslcrldir", "take it out: revocation lists are not read"),
    (
        "sslkeylogfile",
        "take it out: session keys are never written down",
    ),
    (
        "sslpassword",
        "store the key without a pass phrase, readable by Roster alone",
    ),
];

pub(super) fn parse(text: &str) -> Result<(Config, MakeRustlsConnect), UrlError> {
    let text = text.trim();
    let mut draft = Draft::default();
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        draft.read_url(text)?;
    } else if text
        .split('=')
        .next()
        .is_some_and(|head| head.contains("://"))
    {
        return Err(UrlError::Malformed {
            what: "a URL starts with postgres:// or postgresql://",
        });
    } else {
        for (key, value) in key_values(text)? {
            draft.set(&key, &value)?;
        }
    }
    draft.finish()
}

/// What has been read so far; [`Draft::finish`] fills the gaps and checks what depends on each other.
#[derive(Default)]
struct Draft {
    config: Config,
    hosts: Vec<Host>,
    ports: Vec<u16>,
    fallback_name: Option<String>,
    connect_timeout: Option<Duration>,
    tcp_user_timeout: Option<Duration>,
    keepalives_idle: Option<Duration>,
    keepalives_interval: Option<Duration>,
    keepalives_count: Option<u32>,
    target: Option<TargetSessionAttrs>,
    passfile: Option<PathBuf>,
    sslmode: Option<Mode>,
    tls: tls::Settings,
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Draft {
    /// `scheme://user:password@host:port,host:port/dbname?key=value&…`
    fn read_url(&mut self, text: &str) -> Result<(), UrlError> {
        // Credentials end at the first `@` that no `/` precedes, and may hold a `?`.
        let scheme = text.find("://").map_or(0, |at| at + 3);
        let credentials = match text[scheme..].find(['@', '/']) {
            Some(at) if text[scheme + at..].starts_with('@') => scheme + at + 1,
            _ => scheme,
        };
        let (base, query) = match text[credentials..].find('?') {
            Some(at) => (&text[..credentials + at], &text[credentials + at + 1..]),
            None => (text, ""),
        };

        // tokio-postgres reads the part before the `?` as libpq does. Its error may not quote the text, ours does not.
        let read: Config = base.parse().map_err(|_| UrlError::Malformed {
            what: "expected postgres://user:password@host:port/database?key=value; percent-encode special characters \
                   in user, password and database",
        })?;
        if let Some(user) = read.get_user() {
            self.config.user(user);
        }
        if let Some(password) = read.get_password() {
            self.config.password(password);
        }
        if let Some(dbname) = read.get_dbname() {
            self.config.dbname(dbname);
        }
        self.hosts = read.get_hosts().to_vec();
        self.ports = read.get_ports().to_vec();
        if self
            .hosts
            .iter()
            .any(|host| matches!(host, Host::Tcp(name) if name.contains('@')))
        {
            return Err(UrlError::Malformed {
                what: "there is an `@` too many; write an `@` in user or password as %40",
            });
        }

        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or(UrlError::Malformed {
                what: "after the `?` every key needs `=` and a value",
            })?;
            let [key, value] = [key, value].map(|part| percent_decode_str(part).decode_utf8());
            let (Ok(key), Ok(value)) = (key, value) else {
                return Err(UrlError::Malformed {
                    what: "percent-encoded text after the `?` is not UTF-8",
                });
            };
            self.set(&key, &value)?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), UrlError> {
        match key {
            "user" => drop(self.config.user(value)),
            "password" => drop(self.config.password(value)),
            "dbname" => drop(self.config.dbname(value)),
            "options" => drop(self.config.options(value)),
            "application_name" => drop(self.config.application_name(value)),
            "fallback_application_name" => self.fallback_name = Some(value.to_owned()),
            "passfile" => self.passfile = Some(value.into()),
            "host" => self.hosts = value.split(',').map(host).collect(),
            "hostaddr" => {
                for part in value.split(',') {
                    let addr = part
                        .parse()
                        .map_err(|_| bad("hostaddr", "IP addresses separated by commas"))?;
                    self.config.hostaddr(addr);
                }
            }
            "port" => {
                let port = |part: &str| {
                    if part.is_empty() {
                        Ok(5432)
                    } else {
                        part.parse()
                    }
                };
                self.ports = value
                    .split(',')
                    .map(port)
                    .collect::<Result<_, _>>()
                    .map_err(|_| bad("port", "numbers from 1 to 65535 separated by commas"))?;
            }
            "connect_timeout" => self.connect_timeout = seconds("connect_timeout", value)?,
            "keepalives" => drop(self.config.keepalives(number("keepalives", value)? != 0)),
            "keepalives_idle" => self.keepalives_idle = seconds("keepalives_idle", value)?,
            "keepalives_interval" => {
                self.keepalives_interval = seconds("keepalives_interval", value)?
            }
            "keepalives_count" => {
                let count = u32::try_from(number("keepalives_count", value)?);
                self.keepalives_count = count.ok().filter(|&count| count > 0);
            }
            "tcp_user_timeout" => {
                let millis = u64::try_from(number("tcp_user_timeout", value)?);
                self.tcp_user_timeout = millis
                    .ok()
                    .filter(|&millis| millis > 0)
                    .map(Duration::from_millis);
            }
            "target_session_attrs" => self.target = Some(target(value)?),
            "load_balance_hosts" => drop(self.config.load_balance_hosts(match value {
                "disable" => LoadBalanceHosts::Disable,
                "random" => LoadBalanceHosts::Random,
                _ => return Err(bad("load_balance_hosts", "disable or random")),
            })),
            "channel_binding" => drop(self.config.channel_binding(match value {
                "disable" => ChannelBinding::Disable,
                "prefer" => ChannelBinding::Prefer,
                "require" => ChannelBinding::Require,
                _ => return Err(bad("channel_binding", "disable, prefer or require")),
            })),
            "client_encoding" => {
                if !["auto", "utf8", "utf-8", "unicode"]
                    .contains(&value.to_ascii_lowercase().as_str())
                {
                    return Err(bad("client_encoding", "UTF8, the only one Roster speaks"));
                }
            }
            "gssencmode" => {
                if !["disable", "prefer"].contains(&value) {
                    return Err(bad(
                        "gssencmode",
                        "disable or prefer; encryption comes from TLS (sslmode)",
                    ));
                }
            }
            "sslmode" => self.sslmode = Some(mode(value)?),
            "sslnegotiation" => match value {
                "postgres" => self.tls.direct = false,
                "direct" => self.tls.direct = true,
                _ => return Err(bad("sslnegotiation", "postgres or direct")),
            },
            "sslrootcert" => self.tls.root = Some(value.into()),
            "sslcert" => self.tls.certificate = Some(value.into()),
            "sslkey" => self.tls.key = Some(value.into()),
            "sslsni" => self.tls.no_sni = number("sslsni", value)? == 0,
            "sslcompression" => {
                if value != "0" {
                    return Err(bad(
                        "sslcompression",
                        "0; compressed TLS is unsafe and gone",
                    ));
                }
            }
            "ssl_min_protocol_version" => match value {
                "" | "TLSv1" | "TLSv1.1" | "TLSv1.2" => self.tls.only_13 = false,
                "TLSv1.3" => self.tls.only_13 = true,
                _ => return Err(bad("ssl_min_protocol_version", "TLSv1.2 or TLSv1.3")),
            },
            _ => return Err(refuse(key)),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(Config, MakeRustlsConnect), UrlError> {
        self.place()?;
        let config = &mut self.config;
        if config.get_application_name().is_none() {
            config.application_name(self.fallback_name.as_deref().unwrap_or("roster"));
        }
        config
            .connect_timeout(self.connect_timeout.unwrap_or(TCP_CONNECT_TIMEOUT))
            .tcp_user_timeout(self.tcp_user_timeout.unwrap_or(Duration::from_secs(20)))
            .keepalives_idle(self.keepalives_idle.unwrap_or(Duration::from_secs(15)))
            .keepalives_interval(self.keepalives_interval.unwrap_or(Duration::from_secs(5)))
            .keepalives_retries(self.keepalives_count.unwrap_or(3));

        let places = config.get_hosts().len().max(config.get_hostaddrs().len());
        let default = if places > 1 {
            TargetSessionAttrs::ReadWrite
        } else {
            TargetSessionAttrs::Any
        };
        config.target_session_attrs(self.target.unwrap_or(default));

        if config.get_password().is_none()
            && let Some(path) = &self.passfile
            && let Some(password) = passfile::password(path, config)?
        {
            config.password(password);
        }

        let mode = self.encryption()?;
        let tls = tls::connector(&self.tls)?;
        if self.tls.direct {
            self.config.ssl_negotiation(SslNegotiation::Direct);
        }
        self.config.ssl_mode(mode);
        Ok((self.config, tls))
    }

    /// Hosts and ports: libpq's default is the socket directory its distribution was built with.
    fn place(&mut self) -> Result<(), UrlError> {
        let addresses = self.config.get_hostaddrs().len();
        if self.hosts.is_empty() && addresses == 0 {
            self.hosts.push(default_host());
        }
        for host in std::mem::take(&mut self.hosts) {
            match host {
                Host::Tcp(name) if name.is_empty() => self.push_host(default_host()),
                host => self.push_host(host),
            }
        }
        let hosts = self.config.get_hosts().len();
        if hosts > 0 && addresses > 0 && hosts != addresses {
            return Err(bad("hostaddr", "as many addresses as there are hosts"));
        }
        if self.ports.len() > 1 && self.ports.len() != hosts.max(addresses) {
            return Err(bad("port", "one port, or as many as there are hosts"));
        }
        if self.ports.contains(&0) {
            return Err(bad("port", "numbers from 1 to 65535 separated by commas"));
        }
        for port in &self.ports {
            self.config.port(*port);
        }
        Ok(())
    }

    fn push_host(&mut self, host: Host) {
        match host {
            Host::Tcp(name) => self.config.host(name),
            Host::Unix(path) => self.config.host_path(path),
        };
    }

    /// How much TLS, and how much of it is verified, as libpq's table of `sslmode` says.
    fn encryption(&mut self) -> Result<SslMode, UrlError> {
        let system = self.tls.root.as_deref() == Some(Path::new("system"));
        let mode = match (self.sslmode, system) {
            (None, true) => Mode::VerifyFull,
            (None, false) => Mode::Prefer,
            (Some(mode), true) if mode != Mode::VerifyFull && mode != Mode::Disable => {
                return Err(bad(
                    "sslmode",
                    "verify-full, as sslrootcert=system is only safe with it",
                ));
            }
            // libpq: "if a root CA file exists, require behaves the same as verify-ca".
            (Some(Mode::Require), false) if self.tls.root.is_some() => Mode::VerifyCa,
            (Some(mode), _) => mode,
        };
        // As with libpq, TLS is not spoken on a Unix socket, whatever sslmode says.
        let hosts = self.config.get_hosts();
        if !hosts.is_empty() && hosts.iter().all(|host| matches!(host, Host::Unix(_))) {
            self.tls = tls::Settings::default();
            return Ok(SslMode::Disable);
        }
        self.tls.verify = match mode {
            Mode::Disable | Mode::Prefer | Mode::Require => tls::Verify::Nothing,
            Mode::VerifyCa => tls::Verify::Chain,
            Mode::VerifyFull => tls::Verify::ChainAndName,
        };
        Ok(match mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        })
    }
}

fn bad(key: &'static str, expected: &'static str) -> UrlError {
    UrlError::BadValue { key, expected }
}

fn refuse(key: &str) -> UrlError {
    if let Some(&(key, advice)) = UNSUPPORTED.iter().find(|(name, _)| *name == key) {
        return UrlError::Unsupported { key, advice };
    }
    let similar = KEYS
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, key), known))
        .filter(|(distance, _)| *distance <= 3)
        .min();
    UrlError::UnknownKey {
        key: key.to_owned(),
        advice: match similar {
            Some((_, known)) => format!("did you mean `{known}`?"),
            None => "take it out".to_owned(),
        },
    }
}

fn host(text: &str) -> Host {
    if text.starts_with('/') {
        Host::Unix(text.into())
    } else {
        Host::Tcp(text.to_owned())
    }
}

fn default_host() -> Host {
    let debian = Path::new("/var/run/postgresql");
    let usual = Path::new("/tmp");
    Host::Unix(if debian.is_dir() { debian } else { usual }.to_owned())
}

fn number(key: &'static str, value: &str) -> Result<i64, UrlError> {
    value.trim().parse().map_err(|_| bad(key, "a whole number"))
}

/// Zero and negative numbers mean "the default" to libpq, and here.
fn seconds(key: &'static str, value: &str) -> Result<Option<Duration>, UrlError> {
    let seconds = number(key, value).map_err(|_| bad(key, "a whole number of seconds"))?;
    let seconds =
        u32::try_from(seconds.max(0)).map_err(|_| bad(key, "a whole number of seconds"))?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
}

fn target(value: &str) -> Result<TargetSessionAttrs, UrlError> {
    match value {
        "any" => Ok(TargetSessionAttrs::Any),
        "read-write" | "primary" => Ok(TargetSessionAttrs::ReadWrite),
        _ => Err(bad(
            "target_session_attrs",
            "read-write, primary or any; Roster writes and listens, which a standby refuses",
        )),
    }
}

fn mode(value: &str) -> Result<Mode, UrlError> {
    match value {
        "disable" => Ok(Mode::Disable),
        // `allow` tries without TLS first; trying with it first reaches the same servers.
        "allow" | "prefer" => Ok(Mode::Prefer),
        "require" => Ok(Mode::Require),
        "verify-ca" => Ok(Mode::VerifyCa),
        "verify-full" => Ok(Mode::VerifyFull),
        _ => Err(bad(
            "sslmode",
            "disable, allow, prefer, require, verify-ca or verify-full",
        )),
    }
}
