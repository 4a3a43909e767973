//! Party identifiers: the electronic identifier of an organisation, and the old form that converts to it.
//!
//! Owns the form and the hierarchy that the form spells out. Whether an identifier was ever given to anybody is in the registry.

use std::str::FromStr;

use super::malformed::{Malformed, compact, is_digits, rule};

/// Identifies a party by its electronic identifier, e.g. `H57.12`.
///
/// QĐ 20/2020/QĐ-TTg (amended by QĐ 09/2025/QĐ-TTg): groups of digits and capital letters separated by `.`, at most 35 characters.
/// The first group names a ministry or a province, each further group a unit of the one before. Group widths are not fixed by the
/// decision; up to six groups of up to four characters below the first are accepted.
///
/// The order is that of the text, which keeps a party's descendants together right behind it (`.` sorts before digits and letters).
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PartyId(Box<str>);

const MAX_CHARS: usize = 35;
const MAX_GROUPS_BELOW_ROOT: usize = 6;

const FORM: Malformed = rule(
    "PARTY_ID_FORM",
    "is not an electronic identifier: one capital letter and two digits, then groups of 1 to 4 digits or capitals after a dot, \
     for example H57.01.02",
    "không đúng dạng mã định danh điện tử: một chữ hoa và hai chữ số, sau đó là các nhóm 1 đến 4 chữ số hoặc chữ hoa, \
     cách nhau bằng dấu chấm, ví dụ H57.01.02",
);
const TOO_DEEP: Malformed = rule(
    "PARTY_ID_TOO_DEEP",
    "has more than six groups below the first",
    "có quá sáu nhóm sau nhóm đầu tiên của mã định danh",
);
const LEGACY_FORM: Malformed = rule(
    "PARTY_ID_LEGACY_FORM",
    "is not an identifier of the old form, for example 000.00.14.H56",
    "không đúng dạng mã định danh cũ, ví dụ 000.00.14.H56",
);

impl PartyId {
    /// Converts the form of QCVN 102:2016/BTTTT (`V1V2V3.Z1Z2.Y1Y2.MX1X2`): zero groups are dropped and the rest is read from right to
    /// left, so that `000.00.14.H56` is `H56.14` and `005.02.14.H56` is `H56.14.02.005`.
    ///
    /// The conversion is mechanical. Some provinces renumbered when they moved to the new form, and an old identifier that skips a
    /// level (`000.14.00.H56`) meets the one that does not; where that matters, a mapping in the registry goes first.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the text is not of the old form.
    pub fn from_legacy(text: &str) -> Result<Self, Malformed> {
        compact(text, MAX_CHARS)?;
        let mut groups = text.split('.');
        let (Some(fourth), Some(third), Some(second), Some(root), None) =
            (groups.next(), groups.next(), groups.next(), groups.next(), groups.next())
        else {
            return Err(LEGACY_FORM);
        };
        if !(is_root(root) && is_digits(second, 2) && is_digits(third, 2) && is_digits(fourth, 3)) {
            return Err(LEGACY_FORM);
        }
        let mut id = root.to_owned();
        for group in [second, third, fourth].into_iter().filter(|group| group.bytes().any(|b| b != b'0')) {
            id.push('.');
            id.push_str(group);
        }
        Ok(Self(id.into()))
    }

    /// The identifier as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The groups from the ministry or province downwards: `H57`, `01`, `02`.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// The ministry or province this party belongs to: `H57` for `H57.01.02`, and for itself.
    pub fn root(&self) -> PartyId {
        PartyId(self.0.split('.').next().unwrap_or(&self.0).into())
    }

    /// The party one level up; `None` for a ministry or a province.
    pub fn parent(&self) -> Option<PartyId> {
        self.0.rsplit_once('.').map(|(parent, _)| PartyId(parent.into()))
    }

    /// Whether `other` lies below this party, compared group by group: `H57.1` is no ancestor of `H57.10`, nor of itself.
    pub fn is_ancestor_of(&self, other: &PartyId) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.starts_with('.'))
    }
}

impl FromStr for PartyId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, MAX_CHARS)?;
        let mut groups = text.split('.');
        if !groups.next().is_some_and(is_root) || !groups.clone().all(is_group) {
            return Err(FORM);
        }
        if groups.count() > MAX_GROUPS_BELOW_ROOT {
            return Err(TOO_DEEP);
        }
        Ok(Self(text.into()))
    }
}

printed_as_text!(PartyId);

/// Level 1 of both forms: a letter for the kind of body and its two-digit number.
fn is_root(group: &str) -> bool {
    matches!(group.as_bytes(), [b'A'..=b'Z', b'0'..=b'9', b'0'..=b'9'])
}

