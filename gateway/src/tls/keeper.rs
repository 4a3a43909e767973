//! Looks for new certificates while the gateway runs, and puts them in force.
//!
//! The files are looked at every few seconds, and at once on SIGHUP or when asked. A set that does not load changes nothing: it
//! is told, and what was in force stays in force. Invariant: a certificate is on record before anything is signed by it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lgsp_certs::reload::Files;
use lgsp_certs::{Credentials, TrustDomain};
use lgsp_proto::types::Sha256Digest;
use lgsp_telemetry::certificates;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::Generation;
use super::kept::Kept;
use super::standing::Standing;
use crate::config::{Tls, TrustFiles};
use crate::engine::Engine;
use crate::engine::certificates::revocation_lists;
use crate::engine::clock::machine_now;
use crate::store::{Commit, OWN_NAME, Store};

/// How often the files are looked at: a dozen calls of `stat`.
const LOOK: Duration = Duration::from_secs(2);

/// How often it is asked whether something ends soon.
const ASK: Duration = Duration::from_secs(60);

/// Why a set of files was not put in force.
#[derive(Debug, thiserror::Error)]
pub enum NotReloaded {
    /// A file cannot be used; in words, with its cause.
    #[error("{0}")]
    Files(String),
    /// The gateway's new certificate could not be put on record.
    #[error("the gateway's certificate could not be put on record: {0}")]
    Record(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The gateway is on its way out.
    #[error("the gateway is stopping")]
    Stopping,
}

/// Asks for the files to be read again now.
#[derive(Clone, Debug)]
pub struct Reload(mpsc::Sender<oneshot::Sender<Result<(), NotReloaded>>>);

/// Those who ask.
pub(crate) type Asked = mpsc::Receiver<oneshot::Sender<Result<(), NotReloaded>>>;

impl Reload {
    pub(crate) fn new() -> (Self, Asked) {
        let (sender, asked) = mpsc::channel(8);
        (Self(sender), asked)
    }

    /// Reads all files again, whether or not they look changed, and puts them in force. When it returns `Ok`, every new
    /// connection meets them.
    ///
    /// # Errors
    /// [`NotReloaded`]; what was in force still is.
    pub async fn now(&self) -> Result<(), NotReloaded> {
        let (tell, told) = oneshot::channel();
        self.0.send(tell).await.map_err(|_| NotReloaded::Stopping)?;
        told.await.map_err(|_| NotReloaded::Stopping)?
    }
}

/// What is needed to put new certificates in force.
pub(crate) struct Keeper {
    pub(crate) tls: Tls,
    pub(crate) ours: TrustDomain,
    pub(crate) engine: Engine,
    pub(crate) current: watch::Sender<Arc<Generation>>,
    pub(crate) standing: Arc<Standing>,
    /// As they looked when what is in force was read.
    pub(crate) files: Files,
    /// Whether the lists that are to outlive their files are not written down yet.
    pub(crate) unkept: bool,
}

impl Keeper {
    /// Keeps the certificates up to date until `stopping`. From the call on, before it is first polled, SIGHUP ends nobody.
    pub(crate) fn run(self, asked: Asked, stopping: CancellationToken) -> impl Future<Output = ()> {
        let hangup = signal(SignalKind::hangup()).ok();
        self.keep(asked, stopping, hangup)
    }

    async fn keep(mut self, mut asked: Asked, stopping: CancellationToken, mut hangup: Option<Signal>) {
        let (mut look, mut ask) = (tokio::time::interval(LOOK), tokio::time::interval(ASK));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Files that do not load may be half way through being replaced: told when they are so at the next look as well.
        let mut pending = 0_u32;
        loop {
            // With what was loaded last. It tells the log by itself.
            let _ = self.engine.signs_certificates().await;
            let asking = tokio::select! {
                () = stopping.cancelled() => return,
                _ = look.tick() => None,
                Some(tell) = asked.recv() => Some(tell),
                _ = ask.tick() => {
                    let current = Arc::clone(&self.current.borrow());
                    self.standing.warn(current.loaded(), machine_now());
                    if self.unkept {
                        let tls = self.tls.clone();
                        let kept = tokio::task::spawn_blocking(move || current.loaded().keep(&tls)).await;
                        self.unkept = !kept.expect("writing lists down does not panic, and is not aborted");
                    }
                    continue;
                }
                () = hung_up(hangup.as_mut()) => {
                    tracing::info!("told to read the certificates again");
                    pending = 1;
                    None
                }
            };
            if !self.changed().await && pending == 0 && asking.is_none() {
                continue;
            }
            let reloaded = self.reload().await;
            let reloads = &self.engine.counts().reloads;
            reloads.count(if reloaded.is_ok() { certificates::IN_FORCE } else { certificates::FAILED });
            match &reloaded {
                Ok(()) => pending = 0,
                Err(problem) => {
                    pending += 1;
                    let problem = problem.to_string();
                    if (pending > 1 || asking.is_some()) && self.standing.problem(Some(problem.clone())) {
                        tracing::error!(problem, "new certificates cannot be used; the present ones stay in force");
                    }
                }
            }
            if let Some(tell) = asking {
                // Whoever asked may be gone.
                let _ = tell.send(reloaded);
            }
        }
    }

