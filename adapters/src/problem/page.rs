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
                "rest.token_file is set, and the call has no Authorization header, another token, or one with a line break or quotes around it.",
                "Đã đặt rest.token_file mà lời gọi thiếu tiêu đề Authorization, sai mã, hoặc mã kèm xuống dòng hay dấu nháy.",
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
                "The upload was finished, discarded, begun by another party, or left alone for too long.",
                "Lượt tải lên đã xong, đã huỷ, do cơ quan khác bắt đầu, hoặc bị bỏ quá lâu.",
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
                "A file lies in the outbox by itself, a folder has no request.json, or its name is not plain.",
                "Trong outbox có tệp nằm riêng, thư mục thiếu request.json, hoặc tên không đơn giản.",
            ),
            Self::FolderFileUnusable => page(
                Corrected,
                &[],
                "request.json names a document that is not in the folder, is a link, is empty, or changed while it was read.",
                "request.json nêu tài liệu không có trong thư mục, là liên kết, rỗng, hoặc thay đổi trong lúc đọc.",
            ),
        }
    }
}
