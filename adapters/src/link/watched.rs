//! Every call of a link passes here, so that the link knows whether anybody answers at the other end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use tonic::body::Body;
use tonic::transport::{Channel, Error};

use super::TurnedAway;
use super::connector::Peers;

/// A channel that notes which calls were answered and which were not. What the answer says is nobody's business here, but for
/// one thing: a refusal of our certificate is about the link. Any refusal is an answer, and a connection that breaks, a time-out
/// or a stranger's page is none.
#[derive(Clone)]
pub struct Watched {
    channel: Channel,
    peers: Arc<Peers>,
}

impl Watched {
    pub(super) fn new(channel: Channel, peers: Arc<Peers>) -> Self {
        Self { channel, peers }
    }
}

impl tower::Service<Request<Body>> for Watched {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = tower::Service::poll_ready(&mut self.channel, cx);
        if let Poll::Ready(Err(_)) = &ready {
            self.peers.answered(false);
        }
        ready
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answering = tower::Service::call(&mut self.channel, request);
        let peers = self.peers.clone();
        Box::pin(async move {
            let answer = answering.await;
            let answered = answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::OK);
            peers.answered(answered);
            if let Ok(answer) = &answer
                && answered
            {
                peers.met(TurnedAway::of_answer(answer.headers()));
            }
            answer
        })
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}
