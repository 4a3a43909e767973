//! The events: what may be recorded about a dossier, read from the domain's table of transitions.

use lgsp_domain::transition::{Act, Guard, Role, TABLE, Target, Transition};
use lgsp_proto::reason::Bilingual;
use lgsp_proto::types::Status;

use super::{Entry, Kind, Says, row, said};
use crate::webhook::type_of_event;

/// Every kind of event.
pub fn events() -> Vec<Entry> {
    Act::ALL.iter().map(|act| entry(*act)).collect()
}

fn entry(act: Act) -> Entry {
    let rows: Vec<&Transition> = TABLE.iter().filter(|row| row.act == act).collect();
    let call = match act {
        Act::Submit => "POST /v1/dossiers",
        _ => "POST /v1/dossiers/{code}/events",
    };
    let type_of_event = type_of_event(act.number());
    let requires = act.requires().iter().map(|field| field.field().to_owned()).collect();
    let mut guards: Vec<Guard> = rows.iter().flat_map(|row| row.guards.iter().copied()).collect();
    guards.sort_unstable();
    guards.dedup();
    let guards = guards.into_iter().map(|guard| {
        let Bilingual { en, vi } = guard_text(guard);
        let reason = guard.reason();
        [format!("{en} ({reason})"), format!("{vi} ({reason})")]
    });
    let mut sources: Vec<String> = rows.iter().map(|row| row.source.to_owned()).collect();
    sources.dedup();
    let told = vec![
        row("meaning", "Meaning", "Ý nghĩa", said(meaning(act))),
        row(
            "number",
            "Number of the kind",
            "Số của loại sự kiện",
            Says::Number(u64::try_from(act.number()).unwrap_or(0)),
        ),
        row("cloud_event", "CloudEvents type", "Kiểu CloudEvents", Says::Code(type_of_event.clone())),
        row("recorded_by", "Recorded by", "Ghi nhận bằng", Says::Code(call.to_owned())),
        row("who", "Who may", "Ai được ghi", Says::Text(roles(rows.first().map_or(&[], |row| row.roles)))),
        row("leads", "From and to", "Từ và đến", Says::Texts(rows.iter().map(|row| leads(row)).collect())),
        row("requires", "Fields it needs", "Trường bắt buộc", Says::Codes(requires)),
        row("conditions", "What else must hold", "Điều kiện khác", Says::Texts(guards.collect())),
        row("clock", "The clock", "Thời hạn", said(clock(act))),
        row("source", "Source", "Căn cứ", Says::Codes(sources)),
    ];
    let also = vec![type_of_event, event_name(act).vi.to_owned()];
    Entry { kind: Kind::Event, word: act.as_str().to_owned(), name: event_name(act), rows: told, also }
}

/// From where to where a row leads.
fn leads(row: &Transition) -> [String; 2] {
    let from = row.from.map_or_else(|| ["(new)".to_owned(), "(mới)".to_owned()], status);
    let to = match row.to {
        Target::Fixed(to) => status(to),
        Target::Opening => {
            let [registered, accepted] = [status(Status::Registered), status(Status::Accepted)];
            let direct = [
                "directly or by post at a desk that decides it itself",
                "trực tiếp hoặc bưu chính tại nơi có thẩm quyền",
            ];
            let to = |which: usize, or| {
                format!("{} {or} {}", accepted[which].clone() + " (" + direct[which] + ")", registered[which])
            };
            [to(0, "or else"), to(1, "nếu không thì")]
        }
        Target::Resume => [
            "where it was asked; after a supplement 2 accepted where the procedure begins its clock anew".to_owned(),
            "trạng thái lúc yêu cầu; sau bổ sung là 2 accepted nếu thủ tục tính lại thời hạn".to_owned(),
        ],
        Target::Same => ["the same".to_owned(), "giữ nguyên".to_owned()],
    };
    let [[from_en, from_vi], [to_en, to_vi]] = [from, to];
    [format!("{from_en} -> {to_en}"), format!("{from_vi} -> {to_vi}")]
}

/// A status by number and word.
fn status(status: Status) -> [String; 2] {
    let named = format!("{} {status}", status.number());
    [named.clone(), named]
}

/// Who holds one of these roles.
pub(super) fn roles(roles: &[Role]) -> [String; 2] {
    let named = |pick: fn(Bilingual) -> &'static str| {
        let one = |role: &Role| format!("{} ({})", pick(role_name(*role)), role.as_str());
        roles.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    [named(|text| text.en), named(|text| text.vi)]
}

const fn both(en: &'static str, vi: &'static str) -> Bilingual {
    Bilingual { en, vi }
}

