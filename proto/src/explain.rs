//! The command that explains a refusal: what holds now, and why.
//!
//! Owns which reasons have one of their own; the others have their page. A command is `lgsp …`; what stands in capitals is to be
//! filled in by whoever runs it.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// The command for a reason, with what the refusal itself says about the case: the one that looks at it, else the one that
/// prints its page. There is one for every word, those of a newer version too.
pub fn command(reason: &str, details: &BTreeMap<String, String>) -> String {
    match reason {
        "ACTS_FOR_MISSING" => format!("lgsp can-i --party {} --profile FILE", value(details, "party", "PARTY")),
        "GRANT_MISSING" => {
            let mut command = format!("lgsp can-i {}", value(details, "right", "RIGHT"));
            for name in ["procedure", "service", "purpose"] {
                if details.contains_key(name) {
                    command += &format!(" --{name} {}", value(details, name, &name.to_ascii_uppercase()));
                }
            }
            command + " --profile FILE"
        }
        "ROLE_MISSING"
        | "ILLEGAL_TRANSITION"
        | "STALE_VERSION"
        | "SUPPLEMENT_STILL_OPEN"
        | "EXTENSION_USED"
        | "EXTENSION_NOT_ALLOWED"
        | "PAUSE_NOT_ALLOWED"
        | "DOSSIER_NOT_FOUND"
        | "DOSSIER_ARCHIVED"
        | "CONTENT_ERASED"
        | "DOCUMENT_NOT_FOUND"
        | "DOCUMENT_OF_ANOTHER_DOSSIER" => "lgsp dossier show CODE --profile FILE".to_owned(),
        "NO_ROUTE"
        | "UNIT_UNKNOWN"
        | "UNIT_CEASED"
        | "PROCEDURE_UNKNOWN"
        | "PROCEDURE_ABOLISHED"
        | "PROCEDURE_NOT_YET_IN_FORCE"
        | "CASE_UNKNOWN" => {
            let procedure = value(details, "procedure", "PROCEDURE");
            let locality = value(details, "locality", "LOCALITY");
            format!("lgsp dossier route --procedure {procedure} --locality {locality} --profile FILE")
        }
        "CERTIFICATE_REVOKED" | "CERTIFICATE_NOT_VOUCHED" | "CERTIFICATE_WITHOUT_IDENTITY" | "SYSTEM_UNKNOWN" => {
            "lgsp certs show CERTIFICATE".to_owned()
        }
        "MALFORMED" => "lgsp openapi".to_owned(),
        _ => page(reason),
    }
}

/// The command that prints the page of a reason. A word that a shell would not take as one is left to be filled in.
pub fn page(reason: &str) -> String {
    let is_word =
        !reason.is_empty() && reason.bytes().all(|byte| byte.is_ascii_uppercase() || b"_0123456789".contains(&byte));
    format!("lgsp explain {}", if is_word { reason } else { "REASON" })
}

/// A value that a shell takes as it stands; anything else is left to be filled in.
fn value<'a>(details: &'a BTreeMap<String, String>, name: &str, otherwise: &'a str) -> Cow<'a, str> {
    let is_plain = |text: &&String| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    details.get(name).filter(is_plain).map_or_else(|| otherwise.to_owned().into(), |text| text.as_str().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_what_the_refusal_knows_and_nothing_a_shell_would_read() {
        let details = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let said = details(&[("right", "submit"), ("procedure", "1.001193")]);
        assert_eq!(command("GRANT_MISSING", &said), "lgsp can-i submit --procedure 1.001193 --profile FILE");
        assert_eq!(
            command("ACTS_FOR_MISSING", &details(&[("party", "H57.99")])),
            "lgsp can-i --party H57.99 --profile FILE"
        );
        for evil in ["$(reboot)", "a b", "--profile", ""] {
            let said = details(&[("party", evil)]);
            assert_eq!(command("ACTS_FOR_MISSING", &said), "lgsp can-i --party PARTY --profile FILE", "{evil}");
            assert_eq!(command(evil, &BTreeMap::new()), "lgsp explain REASON");
        }
        assert_eq!(command("OVERLOADED", &BTreeMap::new()), "lgsp explain OVERLOADED");
    }
}
