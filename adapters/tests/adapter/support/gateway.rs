//! Something that speaks like a gateway over mutual TLS, and misbehaves as a test tells it to.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use lgsp_certs::{CertificateDigest, Credentials, Purpose, VerifiedLeaf};
use lgsp_proto::v1::certificates_server::{Certificates, CertificatesServer};
use lgsp_proto::v1::documents_server::{Documents, DocumentsServer};
use lgsp_proto::v1::dossiers_server::{Dossiers, DossiersServer};
use lgsp_proto::v1::inbox_server::{Inbox, InboxServer};
use lgsp_proto::v1::numbers_server::{Numbers, NumbersServer};
use lgsp_proto::v1::registry_server::{Registry, RegistryServer};
use lgsp_proto::v1::{self, inbox_request, inbox_response, upload_request};
use lgsp_proto::{Reason, Refusal};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use super::{Authority, Line, when};

/// How the next call is answered.
#[derive(Clone)]
pub enum Answer {
    /// Refused for this reason.
    Refuse(Reason),
    /// Refused with these very words.
    RefuseWith(Refusal),
    /// A status that no gateway of ours gave.
    Stranger(tonic::Code),
    /// The line breaks before anything was admitted, and stays down.
    CutBefore(Line),
    /// Admitted, and then the line breaks before the answer, and stays down.
    CutAfter(Line),
    /// Admitted, with a receipt signed by nobody we know under our own name.
    ForgedReceipt,
    /// Admitted, with the receipt of another request.
    WrongReceipt,
    /// Admitted, with a receipt that speaks of other bytes under the same key.
    ReceiptForOtherBytes,
    /// Answered only when it is let go on.
    Hold,
}

/// An attempt, as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    pub key: String,
    pub dossier: String,
    pub body: Bytes,
    pub traceparent: Option<String>,
}

#[derive(Default)]
struct Books {
    attempts: Vec<Attempt>,
    /// By party and key: the effect, had once.
    admitted: HashMap<(String, String), (Bytes, v1::SubmitResponse)>,
    answers: VecDeque<Answer>,
    /// What was refused for good is refused again, as a gateway does: the same request finds the same obstacle.
    refused: HashMap<(String, String), Reason>,
    documents: HashMap<(String, Bytes), Vec<u8>>,
    /// No document is given away, for this reason.
    withholds_documents: Option<Reason>,
    /// Of these nothing comes after the head, and the stream stays open.
    silent_documents: BTreeSet<Bytes>,
    /// The offsets at which uploads began.
    uploads: Vec<u64>,
    uploads_under_way: usize,
    most_uploads: usize,
    /// An upload is cut when it has brought so much.
    cut_upload_at: Option<(usize, Line)>,
    /// What it has of a document is gone when the next upload begins.
    forgets_parts: bool,
    /// What is to be delivered; each index is delivered once a stream, or as often as it stands here.
    deliveries: Vec<v1::Delivery>,
    acknowledged: Vec<(v1::AcknowledgeStage, v1::DeliveryRef)>,
    declined: Vec<Declined>,
    /// What is declined gets no answer.
    forgets_declines: bool,
    opened: Vec<v1::OpenInbox>,
    streams: usize,
    parties: Vec<String>,
    registry: Option<v1::ReadRegistryResponse>,
    /// The versions that readers had already.
    known_versions: Vec<u64>,
    /// Blocks by desk, spool, authority and day, of the present epoch.
    blocks: HashMap<(String, Bytes, String, String), Vec<v1::NumberBlock>>,
    /// The highest number leased, by authority and day.
    leased: HashMap<(String, String), u32>,
    epoch: u32,
    /// The parties for which the system may not act any more.
    forbidden: BTreeSet<String>,
    /// Nobody is let in, for this reason.
    shut_out: Option<Reason>,
    clock_ahead_seconds: i64,
    /// An inbox stream is not told that it is open.
    keeps_streams_waiting: bool,
    /// Leases that are recorded here, and whose answer gets lost.
    lose_leases: usize,
    /// The certificates of those who connected, in the order in which they first did.
    met: Vec<CertificateDigest>,
}

/// What an adapter does not take, or gives back.
#[derive(Clone, Debug, PartialEq)]
pub struct Declined {
    pub name: String,
    pub reason: String,
    pub kind: v1::DeclineKind,
}

struct Shared {
    books: Mutex<Books>,
    changes: watch::Sender<u64>,
    /// Told when an adapter has done something.
    news: watch::Sender<()>,
    held: watch::Sender<bool>,
    uploads_held: watch::Sender<bool>,
    credentials: Credentials,
    /// Renews certificates, and says which are out of force; without one, this gateway knows no such thing.
    authority: Option<Authority>,
}

/// See the module.
pub struct Gateway {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: CancellationToken,
}

#[derive(Clone)]
struct Service(Arc<Shared>);

