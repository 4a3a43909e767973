//! Numbers leased ahead and ranges of an authority's own: no number twice, whoever gives it out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::civil::date;
use lgsp_domain::numbering::NumberZone;
use lgsp_gateway::store::fsck::fsck;
use lgsp_gateway::store::sled::{Limits, Options, SledStore};
use lgsp_gateway::store::{Commit, EpochStarted, Store as _};
use lgsp_proto::{Reason, v1};

use super::world::*;

const SPOOL: [u8; 16] = [1; 16];
const TODAY: &str = "2025-07-14";

fn wanted(authority: &str, day: &str, more: u32) -> v1::NumbersWanted {
    v1::NumbersWanted { authority: authority.into(), day: day.into(), more }
}

fn asking(party: &str, spool: [u8; 16], wanted: Vec<v1::NumbersWanted>) -> v1::LeaseNumbersRequest {
    v1::LeaseNumbersRequest {
        acting_party: party.into(),
        actor: "can.bo.1".into(),
        spool: spool.to_vec().into(),
        wanted,
    }
}

async fn lease(system: &System, request: v1::LeaseNumbersRequest) -> Result<v1::LeaseNumbersResponse, tonic::Status> {
    Ok(within(system.numbers().lease(request)).await?.into_inner())
}

/// The numbers in a response's blocks.
fn numbers(response: &v1::LeaseNumbersResponse) -> Vec<u32> {
    response.blocks.iter().flat_map(|block| block.first..block.first + block.count).collect()
}

/// A synthetic request for aid under a code that the desk gave out itself.
fn under(key: &str, code: &str) -> v1::Submission {
    v1::Submission { dossier_code: code.into(), ..aid(key) }
}

fn code(number: u32) -> String {
    format!("{AN}-250714-{number:04}")
}

/// Why a code was refused.
async fn stands_against(system: &System, submission: &v1::Submission) -> String {
    let refused = refusal(system.submit(submission).await);
    assert_eq!((refused.reason(), fields(&refused)), (Reason::CodeNotLeased, vec!["dossier_code"]), "{refused}");
    refused.violations()[0].problem.en().to_owned()
}

/// Applies the registry in force with `from` replaced by `to` in its parties, and gives what changed.
async fn change_parties(world: &World, from: &str, to: &str) -> Result<Vec<v1::RegistryChange>, tonic::Status> {
    let operator = world.system("van-hanh").await;
    let read = v1::ReadRegistryRequest {
        acting_party: "H99.VH".into(),
        actor: "van.hanh.1".into(),
        ..v1::ReadRegistryRequest::default()
    };
    let read = within(operator.registry().read(read)).await.unwrap().into_inner();
    let mut files = read.files;
    let parties = files.iter_mut().find(|file| file.name == "parties.toml").unwrap();
    let text = std::str::from_utf8(&parties.content).unwrap();
    assert!(text.contains(from), "{from}");
    parties.content = text.replace(from, to).into();
    let apply = v1::ApplyRegistryRequest {
        acting_party: "H99.VH".into(),
        actor: "van.hanh.1".into(),
        files,
        base_version: read.version.unwrap().number,
        ..Default::default()
    };
    Ok(within(operator.registry().apply(apply)).await?.into_inner().changes)
}

const OF_AN: &str = "unit = \"99001\", desk = true }";
const OF_AN_FROM_50001: &str = "unit = \"99001\", desk = true, own_numbers_from = 50001 }";

