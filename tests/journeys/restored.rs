//! The gateway's disk is lost, and a backup that was taken under load is restored. The adapters send again what they have
//! receipts for, before anything new about the same dossiers, and in the end every receipt ever given out is in effect, once,
//! under the code it names.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lgsp_adapters::link::{Admitted, Link};
use lgsp_certs::Purpose;
use lgsp_proto::v1::entry::What;
use lgsp_proto::{Reason, v1};
use prost::Message as _;
use serde_json::{Value, json};

use crate::agency::Agency;
use crate::place::Place;
use crate::support::{self, MORNING, at, fresh_key, record, refused, submit};
use crate::until;

const DESK: &str = "H99.102";
const AUTHORITY: &str = "H99.CA.101";

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_every_receipt_ever_given_out_is_in_effect_once_under_its_code() {
    let place = Place::new();
    let gateway = place.gateway().await;
    place.keep_address(&gateway);
    let (desk, authority) = (Agency::open(DESK).await, Agency::open(AUTHORITY).await);
    let desk_adapter = place.adapter("mot-cua-binh", DESK, gateway.bus, desk.hook).await;
    let authority_adapter = place.adapter("cong-an", AUTHORITY, gateway.bus, authority.hook).await;
    desk.use_adapter(desk_adapter.rest);
    authority.use_adapter(authority_adapter.rest);

    // A backup in the middle of the load: some of it is in it, some is not.
    handle(&desk, &authority, 0..4).await;
    let backup = ["backup", "--config", "gateway.toml", "--to", "backup"];
    let load = async { tokio::join!(handle(&desk, &authority, 4..8), handle(&desk, &authority, 8..12)) };
    let (_, taken) = tokio::join!(load, place.run(&backup));
    assert_eq!(taken["epoch"], 1);
    // What comes after it is lost for certain: dossiers, documents, and what is said about older ones.
    handle(&desk, &authority, 12..15).await;
    let old = code_of(&desk, 0).await;
    authority.say(&old, MORNING, json!({ "type": "processing_started" })).await;
    for adapter in [&desk_adapter, &authority_adapter] {
        adapter.settled().await;
    }
    let given_out = receipts(&[&desk, &authority]);
    let seen_before = deliveries(&[&desk, &authority]);
    assert_eq!(given_out.len(), 31);

    // While it is gone, work goes on: something new, and something about a dossier that will have to come back first.
    gateway.kill().await;
    place.lose_the_gateways_disk();
    let lost = code_of(&desk, 14).await;
    authority.post(&format!("/v1/dossiers/{lost}/events"), "after-1", &said("processing_started")).await;
    let form = desk.upload("%PDF-1.7 form 15, synthetic").await;
    desk.submit("dossier-15", &submission(&form)).await;

    let restored =
        place.run(&["restore", "--from", "backup", "--config", "gateway.toml", "--actor", "van.hanh.1"]).await;
    assert_eq!((restored["epoch"].as_u64() > Some(1), &restored["sound"]), (true, &json!(true)));
    assert!(restored["systems"].as_array().unwrap().contains(&json!("mot-cua-binh")), "{restored}");
    let gateway = place.gateway().await;
    let expected = given_out.len() as u64 + 2;
    until("everything to be back", async || (gateway.figure("events").await >= expected).then_some(())).await;
    for (agency, key) in [(&authority, "after-1"), (&desk, "dossier-15")] {
        assert_eq!(agency.outcome(key).await["type"], "request.admitted");
    }
    for adapter in [&desk_adapter, &authority_adapter] {
        adapter.settled().await;
    }
    assert_eq!(gateway.figure("events").await, expected);

    // Every receipt holds: the same request, at the same place, under the same code; and no code was given out twice.
    for (key, receipt) in &given_out {
        let code = receipt["dossier_code"].as_str().unwrap();
        let shown = desk.show(code).await;
        let at = receipt["sequence"].as_u64().unwrap() as usize - 1;
        assert_eq!(shown["events"][at]["request_key"], key.as_str(), "{code}: {shown}");
        assert_eq!(shown["events"][at]["body_sha256"], receipt["body_sha256"], "{code}");
    }
    let all = receipts(&[&desk, &authority]);
    assert_eq!(all.len(), given_out.len() + 2, "a receipt was given out anew");
    let submitted = all.values().filter(|receipt| receipt["sequence"] == 1);
    let codes: BTreeSet<_> = submitted.map(|receipt| receipt["dossier_code"].as_str().unwrap()).collect();
    assert_eq!(codes.len(), 16);
    let fresh = code_of(&desk, 15).await;
    let number: u32 = fresh.rsplit('-').next().unwrap().parse().unwrap();
    assert!(number > 10_000, "{fresh} may have been given out before");
    // The documents are back as well, and nobody was told of anything twice.
    let delivered = authority.event(&lost, 1).await;
    let document = &delivered["body"]["components"][0]["document"];
    assert_eq!(authority.download(&lost, document).await, "%PDF-1.7 form 14, synthetic");
    let seen = deliveries(&[&desk, &authority]);
    assert_eq!(seen.len(), seen.iter().collect::<BTreeSet<_>>().len(), "{seen:?}");
    assert!(
        seen.len() > seen_before.len()
            && seen[..].iter().filter(|one| seen_before.contains(one)).count() == seen_before.len()
    );

    for adapter in [desk_adapter, authority_adapter] {
        adapter.stop().await;
    }
    gateway.stop().await;
    let books = place.fsck().await;
    assert_eq!((&books["dossiers"], &books["events"]), (&json!(16), &json!(expected)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_backup_restored_a_second_time_brings_everything_back_once_more() {
    let place = Place::new();
    let mut gateway = place.gateway().await;
    place.keep_address(&gateway);
    let (desk, authority) = (Agency::open(DESK).await, Agency::open(AUTHORITY).await);
    let desk_adapter = place.adapter("mot-cua-binh", DESK, gateway.bus, desk.hook).await;
    let authority_adapter = place.adapter("cong-an", AUTHORITY, gateway.bus, authority.hook).await;
    desk.use_adapter(desk_adapter.rest);
    authority.use_adapter(authority_adapter.rest);
    handle(&desk, &authority, 0..1).await;
    let _ = place.run(&["backup", "--config", "gateway.toml", "--to", "backup"]).await;
    handle(&desk, &authority, 1..2).await;

    let mut epochs = vec![1];
    // The second time it is lost before anybody has taken a new backup.
    for next in 2..4 {
        for adapter in [&desk_adapter, &authority_adapter] {
            adapter.settled().await;
        }
        let expected = receipts(&[&desk, &authority]).len() as u64;
        gateway.kill().await;
        place.lose_the_gateways_disk();
        let restore = ["restore", "--from", "backup", "--config", "gateway.toml", "--actor", "van.hanh.1"];
        let restored = place.run(&restore).await;
        epochs.push(restored["epoch"].as_u64().unwrap());
        gateway = place.gateway().await;
        until("everything to be back", async || (gateway.figure("events").await >= expected).then_some(())).await;
        handle(&desk, &authority, next..next + 1).await;
    }
    assert!(epochs.is_sorted_by(|one, next| one < next), "{epochs:?}");
    let all = receipts(&[&desk, &authority]);
    let submitted = all.values().filter(|receipt| receipt["sequence"] == 1);
    let codes: BTreeSet<_> = submitted.map(|receipt| receipt["dossier_code"].as_str().unwrap()).collect();
    let numbers: Vec<_> = codes.iter().map(|code| code.rsplit('-').next().unwrap()).collect();
    assert_eq!(numbers, ["0001", "0002", "10001", "20001"], "no code was given out twice");
    for adapter in [desk_adapter, authority_adapter] {
        adapter.stop().await;
    }
    gateway.stop().await;
    let books = place.fsck().await;
    assert_eq!((&books["dossiers"], &books["events"]), (&json!(4), &json!(all.len())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_brings_back_exactly_the_place_it_names_or_nothing() {
    let place = Place::new();
    let gateway = place.gateway().await;
    let desk = place.link("mot-cua-binh", gateway.bus);
    let others = place.link("mot-cua", gateway.bus);
    let first = submit(&desk, &support::submission()).await.unwrap();
    let _ = place.run(&["backup", "--config", "gateway.toml", "--to", "backup"]).await;
    // After the backup: a dossier, and two entries about it; and one about the dossier that is in the backup.
    let opened = Bytes::from(support::submission().encode_to_vec());
    let lost = desk.submit(opened.clone(), None).await.unwrap();
    let code = lost.receipt.dossier_code.clone();
    let accepted = entry(&code, What::Accepted(v1::Accepted::default()));
    let started = entry(&code, What::ProcessingStarted(v1::ProcessingStarted::default()));
    let accepted_receipt = others.record(accepted.clone(), None).await.unwrap();
    let started_receipt = others.record(started.clone(), None).await.unwrap();
    let of_first = entry(&first.receipt.dossier_code, What::Accepted(v1::Accepted::default()));
    let of_first_receipt = others.record(of_first.clone(), None).await.unwrap();

    gateway.kill().await;
    place.lose_the_gateways_disk();
    // The gateway has another key by now; receipts of the old one still count, because its certificate is on record.
    place.issue_the_gateways_certificate();
    let restore = ["restore", "--from", "backup", "--config", "gateway.toml", "--actor", "van.hanh.1"];
    let _ = place.run(&restore).await;
    let gateway = place.gateway().await;
    let desk = place.link("mot-cua-binh", gateway.bus);
    let others = place.link("mot-cua", gateway.bus);

    // What builds on something that is not back has to wait.
    let too_early = others.record_again(started.clone(), None, Some(started_receipt.signed.clone())).await;
    refused(too_early, Reason::EarlierEventsMissing);
    // A receipt of another request, one that was changed, and one that a system signed itself bring nothing back.
    let foreign = desk.submit_again(opened.clone(), None, Some(first.signed.clone())).await;
    refused(foreign, Reason::EarlierReceiptInvalid);
    for forged in [forged(&lost, |_| ()), forged_by(&lost, &desk)] {
        refused(desk.submit_again(opened.clone(), None, Some(forged)).await, Reason::EarlierReceiptInvalid);
    }

    let back = desk.submit_again(opened.clone(), None, Some(lost.signed.clone())).await.unwrap();
    assert_eq!((&back.signed, back.repeated), (&lost.signed, false), "the very receipt it had");
    let again = desk.submit_again(opened.clone(), None, Some(lost.signed.clone())).await.unwrap();
    assert_eq!((&again.signed, again.repeated), (&lost.signed, true));
    // Known by now, it is answered whatever it brings.
    assert!(desk.submit_again(opened, None, Some(first.signed.clone())).await.unwrap().repeated);
    let too_early = others.record_again(started.clone(), None, Some(started_receipt.signed.clone())).await;
    refused(too_early, Reason::EarlierEventsMissing);
    for (body, receipt) in [(accepted, accepted_receipt), (started, started_receipt)] {
        let back = others.record_again(body, None, Some(receipt.signed.clone())).await.unwrap();
        assert_eq!(back.signed, receipt.signed);
    }

    // Somebody was faster: the place is taken, and nothing is written.
    let code = &first.receipt.dossier_code;
    let other = v1::Entry::decode(entry(code, What::Accepted(v1::Accepted::default()))).unwrap();
    record(&others, &other).await.unwrap();
    refused(others.record_again(of_first, None, Some(of_first_receipt.signed)).await, Reason::EpochConflict);
    // What is new gets a number that cannot have been given out.
    let fresh = submit(&desk, &support::submission()).await.unwrap();
    assert!(fresh.receipt.dossier_code.ends_with("-10001"), "{}", fresh.receipt.dossier_code);
    assert_eq!(gateway.figure("events").await, 6);

    gateway.stop().await;
    place.fsck().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_certificate_signed_comes_back_when_the_restore_is_given_that_certificate() {
    let place = Place::new();
    let gateway = place.gateway().await;
    let _ = place.run(&["backup", "--config", "gateway.toml", "--to", "backup"]).await;
    gateway.stop().await;
    // Put in force after the backup, and gone with the machine; its CA has it.
    place.issue_the_gateways_certificate();
    std::fs::copy(place.folder().join("tls/gateway.pem"), place.folder().join("kept.pem")).unwrap();
    let gateway = place.gateway().await;
    let opened = Bytes::from(support::submission().encode_to_vec());
    let lost = place.link("mot-cua-binh", gateway.bus).submit(opened.clone(), None).await.unwrap();
    gateway.kill().await;
    place.issue_the_gateways_certificate();

    let restore = ["restore", "--from", "backup", "--config", "gateway.toml", "--actor", "van.hanh.1"];
    let given = [&restore[..], &["--own-certificate", "kept.pem"]].concat();
    for (words, is_given) in [(&restore[..], false), (&given, true)] {
        place.lose_the_gateways_disk();
        let _ = place.run(words).await;
        let gateway = place.gateway().await;
        let desk = place.link("mot-cua-binh", gateway.bus);
        let again = desk.submit_again(opened.clone(), None, Some(lost.signed.clone())).await;
        if is_given {
            assert_eq!(again.unwrap().signed, lost.signed, "the very receipt it had");
        } else {
            refused(again, Reason::EarlierReceiptInvalid);
        }
        gateway.kill().await;
    }
    place.fsck().await;
}

/// An entry of the commune's, as bytes to be signed.
fn entry(code: &str, what: What) -> Bytes {
    let entry = v1::Entry {
        request_key: fresh_key(),
        acting_party: "H99.101".into(),
        actor: "clerk-an-1".into(),
        dossier_code: code.to_owned(),
        occurred_at: Some(at(MORNING)),
        what: Some(what),
        ..v1::Entry::default()
    };
    entry.encode_to_vec().into()
}

/// A receipt that names another code, under the signature of the old one.
fn forged(given: &Admitted, sign: impl Fn(&mut v1::SignedReceipt)) -> v1::SignedReceipt {
    let receipt = v1::Receipt { dossier_code: "H99.101-250714-7777".into(), ..given.receipt.clone() };
    let mut signed = v1::SignedReceipt { receipt: receipt.encode_to_vec().into(), ..given.signed.clone() };
    sign(&mut signed);
    signed
}

/// The same, signed by a system that is known to the gateway.
fn forged_by(given: &Admitted, system: &Link) -> v1::SignedReceipt {
    forged(given, |signed| {
        signed.signature = system.signing_key().sign(Purpose::Receipt, &signed.receipt).into();
        signed.certificate_sha256 = Bytes::copy_from_slice(system.certificate().as_bytes());
    })
}

/// Hands dossiers in, and has the authority accept each.
async fn handle(desk: &Agency, authority: &Agency, dossiers: std::ops::Range<u32>) {
    for number in dossiers {
        let form = desk.upload(format!("%PDF-1.7 form {number}, synthetic")).await;
        desk.submit(&format!("dossier-{number}"), &submission(&form)).await;
        let code = code_of(desk, number).await;
        authority.event(&code, 1).await;
        authority.say(&code, MORNING, json!({ "type": "accepted" })).await;
    }
}

/// The code that a dossier got.
async fn code_of(desk: &Agency, number: u32) -> String {
    let outcome = desk.outcome(&format!("dossier-{number}")).await;
    assert_eq!(outcome["type"], "request.admitted", "{outcome}");
    outcome["dossier_code"].as_str().unwrap().to_owned()
}

fn said(what: &str) -> Value {
    json!({ "type": what, "occurred_at": MORNING })
}

/// Every receipt that the agencies were told of, by request key; a second one for a request must be the same.
fn receipts(agencies: &[&Agency]) -> BTreeMap<String, Value> {
    let mut receipts = BTreeMap::new();
    for hook in agencies.iter().flat_map(|agency| agency.told_so_far()) {
        assert_ne!(hook["type"], "request.refused", "{hook}");
        if hook["type"] == "request.admitted" {
            let key = hook["request_key"].as_str().unwrap().to_owned();
            if let Some(before) = receipts.insert(key, hook["receipt"].clone()) {
                assert_eq!(before, hook["receipt"], "another receipt for the same request");
            }
        }
    }
    receipts
}

/// Every event that the agencies were told of.
fn deliveries(agencies: &[&Agency]) -> Vec<String> {
    let line = |hook: &Value| format!("{} {} {}", hook["party"], hook["dossier_code"], hook["sequence"]);
    let hooks = agencies.iter().flat_map(|agency| agency.told_so_far());
    hooks.filter(|hook| hook["type"] == "dossier.event").map(|hook| line(&hook)).collect()
}

/// Somebody moves to commune An, and says so in commune Binh. Whoever it is is invented.
fn submission(form: &Value) -> Value {
    json!({
        "procedure_code": "1.000002",
        "applicant": {
            "kind": "citizen", "full_name": "NGƯỜI KIỂM THỬ", "personal_number": "046301123456",
            "date_of_birth": "2001-05-20", "sex": "female",
        },
        "locality": "99001",
        "intake_channel": "direct",
        "return_desk": "H99.TT",
        "return_channel": "direct",
        "received_at": MORNING,
        "components": [{ "name": "Tờ khai", "document": form, "originals": 1 }],
    })
}
