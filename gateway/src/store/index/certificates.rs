//! What tokens, certificates and revocations change in the index. Each record is one step.

use std::time::SystemTime;

use lgsp_certs::CertificateFacts;
use lgsp_journal::Position;
use lgsp_proto::store_v1;
use lgsp_proto::types::Sha256Digest;

use super::super::certificates::{
    CertificateIssued, CertificateRevoked, IssuedOver, TokenId, TokenIssued, TokenWithdrawn,
};
use super::super::codec::unix_ms;
use super::super::keys;
use super::{Contradiction, Draft, at, epoch};

pub(super) fn issue_token(
    issued: &TokenIssued,
    position: Position,
    draft: &mut Draft<'_>,
) -> Result<(), Contradiction> {
    let expires_at_ms = unix_ms(issued.expires_at);
    let state = store_v1::TokenState {
        position: position.0,
        secret_sha256: issued.secret_sha256.as_bytes().to_vec(),
        for_system: issued.for_system.clone(),
        expires_at_unix_ms: expires_at_ms,
        epoch: epoch(draft)?.number,
        spent_position: 0,
        withdrawn_position: 0,
    };
    draft.put_new(&keys::Token(&issued.id), &state)?;
    draft.put(&keys::OpenToken { expires_at_ms, id: &issued.id }, &store_v1::Named {});
    Ok(())
}

pub(super) fn withdraw(
    withdrawn: &TokenWithdrawn,
    position: Position,
    draft: &mut Draft<'_>,
) -> Result<(), Contradiction> {
    close_token(&withdrawn.id, draft, |state| state.withdrawn_position = position.0)
}

/// A token is closed once, in one way or the other.
fn close_token(
    id: &TokenId,
    draft: &mut Draft<'_>,
    close: impl FnOnce(&mut store_v1::TokenState),
) -> Result<(), Contradiction> {
    let mut state = draft.fetch(&keys::Token(id))?.ok_or(Contradiction::Token)?;
    if state.spent_position != 0 || state.withdrawn_position != 0 {
        return Err(Contradiction::Token);
    }
    close(&mut state);
    draft.remove(&keys::OpenToken { expires_at_ms: state.expires_at_unix_ms, id });
    draft.put(&keys::Token(id), &state);
    Ok(())
}

pub(super) fn issue(
    issued: &CertificateIssued,
    position: Position,
    draft: &mut Draft<'_>,
) -> Result<(), Contradiction> {
    if let IssuedOver::Token(id) = &issued.over {
        close_token(id, draft, |state| state.spent_position = position.0)?;
    }
    know(&issued.digest, &issued.der, &issued.for_system, draft, |state| state.issued_here = true)
}

pub(super) fn see(
    digest: &Sha256Digest,
    der: &[u8],
    system: &str,
    seen_at: Option<SystemTime>,
    draft: &mut Draft<'_>,
) -> Result<(), Contradiction> {
    know(digest, der, system, draft, |state| {
        if state.first_seen_at_unix_ms == 0 {
            state.first_seen_at_unix_ms = seen_at.map_or(0, unix_ms);
        }
    })
}

/// Enters a certificate where it is looked for. One that cannot be read is in no list: fsck tells of it.
fn know(
    digest: &Sha256Digest,
    der: &[u8],
    system: &str,
    draft: &mut Draft<'_>,
    change: impl FnOnce(&mut store_v1::CertificateState),
) -> Result<(), Contradiction> {
    let Ok(facts) = CertificateFacts::read(der) else { return Ok(()) };
    let key = Sha256Digest::from(facts.key_sha256);
    let not_after_ms = unix_ms(facts.not_after);
    let mut state = match draft.fetch(&keys::Known(digest))? {
        Some(state) => state,
        None => store_v1::CertificateState {
            key_sha256: key.as_bytes().to_vec(),
            system: system.to_owned(),
            issuer: facts.issuer,
            not_before_unix_ms: unix_ms(facts.not_before),
            not_after_unix_ms: not_after_ms,
            ..store_v1::CertificateState::default()
        },
    };
    change(&mut state);
    draft.put(&keys::Known(digest), &state);
    draft.put(&keys::OfSystem(system, digest), &store_v1::Named {});
    draft.put(&keys::OfKey(&key, digest), &store_v1::Named {});
    draft.put(&keys::Expiry { not_after_ms, certificate: digest }, &store_v1::Named {});
    Ok(())
}

/// The first record that revokes a key counts.
pub(super) fn revoke(
    revoked: &CertificateRevoked,
    position: Position,
    draft: &mut Draft<'_>,
) -> Result<(), Contradiction> {
    for key in &revoked.keys {
        let key = keys::RevokedKey(key);
        if draft.fetch(&key)?.is_none() {
            draft.put(&key, &at(position));
        }
    }
    Ok(())
}