impl Gateway {
    pub async fn start(credentials: Credentials) -> Self {
        Self::start_with(credentials, None).await
    }

    /// One that keeps certificates: it renews them, turns away those out of force, and cuts connections when they expire.
    pub async fn start_with(credentials: Credentials, authority: Option<Authority>) -> Self {
        let shared = Shared {
            books: Mutex::default(),
            changes: watch::Sender::new(0),
            news: watch::Sender::default(),
            held: watch::Sender::new(true),
            uploads_held: watch::Sender::new(false),
            credentials,
            authority,
        };
        Self::serve(Arc::new(shared)).await
    }

    /// Another gateway that knows what the first one has admitted, under a certificate of its own.
    pub async fn replica(of: &Self, credentials: Credentials) -> Self {
        let replica = Self::start_with(credentials, of.shared.authority.clone()).await;
        replica.books().admitted = of.books().admitted.clone();
        replica
    }

    /// Ends the process, so to say, and starts it again with the same books on another port.
    pub async fn restart(&mut self, line: &Line) {
        self.stop.cancel();
        *self = Self::serve(self.shared.clone()).await;
        line.lead_to(self.address);
        line.shake();
    }

    async fn serve(shared: Arc<Shared>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = match &shared.authority {
            None => shared.credentials.server_config(),
            Some(authority) => shared.credentials.server_config_for(authority.verifier()),
        };
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let meeting = shared.clone();
        let stop = CancellationToken::new();
        let (sender, incoming) = mpsc::channel::<io::Result<Connection<Arc<VerifiedLeaf>>>>(8);
        let accepting = stop.clone();
        tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    () = accepting.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap().0,
                };
                let (acceptor, sender, meeting) = (acceptor.clone(), sender.clone(), meeting.clone());
                tokio::spawn(async move {
                    stream.set_nodelay(true).unwrap();
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let leaf = VerifiedLeaf::of_client(stream.get_ref().1).unwrap();
                        meeting.meets(leaf.digest());
                        // TLS counts whole seconds, and lets in whoever comes in the last one.
                        let Ok(left) = leaf.not_after().duration_since(SystemTime::now()) else { return };
                        let ends = Box::pin(tokio::time::sleep(left));
                        let _ = sender.send(Ok(Connection { stream, peer: Arc::new(leaf), ends })).await;
                    }
                });
            }
        });
        let service = Service(shared.clone());
        let stopped = stop.clone();
        tokio::spawn(async move {
            let server = tonic::transport::Server::builder()
                .add_service(DossiersServer::new(service.clone()))
                .add_service(DocumentsServer::new(service.clone()))
                .add_service(InboxServer::new(service.clone()))
                .add_service(RegistryServer::new(service.clone()))
                .add_service(NumbersServer::new(service.clone()))
                .add_service(CertificatesServer::new(service))
                .serve_with_incoming(ReceiverStream::new(incoming));
            tokio::select! {
                () = stopped.cancelled() => {}
                served = server => served.unwrap(),
            }
        });
        Self { shared, address, stop }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.books().answers.extend(answers);
    }

    /// Lets calls that are held go on.
    pub fn let_go(&self) {
        self.shared.held.send_replace(false);
    }

    pub fn attempts(&self) -> Vec<Attempt> {
        self.books().attempts.clone()
    }

    /// The keys of what was admitted; each is there once.
    pub fn effects(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.books().admitted.keys().map(|(_, key)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }

    /// Waits until an adapter has done what is looked for.
    pub async fn when<T>(&self, look: impl Fn(&Self) -> Option<T>) -> T {
        when(self.shared.news.subscribe(), || look(self)).await
    }

    pub async fn sees_attempts(&self, count: usize) -> Vec<Attempt> {
        self.when(|gateway| Some(gateway.attempts()).filter(|attempts| attempts.len() >= count)).await
    }

    /// The certificates of those who connected, in the order in which they first did.
    pub fn certificates(&self) -> Vec<CertificateDigest> {
        self.books().met.clone()
    }

    pub fn document(&self, party: &str, sha256: &[u8]) -> Option<Vec<u8>> {
        self.books().documents.get(&(party.to_owned(), Bytes::copy_from_slice(sha256))).cloned()
    }

    pub fn keep_document(&self, party: &str, sha256: &[u8], content: &[u8]) {
        self.books().documents.insert((party.to_owned(), Bytes::copy_from_slice(sha256)), content.to_vec());
    }

    /// From now on no document is given away, for this reason; or all are again.
    pub fn withhold_documents(&self, reason: Option<Reason>) {
        self.books().withholds_documents = reason;
    }

    /// From now on nothing comes of a document after its head, and nobody is told so.
    pub fn fall_silent_about(&self, sha256: &Bytes) {
        self.books().silent_documents.insert(sha256.clone());
    }

    pub fn uploads(&self) -> Vec<u64> {
        self.books().uploads.clone()
    }

    /// Uploads end only when they are let go on.
    pub fn hold_uploads(&self, holds: bool) {
        self.shared.uploads_held.send_replace(holds);
    }

    pub fn uploads_under_way(&self) -> usize {
        self.books().uploads_under_way
    }

    /// How many uploads were under way at one time.
    pub fn most_uploads(&self) -> usize {
        self.books().most_uploads
    }

    pub fn cut_upload_at(&self, bytes: usize, line: &Line) {
        self.books().cut_upload_at = Some((bytes, line.clone()));
    }

    pub fn forget_parts_at_the_next_upload(&self) {
        self.books().forgets_parts = true;
    }

    /// Delivers an event of a dossier to the party, on whatever stream there is.
    pub fn deliver(&self, dossier: &str, sequence: u32) {
        self.deliver_entry(dossier, sequence, v1::entry::What::Accepted(v1::Accepted { note: "đủ".into() }));
    }

    /// The same, with something else that was said.
    pub fn deliver_entry(&self, dossier: &str, sequence: u32, what: v1::entry::What) {
        let entry = v1::Entry { what: Some(what), ..v1::Entry::default() };
        let event = v1::Event {
            dossier_code: dossier.into(),
            sequence,
            kind: v1::EventKind::Accepted as i32,
            status: v1::Status::Accepted as i32,
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
            admitted_at: Some(std::time::SystemTime::now().into()),
            ..v1::Event::default()
        };
        let delivery = v1::Delivery {
            r#ref: Some(v1::DeliveryRef { party: super::PARTY.into(), dossier_code: dossier.into(), sequence }),
            event: Some(v1::RecordedEvent {
                event: Some(event),
                body: entry.encode_to_vec().into(),
                ..v1::RecordedEvent::default()
            }),
            dossier: Some(v1::Dossier { code: dossier.into(), sequence, ..v1::Dossier::default() }),
            attempt: 1,
            ..v1::Delivery::default()
        };
        self.books().deliveries.push(delivery);
        self.shared.changes.send_modify(|number| *number += 1);
    }

    /// What was acknowledged at a stage, as `dossier/sequence`. What was handed over before it could be told was taken over as well.
    pub fn acknowledged(&self, stage: v1::AcknowledgeStage) -> Vec<String> {
        let mut names = Vec::new();
        for (at, name) in &self.books().acknowledged {
            let name = format!("{}/{}", name.dossier_code, name.sequence);
            let is_implied = stage == v1::AcknowledgeStage::TakenOver && *at == v1::AcknowledgeStage::HandedOver;
            if *at == stage || (is_implied && !names.contains(&name)) {
                names.push(name);
            }
        }
        names
    }

    pub async fn hears(&self, stage: v1::AcknowledgeStage, count: usize) -> Vec<String> {
        self.when(|gateway| Some(gateway.acknowledged(stage)).filter(|names| names.len() >= count)).await
    }

    /// Everything that was declined, in order.
    pub fn declined(&self) -> Vec<Declined> {
        self.books().declined.clone()
    }

    /// Waits until so much was declined.
    pub async fn hears_no(&self, count: usize) -> Vec<Declined> {
        self.when(|gateway| Some(gateway.declined()).filter(|declined| declined.len() >= count)).await
    }

    /// Nothing is left to be delivered.
    pub fn forget_deliveries(&self) {
        self.books().deliveries.clear();
    }

    /// From now on the answers to declines get lost, or not any more.
    pub fn forget_declines(&self, forgets: bool) {
        self.books().forgets_declines = forgets;
    }

    /// How the streams were opened.
    pub fn opened(&self) -> Vec<v1::OpenInbox> {
        self.books().opened.clone()
    }

    /// Makes these files the registry in force.
    pub fn apply_registry(&self, number: u64, files: impl IntoIterator<Item = (String, String)>) {
        let files: std::collections::BTreeMap<_, _> = files.into_iter().collect();
        let mut input = Vec::new();
        for part in files.iter().flat_map(|(name, content)| [name, content]) {
            input.extend((part.len() as u64).to_be_bytes());
            input.extend(part.as_bytes());
        }
        let version = v1::RegistryVersion { number, sha256: sha256(&input), ..v1::RegistryVersion::default() };
        let files = files.into_iter().map(|(name, content)| v1::RegistryFile { name, content: content.into() });
        let answer = v1::ReadRegistryResponse { version: Some(version), files: files.collect() };
        self.books().registry = Some(answer);
    }

    pub fn known_versions(&self) -> Vec<u64> {
        self.books().known_versions.clone()
    }

    /// As after a restore: every block is void, and numbers go on above.
    pub fn begin_epoch(&self, epoch: u32) {
        let mut books = self.books();
        books.epoch = epoch;
        books.blocks.clear();
        books.leased.values_mut().for_each(|highest| *highest += 10_000);
    }

    /// What was refused before is no longer, because what it lacked has come back.
    pub fn forget_refusals(&self) {
        self.books().refused.clear();
    }

    /// From now on the system may not act for the party any more, or it may again. A stream that serves it ends.
    pub fn forbid(&self, party: &str, forbids: bool) {
        let mut books = self.books();
        if forbids {
            books.forbidden.insert(party.to_owned())
        } else {
            books.forbidden.remove(party)
        };
        drop(books);
        self.shared.changes.send_modify(|number| *number += 1);
    }

    /// From now on no stream is opened and no call answered, for this reason; or everybody is let in again.
    pub fn shut_out(&self, reason: Option<Reason>) {
        self.books().shut_out = reason;
    }

    pub fn set_clock_ahead(&self, seconds: i64) {
        self.books().clock_ahead_seconds = seconds;
    }

    pub fn lose_leases(&self, count: usize) {
        self.books().lose_leases = count;
    }

    /// From now on an inbox stream is not told that it is open, or not any longer.
    pub fn keep_streams_waiting(&self, waits: bool) {
        self.books().keeps_streams_waiting = waits;
        self.shared.changes.send_modify(|number| *number += 1);
    }

    pub fn streams(&self) -> usize {
        self.books().streams
    }

    pub fn parties(&self) -> Vec<String> {
        self.books().parties.clone()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.shared.books()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    fn meets(&self, certificate: CertificateDigest) {
        let met = &mut self.books().met;
        if !met.contains(&certificate) {
            met.push(certificate);
        }
    }

    /// As the real one: the first party at fault is named, and all is refused.
    fn may_act_for<'a>(&self, parties: impl IntoIterator<Item = &'a String>) -> Result<(), Status> {
        let books = self.books();
        if let Some(reason) = books.shut_out {
            return Err(Refusal::new(reason).to_status());
        }
        let forbidden = parties.into_iter().find(|party| books.forbidden.contains(*party));
        forbidden.map_or(Ok(()), |party| {
            Err(Refusal::new(Reason::ActsForMissing).detail("system", "one-stop").detail("party", party).to_status())
        })
    }
}

