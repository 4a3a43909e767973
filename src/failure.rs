//! Why a command failed, in what its caller must do next; each has an exit code of its own.
//!
//! Whatever is not one of these is unexpected and ends with 1.

use std::fmt;

use lgsp_adapters::link::{CallError, GatewayUrl, Refused};
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
    /// There was no answer from this gateway that one could rely on.
    NoAnswer {
        /// The gateway.
        gateway: Box<GatewayUrl>,
        /// The flags that make sending again the same request; `None` for a question, which may be asked again as it is.
        again: Option<String>,
        /// What is known of the cause.
        cause: String,
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
            TlsProblem::Unreadable(error) => format!("không đọc được tệp: {error}"),
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
            TlsProblem::Key(KeyError::NoKey) => "tệp không chứa khoá riêng PEM không mã hoá".to_owned(),
            TlsProblem::Key(KeyError::NotP256) => "khoá không phải ECDSA P-256 nguyên vẹn".to_owned(),
            TlsProblem::Key(KeyError::Certificate(_)) => "chứng thư chứa khoá không đọc được".to_owned(),
            TlsProblem::KeyMismatch(certificate) => {
                format!("khoá không thuộc chứng thư {}", certificate.display())
            }
        };
        Self::usage_in(format!("không dùng được {}: {why}", error.file.display()), because(error))
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
            Self::NoAnswer { .. } | Self::NoAdapter { .. } => NO_ANSWER,
        }
    }

    /// What a person reads.
    pub(crate) fn explain(&self, lang: Lang) -> String {
        match self {
            Self::Usage(text) => text.clone(),
            Self::UsageIn([vi, en]) => lang.pick(vi, en).clone(),
            Self::Refused(refused) => explain_refused(refused, lang),
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

/// Reason, what happened, every field and fact, and what to do.
fn explain_refused(refused: &Refused, lang: Lang) -> String {
    let Some(refusal) = refused.refusal() else {
        return lang.pick(format!("Bị từ chối: {refused}"), format!("Refused: {refused}"));
    };
    let reason = refusal.reason();
    let mut text = format!("{}: {reason}\n  {}", lang.pick("Bị từ chối", "Refused"), lang.what(reason));
    for violation in refusal.violations() {
        text.push_str(&format!("\n  - {}: {}", violation.field, violation.problem));
    }
    for (key, value) in refusal.details() {
        text.push_str(&format!("\n  {key}: {value}"));
    }
    text.push_str(&format!("\n  {}: {}", lang.pick("Cần làm", "What to do"), lang.remedy(reason)));
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
