//! Every reason for which the bus refuses something.
//!
//! One cause, one reason, for ever: programs branch on the word, people read the texts. A reason is added when callers
//! will branch on it; a retired word is never used again.

use tonic::Code;

/// Declares the reasons once: variant, stable word, status code, what happened and what to do, in English and Vietnamese.
macro_rules! reasons {
    ($($variant:ident, $word:literal, $code:ident, $what_en:literal, $what_vi:literal, $remedy_en:literal, $remedy_vi:literal;)*) => {
        /// Why something was refused, in the few words a caller can act on.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason {
            $(#[doc = $what_en] $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable word, as in `ErrorInfo.reason`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The status code it travels under. `Unavailable` and `ResourceExhausted` promise that nothing was processed.
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            /// What happened and what to do about it.
            pub const fn texts(self) -> Texts {
                match self {
                    $(Self::$variant => Texts {
                        what: Bilingual { en: $what_en, vi: $what_vi },
                        remedy: Bilingual { en: $remedy_en, vi: $remedy_vi },
                    },)*
                }
            }
        }
    };
}

reasons! {
    CertificateWithoutIdentity, "CERTIFICATE_WITHOUT_IDENTITY", Unauthenticated,
        "The client certificate names no system.",
        "Chứng thư của hệ thống không mang định danh hệ thống.",
        "Use a certificate whose URI SAN is spiffe://<trust domain>/system/<name>, issued by a CA of this bus.",
        "Dùng chứng thư có URI SAN dạng spiffe://<miền tin cậy>/system/<tên> do CA của trục cấp.";
    CertificateNotVouched, "CERTIFICATE_NOT_VOUCHED", Unauthenticated,
        "The CA of the client certificate may not vouch for the system it names.",
        "CA cấp chứng thư này không được bảo chứng cho hệ thống nêu trong chứng thư.",
        "Use a certificate of a CA that may vouch for this system, or ask the operator to list the system under that CA's trust bundle.",
        "Dùng chứng thư của CA được bảo chứng cho hệ thống này, hoặc đề nghị đơn vị vận hành bổ sung hệ thống vào danh sách của CA.";
    CertificateRevoked, "CERTIFICATE_REVOKED", Unauthenticated,
        "The certificate, or its key, was revoked.",
        "Chứng thư hoặc khoá của nó đã bị thu hồi.",
        "Ask the operator why; to come back, join with a new token and a new key: `lgsp adapter join`.",
        "Hỏi đơn vị vận hành lý do; để kết nối lại, dùng mã tham gia mới và khoá mới: `lgsp adapter join`.";
    TokenInvalid, "JOIN_TOKEN_INVALID", Unauthenticated,
        "The join token is not good: unknown, expired, withdrawn or damaged.",
        "Mã tham gia không dùng được: không tồn tại, hết hạn, đã thu hồi hoặc bị sai.",
        "Copy the token whole; if it is older than it may be, ask the operator for a new one: `lgsp certs token`.",
        "Sao chép đủ cả mã; nếu mã đã quá hạn, đề nghị đơn vị vận hành cấp mã mới: `lgsp certs token`.";
    TokenSpent, "TOKEN_SPENT", FailedPrecondition,
        "The join token was used already, with another key.",
        "Mã tham gia đã được dùng với một khoá khác.",
        "If that was not you, tell the operator at once; else ask for a new token: `lgsp certs token`.",
        "Nếu không phải bạn đã dùng, báo ngay cho đơn vị vận hành; nếu không, xin mã mới: `lgsp certs token`.";
    TokenNotFound, "TOKEN_NOT_FOUND", NotFound,
        "There is no join token of this id.",
        "Không có mã tham gia nào mang số này.",
        "Look at the open tokens: `lgsp certs list`.",
        "Xem các mã đang mở: `lgsp certs list`.";
    SigningRequestInvalid, "SIGNING_REQUEST_INVALID", InvalidArgument,
        "The certificate request cannot be used.",
        "Yêu cầu cấp chứng thư không dùng được.",
        "Send a PKCS #10 request in DER, with an ECDSA P-256 key that signed it.",
        "Gửi yêu cầu PKCS #10 dạng DER, khoá ECDSA P-256, do chính khoá đó ký.";
    CertificateNotFound, "CERTIFICATE_NOT_FOUND", NotFound,
        "No such certificate was issued here or seen on the bus.",
        "Không có chứng thư này trong số đã cấp hoặc đã thấy trên trục.",
        "Look at the certificates: `lgsp certs list`; a key that was never seen can be revoked by its SHA-256.",
        "Xem các chứng thư: `lgsp certs list`; khoá chưa từng thấy có thể thu hồi theo SHA-256 của khoá.";
    CaNotConfigured, "CA_NOT_CONFIGURED", FailedPrecondition,
        "This gateway issues no certificates: it holds no issuing CA that is in force.",
        "Trục này không cấp chứng thư: không có CA cấp phát nào đang có hiệu lực.",
        "Ask the operator to put an issuing CA that the trust bundles accept into [ca] dir, or get the certificate from the CA that issues for the agency.",
        "Đề nghị đơn vị vận hành đặt vào [ca] dir một CA cấp phát được các gói tin cậy chấp nhận, hoặc lấy chứng thư từ CA cấp cho cơ quan.";
    RenewedElsewhere, "RENEWED_ELSEWHERE", FailedPrecondition,
        "The certificate is of another CA than the one by which this gateway issues, which renews its own only.",
        "Chứng thư này thuộc một CA khác với CA cấp phát của trục; trục chỉ gia hạn chứng thư của CA mình.",
        "Get the next certificate from the CA that issued this one, or join with a token and be certified by the bus: `lgsp adapter join`.",
        "Lấy chứng thư mới từ chính CA đã cấp chứng thư này, hoặc tham gia bằng mã tham gia để trục cấp: `lgsp adapter join`.";
    RevocationLocksOut, "REVOCATION_LOCKS_OUT", FailedPrecondition,
        "This would put keys of the bus itself, or the last of those who keep it in order, out of force for good; nothing was revoked.",
        "Việc này sẽ vĩnh viễn vô hiệu khoá của chính trục, hoặc của những hệ thống quản trị cuối cùng; chưa thu hồi gì.",
        "See the details; put another CA or certificate in its place, or let another operator join first. If it is meant so, revoke with `--despite-lockout`.",
        "Xem chi tiết; hãy đặt CA hoặc chứng thư khác thay thế, hoặc để đơn vị vận hành khác tham gia trước. Nếu đúng là chủ ý, thu hồi với `--despite-lockout`.";
    SystemUnknown, "SYSTEM_UNKNOWN", PermissionDenied,
        "The system of this certificate is not in the registry.",
        "Hệ thống của chứng thư này chưa có trong sổ đăng ký.",
        "Ask the operator of the bus to register the system.",
        "Đề nghị đơn vị vận hành trục đăng ký hệ thống.";
    ActsForMissing, "ACTS_FOR_MISSING", PermissionDenied,
        "The system may not act for this party.",
        "Hệ thống không được phép hành động thay cơ quan này.",
        "Ask the operator to add the party to the system's acts_for, or name another acting party.",
        "Đề nghị đơn vị vận hành bổ sung cơ quan vào acts_for của hệ thống, hoặc chọn cơ quan khác.";
    GrantMissing, "GRANT_MISSING", PermissionDenied,
        "The party lacks the grant for this.",
        "Cơ quan chưa được cấp quyền cho việc này.",
        "Ask the owner named in the details for the grant named there.",
        "Đề nghị chủ quản nêu trong chi tiết cấp quyền tương ứng.";
    RoleMissing, "ROLE_MISSING", PermissionDenied,
        "The party has no role in which this may be recorded at this stage.",
        "Ở giai đoạn này cơ quan không có vai trò được ghi nhận việc này.",
        "Leave it to the party in one of the roles named in the details.",
        "Để cơ quan giữ một trong các vai trò nêu trong chi tiết thực hiện.";
    SignatureInvalid, "SIGNATURE_INVALID", Unauthenticated,
        "The signature does not fit the body bytes and the certificate.",
        "Chữ ký không khớp với nội dung gửi và chứng thư.",
        "Sign exactly the bytes that are sent, with the key of the client certificate.",
        "Ký đúng chuỗi byte được gửi bằng khoá của chứng thư đang dùng.";
    Malformed, "MALFORMED", InvalidArgument,
        "The message cannot be decoded.",
        "Không giải mã được thông điệp.",
        "Generate the client from the .proto files of this version.",
        "Sinh mã khách từ các tệp .proto của phiên bản này.";
    MessageTooLarge, "MESSAGE_TOO_LARGE", ResourceExhausted,
        "The message is larger than the limit.",
        "Thông điệp vượt quá kích thước cho phép.",
        "Send documents by Documents.Upload; keep the body below the limit in the details.",
        "Gửi tài liệu bằng Documents.Upload; giữ nội dung dưới giới hạn nêu trong chi tiết.";
    FieldInvalid, "FIELD_INVALID", InvalidArgument,
        "One or more fields are not acceptable.",
        "Một hoặc nhiều trường không hợp lệ.",
        "Correct the fields named in the details.",
        "Sửa các trường nêu trong chi tiết.";
    ProcedureUnknown, "PROCEDURE_UNKNOWN", InvalidArgument,
        "The procedure is not in the registry.",
        "Thủ tục không có trong sổ đăng ký.",
        "Check the national procedure code.",
        "Kiểm tra lại mã thủ tục hành chính.";
    ProcedureAbolished, "PROCEDURE_ABOLISHED", FailedPrecondition,
        "The procedure was no longer in force at reception.",
        "Thủ tục đã hết hiệu lực tại thời điểm tiếp nhận.",
        "Use the successor named in the details, where there is one.",
        "Dùng thủ tục thay thế nêu trong chi tiết, nếu có.";
    ProcedureNotYetInForce, "PROCEDURE_NOT_YET_IN_FORCE", FailedPrecondition,
        "The procedure was not yet in force at reception.",
        "Thủ tục chưa có hiệu lực tại thời điểm tiếp nhận.",
        "Use the procedure in force on the day of reception.",
        "Dùng thủ tục đang có hiệu lực vào ngày tiếp nhận.";
    CaseUnknown, "CASE_UNKNOWN", InvalidArgument,
        "The procedure has no such case.",
        "Thủ tục không có trường hợp này.",
        "Use one of the cases in the details, or none.",
        "Dùng một trong các trường hợp nêu trong chi tiết, hoặc để trống.";
    ComponentMissing, "COMPONENT_MISSING", FailedPrecondition,
        "A compulsory component of the dossier is missing.",
        "Thiếu thành phần hồ sơ bắt buộc.",
        "Add the components named in the details.",
        "Bổ sung các thành phần nêu trong chi tiết.";
    UnitUnknown, "UNIT_UNKNOWN", InvalidArgument,
        "The administrative unit is not in the registry.",
        "Đơn vị hành chính không có trong sổ đăng ký.",
        "Check the unit code.",
        "Kiểm tra lại mã đơn vị hành chính.";
    UnitCeased, "UNIT_CEASED", FailedPrecondition,
        "The administrative unit no longer existed at reception.",
        "Đơn vị hành chính không còn tồn tại tại thời điểm tiếp nhận.",
        "Use the successor named in the details.",
        "Dùng đơn vị kế thừa nêu trong chi tiết.";
    PartyUnknown, "PARTY_UNKNOWN", InvalidArgument,
        "A party named in the request is not in the registry, or not in force.",
        "Cơ quan nêu trong yêu cầu không có trong sổ đăng ký hoặc không còn hiệu lực.",
        "Check the identifier; use the successor named in the details, where there is one.",
        "Kiểm tra mã định danh; dùng cơ quan kế thừa nêu trong chi tiết, nếu có.";
    NoRoute, "NO_ROUTE", FailedPrecondition,
        "No authority is registered as competent for this procedure and locality.",
        "Chưa có cơ quan nào được đăng ký thẩm quyền cho thủ tục và địa bàn này.",
        "Run `lgsp dossier route` to see the rules looked at; ask the registry's owner to add one.",
        "Chạy `lgsp dossier route` để xem các quy tắc đã xét; đề nghị chủ quản sổ đăng ký bổ sung.";
    DocumentUnknown, "DOCUMENT_UNKNOWN", FailedPrecondition,
        "A document named in the request was not uploaded by the acting party.",
        "Tài liệu nêu trong yêu cầu chưa được cơ quan tải lên.",
        "Upload it first, as the same party.",
        "Tải tài liệu lên trước, dưới tên cùng cơ quan.";
    DocumentDigestMismatch, "DOCUMENT_DIGEST_MISMATCH", InvalidArgument,
        "The bytes received do not have the digest or size announced.",
        "Nội dung nhận được không khớp mã băm hoặc kích thước đã báo.",
        "Compute SHA-256 and size over the bytes that are sent, and upload again from offset 0.",
        "Tính lại SHA-256 và kích thước trên nội dung gửi, tải lại từ đầu.";
    DocumentOfAnotherDossier, "DOCUMENT_OF_ANOTHER_DOSSIER", PermissionDenied,
        "The document belongs to another dossier.",
        "Tài liệu thuộc hồ sơ khác.",
        "Upload the document for this dossier.",
        "Tải tài liệu lên cho hồ sơ này.";
    DocumentNotFound, "DOCUMENT_NOT_FOUND", NotFound,
        "The dossier has no such document.",
        "Hồ sơ không có tài liệu này.",
        "Use a digest listed with the dossier.",
        "Dùng mã băm có trong danh sách của hồ sơ.";
    DocumentOffsetWrong, "DOCUMENT_OFFSET_WRONG", FailedPrecondition,
        "The upload does not start where the durable part ends.",
        "Vị trí tải lên không khớp với phần đã lưu.",
        "Ask Documents.UploadState for the offset and go on from there.",
        "Hỏi Documents.UploadState để biết vị trí và tiếp tục từ đó.";
    DocumentTooLarge, "DOCUMENT_TOO_LARGE", ResourceExhausted,
        "The document is larger than the limit.",
        "Tài liệu vượt quá kích thước cho phép.",
        "Split or compress it; the limit is in the details.",
        "Chia nhỏ hoặc nén tài liệu; giới hạn nêu trong chi tiết.";
    TimeTooFarBack, "TIME_TOO_FAR_BACK", FailedPrecondition,
        "The business time lies too far back, or before the dossier's last event.",
        "Thời điểm nghiệp vụ lùi quá xa hoặc trước sự kiện gần nhất của hồ sơ.",
        "Set the desk's clock; late entries need the operator.",
        "Chỉnh lại đồng hồ; ghi nhận muộn cần đơn vị vận hành.";
    TimeAhead, "TIME_AHEAD", FailedPrecondition,
        "The business time lies ahead of the gateway's clock.",
        "Thời điểm nghiệp vụ đi trước đồng hồ của trục.",
        "Set the desk's clock.",
        "Chỉnh lại đồng hồ.";
    CalendarNotCovering, "CALENDAR_NOT_COVERING", FailedPrecondition,
        "The working calendar does not cover the dates needed to compute the deadline.",
        "Lịch làm việc chưa có năm cần để tính hạn.",
        "Ask the registry's owner to add the year to the calendar.",
        "Đề nghị chủ quản sổ đăng ký bổ sung lịch của năm đó.";
    KeyReused, "KEY_REUSED", AlreadyExists,
        "This request key was used before with other content.",
        "Khoá yêu cầu đã được dùng với nội dung khác.",
        "Use a new key for a new request; send the same bytes to repeat one.",
        "Dùng khoá mới cho yêu cầu mới; gửi đúng nội dung cũ nếu gửi lại.";
    StaleVersion, "STALE_VERSION", Aborted,
        "Something else was recorded in between.",
        "Đã có ghi nhận khác xen vào.",
        "Read again, decide again, and send with the new version.",
        "Đọc lại, quyết định lại và gửi với phiên bản mới.";
    IllegalTransition, "ILLEGAL_TRANSITION", FailedPrecondition,
        "This may not happen in the dossier's present status.",
        "Việc này không hợp lệ ở trạng thái hiện tại của hồ sơ.",
        "See the details for the present status and what may happen in it.",
        "Xem chi tiết về trạng thái hiện tại và các việc được phép.";
    SupplementStillOpen, "SUPPLEMENT_STILL_OPEN", FailedPrecondition,
        "The citizen may still supplement.",
        "Người dân vẫn còn thời hạn bổ sung.",
        "Wait until the supplement deadline in the details has passed.",
        "Chờ hết thời hạn bổ sung nêu trong chi tiết.";
    ExtensionUsed, "EXTENSION_USED", FailedPrecondition,
        "The due date was extended before; once is the limit.",
        "Hồ sơ đã được gia hạn; chỉ được gia hạn một lần.",
        "Keep to the date promised.",
        "Giữ ngày hẹn trả đã báo.";
    ExtensionNotAllowed, "EXTENSION_NOT_ALLOWED", FailedPrecondition,
        "The due date can only be extended before it passes, to a later date, while the clock runs.",
        "Chỉ được gia hạn trước hạn, sang ngày muộn hơn, khi thời hạn đang tính.",
        "See the details.",
        "Xem chi tiết.";
    PauseNotAllowed, "PAUSE_NOT_ALLOWED", FailedPrecondition,
        "The clock cannot be stopped or started for this cause now.",
        "Không thể tạm dừng hoặc tính tiếp thời hạn với lý do này.",
        "See the details for the pauses that are open.",
        "Xem các khoảng tạm dừng đang mở trong chi tiết.";
    CodeNotLeased, "CODE_NOT_LEASED", FailedPrecondition,
        "The dossier code was not leased to this desk, or is taken.",
        "Mã hồ sơ không thuộc dải số đã cấp cho bộ phận này hoặc đã dùng.",
        "Leave the code empty and let the gateway assign one.",
        "Để trống mã hồ sơ để trục cấp số.";
    AliasTaken, "ALIAS_TAKEN", AlreadyExists,
        "Another dossier carries this code already.",
        "Mã này đã thuộc hồ sơ khác.",
        "Check the alias; if it is the same matter, record an entry on that dossier.",
        "Kiểm tra mã; nếu cùng một việc, hãy ghi nhận vào hồ sơ đó.";
    EarlierReceiptInvalid, "EARLIER_RECEIPT_INVALID", InvalidArgument,
        "The earlier receipt was not given by this gateway for this very request.",
        "Biên nhận trước đây không phải do trục này cấp cho đúng yêu cầu này.",
        "Send the receipt exactly as it was given, with the same bytes and key; without one, leave the field out.",
        "Gửi đúng biên nhận đã được cấp, cùng nội dung và khoá cũ; nếu không có thì để trống trường này.";
    EarlierEventsMissing, "EARLIER_EVENTS_MISSING", Unavailable,
        "The gateway was restored, and earlier events of this dossier are not back yet; nothing was processed.",
        "Trục vừa được khôi phục, các sự kiện trước của hồ sơ chưa được gửi lại; yêu cầu chưa được xử lý.",
        "Send again later with the same key and receipt; they come back from the spools of those who recorded them.",
        "Gửi lại sau với cùng khoá và biên nhận; các sự kiện đó sẽ được nơi đã ghi nhận gửi lại.";
    EpochConflict, "EPOCH_CONFLICT", FailedPrecondition,
        "The gateway was restored, and something else has taken the place that the earlier receipt names.",
        "Trục vừa được khôi phục, và vị trí nêu trong biên nhận trước đây đã có nội dung khác.",
        "Look at the dossier as it stands now and record what is still true as a new request; tell the operator.",
        "Xem lại hồ sơ hiện tại và ghi nhận điều còn đúng bằng yêu cầu mới; báo đơn vị vận hành.";
    NumbersExhausted, "NUMBERS_EXHAUSTED", ResourceExhausted,
        "The authority's numbers of the day are used up.",
        "Dải số trong ngày của cơ quan đã hết.",
        "Take the dossier in tomorrow, and tell the operator.",
        "Tiếp nhận vào ngày hôm sau và báo đơn vị vận hành.";
    NumbersNotLeasable, "NUMBERS_NOT_LEASABLE", FailedPrecondition,
        "No numbers are leased for this authority and day.",
        "Không cấp trước dải số cho cơ quan và ngày này.",
        "Ask for a day between those in the details, and an authority in force on it.",
        "Xin dải số cho ngày trong khoảng nêu ở chi tiết và cho cơ quan còn hiệu lực vào ngày đó.";
    DossierNotFound, "DOSSIER_NOT_FOUND", NotFound,
        "There is no such dossier for this party.",
        "Không có hồ sơ này đối với cơ quan.",
        "Check the code, and the party in whose name you ask.",
        "Kiểm tra mã hồ sơ và cơ quan đứng tên.";
    PageTokenInvalid, "PAGE_TOKEN_INVALID", InvalidArgument,
        "The page token is not one of ours, or belongs to another query.",
        "Mã trang không hợp lệ hoặc thuộc truy vấn khác.",
        "Start again without a token.",
        "Bắt đầu lại không kèm mã trang.";
    StreamProtocol, "STREAM_PROTOCOL", InvalidArgument,
        "The stream's messages do not come in the order the service describes.",
        "Thứ tự thông điệp trên luồng không đúng quy định.",
        "Open first; see the service's description.",
        "Gửi thông điệp mở trước; xem mô tả dịch vụ.";
    DeliveryUnknown, "DELIVERY_UNKNOWN", FailedPrecondition,
        "This delivery is not under way on this stream.",
        "Bản tin giao này không nằm trên luồng hiện tại.",
        "Acknowledge only what this stream delivered; it will come again if it is still owed.",
        "Chỉ xác nhận bản tin nhận trên luồng này; nếu còn nợ, trục sẽ giao lại.";
    InstanceInUse, "INSTANCE_IN_USE", FailedPrecondition,
        "This installation of the system is connected with another spool.",
        "Bản cài đặt này của hệ thống đang kết nối với một kho tạm khác.",
        "Give each installation of the system an instance name of its own; if the other one is gone, try again in a minute.",
        "Đặt tên riêng (instance) cho từng bản cài đặt của hệ thống; nếu bản kia đã ngừng, thử lại sau một phút.";
    ParkedNotFound, "PARKED_NOT_FOUND", NotFound,
        "The dossier is not parked for this party at this delivery.",
        "Hồ sơ không bị tạm dừng giao cho cơ quan này ở bản tin này.",
        "List what is parked with `lgsp inbox list`; somebody may have handled it already.",
        "Xem danh sách bằng `lgsp inbox list`; có thể đã có người xử lý.";
    ParkedHeld, "PARKED_HELD", FailedPrecondition,
        "The dossier is parked, and an installation of a system still has the delivery.",
        "Hồ sơ đang tạm dừng giao, nhưng một bản cài đặt của hệ thống còn giữ bản tin.",
        "Let the installation in the details connect, which gives it back, or release it first with `lgsp inbox release`.",
        "Để bản cài đặt nêu trong chi tiết kết nối lại và trả bản tin, hoặc thu hồi trước bằng `lgsp inbox release`.";
    RegistryInvalid, "REGISTRY_INVALID", InvalidArgument,
        "The registry files have problems; nothing was applied.",
        "Các tệp sổ đăng ký có lỗi; chưa áp dụng gì.",
        "Correct the problems in the details; `lgsp registry plan` shows them all.",
        "Sửa các lỗi trong chi tiết; `lgsp registry plan` liệt kê đầy đủ.";
    RegistryMissing, "REGISTRY_MISSING", FailedPrecondition,
        "No registry has been applied yet.",
        "Chưa áp dụng sổ đăng ký nào.",
        "Apply one with `lgsp registry apply`.",
        "Áp dụng bằng `lgsp registry apply`.";
    RegistryVersionUnknown, "REGISTRY_VERSION_UNKNOWN", NotFound,
        "There is no such registry version.",
        "Không có phiên bản sổ đăng ký này.",
        "Read version 0 for the one in force.",
        "Đọc phiên bản 0 để lấy bản đang áp dụng.";
    RegistryLocksOut, "REGISTRY_LOCKS_OUT", FailedPrecondition,
        "With this registry the rights in the details would be out of reach; nothing was applied.",
        "Áp dụng sổ đăng ký này thì không còn ai, hoặc chính bạn không còn, dùng được các quyền nêu trong chi tiết; chưa áp dụng gì.",
        "Leave somebody the rights; if it is meant so, apply again with `--yes-lock-out`.",
        "Giữ lại quyền cho một cơ quan; nếu đúng là muốn vậy, áp dụng lại với `--yes-lock-out`.";
    Overloaded, "OVERLOADED", ResourceExhausted,
        "The gateway has too much to do; nothing was processed.",
        "Trục đang quá tải; yêu cầu chưa được xử lý.",
        "Send again later with the same key.",
        "Gửi lại sau với cùng khoá yêu cầu.";
    QuotaExceeded, "QUOTA_EXCEEDED", ResourceExhausted,
        "This party or system has used up its share for the moment; nothing was processed.",
        "Cơ quan hoặc hệ thống này tạm thời đã dùng hết phần của mình; yêu cầu chưa được xử lý.",
        "Send again with the same key after the time in retry_after_ms, and fewer at once.",
        "Gửi lại với cùng khoá sau thời gian nêu ở retry_after_ms, và bớt số yêu cầu cùng lúc.";
    ReadOnly, "READ_ONLY", Unavailable,
        "The gateway cannot write just now; nothing was processed.",
        "Trục tạm thời không ghi được; yêu cầu chưa được xử lý.",
        "Send again later with the same key; the operator has been warned.",
        "Gửi lại sau với cùng khoá; đơn vị vận hành đã được cảnh báo.";
    OutcomeUnknown, "OUTCOME_UNKNOWN", Unknown,
        "The gateway failed while writing; whether this was admitted is not known.",
        "Trục gặp lỗi khi ghi; chưa rõ yêu cầu đã được ghi nhận hay chưa.",
        "Send the same bytes again with the same key: it is admitted once.",
        "Gửi lại đúng nội dung với cùng khoá: chỉ ghi nhận một lần.";
    ShuttingDown, "SHUTTING_DOWN", Unavailable,
        "The gateway is stopping; nothing was processed.",
        "Trục đang dừng; yêu cầu chưa được xử lý.",
        "Connect again and send with the same key.",
        "Kết nối lại và gửi với cùng khoá yêu cầu.";
    ContentErased, "CONTENT_ERASED", FailedPrecondition,
        "The content was erased; only the envelope remains.",
        "Nội dung đã bị xoá; chỉ còn phần vỏ.",
        "Nothing can bring it back.",
        "Không thể khôi phục.";
    DossierOpen, "DOSSIER_OPEN", FailedPrecondition,
        "The dossier is not closed yet.",
        "Hồ sơ chưa kết thúc.",
        "Wait until it is returned, withdrawn, stopped or not accepted; its content is needed until then.",
        "Chờ đến khi hồ sơ được trả kết quả, rút, dừng hoặc không tiếp nhận; đến lúc đó nội dung vẫn cần dùng.";
    DossierArchived, "DOSSIER_ARCHIVED", FailedPrecondition,
        "The dossier is closed and was moved to the archive named in the details.",
        "Hồ sơ đã kết thúc và đã chuyển vào tệp lưu trữ nêu trong chi tiết.",
        "Ask the operator of the bus to read it from the archive, with `lgsp archive show`.",
        "Đề nghị đơn vị vận hành trục đọc từ tệp lưu trữ, bằng `lgsp archive show`.";
    ServiceUnknown, "SERVICE_UNKNOWN", NotFound,
        "There is no such data service, or not in this version.",
        "Không có dịch vụ dữ liệu này, hoặc không có bản này.",
        "Look at the services that may be asked, with their versions: `lgsp query services`.",
        "Xem các dịch vụ được khai thác và các bản: `lgsp query services`.";
    ServiceNotServed, "SERVICE_NOT_SERVED", Unavailable,
        "No connector serves this data service just now; nothing was asked.",
        "Hiện không có bộ kết nối nào phục vụ dịch vụ dữ liệu này; chưa hỏi gì.",
        "Ask again later; if it stays, tell the owner of the service named in the details.",
        "Hỏi lại sau; nếu vẫn vậy, báo cơ quan chủ quản dịch vụ nêu trong chi tiết.";
    ServiceBusy, "SERVICE_BUSY", ResourceExhausted,
        "As many questions as this data service takes at once are under way; nothing was asked.",
        "Dịch vụ dữ liệu đang xử lý đủ số câu hỏi đồng thời; chưa hỏi gì.",
        "Ask again after the time in retry_after_ms, and fewer at once.",
        "Hỏi lại sau thời gian nêu ở retry_after_ms, và bớt số câu hỏi cùng lúc.";
    ServiceSuspended, "SERVICE_SUSPENDED", Unavailable,
        "This data service has failed too often of late and is left alone for a while; nothing was asked.",
        "Dịch vụ dữ liệu vừa lỗi quá nhiều lần nên tạm ngưng hỏi; chưa hỏi gì.",
        "Ask again after the time in retry_after_ms; if it stays, tell the owner of the service.",
        "Hỏi lại sau thời gian nêu ở retry_after_ms; nếu vẫn vậy, báo cơ quan chủ quản dịch vụ.";
    QueryOutcomeUnknown, "QUERY_OUTCOME_UNKNOWN", Unknown,
        "The data service was asked and has not answered in time; whether it counts the question is not known.",
        "Đã hỏi dịch vụ dữ liệu nhưng không có trả lời kịp thời; chưa rõ phía đó có tính lượt hỏi hay không.",
        "Ask again if the answer is still needed: it is a new question. What was asked stands under query_id.",
        "Hỏi lại nếu vẫn cần: đó là một câu hỏi mới. Câu hỏi đã gửi được ghi theo query_id.";
    SubjectNotFound, "SUBJECT_NOT_FOUND", NotFound,
        "The data service was asked and knows nobody and nothing of this description.",
        "Dịch vụ dữ liệu đã được hỏi và không có đối tượng nào khớp.",
        "Compare what was typed with the citizen's papers, and ask again.",
        "Đối chiếu thông tin đã nhập với giấy tờ của công dân rồi hỏi lại.";
    SubjectAmbiguous, "SUBJECT_AMBIGUOUS", FailedPrecondition,
        "The data service was asked and knows more than one of this description.",
        "Dịch vụ dữ liệu đã được hỏi và có nhiều hơn một đối tượng khớp.",
        "Ask with more that tells them apart.",
        "Hỏi lại với thông tin đủ để phân biệt.";
    SubjectMismatch, "SUBJECT_MISMATCH", FailedPrecondition,
        "The data service was asked, and what was given does not belong together.",
        "Dịch vụ dữ liệu đã được hỏi; các thông tin đưa ra không khớp nhau.",
        "Compare number, name and date of birth with the citizen's papers, and ask again.",
        "Đối chiếu số định danh, họ tên, ngày sinh với giấy tờ của công dân rồi hỏi lại.";
    SubjectLocked, "SUBJECT_LOCKED", FailedPrecondition,
        "The data service was asked, and the record is locked or closed there.",
        "Dịch vụ dữ liệu đã được hỏi; bản ghi ở đó đang bị khoá hoặc đã đóng.",
        "Ask the owner of the service named in the details.",
        "Liên hệ cơ quan chủ quản dịch vụ nêu trong chi tiết.";
    ClerkNotAuthorised, "CLERK_NOT_AUTHORISED", PermissionDenied,
        "The data service was asked, and does not allow this clerk.",
        "Dịch vụ dữ liệu đã được hỏi; cán bộ này chưa được phép khai thác ở đó.",
        "Have the clerk's account registered with the owner of the service named in the details.",
        "Đăng ký tài khoản cán bộ với cơ quan chủ quản dịch vụ nêu trong chi tiết.";
    PurposeNotPermitted, "PURPOSE_NOT_PERMITTED", PermissionDenied,
        "The data service was asked, and does not answer for this purpose and procedure.",
        "Dịch vụ dữ liệu đã được hỏi; mục đích hoặc thủ tục này không được phép khai thác ở đó.",
        "Ask the owner of the service named in the details which purposes and procedures it permits.",
        "Hỏi cơ quan chủ quản dịch vụ nêu trong chi tiết về mục đích và thủ tục được phép.";
    ServiceQuotaExceeded, "SERVICE_QUOTA_EXCEEDED", ResourceExhausted,
        "The data service counts too many questions just now, and did not answer this one.",
        "Dịch vụ dữ liệu đã hết hạn mức lượt hỏi; câu hỏi này không được trả lời.",
        "Ask again later, and fewer at once.",
        "Hỏi lại sau và bớt số câu hỏi.";
    ServiceMaintenance, "SERVICE_MAINTENANCE", Unavailable,
        "The data service is being maintained and did not answer.",
        "Dịch vụ dữ liệu đang bảo trì, không trả lời.",
        "Ask again when it is back; its owner announces the time.",
        "Hỏi lại khi dịch vụ hoạt động trở lại; cơ quan chủ quản thông báo thời gian.";
    ServiceFailed, "SERVICE_FAILED", FailedPrecondition,
        "The data service was asked and failed, or answered what its own schema does not allow.",
        "Dịch vụ dữ liệu đã được hỏi nhưng gặp lỗi, hoặc trả lời sai lược đồ đã khai.",
        "Ask again once; if it stays, give the owner of the service the query_id in the details.",
        "Hỏi lại một lần; nếu vẫn lỗi, báo cơ quan chủ quản dịch vụ kèm query_id trong chi tiết.";
    QueryNotFound, "QUERY_NOT_FOUND", NotFound,
        "There is no such query for this party.",
        "Không tìm thấy lượt khai thác này đối với cơ quan.",
        "Check the query id, and the party in whose name you ask.",
        "Kiểm tra mã lượt khai thác và cơ quan đứng tên tra cứu.";
    Internal, "INTERNAL", Internal,
        "Internal error.",
        "Lỗi nội bộ.",
        "Send again with the same key; if it stays, tell the operator.",
        "Gửi lại với cùng khoá; nếu vẫn lỗi, báo đơn vị vận hành.";
}

