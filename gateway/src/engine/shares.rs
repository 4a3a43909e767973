//! Fair shares: a flood from one party must not make the others late.
//!
//! Two bounds stand in front of everything that an admission costs: how fast one party may begin them, and how many it may
//! have under way. Behind them is a queue in which the parties take turns, not the calls: whoever sends a thousand waits
//! behind its own, and whoever sends one waits for at most one of everybody else's. While there are free places nothing waits.
//!
//! Systems are bounded too, earlier and more roughly, before their messages are read: [`Rates`] and [`Tally`].
//!
//! What the registry says about a party or a system goes before the configuration, from the next call on.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lgsp_domain::registry;
use lgsp_proto::types::PartyId;
use lgsp_proto::{Reason, Refusal};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How far ahead of its rate one may be: what gathers while a line is down for a moment comes at once.
const BURST: Duration = Duration::from_secs(2);

/// When whoever has too much under way may try again: nobody knows when something of it ends, and most of it ends sooner.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What one party may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// Admissions a second, over time; two seconds' worth may begin at once.
    pub per_second: u32,
    /// Admissions under way, those that wait included.
    pub at_once: usize,
}

/// The places in which admissions are worked on, and whose turn it is.
#[derive(Clone, Debug)]
pub struct Shares(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    quota: Quota,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Places nobody has.
    free: usize,
    /// Of every party that ever came: only those of the registry do.
    accounts: HashMap<PartyId, Account>,
    /// The parties that have something waiting, each once, in the order of their turns.
    turns: VecDeque<PartyId>,
}

#[derive(Debug, Default)]
struct Account {
    rate: Bucket,
    under_way: usize,
    waiting: VecDeque<oneshot::Sender<Place>>,
}

/// A place, and what counts against the party's quota meanwhile. Dropped, the place goes to the next party.
#[must_use]
#[derive(Debug)]
pub struct Share {
    #[expect(dead_code, reason = "held for its drop")]
    place: Place,
    #[expect(dead_code, reason = "held for its drop")]
    claim: Claim,
}

impl Shares {
    /// `places` for all together, and the same quota for every party of which the registry says nothing else.
    pub fn new(places: usize, quota: Quota) -> Self {
        Self(Arc::new(Inner { quota, state: Mutex::new(State { free: places, ..State::default() }) }))
    }

    /// Waits for a place, behind what `party` has waiting itself and in turn with the other parties. `party` must be one that
    /// the caller was found to act for: every one is remembered. `own` is what the registry says about it.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`, at once: the party begins too much, or has too much under way. Nothing was processed.
    pub async fn enter(&self, party: &PartyId, own: registry::Quota) -> Result<Share, Refusal> {
        let (claim, granted) = self.claim(party, own)?;
        let place = match granted {
            Turn::Now(place) => place,
            Turn::Later(granted) => granted.await.expect("whoever waits is granted a place in the end"),
        };
        Ok(Share { place, claim })
    }

    fn claim(&self, party: &PartyId, own: registry::Quota) -> Result<(Claim, Turn), Refusal> {
        let Quota { per_second, at_once } = self.0.quota;
        let (per_second, at_once) = (or_own(per_second, own.per_second), or_own(at_once, own.at_once));
        let refusal = || Refusal::new(Reason::QuotaExceeded).detail("party", party);
        let mut state = self.state();
        let State { free, accounts, turns } = &mut *state;
        if !accounts.contains_key(party) {
            accounts.insert(party.clone(), Account::default());
        }
        let account = accounts.get_mut(party).expect("it was just put there");
        if account.under_way >= at_once.most {
            return Err(too_many(refusal(), at_once.most).detail("set_by", at_once.set_by));
        }
        let taken = account.rate.take(per_second.most, Instant::now());
        taken.map_err(|wait| too_fast(refusal(), per_second.most, wait).detail("set_by", per_second.set_by))?;
        account.under_way += 1;
        let claim = Claim { shares: self.clone(), party: party.clone() };
        if *free > 0 {
            *free -= 1;
            return Ok((claim, Turn::Now(Place(Some(self.clone())))));
        }
        let (grant, granted) = oneshot::channel();
        if account.waiting.is_empty() {
            turns.push_back(party.clone());
        }
        account.waiting.push_back(grant);
        Ok((claim, Turn::Later(granted)))
    }

