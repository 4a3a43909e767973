//! What the agency's own system reads when something is refused: problem details (RFC 9457) with the bus's stable reason,
//! every field at fault, and what to do, in Vietnamese and English.

use std::collections::{BTreeMap, HashMap};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use lgsp_journal::room::Shortage;
use lgsp_proto::{ERROR_DOMAIN, Reason, Refusal};
use prost::Message;
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::link::CallError;

/// Refusals that only the adapter itself gives; the others are [`Reason`]s of the bus.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LocalReason {
    /// No token, or not the right one.
    TokenInvalid,
    /// No such path.
    ResourceNotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// A request key that is not known here, or not any more.
    RequestNotFound,
    /// No refused intake with a number under this key.
    ExceptionNotFound,
    /// The exception was worked off before, in other words.
    ExceptionHandled,
    /// No webhook is set up for this party or URL.
    WebhookNotFound,
    /// The gateway does not answer, and the question cannot wait in the spool.
    GatewayUnreachable,
    /// The spool's disk is nearly full.
    SpoolDiskFull,
    /// A request that was taken in cannot be read from the spool any more.
    SpoolRecordDamaged,
    /// What lies in the outbox of a watched folder is no request.
    FolderEntryInvalid,
    /// A file of a request in a watched folder.
    FolderFileUnusable,
}

/// A refusal, ready to be sent. Boxed, because it travels as the rare side of every result here.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Problem(Box<Content>);

#[derive(Clone, Debug, Serialize)]
struct Content {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    reason: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    details: BTreeMap<String, String>,
    remedy: Remedy,
    message_vi: String,
}

#[derive(Clone, Debug, Serialize)]
struct Field {
    field: String,
    problem: String,
}

#[derive(Clone, Debug, Serialize)]
struct Remedy {
    en: String,
    vi: String,
}

