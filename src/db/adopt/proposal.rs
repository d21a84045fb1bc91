//! From what a table looks like to the SQL that maps it.

use super::shape::{Column, Link, Shape};
use crate::db::{migrate::WRITE_BACK, statement::literal};

/// What could not be guessed, with what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    #[error(
        "{table} has no key of one column that is unique and not null: a user is told from another by it"
    )]
    Key { table: String },
    #[error(
        "none of the columns of {table} ({columns}) is called as addresses are: name it, as in --column email=COLUMN"
    )]
    Email { table: String, columns: String },
    #[error("{table} has no column {column}; it has {columns}")]
    Column {
        table: String,
        column: String,
        columns: String,
    },
}

/// SQL for a person to read, and then to run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Proposal {
    /// The mapping as a query.
    pub select: String,
    /// The mapping as `roster.desired_users`.
    pub view: String,
    /// Statements for after `roster migrate`: watch the tables, write the id back, import.
    pub after: Vec<String>,
    /// Indexes that are missing, each to be built by itself.
    pub indexes: Vec<String>,
}

/// Names that columns go by, in lower case without `_`; the first that is there is it.
const EMAIL: &[&str] = &[
    "email",
    "emailaddress",
    "mail",
    "useremail",
    "primaryemail",
    "emailaddr",
    "login",
    "upn",
];
const NAME: &[&str] = &["name", "fullname", "displayname", "realname", "username"];
const FIRST: &[&str] = &["firstname", "givenname", "forename"];
const LAST: &[&str] = &["lastname", "familyname", "surname"];
const ROLE: &[&str] = &["role", "rolename", "userrole", "jobrole"];
const BLOCKED: &[&str] = &[
    "blocked",
    "isblocked",
    "disabled",
    "isdisabled",
    "suspended",
    "issuspended",
    "locked",
    "islocked",
    "banned",
    "isbanned",
    "inactive",
    "isinactive",
    "deactivated",
    "isdeactivated",
];
const ACTIVE: &[&str] = &["active", "isactive", "enabled", "isenabled"];
const GONE: &[&str] = &[
    "deletedat",
    "removedat",
    "archivedat",
    "deletedon",
    "terminatedat",
];
const DELETED: &[&str] = &[
    "deleted",
    "isdeleted",
    "removed",
    "isremoved",
    "archived",
    "isarchived",
];
const AUTH0: &[&str] = &["auth0userid", "auth0id", "auth0sub", "auth0"];
/// What a table of roles calls them.
const TITLE: &[&str] = &["name", "rolename", "title", "label", "slug", "code"];

