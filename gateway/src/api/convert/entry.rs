//! An entry: which act it records, whether it says what the act asks for, and a look at the form of the rest.
//!
//! Which fields an act cannot do without is not decided here: the domain's table of transitions says it.

use std::num::NonZeroU32;

use lgsp_domain::deadline::clock::PauseCause;
use lgsp_domain::decide::{Entry, What};
use lgsp_domain::transition::{Act, Requirement};
use lgsp_proto::types::RequestKey;
use lgsp_proto::v1::entry::What as Said;
use lgsp_proto::{Reason, Refusal, Wrong, v1};
use prost::Message as _;

use super::submission::{components, signed_receipt};
use super::{Fields, standing};
use crate::engine::intake::{Admitted, NamedDocument, RecordedEntry, Signed};

/// The most items of a supplement request: form 02 is complete and specific, and still one sheet.
const ITEMS_MAX: usize = 100;

/// The most fees asked at once, and the most results handed out at once.
const FEES_MAX: usize = 50;
const RESULTS_MAX: usize = 50;

/// Why something happened, as told to the citizen.
const REASON_CHARS: usize = 4000;

/// A remark for colleagues.
const NOTE_CHARS: usize = 2000;

/// Reads an entry that was signed. `traceparent` is that of the call.
///
/// # Errors
/// `MALFORMED`, `FIELD_INVALID` with every problem.
pub(crate) fn signed(
    request: v1::RecordRequest,
    traceparent: Option<String>,
) -> Result<Signed<RecordedEntry>, Refusal> {
    let v1::RecordRequest { entry: body, signature, earlier } = request;
    let message = v1::Entry::decode(body.clone()).map_err(|_| {
        Refusal::new(Reason::Malformed)
            .field("entry", Wrong::new("không phải lgsp.v1.Entry", "is not an lgsp.v1.Entry"))
    })?;
    let mut fields = Fields::default();
    let read = read(&mut fields, &message);
    let (content, request_key, documents) = fields.finish(read)?;
    Ok(Signed { content, body, signature, request_key, documents, warnings: Vec::new(), traceparent, earlier })
}

fn read(fields: &mut Fields, message: &v1::Entry) -> Option<(RecordedEntry, RequestKey, Vec<NamedDocument>)> {
    let request_key = fields.required("request_key", &message.request_key);
    let acting_party = fields.required("acting_party", &message.acting_party);
    let actor = fields.required("actor", &message.actor);
    // A code or an alias; an alias may be written as it likes within these bounds, and a code fits them.
    let dossier = super::reading::dossier_name(fields, "dossier_code", &message.dossier_code);
    let occurred_at = fields.time("occurred_at", message.occurred_at.as_ref());
    let what = match &message.what {
        Some(said) => what(fields, said),
        None => fields.problem("what", Wrong::new("bị thiếu: hãy nêu sự việc", "is missing: say what happened")),
    };
    let (what, documents) = what?;
    let entry = Entry {
        acting_party: acting_party?,
        actor: actor?,
        expected_sequence: (message.expected_sequence != 0).then_some(message.expected_sequence),
        occurred_at: occurred_at?,
        what,
    };
    Some((RecordedEntry { dossier: dossier?, entry }, request_key?, documents))
}

