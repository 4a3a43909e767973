//! A key is stolen, and its system revoked while its adapter works: whoever holds the key is out within seconds, also with
//! another certificate for it, and nobody else notices. With a new token the system is back, and its adapter goes on with what it
//! kept.

use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lgsp_adapters::link::{Link, TurnedAway};
use lgsp_certs::{PrivateKey, SigningRequest, TlsFiles};
use lgsp_proto::v1::inbox_request::Request as Say;
use lgsp_proto::v1::{InboxRequest, OpenInbox, TrustRequest};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::agency::Agency;
use crate::place::{Adapter, Gateway, Place};
use crate::support::MORNING;
use crate::{until, within};

/// Who is revoked, and who goes on: a desk and the authority for what it takes in.
const SYSTEM: &str = "mot-cua-binh";
const DESK: &str = "H99.102";
const OTHER_SYSTEM: &str = "mot-cua";
const AUTHORITY: &str = "H99.101";

/// How soon a revocation counts everywhere.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_is_out_within_seconds_and_its_system_joins_again_and_loses_nothing() {
    let place = Place::new().issuing(3600);
    let gateway = place.gateway().await;
    let (desk, adapter) = member(&place, &gateway, SYSTEM, DESK).await;
    let (authority, other) = member(&place, &gateway, OTHER_SYSTEM, AUTHORITY).await;
    let before = hand_in(&desk, "before").await;
    authority.event(&before, 1).await;

    // The thief has the key and the certificate, and listens to the desk's inbox, as the desk's adapter does.
    let stolen = steal(&place);
    let thief = place.link_with(stolen.clone(), gateway.bus);
    let overhearing = listen(&thief).await.unwrap();
    is_connected(&adapter).await;
    let certificate = adapter.status().await["certificate"]["sha256"].clone();

    let begin = Instant::now();
    let operator = place.profile("operator.toml", "van-hanh", "H99.VH", gateway.bus);
    let words = ["certs", "revoke", "--system", SYSTEM, "--ground", "KEY_STOLEN", "--profile", &operator];
    let revoked = place.run(&words).await;
    assert!(revoked["connections_cut"].as_u64() >= Some(2), "{revoked}");
    within("the end of what the thief overhears", overhearing).await.unwrap();
    until("an adapter that knows why it is alone", async || {
        let status = adapter.status().await;
        (status["certificate"]["turned_away"] == "revoked" && status["connected"] == false).then_some(())
    })
    .await;
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());

    // Not with that certificate, and not with another one for the same key, though our own CA has signed it.
    let again = place.link_with(certified_anew(&place, &stolen), gateway.bus);
    for link in [&place.link_with(stolen, gateway.bus), &again] {
        until("a refusal that says why", async || {
            assert!(!is_answered(link).await && listen(link).await.is_err());
            (link.connectivity().borrow().turned_away == Some(TurnedAway::Revoked)).then_some(())
        })
        .await;
    }

    // The desk takes in, and its adapter keeps. What is told to it waits at the gateway. The authority works as ever.
    let kept = ["kept-1", "kept-2"];
    for key in kept {
        desk.submit(key, &submission()).await;
    }
    authority.say(&before, MORNING, json!({ "type": "accepted" })).await;
    assert_eq!(authority.show(&before).await["dossier"]["status"], "accepted");
    assert_eq!(
        (adapter.status().await["outgoing"]["waiting"].as_u64(), gateway.figure("dossiers").await),
        (Some(2), 1)
    );

    // A new token, the same folder: the running adapter takes the certificate up by itself.
    let joined = place.join(SYSTEM, DESK, &gateway, desk.hook).await;
    assert_eq!((&joined["first"], &joined["config_written"]), (&json!(false), &json!(false)), "{joined}");
    for key in kept {
        let outcome = desk.outcome(key).await;
        assert_eq!(outcome["type"], "request.admitted", "{outcome}");
        authority.event(outcome["dossier_code"].as_str().unwrap(), 1).await;
    }
    desk.event(&before, 2).await;
    let status = adapter.status().await;
    assert_ne!(status["certificate"]["sha256"], certificate);
    assert!(status["certificate"].get("problem").is_none(), "{status}");
    adapter.settled().await;
    other.settled().await;
    let of_before: Vec<_> =
        desk.told_so_far().into_iter().filter(|hook| hook["dossier_code"] == before.as_str()).collect();
    assert_eq!(of_before.len(), 2, "once each: {of_before:?}");
    assert_eq!((desk.told_so_far().len(), authority.told_so_far().len()), (4, 4));

    // The key stays out, whoever was let in again.
    assert!(!is_answered(&again).await, "the revoked key has come back");
    for adapter in [adapter, other] {
        adapter.stop().await;
    }
    gateway.stop().await;
    let books = place.fsck().await;
    assert_eq!((&books["dossiers"], &books["events"]), (&json!(3), &json!(4)));
}

