//! Documents up and down: resumed, checked, and given only to those a dossier concerns.

use bytes::Bytes;
use lgsp_gateway::api::CHUNK_BYTES_MAX;
use lgsp_proto::v1::download_response::Response as Part;
use lgsp_proto::v1::upload_request::Request as Say;
use lgsp_proto::{Reason, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::world::*;

/// A document of `size` bytes, different in each kilobyte.
pub(crate) fn content(size: usize) -> Bytes {
    (0..size).map(|at| u8::try_from((at / 1024 + at) % 251).unwrap()).collect()
}

pub(crate) fn sha256(content: &[u8]) -> Bytes {
    Bytes::copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content).as_ref())
}

pub(crate) fn start(content: &[u8], offset: u64) -> v1::StartUpload {
    v1::StartUpload {
        acting_party: AN.into(),
        actor: "can.bo.1".into(),
        sha256: sha256(content),
        size_bytes: content.len() as u64,
        media_type: "application/pdf".into(),
        offset,
    }
}

pub(crate) fn message(request: Say) -> v1::UploadRequest {
    v1::UploadRequest { request: Some(request) }
}

async fn upload(system: &System, messages: Vec<Say>) -> Result<v1::UploadResponse, Status> {
    let messages: Vec<_> = messages.into_iter().map(message).collect();
    Ok(within(system.documents().upload(tokio_stream::iter(messages))).await?.into_inner())
}

/// Uploads all of it.
pub(crate) async fn uploaded(system: &System, content: &Bytes) -> v1::UploadResponse {
    let chunks = content.chunks(100_000).map(|chunk| Say::Chunk(content.slice_ref(chunk)));
    upload(system, std::iter::once(Say::Start(start(content, 0))).chain(chunks).collect()).await.unwrap()
}

async fn state(system: &System, content: &[u8]) -> v1::UploadStateResponse {
    let request = v1::UploadStateRequest { acting_party: AN.into(), actor: "can.bo.1".into(), sha256: sha256(content) };
    within(system.documents().upload_state(request)).await.unwrap().into_inner()
}

pub(crate) fn with_document(key: &str, content: &[u8]) -> v1::Submission {
    let mut submission = aid_elsewhere(key);
    submission.components[0].document = Some(v1::DocumentRef {
        sha256: sha256(content),
        size_bytes: content.len() as u64,
        media_type: "application/pdf".into(),
        file_name: "to-khai.pdf".into(),
    });
    submission
}

pub(crate) async fn download(
    system: &System,
    party: &str,
    code: &str,
    sha256: Bytes,
    offset: u64,
) -> Result<(v1::DocumentHead, Vec<u8>), Status> {
    let request = v1::DownloadRequest {
        acting_party: party.into(),
        actor: "can.bo.2".into(),
        dossier_code: code.into(),
        sha256,
        offset,
    };
    let mut parts = within(system.documents().download(request)).await?.into_inner();
    let mut head = None;
    let mut bytes = Vec::new();
    while let Some(part) = within(parts.message()).await? {
        match part.response.unwrap() {
            Part::Head(first) => assert!(head.replace(first).is_none(), "a second head"),
            Part::Chunk(chunk) => bytes.extend(chunk),
        }
    }
    Ok((head.expect("a head comes first"), bytes))
}

