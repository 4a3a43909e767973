//! The ten statuses, with what may happen in each, read from the domain's table of transitions.

use lgsp_domain::transition::{TABLE, Target};
use lgsp_proto::reason::Bilingual;
use lgsp_proto::types::{ReportClass, Status};

use super::events::roles;
use super::{Entry, Kind, Says, row, said};

/// Every status.
pub fn statuses() -> Vec<Entry> {
    Status::ALL.into_iter().map(entry).collect()
}

fn entry(status: Status) -> Entry {
    let next = TABLE.iter().filter(|row| row.from == Some(status)).map(|row| {
        let [en, vi] = roles(row.roles);
        [format!("{}: {en}", row.act.as_str()), format!("{}: {vi}", row.act.as_str())]
    });
    let leads_here = |to: Target| match to {
        Target::Fixed(to) => to == status,
        Target::Opening => matches!(status, Status::Registered | Status::Accepted),
        Target::Resume | Target::Same => false,
    };
    let mut reached: Vec<String> =
        TABLE.iter().filter(|row| leads_here(row.to)).map(|row| row.act.as_str().to_owned()).collect();
    reached.dedup();
    let rows = vec![
        row("number", "National number", "Mã trạng thái quốc gia", Says::Number(status.number().into())),
        row("meaning", "Meaning", "Ý nghĩa", said(meaning(status))),
        row("end", "An end", "Kết thúc", Says::Flag(status.is_terminal())),
        row(
            "report_class",
            "Column of the report",
            "Cột báo cáo",
            Says::Code(status.report_class().as_str().to_owned()),
        ),
        row("report_class_name", "That column", "Tên cột", said(class_name(status.report_class()))),
        row("reached_by", "Reached by", "Đến bằng", Says::Codes(reached)),
        row("next", "What may follow, by whom", "Có thể tiếp theo, bởi ai", Says::Texts(next.collect())),
    ];
    let name = Bilingual { en: status.english(), vi: status.vietnamese() };
    let also = vec![status.number().to_string(), status.vietnamese().to_owned(), status.english().to_owned()];
    Entry { kind: Kind::Status, word: status.to_string(), name, rows, also }
}

const fn both(en: &'static str, vi: &'static str) -> Bilingual {
    Bilingual { en, vi }
}

const fn meaning(status: Status) -> Bilingual {
    match status {
        Status::Registered => both(
            "Filed online or at a desk that does not decide it, and waiting for the competent authority's one-stop unit.",
            "Nộp trực tuyến hoặc tại nơi không có thẩm quyền, chờ bộ phận một cửa của cơ quan có thẩm quyền.",
        ),
        Status::Accepted => both("Received as complete and valid.", "Đã tiếp nhận đầy đủ, hợp lệ."),
        Status::NotAccepted => {
            both("Not received, with form 03 and its reason.", "Không tiếp nhận, có mẫu 03 nêu lý do.")
        }
        Status::Processing => both("Being decided.", "Đang giải quyết."),
        Status::SupplementRequested => both(
            "The citizen was asked for papers or data, with form 02.",
            "Đã yêu cầu công dân bổ sung giấy tờ hoặc dữ liệu, mẫu 02.",
        ),
        Status::PaymentRequested => {
            both("The citizen was asked to pay.", "Đã yêu cầu công dân nộp phí, lệ phí hoặc nghĩa vụ tài chính.")
        }
        Status::Withdrawn => both("The citizen took it back.", "Công dân đã rút hồ sơ."),
        Status::Stopped => both("Stopped without a result, with form 05.", "Dừng giải quyết không có kết quả, mẫu 05."),
        Status::Resolved => both("Decided; the result waits for the citizen.", "Đã giải quyết; kết quả chờ công dân."),
        Status::Returned => both("The result was handed over.", "Đã trả kết quả cho công dân."),
    }
}

const fn class_name(class: ReportClass) -> Bilingual {
    match class {
        ReportClass::NotReceived => both("Not received", "Chưa hoặc không tiếp nhận"),
        ReportClass::Processing => both("Being processed", "Đang giải quyết"),
        ReportClass::Supplementing => both("Waiting for a supplement", "Chờ bổ sung"),
        ReportClass::Paused => both("Paused", "Tạm dừng"),
        ReportClass::Withdrawn => both("Withdrawn", "Đã rút"),
        ReportClass::Done => both("Done", "Đã giải quyết xong"),
    }
}