impl Service {
    fn authority(&self) -> Result<&Authority, Status> {
        self.0.authority.as_ref().ok_or_else(|| Status::unimplemented("an older gateway"))
    }

    async fn admit(
        &self,
        attempt: Attempt,
        party: String,
        kind: v1::EventKind,
        signed: Result<(), Status>,
    ) -> Result<v1::SubmitResponse, Status> {
        signed?;
        self.0.may_act_for([])?;
        let answer = {
            let mut books = self.0.books();
            books.attempts.push(attempt.clone());
            let request = (party.clone(), attempt.key.clone());
            let before = books.refused.get(&request).copied().map(Answer::Refuse);
            let answer = before.or_else(|| books.answers.pop_front());
            // A document may have been brought in between.
            let passes = |reason: &Reason| {
                use Reason::{CertificateNotVouched, CertificateRevoked, CertificateWithoutIdentity, SystemUnknown};
                use Reason::{DocumentOfAnotherDossier, DocumentUnknown};
                let of_documents = matches!(reason, DocumentUnknown | DocumentOfAnotherDossier);
                let of_certificate = matches!(
                    reason,
                    CertificateRevoked | CertificateNotVouched | CertificateWithoutIdentity | SystemUnknown
                );
                of_documents || of_certificate || reason.is_transient()
            };
            if let Some(Answer::Refuse(reason)) = &answer
                && !passes(reason)
            {
                books.refused.insert(request, *reason);
            }
            answer
        };
        self.0.news.send_replace(());
        match &answer {
            Some(Answer::Refuse(reason)) => return Err(Refusal::new(*reason).to_status()),
            Some(Answer::RefuseWith(refusal)) => return Err(refusal.to_status()),
            Some(Answer::Stranger(code)) => return Err(Status::new(*code, "somebody in between")),
            Some(Answer::CutBefore(line)) => {
                line.cut();
                return std::future::pending().await;
            }
            Some(Answer::Hold) => {
                self.0.held.subscribe().wait_for(|held| !held).await.unwrap();
            }
            Some(Answer::CutAfter(_) | Answer::ForgedReceipt | Answer::WrongReceipt | Answer::ReceiptForOtherBytes)
            | None => {}
        }
        let id = (party.clone(), attempt.key.clone());
        let known = self.0.books().admitted.get(&id).cloned();
        let mut response = match known {
            Some((body, mut response)) => {
                if body != attempt.body {
                    return Err(Refusal::new(Reason::KeyReused).to_status());
                }
                response.repeated = true;
                response
            }
            None => {
                let response = self.receipt(&attempt, &party, kind);
                self.0.books().admitted.insert(id, (attempt.body.clone(), response.clone()));
                self.0.news.send_replace(());
                response
            }
        };
        match answer {
            Some(Answer::CutAfter(line)) => {
                line.cut();
                std::future::pending().await
            }
            Some(Answer::ForgedReceipt) => {
                let receipt = response.receipt.as_mut().unwrap();
                receipt.signature = Bytes::from_static(b"not a signature");
                Ok(response)
            }
            Some(Answer::WrongReceipt) => {
                let other = Attempt { key: "another".into(), ..attempt };
                Ok(self.receipt(&other, &party, kind))
            }
            Some(Answer::ReceiptForOtherBytes) => {
                let other = Attempt { body: Bytes::from_static(b"other bytes"), ..attempt };
                Ok(self.receipt(&other, &party, kind))
            }
            _ => Ok(response),
        }
    }

