//! A machine of an agency: its spool, its line to the gateway, its streams.
//!
//! Calls and streams are tasks of their own, as on a network; what chance does to them was drawn when they began, so that
//! the order in which they run draws nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lgsp_domain::numbering::{Block, SpoolId};
use lgsp_gateway::engine::access::Peer;
use lgsp_gateway::engine::inbox::{Declined, DeliveryName, Opening, Session};
use lgsp_gateway::engine::numbers::{LeaseRequest, Wanted};
use lgsp_gateway::engine::parked::Decision;
use lgsp_gateway::store::{Answer, Installation, Stage};
use lgsp_journal::testing::Disk;
use lgsp_proto::Reason;
use lgsp_proto::types::{Date, DossierCode, PartyId};
use lgsp_proto::v1::{self, DeclineKind};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::house::HOUSE;
use crate::node::{Door, Running};
use crate::request::{Matter, Request};
use crate::spool::{Leased, Name, Print, Receipt, Spool};
use crate::watch::{Watch, is_last_word};

/// In whose name an operator acts.
pub(crate) const OPERATOR: &str = "H99.VH";

pub(crate) type Shared<T> = Arc<Mutex<T>>;

pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What chance does to one call: how long it takes there and back; `None` is never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) there: Option<Duration>,
    pub(crate) back: Option<Duration>,
}

/// What has come over the line and waits for the machine to look at it.
pub(crate) enum Arrived {
    /// The gateway has admitted a request.
    Admitted(u64, Receipt),
    /// It has refused one for good, by what was known then of its epoch.
    Refused(u64, Reason, u32),
    Leased(Vec<Leased>),
    /// In which epoch the gateway of a stream is.
    Epoch(u64, u32),
    Delivery(u64, Name, Print),
    Settled(Name),
    Returned(Name),
}

/// What is the same for a machine and its calls and streams, while it runs.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) door: Door,
    pub(crate) watch: Shared<Watch>,
    peer: Peer,
    parties: Vec<String>,
    /// Until when nothing comes through.
    cut_until: Shared<Option<Instant>>,
    pub(crate) arrived: Shared<VecDeque<Arrived>>,
}

impl Line {
    /// The gateway, unless the line is cut or the books were restored since.
    fn reach(&self, restored: u64) -> Option<Running> {
        self.door.knock().filter(|_| !self.is_cut() && self.door.restored() == restored)
    }

    pub(crate) fn is_cut(&self) -> bool {
        lock(&self.cut_until).is_some_and(|until| Instant::now() < until)
    }
}

pub(crate) struct Machine {
    pub(crate) name: &'static str,
    pub(crate) system: &'static str,
    pub(crate) parties: Vec<String>,
    pub(crate) spool: Spool,
    pub(crate) line: Line,
    pub(crate) streams: Vec<Stream>,
    /// How many spools it has had.
    spools: u8,
    /// When each pending request was last sent.
    sent: BTreeMap<u64, Instant>,
}

/// The machine's end of a stream.
pub(crate) struct Stream {
    pub(crate) number: u64,
    /// Whether the gateway has told its epoch.
    pub(crate) has_told: bool,
    commands: mpsc::UnboundedSender<Command>,
    ended: CancellationToken,
}

enum Command {
    Acknowledge(Stage, Name),
    /// With how it is meant, and whether it had been taken over.
    Decline(Name, DeclineKind, bool),
}

impl Machine {
    pub(crate) fn new(
        name: &'static str,
        system: &'static str,
        parties: &[&str],
        door: Door,
        watch: Shared<Watch>,
    ) -> Self {
        let parties: Vec<String> = parties.iter().map(|party| (*party).to_owned()).collect();
        let line = Line {
            door,
            watch,
            peer: HOUSE.peer(system),
            parties: parties.clone(),
            cut_until: Arc::default(),
            arrived: Arc::default(),
        };
        let spool = Spool::open(Disk::new());
        Self { name, system, parties, spool, line, streams: Vec::new(), spools: 1, sent: BTreeMap::new() }
    }

    /// Names its spool.
    pub(crate) fn spool_id(&self) -> SpoolId {
        let mut id = [self.spools; 16];
        id[..self.name.len()].copy_from_slice(self.name.as_bytes());
        SpoolId::new(id)
    }

