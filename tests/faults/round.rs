//! One round: load, a fault in it, healing, rest, judgement. Every round kills somebody, whatever else its fault is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use lgsp_gateway::store::Fact;
use lgsp_gateway::store::read_only::ReadOnly;
use lgsp_journal::{Position, Reader, RealFiles};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Wish;
use crate::agency::{Agencies, Manner};
use crate::catalogue::{Damage, Fault, Kind};
use crate::disk::run;
use crate::draw::Draw;
use crate::history::{Recorded, Verdict, judge};
use crate::line::Condition;
use crate::second::take_part;
use crate::tally::{Tally, millis};
use crate::world::{ADAPTERS, PATIENCE, PORTAL, Started, Who, World, is_death_at_a_point};

/// Within this time the fault strikes, while the load runs.
const MOMENT: Duration = Duration::from_millis(120);

/// How long a fault that shows by itself may take to do so; then the load has passed it by.
const SHOWS_WITHIN: Duration = Duration::from_secs(5);

/// When what was closed at [`NOW`](crate::agency::NOW) may be archived.
const A_YEAR_LATER: &str = "2026-10-05T08:00:00+07:00";

/// The streams of draws for the loads, away from those of the faults.
const LOADS: u64 = 1 << 32;

/// What the gateway logs about an index that is of no use.
const MADE_AGAIN: &str = "Rebuilding";

/// The campaign, from round to round.
pub(crate) struct Campaign {
    seed: u64,
    dossiers: usize,
    fsck_every: u32,
    tally: Tally,
    /// The last record that was there before a world's first round.
    base: Position,
    answered_before: u64,
    answered_now: u64,
    /// What the fault of this round is.
    kind: Kind,
    /// How often each kind has ended the gateway.
    ends: BTreeMap<Kind, u32>,
    /// The slowest start of the gateway in this round.
    slowest: Duration,
    /// Whether this round's fault has shown.
    struck: bool,
}

impl Campaign {
    pub(crate) fn new(wish: &Wish, mut tally: Tally, base: Option<&Path>) -> anyhow::Result<Self> {
        let mut last = Position::ORIGIN;
        if let Some(base) = base {
            for record in ReadOnly::open(&base.join("data"), &base.join("node.key"))?.records() {
                let (position, fact) = record?;
                last = Position(position);
                tally.base_events += u64::from(matches!(fact, Fact::Admitted(_)));
            }
        }
        Ok(Self {
            seed: wish.seed,
            dossiers: wish.dossiers,
            fsck_every: wish.fsck_every,
            tally,
            base: last,
            answered_before: 0,
            answered_now: 0,
            kind: Kind::KillGateway,
            ends: BTreeMap::new(),
            slowest: Duration::ZERO,
            struck: false,
        })
    }

    pub(crate) fn into_tally(self) -> Tally {
        self.tally
    }

    /// What there is to say after a round.
    pub(crate) fn line(&self, round: u32, of: usize, kind: Kind) -> String {
        let ready = match millis(self.slowest) {
            0 => String::new(),
            slowest => format!(", ready in {slowest} ms"),
        };
        let answered = self.answered_before + self.answered_now;
        format!("round {round}/{of}: {}{ready}; {answered} answered, none lost, doubled or out of order", kind.name())
    }

    /// One round.
    pub(crate) async fn round(&mut self, world: &mut World, round: u32, kind: Kind) -> anyhow::Result<()> {
        let mut draw = Draw::new(self.seed, u64::from(round));
        let fault = kind.draw(&mut draw);
        (self.kind, self.slowest, self.struck) = (kind, Duration::ZERO, false);
        let begun = Instant::now();
        world.keep_since(None);
        world.agencies.begin_round(round);
        let load = load(&world.agencies, Draw::new(self.seed, LOADS + u64::from(round)), self.dossiers);
        self.strike(world, &fault, &load, &mut draw).await.with_context(|| format!("{fault:?}"))?;
        load.await?;
        for who in world.everybody() {
            ensure!(!world.has_ended(who)?, "{who:?} has ended by itself");
        }
        let rested = world.rest().await;
        let journal = self.journal(world).await?;
        if let Err(error) = rested {
            // What the books say explains it better than what is waited for.
            let verdict = judge(&world.agencies.books(), &journal);
            self.tally.add(&verdict);
            let words = format!("{fault:?}, {} ms in; the books so far: {verdict:#?}", millis(begun.elapsed()));
            return Err(error.context(words));
        }
        let verdict = self.judge(world, journal).await?;
        (self.answered_now, self.tally.rounds) = (verdict.answered, round);
        if let Fault::Agency { adapter, .. } = fault {
            self.struck = world.agencies.behave_again(world.system(adapter)) > 0;
        }
        self.tally.papers += world.agencies.read_papers().await? as u64;
        if let Fault::Journal { torn } = fault {
            self.damage_a_copy(world, torn, &mut draw).await?;
            self.struck = true;
        }
        let of_kind = self.tally.kinds.entry(kind).or_default();
        of_kind.rounds += 1;
        of_kind.struck += u32::from(self.struck);
        of_kind.slowest = of_kind.slowest.max(self.slowest);
        Ok(())
    }

