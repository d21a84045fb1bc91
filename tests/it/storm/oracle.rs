//! What Auth0 has to hold once a storm is over, told from the application's tables and from what other people surely did.
//!
//! It asks neither the reactor nor Roster's views, with one exception: an invitation may be missing where Roster *says* that it is
//! staged or unknown, and then only if something happened in this storm that may have that effect.
//!
//! * Each live row: one account of its address, with its name, role, permissions and block, and its id in the row.
//! * Every other account that Roster linked: blocked. One that was there before and was never linked: untouched.
//! * A Google log-in that Roster was told of: role, permissions and block of its user, address and name its own.
//! * Mails: nobody gets two in a row at one address, and each live account's last one went to the address it has, unless excused (nobody
//!   logs in here, so who has a new address is invited anew). An address that never changed hands gets at most one, however often its row
//!   came and went.
//! * Where accounts are deleted, whoever was removed may be another account afterwards, with another invitation and without what others
//!   wrote on the old one.
//! * Keys of others in the metadata, and bans by others, stand.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::{
    faults::Counts,
    operator::{self, Known},
    people,
    place::Stage,
};
use crate::support::world::text;

/// One row of the application's table, with all that hangs on it.
struct Row {
    person: u32,
    key: String,
    id: Option<String>,
    email: String,
    name: Option<String>,
    role: String,
    blocked: bool,
    permissions: Vec<String>,
}

/// What is not as it has to be; empty if all is.
pub(super) async fn verdict(stage: &Stage<'_>, counts: &Counts) -> Vec<String> {
    let rows = rows(stage).await;
    let accounts = stage.tenant.list("users").await;
    let mut wrong = Vec::new();
    let mut told = |what: String| wrong.push(what);
    let ours: Vec<&Value> = accounts.iter().filter(|a| is_ours(a)).collect();
    for row in &rows {
        let mut faults = live(stage, row, &ours);
        if !faults.is_empty() {
            faults.push(said(stage, &row.key).await);
        }
        for what in faults {
            told(format!("person {}: {what}", row.person));
        }
    }
    let addresses: BTreeSet<&str> = rows.iter().map(|row| row.email.as_str()).collect();
    for account in &ours {
        let is_live = addresses.contains(account["email"].as_str().unwrap_or_default());
        if !is_live && !is_untouched(account) && account["blocked"] != true {
            told(format!(
                "{} has no row and is not blocked",
                account["user_id"]
            ));
        }
    }
    for what in google(stage, &rows, &accounts).await {
        told(what);
    }
    for what in others(stage, &accounts) {
        told(what);
    }
    for what in mails(stage, &rows, &ours, counts).await {
        told(what);
    }
    wrong
}

/// Live and in Auth0 as it should be?
fn live(stage: &Stage<'_>, row: &Row, ours: &[&Value]) -> Vec<String> {
    let mine: Vec<&&Value> = ours
        .iter()
        .filter(|a| a["email"] == row.email.as_str())
        .collect();
    let account = match mine.as_slice() {
        [] if row.blocked && row.id.is_none() => return Vec::new(),
        // Nobody is created or looked for on behalf of a blocked row.
        [account] if row.blocked && row.id.is_none() && is_untouched(account) => return Vec::new(),
        [account] => account,
        others => {
            let ids: Vec<&Value> = others.iter().map(|account| &account["user_id"]).collect();
            return vec![format!("{} has {} accounts: {ids:?}", row.email, ids.len())];
        }
    };
    let mut wrong = Vec::new();
    let id = text(&account["user_id"]);
    if row.id.as_deref() != Some(&id) {
        wrong.push(format!("the row says {:?}, the account is {id}", row.id));
    }
    if let Some(name) = row.name.as_deref().filter(|name| !name.is_empty()) {
        let name: String = name.chars().take(150).collect();
        if account["name"] != name {
            wrong.push(format!("name {} is not {name}", account["name"]));
        }
    }
    let banned = Known::all(&stage.known.bans).contains(&id);
    let perhaps = Known::all(&stage.known.perhaps_banned).contains(&id);
    let blocked = account["blocked"] == true;
    if (banned || !perhaps) && blocked != (row.blocked || banned) {
        wrong.push(format!(
            "blocked is {blocked}; row {}, ban {banned}",
            row.blocked
        ));
    }
    wrong.extend(granted(row, account));
    wrong
}

/// Role and permissions, which every account of a person has.
fn granted(row: &Row, account: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let metadata = &account["app_metadata"];
    if metadata["role"] != row.role.as_str() {
        wrong.push(format!("role {} is not {}", metadata["role"], row.role));
    }
    let permissions: Vec<String> = match metadata["permissions"].as_array() {
        Some(all) => all.iter().map(text).collect(),
        None => vec!["(none at all)".to_owned()],
    };
    let permissions = sorted(permissions);
    if permissions != row.permissions {
        wrong.push(format!(
            "permissions {permissions:?} are not {:?}",
            row.permissions
        ));
    }
    wrong
}

