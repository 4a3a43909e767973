//! The line between an adapter and the gateway: a port that leads there, can be cut, and follows the gateway to another port.
//! It knows bytes only; what they say is under TLS.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A port that leads to the gateway.
pub(super) struct Line {
    near: SocketAddr,
    way: watch::Sender<Way>,
}

/// How the line is.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Way {
    far: SocketAddr,
    cut: bool,
}

impl Line {
    /// A line to `far`. It ends with the runtime, as does every connection on it.
    ///
    /// # Errors
    /// There is no port for it.
    pub(super) async fn to(far: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let near = listener.local_addr()?;
        let (way, now) = watch::channel(Way { far, cut: false });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, now.clone()));
            }
        });
        Ok(Self { near, way })
    }

    /// Where the adapter connects.
    pub(super) fn near(&self) -> SocketAddr {
        self.near
    }

    /// From now on it leads there, once it is whole; connections to elsewhere break.
    pub(super) fn lead_to(&self, far: SocketAddr) {
        self.way.send_modify(|way| way.far = far);
    }

    /// From now on it leads nowhere, for connections that are open as well.
    pub(super) fn cut(&self) {
        self.way.send_modify(|way| way.cut = true);
    }

    /// Makes it whole again. Says whether it was cut.
    pub(super) fn mend(&self) -> bool {
        self.way.send_if_modified(|way| std::mem::take(&mut way.cut))
    }
}

async fn carry(mut near: TcpStream, mut way: watch::Receiver<Way>) {
    let taken = *way.borrow_and_update();
    if taken.cut {
        return;
    }
    let Ok(mut far) = TcpStream::connect(taken.far).await else { return };
    if near.set_nodelay(true).and(far.set_nodelay(true)).is_err() {
        return;
    }
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = way.wait_for(|now| *now != taken) => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn echo(mark: u8) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(&[mark]).await;
                std::mem::forget(stream);
            }
        });
        address
    }

    async fn hear(line: &Line) -> (TcpStream, Option<u8>) {
        let mut stream = TcpStream::connect(line.near()).await.unwrap();
        let heard = stream.read_u8().await.ok();
        (stream, heard)
    }

    #[tokio::test]
    async fn a_cut_breaks_open_connections_and_mended_it_leads_where_the_gateway_is_by_then() {
        let line = Line::to(echo(1).await).await.unwrap();
        let (mut open, heard) = hear(&line).await;
        assert_eq!(heard, Some(1));
        line.cut();
        let broken = tokio::time::timeout(std::time::Duration::from_secs(10), open.read(&mut [0])).await;
        assert_eq!(broken.expect("the open connection breaks").unwrap_or(0), 0);
        assert_eq!(hear(&line).await.1, None);
        line.lead_to(echo(2).await);
        assert_eq!(hear(&line).await.1, None, "it is cut still");
        assert!(line.mend() && !line.mend());
        assert_eq!(hear(&line).await.1, Some(2));
    }
}
