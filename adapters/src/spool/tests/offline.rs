//! What was taken in without a line: numbers, order, and the list of what was given in vain.

use super::*;

const DAY: lgsp_proto::types::Date = lgsp_proto::types::Date::constant(2025, 7, 14);

/// A block of three numbers for H57.101 in the name of H57.12.
fn block(first: u32) -> v1::NumberBlock {
    v1::NumberBlock { authority: "H57.12".into(), day: DAY.to_string(), first, count: 3 }
}

fn desk() -> PartyId {
    "H57.101".parse().unwrap()
}

fn take(spool: &Spool) -> Option<String> {
    let number = spool.take_number(&desk(), &"H57.12".parse().unwrap(), DAY)?;
    Some(format!("H57.12-250714-{number:04}"))
}

/// Everything that is left to give out.
fn left(spool: &Spool) -> Vec<String> {
    std::iter::from_fn(|| take(spool)).collect()
}

/// Takes a dossier in as a desk without a line does; gives the code, or the provisional number when there was none.
async fn take_in(spool: &Spool, key: &str) -> String {
    let code = take(spool);
    let provisional = if code.is_none() { spool.take_provisional(&desk(), DAY) } else { String::new() };
    let intake = stored::OfflineIntake {
        dossier_code: code.clone().unwrap_or_default(),
        provisional_number: provisional.clone(),
        competent_authority: "H57.12".into(),
        ..stored::OfflineIntake::default()
    };
    let body = v1::Submission { request_key: key.into(), ..v1::Submission::default() }.encode_to_vec().into();
    spool.queue(NewCall { offline: Some(intake), body, ..call(key, key) }).await.unwrap();
    code.unwrap_or(provisional)
}

#[tokio::test]
async fn a_number_that_was_told_is_never_told_again_wherever_the_crash() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { max_outgoing: NonZeroUsize::new(100).unwrap(), ..options(folder.path()) };
    let disk = Disk::new();
    let mut told: Vec<(usize, String)> = Vec::new();
    let mut cuts = Vec::new();
    {
        let spool = Spool::open_over(&options, disk.files()).unwrap();
        spool.leased(&desk(), 1, &[block(5)]).await.unwrap();
        for key in ["1", "2", "3", "4"] {
            let number = take_in(&spool, key).await;
            told.push((disk.operations(), number));
            cuts.push((told.len(), disk.power_cuts()));
            if key == "2" {
                spool.leased(&desk(), 1, &[block(5), block(20)]).await.unwrap();
            }
        }
    }
    let before: Vec<_> = told.iter().map(|(_, number)| number.as_str()).collect();
    assert_eq!(before, ["H57.12-250714-0005", "H57.12-250714-0006", "H57.12-250714-0007", "H57.12-250714-0020"]);
    let check = async |disk: &Disk, told: &[(usize, String)], what: &str| {
        let spool = Spool::open_over(&options, disk.files()).unwrap();
        // The gateway lists what it leased, whatever became of it here.
        spool.leased(&desk(), 1, &[block(5), block(20)]).await.unwrap();
        let again = left(&spool);
        assert!(told.iter().all(|(_, number)| !again.contains(number)), "{what}: {told:?} and again {again:?}");
        assert!(spool.counts().offline_waiting >= told.len(), "{what}");
    };
    for operations in 0..=disk.operations() {
        let told = told.iter().filter(|(at, _)| *at <= operations).cloned().collect::<Vec<_>>();
        check(&disk.killed_after(operations), &told, &format!("killed after {operations}")).await;
    }
    for (count, cuts) in cuts {
        for cut in cuts {
            check(&cut, &told[..count], &format!("power cut after {count}")).await;
        }
    }
}

#[tokio::test]
async fn a_provisional_number_is_unique_over_restarts_and_tidying_up() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { keep_outcomes: Duration::ZERO, restate_after: 0, places: HashMap::new(), ..options(folder.path()) };
    let mut given = std::collections::BTreeSet::new();
    for key in ["1", "2", "3", "4"] {
        let spool = Spool::open(&options).unwrap();
        let number = take_in(&spool, key).await;
        assert!(number.starts_with("TN-H57.101-250714-") && number.ends_with(&format!("-{key:0>4}")), "{number}");
        assert!(given.insert(number));
        spool.answered(&call_id("H57.101", key), &admitted("H57.12-250714-0001")).await.unwrap();
    }
}

