//! Joining the bus: a token is spent on a first certificate, or on another one when the last has expired or was revoked.
//!
//! The key is made and synced before the gateway is asked, and stays until whoever joins has all he needs: whatever happens in
//! between, the same token said again with the same key gets the same certificate.

use std::io::{self, ErrorKind};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lgsp_certs::joining_config;
use lgsp_certs::keys::{NoKey, PrivateKey};
use lgsp_certs::tls::TlsFileError;
use lgsp_journal::fault;
use lgsp_proto::Refusal;
use lgsp_proto::types::{JoinToken, PartyId};
use lgsp_proto::v1::enrolment_client::EnrolmentClient;
use lgsp_proto::v1::{JoinRequest, JoinResponse};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::folder::{Folder, Set};
use super::keeper::because;
use super::leaf::Leaf;
use super::loading::load_set;
use super::trust::Trust;
use crate::digest::sha256;
use crate::link::{BadGatewayUrl, CallError, GatewayUrl, Joining, Timings, TurnedAway};

/// How often a door that is busy is knocked at, and the shortest wait in between.
const TRIES: u32 = 10;
const AGAIN: Duration = Duration::from_millis(300);

/// What joining gave.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The system that has joined.
    pub system: String,
    /// Whether there was no certificate here before.
    pub is_first: bool,
    /// The last moment of the certificate's validity.
    pub not_after: SystemTime,
    /// Where the bus is.
    pub gateway: GatewayUrl,
    /// Where the configuration looks for it, when that is another address: inside an agency it may have one of its own.
    pub looked_for_at: Option<GatewayUrl>,
    /// The name in the gateway's certificate, when that is not the host.
    pub server_name: Option<String>,
    /// For which parties the system may act; those whose identifiers are known in full.
    pub parties: Vec<PartyId>,
    /// Whole families of parties it may act for, e.g. `H57.BD.*`.
    pub families: Vec<String>,
}

