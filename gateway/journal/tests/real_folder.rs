//! The journal in a real folder: what the recorded disk cannot show, and records of every size.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use lgsp_journal::group::{GroupCommit, Limits};
use lgsp_journal::seal::{KeyRing, NodeKey};
use lgsp_journal::{
    AppendError, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_RECORD_BYTES, OpenError, Opened, Options, Position, Reader,
    RealFiles, open, verify,
};

fn journal(folder: &Path, segment_bytes: u64) -> Opened {
    let files = Arc::new(RealFiles::open(folder).expect("the folder is free"));
    open(files, Options { segment_bytes }).expect("opens")
}

/// A record whose length and content tell which one it is; now and then a long one.
fn record(number: u64) -> Vec<u8> {
    let length = match number {
        n if n % 97 == 0 => 300_000,
        n if n % 11 == 0 => 0,
        n => (n * 37 % 5_000) as usize,
    };
    number.to_le_bytes().into_iter().cycle().take(length).collect()
}

#[test]
fn records_of_every_size_are_found_over_segments_restarts_and_index_entries() {
    let folder = tempfile::tempdir().unwrap();
    let mut number = 1;
    for life in 0..4 {
        let Opened { mut writer, reader, .. } = journal(folder.path(), 1 << 20);
        assert_eq!(reader.durable(), Position(number - 1));
        while number <= 250 * (life + 1) {
            let batch: Vec<_> = (number..=number + number % 5).map(record).collect();
            let positions = writer.append(&batch).unwrap();
            assert_eq!(positions.start, Position(number));
            number = positions.end.0;
        }
        for wanted in [1, 2, 97, 98, 194, 240, number - 1] {
            assert_eq!(reader.read(Position(wanted)).unwrap(), record(wanted), "record {wanted}");
        }
        if life % 2 == 0 {
            writer.close().unwrap();
        }
    }

    let Opened { reader, recovered, .. } = journal(folder.path(), 1 << 20);
    assert!(!recovered.created && recovered.torn_bytes == 0);
    for from in [1, 96, 97, 500, number - 1] {
        let replayed = reader.replay(Position(from)).map(Result::unwrap);
        assert!(replayed.eq((from..number).map(|number| (Position(number), record(number)))), "from {from}");
    }
    assert_eq!(reader.replay(Position(number)).count(), 0);

    let mut steps = Vec::new();
    let files = RealFiles::read_only(folder.path()).unwrap();
    let report = verify(&files, &mut |progress| steps.push(progress)).unwrap();
    assert_eq!((report.first, report.last, report.damage.len()), (Position(1), Position(number - 1), 0));
    assert!(steps.len() > 3 && steps.len() == report.segments);
    assert_eq!(steps.last().unwrap().position, report.last);
}

#[test]
fn the_longest_record_fits_and_what_is_longer_is_refused_and_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let Opened { mut writer, reader, .. } = journal(folder.path(), 1 << 20);
    assert!(matches!(
        writer.append(&[vec![0; MAX_RECORD_BYTES + 1]]),
        Err(AppendError::RecordTooLong { bytes }) if bytes == MAX_RECORD_BYTES + 1
    ));
    let half = vec![0; MAX_BATCH_BYTES / 4];
    let batch = writer.append(&[half.clone(), half.clone(), half.clone(), half]);
    assert!(matches!(batch, Err(AppendError::BatchTooLong { records: 4, .. })));
    let many = writer.append(&vec![b""; MAX_BATCH_RECORDS + 1]);
    assert!(matches!(many, Err(AppendError::BatchTooLong { .. })));
    assert_eq!(writer.append::<Vec<u8>>(&[]).unwrap(), Position(1)..Position(1));

    writer.append(&[vec![7; MAX_RECORD_BYTES]]).unwrap();
    writer.append(&vec![b"x"; MAX_BATCH_RECORDS]).unwrap();
    let last = Position(1 + MAX_BATCH_RECORDS as u64);
    assert_eq!(reader.read(Position(1)).unwrap(), vec![7; MAX_RECORD_BYTES]);
    drop((writer, reader));
    let reader = journal(folder.path(), 1 << 20).reader;
    assert_eq!(reader.read(Position(1)).unwrap(), vec![7; MAX_RECORD_BYTES]);
    assert_eq!((reader.durable(), reader.read(last).unwrap()), (last, b"x".to_vec()));
}

