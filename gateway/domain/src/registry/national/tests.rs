use std::collections::BTreeMap;

use jiff::civil::{Date, date};
use lgsp_proto::types::{CaseCode, IntakeChannel, ProcedureCode};

use super::super::procedure::{Level, Procedure};
use super::super::{NoProcedure, Registry};
use super::*;
use crate::deadline::Limit;

const DAY: Date = date(2026, 9, 1);

macro_rules! files {
    ($($name:literal),*) => {
        BTreeMap::from([$(($name.to_owned(), include_str!(concat!("../../../../registry/hue/", $name)).to_owned())),*])
    };
}

fn texts() -> BTreeMap<String, String> {
    files!(
        "parties.toml",
        "units.toml",
        "procedures.toml",
        "routes.toml",
        "grants.toml",
        "systems.toml",
        "calendars.toml"
    )
}

/// The registry of these texts; the services are not the catalogue's business.
fn registry(texts: &BTreeMap<String, String>) -> Registry {
    let files: BTreeMap<String, Vec<u8>> =
        texts.iter().map(|(name, text)| (name.clone(), text.clone().into_bytes())).collect();
    Registry::parse(&files).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn code(text: &str) -> ProcedureCode {
    text.parse().unwrap()
}

fn compact(date: Option<Date>) -> String {
    date.map(|date| date.strftime("%Y%m%d").to_string()).unwrap_or_default()
}

/// A procedure as the national database would publish it: by hand, so that no fault of the reading is repeated here.
fn published(one: &Procedure) -> Detail {
    let name = |case: Option<&CaseCode>| case.map(|code| one.case(code).unwrap().name.clone()).unwrap_or_default();
    let mut methods = Vec::new();
    for channel in IntakeChannel::ALL {
        let cases = std::iter::once(None).chain(one.cases.iter().map(|case| Some(&case.code)));
        let mut times: Vec<Time> = Vec::new();
        for case in cases {
            let (count, unit, note) = match one.limit(case, channel) {
                Limit::WorkingDays(days) => (days.to_string(), "WORKING_DAY", String::new()),
                Limit::CalendarDays(days) => (days.to_string(), "ngày", String::new()),
                Limit::WorkingHours(hours) => (hours.to_string(), "HOUR", String::new()),
                Limit::SameDay { cutoff } => {
                    let note = format!(
                        "Trong ngày; nhận sau {}:{:02} giờ thì ngày làm việc tiếp theo",
                        cutoff.hour(),
                        cutoff.minute()
                    );
                    ("1".to_owned(), "OTHER", note)
                }
                Limit::Unlimited => (String::new(), "OTHER", String::new()),
            };
            times.push(Time { count, unit: unit.to_owned(), note, case: name(case), fees: Vec::new() });
        }
        let fees = one.fees.iter().filter(|fee| fee.channel.is_none_or(|one| one == channel));
        times[0].fees = fees
            .map(|fee| Fee { amount: fee.amount_vnd.to_string(), note: fee.name.clone(), ..Fee::default() })
            .collect();
        methods.push(Method { channel: (channel as u8).to_string(), times });
    }
    let components = one.components.iter().flat_map(|component| {
        let cases = component.cases.iter().map(|case| name(Some(case)));
        let cases: Vec<String> = if component.cases.is_empty() { vec![String::new()] } else { cases.collect() };
        cases.into_iter().map(|case| Component { case, paper: component.name.clone(), ..Component::default() })
    });
    Detail {
        code: one.code.to_string(),
        name: one.name.clone(),
        decision: one.decision.clone().unwrap_or_default(),
        state: "1".to_owned(),
        level: match one.level {
            Level::Commune => "Cấp Xã",
            Level::Province => "Cấp Tỉnh",
            Level::Ministry => "Cấp Bộ",
        }
        .to_owned(),
        from: compact(one.validity.from),
        to: compact(one.validity.to),
        successor: one.successor.as_ref().map(ToString::to_string).unwrap_or_default(),
        fields: vec![Field { name: one.field.clone(), ..Field::default() }],
        methods,
        components: components.collect(),
        results: one.results.iter().map(|name| Outcome { name: name.clone(), ..Outcome::default() }).collect(),
        ..Detail::default()
    }
}

/// The national catalogue that Hue follows exactly.
fn national(registry: &Registry) -> BTreeMap<String, Detail> {
    registry.procedures().map(|one| (one.code.to_string(), published(one))).collect()
}

fn plan(registry: &Registry, national: &BTreeMap<String, Detail>, overlay: &str) -> Plan {
    let snapshot = Snapshot::of(national.len(), national.values().cloned().collect(), Vec::new());
    let overlay = Overlay::parse(overlay).unwrap();
    Catalogue { registry, overlay: &overlay, snapshot: &snapshot, from: DAY }.plan()
}

/// The registry after a plan was carried into its files, and what it changed.
fn follow(
    texts: &BTreeMap<String, String>,
    national: &BTreeMap<String, Detail>,
    overlay: &str,
) -> (Registry, Plan, String) {
    let plan = plan(&registry(texts), national, overlay);
    let carried = plan.carried(&texts["procedures.toml"]).unwrap();
    let mut after = texts.clone();
    after.insert("procedures.toml".to_owned(), carried.clone());
    after.insert("routes.toml".to_owned(), plan.routed(&texts["routes.toml"]).unwrap());
    (registry(&after), plan, carried)
}

#[test]
fn a_catalogue_that_is_published_as_the_province_has_it_changes_nothing() {
    let texts = texts();
    let registry = registry(&texts);
    let plan = plan(&registry, &national(&registry), "");
    assert_eq!((&plan.changes, &plan.left_out), (&Vec::new(), &Vec::new()));
    assert_eq!(plan.unchanged, registry.procedures().count());
    assert_eq!(plan.carried(&texts["procedures.toml"]).unwrap(), texts["procedures.toml"], "not a byte");
}

/// The registry of a day on which nobody in Hue had heard of 3.000722.
fn before_the_decree() -> BTreeMap<String, String> {
    let mut texts = texts();
    let procedures = texts.get_mut("procedures.toml").unwrap();
    let begin = procedures.find("[[procedure]]\ncode = \"3.000722\"").unwrap();
    let end = begin + procedures[begin..].find("\n# ").unwrap();
    procedures.replace_range(begin..end, "");
    let line = "valid_to = 2026-08-31     # NĐ 301/2026 có hiệu lực từ 01/9/2026\nsuccessor = \"3.000722\"\n";
    assert!(procedures.contains(line));
    *procedures = procedures.replace(line, "");
    // And nobody was granted anything for it.
    let grants = texts.get_mut("grants.toml").unwrap();
    *grants = grants.replace("\"3.000722\", ", "");
    texts
}

#[test]
fn an_abolished_procedure_keeps_its_days_and_names_its_successor_afterwards() {
    let national = national(&registry(&texts()));
    let texts = before_the_decree();
    let old = registry(&texts);
    assert!(old.procedure(&code("2.002621"), DAY).is_ok() && old.procedure(&code("3.000722"), DAY).is_err());
    let (new, plan, carried) = follow(&texts, &national, "");
    let changes: Vec<_> = plan.changes.iter().map(|one| (one.code.to_string(), one.kind)).collect();
    let replaced = ("2.002621".to_owned(), CatalogueChangeKind::Replaced);
    assert_eq!(changes, [replaced, ("3.000722".to_owned(), CatalogueChangeKind::New)], "the successor comes along");
    assert_eq!(plan.changes[0].day, date(2026, 8, 31));
    let pinned = new.procedure(&code("2.002621"), date(2026, 8, 31)).unwrap();
    assert_eq!(pinned.name, old.procedure(&code("2.002621"), DAY).unwrap().name);
    let successor = Some(code("3.000722"));
    assert_eq!(new.procedure(&code("2.002621"), DAY).unwrap_err(), NoProcedure::Abolished { successor });
    let taken = new.procedure(&code("3.000722"), DAY).unwrap();
    assert_eq!((taken.cases.len(), taken.validity.from), (1, Some(DAY)));
    let kept = "# Mã dùng 2023-2025; không có thời hạn chung được công bố.";
    assert_eq!(carried.matches(kept).count(), texts["procedures.toml"].matches(kept).count());
    let mut again = texts;
    again.insert("procedures.toml".to_owned(), carried);
    assert_eq!(follow(&again, &national, "").1.changes, [], "what was followed is followed");
}

#[test]
fn an_end_that_is_still_ahead_can_be_moved_and_one_that_has_passed_is_followed_by_a_new_version() {
    let texts = texts();
    let old = registry(&texts);
    let mut national = national(&old);
    national.get_mut("2.002621").unwrap().to = "20261231".to_owned();
    let snapshot = Snapshot::of(national.len(), national.into_values().collect(), Vec::new());
    let overlay = Overlay::default();
    let on = |from| Catalogue { registry: &old, overlay: &overlay, snapshot: &snapshot, from }.plan();
    let fields = |plan: &Plan| {
        let fields = plan.changes.iter().flat_map(|one| &one.fields);
        fields.map(|(key, old, new)| format!("{key}: {old} → {new}")).collect::<Vec<_>>()
    };
    let ahead = on(date(2026, 8, 15));
    assert_eq!(fields(&ahead), ["valid_to: 2026-08-31 → 2026-12-31"]);
    assert_eq!(ahead.carried(&texts["procedures.toml"]).unwrap().matches("valid_to = 2026-08-31").count(), 1);
    let passed = on(DAY);
    assert_eq!(fields(&passed), ["valid_from:  → 2026-09-01", "valid_to: 2026-08-31 → 2026-12-31"]);
    assert_eq!(passed.carried(&texts["procedures.toml"]).unwrap().matches("valid_to = 2026-08-31").count(), 2);
}

#[test]
fn a_changed_procedure_gets_a_version_and_the_one_before_it_stays_for_its_dossiers() {
    let texts = texts();
    let old = registry(&texts);
    let mut national = national(&old);
    let birth = national.get_mut("1.001193").unwrap();
    birth.decision = "77/QĐ-BTP".to_owned();
    birth.from = "20261001".to_owned();
    birth.methods[1].times[0] = Time { count: "4".into(), unit: "HOUR".into(), ..Time::default() };
    let (new, plan, _) = follow(&texts, &national, "");
    assert_eq!(plan.changes.len(), 1);
    let keys: Vec<_> = plan.changes[0].fields.iter().map(|(key, ..)| *key).collect();
    assert_eq!(keys, ["decision", "limit", "valid_from"]);
    let of = |day| new.procedure(&code("1.001193"), day).unwrap();
    let (before, after) = (of(date(2026, 9, 30)), of(date(2026, 10, 1)));
    assert_eq!(before.limit(None, IntakeChannel::Online), Limit::SAME_DAY);
    assert_eq!(after.limit(None, IntakeChannel::Online), Limit::WorkingHours(4));
    assert_eq!(after.limit(None, IntakeChannel::Postal), Limit::SAME_DAY);
    let compulsory: Vec<_> = after.compulsory_components(None).map(|one| one.code.clone()).collect();
    assert_eq!(compulsory, [Some("to-khai".to_owned())], "what the province made compulsory stays so");
}

#[test]
fn what_cannot_be_read_is_listed_with_its_reason_and_left_as_it_is() {
    let texts = texts();
    let registry = registry(&texts);
    let mut all = national(&registry);
    for bad in ["1.0133611", "1.014955-Xoa", "2.009182739", "1.001193.H57"] {
        all.insert(bad.to_owned(), Detail { code: bad.to_owned(), ..all["1.000689"].clone() });
    }
    let mut spoil = |code: &str, how: &dyn Fn(&mut Detail)| how(all.get_mut(code).unwrap());
    spoil("1.000689", &|one| one.methods[0].times[0].unit = "PHASE_OF_THE_MOON".into());
    spoil("1.000656", &|one| one.methods[0].times[0].unit = "MONTH".into());
    spoil("1.000894", &|one| one.level = "Cấp Huyện".into());
    spoil("1.001193", &|one| one.components[0].paper = "Tờ khai điện tử".into());
    spoil("2.000635", &|one| one.to = "31/12/2026".into());
    spoil("1.004873", &|one| {
        (one.to, one.successor) = ("20261231".into(), "1.999999".into());
    });
    let plan = plan(&registry, &all, "");
    assert_eq!(plan.changes, []);
    let reasons: BTreeMap<_, _> = plan.left_out.iter().map(|one| (one.code.as_str(), one.en.as_str())).collect();
    let expected = [
        ("1.0133611", "no code of the national"),
        ("1.014955-Xoa", "no code of the national"),
        ("2.009182739", "no code of the national"),
        ("1.001193.H57", "no code of the national"),
        ("1.000689", "\"PHASE_OF_THE_MOON\""),
        ("1.000656", "months"),
        ("1.000894", "\"Cấp Huyện\""),
        ("1.001193", "compulsory component"),
        ("2.000635", "no day yyyyMMdd"),
        ("1.004873", "its successor 1.999999"),
    ];
    assert_eq!(reasons.len(), expected.len(), "{reasons:#?}");
    for (code, why) in expected {
        assert!(reasons[code].contains(why), "{code}: {}", reasons[code]);
    }
    assert_eq!(plan.carried(&texts["procedures.toml"]).unwrap(), texts["procedures.toml"]);
}

#[test]
fn the_overlay_says_which_procedures_are_followed_and_how_the_province_does_them() {
    let texts = texts();
    let registry = registry(&texts);
    let mut national = national(&registry);
    for (code, field) in [("1.700001", "Hộ tịch"), ("1.700002", "Hàng hải"), ("1.700003", "Biển và hải đảo")]
    {
        let mut new =
            Detail { code: code.to_owned(), name: "Thủ tục thử".to_owned(), ..national["1.000689"].clone() };
        new.fields[0].name = field.to_owned();
        national.insert(code.to_owned(), new);
    }
    let overlay = r#"
fields = ["Hộ tịch"]
[[procedure]]
code = "1.700003"
limit = "2wd"
authority = "H57.16"
component = [{ code = "to-khai", name = "Tờ khai đăng ký khai sinh theo mẫu", compulsory = true }]
[[procedure]]
code = "1.000656"
one_stop = false
"#;
    let (new, plan, _) = follow(&texts, &national, overlay);
    let codes: Vec<_> = plan.changes.iter().map(|one| one.code.to_string()).collect();
    assert_eq!((codes, plan.not_followed), (vec!["1.700001".to_owned(), "1.700003".to_owned()], 1));
    let own = new.procedure(&code("1.700003"), DAY).unwrap();
    assert_eq!(own.limit(None, IntakeChannel::Direct), Limit::WorkingDays(2));
    assert_eq!(own.compulsory_components(None).count(), 1);
    let routes = plan.routed(&texts["routes.toml"]).unwrap();
    assert!(routes.ends_with("\n[[route]]\nid = \"lop-phu-1-700003\"\nprocedures = [\"1.700003\"]\nauthority = \"H57.16\"\nbasis = \"lớp phủ của tỉnh / the province's overlay\"\nvalid_from = 2026-09-01\n"));

    let longer = Overlay::parse(&overlay.replace("2wd", "30wd")).unwrap();
    let snapshot = Snapshot::of(0, national.into_values().collect(), Vec::new());
    let plan = Catalogue { registry: &registry, overlay: &longer, snapshot: &snapshot, from: DAY }.plan();
    assert!(plan.left_out.iter().any(|one| one.code == "1.700003" && one.en.contains("longer")), "{plan:#?}");
}

#[test]
fn an_overlay_with_slips_of_the_pen_is_refused_with_their_lines() {
    let problems = Overlay::parse("[[procedure]]\ncode = \"1.0133611\"\nlimitt = \"3wd\"\n").unwrap_err();
    let at: Vec<_> = problems.iter().map(|one| (one.file.as_str(), one.line)).collect();
    assert_eq!(at, [(OVERLAY, Some(2)), (OVERLAY, Some(3))], "{problems:#?}");
}

#[test]
fn limits_of_one_channel_are_told_apart_by_their_notes_and_the_longest_is_the_general_one() {
    let time = |count: &str, note: &str| Time {
        count: count.into(),
        unit: "WORKING_DAY".into(),
        note: note.into(),
        ..Time::default()
    };
    let detail = Detail {
        code: "1.010041".into(),
        name: "Xác nhận thông tin về cư trú".into(),
        level: "Cấp Xã".into(),
        fields: vec![Field { name: "Cư trú".into(), ..Field::default() }],
        methods: vec![
            Method {
                channel: "2".into(),
                times: vec![time("1", "đã có trong cơ sở dữ liệu"), time("3", "cần xác minh")],
            },
            Method { channel: "1".into(), times: vec![time("2", "")] },
            Method { channel: "3".into(), times: vec![time("10", "")] },
        ],
        ..Detail::default()
    };
    let read = reading::procedure(code("1.010041"), &detail, None, &Local::default()).unwrap();
    let of = |case: Option<&str>, channel| read.limit(case.map(|case| case.parse().unwrap()).as_ref(), channel);
    assert_eq!(read.limits[0].limit, Limit::WorkingDays(10), "whoever names nothing may count on no less");
    assert_eq!(of(None, IntakeChannel::Direct), Limit::WorkingDays(2));
    assert_eq!(of(Some("th-1"), IntakeChannel::Online), Limit::WorkingDays(1));
    assert_eq!(of(Some("th-2"), IntakeChannel::Online), Limit::WorkingDays(3));
}

#[test]
fn values_may_come_as_numbers_as_texts_or_not_at_all() {
    let text = r#"{"MATTHC":"1.001193","TRANGTHAI":1,"YEUCAU":null,"KETQUATHUCHIEN":null,
        "CACHTHUCTHUCHIEN":[{"KENH":1,"THOIGIAN":[{"THOIGIANGIAIQUYET":3.0,"DONVITINH":"ngày","PHILEPHI":[{"SOTIEN":8000}]}]}],
        "of tomorrow":{"x":1}}"#;
    let detail: Detail = serde_json::from_str(text).unwrap();
    assert_eq!((detail.state.as_str(), detail.conditions.as_str(), detail.results.len()), ("1", "", 0));
    let time = &detail.methods[0].times[0];
    assert_eq!((time.count.as_str(), time.fees[0].amount.as_str()), ("3", "8000"));
    let again: Detail = serde_json::from_str(&serde_json::to_string(&detail).unwrap()).unwrap();
    assert_eq!(again, detail);
}

