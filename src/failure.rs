//! Why a command failed, in what its caller must do next; each has an exit code of its own.
//!
//! Whatever is not one of these is unexpected and ends with 1.

use std::fmt;
use std::io;
use std::path::Path;

use lgsp_adapters::link::{CallError, GatewayUrl, Link, Refused, TurnedAway};
use lgsp_certs::Usage;
use lgsp_certs::sign::KeyError;
use lgsp_certs::tls::{TlsFileError, TlsProblem};
use lgsp_proto::Reason;

use crate::lang::Lang;

/// All went well.
pub(crate) const OK: u8 = 0;
/// Something nobody foresaw.
pub(crate) const UNEXPECTED: u8 = 1;
/// The command line, a configuration or a file given is at fault. clap ends with the same.
pub(crate) const USAGE: u8 = 2;
/// The bus refused; nothing was written. `lgsp fsck` and `lgsp registry check` end with it when they found problems.
pub(crate) const REFUSED: u8 = 3;
/// No answer: nobody knows the outcome. `lgsp fsck` ends with it when it could not check.
pub(crate) const NO_ANSWER: u8 = 4;

/// A failure with an exit code of its own.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was given cannot be used; nothing was sent. The text says all that is wrong with it.
    Usage(String),
    /// The same, where whoever finds the fault does not know the language: in Vietnamese and English.
    UsageIn([String; 2]),
    /// The bus refused.
    Refused(Box<Refused>),
    /// The bus passed a question on, and nobody knows what became of it. To ask again is to ask something new.
    Unanswered(Box<Refused>),
    /// There was no answer from this gateway that one could rely on.
    NoAnswer {
        /// The gateway.
        gateway: Box<GatewayUrl>,
        /// The flags that make sending again the same request; `None` for a question, which may be asked again as it is.
        again: Option<String>,
        /// What is known of the cause.
        cause: String,
    },
    /// No connection came about, because of a certificate, this side's or the gateway's. Nothing was admitted.
    TurnedAway {
        /// The gateway.
        gateway: Box<GatewayUrl>,
        /// Whose certificate, and what is the matter with it.
        why: TurnedAway,
    },
    /// There was no answer from the adapter on this machine.
    NoAdapter {
        /// Where it was looked for.
        adapter: String,
        /// What is known of the cause.
        cause: String,
    },
}

