//! One renewal: a certificate for a fresh key over the present one, tried at the gateway before it is put in force.
//!
//! The adapter's keeper and the command line both renew by this; when to is theirs.

use std::io;
use std::time::SystemTime;

use lgsp_certs::Credentials;
use lgsp_certs::keys::{NoKey, PrivateKey};
use lgsp_certs::tls::TlsFileError;
use lgsp_proto::v1::{RenewRequest, TrustRequest, TrustResponse};
use lgsp_proto::{Reason, Refusal};
use rustls_pki_types::CertificateDer;
use tonic::Code;
use zeroize::Zeroizing;

use super::folder::{Folder, Set};
use super::keeper::because;
use super::leaf::Leaf;
use super::loading::load_set;
use super::trust::{BadTrust, Trust};
use crate::link::{CallError, Link};

/// What was issued.
pub(super) struct New {
    pub(super) key: Zeroizing<String>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) renew_from: Option<prost_types::Timestamp>,
}

/// Why there is no new set. What was in force still is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Call(#[from] CallError),
    /// With what it said.
    #[error("the gateway issues no certificates")]
    IssuesNone(CallError),
    /// With what it said.
    #[error("the certificate is of another CA than the gateway's, and renewed there")]
    RenewedElsewhere(CallError),
    #[error("the gateway's answer holds no certificate for this system and key")]
    NotOurs,
    #[error("the roots that the gateway names cannot be used")]
    Trust(#[from] BadTrust),
    /// It was written, and a call made with it failed.
    #[error("the gateway cannot be reached with the new set, and the present one stays")]
    NotProved(#[source] CallError),
    #[error("no key could be made")]
    NoKey(#[from] NoKey),
    #[error("the new set cannot be loaded")]
    Load(#[from] TlsFileError),
    #[error("the identity's folder cannot be read or written")]
    Disk(#[from] io::Error),
}

impl Failed {
    /// What is the matter, in Vietnamese and English.
    pub(super) fn texts(&self) -> [String; 2] {
        let why = because(self);
        let vi = match self {
            Self::Call(CallError::Refused(refused) | CallError::NotNow(refused)) => match refused.refusal() {
                Some(refusal) => refusal.reason().texts().what.vi,
                None => "cổng từ chối",
            },
            Self::Call(_) => "không nhận được trả lời từ cổng",
            Self::IssuesNone(_) => {
                "cổng này không cấp chứng thư; chứng thư phải được thay từ bên ngoài trước khi hết hạn"
            }
            Self::RenewedElsewhere(_) => {
                "chứng thư thuộc một CA khác, trục không gia hạn; hãy thay chứng thư từ CA đã cấp trước khi hết hạn"
            }
            Self::NotOurs => "trả lời của cổng không chứa chứng thư cho hệ thống và khoá này",
            Self::Trust(_) => "danh sách CA tin cậy do cổng trả về không dùng được",
            Self::NotProved(_) => "bộ chứng thư mới không kết nối được với cổng; bộ hiện tại được giữ nguyên",
            Self::NoKey(_) => "không tạo được khoá",
            Self::Load(_) => "không nạp được bộ chứng thư mới",
            Self::Disk(_) => "không đọc hoặc ghi được thư mục định danh",
        };
        [vi.to_owned(), why]
    }
}

/// A certificate for a fresh key, over the present certificate.
pub(super) async fn ask_for_another(link: &Link, present: &Set) -> Result<New, Failed> {
    let before = Leaf::read(&present.chain[0]).ok_or(Failed::NotOurs)?;
    let key = PrivateKey::generate()?;
    let request = RenewRequest { signing_request: key.signing_request()?.into() };
    let answer = link.certificates().renew(link.request(request, None)).await;
    let issued = answer.map_err(of_renewal)?.into_inner().certificate.ok_or(Failed::NotOurs)?;
    let chain: Vec<CertificateDer<'static>> = issued.chain.iter().map(|der| der.to_vec().into()).collect();
    let leaf = chain.first().and_then(|der| Leaf::read(der)).ok_or(Failed::NotOurs)?;
    if leaf.key_sha256 != key.key_sha256() || leaf.system != before.system {
        return Err(Failed::NotOurs);
    }
    Ok(New { key: key.to_pem()?, chain, renew_from: issued.renew_from })
}

/// Writes a set, proves by a call made with it that it is good for this gateway, and only then puts it in force.
pub(super) async fn put_in_force(link: &Link, folder: &Folder, set: Set) -> Result<(Credentials, Leaf), Failed> {
    let (writing, trust) = (folder.clone(), Trust::of(&set));
    let draft = blocking(move || writing.write(&set, SystemTime::now())).await?;
    let path = draft.path();
    let loading = tokio::task::spawn_blocking(move || load_set(&path, SystemTime::now()));
    let (credentials, leaf) = loading.await.map_err(io::Error::other)??;
    let beside = link.beside(&credentials);
    match ask_whom_to_trust(&beside, &trust).await {
        // Not now is an answer as well: whoever gets it was let in.
        Ok(_) | Err(Failed::Trust(_) | Failed::Call(CallError::NotNow(_))) => {}
        Err(Failed::Call(error)) => return Err(Failed::NotProved(error)),
        Err(error) => return Err(error),
    }
    blocking(move || draft.put_in_force()).await?;
    Ok((credentials, leaf))
}

/// What the gateway names; `None` if it is what it named before, or if it keeps no certificates and names nothing.
pub(super) async fn ask_whom_to_trust(link: &Link, present: &Trust) -> Result<Option<Trust>, Failed> {
    let request = TrustRequest { known_sha256: present.sha256().to_vec().into() };
    match link.certificates().trust(link.request(request, None)).await {
        Ok(answer) => {
            let answer: TrustResponse = answer.into_inner();
            if answer.sha256 == present.sha256()[..] { Ok(None) } else { Ok(Some(Trust::read(&answer)?)) }
        }
        Err(status) if issues_none(&status) => Ok(None),
        Err(status) => Err(CallError::from_status(status).into()),
    }
}

/// Why a renewal failed.
fn of_renewal(status: tonic::Status) -> Failed {
    let issues_none = issues_none(&status);
    let reason = Refusal::from_status(&status).map(|refusal| refusal.reason());
    let error = CallError::from_status(status);
    if reason == Some(Reason::RenewedElsewhere) {
        Failed::RenewedElsewhere(error)
    } else if issues_none {
        Failed::IssuesNone(error)
    } else {
        error.into()
    }
}

/// Whether a gateway has nothing to do with certificates: it says so, or is too old to know the word.
fn issues_none(status: &tonic::Status) -> bool {
    let reason = Refusal::from_status(status).map(|refusal| refusal.reason());
    reason == Some(Reason::CaNotConfigured) || status.code() == Code::Unimplemented
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
