//! What a desk asks the national population database about a citizen before it hands the dossier in, and what it makes of the answer.
//!
//! Where the registry grants a look-up for the procedure it looks up, elsewhere it has claims verified and learns nothing else. A desk
//! that may do neither is a plan that cannot be carried out.

use anyhow::bail;
use lgsp_domain::person_name;
use lgsp_domain::registry::{Registry, Wanted};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Citizen;
use super::matters::Matter;
use crate::demo::ticks::DAY;

/// How a citizen's identity is confirmed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::demo) enum Check {
    /// The registered data come back, cut to what is granted, and are held against what the citizen says.
    LookUp,
    /// What the citizen says is judged there; no data come back.
    Verify,
}

impl Check {
    /// Both; where there is a choice, the first.
    pub(in crate::demo) const ALL: [Self; 2] = [Self::LookUp, Self::Verify];
    /// Why it is asked.
    pub(in crate::demo) const PURPOSE: &'static str = "xac-nhan-danh-tinh";

    /// The one that the intake desk may make for the matter.
    ///
    /// # Errors
    /// It may make none.
    pub(super) fn of(matter: &Matter<'_>, registry: &Registry) -> anyhow::Result<Self> {
        let procedure = &matter.procedure.code;
        let may = |check: &Self| {
            let (service, purpose) = (check.service(), Self::PURPOSE);
            let wanted = Wanted { service, purpose, fields: &[], procedure: Some(procedure) };
            registry.may_call(&matter.intake, wanted, DAY).is_ok()
        };
        let Some(check) = Self::ALL.into_iter().find(may) else {
            bail!("{} may not confirm who hands in {procedure}", matter.intake);
        };
        Ok(check)
    }

    /// The service that is asked.
    pub(in crate::demo) fn service(self) -> &'static str {
        match self {
            Self::LookUp => "dan-cu-tra-cuu",
            Self::Verify => "dan-cu-doi-chieu",
        }
    }

    /// What is asked: the three keys, and with them what is claimed.
    pub(in crate::demo) fn payload(self, citizen: &Citizen) -> Value {
        let Citizen { full_name, personal_number, date_of_birth, sex, commune, .. } = citizen;
        let mut asked = json!({
            "personal_number": personal_number, "full_name": full_name, "date_of_birth": date_of_birth,
        });
        if self == Self::Verify {
            asked["sex"] = sex.as_str().into();
            asked["residence_commune_code"] = commune.as_str().into();
        }
        asked
    }

    /// Whether the reply says that the citizen is who the citizen says.
    pub(in crate::demo) fn confirms(self, citizen: &Citizen, reply: &Value) -> bool {
        match self {
            Self::LookUp => {
                let is = |value: &Value, claimed: &str| value.as_str() == Some(claimed);
                person_name::is_same(reply["full_name"].as_str().unwrap_or_default(), &citizen.full_name)
                    && is(&reply["date_of_birth"], &citizen.date_of_birth)
                    && is(&reply["sex"], &citizen.sex)
                    && is(&reply["residence"]["commune_code"], &citizen.commune)
            }
            Self::Verify => reply["all_match"] == true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::people::applicants;
    use super::*;

    #[test]
    fn a_reply_about_somebody_else_confirms_nobody() {
        let people = applicants(7, 2).unwrap();
        let told = |citizen: &Citizen| {
            json!({
                "full_name": citizen.full_name, "date_of_birth": citizen.date_of_birth, "sex": citizen.sex,
                "residence": { "commune_code": citizen.commune },
            })
        };
        assert!(Check::LookUp.confirms(&people[0], &told(&people[0])));
        assert!(!Check::LookUp.confirms(&people[0], &told(&people[1])));
        for field in ["full_name", "date_of_birth", "sex", "residence"] {
            let mut without = told(&people[0]);
            without[field] = Value::Null;
            assert!(!Check::LookUp.confirms(&people[0], &without), "{field}");
        }
        assert!(Check::Verify.confirms(&people[0], &json!({ "all_match": true })));
        assert!(!Check::Verify.confirms(&people[0], &json!({ "all_match": false })));
        assert!(!Check::Verify.confirms(&people[0], &json!({})));
    }
}