fn is_group(group: &str) -> bool {
    (1..=4).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn party(text: &str) -> PartyId {
        text.parse().unwrap()
    }

    #[test]
    fn identifiers_of_the_decision_are_accepted() {
        for text in
            ["G22", "H57", "H57.1", "H57.01.02", "H57.A1B2", "H57.1.2.3.4.5.6", "H57.0001.0001.0001.0001.0001.0001"]
        {
            assert_eq!(party(text).as_str(), text);
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_broken_rule() {
        for (text, expected) in [
            ("", Malformed::Empty),
            (" H57", Malformed::Blank),
            ("H57. 01", Malformed::Blank),
            ("h57", FORM),
            ("H5", FORM),
            ("H570", FORM),
            ("57", FORM),
            ("H57.", FORM),
            (".H57", FORM),
            ("H57..01", FORM),
            ("H57.01a", FORM),
            ("H57.12345", FORM),
            ("H57.Đ1", FORM),
            ("H57-01", FORM),
            ("000.00.14.H56", FORM),
            ("H57.1.2.3.4.5.6.7", TOO_DEEP),
            ("H57.0001.0001.0001.0001.0001.0001.01", Malformed::TooLong { max: 35 }),
        ] {
            assert_eq!(text.parse::<PartyId>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn a_shared_beginning_of_text_is_not_kinship() {
        assert!(party("H57").is_ancestor_of(&party("H57.10")));
        assert!(party("H57.1").is_ancestor_of(&party("H57.1.10")));
        assert!(!party("H57.1").is_ancestor_of(&party("H57.10")));
        assert!(!party("H57.1").is_ancestor_of(&party("H57.1")));
        assert!(!party("H57.1.2").is_ancestor_of(&party("H57.1")));
        assert!(!party("H57").is_ancestor_of(&party("H58.57")));
    }

    #[test]
    fn parents_lead_to_the_root_and_stop() {
        let id = party("H57.01.02");
        assert_eq!(id.groups().collect::<Vec<_>>(), ["H57", "01", "02"]);
        assert_eq!(id.parent(), Some(party("H57.01")));
        assert_eq!(id.root(), party("H57"));
        assert_eq!(party("H57").root(), party("H57"));
        assert_eq!(party("H57").parent(), None);
    }

    #[test]
    fn old_identifiers_are_read_from_right_to_left() {
        for (old, new) in [
            ("000.00.00.H57", "H57"),
            ("000.00.14.H56", "H56.14"),
            ("000.02.14.H56", "H56.14.02"),
            ("005.02.14.H56", "H56.14.02.005"),
            ("005.00.14.H56", "H56.14.005"),
        ] {
            assert_eq!(PartyId::from_legacy(old), Ok(party(new)));
        }
    }

    #[test]
    fn only_the_old_form_is_converted() {
        for text in
            ["H57", "00.00.14.H56", "000.00.14", "000.000.14.H56", "000.00.14.H56.1", "000.00.1A.H56", "000.00.14.56H"]
        {
            assert_eq!(PartyId::from_legacy(text), Err(LEGACY_FORM), "{text:?}");
        }
        assert_eq!(PartyId::from_legacy("000.00.14.H56 "), Err(Malformed::Blank));
    }

    #[test]
    fn debug_shows_the_identifier() {
        assert_eq!(format!("{:?}", party("H57.12")), "PartyId(H57.12)");
        assert_eq!(format!("[{:<8}]", party("H57.12")), "[H57.12  ]");
    }

    /// Few letters and few groups, so that relatives and near relatives are common.
    fn relatives() -> impl Strategy<Value = PartyId> {
        "H5[78](\\.(1|10|0A|2)){0,4}".prop_map(|text| party(&text))
    }

    proptest! {
        #[test]
        fn print_and_parse_give_the_same_party(text in "[A-Z][0-9]{2}(\\.[0-9A-Z]{1,4}){0,6}") {
            prop_assert_eq!(party(&text).to_string(), text);
        }

        #[test]
        fn ancestry_agrees_with_comparing_lists_of_groups(a in relatives(), b in relatives()) {
            let (above, below): (Vec<_>, Vec<_>) = (a.groups().collect(), b.groups().collect());
            let expected = above.len() < below.len() && below[..above.len()] == above[..];
            prop_assert_eq!(a.is_ancestor_of(&b), expected);
        }

        #[test]
        fn an_ancestor_is_met_on_the_way_up(a in relatives(), b in relatives()) {
            let met = std::iter::successors(b.parent(), PartyId::parent).any(|up| up == a);
            prop_assert_eq!(a.is_ancestor_of(&b), met);
        }

        #[test]
        fn nothing_sorts_between_a_party_and_its_descendants(mut all in proptest::collection::vec(relatives(), 3..12)) {
            all.sort();
            for window in all.windows(3) {
                if window[0].is_ancestor_of(&window[2]) {
                    prop_assert!(window[0] == window[1] || window[0].is_ancestor_of(&window[1]));
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), near in "[A-Z0-9. ]{0,40}") {
            for text in [text, near] {
                let _ = PartyId::from_legacy(&text);
                if let Ok(id) = text.parse::<PartyId>() {
                    prop_assert!(id.as_str() == text && text.len() <= MAX_CHARS);
                }
            }
        }
    }
}