impl Failure {
    /// A usage failure as an error.
    pub(crate) fn usage(text: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self::Usage(text.into()))
    }

    /// A usage failure as an error, in both languages.
    pub(crate) fn usage_in(vi: impl Into<String>, en: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self::UsageIn([vi.into(), en.into()]))
    }

    /// A certificate, key or list that cannot be used.
    pub(crate) fn of_tls_file(error: &TlsFileError) -> anyhow::Error {
        let why = match &error.problem {
            TlsProblem::Unreadable(unreadable) => return Self::of_file(&error.file, unreadable),
            TlsProblem::NoCertificate => "tệp không chứa chứng thư PEM".to_owned(),
            TlsProblem::BrokenPem => "nội dung PEM bị hỏng".to_owned(),
            TlsProblem::BadCertificate => "tệp chứa chứng thư không đọc được".to_owned(),
            TlsProblem::BadList => "tệp không chứa danh sách thu hồi đọc được".to_owned(),
            TlsProblem::ForgedList => "danh sách thu hồi không do khoá hiện tại của CA nêu trong đó ký".to_owned(),
            TlsProblem::Expired(at) => format!("chứng thư đã hết hạn lúc {at}"),
            TlsProblem::NotYetValid(from) => {
                format!("chứng thư chỉ có hiệu lực từ {from}, hoặc đồng hồ máy này sai")
            }
            TlsProblem::WrongUsage(Usage::Client) => "chứng thư không dùng được cho bên gọi".to_owned(),
            TlsProblem::WrongUsage(Usage::Server) => "chứng thư không dùng được cho máy chủ".to_owned(),
            TlsProblem::BadKey => "tệp không chứa khoá riêng dùng được".to_owned(),
            TlsProblem::Key(KeyError::NoKey) => "tệp không chứa khoá riêng PEM không mã hoá".to_owned(),
            TlsProblem::Key(KeyError::NotP256) => "khoá không phải ECDSA P-256 nguyên vẹn".to_owned(),
            TlsProblem::Key(KeyError::Certificate(_)) => "chứng thư chứa khoá không đọc được".to_owned(),
            TlsProblem::KeyMismatch(certificate) => {
                format!("khoá không thuộc chứng thư {}", certificate.display())
            }
        };
        Self::usage_in(format!("không dùng được {}: {why}", error.file.display()), because(error))
    }

    /// A file or folder that was named and cannot be used: which, why, and what to look at.
    pub(crate) fn of_file(path: &Path, error: &io::Error) -> anyhow::Error {
        let [vi, en] = of_system(error);
        let path = path.display();
        Self::usage_in(format!("{path}: {vi}"), format!("{path}: {en}"))
    }

    /// What the error of a call over this link means for the caller. A handshake that failed is told as such.
    pub(crate) fn of_link(error: CallError, link: &Link, again: Option<String>) -> anyhow::Error {
        let turned_away = link.connectivity().borrow().turned_away;
        match (&error, turned_away) {
            (CallError::Unknown(_), Some(why)) => {
                anyhow::Error::new(Self::TurnedAway { gateway: Box::new(link.gateway().clone()), why })
            }
            _ => Self::of_call(error, link.gateway(), again),
        }
    }

    /// What a call's error means for the caller.
    pub(crate) fn of_call(error: CallError, gateway: &GatewayUrl, again: Option<String>) -> anyhow::Error {
        let refused_for_certain = |refused: &Refused| {
            let reason = refused.refusal().map(lgsp_proto::Refusal::reason);
            !matches!(reason, Some(Reason::OutcomeUnknown | Reason::QueryOutcomeUnknown | Reason::Internal))
        };
        let cause = match error {
            CallError::Refused(refused) | CallError::NotNow(refused) if refused_for_certain(&refused) => {
                return anyhow::Error::new(Self::Refused(Box::new(refused)));
            }
            CallError::Refused(refused) | CallError::NotNow(refused)
                if refused.refusal().is_some_and(|refusal| refusal.reason() == Reason::QueryOutcomeUnknown) =>
            {
                return anyhow::Error::new(Self::Unanswered(Box::new(refused)));
            }
            CallError::Refused(refused) | CallError::NotNow(refused) => refused.to_string(),
            CallError::Body(error) => return Self::usage(error.to_string()),
            CallError::Unknown(status) => match status.message() {
                "" => status.code().description().to_owned(),
                message => message.to_owned(),
            },
            CallError::Receipt(problem) => problem.to_string(),
        };
        anyhow::Error::new(Self::NoAnswer { gateway: Box::new(gateway.clone()), again, cause })
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::UsageIn(_) => USAGE,
            Self::Refused(_) => REFUSED,
            Self::TurnedAway { why, .. } if is_ours(*why) => REFUSED,
            Self::Unanswered(_) | Self::NoAnswer { .. } | Self::NoAdapter { .. } | Self::TurnedAway { .. } => NO_ANSWER,
        }
    }

    /// What a person reads.
    pub(crate) fn explain(&self, lang: Lang) -> String {
        match self {
            Self::Usage(text) => text.clone(),
            Self::UsageIn([vi, en]) => lang.pick(vi, en).clone(),
            Self::Refused(refused) => explain_refused(lang.pick("Bị từ chối", "Refused"), refused, lang),
            Self::Unanswered(refused) => explain_refused(lang.pick("Chưa rõ kết quả", "Outcome not known"), refused, lang),
            Self::TurnedAway { gateway, why } => {
                let [vi, en] = turned_away(*why);
                lang.pick(
                    format!("Không kết nối được với trục {gateway} vì chứng thư\n  {vi}"),
                    format!("No connection to the gateway {gateway}, because of a certificate\n  {en}"),
                )
            }
            Self::NoAdapter { adapter, cause } => lang.pick(
                format!("Không nhận được trả lời từ bộ kết nối {adapter}: {cause}\n  Kiểm tra bộ kết nối có đang chạy không, hoặc nêu địa chỉ bằng --adapter."),
                format!("No answer from the adapter {adapter}: {cause}\n  See whether it runs, or name its address with --adapter."),
            ),
            Self::NoAnswer { gateway, again: None, cause } => lang.pick(
                format!("Không nhận được trả lời từ trục {gateway}: {cause}\n  Kiểm tra địa chỉ và chứng thư, hoặc thử lại sau."),
                format!("No answer from the gateway {gateway}: {cause}\n  Check the address and the certificates, or try again later."),
            ),
            Self::NoAnswer { gateway, again: Some(again), cause } => lang.pick(
                format!(
                    "Không nhận được trả lời từ trục {gateway}: {cause}\n  Chưa rõ yêu cầu đã được ghi nhận hay chưa. \
                     Hãy gửi lại đúng nội dung với cùng khoá: {again}"
                ),
                format!(
                    "No answer from the gateway {gateway}: {cause}\n  Whether it was admitted is not known. \
                     Send the same again with the same key: {again}"
                ),
            ),
        }
    }
}

