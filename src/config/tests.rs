use super::*;

/// A file, variables, and parts of the error they give.
type Refusal = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn load(file: &str, pairs: &[(&str, &str)]) -> Config {
    Config::load_from(Some(file), &variables(pairs)).expect("a good configuration")
}

fn refused(file: &str, pairs: &[(&str, &str)]) -> String {
    Config::load_from(Some(file), &variables(pairs))
        .expect_err("a bad configuration")
        .to_string()
}

#[test]
fn the_defaults_alone_are_a_good_configuration() {
    let config = load("", &[]);
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.reactor.poll_interval, Duration::from_secs(2));
    assert_eq!(config.reactor.workers, 16);
    assert_eq!(config.guard.window, Duration::from_secs(3600));
    assert_eq!(config.guard.removals_min, 20);
    assert!((config.guard.removals_share - 0.05).abs() < f64::EPSILON);
    assert_eq!(config.history.keep, Duration::from_secs(30 * 24 * 3600));
    assert_eq!(config.removal.delete_after, None);
    assert_eq!(config.removal.token_lifetime, Duration::from_secs(86_400));
    assert_eq!(config.invitation.client_id, None);
    assert_eq!(config.log.format, LogFormat::Auto);
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = "[http]\n[reactor]\nworkers = 7\nlease = '2m'\n";
    let share = ("ROSTER__GUARD__REMOVALS_SHARE", "1");
    let config = load(file, &[("ROSTER__REACTOR__WORKERS", " 9 "), share]);
    assert!((config.guard.removals_share - 1.0).abs() < f64::EPSILON);
    assert_eq!(config.reactor.workers, 9);
    assert_eq!(config.reactor.lease, Duration::from_secs(120));
    assert_eq!(config.reactor.poll_interval, Duration::from_secs(2));
}

#[test]
fn the_process_wins_over_the_dotenv_file_which_is_named_as_the_origin() {
    let name = "ROSTER__REACTOR__WORKERS";
    let mut layers = Layers::default();
    layers
        .add_variables(variables(&[(name, "many")]), Some(".env"))
        .expect("a known key");
    let error = Config::read(&layers).expect_err("not a number").to_string();
    assert!(
        error.contains("the variable ROSTER__REACTOR__WORKERS in .env"),
        "{error}"
    );
    layers
        .add_variables(variables(&[(name, "3")]), None)
        .expect("a known key");
    assert_eq!(Config::read(&layers).expect("a number").reactor.workers, 3);
}

#[test]
fn the_guides_variables_work_and_the_long_names_win() {
    let guide = [
        ("AUTH0_MGMT_DOMAIN", "my-tenant.eu.auth0.com"),
        ("AUTH0_MGMT_CLIENT_ID", "guide"),
        ("AUTH0_MGMT_CLIENT_SECRET", "hunter2"),
        ("DATABASE_URL", "postgres://db/app"),
        ("ROSTER__AUTH0__CLIENT_ID", "long"),
    ];
    let config = load("", &guide);
    let auth0 = config.auth0().expect("all of it is set");
    assert_eq!(auth0.base_url.as_str(), "https://my-tenant.eu.auth0.com/");
    assert_eq!(auth0.audience, "https://my-tenant.eu.auth0.com/api/v2/");
    assert_eq!(auth0.client_id, "long");
    assert_eq!(auth0.client_secret.expose_secret(), "hunter2");
    let database = config.database().expect("it is set");
    assert_eq!(database.url.expose_secret(), "postgres://db/app");
    assert!(!database.listens_elsewhere());
}

