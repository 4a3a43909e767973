//! Procedures as the national database publishes them, with the province's overlay: limits, cases, components, fees.

use std::fmt::Write as _;

use jiff::civil::Time;
use lgsp_proto::types::{CaseCode, IntakeChannel, ProcedureCode};

use super::problem::{Fault, ProblemKind};
use super::source::{Entry, FromText};
use super::validity::Validity;
use super::word::words;
use crate::deadline::Limit;
use crate::deadline::clock::{StartPolicy, SupplementPolicy, Terms};

words! {
    /// The level that decides, as the national database publishes it.
    Level {
        /// Cấp Xã.
        Commune = "commune",
        /// Cấp Tỉnh.
        Province = "province",
        /// Cấp Bộ/Trung ương.
        Ministry = "ministry",
    }
}

/// A procedure (*thủ tục hành chính*) over one stretch of its life.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Procedure {
    /// Its national code.
    pub code: ProcedureCode,
    /// Its published name.
    pub name: String,
    /// The field it belongs to (*lĩnh vực*), as published.
    pub field: String,
    /// Who decides it.
    pub level: Level,
    /// The decision that published it.
    pub decision: Option<String>,
    /// What starts its clock.
    pub start: StartPolicy,
    /// What a completed supplement does to its clock.
    pub supplement: SupplementPolicy,
    /// Its limits; exactly one holds for every case and channel.
    pub limits: Vec<CaseLimit>,
    /// The cases it distinguishes (*trường hợp*).
    pub cases: Vec<Case>,
    /// The papers and data it asks for. The published lists are conditional prose, so few are compulsory.
    pub components: Vec<ProcedureComponent>,
    /// What it costs, where the amount is published.
    pub fees: Vec<ProcedureFee>,
    /// What comes out of it.
    pub results: Vec<String>,
    /// The procedure that replaces it.
    pub successor: Option<ProcedureCode>,
    /// When it is in force in this form.
    pub validity: Validity,
}

/// A limit, for some case, some channel, or all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CaseLimit {
    /// The case it is for; `None` for every one.
    pub case: Option<CaseCode>,
    /// The channel it is for; `None` for every one.
    pub channel: Option<IntakeChannel>,
    /// The limit.
    pub limit: Limit,
}

/// One of the cases a procedure distinguishes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Case {
    /// Our handle for it.
    pub code: CaseCode,
    /// What it is, in words.
    pub name: String,
}

/// A paper or data item that a procedure asks for (*thành phần hồ sơ*).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProcedureComponent {
    /// Our handle for it, e.g. `to-khai`; compulsory ones have one.
    pub code: Option<String>,
    /// What it is, as published.
    pub name: String,
    /// Whether a dossier without it is refused. Set only by the province's overlay.
    pub compulsory: bool,
    /// The cases it is for; empty for every one.
    pub cases: Vec<CaseCode>,
}

/// A fee or charge with a published amount.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProcedureFee {
    /// What it is for.
    pub name: String,
    /// Whole đồng.
    pub amount_vnd: u64,
    /// The channel it is for; `None` for every one.
    pub channel: Option<IntakeChannel>,
}

impl Procedure {
    /// The limit for that case and channel: the one that names both, else the case, else the channel, else the general one.
    ///
    /// Limits differ by case and by channel in the published texts, e.g. 1.010041 and 1.012784.
    pub fn limit(&self, case: Option<&CaseCode>, channel: IntakeChannel) -> Limit {
        let fits = |limit: &&CaseLimit| {
            (limit.case.is_none() || limit.case.as_ref() == case) && limit.channel.is_none_or(|one| one == channel)
        };
        let best = self.limits.iter().filter(fits).max_by_key(|one| (one.case.is_some(), one.channel.is_some()));
        best.expect("every procedure has a limit for all cases and channels").limit
    }

    /// Limit and policies for that case and channel: what the clock of a new dossier is made of.
    pub fn terms(&self, case: Option<&CaseCode>, channel: IntakeChannel) -> Terms {
        Terms { limit: self.limit(case, channel), start: self.start, supplement: self.supplement }
    }

    /// The case of that code.
    pub fn case(&self, code: &CaseCode) -> Option<&Case> {
        self.cases.iter().find(|case| case.code == *code)
    }

    /// The components without which a dossier of that case is refused.
    pub fn compulsory_components(&self, case: Option<&CaseCode>) -> impl Iterator<Item = &ProcedureComponent> {
        self.components.iter().filter(move |component| {
            let for_case = component.cases.is_empty() || case.is_some_and(|case| component.cases.contains(case));
            component.compulsory && for_case
        })
    }

