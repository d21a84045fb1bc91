//! What a demo without a tour prints: what runs where, and what to try. Every command works when pasted.

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::db::demo::{People, Sample};

use super::{cluster::Binaries, people::Welcome, stage::Set};

/// Whom the example statements are about.
const YOU: Sample = Sample {
    email: "you@example.com",
    name: "You",
};

/// Prints everything, as text or as one line of JSON.
pub(super) fn show(
    set: &Set,
    welcome: &Welcome,
    json: bool,
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    if json {
        writeln!(out, "{}", line(set, welcome))?;
    } else {
        out.write_all(text(set, welcome).as_bytes())?;
    }
    out.flush()
}

fn text(set: &Set, welcome: &Welcome) -> String {
    let Set {
        database_url,
        version,
        server,
        web,
        ..
    } = set;
    let tenant = &set.tenant.url;
    let Welcome {
        people,
        email,
        password,
        ..
    } = welcome;
    let People { all, active } = people;
    let millis = welcome.took.as_millis();
    let sql = match psql() {
        Some(psql) => format!("{psql} {database_url}"),
        None => format!(
            "(psql is not installed here; any other SQL tool may take this)\n  {database_url}"
        ),
    };
    let (insert, update, delete) = (
        YOU.insert("Artist").replace('\n', "\n  "),
        YOU.set_role("Admin"),
        YOU.delete(),
    );
    let place = database_url.rsplit('@').next().unwrap_or_default();
    let curl = curl(set, welcome);
    let roster = this_program();
    let exports = set
        .variables
        .iter()
        .map(|(name, value)| format!("  export {name}={value}\n"))
        .collect::<String>();
    let exports = exports.trim_end();
    format!(
        "\
Roster demo: a users table rules a (make-believe) Auth0, all on this machine.

  PostgreSQL {version:<5} {place}
  Auth0 emulator   {tenant}
  Roster           {server}  (reactor and server)
  its console      {server}/console
  an application   {web}

{all} people are in the table. {active} of them had an account in Auth0 and a mail each
{millis} ms after the commit; the other one is blocked.

1. Change who there is, with any SQL tool:

  {sql}

  {insert}
  {update}
  {delete}

2. See what becomes of it in Auth0; the link of a mail sets a password:

  {tenant}/_emulator/users
  {tenant}/_emulator/mail

3. Log in with a browser as {email}, password {password}:

  {web}
  {server}/console

4. Ask Roster as the application does, with that person's token:

  {curl}

5. Look inside; with these every command works on the demo:

{exports}
  {roster} status
  {roster} doctor
  {roster} audit

The same by itself, with a verdict: {roster} demo --tour
Ctrl-C stops everything and leaves nothing behind.
"
    )
}

/// Every address and what it takes to use it, for programs.
fn line(set: &Set, welcome: &Welcome) -> serde_json::Value {
    let (tenant, server) = (&set.tenant.url, &set.server);
    json!({
        "database_url": set.database_url,
        "psql": psql().map(|psql| format!("{psql} {}", set.database_url)),
        "emulator": tenant,
        "users": format!("{tenant}/_emulator/users"),
        "mail": format!("{tenant}/_emulator/mail"),
        "requests": format!("{tenant}/_emulator/requests"),
        "issuer": format!("{tenant}/"),
        "jwks": format!("{tenant}/.well-known/jwks.json"),
        "application": set.web,
        "server": server,
        "console": format!("{server}/console"),
        "me": set.application.me_url(),
        "readyz": format!("{server}/readyz"),
        "metrics": format!("{server}/metrics"),
        "email": welcome.email,
        "password": welcome.password,
        "token": welcome.tokens.access_token,
        "curl": curl(set, welcome),
        "environment": set.variables,
        "people": welcome.people.all,
        "mirrored_ms": welcome.took.as_secs_f64() * 1000.0,
    })
}

/// The token stands in a file, since on a line it would fill half a screen.
fn curl(set: &Set, welcome: &Welcome) -> String {
    format!(
        "curl -s -H @{} {}",
        welcome.header.display(),
        set.application.me_url()
    )
}

/// How to call psql here, if it is installed.
fn psql() -> Option<String> {
    if in_path("psql").is_some() {
        return Some("psql".to_owned());
    }
    let beside_the_server = Binaries::find().ok()?.psql()?;
    Some(beside_the_server.display().to_string())
}

/// How to call this very program.
fn this_program() -> String {
    let Ok(me) = env::current_exe() else {
        return "roster".to_owned();
    };
    let is_me = |path: &Path| path.canonicalize().ok() == me.canonicalize().ok();
    if in_path("roster").is_some_and(|found| is_me(&found)) {
        return "roster".to_owned();
    }
    let here = env::current_dir().unwrap_or_default();
    me.strip_prefix(here).unwrap_or(&me).display().to_string()
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}
