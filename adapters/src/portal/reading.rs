//! A dossier read from the gateway, with every event up to the one that is to be told, page by page.
//!
//! Keeps that nobody tells a dossier of which an event is missing: a [`Whole`] has them all, from the first one on, without a gap.

use std::future::Future;

use lgsp_proto::v1::{Dossier, GetResponse, RecordedEvent};

use super::NotTold;
use super::trouble::Trouble;

/// The most bytes of bodies that are held of one dossier; `portal.at_once` of them are read side by side, and one more by a comparison.
const MAX_BODY_BYTES: usize = 64 << 20;

/// A dossier with all its events up to one of them.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) dossier: Dossier,
    pub(super) events: Vec<RecordedEvent>,
}

impl Whole {
    /// Reads page after page until the event with this number is there; until the last one where none is named. `ask` gives the page
    /// behind an event.
    ///
    /// # Errors
    /// Those of `ask`; `EventsMissing` when the gateway has fewer events, which it has when it was restored to before it delivered
    /// them; `DossierTooLarge`.
    pub(super) async fn read<A: Future<Output = Result<GetResponse, NotTold>>>(
        until: Option<u32>,
        ask: impl Fn(u32) -> A,
    ) -> Result<Self, NotTold> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        let mut wanted = until;
        loop {
            let last = u32::try_from(events.len()).map_err(|_| Trouble::DossierTooLarge)?;
            let page = ask(last).await?;
            let dossier = page.dossier.ok_or(Trouble::EventsMissing)?;
            // What comes in while it is read is told by its own delivery.
            let until = *wanted.get_or_insert(dossier.sequence);
            let before = events.len();
            for recorded in page.events {
                let sequence = recorded.event.as_ref().map_or(0, |event| event.sequence);
                if sequence > until {
                    break;
                }
                if usize::try_from(sequence).ok() != Some(events.len() + 1) {
                    return Err(Trouble::EventsMissing.into());
                }
                bytes += recorded.body.len();
                if bytes > MAX_BODY_BYTES {
                    return Err(Trouble::DossierTooLarge.into());
                }
                events.push(recorded);
            }
            if usize::try_from(until).ok() == Some(events.len()) {
                return Ok(Self { dossier, events });
            }
            if events.len() == before {
                return Err(Trouble::EventsMissing.into());
            }
        }
    }

    /// The number of the last event.
    pub(super) fn sequence(&self) -> u32 {
        // It was counted up to from a number of this kind.
        u32::try_from(self.events.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use lgsp_proto::v1::Event;

    use super::*;

    /// A gateway with so many events of a dossier, so many on a page, each body so long. It notes what it was asked.
    struct Gateway {
        has: u32,
        on_a_page: u32,
        body: usize,
        asked: RefCell<Vec<u32>>,
    }

    impl Gateway {
        fn with(has: u32, on_a_page: u32, body: usize) -> Self {
            Self { has, on_a_page, body, asked: RefCell::default() }
        }

        async fn read(&self, until: Option<u32>) -> Result<u32, NotTold> {
            let page = |after: u32| {
                self.asked.borrow_mut().push(after);
                let event = |sequence| RecordedEvent {
                    event: Some(Event { sequence, ..Event::default() }),
                    body: vec![b'x'; self.body].into(),
                    ..RecordedEvent::default()
                };
                let events = (after + 1..=self.has).take(self.on_a_page as usize).map(event).collect();
                let dossier = Dossier { sequence: self.has, ..Dossier::default() };
                std::future::ready(Ok(GetResponse { dossier: Some(dossier), events }))
            };
            let whole = Whole::read(until, page).await?;
            assert!(whole.events.iter().zip(1..).all(|(recorded, n)| recorded.event.as_ref().unwrap().sequence == n));
            Ok(whole.sequence())
        }
    }

    #[tokio::test]
    async fn a_long_dossier_is_read_page_by_page_up_to_the_event_that_is_told_and_no_further() {
        let gateway = Gateway::with(1203, 500, 0);
        assert_eq!(gateway.read(Some(501)).await, Ok(501));
        assert_eq!(gateway.asked.take(), [0, 500]);
        assert_eq!(gateway.read(Some(500)).await, Ok(500));
        assert_eq!(gateway.asked.take(), [0]);
        assert_eq!(gateway.read(None).await, Ok(1203));
        assert_eq!(gateway.asked.take(), [0, 500, 1000]);
    }

    #[tokio::test]
    async fn a_dossier_of_which_events_are_missing_is_not_told() {
        // Restored to before it delivered the fifth.
        let missing = Err(NotTold::Trouble(Trouble::EventsMissing));
        assert_eq!(Gateway::with(3, 500, 0).read(Some(5)).await, missing);
        let gap = |_| {
            let events = [1, 3].map(|sequence| RecordedEvent {
                event: Some(Event { sequence, ..Event::default() }),
                ..RecordedEvent::default()
            });
            let dossier = Some(Dossier { sequence: 3, ..Dossier::default() });
            std::future::ready(Ok(GetResponse { dossier, events: events.into() }))
        };
        assert_eq!(Whole::read(Some(3), gap).await.map(|whole| whole.sequence()), missing);
    }

    #[tokio::test]
    async fn a_dossier_that_memory_has_no_room_for_is_that_dossiers_trouble() {
        let whole = Gateway::with(64, 8, 1 << 20);
        assert_eq!(whole.read(None).await, Ok(64));
        let larger = Gateway::with(65, 8, 1 << 20);
        assert_eq!(larger.read(None).await, Err(NotTold::Trouble(Trouble::DossierTooLarge)));
    }
}
