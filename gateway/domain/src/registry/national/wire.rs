//! Entries of the national database in its own words (`LayDanhSachTTHC`, `LayThuTuc`), and a snapshot of all of them.
//!
//! Numbers come as numbers or as text, and what is empty is left out or `null`, so every value is read as a text. The names up to
//! `YEUCAU` are the database's. Decision, level, dates, state and successor are known from its pages, not their names on the wire:
//! those names are ours.

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize};

/// A text, however it was written: a text, a number, a truth value, or nothing.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Whole(i64),
        Number(f64),
        Flag(bool),
    }
    let written: Option<Written> = Option::deserialize(deserializer)?;
    Ok(match written {
        None => String::new(),
        Some(Written::Text(text)) => text.trim().to_owned(),
        Some(Written::Whole(number)) => number.to_string(),
        Some(Written::Number(number)) => number.to_string(),
        Some(Written::Flag(flag)) => u8::from(flag).to_string(),
    })
}

/// A list that may be `null`.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An entry of the list of all procedures.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Listed {
    /// Its code, as it is written there.
    #[serde(rename = "MATTHC", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Its name.
    #[serde(rename = "TENTTHC", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The number of the decision that published it.
    #[serde(rename = "SOQUYETDINH", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub decision: String,
    /// The day of that decision, `yyyyMMdd`.
    #[serde(rename = "NGAYQUYETDINH", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub decided: String,
    /// `1` in force, `0` abolished.
    #[serde(rename = "TRANGTHAI", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub state: String,
}

/// A procedure with all that is published about it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Detail {
    /// Its code, as it is written there.
    #[serde(rename = "MATTHC", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Its name.
    #[serde(rename = "TENTTHC", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The number of the decision that published it.
    #[serde(rename = "SOQUYETDINH", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub decision: String,
    /// The day of that decision, `yyyyMMdd`.
    #[serde(rename = "NGAYQUYETDINH", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub decided: String,
    /// `1` in force, `0` abolished.
    #[serde(rename = "TRANGTHAI", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Who decides it: *Cấp Xã*, *Cấp Tỉnh*, *Cấp Bộ*.
    #[serde(rename = "CAPTHUCHIEN", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub level: String,
    /// The first day on which it holds in this form, `yyyyMMdd`.
    #[serde(rename = "NGAYHIEULUC", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// Its last day, `yyyyMMdd`.
    #[serde(rename = "NGAYHETHIEULUC", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// The code of the procedure that replaces it.
    #[serde(rename = "MATTHCTHAYTHE", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub successor: String,
    /// Whoever published it.
    #[serde(rename = "MACOQUANCONGBO", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub publisher: String,
    /// The fields it belongs to; the first counts.
    #[serde(rename = "LINHVUCTHUCHIEN", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// How it can be filed, with limits and fees.
    #[serde(rename = "CACHTHUCTHUCHIEN", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<Method>,
    /// What it asks for.
    #[serde(rename = "THANHPHANHOSO", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
    /// What comes out of it.
    #[serde(rename = "KETQUATHUCHIEN", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<Outcome>,
    /// The law it stands on.
    #[serde(rename = "CANCUPHAPLY", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<Basis>,
    /// Who may file it.
    #[serde(rename = "DOITUONGTHUCHIEN", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub subjects: String,
    /// Who carries it out, in words.
    #[serde(rename = "COQUANTHUCHIEN", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub agencies: String,
    /// What must hold for it, in words.
    #[serde(rename = "YEUCAU", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub conditions: String,
}

/// A field (*lĩnh vực*).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Field {
    /// Its code.
    #[serde(rename = "MALINHVUC", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Its name.
    #[serde(rename = "TENLINHVUC", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// A channel with what it takes and costs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Method {
    /// `1` at a desk, `2` online, `3` by post.
    #[serde(rename = "KENH", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub channel: String,
    /// Its limits.
    #[serde(rename = "THOIGIAN", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<Time>,
}

