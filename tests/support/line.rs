//! The line between an adapter and the gateway, with a fault in it: cut, or dead in one direction. It knows bytes only; what
//! they say is under TLS.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the line is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Condition {
    /// In good order.
    Sound,
    /// What the gateway says does not arrive; what it is told does.
    Deaf,
    /// No connection stays.
    Cut,
}

/// A port that leads to the gateway.
pub(crate) struct Line {
    /// The near end.
    pub(crate) near: SocketAddr,
    condition: watch::Sender<Condition>,
}

impl Line {
    /// A line to `far`.
    pub(crate) async fn to(far: SocketAddr, condition: Condition) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = listener.local_addr().unwrap();
        let (condition, now) = watch::channel(condition);
        // Ends with the test's runtime, as does every connection.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, far, now.clone()));
            }
        });
        Self { near, condition }
    }

    /// Changes how it is, for connections that are open as well.
    pub(crate) fn set(&self, condition: Condition) {
        self.condition.send_replace(condition);
    }
}

async fn carry(near: TcpStream, far: SocketAddr, mut condition: watch::Receiver<Condition>) {
    if *condition.borrow_and_update() == Condition::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(far).await else { return };
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let ((mut from_near, to_near), (from_far, mut to_far)) = (near.into_split(), far.into_split());
    let mut cut = condition.clone();
    tokio::select! {
        _ = copy(&mut from_near, &mut to_far) => {}
        () = answers(from_far, to_near, condition) => {}
        _ = cut.wait_for(|now| *now == Condition::Cut) => {}
    }
}

/// Carries what the gateway says, as long as anybody is to hear it.
async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut condition: watch::Receiver<Condition>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if condition.wait_for(|now| *now != Condition::Deaf).await.is_err()
            || to.write_all(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
}