#[tokio::test]
async fn a_desk_leases_numbers_ahead_and_gives_them_out_itself() {
    let mut world = World::start().await;
    let desk = world.system("mot-cua").await;
    let days = ["2025-07-14", "2025-07-15", "2025-07-16", "2025-07-17"];
    let all = days.map(|day| wanted(AN, day, 3)).into_iter().chain([wanted(BINH, TODAY, 2)]).collect();
    let response = lease(&desk, asking(AN, SPOOL, all)).await.unwrap();
    let block = |authority: &str, day: &str, first, count| v1::NumberBlock {
        authority: authority.into(),
        day: day.into(),
        first,
        count,
    };
    let expected: Vec<_> = days.map(|day| block(AN, day, 1, 3)).into_iter().chain([block(BINH, TODAY, 1, 2)]).collect();
    assert_eq!((&response.blocks, response.epoch), (&expected, 1));
    assert_eq!(response.now, at("2025-07-14T09:00:00+07:00"));

    // What is online goes on behind the block.
    assert_eq!(desk.admitted(&aid("k-1")).await, code(4));
    world.restart().await;
    let desk = world.system("mot-cua").await;
    let holds = async |spool| {
        let response = lease(&desk, asking(AN, spool, vec![wanted(AN, TODAY, 0)])).await.unwrap();
        numbers(&response)
    };
    assert_eq!(holds(SPOOL).await, [1, 2, 3]);
    assert_eq!(holds([2; 16]).await, [0; 0], "another spool does not know which were given out");

    for number in [2, 3] {
        assert_eq!(desk.admitted(&under(&format!("k-2{number}"), &code(number))).await, code(number));
    }
    assert_eq!(holds(SPOOL).await, [1, 2, 3], "the spool knows itself which of a block it gave out");
    assert!(stands_against(&desk, &under("k-3", &code(2))).await.contains("taken"));
    assert_eq!(desk.admitted(&under("k-4", &code(1))).await, code(1));
    assert_eq!(holds(SPOOL).await, [0; 0], "all of the block has come in");
    // Its repeat is its repeat all the same.
    assert!(desk.submit(&under("k-4", &code(1))).await.unwrap().repeated);
}

#[tokio::test]
async fn a_code_of_another_desks_block_of_no_block_or_of_another_authority_is_refused() {
    let world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    lease(&binh, asking(BINH, SPOOL, vec![wanted(AN, TODAY, 3)])).await.unwrap();
    assert!(stands_against(&desk, &under("k-1", &code(1))).await.contains("not leased to this desk"));
    assert!(stands_against(&desk, &under("k-1", &code(9))).await.contains("not leased to this desk"));
    let elsewhere = v1::Submission { dossier_code: format!("{BINH}-250714-0001"), ..aid("k-1") };
    stands_against(&desk, &elsewhere).await;
    let refused = refusal(desk.submit(&under("k-1", &code(1))).await);
    assert_eq!((refused.details()["epoch"].as_str(), refused.details()["authority"].as_str()), ("1", AN));
    let theirs = v1::Submission { acting_party: BINH.into(), ..under("k-1", &code(1)) };
    assert_eq!(binh.admitted(&theirs).await, code(1));
}

#[tokio::test]
async fn a_code_whose_intake_is_refused_stays_the_desks_and_is_never_given_again() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let asked = |more| asking(AN, SPOOL, vec![wanted(AN, TODAY, more)]);
    lease(&desk, asked(2)).await.unwrap();
    let unroutable = v1::Submission { locality: "12345".into(), ..under("k-1", &code(1)) };
    assert_eq!(reason(desk.submit(&unroutable).await), Reason::UnitUnknown);
    assert_eq!(desk.admitted(&aid("k-2")).await, code(3));
    assert_eq!(numbers(&lease(&desk, asked(2)).await.unwrap()), [1, 2, 4, 5]);
    // The clerk works it off: the same code, with what was wrong mended.
    assert_eq!(desk.admitted(&under("k-3", &code(1))).await, code(1));
}

