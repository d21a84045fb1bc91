//! What the sessions of a storm say to the database: one transaction of each kind, made from a seed.
//!
//! | kind | what it is |
//! |---|---|
//! | `Insert`, `Upsert`, `Copy` | people come: by INSERT, by ON CONFLICT, three at a time by COPY |
//! | `Again`, `Recycle` | one who left comes back under the old key; another person gets a key that is free |
//! | `Role`, `Toggle`, `Flip`, `Name`, `Blocked` | one column changes; roles go back and forth, those of some people all the time |
//! | `Rename`, `Swap`, `Round` | an address changes, sometimes to one that another person had; two exchange theirs, three pass theirs on |
//! | `Delete`, `Replace`, `Move`, `Key` | a row goes; goes and comes back in one transaction; the same with its Auth0 id; changes its key |
//! | `RolePermission`, `UserPermission` | what a role, or one person, may do beyond it |
//! | `Rollback`, `Savepoint` | what is taken back, TRUNCATE among it |
//! | `Repeatable`, `Serializable`, `Several` | several statements in one transaction, tried again where they fail to serialize |
//! | `Silent` | with the bell off, so that only the poll finds it |
//! | `Unseen`, `Detached` | behind the triggers' back: one of them disabled, all of them taken off |
//!
//! People are told apart by a column of the application's own, `person`, which Roster does not mirror. Some of them are spared what
//! would make the right end a matter of taste: see [`crate::storm::people`].

use rand::{RngExt, rngs::Xoshiro256PlusPlus, seq::IndexedRandom};

use super::people::{self, ROLES};

/// Where a storm's choices come from: a named algorithm, so that a seed means the same with another version of the library.
pub(super) type Dice = Xoshiro256PlusPlus;

/// See the table above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Insert,
    Upsert,
    Copy,
    Again,
    Recycle,
    Role,
    Toggle,
    Flip,
    Name,
    Blocked,
    Rename,
    Swap,
    Round,
    Delete,
    Replace,
    Move,
    Key,
    RolePermission,
    UserPermission,
    Rollback,
    Savepoint,
    Repeatable,
    Serializable,
    Several,
    Silent,
    Unseen,
    Detached,
}

/// A transaction, or statements that commit each by itself.
#[derive(Debug, Clone)]
pub(super) struct Tx {
    pub(super) kind: Kind,
    /// Absent: each statement commits by itself.
    pub(super) begin: Option<&'static str>,
    pub(super) statements: Vec<String>,
    /// `commit` or `rollback`.
    pub(super) end: &'static str,
    /// Between two statements, in milliseconds.
    pub(super) think_ms: u64,
}

impl Tx {
    /// A transaction of this kind.
    pub(super) fn of(kind: Kind, dice: &mut Dice) -> Self {
        let alone = |sql: String| (None, vec![sql], "commit");
        let (begin, statements, end) = match kind {
            Kind::Insert => alone(insert(people::any(dice), dice)),
            Kind::Upsert => alone(upsert(people::ordinary(dice), dice)),
            Kind::Copy => alone(copy(dice)),
            Kind::Again => alone(again(people::ordinary(dice), dice)),
            Kind::Recycle => alone(recycle(people::ordinary(dice), dice)),
            Kind::Role => alone(role(people::any(dice), dice)),
            Kind::Toggle => alone(toggle(people::busy(dice))),
            Kind::Flip => alone(toggle(dice.random_range(people::ORDINARY))),
            Kind::Name => alone(name(people::any(dice), dice)),
            Kind::Blocked => alone(blocked(people::blockable(dice), dice)),
            Kind::Rename => alone(rename(people::movable(dice), dice)),
            Kind::Delete => alone(delete(people::removable(dice))),
            Kind::Key => alone(key(people::movable(dice), dice)),
            Kind::UserPermission => alone(user_permission(people::any(dice), dice)),
            Kind::RolePermission => alone(role_permission(dice)),
            Kind::Swap => pass_on(2, dice),
            Kind::Round => pass_on(3, dice),
            Kind::Replace => in_one(replace(people::ordinary(dice), dice)),
            Kind::Move => in_one(moved(people::ordinary(dice))),
            Kind::Rollback => (Some("begin"), in_vain(dice), "rollback"),
            Kind::Savepoint => in_one(savepoint(dice)),
            Kind::Repeatable => isolated("begin isolation level repeatable read", dice),
            Kind::Serializable => isolated("begin isolation level serializable", dice),
            Kind::Several => in_one((0..dice.random_range(3..6)).map(|_| simple(dice)).collect()),
            Kind::Silent => in_one(vec!["set local roster.bell = off".to_owned(), simple(dice)]),
            Kind::Unseen => in_one(unseen(dice)),
            Kind::Detached => in_one(vec![
                "select roster.detach()".to_owned(),
                role(people::shadow(dice), dice),
                blocked(people::shadow(dice), dice),
                "select roster.attach()".to_owned(),
            ]),
        };
        Self {
            kind,
            begin,
            statements,
            end,
            think_ms: dice.random_range(0..4),
        }
    }

