//! What is the matter with the portal, in a stable word and in words for operators.

use lgsp_proto::reason::Bilingual;

use crate::handover::NotTaken;
use crate::trouble;

/// Why the portal cannot be told just now. It ends by itself when its cause does.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Trouble {
    /// Nobody listens there, or the name is not known.
    Unreachable,
    /// It is not one that `portal.bundle` vouches for under its name.
    TlsFailed,
    /// It did not answer in time.
    TimedOut,
    /// It broke off; whether it has done what it was asked is not known.
    BrokenOff,
    /// It says that it works at itself, or that there is too much.
    Maintenance,
    /// It fails.
    Failing,
    /// What it answered has another form than ours.
    Unreadable,
    /// The file with the password cannot be read.
    NoPassword,
    /// It does not take name and password.
    LoginRefused,
    /// It gives a session, and then does not know it, perhaps for one dossier only.
    SessionRefused,
    /// The gateway does not give the dossier just now.
    NoDossier,
    /// The gateway has fewer events of the dossier than it delivered.
    EventsMissing,
    /// More is said of the dossier than there is room for in memory, or than one answer of the gateway may hold.
    DossierTooLarge,
    /// More dossiers than are compared at once.
    PeriodTooLong,
}

impl Trouble {
    /// All of them.
    pub(crate) const ALL: [Self; 14] = [
        Self::Unreachable,
        Self::TlsFailed,
        Self::TimedOut,
        Self::BrokenOff,
        Self::Maintenance,
        Self::Failing,
        Self::Unreadable,
        Self::NoPassword,
        Self::LoginRefused,
        Self::SessionRefused,
        Self::NoDossier,
        Self::EventsMissing,
        Self::DossierTooLarge,
        Self::PeriodTooLong,
    ];

    /// Whether it is one dossier's, and says nothing of the way to the portal.
    pub(super) fn is_one_dossiers(self) -> bool {
        matches!(self, Self::EventsMissing | Self::DossierTooLarge)
    }

    /// As the hand-over understands it. What may be one dossier's fault is held against it only while others are taken.
    pub(super) fn not_taken(self) -> NotTaken {
        match self {
            Self::TimedOut => NotTaken::TimedOut,
            // A session refused right after the login may be the portal's word about this dossier.
            Self::BrokenOff | Self::Failing | Self::Unreadable | Self::SessionRefused => NotTaken::BrokenOff,
            // It waits alone, and goes back to nobody: the gateway delivers those events again, or others in their place.
            Self::EventsMissing => NotTaken::NotYet,
            Self::DossierTooLarge => NotTaken::ByItsOwnRule,
            Self::Unreachable
            | Self::TlsFailed
            | Self::Maintenance
            | Self::NoPassword
            | Self::LoginRefused
            | Self::NoDossier
            | Self::PeriodTooLong => NotTaken::Unreachable,
        }
    }
}