#[test]
fn a_folder_that_is_open_cannot_be_opened_again_but_can_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let mut held = journal(folder.path(), 1 << 20);
    held.writer.append(&[b"one"]).unwrap();
    assert_eq!(RealFiles::open(folder.path()).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);

    let looking = Arc::new(RealFiles::read_only(folder.path()).unwrap());
    let before = fs::read_dir(folder.path()).unwrap().count();
    let (reader, report) = Reader::rescue(looking.clone()).unwrap();
    assert_eq!((report.last, reader.read(Position(1)).unwrap()), (Position(1), b"one".to_vec()));
    assert!(matches!(open(looking, Options::default()), Err(OpenError::Io(_))), "reading only does not open");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
}

#[test]
fn an_unfinished_segment_is_cleared_away_and_a_tail_that_was_cut_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = journal(folder.path(), 1 << 20);
    opened.writer.append(&[b"one"]).unwrap();
    opened.writer.append(&[b"two"]).unwrap();
    drop(opened);
    fs::write(folder.path().join("0000000002.seg.tmp"), b"half a head").unwrap();
    fs::write(folder.path().join("0000000009.idx"), b"of no segment").unwrap();
    fs::write(folder.path().join("README"), b"not ours").unwrap();
    let segment = folder.path().join("0000000001.seg");
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, &bytes[..bytes.len() - 1]).unwrap();

    let Opened { reader, recovered, .. } = journal(folder.path(), 1 << 20);
    // The head of the torn frame still says that the first record was durable when it was written.
    assert_eq!((reader.durable(), recovered.copied), (Position(1), 0));
    assert!(recovered.torn_bytes > 0);
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["0000000001.idx", "0000000001.seg", "0000000002.seg", "README", "lock"]);
}

#[test]
fn many_threads_share_syncs_while_others_read() {
    const CALLERS: u64 = 16;
    const EACH: u64 = 50;
    let folder = tempfile::tempdir().unwrap();
    let Opened { writer, reader, .. } = journal(folder.path(), 64 << 10);
    let group = GroupCommit::start(writer, Limits::default(), |_: &[(Position, Vec<u8>)]| ()).unwrap();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (handle, reader) = (group.handle(), reader.clone());
            scope.spawn(move || {
                let (answer, answered) = channel();
                for number in 0..EACH {
                    let record = format!("{caller}/{number}/{}", "x".repeat(200)).into_bytes();
                    let answer = answer.clone();
                    handle.submit(record.clone(), move |done| answer.send(done).unwrap()).unwrap();
                    let position = answered.recv().unwrap().unwrap();
                    assert_eq!(reader.read(position).unwrap(), record, "what was answered can be read");
                }
            });
        }
        let reader = reader.clone();
        scope.spawn(move || {
            let mut next = Position::FIRST;
            while next <= Position(CALLERS * EACH) {
                for record in reader.replay(next) {
                    let (position, _) = record.expect("a replay beside the writer meets no damage");
                    assert_eq!(position, next);
                    next = position.next();
                }
                thread::yield_now();
            }
        });
    });
    assert!(group.handle().gauges().batches() < CALLERS * EACH, "syncs were shared");
    group.stop().unwrap();
    drop(reader);
    let reader = journal(folder.path(), 64 << 10).reader;
    assert_eq!(reader.replay(Position::FIRST).count() as u64, CALLERS * EACH);
}

#[test]
fn keys_live_in_a_folder_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let node = NodeKey::load_or_create(&folder.path().join("node.key")).unwrap();
    let ring = |node| KeyRing::open(Arc::new(RealFiles::open(folder.path().join("keys")).unwrap()), node).unwrap();
    let first = ring(&node);
    let (id, key) = first.next().unwrap();
    let sealed = key.seal(b"H57.1-250714-0001", b"content");
    drop(first);
    let again = ring(&NodeKey::load(&folder.path().join("node.key")).unwrap());
    assert_eq!(again.get(id).unwrap().open(b"H57.1-250714-0001", &sealed).unwrap(), b"content");
    assert_eq!(fs::metadata(folder.path().join("keys/00000001.keys")).unwrap().len(), 61_504);
}
