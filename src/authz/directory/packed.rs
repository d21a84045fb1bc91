//! The texts of one user in one allocation: key, address, name, and the accounts that find it.

use crate::db::directory::Fact;

/// Each text behind its length: in seven bits a byte, the last of them without the eighth; 0 says that there is none, else it is one
/// more. First the key, then address, name and first account, then the accounts.
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    pub(super) fn new(fact: &Fact) -> Self {
        let mut bytes = Vec::new();
        // The first account is mostly one of those that find the user, and need not stand there twice.
        let place = fact
            .primary
            .as_ref()
            .and_then(|primary| fact.subjects.iter().position(|subject| subject == primary));
        push(&mut bytes, Some(&fact.key));
        push(&mut bytes, fact.email.as_deref());
        push(&mut bytes, fact.name.as_deref());
        push_number(&mut bytes, place.map_or(0, |place| place + 1));
        let elsewhere = fact.primary.as_deref().filter(|_| place.is_none());
        push(&mut bytes, elsewhere);
        for subject in &fact.subjects {
            push(&mut bytes, Some(subject));
        }
        Self(bytes.into())
    }

    pub(super) fn key(&self) -> &str {
        self.texts().text().unwrap_or_default()
    }

    pub(super) fn email(&self) -> Option<&str> {
        let mut texts = self.texts();
        texts.text();
        texts.text()
    }

    pub(super) fn name(&self) -> Option<&str> {
        let mut texts = self.texts();
        texts.text();
        texts.text();
        texts.text()
    }

    /// The account that is the user's first.
    pub(super) fn primary(&self) -> Option<&str> {
        let mut texts = self.past_the_name();
        match texts.number() {
            0 => texts.text(),
            place => {
                texts.text();
                texts.nth(place - 1)
            }
        }
    }

    /// The accounts that find the user.
    pub(super) fn subjects(&self) -> impl Iterator<Item = &str> {
        let mut texts = self.past_the_name();
        texts.number();
        texts.text();
        texts
    }

    pub(super) fn subject(&self, nth: u32) -> Option<&str> {
        self.subjects().nth(nth as usize)
    }

    fn past_the_name(&self) -> Texts<'_> {
        let mut texts = self.texts();
        for _ in 0..3 {
            texts.text();
        }
        texts
    }

    fn texts(&self) -> Texts<'_> {
        Texts(&self.0)
    }
}

fn push(bytes: &mut Vec<u8>, text: Option<&str>) {
    push_number(bytes, text.map_or(0, |text| text.len() + 1));
    bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
}

fn push_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// What is still to be read.
struct Texts<'a>(&'a [u8]);

impl<'a> Texts<'a> {
    fn number(&mut self) -> usize {
        let (mut number, mut shift) = (0, 0);
        while let Some((byte, rest)) = self.0.split_first() {
            self.0 = rest;
            number |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.number().checked_sub(1)?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        // It was text when it was packed.
        std::str::from_utf8(text).ok()
    }
}

impl<'a> Iterator for Texts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match self.0.is_empty() {
            true => None,
            false => self.text(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_read_again() {
        let long = "ü".repeat(9000);
        let texts = [None, Some(""), Some("Ada"), Some(long.as_str())];
        let accounts: [&[&str]; 3] = [&[], &["auth0|1"], &["google-oauth2|2", "auth0|1", "waad|3"]];
        for email in texts {
            for name in texts {
                for subjects in accounts {
                    for primary in [None, Some("auth0|1")] {
                        let fact = Fact {
                            key: "17".to_owned(),
                            email: email.map(str::to_owned),
                            name: name.map(str::to_owned),
                            role: None,
                            permissions: Vec::new(),
                            blocked: false,
                            primary: primary.map(str::to_owned),
                            subjects: subjects.iter().map(|&s| s.to_owned()).collect(),
                        };
                        let packed = Packed::new(&fact);
                        assert_eq!(packed.key(), "17");
                        assert_eq!((packed.email(), packed.name()), (email, name));
                        assert_eq!(packed.primary(), primary);
                        assert!(packed.subjects().eq(subjects.iter().copied()));
                        assert_eq!(packed.subject(1), subjects.get(1).copied());
                    }
                }
            }
        }
    }
}
