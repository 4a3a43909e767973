//! How often somebody may be wrong: failed attempts by address, forgotten by and by, in bounded memory.
//!
//! Nobody is told by this whether a client exists: of who has failed too often no name and secret are looked at. An access token that is
//! good is let in all the same, and one whose time is over is no failure: its MAC shows that nobody guesses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One failure is forgotten in this time.
const FORGET_ONE: Duration = Duration::from_secs(6);

/// With so many that are not forgotten, one has to wait.
const MOST: u32 = 10;

/// Addresses remembered. Beyond it the one goes that is nearest to being forgotten.
const MAX_ADDRESSES: usize = 4096;

/// See the module. For each address, when all its failures will be forgotten.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<IpAddr, Instant>>);

impl Failures {
    /// For how long an address has to wait, if it has to.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let forgotten = *self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&network(address))?;
        let left = forgotten.saturating_duration_since(now);
        left.checked_sub(FORGET_ONE * (MOST - 1)).filter(|wait| !wait.is_zero())
    }

    /// An address was wrong.
    pub(super) fn note(&self, address: IpAddr, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(address);
        if all.len() >= MAX_ADDRESSES && !all.contains_key(&address) {
            all.retain(|_, forgotten| *forgotten > now);
            let nearest = all.iter().min_by_key(|(_, forgotten)| **forgotten).map(|(address, _)| *address);
            if let Some(nearest) = nearest.filter(|_| all.len() >= MAX_ADDRESSES) {
                all.remove(&nearest);
            }
        }
        let forgotten = all.entry(address).or_insert(now);
        *forgotten = (*forgotten).max(now) + FORGET_ONE;
    }
}

/// Whoever has an IPv6 address has the other 2^64 of its network as well.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(bits).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_wrong_too_often_waits_and_is_let_try_again() {
        let (failures, start) = (Failures::default(), Instant::now());
        let [one, other]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        for _ in 0..MOST {
            assert_eq!(failures.wait(one, start), None);
            failures.note(one, start);
        }
        assert_eq!(failures.wait(one, start), Some(FORGET_ONE));
        assert_eq!(failures.wait(other, start), None, "nobody waits for others");
        assert_eq!(failures.wait(one, start + FORGET_ONE), None, "one more");
        failures.note(one, start + FORGET_ONE);
        assert_eq!(failures.wait(one, start + FORGET_ONE), Some(FORGET_ONE));
        assert_eq!(failures.wait(one, start + FORGET_ONE * 100), None);
    }

    #[test]
    fn an_address_of_the_same_network_is_the_same() {
        let (failures, now) = (Failures::default(), Instant::now());
        for number in 0..MOST {
            failures.note(format!("2001:db8::{number}").parse().unwrap(), now);
        }
        assert!(failures.wait("2001:db8::ffff:1".parse().unwrap(), now).is_some());
        assert!(failures.wait("2001:db8:0:1::1".parse().unwrap(), now).is_none());
    }

    #[test]
    fn memory_is_bounded_and_who_fails_most_is_remembered() {
        let (failures, now) = (Failures::default(), Instant::now());
        let worst: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..MOST {
            failures.note(worst, now);
        }
        for number in 0..2 * MAX_ADDRESSES as u32 {
            failures.note(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into(), now);
        }
        assert_eq!(failures.0.lock().unwrap().len(), MAX_ADDRESSES);
        assert!(failures.wait(worst, now).is_some());
    }
}