#[test]
fn a_snapshot_is_known_by_its_newest_decision_and_equal_catalogues_are_equal_bytes() {
    let entry = |code: &str, decision: &str, day: &str| Detail {
        code: code.into(),
        decision: decision.into(),
        decided: day.into(),
        ..Detail::default()
    };
    let (one, other) = (entry("1.000001", "5/QĐ", "20260101"), entry("1.000002", "3/QĐ", "20260201"));
    let snapshot = Snapshot::of(2, vec![other.clone(), one.clone(), one.clone()], Vec::new());
    assert_eq!((snapshot.decision.as_str(), snapshot.date), ("3/QĐ", Some(date(2026, 2, 1))));
    assert_eq!(snapshot, Snapshot::of(2, vec![one, other], Vec::new()));
}

/// What a limit in words is read as.
fn in_words(count: &str, note: &str) -> Option<Limit> {
    let national = national(&registry(&texts()));
    let mut detail = national["1.000689"].clone();
    let time = Time { count: count.into(), unit: "OTHER".into(), note: note.into(), ..Time::default() };
    detail.methods = vec![Method { channel: "1".into(), times: vec![time] }];
    let read = reading::procedure(code("1.000689"), &detail, None, &Local::default());
    read.ok().map(|read| read.limit(None, IntakeChannel::Direct))
}

