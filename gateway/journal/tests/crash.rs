//! Every state that a crash may leave, and what recovery makes of it.
//!
//! The promise under test: *for every prefix of the recorded writes, every unsynced write kept, dropped or torn, recovery serves
//! all answered records, and nothing unanswered as answered before it is synced.* Small histories are enumerated whole, crashes
//! of the recovery included; longer ones are drawn at random, over several lives.

use lgsp_journal::testing::{Disk, Fault};
use lgsp_journal::{AppendError, OpenError, Opened, Options, Position, ReadError, Reader, open, verify};
use proptest::prelude::*;

/// The bytes of the record that is submitted as number `number`: told apart by content and by length.
fn record(number: usize) -> Vec<u8> {
    vec![b'a' + (number % 26) as u8; 3 + number % 7]
}

fn records(numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    numbers.map(record).collect()
}

/// Segments so short that a few records fill one.
const SHORT: Options = Options { segment_bytes: 200 };

fn served(reader: &Reader) -> Vec<Vec<u8>> {
    let replayed: Vec<_> =
        reader.replay(Position::FIRST).map(|record| record.expect("what is served is sound")).collect();
    for (number, (position, bytes)) in (1..).zip(&replayed) {
        assert_eq!(*position, Position(number), "positions run from 1 without a gap");
        assert_eq!(&reader.read(*position).expect("what is replayed is read"), bytes);
    }
    replayed.into_iter().map(|(_, bytes)| bytes).collect()
}

/// Opens what a crash left and checks the promise; answers how many records there are from now on.
fn recovers(disk: &Disk, answered: usize, submitted: &[Vec<u8>]) -> usize {
    let Opened { writer, reader, .. } = open(disk.files(), SHORT).expect("a crash is no damage");
    let found = served(&reader);
    assert!(found.len() >= answered, "{answered} were answered, {} are served", found.len());
    assert_eq!(found, submitted[..found.len()], "only what was submitted is served, in order");

    let report = verify(&disk.clone(), &mut |_| ()).expect("readable");
    assert_eq!(report.damage, []);
    assert_eq!((report.last, report.torn_bytes), (Position(found.len() as u64), 0));

    // What is served now must be durable now, and not only in the page cache.
    let cut = disk.power_cut_dropping_all();
    let again = open(cut.files(), SHORT).expect("a power cut after opening is no damage");
    assert_eq!(served(&again.reader), found, "a power cut took what had been served");
    drop(writer);
    found.len()
}

/// A life that was recorded: the disk, what was submitted in it, and after which operation how many were answered.
struct Life {
    disk: Disk,
    submitted: Vec<Vec<u8>>,
    answers: Vec<(usize, usize)>,
}

impl Life {
    /// A first life, on an empty disk.
    fn first(batches: &[usize], close: bool) -> Self {
        Self::live(Disk::new(), Vec::new(), 0, batches, close)
    }

    /// Opens `disk`, which holds `known` of which so many had been answered, and appends batches of the given sizes.
    fn live(disk: Disk, known: Vec<Vec<u8>>, answered: usize, batches: &[usize], close: bool) -> Self {
        let mut life = Self { answers: vec![(0, answered)], submitted: known, disk };
        let Opened { mut writer, .. } = open(life.disk.files(), SHORT).expect("opens");
        // What the journal opens with it serves, so from here on it must not be lost.
        life.answers.push((life.disk.operations(), life.submitted.len()));
        for &size in batches {
            let first = life.submitted.len();
            let batch = records(first..first + size);
            life.submitted.extend(batch.clone());
            let positions = writer.append(&batch).expect("appends");
            assert_eq!(positions, Position(first as u64 + 1)..Position((first + size) as u64 + 1));
            life.answers.push((life.disk.operations(), life.submitted.len()));
        }
        if close {
            writer.close().expect("closes");
        }
        life
    }

