//! An entry of the national database as a [`Procedure`] of ours, or why it cannot be one.
//!
//! What cannot be read for certain is refused, never guessed: a wrong limit is a wrong promise to a citizen. Handles for cases and
//! components, and what is compulsory, are the province's and are carried over by the published name.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, Time as Hour};
use lgsp_proto::types::{CaseCode, IntakeChannel, ProcedureCode};

use super::super::problem::Fault;
use super::super::procedure::{Case, CaseLimit, Level, Procedure, ProcedureComponent, ProcedureFee};
use super::super::validity::Validity;
use super::overlay::Local;
use super::wire::{Detail, Time, day};
use crate::deadline::Limit;
use crate::deadline::clock::{StartPolicy, SupplementPolicy};

/// An entry of the national list that is left as it is, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeftOut {
    /// Its code, as it is written there.
    pub code: String,
    /// Why, in Vietnamese.
    pub vi: String,
    /// The same in English.
    pub en: String,
}

impl LeftOut {
    pub(super) fn new(code: &str, fault: Fault) -> Self {
        Self { code: code.to_owned(), vi: fault.vi, en: fault.en }
    }
}

/// When an entry holds, and what comes after it.
pub(super) struct Life {
    pub(super) from: Option<Date>,
    pub(super) to: Option<Date>,
    pub(super) abolished: bool,
    pub(super) successor: Option<ProcedureCode>,
}

impl Life {
    pub(super) fn of(detail: &Detail) -> Result<Self, Fault> {
        let date = |text: &str| match text {
            "" => Ok(None),
            text => day(text).map(Some).ok_or_else(|| {
                Fault::new(format!("\"{text}\" không phải ngày yyyyMMdd"), format!("\"{text}\" is no day yyyyMMdd"))
            }),
        };
        let abolished = match detail.state.as_str() {
            "1" | "" => false,
            "0" => true,
            other => {
                return Err(Fault::new(
                    format!("trạng thái \"{other}\" không hiểu được (1 còn hiệu lực, 0 bãi bỏ)"),
                    format!("the state \"{other}\" is not understood (1 in force, 0 abolished)"),
                ));
            }
        };
        let successor = match detail.successor.as_str() {
            "" => None,
            code => Some(code.parse().map_err(|_| {
                Fault::new(
                    format!("mã thủ tục thay thế \"{code}\" không đúng dạng"),
                    format!("the successor \"{code}\" is no procedure code"),
                )
            })?),
        };
        let (from, to) = (date(&detail.from)?, date(&detail.to)?);
        if matches!((from, to), (Some(from), Some(to)) if to < from) {
            return Err(Fault::new("hết hiệu lực trước khi có hiệu lực", "ends before it begins"));
        }
        Ok(Self { from, to, abolished, successor })
    }
}

/// The procedure that an entry publishes, in the province's clothes. Its validity and successor are for the plan to set.
pub(super) fn procedure(
    code: ProcedureCode,
    detail: &Detail,
    before: Option<&Procedure>,
    local: &Local,
) -> Result<Procedure, Fault> {
    if detail.name.is_empty() {
        return Err(Fault::new("không có tên", "has no name"));
    }
    let published = detail.fields.first().map(|field| field.name.clone()).filter(|field| !field.is_empty());
    let field = published.or_else(|| before.map(|before| before.field.clone()));
    let field = field.ok_or_else(|| Fault::new("không có lĩnh vực", "has no field"))?;
    let level = level(&detail.level, before, local)?;
    let times = times(detail, local)?;
    if times.is_empty() && local.limit.is_none() {
        // To publish nothing is not to publish that there is no limit.
        return Err(Fault::new(
            "không công bố thời hạn nào; nêu limit trong lớp phủ",
            "publishes no limit at all; name a limit in the overlay",
        ));
    }
    let cases = cases(&times, detail, before, local)?;
    let mut limits = limits(&times, &cases);
    if let Some(own) = local.limit {
        if let Some(longest) = limits.iter().map(|one| one.limit).min_by_key(|one| weight(*one))
            && weight(own) > weight(longest)
            && !times.is_empty()
        {
            return Err(Fault::new(
                "thời hạn riêng trong lớp phủ dài hơn thời hạn công bố",
                "has a duration of its own in the overlay that is longer than a published one",
            ));
        }
        limits = vec![CaseLimit { case: None, channel: None, limit: own }];
    }
    Ok(Procedure {
        code,
        name: detail.name.clone(),
        field,
        level,
        decision: Some(detail.decision.clone()).filter(|one| !one.is_empty()),
        start: local.start.or(before.map(|one| one.start)).unwrap_or(StartPolicy::AtReceipt),
        supplement: local.supplement.or(before.map(|one| one.supplement)).unwrap_or(SupplementPolicy::Restart),
        limits,
        components: components(detail, &cases, before, local)?,
        cases,
        fees: fees(detail)?,
        results: detail.results.iter().map(|one| one.name.clone()).filter(|name| !name.is_empty()).collect(),
        successor: None,
        validity: Validity::default(),
    })
}