    pub(super) fn read(entry: &Entry<'_>) -> Option<Self> {
        let code = entry.value("code");
        let name = entry.text("name");
        let field = entry.text("field");
        let level = entry.value("level");
        let decision = entry.optional_text("decision");
        let start = entry.optional("start").unwrap_or(StartPolicy::AtReceipt);
        let supplement = entry.optional("supplement").unwrap_or(SupplementPolicy::Restart);
        let cases = read_cases(entry);
        let limits = read_limits(entry, &cases);
        let components = read_components(entry, &cases);
        let fees = read_fees(entry);
        let results = entry.texts("results");
        let successor = entry.optional("successor");
        let validity = entry.validity();
        Some(Self {
            code: code?,
            name: name?,
            field: field?,
            level: level?,
            decision,
            start,
            supplement,
            limits,
            cases,
            components,
            fees,
            results,
            successor,
            validity,
        })
    }
}

fn read_cases(entry: &Entry<'_>) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for entry in entry.tables("case") {
        let code: Option<CaseCode> = entry.value("code");
        let name = entry.text("name");
        if let (Some(code), Some(name)) = (code, name) {
            if cases.iter().any(|case| case.code == code) {
                let fault = Fault::new(
                    format!("trường hợp \"{code}\" khai hai lần"),
                    format!("the case \"{code}\" is declared twice"),
                );
                entry.problem("code", ProblemKind::Duplicate, fault);
            }
            cases.push(Case { code, name });
        }
        entry.finish();
    }
    cases
}

/// `limit = "3wd"` for one that always holds, or `[[procedure.limit]]` for several.
fn read_limits(entry: &Entry<'_>, cases: &[Case]) -> Vec<CaseLimit> {
    if entry.is_text("limit") {
        let limit = entry.value::<LimitText>("limit");
        return limit.map(|limit| CaseLimit { case: None, channel: None, limit: limit.0 }).into_iter().collect();
    }
    let mut limits: Vec<CaseLimit> = Vec::new();
    let tables = entry.tables("limit");
    let mut readable = true;
    for entry in tables {
        let case: Option<CaseCode> = entry.optional("case");
        let channel = entry.optional("channel");
        let limit = entry.value::<LimitText>("limit");
        entry.optional_text("note");
        if let Some(case) = &case {
            check_case(&entry, "case", case, cases);
        }
        if limits.iter().any(|one| one.case == case && one.channel == channel) {
            let fault = Fault::new(
                "đã có thời hạn khác cho cùng trường hợp và kênh",
                "is a second limit for the same case and channel",
            );
            entry.problem("", ProblemKind::Limit, fault);
        }
        readable &= limit.is_some();
        limits.extend(limit.map(|limit| CaseLimit { case, channel, limit: limit.0 }));
        entry.finish();
    }
    if readable && !limits.iter().any(|one| one.case.is_none() && one.channel.is_none()) {
        let fault = Fault::new(
            "thiếu thời hạn chung; nếu không công bố thời hạn thì ghi limit = \"none\"",
            "has no limit for every case and channel; write limit = \"none\" where none is published",
        );
        entry.problem("limit", ProblemKind::Limit, fault);
    }
    limits
}

fn read_components(entry: &Entry<'_>, cases: &[Case]) -> Vec<ProcedureComponent> {
    let mut components: Vec<ProcedureComponent> = Vec::new();
    for entry in entry.tables("component") {
        let code = entry.optional::<Slug>("code").map(|slug| slug.0);
        let name = entry.text("name");
        let compulsory = entry.flag("compulsory");
        let for_cases: Vec<CaseCode> = entry.values("cases");
        for case in &for_cases {
            check_case(&entry, "cases", case, cases);
        }
        if compulsory && !entry.has("code") {
            let fault = Fault::new(
                "thành phần bắt buộc phải có mã (code) để hồ sơ nêu được",
                "is compulsory and needs a code for dossiers to name it by",
            );
            entry.problem("compulsory", ProblemKind::Contradiction, fault);
        }
        if let Some(code) = code.as_ref().filter(|code| components.iter().any(|one| one.code.as_ref() == Some(code))) {
            let fault = Fault::new(
                format!("thành phần \"{code}\" khai hai lần"),
                format!("the component \"{code}\" is declared twice"),
            );
            entry.problem("code", ProblemKind::Duplicate, fault);
        }
        components.extend(name.map(|name| ProcedureComponent { code, name, compulsory, cases: for_cases }));
        entry.finish();
    }
    components
}

fn read_fees(entry: &Entry<'_>) -> Vec<ProcedureFee> {
    let mut fees = Vec::new();
    for entry in entry.tables("fee") {
        let name = entry.text("name");
        let amount_vnd = entry.number("amount_vnd");
        let channel = entry.optional("channel");
        if let (Some(name), Some(amount_vnd)) = (name, amount_vnd) {
            fees.push(ProcedureFee { name, amount_vnd, channel });
        }
        entry.finish();
    }
    fees
}

fn check_case(entry: &Entry<'_>, key: &str, case: &CaseCode, cases: &[Case]) {
    if !cases.iter().any(|one| one.code == *case) {
        let fault = Fault::new(
            format!("thủ tục không khai trường hợp \"{case}\""),
            format!("the procedure declares no case \"{case}\""),
        );
        entry.problem(key, ProblemKind::UnknownReference, fault);
    }
}

