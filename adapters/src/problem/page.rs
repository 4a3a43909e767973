//! What the reference says of the adapter's own reasons: how one comes to them, and whether the same may be sent again.

use lgsp_proto::page::{Again, Page};
use lgsp_proto::reason::Bilingual;

use super::LocalReason;

const fn page(again: Again, details: &'static [&'static str], en: &'static str, vi: &'static str) -> Page {
    Page { cause: Bilingual { en, vi }, again, details }
}

impl LocalReason {
    /// What the reference adds to its texts.
    pub(crate) const fn page(self) -> Page {
        use Again::{Corrected, Mended, Never, Unchanged};
        match self {
            Self::TokenInvalid => page(
                Corrected,
                &[],
                "The call has no Authorization header, another token, an access token that has expired, or one with a line break or quotes around it.",
                "Lời gọi thiếu tiêu đề Authorization, sai mã, mã truy cập đã hết hạn, hoặc mã kèm xuống dòng hay dấu nháy.",
            ),
            Self::ClientInvalid => page(
                Corrected,
                &[],
                "The name or the secret is mistyped, the client was removed, or its certificate is of a known CA but of no client.",
                "Gõ sai tên hoặc mã bí mật, phần mềm đã bị xoá, hoặc chứng thư do CA đã biết cấp nhưng không thuộc phần mềm nào.",
            ),
            Self::ClientPartyMissing => page(
                Mended,
                &[],
                "LGSP-Party names a party of this adapter that is not among those the client was added with.",
                "LGSP-Party nêu cơ quan của bộ kết nối này nhưng không nằm trong danh sách cơ quan của phần mềm.",
            ),
            Self::TooManyFailures => page(
                Unchanged,
                &["retry_after_ms"],
                "A program at this address goes on with an old token or secret, or somebody guesses.",
                "Một chương trình ở địa chỉ này vẫn dùng mã cũ, hoặc có người đoán mã.",
            ),
            Self::ResourceNotFound => page(
                Corrected,
                &[],
                "The path is mistyped, lacks /v1, or is that of a newer version than this adapter.",
                "Gõ sai đường dẫn, thiếu /v1, hoặc đường dẫn của phiên bản mới hơn bộ kết nối này.",
            ),
            Self::MethodNotAllowed => page(
                Corrected,
                &[],
                "The path is right and the method is not, such as PUT where a dossier is handed in by POST.",
                "Đường dẫn đúng nhưng sai phương thức, ví dụ dùng PUT trong khi nộp hồ sơ bằng POST.",
            ),
            Self::RequestNotFound => page(
                Corrected,
                &[],
                "The key was never handed in here, was handed in for another party, or its outcome is older than spool.keep_outcomes_hours.",
                "Khoá chưa từng được gửi ở đây, được gửi cho cơ quan khác, hoặc kết quả đã quá spool.keep_outcomes_hours.",
            ),
            Self::ExceptionNotFound => page(
                Corrected,
                &[],
                "Only an intake without a line that the gateway refused later is an exception; this key has none, or it is another party's.",
                "Chỉ hồ sơ tiếp nhận khi mất kết nối rồi bị trục từ chối mới là ngoại lệ; khoá này không có, hoặc thuộc cơ quan khác.",
            ),
            Self::ExceptionHandled => page(
                Never,
                &[],
                "Somebody has settled it already and wrote another note or named another replacement. The same words again are no fault.",
                "Đã có người xử lý với ghi chú hoặc hồ sơ thay thế khác. Gửi lại đúng nội dung cũ không phải lỗi.",
            ),
            Self::UploadNotFound => page(
                Corrected,
                &[],
                "The upload was discarded, was begun by another party, or was not complete within a day.",
                "Lượt tải lên đã huỷ, do cơ quan khác bắt đầu, hoặc quá một ngày chưa xong.",
            ),
            Self::UploadOffsetWrong => page(
                Corrected,
                &[],
                "Upload-Offset of a PATCH is not what HEAD answers, usually after a line that broke, or two programs add to one upload.",
                "Upload-Offset của PATCH khác giá trị HEAD trả về, thường sau khi đứt kết nối, hoặc hai chương trình cùng tải vào một lượt.",
            ),
            Self::RangeNotSatisfiable => page(
                Corrected,
                &[],
                "The Range header begins behind the end of the document.",
                "Tiêu đề Range bắt đầu sau phần cuối của tài liệu.",
            ),
            Self::WebhookNotFound => page(
                Mended,
                &[],
                "A trial names a party or a URL for which the adapter's configuration has no webhook.",
                "Thử webhook cho cơ quan hoặc địa chỉ không có trong cấu hình của bộ kết nối.",
            ),
            Self::GatewayUnreachable => page(
                Unchanged,
                &[],
                "The line is down, the gateway is being restarted, or a firewall closes its port. `/status` of the adapter says since when.",
                "Mất kết nối, trục đang khởi động lại, hoặc tường lửa chặn cổng. `/status` của bộ kết nối cho biết từ lúc nào.",
            ),
            Self::SpoolDiskFull => page(
                Unchanged,
                &["free_bytes", "needed_bytes"],
                "Less than spool.min_free_mib is free on the disk of the adapter's spool.",
                "Đĩa chứa kho tạm của bộ kết nối còn ít hơn spool.min_free_mib.",
            ),
            Self::SpoolRecordDamaged => page(
                Corrected,
                &[],
                "The adapter's disk gave back other bytes than were written: its own records carry checksums, and one does not hold.",
                "Đĩa của bộ kết nối trả về dữ liệu khác với lúc ghi: bản ghi có mã kiểm tra và một bản không khớp.",
            ),
            Self::FolderEntryInvalid => page(
                Corrected,
                &[],
                "A file lies in the outbox by itself, a folder may not be read or holds more than 201 files, or its name is not plain.",
                "Trong outbox có tệp nằm riêng, thư mục không đọc được hoặc có hơn 201 tệp, hoặc tên không đơn giản.",
            ),
            Self::FolderFileUnusable => page(
                Corrected,
                &[],
                "request.json is not in the folder, or it names a document that is not, is a link, has no known media type, or has another digest or size than said.",
                "Thư mục thiếu request.json, hoặc request.json nêu tài liệu không có trong thư mục, là liên kết, không rõ kiểu nội dung, hoặc khác mã băm hay kích thước đã nêu.",
            ),
            Self::TablesDocumentUnusable => page(
                Corrected,
                &[],
                "The body names a document of which outbox_document has no row, whose media type nothing says, or that went away while it was read.",
                "body nêu tài liệu không có dòng nào trong outbox_document, không rõ kiểu nội dung, hoặc bị xoá trong lúc đọc.",
            ),
        }
    }
}
