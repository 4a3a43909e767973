//! The day on one page, for somebody who answers for it: what came in, where it went, whether it was in time, and whether
//! everybody's books agree with the bus's.

use std::fmt::Write as _;
use std::time::Duration;

use lgsp_domain::registry::Registry;
use lgsp_proto::types::PartyId;

use super::figures::{Figures, Group, HandOver};
use super::outcome::{National, Outcome};
use super::reconcile::{Difference, MAX_EXAMPLES};
use crate::lang::Lang;
use crate::table::Table;

/// How many of the busiest are named.
const BUSIEST: usize = 8;

/// The page.
pub(super) fn page(outcome: &Outcome, registry: &Registry, lang: Lang) -> String {
    let print = Printer { lang, registry };
    let figures = &outcome.figures;
    let mut page = String::new();
    let mut section = |heading: &str, text: String| {
        let _ = write!(page, "\n{heading}\n{text}");
    };
    section(lang.pick("TIẾP NHẬN NGÀY 14/7/2025", "RECEIVED ON 14 JULY 2025"), print.received(figures));
    section(lang.pick("THEO TRẠNG THÁI", "BY STATUS"), print.statuses(outcome));
    section(lang.pick("GIẢI QUYẾT", "DECISIONS"), print.decisions(figures));
    section(
        lang.pick(
            "CHUYỂN HỒ SƠ: từ tiếp nhận đến khi cơ quan có thẩm quyền nhận, giờ làm việc",
            "HAND-OVER: from reception to the authority's acceptance, working time",
        ),
        print.hand_overs(figures),
    );
    section(
        lang.pick(
            "PHI ĐỊA GIỚI: nơi tiếp nhận × cơ quan có thẩm quyền",
            "NON-TERRITORIAL: intake desk × competent authority",
        ),
        print.matrix(figures),
    );
    section(lang.pick("NHIỀU HỒ SƠ NHẤT", "BUSIEST"), print.busiest(figures));
    section(
        lang.pick(
            "CƠ SỞ DỮ LIỆU QUỐC GIA: dân cư, thủ tục, cổng dịch vụ công",
            "NATIONAL SYSTEMS: population, procedures, portal",
        ),
        print.national(outcome),
    );
    section(
        lang.pick(
            "ĐỐI CHIẾU: sổ của từng cơ quan với nhật ký của trục",
            "RECONCILIATION: every party's books against the journal",
        ),
        print.reconciliation(outcome),
    );
    if let Some(note) = registry.note() {
        let _ = write!(page, "\n{note}\n");
    }
    page
}

struct Printer<'a> {
    lang: Lang,
    registry: &'a Registry,
}