fn level(text: &str, before: Option<&Procedure>, local: &Local) -> Result<Level, Fault> {
    let known = match text.to_lowercase().as_str() {
        "cấp xã" => Some(Level::Commune),
        "cấp tỉnh" => Some(Level::Province),
        "cấp bộ" | "cấp bộ/trung ương" | "cấp trung ương" => Some(Level::Ministry),
        "" => before.map(|one| one.level),
        _ => None,
    };
    local.level.or(known).ok_or_else(|| {
        Fault::new(
            format!("cấp thực hiện \"{text}\" không rõ; nêu level trong lớp phủ"),
            format!("the level \"{text}\" is not clear; name a level in the overlay"),
        )
    })
}

/// A published limit: the case it is for, empty for every one; the channel.
struct Published {
    case: String,
    channel: IntakeChannel,
    limit: Limit,
}

fn times(detail: &Detail, local: &Local) -> Result<Vec<Published>, Fault> {
    let mut times = Vec::new();
    for method in &detail.methods {
        let channel = channel(&method.channel)?;
        let several = method.times.iter().filter(|time| time.case.is_empty()).count() > 1;
        for time in &method.times {
            // Where a channel has several limits and no case is named, the note says when which one holds.
            let case = if time.case.is_empty() && several { &time.note } else { &time.case };
            let limit = match limit(time) {
                Ok(limit) => limit,
                // The province's own duration stands in for all of them.
                Err(_) if local.limit.is_some() => continue,
                Err(fault) => return Err(fault),
            };
            times.push(Published { case: case.clone(), channel, limit });
        }
    }
    Ok(times)
}

pub(super) fn channel(text: &str) -> Result<IntakeChannel, Fault> {
    match text {
        "1" | "DIRECT" => Ok(IntakeChannel::Direct),
        "2" | "ONLINE" => Ok(IntakeChannel::Online),
        "3" | "POSTAL" => Ok(IntakeChannel::Postal),
        other => Err(Fault::new(
            format!("kênh thực hiện \"{other}\" không rõ"),
            format!("the channel \"{other}\" is unknown"),
        )),
    }
}

fn limit(time: &Time) -> Result<Limit, Fault> {
    let unit = time.unit.to_lowercase();
    let count = || time.count.parse::<u16>().ok().filter(|count| *count > 0);
    let count_of = |of: fn(u16) -> Limit| {
        count().map(of).ok_or_else(|| {
            Fault::new(
                format!("thời hạn \"{}\" không phải số nguyên dương", time.count),
                format!("the limit \"{}\" is no whole number above 0", time.count),
            )
        })
    };
    match unit.as_str() {
        "working_day" | "working day" | "ngày làm việc" => count_of(Limit::WorkingDays),
        "day" | "ngày" => count_of(Limit::CalendarDays),
        "hour" | "giờ" | "giờ làm việc" => count_of(Limit::WorkingHours),
        "other" | "khác" | "" => other(time),
        "month" | "tháng" => Err(Fault::new(
            "thời hạn tính theo tháng: sổ đăng ký chưa tính theo tháng; nêu limit trong lớp phủ",
            "has a limit in months, which the registry does not count; name a limit in the overlay",
        )),
        _ => Err(Fault::new(
            format!("đơn vị thời hạn \"{}\" không rõ", time.unit),
            format!("the unit \"{}\" of its limit is unknown", time.unit),
        )),
    }
}

/// A limit in words: within the day, in a sentence that is known from its first word to its last; none, where nothing at all is said.
fn other(time: &Time) -> Result<Limit, Fault> {
    let read = match (time.count.as_str(), time.note.as_str()) {
        ("", "") => Some(Limit::Unlimited),
        ("" | "1", note) => same_day(note),
        _ => None,
    };
    read.ok_or_else(|| {
        Fault::new(
            "thời hạn viết bằng lời, không rõ đơn vị; nêu limit trong lớp phủ",
            "has a limit in words without a unit; name a limit in the overlay",
        )
    })
}