/// A limit of a channel, with the fees beside it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Time {
    /// How many.
    #[serde(rename = "THOIGIANGIAIQUYET", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub count: String,
    /// Of what: `WORKING_DAY`, `ngày`, `HOUR`, `MONTH`, `OTHER`.
    #[serde(rename = "DONVITINH", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// The case it is for, in words; empty for every one.
    #[serde(rename = "TRUONGHOP", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub case: String,
    /// What is said about it.
    #[serde(rename = "MOTA", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What it costs.
    #[serde(rename = "PHILEPHI", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub fees: Vec<Fee>,
}

/// A fee or charge.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Fee {
    /// Its code.
    #[serde(rename = "MAPHILEPHI", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Its amount; empty where another text sets it.
    #[serde(rename = "SOTIEN", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub amount: String,
    /// In what, đồng if nothing is said.
    #[serde(rename = "DONVI", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub currency: String,
    /// What it is for.
    #[serde(rename = "MOTA", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A paper or data item.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Component {
    /// The case it is for, in words; empty for every one.
    #[serde(rename = "TRUONGHOP", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub case: String,
    /// What it is.
    #[serde(rename = "GIAYTO", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub paper: String,
    /// Its code.
    #[serde(rename = "MAGIAYTO", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// How many originals.
    #[serde(rename = "SOBANCHINH", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub originals: String,
    /// How many copies.
    #[serde(rename = "SOBANSAO", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub copies: String,
    /// The form to use.
    #[serde(rename = "TENMAUDON", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub form: String,
    /// Where the form is.
    #[serde(rename = "URL", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// Something that comes out of a procedure.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Outcome {
    /// Its code, by which it satisfies another procedure's component.
    #[serde(rename = "MAKETQUA", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// What it is.
    #[serde(rename = "TENKETQUA", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// A legal text.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Basis {
    /// Its number.
    #[serde(rename = "SOVANBAN", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub number: String,
    /// Its title.
    #[serde(rename = "TENVANBAN", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// An entry that is left out of a snapshot, in the words of the list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct National {
    /// Its code, as it is written in the list.
    pub code: String,
    /// Why, in Vietnamese.
    pub why_vi: String,
    /// The same in English.
    pub why_en: String,
}

/// The whole catalogue as it was published at one time. Equal catalogues give equal bytes: no clock goes into one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The form of this file, 1.
    pub format: u32,
    /// The number of the newest decision in it.
    pub decision: String,
    /// The day of that decision; by both a snapshot is known.
    pub date: Option<Date>,
    /// Entries of the national list, those left out too.
    pub listed: usize,
    /// What could be fetched, in the order of codes, each once.
    pub procedures: Vec<Detail>,
    /// What was not asked for or not answered for good, and why.
    pub left_out: Vec<National>,
}

impl Snapshot {
    /// The form of snapshots that are written now.
    pub const FORMAT: u32 = 1;

    /// A snapshot of these entries, known by the newest decision among them.
    pub fn of(listed: usize, mut procedures: Vec<Detail>, mut left_out: Vec<National>) -> Self {
        procedures.sort_by(|one, other| one.code.cmp(&other.code));
        procedures.dedup_by(|one, other| one.code == other.code);
        left_out.sort_by(|one, other| (&one.code, &one.why_en).cmp(&(&other.code, &other.why_en)));
        left_out.dedup();
        let newest = procedures.iter().filter_map(|one| Some((day(&one.decided)?, &one.decision))).max();
        let (date, decision) = newest.map_or((None, String::new()), |(date, decision)| (Some(date), decision.clone()));
        Self { format: Self::FORMAT, decision, date, listed, procedures, left_out }
    }
}

impl Listed {
    /// Whether `detail` is the entry of the list, and not one of before or after.
    pub fn is_of(&self, detail: &Detail) -> bool {
        let listed = (&self.code, &self.decision, &self.decided, &self.state);
        listed == (&detail.code, &detail.decision, &detail.decided, &detail.state)
    }
}

/// A day as the database writes it: `yyyyMMdd`, with or without a time behind it.
pub(super) fn day(text: &str) -> Option<Date> {
    let digits = text.get(..8).filter(|_| [8, 14].contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))?;
    Date::new(digits[..4].parse().ok()?, digits[4..6].parse().ok()?, digits[6..].parse().ok()?).ok()
}