impl LocalReason {
    const fn word(self) -> &'static str {
        match self {
            Self::TokenInvalid => "TOKEN_INVALID",
            Self::ResourceNotFound => "RESOURCE_NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::RequestNotFound => "REQUEST_NOT_FOUND",
            Self::ExceptionNotFound => "EXCEPTION_NOT_FOUND",
            Self::ExceptionHandled => "EXCEPTION_HANDLED",
            Self::WebhookNotFound => "WEBHOOK_NOT_FOUND",
            Self::GatewayUnreachable => "GATEWAY_UNREACHABLE",
            Self::SpoolDiskFull => "SPOOL_DISK_FULL",
            Self::SpoolRecordDamaged => "SPOOL_RECORD_DAMAGED",
            Self::FolderEntryInvalid => "FOLDER_ENTRY_INVALID",
            Self::FolderFileUnusable => "FOLDER_FILE_UNUSABLE",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::TokenInvalid => StatusCode::UNAUTHORIZED,
            Self::ResourceNotFound | Self::RequestNotFound | Self::ExceptionNotFound | Self::WebhookNotFound => {
                StatusCode::NOT_FOUND
            }
            Self::ExceptionHandled => StatusCode::CONFLICT,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::GatewayUnreachable => StatusCode::SERVICE_UNAVAILABLE,
            Self::SpoolDiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::SpoolRecordDamaged => http_status(Code::DataLoss),
            // Nobody hears it over HTTP; it stands in the answer, as every other does.
            Self::FolderEntryInvalid | Self::FolderFileUnusable => http_status(Code::InvalidArgument),
        }
    }

    /// What happened and what to do, each in English and Vietnamese.
    const fn texts(self) -> [&'static str; 4] {
        match self {
            Self::TokenInvalid => [
                "The token is missing or not the adapter's.",
                "Thiếu mã truy cập hoặc mã không đúng.",
                "Send Authorization: Bearer with the content of the adapter's token file.",
                "Gửi Authorization: Bearer kèm nội dung tệp mã truy cập của bộ kết nối.",
            ],
            Self::ResourceNotFound => [
                "There is nothing under this path.",
                "Không có tài nguyên ở đường dẫn này.",
                "Check the path; all begin with /v1/.",
                "Kiểm tra lại đường dẫn; tất cả bắt đầu bằng /v1/.",
            ],
            Self::MethodNotAllowed => [
                "The method does not belong to this path.",
                "Phương thức không dùng được với đường dẫn này.",
                "Use one of the methods in the Allow header.",
                "Dùng một trong các phương thức nêu ở tiêu đề Allow.",
            ],
            Self::RequestNotFound => [
                "No request of this party has this key, or its time is over.",
                "Không có yêu cầu nào của cơ quan mang khoá này, hoặc đã hết thời gian lưu.",
                "Check key and party; sending the same request again with the same key is safe.",
                "Kiểm tra khoá và cơ quan; gửi lại đúng yêu cầu với cùng khoá là an toàn.",
            ],
            Self::ExceptionNotFound => [
                "No dossier that was taken in without a line and refused later has this key.",
                "Không có hồ sơ tiếp nhận khi mất kết nối và bị từ chối sau đó mang khoá này.",
                "See GET /v1/exceptions; check key and party.",
                "Xem GET /v1/exceptions; kiểm tra khoá và cơ quan.",
            ],
            Self::ExceptionHandled => [
                "The exception was worked off before, with another note.",
                "Trường hợp này đã được xử lý trước đó với nội dung khác.",
                "See GET /v1/exceptions?handled=true for what was noted; nothing was changed.",
                "Xem GET /v1/exceptions?handled=true để biết nội dung đã ghi; không có gì thay đổi.",
            ],
            Self::WebhookNotFound => [
                "No webhook is set up here for this party or URL.",
                "Chưa cấu hình webhook cho cơ quan hoặc địa chỉ này.",
                "See GET /v1/webhooks; set webhook.url, or the party's own in [webhook.parties], and start the adapter again.",
                "Xem GET /v1/webhooks; đặt webhook.url hoặc địa chỉ riêng trong [webhook.parties] rồi khởi động lại bộ kết nối.",
            ],
            Self::GatewayUnreachable => [
                "The gateway does not answer just now.",
                "Hiện không kết nối được với trục.",
                "Ask again later; what is submitted meanwhile waits in the spool.",
                "Thử lại sau; hồ sơ gửi trong lúc này được giữ trong hàng đợi.",
            ],
            Self::SpoolDiskFull => [
                "The disk of the adapter is nearly full; nothing was taken in. What it has goes on to the gateway.",
                "Đĩa của bộ kết nối sắp đầy; chưa tiếp nhận gì. Hồ sơ đã nhận vẫn được chuyển lên trục.",
                "Free some space on the adapter's machine; it goes on by itself. Send again later with the same key.",
                "Giải phóng dung lượng trên máy của bộ kết nối; bộ kết nối sẽ tự tiếp tục. Gửi lại sau với cùng khoá.",
            ],
            Self::SpoolRecordDamaged => [
                "The request cannot be read from the adapter's disk any more, so it is not sent.",
                "Không đọc lại được yêu cầu từ đĩa của bộ kết nối nên yêu cầu không được chuyển lên trục.",
                "Look whether the dossier is with the gateway; if not, hand it in again with another key. Check the adapter's disk.",
                "Kiểm tra hồ sơ đã có trên trục chưa; nếu chưa, gửi lại với khoá khác. Kiểm tra đĩa của bộ kết nối.",
            ],
            Self::FolderEntryInvalid => [
                "What lies in the outbox is no folder of a request that can be read; nothing was taken in.",
                "Mục trong outbox không phải thư mục yêu cầu đọc được; chưa tiếp nhận gì.",
                "Put request.json and its documents into a sub-folder with a plain name of at most 120 bytes, and rename it into the outbox when it is whole.",
                "Đặt request.json và các tài liệu vào một thư mục con có tên đơn giản, tối đa 120 byte, rồi đổi tên vào outbox khi đã ghi xong.",
            ],
            Self::FolderFileUnusable => [
                "A file that belongs to the request is missing or cannot be used; nothing was taken in.",
                "Tệp của yêu cầu bị thiếu hoặc không dùng được; chưa tiếp nhận gì.",
                "Mend each file named here, and put the request into the outbox again under the same key.",
                "Sửa từng tệp được nêu rồi đặt lại yêu cầu vào outbox với cùng khoá.",
            ],
        }
    }
}

impl LocalReason {
    /// As the outcome of a request, kept like a refusal of the gateway: [`Problem::of_kept`] reads it.
    pub(crate) fn to_kept(self) -> Bytes {
        let [title, message_vi, en, vi] = self.texts();
        let remedy = [("remedy_en", en), ("remedy_vi", vi)].map(|(key, text)| (key.to_owned(), text.to_owned()));
        let mut details = ErrorDetails::with_error_info(self.word(), ERROR_DOMAIN, HashMap::from(remedy));
        details.set_localized_message("vi", message_vi);
        Bytes::copy_from_slice(Status::with_error_details(Code::DataLoss, title, details).details())
    }
}

