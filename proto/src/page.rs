//! What the reference says of a reason beyond its texts: how one comes to it, whether the same may be sent again, and which
//! facts it carries.
//!
//! Owns one arm per reason, so that a reason without a page does not compile. `lgsp explain` prints it, `docs/reference` is made
//! from it, and `tests/reasons` holds the facts against what the gateway really says.

use crate::reason::{Bilingual, Reason};

/// What the reference adds to the texts of a reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Page {
    /// How one comes to it: what the caller did, or what somebody else has not done.
    pub cause: Bilingual,
    /// Whether the same request may be sent again.
    pub again: Again,
    /// The facts it may carry, as they are called in `ErrorInfo.metadata` and in `details` of a problem.
    pub details: &'static [&'static str],
}

/// Whether, and when, a refused request may be sent again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Again {
    /// Nobody has to change anything: the same bytes with the same key, after a while.
    Unchanged,
    /// The same request, when somebody has put right what was in its way.
    Mended,
    /// Another request: this one is wrong.
    Corrected,
    /// Not at all.
    Never,
}

impl Again {
    /// The word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Mended => "mended",
            Self::Corrected => "corrected",
            Self::Never => "never",
        }
    }

    /// The rule for people. An adapter keeps what became of a request under its key, so there a refused key is used up.
    pub const fn sentence(self) -> Bilingual {
        match self {
            Self::Unchanged => Bilingual {
                en: "Yes: the same bytes with the same key, after a while. Nobody has to change anything, and an adapter does it by itself.",
                vi: "Được: gửi lại đúng nội dung với cùng khoá sau một lúc. Không ai phải thay đổi gì; bộ kết nối tự gửi lại.",
            },
            Self::Mended => Bilingual {
                en: "Yes, when somebody has put right what was in its way. At the gateway with the same key; at an adapter, which keeps the outcome of a key, with a new one.",
                vi: "Được, sau khi nguyên nhân đã được khắc phục. Gọi thẳng trục thì dùng cùng khoá; qua bộ kết nối, nơi lưu kết quả theo khoá, thì dùng khoá mới.",
            },
            Self::Corrected => Bilingual {
                en: "Not as it is: correct the request. At the gateway the key is still free; at an adapter, which keeps the outcome of a key, use a new one.",
                vi: "Không gửi lại nguyên trạng: sửa yêu cầu trước. Gọi thẳng trục thì khoá vẫn dùng được; qua bộ kết nối, nơi lưu kết quả theo khoá, thì dùng khoá mới.",
            },
            Self::Never => Bilingual {
                en: "No: it would be refused for ever.",
                vi: "Không: gửi lại vẫn luôn bị từ chối.",
            },
        }
    }
}

const fn page(again: Again, details: &'static [&'static str], en: &'static str, vi: &'static str) -> Page {
    Page { cause: Bilingual { en, vi }, again, details }
}

