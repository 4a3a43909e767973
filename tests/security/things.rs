//! What there is on the bus before anybody tries to get at it: dossiers of communes An and Binh, a document of theirs,
//! one dossier closed, one parked, and a query about a parcel of land.

use bytes::Bytes;
use lgsp_proto::v1;
use lgsp_proto::v1::certificates_client::CertificatesClient;
use lgsp_proto::v1::documents_client::DocumentsClient;
use lgsp_proto::v1::inbox_client::InboxClient;
use lgsp_proto::v1::inbox_request::Request as Said;
use lgsp_proto::v1::inbox_response::Response as Answer;
use lgsp_proto::v1::queries_client::QueriesClient;
use lgsp_proto::v1::registry_client::RegistryClient;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::client::Caller;
use crate::support::{Bus, MORNING, at, fresh_key, output, record, registry_files, submission, submit};

/// The bytes of the one document.
pub(crate) const DOCUMENT: &[u8] = b"%PDF-1.7 synthetic";

/// A document that a party uploaded and no dossier names yet.
pub(crate) const LOOSE: &[u8] = b"%PDF-1.7 synthetic, and of no dossier";

/// What calls are about.
#[derive(Clone, Debug)]
pub(crate) struct Things {
    /// Taken in by commune Binh for commune An, and waiting to be taken up; has [`DOCUMENT`].
    pub(crate) open: String,
    /// Refused, and so closed.
    pub(crate) closed: String,
    /// Parked for commune An at its first delivery.
    pub(crate) parked: v1::DeliveryRef,
    /// A token that was not spent.
    pub(crate) token: Bytes,
    /// A query that commune Binh has made.
    pub(crate) query: Bytes,
}

impl Things {
    /// Puts them on the bus, in the way agencies do.
    pub(crate) async fn on(bus: &Bus) -> Self {
        let (binh, an) = (bus.link("mot-cua-binh"), bus.link("mot-cua"));
        for content in [DOCUMENT, LOOSE] {
            let channel = Caller::new(bus, Some(&bus.issue("mot-cua-binh"))).channel;
            upload(channel, "H99.102", content).await.unwrap();
        }
        let mut with_document = submission();
        with_document.components[0].document = Some(v1::DocumentRef {
            sha256: sha256(DOCUMENT),
            size_bytes: DOCUMENT.len() as u64,
            media_type: "application/pdf".into(),
            file_name: "to-khai.pdf".into(),
        });
        let code = async |submission| submit(&binh, &submission).await.unwrap().receipt.dossier_code;
        let open = code(with_document).await;
        let (closed, parked) = (code(submission()).await, code(submission()).await);
        let refused = v1::entry::What::Refused(v1::Refused { reason: "lý do mẫu".into() });
        record(&an, &entry("H99.101", &closed, refused)).await.unwrap();
        let parked = park(bus, "H99.101", &parked).await;
        let token = token(bus, "mot-cua").await.token_id;
        let query = asked(bus).await;
        Self { open, closed, parked, token, query }
    }
}

/// The registry with data services.
pub(crate) fn with_services() -> Vec<v1::RegistryFile> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/domain/tests/fixtures/services");
    let mut files = registry_files();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let (name, content) = (path.file_name().unwrap().to_str().unwrap(), std::fs::read(&path).unwrap());
        match files.iter_mut().find(|file| file.name == name) {
            Some(grants) => grants.content = [&grants.content[..], &content[..]].concat().into(),
            None => files.push(v1::RegistryFile { name: name.to_owned(), content: content.into() }),
        }
    }
    files
}