/// Proposes a mapping. `said` are the columns a person named, by what they hold (`email`, `name`, `role`, `blocked`, `auth0_user_id`, `key`).
///
/// # Errors
/// [`Unclear`].
pub fn propose(shape: &Shape, said: &[(String, String)]) -> Result<Proposal, Unclear> {
    let names = || {
        let names: Vec<&str> = shape.columns.iter().map(|column| &*column.name).collect();
        names.join(", ")
    };
    for (_, column) in said {
        if !shape.columns.iter().any(|one| one.name == *column) {
            return Err(Unclear::Column {
                table: shape.table.clone(),
                column: column.clone(),
                columns: names(),
            });
        }
    }
    let of = |what: &str, words: &[&str]| {
        let said = said.iter().find(|(known, _)| known == what);
        match said {
            Some((_, column)) => shape.columns.iter().find(|one| one.name == *column),
            None => called(&shape.columns, words),
        }
    };
    let key = of("key", &[]).map(|column| column.name.clone());
    let key = key
        .or_else(|| shape.key.clone())
        .ok_or_else(|| Unclear::Key {
            table: shape.table.clone(),
        })?;
    let email = of("email", EMAIL).ok_or_else(|| Unclear::Email {
        table: shape.table.clone(),
        columns: names(),
    })?;
    let mut watched = vec![key.clone(), email.name.clone()];
    let mut watches = Vec::new();

    let name = match of("name", NAME) {
        Some(column) => read(&mut watched, column, "::text"),
        None => match (called(&shape.columns, FIRST), called(&shape.columns, LAST)) {
            (Some(first), Some(last)) => {
                let both = [first, last].map(|column| read(&mut watched, column, ""));
                format!("nullif(concat_ws(' ', {}), '')", both.join(", "))
            }
            _ => "null::text".to_owned(),
        },
    };
    let mut permissions = "'{}'::text[]".to_owned();
    let role = match of("role", ROLE) {
        Some(column) => read(&mut watched, column, "::text"),
        None => match role_elsewhere(shape, &key) {
            Some(elsewhere) => {
                watched.extend(elsewhere.own_column);
                watches.extend(elsewhere.watches);
                if let Some(all) = elsewhere.permissions {
                    permissions = all;
                }
                elsewhere.role
            }
            None => "null::text /* no column or table of roles was found */".to_owned(),
        },
    };
    let blocked = match (of("blocked", BLOCKED), called(&shape.columns, ACTIVE)) {
        (Some(column), _) => truth(&mut watched, column, false),
        (None, Some(column)) => truth(&mut watched, column, true),
        (None, None) => not_said(&shape.columns),
    };
    let auth0 = of("auth0_user_id", AUTH0);
    let id = match auth0 {
        Some(column) => read(&mut watched, column, "::text"),
        None => "null::text".to_owned(),
    };
    let scope = match (
        called(&shape.columns, GONE),
        called(&shape.columns, DELETED),
    ) {
        (Some(column), _)
            if column.type_name.starts_with("timestamp") || column.type_name == "date" =>
        {
            format!("\nwhere {} is null", read(&mut watched, column, ""))
        }
        (_, Some(column)) if column.type_name == "boolean" => {
            format!("\nwhere {} is not true", read(&mut watched, column, ""))
        }
        _ => String::new(),
    };

    let (table, quoted) = (&shape.table, quote(&key));
    let address = quote(&email.name);
    let select = format!(
        "select\n    u.{quoted}::text as user_key,\n    u.{address}::text as email,\n    {name} as name,\n    {role} as role,\n    \
         {permissions} as permissions,\n    {blocked} as blocked,\n    {id} as auth0_user_id,\n    '{{}}'::jsonb as app_metadata,\n    \
         '{{}}'::jsonb as user_metadata\nfrom {table} u{scope}"
    );
    let list: Vec<String> = watched.iter().map(|column| literal(column)).collect();
    let mut after = vec![format!(
        "select roster.watch({}, key => {}, columns => array[{}]);\n",
        literal(table),
        literal(&key),
        list.join(", ")
    )];
    after.extend(watches);
    if let Some(column) = auth0 {
        after.push(write_back(table, &quoted, &quote(&column.name)));
    }
    after.push(format!(
        "select roster.import_into({}, {});\n",
        literal(table),
        literal(&import_columns(
            &email.name,
            of("name", NAME),
            of("role", ROLE),
            of("blocked", BLOCKED)
        ))
    ));
    Ok(Proposal {
        view: format!(
            "create view roster.desired_users as\n{select};\ncomment on view roster.desired_users is\n    \
             'Who is to be in Auth0, and how: the WHERE is the scope, the SELECT list the mapping. Yours to replace; keep the columns.';\n"
        ),
        select,
        after,
        indexes: indexes(shape, &key, &email.name),
    })
}

fn called<'a>(columns: &'a [Column], words: &[&str]) -> Option<&'a Column> {
    let plain = |column: &Column| column.name.to_lowercase().replace(['_', '-', ' '], "");
    words
        .iter()
        .find_map(|word| columns.iter().find(|column| plain(column) == *word))
}

fn read(watched: &mut Vec<String>, column: &Column, cast: &str) -> String {
    if !watched.contains(&column.name) {
        watched.push(column.name.clone());
    }
    format!("u.{}{cast}", quote(&column.name))
}

/// A column as whether somebody is blocked.
fn truth(watched: &mut Vec<String>, column: &Column, opposite: bool) -> String {
    let read = read(watched, column, "");
    match (&*column.type_name, opposite) {
        ("boolean", false) => format!("{read} is true"),
        ("boolean", true) => format!("{read} is false"),
        (name, false) if name.starts_with("timestamp") => format!("{read} is not null"),
        _ => format!(
            "false {}",
            remark(&format!(
                "{} is no boolean: say when it means blocked",
                column.name
            ))
        ),
    }
}

/// Nobody, for want of a column called so; others that say yes or no are named, since one of them may mean it.
fn not_said(columns: &[Column]) -> String {
    let others = columns.iter().filter(|column| {
        column.type_name == "boolean" && called(std::slice::from_ref(column), DELETED).is_none()
    });
    let others: Vec<&str> = others.map(|column| &*column.name).collect();
    let which = match others.is_empty() {
        true => String::new(),
        false => format!(
            "; does one of these mean it: {}? --column blocked=COLUMN",
            others.join(", ")
        ),
    };
    format!(
        "false {}",
        remark(&format!(
            "no column is called as those are that say who is blocked{which}"
        ))
    )
}

/// Whatever a column is called, the comment ends where it is to.
fn remark(words: &str) -> String {
    format!("/* {} */", words.replace("*/", "* /").replace("/*", "/ *"))
}