const fn role_name(role: Role) -> Bilingual {
    match role {
        Role::Citizen => both("the citizen, through the intake desk", "công dân, thông qua nơi tiếp nhận"),
        Role::IntakeDesk => both("the intake desk", "nơi tiếp nhận"),
        Role::CompetentAuthority => both("the competent authority", "cơ quan có thẩm quyền"),
        Role::Payment => both("the payment platform", "nền tảng thanh toán"),
        Role::Post => both("the public post", "bưu chính công ích"),
        Role::ReturnDesk => both("the return desk", "nơi trả kết quả"),
    }
}

/// What people call an event.
pub const fn event_name(act: Act) -> Bilingual {
    match act {
        Act::Submit => both("Submitted", "Nộp hồ sơ"),
        Act::Accept => both("Accepted", "Tiếp nhận"),
        Act::Refuse => both("Refused", "Từ chối tiếp nhận"),
        Act::RequestSupplement => both("Supplement requested", "Yêu cầu bổ sung"),
        Act::ProvideSupplement => both("Supplement provided", "Đã bổ sung"),
        Act::ExpireSupplement => both("Supplement expired", "Hết hạn bổ sung"),
        Act::Withdraw => both("Withdrawn", "Rút hồ sơ"),
        Act::StartProcessing => both("Processing started", "Bắt đầu xử lý"),
        Act::RequestFee => both("Fee requested", "Yêu cầu nộp phí"),
        Act::ConfirmPayment => both("Fee paid", "Đã nộp phí"),
        Act::Stop => both("Stopped", "Dừng xử lý"),
        Act::Resolve => both("Resolved", "Có kết quả"),
        Act::RecallResult => both("Result recalled", "Thu hồi kết quả"),
        Act::ReturnResult => both("Returned", "Trả kết quả"),
        Act::Extend => both("Extended", "Gia hạn"),
        Act::Pause => both("Clock paused", "Tạm dừng thời hạn"),
        Act::Resume => both("Clock resumed", "Tính tiếp thời hạn"),
        Act::Progress => both("Progress inside the authority", "Bước nội bộ"),
    }
}

const fn meaning(act: Act) -> Bilingual {
    match act {
        Act::Submit => both(
            "A desk takes the dossier in; it gets its code and its competent authority.",
            "Bộ phận một cửa tiếp nhận; hồ sơ có mã và cơ quan có thẩm quyền.",
        ),
        Act::Accept => both(
            "The authority's clerk has received the dossier as complete and valid.",
            "Cán bộ của cơ quan có thẩm quyền đã nhận hồ sơ đầy đủ, hợp lệ.",
        ),
        Act::Refuse => both(
            "The dossier is not received; the citizen gets form 03 with the reason.",
            "Không tiếp nhận hồ sơ; người dân nhận mẫu 03 có nêu lý do.",
        ),
        Act::RequestSupplement => both("The citizen must add something; form 02.", "Người dân phải bổ sung; mẫu 02."),
        Act::ProvideSupplement => both(
            "The citizen has added it. Late is not too late until the authority closes the dossier.",
            "Người dân đã bổ sung. Muộn vẫn nhận cho đến khi cơ quan đóng hồ sơ.",
        ),
        Act::ExpireSupplement => both(
            "The term ran out and nothing came: the authority closes the dossier.",
            "Hết thời hạn mà không bổ sung: cơ quan đóng hồ sơ.",
        ),
        Act::Withdraw => {
            both("The citizen takes the dossier back; no reason is asked.", "Công dân rút hồ sơ; không phải nêu lý do.")
        }
        Act::StartProcessing => both("The authority begins to work on it.", "Cơ quan bắt đầu giải quyết."),
        Act::RequestFee => both(
            "A fee or another financial obligation is to be met.",
            "Có phí, lệ phí hoặc nghĩa vụ tài chính phải nộp.",
        ),
        Act::ConfirmPayment => both(
            "It has been met, with the platform's reference or the desk's receipt.",
            "Đã nộp, có mã tham chiếu của nền tảng hoặc biên lai của bộ phận.",
        ),
        Act::Stop => both(
            "Stopped without a result; form 05. An end, not a pause.",
            "Dừng giải quyết, không có kết quả; mẫu 05. Đây là kết thúc, không phải tạm dừng.",
        ),
        Act::Resolve => {
            both("Decided; the result is there and waits for the citizen.", "Đã giải quyết; có kết quả chờ trả.")
        }
        Act::RecallResult => {
            both("The result is taken back before it was handed out.", "Thu hồi kết quả trước khi trả.")
        }
        Act::ReturnResult => both(
            "The result was handed to the citizen. The dossier is closed.",
            "Đã trả kết quả cho công dân. Hồ sơ kết thúc.",
        ),
        Act::Extend => {
            both("Apology and a new date; form 04. Once at most.", "Xin lỗi và hẹn lại; mẫu 04. Tối đa một lần.")
        }
        Act::Pause => both(
            "The clock stops for a named cause, such as paper on its way or an expertise.",
            "Tạm dừng thời hạn vì lý do nêu tên, ví dụ giấy tờ đang chuyển hoặc giám định.",
        ),
        Act::Resume => both("The named cause has ended.", "Lý do tạm dừng đã hết."),
        Act::Progress => both(
            "A step inside the authority, for the tracking sheet (form 06).",
            "Một bước trong cơ quan, cho phiếu kiểm soát (mẫu 06).",
        ),
    }
}