/// What happened, and the documents it names.
fn what(fields: &mut Fields, said: &Said) -> Option<(What, Vec<NamedDocument>)> {
    let act = act_of(said);
    for requirement in act.requires().iter().filter(|requirement| !says(said, **requirement)) {
        fields.problem::<()>(requirement.path(act), Wrong::missing());
    }
    let mut form = Form { fields, act };
    let plain = |what| Some((what, Vec::new()));
    match said {
        Said::Accepted(v1::Accepted { note }) => {
            form.note(note);
            plain(What::Accept)
        }
        Said::Refused(v1::Refused { reason }) => {
            form.reason(reason);
            plain(What::Refuse)
        }
        Said::SupplementRequested(v1::SupplementRequested { reason, items, until }) => {
            form.reason(reason);
            let _ = form.fields.list(&form.path("items"), items, ITEMS_MAX, |fields, field, item| {
                fields.required::<lgsp_proto::types::Text<1000>>(field, item)
            });
            let until = form.fields.optional_time(&form.path("until"), until.as_ref());
            plain(What::RequestSupplement { until: until?? })
        }
        Said::SupplementProvided(v1::SupplementProvided { components: given, note }) => {
            form.note(note);
            let (_, documents) = components(form.fields, &form.path("components"), given)?;
            Some((What::ProvideSupplement { documents: Vec::new() }, documents))
        }
        Said::SupplementExpired(v1::SupplementExpired { reason }) => {
            form.reason(reason);
            plain(What::ExpireSupplement)
        }
        Said::Withdrawn(v1::Withdrawn { reason }) => {
            form.reason(reason);
            plain(What::Withdraw)
        }
        Said::ProcessingStarted(v1::ProcessingStarted { note }) => {
            form.note(note);
            plain(What::StartProcessing)
        }
        Said::FeeRequested(v1::FeeRequested { fees }) => {
            let read = form.fields.list(&form.path("fees"), fees, FEES_MAX, fee)?;
            plain(What::RequestFee { fees: some(read.len())? })
        }
        Said::FeePaid(v1::FeePaid { payment_reference, amount_vnd: _ }) => {
            form.text::<100>("payment_reference", payment_reference);
            plain(What::ConfirmPayment)
        }
        Said::Stopped(v1::Stopped { reason }) => {
            form.reason(reason);
            plain(What::Stop)
        }
        Said::Resolved(v1::Resolved { results, note }) => {
            form.note(note);
            let read = form.fields.list(&form.path("results"), results, RESULTS_MAX, result)?;
            let results = some(read.len())?;
            Some((What::Resolve { results, documents: Vec::new() }, read.into_iter().flatten().collect()))
        }
        Said::ResultRecalled(v1::ResultRecalled { reason }) => {
            form.reason(reason);
            plain(What::RecallResult)
        }
        Said::Returned(v1::Returned { channel, note }) => {
            form.note(note);
            plain(What::ReturnResult { channel: form.said(*channel, "channel", Fields::return_channel)? })
        }
        Said::Extended(v1::Extended { reason, new_due_at }) => {
            form.reason(reason);
            let new_due = form.fields.optional_time(&form.path("new_due_at"), new_due_at.as_ref());
            plain(What::Extend { new_due: new_due?? })
        }
        Said::Paused(v1::Paused { cause, reason }) => {
            form.reason(reason);
            plain(What::Pause { cause: form.said(*cause, "cause", pause_cause)? })
        }
        Said::Resumed(v1::Resumed { cause }) => plain(What::Resume { cause: form.said(*cause, "cause", pause_cause)? }),
        Said::Progressed(v1::Progressed { step, unit, note }) => {
            form.text::<500>("step", step);
            form.text::<500>("unit", unit);
            form.note(note);
            plain(What::Progress)
        }
    }
}

/// The act that a message records.
fn act_of(said: &Said) -> Act {
    match said {
        Said::Accepted(_) => Act::Accept,
        Said::Refused(_) => Act::Refuse,
        Said::SupplementRequested(_) => Act::RequestSupplement,
        Said::SupplementProvided(_) => Act::ProvideSupplement,
        Said::SupplementExpired(_) => Act::ExpireSupplement,
        Said::Withdrawn(_) => Act::Withdraw,
        Said::ProcessingStarted(_) => Act::StartProcessing,
        Said::FeeRequested(_) => Act::RequestFee,
        Said::FeePaid(_) => Act::ConfirmPayment,
        Said::Stopped(_) => Act::Stop,
        Said::Resolved(_) => Act::Resolve,
        Said::ResultRecalled(_) => Act::RecallResult,
        Said::Returned(_) => Act::ReturnResult,
        Said::Extended(_) => Act::Extend,
        Said::Paused(_) => Act::Pause,
        Said::Resumed(_) => Act::Resume,
        Said::Progressed(_) => Act::Progress,
    }
}

