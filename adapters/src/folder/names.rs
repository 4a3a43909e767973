//! What a request's folder may be called, and what the adapter calls what it writes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use data_encoding::HEXLOWER;
use lgsp_proto::Wrong;

use crate::digest::sha256;
use crate::spool::{CallId, DeliveryId};

/// The longest name of a request's folder, in bytes: what is made of it has to fit as well.
const MAX_NAME_BYTES: usize = 120;

/// The names of devices on Windows, with or without an ending (Microsoft, "Naming Files, Paths, and Namespaces").
const DEVICES: [&str; 4] = ["CON", "PRN", "AUX", "NUL"];
const NUMBERED_DEVICES: [&str; 2] = ["COM", "LPT"];

/// Whether something is not there yet for the adapter: it is being written under this name, and will be renamed.
pub(super) fn is_unfinished(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    bytes.starts_with(b".") || bytes.to_ascii_lowercase().ends_with(b".tmp")
}

/// The name of a request's folder, if it can be used; else what is wrong with it.
///
/// A share is read from Windows as well, so what cannot be a name there is none here.
pub(super) fn usable(name: &OsStr) -> Result<&str, Wrong> {
    let Some(text) = name.to_str() else { return Err(Wrong::new("không phải UTF-8", "is not UTF-8")) };
    let stem = text.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |device: &&str| {
        stem.strip_prefix(*device).is_some_and(|number| number.len() == 1 && number.as_bytes()[0].is_ascii_digit())
    };
    if text.len() > MAX_NAME_BYTES {
        Err(Wrong::new("dài hơn 120 byte", "is longer than 120 bytes"))
    } else if text.chars().any(char::is_control) {
        Err(Wrong::new("có ký tự điều khiển", "has a control character"))
    } else if text.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|']) {
        Err(Wrong::new("có một trong các ký tự \\ / : * ? \" < > |", "has one of \\ / : * ? \" < > |"))
    } else if text.ends_with(['.', ' ']) || text.starts_with(' ') {
        Err(Wrong::new(
            "bắt đầu hoặc kết thúc bằng dấu cách, hoặc kết thúc bằng dấu chấm",
            "begins or ends with a blank, or ends with a full stop",
        ))
    } else if DEVICES.contains(&&*stem) || NUMBERED_DEVICES.iter().any(numbered) {
        Err(Wrong::new("là tên thiết bị trên Windows", "is the name of a device on Windows"))
    } else {
        Ok(text)
    }
}

/// Under which name a request is answered whose own name cannot be used.
pub(super) fn instead_of(name: &OsStr) -> String {
    format!("name-{}", short(name.as_bytes()))
}

/// Under which name a request is answered that came by another way in, or whose folder nobody knows any more.
pub(super) fn of_request(id: &CallId) -> String {
    format!("key-{}", short(format!("{}\n{}", id.party, id.key).as_bytes()))
}

/// The folder of a dossier's deliveries.
pub(super) fn of_dossier(id: &DeliveryId) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let plain = (1..=MAX_NAME_BYTES).contains(&id.dossier.len())
        && id.dossier.chars().all(is_plain)
        && usable(OsStr::new(&*id.dossier)).is_ok()
        && !is_unfinished(OsStr::new(&*id.dossier));
    if plain { id.dossier.to_string() } else { format!("code-{}", short(id.dossier.as_bytes())) }
}

/// A delivery's file, without its ending. Those of a dossier are in order by their names; `delivery` is what it is known by for ever.
pub(super) fn of_delivery(id: &DeliveryId, delivery: &str) -> String {
    format!("{:06}-{}", id.sequence, short(delivery.as_bytes()))
}

fn short(bytes: &[u8]) -> String {
    HEXLOWER.encode(&sha256(bytes)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_windows_or_a_terminal_would_take_for_something_else_is_none() {
        for name in ["hồ sơ 17", "2025-07-14_0001", "a", "COM10", "console", "auxiliary.1", "x~2", "tệp.v1"] {
            assert_eq!(usable(OsStr::new(name)), Ok(name));
        }
        let long = "x".repeat(121);
        for name in ["a\\b", "a:b", "a\nb", "a.", "a ", " a", "CON", "con.txt", "Com1", "LPT9.x", "NUL .x", "a?", &long]
        {
            assert!(usable(OsStr::new(name)).is_err(), "{name:?}");
        }
        assert!(usable(OsStr::from_bytes(b"h\xf4 so")).is_err());
        for name in [".x", "x.tmp", "x.TMP"] {
            assert!(is_unfinished(OsStr::new(name)));
        }
        assert!(!is_unfinished(OsStr::new("x.tmp.1")));
    }

    #[test]
    fn a_dossiers_deliveries_are_in_order_by_name_and_no_code_leads_elsewhere() {
        let id = |dossier: &str, sequence| DeliveryId { party: "H57.101".into(), dossier: dossier.into(), sequence };
        assert_eq!(of_dossier(&id("H57.12-250714-0001", 1)), "H57.12-250714-0001");
        for dossier in ["..", "../x", "a/b", "", "x.tmp", "NUL"] {
            assert!(of_dossier(&id(dossier, 1)).starts_with("code-"), "{dossier}");
        }
        let [second, tenth] = [2, 10].map(|sequence| of_delivery(&id("D", sequence), &format!("p/D/{sequence}")));
        assert!(second < tenth);
    }
}
