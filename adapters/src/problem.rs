//! What the agency's own system reads when something is refused: problem details (RFC 9457) with the bus's stable reason,
//! every field at fault, and what to do, in Vietnamese and English.

pub(crate) mod explain;
mod page;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use lgsp_journal::room::Shortage;
use lgsp_proto::{ERROR_DOMAIN, RETRY_AFTER_MS, Reason, Refusal, Wrong};
use prost::Message;
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::json::{NotJson, is_word};
use crate::link::CallError;

/// Where something will pass and nobody says when.
const SHORT_WAIT_SECONDS: u64 = 5;

/// Refusals that only the adapter itself gives; the others are [`Reason`]s of the bus.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LocalReason {
    /// No token, or not the right one.
    TokenInvalid,
    /// No client has this certificate, or this name and secret.
    ClientInvalid,
    /// The client may not act for this party.
    ClientPartyMissing,
    /// Wrong credentials too often from one address.
    TooManyFailures,
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
    /// No upload of this party has this name, or its time is over.
    UploadNotFound,
    /// The upload is elsewhere than the caller thinks.
    UploadOffsetWrong,
    /// Nothing of the document lies in the range that was asked for.
    RangeNotSatisfiable,
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
    /// A document of a request in the agency's tables.
    TablesDocumentUnusable,
}

/// A refusal, ready to be sent. Boxed, because it travels as the rare side of every result here.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Problem(Box<Content>);

/// Why something was refused (RFC 9457), and what to do.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
struct Content {
    /// `urn:lgsp:problem:` and the reason. Names the kind of problem; there is nothing to fetch.
    #[serde(rename = "type")]
    kind: String,
    /// What happened, in English.
    title: String,
    /// The HTTP status of the answer.
    status: u16,
    /// What is particular about this case; never a citizen's data.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    detail: String,
    /// The stable word. Programs branch on this one.
    reason: String,
    /// Every field at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    fields: Vec<Field>,
    /// Values to act on, such as `limit_bytes` or `retry_after_ms`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    details: BTreeMap<String, String>,
    remedy: Remedy,
    /// What happened, in Vietnamese.
    message_vi: String,
    /// The command that explains it; what stands in capitals is to be filled in.
    explain: String,
}

/// A field at fault.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = FieldProblem)]
struct Field {
    /// Its path, such as `components[0].document.sha256`, or the header or parameter.
    field: String,
    /// What is wrong with it; reads on from the name. The value is not repeated.
    problem: String,
    /// The same in Vietnamese.
    problem_vi: String,
}

/// What to do.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Remedy)]
struct Remedy {
    en: String,
    vi: String,
}

impl Field {
    fn new(field: String, problem: &Wrong) -> Self {
        Self { field, problem: problem.en().to_owned(), problem_vi: problem.vi().to_owned() }
    }
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Content::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        Content::name()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Content::schemas(schemas);
    }
}