    fn receipt(&self, attempt: &Attempt, party: &str, kind: v1::EventKind) -> v1::SubmitResponse {
        let code = match kind {
            v1::EventKind::Submitted if !attempt.dossier.is_empty() => attempt.dossier.clone(),
            v1::EventKind::Submitted => format!("H57.12-250714-{:04}", self.0.books().admitted.len() + 1),
            _ => attempt.dossier.clone(),
        };
        let receipt = v1::Receipt {
            dossier_code: code,
            sequence: 1,
            kind: kind as i32,
            status: v1::Status::Filed as i32,
            request_key: attempt.key.clone(),
            acting_party: party.to_owned(),
            body_sha256: sha256(&attempt.body),
            gateway: "lgsp.hue.test".into(),
            ..v1::Receipt::default()
        };
        let receipt: Bytes = receipt.encode_to_vec().into();
        let credentials = &self.0.credentials;
        let signed = v1::SignedReceipt {
            signature: credentials.signing_key().sign(Purpose::Receipt, &receipt).into(),
            certificate_sha256: Bytes::copy_from_slice(credentials.digest().as_bytes()),
            receipt,
        };
        v1::SubmitResponse { receipt: Some(signed), repeated: false, warnings: Vec::new() }
    }
}

/// Counts an upload until it ends, however it does.
struct UnderWay<'a>(&'a Shared);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.books().uploads_under_way -= 1;
    }
}