    fn answered_after(&self, operations: usize) -> usize {
        self.answers.iter().filter(|(at, _)| *at <= operations).map(|(_, count)| *count).max().unwrap_or(0)
    }

    /// Every disk that a crash in this life may leave, by power cut or by kill, with what had been answered by then.
    fn crashes(&self) -> Vec<(Disk, usize)> {
        let mut crashes = Vec::new();
        for operations in 0..=self.disk.operations() {
            let killed = self.disk.killed_after(operations);
            let answered = self.answered_after(operations);
            crashes.extend(killed.power_cuts().into_iter().map(|disk| (disk, answered)));
            crashes.push((killed, answered));
        }
        crashes
    }
}

#[test]
fn every_crash_keeps_every_answer() {
    let life = Life::first(&[1, 3, 2, 6, 1], true);
    assert!(life.disk.names().iter().filter(|name| name.ends_with(".seg")).count() >= 3, "the history rolls over");
    let crashes = life.crashes();
    assert!(crashes.len() > 100, "{} states are not all of them", crashes.len());
    for (disk, answered) in crashes {
        recovers(&disk, answered, &life.submitted);
    }
}

#[test]
fn every_crash_of_a_recovery_is_recovered_from() {
    let life = Life::first(&[1, 3, 2], false);
    let mut states = 0;
    for (crashed, answered) in life.crashes() {
        // The recovery is itself recorded: `open` on a copy of the crashed disk, stopped after each of its operations.
        let recovery = crashed.killed();
        drop(open(recovery.files(), SHORT).expect("a crash is no damage"));
        for operations in 0..=recovery.operations() {
            let killed = recovery.killed_after(operations);
            for disk in killed.power_cuts().into_iter().chain([killed]) {
                recovers(&disk, answered, &life.submitted);
                states += 1;
            }
        }
    }
    assert!(states > 1_000, "{states} states are not all of them");
}

#[test]
fn every_crash_of_the_recovery_of_a_killed_recovery_is_recovered_from() {
    // Three processes: one is killed with its last batch not synced, the next while it copies that, and the third has to
    // build on names and bytes that may still be taken back.
    let life = Life::first(&[2, 1, 2], false);
    let first = life.disk.killed_after(life.disk.operations() - 1);
    drop(open(first.files(), SHORT).expect("a kill is no damage"));
    for killed in (0..=first.operations()).map(|operations| first.killed_after(operations)) {
        let second = killed.killed();
        drop(open(second.files(), SHORT).expect("a kill is no damage"));
        for killed in (0..=second.operations()).map(|operations| second.killed_after(operations)) {
            for disk in killed.power_cuts().into_iter().chain([killed]) {
                recovers(&disk, 3, &life.submitted);
            }
        }
    }
}

#[test]
fn every_crash_of_a_life_after_a_kill_keeps_what_that_life_began_with() {
    // The first life is killed with its last batch written and not synced; the second copies it and goes on.
    let first = Life::first(&[2, 1, 2], false);
    let unsynced = first.disk.killed_after(first.disk.operations() - 1);
    assert_eq!(unsynced.power_cuts().len(), 5, "one write is in doubt");
    let second = Life::live(unsynced, first.submitted, 3, &[1, 4, 1], true);
    for (crashed, answered) in second.crashes() {
        recovers(&crashed, answered, &second.submitted);
    }
}

#[test]
fn restarts_without_work_leave_no_files_behind() {
    let mut disk = Life::first(&[2, 1], false).disk;
    for restart in 0..10 {
        disk = if restart % 2 == 0 { disk.killed() } else { disk.power_cut_dropping_all() };
        assert_eq!(served(&open(disk.files(), SHORT).unwrap().reader), records(0..3));
        assert!(disk.names().iter().filter(|name| name.ends_with(".seg")).count() <= 3, "{:?}", disk.names());
    }
}

