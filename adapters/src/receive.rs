//! Takes over what the gateway delivers: durable here first, acknowledged then; and tells the gateway what was handed over.
//!
//! One stream serves all parties that the gateway lets us act for. What is to be acknowledged is kept until the stream takes it, and read from the spool's
//! state rather than remembered, so that a new stream goes on where the old one broke off.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use lgsp_journal::Position;
use lgsp_proto::types::PartyId;
use lgsp_proto::v1::inbox_request::Request as Up;
use lgsp_proto::v1::inbox_response::Response as Down;
use lgsp_proto::v1::{
    Acknowledge, AcknowledgeStage, BacklogRequest, Decline, DeclineKind, DeliveryRef, InboxRequest, InboxResponse,
    OpenInbox,
};
use lgsp_proto::{Reason, Refusal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::acting::Acting;
use crate::backoff::Backoff;
use crate::link::{Link, TurnedAway};
use crate::spool::{DeliveryId, Returned, Spool, Stage, StreamEnd, TakeOverError};

/// The most names in one acknowledgement that the gateway takes.
const MAX_NAMES: usize = 1024;

/// The account in whose name the adapter itself asks.
const ACTOR: &str = "adapter";

/// What may be on its way into the spool: twice what a gateway that counts can send, with one acknowledgement's names beside
/// it. One that does not count is read no further meanwhile.
fn most_under_way(credit: u32) -> usize {
    2 * credit as usize + MAX_NAMES
}

/// Receives for some parties.
pub(crate) struct Receive {
    pub(crate) spool: Arc<Spool>,
    pub(crate) link: Link,
    pub(crate) acting: Arc<Acting>,
    /// Which of the system's installations this is.
    pub(crate) instance: String,
    /// Deliveries that may be under way at one time.
    pub(crate) credit: u32,
    pub(crate) backoff: Backoff,
}

/// What became of a delivery that came.
enum Taken {
    Here(DeliveryRef, AcknowledgeStage),
    Declined(Declined),
    /// There is nothing to tell the gateway.
    Nothing,
}

/// What is not taken, or goes back.
struct Declined {
    name: DeliveryRef,
    reason: Arc<str>,
    kind: DeclineKind,
}

impl Receive {
    /// Receives until `stop`, over as many streams as it takes.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.stream(&mut failures), if !self.acting.served().is_empty() => Some(ended),
                () = self.somebody_is_let_in() => None,
            };
            let refusal = ended.as_ref().and_then(|ended| Refusal::from_status(ended.as_ref().err()?));
            let newly_shut_out = refusal.as_ref().and_then(|refusal| self.acting.refused_by(refusal));
            if let Some(party) = &newly_shut_out {
                tracing::warn!(party.id = %party, "the gateway does not let this system act for a party; the others go on");
            }
            let goes_on = ended.is_none() || newly_shut_out.is_some() && !self.acting.served().is_empty();
            let about_the_next = if goes_on { None } else { refusal.map(|refusal| refusal.reason()) };
            self.spool.stream_ended(stream_end(about_the_next));
            let Some(ended) = ended.filter(|_| !goes_on) else { continue };
            failures += 1;
            let status = ended.err();
            // A gateway that restarts closes its streams; that is worth a line only if it goes on.
            // The message only: a status printed whole brings its details along, byte by byte.
            let why = status.as_ref().map_or("it was ended", |status| status.message());
            if failures.is_power_of_two() && failures > 2 {
                tracing::warn!(failures, why, "no inbox stream");
            } else {
                tracing::debug!(failures, why, "inbox stream ended");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.backoff.delay(failures)) => {}
            }
        }
    }

    /// Until a party that was refused is let in again: then a stream that serves it as well is worth opening.
    async fn somebody_is_let_in(&self) {
        let shut_out = self.acting.shut_out();
        if shut_out.is_empty() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(self.backoff.delay(u32::MAX)).await;
            // All are asked, so that one new stream is enough when a registry lets many of them in.
            for party in &shut_out {
                if self.is_let_in(party).await {
                    tracing::info!(party.id = %party, "the gateway lets this system act for the party again");
                    self.acting.let_in(party);
                }
            }
            if self.acting.shut_out() != shut_out {
                return;
            }
        }
    }

    /// Whether the gateway lets us act for a party. Asked by what costs it least, and changes nothing.
    async fn is_let_in(&self, party: &PartyId) -> bool {
        let request = BacklogRequest { parties: vec![party.to_string()], actor: ACTOR.to_owned() };
        self.link.inbox().backlog(self.link.request(request, None)).await.is_ok()
    }

    /// One stream, from opening it to its end.
    async fn stream(&self, failures: &mut u32) -> Result<(), Status> {
        let served = self.acting.served();
        let (sender, requests) = mpsc::channel(8);
        let parties = served.iter().map(|party| party.as_str().to_owned()).collect();
        let spool = self.spool.id().0.to_vec().into();
        let open = OpenInbox { parties, credit: self.credit, spool, instance: self.instance.clone() };
        // There is room: nothing was sent before.
        let _ = sender.send(InboxRequest { request: Some(Up::Open(open)) }).await;
        let mut belief = self.link.belief();
        let request = self.link.stream_request(ReceiverStream::new(requests), None);
        let mut deliveries = self.link.inbox().open(request).await?.into_inner();

        let mut changes = self.spool.changes();
        let mut taking = JoinSet::new();
        let mut outbox =
            Outbox { served: served.iter().map(|party| party.as_str().into()).collect(), ..Outbox::default() };
        // Before that, what is to be said may be about deliveries of an epoch that is over.
        let mut epoch_is_known = false;
        loop {
            changes.mark_unchanged();
            if epoch_is_known {
                outbox.take_handed_over(&self.spool);
                outbox.take_returned(&self.spool);
            }
            tokio::select! {
                message = deliveries.message(), if taking.len() < most_under_way(self.credit) => match message? {
                    Some(InboxResponse { response: Some(Down::Delivery(delivery)) }) => {
                        // Given its place here, so that order is kept even if a gateway does not wait for acknowledgements.
                        let name = delivery.r#ref.clone().unwrap_or_default();
                        let begun = self.spool.take_over(&delivery).await;
                        taking.spawn(async move {
                            match begun {
                                Ok(taking) => taken(name, taking.await),
                                Err(error) => taken(name, Err(error)),
                            }
                        });
                    }
                    Some(InboxResponse { response: Some(Down::Acknowledged(acknowledged)) }) => {
                        if acknowledged.stage() == AcknowledgeStage::HandedOver {
                            // Noted without anybody waiting; what is not noted is told again after the next start.
                            for id in acknowledged.deliveries.iter().map(DeliveryId::from) {
                                let spool = self.spool.clone();
                                taking.spawn(async move {
                                    let _ = spool.confirmed(&id).await;
                                    Taken::Nothing
                                });
                            }
                        }
                    }
                    Some(InboxResponse { response: Some(Down::Opened(opened)) }) => {
                        *failures = 0;
                        // Durable before anything of this stream is taken over.
                        if self.spool.epoch_seen(opened.epoch).await.is_err() {
                            return Ok(());
                        }
                        epoch_is_known = self.spool.is_epoch_certain();
                    }
                    Some(InboxResponse { response: Some(Down::Declined(declined)) }) => {
                        for id in declined.deliveries.iter().map(DeliveryId::from) {
                            let spool = self.spool.clone();
                            taking.spawn(async move {
                                let _ = spool.given_back(&id).await;
                                Taken::Nothing
                            });
                        }
                    }
                    Some(InboxResponse { response: None }) => {}
                    None => return Ok(()),
                },
                Some(taken) = taking.join_next() => match taken {
                    Ok(Taken::Here(name, stage)) => {
                        // It may have gone back meanwhile, and then it must not be acknowledged any more.
                        if self.spool.stage(&DeliveryId::from(&name)).is_some() {
                            outbox.push(name, stage);
                        }
                    }
                    Ok(Taken::Declined(declined)) => outbox.declined.push_back(declined),
                    Ok(Taken::Nothing) | Err(_) => {}
                },
                room = sender.reserve(), if !outbox.is_empty() => match room {
                    // Everything that has gathered goes as one message.
                    Ok(room) => if let Some(request) = outbox.next() {
                        room.send(InboxRequest { request: Some(request) });
                    },
                    // The gateway does not read any more; the stream's own end will say why.
                    Err(_) => return ended(&mut deliveries).await,
                },
                Ok(()) = changes.changed() => {}
                () = belief.changed() => {
                    tracing::info!("other roots or revocation lists are in force; the gateway has to prove itself by them");
                    return Ok(());
                }
            }
        }
    }
}

