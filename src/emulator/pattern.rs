//! What the text of a search term matches: itself, or with stars anything that begins, goes on and ends so.

/// A text with stars in it.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// What stands between the stars; one part means no star.
    parts: Vec<String>,
}

impl Pattern {
    /// This text and no other.
    pub(super) fn exact(text: String) -> Self {
        Self { parts: vec![text] }
    }

    /// A word without quotes: `*` stands for any rest, a backslash takes the meaning from what follows.
    ///
    /// # Errors
    /// It has other special characters, or a star at its start and fewer than three letters.
    pub(super) fn word(text: &str) -> Result<Self, String> {
        let mut parts = vec![String::new()];
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            let char = match char {
                '*' => {
                    parts.push(String::new());
                    continue;
                }
                '\\' => chars.next().ok_or("it ends in a backslash")?,
                '?' | '~' | '^' | '!' | '"' | '[' | ']' | '{' | '}' | '(' | ')' => {
                    return Err(format!("{char} must be escaped"));
                }
                char => char,
            };
            if let Some(part) = parts.last_mut() {
                part.push(char);
            }
        }
        let pattern = Self { parts };
        let letters: usize = pattern.parts.iter().map(|part| part.chars().count()).sum();
        if pattern.has_stars() && pattern.parts[0].is_empty() && letters < 3 {
            return Err("a wildcard at the start needs three letters at least".into());
        }
        Ok(pattern)
    }

    pub(super) fn has_stars(&self) -> bool {
        self.parts.len() > 1
    }

    /// The text, if there is no star in it.
    pub(super) fn plain(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    pub(super) fn folded(mut self) -> Self {
        for part in &mut self.parts {
            *part = part.to_lowercase();
        }
        self
    }

    pub(super) fn is(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.plain() == Some(text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        for part in middle {
            match rest.split_once(part.as_str()) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_rest_unless_it_is_escaped() {
        for (pattern, text, is) in [
            ("ann*", "anna", true),
            ("ann*", "ann", true),
            ("ann*", "joann", false),
            ("*anna", "joanna", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            (r"ann\*", "ann*", true),
            (r"ann\*", "anna", false),
            (r"a\ b", "a b", true),
        ] {
            assert_eq!(
                Pattern::word(pattern).unwrap().is(text),
                is,
                "{pattern} {text}"
            );
        }
    }
}
