//! The query language of user search: from `q` to a [`Filter`], or to a refusal.
//!
//! The grammar is tantivy's; what Auth0 says of its own search narrows it (docs: user-search-query-syntax): every term
//! names its field, `*` is the only wildcard, user metadata knows neither ranges nor wildcards. What is beyond that,
//! such as terms without a field, fuzziness, boosts and regular expressions, is refused rather than answered wrongly.

use tantivy_query_grammar::{
    Delimiter, Occur, UserInputAst, UserInputBound, UserInputLeaf, UserInputLiteral, parse_query,
};

use super::{
    profile::User,
    searchable::{Bound, Field, Pattern, Test},
};

/// How deep parentheses and negations may nest: the grammar descends into them on the stack.
const DEPTH: usize = 50;

/// A query that was understood.
#[derive(Debug)]
pub(super) enum Filter {
    /// All of `must`, none of `must_not`, and one of `should` at least where there is no `must`.
    Clause {
        must: Vec<Filter>,
        should: Vec<Filter>,
        must_not: Vec<Filter>,
    },
    /// What one field must be like.
    Term(Field, Test),
}

impl Filter {
    /// Reads a query.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(super) fn read(q: &str) -> Result<Self, String> {
        if nesting(q) > DEPTH {
            return Err("it nests too deeply".into());
        }
        let tree = parse_query(q).map_err(|_| "its syntax is wrong".to_owned())?;
        from_tree(tree)
    }

    pub(super) fn matches(&self, user: &User) -> bool {
        match self {
            Self::Clause {
                must,
                should,
                must_not,
            } => {
                let holds = |filter: &Self| filter.matches(user);
                must.iter().all(holds)
                    && !must_not.iter().any(holds)
                    && (should.is_empty() || !must.is_empty() || should.iter().any(holds))
            }
            Self::Term(field, test) => field.passes(test, user),
        }
    }
}

/// No less than the depth the grammar will descend to: whatever opens a group or negates, wherever it stands.
fn nesting(q: &str) -> usize {
    let openers = |word: &str| word.len() - word.trim_start_matches(['(', '-', '+']).len();
    let words = q.split(|c: char| c.is_whitespace() || c == ':');
    words.map(openers).sum::<usize>() + q.matches("NOT").count()
}

fn from_tree(tree: UserInputAst) -> Result<Filter, String> {
    match tree {
        UserInputAst::Clause(parts) => clause(parts),
        UserInputAst::Boost(..) => Err("boosts mean nothing here".into()),
        UserInputAst::Leaf(leaf) => match *leaf {
            UserInputLeaf::Literal(literal) => term(literal),
            UserInputLeaf::Exists { field } => exists(&field),
            UserInputLeaf::Range {
                field: Some(field),
                lower,
                upper,
            } => {
                let field = Field::named(&field)?;
                let test = field.range(bound(lower), bound(upper))?;
                Ok(Filter::Term(field, test))
            }
            _ => {
                Err("terms without a field, sets and regular expressions are not supported".into())
            }
        },
    }
}

fn clause(parts: Vec<(Option<Occur>, UserInputAst)>) -> Result<Filter, String> {
    let (mut must, mut should, mut must_not) = (Vec::new(), Vec::new(), Vec::new());
    for (occur, part) in parts {
        let part = from_tree(part)?;
        match occur {
            Some(Occur::Must) => must.push(part),
            Some(Occur::MustNot) => must_not.push(part),
            // Lucene joins neighbours without an operator by OR.
            Some(Occur::Should) | None => should.push(part),
        }
    }
    Ok(Filter::Clause {
        must,
        should,
        must_not,
    })
}

fn term(literal: UserInputLiteral) -> Result<Filter, String> {
    let name = literal
        .field_name
        .ok_or("terms without a field are not supported")?;
    if literal.slop != 0 || literal.prefix {
        return Err("fuzzy phrases are not supported".into());
    }
    if name == "_exists_" {
        return exists(&literal.phrase);
    }
    let pattern = match literal.delimiter {
        Delimiter::DoubleQuotes => Pattern::exact(literal.phrase),
        Delimiter::None => Pattern::word(&literal.phrase)?,
        Delimiter::SingleQuotes => return Err("phrases stand in double quotes".into()),
    };
    let field = Field::named(&name)?;
    let test = field.text(pattern)?;
    Ok(Filter::Term(field, test))
}

fn exists(field: &str) -> Result<Filter, String> {
    Ok(Filter::Term(Field::named(field)?, Test::Exists))
}

fn bound(bound: UserInputBound) -> Bound {
    match bound {
        UserInputBound::Inclusive(text) => Bound::Included(text),
        UserInputBound::Exclusive(text) => Bound::Excluded(text),
        UserInputBound::Unbounded => Bound::Unbounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_refused() {
        for q in [
            "jane",
            "name:jane^2",
            "name:jane~1",
            "name:\"green apple\"~2",
            "name:\"gr\"*",
            "name:/ja.e/",
            "name:jo?n",
            "name:'x'",
            "name:IN [a b]",
            "*",
            "name:a AND",
            "(name:a",
            "name:a && name:b",
            "shoe_size:4",
            "name:*sa",
            "user_metadata.x:ab*",
            "user_metadata.x:[1 TO 2]",
            "blocked:maybe",
            "blocked:[true TO *]",
            "logins_count:many",
            "logins_count:[a TO *]",
            "created_at:2016*",
            "created_at:[soon TO *]",
        ] {
            assert!(Filter::read(q).is_err(), "{q}");
        }
    }

    #[test]
    fn a_query_that_nests_too_deeply_is_refused_before_it_costs_the_stack() {
        for part in ["(", "-", "+", "NOT "] {
            let q = format!("{}name:a", part.repeat(2000));
            assert!(Filter::read(&q).is_err(), "{part}");
        }
        assert!(Filter::read("((name:a OR name:b) AND NOT (name:c))").is_ok());
        assert!(
            Filter::read("user_id:\"auth0|3f1c-4a5b-6c7d-8e9f-a-b-c-d-e-f-a-b-c-d-e-f-a-b\"")
                .is_ok()
        );
    }
}
