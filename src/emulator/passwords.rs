//! Passwords of the database connection: how strong they must be, and how they are kept.

use aws_lc_rs::{constant_time, digest};

/// The longest password Auth0 takes, in bytes.
const MAX_BYTES: usize = 72;
/// The shortest one under the policy "Good", which new tenants have.
const MIN_CHARS: usize = 8;

/// A password, salted and digested. One round only: nobody's real password ever comes here, and a test that makes
/// 100 000 users must not wait for a slow hash.
#[derive(Clone)]
pub(super) struct Password {
    salt: [u8; 16],
    digest: [u8; 32],
}

impl Password {
    pub(super) fn new(text: &str) -> Self {
        let salt = rand::random();
        Self {
            salt,
            digest: digested(&salt, text),
        }
    }

    pub(super) fn is(&self, text: &str) -> bool {
        constant_time::verify_slices_are_equal(&self.digest, &digested(&self.salt, text)).is_ok()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

/// Whether `text` passes Auth0's policy "Good": eight characters, three of the four kinds, and not too long.
pub(super) fn is_strong(text: &str) -> bool {
    let kinds: [fn(char) -> bool; 4] = [
        |c| c.is_ascii_lowercase(),
        |c| c.is_ascii_uppercase(),
        |c| c.is_ascii_digit(),
        |c| !c.is_ascii_alphanumeric(),
    ];
    text.len() <= MAX_BYTES
        && text.chars().count() >= MIN_CHARS
        && kinds.iter().filter(|&&kind| text.chars().any(kind)).count() >= 3
}

fn digested(salt: &[u8], text: &str) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(salt);
    context.update(text.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_kinds_of_characters_and_eight_of_them_are_strong_enough() {
        assert!(is_strong("Correct-horse"));
        assert!(is_strong("abcdEF12"));
        assert!(!is_strong("abcdefgh1"), "two kinds only");
        assert!(!is_strong("aB1-"), "too short");
        assert!(!is_strong(&"aB1-".repeat(19)), "longer than 72 bytes");
    }

    #[test]
    fn a_password_is_recognised_and_another_is_not() {
        let kept = Password::new("Correct-horse-1");
        assert!(kept.is("Correct-horse-1"));
        assert!(!kept.is("Correct-horse-2"));
    }
}
