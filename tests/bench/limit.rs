//! The limit: a server of the gateway's shape that only appends and syncs.
//!
//! The same library, the same mutual TLS, the same kind of accept loop and HTTP/2 settings, the same messages on the wire, the
//! same group commit. But nothing is looked at, checked, decided, sealed, indexed or signed. `Submit` appends the body; an
//! inbox stream passes on what was appended, and appends what is acknowledged.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use lgsp_gateway::config::Config;
use lgsp_gateway::tls::Loaded;
use lgsp_journal::group::{GroupCommit, Handle, Limits};
use lgsp_journal::{Options, Position, RealFiles};
use lgsp_proto::v1;
use lgsp_proto::v1::dossiers_server::{Dossiers, DossiersServer};
use lgsp_proto::v1::inbox_request::Request as Said;
use lgsp_proto::v1::inbox_response::Response as Answer;
use lgsp_proto::v1::inbox_server::{Inbox, InboxServer};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

/// As the gateway has them.
const STREAMS_PER_CONNECTION: u32 = 1024;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const READ_AHEAD: usize = 32 * 1024;

/// More than the callers can have under way: whoever appends never waits for whoever reads.
const DELIVERIES_AHEAD: usize = 1024;

/// Serves with a gateway's configuration until standard input closes.
pub(crate) async fn serve(config: &Path) -> anyhow::Result<()> {
    let config = Config::load(config, []).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let loaded = Loaded::load(&config.tls, std::time::SystemTime::now())?;
    let tls = TlsAcceptor::from(Arc::new(loaded.credentials().server_config()));
    let files = Arc::new(RealFiles::open(&config.store.dir)?);
    let journal = lgsp_journal::open(files, Options::default())?;
    let committer = GroupCommit::start(journal.writer, Limits::default(), |_: &[(Position, Bytes)]| {})?;
    let limit = Limit { journal: committer.handle(), deliveries: Arc::default() };
    let tcp = TcpListener::bind(config.listen.bus).await?;
    println!("{}", serde_json::json!({ "ready": { "bus": tcp.local_addr()?.to_string() } }));
    let served = Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .add_service(DossiersServer::new(limit.clone()))
        .add_service(InboxServer::new(limit))
        .serve_with_incoming(accept(tcp, tls));
    tokio::select! {
        served = served => served.context("the limit ended by itself"),
        _ = parent_ended() => Ok(()),
    }
}

/// Comes when standard input closes. A thread of its own: a read from a pipe cannot be cancelled.
fn parent_ended() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = ended.send(());
    });
    end
}

#[derive(Clone)]
struct Limit {
    journal: Handle<Bytes>,
    /// The open inbox stream, if there is one.
    deliveries: Arc<Mutex<Option<mpsc::Sender<v1::InboxResponse>>>>,
}

impl Limit {
    /// Returns when `bytes` are synced.
    async fn append(&self, bytes: Bytes) -> Result<Position, Status> {
        let (answer, answered) = oneshot::channel();
        let done = move |written| _ = answer.send(written);
        self.journal.submit(bytes, done).map_err(|error| Status::resource_exhausted(error.to_string()))?;
        let written = answered.await.map_err(|_| Status::internal("the committer is gone"))?;
        written.map_err(|error| Status::internal(error.to_string()))
    }

    fn stream(&self) -> Option<mpsc::Sender<v1::InboxResponse>> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[tonic::async_trait]
impl Dossiers for Limit {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let body = request.into_inner().submission;
        let position = self.append(body.clone()).await?;
        if let Some(stream) = self.stream() {
            // A reader that has gone away has its own complaint.
            let _ = stream.send(says(Answer::Delivery(delivery(position, body)))).await;
        }
        Ok(Response::new(v1::SubmitResponse::default()))
    }

    async fn record(&self, _: Request<v1::RecordRequest>) -> Result<Response<v1::RecordResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn get(&self, _: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn list(&self, _: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn explain_route(
        &self,
        _: Request<v1::ExplainRouteRequest>,
    ) -> Result<Response<v1::ExplainRouteResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

#[tonic::async_trait]
impl Inbox for Limit {
    type OpenStream = tokio_stream::adapters::Map<
        ReceiverStream<v1::InboxResponse>,
        fn(v1::InboxResponse) -> Result<v1::InboxResponse, Status>,
    >;

    async fn open(&self, request: Request<Streaming<v1::InboxRequest>>) -> Result<Response<Self::OpenStream>, Status> {
        let (sender, stream) = mpsc::channel(DELIVERIES_AHEAD);
        let (limit, mut requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            // However it ends, the other end notices.
            while let Ok(Some(request)) = requests.message().await {
                let answer = match request.request {
                    Some(Said::Open(open)) => {
                        *limit.deliveries.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender.clone());
                        Answer::Opened(v1::Opened { parties: open.parties, ..v1::Opened::default() })
                    }
                    Some(Said::Acknowledge(acknowledge)) => {
                        let Ok(_) = limit.append(acknowledge.encode_to_vec().into()).await else { break };
                        let v1::Acknowledge { stage, deliveries } = acknowledge;
                        Answer::Acknowledged(v1::Acknowledged { stage, deliveries })
                    }
                    Some(Said::Credit(_) | Said::Decline(_)) | None => continue,
                };
                let Ok(()) = sender.send(says(answer)).await else { break };
            }
        });
        let ok: fn(v1::InboxResponse) -> Result<v1::InboxResponse, Status> = Ok;
        Ok(Response::new(tokio_stream::StreamExt::map(ReceiverStream::new(stream), ok)))
    }

    async fn backlog(&self, _: Request<v1::BacklogRequest>) -> Result<Response<v1::BacklogResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn parked(&self, _: Request<v1::ParkedRequest>) -> Result<Response<v1::ParkedResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn handle_parked(
        &self,
        _: Request<v1::HandleParkedRequest>,
    ) -> Result<Response<v1::HandleParkedResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn release(&self, _: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

fn says(answer: Answer) -> v1::InboxResponse {
    v1::InboxResponse { response: Some(answer) }
}

fn delivery(position: Position, body: Bytes) -> v1::Delivery {
    v1::Delivery {
        r#ref: Some(v1::DeliveryRef { dossier_code: position.to_string(), sequence: 1, ..Default::default() }),
        event: Some(v1::RecordedEvent { body, ..Default::default() }),
        attempt: 1,
        ..Default::default()
    }
}

/// Every handshake in a task of its own. Ends with the server.
fn accept(tcp: TcpListener, tls: TlsAcceptor) -> ReceiverStream<io::Result<Connection>> {
    let (ready, accepted) = mpsc::channel(256);
    tokio::spawn(async move {
        while let Ok((stream, _)) = tcp.accept().await {
            let (tls, ready) = (tls.clone(), ready.clone());
            tokio::spawn(async move {
                match shake_hands(stream, &tls).await {
                    Ok(connection) => _ = ready.send(Ok(connection)).await,
                    Err(error) => eprintln!("a handshake failed: {error}"),
                }
            });
        }
    });
    ReceiverStream::new(accepted)
}

async fn shake_hands(stream: TcpStream, tls: &TlsAcceptor) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    Ok(Connection(tls.accept(BufReader::with_capacity(READ_AHEAD, stream)).await?))
}

/// A connection after its handshake.
struct Connection(TlsStream<BufReader<TcpStream>>);

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
