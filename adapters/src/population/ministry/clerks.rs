//! Who a clerk of the bus is at the ministry: every clerk has a credential of their own there (domain.md §5.1). One that is not in the file may
//! not ask.

use std::collections::HashMap;
use std::fmt;

use lgsp_proto::types::PartyId;
use serde::Deserialize;

/// A clerk as the ministry knows them.
#[derive(Clone, Deserialize)]
pub(super) struct Clerk {
    /// MaCanBo.
    pub(super) staff: String,
    /// MaDonVi.
    pub(super) unit: String,
    /// TaiKhoan.
    pub(super) account: String,
    /// SoDienThoai.
    pub(super) phone: String,
}

/// Clerks by party and account on the bus.
pub(super) struct Clerks(HashMap<(PartyId, String), Clerk>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    clerk: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    party: PartyText,
    actor: String,
    staff: String,
    unit: String,
    account: String,
    phone: String,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct PartyText(PartyId);

impl TryFrom<String> for PartyText {
    type Error = lgsp_proto::types::Malformed;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl Clerks {
    /// The clerks of a file: `[[clerk]]` with `party`, `actor`, `staff`, `unit`, `account` and `phone`.
    ///
    /// # Errors
    /// Where it is not that, without its content.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let File { clerk } = toml::from_str(text).map_err(|error| {
            let upto = error.span().map_or("", |span| text.get(..span.start).unwrap_or(text));
            format!("line {} is not what belongs there", upto.matches('\n').count() + 1)
        })?;
        let mut clerks = HashMap::with_capacity(clerk.len());
        for Row { party: PartyText(party), actor, staff, unit, account, phone } in clerk {
            if [&actor, &staff, &unit, &account].iter().any(|text| text.trim().is_empty()) {
                return Err(format!("a clerk of {party} lacks actor, staff, unit or account"));
            }
            let who = format!("a clerk of {party} stands twice");
            if clerks.insert((party, actor), Clerk { staff, unit, account, phone }).is_some() {
                return Err(who);
            }
        }
        Ok(Self(clerks))
    }

    /// The one who asks.
    pub(super) fn of(&self, party: &str, actor: &str) -> Option<&Clerk> {
        self.0.get(&(party.parse().ok()?, actor.to_owned()))
    }
}

impl fmt::Debug for Clerk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clerk(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "[[clerk]]\nparty = \"H57.101\"\nactor = \"cb01\"\nstaff = \"S1\"\nunit = \"U1\"\naccount = \"a1\"\nphone = \"\"\n";

    #[test]
    fn a_clerk_is_known_by_account_and_party_together() {
        let clerks =
            Clerks::read(&format!("{ROW}{}", ROW.replace("H57.101", "H57.102").replace("S1", "S2"))).ok().unwrap();
        assert_eq!(clerks.of("H57.101", "cb01").map(|clerk| &*clerk.staff), Some("S1"));
        assert_eq!(clerks.of("H57.102", "cb01").map(|clerk| &*clerk.staff), Some("S2"));
        assert!(clerks.of("H57.103", "cb01").is_none() && clerks.of("H57.101", "cb02").is_none());
    }

    #[test]
    fn a_file_that_is_not_what_it_should_be_is_told_without_its_content() {
        for text in [
            format!("{ROW}{ROW}"),
            ROW.replace("\"S1\"", "\" \""),
            ROW.replace("H57.101", "no party"),
            ROW.replace("phone", "phon"),
            ROW.replace("unit = \"U1\"\n", ""),
        ] {
            let error = Clerks::read(&text).err().unwrap();
            assert!(!error.contains("cb01") && !error.contains("a1"), "{error}");
        }
    }
}
