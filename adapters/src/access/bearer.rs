//! Access tokens of clients (RFC 6749 §1.4): what a client gets for its secret and shows with every call, for ten minutes.
//!
//! A token carries its client's name and its end, and a MAC over both and the digest of the client's secret: nothing of it is kept,
//! it outlives a restart, and it is good for nothing as soon as the client is removed or has another secret. The key of the MAC is in
//! a file of its own.

use std::io;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use super::clients::{Client, Clients};
use crate::digest::random;
use crate::private_file;

/// How long a token is good.
pub(crate) const LIFE_SECONDS: i64 = 600;

/// What a token begins with: so it is told from others, and recognised where it went astray.
pub(super) const PREFIX: &str = "lgspa_";

/// What the MAC is for; no other use of the key has it.
const PURPOSE: &[u8] = b"lgsp adapter access token 1\0";

const MAC_BYTES: usize = 32;
const END_BYTES: usize = 8;

/// More than the longest has.
const MAX_TOKEN_BYTES: usize = 256;

/// Longer than any file of the key.
const MAX_FILE_BYTES: u64 = 128;

/// Why a token is not good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NotGood {
    /// It was, and its time is over: nobody has guessed it.
    Over,
    /// It never was one, or its client is gone or has another secret.
    Never,
}

/// See the module.
pub(crate) struct Minting {
    key: hmac::Key,
}

impl Minting {
    /// With the key in a file; it is made if it is not there.
    ///
    /// # Errors
    /// It cannot be read or made, or holds no key.
    pub(crate) fn open(file: &Path) -> io::Result<Self> {
        let text = match private_file::read(file, MAX_FILE_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                private_file::create(file, &format!("{}\n", *super::secret("", &random::<32>())))?;
                private_file::read(file, MAX_FILE_BYTES)?
            }
            text => text?,
        };
        let key = BASE64URL_NOPAD.decode(text.trim().as_bytes()).map(Zeroizing::new).ok().filter(|key| key.len() == 32);
        let key = key.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it holds no key"))?;
        Ok(Self::with_key(&key))
    }

    pub(super) fn with_key(key: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// A token for a client that has a secret.
    pub(super) fn mint(&self, client: &Client, now_ms: i64) -> Option<Zeroizing<String>> {
        let end = now_ms / 1000 + LIFE_SECONDS;
        let mut body = [&end.to_be_bytes(), client.name.as_bytes()].concat();
        let mac = hmac::sign(&self.key, &signed(&body, &client.secret_sha256()?));
        body.extend_from_slice(mac.as_ref());
        Some(Zeroizing::new(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&body))))
    }

    /// Whose token this is, if it is good now. Takes as long for a client that is not there.
    ///
    /// # Errors
    /// It is not good.
    pub(super) fn whose(&self, token: &[u8], clients: &Clients, now_ms: i64) -> Result<Arc<Client>, NotGood> {
        let (client, end) = self.minted_for(token, clients).ok_or(NotGood::Never)?;
        if now_ms / 1000 < end { Ok(client) } else { Err(NotGood::Over) }
    }

    /// The client that a token was minted for, whose secret is still the same, and the token's end.
    fn minted_for(&self, token: &[u8], clients: &Clients) -> Option<(Arc<Client>, i64)> {
        let encoded = token.strip_prefix(PREFIX.as_bytes()).filter(|encoded| encoded.len() <= MAX_TOKEN_BYTES)?;
        let bytes = BASE64URL_NOPAD.decode(encoded).ok()?;
        let (body, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        let (end, name) = body.split_at_checked(END_BYTES)?;
        let client = clients.named(str::from_utf8(name).ok()?);
        let digest = client.as_deref().and_then(Client::secret_sha256);
        hmac::verify(&self.key, &signed(body, &digest.unwrap_or_default()), mac).ok()?;
        let end = i64::from_be_bytes(end.try_into().ok()?);
        client.filter(|_| digest.is_some()).map(|client| (client, end))
    }
}

fn signed(body: &[u8], secret_sha256: &[u8; 32]) -> Vec<u8> {
    [PURPOSE, secret_sha256, body].concat()
}

#[cfg(test)]
mod tests {
    use super::super::clients::{Proof, add_client, new_secret, remove_client};
    use super::*;

    const NOW: i64 = 1_752_458_400_000;

    fn client(name: &str, proof: Proof) -> Client {
        Client { name: name.into(), parties: vec!["H57.101".parse().unwrap()], proof }
    }

    #[test]
    fn a_token_is_its_clients_for_ten_minutes_and_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let [file, key] = ["clients.toml", "rest.key"].map(|name| folder.path().join(name));
        for name in ["mot-cua", "ho-tich"] {
            add_client(&file, client(name, new_secret().1)).unwrap();
        }
        let clients = Clients::open(&file).unwrap();
        let mine = clients.named("mot-cua").unwrap();
        let token = Minting::open(&key).unwrap().mint(&mine, NOW).unwrap();
        let again = Minting::open(&key).unwrap();
        let whose = |token: &str, now| again.whose(token.as_bytes(), &clients, now).map(|client| client.name.clone());
        assert_eq!(whose(&token, NOW), Ok("mot-cua".into()));
        assert_eq!(whose(&token, NOW + LIFE_SECONDS * 1000 - 1), Ok("mot-cua".into()));
        assert_eq!(whose(&token, NOW + LIFE_SECONDS * 1000), Err(NotGood::Over));
        // Every letter counts; so does the key.
        for at in 0..token.len() {
            let mut garbled = token.to_string();
            let other = if &garbled[at..=at] == "A" { "B" } else { "A" };
            garbled.replace_range(at..=at, other);
            // The last letter has bits that say nothing; the decoder wants them to be 0.
            assert_eq!(whose(&garbled, NOW), Err(NotGood::Never), "letter {at}");
            assert_eq!(whose(&token[..at], NOW), Err(NotGood::Never), "cut at {at}");
        }
        let elsewhere = Minting::open(&folder.path().join("another.key")).unwrap();
        assert!(elsewhere.whose(token.as_bytes(), &clients, NOW).is_err());
    }

    #[test]
    fn a_token_is_good_for_nothing_when_its_client_is_gone_or_has_another_secret() {
        let folder = tempfile::tempdir().unwrap();
        let [file, key] = ["clients.toml", "rest.key"].map(|name| folder.path().join(name));
        add_client(&file, client("mot-cua", new_secret().1)).unwrap();
        let minting = Minting::open(&key).unwrap();
        let token = minting.mint(&Clients::open(&file).unwrap().named("mot-cua").unwrap(), NOW).unwrap();
        let whose = || minting.whose(token.as_bytes(), &Clients::open(&file).unwrap(), NOW);
        assert!(whose().is_ok());
        remove_client(&file, "mot-cua").unwrap();
        assert!(whose().is_err());
        add_client(&file, client("mot-cua", new_secret().1)).unwrap();
        assert!(whose().is_err(), "another secret, another client");
        remove_client(&file, "mot-cua").unwrap();
        add_client(&file, client("mot-cua", Proof::Name("a.test".into()))).unwrap();
        assert!(whose().is_err(), "one without a secret");
        assert!(minting.mint(&client("mot-cua", Proof::Name("a.test".into())), NOW).is_none());
    }
}