#[tokio::test]
async fn a_document_goes_up_with_a_dossier_and_comes_down_to_the_authority_alone() {
    let world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let content = content(700_000);
    let response = uploaded(&desk, &content).await;
    assert_eq!((response.size_bytes, response.repeated), (700_000, false));
    assert!(uploaded(&desk, &content).await.repeated);

    let code = desk.admitted(&with_document("k-1", &content)).await;
    let (head, bytes) = download(&binh, BINH, &code, sha256(&content), 0).await.unwrap();
    assert_eq!((head.size_bytes, head.media_type.as_str()), (700_000, "application/pdf"));
    assert!(bytes == content, "other bytes");
    let (_, rest) = download(&binh, BINH, &code, sha256(&content), 300_000).await.unwrap();
    assert!(rest == content[300_000..], "other bytes");

    let none = download(&binh, BINH, &code, sha256(b"nothing"), 0).await;
    assert_eq!(reason(none), Reason::DocumentNotFound);
    let police = world.system("cong-an").await;
    assert_eq!(reason(download(&police, "H99.CA", &code, sha256(&content), 0).await), Reason::DossierNotFound);
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_its_durable_part_ends() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let content = content(900_000);
    let (say, said) = mpsc::channel(16);
    let under_way = tokio::spawn({
        let mut documents = desk.documents();
        async move { documents.upload(ReceiverStream::new(said)).await }
    });
    say.send(message(Say::Start(start(&content, 0)))).await.unwrap();
    for chunk in content[..600_000].chunks(200_000) {
        say.send(message(Say::Chunk(content.slice_ref(chunk)))).await.unwrap();
    }
    // The line breaks once some of it is durable.
    let durable = async {
        loop {
            let state = state(&desk, &content).await;
            assert!(!state.complete);
            if state.offset >= 500_000 {
                break;
            }
        }
    };
    within(durable).await;
    under_way.abort();
    let _ = under_way.await;

    let offset = state(&desk, &content).await.offset;
    let wrong = upload(&desk, vec![Say::Start(start(&content, offset - 1)), Say::Chunk(content.slice(..1))]).await;
    assert_eq!(reason(wrong), Reason::DocumentOffsetWrong);
    let rest = content.slice(usize::try_from(offset).unwrap()..);
    let chunks = rest.chunks(200_000).map(|chunk| Say::Chunk(rest.slice_ref(chunk)));
    let messages = std::iter::once(Say::Start(start(&content, offset))).chain(chunks).collect();
    assert!(!upload(&desk, messages).await.unwrap().repeated);
    assert!(state(&desk, &content).await.complete);
}

#[tokio::test]
async fn bytes_that_are_not_those_announced_are_thrown_away() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let announced = content(1000);
    for sent in [content(1000).iter().rev().copied().collect(), content(999), content(1001)] {
        let messages = vec![Say::Start(start(&announced, 0)), Say::Chunk(sent)];
        assert_eq!(reason(upload(&desk, messages).await), Reason::DocumentDigestMismatch);
        assert_eq!(state(&desk, &announced).await, v1::UploadStateResponse::default());
    }
    let refused = refusal(desk.submit(&with_document("k-1", &announced)).await);
    assert_eq!(refused.reason(), Reason::DocumentUnknown);
    assert_eq!(fields(&refused), ["components[0].document"]);
}

#[tokio::test]
async fn a_document_serves_one_dossier() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let content = content(10);
    uploaded(&desk, &content).await;
    let _ = desk.admitted(&with_document("k-1", &content)).await;
    let refused = refusal(desk.submit(&with_document("k-2", &content)).await);
    assert_eq!(refused.reason(), Reason::DocumentOfAnotherDossier);
    // Uploaded again, it is a document of its own.
    assert!(!uploaded(&desk, &content).await.repeated);
    let _ = desk.admitted(&with_document("k-2", &content)).await;
}

#[tokio::test]
async fn an_upload_that_breaks_the_rules_ends_with_the_rule() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let content = content(10);
    let begin = || Say::Start(start(&content, 0));
    for messages in
        [vec![], vec![Say::Chunk(content.clone())], vec![begin(), begin()], vec![begin(), Say::Chunk(Bytes::new())]]
    {
        assert_eq!(reason(upload(&desk, messages).await), Reason::StreamProtocol);
    }
    let large = Say::Chunk(Bytes::from(vec![0; CHUNK_BYTES_MAX + 1000]));
    assert_eq!(reason(upload(&desk, vec![begin(), large]).await), Reason::MessageTooLarge);
    let huge = Say::Start(v1::StartUpload { size_bytes: 2_000_001, ..start(&content, 0) });
    let refused = refusal(upload(&desk, vec![huge]).await);
    assert_eq!((refused.reason(), refused.details()["max_bytes"].as_str()), (Reason::DocumentTooLarge, "2000000"));
}