/// What people read about a reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Texts {
    /// What happened.
    pub what: Bilingual,
    /// What to do about it.
    pub remedy: Bilingual,
}

/// The same sentence in the two languages of the bus.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bilingual {
    /// English.
    pub en: &'static str,
    /// Vietnamese.
    pub vi: &'static str,
}

impl Reason {
    /// The reason of a stable word; `None` for a word this version does not know.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
    }

    /// Whether sending the same bytes with the same key again can succeed without anybody changing anything.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Overloaded
                | Self::QuotaExceeded
                | Self::ReadOnly
                | Self::OutcomeUnknown
                | Self::ShuttingDown
                | Self::Internal
                | Self::EarlierEventsMissing
                | Self::ServiceNotServed
                | Self::ServiceBusy
                | Self::ServiceSuspended
                | Self::ServiceQuotaExceeded
                | Self::ServiceMaintenance
        )
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_parse_back() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
        }
        let words: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
    }

    #[test]
    fn every_reason_speaks_both_languages() {
        for reason in Reason::ALL {
            let texts = reason.texts();
            for text in [texts.what, texts.remedy] {
                assert!(!text.en.is_empty() && text.en.is_ascii(), "{reason}: English text");
                assert!(!text.vi.is_empty() && !text.vi.is_ascii(), "{reason}: Vietnamese text");
            }
        }
    }

    #[test]
    fn what_may_be_sent_again_is_told_from_what_must_be_mended() {
        assert!(Reason::ReadOnly.is_transient() && Reason::QuotaExceeded.is_transient());
        assert!(!Reason::KeyReused.is_transient());
    }
}
