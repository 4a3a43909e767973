//! Everything that certifies is exchanged while dossiers cross the bus: the leafs of all adapters, the gateway's certificate, the
//! issuing CA, and in the end the root. No call of an agency fails, nothing is lost, doubled or out of order, and nobody is
//! started anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lgsp_certs::{CertificateDigest, TlsFiles};
use lgsp_proto::v1::TrustRequest;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agency::Agency;
use crate::place::{Adapter, Gateway, Place};
use crate::support::MORNING;
use crate::{until, within};

/// How long an adapter's certificate lives: it is renewed after two thirds of this, and must be before a third more.
const LEAF_LIFE_S: u32 = 30;

/// Who works at the same time at the desk, and how long each rests after a dossier.
const CLERKS: usize = 3;
const REST: Duration = Duration::from_millis(60);

/// How many more dossiers must have gone all the way for a change to count as survived.
const AFTERWARDS: usize = 10;

const FORM: &str = "%PDF-1.7 the form, synthetic";

/// Systems and the parties they speak for: a desk, two authorities, and the portal, which is told everything.
const MEMBERS: [(&str, &str); 4] =
    [("mot-cua-binh", "H99.102"), ("mot-cua", "H99.101"), ("cong-an", "H99.CA.101"), ("cong-dich-vu", "H99.CDV")];
const DESK: usize = 0;
const PORTAL: usize = 3;

/// What is asked for at the desk, and which member decides it.
const PROCEDURES: [(&str, usize); 2] = [("1.000001", 1), ("1.000002", 2)];

struct Member {
    system: &'static str,
    agency: Arc<Agency>,
    adapter: Adapter,
}

/// The load: clerks at the desk, each with one dossier after the other, and the authorities that answer them.
struct Load {
    clerks: JoinSet<Vec<(String, usize)>>,
    done: watch::Receiver<usize>,
    stop: Arc<AtomicBool>,
}

#[tokio::test(flavor = "multi_thread")]
async fn leafs_gateway_issuing_ca_and_root_are_exchanged_under_load_and_no_call_fails() {
    let place = Place::new().issuing(LEAF_LIFE_S);
    let gateway = place.gateway().await;
    let mut members = Vec::new();
    for (system, party) in MEMBERS {
        members.push(Member::join(&place, &gateway, system, party).await);
    }
    let load = Load::start(&members);
    load.goes_on("before anything changes").await;

    // Everybody's leaf, by itself, with another key.
    let first = in_use(&members).await;
    until("every adapter has another certificate", async || {
        let now = in_use(&members).await;
        first.iter().zip(&now).all(|(first, now)| first != now).then_some(())
    })
    .await;
    load.goes_on("with other leafs").await;

    // The gateway's certificate, in its place on disk.
    let next = place.issue_the_gateways_certificate_by(&place.authority("ca"));
    shows(&place, &gateway, next).await;
    load.goes_on("with another certificate of the gateway").await;

    // The issuing CA, by another one of the same root.
    place.ask_text(&["certs", "init", "ca-b", "--root", "ca/root"]).await;
    place.issue_by("ca-b");
    are_certified_by(&place, "ca-b").await;
    load.goes_on("with another issuing CA").await;

    // Another root beside the first: the gateway takes it up, and its adapters learn of it from the gateway.
    place.ask_text(&["certs", "init", "ca-c", "--trust-domain", "bus.test"]).await;
    place.trust_in(&["ca", "ca-c"]);
    let (old, new) = (operator(&place, "ca"), operator(&place, "ca-c"));
    until("the gateway knows both roots", async || is_let_in(&place, &gateway, &new).await.then_some(())).await;
    trust(&place, &["ca", "ca-c"]).await;
    load.goes_on("with two roots").await;

    // Everything under the new root, and then the first one away.
    place.issue_by("ca-c");
    let last = place.issue_the_gateways_certificate_by(&place.authority("ca-c"));
    shows(&place, &gateway, last).await;
    are_certified_by(&place, "ca-c").await;
    assert!(is_let_in(&place, &gateway, &old).await, "the first root is still there");
    place.trust_in(&["ca-c"]);
    until("the gateway has forgotten the first root", async || {
        (!is_let_in(&place, &gateway, &old).await).then_some(())
    })
    .await;
    trust(&place, &["ca-c"]).await;
    load.goes_on("under another root").await;

    let dossiers = load.stop().await;
    reconcile(&members, &dossiers).await;
    for Member { adapter, .. } in &members {
        let certificate = &adapter.status().await["certificate"];
        assert!(certificate["renewals"].as_u64() >= Some(3) && certificate.get("problem").is_none(), "{certificate}");
    }
    // Each is the process that was started in the beginning, and ends in order.
    for Member { adapter, .. } in members {
        adapter.stop().await;
    }
    gateway.stop().await;
    let books = place.fsck().await;
    assert_eq!((&books["dossiers"], &books["events"]), (&json!(dossiers.len()), &json!(2 * dossiers.len())));
}

