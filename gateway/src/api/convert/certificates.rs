//! Messages about joining, renewing, listing and revoking.

use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use lgsp_certs::SystemName;
use lgsp_domain::registry::PartyPattern;
use lgsp_proto::types::{Sha256Digest, Text};
use lgsp_proto::{Reason, Refusal, Wrong, v1};
use prost::Message as _;
use zeroize::Zeroizing;

use super::Fields;
use super::operating::ground;
use super::reading::{Asking, asking};
use crate::engine::certificates::{
    CertificatesAsked, CertificatesPage, IssuedChain, JoinAttempt, Joined, NewToken, Revoked, TOKEN_VALID_MAX,
    ToRevoke, TokenWanted, TrustSet,
};
use crate::engine::receipt::machine_timestamp;
use crate::store::{CertificateCursor, KnownCertificate, TokenId, TokenIssued};

/// Certificates on one page when the caller does not say, and at most.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: u32 = 500;

/// Patterns of parties that a new system may act for; more are written into the registry by hand.
const ACTS_FOR_MAX: usize = 64;

const DESCRIPTION_MAX: usize = 200;

/// What begins a page token, so that none of another list is taken for one.
const TOKEN: &[u8] = b"certs";
const CHECK_BYTES: usize = 8;

/// Reads an attempt to join.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn join(request: v1::JoinRequest) -> Result<JoinAttempt, Refusal> {
    let mut fields = Fields::default();
    let id = token_id(&mut fields, &request.token_id);
    if request.token_secret.len() != 32 {
        fields.problem::<()>("token_secret", Wrong::new("không dài 32 byte", "is not 32 bytes"));
    }
    let id = fields.finish(id)?;
    let secret = Zeroizing::new(request.token_secret.to_vec());
    Ok(JoinAttempt { id, secret, signing_request: request.signing_request })
}

fn token_id(fields: &mut Fields, bytes: &[u8]) -> Option<TokenId> {
    bytes.try_into().ok().or_else(|| fields.problem("token_id", Wrong::new("không dài 16 byte", "is not 16 bytes")))
}

/// The answer to [`join`].
pub(crate) fn joined(joined: Joined) -> v1::JoinResponse {
    v1::JoinResponse {
        certificate: Some(issued(joined.chain)),
        trust: Some(trust(joined.trust, &[])),
        bus_url: joined.doors.bus_url,
        server_name: joined.doors.server_name.unwrap_or_default(),
        acts_for: joined.acts_for,
    }
}

/// A certificate for whoever asked for it.
pub(crate) fn issued(chain: IssuedChain) -> v1::IssuedCertificate {
    let IssuedChain { issued, not_before, not_after, renew_from } = chain;
    v1::IssuedCertificate {
        system: issued.for_system,
        chain: [issued.der].into_iter().chain(issued.intermediates).collect(),
        not_before: Some(machine_timestamp(not_before)),
        not_after: Some(machine_timestamp(not_after)),
        renew_from: Some(machine_timestamp(renew_from)),
    }
}

/// Whom to trust; only its digest when `known` is that.
pub(crate) fn trust(set: TrustSet, known: &[u8]) -> v1::TrustResponse {
    let sha256 = bytes(&set.sha256);
    if known == &sha256[..] {
        return v1::TrustResponse { sha256, ..v1::TrustResponse::default() };
    }
    v1::TrustResponse { roots: set.roots, revocation_lists: set.revocation_lists, sha256 }
}

/// Reads a request for a token.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn token_wanted(request: &v1::IssueTokenRequest) -> Result<(Asking, TokenWanted), Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let system = system_name(&mut fields, "system", &request.system);
    let acts_for = fields.list("acts_for", &request.acts_for, ACTS_FOR_MAX, |fields, field, text: &String| match text
        .strip_suffix(".*")
    {
        Some(root) => fields.required(field, root).map(PartyPattern::Below),
        None => fields.required(field, text).map(PartyPattern::One),
    });
    let description = fields.optional::<Text<DESCRIPTION_MAX>>("description", &request.description);
    let valid = match Duration::from_secs(request.valid_seconds.into()) {
        Duration::ZERO => Some(None),
        valid if valid <= TOKEN_VALID_MAX => Some(Some(valid)),
        _ => fields.problem("valid_seconds", Wrong::new("dài hơn bảy ngày", "is more than seven days")),
    };
    let read = (|| {
        let description = description?.map_or_else(String::new, |_| request.description.clone());
        Some((asking?, TokenWanted { system: system?, acts_for: acts_for?, description, valid: valid? }))
    })();
    fields.finish(read)
}

fn system_name(fields: &mut Fields, field: &str, name: &str) -> Option<SystemName> {
    let wrong = |error: lgsp_certs::identity::NameError| Wrong::new(error.vietnamese(), error.to_string());
    name.parse().map_or_else(|error| fields.problem(field, wrong(error)), Some)
}

/// The answer to [`token_wanted`]. The secret leaves with it and nowhere else.
pub(crate) fn new_token(new: &NewToken) -> v1::IssueTokenResponse {
    v1::IssueTokenResponse {
        token: new.token.to_text().to_string(),
        token_id: new.token.id().to_vec().into(),
        expires_at: Some(machine_timestamp(new.expires_at)),
        registry_version: new.registry_version,
    }
}

/// Reads which token is taken back.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn withdrawal(request: &v1::WithdrawTokenRequest) -> Result<(Asking, TokenId), Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let id = token_id(&mut fields, &request.token_id);
    fields.finish(asking.zip(id))
}

