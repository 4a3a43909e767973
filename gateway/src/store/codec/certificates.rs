//! Records about tokens, certificates and revoked keys.

use bytes::Bytes;
use lgsp_proto::store_v1;

use super::super::certificates::{
    CertificateIssued, CertificateRevoked, IssuedOver, TokenId, TokenIssued, TokenWithdrawn,
};
use super::Unreadable;
use super::values::{digest, parse, system_time, unix_ms};

pub(super) fn token_issued_record(issued: &TokenIssued) -> store_v1::TokenIssued {
    store_v1::TokenIssued {
        token_id: issued.id.to_vec(),
        secret_sha256: issued.secret_sha256.as_bytes().to_vec(),
        for_system: issued.for_system.clone(),
        expires_at_unix_ms: unix_ms(issued.expires_at),
        acting_party: issued.party.to_string(),
        actor: issued.actor.to_string(),
        system: issued.system.clone(),
        at_unix_ms: unix_ms(issued.at),
    }
}

pub(super) fn token_issued(stored: &store_v1::TokenIssued) -> Result<TokenIssued, Unreadable> {
    Ok(TokenIssued {
        id: token_id(&stored.token_id)?,
        secret_sha256: digest("secret_sha256", &stored.secret_sha256)?,
        for_system: stored.for_system.clone(),
        expires_at: system_time(stored.expires_at_unix_ms),
        party: parse("acting_party", &stored.acting_party)?,
        actor: parse("actor", &stored.actor)?,
        system: stored.system.clone(),
        at: system_time(stored.at_unix_ms),
    })
}

pub(super) fn token_withdrawn_record(withdrawn: &TokenWithdrawn) -> store_v1::TokenWithdrawn {
    store_v1::TokenWithdrawn {
        token_id: withdrawn.id.to_vec(),
        acting_party: withdrawn.party.to_string(),
        actor: withdrawn.actor.to_string(),
        system: withdrawn.system.clone(),
        at_unix_ms: unix_ms(withdrawn.at),
    }
}

pub(super) fn token_withdrawn(stored: &store_v1::TokenWithdrawn) -> Result<TokenWithdrawn, Unreadable> {
    Ok(TokenWithdrawn {
        id: token_id(&stored.token_id)?,
        party: parse("acting_party", &stored.acting_party)?,
        actor: parse("actor", &stored.actor)?,
        system: stored.system.clone(),
        at: system_time(stored.at_unix_ms),
    })
}

pub(super) fn issued_record(issued: &CertificateIssued) -> store_v1::CertificateIssued {
    let (token_id, renews_sha256) = match &issued.over {
        IssuedOver::Token(id) => (id.to_vec(), Vec::new()),
        IssuedOver::Renewal(digest) => (Vec::new(), digest.as_bytes().to_vec()),
    };
    store_v1::CertificateIssued {
        sha256: issued.digest.as_bytes().to_vec(),
        der: issued.der.to_vec(),
        for_system: issued.for_system.clone(),
        token_id,
        renews_sha256,
        at_unix_ms: unix_ms(issued.at),
        intermediates: issued.intermediates.iter().map(|der| der.to_vec()).collect(),
    }
}

pub(super) fn issued(stored: &store_v1::CertificateIssued) -> Result<CertificateIssued, Unreadable> {
    let over = if stored.token_id.is_empty() {
        IssuedOver::Renewal(digest("renews_sha256", &stored.renews_sha256)?)
    } else {
        IssuedOver::Token(token_id(&stored.token_id)?)
    };
    Ok(CertificateIssued {
        digest: digest("sha256", &stored.sha256)?,
        der: Bytes::copy_from_slice(&stored.der),
        intermediates: stored.intermediates.iter().map(|der| Bytes::copy_from_slice(der)).collect(),
        for_system: stored.for_system.clone(),
        over,
        at: system_time(stored.at_unix_ms),
    })
}

pub(super) fn revoked_record(revoked: &CertificateRevoked) -> store_v1::CertificateRevoked {
    store_v1::CertificateRevoked {
        key_sha256: revoked.keys.iter().map(|key| key.as_bytes().to_vec()).collect(),
        certificate_sha256: revoked.certificates.iter().map(|digest| digest.as_bytes().to_vec()).collect(),
        for_system: revoked.for_system.clone().unwrap_or_default(),
        ground: revoked.ground.clone(),
        acting_party: revoked.party.to_string(),
        actor: revoked.actor.to_string(),
        system: revoked.system.clone(),
        at_unix_ms: unix_ms(revoked.at),
    }
}

pub(super) fn revoked(stored: &store_v1::CertificateRevoked) -> Result<CertificateRevoked, Unreadable> {
    let all = |field, digests: &[Vec<u8>]| digests.iter().map(|bytes| digest(field, bytes)).collect::<Result<_, _>>();
    Ok(CertificateRevoked {
        keys: all("key_sha256", &stored.key_sha256)?,
        certificates: all("certificate_sha256", &stored.certificate_sha256)?,
        for_system: (!stored.for_system.is_empty()).then(|| stored.for_system.clone()),
        ground: stored.ground.clone(),
        party: parse("acting_party", &stored.acting_party)?,
        actor: parse("actor", &stored.actor)?,
        system: stored.system.clone(),
        at: system_time(stored.at_unix_ms),
    })
}

fn token_id(bytes: &[u8]) -> Result<TokenId, Unreadable> {
    bytes.try_into().map_err(|_| Unreadable("token_id"))
}