impl Problem {
    /// Adds what is particular about this case.
    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// A request that cannot be read. What the bus says to do about `MALFORMED` is for those who speak its own protocol.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        let mut problem = Self::from(Reason::Malformed).with_detail(detail);
        problem.0.remedy = Remedy {
            en: "Mend the request as detail says: JSON in UTF-8, with the paths, parameters and fields of the adapter's interface; \
                 then send it again with the same key."
                .to_owned(),
            vi: "Sửa yêu cầu theo detail: JSON mã UTF-8, đường dẫn, tham số và trường đúng như giao diện của bộ kết nối; rồi gửi lại \
                 với cùng khoá."
                .to_owned(),
        };
        problem
    }

    /// Adds what is wrong with a field.
    pub(crate) fn with_field(mut self, field: impl Into<String>, problem: impl ToString) -> Self {
        self.0.fields.push(Field { field: field.into(), problem: problem.to_string() });
        self
    }

    /// The same in a document where the fields at fault stand below `path`, all but `outside`.
    pub(crate) fn below(mut self, path: &str, outside: &[&str]) -> Self {
        for field in self.0.fields.iter_mut().filter(|field| !outside.contains(&&*field.field)) {
            field.field = format!("{path}.{}", field.field);
        }
        self
    }

    /// The stable reason.
    pub(crate) fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Whether the same may be taken later as it is: the fault is not the request's.
    pub(crate) fn may_pass(&self) -> bool {
        self.0.status >= 500
    }

    /// JSON that is not what it should be. Says where; the content itself is not repeated.
    pub(crate) fn of_json(error: &serde_json::Error) -> Self {
        let message = error.to_string();
        // Of serde's messages these name fields and types; the others may quote a value, and so does a field that is none of a
        // program's: somebody's name, say, where a comma is missing.
        let named = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        let is_word = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let detail = if message.starts_with("missing field") || named.is_some_and(is_word) {
            message
        } else if error.line() > 0 {
            format!("line {} column {} is not what belongs there", error.line(), error.column())
        } else {
            "a field is of another type, or the type of event is unknown".to_owned()
        };
        Self::malformed(detail)
    }

    /// Nothing is taken in while the spool's disk is nearly full.
    pub(crate) fn of_shortage(shortage: &Shortage) -> Self {
        let mut problem = Self::from(LocalReason::SpoolDiskFull);
        let Shortage { free_bytes, needed_bytes } = shortage;
        problem.0.details.insert("free_bytes".to_owned(), free_bytes.to_string());
        problem.0.details.insert("needed_bytes".to_owned(), needed_bytes.to_string());
        problem
    }

    /// What an answer of the gateway, or its absence, means to a caller who cannot wait.
    pub(crate) fn of_status(status: Status) -> Self {
        match CallError::from_status(status) {
            CallError::Refused(refused) | CallError::NotNow(refused) => match refused.refusal() {
                Some(refusal) => refusal.into(),
                None => Self::of_unknown(refused.status()),
            },
            CallError::Unknown(_) | CallError::Receipt(_) | CallError::Body(_) => {
                LocalReason::GatewayUnreachable.into()
            }
        }
    }

    /// What a kept `google.rpc.Status` says.
    pub(crate) fn of_kept(bytes: &[u8]) -> Self {
        let Ok(kept) = tonic_types::pb::Status::decode(bytes) else { return Refusal::new(Reason::Internal).into() };
        let details = bytes.to_vec().into();
        let status = Status::with_details(Code::from_i32(kept.code), kept.message, details);
        match Refusal::from_status(&status) {
            Some(refusal) => Self::from(&refusal),
            None => Self::of_unknown(&status),
        }
    }

    /// A reason of a newer gateway: passed on in its own words.
    fn of_unknown(status: &Status) -> Self {
        let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN);
        let Some(mut info) = info else { return Refusal::new(Reason::Internal).into() };
        let mut text = |key| info.metadata.remove(key).unwrap_or_default();
        let remedy = Remedy { en: text("remedy_en"), vi: text("remedy_vi") };
        Self(Box::new(Content {
            kind: kind(&info.reason),
            title: status.message().to_owned(),
            status: http_status(status.code()).as_u16(),
            detail: String::new(),
            fields: Vec::new(),
            details: info.metadata.into_iter().collect(),
            remedy,
            message_vi: status.get_details_localized_message().map_or_else(String::new, |message| message.message),
            reason: info.reason,
        }))
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let reason = refusal.reason();
        let texts = reason.texts();
        let status = match reason {
            Reason::Malformed => StatusCode::BAD_REQUEST,
            Reason::MessageTooLarge | Reason::DocumentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            reason => http_status(reason.code()),
        };
        let field = |violation: &lgsp_proto::FieldViolation| Field {
            field: violation.field.clone(),
            problem: violation.problem.clone(),
        };
        Self(Box::new(Content {
            kind: kind(reason.as_str()),
            title: texts.what.en.to_owned(),
            status: status.as_u16(),
            detail: String::new(),
            reason: reason.as_str().to_owned(),
            fields: refusal.violations().iter().map(field).collect(),
            details: refusal.details().clone(),
            remedy: Remedy { en: texts.remedy.en.to_owned(), vi: texts.remedy.vi.to_owned() },
            message_vi: texts.what.vi.to_owned(),
        }))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::from(&refusal)
    }
}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        Refusal::new(reason).into()
    }
}