async fn google(stage: &Stage<'_>, rows: &[Row], accounts: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for person in people::GOOGLE {
        let id = operator::google(person);
        if !Known::all(&stage.known.followed).contains(&id) {
            continue;
        }
        let Some(account) = accounts.iter().find(|a| a["user_id"] == id.as_str()) else {
            wrong.push(format!("{id} is gone"));
            continue;
        };
        if account["email"] != people::home(person).as_str() {
            wrong.push(format!("{id}: its address is not Roster's to change"));
        }
        let row = rows.iter().find(|row| row.person == person);
        let blocked = row.is_none_or(|row| row.blocked);
        // Nobody is looked for on behalf of a blocked row, so that this may be a former user's still.
        let mut faults = match row {
            Some(row) if !row.blocked || row.id.is_some() => granted(row, account),
            _ => Vec::new(),
        };
        if (account["blocked"] == true) != blocked {
            faults.push(format!("blocked is {}", account["blocked"]));
        }
        if !faults.is_empty() {
            faults.push(said(stage, &id).await);
        }
        wrong.extend(faults.into_iter().map(|what| format!("{id}: {what}")));
    }
    wrong
}

/// What others wrote or decided.
fn others(stage: &Stage<'_>, accounts: &[Value]) -> Vec<String> {
    let by_id: HashMap<&str, &Value> = accounts
        .iter()
        .filter_map(|a| Some((a["user_id"].as_str()?, a)))
        .collect();
    let nobody = json!({});
    let mut wrong = Vec::new();
    for (id, key) in Known::all(&stage.known.marks) {
        let account = match by_id.get(id.as_str()) {
            Some(account) => account,
            None if stage.deletes => continue,
            None => &nobody,
        };
        for metadata in ["app_metadata", "user_metadata"] {
            if account[metadata][&key] != json!({"by": "them"}) {
                wrong.push(format!("{id} lost {metadata}.{key}"));
            }
        }
    }
    for person in people::ADOPTED {
        let id = operator::earlier(person);
        let account = by_id.get(id.as_str()).copied().unwrap_or(&nobody);
        if account["app_metadata"]["theirs"] != person {
            wrong.push(format!("{id} lost what it had before"));
        }
    }
    for id in Known::all(&stage.known.bans) {
        if by_id.get(id.as_str()).is_none_or(|a| a["blocked"] != true) {
            wrong.push(format!("{id} was banned and is not any more"));
        }
    }
    wrong
}

/// Every change of an address: a row that goes and comes back in one transaction is one person's, who may have another one by that.
const MOVES: &str = "select before, after from storm.history where before <> after \
     union all select g.before, c.after from storm.history g join storm.history c on c.txid = g.txid and c.person = g.person \
     where g.op = 'delete' and c.op = 'insert' and c.after <> g.before";

async fn mails(stage: &Stage<'_>, rows: &[Row], ours: &[&Value], counts: &Counts) -> Vec<String> {
    let mails = stage.tenant.list("mail").await;
    let mut wrong = Vec::new();
    let arrivals = format!("select after, count(*) from ({MOVES}) m group by 1");
    let arrivals: HashMap<String, i64> = stage
        .control
        .query(&arrivals, &[])
        .await
        .expect(&arrivals)
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    // To whom the last mails about an account went, and how many in a row.
    let mut last: HashMap<&str, (&str, i64)> = HashMap::new();
    let mut by_address: HashMap<&str, usize> = HashMap::new();
    for mail in &mails {
        let id = mail["user_id"].as_str().unwrap_or("nobody");
        let to = mail["to"].as_str().unwrap_or_default();
        *by_address.entry(to).or_default() += 1;
        let in_a_row = match last.get(id) {
            Some((before, number)) if *before == to => number + 1,
            _ => 1,
        };
        last.insert(id, (to, in_a_row));
        // Each return to an address is a new epoch; the mails to where it was meanwhile may be lost.
        if in_a_row > 1 + arrivals.get(to).copied().unwrap_or_default() {
            let said = said(stage, id).await;
            wrong.push(format!("{id} was mailed twice: {said}"));
        }
    }
    let steady = format!(
        "with moves as ({MOVES}) \
         select email, (select count(*) from storm.history h where $1 and h.op = 'delete' and h.before = email) from ( \
            select coalesce(before, after) as email from storm.history \
            except select before from moves except select after from moves) s"
    );
    for row in stage
        .control
        .query(&steady, &[&stage.deletes])
        .await
        .expect(&steady)
    {
        let (address, deleted): (String, i64) = (row.get(0), row.get(1));
        let number = by_address
            .get(address.as_str())
            .copied()
            .unwrap_or_default();
        if number as i64 > 1 + deleted {
            let mut told = format!("{number} mails to {address}, who was one person all the time");
            for mail in mails.iter().filter(|mail| mail["to"] == address.as_str()) {
                told += &said(stage, &text(&mail["user_id"])).await;
            }
            wrong.push(told);
        }
    }
    // Of mails to one address the last; when one was asked for is no help, since time was made to pass.
    let excuses = "select distinct on (1, 2) i.auth0_user_id, coalesce(i.email, lower(u.email), ''), i.state \
         from roster.invitations i left join users u on u.id::text = i.user_key order by 1, 2, i.epoch desc";
    let excuses: HashMap<(String, String), String> = stage
        .control
        .query(excuses, &[])
        .await
        .expect(excuses)
        .iter()
        .map(|row| ((row.get(0), row.get(1)), row.get(2)))
        .collect();
    let doubtful = [
        "cut before",
        "cut after",
        "5xx",
        "slow",
        "slow answer",
        "outage",
        "kill",
        "killed at the end",
        "stall",
        "way cut",
        "way frozen",
        "terminated",
    ];
    let in_doubt = doubtful.iter().any(|word| counts.of(word) > 0);
    for row in rows.iter().filter(|row| !row.blocked) {
        let Some(account) = ours.iter().find(|a| a["email"] == row.email.as_str()) else {
            continue;
        };
        let id = text(&account["user_id"]);
        let excused = account["blocked"] == true
            || is_earlier(account)
            || match excuses
                .get(&(id.clone(), row.email.clone()))
                .map(String::as_str)
            {
                Some("unknown" | "sending") => in_doubt,
                Some("staged") => people::SHADOW.contains(&row.person),
                _ => false,
            };
        let mailed = last.get(id.as_str()).map(|(to, _)| *to);
        if mailed != Some(row.email.as_str()) && !excused {
            let said = said(stage, &id).await;
            wrong.push(format!(
                "person {} ({id}) was not invited: {said}",
                row.person
            ));
        }
    }
    wrong
}