/// Roles that stand in a table of their own.
struct Elsewhere {
    role: String,
    permissions: Option<String>,
    own_column: Option<String>,
    watches: Vec<String>,
}

fn role_elsewhere(shape: &Shape, key: &str) -> Option<Elsewhere> {
    let is_of_roles = |link: &Link| link.to.to_lowercase().contains("role");
    let titled = |link: &Link| called(&link.to_columns, TITLE).map(|column| column.name.clone());
    let names = |link: &Link, title: &str| {
        // A role's other name is of all who have it.
        format!(
            "select roster.watch({}, columns => array[{}, {}]);\n",
            literal(&link.to),
            literal(&link.to_column),
            literal(title)
        )
    };
    if let Some(link) = shape.out.iter().find(|link| is_of_roles(link)) {
        let title = titled(link)?;
        return Some(Elsewhere {
            role: format!(
                "(select r.{}::text from {} r where r.{} = u.{})",
                quote(&title),
                link.to,
                quote(&link.to_column),
                quote(&link.from_column)
            ),
            permissions: None,
            own_column: Some(link.from_column.clone()),
            watches: vec![names(link, &title)],
        });
    }
    let (mine, role) = shape.beside.iter().find(|(_, other)| is_of_roles(other))?;
    let title = titled(role)?;
    let joined = format!(
        "from {} m join {} r on r.{} = m.{} where m.{} = u.{}",
        mine.from,
        role.to,
        quote(&role.to_column),
        quote(&role.from_column),
        quote(&mine.from_column),
        quote(key)
    );
    let title_of = format!("r.{}::text", quote(&title));
    Some(Elsewhere {
        role: format!(
            "(select min({title_of}) {joined}) /* of several roles the first by name; all are permissions */"
        ),
        permissions: Some(format!(
            "array(select 'role:' || {title_of} {joined} order by 1)"
        )),
        own_column: None,
        watches: vec![
            format!(
                "select roster.watch({}, key => {}, columns => array[{}, {}]);\n",
                literal(&mine.from),
                literal(&mine.from_column),
                literal(&mine.from_column),
                literal(&role.from_column)
            ),
            names(role, &title),
        ],
    })
}

/// `triggers/write_back.sql`, for another table.
fn write_back(table: &str, key: &str, id: &str) -> String {
    let (_, function) = WRITE_BACK
        .split_once("create function")
        .expect("a function");
    let function = function
        .replace("public.users u", &format!("{table} u"))
        .replace("u.id::text", &format!("u.{key}::text"))
        .replace("u.auth0_user_id", &format!("u.{id}::text"))
        .replace("set auth0_user_id =", &format!("set {id} ="));
    format!("create or replace function{function}\n")
}

fn import_columns(
    email: &str,
    name: Option<&Column>,
    role: Option<&Column>,
    blocked: Option<&Column>,
) -> String {
    let mut columns = serde_json::Map::new();
    columns.insert("email".into(), email.into());
    for (known, column) in [("name", name), ("role", role), ("blocked", blocked)] {
        if let Some(column) = column {
            columns.insert(known.into(), column.name.clone().into());
        }
    }
    serde_json::Value::Object(columns).to_string()
}

/// Look-ups are by the key as text and by the address without case.
fn indexes(shape: &Shape, key: &str, email: &str) -> Vec<String> {
    let plain = |text: &str| {
        text.replace([' ', '(', ')', '"'], "")
            .replace("::text", "")
            .replace("::charactervarying", "")
    };
    let type_of = |name: &str| {
        let column = shape.columns.iter().find(|column| column.name == name);
        column.map_or("", |column| &*column.type_name)
    };
    let has = |wanted: &str, as_it_is: bool| {
        shape.indexed.iter().any(|one| {
            plain(one) == plain(wanted)
                && (as_it_is || one.contains("::text") || one.contains("lower"))
        })
    };
    let mut missing = Vec::new();
    let (key_text, key_is_text) = (format!("({}::text)", quote(key)), type_of(key) == "text");
    if !has(&key_text, key_is_text) {
        missing.push(format!(
            "create index concurrently on {} ({key_text});\n",
            shape.table
        ));
    }
    let lower = format!("lower({}::text)", quote(email));
    if !has(&lower, false) {
        missing.push(format!(
            "create index concurrently on {} ({lower});\n",
            shape.table
        ));
    }
    missing
}

/// As PostgreSQL's `quote_ident`, but that it quotes words it need not.
fn quote(name: &str) -> String {
    let mut letters = name.chars();
    let is_plain = letters
        .next()
        .is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && letters.all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_')
        && ![
            "user", "order", "group", "end", "default", "table", "primary", "check", "all", "desc",
        ]
        .contains(&name);
    match is_plain {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}