impl Reason {
    /// What the reference adds to its texts.
    pub const fn page(self) -> Page {
        use Again::{Corrected, Mended, Never, Unchanged};
        match self {
            Self::CertificateWithoutIdentity => page(
                Mended,
                &["trust_domain"],
                "The TLS certificate is of a CA that the bus accepts, but cannot be read in full, or has a SPIFFE id beside another URI: it may name one system only. One without a SPIFFE id is SYSTEM_UNKNOWN until the registry binds its key.",
                "Chứng thư TLS do CA mà trục chấp nhận cấp, nhưng không đọc được đầy đủ, hoặc có SPIFFE ID bên cạnh một URI khác: chỉ được nêu một hệ thống. Chứng thư không có SPIFFE ID là SYSTEM_UNKNOWN cho đến khi sổ đăng ký gắn khoá của nó.",
            ),
            Self::CertificateNotVouched => page(
                Mended,
                &["bundle", "spiffe_id", "issuer", "key_sha256", "system"],
                "The certificate chains to a trust bundle whose `systems` in the gateway's [[tls.trust]] does not list the system it names, or it names another trust domain.",
                "Chứng thư thuộc gói tin cậy mà danh sách `systems` trong [[tls.trust]] của trục không có hệ thống này, hoặc chứng thư nêu miền tin cậy khác.",
            ),
            Self::CertificateRevoked => page(
                Never,
                &[],
                "An operator revoked the certificate or its key, over the bus or by a revocation list. Copies of the key on other machines are out as well.",
                "Đơn vị vận hành đã thu hồi chứng thư hoặc khoá, qua trục hoặc bằng danh sách thu hồi. Bản sao của khoá trên máy khác cũng hết hiệu lực.",
            ),
            Self::TokenInvalid => page(
                Mended,
                &[],
                "The token was cut off in copying, is older than ca.token_valid_s, was withdrawn by an operator, or belongs to another bus.",
                "Mã bị thiếu khi sao chép, quá thời hạn ca.token_valid_s, đã bị đơn vị vận hành thu hồi, hoặc thuộc trục khác.",
            ),
            Self::TokenSpent => page(
                Mended,
                &["system", "certificate_sha256"],
                "Somebody joined with this token and another key: a second installation, a lost state folder, or a stranger who saw the token. An operator meets it when withdrawing a token that was used.",
                "Đã có nơi dùng mã này với khoá khác: bản cài đặt thứ hai, mất thư mục trạng thái, hoặc người lạ thấy mã. Đơn vị vận hành gặp lý do này khi huỷ một mã đã dùng.",
            ),
            Self::TokenNotFound => page(
                Corrected,
                &[],
                "An operator named a token id that was never issued here. The id is what `lgsp certs list` shows, not the token itself.",
                "Đơn vị vận hành nêu số mã chưa từng được cấp ở đây. Số mã là số hiện trong `lgsp certs list`, không phải bản thân mã.",
            ),
            Self::SigningRequestInvalid => page(
                Corrected,
                &[],
                "The certificate request is no PKCS #10 in DER, is not signed by its own key, or the key is not ECDSA P-256 (RSA is not taken).",
                "Yêu cầu cấp chứng thư không phải PKCS #10 dạng DER, không do chính khoá đó ký, hoặc khoá không phải ECDSA P-256 (không nhận RSA).",
            ),
            Self::CertificateNotFound => page(
                Corrected,
                &["system"],
                "An operator wants to revoke a certificate by a digest that was neither issued by this gateway nor shown to it.",
                "Đơn vị vận hành muốn thu hồi chứng thư theo mã băm mà trục này chưa cấp và cũng chưa từng thấy.",
            ),
            Self::CaNotConfigured => page(
                Mended,
                &["cause", "key"],
                "[ca] dir is empty, its CA has expired or chains to no trust bundle, or listen.enrol is not set, so that nobody could join with the token.",
                "[ca] dir trống, CA trong đó đã hết hạn hoặc không thuộc gói tin cậy nào, hoặc chưa đặt listen.enrol nên không ai tham gia được bằng mã.",
            ),
            Self::RenewedElsewhere => page(
                Never,
                &["bundle", "system"],
                "A system asked the gateway to renew a certificate that an agency's own CA issued. Only the CA that issued it can.",
                "Hệ thống yêu cầu trục gia hạn chứng thư do CA riêng của cơ quan cấp. Chỉ CA đã cấp mới gia hạn được.",
            ),
            Self::RevocationLocksOut => page(
                Corrected,
                &["issuing_ca", "your_ca", "own_key", "nobody_could"],
                "The key to be revoked is the gateway's own, its CA's, or that of the last system that may certify or operate.",
                "Khoá định thu hồi là khoá của chính trục, của CA, hoặc của hệ thống cuối cùng còn quyền cấp chứng thư hay vận hành.",
            ),
            Self::SystemUnknown => page(
                Mended,
                &["system", "spiffe_id", "issuer", "key_sha256", "owner", "owner_name"],
                "The certificate is good, but systems.toml has no system of this name in force on that day, or the registry in force is not the one you think.",
                "Chứng thư hợp lệ, nhưng systems.toml không có hệ thống tên này còn hiệu lực vào ngày đó, hoặc bản sổ đăng ký đang áp dụng không phải bản bạn nghĩ.",
            ),
            Self::ActsForMissing => page(
                Mended,
                &["party", "system", "owner", "owner_name", "service"],
                "acting_party (LGSP-Party at an adapter) names a party that acts_for of this system in systems.toml does not list, or that is not among the adapter's own `parties`.",
                "acting_party (LGSP-Party ở bộ kết nối) nêu cơ quan không có trong acts_for của hệ thống tại systems.toml, hoặc không thuộc `parties` của bộ kết nối.",
            ),
            Self::GrantMissing => page(
                Mended,
                &["right", "party", "procedure", "service", "purpose", "fields", "can_i", "owner", "owner_name"],
                "No grant in grants.toml gives this party the right for this procedure or service on that day. A department, for one, may decide but not take in.",
                "Không có quyền nào trong grants.toml cho cơ quan này với thủ tục hoặc dịch vụ đó vào ngày ấy. Ví dụ: một sở được giải quyết nhưng không được tiếp nhận.",
            ),
            Self::RoleMissing => page(
                Mended,
                &["roles", "held", "successor", "dossier_code"],
                "The party knows the dossier, but another one has the say now: the desk that took it in cannot decide it, the authority cannot hand out at another's desk.",
                "Cơ quan biết hồ sơ nhưng lúc này việc thuộc cơ quan khác: nơi tiếp nhận không được giải quyết, cơ quan giải quyết không trả kết quả tại nơi khác.",
            ),
            Self::SignatureInvalid => page(
                Corrected,
                &["system", "spiffe_id", "issuer", "key_sha256"],
                "What was signed is not what was sent (bytes encoded a second time, another purpose), or the key is not that of the TLS client certificate. Adapters sign for you.",
                "Nội dung ký không phải nội dung gửi (mã hoá lại lần hai, khác mục đích ký), hoặc khoá ký không phải khoá của chứng thư TLS. Bộ kết nối ký thay bạn.",
            ),
            Self::Malformed => page(
                Corrected,
                &[],
                "The bytes are no message of this service: damaged Protobuf on the bus, or at an adapter JSON with a wrong type, an unknown field or a missing one.",
                "Dãy byte không phải thông điệp của dịch vụ: Protobuf hỏng trên trục, hoặc JSON sai kiểu, thừa hay thiếu trường tại bộ kết nối.",
            ),
            Self::MessageTooLarge => page(
                Corrected,
                &["limit_bytes"],
                "A document was put into the body of a submission, an entry or a JSON request instead of being uploaded on its own.",
                "Tài liệu được đặt trong thân hồ sơ, sự kiện hoặc yêu cầu JSON thay vì tải lên riêng.",
            ),
            Self::FieldInvalid => page(
                Corrected,
                &["problems"],
                "A field or header is missing, has the wrong form (a code, a date, an identifier), or contradicts another one. All of them are named, none of the values is repeated.",
                "Một trường hoặc tiêu đề bị thiếu, sai dạng (mã, ngày, số định danh) hoặc mâu thuẫn với trường khác. Tất cả được nêu tên, không nhắc lại giá trị.",
            ),
            Self::ProcedureUnknown => page(
                Mended,
                &[],
                "The code is mistyped, or the province's registry has not taken the procedure in yet.",
                "Gõ sai mã, hoặc sổ đăng ký của tỉnh chưa có thủ tục này.",
            ),
            Self::ProcedureAbolished => page(
                Corrected,
                &["successor"],
                "received_at lies after the last day of the procedure: software that still offers an old list, or a decision of abolition that came meanwhile.",
                "received_at sau ngày cuối cùng thủ tục có hiệu lực: phần mềm còn dùng danh mục cũ, hoặc vừa có quyết định bãi bỏ.",
            ),
            Self::ProcedureNotYetInForce => page(
                Corrected,
                &["valid_from"],
                "received_at lies before the first day of the procedure: it was announced, and is not in force yet.",
                "received_at trước ngày thủ tục có hiệu lực: thủ tục đã công bố nhưng chưa áp dụng.",
            ),
            Self::CaseUnknown => page(
                Corrected,
                &["cases"],
                "case_code names a case that this procedure does not have; cases belong to a procedure and are not shared.",
                "case_code nêu trường hợp mà thủ tục này không có; mỗi thủ tục có danh sách trường hợp riêng.",
            ),
            Self::ComponentMissing => page(
                Corrected,
                &["components"],
                "The list of components lacks one that the procedure, or the case chosen, makes compulsory: its `code` is left out or spelt otherwise.",
                "Danh sách thành phần thiếu thành phần bắt buộc của thủ tục hoặc của trường hợp đã chọn: thiếu `code` hoặc ghi sai.",
            ),
            Self::UnitUnknown => page(
                Corrected,
                &[],
                "The code is well formed, but no unit of that code is in units.toml, or not yet on that day: a slip, or a list from elsewhere.",
                "Mã đúng dạng nhưng units.toml không có đơn vị này, hoặc vào ngày đó chưa có: gõ nhầm, hoặc danh mục của nơi khác.",
            ),
            Self::UnitCeased => page(
                Corrected,
                &["successor"],
                "The unit was merged before the day of reception: an address list from before the merger.",
                "Đơn vị đã được sáp nhập trước ngày tiếp nhận: danh mục địa chỉ còn cũ.",
            ),
            Self::PartyUnknown => page(
                Mended,
                &["successor"],
                "return_desk, a support point or another party that the request names does not exist in parties.toml, or has passed to a successor.",
                "return_desk, điểm đại lý hoặc cơ quan khác nêu trong yêu cầu không có trong parties.toml, hoặc đã chuyển sang cơ quan kế thừa.",
            ),
            Self::NoRoute => page(
                Mended,
                &["why_en", "why_vi"],
                "routes.toml has no rule that leads from this procedure and locality to an authority that may decide it on that day.",
                "routes.toml không có quy tắc nào dẫn từ thủ tục và địa bàn này đến cơ quan được giải quyết vào ngày đó.",
            ),
            Self::DocumentUnknown => page(
                Mended,
                &[],
                "The digest was never uploaded, was not uploaded to the end (what nobody goes on with for a week is swept), or was uploaded in another party's name.",
                "Tài liệu chưa được tải lên, chưa tải xong (phần tải dở quá một tuần bị dọn), hoặc được tải lên dưới tên cơ quan khác.",
            ),
            Self::DocumentDigestMismatch => page(
                Corrected,
                &["missing_bytes"],
                "The SHA-256 or the size was computed over something else: a file that changed meanwhile, its Base64 text, or a part of it.",
                "SHA-256 hoặc kích thước được tính trên nội dung khác: tệp đã thay đổi, bản Base64, hoặc chỉ một phần.",
            ),
            Self::DocumentOfAnotherDossier => page(
                Corrected,
                &[],
                "The digest belongs to another dossier already. An upload serves one dossier; the same paper for a second one is uploaded again.",
                "Mã băm đã thuộc hồ sơ khác. Mỗi lượt tải lên dùng cho một hồ sơ; cùng giấy tờ cho hồ sơ thứ hai phải tải lên lại.",
            ),
            Self::DocumentNotFound => page(
                Corrected,
                &[],
                "The digest is none of those listed with the dossier; a digest alone opens nothing.",
                "Mã băm không có trong danh sách của hồ sơ; chỉ có mã băm thì không mở được gì.",
            ),
            Self::DocumentOffsetWrong => page(
                Corrected,
                &["offset"],
                "An upload was taken up again at another offset than the gateway has on disk; what was on its way when the line broke did not arrive.",
                "Tiếp tục tải lên từ vị trí khác với phần trục đã ghi; phần đang gửi khi đứt kết nối chưa đến nơi.",
            ),
            Self::DocumentTooLarge => page(
                Corrected,
                &["max_bytes", "limit_bytes"],
                "The size announced is above documents.max_bytes of the gateway, or spool.max_document_mib of the adapter.",
                "Kích thước báo trước vượt documents.max_bytes của trục hoặc spool.max_document_mib của bộ kết nối.",
            ),
            Self::TimeTooFarBack => page(
                Corrected,
                &["now", "last_event", "why"],
                "received_at or occurred_at lies further back than is taken in late, or before what was recorded last about the dossier: a clock that is slow, or a wrong day.",
                "received_at hoặc occurred_at lùi quá mức cho phép, hoặc trước sự kiện gần nhất của hồ sơ: đồng hồ chạy chậm hoặc nhầm ngày.",
            ),
            Self::TimeAhead => page(
                Corrected,
                &["now"],
                "received_at or occurred_at lies ahead of the gateway's business clock: a clock that is fast, or a local time written without +07:00.",
                "received_at hoặc occurred_at sau đồng hồ nghiệp vụ của trục: đồng hồ chạy nhanh, hoặc giờ địa phương ghi thiếu +07:00.",
            ),
            Self::CalendarNotCovering => page(
                Mended,
                &["year"],
                "The due date, or a date promised, falls into a year for which calendars.toml has no holidays yet.",
                "Hạn trả hoặc ngày hẹn rơi vào năm mà calendars.toml chưa có ngày nghỉ.",
            ),
            Self::KeyReused => page(
                Corrected,
                &[],
                "The software gives the same key to two requests, or builds the body anew when it sends again (a fresh time, another order of fields).",
                "Phần mềm dùng một khoá cho hai yêu cầu, hoặc dựng lại nội dung khi gửi lại (thời điểm mới, thứ tự trường khác).",
            ),
            Self::StaleVersion => page(
                Corrected,
                &["sequence", "version", "base"],
                "expected_sequence (If-Match at an adapter) or the registry version a plan was made against is not the latest any more: somebody else was faster.",
                "expected_sequence (If-Match ở bộ kết nối) hoặc phiên bản sổ đăng ký làm căn cứ không còn là mới nhất: đã có người ghi trước.",
            ),
            Self::IllegalTransition => page(
                Corrected,
                &["status", "allowed"],
                "The act has no row in the table of transitions for the dossier's status: deciding before accepting, returning before resolving, anything after an end.",
                "Bảng chuyển trạng thái không cho việc này ở trạng thái hiện tại: giải quyết trước khi tiếp nhận, trả trước khi có kết quả, ghi nhận sau khi kết thúc.",
            ),
            Self::SupplementStillOpen => page(
                Mended,
                &["until"],
                "The authority records supplement_expired before the term it gave the citizen has passed on the business clock.",
                "Cơ quan ghi supplement_expired trước khi hết thời hạn bổ sung đã cho người dân theo đồng hồ nghiệp vụ.",
            ),
            Self::ExtensionUsed => page(
                Never,
                &["why"],
                "The authority records extended for a second time.",
                "Cơ quan ghi extended lần thứ hai.",
            ),
            Self::ExtensionNotAllowed => page(
                Corrected,
                &["why"],
                "new_due_at is not later than the date promised or lies outside working hours, the date has passed already, or the clock stands still.",
                "new_due_at không muộn hơn ngày đã hẹn hoặc ngoài giờ làm việc, đã quá hạn, hoặc thời hạn đang tạm dừng.",
            ),
            Self::PauseNotAllowed => page(
                Corrected,
                &["why", "open"],
                "paused names a cause for which the clock stands still already, resumed one for which it does not, or a cause that has events of its own (supplement, fee), or before reception anything but paper on its way.",
                "paused nêu lý do đang tạm dừng sẵn, resumed nêu lý do không đang tạm dừng, hoặc lý do có sự kiện riêng (bổ sung, phí), hoặc trước tiếp nhận mà không phải giấy tờ đang chuyển.",
            ),
            Self::CodeNotLeased => page(
                Corrected,
                &["authority", "day", "epoch"],
                "The software makes up dossier codes itself, uses a number leased to another desk or for another day, or one that is given out.",
                "Phần mềm tự đặt mã hồ sơ, dùng số cấp cho bộ phận khác hoặc ngày khác, hoặc số đã dùng.",
            ),
            Self::AliasTaken => page(
                Corrected,
                &[],
                "The code of another system (the portal's, an agency's own) is carried by a dossier already: the same matter was handed in twice, or two systems count alike.",
                "Mã của hệ thống khác (cổng, hệ thống riêng) đã gắn với một hồ sơ: cùng việc nộp hai lần, hoặc hai hệ thống đánh số trùng.",
            ),
            Self::EarlierReceiptInvalid => page(
                Corrected,
                &[],
                "`earlier` holds a receipt with another key or other bytes, of another gateway, or one whose signature does not hold.",
                "`earlier` chứa biên nhận của khoá hoặc nội dung khác, của trục khác, hoặc chữ ký không hợp lệ.",
            ),
            Self::EarlierEventsMissing => page(
                Unchanged,
                &["dossier_code", "sequence", "next_sequence"],
                "The gateway was restored from a backup, and whoever recorded the event before this one has not sent it again yet.",
                "Trục được khôi phục từ bản sao lưu, và nơi đã ghi sự kiện trước đó chưa gửi lại.",
            ),
            Self::EpochConflict => page(
                Never,
                &["dossier_code", "sequence"],
                "The gateway was restored from a backup, and somebody recorded something else at this place before the receipt came back.",
                "Trục được khôi phục từ bản sao lưu, và nơi khác đã ghi nội dung khác vào vị trí này trước khi biên nhận được gửi lại.",
            ),
            Self::NumbersExhausted => page(
                Mended,
                &["authority", "day"],
                "All numbers that the gateway may give out for the authority and the day are used up: 99,999, fewer where the authority has a range of its own or after a restore. Usually a loop that submits under ever new keys.",
                "Đã dùng hết các số trục được cấp cho cơ quan trong ngày: 99.999, ít hơn nếu cơ quan có dải riêng hoặc sau khi khôi phục. Thường do vòng lặp nộp với khoá luôn mới.",
            ),
            Self::NumbersNotLeasable => page(
                Corrected,
                &["from", "to"],
                "A desk asks for numbers for a day that is past or too far ahead, or for a party that is no authority in force on that day.",
                "Bộ phận xin số cho ngày đã qua hoặc quá xa, hoặc cho cơ quan không còn hiệu lực vào ngày đó.",
            ),
            Self::DossierNotFound => page(
                Corrected,
                &[],
                "The code is mistyped, or the party takes no part in the dossier; both get the same answer, so that nobody can search for codes.",
                "Gõ sai mã, hoặc cơ quan không tham gia hồ sơ; hai trường hợp trả lời như nhau để không ai dò được mã.",
            ),
            Self::PageTokenInvalid => page(
                Corrected,
                &[],
                "A page token was changed, shortened, or used with other filters than those it was given for.",
                "Mã trang bị thay đổi, bị cắt, hoặc dùng với bộ lọc khác lúc được cấp.",
            ),
            Self::StreamProtocol => page(
                Corrected,
                &["rule"],
                "A client that speaks to the bus itself began a stream with something else than its opening message, or opened it twice.",
                "Phần mềm gọi thẳng trục mở luồng bằng thông điệp khác với thông điệp mở, hoặc mở hai lần.",
            ),
            Self::DeliveryUnknown => page(
                Corrected,
                &[],
                "A delivery is acknowledged or refused that this adapter does not hold for the party: acknowledged before, another adapter's, or a wrong delivery_id.",
                "Xác nhận hoặc từ chối bản tin mà bộ kết nối không giữ cho cơ quan: đã xác nhận trước, thuộc bộ kết nối khác, hoặc sai delivery_id.",
            ),
            Self::InstanceInUse => page(
                Mended,
                &["system", "instance"],
                "Two adapters run with the same certificate name and the same `instance`, each with a spool of its own; or a spool was lost and the old connection is not over yet.",
                "Hai bộ kết nối chạy cùng tên chứng thư và cùng `instance` nhưng khác kho tạm; hoặc kho tạm bị mất và kết nối cũ chưa kết thúc.",
            ),
            Self::ParkedNotFound => page(
                Corrected,
                &["party", "dossier_code", "sequence"],
                "An operator handles a parked delivery that is none: released by somebody else, or another party or delivery than the list names.",
                "Đơn vị vận hành xử lý bản tin không bị tạm dừng giao: đã có người xử lý, hoặc nhầm cơ quan hay bản tin.",
            ),
            Self::ParkedHeld => page(
                Mended,
                &["dossier_code", "instance", "party", "system"],
                "An operator handles a parked delivery while an adapter that is not connected still has it on its disk.",
                "Đơn vị vận hành xử lý bản tin trong khi một bộ kết nối đang mất kết nối vẫn giữ bản tin trên đĩa.",
            ),
            Self::RegistryInvalid => page(
                Corrected,
                &["problems"],
                "The registry files contradict themselves or each other; every problem is a field with file and line. `lgsp registry check` finds the same without a gateway.",
                "Các tệp sổ đăng ký mâu thuẫn; mỗi lỗi là một trường nêu tệp và dòng. `lgsp registry check` tìm ra như vậy mà không cần trục.",
            ),
            Self::RegistryMissing => page(
                Mended,
                &[],
                "A new gateway was started without registry.first, and nobody has applied a registry yet.",
                "Trục mới khởi động không có registry.first và chưa ai áp dụng sổ đăng ký.",
            ),
            Self::RegistryVersionUnknown => page(
                Corrected,
                &["version"],
                "A version is read or rolled back to that was never applied here; `lgsp registry versions` lists them.",
                "Đọc hoặc quay về phiên bản chưa từng áp dụng ở đây; `lgsp registry versions` liệt kê các phiên bản.",
            ),
            Self::RegistryLocksOut => page(
                Corrected,
                &["nobody_could", "you_could_not"],
                "After this change nobody with a certificate, or not you any more, would have one of the rights that keep the bus in order.",
                "Sau thay đổi này không còn ai có chứng thư, hoặc chính bạn, giữ một trong các quyền quản trị trục.",
            ),
            Self::Overloaded => page(
                Unchanged,
                &["cause", "party", "streams_max"],
                "Too many calls, uploads or waiting admissions at once at the gateway (limits.*), or at the adapter (rest.max_requests, spool.max_outgoing).",
                "Quá nhiều lời gọi, lượt tải lên hoặc yêu cầu chờ cùng lúc tại trục (limits.*) hoặc bộ kết nối (rest.max_requests, spool.max_outgoing).",
            ),
            Self::QuotaExceeded => page(
                Unchanged,
                &["set_by", "at_once", "per_second", "party", "system", "retry_after_ms"],
                "One party or one system sends more, or more at once, than its share; `set_by` says where the share is set. Others are not slowed down by it.",
                "Một cơ quan hoặc hệ thống gửi nhiều hơn, hoặc đồng thời nhiều hơn, phần của mình; `set_by` cho biết hạn mức đặt ở đâu. Nơi khác không bị ảnh hưởng.",
            ),
            Self::ReadOnly => page(
                Unchanged,
                &["cause", "free_bytes", "needed_bytes", "connections_cut", "out_of_force"],
                "The disk of the store is nearly full (cause disk_full), or a write failed and the node waits to be started again (cause write_failed).",
                "Đĩa của kho sắp đầy (cause disk_full), hoặc ghi lỗi và máy chủ chờ khởi động lại (cause write_failed).",
            ),
            Self::OutcomeUnknown => page(
                Unchanged,
                &["deadline_ms", "connections_cut", "out_of_force"],
                "The disk failed in the middle of writing, a handler broke, or the caller's deadline (grpc-timeout) ran out first.",
                "Đĩa lỗi giữa lúc ghi, xử lý bị hỏng, hoặc hết thời gian chờ của bên gọi (grpc-timeout).",
            ),
            Self::ShuttingDown => page(
                Unchanged,
                &[],
                "The operator is restarting the gateway.",
                "Đơn vị vận hành đang khởi động lại trục.",
            ),
            Self::ContentErased => page(
                Never,
                &[],
                "The key of this dossier was destroyed by an erasure (`lgsp dossier erase`); what is sealed with it is gone everywhere.",
                "Khoá của hồ sơ đã bị huỷ khi xoá nội dung (`lgsp dossier erase`); nội dung niêm phong bằng khoá đó không còn ở đâu.",
            ),
            Self::DossierOpen => page(
                Mended,
                &["status"],
                "An operator wants to erase a dossier that somebody still works on.",
                "Đơn vị vận hành muốn xoá hồ sơ vẫn đang được giải quyết.",
            ),
            Self::DossierArchived => page(
                Never,
                &["archive", "dossier_code", "erased"],
                "The dossier was closed longer ago than retention.archive_after_days, so its content moved from the index to an archive file.",
                "Hồ sơ kết thúc lâu hơn retention.archive_after_days nên nội dung đã chuyển sang tệp lưu trữ.",
            ),
            Self::ServiceUnknown => page(
                Corrected,
                &["service", "version"],
                "services.toml has no service of that name, or not the version that was asked for, or none that is in force today.",
                "services.toml không có dịch vụ tên này, không có bản được hỏi, hoặc hôm nay không có bản nào có hiệu lực.",
            ),
            Self::ServiceNotServed => page(
                Unchanged,
                &["owner", "owner_name", "service"],
                "The owner's connector is not running, has no line, or does not name this version in its configuration.",
                "Bộ kết nối của cơ quan chủ quản không chạy, mất kết nối, hoặc không khai bản này trong cấu hình.",
            ),
            Self::ServiceBusy => page(
                Unchanged,
                &["at_once", "owner", "owner_name", "retry_after_ms", "service"],
                "As many questions as its `concurrency` in services.toml, or as its connectors take at once, wait for an answer of this service.",
                "Số câu hỏi đang chờ dịch vụ này trả lời đã bằng `concurrency` trong services.toml hoặc bằng mức các bộ kết nối nhận cùng lúc.",
            ),
            Self::ServiceSuspended => page(
                Unchanged,
                &["owner", "owner_name", "retry_after_ms", "service"],
                "Half of the latest questions to this service failed or were not answered in time; after a pause one is tried.",
                "Một nửa số câu hỏi gần đây đến dịch vụ này bị lỗi hoặc không có trả lời kịp thời; sau một lúc sẽ thử lại một câu.",
            ),
            Self::QueryOutcomeUnknown => page(
                Mended,
                &["cause", "owner", "owner_name", "query_id", "service"],
                "The service was too slow, its connector lost its line after the question was sent, or the answer could not be put on record (cause not_recorded).",
                "Dịch vụ quá chậm, bộ kết nối mất kết nối sau khi câu hỏi đã gửi đi, hoặc câu trả lời không ghi được (cause not_recorded).",
            ),
            Self::SubjectNotFound => page(
                Corrected,
                &["owner", "owner_name", "query_id", "service"],
                "The owner's software answers NOT_FOUND: a slip in what was typed, or somebody who is not on its books.",
                "Phần mềm của cơ quan chủ quản trả lời NOT_FOUND: gõ nhầm, hoặc đối tượng không có trong cơ sở dữ liệu.",
            ),
            Self::SubjectAmbiguous => page(
                Corrected,
                &["owner", "owner_name", "query_id", "service"],
                "The owner's software answers AMBIGUOUS: what was given fits more than one, such as a common name without a number.",
                "Phần mềm của cơ quan chủ quản trả lời AMBIGUOUS: thông tin khớp nhiều đối tượng, ví dụ họ tên phổ biến mà không kèm số định danh.",
            ),
            Self::SubjectMismatch => page(
                Corrected,
                &["owner", "owner_name", "query_id", "service"],
                "The owner's software answers MISMATCH: the number is known, and belongs to another name or day of birth.",
                "Phần mềm của cơ quan chủ quản trả lời MISMATCH: số định danh có thật nhưng thuộc họ tên hoặc ngày sinh khác.",
            ),
            Self::SubjectLocked => page(
                Mended,
                &["owner", "owner_name", "query_id", "service"],
                "The owner's software answers LOCKED: the record is in dispute, closed, or under correction.",
                "Phần mềm của cơ quan chủ quản trả lời LOCKED: bản ghi đang tranh chấp, đã đóng, hoặc đang đính chính.",
            ),
            Self::ClerkNotAuthorised => page(
                Mended,
                &["owner", "owner_name", "query_id", "service"],
                "The owner's software answers CLERK_NOT_AUTHORISED: it keeps a list of accounts of its own, and `actor` is not on it.",
                "Phần mềm của cơ quan chủ quản trả lời CLERK_NOT_AUTHORISED: nơi đó có danh sách tài khoản riêng và `actor` không có trong đó.",
            ),
            Self::PurposeNotPermitted => page(
                Mended,
                &["owner", "owner_name", "query_id", "service"],
                "The owner's software answers PURPOSE_NOT_PERMITTED: the bus grants the purpose, the owner has narrower rules.",
                "Phần mềm của cơ quan chủ quản trả lời PURPOSE_NOT_PERMITTED: trục đã cấp mục đích này nhưng nơi đó quy định hẹp hơn.",
            ),
            Self::ServiceQuotaExceeded => page(
                Unchanged,
                &["owner", "owner_name", "query_id", "service"],
                "The owner's software answers QUOTA: the owner, or the national system behind it, has a limit of its own.",
                "Phần mềm của cơ quan chủ quản trả lời QUOTA: nơi đó, hoặc hệ thống quốc gia phía sau, có hạn mức riêng.",
            ),
            Self::ServiceMaintenance => page(
                Unchanged,
                &["owner", "owner_name", "query_id", "service"],
                "The owner's software answers MAINTENANCE.",
                "Phần mềm của cơ quan chủ quản trả lời MAINTENANCE.",
            ),
            Self::ServiceFailed => page(
                Mended,
                &["owner", "owner_name", "query_id", "service"],
                "The owner's software has an error, or its reply is too long or not what the reply schema in the registry says. The gateway's log says which.",
                "Phần mềm của cơ quan chủ quản gặp lỗi, hoặc trả lời quá dài hay sai lược đồ trong sổ đăng ký. Nhật ký của trục ghi rõ trường hợp nào.",
            ),
            Self::QueryNotFound => page(
                Corrected,
                &[],
                "The query id is mistyped, or the party neither asked nor is the authority of the dossier; both get the same answer.",
                "Gõ sai mã, hoặc cơ quan không phải bên hỏi cũng không phải cơ quan giải quyết hồ sơ; hai trường hợp trả lời như nhau.",
            ),
            Self::Internal => page(
                Unchanged,
                &["connections_cut", "out_of_force"],
                "A fault of the gateway or of its disk, such as a document file that is damaged. Its log has an error with the cause; the caller gets no internals.",
                "Lỗi của trục hoặc đĩa của trục, ví dụ tệp tài liệu bị hỏng. Nhật ký của trục ghi nguyên nhân; bên gọi không nhận chi tiết nội bộ.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_speaks_both_languages() {
        for reason in Reason::ALL {
            let page = reason.page();
            for text in [page.cause, page.again.sentence()] {
                assert!(!text.en.is_empty() && text.en.is_ascii(), "{reason}: English");
                assert!(!text.vi.is_ascii(), "{reason}: Vietnamese");
            }
        }
    }

    #[test]
    fn what_may_be_sent_again_unchanged_is_what_passes_by_itself() {
        for reason in Reason::ALL {
            assert_eq!(reason.page().again == Again::Unchanged, reason.is_transient(), "{reason}");
        }
    }

    #[test]
    fn a_fact_is_listed_once() {
        for reason in Reason::ALL {
            let mut details = reason.page().details.to_vec();
            details.sort_unstable();
            details.dedup();
            assert_eq!(details.len(), reason.page().details.len(), "{reason}");
        }
    }
}