#[test]
fn what_belongs_to_the_tenant_follows_its_base_url() {
    let file = "[auth0]\ndomain = 'my-tenant.eu.auth0.com'\nbase_url = 'http://127.0.0.1:4000'\n[authz]\naudience = ['https://api.example.com']\n";
    let config = load(file, &[]);
    let authz = config.authz().expect("all of it is set");
    assert_eq!(authz.issuer, "http://127.0.0.1:4000/");
    assert_eq!(
        authz.jwks_url.as_str(),
        "http://127.0.0.1:4000/.well-known/jwks.json"
    );
    let other = load(
        file,
        &[("ROSTER__AUTHZ__ISSUER", "https://login.example.com/")],
    );
    let authz = other.authz().expect("all of it is set");
    assert_eq!(authz.issuer, "https://login.example.com/");
    assert_eq!(
        authz.jwks_url.as_str(),
        "https://login.example.com/.well-known/jwks.json"
    );
}

#[test]
fn lists_in_variables_are_separated_by_commas() {
    let config = load(
        "",
        &[
            ("ROSTER__GUARD__PROTECTED", "ceo@example.com, 42"),
            ("ROSTER__AUTHZ__EMAIL_MATCH_SUBJECTS", ""),
        ],
    );
    assert_eq!(config.guard.protected, ["ceo@example.com", "42"]);
    let authz = load(
        "",
        &[
            ("ROSTER__AUTHZ__ISSUER", "https://i.example.com/"),
            ("ROSTER__AUTHZ__AUDIENCE", "https://a.example.com"),
            ("ROSTER__AUTHZ__EMAIL_MATCH_SUBJECTS", ""),
        ],
    );
    assert!(authz.authz().expect("set").email_match_subjects.is_empty());
}

#[test]
fn a_token_may_be_as_old_as_its_exp_says_unless_an_age_is_set() {
    let age = |age: &str| {
        let file = format!(
            "[authz]\nissuer = 'https://i.example.com/'\naudience = ['a']\nmax_token_age = '{age}'"
        );
        load(&file, &[]).authz().expect("set").max_token_age
    };
    assert_eq!(age(""), None);
    assert_eq!(age("12h"), Some(Duration::from_secs(12 * 3600)));
}

#[test]
fn what_a_command_needs_and_nobody_set_is_named_when_it_asks() {
    let config = load("", &[("AUTH0_MGMT_DOMAIN", "t.auth0.com")]);
    let auth0 = config.auth0().expect_err("no client").to_string();
    assert!(
        auth0.contains("auth0.client_id, auth0.client_secret not set"),
        "{auth0}"
    );
    assert!(
        auth0.contains("AUTH0_MGMT_CLIENT_ID, AUTH0_MGMT_CLIENT_SECRET in the environment"),
        "{auth0}"
    );
    let database = config.database().expect_err("no database").to_string();
    assert!(
        database.contains("database.url not set") && database.contains("DATABASE_URL"),
        "{database}"
    );
    let authz = config.authz().expect_err("no audience").to_string();
    assert!(
        authz.contains("authz.audience not set") && authz.contains("ROSTER__AUTHZ__AUDIENCE"),
        "{authz}"
    );
    let nothing = load("", &[]).authz().expect_err("nothing").to_string();
    assert!(
        nothing.contains("authz.issuer, authz.audience not set"),
        "{nothing}"
    );
}

#[test]
fn an_unknown_key_is_named_with_its_origin_and_the_nearest_known_one() {
    let table: &[Refusal] = &[
        (
            "[http]\nlisten_on = 'x'\n",
            &[],
            &[
                "`http.listen_on`",
                "the configuration file",
                "did you mean `http.listen`?",
            ],
        ),
        (
            "[reactor]\ndelete_after = '1d'\n",
            &[],
            &[
                "`reactor.delete_after`",
                "did you mean `removal.delete_after`?",
            ],
        ),
        (
            "frobnicate = 1\n",
            &[],
            &["`frobnicate`", "default.toml has all keys"],
        ),
        ("[http.listen]\nport = 1\n", &[], &["`http.listen.port`"]),
        // Not hidden by a layer above that says the right thing.
        (
            "http = 1\n",
            &[("ROSTER__HTTP__LISTEN", "127.0.0.1:1")],
            &["`http`", "the configuration file"],
        ),
        ("[frobnicate]\n", &[], &["`frobnicate`"]),
        (
            "",
            &[("ROSTER__HTTP__LISTN", "x")],
            &[
                "`http.listn`",
                "the variable ROSTER__HTTP__LISTN",
                "`http.listen`",
            ],
        ),
        (
            "",
            &[("ROSTER_HTTP_LISTEN", "x")],
            &["ROSTER_HTTP_LISTEN", "did you mean `ROSTER__HTTP__LISTEN`?"],
        ),
    ];
    for (file, pairs, expected) in table {
        let error = refused(file, pairs);
        for part in *expected {
            assert!(
                error.contains(part),
                "{file:?} {pairs:?} gave {error:?}, expected {part:?}"
            );
        }
    }
}

