//! Keeps the own certificate in force: renews it in time, asks whom to trust, and takes up files that others have exchanged.
//!
//! Nothing new is put in force before the gateway has answered a call made with it. What fails leaves the present set as it is
//! and is tried again; it is told in the log and by [`Known`].

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lgsp_certs::reload::Files;
use lgsp_telemetry::certificates;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::folder::Folder;
use super::leaf::{Leaf, some_time_after};
use super::loading::Source;
use super::renewal::{Failed, ask_for_another, ask_whom_to_trust, blocking, put_in_force};
use super::trust::Trust;
use crate::backoff::Backoff;
use crate::config;
use crate::link::{CallError, Link};
use crate::telemetry::{Counts, RENEWAL_FAILED, RENEWED};

/// The longest wait until a renewal is tried again.
const RENEW_AGAIN: Duration = Duration::from_secs(900);

/// The longest wait until files that could not be loaded are tried again.
const LOAD_AGAIN: Duration = Duration::from_secs(60);

/// See the module.
pub(crate) struct Keeper {
    link: Link,
    source: Source,
    /// Without one, somebody else renews.
    folder: Option<Folder>,
    poll: Duration,
    trust_every: Duration,
    known: Arc<Known>,
    watched: Files,
    /// Loads that have failed since one that did not, and when to try again: time mends some, and nobody need touch a file.
    loads_failed: u32,
    load_again: Option<Instant>,
    /// When to renew next, or to try again.
    renew_at: SystemTime,
    renewals_failed: u32,
    /// The gateway does not renew ours; that was told.
    not_renewed_here: bool,
    trust_at: SystemTime,
    trust_failed: u32,
}

/// How the certificate is, for those who ask.
#[derive(Debug)]
pub(crate) struct Known(Mutex<View>, Counts);

/// See [`Known`].
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The system it names.
    pub(crate) system: Option<String>,
    pub(crate) not_after: SystemTime,
    /// When it will be renewed; `None` if that is not ours to do.
    pub(crate) renew_from: Option<SystemTime>,
    /// Renewals since the start.
    pub(crate) renewals: u64,
    problems: Problems,
}

/// What went wrong last, in Vietnamese and English, unless it has gone well since.
#[derive(Clone, Debug, Default)]
struct Problems {
    files: Option<[String; 2]>,
    renewal: Option<[String; 2]>,
    trust: Option<[String; 2]>,
}

impl View {
    /// What is the matter, in Vietnamese and English: what matters most, if there is more than one thing.
    pub(crate) fn problem(self) -> Option<[String; 2]> {
        let Problems { files, renewal, trust } = self.problems;
        files.or(renewal).or(trust)
    }

    /// Whether the files as they are now could be loaded.
    pub(crate) fn files_are_in_force(&self) -> bool {
        self.problems.files.is_none()
    }
}

impl Known {
    /// How it is now.
    pub(crate) fn view(&self) -> View {
        self.lock().clone()
    }