/// Whether it is our certificate that the gateway does not take.
fn is_ours(why: TurnedAway) -> bool {
    matches!(why, TurnedAway::Revoked | TurnedAway::Expired | TurnedAway::NotAccepted | TurnedAway::NotKnown)
}

/// What is the matter with a certificate and what to do, for somebody with a connection profile: in Vietnamese and English.
fn turned_away(why: TurnedAway) -> [&'static str; 2] {
    match why {
        TurnedAway::Revoked => [
            "Chứng thư hoặc khoá của hồ sơ kết nối đã bị thu hồi. Hỏi đơn vị vận hành trục; muốn dùng lại cần khoá và chứng thư mới.",
            "The profile's certificate or key was revoked. Ask the operator of the bus; to come back takes a new key and certificate.",
        ],
        TurnedAway::Expired => [
            "Chứng thư của hồ sơ kết nối đã hết hạn. Xin chứng thư mới từ CA đã cấp; lần sau gia hạn trước hạn: lgsp certs renew.",
            "The profile's certificate has expired. Get another from the CA that issued it; renew the next in time: lgsp certs renew.",
        ],
        TurnedAway::NotAccepted => [
            "Trục không chấp nhận chứng thư của hồ sơ kết nối. Kiểm tra CA cấp chứng thư với đơn vị vận hành trục.",
            "The gateway does not accept the profile's certificate. Check the CA that issued it with the operator of the bus.",
        ],
        TurnedAway::NotKnown => [
            "Sổ đăng ký của trục không có hệ thống ứng với chứng thư này. Đề nghị đơn vị vận hành trục sửa systems.toml.",
            "The gateway's registry has no system for this certificate. Ask the operator of the bus to mend systems.toml.",
        ],
        TurnedAway::GatewayUnknown | TurnedAway::GatewayName | TurnedAway::GatewayTime | TurnedAway::GatewayRevoked => {
            why.texts()
        }
    }
}