pub fn sha256(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// Whether a body was signed by the key that the connection was opened with.
fn signed<T>(request: &Request<T>, purpose: Purpose, body: &[u8], signature: &[u8]) -> Result<(), Status> {
    let leaf = request.extensions().get::<Arc<VerifiedLeaf>>().unwrap();
    let checked = leaf.verifying_key().verify(purpose, body, signature);
    checked.map_err(|_| Refusal::new(Reason::SignatureInvalid).to_status())
}

fn traceparent<T>(request: &Request<T>) -> Option<String> {
    request.metadata().get("traceparent").map(|value| value.to_str().unwrap().to_owned())
}

#[tonic::async_trait]
impl Dossiers for Service {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let message = request.get_ref();
        let signed = signed(&request, Purpose::Submission, &message.submission, &message.signature);
        let body = v1::Submission::decode(message.submission.clone()).unwrap();
        let attempt = Attempt {
            key: body.request_key,
            dossier: body.dossier_code,
            body: message.submission.clone(),
            traceparent: traceparent(&request),
        };
        let named = body.components.iter().filter_map(|component| component.document.as_ref());
        for document in named {
            let id = (body.acting_party.clone(), document.sha256.clone());
            let whole =
                self.0.books().documents.get(&id).is_some_and(|content| content.len() as u64 == document.size_bytes);
            if !whole {
                return Err(Refusal::new(Reason::DocumentUnknown).to_status());
            }
        }
        self.admit(attempt, body.acting_party, v1::EventKind::Submitted, signed).await.map(Response::new)
    }

    async fn record(&self, request: Request<v1::RecordRequest>) -> Result<Response<v1::RecordResponse>, Status> {
        let message = request.get_ref();
        let signed = signed(&request, Purpose::Entry, &message.entry, &message.signature);
        let body = v1::Entry::decode(message.entry.clone()).unwrap();
        let attempt = Attempt {
            key: body.request_key,
            dossier: body.dossier_code,
            body: message.entry.clone(),
            traceparent: traceparent(&request),
        };
        let answer = self.admit(attempt, body.acting_party, v1::EventKind::Accepted, signed).await?;
        Ok(Response::new(v1::RecordResponse {
            receipt: answer.receipt,
            repeated: answer.repeated,
            ..v1::RecordResponse::default()
        }))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let code = request.into_inner().dossier_code;
        if code != "H57.12-250714-0001" {
            return Err(Refusal::new(Reason::DossierNotFound).to_status());
        }
        let event = v1::Event { sequence: 1, kind: v1::EventKind::Submitted as i32, ..v1::Event::default() };
        let recorded = v1::RecordedEvent { event: Some(event), ..v1::RecordedEvent::default() };
        let dossier =
            v1::Dossier { code, status: v1::Status::Processing as i32, sequence: 3, ..v1::Dossier::default() };
        Ok(Response::new(v1::GetResponse { dossier: Some(dossier), events: vec![recorded] }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        // Shows what it was asked, so that a test sees what got through.
        let request = request.into_inner();
        let filter = request.filter.unwrap_or_default();
        let dossiers = filter.statuses.iter().map(|status| v1::Dossier {
            code: format!("{}-250714-0001", request.acting_party),
            status: *status,
            procedure_code: filter.procedure_code.clone(),
            ..v1::Dossier::default()
        });
        Ok(Response::new(v1::ListResponse { dossiers: dossiers.collect(), next_page_token: "next".into() }))
    }

    async fn explain_route(
        &self,
        request: Request<v1::ExplainRouteRequest>,
    ) -> Result<Response<v1::ExplainRouteResponse>, Status> {
        let rule = format!("{} in {}", request.get_ref().procedure_code, request.get_ref().locality);
        let answer = v1::ExplainRouteResponse { competent_authority: "H57.12".into(), rule, ..Default::default() };
        Ok(Response::new(answer))
    }
}

#[tonic::async_trait]
impl Certificates for Service {
    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let authority = self.authority()?;
        let leaf = request.extensions().get::<Arc<VerifiedLeaf>>().unwrap();
        let system = leaf.spiffe_id().unwrap().system().as_str();
        let renewed = authority.renew(request.get_ref(), system).map(Response::new);
        self.0.news.send_replace(());
        renewed
    }

    async fn trust(&self, request: Request<v1::TrustRequest>) -> Result<Response<v1::TrustResponse>, Status> {
        self.authority()?.whom_to_trust(&request.get_ref().known_sha256).map(Response::new)
    }

    async fn issue_token(&self, _: Request<v1::IssueTokenRequest>) -> Result<Response<v1::IssueTokenResponse>, Status> {
        Err(Status::unimplemented("for operators"))
    }

    async fn withdraw_token(
        &self,
        _: Request<v1::WithdrawTokenRequest>,
    ) -> Result<Response<v1::WithdrawTokenResponse>, Status> {
        Err(Status::unimplemented("for operators"))
    }

    async fn list(
        &self,
        _: Request<v1::ListCertificatesRequest>,
    ) -> Result<Response<v1::ListCertificatesResponse>, Status> {
        Err(Status::unimplemented("for operators"))
    }

    async fn revoke(&self, _: Request<v1::RevokeRequest>) -> Result<Response<v1::RevokeResponse>, Status> {
        Err(Status::unimplemented("for operators"))
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Documents for Service {
    type DownloadStream = Answers<v1::DownloadResponse>;

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadRequest>>,
    ) -> Result<Response<v1::UploadResponse>, Status> {
        let mut parts = request.into_inner();
        let Some(upload_request::Request::Start(start)) = parts.message().await?.unwrap().request else { panic!() };
        let id = (start.acting_party, start.sha256.clone());
        {
            let mut books = self.0.books();
            books.uploads.push(start.offset);
            if std::mem::take(&mut books.forgets_parts) {
                books.documents.remove(&id);
                return Err(Refusal::new(Reason::DocumentOffsetWrong).detail("offset", 0).to_status());
            }
            let content = books.documents.entry(id.clone()).or_default();
            assert_eq!(content.len() as u64, start.offset);
            books.uploads_under_way += 1;
            books.most_uploads = books.most_uploads.max(books.uploads_under_way);
        }
        self.0.news.send_replace(());
        let _under_way = UnderWay(&self.0);
        self.0.uploads_held.subscribe().wait_for(|held| !held).await.unwrap();
        while let Some(part) = parts.message().await? {
            let Some(upload_request::Request::Chunk(chunk)) = part.request else { panic!() };
            assert!(chunk.len() <= 256 << 10);
            let line = {
                let mut books = self.0.books();
                let content = books.documents.get_mut(&id).unwrap();
                content.extend_from_slice(&chunk);
                let brought = content.len();
                books.cut_upload_at.take_if(|(at, _)| brought >= *at)
            };
            if let Some((_, line)) = line {
                line.shake();
                return std::future::pending().await;
            }
        }
        let content = self.0.books().documents[&id].clone();
        if sha256(&content) != start.sha256 || content.len() as u64 != start.size_bytes {
            return Err(Refusal::new(Reason::DocumentDigestMismatch).to_status());
        }
        let answer = v1::UploadResponse { sha256: start.sha256, size_bytes: start.size_bytes, repeated: false };
        Ok(Response::new(answer))
    }

    async fn upload_state(
        &self,
        request: Request<v1::UploadStateRequest>,
    ) -> Result<Response<v1::UploadStateResponse>, Status> {
        let request = request.into_inner();
        let books = self.0.books();
        let content = books.documents.get(&(request.acting_party, request.sha256.clone()));
        let complete = content.is_some_and(|content| sha256(content) == request.sha256);
        let offset = content.map_or(0, |content| content.len() as u64);
        Ok(Response::new(v1::UploadStateResponse { offset, complete }))
    }

    async fn download(&self, request: Request<v1::DownloadRequest>) -> Result<Response<Self::DownloadStream>, Status> {
        let request = request.into_inner();
        let id = (request.acting_party, request.sha256.clone());
        if let Some(reason) = self.0.books().withholds_documents {
            return Err(Refusal::new(reason).to_status());
        }
        let is_silent = self.0.books().silent_documents.contains(&request.sha256);
        let Some(content) = self.0.books().documents.get(&id).cloned() else {
            return Err(Refusal::new(Reason::DocumentNotFound).to_status());
        };
        use v1::download_response::Response as Part;
        let head = v1::DocumentHead {
            sha256: request.sha256,
            size_bytes: content.len() as u64,
            media_type: "application/pdf".into(),
        };
        let begin = usize::try_from(request.offset).unwrap().min(content.len());
        let chunks: Vec<_> =
            content[begin..].chunks(50_000).map(|chunk| Part::Chunk(Bytes::copy_from_slice(chunk))).collect();
        let begun = |part| Ok(v1::DownloadResponse { response: Some(part) });
        if is_silent {
            let head = tokio_stream::once(begun(Part::Head(head)));
            return Ok(Response::new(Box::pin(head.chain(tokio_stream::pending()))));
        }
        let parts = std::iter::once(Part::Head(head)).chain(chunks).map(begun);
        Ok(Response::new(Box::pin(tokio_stream::iter(parts.collect::<Vec<_>>()))))
    }
}

#[tonic::async_trait]
impl Inbox for Service {
    type OpenStream = Answers<v1::InboxResponse>;

    async fn open(&self, request: Request<Streaming<v1::InboxRequest>>) -> Result<Response<Self::OpenStream>, Status> {
        let mut requests = request.into_inner();
        let Some(inbox_request::Request::Open(open)) = requests.message().await?.unwrap().request else { panic!() };
        self.0.may_act_for(&open.parties)?;
        {
            let mut books = self.0.books();
            books.streams += 1;
            books.parties = open.parties.clone();
            books.opened.push(open.clone());
        }
        self.0.news.send_replace(());
        let (sender, answers) = mpsc::channel(64);
        let shared = self.0.clone();
        tokio::spawn(async move {
            let say = |response| sender.send(Ok(v1::InboxResponse { response: Some(response) }));
            let mut changes = shared.changes.subscribe();
            loop {
                changes.mark_unchanged();
                if !shared.books().keeps_streams_waiting {
                    break;
                }
                changes.changed().await.unwrap();
            }
            let (parties, epoch) = (open.parties.clone(), shared.books().epoch.max(1));
            let _ = say(inbox_response::Response::Opened(v1::Opened { parties, epoch })).await;
            let mut next = 0;
            loop {
                changes.mark_unchanged();
                if let Err(refused) = shared.may_act_for(&open.parties) {
                    let _ = sender.send(Err(refused)).await;
                    return;
                }
                let due: Vec<_> = shared.books().deliveries.iter().skip(next).cloned().collect();
                next += due.len();
                let is_served = |delivery: &v1::Delivery| {
                    delivery.r#ref.as_ref().is_some_and(|name| open.parties.contains(&name.party))
                };
                for delivery in due.into_iter().filter(is_served) {
                    // As the real one: never what was handed over already.
                    if say(inbox_response::Response::Delivery(delivery)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    changed = changes.changed() => changed.unwrap(),
                    request = requests.message() => {
                        let Ok(Some(request)) = request else { return };
                        match request.request.unwrap() {
                            inbox_request::Request::Acknowledge(acknowledge) => {
                                let stage = acknowledge.stage();
                                let names = acknowledge.deliveries.clone();
                                shared.books().acknowledged.extend(names.into_iter().map(|name| (stage, name)));
                                shared.news.send_replace(());
                                let deliveries = acknowledge.deliveries;
                                let heard = v1::Acknowledged { stage: stage as i32, deliveries };
                                let _ = say(inbox_response::Response::Acknowledged(heard)).await;
                            }
                            inbox_request::Request::Decline(decline) => {
                                let (reason, kind) = (decline.reason.clone(), decline.kind());
                                // As the real one: what is not this stream's is passed over, and answered all the same.
                                let served = decline.deliveries.iter().filter(|name| open.parties.contains(&name.party));
                                let names = served.map(|name| Declined {
                                    name: format!("{}/{}", name.dossier_code, name.sequence),
                                    reason: reason.clone(),
                                    kind,
                                });
                                let forgets = {
                                    let mut books = shared.books();
                                    books.declined.extend(names);
                                    books.forgets_declines
                                };
                                shared.changes.send_modify(|number| *number += 1);
                                shared.news.send_replace(());
                                if !forgets {
                                    let heard = v1::Declined { deliveries: decline.deliveries };
                                    let _ = say(inbox_response::Response::Declined(heard)).await;
                                }
                            }
                            _ => {}
                        }
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn backlog(&self, request: Request<v1::BacklogRequest>) -> Result<Response<v1::BacklogResponse>, Status> {
        self.0.may_act_for(&request.get_ref().parties)?;
        Ok(Response::new(v1::BacklogResponse::default()))
    }

    async fn parked(&self, _: Request<v1::ParkedRequest>) -> Result<Response<v1::ParkedResponse>, Status> {
        Err(Status::unimplemented("no adapter asks for it"))
    }

    async fn handle_parked(
        &self,
        _: Request<v1::HandleParkedRequest>,
    ) -> Result<Response<v1::HandleParkedResponse>, Status> {
        Err(Status::unimplemented("no adapter asks for it"))
    }

    async fn release(&self, _: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        Err(Status::unimplemented("no adapter asks for it"))
    }
}

#[tonic::async_trait]
impl Registry for Service {
    async fn read(
        &self,
        request: Request<v1::ReadRegistryRequest>,
    ) -> Result<Response<v1::ReadRegistryResponse>, Status> {
        self.0.may_act_for([&request.get_ref().acting_party])?;
        let mut books = self.0.books();
        let known = request.get_ref().known_version;
        books.known_versions.push(known);
        let mut answer = books.registry.clone().ok_or_else(|| Refusal::new(Reason::RegistryMissing).to_status())?;
        if answer.version.as_ref().unwrap().number == known {
            answer.files.clear();
        }
        Ok(Response::new(answer))
    }

    async fn plan(&self, _: Request<v1::PlanRegistryRequest>) -> Result<Response<v1::PlanRegistryResponse>, Status> {
        Err(Refusal::new(Reason::GrantMissing).to_status())
    }

    async fn apply(&self, _: Request<v1::ApplyRegistryRequest>) -> Result<Response<v1::ApplyRegistryResponse>, Status> {
        Err(Refusal::new(Reason::GrantMissing).to_status())
    }

    async fn versions(
        &self,
        _: Request<v1::RegistryVersionsRequest>,
    ) -> Result<Response<v1::RegistryVersionsResponse>, Status> {
        Err(Refusal::new(Reason::GrantMissing).to_status())
    }

    async fn can_i(&self, _: Request<v1::CanIRequest>) -> Result<Response<v1::CanIResponse>, Status> {
        Err(Refusal::new(Reason::GrantMissing).to_status())
    }
}

#[tonic::async_trait]
impl Numbers for Service {
    async fn lease(
        &self,
        request: Request<v1::LeaseNumbersRequest>,
    ) -> Result<Response<v1::LeaseNumbersResponse>, Status> {
        let request = request.into_inner();
        self.0.may_act_for([&request.acting_party])?;
        assert_eq!(request.spool.len(), 16);
        let mut books = self.0.books();
        let mut blocks = Vec::new();
        let adds = request.wanted.iter().any(|wanted| wanted.more > 0);
        for wanted in request.wanted {
            let counter = (wanted.authority.clone(), wanted.day.clone());
            let place = (request.acting_party.clone(), request.spool.clone(), wanted.authority, wanted.day);
            if wanted.more > 0 {
                let highest = books.leased.entry(counter.clone()).or_default();
                let first = *highest + 1;
                *highest += wanted.more;
                let (authority, day) = counter;
                let block = v1::NumberBlock { authority, day, first, count: wanted.more };
                let blocks = books.blocks.entry(place.clone()).or_default();
                // As the real one: what goes on from the last is one with it.
                match blocks.last_mut().filter(|last| last.first + last.count == first) {
                    Some(last) => last.count += wanted.more,
                    None => blocks.push(block),
                }
            }
            blocks.extend(books.blocks.get(&place).cloned().unwrap_or_default());
        }
        if adds && books.lose_leases > 0 {
            books.lose_leases -= 1;
            return Err(Status::unavailable("somebody in between"));
        }
        let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let seconds = i64::try_from(seconds).unwrap() + books.clock_ahead_seconds;
        let now = Some(prost_types::Timestamp { seconds, nanos: 0 });
        Ok(Response::new(v1::LeaseNumbersResponse { blocks, epoch: books.epoch.max(1), now }))
    }
}

/// A connection and whoever proved to be at its other end. It ends with the certificate.
pub struct Connection<P> {
    pub stream: TlsStream<TcpStream>,
    pub peer: P,
    pub ends: Pin<Box<tokio::time::Sleep>>,
}

impl<P: Clone + Send + Sync + 'static> Connected for Connection<P> {
    type ConnectInfo = P;

    fn connect_info(&self) -> P {
        self.peer.clone()
    }
}

impl<P: Unpin> AsyncRead for Connection<P> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ends.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<P: Unpin> AsyncWrite for Connection<P> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
