//! What became of one post, as a stable word, and what to do about it in Vietnamese and English.

use std::error::Error;
use std::io;

use http::StatusCode;
use rustls::{AlertDescription, CertificateError};

use crate::handover::NotTaken;

/// What became of a post.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// The agency's system has answered 2xx.
    Taken,
    /// It has answered something else.
    Status(StatusCode),
    /// No address belongs to the host's name.
    NameUnknown,
    /// Nobody listens there.
    ConnectionRefused,
    /// There is no way there, or no answer to the first packet.
    Unreachable,
    /// Its certificate leads to no CA of the bundle.
    TlsUntrusted,
    /// Its certificate carries another name.
    TlsName,
    /// Its certificate is not valid by this machine's clock.
    TlsTime,
    /// It wants a certificate of ours.
    TlsClientCertificate,
    /// Anything else about TLS; mostly, that it does not speak TLS 1.3.
    TlsFailed,
    /// The connection broke, or what came back is not HTTP.
    BrokenOff,
    /// It did not answer in time.
    TimedOut,
}

/// A connection that did not come about.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{}", .0.word())]
pub(crate) struct NotConnected(pub(super) Outcome);

impl Outcome {
    /// What a failed TCP connection means.
    pub(super) fn of_connect(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectionRefused,
            _ => Self::Unreachable,
        }
    }

    /// What a failed handshake means.
    pub(super) fn of_handshake(error: &io::Error) -> Self {
        let said = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        said.map_or(Self::TlsFailed, Self::of_tls)
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(problem) => match problem {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::TlsTime,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::TlsName,
                _ => Self::TlsUntrusted,
            },
            // In TLS 1.3 this comes after the client's side of the handshake is done (RFC 8446 §4.4.2.4).
            rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::AccessDenied,
            ) => Self::TlsClientCertificate,
            _ => Self::TlsFailed,
        }
    }

    /// What an exchange that gave no answer means.
    pub(crate) fn of_exchange(error: &hyper_util::client::legacy::Error) -> Self {
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(NotConnected(outcome)) = error.downcast_ref() {
                return *outcome;
            }
            let tls = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(tls) = tls.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return Self::of_tls(tls);
            }
            cause = error.source();
        }
        Self::BrokenOff
    }

    /// Whether the agency's system has it; if not, why, as the hand-over understands it.
    pub(super) fn taken(self) -> Result<(), NotTaken> {
        match self {
            Self::Taken => Ok(()),
            Self::Status(status) => Err(NotTaken::Status(status)),
            Self::BrokenOff => Err(NotTaken::BrokenOff),
            Self::TimedOut => Err(NotTaken::TimedOut),
            Self::NameUnknown
            | Self::ConnectionRefused
            | Self::Unreachable
            | Self::TlsUntrusted
            | Self::TlsName
            | Self::TlsTime
            | Self::TlsClientCertificate
            | Self::TlsFailed => Err(NotTaken::Unreachable),
        }
    }

    /// A stable word for programs.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Status(_) => "http_status",
            Self::NameUnknown => "name_unknown",
            Self::ConnectionRefused => "connection_refused",
            Self::Unreachable => "unreachable",
            Self::TlsUntrusted => "tls_untrusted",
            Self::TlsName => "tls_name",
            Self::TlsTime => "tls_time",
            Self::TlsClientCertificate => "tls_client_certificate",
            Self::TlsFailed => "tls_failed",
            Self::BrokenOff => "broken_off",
            Self::TimedOut => "timed_out",
        }
    }

    /// The HTTP status, where there was an answer that is not 2xx.
    pub(crate) fn http_status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status.as_u16()),
            _ => None,
        }
    }

    /// What is the matter and what to mend, in Vietnamese and English.
    pub(crate) fn texts(self) -> [&'static str; 2] {
        match self {
            Self::Taken => ["Hệ thống của cơ quan đã nhận.", "The agency's system has taken it."],
            Self::Status(status) => status_texts(status),
            Self::NameUnknown => [
                "Không phân giải được tên máy; kiểm tra tên trong webhook.url và DNS của máy này.",
                "The host's name leads to no address; check the name in webhook.url and this machine's DNS.",
            ],
            Self::ConnectionRefused => [
                "Không có dịch vụ nào nghe ở địa chỉ này; khởi động phần mềm của cơ quan, kiểm tra cổng trong webhook.url.",
                "Nobody listens there; start the agency's system, and check the port in webhook.url.",
            ],
            Self::Unreachable => [
                "Không tới được địa chỉ; kiểm tra mạng, tường lửa và địa chỉ trong webhook.url.",
                "There is no way to the address; check network, firewall and the address in webhook.url.",
            ],
            Self::TlsUntrusted => [
                "Chứng thư của hệ thống cơ quan không do CA nào trong webhook.bundle cấp; đưa chứng thư CA gốc của cơ quan vào tệp đó.",
                "The certificate of the agency's system leads to no CA in webhook.bundle; put the agency's root into that file.",
            ],
            Self::TlsName => [
                "Chứng thư của hệ thống cơ quan mang tên khác; dùng đúng tên đó trong webhook.url hoặc cấp lại chứng thư.",
                "The certificate of the agency's system carries another name; use that one in webhook.url, or issue it anew.",
            ],
            Self::TlsTime => [
                "Chứng thư của hệ thống cơ quan không có hiệu lực theo đồng hồ máy này; kiểm tra đồng hồ, sau đó gia hạn chứng thư.",
                "The certificate of the agency's system is not valid by this machine's clock; check the clock, then renew it.",
            ],
            Self::TlsClientCertificate => [
                "Hệ thống của cơ quan đòi chứng thư của bên gọi; bộ kết nối không trình chứng thư mà ký từng thông báo: tắt yêu cầu này cho đường dẫn webhook.",
                "The agency's system asks for the caller's certificate; the adapter shows none and signs each post instead: do not ask for one on the webhook's path.",
            ],
            Self::TlsFailed => [
                "Không bắt tay TLS được; máy chủ của cơ quan phải hỗ trợ TLS 1.3, và cổng phải là cổng HTTPS.",
                "No TLS handshake; the agency's server must speak TLS 1.3, and the port must be its HTTPS port.",
            ],
            Self::BrokenOff => [
                "Kết nối bị ngắt hoặc trả lời không phải HTTP; nếu máy chủ dùng TLS, viết https:// trong webhook.url; xem nhật ký phần mềm của cơ quan.",
                "The connection broke, or the answer is not HTTP; if the server speaks TLS, write https:// in webhook.url; look into the log of the agency's system.",
            ],
            Self::TimedOut => [
                "Không trả lời trong thời hạn webhook.timeout_ms; hãy ghi lại rồi trả lời ngay, xử lý sau.",
                "No answer within webhook.timeout_ms; have the agency's system store it, answer, and work on it afterwards.",
            ],
        }
    }
}

