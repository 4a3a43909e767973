//! The faults there are, how often each is drawn, and what a machine must allow for it.

use lgsp_journal::fault;

use crate::draw::Draw;
use crate::world::{ADAPTERS, PORTAL, Who};

/// One fault, with everything that is drawn about it beforehand.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// SIGKILL at any moment.
    Kill(Vec<Who>),
    /// Ends at a point of its own, under load.
    DieAt { who: Who, point: &'static str, pass: u64 },
    /// Ends at a point of its own while it starts after a kill.
    DieInRecovery { who: Who, point: &'static str, pass: u64 },
    /// Ends at a point of its own while it stops in order.
    DieAtCheckpoint { point: &'static str },
    /// Ends at a point of its own while it takes a snapshot of its index, which may be lost as well.
    DieInSnapshot { point: &'static str, pass: u64, without_index: bool },
    /// Ends at a point of its own while it archives what was closed.
    DieArchiving { point: &'static str, pass: u64 },
    /// All adapters renew their certificates, and the gateway is killed meanwhile.
    Renewed,
    /// An adapter ends at a point of its own while it renews its certificate.
    DieRenewing { adapter: usize, point: &'static str, pass: u64 },
    /// Whoever joins again with a token ends at a point of its own; the adapter may be running meanwhile.
    DieJoining { adapter: usize, point: &'static str, pass: u64, beside: bool },
    /// A write or sync fails, or finds the disk full, once.
    DiskFails { who: Who, point: &'static str, pass: u64, kind: &'static str },
    /// The disk is filled up under load, and freed again.
    DiskFull { who: Who },
    /// The power fails.
    PowerCut { who: Who },
    /// The gateway's folder is lost and restored from a backup that is older; an adapter ends at a point of its own, or at any
    /// moment, while it sends again what the backup does not have.
    Restore { other: usize, point: Option<&'static str>, pass: u64, with_key: bool },
    /// Lines are cut, and healed.
    Cut { lines: Vec<usize> },
    /// A line on which one side does not hear the other, and healed.
    Deaf { line: usize },
    /// The index is damaged while the gateway is down.
    Index { how: Damage },
    /// One byte of a copy of the journal is another one, or its end is missing.
    Journal { torn: bool },
    /// The software behind an adapter misbehaves.
    Agency { adapter: usize, manner: crate::agency::Manner },
    /// A second connection of a party that is slow, and acknowledges twice and what it never had.
    SecondConnection,
}

/// What is done to sled's files.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    Removed,
    CutShort,
    Flipped,
    NoteRemoved,
}

/// The kinds of fault, as the report counts them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    KillGateway,
    KillAdapter,
    KillEverybody,
    GatewayDiesAtPoint,
    GatewayDiesInRecovery,
    GatewayDiesAtCheckpoint,
    GatewayDiesInSnapshot,
    GatewayDiesArchiving,
    AdapterDiesAtPoint,
    AdapterDiesInRecovery,
    AllRenew,
    AdapterDiesRenewing,
    AdapterDiesJoining,
    GatewayDiskFails,
    AdapterDiskFails,
    GatewayDiskFull,
    AdapterDiskFull,
    GatewayPowerCut,
    AdapterPowerCut,
    GatewayRestored,
    LineCut,
    AllLinesCut,
    LineDeaf,
    IndexDamaged,
    JournalDamaged,
    AgencyWrong,
    AgencySlow,
    AgencyTwice,
    SecondConnection,
}

use Kind::*;

/// Every kind, how often it is drawn against the others, and its name.
pub(crate) const KINDS: [(Kind, usize, &str); 29] = [
    (KillGateway, 18, "gateway killed at any moment"),
    (KillAdapter, 14, "adapter killed at any moment"),
    (KillEverybody, 4, "gateway and adapters killed together"),
    (GatewayDiesAtPoint, 9, "gateway dies before write, before sync, before answer"),
    (GatewayDiesInRecovery, 3, "gateway dies while it recovers"),
    (GatewayDiesAtCheckpoint, 2, "gateway dies at a checkpoint of the index"),
    (GatewayDiesInSnapshot, 3, "gateway dies in the middle of a snapshot of the index"),
    (GatewayDiesArchiving, 2, "gateway dies while it archives"),
    (AdapterDiesAtPoint, 8, "adapter dies before write, before sync, before answer"),
    (AdapterDiesInRecovery, 3, "adapter dies while it recovers"),
    (AllRenew, 3, "certificates renewed under load, gateway killed"),
    (AdapterDiesRenewing, 5, "adapter dies while it renews its certificate"),
    (AdapterDiesJoining, 3, "adapter joins again, and dies at it"),
    (GatewayDiskFails, 4, "gateway: write or sync fails"),
    (AdapterDiskFails, 4, "adapter: write or sync fails"),
    (GatewayDiskFull, 2, "gateway: disk full"),
    (AdapterDiskFull, 2, "adapter: disk full"),
    (GatewayPowerCut, 10, "gateway: power cut"),
    (AdapterPowerCut, 7, "adapter: power cut"),
    (GatewayRestored, 4, "gateway lost, restored from a backup"),
    (LineCut, 4, "one line cut and healed"),
    (AllLinesCut, 2, "all lines cut and healed"),
    (LineDeaf, 3, "a line deaf in one direction"),
    (IndexDamaged, 5, "index damaged or removed"),
    (JournalDamaged, 3, "journal damaged (on a copy)"),
    (AgencyWrong, 2, "agency down, or answers wrongly"),
    (AgencySlow, 2, "agency slow, or too late"),
    (AgencyTwice, 2, "agency takes it and denies it: told twice"),
    (SecondConnection, 2, "second connection: slow, acknowledges twice and falsely"),
];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("", |(.., name)| name)
    }

    /// Whether it takes a disk that can be filled and pulled.
    pub(crate) fn needs_images(self) -> bool {
        matches!(self, GatewayPowerCut | AdapterPowerCut | GatewayDiskFull | AdapterDiskFull)
    }

    /// Draws a fault of this kind.
    pub(crate) fn draw(self, draw: &mut Draw) -> Fault {
        const POINTS: [&str; 3] = [fault::JOURNAL_APPEND, fault::JOURNAL_SYNC, fault::JOURNAL_ANSWER];
        const PUBLISHING: [&str; 3] = [fault::PUBLISH_SYNC, fault::PUBLISH_NAME, fault::PUBLISH_FOLDER];
        const SNAPSHOT: [&str; 3] = [fault::SNAPSHOT_WRITE, fault::SNAPSHOT_NAME, fault::SNAPSHOT_FOLDER];
        const ARCHIVING: [&str; 6] = [
            fault::ARCHIVE_WRITE,
            fault::ARCHIVE_SYNC,
            fault::ARCHIVE_NAME,
            fault::ARCHIVE_FOLDER,
            fault::ARCHIVE_RECORD,
            fault::ARCHIVE_REMOVE,
        ];
        const IDENTITY: [&str; 3] = [fault::IDENTITY_FILE, fault::IDENTITY_FORCE, fault::IDENTITY_FOLDER];
        const JOINING: [&str; 6] = [
            fault::JOIN_KEY,
            fault::JOIN_ANSWER,
            fault::JOIN_CONFIG,
            fault::IDENTITY_FILE,
            fault::IDENTITY_FORCE,
            fault::IDENTITY_FOLDER,
        ];
        let adapter = draw.below(ADAPTERS);
        let (gateway, some) = (Who::Gateway, Who::Adapter(adapter));
        let pass = 1 + draw.below(12) as u64;
        let point = draw.pick(&POINTS);
        match self {
            KillGateway => Fault::Kill(vec![gateway]),
            KillAdapter => Fault::Kill(vec![some]),
            KillEverybody => {
                let mut all: Vec<_> = std::iter::once(gateway).chain((0..ADAPTERS).map(Who::Adapter)).collect();
                draw.shuffle(&mut all);
                Fault::Kill(all)
            }
            GatewayDiesAtPoint => Fault::DieAt { who: gateway, point, pass },
            AdapterDiesAtPoint => Fault::DieAt { who: some, point, pass },
            GatewayDiesInRecovery => Fault::DieInRecovery { who: gateway, point: draw.pick(&PUBLISHING), pass: 1 },
            AdapterDiesInRecovery => Fault::DieInRecovery { who: some, point: draw.pick(&PUBLISHING), pass: 1 },
            GatewayDiesAtCheckpoint => {
                Fault::DieAtCheckpoint { point: draw.pick(&[fault::CHECKPOINT_FLUSH, fault::CHECKPOINT_NOTE]) }
            }
            GatewayDiesInSnapshot => {
                let (point, without_index) = (draw.pick(&SNAPSHOT), draw.once_in(2));
                Fault::DieInSnapshot { point, pass: 1 + draw.below(3) as u64, without_index }
            }
            GatewayDiesArchiving => {
                let point = draw.pick(&ARCHIVING);
                Fault::DieArchiving { point, pass: some_pass(draw, point, fault::ARCHIVE_WRITE) }
            }
            AllRenew => Fault::Renewed,
            AdapterDiesRenewing => {
                let point = draw.pick(&IDENTITY);
                Fault::DieRenewing { adapter, point, pass: some_pass(draw, point, fault::IDENTITY_FILE) }
            }
            AdapterDiesJoining => {
                let (point, beside) = (draw.pick(&JOINING), draw.once_in(2));
                let pass = some_pass(draw, point, fault::IDENTITY_FILE);
                Fault::DieJoining { adapter, point, pass, beside }
            }
            GatewayDiskFails | AdapterDiskFails => {
                let who = if self == GatewayDiskFails { gateway } else { some };
                Fault::DiskFails { who, point: draw.pick(&POINTS[..2]), pass, kind: draw.pick(&["fail", "full"]) }
            }
            GatewayDiskFull => Fault::DiskFull { who: gateway },
            AdapterDiskFull => Fault::DiskFull { who: some },
            GatewayPowerCut => Fault::PowerCut { who: gateway },
            AdapterPowerCut => Fault::PowerCut { who: some },
            // The portal's adapter forgets soonest and is told most: half of the cases are its.
            GatewayRestored => {
                let other = if draw.once_in(2) { PORTAL } else { adapter };
                let point = draw.once_in(2).then_some(point);
                Fault::Restore { other, point, pass, with_key: draw.once_in(2) }
            }
            LineCut => Fault::Cut { lines: vec![adapter] },
            AllLinesCut => Fault::Cut { lines: (0..ADAPTERS).collect() },
            LineDeaf => Fault::Deaf { line: adapter },
            IndexDamaged => {
                let how = [Damage::Removed, Damage::CutShort, Damage::Flipped, Damage::NoteRemoved];
                Fault::Index { how: draw.pick(&how) }
            }
            JournalDamaged => Fault::Journal { torn: draw.once_in(3) },
            AgencyWrong => {
                let manner = draw.pick(&[crate::agency::Manner::Down, crate::agency::Manner::Wrong]);
                Fault::Agency { adapter, manner }
            }
            AgencySlow => {
                let late = draw.once_in(4);
                let manner = if late { crate::agency::Manner::Late } else { crate::agency::Manner::Slow };
                Fault::Agency { adapter, manner }
            }
            AgencyTwice => Fault::Agency { adapter, manner: crate::agency::Manner::Forgetful },
            SecondConnection => Fault::SecondConnection,
        }
    }
}

/// One of the first three passes of the point that is come to more than once, the first of any other.
fn some_pass(draw: &mut Draw, point: &str, many: &str) -> u64 {
    if point == many { 1 + draw.below(3) as u64 } else { 1 }
}

/// The rounds in which every kind comes at least once.
pub(crate) const ALL_KINDS: usize = KINDS.len() + 2;

/// The kinds of so many rounds, among those that are possible here: first each of them once, then by weight. A full disk is
/// another thing where it is watched for, which it is in every other world: that comes in both halves of the first
/// [`ALL_KINDS`].
pub(crate) fn plan(seed: u64, rounds: usize, possible: impl Fn(Kind) -> bool) -> Vec<Kind> {
    let mut draw = Draw::new(seed, u64::MAX);
    let kinds = KINDS.iter().map(|(kind, ..)| *kind).filter(|kind| possible(*kind));
    let (full, mut plan): (Vec<Kind>, Vec<Kind>) =
        kinds.partition(|kind| matches!(kind, GatewayDiskFull | AdapterDiskFull));
    draw.shuffle(&mut plan);
    for at in [plan.len() * 3 / 4, plan.len() / 4] {
        plan.splice(at..at, full.iter().copied());
    }
    let weighted = KINDS.iter().filter(|(kind, ..)| possible(*kind));
    let bag: Vec<Kind> = weighted.flat_map(|(kind, weight, _)| std::iter::repeat_n(*kind, *weight)).collect();
    while plan.len() < rounds {
        plan.push(draw.pick(&bag));
    }
    plan.truncate(rounds);
    plan
}
