//! A delivery that an agency refuses waits for a person, who finds it, has it tried again and says why; and what an adapter
//! had on a disk that is gone comes again.

use serde_json::{Value, json};

use crate::agency::Agency;
use crate::place::{Gateway, Place};
use crate::until;

/// The authority, its system, and the desk's.
const AUTHORITY: &str = "H99.101";
const SYSTEM: &str = "mot-cua";
const DESK_SYSTEM: &str = "mot-cua-binh";

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_delivery_is_listed_retried_with_a_reason_and_then_handed_over() {
    let place = Place::new();
    let gateway = place.gateway().await;
    let authority = Agency::open(AUTHORITY).await;
    let adapter = place.adapter(SYSTEM, AUTHORITY, gateway.bus, authority.hook).await;
    let desk = place.link(DESK_SYSTEM, gateway.bus);

    authority.refuse(true);
    let refused = submit(&desk).await;
    until("a parked dossier", async || (gateway.figure("deliveries_parked").await == 1).then_some(())).await;
    authority.refuse(false);
    // The next one flows on all the same.
    let other = submit(&desk).await;
    authority.event(&other, 1).await;

    let operator = place.profile("operator.toml", "van-hanh", "H99.VH", gateway.bus);
    let listed = place.ask(&["inbox", "list", "--json", "--profile", &operator]).await;
    let [one] = listed["parked"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((&one["dossier_code"], &one["party"]), (&json!(refused), &json!(AUTHORITY)));
    assert_eq!(
        (&one["reason"], &one["kind"], &one["system"]),
        (&json!("AGENCY_REFUSED"), &json!("permanent"), &json!(SYSTEM))
    );

    let retry = ["inbox", "retry", &refused, "--party", AUTHORITY, "--why", "đã sửa", "--json", "--profile", &operator];
    assert_eq!(place.ask(&retry).await["waiting"], 1);
    authority.event(&refused, 1).await;
    let shown = place.ask(&["inbox", "show", &refused, "--json", "--profile", &operator]).await;
    assert_eq!(shown["parked"], json!([]));
    let done = &shown["history"][0];
    let said = [&done["action"], &done["acting_party"], &done["actor"], &done["why"]].map(Value::as_str);
    assert_eq!(said, [Some("retry"), Some("H99.VH"), Some("clerk-1"), Some("đã sửa")]);

    adapter.settled().await;
    adapter.stop().await;
    ends_with_sound_books(&place, gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_adapter_had_on_a_disk_that_is_gone_comes_again_and_what_the_agency_has_does_not() {
    let place = Place::new();
    let gateway = place.gateway().await;
    let authority = Agency::open(AUTHORITY).await;
    let adapter = place.adapter(SYSTEM, AUTHORITY, gateway.bus, authority.hook).await;
    let desk = place.link(DESK_SYSTEM, gateway.bus);
    let handed_over = submit(&desk).await;
    authority.event(&handed_over, 1).await;
    adapter.settled().await;
    authority.set_down(true);
    let lost = submit(&desk).await;
    until("a take-over", async || (gateway.figure("deliveries_taken_over").await == 1).then_some(())).await;
    adapter.kill().await;
    place.lose_spool(SYSTEM);
    gateway.kill().await;

    let gateway = place.gateway().await;
    authority.set_down(false);
    let adapter = place.adapter(SYSTEM, AUTHORITY, gateway.bus, authority.hook).await;
    authority.event(&lost, 1).await;
    adapter.settled().await;
    assert_eq!(authority.story(), ["1 submitted theirs", "1 submitted theirs"]);
    assert_eq!(gateway.figure("deliveries_taken_over").await, 0);
    adapter.stop().await;
    ends_with_sound_books(&place, gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_adapter_had_that_never_comes_back_is_released_to_another() {
    let place = Place::new();
    let gateway = place.gateway().await;
    let authority = Agency::open(AUTHORITY).await;
    authority.set_down(true);
    let adapter = place.adapter(SYSTEM, AUTHORITY, gateway.bus, authority.hook).await;
    let code = submit(&place.link(DESK_SYSTEM, gateway.bus)).await;
    until("a take-over", async || (gateway.figure("deliveries_taken_over").await == 1).then_some(())).await;

    let operator = place.profile("operator.toml", "van-hanh", "H99.VH", gateway.bus);
    let release = ["inbox", "release", "--party", AUTHORITY, "--system", SYSTEM, "--why", "DISK_LOST"];
    let release: Vec<&str> = release.into_iter().chain(["--json", "--profile", &operator]).collect();
    let refused = place.refused(&release).await;
    assert!(refused.contains("INSTANCE_IN_USE"), "{refused}");
    adapter.kill().await;
    // The gateway notices by itself that nobody is there any more.
    until("a release", async || place.tried(&release).await.filter(|said| said["released"] == 1)).await;
    place.lose_spool(SYSTEM);
    authority.set_down(false);
    let adapter = place.adapter(SYSTEM, AUTHORITY, gateway.bus, authority.hook).await;
    authority.event(&code, 1).await;
    adapter.settled().await;
    adapter.stop().await;
    ends_with_sound_books(&place, gateway).await;
}

async fn submit(desk: &lgsp_adapters::link::Link) -> String {
    crate::support::submit(desk, &crate::support::submission()).await.unwrap().receipt.dossier_code
}

async fn ends_with_sound_books(place: &Place, gateway: Gateway) {
    gateway.stop().await;
    place.fsck().await;
}
