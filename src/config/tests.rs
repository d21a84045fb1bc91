use super::*;

mod refusals;

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