#[test]
fn an_orderly_end_leaves_nothing_to_copy() {
    let closed = Life::first(&[2, 1], true).disk;
    assert_eq!(open(closed.killed().files(), SHORT).unwrap().recovered.copied, 0);
    let crashed = Life::first(&[2, 1], false).disk;
    assert_eq!(open(crashed.killed().files(), SHORT).unwrap().recovered.copied, 1);
}

#[test]
fn a_failure_at_any_operation_poisons_and_loses_no_answer() {
    let healthy = Life::first(&[1, 3, 6, 1], true);
    let mut poisonings = 0;
    for fault in [Fault::Error, Fault::Full] {
        for failing in 0..healthy.disk.attempts() {
            let disk = Disk::new();
            disk.fail_after(failing, fault);
            let mut answered = 0;
            let mut submitted = Vec::new();
            if let Ok(Opened { mut writer, reader, .. }) = open(disk.files(), SHORT) {
                for size in [1, 3, 6, 1] {
                    let batch = records(submitted.len()..submitted.len() + size);
                    match writer.append(&batch) {
                        Ok(_) => {
                            submitted.extend(batch);
                            answered = submitted.len();
                        }
                        Err(AppendError::Failed(_)) => {
                            poisonings += 1;
                            // The batch may be found whole after a restart; until then nobody sees it.
                            submitted.extend(batch);
                            assert!(reader.is_poisoned());
                            let next = Position(answered as u64 + 1);
                            assert!(matches!(reader.read(next), Err(ReadError::NotWritten { .. })));
                            let operations = disk.operations();
                            assert!(matches!(writer.append(&[b"more"]), Err(AppendError::Poisoned)));
                            assert_eq!(disk.operations(), operations, "a poisoned journal writes nothing");
                            break;
                        }
                        Err(error) => panic!("{error}"),
                    }
                    assert_eq!(served(&reader), submitted, "reading goes on");
                }
                assert_eq!(served(&reader), submitted[..answered]);
            }
            for crashed in disk.power_cuts().into_iter().chain([disk.killed()]) {
                recovers(&crashed, answered, &submitted);
            }
        }
    }
    assert!(poisonings > 10, "{poisonings} poisonings");
}

#[test]
fn a_failure_at_any_operation_of_a_recovery_loses_no_answer() {
    let life = Life::first(&[1, 3, 2], false);
    let torn = life.disk.killed_after(life.disk.operations() - 1);
    for fault in [Fault::Error, Fault::Full] {
        for failing in 0..12 {
            let recovery = torn.killed();
            recovery.fail_after(failing, fault);
            let opened = open(recovery.files(), SHORT).is_ok();
            for crashed in recovery.power_cuts().into_iter().chain([recovery.killed()]) {
                recovers(&crashed, if opened { 6 } else { 4 }, &life.submitted);
            }
        }
    }
}

/// The last segment's name and bytes.
fn newest(disk: &Disk) -> String {
    disk.names().into_iter().filter(|name| name.ends_with(".seg")).max().expect("there is a segment")
}

