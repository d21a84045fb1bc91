use super::*;

/// Every `$ref` of a document.
fn references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("$ref", Value::String(reference)) => into.push(reference.clone()),
                    _ => references(member, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        _ => {}
    }
}

#[test]
fn whatever_the_document_refers_to_is_in_it() {
    let document = document();
    let mut all = Vec::new();
    references(&document, &mut all);
    assert!(all.len() > 100, "{}", all.len());
    for reference in all {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_code_of_a_refusal_is_told_where_it_can_come() {
    let text = document().to_string();
    for refusal in super::super::rejection::Refusal::every() {
        // A method that is not listed is of no operation.
        let is_told = text.contains(refusal.code());
        assert!(
            is_told || refusal.code() == "method_not_allowed",
            "{}",
            refusal.code()
        );
    }
}