impl Printer<'_> {
    fn received(&self, figures: &Figures) -> String {
        let lang = self.lang;
        let all = figures.submitted;
        let mut table = Table::default();
        for (name, count) in [
            (lang.pick("Hồ sơ tiếp nhận", "Dossiers received"), all),
            (lang.pick("  trực tuyến", "  online"), figures.online),
            (lang.pick("  trực tiếp", "  at the desk"), figures.direct),
            (lang.pick("  qua bưu chính", "  by post"), figures.postal),
            (lang.pick("  phi địa giới hành chính", "  non-territorial"), figures.non_territorial),
            (lang.pick("  có điểm đại lý hỗ trợ nộp", "  helped by an agent point"), figures.supported),
            (lang.pick("  nhận kết quả ở nơi thứ ba", "  result wanted at a third desk"), figures.third_desk),
            (lang.pick("  nhận kết quả qua bưu chính", "  result wanted by post"), figures.by_post),
        ] {
            table.row([name.to_owned(), self.number(count), self.percent(count, all)]);
        }
        table.to_string()
    }

    fn statuses(&self, outcome: &Outcome) -> String {
        let lang = self.lang;
        let end = outcome.until.strftime(lang.pick("%d/%m/%Y", "%d %b %Y")).to_string();
        let evening = lang.pick("tối 14/7/2025", "evening of 14 Jul 2025");
        let mut table = Table::new(["", lang.pick("Trạng thái", "Status"), evening, end.as_str()]);
        let figures = &outcome.figures;
        for ((status, evening), (_, end)) in figures.evening.iter().zip(figures.end.iter()) {
            let name = lang.pick(status.vietnamese(), status.english());
            table.row([status.number().to_string(), name.to_owned(), self.number(evening), self.number(end)]);
        }
        table.to_string()
    }

    fn decisions(&self, figures: &Figures) -> String {
        let lang = self.lang;
        let all = figures.submitted;
        let judged = figures.on_time + figures.late;
        let mut table = Table::default();
        for (name, count, of) in [
            (lang.pick("Có kết quả", "With a result"), figures.end.decided(), all),
            (lang.pick("  đúng hạn", "  on time"), figures.on_time, judged),
            (lang.pick("  quá hạn", "  late"), figures.late, judged),
            (lang.pick("Yêu cầu bổ sung", "Asked for a supplement"), figures.supplemented, all),
            (lang.pick("  quá hạn bổ sung", "  which never came"), figures.expired, all),
            (lang.pick("Yêu cầu nộp phí", "Asked for a fee"), figures.fees, all),
            (lang.pick("Xin lỗi và hẹn lại", "Apology and a new date"), figures.extended, all),
            (lang.pick("Thu hồi kết quả để sửa", "Result recalled and put right"), figures.recalled, all),
        ] {
            table.row([name.to_owned(), self.number(count), self.percent(count, of)]);
        }
        table.to_string()
    }

    fn hand_overs(&self, figures: &Figures) -> String {
        let lang = self.lang;
        let mut table = Table::new([
            "",
            lang.pick("hồ sơ", "dossiers"),
            lang.pick("50 % trong vòng", "half within"),
            lang.pick("90 % trong vòng", "90 % within"),
        ]);
        for (name, HandOver { count, median, ninth_of_ten }) in [
            (lang.pick("Tất cả", "All"), figures.hand_over),
            (lang.pick("Phi địa giới", "Non-territorial"), figures.hand_over_non_territorial),
        ] {
            table.row([name.to_owned(), self.number(count as u64), self.duration(median), self.duration(ninth_of_ten)]);
        }
        table.to_string()
    }

    fn matrix(&self, figures: &Figures) -> String {
        let mut rows: Vec<Group> = figures.matrix.keys().map(|(desk, _)| *desk).collect();
        let mut columns: Vec<Group> = figures.matrix.keys().map(|(_, authority)| *authority).collect();
        rows.dedup();
        columns.sort_unstable();
        columns.dedup();
        let mut table = Table::new(std::iter::once("").chain(columns.iter().map(|group| self.group(*group))));
        for row in rows {
            let cells = columns.iter().map(|column| figures.matrix.get(&(row, *column)).copied().unwrap_or_default());
            let cells = cells.map(|count| self.number(count));
            table.row(std::iter::once(self.group(row).to_owned()).chain(cells));
        }
        table.to_string()
    }

    fn busiest(&self, figures: &Figures) -> String {
        let lang = self.lang;
        let mut table = Table::new([
            lang.pick("Nơi tiếp nhận", "Intake desk"),
            "",
            lang.pick("Cơ quan có thẩm quyền", "Competent authority"),
            "",
        ]);
        for (desk, authority) in figures.desks.iter().zip(&figures.authorities).take(BUSIEST) {
            table.row([self.name(&desk.0), self.number(desk.1), self.name(&authority.0), self.number(authority.1)]);
        }
        table.to_string()
    }

    fn national(&self, outcome: &Outcome) -> String {
        let (lang, National { catalogue, portal, complaints }) = (self.lang, &outcome.national);
        let mut table = Table::default();
        for (name, count) in [
            (
                lang.pick("Danh tính đã xác nhận trước khi tiếp nhận", "Identities confirmed before reception"),
                outcome.reconciliation.identity_checks,
            ),
            (lang.pick("  lượt phải hỏi lại", "  questions put again"), outcome.reconciliation.asked_again),
            (
                lang.pick("Thủ tục trong danh mục quốc gia", "Procedures in the national catalogue"),
                catalogue.procedures,
            ),
            (lang.pick("  tỉnh có, như danh mục", "  the province's own, as they are there"), catalogue.unchanged),
            (lang.pick("  danh mục có thay đổi", "  changes to follow"), catalogue.changed),
            (lang.pick("Hồ sơ trên Cổng DVC quốc gia", "Dossiers at the national portal"), portal.dossiers),
            (
                lang.pick(
                    "  gửi lại khi đối chiếu: do chính Cổng ghi sau cùng",
                    "  sent again: the portal's own desk did the last step",
                ),
                portal.sent_again,
            ),
            (lang.pick("  khác với trục", "  that differ from the bus"), portal.differences.len() as u64),
            (
                lang.pick("Lỗi mà các hệ thống quốc gia nêu", "Complaints of the national systems"),
                complaints.len() as u64,
            ),
        ] {
            table.row([name.to_owned(), self.number(count)]);
        }
        let mut text = table.to_string();
        for (code, what) in portal.differences.iter().take(MAX_EXAMPLES) {
            let _ = writeln!(text, "  ! {code} {what}");
        }
        for complaint in complaints {
            let _ = writeln!(text, "  ! {complaint}");
        }
        text
    }

    fn reconciliation(&self, outcome: &Outcome) -> String {
        let (lang, books) = (self.lang, &outcome.reconciliation);
        let mut table = Table::default();
        let mut row = |name: &str, count: u64| table.row([name.to_owned(), self.number(count)]);
        row(lang.pick("Cơ quan, tổ chức tham gia", "Parties"), outcome.figures.parties);
        row(lang.pick("Hệ thống", "Systems"), outcome.systems);
        row(lang.pick("Yêu cầu đã gửi và được trả lời", "Requests sent and answered"), books.requests);
        row(lang.pick("Lượt giao đã đối chiếu", "Deliveries compared"), books.deliveries);
        for difference in Difference::ALL {
            row(self.difference(difference), books.count(difference));
        }
        row(lang.pick("Yêu cầu bị từ chối", "Requests refused by the bus"), books.refused);
        row(
            lang.pick("Bước theo kế hoạch không thực hiện được", "Planned steps that could not be done"),
            outcome.not_done,
        );
        let mut text = table.to_string();
        for example in &books.examples {
            let _ = writeln!(text, "  ! {example}");
        }
        let verdict = match outcome.agrees() {
            true => lang.pick(
                "Sổ khớp với nhật ký, từng hồ sơ, từng sự kiện.",
                "The books agree, dossier by dossier, event by event.",
            ),
            false => lang.pick("SỔ KHÔNG KHỚP.", "THE BOOKS DIFFER."),
        };
        let _ = writeln!(text, "{verdict}");
        text
    }

    fn difference(&self, difference: Difference) -> &'static str {
        let lang = self.lang;
        match difference {
            Difference::Lost => lang.pick("  mất", "  lost"),
            Difference::Duplicated => lang.pick("  trùng", "  duplicated"),
            Difference::OutOfOrder => lang.pick("  sai thứ tự", "  out of order"),
            Difference::Unanswered => lang.pick("  không được trả lời", "  unanswered"),
            Difference::Unexplained => lang.pick("  không rõ nguồn", "  unexplained"),
            Difference::Altered => lang.pick("  nội dung khác", "  altered"),
        }
    }

    fn group(&self, group: Group) -> &'static str {
        let lang = self.lang;
        match group {
            Group::Centre => lang.pick("TTPVHCC thành phố", "City centre"),
            Group::Ward => lang.pick("UBND phường", "Wards"),
            Group::RuralCommune => lang.pick("UBND xã", "Rural communes"),
            Group::CommunePolice => lang.pick("Công an phường, xã", "Commune police"),
            Group::CityPolice => lang.pick("Công an thành phố", "City police"),
            Group::Department => lang.pick("Sở, ban, ngành", "Departments"),
            Group::LandOffice => lang.pick("VP Đăng ký đất đai", "Land office"),
            Group::Insurance => lang.pick("BHXH", "Social insurance"),
            Group::Portal => lang.pick("Cổng DVC", "Portal"),
            Group::Other => lang.pick("Khác", "Others"),
        }
    }

    fn name(&self, party: &PartyId) -> String {
        let known = self.registry.party(party);
        let name = known.map_or(party.as_str(), |known| {
            self.lang.pick(known.name.as_str(), known.name_en.as_deref().unwrap_or(&known.name))
        });
        name.to_owned()
    }

    /// With the separators of the language: 3.425 or 3,425.
    fn number(&self, number: u64) -> String {
        let digits = number.to_string();
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(self.lang.pick('.', ','));
            }
            text.push(digit);
        }
        text
    }

    fn percent(&self, part: u64, all: u64) -> String {
        if all == 0 {
            return String::new();
        }
        let text = format!("{:.1} %", part as f64 * 100.0 / all as f64);
        self.lang.pick(text.replace('.', ","), text)
    }

    fn duration(&self, duration: Duration) -> String {
        let minutes = duration.as_secs() / 60;
        let (hours, minutes) = (minutes / 60, minutes % 60);
        self.lang.pick(format!("{hours} giờ {minutes:02} phút"), format!("{hours} h {minutes:02} min"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::staging::hue;

    #[test]
    fn numbers_are_written_as_the_language_does() {
        let registry = hue::registry().unwrap();
        let print = |lang| Printer { lang, registry: &registry };
        assert_eq!(print(Lang::Vi).number(3_425), "3.425");
        assert_eq!(print(Lang::En).number(1_234_567), "1,234,567");
        assert_eq!(print(Lang::En).number(100), "100");
        assert_eq!(print(Lang::Vi).percent(1, 3), "33,3 %");
        assert_eq!(print(Lang::En).duration(Duration::from_secs(3_900)), "1 h 05 min");
    }
}
