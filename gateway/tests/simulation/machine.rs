//! A machine of an agency: its spool, its line to the gateway, its streams.
//!
//! Calls and streams are tasks of their own, as on a network; what chance does to them was drawn when they began, so that
//! the order in which they run draws nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lgsp_gateway::engine::access::Peer;
use lgsp_gateway::engine::inbox::{Declined, DeliveryName, Opening, Session};
use lgsp_gateway::store::Stage;
use lgsp_proto::types::PartyId;
use lgsp_proto::v1::DeclineKind;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::house::HOUSE;
use crate::node::{Door, Running};
use crate::request::Request;
use crate::spool::{Name, Spool};
use crate::watch::{Watch, is_last_word};

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
    /// The gateway's last word about a request.
    Answer(u64),
    Delivery(u64, Name),
    Settled(Name),
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
    pub(crate) fn is_cut(&self) -> bool {
        lock(&self.cut_until).is_some_and(|until| Instant::now() < until)
    }
}

pub(crate) struct Machine {
    pub(crate) name: &'static str,
    system: &'static str,
    pub(crate) parties: Vec<String>,
    pub(crate) spool: Spool,
    pub(crate) line: Line,
    pub(crate) streams: Vec<Stream>,
    /// When each pending request was last sent.
    sent: BTreeMap<u64, Instant>,
}

/// The machine's end of a stream.
pub(crate) struct Stream {
    pub(crate) number: u64,
    commands: mpsc::UnboundedSender<Command>,
    ended: CancellationToken,
}

enum Command {
    Acknowledge(Stage, Name),
    Decline(Name),
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
        let spool = Spool::open(lgsp_journal::testing::Disk::new());
        Self { name, system, parties, spool, line, streams: Vec::new(), sent: BTreeMap::new() }
    }

    /// Starts again on what a crash has left of the spool; everything in memory and under way is gone.
    pub(crate) fn restart(&mut self, disk: lgsp_journal::testing::Disk) {
        let Line { door, watch, cut_until, .. } = &self.line;
        let cut_until = Arc::clone(cut_until);
        let parties: Vec<&str> = self.parties.iter().map(String::as_str).collect();
        let mut again = Self::new(self.name, self.system, &parties, door.clone(), Arc::clone(watch));
        again.line.cut_until = cut_until;
        again.spool = Spool::open(disk);
        *self = again;
    }

    pub(crate) fn cut_line(&mut self, until: Option<Instant>) {
        *lock(&self.line.cut_until) = until;
    }

    /// Requests worth sending now: never sent, or without an answer for a while.
    pub(crate) fn due(&self, patience: Duration) -> Vec<u64> {
        let now = Instant::now();
        let due = |number: &u64| self.sent.get(number).is_none_or(|sent| *sent + patience <= now);
        self.spool.pending.keys().copied().filter(due).collect()
    }

    /// Sends a pending request once for each of `ways`.
    pub(crate) fn send(&mut self, number: u64, ways: &[Way]) {
        let Some(request) = self.spool.pending.get(&number) else { return };
        self.sent.insert(number, Instant::now());
        for way in ways {
            tokio::spawn(call(self.line.clone(), number, request.clone(), *way));
        }
    }

    /// Opens a stream, if the gateway can be reached.
    pub(crate) fn open_stream(&mut self, number: u64) -> bool {
        let Some(running) = self.line.door.knock().filter(|_| !self.line.is_cut()) else { return false };
        let parties: Vec<PartyId> = self.parties.iter().map(|party| party.parse().unwrap()).collect();
        let (commands, received) = mpsc::unbounded_channel();
        let ended = CancellationToken::new();
        let opening = (parties, self.name);
        tokio::spawn(stream(self.line.clone(), number, running, opening, received, ended.clone()));
        self.streams.push(Stream { number, commands, ended });
        true
    }

    pub(crate) fn acknowledge(&self, number: Option<u64>, stage: Stage, name: Name) -> bool {
        self.command(number, Command::Acknowledge(stage, name))
    }

    pub(crate) fn decline(&self, number: u64, name: Name) {
        self.command(Some(number), Command::Decline(name));
    }

    /// Says something on this stream, or on any.
    fn command(&self, number: Option<u64>, command: Command) -> bool {
        let is_it = |stream: &&Stream| number.is_none_or(|number| stream.number == number) && !stream.has_ended();
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

/// One try of one request.
async fn call(line: Line, number: u64, request: Request, way: Way) {
    let Some(there) = way.there else { return };
    sleep(there).await;
    let Some(running) = line.door.knock().filter(|_| !line.is_cut()) else { return };
    let outcome = tokio::select! {
        biased;
        () = running.died.cancelled() => return,
        outcome = request.call(&running.engine, line.peer.clone()) => outcome,
    };
    lock(&line.watch).answered(&request, &outcome);
    let Some(back) = way.back else { return };
    sleep(back).await;
    let is_last_word = outcome.map_or_else(|refusal| is_last_word(refusal.reason()), |_| true);
    if is_last_word && !line.is_cut() {
        lock(&line.arrived).push_back(Arrived::Answer(number));
    }
}

/// The gateway's end of a stream.
async fn stream(
    line: Line,
    number: u64,
    running: Running,
    (parties, name): (Vec<PartyId>, &'static str),
    mut commands: mpsc::UnboundedReceiver<Command>,
    ended: CancellationToken,
) {
    let serving = async {
        // The spool is that of the machine, which keeps it whatever becomes of the machine.
        let spool = Bytes::from_static(name.as_bytes());
        let opening = Opening { parties: &parties, credit: 4, instance: name, spool };
        let Ok(session) = running.engine.open_inbox(&line.peer, opening).await else { return };
        loop {
            tokio::select! {
                biased;
                Some(command) = commands.recv() => obey(&line, number, &session, command).await,
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
                        lock(&line.arrived).push_back(Arrived::Delivery(number, name));
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

/// Does what the machine said on a stream.
async fn obey(line: &Line, number: u64, session: &Session, command: Command) {
    if line.is_cut() {
        return;
    }
    let named = |(party, code, sequence): &Name| DeliveryName {
        party: party.parse().unwrap(),
        code: code.parse().unwrap(),
        sequence: *sequence,
    };
    match command {
        Command::Decline(name) => {
            // A machine that is busy; nothing is wrong with the delivery.
            let busy = Declined { kind: DeclineKind::Busy, reason: "SPOOL_FULL".to_owned() };
            session.decline(&busy, &[named(&name)]).await.unwrap();
            lock(&line.watch).release(number, &name);
        }
        Command::Acknowledge(stage, name) => {
            lock(&line.watch).acknowledging(number, &name);
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