#[tokio::test]
async fn what_cannot_be_leased_is_named_and_nothing_is_leased() {
    let world = World::start_with("lease_block = 4\nlease_hold = 6").await;
    let desk = world.system("mot-cua").await;
    let all = vec![
        wanted(AN, TODAY, 2),
        wanted(AN, "2025-07-18", 1),
        wanted(AN, "2025-07-13", 1),
        wanted("H99.103", TODAY, 1),
        wanted("H99.999", TODAY, 1),
        // Asking only is no harm.
        wanted(AN, "2025-07-12", 0),
    ];
    let refused = refusal(lease(&desk, asking(AN, SPOOL, all)).await);
    assert_eq!(refused.reason(), Reason::NumbersNotLeasable);
    assert_eq!(fields(&refused), ["wanted[1].day", "wanted[2].day", "wanted[3].authority", "wanted[4].authority"]);
    assert_eq!((refused.details()["from"].as_str(), refused.details()["to"].as_str()), (TODAY, "2025-07-17"));
    assert_eq!(desk.admitted(&aid("k-1")).await, code(1), "nothing was leased");

    let more = |more| asking(AN, SPOOL, vec![wanted(AN, TODAY, more)]);
    assert_eq!(numbers(&lease(&desk, more(100)).await.unwrap()), [2, 3, 4, 5], "a block at most");
    assert_eq!(numbers(&lease(&desk, more(100)).await.unwrap()), [2, 3, 4, 5, 6, 7], "and no more than may be held");
    assert_eq!(numbers(&lease(&desk, more(100)).await.unwrap()), [2, 3, 4, 5, 6, 7]);
    desk.admitted(&under("k-2", &code(3))).await;
    assert_eq!(numbers(&lease(&desk, more(100)).await.unwrap()), [2, 3, 4, 5, 6, 7, 8], "one has come in");
}

#[tokio::test]
async fn who_takes_nothing_in_leases_nothing() {
    let world = World::start().await;
    let department = world.system("so-nganh").await;
    let refused = refusal(lease(&department, asking("H99.01", SPOOL, vec![wanted(AN, TODAY, 1)])).await);
    assert_eq!(refused.reason(), Reason::GrantMissing);
    let desk = world.system("mot-cua").await;
    let foreign = lease(&desk, asking(BINH, SPOOL, vec![wanted(AN, TODAY, 1)])).await;
    assert_eq!(reason(foreign), Reason::ActsForMissing);
    let nothing = lease(&desk, asking(AN, SPOOL, Vec::new())).await;
    assert_eq!(fields(&refusal(nothing)), ["wanted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_desks_spools_and_callers_never_get_one_number_twice() {
    let mut world = World::start_with("lease_block = 7").await;
    let mut given: Vec<String> = Vec::new();
    for round in 0..2u8 {
        let (centre, binh) = (Arc::new(world.system("mot-cua").await), Arc::new(world.system("mot-cua-binh").await));
        let desks = [(&centre, AN), (&centre, "H99.TT"), (&binh, BINH)];
        let mut calls = Vec::new();
        for call in 0..24u8 {
            let (system, party) = desks[usize::from(call) % desks.len()];
            let system = Arc::clone(system);
            // Every spool asks from several sides at once, and gives out half of what it holds.
            let spool = [round * 2 + call / 12; 16];
            calls.push(tokio::spawn(async move {
                let asked = asking(party, spool, vec![wanted(AN, TODAY, 5)]);
                lease(&system, asked).await.unwrap();
                let online = v1::Submission { acting_party: party.into(), ..aid(&format!("online-{round}-{call}")) };
                system.admitted(&online).await
            }));
        }
        for call in calls {
            given.push(call.await.unwrap());
        }
        for (at, (system, party)) in desks.into_iter().enumerate() {
            for half in 0..2u8 {
                let held = lease(system, asking(party, [round * 2 + half; 16], vec![wanted(AN, TODAY, 0)])).await;
                for number in numbers(&held.unwrap()) {
                    let key = format!("offline-{round}-{at}-{half}-{number}");
                    let submission = v1::Submission { acting_party: party.into(), ..under(&key, &code(number)) };
                    given.push(system.admitted(&submission).await);
                }
            }
        }
        world.restart().await;
    }
    let once: BTreeSet<_> = given.iter().collect();
    assert_eq!(once.len(), given.len(), "{given:?}");
    assert_eq!(once.len(), 2 * (24 + 24 * 5));
    let last = given.iter().map(|code| code.rsplit('-').next().unwrap().parse::<usize>().unwrap()).max();
    assert_eq!(last, Some(once.len()), "and none was left out");
}

#[tokio::test]
async fn an_authority_numbers_its_own_intakes_in_its_own_range_only() {
    let world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    assert!(stands_against(&desk, &under("k-1", &code(50_001))).await.contains("not leased"));
    let changes = change_parties(&world, OF_AN, OF_AN_FROM_50001).await.unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0].summary, "own_numbers_from: – → 50001");

    assert_eq!(desk.admitted(&under("k-1", &code(50_001))).await, code(50_001));
    assert_eq!(desk.admitted(&under("k-2", &code(99_999))).await, code(99_999));
    assert!(stands_against(&desk, &under("k-3", &code(50_001))).await.contains("taken"));
    assert!(stands_against(&desk, &under("k-3", &code(50_000))).await.contains("not leased"));
    let theirs = v1::Submission { acting_party: BINH.into(), ..under("k-3", &code(50_002)) };
    assert!(stands_against(&binh, &theirs).await.contains("numbers itself"));
    // None of this has moved the counter.
    assert_eq!(desk.admitted(&aid("k-4")).await, code(1));
}