/// What the refusal of a stream says about the next one; none, if nobody refused it, or another one is worth opening at once.
///
/// The next stream may be to a gateway that was restored; if it does not let us in at all, we shall never know. A refused
/// certificate keeps out calls as well as streams: they wait until it is mended, and then a stream can tell.
fn stream_end(refused: Option<Reason>) -> StreamEnd {
    match refused {
        Some(reason) if TurnedAway::of_reason(reason).is_some() => StreamEnd::TurnedAway,
        Some(reason) if !reason.is_transient() => StreamEnd::LetInForNobody,
        _ => StreamEnd::MayComeBack,
    }
}

/// Reads a stream that takes no more to its end.
async fn ended(deliveries: &mut Streaming<InboxResponse>) -> Result<(), Status> {
    while deliveries.message().await?.is_some() {}
    Ok(())
}

/// What the gateway is to be told about a delivery.
fn taken(name: DeliveryRef, stage: Result<Stage, TakeOverError>) -> Taken {
    match stage {
        Ok(Stage::TakenOver(_) | Stage::Reserved) => Taken::Here(name, AcknowledgeStage::TakenOver),
        // It came again after it was handed over: the gateway missed the news.
        Ok(Stage::HandedOver { .. }) => Taken::Here(name, AcknowledgeStage::HandedOver),
        Err(TakeOverError::Full) => declined(name, "SPOOL_FULL", DeclineKind::Busy),
        Err(TakeOverError::Disk(_)) => declined(name, "SPOOL_DISK_FULL", DeclineKind::Busy),
        Err(TakeOverError::TooLarge) => {
            tracing::error!(dossier.code = name.dossier_code, name.sequence, "a delivery does not fit into the spool");
            declined(name, "TOO_LARGE", DeclineKind::Permanent)
        }
        // The gateway missed that this one goes back, or sent the next one before it knew.
        Err(TakeOverError::Returning(returned)) if DeliveryId::from(&name) == returned.id => {
            Taken::Declined(Declined { name, reason: returned.reason.clone(), kind: kind_of(&returned) })
        }
        Err(TakeOverError::Returning(_)) => declined(name, "EARLIER_ONE_RETURNED", DeclineKind::Busy),
        Err(TakeOverError::Nameless | TakeOverError::Broken(_)) => Taken::Nothing,
    }
}

