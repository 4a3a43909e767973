//! What there is on the bus before anybody tries to get at it: dossiers of communes An and Binh, a document of theirs,
//! one dossier closed, one parked.

use bytes::Bytes;
use lgsp_proto::v1;
use lgsp_proto::v1::certificates_client::CertificatesClient;
use lgsp_proto::v1::documents_client::DocumentsClient;
use lgsp_proto::v1::inbox_client::InboxClient;
use lgsp_proto::v1::inbox_request::Request as Said;
use lgsp_proto::v1::inbox_response::Response as Answer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::client::Caller;
use crate::support::{Bus, MORNING, at, fresh_key, output, record, submission, submit};

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
        Self { open, closed, parked, token }
    }
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