/// Whether the message says what the requirement asks for; a message without the field says nothing.
fn says(said: &Said, requirement: Requirement) -> bool {
    let text = |text: &str| !text.trim().is_empty();
    match requirement {
        Requirement::Reason => match said {
            Said::Refused(v1::Refused { reason })
            | Said::SupplementRequested(v1::SupplementRequested { reason, .. })
            | Said::SupplementExpired(v1::SupplementExpired { reason })
            | Said::Withdrawn(v1::Withdrawn { reason })
            | Said::Stopped(v1::Stopped { reason })
            | Said::ResultRecalled(v1::ResultRecalled { reason })
            | Said::Extended(v1::Extended { reason, .. })
            | Said::Paused(v1::Paused { reason, .. }) => text(reason),
            _ => false,
        },
        Requirement::SupplementUntil => matches!(said, Said::SupplementRequested(asked) if asked.until.is_some()),
        Requirement::Fees => matches!(said, Said::FeeRequested(asked) if !asked.fees.is_empty()),
        Requirement::PaymentReference => matches!(said, Said::FeePaid(paid) if text(&paid.payment_reference)),
        Requirement::Results => matches!(said, Said::Resolved(resolved) if !resolved.results.is_empty()),
        Requirement::ReturnChannel => matches!(said, Said::Returned(returned) if returned.channel != 0),
        Requirement::NewDue => matches!(said, Said::Extended(extended) if extended.new_due_at.is_some()),
        Requirement::PauseCause => match said {
            Said::Paused(v1::Paused { cause, .. }) | Said::Resumed(v1::Resumed { cause }) => *cause != 0,
            _ => false,
        },
        Requirement::Step => matches!(said, Said::Progressed(progressed) if text(&progressed.step)),
    }
}

/// The form of the fields of one act.
struct Form<'a> {
    fields: &'a mut Fields,
    act: Act,
}

impl Form<'_> {
    fn path(&self, field: &str) -> String {
        format!("{}.{field}", self.act.as_str())
    }

    fn text<const MAX: usize>(&mut self, field: &str, text: &str) {
        // A text of blanks where one is compulsory has been named already.
        if !text.trim().is_empty() {
            self.fields.text::<MAX>(&self.path(field), text);
        }
    }

    fn reason(&mut self, text: &str) {
        self.text::<REASON_CHARS>("reason", text);
    }

    fn note(&mut self, text: &str) {
        self.text::<NOTE_CHARS>("note", text);
    }

    /// A number that was said; one that was not has been named as missing already.
    fn said<T>(
        &mut self,
        number: i32,
        field: &str,
        read: impl FnOnce(&mut Fields, &str, i32) -> Option<T>,
    ) -> Option<T> {
        if number == 0 { None } else { read(self.fields, &self.path(field), number) }
    }
}

fn fee(fields: &mut Fields, field: &str, fee: &v1::Fee) -> Option<()> {
    fields.text::<64>(&format!("{field}.code"), &fee.code);
    let name = fields.required::<lgsp_proto::types::Text<500>>(&format!("{field}.name"), &fee.name);
    if fee.amount_vnd == 0 {
        return fields.problem(format!("{field}.amount_vnd"), Wrong::new("bằng 0", "is 0"));
    }
    name.map(drop)
}

/// One result; its document, if it has one.
fn result(fields: &mut Fields, field: &str, result: &v1::Result) -> Option<Option<NamedDocument>> {
    fields.text::<64>(&format!("{field}.code"), &result.code);
    let name = fields.required::<lgsp_proto::types::Text<2000>>(&format!("{field}.name"), &result.name);
    let document = match &result.document {
        None => None,
        Some(document) => Some(fields.document(&format!("{field}.document"), document)?),
    };
    name.map(|_| document)
}

fn pause_cause(fields: &mut Fields, field: &str, number: i32) -> Option<PauseCause> {
    let known = standing::PAUSE_CAUSES.into_iter().find(|cause| standing::pause_cause(*cause) as i32 == number);
    known.or_else(|| fields.unknown(field))
}

/// At least one; none has been named as missing already.
fn some(count: usize) -> Option<NonZeroU32> {
    u32::try_from(count).ok().and_then(NonZeroU32::new)
}

/// The receipt of an entry.
pub(crate) fn response(admitted: Admitted) -> v1::RecordResponse {
    v1::RecordResponse {
        warnings: super::warning::of(&admitted.answer),
        receipt: Some(signed_receipt(admitted.answer)),
        repeated: admitted.repeated,
    }
}

#[cfg(test)]
mod tests;