/// *Trong ngày làm việc*, perhaps with the hour after which the result comes on the next working day; `None` for any other sentence.
fn same_day(note: &str) -> Option<Limit> {
    let note = note.to_lowercase();
    let words = note.split(|c: char| c.is_whitespace() || ".;,".contains(c)).filter(|word| !word.is_empty());
    let sentence = words.collect::<Vec<_>>().join(" ");
    let rest = sentence.strip_prefix("ngay ").unwrap_or(&sentence).strip_prefix("trong ngày")?;
    let rest = rest.strip_prefix(" làm việc").unwrap_or(rest);
    if rest.is_empty() {
        return Some(Limit::SAME_DAY);
    }
    let (received, then) = rest.split_once(" thì ")?;
    let (received, cutoff) = received.split_once(" sau ")?;
    let then = then.strip_prefix("trả kết quả ").unwrap_or(then);
    let then = then.strip_prefix("trong ").or_else(|| then.strip_prefix("vào ")).unwrap_or(then);
    let is_received = received.ends_with(" nhận") || received.ends_with(" nhận hồ sơ");
    let knows_all = received.split_whitespace().all(|word| ["nếu", "hồ", "sơ", "tiếp", "nhận"].contains(&word));
    if !is_received || !knows_all || then != "ngày làm việc tiếp theo" {
        return None;
    }
    hour(cutoff).map(|cutoff| Limit::SameDay { cutoff })
}

/// An hour of the day: `15 giờ`, `15:30 giờ`, `15 giờ 30 phút`, `15h30`.
fn hour(text: &str) -> Option<Hour> {
    let text = text.replace(" phút", "").replace("giờ", ":").replace('h', ":");
    let mut figures = text.split(':').map(str::trim).filter(|figure| !figure.is_empty());
    let hour = figures.next()?.parse().ok()?;
    let minute = figures.next().map_or(Some(0), |minute| minute.parse().ok())?;
    let is_whole = text.contains(':') && figures.next().is_none();
    Hour::new(hour, minute, 0, 0).ok().filter(|_| is_whole)
}

/// Limits by length, roughly: eight working hours to a day, seven calendar days to five working ones.
fn weight(limit: Limit) -> u32 {
    match limit {
        Limit::WorkingHours(hours) => u32::from(hours) * 7,
        Limit::SameDay { .. } => 7 * 8,
        Limit::WorkingDays(days) => u32::from(days) * 7 * 8,
        Limit::CalendarDays(days) => u32::from(days) * 5 * 8,
        Limit::Unlimited => u32::MAX,
    }
}

fn cases(times: &[Published], detail: &Detail, before: Option<&Procedure>, local: &Local) -> Result<Vec<Case>, Fault> {
    let named = times.iter().map(|one| &one.case).chain(detail.components.iter().map(|one| &one.case));
    let mut cases: Vec<Case> = Vec::new();
    for name in named.filter(|name| !name.is_empty()) {
        if cases.iter().any(|case| case.name == *name) {
            continue;
        }
        let known = before.and_then(|before| before.cases.iter().find(|case| case.name == *name));
        let code = match (local.cases.get(name), known) {
            (Some(code), _) => code.parse::<CaseCode>().ok(),
            (None, Some(case)) => Some(case.code.clone()),
            (None, None) => {
                let taken = |code: &CaseCode| {
                    cases.iter().any(|case| case.code == *code)
                        || before.is_some_and(|before| before.case(code).is_some())
                };
                (1..=999).filter_map(|number| format!("th-{number}").parse().ok()).find(|code| !taken(code))
            }
        };
        let code = code.filter(|code| !cases.iter().any(|case| case.code == *code));
        let code = code.ok_or_else(|| {
            Fault::new("hai trường hợp trùng mã trong lớp phủ", "has two cases with one code in the overlay")
        })?;
        cases.push(Case { code, name: name.clone() });
    }
    Ok(cases)
}

/// The general limit is the longest published; a channel or case is named where it differs.
fn limits(times: &[Published], cases: &[Case]) -> Vec<CaseLimit> {
    let longest = |of: &dyn Fn(&Published) -> bool| {
        times.iter().filter(|one| of(one)).map(|one| one.limit).max_by_key(|limit| weight(*limit))
    };
    let general = longest(&|one| one.case.is_empty()).or_else(|| longest(&|_| true)).unwrap_or(Limit::Unlimited);
    let mut limits = vec![CaseLimit { case: None, channel: None, limit: general }];
    let mut differing = |case: Option<&Case>, name: &str, usual: Limit| {
        for channel in IntakeChannel::ALL {
            let limit = longest(&|one| one.case == name && one.channel == channel);
            if let Some(limit) = limit.filter(|limit| *limit != usual) {
                limits.push(CaseLimit { case: case.map(|case| case.code.clone()), channel: Some(channel), limit });
            }
        }
    };
    differing(None, "", general);
    let mut by_case = Vec::new();
    for case in cases {
        if let Some(usual) = longest(&|one| one.case == case.name) {
            by_case.push((case, usual));
            differing(Some(case), &case.name, usual);
        }
    }
    limits.extend(by_case.into_iter().map(|(case, limit)| CaseLimit {
        case: Some(case.code.clone()),
        channel: None,
        limit,
    }));
    limits
}