/// A short handle of ours, in the form of a [`CaseCode`].
pub(super) struct Slug(pub(super) String);

impl FromText for Slug {
    fn from_text(text: &str) -> Result<Self, Fault> {
        CaseCode::from_text(text).map(|slug| Self(slug.to_string()))
    }
}

impl FromText for StartPolicy {
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "receipt" => Ok(Self::AtReceipt),
            "authority" => Ok(Self::AtAuthority),
            _ => Err(one_of(text, "receipt, authority")),
        }
    }
}

impl FromText for SupplementPolicy {
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "resume" => Ok(Self::Resume),
            "restart" => Ok(Self::Restart),
            _ => Err(one_of(text, "resume, restart")),
        }
    }
}

fn one_of(text: &str, words: &str) -> Fault {
    Fault::new(format!("\"{text}\" không thuộc các giá trị: {words}"), format!("\"{text}\" is none of: {words}"))
}

/// A limit as it is written: `3wd`, `10d`, `8h`, `same-day 15:00`, `none`.
pub(super) struct LimitText(pub(super) Limit);

impl FromText for LimitText {
    fn from_text(text: &str) -> Result<Self, Fault> {
        parse_limit(text).map(Self).ok_or_else(|| {
            Fault::new(
                format!("\"{text}\" không phải thời hạn: 3wd (ngày làm việc), 10d (ngày), 8h (giờ làm việc), same-day 15:00, none"),
                format!("\"{text}\" is no limit: 3wd (working days), 10d (calendar days), 8h (working hours), same-day 15:00, none"),
            )
        })
    }
}

fn parse_limit(text: &str) -> Option<Limit> {
    if text == "none" {
        return Some(Limit::Unlimited);
    }
    if let Some(cutoff) = text.strip_prefix("same-day ") {
        return Some(Limit::SameDay { cutoff: parse_time(cutoff)? });
    }
    let count = |digits: &str| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        digits.parse::<u16>().ok().filter(|_| plain)
    };
    if let Some(days) = text.strip_suffix("wd") {
        return count(days).map(Limit::WorkingDays);
    }
    if let Some(days) = text.strip_suffix('d') {
        return count(days).map(Limit::CalendarDays);
    }
    count(text.strip_suffix('h')?).map(Limit::WorkingHours)
}

/// Writes a limit the way the files do.
pub(super) fn print_limit(limit: Limit) -> String {
    match limit {
        Limit::WorkingDays(days) => format!("{days}wd"),
        Limit::CalendarDays(days) => format!("{days}d"),
        Limit::WorkingHours(hours) => format!("{hours}h"),
        Limit::SameDay { cutoff } => format!("same-day {}", print_time(cutoff)),
        Limit::Unlimited => "none".to_owned(),
    }
}

/// `07:30`, to the minute.
pub(super) fn parse_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hour) || !digits(minute) {
        return None;
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

pub(super) fn print_time(time: Time) -> String {
    let mut text = String::new();
    let _ = write!(text, "{:02}:{:02}", time.hour(), time.minute());
    text
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_limits_of_the_published_texts_can_be_written() {
        assert_eq!(parse_limit("3wd"), Some(Limit::WorkingDays(3)));
        assert_eq!(parse_limit("10d"), Some(Limit::CalendarDays(10)));
        assert_eq!(parse_limit("8h"), Some(Limit::WorkingHours(8)));
        assert_eq!(parse_limit("same-day 15:00"), Some(Limit::SAME_DAY));
        assert_eq!(parse_limit("none"), Some(Limit::Unlimited));
    }

    #[test]
    fn a_limit_of_nothing_or_of_nonsense_is_refused() {
        for text in [
            "0wd",
            "00d",
            "03wd",
            "-1d",
            "+1d",
            "3",
            "wd",
            "3 wd",
            "3wk",
            "99999d",
            "same-day",
            "same-day 15",
            "same-day 25:00",
            "",
        ] {
            assert_eq!(parse_limit(text), None, "{text}");
        }
    }

    fn any_limit() -> impl Strategy<Value = Limit> {
        prop_oneof![
            (1..=u16::MAX).prop_map(Limit::WorkingDays),
            (1..=u16::MAX).prop_map(Limit::CalendarDays),
            (1..=u16::MAX).prop_map(Limit::WorkingHours),
            (0i8..24, 0i8..60).prop_map(|(hour, minute)| Limit::SameDay { cutoff: time(hour, minute, 0, 0) }),
            Just(Limit::Unlimited),
        ]
    }

    proptest! {
        #[test]
        fn print_and_parse_give_the_same_limit(limit in any_limit()) {
            prop_assert_eq!(parse_limit(&print_limit(limit)), Some(limit));
        }

        #[test]
        fn no_text_makes_the_limit_parser_panic(text in any::<String>()) {
            let _ = parse_limit(&text);
        }
    }
}
