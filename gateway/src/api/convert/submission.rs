//! A submission: what deciding needs of it, and a look at the form of the rest.

use std::collections::HashSet;

use bytes::Bytes;
use lgsp_domain::decide::{ComponentGiven, Submission};
use lgsp_proto::types::{Date, NumberWarning, PersonalNumber, RequestKey, Sex, Text};
use lgsp_proto::{Reason, Refusal, Wrong, v1};
use prost::Message as _;

use super::Fields;
use super::warning::{PERSONAL_NUMBER_MISSING, word};
use crate::engine::intake::{NamedDocument, Signed};

/// The most components of one message. The longest published list has some forty; together with the documents' own limit
/// it keeps one message from making thousands of look-ups.
pub(super) const COMPONENTS_MAX: usize = 200;

/// The most other codes a dossier may carry: of a portal, an interlinked procedure, the agency's own system, with room.
const ALIASES_MAX: usize = 8;

/// The largest electronic form. It is carried in every delivery of the dossier, so it must leave room in a message.
const FORM_BYTES_MAX: usize = 1 << 20;

/// Reads a submission that was signed. `traceparent` is that of the call.
///
/// # Errors
/// `MALFORMED`, `FIELD_INVALID` with every problem.
pub(crate) fn signed(request: v1::SubmitRequest, traceparent: Option<String>) -> Result<Signed<Submission>, Refusal> {
    let v1::SubmitRequest { submission: body, signature, earlier } = request;
    let message = v1::Submission::decode(body.clone()).map_err(|_| {
        Refusal::new(Reason::Malformed)
            .field("submission", Wrong::new("không phải lgsp.v1.Submission", "is not an lgsp.v1.Submission"))
    })?;
    let mut fields = Fields::default();
    let read = read(&mut fields, &message);
    let Read { content, request_key, documents, warnings } = fields.finish(read)?;
    Ok(Signed { content, body, signature, request_key, documents, warnings, traceparent, earlier })
}

struct Read {
    content: Submission,
    request_key: RequestKey,
    documents: Vec<NamedDocument>,
    warnings: Vec<(String, String)>,
}

fn read(fields: &mut Fields, message: &v1::Submission) -> Option<Read> {
    let request_key = fields.required("request_key", &message.request_key);
    let acting_party = fields.required("acting_party", &message.acting_party);
    let actor = fields.required("actor", &message.actor);
    let procedure = fields.required("procedure_code", &message.procedure_code);
    let case = fields.optional("case_code", &message.case_code);
    let warnings = applicant(fields, message.applicant.as_ref());
    let locality = fields.required("locality", &message.locality);
    let intake_channel = fields.intake_channel("intake_channel", message.intake_channel);
    let support_point = fields.optional("support_point", &message.support_point);
    let return_desk = fields.optional("return_desk", &message.return_desk);
    let return_channel = fields.return_channel("return_channel", message.return_channel);
    let received_at = fields.time("received_at", message.received_at.as_ref());
    let (components, documents) = components(fields, "components", &message.components).unzip();
    fields.text::<1000>("summary", &message.summary);
    if message.form.len() > FORM_BYTES_MAX {
        fields.problem::<()>(
            "form",
            Wrong::new(format!("lớn hơn {FORM_BYTES_MAX} byte"), format!("is larger than {FORM_BYTES_MAX} bytes")),
        );
    }
    let aliases =
        fields.list("aliases", &message.aliases, ALIASES_MAX, |fields, field, alias| fields.required(field, alias));
    let repeated = aliases.as_ref().is_some_and(|aliases| aliases.iter().collect::<HashSet<_>>().len() < aliases.len());
    if repeated {
        fields.problem::<()>("aliases", Wrong::new("nêu một mã hai lần", "names a code twice"));
    }
    fields.text::<500>("return_address", &message.return_address);
    let code = fields.optional("dossier_code", &message.dossier_code);

    Some(Read {
        content: Submission {
            acting_party: acting_party?,
            actor: actor?,
            procedure: procedure?,
            case: case?,
            locality: locality?,
            intake_channel: intake_channel?,
            return_channel: return_channel?,
            support_point: support_point?,
            return_desk: return_desk?,
            received_at: received_at?,
            components: components?,
            documents: Vec::new(),
            aliases: aliases?,
            code: code?,
        },
        request_key: request_key?,
        documents: documents?,
        warnings: warnings?,
    })
}

