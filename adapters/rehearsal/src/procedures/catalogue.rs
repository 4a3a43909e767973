//! The catalogue that is told: what this repository's registry of Hue knows, made up to the size of the national one from a seed.
//!
//! It has the national list's known slips (`1.0133611`, `1.014955-Xoa`, `2.009182739`), limits in units that say nothing, entries without a
//! level; and it has a history: on 2026-09-01 some procedures change, some end, some are replaced, `2.002621` by `3.000722` among them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The registry that it begins with.
const HUE: &str = include_str!("../../../../gateway/registry/hue/procedures.toml");

/// The day on which much changes, `yyyymmdd`: NĐ 301/2026 comes into force.
pub const DECREE: u32 = 20_260_901;

/// The day before it.
const BEFORE: u32 = 20_260_831;

/// Codes that are none, as the national list has them.
pub const SLIPS: [&str; 3] = ["1.0133611", "1.014955-Xoa", "2.009182739"];

/// Procedures of Hue that are published in another form from the decree's day on.
pub const CHANGED: [&str; 3] = ["1.001193", "1.004873", "1.000689"];

/// Everything that is ever published.
pub struct Catalogue {
    entries: Vec<Entry>,
}

/// The catalogue of one day.
#[derive(Default)]
pub(super) struct Published {
    pub(super) entries: Vec<Value>,
    places: BTreeMap<String, usize>,
}

impl Published {
    /// The entry of that code.
    pub(super) fn one(&self, code: &str) -> Option<&Value> {
        self.places.get(code).map(|place| &self.entries[*place])
    }
}

/// One form of one procedure.
struct Entry {
    /// Its first day and its last, `yyyymmdd`; 0 and the greatest for none.
    from: u32,
    to: u32,
    /// Whether its end stays visible, as an abolished entry.
    ends: bool,
    successor: Option<String>,
    published: Value,
}

#[derive(Deserialize)]
struct File {
    procedure: Vec<Hue>,
}

#[derive(Deserialize)]
struct Hue {
    code: String,
    name: String,
    field: String,
    level: String,
    #[serde(default)]
    decision: String,
    limit: toml::Value,
    #[serde(default)]
    case: Vec<Case>,
    #[serde(default)]
    component: Vec<Paper>,
    #[serde(default)]
    fee: Vec<Fee>,
    #[serde(default)]
    results: Vec<String>,
    valid_from: Option<toml::value::Datetime>,
    valid_to: Option<toml::value::Datetime>,
    successor: Option<String>,
}

#[derive(Deserialize)]
struct Case {
    code: String,
    name: String,
}

#[derive(Deserialize)]
struct Paper {
    name: String,
    #[serde(default)]
    cases: Vec<String>,
}

#[derive(Deserialize)]
struct Fee {
    name: String,
    amount_vnd: u64,
    channel: Option<String>,
}

/// A small generator of numbers: the same seed, the same catalogue (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[usize::try_from(self.below(all.len() as u64)).unwrap_or_default()]
    }
}

