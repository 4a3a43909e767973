//! How the folder is, for operators: what is the matter, since when, and what waits. No names: they are the agency's.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lgsp_proto::reason::Bilingual;
use serde::Serialize;
use utoipa::ToSchema;

use crate::trouble::{self, TroubleJson, Troubles, Way};

/// Why the folder cannot be worked with just now. It ends by itself when its cause does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// The folder, or one of those in it, is not there.
    Gone,
    /// The adapter may not do what it has to.
    Denied,
    /// No room on its disk.
    DiskFull,
    /// Something else that the disk says.
    Failing,
    /// The agency's software does not take what was delivered.
    InboxFull,
    /// The gateway does not answer, and deliveries wait for their documents.
    NoDocuments,
}

impl Trouble {
    /// What a failure means.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Gone,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Failing,
        }
    }
}

impl trouble::Trouble for Trouble {
    fn word(self) -> &'static str {
        match self {
            Self::Gone => "FOLDER_GONE",
            Self::Denied => "FOLDER_DENIED",
            Self::DiskFull => "FOLDER_DISK_FULL",
            Self::Failing => "FOLDER_FAILING",
            Self::InboxFull => "FOLDER_INBOX_FULL",
            Self::NoDocuments => "FOLDER_NO_DOCUMENTS",
        }
    }

    fn texts(self) -> Bilingual {
        match self {
            Self::Gone => Bilingual {
                en: "The folder, or one of outbox, answers, inbox, done and rejected in it, is not there; mount it, or make them again.",
                vi: "Không thấy thư mục, hoặc thiếu outbox, answers, inbox, done hay rejected trong đó; hãy kết nối ổ đĩa hoặc tạo lại.",
            },
            Self::Denied => Bilingual {
                en: "The adapter may not read or write in the folder; let its account do both in all of outbox, answers, inbox, done and rejected.",
                vi: "Bộ kết nối không được đọc hoặc ghi trong thư mục; hãy cấp quyền cho tài khoản của nó ở outbox, answers, inbox, done và rejected.",
            },
            Self::DiskFull => Bilingual {
                en: "The folder's disk is full; free some space.",
                vi: "Đĩa chứa thư mục đã đầy; hãy giải phóng dung lượng.",
            },
            Self::Failing => Bilingual {
                en: "The folder's disk fails; see the adapter's log, and check the disk or the share.",
                vi: "Đĩa chứa thư mục bị lỗi; xem nhật ký của bộ kết nối và kiểm tra đĩa hoặc ổ chia sẻ.",
            },
            Self::InboxFull => Bilingual {
                en: "So many deliveries lie in inbox that no more are put there; have the agency's software take them, and remove what it has.",
                vi: "Trong inbox còn quá nhiều tệp nên chưa chuyển thêm; hãy để phần mềm của cơ quan nhận và xoá tệp đã nhận.",
            },
            Self::NoDocuments => Bilingual {
                en: "Deliveries wait for documents that the gateway does not give just now; it goes on by itself when the line is well.",
                vi: "Tệp chuyển đến đang chờ tài liệu mà trục chưa gửi được; sẽ tự tiếp tục khi đường truyền ổn định.",
            },
        }
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct View(Mutex<Known>);

#[derive(Default)]
struct Known {
    troubles: Troubles<Trouble>,
    held_back: Option<String>,
    looks: u64,
    not_taken_in: usize,
    under_way: usize,
    stuck: usize,
    rejected: u64,
    delivered: u64,
    inbox: usize,
}

/// The part of `/status` that is about the folder.
#[derive(Serialize, ToSchema)]
#[schema(as = FolderStatus)]
pub(crate) struct FolderJson {
    /// How often the outbox was looked at since the start.
    looks: u64,
    /// Requests in the outbox that were not taken in yet.
    not_taken_in: usize,
    /// Why the next of them is not: a stable reason; absent when nothing is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_back: Option<String>,
    /// Requests taken in that wait for the gateway's answer.
    under_way: usize,
    /// What is finished and could not be moved out of the outbox; somebody else owns it.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    stuck: usize,
    /// Requests rejected since the start.
    rejected: u64,
    /// Deliveries written since the start.
    delivered: u64,
    /// Files that lie in the inbox, as last counted.
    inbox: usize,
    /// What is the matter: `FOLDER_GONE`, `FOLDER_DENIED`, `FOLDER_DISK_FULL`, `FOLDER_FAILING`, `FOLDER_INBOX_FULL`,
    /// `FOLDER_NO_DOCUMENTS`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    troubles: Vec<TroubleJson>,
}

impl View {
    /// Notes how it went.
    pub(super) fn went(&self, way: Way, trouble: Option<Trouble>) {
        self.known().troubles.went("folder", way, trouble);
    }

    /// Notes what a look at the outbox has found.
    pub(super) fn looked(&self, not_taken_in: usize, under_way: usize, stuck: usize, held_back: Option<String>) {
        let mut known = self.known();
        known.looks += 1;
        (known.not_taken_in, known.under_way, known.stuck) = (not_taken_in, under_way, stuck);
        known.held_back = held_back;
    }

    /// Notes a rejected request.
    pub(super) fn rejected(&self) {
        self.known().rejected += 1;
    }

    /// Notes a delivery that was written, and gives how many files are thought to lie in the inbox.
    pub(super) fn delivered(&self) {
        let mut known = self.known();
        known.delivered += 1;
        known.inbox += 1;
    }

    /// How many files are thought to lie in the inbox.
    pub(super) fn inbox(&self) -> usize {
        self.known().inbox
    }

    /// Notes how many files lie in the inbox.
    pub(super) fn counted(&self, inbox: usize) {
        self.known().inbox = inbox;
    }

    /// For `/status`.
    pub(crate) fn to_json(&self) -> FolderJson {
        let known = self.known();
        FolderJson {
            looks: known.looks,
            not_taken_in: known.not_taken_in,
            held_back: known.held_back.clone(),
            under_way: known.under_way,
            stuck: known.stuck,
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

fn is_zero(number: &usize) -> bool {
    *number == 0
}