/// A question about a parcel of land, which no dossier is needed for.
pub(crate) fn parcel(party: &str) -> v1::AskRequest {
    v1::AskRequest {
        acting_party: party.into(),
        actor: "clerk-1".into(),
        service: "thua-dat".into(),
        purpose: "tham-dinh".into(),
        payload: Bytes::from_static(br#"{"parcel":"17/4"}"#),
        ..Default::default()
    }
}

/// The stream of whoever answers it.
pub(crate) fn open_serving(party: &str) -> v1::ServeRequest {
    let services = vec![v1::ServiceRef { name: "thua-dat".into(), version: 1 }];
    let open = v1::OpenServing { party: party.into(), actor: "ket.noi".into(), services, at_once: 16 };
    v1::ServeRequest { request: Some(v1::serve_request::Request::Open(open)) }
}

/// Declares services, has one of them served for as long as the bus runs, and asks it.
async fn asked(bus: &Bus) -> Bytes {
    let operator = Caller::new(bus, Some(&bus.issue("van-hanh"))).channel;
    let (acting_party, actor) = ("H99.VH".to_owned(), "operator-1".to_owned());
    let files = with_services();
    let apply = v1::ApplyRegistryRequest { acting_party, actor, files, base_version: 1, ..Default::default() };
    RegistryClient::new(operator).apply(apply).await.unwrap();

    let department = Caller::new(bus, Some(&bus.issue("so-nganh"))).channel;
    let (say, said) = mpsc::channel(8);
    say.send(open_serving("H99.01")).await.unwrap();
    let mut asked = QueriesClient::new(department).serve(ReceiverStream::new(said)).await.unwrap().into_inner();
    asked.message().await.unwrap().unwrap();
    tokio::spawn(async move {
        while let Ok(Some(v1::ServeResponse { response: Some(v1::serve_response::Response::Question(question)) })) =
            asked.message().await
        {
            let outcome = Some(v1::service_answer::Outcome::Reply(Bytes::from_static(br#"{"area_m2":120.5}"#)));
            let answer = v1::ServiceAnswer { query_id: question.query_id, outcome };
            let _ = say.send(v1::ServeRequest { request: Some(v1::serve_request::Request::Answer(answer)) }).await;
        }
    });
    let binh = Caller::new(bus, Some(&bus.issue("mot-cua-binh"))).channel;
    let told = QueriesClient::new(binh).ask(parcel("H99.102")).await.unwrap().into_inner();
    v1::QueryAnswer::decode(told.answer.unwrap().answer).unwrap().query_id
}

/// A join token for a system, as the operator gets it.
pub(crate) async fn token(bus: &Bus, system: &str) -> v1::IssueTokenResponse {
    let channel = Caller::new(bus, Some(&bus.issue("van-hanh"))).channel;
    let issued = CertificatesClient::new(channel).issue_token(token_for(system)).await.unwrap().into_inner();
    output::tokens_in("security", &issued.token);
    issued
}

/// The request for one.
pub(crate) fn token_for(system: &str) -> v1::IssueTokenRequest {
    let (acting_party, actor) = ("H99.VH".to_owned(), "operator-1".to_owned());
    v1::IssueTokenRequest { acting_party, actor, system: system.to_owned(), ..Default::default() }
}

/// An entry of `party` about a dossier.
pub(crate) fn entry(party: &str, code: &str, what: v1::entry::What) -> v1::Entry {
    v1::Entry {
        request_key: fresh_key(),
        acting_party: party.into(),
        actor: "clerk-1".into(),
        dossier_code: code.into(),
        occurred_at: Some(at(MORNING)),
        what: Some(what),
        ..Default::default()
    }
}

/// SHA-256 as it goes over the wire.
pub(crate) fn sha256(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// Uploads `content` as `party`.
pub(crate) async fn upload(
    channel: Channel,
    party: &str,
    content: &'static [u8],
) -> Result<v1::UploadResponse, tonic::Status> {
    let start = v1::StartUpload {
        acting_party: party.into(),
        actor: "clerk-1".into(),
        sha256: sha256(content),
        size_bytes: content.len() as u64,
        media_type: "application/pdf".into(),
        offset: 0,
    };
    let messages = [
        v1::UploadRequest { request: Some(v1::upload_request::Request::Start(start)) },
        v1::UploadRequest { request: Some(v1::upload_request::Request::Chunk(Bytes::from_static(content))) },
    ];
    Ok(DocumentsClient::new(channel).upload(tokio_stream::iter(messages)).await?.into_inner())
}

/// Has the inbox of `party` decline the first delivery of `code` for good, and take nothing else over.
async fn park(bus: &Bus, party: &str, code: &str) -> v1::DeliveryRef {
    let issued = bus.issue("mot-cua");
    let mut inbox = InboxClient::new(Caller::new(bus, Some(&issued)).channel);
    let (say, said) = mpsc::channel(8);
    let asks = |said| v1::InboxRequest { request: Some(said) };
    say.send(asks(Said::Open(open_inbox(party)))).await.unwrap();
    let mut answers = inbox.open(ReceiverStream::new(said)).await.unwrap().into_inner();
    let wanted = v1::DeliveryRef { party: party.into(), dossier_code: code.into(), sequence: 1 };
    loop {
        match answers.message().await.unwrap().unwrap().response.unwrap() {
            Answer::Delivery(delivery) if delivery.r#ref.as_ref() == Some(&wanted) => {
                let deliveries = vec![wanted.clone()];
                let kind = v1::DeclineKind::Permanent.into();
                say.send(asks(Said::Decline(v1::Decline { deliveries, reason: "UNKNOWN_FORM".into(), kind })))
                    .await
                    .unwrap();
            }
            Answer::Declined(_) => return wanted,
            Answer::Opened(_) | Answer::Delivery(_) | Answer::Acknowledged(_) => {}
        }
    }
}

/// A stream for the deliveries of one party.
pub(crate) fn open_inbox(party: &str) -> v1::OpenInbox {
    v1::OpenInbox { parties: vec![party.into()], credit: 16, ..Default::default() }
}
