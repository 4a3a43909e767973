//! A disk that fills up: the gateway stops taking in before there is no room, says so, and goes on by itself.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use lgsp_journal::testing::on_a_small_disk;
use lgsp_proto::v1::upload_request::Request as Say;
use lgsp_proto::{Reason, Refusal, v1};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::delivery::Inbox;
use super::documents::{content, message, start};
use super::erasing::{OPERATOR, erase};
use super::world::*;

pub(super) fn free(folder: &Path) -> u64 {
    let system = rustix::fs::statvfs(folder).unwrap();
    system.f_bavail * system.f_frsize
}

fn assert_disk_full(refusal: &Refusal) {
    assert_eq!((refusal.reason(), &*refusal.details()["cause"]), (Reason::ReadOnly, "disk_full"), "{refusal}");
    let number = |key: &str| -> u64 { refusal.details()[key].parse().unwrap() };
    assert!(number("free_bytes") < number("needed_bytes"));
}

#[tokio::test]
async fn on_a_disk_that_is_nearly_full_nothing_is_begun_and_everything_else_goes_on() {
    let mut world = World::start().await;
    let before = world.system("mot-cua").await.admitted(&aid_elsewhere("k-1")).await;
    // Half as much again as there is: too little to begin something, and enough to end what was begun.
    world.min_free_bytes = free(world.folder()) * 3 / 2;
    world.restart().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);

    let (code, why) = world.local("GET", "/readyz", "").await;
    assert_eq!(code, 503);
    assert!(why.contains("the disk is nearly full") && why.contains("đĩa sắp đầy"), "{why}");
    let (_, status) = world.local("GET", "/status", "").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!((&status["ready"], &status["store"]["read_only"]), (&false.into(), &false.into()));
    assert!(status["store"]["disk"]["free_bytes"].as_u64() < status["store"]["disk"]["needed_bytes"].as_u64());
    let health = HealthClient::new(desk.channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.into_inner().status(), ServingStatus::NotServing);

    for _ in 0..3 {
        assert_disk_full(&refusal(desk.submit(&aid("k-2")).await));
    }
    let withdrawn = v1::entry::What::Withdrawn(v1::Withdrawn::default());
    assert_disk_full(&refusal(desk.record(&entry("k-3", AN, &before, withdrawn)).await));
    let paper = content(1000);
    let upload = tokio_stream::iter([message(Say::Start(start(&paper, 0)))]);
    assert_disk_full(&refusal(within(desk.documents().upload(upload)).await));

    // Who could not renew would be out before there is room again.
    let next = lgsp_certs::PrivateKey::generate().unwrap();
    let renew = v1::RenewRequest { signing_request: next.signing_request().unwrap().into() };
    within(super::joining::certificates(&desk).renew(renew)).await.unwrap();
    assert!(desk.submit(&aid_elsewhere("k-1")).await.unwrap().repeated);
    assert!(desk.get(AN, &before, true).await.unwrap().dossier.is_some());
    let mut inbox = Inbox::open(&binh, &[BINH], 8).await;
    let delivery = inbox.delivery().await;
    inbox.take_over(&delivery).await;
    drop(inbox);

    world.min_free_bytes = 0;
    world.restart().await;
    let desk = world.system("mot-cua").await;
    // Those that were refused have used up no number.
    assert_eq!(desk.admitted(&aid("k-2")).await, "H99.101-250714-0001");
    let backlog = v1::BacklogRequest { parties: vec![BINH.into()], actor: "can.bo.1".into() };
    let binh = world.system("mot-cua-binh").await;
    let backlog = within(binh.inbox().backlog(backlog)).await.unwrap().into_inner();
    assert_eq!((backlog.parties[0].waiting, backlog.parties[0].taken_over), (0, 1));
}