impl LocalReason {
    /// Every one.
    pub const ALL: [Self; 19] = [
        Self::TokenInvalid,
        Self::ClientInvalid,
        Self::ClientPartyMissing,
        Self::TooManyFailures,
        Self::ResourceNotFound,
        Self::MethodNotAllowed,
        Self::RequestNotFound,
        Self::ExceptionNotFound,
        Self::ExceptionHandled,
        Self::UploadNotFound,
        Self::UploadOffsetWrong,
        Self::RangeNotSatisfiable,
        Self::WebhookNotFound,
        Self::GatewayUnreachable,
        Self::SpoolDiskFull,
        Self::SpoolRecordDamaged,
        Self::FolderEntryInvalid,
        Self::FolderFileUnusable,
        Self::TablesDocumentUnusable,
    ];

    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TokenInvalid => "TOKEN_INVALID",
            Self::ClientInvalid => "CLIENT_INVALID",
            Self::ClientPartyMissing => "CLIENT_PARTY_MISSING",
            Self::TooManyFailures => "TOO_MANY_FAILURES",
            Self::ResourceNotFound => "RESOURCE_NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::RequestNotFound => "REQUEST_NOT_FOUND",
            Self::ExceptionNotFound => "EXCEPTION_NOT_FOUND",
            Self::ExceptionHandled => "EXCEPTION_HANDLED",
            Self::UploadNotFound => "UPLOAD_NOT_FOUND",
            Self::UploadOffsetWrong => "UPLOAD_OFFSET_WRONG",
            Self::RangeNotSatisfiable => "RANGE_NOT_SATISFIABLE",
            Self::WebhookNotFound => "WEBHOOK_NOT_FOUND",
            Self::GatewayUnreachable => "GATEWAY_UNREACHABLE",
            Self::SpoolDiskFull => "SPOOL_DISK_FULL",
            Self::SpoolRecordDamaged => "SPOOL_RECORD_DAMAGED",
            Self::FolderEntryInvalid => "FOLDER_ENTRY_INVALID",
            Self::FolderFileUnusable => "FOLDER_FILE_UNUSABLE",
            Self::TablesDocumentUnusable => "TABLES_DOCUMENT_UNUSABLE",
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TokenInvalid | Self::ClientInvalid => StatusCode::UNAUTHORIZED,
            Self::ClientPartyMissing => StatusCode::FORBIDDEN,
            Self::TooManyFailures => StatusCode::TOO_MANY_REQUESTS,
            Self::ResourceNotFound | Self::RequestNotFound | Self::ExceptionNotFound | Self::WebhookNotFound => {
                StatusCode::NOT_FOUND
            }
            Self::ExceptionHandled => StatusCode::CONFLICT,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UploadNotFound => StatusCode::NOT_FOUND,
            Self::UploadOffsetWrong => StatusCode::CONFLICT,
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::GatewayUnreachable => StatusCode::SERVICE_UNAVAILABLE,
            Self::SpoolDiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::SpoolRecordDamaged => http_status(Code::DataLoss),
            // Nobody hears it over HTTP; it stands in the answer, as every other does.
            Self::FolderEntryInvalid | Self::FolderFileUnusable | Self::TablesDocumentUnusable => {
                http_status(Code::InvalidArgument)
            }
        }
    }

    /// What happened and what to do, each in English and Vietnamese.
    pub(crate) const fn texts(self) -> [&'static str; 4] {
        match self {
            Self::TokenInvalid => [
                "The token is missing, not good, or its time is over.",
                "Thiếu mã truy cập, hoặc mã không đúng hay đã hết hạn.",
                "On the adapter's machine send Authorization: Bearer with what `lgsp adapter token --config FILE` prints; from another one with a token of POST /v1/oauth/token, or show the client's certificate.",
                "Trên máy của bộ kết nối, gửi Authorization: Bearer kèm mã do `lgsp adapter token --config FILE` in ra; từ máy khác, gửi mã lấy ở POST /v1/oauth/token hoặc dùng chứng thư của phần mềm.",
            ],
            Self::ClientInvalid => [
                "The adapter has no client with this certificate, or with this name and secret.",
                "Bộ kết nối không có phần mềm nào mang chứng thư này, hoặc mang tên và mã bí mật này.",
                "Check them; whoever runs the adapter adds a client with `lgsp adapter client add`.",
                "Kiểm tra lại; người vận hành bộ kết nối thêm phần mềm bằng `lgsp adapter client add`.",
            ],
            Self::ClientPartyMissing => [
                "The client may not act for this party at this adapter.",
                "Phần mềm này không được thay mặt cơ quan này tại bộ kết nối.",
                "Name one of the client's parties; whoever runs the adapter sees them with `lgsp adapter client list`.",
                "Nêu một trong các cơ quan của phần mềm; người vận hành bộ kết nối xem bằng `lgsp adapter client list`.",
            ],
            Self::TooManyFailures => [
                "Wrong tokens or secrets came from this address too often; nothing was looked at.",
                "Địa chỉ này đã gửi sai mã truy cập hoặc mã bí mật quá nhiều lần; chưa xem xét gì.",
                "Correct what is sent, and try again after the time in retry_after_ms.",
                "Sửa lại thông tin gửi, rồi thử lại sau thời gian nêu ở retry_after_ms.",
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
            Self::UploadNotFound => [
                "No upload of this party has this name, or its time is over.",
                "Không có lượt tải lên nào của cơ quan mang tên này, hoặc đã hết thời gian lưu.",
                "Begin another with POST /v1/document-uploads.",
                "Bắt đầu lượt khác bằng POST /v1/document-uploads.",
            ],
            Self::UploadOffsetWrong => [
                "The upload does not go on there; nothing of this was kept beyond Upload-Offset.",
                "Lượt tải lên không tiếp tục từ vị trí này; không giữ gì ngoài Upload-Offset.",
                "Ask with HEAD how far it is, and go on from there.",
                "Hỏi bằng HEAD xem đã đến đâu, rồi tiếp tục từ đó.",
            ],
            Self::RangeNotSatisfiable => [
                "Nothing of the document lies in this range.",
                "Không có phần nào của tài liệu nằm trong khoảng này.",
                "Ask for a range within the length that the Content-Range header names, or for the whole.",
                "Yêu cầu một khoảng nằm trong độ dài nêu ở tiêu đề Content-Range, hoặc cả tài liệu.",
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
            Self::TablesDocumentUnusable => [
                "A document that belongs to the request is missing in outbox_document or cannot be used; nothing was taken in.",
                "Tài liệu của yêu cầu bị thiếu trong outbox_document hoặc không dùng được; chưa tiếp nhận gì.",
                "Mend each document named here, and set the row's state to 'queued' again.",
                "Sửa từng tài liệu được nêu rồi đặt lại state của dòng thành 'queued'.",
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
    /// The HTTP status, the stable word, and what happened.
    pub(crate) fn as_described(&self) -> (u16, &str, &str) {
        (self.0.status, &self.0.reason, &self.0.title)
    }

    /// Adds what is particular about this case.
    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// A request that cannot be read. How it has to look, the description of this interface says, and not the `.proto` files.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        let mut problem = Self::from(Reason::Malformed).with_detail(detail);
        problem.0.remedy = Remedy {
            en: "Compare it with GET /v1/openapi.json, or generate the client from that.".to_owned(),
            vi: "Đối chiếu với GET /v1/openapi.json, hoặc sinh mã khách từ đó.".to_owned(),
        };
        problem
    }

    /// How long to wait before asking again: what the refusal says itself, in whole seconds, or a while where it will pass.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        let said = self.0.details.get(RETRY_AFTER_MS).and_then(|wait| wait.parse::<u64>().ok());
        let passes = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::INSUFFICIENT_STORAGE].map(|status| status.as_u16());
        said.map(|wait| wait.div_ceil(1000)).or_else(|| passes.contains(&self.0.status).then_some(SHORT_WAIT_SECONDS))
    }

    /// Adds a value to act on.
    pub(crate) fn with_value(mut self, name: &str, value: impl ToString) -> Self {
        self.0.details.insert(name.to_owned(), value.to_string());
        self
    }

    /// Adds how long to wait before trying again.
    pub(crate) fn with_retry_after(self, wait: Duration) -> Self {
        self.with_value(RETRY_AFTER_MS, wait.as_millis())
    }

    /// Adds what is wrong with a field.
    pub(crate) fn with_field(mut self, field: impl Into<String>, problem: impl Into<Wrong>) -> Self {
        self.0.fields.push(Field::new(field.into(), &problem.into()));
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
    pub(crate) fn of_json(NotJson { field, error }: &NotJson) -> Self {
        let message = error.to_string();
        // Of serde's messages these name fields and types; the others may quote a value, and so does a field that is none of a
        // program's: somebody's name, say, where a comma is missing.
        let named = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        let detail = if message.starts_with("missing field") || named.is_some_and(is_word) {
            message
        } else if error.line() > 0 {
            format!("line {} column {} is not what belongs there", error.line(), error.column())
        } else if field == "type" {
            "the type of event is missing or unknown".to_owned()
        } else {
            "a field is not what belongs there".to_owned()
        };
        let problem = Self::malformed(detail);
        match field.as_str() {
            "" => problem,
            field => problem.with_field(
                field,
                Wrong::new(
                    "thiếu, sai kiểu, hoặc không thuộc về đây",
                    "is missing, of another type, or does not belong here",
                ),
            ),
        }
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
        Self::of_call(CallError::from_status(status))
    }

    /// The same of a call whose answer was looked at as well: one that proves nothing is none.
    pub(crate) fn of_call(error: CallError) -> Self {
        match error {
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
            explain: explain::command(&info.reason, &BTreeMap::new()),
            details: info.metadata.into_iter().filter(|(key, _)| key != "explain").collect(),
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
        let field = |violation: &lgsp_proto::FieldViolation| Field::new(violation.field.clone(), &violation.problem);
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
            explain: explain::command(reason.as_str(), refusal.details()),
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
            explain: explain::command(reason.word(), &BTreeMap::new()),
        }))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let wait = self.retry_after_seconds();
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = wait {
            headers.insert(header::RETRY_AFTER, seconds.into());
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
        let refusal = Refusal::new(Reason::UnitCeased)
            .field("locality", Wrong::new("đã giải thể ngày 2025-07-01", "ceased on 2025-07-01"))
            .detail("successor", "19753");
        let problem = json(&Problem::from(&refusal));
        assert_eq!(problem["type"], "urn:lgsp:problem:unit-ceased");
        assert_eq!(problem["status"], 422);
        assert_eq!(problem["reason"], "UNIT_CEASED");
        assert_eq!(problem["fields"][0]["field"], "locality");
        assert_eq!(problem["fields"][0]["problem"], "ceased on 2025-07-01");
        assert_eq!(problem["fields"][0]["problem_vi"], "đã giải thể ngày 2025-07-01");
        assert_eq!(problem["details"]["successor"], "19753");
        assert_eq!(problem["message_vi"], Reason::UnitCeased.texts().what.vi);
        assert_eq!(problem["remedy"]["vi"], Reason::UnitCeased.texts().remedy.vi);
    }

    #[test]
    fn a_kept_refusal_reads_like_a_fresh_one() {
        for reason in Reason::ALL {
            let refusal = Refusal::new(*reason).field("a", Wrong::new("bê", "b")).detail("c", "d");
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
        for reason in LocalReason::ALL {
            assert_eq!(Reason::parse(reason.word()), None);
            let [title, message_vi, en, vi] = reason.texts();
            assert!(title.is_ascii() && en.is_ascii() && !message_vi.is_ascii() && !vi.is_ascii());
        }
    }

    #[test]
    fn who_is_to_wait_is_told_for_how_long_by_the_refusal_itself() {
        let wait = |problem: Problem| {
            let headers = problem.into_response().headers().clone();
            headers.get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned())
        };
        let after = |ms: u64| Problem::from(Refusal::new(Reason::QuotaExceeded).detail(RETRY_AFTER_MS, ms));
        assert_eq!(wait(after(1)).as_deref(), Some("1"));
        assert_eq!(wait(after(61_001)).as_deref(), Some("62"));
        assert_eq!(wait(Reason::ReadOnly.into()).as_deref(), Some("5"));
        assert_eq!(wait(Reason::FieldInvalid.into()), None);
    }

    #[test]
    fn a_refusal_names_the_command_that_explains_it() {
        let refusal = Refusal::new(Reason::ActsForMissing).detail("party", "H57.99");
        assert_eq!(json(&refusal.into())["explain"], "lgsp can-i --party H57.99 --profile FILE");
        assert_eq!(json(&Reason::Overloaded.into())["explain"], "lgsp explain OVERLOADED");
        assert_eq!(json(&LocalReason::SpoolDiskFull.into())["explain"], "lgsp explain SPOOL_DISK_FULL");
    }
}