#[tokio::test]
async fn a_range_that_is_given_up_leaves_its_numbers_in_use_and_no_others() {
    let mut world = World::start().await;
    change_parties(&world, OF_AN, OF_AN_FROM_50001).await.unwrap();
    let desk = world.system("mot-cua").await;
    desk.admitted(&under("k-1", &code(50_001))).await;
    change_parties(&world, OF_AN_FROM_50001, OF_AN).await.unwrap();
    world.restart().await;
    let desk = world.system("mot-cua").await;
    assert!(stands_against(&desk, &under("k-2", &code(50_002))).await.contains("not leased"));
    assert_eq!(desk.admitted(&aid("k-3")).await, code(1));
    assert_eq!(desk.get(AN, &code(50_001), false).await.unwrap().events.len(), 1);
}

#[tokio::test]
async fn an_authority_goes_on_with_its_own_numbers_after_a_restore_wherever_its_range_begins() {
    let mut world = World::start().await;
    const OF_AN_FROM_6001: &str = "unit = \"99001\", desk = true, own_numbers_from = 6001 }";
    change_parties(&world, OF_AN, OF_AN_FROM_6001).await.unwrap();
    world.stop().await;
    let (dir, node_key) = (world.folder().join("store"), world.folder().join("node.key"));
    let store = SledStore::open(&Options { dir, node_key, limits: Limits::default() }, |_| ()).unwrap();
    let started = EpochStarted {
        number: 2,
        backup: [7; 16],
        backup_taken_at: SystemTime::now(),
        actor: "van.hanh.1".parse().unwrap(),
        at: SystemTime::now(),
        lost: NumberZone { days: date(2025, 7, 1)..=date(2025, 8, 1), from: 10_001 },
    };
    store.commit(Commit::Epoch(started)).await.unwrap();
    store.close().await;
    drop(store);
    world.run().await;

    let desk = world.system("mot-cua").await;
    assert_eq!(desk.admitted(&under("k-1", &code(6_001))).await, code(6_001));
    assert_eq!(desk.admitted(&under("k-2", &code(10_000))).await, code(10_000));
    assert_eq!(reason(desk.submit(&aid("k-3")).await), Reason::NumbersExhausted);
    // With a range that begins higher the gateway has numbers again, on days without a number of the low one.
    change_parties(&world, OF_AN_FROM_6001, OF_AN_FROM_50001).await.unwrap();
    let earlier = v1::Submission { received_at: at("2025-07-11T09:00:00+07:00"), ..aid("k-4") };
    assert_eq!(desk.admitted(&earlier).await, format!("{AN}-250711-10001"));
    world.stop().await;
    let report = fsck(&world.folder().join("store"), &world.folder().join("node.key"), |_| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
}

#[tokio::test]
async fn a_range_that_leaves_the_gateway_nothing_is_refused() {
    let world = World::start().await;
    for bad in ["0", "5000", "100000"] {
        let entry = format!("unit = \"99001\", desk = true, own_numbers_from = {bad} }}");
        let refused = refusal(change_parties(&world, OF_AN, &entry).await);
        assert_eq!(refused.reason(), Reason::RegistryInvalid, "{bad}");
        assert_eq!(fields(&refused), ["parties.toml:party[0].own_numbers_from"], "{bad}");
    }
}

#[tokio::test]
async fn what_comes_in_late_is_flagged_and_the_deadline_counts_from_the_desks_time() {
    let world = World::start_with("received_late_s = 1800").await;
    let desk = world.system("mot-cua").await;
    let received = |time: &str, key: &str| v1::Submission { received_at: at(time), ..aid(key) };
    let warned = async |submission| -> Vec<String> {
        let response = desk.submit(&submission).await.unwrap();
        response.warnings.into_iter().map(|warning| warning.reason).collect()
    };
    assert_eq!(warned(received("2025-07-14T08:30:00+07:00", "k-1")).await, [""; 0]);
    let late = received("2025-07-14T08:29:59+07:00", "k-2");
    assert_eq!(warned(late.clone()).await, ["RECEIVED_LATE"]);
    assert_eq!(warned(late).await, ["RECEIVED_LATE"], "a repeat is told the same");
    let early = v1::Entry { occurred_at: at("2025-07-14T08:29:59+07:00"), ..entry("k-3", AN, &code(2), accepted()) };
    let recorded = desk.record(&early).await.unwrap();
    assert_eq!(recorded.warnings[0].reason, "RECEIVED_LATE");
    assert!(!recorded.warnings[0].message_vi.is_empty());
}

#[tokio::test]
async fn a_registry_that_is_known_already_is_not_sent_again() {
    let world = World::start().await;
    let (desk, operator) = (world.system("mot-cua").await, world.system("van-hanh").await);
    let read = async |version, known_version| {
        // Earlier versions are for who keeps the registry.
        let (system, party) = if version == 0 { (&desk, AN) } else { (&operator, "H99.VH") };
        let request =
            v1::ReadRegistryRequest { acting_party: party.into(), actor: "can.bo.1".into(), version, known_version };
        let response = within(system.registry().read(request)).await.unwrap().into_inner();
        (response.version.unwrap().number, response.files.is_empty())
    };
    assert_eq!(read(0, 0).await, (1, false));
    assert_eq!(read(0, 1).await, (1, true));
    change_parties(&world, OF_AN, OF_AN_FROM_50001).await.unwrap();
    assert_eq!(read(0, 1).await, (2, false));
    assert_eq!((read(1, 1).await, read(1, 2).await), ((1, true), (1, false)));
}

#[tokio::test]
async fn a_code_that_is_still_to_be_given_out_is_nobodys_alias() {
    let mut world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let also = |key: &str, aliases: &[String]| v1::Submission { aliases: aliases.to_vec(), ..aid(key) };
    let at_fault = |refused: Result<v1::SubmitResponse, tonic::Status>| {
        let refused = refusal(refused);
        (refused.reason(), refused.violations().iter().map(|one| one.field.clone()).collect::<Vec<_>>())
    };
    let ours = |field: &str| (Reason::FieldInvalid, vec![field.to_owned()]);

    // Another desk holds a block, and gives a number of it out without a line.
    lease(&binh, asking(BINH, SPOOL, vec![wanted(AN, TODAY, 3)])).await.unwrap();
    let of_block = code(2);
    for squatted in [of_block.clone(), code(4), format!("{BINH}-250715-0001"), format!("{AN}-250714-10001")] {
        let aliases = ["G22-77".to_owned(), squatted];
        assert_eq!(at_fault(desk.submit(&also("k-1", &aliases)).await), ours("aliases[1]"), "{aliases:?}");
    }
    let theirs = v1::Submission { acting_party: BINH.into(), ..under("k-2", &of_block) };
    assert_eq!(binh.admitted(&theirs).await, of_block);
    // Now it is a dossier's, and said to be so.
    assert_eq!(at_fault(desk.submit(&also("k-3", &[of_block])).await).0, Reason::AliasTaken);

    // Nor is the code that it comes with, or would get next.
    let own = v1::Submission { acting_party: BINH.into(), ..also("k-4", &[code(3)]) };
    assert_eq!(at_fault(binh.submit(&v1::Submission { dossier_code: code(3), ..own }).await), ours("aliases[0]"));
    // What others number, and what nobody can give out any more, is theirs to say.
    let elsewhere = ["H57.01-250714-0001".to_owned(), format!("{AN}-240105-0001"), "000.00.01.H57-250714-0001".into()];
    assert_eq!(desk.admitted(&also("k-5", &elsewhere)).await, code(4));

    world.stop().await;
    let report = fsck(&world.folder().join("store"), &world.folder().join("node.key"), |_| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
}