    /// Stops everybody in order; then the books of the whole chapter must be sound.
    pub(crate) async fn end_of_chapter(&mut self, world: &mut World) -> anyhow::Result<()> {
        for who in (0..ADAPTERS).map(Who::Adapter).chain([Who::Gateway]) {
            let ended = world.stop(who).await.with_context(|| format!("{who:?}"))?;
            ensure!(ended.success(), "{who:?} did not stop in order: {ended}");
        }
        self.fsck(world).await?;
        let journal = read_journal(&world.data(), &world.node_key(), self.base)?;
        let verdict = self.judge(world, journal).await?;
        self.answered_before += verdict.answered;
        self.answered_now = 0;
        self.tally.spools_tidied += u32::try_from(world.logged(Who::Adapter(PORTAL), "spool tidied up")?)?;
        self.tally.add(&verdict);
        Ok(())
    }

    async fn judge(&mut self, world: &World, journal: Vec<Recorded>) -> anyhow::Result<Verdict> {
        let books = world.agencies.books();
        let verdict = tokio::task::spawn_blocking(move || judge(&books, &journal)).await?;
        if !verdict.holds() {
            self.tally.add(&verdict);
            bail!("{verdict:#?}");
        }
        Ok(verdict)
    }

    /// Does the fault, and whatever it takes until everybody runs and can reach everybody again.
    async fn strike(
        &mut self,
        world: &mut World,
        fault: &Fault,
        load: &JoinHandle<()>,
        draw: &mut Draw,
    ) -> anyhow::Result<()> {
        // At any moment of the load: this is a fault's time, not a wait for anything.
        tokio::time::sleep(draw.within(MOMENT)).await;
        if world.has_renewed_enough() {
            self.kill(world, Who::Gateway).await?;
            self.start(world, Who::Gateway).await?;
        }
        match fault {
            Fault::Kill(all) => {
                for who in all {
                    self.kill(world, *who).await?;
                }
                self.struck = true;
                for who in all {
                    self.start(world, *who).await?;
                }
            }
            Fault::DieAt { who, point, pass } => {
                self.kill(world, *who).await?;
                self.start_armed(world, *who, &format!("{point}:{pass}")).await?;
                self.struck = shows(world, async |world| world.has_died_at_its_point(*who)).await?;
                self.kill_what_is_left(world, *who).await?;
                self.start(world, *who).await?;
            }
            Fault::DieInRecovery { who, point, pass } => {
                self.kill(world, *who).await?;
                self.start_armed(world, *who, &format!("{point}:{pass}")).await?;
                self.struck = world.has_died_at_its_point(*who)?;
                self.kill_what_is_left(world, *who).await?;
                self.start(world, *who).await?;
            }
            Fault::DieAtCheckpoint { point } => {
                self.kill(world, Who::Gateway).await?;
                self.start_armed(world, Who::Gateway, &format!("{point}:1")).await?;
                tokio::time::sleep(draw.within(MOMENT)).await;
                if !world.has_died_at_its_point(Who::Gateway)? {
                    let ended = world.stop(Who::Gateway).await?;
                    ensure!(is_death_at_a_point(ended), "the gateway ended otherwise than at {point}: {ended}");
                }
                self.struck = true;
                self.kill_what_is_left(world, Who::Gateway).await?;
                self.start(world, Who::Gateway).await?;
            }
            Fault::DieInSnapshot { point, pass, without_index } => {
                self.kill(world, Who::Gateway).await?;
                self.start_armed(world, Who::Gateway, &format!("{point}:{pass}")).await?;
                // The load may be over by now, and one is taken after the next record.
                for _ in 0..4 {
                    world.agencies.hand_in(draw, false);
                }
                self.struck = shows(world, async |world| world.has_died_at_its_point(Who::Gateway)).await?;
                self.kill_what_is_left(world, Who::Gateway).await?;
                self.fsck_at_times(world).await?;
                if *without_index {
                    damage_index(&world.data(), Damage::Removed, draw)?;
                }
                self.start_as_it_is(world, Who::Gateway).await?;
            }
            Fault::DieArchiving { .. } => self.archive(world, fault, load, draw).await?,
            Fault::Renewed => {
                for adapter in 0..ADAPTERS {
                    self.kill(world, Who::Adapter(adapter)).await?;
                    self.start(world, Who::Adapter(adapter)).await?;
                }
                tokio::time::sleep(draw.within(MOMENT)).await;
                self.kill(world, Who::Gateway).await?;
                self.start(world, Who::Gateway).await?;
                for adapter in 0..ADAPTERS {
                    renews(world, adapter).await?;
                }
                self.struck = true;
            }
            Fault::DieRenewing { adapter, point, pass } => {
                let who = Who::Adapter(*adapter);
                self.kill(world, who).await?;
                self.start_armed(world, who, &format!("{point}:{pass}")).await?;
                dies_at_its_point(world, who, "renews its certificate").await?;
                self.struck = true;
                self.kill_what_is_left(world, who).await?;
                self.start(world, who).await?;
                renews(world, *adapter).await?;
            }
            Fault::DieJoining { adapter, point, pass, beside } => {
                let who = Who::Adapter(*adapter);
                world.token(*adapter).await?;
                if !beside {
                    self.kill(world, who).await?;
                }
                let died = world.join(*adapter, Some(&format!("{point}:{pass}"))).await?;
                ensure!(is_death_at_a_point(died), "it ended otherwise than at {point}: {died}");
                self.struck = true;
                let joined = world.join(*adapter, None).await?;
                ensure!(joined.success(), "the token said again is refused: {joined}; see the adapter's log");
                if *beside {
                    self.kill(world, who).await?;
                }
                self.start(world, who).await?;
                renews(world, *adapter).await?;
            }
            Fault::DiskFails { who, point, pass, kind } => {
                self.kill(world, *who).await?;
                self.start_armed(world, *who, &format!("{point}:{pass}:{kind}")).await?;
                self.struck = fails(world, *who).await?;
                self.kill_what_is_left(world, *who).await?;
                self.start(world, *who).await?;
            }
            Fault::DiskFull { who } if world.keeps_free(*who) > 0 => self.nearly_full(world, *who, draw).await?,
            Fault::DiskFull { who } => {
                world.disk(*who).fill()?;
                // The load may be over by now, and only what is to be written finds a disk full.
                for _ in 0..8 {
                    world.agencies.hand_in(draw, false);
                }
                self.struck = fails(world, *who).await?;
                world.disk(*who).make_room()?;
                self.kill_what_is_left(world, *who).await?;
                self.start(world, *who).await?;
            }
            Fault::PowerCut { who } => {
                // Only what is just being written can be lost.
                for _ in 0..8 {
                    world.agencies.hand_in(draw, false);
                }
                tokio::time::sleep(draw.within(MOMENT)).await;
                world.freeze(*who).await?;
                let written = world.disk(*who).content()?;
                world.disk(*who).take_down()?;
                self.kill(world, *who).await?;
                world.disk(*who).come_back()?;
                // Else it was a kill and no more.
                self.struck = world.disk(*who).content()? != written;
                self.tally.power_cuts += 1;
                self.start(world, *who).await?;
            }
            Fault::Restore { .. } => self.restore(world, fault, load, draw).await?,
            Fault::Cut { lines } => {
                self.on_lines(world, lines, Condition::Cut, draw).await?;
            }
            Fault::Deaf { line } => {
                self.on_lines(world, &[*line], Condition::Deaf, draw).await?;
            }
            Fault::Index { how } => {
                self.kill(world, Who::Gateway).await?;
                // What it left, and not what we make of it.
                self.fsck_at_times(world).await?;
                let is_gone = damage_index(&world.data(), *how, draw)?;
                let before = world.logged(Who::Gateway, MADE_AGAIN)?;
                self.start_as_it_is(world, Who::Gateway).await?;
                // One byte of many may be in nobody's way.
                self.struck = is_gone || world.logged(Who::Gateway, MADE_AGAIN)? > before;
            }
            Fault::Journal { .. } => {
                // The damage is done to a copy, at the end of the round.
                self.kill(world, Who::Gateway).await?;
                self.start(world, Who::Gateway).await?;
            }
            Fault::Agency { adapter, manner } => {
                let webhooks = if *manner == Manner::Late { 1 } else { 2 + draw.below(8) as u32 };
                world.agencies.behave(world.system(*adapter), *manner, webhooks);
                self.kill_anybody(world, draw).await?;
            }
            Fault::SecondConnection => {
                let enough = CancellationToken::new();
                let agencies = world.agencies.clone();
                let second = take_part(world.portal_link()?, agencies, "H57.CDV", enough.clone());
                let second = tokio::spawn(second);
                tokio::time::sleep(draw.within(2 * MOMENT)).await;
                // Neither the gateway nor the portal's adapter: what the second one took over is the second one's alone.
                let other = Who::Adapter(draw.below(PORTAL));
                self.kill(world, other).await?;
                self.start(world, other).await?;
                shows(world, async |_| Ok(false)).await?;
                enough.cancel();
                self.struck = second.await?.context("the second connection")? > 0;
            }
        }
        Ok(())
    }

