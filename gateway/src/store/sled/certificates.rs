//! Reading what the books hold of certificates.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::Bytes;
use lgsp_journal::Position;
use lgsp_proto::store_v1;
use lgsp_proto::types::Sha256Digest;

use super::super::codec::{self, Fact, Unreadable, unix_ms};
use super::super::follower::Follow;
use super::super::index::{self, fetch};
use super::super::keys::{self, Key};
use super::super::overlay::Base;
use super::super::records::unreadable;
use super::super::*;
use super::committing::Inner;

/// How many certificates one page looks at before it says where to go on.
const LOOKED_AT: usize = 2_000;

/// How many entries are fetched at a time.
const SLICE: usize = 256;

impl<F: Follow> Inner<F> {
    pub(super) fn token(&self, id: &TokenId) -> Result<Option<Token>, ReadError> {
        let Some(state) = self.token_state(id)? else { return Ok(None) };
        let secret_sha256 = codec::digest("secret_sha256", &state.secret_sha256);
        let became = match (state.spent_position, state.withdrawn_position) {
            (0, 0) => TokenState::Open,
            (0, withdrawn) => TokenState::Withdrawn(self.withdrawn_at(Position(withdrawn))?),
            (spent, _) => TokenState::Spent(Box::new(self.issued(Position(spent))?)),
        };
        Ok(Some(Token {
            id: *id,
            secret_sha256: secret_sha256.map_err(|error| unreadable(Position(state.position), error))?,
            for_system: state.for_system,
            expires_at: codec::system_time(state.expires_at_unix_ms),
            epoch: state.epoch,
            state: became,
        }))
    }

    fn token_state(&self, id: &TokenId) -> Result<Option<store_v1::TokenState>, ReadError> {
        fetch(&self.view(), &keys::Token(id))
    }

    /// Whether a token is neither spent nor withdrawn.
    pub(super) fn is_open(&self, id: &TokenId) -> Result<bool, ReadError> {
        let state = self.token_state(id)?;
        Ok(state.is_some_and(|state| state.spent_position == 0 && state.withdrawn_position == 0))
    }

    /// Whether a token was issued in the epoch of the books.
    pub(super) fn is_of_this_epoch(&self, id: &TokenId) -> Result<bool, ReadError> {
        let now = index::epoch(&self.view())?.number;
        Ok(self.token_state(id)?.is_some_and(|state| state.epoch == now))
    }

    fn issued(&self, position: Position) -> Result<CertificateIssued, ReadError> {
        match self.fact(position)? {
            Fact::CertificateIssued(issued) => Ok(issued),
            _ => Err(unreadable(position, Unreadable("certificate_issued"))),
        }
    }

    fn withdrawn_at(&self, position: Position) -> Result<SystemTime, ReadError> {
        match self.fact(position)? {
            Fact::TokenWithdrawn(withdrawn) => Ok(withdrawn.at),
            _ => Err(unreadable(position, Unreadable("token_withdrawn"))),
        }
    }

    pub(super) fn open_tokens(&self, from: SystemTime, limit: usize) -> Result<Vec<TokenIssued>, ReadError> {
        let from = keys::OpenToken { expires_at_ms: unix_ms(from), id: &[0; 16] }.encode();
        let issued = |(key, _): (Bytes, Bytes)| {
            let damaged = || ReadError::Damaged(keys::describe(&key));
            let id = keys::OpenToken::id_of(&key).ok_or_else(damaged)?;
            let Some(state) = self.token_state(&id)? else { return Err(damaged()) };
            match self.fact(Position(state.position))? {
                Fact::TokenIssued(issued) => Ok((issued, state.epoch)),
                _ => Err(unreadable(Position(state.position), Unreadable("token_issued"))),
            }
        };
        let epoch = index::epoch(&self.view())?.number;
        let mut tokens = Vec::new();
        for entry in self.view().range(&from, &keys::OpenToken::end(), limit)? {
            let (token, good_in) = issued(entry)?;
            tokens.extend((good_in == epoch).then_some(token));
        }
        Ok(tokens)
    }

    pub(super) fn known_certificate(&self, digest: &Sha256Digest) -> Result<Option<KnownCertificate>, ReadError> {
        let key = keys::Known(digest);
        let Some(state) = fetch(&self.view(), &key)? else { return Ok(None) };
        let damaged = |_| ReadError::Damaged(keys::describe(&key.encode()));
        let of_key = codec::digest("key_sha256", &state.key_sha256).map_err(damaged)?;
        let seen = state.first_seen_at_unix_ms;
        Ok(Some(KnownCertificate {
            digest: *digest,
            key: of_key,
            system: state.system,
            issuer: state.issuer,
            not_before: codec::system_time(state.not_before_unix_ms),
            not_after: codec::system_time(state.not_after_unix_ms),
            issued_here: state.issued_here,
            first_seen_at: (seen != 0).then(|| codec::system_time(seen)),
            revoked: self.revocation(&of_key)?.map(|revoked| (revoked.at, revoked.ground)),
        }))
    }