    /// Starts again on what a crash has left of the spool; everything in memory and under way is gone.
    pub(crate) fn restart(&mut self, disk: Disk) {
        self.start_on(disk, self.spools);
    }

    /// Starts again with nothing: its disk is lost.
    pub(crate) fn replace_spool(&mut self) {
        self.start_on(Disk::new(), self.spools + 1);
    }

    fn start_on(&mut self, disk: Disk, spools: u8) {
        let Line { door, watch, cut_until, .. } = &self.line;
        let cut_until = Arc::clone(cut_until);
        let parties: Vec<&str> = self.parties.iter().map(String::as_str).collect();
        let mut again = Self::new(self.name, self.system, &parties, door.clone(), Arc::clone(watch));
        again.line.cut_until = cut_until;
        again.spool = Spool::open(disk);
        again.spools = spools;
        *self = again;
    }

    pub(crate) fn cut_line(&mut self, until: Option<Instant>) {
        *lock(&self.line.cut_until) = until;
    }

    /// Forgets what was under way to and from a gateway that is gone for longer than any connection lasts.
    pub(crate) fn lose_connections(&mut self) {
        lock(&self.line.arrived).clear();
        self.streams.clear();
        self.sent.clear();
    }

    /// Whether the epoch known is that of the gateway it is connected with.
    fn is_epoch_certain(&self) -> bool {
        self.streams.iter().any(|stream| stream.has_told && !stream.has_ended())
    }

    /// Whether a refusal ends a request, or may only come from a restore, after which others must come back first.
    pub(crate) fn is_final(&self, request: &Request, reason: Reason, epoch: u32) -> bool {
        let may_come_back = match &request.matter {
            Matter::Record { code, .. } => reason == Reason::DossierNotFound && epoch > 1 && self.spool.knows(code),
            Matter::Submit { .. } => false,
        };
        self.is_epoch_certain() && self.spool.epoch == epoch && !may_come_back
    }

    /// Requests worth sending now: never sent, or without an answer for a while.
    pub(crate) fn due(&self, patience: Duration) -> Vec<u64> {
        let now = Instant::now();
        let due = |number: &u64| self.sent.get(number).is_none_or(|sent| *sent + patience <= now);
        self.spool.sendable().into_iter().filter(due).collect()
    }

    /// Sends a pending request once for each of `ways`.
    pub(crate) fn send(&mut self, number: u64, ways: &[Way]) {
        let Some(request) = self.spool.pending.get(&number) else { return };
        self.sent.insert(number, Instant::now());
        let earlier = self.spool.receipt(number).cloned();
        for way in ways {
            let sent = Sent { number, request: request.clone(), earlier: earlier.clone(), epoch: self.spool.epoch };
            tokio::spawn(call(self.line.clone(), sent, *way));
        }
    }

    /// Asks for numbers.
    pub(crate) fn lease(&self, desk: &str, wanted: Wanted, way: Way) {
        let request = LeaseRequest { desk: desk.parse().unwrap(), spool: self.spool_id(), wanted: vec![wanted] };
        tokio::spawn(lease(self.line.clone(), request, way));
    }

    /// Opens a stream, if the gateway can be reached.
    pub(crate) fn open_stream(&mut self, number: u64) -> bool {
        let Some(running) = self.line.door.knock().filter(|_| !self.line.is_cut()) else { return false };
        let parties: Vec<PartyId> = self.parties.iter().map(|party| party.parse().unwrap()).collect();
        let (commands, received) = mpsc::unbounded_channel();
        let ended = CancellationToken::new();
        let opening = (parties, self.name, Bytes::copy_from_slice(self.spool_id().as_bytes()));
        tokio::spawn(stream(self.line.clone(), number, running, opening, received, ended.clone()));
        self.streams.push(Stream { number, has_told: false, commands, ended });
        true
    }

    pub(crate) fn acknowledge(&self, number: Option<u64>, stage: Stage, name: Name) -> bool {
        self.command(number, Command::Acknowledge(stage, name))
    }

    pub(crate) fn decline(&self, number: u64, name: Name, kind: DeclineKind) {
        self.command(Some(number), Command::Decline(name, kind, false));
    }

    /// Tells that something goes back that had been taken over.
    pub(crate) fn give_back(&self, name: Name, kind: DeclineKind) {
        self.command(None, Command::Decline(name, kind, true));
    }

