//! How long the certificates last, for whoever asks the local listener, and for the log in good time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use lgsp_certs::{CertificateDigest, CertificateFacts, Trust};
use tokio::time::Instant;

use super::Loaded;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// From when on an end in sight is told, at the latest a quarter of the life before it: what lives a month is renewed when
/// it has ten days left, and is nobody's trouble before.
const IN_SIGHT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How it stands with the certificates of a gateway.
#[derive(Debug)]
pub(crate) struct Standing {
    state: Mutex<State>,
    in_force: ArcSwap<InForce>,
}

#[derive(Debug)]
struct State {
    loaded_at: SystemTime,
    /// Why the files as they are now are not in force.
    problem: Option<String>,
    ends: Vec<End>,
    stale_lists: Vec<String>,
    told: HashMap<String, Instant>,
}

/// What is in force, asked when somebody wants to know: a list is set aside only when a certificate comes.
#[derive(Debug)]
struct InForce {
    own: CertificateDigest,
    trust: Arc<Trust>,
}

/// A certificate that ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct End {
    /// `own`, `issuing`, `ca`, or `bundle:` and its name.
    pub(crate) what: String,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// What is told of it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) loaded_at: SystemTime,
    pub(crate) problem: Option<String>,
    pub(crate) ends: Vec<End>,
    pub(crate) stale_lists: Vec<String>,
    /// The own certificate.
    pub(crate) own: CertificateDigest,
    /// The bundles with a list that is not by the CA it names.
    pub(crate) lists_set_aside: Vec<String>,
}

impl Standing {
    /// How it stands with what was just loaded.
    pub(crate) fn of(loaded: &Loaded, now: SystemTime) -> Self {
        let state = State {
            loaded_at: now,
            problem: None,
            ends: ends_of(loaded),
            stale_lists: stale_lists_of(loaded, now),
            told: HashMap::new(),
        };
        Self { state: Mutex::new(state), in_force: ArcSwap::from_pointee(InForce::of(loaded)) }
    }

    /// Something else is in force.
    pub(crate) fn replaced(&self, loaded: &Loaded, now: SystemTime) {
        self.in_force.store(Arc::new(InForce::of(loaded)));
        let mut state = self.state();
        (state.loaded_at, state.problem) = (now, None);
        (state.ends, state.stale_lists) = (ends_of(loaded), stale_lists_of(loaded, now));
    }

    /// The files were changed into something that cannot be used, or back into what is in force. Whether that is news.
    pub(crate) fn problem(&self, problem: Option<String>) -> bool {
        let mut state = self.state();
        let news = state.problem != problem;
        state.problem = problem;
        news
    }

    pub(crate) fn told(&self) -> Told {
        let in_force = self.in_force.load();
        let State { loaded_at, problem, ends, stale_lists, .. } = &*self.state();
        Told {
            loaded_at: *loaded_at,
            problem: problem.clone(),
            ends: ends.clone(),
            stale_lists: stale_lists.clone(),
            own: in_force.own,
            lists_set_aside: lists_set_aside_by(&in_force.trust),
        }
    }

    /// Writes to the log what ends soon, each once a day.
    pub(crate) fn warn(&self, loaded: &Loaded, now: SystemTime) {
        let mut state = self.state();
        state.stale_lists = stale_lists_of(loaded, now);
        let instant = Instant::now();
        for bundle in state.stale_lists.clone() {
            if state.is_news(&format!("list:{bundle}"), instant) {
                tracing::warn!(bundle, "a revocation list is past its time; what it names stays revoked");
            }
        }
        for bundle in loaded.trust().bundles() {
            for (list, why) in bundle.lists_set_aside() {
                let bundle = bundle.name();
                if state.is_news(&format!("aside:{bundle}:{list}:{why}"), instant) {
                    tracing::error!(bundle, list, why, "a revocation list cannot be used, and is set aside");
                }
            }
        }
        for end in state.due(now, instant) {
            let hours_left = end.left(now) / 3600;
            if end.left(now) <= DAY.as_secs().cast_signed() {
                tracing::error!(what = end.what, hours_left, "a certificate is about to expire, or has");
            } else {
                tracing::warn!(what = end.what, days_left = hours_left / 24, "a certificate expires soon");
            }
        }
    }

    // Nothing panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InForce {
    fn of(loaded: &Loaded) -> Self {
        Self { own: loaded.credentials().digest(), trust: Arc::clone(loaded.trust()) }
    }
}