#[test]
fn a_flipped_bit_below_the_durable_position_is_located_and_hides_nothing_else() {
    const ROOMY: Options = Options { segment_bytes: 1 << 20 };
    let disk = Disk::new();
    let mut writer = open(disk.files(), ROOMY).unwrap().writer;
    for batch in [0..2, 2..3, 3..7, 7..9] {
        writer.append(&records(batch)).unwrap();
    }
    let name = newest(&disk);
    // The last frame's header proves that all before it was durable, so up to there a flip is damage.
    let length = disk.contents(&name).len();
    let last_frame = length - 52 - (0..2).map(|at| 8 + record(7 + at).len()).sum::<usize>();
    for at in 0..last_frame {
        let damaged = disk.killed();
        damaged.tamper(&name, |bytes| bytes[at] ^= 0x10);

        let refused = open(damaged.files(), ROOMY).expect_err("damage is never opened over");
        let (offset, position) = match refused {
            OpenError::Corrupt { segment: 1, offset, position } => (offset, position),
            other => panic!("byte {at}: {other}"),
        };
        assert!(offset <= at as u64 && at as u64 - offset < 64, "byte {at} is said to be at {offset}");
        assert_eq!(damaged.contents(&name).len(), length, "a refused journal is left alone");

        let (reader, report) = Reader::rescue(damaged.files()).unwrap();
        assert_eq!(report.damage.len(), 1, "byte {at}: {report:?}");
        assert_eq!((report.damage[0].offset, report.damage[0].position), (offset, position), "byte {at}");
        if (16..32).contains(&at) {
            continue; // The journal's id itself: without it no frame is known for its own, and the report says so.
        }
        assert_eq!(report.last, Position(9));
        let lost: Vec<u64> = (1..=9)
            .filter(|&number| match reader.read(Position(number)) {
                Ok(bytes) => {
                    assert_eq!(bytes, record(number as usize - 1), "byte {at}");
                    false
                }
                Err(ReadError::Damaged { .. }) => true,
                Err(other) => panic!("byte {at}: {other}"),
            })
            .collect();
        // A flip in a record's length hides the rest of its frame; anything else hides at most the record it is in.
        assert!(lost.len() <= 4, "byte {at} hides {lost:?}");
        assert!(lost.first().is_none_or(|first| *first == position.0), "byte {at}: {lost:?} from {position}");
    }
}

#[test]
fn a_flipped_bit_above_the_durable_position_is_a_torn_tail() {
    let disk = Disk::new();
    let mut writer = open(disk.files(), SHORT).unwrap().writer;
    writer.append(&records(0..2)).unwrap();
    let start = disk.contents("0000000001.seg").len();
    writer.append(&records(2..4)).unwrap();
    let length = disk.contents("0000000001.seg").len();
    for at in start..length {
        let torn = disk.killed();
        torn.tamper("0000000001.seg", |bytes| bytes[at] ^= 1);
        let report = verify(&torn.clone(), &mut |_| ()).unwrap();
        assert_eq!((report.last, report.damage.len()), (Position(2), 0), "byte {at}: {report:?}");
        assert!(report.torn_bytes > 0, "byte {at}");
        let opened = open(torn.files(), SHORT).unwrap();
        assert_eq!(served(&opened.reader), records(0..2), "byte {at}");
        assert_eq!(opened.recovered.torn_bytes, (length - start) as u64);
    }
}

#[test]
fn a_flipped_bit_in_what_a_recovery_copied_is_damage() {
    let disk = Life::first(&[1, 2], false).disk.killed();
    assert_eq!(open(disk.files(), SHORT).unwrap().recovered.copied, 2);
    let name = newest(&disk);
    for at in 64..disk.contents(&name).len() {
        let damaged = disk.killed();
        damaged.tamper(&name, |bytes| bytes[at] ^= 1);
        let refused = open(damaged.files(), SHORT).expect_err("it was synced before it was served");
        assert!(matches!(refused, OpenError::Corrupt { segment: 2, .. }), "byte {at}: {refused}");
        assert_eq!(verify(&damaged, &mut |_| ()).unwrap().damage.len(), 1);
    }
}

#[test]
fn damage_in_a_sealed_segment_is_found_without_its_sidecar_and_by_reading() {
    let disk = Life::first(&[3, 3, 3, 3, 3], true).disk;
    assert!(disk.names().contains(&"0000000001.idx".to_owned()));
    // The first record of the first segment: behind the segment's header, a frame's header and its own.
    disk.tamper("0000000001.seg", |bytes| bytes[64 + 52 + 8] ^= 1);
    let opened = open(disk.killed().files(), SHORT).expect("sealed segments are not read when they have a sidecar");
    assert!(matches!(
        opened.reader.read(Position(1)),
        Err(ReadError::Damaged { segment: 1, offset: 116, position: Position(1) })
    ));
    assert_eq!(opened.reader.read(Position(2)).unwrap(), record(1));
    assert_eq!(verify(&disk, &mut |_| ()).unwrap().damage.len(), 1);

    disk.remove_file("0000000001.idx");
    assert!(matches!(
        open(disk.killed().files(), SHORT),
        Err(OpenError::Corrupt { segment: 1, offset: 116, position: Position(1) })
    ));
}

