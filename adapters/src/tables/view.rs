//! How the tables are, for operators: what is the matter, since when, and what waits. No names: they are the agency's.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lgsp_proto::reason::Bilingual;
use serde::Serialize;
use utoipa::ToSchema;

use crate::trouble::{self, TroubleJson, Troubles, Way};

/// Why the tables cannot be worked with just now. It ends by itself when its cause does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// The database does not answer, or not in time.
    Unreachable,
    /// It does not let the adapter in.
    LoginRefused,
    /// It is not one that `tables.bundle` vouches for, or it has no TLS.
    TlsFailed,
    /// The tables are not there, or not all of them.
    Missing,
    /// They are those of another version of the adapter.
    OtherVersion,
    /// The adapter's role lacks a right.
    Denied,
    /// A standby, or a database that was made read-only.
    ReadOnly,
    /// No room on its disk.
    DiskFull,
    /// Something else that the database says.
    Failing,
    /// The agency's software does not handle what was delivered.
    InboxFull,
    /// The gateway does not answer, and deliveries wait for their documents.
    NoDocuments,
}

impl trouble::Trouble for Trouble {
    fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "TABLES_UNREACHABLE",
            Self::LoginRefused => "TABLES_LOGIN_REFUSED",
            Self::TlsFailed => "TABLES_TLS_FAILED",
            Self::Missing => "TABLES_MISSING",
            Self::OtherVersion => "TABLES_OTHER_VERSION",
            Self::Denied => "TABLES_DENIED",
            Self::ReadOnly => "TABLES_READ_ONLY",
            Self::DiskFull => "TABLES_DISK_FULL",
            Self::Failing => "TABLES_FAILING",
            Self::InboxFull => "TABLES_INBOX_FULL",
            Self::NoDocuments => "TABLES_NO_DOCUMENTS",
        }
    }

    fn texts(self) -> Bilingual {
        match self {
            Self::Unreachable => Bilingual {
                en: "The agency's database does not answer; check that it runs, tables.host, tables.port, and the way there.",
                vi: "Cơ sở dữ liệu của cơ quan không trả lời; hãy kiểm tra nó có đang chạy, tables.host, tables.port và đường mạng.",
            },
            Self::LoginRefused => Bilingual {
                en: "The agency's database does not let the adapter in; check tables.user, tables.password_file, tables.database and pg_hba.conf.",
                vi: "Cơ sở dữ liệu của cơ quan từ chối đăng nhập; hãy kiểm tra tables.user, tables.password_file, tables.database và pg_hba.conf.",
            },
            Self::TlsFailed => Bilingual {
                en: "The agency's database is none that tables.bundle vouches for under its name, or it has no TLS 1.3; check both.",
                vi: "Chứng thư của cơ sở dữ liệu không được tables.bundle bảo đảm, hoặc máy chủ không có TLS 1.3; hãy kiểm tra cả hai.",
            },
            Self::Missing => Bilingual {
                en: "The tables are not there, or not all; make them with: lgsp adapter tables install --config adapter.toml.",
                vi: "Chưa có các bảng, hoặc thiếu; hãy tạo bằng: lgsp adapter tables install --config adapter.toml.",
            },
            Self::OtherVersion => Bilingual {
                en: "The tables are those of another version of the adapter; use the adapter that belongs to them, or move them to this one's version.",
                vi: "Các bảng thuộc phiên bản khác của bộ kết nối; hãy dùng đúng bộ kết nối hoặc nâng các bảng lên phiên bản này.",
            },
            Self::Denied => Bilingual {
                en: "The adapter's role lacks a right on the tables; run the GRANT lines of: lgsp adapter tables schema.",
                vi: "Tài khoản của bộ kết nối thiếu quyền trên các bảng; hãy chạy các lệnh GRANT của: lgsp adapter tables schema.",
            },
            Self::ReadOnly => Bilingual {
                en: "The agency's database takes no changes, as a standby does; name the primary in tables.host, or let it take them again.",
                vi: "Cơ sở dữ liệu của cơ quan chỉ cho đọc (máy dự phòng); hãy đặt tables.host là máy chính hoặc cho phép ghi lại.",
            },
            Self::DiskFull => Bilingual {
                en: "The disk of the agency's database is full; free some space.",
                vi: "Đĩa của cơ sở dữ liệu của cơ quan đã đầy; hãy giải phóng dung lượng.",
            },
            Self::Failing => Bilingual {
                en: "The agency's database fails; the adapter's log has the SQLSTATE, the database's own log the rest.",
                vi: "Cơ sở dữ liệu của cơ quan báo lỗi; nhật ký của bộ kết nối có mã SQLSTATE, chi tiết ở nhật ký của cơ sở dữ liệu.",
            },
            Self::InboxFull => Bilingual {
                en: "So many rows of inbox are not handled that no more are put there; have the agency's software set handled_at.",
                vi: "Trong inbox còn quá nhiều dòng chưa xử lý nên chưa chuyển thêm; hãy để phần mềm của cơ quan đặt handled_at.",
            },
            Self::NoDocuments => Bilingual {
                en: "Deliveries wait for documents that the gateway does not give just now; it goes on by itself when the line is well.",
                vi: "Bản tin chuyển đến đang chờ tài liệu mà trục chưa gửi được; sẽ tự tiếp tục khi đường truyền ổn định.",
            },
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct View(Mutex<Known>);

#[derive(Default)]
struct Known {
    troubles: Troubles<Trouble>,
    is_active: bool,
    looks: u64,
    not_taken_in: usize,
    held_back: Option<String>,
    rejected: u64,
    delivered: u64,
    inbox: usize,
}

/// The part of `/status` that is about the tables.
#[derive(Serialize, ToSchema)]
#[schema(as = TablesStatus)]
pub(crate) struct TablesJson {
    /// Whether this adapter takes in what is queued; while another one of the same tables does, it stands by.
    active: bool,
    /// How often the tables were looked at since the start.
    looks: u64,
    /// Requests that were not taken in at the last look.
    not_taken_in: usize,
    /// Why the first of them was not: a stable reason; absent when nothing is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_back: Option<String>,
    /// Requests refused since the start before they were taken in.
    rejected: u64,
    /// Deliveries written since the start.
    delivered: u64,
    /// Rows of the inbox that are not handled, as last counted.
    inbox: usize,
    /// What is the matter: `TABLES_UNREACHABLE`, `TABLES_LOGIN_REFUSED`, `TABLES_TLS_FAILED`, `TABLES_MISSING`,
    /// `TABLES_OTHER_VERSION`, `TABLES_DENIED`, `TABLES_READ_ONLY`, `TABLES_DISK_FULL`, `TABLES_FAILING`, `TABLES_INBOX_FULL`,
    /// `TABLES_NO_DOCUMENTS`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    troubles: Vec<TroubleJson>,
}

impl View {
    /// Notes how it went.
    pub(super) fn went(&self, way: Way, trouble: Option<Trouble>) {
        self.known().troubles.went("tables", way, trouble);
    }

    /// Notes that nothing is looked at any more, for now.
    pub(super) fn stopped(&self, trouble: Trouble) {
        self.went(Way::In, Some(trouble));
        self.known().is_active = false;
    }

    /// Notes what a look has found.
    pub(super) fn looked(&self, is_active: bool, not_taken_in: usize, held_back: Option<String>) {
        let mut known = self.known();
        known.looks += 1;
        (known.is_active, known.not_taken_in, known.held_back) = (is_active, not_taken_in, held_back);
    }

    /// Notes a request refused before it was taken in.
    pub(super) fn rejected(&self) {
        self.known().rejected += 1;
    }

    /// Notes a delivery that was written.
    pub(super) fn delivered(&self) {
        let mut known = self.known();
        known.delivered += 1;
        known.inbox += 1;
    }

    /// How many rows of the inbox are thought not to be handled.
    pub(super) fn inbox(&self) -> usize {
        self.known().inbox
    }

    /// Notes how many rows of the inbox are not handled.
    pub(super) fn counted(&self, inbox: usize) {
        self.known().inbox = inbox;
    }

    /// For `/status`.
    pub(super) fn to_json(&self) -> TablesJson {
        let known = self.known();
        TablesJson {
            active: known.is_active,
            looks: known.looks,
            not_taken_in: known.not_taken_in,
            held_back: known.held_back.clone(),
            rejected: known.rejected,
            delivered: known.delivered,
            inbox: known.inbox,
            troubles: known.troubles.to_json(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every holder writes plain values only.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
