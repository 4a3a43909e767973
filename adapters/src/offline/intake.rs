//! Taking a dossier in without a line: decided here as the gateway would, given a number, and described for the citizen.

use std::collections::HashSet;

use lgsp_domain::decide::{self, ComponentGiven};
use lgsp_domain::registry::Registry;
use lgsp_proto::spool_v1::OfflineIntake;
use lgsp_proto::types::{
    ActorId, Alias, BusinessTime, CaseCode, DossierCode, IntakeChannel, PartyId, ProcedureCode, ReturnChannel, UnitCode,
};
use lgsp_proto::{Reason, Refusal, Wrong, v1};

use super::{Desk, wall_clock};
use crate::json::Fields;
use crate::spool::Spool;

/// The most components of a submission, as the gateway has it.
const MAX_COMPONENTS: usize = 200;

/// The most other codes a dossier may carry, as the gateway has it.
const MAX_ALIASES: usize = 8;

impl Desk {
    /// Decides on a submission by the registry last synced, gives it a number, and puts the number into it.
    ///
    /// # Errors
    /// The refusal the gateway would give: same reason, same fields. No number was given out.
    pub(crate) fn take_in(
        &self,
        submission: &mut v1::Submission,
        registry: &Registry,
        spool: &Spool,
    ) -> Result<(OfflineIntake, Vec<v1::Warning>), Refusal> {
        let given = read(submission)?;
        let admissible = decide::submission(&given, registry, wall_clock(), &self.bounds())?;
        let authority = admissible.authority();
        let mut intake = OfflineIntake {
            competent_authority: authority.to_string(),
            registry_version: registry.version(),
            due_at: admissible
                .clock()
                .due()
                .and_then(|due| BusinessTime::try_from(due).ok())
                .map(BusinessTime::unix_seconds),
            ..OfflineIntake::default()
        };
        match admissible.given_code() {
            // The authority's own software numbers its intakes from a range of its own.
            Some(code) if given.acting_party == *authority && code.number() > registry.last_number_of(authority) => {
                intake.dossier_code = code.to_string();
            }
            Some(_) => {
                let refusal = Refusal::new(Reason::CodeNotLeased).detail("authority", authority);
                return Err(refusal.field(
                    "dossier_code",
                    Wrong::new(
                        "chưa được cấp trước cho bộ phận này và không thuộc dải số riêng",
                        "is neither leased to this desk nor in a range of its own",
                    ),
                ));
            }
            None => {
                let (desk, day) = (&given.acting_party, admissible.day());
                let code = spool
                    .take_number(desk, authority, day)
                    .and_then(|number| DossierCode::issue(authority, day, number).ok());
                match code {
                    Some(code) => {
                        submission.dossier_code = code.to_string();
                        intake.dossier_code = code.to_string();
                    }
                    None => {
                        intake.provisional_number = spool.take_provisional(desk, day);
                        if submission.aliases.len() < MAX_ALIASES {
                            submission.aliases.push(intake.provisional_number.clone());
                        }
                    }
                }
            }
        }
        let decided = admissible.warnings().iter().map(|warning| v1::Warning {
            reason: warning.as_str().to_owned(),
            field: String::new(),
            message_vi: warning.text().vi.to_owned(),
            message_en: warning.text().en.to_owned(),
        });
        Ok((intake, decided.chain(self.skew_warning()).collect()))
    }
}

/// Refuses a code that this machine gives out itself: somebody would get it twice.
///
/// # Errors
/// `CODE_NOT_LEASED`.
pub(crate) fn refuse_own_number(submission: &v1::Submission, spool: &Spool) -> Result<(), Refusal> {
    match submission.dossier_code.parse::<DossierCode>() {
        Ok(code) if spool.holds_number(&code) => {
            let problem = Wrong::new(
                "thuộc khối số do bộ kết nối tự cấp; hãy bỏ trống",
                "is of a block from which the adapter itself gives out numbers; leave it out",
            );
            Err(Refusal::new(Reason::CodeNotLeased).field("dossier_code", problem))
        }
        _ => Ok(()),
    }
}

