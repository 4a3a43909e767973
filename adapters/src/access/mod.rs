//! Who may call the local interface, and for whom.
//!
//! Owns what callers show and how it is checked. What they may do then is `office`'s and the gateway's. Nothing that is shown
//! here, and no digest of it, is logged or repeated.

mod tokens;

use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

pub use tokens::{TokenChangeError, begin_token_change, current_token, finish_token_change};

pub(crate) use tokens::Tokens;

/// A fresh secret as text that any header, form or shell takes as it is.
fn secret(prefix: &str, bytes: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(format!("{prefix}{}", BASE64URL_NOPAD.encode(bytes)))
}