#[test]
fn a_missing_shortened_or_foreign_segment_is_named() {
    let disk = Life::first(&[3, 3, 3, 3, 3], true).disk;
    let opening = |change: &dyn Fn(&Disk)| {
        let changed = disk.killed();
        change(&changed);
        let damage = verify(&changed, &mut |_| ()).unwrap().damage;
        assert!(!damage.is_empty(), "verify sees it too");
        open(changed.files(), SHORT).expect_err("refused")
    };
    assert!(matches!(opening(&|disk| disk.remove_file("0000000002.seg")), OpenError::Missing { segment: 2 }));
    let shorter = |disk: &Disk| disk.tamper("0000000002.seg", |bytes| bytes.truncate(100));
    assert!(matches!(opening(&shorter), OpenError::Corrupt { segment: 2, .. }));
    let empty = |disk: &Disk| {
        let newest = newest(disk);
        disk.tamper(&newest, Vec::clear);
    };
    assert!(matches!(opening(&empty), OpenError::Corrupt { offset: 0, .. }));
    let other = Life::first(&[3, 3, 3, 3, 3], true).disk.contents("0000000002.seg");
    let foreign = |disk: &Disk| disk.tamper("0000000002.seg", |bytes| *bytes = other.clone());
    assert!(matches!(opening(&foreign), OpenError::Foreign { segment: 2 }));
}

#[test]
fn sidecars_that_are_missing_or_wrong_are_made_again() {
    let disk = Life::first(&[3, 3, 3, 3, 3], true).disk;
    disk.tamper("0000000001.idx", |bytes| bytes[70] ^= 1);
    disk.remove_file("0000000002.idx");
    let sound = disk.killed();
    assert_eq!(served(&open(sound.files(), SHORT).unwrap().reader), records(0..15));
    assert!(sound.names().contains(&"0000000002.idx".to_owned()));
    assert_ne!(sound.contents("0000000001.idx"), disk.contents("0000000001.idx"));
}

#[test]
fn forgetting_survives_every_crash() {
    let disk = Life::first(&[3, 3, 3, 3, 3], true).disk.killed();
    let Opened { mut writer, reader, .. } = open(disk.files(), SHORT).unwrap();
    let first = writer.forget(Position(8)).unwrap();
    assert!(first > Position(1) && first <= Position(8), "whole segments only: {first}");
    assert!(matches!(reader.read(first.previous()), Err(ReadError::Forgotten { .. })));
    assert_eq!(reader.replay(first).count() as u64, 15 - first.previous().0);
    for operations in 0..=disk.operations() {
        for crashed in disk.killed_after(operations).power_cuts() {
            let reader = open(crashed.files(), SHORT).expect("no gap is left").reader;
            for number in first.0..=15 {
                assert_eq!(reader.read(Position(number)).unwrap(), record(number as usize - 1));
            }
        }
    }
}

