//! A file of users becomes rows, all at once or not at all: in psql's words (`roster.import`) and by `roster import`.

use std::path::PathBuf;

use roster::demo::cluster::Binaries;
use tempfile::TempDir;

use crate::support::{
    process::{output, roster},
    sql::Sql,
    world::eventually,
};

/// Ada, Bob and Cleo, as rows.
async fn three() -> Sql {
    let sql = Sql::enforcing().await;
    sql.run(
        "insert into users (id, email, name, role) values (1, 'ada@example.com', 'Ada', 'Editor'), \
         (2, 'bob@example.com', 'Bob', 'Artist'), (3, 'cleo@example.com', 'Cleo', 'Artist'); \
         select setval('users_id_seq', 3); select roster.fold(); delete from roster.changes",
    )
    .await;
    sql
}

/// What `\copy roster.import from … (format csv, header)` sends.
async fn copied(sql: &Sql, file: &str) {
    use futures_util::SinkExt;

    let copy = "copy roster.import from stdin (format csv, header)";
    let sink = sql.client().copy_in(copy).await.expect(copy);
    let mut sink = std::pin::pin!(sink);
    let bytes = bytes::Bytes::from(file.to_owned());
    sink.send(bytes).await.expect("the file");
    sink.close().await.expect("its end");
}

const PEOPLE: &str = "email,name,role,blocked
Ada@Example.com,Ada,Editor,
bob@example.com,,Editor,
cleo@example.com,Cleo,,yes
dan@example.com,Dan,Artist,
no address,Eve,,
dan@example.com,Dan again,,
fay@example.com,Fay,,perhaps
";

const VERDICTS: &str = "select string_agg(concat_ws(' ', line, verdict, why), e'\\n' order by line) from roster.import_check()";

#[tokio::test]
async fn each_line_has_its_verdict_and_a_check_writes_nothing() {
    let sql = three().await;
    copied(&sql, PEOPLE).await;
    let verdicts = sql.row(VERDICTS).await;
    assert_eq!(
        verdicts,
        "2 same\n3 changed\n4 changed\n5 new\n6 bad this is no address\n7 bad line 5 has the same address\n\
         8 bad invalid input syntax for type boolean: \"perhaps\""
    );
    assert_eq!(sql.row("select count(*) from roster.changes").await, "0");
    let users = "select string_agg(name || role || blocked, ' ' order by id) from users";
    assert_eq!(
        sql.row(users).await,
        "AdaEditorfalse BobArtistfalse CleoArtistfalse"
    );
}

#[tokio::test]
async fn one_bad_line_keeps_all_from_being_written_unless_bad_ones_are_left_out() {
    let sql = three().await;
    copied(&sql, PEOPLE).await;
    let refusal = sql.refusal("select roster.import_apply()").await;
    assert_eq!(refusal.code().code(), "RO032");
    assert!(refusal.message().contains("3 of 7"), "{refusal}");
    let hint = refusal.hint().expect("the next statement");
    let next = hint.rsplit("leave them out: ").next().expect("a statement");
    let counts = sql
        .row(&next.replace('*', "concat(new, changed, same, bad)"))
        .await;
    assert_eq!(counts, "1213");
    let users = "select string_agg(concat(email, name, role, blocked), ' ' order by id) from users";
    assert_eq!(
        sql.row(users).await,
        "ada@example.comAdaEditorf bob@example.comBobEditorf cleo@example.comCleoArtistt dan@example.comDanArtistf"
    );
    // What the triggers saw is what any other statement would have shown them.
    let seen = "select string_agg(op || cardinality(user_keys), ' ' order by id) from roster.changes where relation is not null";
    assert_eq!(sql.row(seen).await, "update2 insert1");
    let told =
        "select concat(new, changed, same, bad, applied_txid is not null) from roster.imports";
    assert_eq!(sql.row(told).await, "1213t");
    let kept = "select string_agg(line::text, ' ' order by line) from roster.import_lines";
    assert_eq!(sql.row(kept).await, "6 7 8");
}