    pub(super) fn certificates_of_key(&self, key: &Sha256Digest, limit: usize) -> Result<Vec<Sha256Digest>, ReadError> {
        let [first, last] = [[0; 32], [0xff; 32]].map(Sha256Digest::from);
        let from = keys::OfKey(key, &first).encode();
        let to = keys::after(keys::OfKey(key, &last).encode());
        self.view().range(&from, &to, limit)?.iter().map(|(key, _)| digest_of(key)).collect()
    }

    pub(super) fn certificates_of_system(
        &self,
        system: &str,
        after: Option<&Sha256Digest>,
        limit: usize,
    ) -> Result<Vec<(Sha256Digest, Sha256Digest)>, ReadError> {
        let first = keys::OfSystem::first(system);
        let to = keys::behind(&first);
        let from = after.map_or(first, |after| keys::after(keys::OfSystem(system, after).encode()));
        let mut found = Vec::new();
        for (entry, _) in self.view().range(&from, &to, limit)? {
            let digest = digest_of(&entry)?;
            let known = self.known_certificate(&digest)?;
            found.push((digest, known.ok_or_else(|| ReadError::Damaged(keys::describe(&entry)))?.key));
        }
        Ok(found)
    }

    pub(super) fn certificates(&self, query: &CertificateQuery) -> Result<CertificatePage, ReadError> {
        let ms = |time: Option<SystemTime>| time.map(unix_ms);
        let mut from = match &query.after {
            Some(CertificateCursor { not_after_ms, digest }) => {
                keys::after(keys::Expiry { not_after_ms: *not_after_ms, certificate: digest }.encode())
            }
            None => keys::Expiry::from(Some(ms(query.expiring_from).unwrap_or(i64::MIN))),
        };
        let to = keys::Expiry::from(ms(query.expiring_before));
        let mut page = CertificatePage { certificates: Vec::new(), next: None };
        let mut looked_at = 0;
        let mut in_use = HashMap::new();
        loop {
            let slice = self.view().range(&from, &to, SLICE)?;
            let is_last = slice.len() < SLICE;
            for (key, _) in slice {
                let damaged = || ReadError::Damaged(keys::describe(&key));
                let (not_after_ms, digest) = keys::Expiry::decode(&key).ok_or_else(damaged)?;
                if page.certificates.len() == query.limit || looked_at == LOOKED_AT {
                    // There is at least this one more.
                    return Ok(page);
                }
                looked_at += 1;
                page.next = Some(CertificateCursor { not_after_ms, digest });
                let known = self.known_certificate(&digest)?.ok_or_else(damaged)?;
                let is_of = query.system.as_ref().is_none_or(|system| known.system == *system);
                let mut is_wanted = is_of && (query.with_revoked || known.revoked.is_none());
                if is_wanted && query.without_superseded {
                    let last = match in_use.get(&known.system) {
                        Some(last) => *last,
                        None => {
                            let last = self.last_in_use(&known.system)?;
                            in_use.insert(known.system.clone(), last);
                            last
                        }
                    };
                    is_wanted = last.is_none_or(|last| known.not_after >= last);
                }
                page.certificates.extend(is_wanted.then_some(known));
                from = keys::after(key.to_vec());
            }
            if is_last {
                page.next = None;
                return Ok(page);
            }
        }
    }

    /// When the last of a system's certificates ends that was seen and is not revoked.
    fn last_in_use(&self, system: &str) -> Result<Option<SystemTime>, ReadError> {
        let mut from = keys::OfSystem::first(system);
        let to = keys::behind(&from);
        let mut last = None;
        loop {
            let slice = self.view().range(&from, &to, SLICE)?;
            for (entry, _) in &slice {
                let known = self.known_certificate(&digest_of(entry)?)?;
                let in_use = known.filter(|known| known.first_seen_at.is_some() && known.revoked.is_none());
                last = last.max(in_use.map(|known| known.not_after));
            }
            match slice.last() {
                Some((entry, _)) if slice.len() == SLICE => from = keys::after(entry.to_vec()),
                _ => return Ok(last),
            }
        }
    }

    pub(super) fn revocation(&self, key: &Sha256Digest) -> Result<Option<CertificateRevoked>, ReadError> {
        let Some(at) = fetch(&self.view(), &keys::RevokedKey(key))? else { return Ok(None) };
        match self.fact(Position(at.position))? {
            Fact::CertificateRevoked(revoked) => Ok(Some(revoked)),
            _ => Err(unreadable(Position(at.position), Unreadable("certificate_revoked"))),
        }
    }

    pub(super) fn revoked_keys(
        &self,
        after: Option<&Sha256Digest>,
        limit: usize,
    ) -> Result<Vec<Sha256Digest>, ReadError> {
        let first = keys::RevokedKey::first();
        let to = keys::behind(&first);
        let from = after.map_or(first, |after| keys::after(keys::RevokedKey(after).encode()));
        self.view().range(&from, &to, limit)?.iter().map(|(key, _)| digest_of(key)).collect()
    }
}

fn digest_of(key: &[u8]) -> Result<Sha256Digest, ReadError> {
    keys::digest_of(key).ok_or_else(|| ReadError::Damaged(keys::describe(key)))
}