fn declined(name: DeliveryRef, reason: &str, kind: DeclineKind) -> Taken {
    Taken::Declined(Declined { name, reason: reason.into(), kind })
}

fn kind_of(returned: &Returned) -> DeclineKind {
    if returned.permanent { DeclineKind::Permanent } else { DeclineKind::Transient }
}

/// What the gateway is to be told.
#[derive(Default)]
struct Outbox {
    /// Only of these is it told what goes back: what is another party's it passes over and answers all the same. A hand-over of
    /// another's it leaves out of its answer, so that is told again on the next stream.
    served: HashSet<Box<str>>,
    taken_over: VecDeque<DeliveryRef>,
    handed_over: VecDeque<DeliveryRef>,
    declined: VecDeque<Declined>,
    /// Up to which hand-over this stream has been told.
    told: Position,
    /// Up to which return it has been told.
    told_returned: Position,
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.taken_over.is_empty() && self.handed_over.is_empty() && self.declined.is_empty()
    }

    fn push(&mut self, name: DeliveryRef, stage: AcknowledgeStage) {
        match stage {
            AcknowledgeStage::HandedOver => self.handed_over.push_back(name),
            AcknowledgeStage::TakenOver | AcknowledgeStage::Unspecified => self.taken_over.push_back(name),
        }
    }

    /// Takes what was handed over since the last time, unless there is enough to say already.
    fn take_handed_over(&mut self, spool: &Spool) {
        if self.handed_over.len() >= MAX_NAMES {
            return;
        }
        for (position, id) in spool.unconfirmed(self.told, MAX_NAMES) {
            self.told = position;
            self.handed_over.push_back(DeliveryRef::from(&id));
        }
    }

    /// Takes what goes back since the last time.
    fn take_returned(&mut self, spool: &Spool) {
        for returned in spool.returned(self.told_returned) {
            self.told_returned = returned.position;
            if !self.served.contains(&*returned.id.party) {
                continue;
            }
            let (name, kind) = (DeliveryRef::from(&returned.id), kind_of(&returned));
            self.declined.push_back(Declined { name, reason: returned.reason, kind });
        }
    }

    /// The next message. What was taken over goes first: a dossier's next delivery waits for it.
    fn next(&mut self) -> Option<Up> {
        let drain = |names: &mut VecDeque<DeliveryRef>| names.drain(..names.len().min(MAX_NAMES)).collect::<Vec<_>>();
        if !self.taken_over.is_empty() {
            let stage = AcknowledgeStage::TakenOver as i32;
            return Some(Up::Acknowledge(Acknowledge { stage, deliveries: drain(&mut self.taken_over) }));
        }
        if !self.handed_over.is_empty() {
            let stage = AcknowledgeStage::HandedOver as i32;
            return Some(Up::Acknowledge(Acknowledge { stage, deliveries: drain(&mut self.handed_over) }));
        }
        let Declined { name, reason, kind } = self.declined.pop_front()?;
        Some(Up::Decline(Decline { deliveries: vec![name], reason: reason.to_string(), kind: kind.into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_refused_is_no_word_about_parties_and_what_passes_is_neither() {
        for reason in Reason::ALL.iter().copied() {
            let expected = match reason {
                Reason::SystemUnknown
                | Reason::CertificateRevoked
                | Reason::CertificateNotVouched
                | Reason::CertificateWithoutIdentity => StreamEnd::TurnedAway,
                reason if reason.is_transient() => StreamEnd::MayComeBack,
                _ => StreamEnd::LetInForNobody,
            };
            assert_eq!(stream_end(Some(reason)), expected, "{reason}");
        }
        assert_eq!(stream_end(None), StreamEnd::MayComeBack);
    }
}