#[tokio::test]
async fn an_import_is_as_much_undone_as_its_transaction() {
    let sql = three().await;
    sql.run("begin").await;
    copied(&sql, "email,name,role,blocked\ndan@example.com,Dan,,\n").await;
    sql.run("select roster.import_apply()").await;
    let plan = "select string_agg(action, ' ') from roster.plan where user_key = '4'";
    assert_eq!(sql.row(plan).await, "create");
    sql.run("rollback").await;
    assert_eq!(sql.row("select count(*) from users").await, "3");
    let refusal = sql.refusal("select roster.import_apply()").await;
    assert_eq!(refusal.code().code(), "RO033");
}

#[tokio::test]
async fn what_the_table_itself_refuses_is_found_among_many_lines_and_said_in_its_words() {
    let sql = three().await;
    sql.run(
        "create function no_evil() returns trigger language plpgsql as $$ begin \
             if new.name like 'Evil%' then raise exception 'no evil here'; end if; return new; end $$; \
         create trigger no_evil before insert or update on users for each row execute function no_evil(); \
         alter table users add constraint short_roles check (length(role) < 10)",
    )
    .await;
    let mut file = "email,name,role,blocked\n".to_owned();
    for number in 0..2500 {
        let (name, role) = match number {
            17 => ("Evil Twin", ""),
            1400 => ("Long", "Administrator"),
            2400 => ("Far too long", &*"x".repeat(60)),
            _ => ("Somebody", "Artist"),
        };
        file += &format!("p{number}@example.com,{name},{role},\n");
    }
    copied(&sql, &file).await;
    let counts =
        "select concat_ws(' ', new, changed, same, bad) from roster.import_apply(skip_bad => true)";
    assert_eq!(sql.row(counts).await, "2497 0 0 3");
    let bad =
        "select string_agg(line || ' ' || why, e'\\n' order by line) from roster.import_lines";
    let told = sql.row(bad).await;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "19 no evil here");
    assert!(lines[1].contains("short_roles"), "{told}");
    assert!(lines[2].contains("too long"), "{told}");
}

#[tokio::test]
async fn another_table_is_told_once_and_its_columns_by_its_own_names() {
    let sql = three().await;
    sql.run(
        "create schema hr; create table hr.people (uid uuid primary key default gen_random_uuid(), mail text unique not null, dept text)",
    )
    .await;
    for (into, told) in [
        ("'hr.people'", "no column email"),
        ("'hr.people', '{\"email\": \"adress\"}'", "no column adress"),
    ] {
        let refusal = sql
            .refusal(&format!("select roster.import_into({into})"))
            .await;
        assert_eq!(refusal.code().code(), "RO030");
        assert!(refusal.message().contains(told), "{refusal}");
    }
    sql.run("select roster.import_into('hr.people', '{\"email\": \"mail\"}')")
        .await;
    let import = Imported::of(
        &sql,
        "E-Mail;Dept\nada@example.com;Sales\n",
        "--map E-Mail=email",
    )
    .await;
    assert_eq!(import.code, 0, "{}", import.stderr);
    assert_eq!(
        sql.row("select mail || dept from hr.people").await,
        "ada@example.comSales"
    );
    assert_eq!(sql.row("select count(*) from users").await, "3");
}

#[tokio::test]
async fn an_operator_imports_with_rights_of_its_own_on_the_users_table() {
    let sql = three().await;
    sql.run("set role roster_operator").await;
    copied(&sql, "email,name,role,blocked\ndan@example.com,Dan,,\n").await;
    let refusal = sql.refusal("select roster.import_apply()").await;
    assert_eq!(refusal.code().code(), "42501");
    sql.run(
        "reset role; grant select, insert, update on users to roster_operator; \
             grant usage on sequence users_id_seq to roster_operator; set role roster_operator",
    )
    .await;
    sql.run("select roster.import_apply()").await;
    assert_eq!(sql.row("reset role; select count(*) from users").await, "4");
    sql.run("revoke all on users from roster_operator; revoke all on sequence users_id_seq from roster_operator").await;
}