/// Why somebody has not joined. What is in force is untouched, and the same token may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// This machine's clock is past the token's end.
    #[error("the token has expired, or this machine's clock is wrong")]
    Expired {
        /// The token's end.
        expired_at: Timestamp,
        /// This machine's time.
        now: Timestamp,
    },
    /// The identity here is another system's.
    #[error("the folder belongs to another system")]
    OtherSystem {
        /// That system.
        here: String,
        /// The token's.
        token: String,
    },
    /// The identity here, or the configuration beside it, is for another bus: the spool here belongs to that.
    #[error("the folder belongs to another bus")]
    OtherBus {
        /// The name of that bus, or its gateway.
        here: String,
        /// The same of the token's.
        token: String,
    },
    /// What was issued does not make a set that an adapter could load.
    #[error("what the gateway issued cannot be loaded")]
    Unusable(#[source] TlsFileError),
    /// Something in the token or the answer names no gateway.
    #[error("{url:?} is no gateway's URL")]
    Url {
        /// What it names.
        url: String,
        /// What is wrong with it.
        #[source]
        source: BadGatewayUrl,
    },
    /// The gateway's host cannot be checked against a certificate.
    #[error(transparent)]
    Name(#[from] lgsp_certs::tls::BadServerName),
    /// The server that was found is not the one the token was made for, or a clock is wrong.
    #[error("the server at {gateway} does not prove to be the gateway of the token")]
    Stranger {
        /// Where it was looked for.
        gateway: Box<GatewayUrl>,
        /// What it lacks.
        why: TurnedAway,
    },
    /// The gateway did not answer, or refused.
    #[error("{gateway}")]
    Call {
        /// The gateway.
        gateway: Box<GatewayUrl>,
        /// Its refusal, or what is known of the cause.
        #[source]
        source: CallError,
    },
    /// The certificate is not valid by this machine's clock.
    #[error("the certificate is not valid at this machine's time")]
    Clock {
        /// From when on it is.
        from: Timestamp,
        /// Until when it is.
        until: Timestamp,
        /// This machine's time.
        now: Timestamp,
    },
    /// The answer is not what was asked for.
    #[error("the gateway's answer cannot be used: {0}")]
    Answer(&'static str),
    /// No key could be made.
    #[error(transparent)]
    NoKey(#[from] NoKey),
    /// The folder cannot be read or written.
    #[error("the identity's folder cannot be read or written")]
    Disk(#[from] io::Error),
}

impl JoinError {
    /// What is the matter and what to do about it, in Vietnamese and English. A refusal has texts of its own.
    pub fn texts(&self) -> [String; 2] {
        let why = because(self);
        match self {
            Self::Expired { expired_at, now } => [
                format!(
                    "Mã tham gia hết hạn lúc {expired_at}; đồng hồ máy này là {now}.\n  Nếu đồng hồ đúng, xin đơn vị vận hành \
                     mã mới (lgsp certs token); nếu sai, chỉnh đồng hồ rồi thử lại."
                ),
                format!(
                    "The token expired at {expired_at}; this machine's clock says {now}.\n  If the clock is right, ask the \
                     operator for a new token (lgsp certs token); if not, set it and try again."
                ),
            ],
            Self::OtherSystem { here, token } => [
                format!(
                    "Thư mục này thuộc hệ thống {here}, còn mã tham gia dành cho {token}; chưa gửi gì.\n  Dùng thư mục khác \
                     (--dir) hoặc xin mã cho {here}."
                ),
                format!(
                    "This folder belongs to the system {here}, and the token is for {token}; nothing was sent.\n  Use another \
                     folder (--dir), or ask for a token for {here}."
                ),
            ],
            Self::OtherBus { here, token } => [
                format!(
                    "Thư mục này thuộc trục {here}, còn mã tham gia dành cho {token}; không có gì bị thay đổi.\n  Dùng thư mục \
                     khác (--dir) với mã mới. Nếu chỉ địa chỉ cổng đổi: sửa gateway trong adapter.toml rồi chạy lại lệnh này."
                ),
                format!(
                    "This folder belongs to the bus {here}, and the token is for {token}; nothing was changed.\n  Use another \
                     folder (--dir) with a new token. If only the gateway's address is another one: mend gateway in \
                     adapter.toml, and run the same command again."
                ),
            ],
            Self::Stranger { gateway, why } => [
                format!(
                    "Máy chủ tại {gateway} không phải cổng mà mã tham gia chỉ định: {}; chưa gửi mã.\n  Kiểm tra mã và mạng với \
                     đơn vị vận hành trục.",
                    why.texts()[0]
                ),
                format!(
                    "The server at {gateway} is not the gateway of this token: {}; the token was not sent.\n  Check token and \
                     network with the operator of the bus.",
                    why.texts()[1]
                ),
            ],
            Self::Clock { from, until, now } => [
                format!(
                    "Chứng thư có hiệu lực từ {from} đến {until}, nhưng đồng hồ máy này là {now}.\n  Chỉnh đồng hồ rồi chạy lại \
                     đúng lệnh này với cùng mã."
                ),
                format!(
                    "The certificate is valid from {from} to {until}, and this machine's clock says {now}.\n  Set the clock and \
                     run the same command with the same token again."
                ),
            ],
            Self::Call { gateway, source } => [
                format!(
                    "Không nhận được trả lời từ {gateway}.\n  Chạy lại đúng lệnh này: mã vẫn dùng được với khoá đã tạo."
                ),
                format!(
                    "No answer from {gateway}: {}.\n  Run the same command again: the token stays good for the key that was made.",
                    because(source)
                ),
            ],
            Self::Url { .. } | Self::Name(_) | Self::Answer(_) | Self::Unusable(_) => [
                format!("Mã tham gia hoặc trả lời của cổng không dùng được: {why}.\n  Báo đơn vị vận hành trục."),
                format!("The token or the gateway's answer cannot be used: {why}.\n  Tell the operator of the bus."),
            ],
            Self::NoKey(_) => [format!("Không tạo được khoá: {why}."), format!("No key could be made: {why}.")],
            Self::Disk(_) => [
                format!(
                    "Không đọc hoặc ghi được thư mục định danh: {why}.\n  Sửa quyền hoặc giải phóng đĩa rồi chạy lại lệnh này. Nếu \
                     tệp hỏng, chuyển thư mục identity đi nơi khác trước."
                ),
                format!(
                    "The identity's folder cannot be used: {why}.\n  Mend permissions or make room, and run the same command again. \
                     If files are damaged, move the folder identity away before."
                ),
            ],
        }
    }
}

/// Spends `token` on a certificate, and puts it in force in `folder`, unless that holds another bus' or system's identity, or
/// holds none while whoever uses it is `configured` for another gateway than the token's bus has. The set is loaded before, as an adapter does.
///
/// Safe to say again after any failure, with the same token, until [`Folder::joined`] was told that nothing more is to be done.
///
/// # Errors
/// See [`JoinError`]. What was in force still is.
pub async fn join(
    token: &JoinToken,
    folder: &Folder,
    configured: Option<&GatewayUrl>,
    timings: Timings,
) -> Result<Joined, JoinError> {
    let now = seconds_now();
    let present = folder.read()?.map(|set| {
        let damaged = || io::Error::new(ErrorKind::InvalidData, "its chain begins with no certificate");
        Leaf::read(&set.chain[0]).ok_or_else(damaged)
    });
    let present = present.transpose()?;
    if let Some(here) = present.as_ref().and_then(|leaf| leaf.system.as_ref())
        && here.as_str() != token.system()
    {
        return Err(JoinError::OtherSystem { here: here.to_string(), token: token.system().to_owned() });
    }
    // Whoever has begun may finish: a token that was spent gives its certificate again, and the gateway knows for how long.
    let has_begun = folder.has_joining_key(token.id());
    if now > token.expires_at() && !has_begun {
        return Err(JoinError::Expired { expired_at: token.expires_at(), now });
    }
    let gateway = url(token.enrolment_url())?;
    let key = key_for(token, folder)?;
    fault::reached(fault::JOIN_KEY)?;

    let request = JoinRequest {
        token_id: token.id().to_vec().into(),
        token_secret: token.secret().to_vec().into(),
        signing_request: key.signing_request()?.into(),
    };
    let answer = ask(&gateway, token, request, timings).await?;
    fault::reached(fault::JOIN_ANSWER)?;
    let (set, leaf) = read(&answer, token, &key)?;
    let at =
        |time| Timestamp::try_from(time).map_err(|_| JoinError::Answer("its certificate's times are out of range"));
    let (from, until) = (at(leaf.not_before)?, at(leaf.not_after)?);
    let now = seconds_now();
    if now < from || now > until {
        return Err(JoinError::Clock { from, until, now });
    }
    let bus = url(&answer.bus_url)?;
    let here = present.as_ref().and_then(|present| present.trust_domain.as_ref());
    if let (Some(here), Some(other)) = (here, &leaf.trust_domain)
        && here != other
    {
        return Err(JoinError::OtherBus { here: here.to_string(), token: other.to_string() });
    }
    let elsewhere = configured.filter(|here| **here != bus);
    // An identity of the bus proves which one it is; where there is none only the address can tell.
    if let (Some(here), None) = (elsewhere, here) {
        return Err(JoinError::OtherBus { here: here.to_string(), token: bus.to_string() });
    }
    let draft = folder.write(&set, SystemTime::now())?;
    load_set(&draft.path(), SystemTime::now()).map_err(JoinError::Unusable)?;
    draft.put_in_force()?;
    let (parties, families) = acts_for(answer.acts_for);
    Ok(Joined {
        system: token.system().to_owned(),
        is_first: present.is_none(),
        not_after: leaf.not_after,
        gateway: bus,
        looked_for_at: elsewhere.cloned(),
        server_name: Some(answer.server_name).filter(|name| !name.is_empty()),
        parties,
        families,
    })
}

/// To the second, as certificates and tokens have it, and as people read it.
fn seconds_now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn url(text: &str) -> Result<GatewayUrl, JoinError> {
    text.parse().map_err(|source| JoinError::Url { url: text.to_owned(), source })
}

/// The key for this token: that of an earlier attempt, or a fresh one, durable before it is used.
fn key_for(token: &JoinToken, folder: &Folder) -> Result<PrivateKey, JoinError> {
    let file = folder.joining_key(token.id())?;
    match std::fs::read(&file) {
        Ok(pem) => {
            let pem = Zeroizing::new(pem);
            PrivateKey::from_pem(&pem).map_err(|error| io::Error::new(ErrorKind::InvalidData, error).into())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = PrivateKey::generate()?;
            key.write_to(&file)?;
            Ok(key)
        }
        Err(error) => Err(error.into()),
    }
}

async fn ask(
    gateway: &GatewayUrl,
    token: &JoinToken,
    request: JoinRequest,
    timings: Timings,
) -> Result<JoinResponse, JoinError> {
    let call_timeout = timings.call_timeout;
    let tls = joining_config(token.root_sha256());
    let joining = Joining::new(gateway, token.server_name(), tls, timings)?;
    let mut tries = 1;
    loop {
        let mut request = tonic::Request::new(request.clone());
        request.set_timeout(call_timeout);
        let error = match EnrolmentClient::new(joining.channel()).join(request).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => CallError::from_status(status),
        };
        match (error, joining.turned_away()) {
            // Many join in one morning, and the door lets in a few each second.
            (CallError::NotNow(refused), _) if tries < TRIES => {
                let wait = refused.refusal().and_then(Refusal::retry_after).unwrap_or_default();
                tries += 1;
                tokio::time::sleep(wait.clamp(AGAIN, AGAIN * 10)).await;
            }
            (CallError::Unknown(_), Some(why)) => {
                return Err(JoinError::Stranger { gateway: gateway.clone().into(), why });
            }
            (source, _) => return Err(JoinError::Call { gateway: gateway.clone().into(), source }),
        }
    }
}

/// Takes the answer for what can be used of it.
fn read(answer: &JoinResponse, token: &JoinToken, key: &PrivateKey) -> Result<(Set, Leaf), JoinError> {
    let issued = answer.certificate.as_ref().ok_or(JoinError::Answer("it holds no certificate"))?;
    let chain: Vec<CertificateDer<'static>> = issued.chain.iter().map(|der| der.to_vec().into()).collect();
    let leaf = chain.first().and_then(|der| Leaf::read(der));
    let leaf = leaf.ok_or(JoinError::Answer("it holds no certificate"))?;
    if leaf.key_sha256 != key.key_sha256() {
        return Err(JoinError::Answer("its certificate is for another key"));
    }
    if leaf.system.as_ref().is_none_or(|system| system.as_str() != token.system()) {
        return Err(JoinError::Answer("its certificate is for another system"));
    }
    let trust = answer.trust.as_ref().and_then(|trust| Trust::read(trust).ok());
    let trust = trust.ok_or(JoinError::Answer("it names no roots that can be used"))?;
    // Others may stand beside it while a CA is exchanged; without it, the token and the answer are about two buses.
    if !trust.roots.iter().any(|root| token.root_sha256().contains(&sha256(root))) {
        return Err(JoinError::Answer("none of its roots is one of the token's"));
    }
    let set = Set { key: key.to_pem()?, chain, roots: trust.roots, revocation_lists: trust.revocation_lists };
    Ok((set, leaf))
}

fn acts_for(texts: Vec<String>) -> (Vec<PartyId>, Vec<String>) {
    let (mut parties, mut families) = (Vec::new(), Vec::new());
    for text in texts {
        match text.parse() {
            Ok(party) => parties.push(party),
            Err(_) => families.push(text),
        }
    }
    (parties, families)
}
