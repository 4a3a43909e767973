//! Comparing what a citizen says with what is registered (*đối chiếu*): a verdict for each thing that was claimed, and no data.
//!
//! Claims are judged only of a citizen whom number, name and date of birth all name; else anybody who knows a number could try out the
//! rest. And only those are judged whose verdict the question may hear: no sum of verdicts tells of another. What the register does not
//! say is unknown, and neither a match nor a mismatch.

use lgsp_domain::person_name;
use lgsp_proto::types::{NumberWarning, Sex};
use lgsp_proto::v1::{Question, ServiceRefusal};
use serde::Deserialize;

use super::asked::read;
use super::fields::{FIELDS, FULL_NAME, Wanted, member, text_into};

/// What may be claimed beside the three keys: the claim's name, and the field it is compared with.
const CLAIMS: [(&str, &str); 13] = [
    ("sex", "sex"),
    ("old_number", "old_number"),
    ("nationality", "nationality"),
    ("ethnicity", "ethnicity"),
    ("marital_status", "marital_status"),
    ("residence_province_code", "residence.province_code"),
    ("residence_commune_code", "residence.commune_code"),
    ("current_province_code", "current_place.province_code"),
    ("current_commune_code", "current_place.commune_code"),
    ("father_name", "father.full_name"),
    ("mother_name", "mother.full_name"),
    ("spouse_name", "spouse.full_name"),
    ("household_number", "household.number"),
];

/// The document of the request, without the three keys.
#[derive(Deserialize)]
struct ClaimsJson {
    #[serde(flatten)]
    said: std::collections::BTreeMap<String, serde_json::Value>,
}

/// What was claimed, and what of the reply the question may hear.
pub(super) struct Claims<'a> {
    said: ClaimsJson,
    told: &'a [String],
}

/// What became of one thing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Match,
    Mismatch,
    Unknown,
}

impl Verdict {
    pub(super) fn of(is_same: Option<bool>) -> Self {
        match is_same {
            Some(true) => Self::Match,
            Some(false) => Self::Mismatch,
            None => Self::Unknown,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Mismatch => "mismatch",
            Self::Unknown => "unknown",
        }
    }
}

impl<'a> Claims<'a> {
    /// # Errors
    /// It is not what the service's schema says.
    pub(super) fn of(question: &'a Question) -> Result<Self, ServiceRefusal> {
        Ok(Self { said: read(question)?, told: &question.fields })
    }

    fn is_told(&self, name: &str) -> bool {
        self.told.iter().any(|told| told == name)
    }

    /// The claims that were made: name, field and text.
    fn made(&self) -> impl Iterator<Item = (&'static str, usize, &str)> {
        CLAIMS.iter().filter_map(|(claim, path)| {
            let said = self.said.said.get(*claim)?.as_str()?;
            Some((*claim, FIELDS.iter().position(|field| field.path == *path)?, said))
        })
    }

    /// Those of them that are judged.
    fn each(&self) -> impl Iterator<Item = (&'static str, usize, &str)> {
        self.made().filter(|(claim, ..)| self.is_told(claim))
    }

    /// The fields that they are compared with.
    pub(super) fn fields(&self) -> Wanted {
        self.each().fold(Wanted::default(), |wanted, (_, field, _)| wanted.with(field))
    }

    /// The sex that was claimed.
    pub(super) fn sex(&self) -> Option<Sex> {
        match self.said.said.get("sex").and_then(|sex| sex.as_str()) {
            Some("male") => Some(Sex::Male),
            Some("female") => Some(Sex::Female),
            _ => None,
        }
    }
}

/// The reply. `keys` are the verdicts on number, name and date of birth; `value` tells what is registered, nothing if not all three match.
///
/// `all_match` is there only where every claim was judged: else it would call right what nobody looked at.
pub(super) fn reply<'a>(
    keys: [Verdict; 3],
    claims: &Claims<'_>,
    warnings: &[NumberWarning],
    value: impl Fn(usize) -> Option<&'a str>,
) -> Vec<u8> {
    let is_citizen = keys == [Verdict::Match; 3];
    let mut json = vec![b'{'];
    let judged: Vec<_> = claims
        .each()
        .map(|(claim, field, said)| {
            let registered = value(field).filter(|_| is_citizen);
            (claim, Verdict::of(registered.map(|registered| is_same(field, said, registered))))
        })
        .collect();
    if claims.is_told("all_match") && judged.len() == claims.made().count() {
        let all_match = is_citizen && judged.iter().all(|(_, verdict)| *verdict == Verdict::Match);
        member(&mut json, "all_match");
        json.extend_from_slice(if all_match { b"true" } else { b"false" });
    }
    let keys = ["personal_number", "full_name", "date_of_birth"].into_iter().zip(keys);
    for (name, verdict) in keys.filter(|(key, _)| claims.is_told(key)).chain(judged) {
        member(&mut json, name);
        text_into(&mut json, verdict.word());
    }
    if !warnings.is_empty() && claims.is_told("warnings") {
        member(&mut json, "warnings");
        let words: Vec<_> = warnings.iter().map(|warning| word(*warning)).collect();
        serde_json::to_writer(&mut json, &words).expect("words are written to memory");
    }
    json.push(b'}');
    json
}

