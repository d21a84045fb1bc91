//! Which recordings are replayed, on which tenant, and which are not and why.

use roster::emulator::{Options, Plan};

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
    /// A person with this address has logged in, for this scope; the session is called so, its user `UserID`.
    LoggedIn(&'static str, &'static str, &'static str),
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
                "SessionID",
            ),
        ],
        other_limits: &[(2, "the limit for bad tokens is in no documentation")],
        without: &[(0, "the password grant is not emulated")],
        ..plain("authn-userinfo-with-ratelimit-headers")
    },
    Recording {
        change: |options| {
            options.audiences = vec![UAT_API.into()];
            options.api_scopes = vec!["create:foo".into(), "read:foo".into()];
        },
        given: &[
            Given::Made("rol_YO2dtXKCFWZw8XoK", ROLES, r#"{"name": "owner"}"#),
            Given::Made("rol_3c5LlNoj2CfignUg", ROLES, r#"{"name": "admin"}"#),
        ],
        ..plain("error-404-user")
    },
    Recording {
        given: &[
            Given::Shown(0),
            Given::Made(
                "rol_zTYC4gj7pXllJu6d",
                ROLES,
                r#"{"name": "owner", "description": "Owner"}"#,
            ),
        ],
        ..plain("error-429-global-limit-2022-08")
    },
    Recording {
        given: &[
            Given::Shown(1),
            Given::Made("rol_4tZgxa89BCNg8qyh", ROLES, r#"{"name": "owner"}"#),
            Given::Made(
                "rol_39VEU9kxz1iK1gQz",
                ROLES,
                r#"{"name": "admin", "description": "Administrator"}"#,
            ),
            Given::Call(
                "POST",
                "/api/v2/users/auth0%7C633ef177f307a3ac8b82994c/roles",
                r#"{"roles": ["rol_39VEU9kxz1iK1gQz"]}"#,
            ),
        ],
        ..plain("error-429-global-limit-2022-10")
    },
    Recording {
        change: |options| {
            options.connection_id = Some("con_ftSSLHb0O7rcUGmF".into());
            options.jobs.verification_fails = true;
        },
        ..plain("jobs-export-verification")
    },
    Recording {
        change: |options| options.connection_id = Some("con_ftSSLHb0O7rcUGmF".into()),
        ..plain("jobs-import-errors")
    },
    Recording {
        change: |options| {
            options.connection_id = Some("con_Xx4Kruoab04wvlYX".into());
            options.jobs.duration_ms = 3_600_000;
        },
        ..plain("jobs-import-export-with-ratelimit-headers")
    },
    Recording {
        change: |options| options.connection_id = Some("con_ftSSLHb0O7rcUGmF".into()),
        names: &[("con_o1RfqDaIvuekh5T5", "con_ftSSLHb0O7rcUGmF")],
        meanwhile: &[(
            4,
            "POST",
            "/_emulator/options",
            r#"{"jobs": {"duration_ms": 3600000}}"#,
        )],
        ..plain("jobs-import-lifecycle")
    },
    plain("jobs-verification-email-with-ratelimit-headers"),
    Recording {
        change: |options| {
            options.audiences = vec!["https://api.example.com/".into()];
            options.api_scopes = vec!["create:resource".into()];
        },
        names: &[(
            "Test Resource Server (Jan 25 18:50:03.642)",
            "https://api.example.com/",
        )],
        apart_from: &[(15, "description", SAID_BY_NAME)],
        without: &[(13, SERVERS), (18, SERVERS)],
        ..plain("roles")
    },
    Recording {
        // The order of a page follows from the ids, so they are chosen here as that tenant made them.
        names: &[
            (
                r#""test-user679","verify_email""#,
                r#""test-user679","user_id":"64107988d3534be8b2dc383c","verify_email""#,
            ),
            (
                r#""test-user332","verify_email""#,
                r#""test-user332","user_id":"6410798838b3e02b77fdd6ae","verify_email""#,
            ),
            (
                r#""test-user116","verify_email""#,
                r#""test-user116","user_id":"64107988d3534be8b2dc383d","verify_email""#,
            ),
        ],
        ..plain("roles-users-checkpoint-paging")
    },
    Recording {
        change: |options| options.plan = Plan::Enterprise,
        given: PERSON,
        elsewhere: &[(
            2,
            "/api/v2/sessions/OtherID/revoke",
            "another session, since the first is gone by then",
        )],
        without: &[(0, PLACEHOLDERS)],
        ..plain("sessions")
    },
    plain("tickets"),
    Recording {
        change: |options| options.classic_login = true,
        // The documentation and the schema know no `new_password` any more.
        names: &[(r#""new_password":"[REDACTED-PASSWORD]","#, "")],
        ..plain("tickets-with-ratelimit-headers")
    },
    plain("users-blocks"),
    Recording {
        change: |options| options.connection_id = Some("con_ftSSLHb0O7rcUGmF".into()),
        ..plain("users-link-unlink")
    },
    Recording {
        given: &[
            Given::Call(
                "POST",
                "/_emulator/users",
                r#"{"user_id": "auth0|613282adac819400692c0dd9", "name": "rubytest-210908-username", "email": "rubytest-210908-rubytest-210908-username@auth0.com", "email_verified": true}"#,
            ),
            Given::Call(
                "POST",
                "/_emulator/users",
                r#"{"user_id": "auth0|613282ad45244d0069782b56", "name": "rubytest-210908-username-secondary", "email": "rubytest-210908-rubytest-210908-username-secondary@auth0.com"}"#,
            ),
        ],
        ..plain("users-link-unlink-with-ratelimit-headers")
    },
    Recording {
        change: |options| {
            options.audiences = vec!["https://api.example.com/".into()];
            options.api_scopes = vec!["create:resource".into()];
        },
        names: &[(
            "Test Resource Server (Jan 25 20:00:40.571)",
            "https://api.example.com/",
        )],
        apart_from: &[(11, "description", SAID_BY_NAME)],
        without: &[(9, SERVERS), (14, SERVERS)],
        ..plain("users-roles-permissions")
    },
    Recording {
        given: &[
            Given::Call(
                "POST",
                "/_emulator/users",
                r#"{"user_id": "auth0|613282adac819400692c0dd9", "email": "ann@a.test"}"#,
            ),
            Given::Made(
                "rol_2VZOCes8HgBar3Tp",
                ROLES,
                r#"{"name": "rubytest-210908-test-role-for-users", "description": "Test role description"}"#,
            ),
        ],
        ..plain("users-roles-permissions-with-ratelimit-headers")
    },
    Recording {
        change: |options| options.plan = Plan::Enterprise,
        given: PERSON,
        without: &[(6, PLACEHOLDERS), (7, PLACEHOLDERS)],
        ..plain("users-sessions-refresh-tokens")
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
        "the password grant is not emulated: people log in on a page",
    ),
];

const ROLES: &str = "/api/v2/roles";
const UAT_API: &str = "https://uat.api.terraform-provider-auth0.com/testaccdatasourceuser";
const SERVERS: &str = "APIs are options of the emulator";
const SAID_BY_NAME: &str = "the emulator's permissions are described by their names";
const PLACEHOLDERS: &str = "the source gives placeholders instead of what was answered";
/// Somebody who has logged in, and whom the source calls by placeholders.
const PERSON: &[Given] = &[
    Given::Call(
        "POST",
        "/_emulator/users",
        r#"{"user_id": "auth0|ann", "email": "ann@a.test", "password": "Correct-horse-1"}"#,
    ),
    Given::LoggedIn("ann@a.test", "openid offline_access", "SessionID"),
    Given::LoggedIn("ann@a.test", "openid", "OtherID"),
];