    /// A disk may be slow, or a network's.
    async fn changed(&mut self) -> bool {
        let mut files = self.files.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let changed = files.changed();
            (files, changed)
        });
        let (files, changed) = looked.await.expect("looking at files does not panic, and is not aborted");
        self.files = files;
        changed
    }

    async fn reload(&mut self) -> Result<(), NotReloaded> {
        let (tls, now) = (self.tls.clone(), machine_now());
        let present = Arc::clone(&self.current.borrow());
        let load = move || {
            // A list that has come since the last time is a file to look at from now on.
            let files = files_of(&tls);
            let loaded = present.loaded().next(&tls, now).map(|loaded| (loaded.keep(&tls), loaded));
            (files, loaded)
        };
        let loaded = tokio::task::spawn_blocking(load).await;
        let (files, loaded) = loaded.expect("loading files does not panic, and is not aborted");
        self.files = files;
        let (kept, loaded) = loaded.map_err(|error| NotReloaded::Files(in_words(&error)))?;
        self.unkept = !kept;
        put_on_record(self.engine.store().as_ref(), loaded.credentials()).await.map_err(NotReloaded::Record)?;
        self.standing.replaced(&loaded, now);
        let certificate = loaded.credentials().digest();
        let generation = Generation::new(loaded, self.ours.clone(), self.engine.connections());
        self.current.send_replace(Arc::new(generation));
        tracing::info!(%certificate, "new certificates are in force");
        Ok(())
    }
}

/// The files of a configuration, as they look now, and those that came with earlier ones and still count.
pub(crate) fn files_of(tls: &Tls) -> Files {
    let Tls { certificate, key, trust, ca, kept } = tls;
    let of_bundle = |TrustFiles { bundle, crls, .. }: &TrustFiles| -> Vec<PathBuf> {
        std::iter::once(bundle).chain(crls).cloned().collect()
    };
    // The folder itself as well: its first list is a file that was not there before.
    let of_ca = ca.iter().flat_map(|dir| {
        let lists = revocation_lists(dir).unwrap_or_default();
        lists.into_iter().chain([dir.clone(), dir.join("ca.crl"), dir.join("ca.pem"), dir.join("root.pem")])
    });
    // What cannot be read is told by whoever loads it.
    let kept = kept.as_deref().and_then(|dir| Kept::read(dir).ok()).unwrap_or_default();
    let of_kept = kept.folders().flat_map(|dir| {
        let lists = revocation_lists(dir).unwrap_or_default();
        lists.into_iter().chain([dir.to_owned()])
    });
    let own = [certificate.clone(), key.clone()].into_iter();
    Files::new(own.chain(trust.iter().flat_map(of_bundle)).chain(of_ca).chain(of_kept))
}

/// Puts our certificate on record before the first receipt it signs, as it is done for everybody else's.
///
/// # Errors
/// Those of the store; then nothing may be signed by it.
pub(crate) async fn put_on_record(
    store: &dyn Store,
    credentials: &Credentials,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let digest = Sha256Digest::from(*credentials.digest().as_bytes());
    if store.knows_certificate(&digest).await? {
        return Ok(());
    }
    let der = Bytes::copy_from_slice(credentials.certificate());
    store.commit(Commit::Certificate { digest, der, system: OWN_NAME.to_owned(), at: machine_now() }).await?;
    Ok(())
}

fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    words
}

async fn hung_up(hangup: Option<&mut Signal>) {
    if let Some(hangup) = hangup
        && hangup.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}