    /// What was counted since the start.
    pub(crate) fn counts(&self) -> &Counts {
        &self.1
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        // Each change is one assignment; no holder panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    /// Keeps what was loaded from `source` and is in force on `link`.
    pub(crate) fn new(link: Link, source: Source, config: &config::Identity, leaf: &Leaf) -> Self {
        let problems = Problems::default();
        let view = View { system: None, not_after: leaf.not_after, renew_from: None, renewals: 0, problems };
        let mut keeper = Self {
            watched: source.watched(),
            link,
            source,
            folder: config.folder.as_ref().map(Folder::at),
            poll: config.poll,
            trust_every: config.trust_every,
            known: Arc::new(Known(Mutex::new(view), Counts::default())),
            loads_failed: 0,
            load_again: None,
            renew_at: leaf.not_after,
            renewals_failed: 0,
            not_renewed_here: false,
            trust_at: SystemTime::UNIX_EPOCH,
            trust_failed: 0,
        };
        keeper.in_force(leaf, leaf.renew_from());
        keeper
    }

    /// For those who ask.
    pub(crate) fn known(&self) -> Arc<Known> {
        self.known.clone()
    }

    /// Keeps it until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.poll);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut hang_up = signal(SignalKind::hangup()).inspect_err(|error| {
            tracing::warn!(%error, "SIGHUP cannot be listened to; changed files are noticed all the same");
        });
        let mut connectivity = self.link.connectivity();
        let mut turned_away = None;
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => false,
                () = received(&mut hang_up) => true,
                Ok(()) = connectivity.changed() => {
                    let now = connectivity.borrow_and_update().turned_away;
                    if let Some(why) = now.filter(|_| now != turned_away) {
                        tracing::error!(reason = why.as_str(), "no way to the gateway: {}", why.texts()[1]);
                    }
                    turned_away = now;
                    continue;
                }
            };
            // Dropped half way, a renewal leaves nothing but a certificate that nobody uses.
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look_after(asked) => {}
            }
        }
    }

    async fn look_after(&mut self, asked: bool) {
        let again = self.load_again.is_some_and(|at| Instant::now() >= at);
        if self.watched.changed() || asked || again {
            self.reload().await;
        }
        let Some(folder) = self.folder.clone() else { return };
        let now = SystemTime::now();
        let (renews, asks) = (now >= self.renew_at, now >= self.trust_at);
        if !renews && !asks {
            return;
        }
        let done = self.renovate(&folder, renews).await;
        self.settle(renews, done);
    }

    /// Takes up what the files hold now; if they cannot be loaded, what was loaded stays, and they are tried again.
    async fn reload(&mut self) {
        self.watched = self.source.watched();
        let source = self.source.clone();
        let loading = tokio::task::spawn_blocking(move || source.load(SystemTime::now()));
        let Ok(loaded) = loading.await else { return };
        match loaded {
            Ok((credentials, leaf)) => {
                (self.loads_failed, self.load_again) = (0, None);
                self.link.adopt(&credentials);
                self.known.counts().reloads.count(certificates::IN_FORCE);
                self.known.lock().problems = Problems::default();
                self.in_force(&leaf, leaf.renew_from());
                let until = jiff::Timestamp::try_from(leaf.not_after).unwrap_or_default();
                tracing::info!(certificate = %credentials.digest(), %until, "certificate and roots loaded anew");
            }
            Err(error) => {
                let why = because(&error);
                self.known.counts().reloads.count(certificates::FAILED);
                self.loads_failed += 1;
                let wait = Backoff { first: self.poll, limit: LOAD_AGAIN.max(self.poll) }.delay(self.loads_failed);
                self.load_again = Some(Instant::now() + wait);
                if self.loads_failed.is_power_of_two() {
                    let attempt = self.loads_failed;
                    tracing::error!(
                        attempt,
                        why,
                        "the changed certificate files cannot be loaded; those loaded before stay in force"
                    );
                }
                self.known.lock().problems.files = Some([
                    format!("không nạp được tệp chứng thư đã thay đổi; bộ đã nạp trước đó vẫn có hiệu lực: {why}"),
                    format!("the changed certificate files cannot be loaded; those loaded before stay in force: {why}"),
                ]);
            }
        }
    }

    /// Gets a new certificate if `renews`, and new roots if there are any.
    ///
    /// Gives what is in force now, if that has changed, and from when on it should be renewed.
    async fn renovate(&mut self, folder: &Folder, renews: bool) -> Result<Option<(Leaf, SystemTime)>, Failed> {
        let reading = folder.clone();
        let present = blocking(move || reading.read()).await?;
        let present = present.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no set in force"))?;
        let trust = match ask_whom_to_trust(&self.link, &Trust::of(&present)).await {
            // Bad roots, or none, must not cost us the certificate.
            Err(error) if renews => {
                // If nobody answers, the renewal will say so.
                if !matches!(error, Failed::Call(CallError::Unknown(_))) {
                    self.present_roots_stay(&error);
                }
                None
            }
            trust => {
                let trust = trust?;
                self.trust_failed = 0;
                let now = SystemTime::now();
                self.trust_at = some_time_after(now + self.trust_every, now + self.trust_every * 2);
                if trust.is_none() {
                    self.known.lock().problems.trust = None;
                }
                trust
            }
        };
        if !renews && trust.is_none() {
            return Ok(None);
        }
        let mut set = present.clone();
        let mut told = None;
        if renews {
            let issued = ask_for_another(&self.link, &present).await?;
            told = issued.renew_from.and_then(|at| SystemTime::try_from(at).ok());
            (set.key, set.chain) = (issued.key, issued.chain);
        }
        let with_new_roots = trust.map(|trust| {
            let mut set = set.clone();
            (set.roots, set.revocation_lists) = (trust.roots, trust.revocation_lists);
            set
        });
        let in_force = match with_new_roots {
            None => put_in_force(&self.link, folder, set).await?,
            Some(other) => {
                let (roots, lists) = (other.roots.len(), other.revocation_lists.len());
                match put_in_force(&self.link, folder, other).await {
                    Err(error @ (Failed::NotProved(_) | Failed::Load(_))) if renews => {
                        tracing::error!(roots, lists, why = because(&error), "the present roots stay");
                        put_in_force(&self.link, folder, set).await?
                    }
                    in_force => in_force
                        .inspect(|_| tracing::info!(roots, lists, "other roots or revocation lists in force"))?,
                }
            }
        };
        let (credentials, leaf) = in_force;
        self.link.adopt(&credentials);
        self.watched = self.source.watched();
        let now = SystemTime::now();
        let left = leaf.not_after.duration_since(now).unwrap_or_default();
        // A life of minutes is shorter than what is allowed for clocks, and two thirds of it may be over at its beginning.
        let renew_from = if renews {
            told.filter(|at| (now..leaf.not_after).contains(at)).unwrap_or(now + left * 2 / 3)
        } else {
            leaf.renew_from()
        };
        Ok(Some((leaf, renew_from)))
    }

    fn present_roots_stay(&self, error: &Failed) {
        tracing::error!(why = because(error), "other roots could not be had of the gateway; the present ones stay");
        self.known.lock().problems.trust = Some(error.texts());
    }

    /// Draws the consequences of an attempt.
    fn settle(&mut self, renewed: bool, done: Result<Option<(Leaf, SystemTime)>, Failed>) {
        let now = SystemTime::now();
        match done {
            Ok(new) => {
                if let Some((leaf, renew_from)) = new {
                    if renewed {
                        self.known.counts().renewals.count(RENEWED);
                        let mut view = self.known.lock();
                        view.renewals += 1;
                        view.problems.renewal = None;
                        drop(view);
                        let until = jiff::Timestamp::try_from(leaf.not_after).unwrap_or_default();
                        tracing::info!(%until, "certificate renewed");
                    }
                    self.in_force(&leaf, renew_from);
                }
            }
            Err(error @ (Failed::IssuesNone(_) | Failed::RenewedElsewhere(_))) => {
                if !std::mem::replace(&mut self.not_renewed_here, true) {
                    let why = because(&error);
                    tracing::warn!(why, "our certificate must be exchanged from outside before it expires");
                }
                // Asked again when roots are: an operator may set a CA up. Until then the files are watched.
                self.renew_at = now + self.trust_every;
                let mut view = self.known.lock();
                view.renew_from = None;
                view.problems.renewal = Some(error.texts());
            }
            Err(error) => {
                let failures = if renewed { &mut self.renewals_failed } else { &mut self.trust_failed };
                *failures += 1;
                // Tried often enough before it expires, however short its life is, and not all the time when it is long.
                let left = self.link.not_after().duration_since(now).unwrap_or_default();
                let limit = if left.is_zero() { RENEW_AGAIN } else { (left / 20).min(RENEW_AGAIN) }.max(self.poll);
                let again = now + Backoff { first: self.poll, limit }.delay(*failures);
                if failures.is_power_of_two() {
                    let (why, attempt) = (because(&error), *failures);
                    tracing::warn!(
                        attempt,
                        why,
                        renewed,
                        "the certificate or its roots could not be renewed; tried again"
                    );
                }
                if renewed {
                    self.known.counts().renewals.count(RENEWAL_FAILED);
                    self.renew_at = again;
                    self.known.lock().problems.renewal = Some(error.texts());
                } else {
                    self.trust_at = again;
                    // That nobody answers is no news about certificates.
                    if !matches!(error, Failed::Call(CallError::Unknown(_))) {
                        self.known.lock().problems.trust = Some(error.texts());
                    }
                }
            }
        }
    }

    /// Takes note of the certificate in force.
    fn in_force(&mut self, leaf: &Leaf, renew_from: SystemTime) {
        self.renew_at = some_time_after(renew_from, leaf.not_after);
        self.renewals_failed = 0;
        self.not_renewed_here = false;
        let mut view = self.known.lock();
        view.system = leaf.system.as_ref().map(ToString::to_string);
        view.not_after = leaf.not_after;
        view.renew_from = self.folder.is_some().then_some(self.renew_at);
    }
}

async fn received(hang_up: &mut io::Result<tokio::signal::unix::Signal>) {
    let received = match hang_up {
        Ok(hang_up) => hang_up.recv().await,
        Err(_) => None,
    };
    if received.is_none() {
        std::future::pending().await
    }
}

/// An error with everything that led to it.
pub(crate) fn because(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