    /// Says something on this stream, or on any whose epoch is known.
    fn command(&self, number: Option<u64>, command: Command) -> bool {
        let is_it =
            |stream: &&Stream| number.map_or(stream.has_told, |number| stream.number == number) && !stream.has_ended();
        self.streams.iter().find(is_it).is_some_and(|stream| stream.commands.send(command).is_ok())
    }
}

impl Stream {
    pub(crate) fn has_ended(&self) -> bool {
        self.commands.is_closed()
    }
}

/// A stream that is let go of ends, as the gateway sees it, at once.
impl Drop for Stream {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// A request as it was sent.
struct Sent {
    number: u64,
    request: Request,
    earlier: Option<Receipt>,
    /// The epoch that was known then.
    epoch: u32,
}

/// One try of one request.
async fn call(line: Line, sent: Sent, way: Way) {
    let Sent { number, request, earlier, epoch } = sent;
    let restored = line.door.restored();
    let Some(there) = way.there else { return };
    sleep(there).await;
    let Some(running) = line.reach(restored) else { return };
    let earlier = earlier.map(|receipt| v1::SignedReceipt::decode(&receipt.signed[..]).unwrap());
    let outcome = tokio::select! {
        biased;
        () = running.died.cancelled() => return,
        outcome = request.call(&running.engine, line.peer.clone(), earlier) => outcome,
    };
    lock(&line.watch).answered(&request, &outcome);
    let Some(back) = way.back else { return };
    sleep(back).await;
    if line.is_cut() || line.door.restored() != restored {
        return;
    }
    let arrived = match outcome {
        Ok(admitted) => Arrived::Admitted(number, receipt_of(&admitted.answer)),
        Err(refusal) if is_last_word(refusal.reason()) => Arrived::Refused(number, refusal.reason(), epoch),
        Err(_) => return,
    };
    lock(&line.arrived).push_back(arrived);
}

fn receipt_of(answer: &Answer) -> Receipt {
    let receipt = v1::Receipt::decode(&answer.receipt[..]).unwrap();
    Receipt { code: receipt.dossier_code, sequence: receipt.sequence, signed: signed(answer) }
}

/// An answer as it is kept, and shown after a restore.
pub(crate) fn signed(answer: &Answer) -> Vec<u8> {
    let signed = v1::SignedReceipt {
        receipt: answer.receipt.clone(),
        signature: answer.signature.clone(),
        certificate_sha256: Bytes::copy_from_slice(answer.certificate.as_bytes()),
    };
    signed.encode_to_vec()
}

/// One try to get numbers.
async fn lease(line: Line, request: LeaseRequest, way: Way) {
    let restored = line.door.restored();
    let Some(there) = way.there else { return };
    sleep(there).await;
    let Some(running) = line.reach(restored) else { return };
    let (desk, spool) = (request.desk.to_string(), request.spool);
    let holding = tokio::select! {
        biased;
        () = running.died.cancelled() => return,
        holding = running.engine.lease_numbers(line.peer.clone(), request) => holding,
    };
    let Ok(holding) = holding else { return };
    let epoch = holding.epoch;
    let leased = |(authority, day, block): (PartyId, Date, Block)| Leased {
        desk: desk.clone(),
        epoch,
        codes: block.numbers.map(|n| DossierCode::issue(&authority, day, n).unwrap().to_string()).collect(),
    };
    let leased: Vec<Leased> = holding.blocks.into_iter().map(leased).collect();
    lock(&line.watch).leased(spool, &leased);
    let Some(back) = way.back else { return };
    sleep(back).await;
    if !line.is_cut() && line.door.restored() == restored {
        lock(&line.arrived).push_back(Arrived::Leased(leased));
    }
}

/// The gateway's end of a stream.
async fn stream(
    line: Line,
    number: u64,
    running: Running,
    (parties, name, spool): (Vec<PartyId>, &'static str, Bytes),
    mut commands: mpsc::UnboundedReceiver<Command>,
    ended: CancellationToken,
) {
    let serving = async {
        let opening = Opening { parties: &parties, credit: 4, instance: name, spool };
        let Ok(session) = running.engine.open_inbox(&line.peer, opening).await else { return };
        let Ok(epoch) = running.engine.epoch().await else { return };
        if !line.is_cut() {
            lock(&line.arrived).push_back(Arrived::Epoch(number, epoch));
        }
        loop {
            tokio::select! {
                biased;
                Some(command) = commands.recv() => obey(&line, (number, &running), &session, command).await,
                delivery = session.next() => {
                    let Ok(delivery) = delivery else { return };
                    let mut watch = lock(&line.watch);
                    watch.delivered(number, &delivery, &line.parties, &running);
                    if watch.violation.is_some() {
                        // An engine that is broken may go on like this for ever.
                        return;
                    }
                    drop(watch);
                    let event = &delivery.recorded.event;
                    let name = (delivery.party.to_string(), event.dossier_code.clone(), event.sequence);
                    if !line.is_cut() {
                        lock(&line.arrived).push_back(Arrived::Delivery(number, name, print_of(event)));
                    }
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = running.died.cancelled() => {}
        () = ended.cancelled() => {}
        () = serving => {}
    }
    lock(&line.watch).ended(number);
    ended.cancel();
}

/// Which event it is, whatever its place.
pub(crate) fn print_of(event: &v1::Event) -> Print {
    format!("{} {}", event.party, event.request_key)
}

/// Does what the machine said on a stream.
async fn obey(line: &Line, (number, running): (u64, &Running), session: &Session, command: Command) {
    if line.is_cut() {
        return;
    }
    let named = |(party, code, sequence): &Name| DeliveryName {
        party: party.parse().unwrap(),
        code: code.parse().unwrap(),
        sequence: *sequence,
    };
    match command {
        Command::Decline(name, kind, was_taken_over) => {
            let is_under_way = lock(&line.watch).is_under_way(number, &name);
            if was_taken_over {
                lock(&line.watch).goes_back(&name);
            }
            let declined = Declined { kind, reason: "TRIED".to_owned() };
            let outcome = session.decline(&declined, &[named(&name)]).await;
            let mut watch = lock(&line.watch);
            watch.release(number, &name);
            if outcome.is_err() {
                return;
            }
            watch.declined(&name, kind, is_under_way, running);
            if was_taken_over && !line.is_cut() {
                lock(&line.arrived).push_back(Arrived::Returned(name));
            }
        }
        Command::Acknowledge(stage, name) => {
            lock(&line.watch).acknowledging(number, stage, &name);
            match session.acknowledge(stage, vec![named(&name)]).await {
                Ok(counted) => {
                    lock(&line.watch).acknowledged(number, stage, &name, &counted);
                    if stage == Stage::HandedOver && !line.is_cut() {
                        lock(&line.arrived).push_back(Arrived::Settled(name));
                    }
                }
                Err(refusal) => lock(&line.watch).not_acknowledged(number, &name, refusal.reason()),
            }
        }
    }
}

/// What an operator, or a clerk of the party, has decided about a parked dossier.
pub(crate) async fn decide(
    running: Running,
    watch: Shared<Watch>,
    system: &'static str,
    asking: String,
    decision: Decision,
) {
    let name: Name = (decision.party.to_string(), decision.code.to_string(), decision.sequence);
    let action = decision.action;
    lock(&watch).deciding(&name, action);
    let (peer, asking) = (HOUSE.peer(system), asking.parse().unwrap());
    let outcome = tokio::select! {
        biased;
        () = running.died.cancelled() => return,
        outcome = running.engine.handle_parked(&peer, &asking, decision) => outcome,
    };
    lock(&watch).decided(&name, action, outcome.err().map(|refusal| refusal.reason()));
}

/// An operator takes from a machine what it holds for a party.
pub(crate) async fn release(running: Running, watch: Shared<Watch>, party: String, installation: Installation) {
    let by = ("van-hanh-1".parse().unwrap(), "THIET_BI_HONG".to_owned());
    let (asking, party) = (OPERATOR.parse().unwrap(), party.parse().unwrap());
    let peer = HOUSE.peer("van-hanh");
    let outcome = tokio::select! {
        biased;
        () = running.died.cancelled() => return,
        outcome = running.engine.release(&peer, &asking, by, (&party, &installation)) => outcome,
    };
    let told = outcome.map_or_else(|refusal| refusal.reason().as_str().to_owned(), |count| format!("{count} released"));
    lock(&watch).note(format!("from {installation} for {party}: {told}"));
}
