//! What is refused, with its key, its origin and what fits; and what no refusal shows.

use super::*;

/// A file, variables, and parts of the error they give.
type Refusal = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

fn each_gives(table: &[Refusal]) {
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
    each_gives(table);
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
    each_gives(table);
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