/// Checks the form of what is said about the applicant; gives what looks odd about the number.
fn applicant(fields: &mut Fields, applicant: Option<&v1::Applicant>) -> Option<Vec<(String, String)>> {
    let Some(applicant) = applicant else { return fields.problem("applicant", Wrong::missing()) };
    let kind = fields.number::<v1::ApplicantKind>("applicant.kind", applicant.kind);
    let name = fields.required::<Text<200>>("applicant.full_name", &applicant.full_name);
    let number = fields.optional::<PersonalNumber>("applicant.personal_number", &applicant.personal_number);
    let born = date_of_birth(fields, &applicant.date_of_birth);
    let sex = sex(fields, applicant.sex);
    fields.text::<30>("applicant.phone", &applicant.phone);
    fields.text::<254>("applicant.email", &applicant.email);
    fields.text::<500>("applicant.address", &applicant.address);
    fields.text::<50>("applicant.organisation_number", &applicant.organisation_number);
    let (kind, number, born, sex) = (kind?, number?, born?, sex?);
    name?;

    let at_number = |reason: &str| (reason.to_owned(), "applicant.personal_number".to_owned());
    Some(match number {
        // Foreigners and the newborn may have none, so it is the clerk's to know.
        None if kind == v1::ApplicantKind::Citizen => vec![at_number(PERSONAL_NUMBER_MISSING)],
        None => Vec::new(),
        Some(number) => odd_about(&number, sex, born).into_iter().map(|warning| at_number(word(warning))).collect(),
    })
}

/// What the number contradicts, of the things that were declared.
fn odd_about(number: &PersonalNumber, sex: Option<Sex>, born: Option<Date>) -> Vec<NumberWarning> {
    let PersonalNumber::Citizen(citizen) = number else { return Vec::new() };
    let mut warnings = Vec::new();
    if !citizen.has_known_province() {
        warnings.push(NumberWarning::UnknownProvince);
    }
    if sex.is_some_and(|declared| declared != citizen.sex()) {
        warnings.push(NumberWarning::SexDiffers);
    }
    if born.is_some_and(|born| i32::from(born.year()) != i32::from(citizen.birth_year())) {
        warnings.push(NumberWarning::BirthYearDiffers);
    }
    warnings
}

fn date_of_birth(fields: &mut Fields, text: &str) -> Option<Option<Date>> {
    const FIELD: &str = "applicant.date_of_birth";
    if text.is_empty() {
        return Some(None);
    }
    // The parser takes more than one spelling; a date has ten characters and only this one.
    match text.parse::<Date>() {
        Ok(date) if text.len() == 10 => Some(Some(date)),
        _ => {
            fields.problem(FIELD, Wrong::new("không phải ngày dạng yyyy-mm-dd", "is not a date of the form yyyy-mm-dd"))
        }
    }
}

fn sex(fields: &mut Fields, number: i32) -> Option<Option<Sex>> {
    match v1::Sex::try_from(number) {
        Ok(v1::Sex::Unspecified) => Some(None),
        Ok(v1::Sex::Male) => Some(Some(Sex::Male)),
        Ok(v1::Sex::Female) => Some(Some(Sex::Female)),
        Err(_) => fields.unknown("applicant.sex"),
    }
}

/// Reads components: what deciding needs of each, and the documents they name.
pub(super) fn components(
    fields: &mut Fields,
    field: &str,
    components: &[v1::Component],
) -> Option<(Vec<ComponentGiven>, Vec<NamedDocument>)> {
    let read = fields.list(field, components, COMPONENTS_MAX, |fields, field, component| {
        fields.text::<64>(&format!("{field}.code"), &component.code);
        fields.text::<1000>(&format!("{field}.name"), &component.name);
        if component.code.is_empty() && component.name.is_empty() {
            fields.problem::<()>(field, Wrong::new("không có mã cũng không có tên", "has neither a code nor a name"));
        }
        let document = match &component.document {
            None => None,
            Some(document) => Some(fields.document(&format!("{field}.document"), document)?),
        };
        let code = (!component.code.is_empty()).then(|| component.code.clone());
        Some((ComponentGiven { code, has_document: document.is_some() }, document))
    })?;
    let (given, documents): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    Some((given, documents.into_iter().flatten().collect()))
}

/// The receipt and what came with it.
pub(crate) fn response(admitted: crate::engine::intake::Admitted) -> v1::SubmitResponse {
    v1::SubmitResponse {
        warnings: super::warning::of(&admitted.answer),
        receipt: Some(signed_receipt(admitted.answer)),
        repeated: admitted.repeated,
    }
}

/// A receipt as it was signed.
pub(super) fn signed_receipt(answer: crate::store::Answer) -> v1::SignedReceipt {
    v1::SignedReceipt {
        receipt: answer.receipt,
        signature: answer.signature,
        certificate_sha256: Bytes::copy_from_slice(answer.certificate.as_bytes()),
    }
}

#[cfg(test)]
mod tests;