    /// A disk fills up that somebody watches: he takes in nothing new, says so, and goes on by himself when there is room again.
    /// In between he may be killed, and started on a disk without a free block.
    async fn nearly_full(&mut self, world: &mut World, who: Who, draw: &mut Draw) -> anyhow::Result<()> {
        let left = world.keeps_free(who) / 8 * (1 + draw.below(7) as u64);
        world.disk(who).leave(left)?;
        for _ in 0..8 {
            world.agencies.hand_in(draw, false);
        }
        until(world, who, "says that its disk is nearly full", async |world| !world.is_ready(who).await).await?;
        self.struck = true;
        if draw.once_in(2) {
            world.disk(who).fill()?;
            self.kill(world, who).await?;
            world.start_on_a_full_disk(who).await?;
        }
        tokio::time::sleep(draw.within(MOMENT)).await;
        world.disk(who).make_room()?;
        until(world, who, "goes on with room again", async |world| world.is_ready(who).await).await?;
        self.kill_anybody(world, draw).await
    }

    /// When all is at rest it is a year later, and the gateway dies while it archives what was closed; then all of that is archived,
    /// and it is today again.
    async fn archive(
        &mut self,
        world: &mut World,
        fault: &Fault,
        load: &JoinHandle<()>,
        draw: &mut Draw,
    ) -> anyhow::Result<()> {
        let Fault::DieArchiving { point, pass } = *fault else { bail!("{fault:?} archives nothing") };
        for _ in 0..8 {
            world.agencies.hand_in(draw, false);
        }
        while !load.is_finished() {
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        world.rest().await?;
        // Of what is in an archive the bus gives no documents.
        self.tally.papers += world.agencies.read_papers().await? as u64;
        self.kill(world, Who::Gateway).await?;
        self.start_armed(world, Who::Gateway, &format!("{point}:{pass}")).await?;
        world.set_clock(A_YEAR_LATER).await?;
        let ended = world.archive().await?;
        // Where there was less to archive than the point is passes away, it got to the end.
        if !ended.success() {
            dies_at_its_point(world, Who::Gateway, "archives what was closed").await?;
            self.struck = true;
        }
        self.kill_what_is_left(world, Who::Gateway).await?;
        self.start(world, Who::Gateway).await?;
        world.set_clock(A_YEAR_LATER).await?;
        let ended = world.archive().await?;
        ensure!(ended.success(), "the archive run after a crash ended with {ended}");
        self.kill(world, Who::Gateway).await?;
        self.start(world, Who::Gateway).await?;
        for _ in 0..4 {
            world.agencies.hand_in(draw, false);
        }
        Ok(())
    }

    /// A backup is taken under load; later the gateway loses all it had, and is restored. What came after the backup was said
    /// by the gateway and noted by those it was said to, so nothing may be missing in the end.
    async fn restore(
        &mut self,
        world: &mut World,
        fault: &Fault,
        load: &JoinHandle<()>,
        draw: &mut Draw,
    ) -> anyhow::Result<()> {
        let Fault::Restore { other, point, pass, with_key } = *fault else { bail!("{fault:?} restores nothing") };
        let (begun, other) = (Instant::now(), Who::Adapter(other));
        // What the backup may not have is not to be forgotten at a start; at the begin of the round everything was at rest.
        world.keep_since(Some(begun.checked_sub(MOMENT).unwrap_or(begun)));
        let mut backup = vec!["backup", "--config", "gateway.toml", "--to", "backup"];
        backup.extend(with_key.then_some("--with-node-key"));
        let taken = world.told(&backup).await?;
        for _ in 0..8 {
            world.agencies.hand_in(draw, false);
        }
        while !load.is_finished() {
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        world.rest().await?;

        self.kill(world, Who::Gateway).await?;
        let last = Position(taken["last_position"].as_u64().context("the backup's last record")?);
        let missing = read_journal(&world.data(), &world.node_key(), last)?.len();
        self.struck = missing > 0;
        self.tally.brought_back += missing as u64;
        world.lose_the_gateways_folders(with_key)?;
        // The world goes on meanwhile.
        if let Some(point) = point {
            self.kill(world, other).await?;
            self.start_armed(world, other, &format!("{point}:{pass}")).await?;
        }
        for _ in 0..4 {
            world.agencies.hand_in(draw, false);
        }
        let restore = ["restore", "--from", "backup", "--config", "gateway.toml", "--actor", "van.hanh.1"];
        let restored = world.told(&restore).await?;
        ensure!(restored["sound"] == true, "{restored:#}");
        self.tally.restores += 1;
        self.start(world, Who::Gateway).await?;
        match point {
            Some(_) => drop(shows(world, async |world| world.has_died_at_its_point(other)).await?),
            None => tokio::time::sleep(draw.within(2 * MOMENT)).await,
        }
        self.kill_what_is_left(world, other).await?;
        self.start(world, other).await
    }

    /// Puts lines into a condition, kills somebody meanwhile, and heals them.
    async fn on_lines(
        &mut self,
        world: &mut World,
        lines: &[usize],
        condition: Condition,
        draw: &mut Draw,
    ) -> anyhow::Result<()> {
        lines.iter().try_for_each(|line| world.line(*line).set(condition))?;
        tokio::time::sleep(draw.within(2 * MOMENT)).await;
        self.kill_anybody(world, draw).await?;
        self.struck = shows(world, async |world| {
            for line in lines {
                if world.misses_its_gateway(*line).await {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await?;
        lines.iter().try_for_each(|line| world.line(*line).set(Condition::Sound))
    }

    async fn kill_anybody(&mut self, world: &mut World, draw: &mut Draw) -> anyhow::Result<()> {
        let number = draw.below(ADAPTERS + 1);
        let who = if number == ADAPTERS { Who::Gateway } else { Who::Adapter(number) };
        tokio::time::sleep(draw.within(MOMENT)).await;
        self.kill(world, who).await?;
        self.start(world, who).await
    }

    async fn kill(&mut self, world: &mut World, who: Who) -> anyhow::Result<()> {
        ensure!(world.kill(who).await?, "{who:?} had ended before it was killed");
        self.tally.kills += 1;
        Ok(())
    }

    /// Counts one that died where it was told to, and kills one that did not come to that point.
    async fn kill_what_is_left(&mut self, world: &mut World, who: Who) -> anyhow::Result<()> {
        world.kill(who).await?;
        self.tally.kills += 1;
        Ok(())
    }

    /// Starts it on what it left; the gateway's folder is looked at before, at times: as the start finds it, which after a
    /// power cut is not what it was when the process ended, and nobody repairs anything in between.
    async fn start(&mut self, world: &mut World, who: Who) -> anyhow::Result<()> {
        if who == Who::Gateway {
            self.fsck_at_times(world).await?;
        }
        self.start_as_it_is(world, who).await
    }

    async fn start_as_it_is(&mut self, world: &mut World, who: Who) -> anyhow::Result<()> {
        let took = world.start(who).await?;
        self.note_start(who, took);
        Ok(())
    }

    async fn start_armed(&mut self, world: &mut World, who: Who, fault: &str) -> anyhow::Result<()> {
        if let Started::Ready(took) = world.start_armed(who, Some(fault)).await? {
            self.note_start(who, took);
        }
        Ok(())
    }

    fn note_start(&mut self, who: Who, took: Duration) {
        if who == Who::Gateway {
            self.tally.recoveries.push(took);
            self.slowest = self.slowest.max(took);
        } else {
            self.tally.adapter_recoveries.push(took);
        }
    }

    /// After the first end of the gateway by each kind of fault, and after every so-manieth.
    async fn fsck_at_times(&mut self, world: &World) -> anyhow::Result<()> {
        let ends = self.ends.entry(self.kind).or_default();
        *ends += 1;
        if (*ends - 1).is_multiple_of(self.fsck_every) {
            self.fsck(world).await.context("before it is started again")?;
        }
        Ok(())
    }

    async fn fsck(&mut self, world: &World) -> anyhow::Result<()> {
        let (code, report) = world.fsck(&world.data()).await?;
        ensure!(code == Some(0), "fsck ended with {code:?}: {report:#}");
        self.tally.fscks += 1;
        Ok(())
    }

    /// The journal as it is: a copy, since the gateway has the folder, taken at rest.
    async fn journal(&self, world: &World) -> anyhow::Result<Vec<Recorded>> {
        let copy = copy_of(world)?;
        let (key, base) = (world.node_key(), self.base);
        tokio::task::spawn_blocking(move || {
            let journal = read_journal(&copy, &key, base);
            fs::remove_dir_all(copy)?;
            journal
        })
        .await?
    }

    /// Spoils a copy of the data folder: it must be found and located, and everything before and after must still be there.
    async fn damage_a_copy(&self, world: &World, torn: bool, draw: &mut Draw) -> anyhow::Result<()> {
        let copy = copy_of(world)?;
        let journal = copy.join("journal");
        let rescued = |folder: &Path| Reader::rescue(Arc::new(RealFiles::read_only(folder)?));
        let (sound, before) = rescued(&journal)?;
        ensure!(before.damage.is_empty() && before.last > self.base, "the copy is not sound before it is spoilt");
        let sound: Vec<_> = (1..=before.last.0).map(|position| sound.read(Position(position)).ok()).collect();
        let mut segments: Vec<PathBuf> =
            fs::read_dir(&journal)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        segments.retain(|path| path.extension().is_some_and(|ending| ending == "seg"));
        segments.sort();
        ensure!(!segments.is_empty(), "no segments in {}", journal.display());
        // Not in the last one's end: what is above the durable position is a torn write and no damage.
        let largest = segments.iter().max_by_key(|path| fs::metadata(path).map_or(0, |meta| meta.len()));
        let spoilt = largest.context("there is a segment")?;
        let mut bytes = fs::read(spoilt)?;
        let half = bytes.len() / 2;
        let at = 64 + draw.below(half.max(65) - 64);
        if torn {
            bytes.truncate(at)
        } else {
            bytes[at] ^= 1 << draw.below(8)
        }
        fs::write(spoilt, &bytes)?;

        let (code, report) = world.fsck(&copy).await?;
        ensure!(code == Some(3), "a spoilt byte at {at} of {} went unnoticed: {report:#}", spoilt.display());
        let problems = report["problems"].as_array().context("fsck names problems")?;
        ensure!(problems.iter().any(|problem| problem["invariant"] == "INV-0"), "it is not located: {report:#}");
        let (rest, after) = rescued(&journal)?;
        let damage = after.damage.first().context("the damage is located")?;
        let mut missing = 0;
        for (position, was) in (1..).map(Position).zip(&sound) {
            match rest.read(position).ok() {
                is if is == *was => {}
                None if position >= damage.position => missing += 1,
                other => bail!(
                    "record {position} before {damage:?} is {}",
                    if other.is_some() { "another one" } else { "gone" }
                ),
            }
        }
        // A flipped byte costs its frame and no more.
        ensure!(torn || missing <= 4_096, "{missing} records are unreadable for one flipped byte");
        fs::remove_dir_all(copy)?;
        Ok(())
    }
}

/// Hands dossiers in, one after the other and soon.
fn load(agencies: &Agencies, mut draw: Draw, dossiers: usize) -> JoinHandle<()> {
    let agencies = agencies.clone();
    tokio::spawn(async move {
        for _ in 0..dossiers {
            let large = draw.once_in(40);
            agencies.hand_in(&mut draw, large);
            tokio::time::sleep(draw.within(Duration::from_millis(16))).await;
        }
    })
}

/// Waits until a fault shows, for as long as there is a load for it to show in; says whether it has.
async fn shows(
    world: &mut World,
    mut shown: impl AsyncFnMut(&mut World) -> anyhow::Result<bool>,
) -> anyhow::Result<bool> {
    let begun = Instant::now();
    loop {
        if shown(world).await? {
            return Ok(true);
        }
        if begun.elapsed() > SHOWS_WITHIN || matches!(world.busy().await, Ok(None)) {
            return shown(world).await;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Waits for what must come, of somebody who must not end over it.
async fn until(world: &mut World, who: Who, what: &str, has_come: impl AsyncFn(&World) -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !has_come(world).await {
        ensure!(!world.has_ended(who)?, "{who:?} ended before it {what}");
        ensure!(begun.elapsed() < PATIENCE, "waited in vain until {who:?} {what}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    Ok(())
}

/// Waits for a death that must come.
async fn dies_at_its_point(world: &mut World, who: Who, when: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !world.has_died_at_its_point(who)? {
        ensure!(begun.elapsed() < PATIENCE, "{who:?} does not die when it {when}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    Ok(())
}

/// Waits until an adapter that was just started has renewed its certificate.
async fn renews(world: &mut World, adapter: usize) -> anyhow::Result<()> {
    until(world, Who::Adapter(adapter), "renews its certificate", async |world| world.renewals(adapter).await > 0).await
}

/// Whether the failure of its disk shows: it says that it is not ready, or ends because it can promise nothing any more.
async fn fails(world: &mut World, who: Who) -> anyhow::Result<bool> {
    shows(world, async |world| Ok(world.has_ended(who)? || !world.is_ready(who).await)).await
}

/// Journal and keys of the gateway, somewhere else.
fn copy_of(world: &World) -> anyhow::Result<PathBuf> {
    let copy = world.folder().join("copy");
    fs::create_dir_all(&copy)?;
    for part in ["journal", "keys"] {
        run("cp", ["-a"], &[world.data().join(part), copy.join(part)])?;
    }
    Ok(copy)
}

fn read_journal(data: &Path, node_key: &Path, base: Position) -> anyhow::Result<Vec<Recorded>> {
    let mut events = Vec::new();
    for record in ReadOnly::open(data, node_key)?.records() {
        let (position, fact) = record?;
        let Fact::Admitted(admitted) = fact else { continue };
        if Position(position) <= base {
            continue;
        }
        let event = &admitted.event;
        events.push(Recorded {
            by: event.by.to_string(),
            key: admitted.request_key.to_string(),
            dossier: event.code.to_string(),
            sequence: event.sequence,
            digest: admitted.body_sha256.to_string(),
            recipients: event.recipients.iter().map(ToString::to_string).collect(),
        });
    }
    Ok(events)
}

/// Damages sled's files, or the note beside them; whether something that was there is gone.
fn damage_index(data: &Path, how: Damage, draw: &mut Draw) -> anyhow::Result<bool> {
    let index = data.join("index");
    match how {
        Damage::Removed => fs::remove_dir_all(index)?,
        Damage::NoteRemoved => {
            // There is none before the first checkpoint.
            return Ok(fs::remove_file(data.join("index.checkpoint")).is_ok());
        }
        Damage::CutShort | Damage::Flipped => {
            let file = index.join("db");
            let mut bytes = fs::read(&file)?;
            if bytes.is_empty() {
                return Ok(false);
            }
            let at = draw.below(bytes.len());
            match how {
                Damage::CutShort => bytes.truncate(at),
                _ => bytes[at] ^= 0xff,
            }
            fs::write(&file, bytes)?;
        }
    }
    Ok(matches!(how, Damage::Removed))
}