impl Catalogue {
    /// The catalogue of a seed, of about `count` procedures; never fewer than the registry of Hue has.
    pub fn new(seed: u64, count: usize) -> Self {
        let file: File = toml::from_str(HUE).expect("the registry that comes with this program can be read");
        let mut entries: Vec<Entry> = file.procedure.iter().map(of_hue).collect();
        for code in CHANGED {
            let Some(at) = entries.iter().position(|entry| entry.published["MATTHC"] == code) else { continue };
            let mut published = entries[at].published.clone();
            published["SOQUYETDINH"] = json!(format!("{}/QĐ-DT", 301 + at));
            published["NGAYQUYETDINH"] = json!("20260820");
            published["CACHTHUCTHUCHIEN"] = methods(&[(String::new(), limit("2wd", ""))], &[]);
            entries[at].to = BEFORE;
            entries.push(Entry { from: DECREE, to: u32::MAX, ends: false, successor: None, published });
        }
        let mut dice = Dice(seed);
        for slip in SLIPS {
            entries.push(Entry {
                from: 0,
                to: u32::MAX,
                ends: false,
                successor: None,
                published: invented(slip, &mut dice),
            });
        }
        let mut number = 0;
        while entries.len() < count {
            number += 1;
            let code = format!(
                "{}.9{number:05}",
                [1, 1, 1, 1, 1, 1, 2, 3, 5, 6][usize::try_from(dice.below(10)).unwrap_or_default()]
            );
            let mut published = invented(&code, &mut dice);
            match dice.below(100) {
                // A unit that means nothing, or months; no level; and the rest as it should be.
                0 => published["CACHTHUCTHUCHIEN"][0]["THOIGIAN"][0]["DONVITINH"] = json!("OTHER"),
                1 => published["CACHTHUCTHUCHIEN"][0]["THOIGIAN"][0]["DONVITINH"] = json!("MONTH"),
                2 => published["CAPTHUCHIEN"] = json!(""),
                _ => {}
            }
            let (to, successor) = match dice.below(40) {
                0 => (BEFORE, None),
                1 => (BEFORE, Some(format!("4.9{number:05}"))),
                _ => (u32::MAX, None),
            };
            if let Some(code) = &successor {
                let published = invented(code, &mut dice);
                entries.push(Entry { from: DECREE, to: u32::MAX, ends: false, successor: None, published });
            }
            entries.push(Entry { from: 0, to, ends: to != u32::MAX, successor, published });
        }
        Self { entries }
    }

    /// What is published on a day, with the places of the codes in it.
    pub(super) fn published(&self, day: u32) -> Published {
        let entries = self.on(day);
        let code = |entry: &Value| entry["MATTHC"].as_str().unwrap_or_default().to_owned();
        let places = entries.iter().enumerate().map(|(place, entry)| (code(entry), place)).collect();
        Published { entries, places }
    }

    /// What is published on a day: what is in force, and what has ended and says so.
    pub fn on(&self, day: u32) -> Vec<Value> {
        let mut published = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.from <= day && (entry.ends || day <= entry.to)) {
            let mut one = entry.published.clone();
            let over = entry.to < day;
            one["TRANGTHAI"] = json!(if over { "0" } else { "1" });
            if entry.from > 0 {
                one["NGAYHIEULUC"] = json!(entry.from.to_string());
            }
            if over {
                one["NGAYHETHIEULUC"] = json!(entry.to.to_string());
                if let Some(successor) = &entry.successor {
                    one["MATTHCTHAYTHE"] = json!(successor);
                }
            }
            published.push(one);
        }
        published
    }
}

/// An entry as the list has it.
pub fn listed(entry: &Value) -> Value {
    let keys = ["MATTHC", "TENTTHC", "SOQUYETDINH", "NGAYQUYETDINH", "TRANGTHAI"];
    keys.into_iter().map(|key| (key.to_owned(), entry[key].clone())).collect::<Map<_, _>>().into()
}

/// An entry with everything about it.
pub fn detail(entry: &Value) -> Value {
    entry.clone()
}