impl From<LocalReason> for Problem {
    fn from(reason: LocalReason) -> Self {
        let [title, message_vi, en, vi] = reason.texts().map(str::to_owned);
        Self(Box::new(Content {
            kind: kind(reason.word()),
            title,
            status: reason.status().as_u16(),
            detail: String::new(),
            reason: reason.word().to_owned(),
            fields: Vec::new(),
            details: BTreeMap::new(),
            remedy: Remedy { en, vi },
            message_vi,
        }))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Names the kind of problem. A URN: it identifies, and is not to be fetched.
fn kind(word: &str) -> String {
    format!("urn:lgsp:problem:{}", word.to_ascii_lowercase().replace('_', "-"))
}

/// The HTTP status of a gRPC code.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::UNPROCESSABLE_ENTITY,
        Code::NotFound => StatusCode::NOT_FOUND,
        // The adapter's certificate or party, not the caller's token: asking again with another token would not help.
        Code::PermissionDenied | Code::Unauthenticated => StatusCode::FORBIDDEN,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unimplemented | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded | Code::Internal => {
            StatusCode::BAD_GATEWAY
        }
        // Of the adapter's own disk: no gateway refuses with it.
        Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(problem: &Problem) -> serde_json::Value {
        serde_json::to_value(problem).unwrap()
    }

    #[test]
    fn a_refusal_says_reason_field_and_remedy_in_both_languages() {
        let refusal =
            Refusal::new(Reason::UnitCeased).field("locality", "ceased on 2025-07-01").detail("successor", "19753");
        let problem = json(&Problem::from(&refusal));
        assert_eq!(problem["type"], "urn:lgsp:problem:unit-ceased");
        assert_eq!(problem["status"], 422);
        assert_eq!(problem["reason"], "UNIT_CEASED");
        assert_eq!(problem["fields"][0]["field"], "locality");
        assert_eq!(problem["details"]["successor"], "19753");
        assert_eq!(problem["message_vi"], Reason::UnitCeased.texts().what.vi);
        assert_eq!(problem["remedy"]["vi"], Reason::UnitCeased.texts().remedy.vi);
    }

    #[test]
    fn a_kept_refusal_reads_like_a_fresh_one() {
        for reason in Reason::ALL {
            let refusal = Refusal::new(*reason).field("a", "b").detail("c", "d");
            let status = refusal.to_status();
            assert_eq!(json(&Problem::of_kept(status.details())), json(&Problem::from(&refusal)), "{reason}");
            assert_eq!(json(&Problem::of_status(status)), json(&Problem::from(&refusal)), "{reason}");
        }
    }

    #[test]
    fn what_the_adapter_itself_keeps_as_an_outcome_reads_as_if_it_were_said_at_once() {
        let reason = LocalReason::SpoolRecordDamaged;
        assert_eq!(json(&Problem::of_kept(&reason.to_kept())), json(&reason.into()));
    }

    #[test]
    fn a_reason_of_a_newer_gateway_is_passed_on_in_its_own_words() {
        let metadata = std::collections::HashMap::from([("remedy_vi".to_owned(), "làm thế".to_owned())]);
        let mut details = tonic_types::ErrorDetails::with_error_info("OF_TOMORROW", ERROR_DOMAIN, metadata);
        details.set_localized_message("vi", "ngày mai");
        let status = Status::with_error_details(Code::FailedPrecondition, "tomorrow", details);
        let problem = json(&Problem::of_kept(status.details()));
        assert_eq!(
            (&problem["reason"], &problem["title"], &problem["message_vi"], &problem["remedy"]["vi"]),
            (&"OF_TOMORROW".into(), &"tomorrow".into(), &"ngày mai".into(), &"làm thế".into())
        );
    }

    #[test]
    fn local_words_are_no_words_of_the_bus() {
        use LocalReason::*;
        for reason in [
            TokenInvalid,
            ResourceNotFound,
            MethodNotAllowed,
            RequestNotFound,
            ExceptionNotFound,
            ExceptionHandled,
            WebhookNotFound,
            GatewayUnreachable,
            SpoolDiskFull,
            SpoolRecordDamaged,
        ] {
            assert_eq!(Reason::parse(reason.word()), None);
            let [title, message_vi, en, vi] = reason.texts();
            assert!(title.is_ascii() && en.is_ascii() && !message_vi.is_ascii() && !vi.is_ascii());
        }
    }
}