impl Member {
    async fn join(place: &Place, gateway: &Gateway, system: &'static str, party: &'static str) -> Self {
        let agency = Agency::open(party).await;
        place.join(system, party, gateway, agency.hook).await;
        let adapter = place.joined_adapter(system).await;
        agency.use_adapter(adapter.rest);
        Self { system, agency: Arc::new(agency), adapter }
    }
}

impl Load {
    fn start(members: &[Member]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, done) = watch::channel(0);
        let numbers = Arc::new(AtomicUsize::new(0));
        let agencies: Arc<[_]> = members.iter().map(|member| Arc::clone(&member.agency)).collect();
        let mut clerks = JoinSet::new();
        for _ in 0..CLERKS {
            let (stop, tell) = (Arc::clone(&stop), tell.clone());
            let (numbers, agencies) = (Arc::clone(&numbers), Arc::clone(&agencies));
            clerks.spawn(async move {
                let mut handed_in = Vec::new();
                let mut pace = tokio::time::interval(REST);
                while !stop.load(Ordering::Relaxed) {
                    pace.tick().await;
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    handed_in.push(one_dossier(&agencies, number).await);
                    tell.send_modify(|done| *done += 1);
                }
                handed_in
            });
        }
        Self { clerks, done, stop }
    }

    /// Waits until some more dossiers have gone all the way.
    async fn goes_on(&self, when: &str) {
        let mut done = self.done.clone();
        let enough = *done.borrow() + AFTERWARDS;
        within(when, done.wait_for(|done| *done >= enough)).await.expect("a clerk gave up; what he says is above");
    }

    /// The codes of all dossiers, and who decides each.
    async fn stop(self) -> BTreeMap<String, usize> {
        self.stop.store(true, Ordering::Relaxed);
        let all = within("the clerks", self.clerks.join_all()).await;
        let (count, codes) = (all.iter().map(Vec::len).sum::<usize>(), all.into_iter().flatten().collect());
        let codes: BTreeMap<_, _> = codes;
        assert_eq!(codes.len(), count, "a code given twice");
        codes
    }
}

/// From the desk to the authority and back. Whatever an agency asks its adapter, it is answered, and at the first attempt; and so
/// is the adapter.
async fn one_dossier(agencies: &[Arc<Agency>], number: usize) -> (String, usize) {
    let (procedure, whose) = PROCEDURES[number % PROCEDURES.len()];
    let (desk, authority) = (&agencies[DESK], &agencies[whose]);
    let form = desk.upload(format!("{FORM} {number}")).await;
    let key = format!("ho-so-{number}");
    desk.submit(&key, &submission(procedure, &form)).await;
    let outcome = desk.outcome(&key).await;
    assert_eq!(outcome["type"], "request.admitted", "{outcome}");
    assert_eq!(desk.request(&key).await["repeated"], false, "{key} had to be sent twice");
    let code = outcome["dossier_code"].as_str().unwrap().to_owned();
    let told = authority.event(&code, 1).await;
    assert_eq!(authority.download(&code, &told["body"]["components"][0]["document"]).await, format!("{FORM} {number}"));
    authority.say(&code, MORNING, json!({ "type": "accepted" })).await;
    desk.event(&code, 2).await;
    assert_eq!(desk.show(&code).await["dossier"]["status"], "accepted");
    (code, whose)
}

