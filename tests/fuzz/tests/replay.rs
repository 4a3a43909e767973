//! What the fuzzer found worth keeping, through every target once more: without a fuzzer, by `cargo test`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lgsp_fuzz::TARGETS;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");

#[test]
fn whatever_was_ever_found_is_read_or_refused_and_breaks_nothing() {
    for target in TARGETS {
        let folder = Path::new(CORPUS).join(target.name);
        let inputs = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for input in inputs {
            let path = input.expect("the folder is readable").path();
            // Told when it breaks: the test's output is shown then.
            println!("{}", path.display());
            (target.run)(&fs::read(&path).expect("the file is readable"));
            count += 1;
        }
        assert!(count > 0, "{} has no corpus", target.name);
    }
}

#[test]
fn every_corpus_is_a_targets() {
    let folders = fs::read_dir(CORPUS).expect("there is a corpus");
    let folders: BTreeSet<String> =
        folders.map(|folder| folder.expect("readable").file_name().into_string().expect("a name in ASCII")).collect();
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(folders, targets);
}