#[test]
fn forgetting_again_after_a_failure_leaves_no_gap() {
    let written = Life::first(&[3, 3, 3, 3, 3], true).disk;
    // The segments go one after the other, each in three steps: its name, the folder's sync, its index.
    for failing in 0..6 {
        let disk = written.killed();
        let Opened { mut writer, reader, .. } = open(disk.files(), SHORT).unwrap();
        let segments = disk.names().iter().filter(|name| name.ends_with(".seg")).count();
        disk.fail_after(failing, Fault::Error);
        let failed = writer.forget(Position(15)).is_err();
        assert_eq!(failed, failing % 3 != 2, "operation {failing}");
        // Whether the record is still there or not, it is not said to be damaged or the disk to fail.
        for number in 1..15 {
            match reader.read(Position(number)) {
                Ok(read) => assert_eq!(read, record(number as usize - 1)),
                Err(ReadError::Forgotten { .. }) => {}
                Err(error) => panic!("record {number} after operation {failing}: {error}"),
            }
        }
        for crashed in disk.power_cuts() {
            open(crashed.files(), SHORT).unwrap_or_else(|error| panic!("after operation {failing}: {error}"));
        }
        let first = writer.forget(Position(15)).unwrap();
        assert!(disk.names().iter().filter(|name| name.ends_with(".seg")).count() < segments - 1);
        for crashed in disk.power_cuts() {
            let reader = open(crashed.files(), SHORT).expect("no gap is left").reader;
            assert_eq!((reader.first(), reader.durable()), (first, Position(15)));
            assert_eq!(reader.replay(first).filter(Result::is_ok).count() as u64, 15 - first.previous().0);
        }
    }
}

/// What happens in one drawn life.
#[derive(Clone, Debug)]
struct Drawn {
    batches: Vec<usize>,
    close: bool,
    /// Where in the life's operations it ends, in 256ths.
    crash: u8,
    power: bool,
    fates: Vec<u8>,
    fault: Option<(u8, bool)>,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    (
        prop::collection::vec(1..8_usize, 0..12),
        any::<bool>(),
        any::<u8>(),
        any::<bool>(),
        prop::collection::vec(any::<u8>(), 1..12),
        prop::option::weighted(0.3, (any::<u8>(), any::<bool>())),
    )
        .prop_map(|(batches, close, crash, power, fates, fault)| Drawn {
            batches,
            close,
            crash,
            power,
            fates,
            fault,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chain_of_lives_and_crashes_keeps_every_answer(lives in prop::collection::vec(drawn(), 1..8)) {
        let mut disk = Disk::new();
        // What an outsider has a right to: everything that was once answered or served.
        let mut owed: Vec<Vec<u8>> = Vec::new();
        let mut unique = 0;
        for life in lives {
            if let Some((skipped, full)) = life.fault {
                disk.fail_after(usize::from(skipped) % 40, if full { Fault::Full } else { Fault::Error });
            }
            // After this many operations so many were owed; all that were submitted in this life follow.
            let mut answers = vec![(0, owed.len())];
            let mut possible = owed.clone();
            if let Ok(Opened { mut writer, reader, .. }) = open(disk.files(), SHORT) {
                let found = served(&reader);
                prop_assert_eq!(&found[..owed.len()], &owed[..]);
                possible = found;
                answers.push((disk.operations(), possible.len()));
                for size in life.batches {
                    let batch: Vec<Vec<u8>> = (unique..unique + size).map(|n| n.to_string().into_bytes()).collect();
                    unique += size;
                    possible.extend(batch.clone());
                    if writer.append(&batch).is_err() {
                        break;
                    }
                    answers.push((disk.operations(), possible.len()));
                }
                if life.close {
                    let _ = writer.close();
                }
            } else {
                // Opening failed on a fault before anything was served: what the last life left possible is not known here.
                possible.clear();
            }
            let operations = disk.operations() * usize::from(life.crash) / 255;
            disk = disk.killed_after(operations);
            if life.power {
                let mut fates = life.fates.iter().cycle();
                disk = disk.power_cut(|options| usize::from(*fates.next().expect("a cycle")) % options);
            }
            let answered = answers.iter().filter(|(at, _)| *at <= operations).map(|(_, count)| *count).max().unwrap_or(0);

            // Looked at without opening, so that the next life still has to recover for itself.
            let found = served(&open(disk.killed().files(), SHORT).expect("a crash is no damage").reader);
            prop_assert!(found.len() >= answered, "{} answered, {} found", answered, found.len());
            prop_assert_eq!(&found[..owed.len()], &owed[..]);
            if !possible.is_empty() {
                prop_assert_eq!(&found[..], &possible[..found.len()]);
                owed = possible[..answered].to_vec();
            }
        }
    }
}