fn of_hue(one: &Hue) -> Entry {
    let name = |code: &str| one.case.iter().find(|case| case.code == code).map_or("", |case| &case.name).to_owned();
    let rows: Vec<(String, String, String)> = match &one.limit {
        toml::Value::Array(rows) => rows
            .iter()
            .map(|row| {
                let text = |key: &str| row.get(key).and_then(toml::Value::as_str).unwrap_or_default();
                (name(text("case")), text("channel").to_owned(), text("limit").to_owned())
            })
            .collect(),
        other => vec![(String::new(), String::new(), other.as_str().unwrap_or_default().to_owned())],
    };
    let channels = [("1", "direct"), ("2", "online"), ("3", "postal")].map(|(number, channel)| {
        let mut cases: Vec<&String> = rows.iter().map(|(case, ..)| case).collect();
        cases.dedup();
        let mut seen: Vec<&String> = Vec::new();
        let mut times = Vec::new();
        for case in cases {
            if seen.contains(&case) {
                continue;
            }
            seen.push(case);
            let of = |wanted: &str| rows.iter().find(|(one, on, _)| one == case && on == wanted);
            if let Some((_, _, text)) = of(channel).or_else(|| of("")) {
                times.push(limit(text, case));
            }
        }
        if let Some(first) = times.first_mut() {
            let fees = one.fee.iter().filter(|fee| fee.channel.as_deref().is_none_or(|one| one == channel));
            first["PHILEPHI"] = fees
                .map(|fee| json!({ "MAPHILEPHI": "", "SOTIEN": fee.amount_vnd, "DONVI": "đồng", "MOTA": fee.name }))
                .collect();
        }
        json!({ "KENH": number, "THOIGIAN": times })
    });
    let papers = one.component.iter().flat_map(|paper| {
        let cases: Vec<String> = paper.cases.iter().map(|case| name(case)).collect();
        let cases = if cases.is_empty() { vec![String::new()] } else { cases };
        cases.into_iter().map(|case| json!({ "TRUONGHOP": case, "GIAYTO": paper.name, "SOBANCHINH": 1, "SOBANSAO": 0 }))
    });
    let results = one.results.iter().map(|name| json!({ "MAKETQUA": null, "TENKETQUA": name }));
    let published = json!({
        "MATTHC": one.code,
        "TENTTHC": one.name,
        "SOQUYETDINH": one.decision,
        "NGAYQUYETDINH": "20250701",
        "CAPTHUCHIEN": match one.level.as_str() {
            "commune" => "Cấp Xã",
            "province" => "Cấp Tỉnh",
            _ => "Cấp Bộ",
        },
        "LINHVUCTHUCHIEN": [{ "MALINHVUC": "", "TENLINHVUC": one.field }],
        "CACHTHUCTHUCHIEN": channels,
        "THANHPHANHOSO": papers.collect::<Value>(),
        "KETQUATHUCHIEN": results.collect::<Value>(),
        "CANCUPHAPLY": null,
    });
    let day = |day: Option<toml::value::Datetime>| {
        let date = day.and_then(|day| day.date)?;
        Some(u32::from(date.year) * 10_000 + u32::from(date.month) * 100 + u32::from(date.day))
    };
    let to = day(one.valid_to);
    Entry {
        from: day(one.valid_from).unwrap_or(0),
        to: to.unwrap_or(u32::MAX),
        ends: to.is_some(),
        successor: one.successor.clone(),
        published,
    }
}

/// A limit of the registry's writing in the national one.
fn limit(text: &str, case: &str) -> Value {
    let (count, unit, note) = if let Some(hour) = text.strip_prefix("same-day ") {
        let hour = hour.strip_suffix(":00").unwrap_or(hour);
        let note =
            format!("Trong ngày làm việc; hồ sơ nhận sau {hour} giờ thì trả kết quả vào ngày làm việc tiếp theo");
        ("1", "OTHER", note)
    } else if let Some(days) = text.strip_suffix("wd") {
        (days, "WORKING_DAY", String::new())
    } else if let Some(days) = text.strip_suffix('d') {
        (days, "ngày", String::new())
    } else if let Some(hours) = text.strip_suffix('h') {
        (hours, "HOUR", String::new())
    } else {
        ("", "OTHER", String::new())
    };
    json!({ "TRUONGHOP": case, "THOIGIANGIAIQUYET": count, "DONVITINH": unit, "MOTA": note, "PHILEPHI": [] })
}

fn methods(limits: &[(String, Value)], fees: &[Value]) -> Value {
    let times: Vec<Value> = limits
        .iter()
        .enumerate()
        .map(|(at, (_, limit))| {
            let mut limit = limit.clone();
            if at == 0 {
                limit["PHILEPHI"] = fees.to_vec().into();
            }
            limit
        })
        .collect();
    ["1", "2", "3"].map(|channel| json!({ "KENH": channel, "THOIGIAN": times })).to_vec().into()
}