async fn member(place: &Place, gateway: &Gateway, system: &str, party: &'static str) -> (Agency, Adapter) {
    let agency = Agency::open(party).await;
    place.join(system, party, gateway, agency.hook).await;
    let adapter = place.joined_adapter(system).await;
    agency.use_adapter(adapter.rest);
    (agency, adapter)
}

async fn is_connected(adapter: &Adapter) {
    until("an open inbox", async || (adapter.status().await["connected"] == true).then_some(())).await;
}

/// A copy of what the desk's adapter is known by.
fn steal(place: &Place) -> TlsFiles {
    let (from, to) = (place.folder().join(SYSTEM).join("identity/current"), place.folder().join("stolen"));
    fs::create_dir(&to).unwrap();
    let file = |name: &str| {
        fs::copy(from.join(name), to.join(name)).unwrap();
        to.join(name)
    };
    TlsFiles { certificate: file("chain.pem"), key: file("key.pem"), bundle: file("bundle.pem") }
}

/// Another certificate for the same key, by the bus's own CA beside the gateway.
fn certified_anew(place: &Place, stolen: &TlsFiles) -> TlsFiles {
    let key = PrivateKey::from_pem(&fs::read(&stolen.key).unwrap()).unwrap();
    let request = SigningRequest::parse(&key.signing_request().unwrap()).unwrap();
    let certificate = place.folder().join("stolen/anew.pem");
    fs::write(&certificate, place.certified(&request, SYSTEM)).unwrap();
    TlsFiles { certificate, ..stolen.clone() }
}

/// Whether the gateway answers a question that any system may ask.
async fn is_answered(link: &Link) -> bool {
    let request = TrustRequest { known_sha256: Bytes::new() };
    within("an answer about trust", link.certificates().trust(link.request(request, None))).await.is_ok()
}

/// Opens the desk's inbox over a link. Gives what lasts until the stream has ended.
async fn listen(link: &Link) -> Result<impl Future<Output = Result<(), tokio::task::JoinError>> + use<>, Status> {
    let (say, said) = mpsc::channel(1);
    let open = OpenInbox { parties: vec![DESK.into()], credit: 1, instance: "thief".into(), ..OpenInbox::default() };
    say.send(InboxRequest { request: Some(Say::Open(open)) }).await.unwrap();
    let opening = async {
        let mut hear = link.inbox().open(ReceiverStream::new(said)).await?.into_inner();
        // The first answer: it is open.
        hear.message().await?;
        Ok::<_, Status>(hear)
    };
    let mut hear = within("an answer to who listens", opening).await?;
    Ok(tokio::spawn(async move {
        while let Ok(Some(_)) = hear.message().await {}
        drop(say);
    }))
}

/// Hands a dossier in and gives its code.
async fn hand_in(desk: &Agency, key: &str) -> String {
    desk.submit(key, &submission()).await;
    let outcome = desk.outcome(key).await;
    assert_eq!(outcome["type"], "request.admitted", "{outcome}");
    outcome["dossier_code"].as_str().unwrap().to_owned()
}

/// A birth in commune An, taken in at commune Binh. The person is synthetic.
fn submission() -> Value {
    json!({
        "procedure_code": "1.000001",
        "applicant": {
            "kind": "citizen", "full_name": "NGƯỜI KIỂM THỬ", "personal_number": "046301123456",
            "date_of_birth": "2001-05-20", "sex": "female",
        },
        "locality": "99001",
        "intake_channel": "direct",
        "return_channel": "direct",
        "received_at": MORNING,
        "components": [{ "code": "to-khai", "name": "Tờ khai", "originals": 1 }],
    })
}