/// What an event does to the clock, as the deciding code has it.
const fn clock(act: Act) -> Bilingual {
    match act {
        Act::Submit => both(
            "It starts, unless the procedure counts from when the authority has the dossier.",
            "Bắt đầu tính, trừ khi thủ tục tính từ lúc cơ quan có thẩm quyền nhận đủ hồ sơ.",
        ),
        Act::Accept => both(
            "It starts where the procedure counts from when the authority has the dossier; else it goes on.",
            "Bắt đầu tính nếu thủ tục tính từ lúc cơ quan nhận đủ hồ sơ; nếu không thì tính tiếp.",
        ),
        Act::RequestSupplement => both("It stops for the cause supplement.", "Tạm dừng vì lý do supplement."),
        Act::ProvideSupplement => both(
            "It goes on, or begins anew where the procedure says so and the request came in time.",
            "Tính tiếp, hoặc tính lại từ đầu nếu thủ tục quy định và yêu cầu còn trong hạn.",
        ),
        Act::RequestFee => {
            both("It stops for the cause financial_obligation.", "Tạm dừng vì lý do financial_obligation.")
        }
        Act::ConfirmPayment => both("It goes on.", "Tính tiếp."),
        Act::Extend => both("The date moves to new_due_at.", "Ngày hẹn trả chuyển sang new_due_at."),
        Act::Pause => both(
            "It stops for the cause named; several causes may be open at once.",
            "Tạm dừng vì lý do nêu tên; có thể có nhiều lý do cùng lúc.",
        ),
        Act::Resume => both(
            "It goes on once no other cause is open, the date pushed by the time it stood still.",
            "Tính tiếp khi không còn lý do nào khác; ngày hẹn lùi theo thời gian tạm dừng.",
        ),
        Act::Refuse | Act::ExpireSupplement | Act::Withdraw | Act::Stop | Act::ReturnResult => {
            both("It ends, and stands as it stood.", "Kết thúc, giữ nguyên như lúc đó.")
        }
        Act::StartProcessing | Act::Resolve | Act::RecallResult | Act::Progress => both("Nothing.", "Không thay đổi."),
    }
}

const fn guard_text(guard: Guard) -> Bilingual {
    match guard {
        Guard::TermAhead => both("the term lies after the request", "thời hạn sau lúc yêu cầu"),
        Guard::SupplementPassed => both("the term given to the citizen has passed", "đã hết thời hạn bổ sung"),
        Guard::FirstExtension => both("it was not extended before", "chưa từng gia hạn"),
        Guard::ExtensionInTime => both(
            "the clock runs, its date has not passed, and the new one is a later working hour",
            "thời hạn đang tính, chưa quá hạn, ngày mới muộn hơn và trong giờ làm việc",
        ),
        Guard::NamedCause => {
            both("the cause has no events of its own (supplement, fee)", "lý do không có sự kiện riêng (bổ sung, phí)")
        }
        Guard::PaperBeforeReception => {
            both("before reception only paper on its way", "trước tiếp nhận chỉ với giấy tờ đang chuyển")
        }
        Guard::PaperUnlessAuthority => {
            both("desk and post speak of paper only", "nơi tiếp nhận và bưu chính chỉ nói về giấy tờ")
        }
        Guard::CauseNotOpen => both("the clock does not stand still for this cause yet", "chưa tạm dừng vì lý do này"),
        Guard::CauseOpen => both("the clock stands still for this cause", "đang tạm dừng vì lý do này"),
        Guard::PostOnlyByPost => {
            both("the post hands out only what goes by post", "bưu chính chỉ trả hồ sơ nhận qua bưu chính")
        }
    }
}
