//! The random password of a new account. Nobody ever learns it: people set their own through a reset.
//!
//! A database connection demands one on create (<https://auth0.com/docs/manage-users/user-accounts/create-users>). It meets
//! the strictest of Auth0's policies, "excellent": lower and upper case, digit, special character, and no more than two
//! identical characters in a row (<https://auth0.com/docs/authenticate/database-connections/password-options>). It is
//! printable ASCII and stays under the 72 bytes that Auth0's hash takes.

use rand::{CryptoRng, RngExt, seq::SliceRandom};
use secrecy::SecretString;

const CLASSES: [&[u8]; 4] = [
    b"abcdefghijklmnopqrstuvwxyz",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"0123456789",
    b"!#$%&*+-.:;=?@^_~",
];

/// About 240 bits.
const LENGTH: usize = 40;

/// Makes a password that is forgotten when dropped.
pub(super) fn random() -> SecretString {
    let mut rng = rand::rng();
    loop {
        let candidate = candidate(&mut rng);
        if !has_three_in_a_row(&candidate) {
            return SecretString::from(candidate);
        }
    }
}

/// One character of each class, the others of any, in random order.
fn candidate(rng: &mut impl CryptoRng) -> String {
    let any = CLASSES.concat();
    let mut chosen: Vec<u8> = CLASSES.iter().map(|class| pick(class, rng)).collect();
    chosen.resize_with(LENGTH, || pick(&any, rng));
    chosen.shuffle(rng);
    chosen.into_iter().map(char::from).collect()
}

fn pick(from: &[u8], rng: &mut impl CryptoRng) -> u8 {
    from[rng.random_range(..from.len())]
}

fn has_three_in_a_row(text: &str) -> bool {
    text.as_bytes()
        .windows(3)
        .any(|three| three[0] == three[1] && three[1] == three[2])
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_password_meets_the_strictest_policy() {
        for _ in 0..1_000 {
            let secret = random();
            let password = secret.expose_secret();
            assert!((32..=72).contains(&password.len()));
            assert!(password.bytes().all(|byte| byte.is_ascii_graphic()));
            for class in CLASSES {
                assert!(password.bytes().any(|byte| class.contains(&byte)));
            }
            assert!(!has_three_in_a_row(password));
        }
    }

    #[test]
    fn two_passwords_differ() {
        assert_ne!(random().expose_secret(), random().expose_secret());
    }

    #[test]
    fn three_identical_characters_in_a_row_are_seen() {
        assert!(has_three_in_a_row("abbbc"));
        assert!(!has_three_in_a_row("abbcbb"));
        assert!(!has_three_in_a_row("ab"));
    }
}