/// Reads a question for certificates.
///
/// # Errors
/// `FIELD_INVALID`, `PAGE_TOKEN_INVALID`.
pub(crate) fn asked(request: &v1::ListCertificatesRequest) -> Result<(Asking, CertificatesAsked), Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let system = match request.system.as_str() {
        "" => Some(None),
        name => system_name(&mut fields, "system", name).map(|name| Some(name.to_string())),
    };
    let expiring_before = match &request.expiring_before {
        None => Some(None),
        Some(time) => match SystemTime::try_from(*time) {
            Ok(time) => Some(Some(time)),
            Err(_) => fields.problem("expiring_before", Wrong::new("không phải thời điểm", "is no time")),
        },
    };
    let limit = match request.page_size {
        0 => Some(PAGE_DEFAULT),
        size @ 1..=PAGE_MAX => usize::try_from(size).ok(),
        _ => fields.page_too_long(PAGE_MAX),
    };
    let with_past = request.with_past;
    let read = (|| {
        let (system, expiring_before, limit) = (system?, expiring_before?, limit?);
        Some((asking?, CertificatesAsked { system, expiring_before, with_past, limit, after: None }))
    })();
    let (asking, mut asked) = fields.finish(read)?;
    if !request.page_token.is_empty() {
        asked.after = Some(after(request)?);
    }
    Ok((asking, asked))
}

/// The answer to [`asked`].
pub(crate) fn page(page: CertificatesPage, request: &v1::ListCertificatesRequest) -> v1::ListCertificatesResponse {
    v1::ListCertificatesResponse {
        certificates: page.certificates.into_iter().map(certificate).collect(),
        tokens: page.tokens.into_iter().map(token).collect(),
        next_page_token: page.next.map(|cursor| page_token(&cursor, request)).unwrap_or_default(),
    }
}

fn certificate(known: KnownCertificate) -> v1::CertificateEntry {
    let system = known.system_told().to_owned();
    let (revoked_at, revoked_ground) = known.revoked.unzip();
    v1::CertificateEntry {
        sha256: bytes(&known.digest),
        key_sha256: bytes(&known.key),
        system,
        issuer: known.issuer,
        not_before: Some(machine_timestamp(known.not_before)),
        not_after: Some(machine_timestamp(known.not_after)),
        issued_here: known.issued_here,
        first_seen_at: known.first_seen_at.map(machine_timestamp),
        revoked_at: revoked_at.map(machine_timestamp),
        revoked_ground: revoked_ground.unwrap_or_default(),
    }
}

fn token(token: TokenIssued) -> v1::TokenEntry {
    v1::TokenEntry {
        token_id: token.id.to_vec().into(),
        system: token.for_system,
        issued_at: Some(machine_timestamp(token.at)),
        expires_at: Some(machine_timestamp(token.expires_at)),
        actor: token.actor.to_string(),
    }
}

/// Where a page ended, tied to the question it answered. No secret: what a page shows is decided by the caller's rights each time.
fn page_token(cursor: &CertificateCursor, request: &v1::ListCertificatesRequest) -> String {
    let mut token = [TOKEN, &cursor.not_after_ms.to_be_bytes(), cursor.digest.as_bytes()].concat();
    token.extend(check(&token, request));
    BASE64URL_NOPAD.encode(&token)
}

fn after(request: &v1::ListCertificatesRequest) -> Result<CertificateCursor, Refusal> {
    let read = || {
        let token = BASE64URL_NOPAD.decode(request.page_token.as_bytes()).ok()?;
        let (token, given) = token.split_last_chunk::<CHECK_BYTES>()?;
        if *given != check(token, request) {
            return None;
        }
        let (time, digest) = token.strip_prefix(TOKEN)?.split_first_chunk()?;
        Some(CertificateCursor {
            not_after_ms: i64::from_be_bytes(*time),
            digest: Sha256Digest::try_from(digest).ok()?,
        })
    };
    read().ok_or_else(|| Refusal::new(Reason::PageTokenInvalid))
}

fn check(token: &[u8], request: &v1::ListCertificatesRequest) -> [u8; CHECK_BYTES] {
    let question = v1::ListCertificatesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(b"lgsp.v1.certificates.page\n");
    context.update(token);
    context.update(&question.encode_to_vec());
    *context.finish().as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

/// What is to be revoked, and by which ground.
pub(crate) struct Revocation {
    pub(crate) asking: Asking,
    pub(crate) what: ToRevoke,
    pub(crate) ground: String,
}

/// Reads what is to be revoked.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn revocation(request: &v1::RevokeRequest) -> Result<Revocation, Refusal> {
    use v1::revoke_request::What;
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let what = match &request.what {
        Some(What::CertificateSha256(digest)) => fields.digest("certificate_sha256", digest).map(ToRevoke::Certificate),
        Some(What::KeySha256(digest)) => fields.digest("key_sha256", digest).map(ToRevoke::Key),
        Some(What::System(name)) => {
            system_name(&mut fields, "system", name).map(|name| ToRevoke::System(name.to_string()))
        }
        None => fields.problem(
            "what",
            Wrong::new(
                "bị thiếu: hãy nêu chứng thư, khoá hoặc hệ thống",
                "is missing: name a certificate, a key or a system",
            ),
        ),
    };
    let ground = ground(&mut fields, &request.ground);
    let read = (|| Some(Revocation { asking: asking?, what: what?, ground: ground? }))();
    fields.finish(read)
}

/// What came of it.
pub(crate) fn revoked(revoked: &Revoked) -> v1::RevokeResponse {
    v1::RevokeResponse {
        certificate_sha256: revoked.certificates.iter().map(bytes).collect(),
        revoked_at: Some(machine_timestamp(revoked.at)),
        connections_cut: revoked.connections_cut,
        repeated: revoked.repeated,
        tokens_withdrawn: revoked.tokens_withdrawn,
    }
}

fn bytes(digest: &Sha256Digest) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(digest.as_bytes())
}