impl State {
    /// What is to be told now: in sight, and not told within the last day.
    fn due(&mut self, now: SystemTime, instant: Instant) -> Vec<End> {
        let mut due: Vec<End> = self.ends.iter().filter(|end| end.is_in_sight(now)).cloned().collect();
        due.retain(|end| self.is_news(&end.what, instant));
        due
    }

    /// Whether it was not told within the last day; from now on it was.
    fn is_news(&mut self, what: &str, instant: Instant) -> bool {
        let news = self.told.get(what).is_none_or(|told| instant.duration_since(*told) >= DAY);
        if news {
            self.told.insert(what.to_owned(), instant);
        }
        news
    }
}

impl End {
    /// Seconds until then; less than nothing afterwards.
    pub(crate) fn left(&self, now: SystemTime) -> i64 {
        seconds_until(self.not_after, now)
    }

    fn is_in_sight(&self, now: SystemTime) -> bool {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.left(now) <= IN_SIGHT.min(life / 4).as_secs().cast_signed()
    }
}

/// Seconds from `now` until `then`; less than nothing when that is over.
pub(crate) fn seconds_until(then: SystemTime, now: SystemTime) -> i64 {
    match then.duration_since(now) {
        Ok(left) => left.as_secs().cast_signed(),
        Err(over) => -over.duration().as_secs().cast_signed(),
    }
}

/// The own certificate, its issuing CA, the CA by which others are certified, and the first root of each bundle to end.
fn ends_of(loaded: &Loaded) -> Vec<End> {
    let soonest = |what: String, certificates: &mut dyn Iterator<Item = &[u8]>| {
        // What cannot be read was refused when it was loaded.
        let facts = certificates.filter_map(|der| CertificateFacts::read(der).ok());
        let CertificateFacts { not_before, not_after, .. } = facts.min_by_key(|facts| facts.not_after)?;
        Some(End { what, not_before, not_after })
    };
    let (leaf, issuing) = loaded.credentials().chain().split_first().expect("a chain has a leaf");
    let own = soonest("own".to_owned(), &mut std::iter::once(&**leaf));
    let issuing = soonest("issuing".to_owned(), &mut issuing.iter().map(|der| &**der));
    let bundles = loaded.trust().bundles().filter_map(|bundle| {
        soonest(format!("bundle:{}", bundle.name()), &mut bundle.roots().iter().map(|der| &**der))
    });
    let ca = soonest("ca".to_owned(), &mut loaded.issuing().into_iter().map(|der| &**der));
    own.into_iter().chain(issuing).chain(ca).chain(bundles).collect()
}

fn stale_lists_of(loaded: &Loaded, now: SystemTime) -> Vec<String> {
    let stale = loaded.trust().bundles().filter(|bundle| bundle.stale_list(now).is_some());
    stale.map(|bundle| bundle.name().to_owned()).collect()
}

fn lists_set_aside_by(trust: &Trust) -> Vec<String> {
    let bundles = trust.bundles().filter(|bundle| bundle.sets_a_list_aside());
    bundles.map(|bundle| bundle.name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

    fn state(ends: Vec<End>) -> State {
        let loaded_at = SystemTime::UNIX_EPOCH;
        State { loaded_at, problem: None, ends, stale_lists: Vec::new(), told: HashMap::new() }
    }

    fn end(what: &str, life: Duration) -> End {
        let not_before = SystemTime::UNIX_EPOCH;
        End { what: what.into(), not_before, not_after: not_before + life }
    }

    fn due(state: &mut State, now: SystemTime, instant: Instant) -> Vec<String> {
        state.due(now, instant).into_iter().map(|end| end.what).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_in_sight_is_told_once_a_day_until_it_is_over_and_after() {
        let (year, month) = (end("own", YEAR), end("issuing", 30 * DAY));
        let mut state = state(vec![year.clone(), month.clone()]);
        let begin = Instant::now();
        let none: [&str; 0] = [];
        assert_eq!(due(&mut state, month.not_after - 8 * DAY, begin), none);
        assert_eq!(due(&mut state, month.not_after - 7 * DAY, begin), ["issuing"]);
        assert_eq!(due(&mut state, month.not_after - 6 * DAY, begin + DAY / 2), none);
        assert_eq!(due(&mut state, month.not_after - 6 * DAY, begin + DAY), ["issuing"]);
        assert_eq!(due(&mut state, year.not_after - 31 * DAY, begin + 2 * DAY), ["issuing"]);
        assert_eq!(due(&mut state, year.not_after - 30 * DAY, begin + 2 * DAY), ["own"]);
        assert_eq!(due(&mut state, year.not_after + DAY, begin + 9 * DAY), ["own", "issuing"]);
        assert_eq!(year.left(year.not_after + DAY), -24 * 3600);
    }
}