fn is_same(field: usize, said: &str, registered: &str) -> bool {
    let is_name = field == FULL_NAME || FIELDS[field].path.ends_with(".full_name");
    if is_name { person_name::is_same(said, registered) } else { said.trim() == registered.trim() }
}

/// What looks wrong about the number next to what was claimed; known without the register.
fn word(warning: NumberWarning) -> &'static str {
    match warning {
        NumberWarning::UnknownProvince => "NUMBER_UNKNOWN_PROVINCE",
        NumberWarning::SexDiffers => "NUMBER_SEX_DIFFERS",
        NumberWarning::BirthYearDiffers => "NUMBER_BIRTH_YEAR_DIFFERS",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(field: usize) -> Option<&'static str> {
        match FIELDS[field].path {
            "sex" => Some("female"),
            "residence.commune_code" => Some("19774"),
            "mother.full_name" => Some("Lê Thị Thuỷ"),
            _ => None,
        }
    }

    /// A question that may hear everything.
    fn question(claims: &str) -> Question {
        let keys = ["all_match", "personal_number", "full_name", "date_of_birth", "warnings"];
        let fields = keys.into_iter().chain(CLAIMS.map(|(claim, _)| claim)).map(str::to_owned).collect();
        Question { fields, payload: claims.to_owned().into(), ..Question::default() }
    }

    fn judged(keys: [Verdict; 3], claims: &str) -> serde_json::Value {
        let question = question(claims);
        let claims = Claims::of(&question).unwrap();
        serde_json::from_slice(&reply(keys, &claims, &[], registered)).unwrap()
    }

    #[test]
    fn every_claim_is_judged_and_nothing_else_is_told() {
        let told = judged(
            [Verdict::Match; 3],
            r#"{"personal_number":"x","sex":"male","residence_commune_code":"19774","mother_name":"LÊ THỊ THỦY","father_name":"A"}"#,
        );
        let expected = serde_json::json!({
            "all_match": false, "personal_number": "match", "full_name": "match", "date_of_birth": "match",
            "sex": "mismatch", "residence_commune_code": "match", "father_name": "unknown", "mother_name": "match",
        });
        assert_eq!(told, expected);
        assert_eq!(judged([Verdict::Match; 3], r#"{"sex":"female"}"#)["all_match"], true);
        assert_eq!(judged([Verdict::Match; 3], "{}")["all_match"], true);
        // What is not known is no match.
        assert_eq!(judged([Verdict::Match; 3], r#"{"father_name":"A"}"#)["all_match"], false);
    }

    #[test]
    fn nothing_is_judged_of_somebody_whom_the_keys_do_not_name() {
        let told = judged([Verdict::Match, Verdict::Mismatch, Verdict::Match], r#"{"sex":"female"}"#);
        assert_eq!((&told["sex"], &told["all_match"]), (&"unknown".into(), &false.into()));
        assert_eq!(judged([Verdict::Unknown; 3], "{}")["all_match"], false);
    }

    #[test]
    fn every_claim_has_its_field_and_warnings_are_words() {
        for (_, path) in CLAIMS {
            assert!(FIELDS.iter().any(|field| field.path == path), "{path}");
        }
        let question = question(r#"{"sex":"female"}"#);
        let claims = Claims::of(&question).unwrap();
        assert_eq!(claims.sex(), Some(Sex::Female));
        let json = reply([Verdict::Match; 3], &claims, &[NumberWarning::SexDiffers], registered);
        assert!(String::from_utf8(json).unwrap().ends_with(r#""sex":"match","warnings":["NUMBER_SEX_DIFFERS"]}"#));
    }
}