#[test]
fn variables_that_are_not_ours_are_left_alone() {
    load(
        "",
        &[
            ("ROSTER_TEST_PG", "x"),
            ("ROSTER_PG_BIN", "/x"),
            ("PATH", "/bin"),
            ("HTTP_LISTEN", "x"),
        ],
    );
}

#[test]
fn a_bad_value_is_refused_with_key_origin_and_what_fits() {
    let table: &[Refusal] = &[
        (
            "[reactor]\nworkers = 0\n",
            &[],
            &[
                "`reactor.workers`",
                "the configuration file",
                "from 1 to 256",
            ],
        ),
        (
            "[reactor]\nworkers = 2.7\n",
            &[],
            &["`reactor.workers`", "a whole number"],
        ),
        (
            "[reactor]\nworkers = '4'\n",
            &[],
            &["`reactor.workers`", "a whole number"],
        ),
        (
            "[reactor]\npoll_interval = '2 parsecs'\n",
            &[],
            &["`reactor.poll_interval`", "such as 500ms, 2s"],
        ),
        (
            "[reactor]\npoll_interval = 2\n",
            &[],
            &["`reactor.poll_interval`", "such as 500ms, 2s"],
        ),
        ("[reactor]\npoll_interval = '0s'\n", &[], &["at least 10ms"]),
        (
            "[reactor]\nlease = ''\n",
            &[],
            &["`reactor.lease`", "a duration"],
        ),
        ("[history]\nkeep = '1month'\n", &[], &["`history.keep`"]),
        ("[history]\nkeep = '-30d'\n", &[], &["`history.keep`"]),
        (
            "[guard]\nremovals_share = 5\n",
            &[],
            &["`guard.removals_share`", "from 0 to 1"],
        ),
        (
            "[guard]\nprotected = 'me'\n",
            &[],
            &["`guard.protected`", "a list"],
        ),
        (
            "[guard]\nprotected = [1]\n",
            &[],
            &["`guard.protected`", "a list"],
        ),
        ("[http.listen]\n", &[], &["`http.listen`", "not a table"]),
        (
            "",
            &[("ROSTER__REACTOR__WORKERS", "2.7")],
            &["`reactor.workers`", "a whole number"],
        ),
        (
            "[http]\nlisten = '8080'\n",
            &[],
            &["`http.listen`", "127.0.0.1:8080"],
        ),
        (
            "[auth0]\nbudget_share = 0\n",
            &[],
            &["`auth0.budget_share`", "above 0"],
        ),
        (
            "[auth0]\ndomain = 'https://t.auth0.com'\n",
            &[],
            &["`auth0.domain`", "without https://"],
        ),
        (
            "[auth0]\nbase_url = 'http://t.auth0.com'\n",
            &[],
            &["`auth0.base_url`", "only for localhost"],
        ),
        (
            "[auth0]\nbase_url = 'https://u:p@t.auth0.com'\n",
            &[],
            &["`auth0.base_url`"],
        ),
        (
            "[auth0]\nbase_url = 'https://t.auth0.com/api'\n",
            &[],
            &["`auth0.base_url`", "without a path"],
        ),
        (
            "[authz]\ndirectory = 'cache'\n",
            &[],
            &["`authz.directory`", "memory", "read_through"],
        ),
        (
            "",
            &[("ROSTER__AUTHZ__MAX_STALE", "long")],
            &["`authz.max_stale`", "a duration"],
        ),
        ("[authz]\nissuer = 'my issuer'\n", &[], &["`authz.issuer`"]),
        (
            "",
            &[("ROSTER__AUTHZ__EMAIL_MATCH", "always")],
            &[
                "the variable ROSTER__AUTHZ__EMAIL_MATCH",
                "one of verified, never",
            ],
        ),
        (
            "",
            &[("ROSTER__AUTHZ__AUDIENCE", "a,,b")],
            &["`authz.audience`", "a list"],
        ),
        (
            "[authz]\ndecision_log = 'stderr'\n",
            &[],
            &["`authz.decision_log`", "off, stdout"],
        ),
        (
            "",
            &[("ROSTER__AUTHZ__DECISION_LOG_SAMPLE", "1.5")],
            &["ROSTER__AUTHZ__DECISION_LOG_SAMPLE"],
        ),
        (
            "[http]\nstop_delay = '1m'\n",
            &[],
            &["`http.stop_delay`", "at most 15s"],
        ),
        (
            "[authz]\npermission_format = '{action}{resource type}'\n",
            &[],
            &["`authz.permission_format`", "{action}:{resource type}"],
        ),
        (
            "[authz]\npublic_url = 'http://localhost'\n",
            &[],
            &["`authz.public_url`", "https"],
        ),
        (
            "[authz]\npublic_url = 'https://a.example/?x'\n",
            &[],
            &["`authz.public_url`"],
        ),
        (
            "[authz]\ncallers = ['app']\n",
            &[],
            &["`authz.callers`", "client_id and api_key_sha256"],
        ),
        (
            "",
            &[("ROSTER__AUTHZ__CALLERS", "app")],
            &["ROSTER__AUTHZ__CALLERS", "in the configuration file"],
        ),
        (
            "",
            &[("RUST_LOG", "roster=loud")],
            &["`log.filter` from the variable RUST_LOG"],
        ),
        (
            "",
            &[("AUTH0_MGMT_DOMAIN", "t.auth0.com/x")],
            &["the variable AUTH0_MGMT_DOMAIN"],
        ),
    ];
    for (file, pairs, expected) in table {
        let error = refused(file, pairs);
        for part in *expected {
            assert!(
                error.contains(part),
                "{file:?} {pairs:?} gave {error:?}, expected {part:?}"
            );
        }
    }
}

