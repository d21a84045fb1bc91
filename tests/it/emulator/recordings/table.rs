//! Which recordings are replayed, on which tenant, and which are not and why.

use roster::emulator::Options;

/// A recording that is replayed.
pub(super) struct Recording {
    /// The file's name without its ending.
    pub(super) name: &'static str,
    /// What the tenant is set up with, beside usernames.
    pub(super) change: fn(&mut Options),
    /// Who and what was there before.
    pub(super) given: &'static [Given],
    /// What is called otherwise here; `{base}` is the tenant's address.
    pub(super) names: &'static [(&'static str, &'static str)],
    /// What happened before an exchange without being recorded: number, method, path, body.
    pub(super) meanwhile: &'static [(usize, &'static str, &'static str, &'static str)],
    /// Exchanges that are tried on another path, and why.
    pub(super) elsewhere: &'static [(usize, &'static str, &'static str)],
    /// Keys of an exchange's answer, at any depth, that are not compared, and why.
    pub(super) apart_from: &'static [(usize, &'static str, &'static str)],
    /// Exchanges whose rate-limit headers are not compared, and why.
    pub(super) other_limits: &'static [(usize, &'static str)],
    /// Exchanges that are not replayed, and why.
    pub(super) without: &'static [(usize, &'static str)],
}

/// Somebody or something that was there before.
pub(super) enum Given {
    /// The users that the answer of this exchange shows, or the only one.
    Shown(usize),
    /// Whatever this call makes: method, path, body.
    Call(&'static str, &'static str, &'static str),
    /// What the recording calls so: made by a POST on this path, with this body.
    Made(&'static str, &'static str, &'static str),
    /// A person with this address has logged in, for this scope.
    LoggedIn(&'static str, &'static str),
}

const fn plain(name: &'static str) -> Recording {
    Recording {
        name,
        change: |_| {},
        given: &[],
        names: &[],
        meanwhile: &[],
        elsewhere: &[],
        apart_from: &[],
        other_limits: &[],
        without: &[],
    }
}

pub(super) const REPLAYED: &[Recording] = &[
    plain("users-crud"),
    plain("users-crud-with-ratelimit-headers"),
    plain("users-metadata-merge-null-clear"),
    plain("users-change-username"),
    plain("users-search-and-by-email"),
    Recording {
        without: &[(0, "a tenant here has one domain")],
        ..plain("error-409-custom-domain-conflict")
    },
    Recording {
        elsewhere: &[(
            0,
            "/api/v2/users",
            "device credentials are not emulated; the complaint is the same everywhere",
        )],
        ..plain("error-401-missing-authentication")
    },
    Recording {
        change: |options| options.m2m.scopes.clear(),
        elsewhere: &[(
            0,
            "/api/v2/users",
            "organizations are not emulated; the complaint is the same everywhere",
        )],
        names: &[("read:organization_client_grants", "read:users")],
        ..plain("error-403-insufficient-scope")
    },
    Recording {
        meanwhile: &[
            (1, "DELETE", "/api/v2/users/auth0%7Ctestaccuser", ""),
            (2, "DELETE", "/api/v2/users/auth0%7Ctestaccuser", ""),
        ],
        ..plain("users-recreate-same-id-after-delete")
    },
    Recording {
        given: &[Given::Shown(0)],
        ..plain("jobs-search-after-import-with-ratelimit-headers")
    },
    Recording {
        given: &[Given::Shown(0)],
        apart_from: &[(
            0,
            "last_ip",
            "the emulator does not say where people logged in from",
        )],
        ..plain("users-list-with-ratelimit-headers")
    },
    Recording {
        given: &[Given::Call(
            "POST",
            "/api/v2/users",
            r#"{"connection": "Username-Password-Authentication", "email": "rubytest-210908-username-1@auth0.com", "password": "Correct-horse-1"}"#,
        )],
        names: &[("CLIENT_ID_87f7a0", "demo-app")],
        ..plain("authn-change-password-with-ratelimit-headers")
    },
    Recording {
        names: &[
            ("test-audience", "{base}/api/v2/"),
            ("client_id=test-client_id", "client_id=roster-m2m"),
            ("[REDACTED]", "roster-m2m-secret"),
            ("test-client_id", "demo-app"),
        ],
        apart_from: &[(0, "scope", "the source cut the answer down")],
        without: &[
            (1, "machines without a secret are not emulated"),
            (
                3,
                "the source gives placeholders instead of a person's claims",
            ),
        ],
        ..plain("authn-client-credentials")
    },
    Recording {
        given: &[
            Given::Call(
                "POST",
                "/_emulator/users",
                r#"{"user_id": "auth0|6132828a407ec6006935a858", "email": "rubytest-210908-username-1@auth0.com", "password": "Correct-horse-1"}"#,
            ),
            Given::LoggedIn(
                "rubytest-210908-username-1@auth0.com",
                "openid profile email",
            ),
        ],
        other_limits: &[
            (1, "the limit of /userinfo is not emulated"),
            (2, "the limit for bad tokens is in no documentation"),
        ],
        without: &[(0, "the password grant is not emulated")],
        ..plain("authn-userinfo-with-ratelimit-headers")
    },
];

/// Recordings that are not replayed, and why.
pub(super) const NOT_REPLAYED: &[(&str, &str)] = &[
    (
        "event-streams",
        "event streams are not emulated: Roster compares by export",
    ),
    (
        "authn-token-with-ratelimit-headers",
        "the password grant is not emulated",
    ),
    ("error-404-user", "roles are not emulated"),
    ("error-429-global-limit-2022-08", "roles are not emulated"),
    ("error-429-global-limit-2022-10", "roles are not emulated"),
    ("jobs-export-verification", "jobs are not emulated"),
    ("jobs-import-errors", "jobs are not emulated"),
    (
        "jobs-import-export-with-ratelimit-headers",
        "jobs are not emulated",
    ),
    ("jobs-import-lifecycle", "jobs are not emulated"),
    (
        "jobs-verification-email-with-ratelimit-headers",
        "jobs are not emulated",
    ),
    ("roles", "roles are not emulated"),
    ("roles-users-checkpoint-paging", "roles are not emulated"),
    ("sessions", "sessions are not emulated"),
    ("tickets", "tickets are not emulated"),
    ("tickets-with-ratelimit-headers", "tickets are not emulated"),
    ("users-blocks", "brute-force blocks are not emulated"),
    ("users-link-unlink", "linking is not emulated"),
    (
        "users-link-unlink-with-ratelimit-headers",
        "linking is not emulated",
    ),
    ("users-roles-permissions", "roles are not emulated"),
    (
        "users-roles-permissions-with-ratelimit-headers",
        "roles are not emulated",
    ),
    ("users-sessions-refresh-tokens", "sessions are not emulated"),
];
