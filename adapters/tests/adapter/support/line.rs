//! The line between adapter and gateway, as a proxy that can be cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Carries bytes until it is cut, and again when it was mended.
#[derive(Clone)]
pub struct Line {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    target: SocketAddr,
    down: bool,
    /// What is connected now carries nothing more, and nobody is told.
    silent: CancellationToken,
    /// Ends what is connected now.
    cut: CancellationToken,
}

impl Line {
    pub async fn to(target: SocketAddr) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), target).await
    }

    /// A line whose near end is at a given address.
    pub async fn at(address: SocketAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            target,
            down: false,
            silent: CancellationToken::new(),
            cut: CancellationToken::new(),
        }));
        let line = Self { address, state };
        let accepting = line.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().carry(near));
            }
        });
        line
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection, and lets none through until it is mended.
    pub fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.down = true;
        std::mem::take(&mut state.cut).cancel();
    }

    /// Breaks every connection; new ones get through.
    pub fn shake(&self) {
        self.cut();
        self.mend();
    }

    pub fn mend(&self) {
        self.state.lock().unwrap().down = false;
    }

    /// Swallows all bytes of the connections there are, without ending them; new ones get through.
    pub fn fall_silent(&self) {
        std::mem::take(&mut self.state.lock().unwrap().silent).cancel();
    }

    pub fn lead_to(&self, target: SocketAddr) {
        self.state.lock().unwrap().target = target;
    }

    async fn carry(self, mut near: TcpStream) {
        let (target, silent, cut) = {
            let state = self.state.lock().unwrap();
            if state.down {
                return;
            }
            (state.target, state.silent.clone(), state.cut.clone())
        };
        let Ok(mut far) = TcpStream::connect(target).await else { return };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        tokio::select! {
            () = cut.cancelled() => {}
            () = silent.cancelled() => cut.cancelled().await,
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        }
    }
}
