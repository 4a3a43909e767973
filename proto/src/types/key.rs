//! Names that callers choose: the key of a request and the account it is made in.
//!
//! Owns the alphabet and the length. The scope of a key, and which accounts a party has, are not known here.

use std::str::FromStr;

use super::malformed::{Malformed, compact, rule};

/// Names a request, so that the same request sent again is admitted once. 1 to 64 of `A-Z a-z 0-9 . _ : -`.
///
/// Chosen by the sending system and unique for the acting party; a UUID will do, the system's own number of the event is better.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestKey(Box<str>);

/// The account of the clerk in whose name a system acts. 1 to 64 of `A-Z a-z 0-9 . _ @ -`.
///
/// It is printed in logs and traces, so it must be an account and not a person's name; the alphabet has neither blanks nor accents.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ActorId(Box<str>);

const MAX_CHARS: usize = 64;

const KEY_CHARS: Malformed = rule(
    "REQUEST_KEY_CHARACTERS",
    "has a character other than letters without accents, digits and . _ : -",
    "có ký tự ngoài chữ cái không dấu, chữ số và . _ : -",
);
const ACTOR_CHARS: Malformed = rule(
    "ACTOR_ID_CHARACTERS",
    "has a character other than letters without accents, digits and . _ @ -; it is an account, not a person's name",
    "có ký tự ngoài chữ cái không dấu, chữ số và . _ @ -; đây là tài khoản, không phải họ tên",
);

impl RequestKey {
    /// The key as the caller chose it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestKey {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, MAX_CHARS)?;
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-')) {
            return Err(KEY_CHARS);
        }
        Ok(Self(text.into()))
    }
}

printed_as_text!(RequestKey);

impl ActorId {
    /// The account as the system knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ActorId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, MAX_CHARS)?;
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'@' | b'-')) {
            return Err(ACTOR_CHARS);
        }
        Ok(Self(text.into()))
    }
}

printed_as_text!(ActorId);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_and_accounts_have_their_own_alphabets() {
        assert_eq!("H57.01:2025-07-14_1".parse::<RequestKey>().unwrap().as_str(), "H57.01:2025-07-14_1");
        assert_eq!("mot.cua@phuxuan-hue".parse::<ActorId>().unwrap().as_str(), "mot.cua@phuxuan-hue");
        assert_eq!("a@b".parse::<RequestKey>(), Err(KEY_CHARS));
        assert_eq!("a:b".parse::<ActorId>(), Err(ACTOR_CHARS));
        assert_eq!("a/b".parse::<RequestKey>(), Err(KEY_CHARS));
        assert_eq!("đức".parse::<ActorId>(), Err(ACTOR_CHARS));
    }

    #[test]
    fn both_are_bounded_and_without_blanks() {
        let longest = "k".repeat(64);
        assert_eq!(longest.parse::<RequestKey>().unwrap().as_str(), longest);
        assert_eq!("k".repeat(65).parse::<RequestKey>(), Err(Malformed::TooLong { max: 64 }));
        assert_eq!("k".repeat(65).parse::<ActorId>(), Err(Malformed::TooLong { max: 64 }));
        assert_eq!("".parse::<RequestKey>(), Err(Malformed::Empty));
        assert_eq!("".parse::<ActorId>(), Err(Malformed::Empty));
        assert_eq!("a b".parse::<RequestKey>(), Err(Malformed::Blank));
        assert_eq!("nguyen van a".parse::<ActorId>(), Err(Malformed::Blank));
    }

    proptest! {
        #[test]
        fn print_and_parse_give_the_same_name(key in "[A-Za-z0-9._:-]{1,64}", actor in "[A-Za-z0-9._@-]{1,64}") {
            prop_assert_eq!(key.parse::<RequestKey>().unwrap().to_string(), key);
            prop_assert_eq!(actor.parse::<ActorId>().unwrap().to_string(), actor);
        }

        #[test]
        fn no_text_makes_them_panic(text in any::<String>()) {
            let _ = (text.parse::<RequestKey>(), text.parse::<ActorId>());
        }
    }
}