/// What `roster import` did with a file.
struct Imported {
    code: i32,
    stdout: String,
    stderr: String,
    folder: TempDir,
}

impl Imported {
    async fn of(sql: &Sql, file: impl AsRef<[u8]>, words: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("people.csv");
        std::fs::write(&path, file).expect("a file");
        let mut command = roster(sql.database(), "import");
        command.arg(path).args(words.split_whitespace());
        command.current_dir(folder.path());
        let (code, stdout, stderr) = output(command).await;
        Self {
            code,
            stdout,
            stderr,
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[tokio::test]
async fn the_command_shows_each_lines_verdict_then_refuses_then_skips_and_is_repeated_harmlessly() {
    let sql = three().await;
    let dry = Imported::of(&sql, PEOPLE, "--dry-run").await;
    assert_eq!(dry.code, 1, "{}", dry.stderr);
    assert!(
        dry.stdout
            .contains("line 5: new\nline 6: bad: this is no address\n"),
        "{}",
        dry.stdout
    );
    let refused = Imported::of(&sql, PEOPLE, "").await;
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains("--skip-bad"), "{}", refused.stderr);
    assert_eq!(sql.row("select count(*) from users").await, "3");
    let skipped = Imported::of(&sql, PEOPLE, "--skip-bad --reason hired").await;
    assert_eq!(skipped.code, 2, "{}", skipped.stderr);
    assert!(
        skipped.stdout.contains("1 new, 2 changed, 1 same, 3 bad"),
        "{}",
        skipped.stdout
    );
    let why = "select distinct reason from roster.changes where relation is not null";
    assert_eq!(sql.row(why).await, "hired");
    let again = Imported::of(&sql, PEOPLE, "--skip-bad").await;
    assert!(
        again.stdout.contains("0 new, 0 changed, 4 same, 3 bad"),
        "{}",
        again.stdout
    );
    let good = Imported::of(&sql, "email\nada@example.com\n", "--dry-run --json").await;
    let told: serde_json::Value = serde_json::from_str(&good.stdout).expect("JSON");
    let lines = serde_json::json!([{"line": 2, "verdict": "same", "why": null}]);
    assert_eq!(
        (good.code, told),
        (
            0,
            serde_json::json!({"new": 0, "changed": 0, "same": 1, "bad": 0, "lines": lines})
        )
    );
}

#[tokio::test]
async fn bad_lines_are_a_file_that_is_mended_and_imported() {
    let sql = three().await;
    let import = Imported::of(&sql, PEOPLE, "--skip-bad --errors bad.csv").await;
    let bad = std::fs::read_to_string(import.path("bad.csv")).expect("the bad lines");
    let mut lines = bad.lines();
    assert_eq!(
        lines.next(),
        Some("roster_line,roster_why,email,name,role,blocked")
    );
    assert_eq!(lines.next(), Some("6,this is no address,no address,Eve,,"));
    let mended = bad
        .replace("no address,Eve", "eve@example.com,Eve")
        .replace("dan@example.com,Dan again", "dana@example.com,Dana")
        .replace(",perhaps", ",no");
    let again = Imported::of(&sql, mended, "").await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(sql.row("select count(*) from users").await, "7");
}

#[tokio::test]
async fn files_that_are_none_are_refused_before_anything_is_read() {
    let sql = three().await;
    let table: [(&[u8], &str, &str); 6] = [
        (b"PK\x03\x04", "", "CSV UTF-8"),
        (b"", "", "the file is empty"),
        (b"email,shoe size\na@example.com,43\n", "", "'shoe size'"),
        (b"name\nAda\n", "", "no column for the address"),
        (
            b"email,mail\na@example.com,b@example.com\n",
            "--map mail=email",
            "the same one",
        ),
        (
            b"email\n\"a@example.com\n",
            "--errors /nowhere/bad.csv",
            "cannot be written",
        ),
    ];
    for (file, words, told) in table {
        let import = Imported::of(&sql, file, words).await;
        assert!(matches!(import.code, 1 | 4), "{told}: {}", import.code);
        assert!(import.stderr.contains(told), "{told}: {}", import.stderr);
    }
    let missing = Imported::of(&sql, "", "nowhere.csv").await;
    assert_eq!(missing.code, 4);
    assert_eq!(sql.row("select count(*) from roster.imports").await, "0");
}

async fn until(sql: &Sql, query: &str, answer: &str) {
    eventually(query, async || sql.row(query).await == answer).await;
}

#[tokio::test]
async fn a_command_that_is_killed_half_way_has_written_nothing_and_is_repeated() {
    let sql = three().await;
    // Whoever holds a row keeps the import from going on.
    let holder = sql.session().await;
    holder
        .batch_execute("begin; update users set name = 'B' where id = 2")
        .await
        .expect("a row to hold");
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("people.csv");
    std::fs::write(
        &path,
        "email,name\ndan@example.com,Dan\nbob@example.com,Robert\n",
    )
    .expect("a file");
    let mut command = roster(sql.database(), "import");
    command.arg(&path);
    let going = crate::support::process::Going::start(command);
    until(&sql, "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'", "1").await;
    going.signal(nix::sys::signal::Signal::SIGKILL);
    drop(going);
    until(&sql, "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'roster cli'", "0").await;
    assert_eq!(sql.row("select count(*) from users").await, "3");
    holder.batch_execute("rollback").await.expect("an end");
    let again = Imported::of(&sql, std::fs::read(&path).expect("the file"), "").await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(
        again.stdout.contains("1 new, 1 changed"),
        "{}",
        again.stdout
    );
}

#[tokio::test]
async fn the_readmes_statements_import_a_file_in_psql() {
    let readme = include_str!("../../README.md");
    let (_, section) = readme
        .split_once("**Importing a file.**")
        .expect("a section");
    let (_, block) = section.split_once("```psql\n").expect("statements");
    let (script, _) = block.split_once("```").expect("their end");
    let Some(psql) = Binaries::find().expect("PostgreSQL").psql() else {
        eprintln!("skipped: this PostgreSQL came without psql");
        return;
    };
    let sql = three().await;
    let folder = TempDir::new().expect("a folder");
    let people = "email,name,role,blocked\ndan@example.com,Dan,,\nbob@example.com,,Editor,\n";
    std::fs::write(folder.path().join("people.csv"), people).expect("a file");
    std::fs::write(folder.path().join("script.sql"), script).expect("a file");
    let mut command = std::process::Command::new(psql);
    command
        .args(["-X", "-v", "ON_ERROR_STOP=1", "-f", "script.sql"])
        .arg(sql.database().url())
        .current_dir(folder.path());
    let (code, told, refused) = output(command).await;
    assert_eq!(code, 0, "{refused}");
    assert!(told.contains("changed"), "{told}");
    let users = "select string_agg(concat(email, role), ' ' order by id) from users where id > 1";
    assert_eq!(
        sql.row(users).await,
        "bob@example.comEditor cleo@example.comArtist dan@example.comArtist"
    );
}

#[tokio::test]
async fn what_the_table_has_no_column_for_is_refused_and_not_left_out() {
    let sql = three().await;
    sql.run("update roster.settings set import_columns = import_columns - 'blocked'")
        .await;
    let line = "insert into roster.import values ('eve@example.com', 'Eve', null, 'true')";
    let refusal = sql.refusal(line).await;
    assert_eq!(refusal.code().code(), "RO031");
    assert!(refusal.message().contains("blocked 'true'"), "{refusal}");
    sql.run("insert into roster.import values ('eve@example.com', 'Eve', null, null); select roster.import_apply()")
        .await;
    assert_eq!(sql.row("select count(*) from users").await, "4");
}