#[test]
fn a_limit_in_words_is_read_only_where_the_whole_sentence_is_known() {
    let until = |hour, minute| Some(Limit::SameDay { cutoff: jiff::civil::time(hour, minute, 0, 0) });
    for (note, limit) in [
        ("", Some(Limit::Unlimited)),
        ("05 ngày làm việc kể từ ngày nhận đủ hồ sơ hợp lệ", None),
        ("Không quy định", None),
        ("Trong ngày làm việc", Some(Limit::SAME_DAY)),
        ("Ngay trong ngày.", Some(Limit::SAME_DAY)),
        ("trong ngày làm việc tiếp theo", None),
        ("Trong ngày làm việc nếu không phải xác minh", None),
        ("trong ngày làm việc; nếu tiếp nhận sau 15 giờ thì trả kết quả trong ngày làm việc tiếp theo", until(15, 0)),
        ("Trong ngày; hồ sơ nhận sau 15 giờ 30 thì trả kết quả vào ngày làm việc tiếp theo", until(15, 30)),
        ("Trong ngày; nhận sau 16h30 thì ngày làm việc tiếp theo", until(16, 30)),
        ("Trong ngày; nhận sau 15 giờ thì trả kết quả trong 02 ngày làm việc tiếp theo", None),
        ("Trong ngày; nhận sau 25 giờ thì ngày làm việc tiếp theo", None),
    ] {
        assert_eq!(in_words("", note), limit, "{note}");
    }
    assert_eq!(in_words("1", "Trong ngày"), Some(Limit::SAME_DAY));
    assert_eq!(in_words("5", "Trong ngày"), None, "which of the two?");
}