/// A procedure that there is not, in the form of one that there could be.
fn invented(code: &str, dice: &mut Dice) -> Value {
    let act = dice.pick(&["Cấp", "Cấp lại", "Gia hạn", "Thu hồi", "Công nhận", "Xác nhận", "Điều chỉnh"]);
    let thing = dice.pick(&["giấy phép", "chứng chỉ", "giấy chứng nhận", "văn bản chấp thuận", "bản đăng ký"]);
    let field = dice.pick(&["Diễn tập A", "Diễn tập B", "Diễn tập C", "Diễn tập D", "Diễn tập Đ", "Diễn tập E"]);
    let level = dice.pick(&["Cấp Xã", "Cấp Tỉnh", "Cấp Tỉnh", "Cấp Bộ"]);
    let days = 1 + dice.below(30);
    let unit = dice.pick(&["WORKING_DAY", "WORKING_DAY", "WORKING_DAY", "ngày"]);
    let fee = 10_000 * dice.below(20);
    let fees = [json!({ "MAPHILEPHI": "LP", "SOTIEN": fee, "DONVI": "đồng", "MOTA": "Lệ phí diễn tập" })];
    let time = json!({ "TRUONGHOP": "", "THOIGIANGIAIQUYET": days, "DONVITINH": unit, "MOTA": null });
    json!({
        "MATTHC": code,
        "TENTTHC": format!("{act} {thing} diễn tập số {code}"),
        "SOQUYETDINH": format!("{}/QĐ-DT", 1 + dice.below(200)),
        "NGAYQUYETDINH": format!("2025{:02}{:02}", 1 + dice.below(12), 1 + dice.below(28)),
        "CAPTHUCHIEN": level,
        "LINHVUCTHUCHIEN": [{ "MALINHVUC": "DT", "TENLINHVUC": field }],
        "CACHTHUCTHUCHIEN": methods(&[(String::new(), time)], if fee > 0 { &fees } else { &[] }),
        "THANHPHANHOSO": [{ "TRUONGHOP": null, "GIAYTO": "Đơn đề nghị theo mẫu", "MAGIAYTO": "GT1", "SOBANCHINH": "1", "SOBANSAO": "0" }],
        "KETQUATHUCHIEN": [{ "MAKETQUA": "KQ1", "TENKETQUA": format!("{thing} diễn tập") }],
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn one_seed_is_one_catalogue_with_a_history() {
        let catalogue = Catalogue::new(7, 5_600);
        assert_eq!(Catalogue::new(7, 5_600).on(DECREE), catalogue.on(DECREE));
        assert_ne!(Catalogue::new(8, 5_600).on(DECREE), catalogue.on(DECREE));
        let (before, after) = (catalogue.on(20_260_815), catalogue.on(DECREE));
        assert!((5_300..=5_700).contains(&before.len()), "{}", before.len());
        let of = |all: &[Value], code: &str| all.iter().find(|one| one["MATTHC"] == code).cloned();
        assert_eq!(of(&before, "2.002621").unwrap()["TRANGTHAI"], "1");
        assert_eq!(of(&before, "3.000722"), None);
        let ended = of(&after, "2.002621").unwrap();
        assert_eq!((&ended["TRANGTHAI"], &ended["MATTHCTHAYTHE"]), (&json!("0"), &json!("3.000722")));
        assert_eq!(ended["NGAYHETHIEULUC"], "20260831");
        assert!(of(&after, "3.000722").is_some());
        for code in CHANGED {
            assert_ne!(of(&before, code), of(&after, code), "{code}");
        }
        for all in [before, after] {
            let codes: BTreeSet<_> = all.iter().map(|one| one["MATTHC"].as_str().unwrap()).collect();
            assert_eq!(codes.len(), all.len(), "nothing stands there twice");
            assert!(SLIPS.iter().all(|slip| codes.contains(slip)));
        }
    }
}