    /// Gives a place back: to whoever's turn it is, or to nobody.
    fn hand_on(&self) {
        loop {
            let grant = {
                let mut state = self.state();
                let Some(party) = state.turns.pop_front() else {
                    state.free += 1;
                    return;
                };
                let account = state.accounts.get_mut(&party).expect("whoever has a turn has an account");
                let grant = account.waiting.pop_front().expect("whoever has a turn has something waiting");
                if !account.waiting.is_empty() {
                    state.turns.push_back(party);
                }
                grant
            };
            match grant.send(Place(Some(self.clone()))) {
                Ok(()) => return,
                // Its call was given up. Taken apart, so that the place goes on from here and not from its drop.
                Err(mut place) => drop(place.0.take()),
            }
        }
    }

    // Nothing panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A limit, and where it can be changed.
#[derive(Clone, Copy, Debug)]
struct Limit<T> {
    most: T,
    set_by: &'static str,
}

/// What everybody may, unless the registry says something else.
fn or_own<T: TryFrom<u32>>(everybody: T, own: Option<u32>) -> Limit<T> {
    match own.and_then(|own| T::try_from(own).ok()) {
        Some(most) => Limit { most, set_by: "registry" },
        None => Limit { most: everybody, set_by: "gateway" },
    }
}

enum Turn {
    Now(Place),
    Later(oneshot::Receiver<Place>),
}

#[derive(Debug)]
struct Place(Option<Shares>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(shares) = self.0.take() {
            shares.hand_on();
        }
    }
}

/// Counts as under way for its party.
#[derive(Debug)]
struct Claim {
    shares: Shares,
    party: PartyId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(account) = self.shares.state().accounts.get_mut(&self.party) {
            account.under_way -= 1;
        }
    }
}

/// How fast each of many may begin things.
#[derive(Debug)]
pub struct Rates<K> {
    per_second: u32,
    buckets: Mutex<HashMap<K, Bucket>>,
}

impl<K: Eq + Hash + Clone> Rates<K> {
    /// The same rate for every one; two seconds' worth may begin at once.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, buckets: Mutex::default() }
    }

    /// Takes one from `who`'s rate, which is `own` where there is one. `who` must come from a certificate or the registry: every
    /// one is remembered.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`, with how long to wait.
    pub fn take(&self, who: &K, own: Option<u32>) -> Result<(), Refusal> {
        let limit = or_own(self.per_second, own);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(who) {
            buckets.insert(who.clone(), Bucket::default());
        }
        let bucket = buckets.get_mut(who).expect("it was just put there");
        let taken = bucket.take(limit.most, Instant::now());
        let refusal = || Refusal::new(Reason::QuotaExceeded).detail("set_by", limit.set_by);
        taken.map_err(|wait| too_fast(refusal(), limit.most, wait))
    }
}

fn too_many(refusal: Refusal, at_once: usize) -> Refusal {
    refusal.detail("at_once", at_once).detail(lgsp_proto::RETRY_AFTER_MS, TRY_AGAIN.as_millis())
}

fn too_fast(refusal: Refusal, per_second: u32, wait: Duration) -> Refusal {
    // Rounded up: who comes back after exactly this time gets in.
    let wait_ms = wait.as_micros().div_ceil(1000).max(1);
    refusal.detail("per_second", per_second).detail(lgsp_proto::RETRY_AFTER_MS, wait_ms)
}

/// A rate over time, as one moment: when everything begun so far would have ended, had it come evenly spread.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket(Option<Instant>);