#[tokio::test]
async fn without_room_even_for_that_acknowledgements_are_refused_and_owed_again() {
    let mut world = World::start().await;
    let code = world.system("mot-cua").await.admitted(&aid_elsewhere("k-1")).await;
    world.min_free_bytes = free(world.folder()) * 8;
    world.restart().await;
    let binh = world.system("mot-cua-binh").await;
    let mut inbox = Inbox::open(&binh, &[BINH], 8).await;
    let delivery = inbox.delivery().await;
    let stage = v1::AcknowledgeStage::TakenOver.into();
    let deliveries = vec![delivery.r#ref.unwrap()];
    inbox.say(v1::inbox_request::Request::Acknowledge(v1::Acknowledge { stage, deliveries })).await;
    // It is owed again from the moment on in which it was not written, so it may come once more before the stream ends.
    let ended = loop {
        match inbox.hear().await {
            Ok(again) => assert!(matches!(again, v1::inbox_response::Response::Delivery(_)), "{again:?}"),
            Err(status) => break status,
        }
    };
    assert_disk_full(&refusal(Err::<(), _>(ended)));
    let mut inbox = Inbox::open(&binh, &[BINH], 8).await;
    assert_eq!(inbox.delivery().await.r#ref.unwrap().dossier_code, code);
}

#[tokio::test]
async fn without_room_even_for_that_nothing_is_erased_and_nothing_is_poisoned() {
    let mut world = World::start().await;
    let code = world.system("mot-cua").await.admitted(&aid_elsewhere("k-1")).await;
    let refusing = v1::entry::What::Refused(v1::Refused { reason: "thiếu giấy tờ".into() });
    world.system("mot-cua-binh").await.record(&entry("k-2", BINH, &code, refusing)).await.unwrap();
    world.min_free_bytes = free(world.folder()) * 8;
    world.restart().await;
    assert_disk_full(&refusal(erase(&world.system("van-hanh").await, OPERATOR, &code, "QD-1/2026").await));
    let events = world.system("mot-cua").await.get(AN, &code, true).await.unwrap().events;
    assert!(events.iter().all(|event| !event.erased));

    // To erase ends something, so it goes on for longer than what begins.
    world.min_free_bytes = free(world.folder()) * 3 / 2;
    world.restart().await;
    let operator = world.system("van-hanh").await;
    assert!(!erase(&operator, OPERATOR, &code, "QD-2/2026").await.unwrap().repeated, "nothing was recorded before");
    // Said again it is answered, whatever room there is.
    world.min_free_bytes = free(world.folder()) * 8;
    world.restart().await;
    let again = erase(&world.system("van-hanh").await, OPERATOR, &code, "QD-3/2026").await.unwrap();
    assert_eq!((again.repeated, again.ground.as_str()), (true, "QD-2/2026"));
}

#[test]
fn a_real_disk_fills_up_and_is_cleared_again_and_nothing_fails() {
    let place = tempfile::tempdir().unwrap();
    on_a_small_disk("disk::a_real_disk_fills_up_and_is_cleared_again_and_nothing_fails", place.path(), || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(a_real_disk_fills_up());
    });
}

async fn a_real_disk_fills_up() {
    const MIB: u64 = 1 << 20;
    let mut world = World::start().await;
    world.min_free_bytes = 16 * MIB;
    world.restart().await;
    let desk = world.system("mot-cua").await;
    let before = desk.admitted(&aid_elsewhere("k-1")).await;

    let ballast = world.folder().join("ballast");
    fill(&ballast, 8 * MIB);
    // What was seen of the disk holds for a moment, so some may still get in, each under its own key.
    let mut keys = 0_u32..;
    let refused = until(async || desk.submit(&aid(&format!("k-2-{}", keys.next().unwrap()))).await.err()).await;
    assert_disk_full(&refusal(Err::<(), _>(refused)));
    fs::remove_file(&ballast).unwrap();
    // The same node goes on, for nothing has failed.
    let _ = until(async || desk.submit(&aid("k-2")).await.ok()).await;
    until(async || (world.local("GET", "/readyz", "").await.0 == 200).then_some(())).await;

    // Now it is killed, so to speak, and somebody else fills the disk to the last byte.
    world.stop().await;
    fill(&ballast, 0);
    world.run().await;
    assert!(world.local("GET", "/readyz", "").await.1.contains("nearly full"));
    let desk = world.system("mot-cua").await;
    assert!(desk.get(AN, &before, true).await.unwrap().dossier.is_some());
    assert_disk_full(&refusal(desk.submit(&aid("k-3")).await));
    fs::remove_file(&ballast).unwrap();
    let _ = until(async || desk.submit(&aid("k-3")).await.ok()).await;
    world.stop().await;
}

/// Fills the disk until only so much is free.
fn fill(ballast: &Path, leave: u64) {
    let mut file = File::create(ballast).unwrap();
    let zeros = vec![0; 64 << 10];
    while free(ballast) > leave {
        let now = usize::try_from((free(ballast) - leave).min(zeros.len() as u64)).unwrap();
        if file.write_all(&zeros[..now]).is_err() {
            break;
        }
    }
    assert!(free(ballast) <= leave);
}

/// Asks until there is an answer; [`within`] is its end.
async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    within(asking).await
}