fn components(
    detail: &Detail,
    cases: &[Case],
    before: Option<&Procedure>,
    local: &Local,
) -> Result<Vec<ProcedureComponent>, Fault> {
    let mut components: Vec<ProcedureComponent> = Vec::new();
    for one in detail.components.iter().filter(|one| !one.paper.is_empty()) {
        let case = cases.iter().find(|case| case.name == one.case).map(|case| case.code.clone());
        if let Some(known) = components.iter_mut().find(|known| known.name == one.paper) {
            match case {
                Some(case) if !known.cases.is_empty() => {
                    if !known.cases.contains(&case) {
                        known.cases.push(case);
                    }
                }
                _ => known.cases.clear(),
            }
            continue;
        }
        let known = before.and_then(|before| before.components.iter().find(|known| known.name == one.paper));
        let (code, compulsory) = match (local.components.get(&one.paper), known) {
            (Some((code, compulsory)), _) => (Some(code.clone()), *compulsory),
            (None, Some(known)) => (known.code.clone(), known.compulsory),
            (None, None) => (None, false),
        };
        components.push(ProcedureComponent {
            code,
            name: one.paper.clone(),
            compulsory,
            cases: case.into_iter().collect(),
        });
    }
    // Nobody but the province may take back what it made compulsory.
    let has = |code: &Option<String>| components.iter().any(|one| one.compulsory && one.code == *code);
    let mut demanded = before.map(|before| before.components.iter()).into_iter().flatten();
    if let Some(lost) = demanded.find(|one| one.compulsory && !has(&one.code) && !is_waived(one, local)) {
        return Err(Fault::new(
            format!("thành phần bắt buộc \"{}\" không còn tên như cũ; nêu lại trong lớp phủ", lost.name),
            format!("the compulsory component \"{}\" is no longer called so; name it in the overlay", lost.name),
        ));
    }
    let codes: BTreeSet<_> = components.iter().filter_map(|one| one.code.as_ref()).collect();
    if codes.len() < components.iter().filter(|one| one.code.is_some()).count() {
        return Err(Fault::new("hai thành phần trùng mã", "has two components with one code"));
    }
    Ok(components)
}

/// Whether the overlay names the component's handle, and so has spoken about it.
fn is_waived(component: &ProcedureComponent, local: &Local) -> bool {
    local.components.values().any(|(code, _)| Some(code) == component.code.as_ref())
}

fn fees(detail: &Detail) -> Result<Vec<ProcedureFee>, Fault> {
    let mut channels = BTreeSet::new();
    let mut found: Vec<(String, u64)> = Vec::new();
    let mut of: BTreeMap<(String, u64), BTreeSet<u8>> = BTreeMap::new();
    for method in &detail.methods {
        let channel = channel(&method.channel)? as u8;
        channels.insert(channel);
        for fee in method.times.iter().flat_map(|time| &time.fees) {
            // Nothing, or 0 beside a note, means that another text sets it.
            if fee.amount.is_empty() || fee.amount == "0" {
                continue;
            }
            let amount = fee.amount.parse().ok().filter(|_| ["", "đồng", "VND", "đ"].contains(&&*fee.currency));
            let amount = amount.ok_or_else(|| {
                Fault::new(
                    format!("mức phí \"{} {}\" không đọc được", fee.amount, fee.currency),
                    format!("the fee \"{} {}\" cannot be read", fee.amount, fee.currency),
                )
            })?;
            let named = [&fee.note, &fee.code].into_iter().find(|text| !text.is_empty());
            let key = (named.map_or_else(|| "Phí, lệ phí".to_owned(), Clone::clone), amount);
            if !found.contains(&key) {
                found.push(key.clone());
            }
            of.entry(key).or_default().insert(channel);
        }
    }
    let mut fees = Vec::new();
    for key in found {
        let on = &of[&key];
        let (name, amount_vnd) = key.clone();
        if *on == channels {
            fees.push(ProcedureFee { name, amount_vnd, channel: None });
            continue;
        }
        for channel in IntakeChannel::ALL.into_iter().filter(|channel| on.contains(&(*channel as u8))) {
            fees.push(ProcedureFee { name: name.clone(), amount_vnd, channel: Some(channel) });
        }
    }
    Ok(fees)
}