impl trouble::Trouble for Trouble {
    fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "PORTAL_UNREACHABLE",
            Self::TlsFailed => "PORTAL_TLS_FAILED",
            Self::TimedOut => "PORTAL_TIMED_OUT",
            Self::BrokenOff => "PORTAL_BROKE_OFF",
            Self::Maintenance => "PORTAL_MAINTENANCE",
            Self::Failing => "PORTAL_FAILING",
            Self::Unreadable => "PORTAL_UNREADABLE",
            Self::NoPassword => "PORTAL_NO_PASSWORD",
            Self::LoginRefused => "PORTAL_LOGIN_REFUSED",
            Self::SessionRefused => "PORTAL_SESSION_REFUSED",
            Self::NoDossier => "PORTAL_NO_DOSSIER",
            Self::EventsMissing => "PORTAL_EVENTS_MISSING",
            Self::DossierTooLarge => "PORTAL_DOSSIER_TOO_LARGE",
            Self::PeriodTooLong => "PORTAL_PERIOD_TOO_LONG",
        }
    }

    fn texts(self) -> Bilingual {
        match self {
            Self::Unreachable => Bilingual {
                en: "Nobody answers at the portal's address; check portal.service_url, portal.login_url and the way there.",
                vi: "Địa chỉ của cổng không có ai trả lời; hãy kiểm tra portal.service_url, portal.login_url và đường mạng.",
            },
            Self::TlsFailed => Bilingual {
                en: "The portal's certificate is none that portal.bundle vouches for under its name; check both.",
                vi: "Chứng thư của cổng không được portal.bundle bảo đảm đúng tên; hãy kiểm tra cả hai.",
            },
            Self::TimedOut => Bilingual {
                en: "The portal does not answer in time; it goes on by itself. If it is always slow, raise portal.timeout_ms.",
                vi: "Cổng không trả lời kịp; việc gửi sẽ tự tiếp tục. Nếu cổng luôn chậm, hãy tăng portal.timeout_ms.",
            },
            Self::BrokenOff => Bilingual {
                en: "The connection to the portal broke off; the same is sent again by itself.",
                vi: "Kết nối tới cổng bị ngắt; nội dung sẽ tự được gửi lại.",
            },
            Self::Maintenance => Bilingual {
                en: "The portal takes nothing just now; it goes on by itself.",
                vi: "Cổng tạm thời không nhận; việc gửi sẽ tự tiếp tục.",
            },
            Self::Failing => Bilingual {
                en: "The portal answers with an error of its own; if it lasts, ask its operator.",
                vi: "Cổng trả lời bằng lỗi của chính nó; nếu kéo dài, hãy hỏi đơn vị vận hành cổng.",
            },
            Self::Unreadable => Bilingual {
                en: "The portal's answer has not the form agreed; check portal.service_url and portal.login_url, or ask its operator.",
                vi: "Trả lời của cổng không đúng dạng đã thoả thuận; hãy kiểm tra portal.service_url, portal.login_url hoặc hỏi đơn vị vận hành.",
            },
            Self::NoPassword => Bilingual {
                en: "The file portal.password_file cannot be read or is empty; write the account's password there.",
                vi: "Không đọc được tệp portal.password_file hoặc tệp trống; hãy ghi mật khẩu của tài khoản vào đó.",
            },
            Self::LoginRefused => Bilingual {
                en: "The portal does not take name and password; check portal.username and portal.password_file.",
                vi: "Cổng không chấp nhận tên và mật khẩu; hãy kiểm tra portal.username và portal.password_file.",
            },
            Self::SessionRefused => Bilingual {
                en: "The portal logs us in and then does not know the session; see whether the account is used elsewhere too. If it is one dossier only, ask its operator.",
                vi: "Cổng cho đăng nhập rồi lại không nhận phiên; hãy xem tài khoản có đang được dùng ở nơi khác không. Nếu chỉ một hồ sơ bị vậy, hãy hỏi đơn vị vận hành cổng.",
            },
            Self::NoDossier => Bilingual {
                en: "The gateway does not give the dossier just now; it goes on by itself when the line is well.",
                vi: "Trục chưa trả được hồ sơ; việc gửi sẽ tự tiếp tục khi đường truyền ổn định.",
            },
            Self::EventsMissing => Bilingual {
                en: "The gateway has fewer events of the dossier than it delivered, as after a restore; the dossier waits until they are there again.",
                vi: "Trục có ít sự kiện của hồ sơ hơn số đã giao, như sau khi khôi phục; hồ sơ chờ đến khi các sự kiện có lại.",
            },
            Self::DossierTooLarge => Bilingual {
                en: "More was said of the dossier than the adapter can hold of one; tell its maker, and the portal by hand.",
                vi: "Nội dung hồ sơ lớn hơn mức bộ kết nối giữ được cho một hồ sơ; hãy báo nhà phát triển và cập nhật cổng bằng tay.",
            },
            Self::PeriodTooLong => Bilingual {
                en: "There are more dossiers in that period than are compared at once; compare a shorter one.",
                vi: "Khoảng thời gian này có nhiều hồ sơ hơn mức so được một lần; hãy so khoảng ngắn hơn.",
            },
        }
    }
}