    /// How many of its statements change rows of the application.
    pub(super) fn changes(&self) -> usize {
        let words = ["insert", "update", "delete", "truncate", "copy"];
        self.statements
            .iter()
            .filter(|sql| words.iter().any(|word| sql.starts_with(word)))
            .count()
    }
}

type Parts = (Option<&'static str>, Vec<String>, &'static str);

fn in_one(statements: Vec<String>) -> Parts {
    (Some("begin"), statements, "commit")
}

fn isolated(begin: &'static str, dice: &mut Dice) -> Parts {
    let look = "select count(*), max(role) from users".to_owned();
    (
        Some(begin),
        vec![look, simple(dice), simple(dice)],
        "commit",
    )
}

/// A change of one row, as most are.
fn simple(dice: &mut Dice) -> String {
    match dice.random_range(0..6) {
        0 => name(people::any(dice), dice),
        1 => rename(people::movable(dice), dice),
        2 => blocked(people::blockable(dice), dice),
        3 => user_permission(people::any(dice), dice),
        _ => role(people::any(dice), dice),
    }
}

fn insert(person: u32, dice: &mut Dice) -> String {
    format!(
        "insert into users (email, name, role, person) select '{}', '{}', '{}', {person} \
         where not exists (select from users where person = {person})",
        people::address(person, dice),
        people::name(person, dice),
        ROLES.choose(dice).expect("a role"),
    )
}

fn upsert(person: u32, dice: &mut Dice) -> String {
    let address = people::home(person);
    format!(
        "insert into users (email, name, role, person) select '{address}', '{}', '{}', {person} \
         where not exists (select from users where person = {person} and email <> '{address}') \
         on conflict (email) do update set role = excluded.role, name = excluded.name",
        people::name(person, dice),
        ROLES.choose(dice).expect("a role"),
    )
}

/// Three who were never there before.
fn copy(dice: &mut Dice) -> String {
    let first = dice.random_range(1_000..1_000_000);
    let rows: String = (first..first + 3)
        .map(|person| format!("{}\tCopied\tArtist\t{person}\n", people::home(person)))
        .collect();
    format!("copy users (email, name, role, person) from stdin\n{rows}")
}

fn again(person: u32, dice: &mut Dice) -> String {
    format!(
        "insert into users (id, email, name, role, person) select f.id, f.email, '{}', '{}', {person} from storm.freed f \
         where f.person = {person} and not exists (select from users u where u.person = {person} or u.id = f.id) \
         order by f.number desc limit 1",
        people::name(person, dice),
        ROLES.choose(dice).expect("a role"),
    )
}

fn recycle(person: u32, dice: &mut Dice) -> String {
    format!(
        "insert into users (id, email, name, role, person) select f.id, '{}', '{}', 'Artist', {person} from storm.freed f \
         where f.person >= {} and f.person <> {person} and not exists (select from users u where u.person = {person} or u.id = f.id) \
         order by f.number desc limit 1",
        people::address(person, dice),
        people::name(person, dice),
        people::ORDINARY.start,
    )
}

fn role(person: u32, dice: &mut Dice) -> String {
    let role = ROLES.choose(dice).expect("a role");
    format!("update users set role = '{role}' where person = {person}")
}

fn toggle(person: u32) -> String {
    format!(
        "update users set role = case role when 'Admin' then 'Artist' else 'Admin' end where person = {person}"
    )
}

fn name(person: u32, dice: &mut Dice) -> String {
    let name = people::name(person, dice);
    format!("update users set name = '{name}' where person = {person}")
}

fn blocked(person: u32, dice: &mut Dice) -> String {
    let blocked = dice.random_bool(0.5);
    format!("update users set blocked = {blocked} where person = {person}")
}

fn rename(person: u32, dice: &mut Dice) -> String {
    // Now and then to where another person is at home, who may be gone.
    let home = match dice.random_bool(0.2) {
        true => people::ordinary(dice),
        false => person,
    };
    let address = people::address(home, dice);
    format!("update users set email = '{address}' where person = {person}")
}