#[test]
fn an_entry_that_publishes_no_limit_at_all_is_not_one_without_limit() {
    let texts = texts();
    let registry = registry(&texts);
    let mut national = national(&registry);
    national.get_mut("1.000689").unwrap().methods.clear();
    national.get_mut("1.000656").unwrap().methods.iter_mut().for_each(|method| method.times.clear());
    let left_out = |overlay| {
        let left_out = plan(&registry, &national, overlay).left_out;
        left_out.into_iter().map(|one| one.code).collect::<Vec<_>>()
    };
    assert_eq!(left_out(""), ["1.000656", "1.000689"]);
    let own = "[[procedure]]\ncode = \"1.000656\"\nlimit = \"1wd\"\n";
    assert_eq!(left_out(own), ["1.000689"], "the province's own duration stands in");
}

/// The registry with a last day of its own for 1.000689, which the national list does not know.
fn with_an_end_of_its_own(end: &str) -> BTreeMap<String, String> {
    let mut texts = texts();
    let procedures = texts.get_mut("procedures.toml").unwrap();
    let head = "[[procedure]]\ncode = \"1.000689\"\n";
    assert!(procedures.contains(head));
    *procedures = procedures.replace(head, &format!("{head}valid_to = {end}\n"));
    texts
}

#[test]
fn what_the_registry_ends_on_a_day_of_its_own_is_followed_until_then() {
    let mut national = national(&registry(&texts()));
    let texts = with_an_end_of_its_own("2027-06-30");
    assert_eq!(plan(&registry(&texts), &national, "").changes, [], "the end alone is the province's business");
    for method in &mut national.get_mut("1.000689").unwrap().methods {
        method.times = vec![Time { count: "9".into(), unit: "HOUR".into(), ..Time::default() }];
    }
    let (new, plan, _) = follow(&texts, &national, "");
    assert_eq!(plan.changes.iter().map(|one| one.kind).collect::<Vec<_>>(), [CatalogueChangeKind::Changed]);
    let after = new.procedure(&code("1.000689"), DAY).unwrap();
    assert_eq!(after.limit(None, IntakeChannel::Direct), Limit::WorkingHours(9));
    assert_eq!(after.validity.to, Some(date(2027, 6, 30)), "its own end stays");
    // A form that would only begin when the procedure is gone is for a person to look at.
    national.get_mut("1.000689").unwrap().from = "20270701".to_owned();
    let late = super::tests::plan(&registry(&texts), &national, "");
    assert_eq!(late.changes, []);
    assert!(late.left_out.iter().any(|one| one.code == "1.000689" && one.en.contains("2027-06-30")), "{late:#?}");
}