/// Makes a submission that is sent again what it was made when it came first: the same number, the same time of reception
/// where it named none.
pub(crate) fn as_before(submission: &mut v1::Submission, stored: &v1::Submission, intake: Option<&OfflineIntake>) {
    if submission.received_at.is_none() {
        submission.received_at = stored.received_at;
    }
    let Some(intake) = intake else { return };
    if submission.dossier_code.is_empty() {
        submission.dossier_code.clone_from(&stored.dossier_code);
    }
    let provisional = &intake.provisional_number;
    if stored.aliases.last() == Some(provisional) && !submission.aliases.contains(provisional) {
        submission.aliases.push(provisional.clone());
    }
}

/// What deciding needs of a submission whose form has been checked, and the few checks of form that the gateway adds.
fn read(submission: &v1::Submission) -> Result<decide::Submission, Refusal> {
    let mut fields = Fields::default();
    let f = &mut fields;
    if submission.components.len() > MAX_COMPONENTS {
        f.problem(
            "components",
            Wrong::new(format!("có nhiều hơn {MAX_COMPONENTS} mục"), format!("has more than {MAX_COMPONENTS} items")),
        );
    }
    for (at, component) in submission.components.iter().enumerate() {
        if component.code.is_empty() && component.name.is_empty() {
            f.problem(
                &format!("components[{at}]"),
                Wrong::new("không có mã cũng không có tên", "has neither a code nor a name"),
            );
        }
    }
    if submission.aliases.len() > MAX_ALIASES {
        f.problem(
            "aliases",
            Wrong::new(format!("có nhiều hơn {MAX_ALIASES} mục"), format!("has more than {MAX_ALIASES} items")),
        );
    }
    if submission.aliases.iter().collect::<HashSet<_>>().len() < submission.aliases.len() {
        f.problem("aliases", Wrong::new("nêu một mã hai lần", "names a code twice"));
    }
    let text = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
    let acting_party = f.required::<PartyId>("acting_party", Some(&submission.acting_party));
    let actor = f.required::<ActorId>("actor", Some(&submission.actor));
    let procedure = f.required::<ProcedureCode>("procedure_code", Some(&submission.procedure_code));
    let case = f.optional::<CaseCode>("case_code", Some(&submission.case_code));
    let locality = f.required::<UnitCode>("locality", Some(&submission.locality));
    let support_point = f.optional::<PartyId>("support_point", Some(&submission.support_point));
    let return_desk = f.optional::<PartyId>("return_desk", Some(&submission.return_desk));
    let code = f.optional::<DossierCode>("dossier_code", Some(&submission.dossier_code));
    let received_at = submission.received_at.and_then(|at| BusinessTime::from_unix_seconds(at.seconds).ok());
    if received_at.is_none() {
        f.problem("received_at", Wrong::missing());
    }
    let aliases: Vec<Alias> = submission.aliases.iter().filter_map(|alias| alias.parse().ok()).collect();
    let intake_channel = intake_channel(submission.intake_channel());
    let return_channel = return_channel(submission.return_channel());
    let components = submission
        .components
        .iter()
        .map(|component| ComponentGiven { code: text(&component.code), has_document: component.document.is_some() });
    let components = components.collect();
    fields.finish(())?;
    let whole = || {
        Some(decide::Submission {
            acting_party: acting_party?,
            actor: actor?,
            procedure: procedure?,
            case,
            locality: locality?,
            intake_channel: intake_channel?,
            return_channel: return_channel?,
            support_point,
            return_desk,
            received_at: received_at?,
            components,
            // Where the gateway keeps them only the gateway knows.
            documents: Vec::new(),
            aliases,
            code,
        })
    };
    whole().ok_or_else(|| Refusal::new(Reason::Internal))
}

fn intake_channel(channel: v1::IntakeChannel) -> Option<IntakeChannel> {
    Some(match channel {
        v1::IntakeChannel::Unspecified => return None,
        v1::IntakeChannel::Direct => IntakeChannel::Direct,
        v1::IntakeChannel::Online => IntakeChannel::Online,
        v1::IntakeChannel::Postal => IntakeChannel::Postal,
    })
}

fn return_channel(channel: v1::ReturnChannel) -> Option<ReturnChannel> {
    Some(match channel {
        v1::ReturnChannel::Unspecified => return None,
        v1::ReturnChannel::Direct => ReturnChannel::Direct,
        v1::ReturnChannel::Post => ReturnChannel::Post,
        v1::ReturnChannel::Online => ReturnChannel::Online,
    })
}
