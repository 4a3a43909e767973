//! A good submission comes through whole; a bad one is told everything that is wrong with it, and none of its values.

use lgsp_proto::types::{IntakeChannel, ReturnChannel};
use prost_types::Timestamp;

use super::*;

/// A synthetic citizen's birth registration.
fn good() -> v1::Submission {
    v1::Submission {
        request_key: "desk-1:2025-07-14:1".into(),
        acting_party: "H57.101".into(),
        actor: "can.bo.1".into(),
        procedure_code: "1.001193.000.00.00.H57".into(),
        applicant: Some(v1::Applicant {
            kind: v1::ApplicantKind::Citizen.into(),
            full_name: "Trần Thị Thử".into(),
            personal_number: "046190000001".into(),
            date_of_birth: "1990-02-03".into(),
            sex: v1::Sex::Female.into(),
            ..v1::Applicant::default()
        }),
        locality: "19753".into(),
        intake_channel: v1::IntakeChannel::Online.into(),
        return_channel: v1::ReturnChannel::Post.into(),
        received_at: Some(Timestamp { seconds: 1_752_458_400, nanos: 0 }),
        components: vec![
            v1::Component {
                code: "to-khai".into(),
                document: Some(v1::DocumentRef { sha256: vec![7; 32].into(), size_bytes: 9, ..Default::default() }),
                ..v1::Component::default()
            },
            v1::Component { name: "Giấy chứng sinh".into(), originals: 1, ..v1::Component::default() },
        ],
        ..v1::Submission::default()
    }
}

fn parse(message: &v1::Submission) -> Result<Signed<Submission>, Refusal> {
    let body = Bytes::from(message.encode_to_vec());
    signed(
        v1::SubmitRequest {
            submission: body,
            signature: Bytes::from_static(b"signature"),
            ..v1::SubmitRequest::default()
        },
        None,
    )
}

fn problems(message: &v1::Submission) -> Vec<String> {
    let refusal = parse(message).unwrap_err();
    assert_eq!(refusal.reason(), Reason::FieldInvalid);
    refusal.violations().iter().map(|violation| violation.field.clone()).collect()
}

#[test]
fn what_deciding_needs_is_read_and_the_bytes_are_kept_as_they_came() {
    let signed = parse(&good()).unwrap();
    let content = &signed.content;
    assert_eq!(content.procedure.as_str(), "1.001193");
    assert_eq!((content.intake_channel, content.return_channel), (IntakeChannel::Online, ReturnChannel::Post));
    assert_eq!(content.received_at.to_string(), "2025-07-14T09:00:00+07:00");
    assert_eq!(
        content.components,
        [
            ComponentGiven { code: Some("to-khai".into()), has_document: true },
            ComponentGiven { code: None, has_document: false },
        ]
    );
    assert_eq!(
        (&content.case, &content.return_desk, &content.support_point, &content.code),
        (&None, &None, &None, &None)
    );
    assert_eq!(signed.documents.len(), 1);
    assert_eq!(signed.documents[0].field, "components[0].document");
    assert_eq!(signed.body, good().encode_to_vec());
    assert!(signed.warnings.is_empty());
}

#[test]
fn an_empty_submission_is_told_everything_it_lacks() {
    assert_eq!(
        problems(&v1::Submission::default()),
        [
            "request_key",
            "acting_party",
            "actor",
            "procedure_code",
            "applicant",
            "locality",
            "intake_channel",
            "return_channel",
            "received_at",
        ]
    );
}