#[test]
fn a_version_that_has_begun_is_not_rewritten_by_a_second_change_on_the_same_day() {
    let mut texts = texts();
    let mut national = national(&registry(&texts));
    let publish = |national: &mut BTreeMap<String, Detail>, hours: &str| {
        for method in &mut national.get_mut("1.000689").unwrap().methods {
            method.times = vec![Time { count: hours.into(), unit: "HOUR".into(), ..Time::default() }];
        }
    };
    publish(&mut national, "9");
    let (_, _, carried) = follow(&texts, &national, "");
    texts.insert("procedures.toml".to_owned(), carried);
    publish(&mut national, "7");
    let same_day = plan(&registry(&texts), &national, "");
    assert_eq!(same_day.changes, []);
    let why = same_day.left_out.iter().find(|one| one.code == "1.000689").unwrap();
    assert!(why.en.contains("2026-09-01") && why.en.contains("--from"), "{why:?}");
    let registry = registry(&texts);
    let snapshot = Snapshot::of(national.len(), national.into_values().collect(), Vec::new());
    let (overlay, from) = (Overlay::default(), date(2026, 9, 2));
    let next_day = Catalogue { registry: &registry, overlay: &overlay, snapshot: &snapshot, from }.plan();
    assert_eq!(next_day.changes.iter().map(|one| one.day).collect::<Vec<_>>(), [from]);
}

