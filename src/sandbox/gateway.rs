//! The gateway's process, which in some scenarios is killed or started again; its lines follow it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::folder::Folder;
use super::line::Line;
use crate::staging::processes::Process;

/// What is to be done with the gateway.
pub(super) struct Order {
    /// As by a power cut, or in order.
    kill: bool,
    /// How long it stays away.
    away: Duration,
    /// Whether it then lets dates lie far ahead.
    far_ahead: bool,
    done: oneshot::Sender<()>,
}

/// Whoever may order the gateway about.
#[derive(Clone)]
pub(super) struct Orders(mpsc::Sender<Order>);

impl Orders {
    /// Kills it, and starts it again after a while. Returns when it serves; if it does not, the sandbox ends.
    pub(super) async fn kill(&self, away: Duration, far_ahead: bool) {
        self.give(true, away, far_ahead).await;
    }

    /// Stops it in order and starts it again, so that it lets dates lie far ahead.
    pub(super) async fn look_ahead(&self) {
        self.give(false, Duration::ZERO, true).await;
    }

    async fn give(&self, kill: bool, away: Duration, far_ahead: bool) {
        let (done, ended) = oneshot::channel();
        if self.0.send(Order { kill, away, far_ahead, done }).await.is_ok() {
            let _ = ended.await;
        }
    }
}

/// Starts the gateway. Gives where it listens, and who takes orders.
///
/// # Errors
/// It does not start.
pub(super) async fn start(folder: &Folder, far_ahead: bool) -> anyhow::Result<(Process, SocketAddr)> {
    folder.configure_gateway(far_ahead)?;
    let (process, ready) = Process::node("gateway", "gateway", &folder.gateway_config(), &folder.logs()).await?;
    let address = ready.at("bus")?.parse()?;
    Ok((process, address))
}

/// The sender of orders, and what carries them out until there is nobody left to give any; then the gateway stops.
pub(super) fn keeper(
    process: Process,
    folder: Arc<Folder>,
    lines: Arc<[Line; 2]>,
) -> (Orders, impl Future<Output = anyhow::Result<()>>) {
    let (orders, taken) = mpsc::channel(1);
    (Orders(orders), keep(process, folder, lines, taken))
}

async fn keep(
    mut process: Process,
    folder: Arc<Folder>,
    lines: Arc<[Line; 2]>,
    mut orders: mpsc::Receiver<Order>,
) -> anyhow::Result<()> {
    loop {
        let order = tokio::select! {
            why = process.gone() => return Err(why),
            order = orders.recv() => order,
        };
        let Some(Order { kill, away, far_ahead, done }) = order else { return process.stopped().await };
        if kill {
            process.kill().await?
        } else {
            process.stopped().await?
        }
        tokio::time::sleep(away).await;
        let (again, address) = start(&folder, far_ahead).await?;
        process = again;
        lines.iter().for_each(|line| line.lead_to(address));
        // Who ordered it may have gone.
        let _ = done.send(());
    }
}
