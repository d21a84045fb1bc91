use super::*;

fn fact(key: &str, role: &str, subjects: &[&str]) -> Fact {
    Fact {
        key: key.to_owned(),
        email: Some(format!("{key}@example.com")),
        name: None,
        role: Some(role.to_owned()),
        permissions: vec!["read".to_owned()],
        blocked: false,
        primary: subjects.first().map(|&subject| subject.to_owned()),
        subjects: subjects.iter().map(|&subject| subject.to_owned()).collect(),
    }
}

/// Key and role of whom an account finds.
fn found(table: &Table, subject: &str) -> Option<(String, String)> {
    let user = table.find(subject)?;
    Some((user.key.0, user.role.unwrap_or_default()))
}

fn is(key: &str, role: &str) -> Option<(String, String)> {
    Some((key.to_owned(), role.to_owned()))
}

#[test]
fn what_is_put_in_later_stands() {
    let mut table = Table::default();
    table.put(fact("1", "Artist", &["auth0|1", "google|1"]));
    table.put(fact("2", "Artist", &["auth0|2"]));
    assert_eq!(found(&table, "google|1"), is("1", "Artist"));
    table.put(fact("1", "Editor", &["auth0|1"]));
    assert_eq!(found(&table, "auth0|1"), is("1", "Editor"));
    assert_eq!(found(&table, "google|1"), None);
    // An account that went over to another user, whichever of the two is told of first.
    table.put(fact("2", "Artist", &["auth0|2", "auth0|1"]));
    assert_eq!(found(&table, "auth0|1"), is("2", "Artist"));
    table.put(fact("1", "Editor", &[]));
    assert_eq!(found(&table, "auth0|1"), is("2", "Artist"));
    table.remove("2");
    assert_eq!(found(&table, "auth0|1"), None);
    assert_eq!(found(&table, "auth0|2"), None);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_load_replaces_whom_it_reads_removes_whom_it_does_not_and_leaves_what_is_newer() {
    let mut table = Table::default();
    for key in ["1", "2", "3", "4"] {
        table.put(fact(key, "before", &[&format!("auth0|{key}")]));
    }
    let mut load = Load::default();
    // 1 changed and 2 went while it was under way, each before or after it was read.
    load.touch("1");
    table.put(fact("1", "newer", &["auth0|1"]));
    load.touch("2");
    table.remove("2");
    for key in ["1", "2", "3", "5", "5", "5"] {
        table.put_loaded(&mut load, fact(key, "loaded", &[&format!("auth0|{key}")]));
    }
    load.touch("6");
    table.put(fact("6", "newer", &["auth0|6"]));
    table.finish(&load);
    assert_eq!(found(&table, "auth0|1"), is("1", "newer"));
    assert_eq!(found(&table, "auth0|2"), None);
    assert_eq!(found(&table, "auth0|3"), is("3", "loaded"));
    assert_eq!(found(&table, "auth0|4"), None, "not read: gone");
    assert_eq!(found(&table, "auth0|5"), None, "read twice: nobody's");
    assert_eq!(found(&table, "auth0|6"), is("6", "newer"));
}

#[test]
fn grants_are_shared_and_forgotten() {
    let mut table = Table::default();
    for number in 0..1000 {
        table.put(fact(
            &number.to_string(),
            ["Artist", "Editor"][number % 2],
            &[],
        ));
    }
    assert_eq!(table.grants.len(), 2);
    for number in 0..1000 {
        table.put(fact("1", &format!("role {number}"), &[]));
    }
    assert!(table.grants.len() < 200, "{}", table.grants.len());
    assert_eq!(table.len(), 1000);
}