/// What the system says of a file, and what to look at, in Vietnamese and English. What is rare keeps the system's own words.
pub(crate) fn of_system(error: &io::Error) -> [String; 2] {
    let (vi, en) = match error.kind() {
        io::ErrorKind::NotFound => {
            ("không có tệp hoặc thư mục này; kiểm tra đường dẫn", "there is no such file or folder; check the path")
        }
        io::ErrorKind::PermissionDenied => (
            "không có quyền; kiểm tra chủ sở hữu và quyền truy cập",
            "this account may not; check its owner and permissions",
        ),
        io::ErrorKind::AlreadyExists => ("đã có; nêu tên khác", "is there already; name another one"),
        io::ErrorKind::IsADirectory => ("là thư mục; nêu một tệp", "is a folder; name a file"),
        io::ErrorKind::NotADirectory => ("không phải thư mục; nêu một thư mục", "is no folder; name one"),
        io::ErrorKind::InvalidData => ("không phải văn bản UTF-8; kiểm tra tệp", "is not UTF-8 text; check the file"),
        io::ErrorKind::StorageFull => ("ổ đĩa đã đầy; giải phóng dung lượng", "the disk is full; make room"),
        io::ErrorKind::ReadOnlyFilesystem => {
            ("ổ đĩa chỉ đọc; chọn nơi khác", "the disk is read-only; choose another place")
        }
        _ => return [format!("hệ thống báo lỗi: {error}"), error.to_string()],
    };
    [vi.to_owned(), en.to_owned()]
}

/// Reason, what happened, every field and fact, and what to do; before it, in a word, what that makes of the call.
fn explain_refused(word: &str, refused: &Refused, lang: Lang) -> String {
    let Some(refusal) = refused.refusal() else {
        return format!("{word}: {refused}");
    };
    let reason = refusal.reason();
    let mut text = format!("{word}: {reason}\n  {}", lang.what(reason));
    for violation in refusal.violations() {
        text.push_str(&format!(
            "\n  - {}: {}",
            violation.field,
            lang.pick(violation.problem.vi(), violation.problem.en())
        ));
    }
    for (key, value) in refusal.details() {
        text.push_str(&format!("\n  {key}: {value}"));
    }
    text.push_str(&format!("\n  {}: {}", lang.pick("Cần làm", "What to do"), lang.remedy(reason)));
    text.push_str(&format!("\n  {}: {}", lang.explained_by(), refusal.explain()));
    text
}

/// An error with everything that led to it, each said once.
pub(crate) fn because(error: &dyn std::error::Error) -> String {
    let mut said = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
        source = cause.source();
    }
    said.join(": ")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.explain(Lang::En))
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_command_that_explains_it() {
        let gateway = "https://127.0.0.1:1".parse().unwrap();
        let refused = |reason: Reason| CallError::from_status(lgsp_proto::Refusal::new(reason).to_status());
        let said = |reason| Failure::of_call(refused(reason), &gateway, None).to_string();
        assert!(
            said(Reason::KeyReused).ends_with("\n  Explained by: lgsp explain KEY_REUSED"),
            "{}",
            said(Reason::KeyReused)
        );
        assert!(said(Reason::ActsForMissing).ends_with("\n  Explained by: lgsp can-i --party PARTY --profile FILE"));
    }

    #[test]
    fn a_question_without_an_answer_is_told_as_that_and_not_as_a_broken_line() {
        let gateway = "https://127.0.0.1:1".parse().unwrap();
        let refusal = lgsp_proto::Refusal::new(Reason::QueryOutcomeUnknown).detail("query_id", "0a");
        let error = Failure::of_call(CallError::from_status(refusal.to_status()), &gateway, None);
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(failure.code(), NO_ANSWER);
        let texts = Reason::QueryOutcomeUnknown.texts();
        for (lang, word, what, remedy) in [
            (Lang::En, "Outcome not known", texts.what.en, texts.remedy.en),
            (Lang::Vi, "Chưa rõ kết quả", texts.what.vi, texts.remedy.vi),
        ] {
            let said = failure.explain(lang);
            assert!(said.starts_with(&format!("{word}: QUERY_OUTCOME_UNKNOWN\n  {what}\n  query_id: 0a\n")), "{said}");
            assert!(said.contains(remedy) && said.ends_with("lgsp explain QUERY_OUTCOME_UNKNOWN"), "{said}");
            assert!(!said.contains("127.0.0.1"), "{said}");
        }
    }
}