fn delete(person: u32) -> String {
    format!("delete from users where person = {person}")
}

fn key(person: u32, dice: &mut Dice) -> String {
    let address = match dice.random_bool(0.3) {
        true => format!(", email = '{}'", people::address(person, dice)),
        false => String::new(),
    };
    format!("update users set id = nextval('users_id_seq'){address} where person = {person}")
}

fn user_permission(person: u32, dice: &mut Dice) -> String {
    let permission = format!("own:{}", dice.random_range(0..2));
    match dice.random_bool(0.6) {
        true => format!(
            "insert into user_permissions select id, '{permission}' from users where person = {person} on conflict do nothing"
        ),
        false => format!(
            "delete from user_permissions p using users u where u.id = p.user_id and u.person = {person} and p.permission = '{permission}'"
        ),
    }
}

fn role_permission(dice: &mut Dice) -> String {
    let role = ROLES.choose(dice).expect("a role");
    match dice.random_bool(0.5) {
        true => format!(
            "insert into role_permissions values ('{role}', 'more:1') on conflict do nothing"
        ),
        false => {
            format!("delete from role_permissions where role = '{role}' and permission = 'more:1'")
        }
    }
}

/// Each of some people gets the address of the next one, by way of addresses that are nobody's; sometimes in one transaction.
fn pass_on(number: usize, dice: &mut Dice) -> Parts {
    let mut who = Vec::new();
    while who.len() < number {
        let person = people::movable(dice);
        if !who.contains(&person) {
            who.push(person);
        }
    }
    let all = list(&who);
    let pairs: Vec<String> = (0..number)
        .map(|i| format!("({}, {})", who[i], who[(i + 1) % number]))
        .collect();
    let statements = vec![
        format!(
            "update users set note = email, email = 'moving-' || person || '@example.test' where person in ({all}) \
             and (select count(*) from users where person in ({all})) = {number}"
        ),
        format!(
            "update users u set email = o.note from users o where (u.person, o.person) in ({}) \
             and u.email like 'moving-%' and o.email like 'moving-%' and o.note is not null",
            pairs.join(", ")
        ),
    ];
    match dice.random_bool(0.7) {
        true => in_one(statements),
        false => (None, statements, "commit"),
    }
}

fn list(people: &[u32]) -> String {
    let texts: Vec<String> = people.iter().map(u32::to_string).collect();
    texts.join(", ")
}

fn last_freed(person: u32, columns: &str, values: &str) -> String {
    format!(
        "insert into users (id, person{columns}) select f.id, f.person{values} from storm.freed f \
         where f.person = {person} and f.txid = pg_current_xact_id() \
         and not exists (select from users u where u.person = {person}) order by f.number desc limit 1"
    )
}

/// Gone and there again within one transaction: still the same person, whatever the address.
fn replace(person: u32, dice: &mut Dice) -> Vec<String> {
    let address = people::address(person, dice);
    vec![
        delete(person),
        last_freed(
            person,
            ", email, name, role",
            &format!(", '{address}', 'Replaced', 'Editor'"),
        ),
    ]
}

/// As a restore of one row: everything as it was, the Auth0 id too.
fn moved(person: u32) -> Vec<String> {
    vec![
        delete(person),
        last_freed(
            person,
            ", email, auth0_user_id, name",
            ", f.email, f.auth0_user_id, 'Restored'",
        ),
    ]
}

fn in_vain(dice: &mut Dice) -> Vec<String> {
    let worst = match dice.random_bool(0.2) {
        true => "truncate users cascade".to_owned(),
        false => delete(people::removable(dice)),
    };
    vec![simple(dice), worst, insert(people::ordinary(dice), dice)]
}

fn savepoint(dice: &mut Dice) -> Vec<String> {
    vec![
        simple(dice),
        "savepoint before".to_owned(),
        delete(people::removable(dice)),
        simple(dice),
        "rollback to savepoint before".to_owned(),
        simple(dice),
    ]
}

/// The trigger is disabled and enabled again by the transaction itself, so that nobody else's change is unseen.
fn unseen(dice: &mut Dice) -> Vec<String> {
    let person = people::shadow(dice);
    let (op, change) = match dice.random_range(0..5) {
        0 => ("insert", insert(person, dice)),
        1 => ("delete", delete(person)),
        2 => ("update", blocked(person, dice)),
        _ => ("update", role(person, dice)),
    };
    vec![
        format!("alter table users disable trigger roster_{op}"),
        change,
        format!("alter table users enable always trigger roster_{op}"),
    ]
}