#[test]
fn every_malformed_field_is_named_at_once_and_no_value_is_repeated() {
    let secret = "SECRET";
    let bad = v1::Submission {
        request_key: "a key".into(),
        acting_party: "h57".into(),
        actor: "Trần".into(),
        procedure_code: "7.1".into(),
        case_code: "Nhà".into(),
        applicant: Some(v1::Applicant {
            kind: 9,
            full_name: format!("{secret}\u{7}"),
            personal_number: secret.into(),
            date_of_birth: format!("1990-02-30{secret}"),
            sex: 3,
            phone: secret.repeat(10),
            email: secret.repeat(100),
            address: secret.repeat(100),
            organisation_number: secret.repeat(10),
        }),
        locality: "1".into(),
        intake_channel: 7,
        support_point: "x".into(),
        return_desk: "x".into(),
        return_channel: 4,
        received_at: Some(Timestamp { seconds: 0, nanos: -1 }),
        components: vec![
            v1::Component::default(),
            v1::Component {
                code: secret.repeat(20),
                document: Some(v1::DocumentRef {
                    sha256: vec![1; 31].into(),
                    media_type: "pdf".into(),
                    file_name: format!("../{secret}"),
                    size_bytes: 1,
                }),
                ..v1::Component::default()
            },
        ],
        summary: secret.repeat(200),
        form: vec![0; FORM_BYTES_MAX + 1].into(),
        aliases: vec!["a b".into()],
        return_address: secret.repeat(100),
        dossier_code: "H57.101-250714".into(),
    };
    assert_eq!(
        problems(&bad),
        [
            "request_key",
            "acting_party",
            "actor",
            "procedure_code",
            "case_code",
            "applicant.kind",
            "applicant.full_name",
            "applicant.personal_number",
            "applicant.date_of_birth",
            "applicant.sex",
            "applicant.phone",
            "applicant.email",
            "applicant.address",
            "applicant.organisation_number",
            "locality",
            "intake_channel",
            "support_point",
            "return_desk",
            "return_channel",
            "received_at",
            "components[0]",
            "components[1].code",
            "components[1].document.sha256",
            "components[1].document.media_type",
            "components[1].document.file_name",
            "summary",
            "form",
            "aliases[0]",
            "return_address",
            "dossier_code",
        ]
    );
    let told = parse(&bad).unwrap_err().to_string();
    assert!(!told.contains(secret), "{told}");
}

#[test]
fn lists_have_bounds_and_an_alias_comes_once() {
    let many = v1::Submission { aliases: vec!["A-1".into(); ALIASES_MAX + 1], ..good() };
    assert_eq!(problems(&many), ["aliases"]);
    let twice = v1::Submission { aliases: vec!["A-1".into(), "A-1".into()], ..good() };
    assert_eq!(problems(&twice), ["aliases"]);
    let component = v1::Component { name: "Giấy".into(), ..v1::Component::default() };
    let thick = v1::Submission { components: vec![component; COMPONENTS_MAX + 1], ..good() };
    assert_eq!(problems(&thick), ["components"]);
}

#[test]
fn bytes_that_are_no_submission_are_malformed() {
    let request = v1::SubmitRequest {
        submission: Bytes::from_static(b"\xff\xff\xff"),
        signature: Bytes::new(),
        ..v1::SubmitRequest::default()
    };
    assert_eq!(signed(request, None).unwrap_err().reason(), Reason::Malformed);
}

#[test]
fn what_the_number_contradicts_is_a_warning_and_only_of_what_was_declared() {
    let warned = |change: fn(&mut v1::Applicant)| {
        let mut message = good();
        change(message.applicant.as_mut().unwrap());
        let warnings = parse(&message).unwrap().warnings;
        assert!(warnings.iter().all(|(_, field)| field == "applicant.personal_number"));
        warnings.into_iter().map(|(reason, _)| reason).collect::<Vec<_>>()
    };
    assert_eq!(warned(|a| a.sex = v1::Sex::Male.into()), ["SEX_DOES_NOT_MATCH_NUMBER"]);
    assert_eq!(warned(|a| a.date_of_birth = "1991-02-03".into()), ["BIRTH_YEAR_DOES_NOT_MATCH_NUMBER"]);
    assert_eq!(warned(|a| a.personal_number = "999190000001".into()), ["PROVINCE_OF_NUMBER_UNKNOWN"]);
    assert_eq!(warned(|a| a.personal_number = "191234567".into()), Vec::<String>::new());
    assert_eq!(warned(|a| a.personal_number.clear()), ["PERSONAL_NUMBER_MISSING"]);
    assert_eq!(
        warned(|a| {
            a.sex = 0;
            a.date_of_birth.clear();
        }),
        Vec::<String>::new()
    );
}