#[tokio::test]
async fn tidying_up_keeps_how_far_numbers_were_used_wherever_it_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Options { places: HashMap::new(), keep_outcomes: Duration::ZERO, ..options(folder.path()) };
    let disk = Disk::new();
    {
        let spool = Spool::open_over(&kept, disk.files()).unwrap();
        spool.leased(&desk(), 7, &[block(5)]).await.unwrap();
        for (key, outcome) in [("1", admitted("H57.12-250714-0005")), ("2", refused())] {
            take_in(&spool, key).await;
            spool.answered(&call_id("H57.101", key), &outcome).await.unwrap();
        }
        // Much that is finished, so that there is something to tidy up.
        for number in 0..20 {
            let key = format!("done-{number}");
            spool.queue(call(&key, "x")).await.unwrap();
            spool.answered(&call_id("H57.101", &key), &refused()).await.unwrap();
        }
    }
    let tidying = Options { restate_after: 1, ..kept };
    let disk = disk.killed();
    drop(Spool::open_over(&tidying, disk.files()).unwrap());
    assert!(disk.operations() > 0);
    let check = |disk: &Disk, what: &str| {
        let spool = Spool::open_over(&tidying, disk.files()).unwrap();
        assert_eq!((spool.counts().exceptions, spool.counts().admitted), (1, 0), "{what}");
        assert_eq!(spool.shared.state().numbers.epoch(), 7, "{what}");
        assert_eq!(left(&spool), ["H57.12-250714-0007"], "{what}");
    };
    for operations in 0..=disk.operations() {
        check(&disk.killed_after(operations), &format!("killed after {operations}"));
    }
    disk.power_cuts().iter().for_each(|cut| check(cut, "power cut"));
}

#[tokio::test]
async fn a_number_given_in_vain_stays_listed_until_a_clerk_has_worked_it_off() {
    let folder = tempfile::tempdir().unwrap();
    let kept =
        Options { keep_outcomes: Duration::ZERO, restate_after: 0, places: HashMap::new(), ..options(folder.path()) };
    let id = call_id("H57.101", "1");
    {
        let spool = Spool::open(&kept).unwrap();
        spool.leased(&desk(), 1, &[block(5)]).await.unwrap();
        take_in(&spool, "1").await;
        spool.answered(&id, &refused()).await.unwrap();
    }
    let handling = |note: &str, replaced_by: Option<&str>| Handling {
        actor: "can.bo".parse().unwrap(),
        note: note.to_owned(),
        replaced_by: replaced_by.map(|key| key.parse().unwrap()),
    };
    {
        // Its time is long over, and it was tidied up meanwhile.
        let spool = Spool::open(&kept).unwrap();
        spool.tidy_up();
        let listed = spool.exceptions(&desk(), 0, false, 10).unwrap();
        let [exception] = &listed[..] else { panic!("{}", listed.len()) };
        assert_eq!(exception.intake.dossier_code, "H57.12-250714-0005");
        assert!(exception.handled.is_none());
        assert!(spool.exceptions(&"H57.12".parse().unwrap(), 0, true, 10).unwrap().is_empty());
        assert!(spool.exceptions(&desk(), exception.place, true, 10).unwrap().is_empty());

        let unknown = call_id("H57.101", "2");
        assert_eq!(spool.handle_exception(&unknown, &handling("x", None)).await, Err(HandleError::Unknown));
        let replaced = handling("x", Some("2"));
        assert_eq!(spool.handle_exception(&id, &replaced).await, Err(HandleError::NoSuchReplacement));
        spool.queue(call("2", "2")).await.unwrap();
        let replaced = handling("đã nộp lại", Some("2"));
        spool.handle_exception(&id, &replaced).await.unwrap();
        spool.handle_exception(&id, &replaced).await.unwrap();
        assert_eq!(spool.handle_exception(&id, &handling("khác", None)).await, Err(HandleError::Already));
        assert_eq!(spool.counts().exceptions, 0);
    }
    // Worked off, it has its time like any outcome. The number stays used.
    let spool = Spool::open(&Options { keep_outcomes: Duration::from_secs(3600), ..kept }).unwrap();
    let [exception] = &spool.exceptions(&desk(), 0, true, 10).unwrap()[..] else { panic!() };
    let handled = exception.handled.as_ref().unwrap();
    assert_eq!((&*handled.note, &*handled.replaced_by_request_key), ("đã nộp lại", "2"));
    assert_eq!(left(&spool), ["H57.12-250714-0006", "H57.12-250714-0007"]);
}

#[tokio::test]
async fn what_was_taken_in_without_a_line_goes_in_order_with_what_was_said_about_it() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { max_outgoing: NonZeroUsize::new(100).unwrap(), ..options(folder.path()) };
    {
        let spool = Spool::open(&options).unwrap();
        spool.leased(&desk(), 1, &[block(5)]).await.unwrap();
        let code = take_in(&spool, "1").await;
        spool.queue(entry("1-entry", &code)).await.unwrap();
        take_in(&spool, "2").await;
        spool.queue(entry("1-later", &code)).await.unwrap();
        spool.queue(entry("other", "H57.12-250714-9999")).await.unwrap();
        spool.queue(call("online", "x")).await.unwrap();
    }
    // A refusal does not block the lane, and entries stay behind each other when their submission is through.
    let spool = Spool::open(&options).unwrap();
    let lane = "H57.101//offline".into();
    assert_eq!(waiting(&spool), ["1", "other", "online"]);
    for (key, next) in [("1", "1-entry"), ("1-entry", "2"), ("2", "1-later")] {
        spool.answered(&call_id("H57.101", key), &refused()).await.unwrap();
        spool.outgoing(|lanes| lanes.done(&lane));
        assert_eq!(waiting(&spool), [next]);
    }
    // Then the dossier is one like any other.
    spool.answered(&call_id("H57.101", "1-later"), &refused()).await.unwrap();
    spool.queue(entry("1-last", "H57.12-250714-0005")).await.unwrap();
    assert_eq!(waiting(&spool), ["1-last"]);
}