fn status_texts(status: StatusCode) -> [&'static str; 2] {
    match status.as_u16() {
        300..=399 => [
            "Máy chủ chuyển hướng; bộ kết nối không đi theo: viết địa chỉ cuối cùng vào webhook.url.",
            "It redirects, which is not followed; put the final address into webhook.url.",
        ],
        401 | 403 => [
            "Bên nhận từ chối chữ ký hoặc đòi đăng nhập; kiểm tra mã bí mật webhook và đồng hồ hai máy (lệch tối đa 5 phút).",
            "The receiver refuses the signature or wants a login; check the webhook secret and both clocks (5 minutes at most).",
        ],
        404 | 405 => [
            "Đường dẫn không nhận POST; kiểm tra phần đường dẫn trong webhook.url.",
            "The path takes no POST; check the path in webhook.url.",
        ],
        400 | 413 | 415 | 422 => [
            "Bên nhận không chấp nhận nội dung; phải nhận application/cloudevents+json và bỏ qua loại sự kiện không biết.",
            "The receiver refuses the content; it must take application/cloudevents+json, and pass over types it does not know.",
        ],
        408 | 425 | 429 | 502..=504 => [
            "Máy chủ trung gian hoặc phần mềm của cơ quan đang quá tải hoặc ngừng; kiểm tra xem phần mềm có chạy không.",
            "A proxy or the agency's system is overloaded or down; see whether it runs.",
        ],
        _ => [
            "Phần mềm của cơ quan báo lỗi; xem nhật ký của phần mềm đó.",
            "The agency's system failed; look into its log.",
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_became_of_a_post_is_said_in_both_languages_and_only_2xx_is_taken() {
        use Outcome::*;
        let statuses = [301, 401, 404, 422, 503, 500].map(|status| Status(StatusCode::from_u16(status).unwrap()));
        let others = [
            NameUnknown,
            ConnectionRefused,
            Unreachable,
            TlsUntrusted,
            TlsName,
            TlsTime,
            TlsClientCertificate,
            TlsFailed,
            BrokenOff,
            TimedOut,
        ];
        for outcome in statuses.into_iter().chain(others) {
            let [vi, en] = outcome.texts();
            assert!(!vi.is_ascii() && en.is_ascii(), "{en}");
            assert!(outcome.taken().is_err());
        }
        assert_eq!(Taken.taken(), Ok(()));
    }
}