impl Bucket {
    /// Takes one of `per_second`, or says how long until there is one.
    fn take(&mut self, per_second: u32, now: Instant) -> Result<(), Duration> {
        let each = Duration::from_secs(1) / per_second.max(1);
        let until = self.0.map_or(now, |until| until.max(now));
        // At a rate below one in the burst's time, one may still come.
        let ahead = (until - now).saturating_sub(BURST.saturating_sub(each));
        if !ahead.is_zero() {
            return Err(ahead);
        }
        self.0 = Some(until + each);
        Ok(())
    }
}

/// Counts what each of many has open, up to a limit.
#[derive(Debug)]
pub struct Tally<K: Eq + Hash> {
    most: usize,
    open: Arc<Mutex<HashMap<K, usize>>>,
}

/// One that is open. Dropped, it is not.
#[must_use]
#[derive(Debug)]
pub struct Counted<K: Eq + Hash> {
    who: K,
    open: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Eq + Hash + Clone> Tally<K> {
    /// At most `most` for each.
    pub fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// Counts one more for `who`.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`, with the limit: it has as many open as it may.
    pub fn count(&self, who: &K) -> Result<Counted<K>, Refusal> {
        self.count_up_to(who, None)
    }

    /// As [`Tally::count`], up to `own` where there is one.
    ///
    /// # Errors
    /// As [`Tally::count`].
    pub fn count_up_to(&self, who: &K, own: Option<u32>) -> Result<Counted<K>, Refusal> {
        let limit = or_own(self.most, own);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(who).copied().unwrap_or_default();
        if count >= limit.most {
            let refusal = Refusal::new(Reason::QuotaExceeded).detail("set_by", limit.set_by);
            return Err(too_many(refusal, limit.most));
        }
        open.insert(who.clone(), count + 1);
        Ok(Counted { who: who.clone(), open: Arc::clone(&self.open) })
    }
}

impl<K: Eq + Hash> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.who) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = open.remove(&self.who),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const PLENTY: Quota = Quota { per_second: 1_000_000, at_once: 1_000 };

    /// What the registry mostly says about a party.
    const NONE: registry::Quota = registry::Quota { per_second: None, at_once: None };

    fn party(text: &str) -> PartyId {
        text.parse().unwrap()
    }

    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn parties_take_turns_however_much_one_of_them_has_waiting() {
        let (flood, others) = (party("H57.1"), [party("H57.2"), party("H57.3")]);
        let shares = Shares::new(1, PLENTY);
        let held = shares.enter(&flood, NONE).await.unwrap();
        let (tell, mut order) = tokio::sync::mpsc::unbounded_channel();
        let wait = |party: &PartyId| {
            let (shares, party, tell) = (shares.clone(), party.clone(), tell.clone());
            // Claimed here, so that the order of arrival is this one.
            let (claim, turn) = shares.claim(&party, NONE).unwrap();
            tokio::spawn(async move {
                let Turn::Later(granted) = turn else { panic!("the only place is taken") };
                let place = granted.await.unwrap();
                tell.send(party).unwrap();
                drop((place, claim));
            })
        };
        for _ in 0..100 {
            drop(wait(&flood));
        }
        for other in &others {
            drop(wait(other));
            drop(wait(other));
        }
        drop(held);
        let mut turns = Vec::new();
        for _ in 0..6 {
            turns.push(order.recv().await.unwrap());
        }
        assert_eq!(turns, [&flood, &others[0], &others[1], &flood, &others[0], &others[1]].map(Clone::clone));
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_while_it_waits_costs_nobody_a_place() {
        let (one, other) = (party("H57.1"), party("H57.2"));
        let shares = Shares::new(1, Quota { at_once: 2, ..PLENTY });
        let held = shares.enter(&one, NONE).await.unwrap();
        assert!(now(shares.enter(&other, NONE)).is_none());
        assert!(now(shares.enter(&one, NONE)).is_none());
        drop(held);
        // Nobody waits any more: the place is free, and nothing is counted.
        for party in [&one, &other] {
            let first = now(shares.enter(party, NONE)).expect("a free place").unwrap();
            assert!(now(shares.enter(party, NONE)).is_none());
            drop(first);
        }
        let state = shares.state();
        assert_eq!(state.free, 1);
        assert!(state.accounts.values().all(|account| account.under_way == 0 && account.waiting.is_empty()));
    }

    #[tokio::test]
    async fn too_much_under_way_is_refused_at_once_and_only_to_whom_it_is() {
        let (one, other) = (party("H57.1"), party("H57.2"));
        let shares = Shares::new(10, Quota { at_once: 2, ..PLENTY });
        let held = [shares.enter(&one, NONE).await.unwrap(), shares.enter(&one, NONE).await.unwrap()];
        let refused = shares.enter(&one, NONE).await.unwrap_err();
        assert_eq!((refused.reason(), &*refused.details()["at_once"]), (Reason::QuotaExceeded, "2"));
        let _other = shares.enter(&other, NONE).await.unwrap();
        drop(held);
        let _again = shares.enter(&one, NONE).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_lets_two_seconds_worth_in_at_once_and_then_one_at_a_time() {
        let one = party("H57.1");
        let shares = Shares::new(10, Quota { per_second: 10, at_once: 10 });
        for _ in 0..20 {
            drop(shares.enter(&one, NONE).await.unwrap());
        }
        let refused = shares.enter(&one, NONE).await.unwrap_err();
        assert_eq!(refused.details()[lgsp_proto::RETRY_AFTER_MS], "100");
        drop(shares.enter(&party("H57.2"), NONE).await.unwrap());
        tokio::time::advance(Duration::from_millis(100)).await;
        drop(shares.enter(&one, NONE).await.unwrap());
        assert!(shares.enter(&one, NONE).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_registry_says_goes_before_what_everybody_may_from_the_next_call_on() {
        let one = party("H57.1");
        let shares = Shares::new(100, Quota { per_second: 10, at_once: 2 });
        let told = |refused: &Refusal, key: &str| refused.details().get(key).cloned().unwrap_or_default();
        let held = [shares.enter(&one, NONE).await.unwrap(), shares.enter(&one, NONE).await.unwrap()];
        let refused = shares.enter(&one, NONE).await.unwrap_err();
        assert_eq!((told(&refused, "at_once"), told(&refused, "set_by")), ("2".into(), "gateway".into()));
        assert_eq!(refused.retry_after(), Some(TRY_AGAIN));
        let more = registry::Quota { at_once: Some(3), per_second: None };
        let third = shares.enter(&one, more).await.unwrap();
        let refused = shares.enter(&one, more).await.unwrap_err();
        assert_eq!((told(&refused, "at_once"), told(&refused, "set_by")), ("3".into(), "registry".into()));
        drop((held, third));
        let slow = registry::Quota { at_once: Some(100), per_second: Some(1) };
        let refused = shares.enter(&one, slow).await.unwrap();
        drop(refused);
        let refused = shares.enter(&one, slow).await.unwrap_err();
        assert_eq!((told(&refused, "per_second"), told(&refused, "set_by")), ("1".into(), "registry".into()));
        assert_eq!(told(&refused, "party"), "H57.1");
    }

    #[test]
    fn a_tally_counts_up_to_its_limit_and_forgets_who_has_nothing() {
        let tally = Tally::new(2);
        let held = [tally.count(&"a").unwrap(), tally.count(&"a").unwrap()];
        assert_eq!(tally.count(&"a").unwrap_err().reason(), Reason::QuotaExceeded);
        let _other = tally.count(&"b").unwrap();
        drop(held);
        assert!(!tally.open.lock().unwrap().contains_key("a"));
    }
}