async fn rows(stage: &Stage<'_>) -> Vec<Row> {
    let query = "select u.person, u.auth0_user_id, lower(u.email), u.name, u.role, u.blocked, array( \
             select permission from role_permissions where role = u.role \
             union select permission from user_permissions where user_id = u.id), u.id::text \
         from users u order by u.person";
    let rows = stage.control.query(query, &[]).await.expect(query);
    rows.iter()
        .map(|row| Row {
            person: row.get::<_, i32>(0).cast_unsigned(),
            permissions: sorted(row.get(6)),
            key: row.get(7),
            id: row.get(1),
            email: row.get(2),
            name: row.get(3),
            role: row.get(4),
            blocked: row.get(5),
        })
        .collect()
}

/// What Roster itself says of an account or a key, for who looks for the fault.
async fn said(stage: &Stage<'_>, which: &str) -> String {
    let query = "with who as (select $1 as user_key union select user_key from roster.accounts where auth0_user_id = $1 \
            union select user_key from roster.attempts where auth0_user_id = $1 \
            union select t.user_key from roster.attempts t join users u using (auth0_user_id) where u.id::text = $1 \
            union select t.user_key from roster.attempts t join roster.accounts a using (auth0_user_id) where a.user_key = $1) \
        select concat_ws(E'\n', \
            (select string_agg('row ' || to_jsonb(u)::text, E'\n') from users u join who on who.user_key = u.id::text), \
            (select string_agg('mirror ' || jsonb_strip_nulls(to_jsonb(m))::text, E'\n') from roster.mirror m join who using (user_key)), \
            (select string_agg('account ' || jsonb_strip_nulls(to_jsonb(a))::text, E'\n') from roster.accounts a join who using (user_key)), \
            (select string_agg('invitation ' || to_jsonb(i)::text, E'\n') from roster.invitations i join who using (user_key)), \
            (select string_agg('plan ' || to_jsonb(p)::text, E'\n') from roster.plan p join who using (user_key)), \
            (select string_agg(concat_ws(' ', 'change', c.id, c.txid, c.op, c.relation, c.user_keys, c.keys_added, c.keys_removed, c.changed_at::time, c.folded_at::time, c.reason), E'\n' order by c.id) \
                from roster.changes c where exists (select from who where c.user_keys @> array[who.user_key])), \
            (select string_agg(concat_ws(' ', 'attempt', t.user_key, t.auth0_user_id, t.action, t.code, t.changes::text, t.started_at::time, t.duration_ms), E'\n' order by t.id) \
                from roster.attempts t join who using (user_key))), \
            array(select a.auth0_user_id from roster.accounts a join who using (user_key))";
    let row = stage
        .control
        .query_one(query, &[&which])
        .await
        .expect(query);
    let (mut said, accounts): (String, Vec<String>) = (row.get(0), row.get(1));
    for request in stage.tenant.list("requests").await {
        let path = text(&request["path"]).replace("%7C", "|");
        if request["method"] != "GET" && accounts.iter().any(|id| path.ends_with(id.as_str())) {
            let [at, method, status, body] =
                ["at", "method", "status", "body"].map(|field| request[field].to_string());
            said += &format!("\nasked {at} {method} {path} {status} {body}");
        }
    }
    said
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// In the connection that Roster keeps.
fn is_ours(account: &Value) -> bool {
    account["identities"][0]["provider"] == "auth0"
}

/// There before Roster, and never linked.
fn is_untouched(account: &Value) -> bool {
    is_earlier(account) && account["app_metadata"]["role"].is_null()
}

fn is_earlier(account: &Value) -> bool {
    account["user_id"]
        .as_str()
        .is_some_and(|id| id.starts_with("auth0|before-"))
}