#[test]
fn a_successor_that_the_desks_do_not_take_in_does_not_come_along() {
    let national = national(&registry(&texts()));
    let texts = before_the_decree();
    let own = "[[procedure]]\ncode = \"3.000722\"\none_stop = false\n";
    let (new, plan, _) = follow(&texts, &national, own);
    let changes: Vec<_> = plan.changes.iter().map(|one| (one.code.as_str(), one.kind)).collect();
    assert_eq!(changes, [("2.002621", CatalogueChangeKind::Abolished)], "it ends all the same");
    assert_eq!(new.procedure(&code("2.002621"), DAY).unwrap_err(), NoProcedure::Abolished { successor: None });
}

#[test]
fn what_the_desks_no_longer_take_in_and_the_registry_has_is_said() {
    let registry = registry(&texts());
    let plan = plan(&registry, &national(&registry), "[[procedure]]\ncode = \"1.000656\"\none_stop = false\n");
    assert_eq!((plan.changes.len(), plan.not_followed), (0, 0));
    let left_out: Vec<_> = plan.left_out.iter().map(|one| (one.code.as_str(), one.en.contains("one_stop"))).collect();
    assert_eq!(left_out, [("1.000656", true)]);
}

#[test]
fn another_agency_in_the_overlay_ends_the_route_before_and_is_a_part_of_the_plan() {
    let mut texts = texts();
    let national = national(&registry(&texts));
    let to = |party: &str| format!("[[procedure]]\ncode = \"1.000656\"\nauthority = \"{party}\"\n");
    let on = |texts: &BTreeMap<String, String>, overlay: &str, from: Date| {
        let snapshot = Snapshot::of(national.len(), national.values().cloned().collect(), Vec::new());
        let overlay = Overlay::parse(overlay).unwrap();
        Catalogue { registry: &registry(texts), overlay: &overlay, snapshot: &snapshot, from }.plan()
    };
    let first = on(&texts, &to("H57.102"), DAY);
    assert_eq!(first.routes.len(), 1, "{first:#?}");
    let routed = first.routed(&texts["routes.toml"]).unwrap();
    texts.insert("routes.toml".to_owned(), routed + "\n# Ghi chú của tỉnh.\n");
    assert_eq!(on(&texts, &to("H57.102"), DAY).routes, [], "what was taken is taken");

    let same_day = on(&texts, &to("H57.103"), DAY);
    assert_eq!(same_day.routes, [], "dossiers may have gone that way today");
    assert!(same_day.left_out.iter().any(|one| one.en.contains("lop-phu-1-000656")), "{same_day:#?}");

    let later = on(&texts, &to("H57.103"), date(2026, 10, 1));
    let change = RouteChange {
        code: code("1.000656"),
        id: "lop-phu-1-000656-2".to_owned(),
        authority: "H57.103".parse().unwrap(),
        day: date(2026, 10, 1),
        before: Some(("lop-phu-1-000656".to_owned(), "H57.102".parse().unwrap())),
    };
    assert_eq!(later.routes, [change]);
    let routed = later.routed(&texts["routes.toml"]).unwrap();
    assert!(routed.contains("[[route]]\nvalid_to = 2026-09-30\nid = \"lop-phu-1-000656\"\n"), "{routed}");
    assert!(routed.contains("# Ghi chú của tỉnh.") && routed.contains("id = \"lop-phu-1-000656-2\""));
    texts.insert("routes.toml".to_owned(), routed);
    assert_eq!(on(&texts, &to("H57.103"), date(2026, 10, 1)).routes, []);

    // What a person made of it is that person's.
    let id = "id = \"lop-phu-1-000656-2\"\n";
    let by_hand = texts["routes.toml"].replace(id, &format!("{id}units = [\"19753\"]\n"));
    texts.insert("routes.toml".to_owned(), by_hand);
    let after = on(&texts, &to("H57.102"), date(2026, 11, 1));
    assert_eq!(after.routes, []);
    assert!(after.left_out.iter().any(|one| one.en.contains("by hand")), "{after:#?}");
}

#[test]
fn what_is_left_out_or_not_there_gets_no_route() {
    let texts = texts();
    let registry = registry(&texts);
    let mut national = national(&registry);
    let mut new = Detail { code: "1.700001".to_owned(), ..national["1.000689"].clone() };
    new.methods[0].times[0].unit = "MONTH".to_owned();
    national.insert("1.700001".to_owned(), new);
    let overlay = "[[procedure]]\ncode = \"1.700001\"\nauthority = \"H57.16\"\n[[procedure]]\ncode = \"1.700002\"\nauthority = \"H57.16\"\n";
    let plan = plan(&registry, &national, overlay);
    assert!(plan.left_out.iter().any(|one| one.code == "1.700001"), "{plan:#?}");
    assert_eq!(plan.routes, []);
    assert_eq!(plan.routed(&texts["routes.toml"]).unwrap(), texts["routes.toml"], "not a byte");
}
