//! Why the one side turns the other away because of a certificate: what a link must say about itself, so that a person knows
//! what to do. Time alone mends none of it, unless a clock is wrong.

use std::io;

use http::HeaderMap;
use lgsp_proto::{Reason, Refusal};
use rustls::{AlertDescription, CertificateError, Error};
use tonic::{Code, Status};

/// See the module.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TurnedAway {
    /// The gateway says that our certificate, or its key, was revoked.
    Revoked,
    /// It says that our certificate has expired.
    Expired,
    /// It does not accept our certificate for another cause: it does not know the CA, or that may not vouch for us.
    NotAccepted,
    /// It has no system for our certificate: the registry names another, or binds ours to another key or owner.
    NotKnown,
    /// The gateway's certificate chains to no root of our bundle.
    GatewayUnknown,
    /// The gateway's certificate carries another name.
    GatewayName,
    /// The gateway's certificate is not valid at this machine's time.
    GatewayTime,
    /// The gateway's certificate was revoked, by a list we hold; or that list is too old to tell.
    GatewayRevoked,
}

impl TurnedAway {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Revoked,
        Self::Expired,
        Self::NotAccepted,
        Self::NotKnown,
        Self::GatewayUnknown,
        Self::GatewayName,
        Self::GatewayTime,
        Self::GatewayRevoked,
    ];

    /// What a connection that failed says about certificates; nothing, if it failed for another cause.
    pub(super) fn of_handshake(error: &io::Error) -> Option<Self> {
        match error.get_ref()?.downcast_ref::<Error>()? {
            Error::AlertReceived(AlertDescription::CertificateRevoked) => Some(Self::Revoked),
            Error::AlertReceived(AlertDescription::CertificateExpired) => Some(Self::Expired),
            Error::AlertReceived(
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRequired
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError,
            ) => Some(Self::NotAccepted),
            Error::InvalidCertificate(problem) => Some(match problem {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::GatewayTime,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::GatewayName
                }
                CertificateError::Revoked
                | CertificateError::UnknownRevocationStatus
                | CertificateError::ExpiredRevocationList
                | CertificateError::ExpiredRevocationListContext { .. } => Self::GatewayRevoked,
                _ => Self::GatewayUnknown,
            }),
            _ => None,
        }
    }

    /// What an answer's head says about our certificate. A refusal comes as a head alone, with the status in it.
    pub(super) fn of_answer(head: &HeaderMap) -> Option<Self> {
        let is_about_us = |status: &Status| matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied);
        let status = Status::from_header_map(head).filter(is_about_us)?;
        Self::of_reason(Refusal::from_status(&status)?.reason())
    }

    /// What a refusal says about our certificate, whatever was asked.
    pub(crate) fn of_reason(reason: Reason) -> Option<Self> {
        match reason {
            Reason::CertificateRevoked => Some(Self::Revoked),
            Reason::CertificateNotVouched | Reason::CertificateWithoutIdentity => Some(Self::NotAccepted),
            Reason::SystemUnknown => Some(Self::NotKnown),
            _ => None,
        }
    }

    /// A stable word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::NotAccepted => "not_accepted",
            Self::NotKnown => "not_known",
            Self::GatewayUnknown => "gateway_unknown",
            Self::GatewayName => "gateway_name",
            Self::GatewayTime => "gateway_time",
            Self::GatewayRevoked => "gateway_revoked",
        }
    }

    /// What is the matter and what to do about it, in Vietnamese and English.
    pub const fn texts(self) -> [&'static str; 2] {
        match self {
            Self::Revoked => [
                "chứng thư hoặc khoá của bộ kết nối đã bị thu hồi; hàng đợi vẫn được giữ; hỏi đơn vị vận hành trục rồi \
                 dùng mã tham gia mới: lgsp adapter join",
                "the adapter's certificate or key was revoked; the spool is kept; ask the operator of the bus, then join with a \
                 new token: lgsp adapter join",
            ],
            Self::Expired => [
                "chứng thư của bộ kết nối đã hết hạn; hàng đợi vẫn được giữ; xin mã tham gia mới: lgsp adapter join",
                "the adapter's certificate has expired; the spool is kept; join with a new token: lgsp adapter join",
            ],
            Self::NotAccepted => [
                "cổng không chấp nhận chứng thư của bộ kết nối; kiểm tra CA cấp chứng thư và hệ thống với đơn vị vận hành trục",
                "the gateway does not accept the adapter's certificate; check its CA and the system with the operator of the bus",
            ],
            Self::NotKnown => [
                "cổng không có hệ thống nào trong sổ đăng ký ứng với chứng thư của bộ kết nối; hàng đợi vẫn được giữ; đề nghị đơn \
                 vị vận hành trục sửa mục của hệ thống trong systems.toml",
                "the gateway's registry has no system for the adapter's certificate; the spool is kept; ask the operator of the \
                 bus to mend the system's entry in systems.toml",
            ],
            Self::GatewayUnknown => [
                "chứng thư của cổng không do CA nào trong danh sách tin cậy cấp; kiểm tra địa chỉ cổng và tệp bundle",
                "the gateway's certificate comes from no CA of the bundle; check the gateway's address and the bundle",
            ],
            Self::GatewayName => [
                "chứng thư của cổng mang tên khác; kiểm tra gateway và server_name",
                "the gateway's certificate carries another name; check gateway and server_name",
            ],
            Self::GatewayTime => [
                "chứng thư của cổng không có hiệu lực theo đồng hồ máy này; kiểm tra đồng hồ máy, sau đó báo đơn vị vận hành trục",
                "the gateway's certificate is not valid by this machine's clock; check the clock, then tell the operator of the bus",
            ],
            Self::GatewayRevoked => [
                "chứng thư của cổng đã bị thu hồi, hoặc danh sách thu hồi đã quá hạn; báo đơn vị vận hành trục",
                "the gateway's certificate was revoked, or the revocation list is too old to tell; tell the operator of the bus",
            ],
        }
    }
}
