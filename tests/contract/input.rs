//! What bad input gets: a clear refusal with a stable reason, and nothing written.

use bytes::Bytes;
use lgsp_adapters::link::Link;
use lgsp_certs::{Purpose, SigningKey};
use lgsp_proto::{Reason, Refusal, v1};
use prost::Message as _;
use tonic::Status;

use crate::support::{Bus, MORNING, at, fresh_key, record, refused, submission, submit};

/// A bus, and a check that nothing was written.
struct Desk {
    bus: Bus,
    link: Link,
}

impl Desk {
    async fn open() -> Self {
        let bus = Bus::start().await;
        let link = bus.link("mot-cua-binh");
        Self { bus, link }
    }

    async fn refuses(&self, submission: v1::Submission, reason: Reason) -> Refusal {
        let before = self.written().await;
        let refusal = refused(submit(&self.link, &submission).await, reason);
        assert_eq!(self.written().await, before, "{reason}: something was written");
        refusal
    }

    /// Dossiers, events and deliveries on record.
    async fn written(&self) -> (u64, u64, u64) {
        let status = self.bus.status().await;
        let figure = |name: &str| status["store"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {status}"));
        (figure("dossiers"), figure("events"), figure("deliveries_waiting"))
    }
}

fn fields(refusal: &Refusal) -> Vec<&str> {
    for violation in refusal.violations() {
        // What came over the wire is Vietnamese in the one and English in the other.
        let problem = &violation.problem;
        assert!(!problem.vi().is_ascii() && problem.vi() != problem.en(), "{violation:?}");
    }
    refusal.violations().iter().map(|violation| violation.field.as_str()).collect()
}

fn with(change: impl FnOnce(&mut v1::Submission)) -> v1::Submission {
    let mut submission = submission();
    change(&mut submission);
    submission
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_that_cannot_stand_is_refused_with_its_reason() {
    let desk = Desk::open().await;
    submit(&desk.link, &submission()).await.unwrap();

    desk.refuses(with(|s| s.procedure_code = "1.999999".into()), Reason::ProcedureUnknown).await;
    let refusal = desk.refuses(with(|s| s.procedure_code = "1.000004".into()), Reason::ProcedureAbolished).await;
    assert_eq!(refusal.details()["successor"], "1.000001");
    desk.refuses(with(|s| s.procedure_code = "1.000005".into()), Reason::ProcedureNotYetInForce).await;
    // Codes with an agency's suffix are national codes; anything else is no code.
    submit(&desk.link, &with(|s| s.procedure_code = "1.000001.000.00.00.H99".into())).await.unwrap();
    desk.refuses(with(|s| s.procedure_code = "TTHC-12".into()), Reason::FieldInvalid).await;

    let refusal = desk.refuses(with(|s| s.components.clear()), Reason::ComponentMissing).await;
    assert_eq!(refusal.details()["components"], "to-khai");
    desk.refuses(with(|s| s.case_code = "khong-co".into()), Reason::CaseUnknown).await;

    let refusal = desk.refuses(with(|s| s.locality = "99003".into()), Reason::UnitCeased).await;
    assert_eq!(refusal.details()["successor"], "99002");
    desk.refuses(with(|s| s.locality = "12345".into()), Reason::UnitUnknown).await;
    desk.refuses(with(|s| s.procedure_code = "1.000006".into()), Reason::NoRoute).await;
    desk.refuses(with(|s| s.return_desk = "H99.77".into()), Reason::PartyUnknown).await;

    desk.refuses(with(|s| s.received_at = Some(at("2025-07-14T08:30:00+07:00"))), Reason::TimeAhead).await;
    desk.refuses(with(|s| s.received_at = Some(at("2025-06-01T08:30:00+07:00"))), Reason::TimeTooFarBack).await;
    desk.refuses(with(|s| s.dossier_code = "H99.101-250714-0077".into()), Reason::CodeNotLeased).await;

    let document = v1::DocumentRef {
        sha256: Bytes::from_static(&[7; 32]),
        size_bytes: 10,
        media_type: "application/pdf".into(),
        file_name: "to-khai.pdf".into(),
    };
    desk.refuses(with(|s| s.components[0].document = Some(document)), Reason::DocumentUnknown).await;
    desk.bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_malformed_field_is_named_at_once_and_no_value_is_repeated() {
    let desk = Desk::open().await;
    let submission = with(|s| {
        s.procedure_code = "khai sinh".into();
        s.locality = "Thuận Hoá".into();
        s.intake_channel = 9;
        s.return_desk = "h99.tt".into();
        s.actor = "Nguyễn Văn A".into();
        s.received_at = None;
        let applicant = s.applicant.as_mut().unwrap();
        applicant.personal_number = "04630112345X".into();
        applicant.date_of_birth = "20/05/2001".into();
    });
    let refusal = desk.refuses(submission, Reason::FieldInvalid).await;
    let mut named = fields(&refusal);
    named.sort_unstable();
    let expected = [
        "actor",
        "applicant.date_of_birth",
        "applicant.personal_number",
        "intake_channel",
        "locality",
        "procedure_code",
        "received_at",
        "return_desk",
    ];
    assert_eq!(named, expected);
    let told = format!("{refusal} {refusal:?}");
    assert!(!told.contains("04630112345X") && !told.contains("20/05/2001"), "{told}");
    desk.bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_one_dossier_and_one_receipt_and_refuses_other_content() {
    let desk = Desk::open().await;
    let submission = submission();
    let first = submit(&desk.link, &submission).await.unwrap();
    let written = desk.written().await;
    let again = submit(&desk.link, &submission).await.unwrap();
    assert!(!first.repeated && again.repeated);
    assert_eq!(first.signed, again.signed, "the receipt, signature included, is the one given before");
    assert_eq!(desk.written().await, written);
    let refusal = desk.refuses(v1::Submission { summary: "khác".into(), ..submission }, Reason::KeyReused).await;
    assert_eq!(fields(&refusal), ["request_key"]);
    desk.bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_desks_at_once_never_get_one_number_twice() {
    let desk = Desk::open().await;
    let (binh, centre) = (desk.link.clone(), desk.bus.link("mot-cua"));
    let calls = (0..120).map(|index| {
        let (link, party) = if index % 2 == 0 { (binh.clone(), "H99.102") } else { (centre.clone(), "H99.TT") };
        let submission = with(|s| s.acting_party = party.into());
        tokio::spawn(async move { submit(&link, &submission).await.unwrap().receipt.dossier_code })
    });
    let mut codes = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        codes.push(call.await.unwrap());
    }
    codes.sort();
    let expected: Vec<String> = (1..=120).map(|number| format!("H99.101-250714-{number:04}")).collect();
    assert_eq!(codes, expected);
    desk.bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_on_an_old_view_or_on_anothers_dossier_is_refused() {
    let desk = Desk::open().await;
    let code = submit(&desk.link, &submission()).await.unwrap().receipt.dossier_code;
    let entry = |party: &str| v1::Entry {
        request_key: fresh_key(),
        acting_party: party.into(),
        actor: "clerk-1".into(),
        dossier_code: code.clone(),
        occurred_at: Some(at(MORNING)),
        what: Some(v1::entry::What::Accepted(v1::Accepted::default())),
        ..Default::default()
    };
    let authority = desk.bus.link("mot-cua");
    refused(record(&authority, &v1::Entry { expected_sequence: 7, ..entry("H99.101") }).await, Reason::StaleVersion);
    let stranger = desk.bus.link("cong-an");
    refused(record(&stranger, &entry("H99.CA.102")).await, Reason::DossierNotFound);
    // As if there were none: the very same answer.
    let nowhere = v1::Entry { dossier_code: "H99.101-250714-9999".into(), ..entry("H99.CA.102") };
    refused(record(&stranger, &nowhere).await, Reason::DossierNotFound);
    refused(record(&authority, &v1::Entry { what: None, ..entry("H99.101") }).await, Reason::FieldInvalid);
    record(&authority, &v1::Entry { expected_sequence: 1, ..entry("H99.101") }).await.unwrap();
    desk.bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_other_bytes_another_purpose_or_another_key_is_refused() {
    let desk = Desk::open().await;
    let body = Bytes::from(submission().encode_to_vec());
    let key = desk.link.signing_key();
    let other: SigningKey = {
        let address = desk.bus.address_of(
            &lgsp_certs::CertificateAuthority::open(&desk.bus.folder().join("ca")).unwrap(),
            "mot-cua-binh",
        );
        SigningKey::from_pem(&std::fs::read(address.tls.key).unwrap()).unwrap()
    };
    let signatures = [
        key.sign(Purpose::Submission, b"other bytes"),
        key.sign(Purpose::Entry, &body),
        other.sign(Purpose::Submission, &body),
        Vec::new(),
    ];
    for signature in signatures {
        let request =
            v1::SubmitRequest { submission: body.clone(), signature: signature.into(), ..v1::SubmitRequest::default() };
        let status = desk.link.dossiers().submit(request).await.unwrap_err();
        assert_eq!(reason_of(&status), Reason::SignatureInvalid);
    }
    assert_eq!(desk.written().await, (0, 0, 0));
    desk.bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decoded_or_is_too_large_gets_our_reason() {
    let desk = Desk::open().await;
    let sign = |body: &[u8]| desk.link.signing_key().sign(Purpose::Submission, body);
    let nonsense = Bytes::from_static(&[0x0a, 0xff, 0xff, 0xff]);
    let request =
        v1::SubmitRequest { signature: sign(&nonsense).into(), submission: nonsense, ..v1::SubmitRequest::default() };
    let status = desk.link.dossiers().submit(request).await.unwrap_err();
    assert_eq!(reason_of(&status), Reason::Malformed);

    let large = Bytes::from(vec![0; 5 << 20]);
    let request =
        v1::SubmitRequest { signature: sign(&large).into(), submission: large, ..v1::SubmitRequest::default() };
    let status = desk.link.dossiers().submit(request).await.unwrap_err();
    assert_eq!(reason_of(&status), Reason::MessageTooLarge);
    assert_eq!(desk.written().await, (0, 0, 0));
    desk.bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_must_be_what_it_was_announced_and_belongs_to_one_dossier() {
    let desk = Desk::open().await;
    let content = b"%PDF-1.7 synthetic".to_vec();
    let sha256 = Bytes::copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content).as_ref());
    let upload = |content: Vec<u8>| {
        let start = v1::StartUpload {
            acting_party: "H99.102".into(),
            actor: "clerk-1".into(),
            sha256: sha256.clone(),
            size_bytes: 18,
            media_type: "application/pdf".into(),
            offset: 0,
        };
        let messages = [
            v1::UploadRequest { request: Some(v1::upload_request::Request::Start(start)) },
            v1::UploadRequest { request: Some(v1::upload_request::Request::Chunk(content.into())) },
        ];
        let mut documents = desk.link.documents();
        async move { documents.upload(tokio_stream::iter(messages)).await }
    };
    let status = upload(b"%PDF-1.7 syntheti!".to_vec()).await.unwrap_err();
    assert_eq!(reason_of(&status), Reason::DocumentDigestMismatch);
    upload(content.clone()).await.unwrap();

    let document = v1::DocumentRef {
        sha256: sha256.clone(),
        size_bytes: 18,
        media_type: "application/pdf".into(),
        file_name: "to-khai.pdf".into(),
    };
    let naming = || with(|s| s.components[0].document = Some(document.clone()));
    let code = submit(&desk.link, &naming()).await.unwrap().receipt.dossier_code;
    let refusal = desk.refuses(naming(), Reason::DocumentOfAnotherDossier).await;
    assert_eq!(fields(&refusal), ["components[0].document"]);

    let download = |link: Link, party: &str| {
        let request = v1::DownloadRequest {
            acting_party: party.into(),
            actor: "clerk-1".into(),
            dossier_code: code.clone(),
            sha256: sha256.clone(),
            offset: 9,
        };
        async move { link.documents().download(request).await }
    };
    let mut stream = download(desk.bus.link("mot-cua"), "H99.101").await.unwrap().into_inner();
    let mut received = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        if let Some(v1::download_response::Response::Chunk(chunk)) = message.response {
            received.extend_from_slice(&chunk);
        }
    }
    assert_eq!(received, content[9..]);
    // The digest grants nothing to a stranger.
    let status = download(desk.bus.link("cong-an"), "H99.CA.102").await.unwrap_err();
    assert_eq!(reason_of(&status), Reason::DossierNotFound);
    desk.bus.stop().await;
}

fn reason_of(status: &Status) -> Reason {
    Refusal::from_status(status).unwrap_or_else(|| panic!("not a refusal of the bus: {status}")).reason()
}