#[test]
fn callers_are_tables_with_one_credential_and_known_rights() {
    let authz = "[authz]\nissuer = 'https://i.example/'\naudience = ['api']\n";
    let key = "ab".repeat(32);
    let file = format!(
        "{authz}[[authz.callers]]\nclient_id = 'app'\nmay = ['search', 'evaluate']\n\
         [[authz.callers]]\napi_key_sha256 = '{key}'\nmay = ['evaluate']\n"
    );
    let config = load(&file, &[]);
    let callers = &config.authz().expect("set").callers;
    let expected = [
        (Credential::ClientId("app".to_owned()), true, true),
        (Credential::ApiKeySha256([0xab; 32]), true, false),
    ];
    let read = callers
        .iter()
        .map(|c| (c.credential.clone(), c.evaluate, c.search));
    assert_eq!(read.collect::<Vec<_>>(), expected);

    let bad = [
        "client_id = 'app'".to_owned(),
        "client_id = 'app'\nmay = []".to_owned(),
        "client_id = 'app'\nmay = ['everything']".to_owned(),
        "client_id = ''\nmay = ['search']".to_owned(),
        "client_id = 'app'\nmay = ['search']\nmight = true".to_owned(),
        "may = ['search']".to_owned(),
        format!("client_id = 'app'\napi_key_sha256 = '{key}'\nmay = ['search']"),
        "api_key_sha256 = 'hunter2'\nmay = ['search']".to_owned(),
        format!("api_key_sha256 = '{}'\nmay = ['search']", "ü".repeat(32)),
        "client_id = 'app'\nmay = ['search']\n[[authz.callers]]\nclient_id = 'app'\nmay = ['evaluate']".to_owned(),
    ];
    for entry in bad {
        let error = refused(&format!("{authz}[[authz.callers]]\n{entry}\n"), &[]);
        assert!(error.contains("`authz.callers`"), "{entry}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    let error = refused("[http]\nlisten = '127.0.0.1:1'\nlisten = 'again'\n", &[]);
    assert!(
        error.contains("line 3") && error.contains("duplicate key"),
        "{error}"
    );
    let number = refused("[http]\n\n[reactor]\nworkers = 9223372036854775808\n", &[]);
    assert!(number.contains("line 4"), "{number}");
    let missing = Config::load(Some(Path::new("/no/such/roster.toml"))).expect_err("no file");
    assert!(
        missing.to_string().contains("/no/such/roster.toml"),
        "{missing}"
    );
}

#[test]
fn secrets_are_in_no_error_and_no_debug() {
    let bad: &[(&str, &[(&str, &str)])] = &[
        ("[auth0]\nclient_secret = 'hunter2\n", &[]),
        ("[auth0]\nclient_secret = hunter2\n", &[]),
        ("[auth0]\nclient_secret = ['hunter2']\n", &[]),
        ("[auth0]\nclient_secrets = 'hunter2'\n", &[]),
        ("[database]\nurl = 'postgres://u:hunter2@db/app\n", &[]),
        ("", &[("ROSTER__DATABASE__POOL_SIZE", "hunter2")]),
        ("", &[("AUTH0_MGMT_DOMAIN", "hunter2 ")]),
        ("", &[("AUTH0_MGMT_DOMAIN", "hunter2/")]),
    ];
    for (file, pairs) in bad {
        if let Err(error) = Config::load_from(Some(file), &variables(pairs)) {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        } else {
            assert_eq!(pairs[0].1, "hunter2 ", "{file:?} was accepted");
        }
    }
    let config = load(
        "[auth0]\ndomain = 't.auth0.com'\nclient_id = 'c'\nclient_secret = 'hunter2'\n[database]\nurl = 'postgres://u:hunter2@db/app'\n",
        &[],
    );
    config.auth0().expect("set");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn every_key_has_a_line_of_meaning_above_it() {
    let mut explained = false;
    for line in DEFAULT.lines() {
        if line.starts_with('#') {
            explained = true;
        } else if line.contains(" = ") && !line.starts_with("admin_role") {
            assert!(explained, "{line:?} has no comment");
            explained = false;
        }
    }
}

#[test]
fn the_console_is_off_until_somebody_may_enter_it() {
    assert!(load("", &[]).console.is_none());
    assert!(
        load("[console]\nurl = 'https://r.example'\n", &[])
            .console
            .is_none()
    );
    let console = load("[console]\nclient_id = 'app'\n", &[]).console;
    assert!(console.is_some_and(|console| console.url.is_none()));
}

#[test]
fn a_console_that_cannot_be_safe_is_refused() {
    let table = [
        (
            "[console]\nclient_id = 'a'\n[http]\nlisten = '0.0.0.0:80'\n",
            "console.url",
        ),
        (
            "[console]\nclient_id = 'a'\nurl = 'http://r.example'\n",
            "console.url",
        ),
        (
            "[console]\nclient_id = 'a'\nurl = 'https://r.example/path'\n",
            "console.url",
        ),
        (
            "[console]\nclient_id = 'a'\nsession_key = 'hunter2'\n",
            "console.session_key",
        ),
        (
            "[console]\nbreak_glass_sha256 = 'hunter2'\n",
            "console.break_glass_sha256",
        ),
        (
            "[console]\nclient_id = 'a'\nsession = '1s'\n",
            "console.session",
        ),
    ];
    for (file, key) in table {
        let error = refused(file, &[]);
        assert!(
            error.contains(&format!("`{key}`")) && !error.contains("hunter2"),
            "{error}"
        );
    }
}
