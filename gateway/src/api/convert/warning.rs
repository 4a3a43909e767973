//! Warnings in words: those of the domain, and those about the applicant's number, which the domain never sees.

use lgsp_domain::decide::Warning;
use lgsp_proto::types::NumberWarning;
use lgsp_proto::v1;

use crate::store::Answer;

/// A citizen without a number; right for foreigners and the newborn.
pub(super) const PERSONAL_NUMBER_MISSING: &str = "PERSONAL_NUMBER_MISSING";

const NUMBER_WARNINGS: [NumberWarning; 3] =
    [NumberWarning::UnknownProvince, NumberWarning::SexDiffers, NumberWarning::BirthYearDiffers];

/// The stable word of a warning about a number.
pub(super) const fn word(warning: NumberWarning) -> &'static str {
    match warning {
        NumberWarning::UnknownProvince => "PROVINCE_OF_NUMBER_UNKNOWN",
        NumberWarning::SexDiffers => "SEX_DOES_NOT_MATCH_NUMBER",
        NumberWarning::BirthYearDiffers => "BIRTH_YEAR_DOES_NOT_MATCH_NUMBER",
    }
}

/// The warnings given with an answer.
pub(super) fn of(answer: &Answer) -> Vec<v1::Warning> {
    answer.warnings.iter().map(|(reason, field)| in_both_languages(reason, field)).collect()
}

/// A recorded warning with its texts; one of another version has only its word.
pub(super) fn in_both_languages(reason: &str, field: &str) -> v1::Warning {
    let (message_vi, message_en) = texts(reason).unwrap_or_default();
    v1::Warning { reason: reason.to_owned(), field: field.to_owned(), message_vi, message_en }
}

fn texts(reason: &str) -> Option<(String, String)> {
    if let Some(warning) = Warning::parse(reason) {
        let text = warning.text();
        return Some((text.vi.to_owned(), text.en.to_owned()));
    }
    if reason == PERSONAL_NUMBER_MISSING {
        let vi = "không có số định danh cá nhân; chỉ đúng với người nước ngoài hoặc trẻ mới sinh";
        return Some((
            vi.to_owned(),
            "no personal number is given; right only for foreigners and the newborn".to_owned(),
        ));
    }
    let warning = NUMBER_WARNINGS.into_iter().find(|warning| word(*warning) == reason)?;
    Some((warning.vietnamese().to_owned(), warning.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_warning_we_give_has_texts_in_both_languages() {
        let domain = Warning::ALL.iter().map(|warning| warning.as_str());
        for reason in domain.chain(NUMBER_WARNINGS.map(word)).chain([PERSONAL_NUMBER_MISSING]) {
            let warning = in_both_languages(reason, "f");
            assert!(!warning.message_en.is_empty() && !warning.message_vi.is_ascii(), "{reason}");
        }
        assert_eq!(in_both_languages("OF_THE_FUTURE", "f").message_en, "");
    }
}