/// Everybody's own books against the gateway's: each event with everybody it concerns, once and in order.
async fn reconcile(members: &[Member], dossiers: &BTreeMap<String, usize>) {
    for (number, Member { system, agency, adapter }) in members.iter().enumerate() {
        adapter.settled().await;
        let mut told: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for hook in agency.told_so_far() {
            let sequence = match hook["type"].as_str().unwrap() {
                "dossier.event" => &hook["sequence"],
                "request.admitted" => &hook["receipt"]["sequence"],
                _ => panic!("{system}: {hook}"),
            };
            told.entry(hook["dossier_code"].as_str().unwrap().to_owned()).or_default().push(sequence.as_u64().unwrap());
        }
        let concerned = |whose: usize| number == DESK || number == PORTAL || number == whose;
        let concerned: BTreeSet<_> =
            dossiers.iter().filter(|(_, whose)| concerned(**whose)).map(|(code, _)| code).collect();
        assert_eq!(told.keys().collect::<BTreeSet<_>>(), concerned, "what {system} was told about");
        for (code, sequences) in told {
            assert_eq!(sequences, [1, 2], "{system} about {code}");
        }
    }
}

/// The certificates that the adapters say they use.
async fn in_use(members: &[Member]) -> Vec<Value> {
    let mut all = Vec::new();
    for member in members {
        all.push(member.adapter.status().await["certificate"]["sha256"].clone());
    }
    all
}

/// Waits until whoever connects is shown this certificate.
async fn shows(place: &Place, gateway: &Gateway, wanted: CertificateDigest) {
    until("the gateway's other certificate", async || (place.shown_by(gateway).await == wanted).then_some(())).await;
}

/// Waits until every adapter's certificate in force is by the CA in this folder.
async fn are_certified_by(place: &Place, ca: &str) {
    let issuing = place.authority(ca);
    until("every adapter is certified by the other CA", async || {
        let by = |system| certificates(place, system, "chain.pem").get(1) == Some(issuing.intermediate());
        MEMBERS.iter().all(|(system, _)| by(system)).then_some(())
    })
    .await;
}

/// Waits until every adapter trusts the roots of these CAs and no other.
async fn trust(place: &Place, cas: &[&str]) {
    let mut roots: Vec<_> = cas.iter().map(|ca| place.authority(ca).root().clone()).collect();
    roots.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
    until("every adapter trusts these roots", async || {
        let trusts = |system| {
            let mut trusted = certificates(place, system, "bundle.pem");
            trusted.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
            trusted == roots
        };
        MEMBERS.iter().all(|(system, _)| trusts(system)).then_some(())
    })
    .await;
}

/// What an adapter has in force. The set may be exchanged while it is read; then nothing is read.
fn certificates(place: &Place, system: &str, file: &str) -> Vec<CertificateDer<'static>> {
    let file = place.folder().join(system).join("identity/current").join(file);
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.unwrap_or_default()
}

/// A certificate of the operator's own by the CA in this folder.
fn operator(place: &Place, ca: &str) -> TlsFiles {
    place.issued_by(&place.authority(ca), &format!("operator-{ca}"), "van-hanh")
}

/// Whether the gateway answers to this certificate.
async fn is_let_in(place: &Place, gateway: &Gateway, tls: &TlsFiles) -> bool {
    let link = place.link_with(tls.clone(), gateway.bus);
    let request = TrustRequest { known_sha256: Bytes::new() };
    within("an answer about trust", link.certificates().trust(link.request(request, None))).await.is_ok()
}

/// A birth or a move to commune An, taken in at commune Binh. The person is synthetic.
fn submission(procedure: &str, form: &Value) -> Value {
    json!({
        "procedure_code": procedure,
        "applicant": {
            "kind": "citizen", "full_name": "NGƯỜI KIỂM THỬ", "personal_number": "046301123456",
            "date_of_birth": "2001-05-20", "sex": "female",
        },
        "locality": "99001",
        "intake_channel": "direct",
        "return_channel": "direct",
        "received_at": MORNING,
        "components": [{ "code": "to-khai", "name": "Tờ khai", "originals": 1, "document": form }],
    })
}
