//! One after the other, dossier by dossier: whoever reads a dossier and tells it has it to himself from the one to the other.
//!
//! Without that, what was read first could be told last, and the older state would stand over the newer one. Only dossiers that somebody
//! has or waits for are in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// See the module.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Box<str>, Waiting>>);

#[derive(Default)]
struct Waiting {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Who has it or waits for it.
    callers: usize,
}

/// A dossier is the holder's until this is dropped.
pub(super) struct Turn<'a> {
    // In this order: who leaves gives the turn on before the place is given up.
    _held: OwnedMutexGuard<()>,
    _place: Place<'a>,
}

struct Place<'a> {
    turns: &'a Turns,
    code: &'a str,
}

impl Turns {
    /// Waits until nobody else has the dossier; first come, first served.
    pub(super) async fn of<'a>(&'a self, code: &'a str) -> Turn<'a> {
        let turn = {
            let mut waiting = self.waiting();
            let waiting = waiting.entry(code.into()).or_default();
            waiting.callers += 1;
            waiting.turn.clone()
        };
        // From here on somebody counts it back, also if the caller goes away while waiting.
        let place = Place { turns: self, code };
        Turn { _held: turn.lock_owned().await, _place: place }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Box<str>, Waiting>> {
        // No holder panics between two statements that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.turns.waiting();
        if let Some(of_code) = waiting.get_mut(self.code) {
            of_code.callers -= 1;
            if of_code.callers == 0 {
                waiting.remove(self.code);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn at_once<F: Future>(waits: Pin<&mut F>) -> Option<F::Output> {
        match waits.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_dossier_is_one_callers_at_a_time_in_the_order_of_asking_and_nothing_is_left_behind() {
        let turns = Turns::default();
        let first = at_once(pin!(turns.of("A"))).unwrap();
        let (mut second, mut third) = (pin!(turns.of("A")), pin!(turns.of("A")));
        assert!(at_once(second.as_mut()).is_none() && at_once(third.as_mut()).is_none());
        let another = at_once(pin!(turns.of("B")));
        assert!(another.is_some(), "another dossier does not wait");
        {
            // Somebody who waits goes away.
            assert!(at_once(pin!(turns.of("A"))).is_none());
        }
        drop(first);
        assert!(at_once(third.as_mut()).is_none());
        drop(at_once(second.as_mut()).unwrap());
        drop((at_once(third.as_mut()).unwrap(), another));
        assert_eq!(turns.waiting().len(), 0);
    }
}
