//! The lines of ten communes are cut, and for a day's worth of dossiers their desks go on: real codes from numbers leased
//! ahead, the same refusals, the same route. Meanwhile the gateway dies and an adapter dies. When the lines are back, the books
//! of both sides are equal, and no code was given to two dossiers.

use std::collections::{BTreeMap, BTreeSet};

use ::http::Method;
use jiff::Timestamp;
use lgsp_adapters::link::Link;
use lgsp_proto::v1;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::agency::Agency;
use crate::line::{Condition, Line};
use crate::place::{Adapter, Gateway, Place};
use crate::until;

/// What one of Hue's communes takes in on the city's busiest day: 3,425 dossiers at 40 communes.
const DOSSIERS: usize = 86;

/// Ten communes with a desk, each with the unit it governs.
const COMMUNES: [(&str, &str); 10] = [
    ("H57.101", "19753"),
    ("H57.102", "19774"),
    ("H57.103", "19777"),
    ("H57.104", "19789"),
    ("H57.105", "19804"),
    ("H57.106", "19813"),
    ("H57.107", "19815"),
    ("H57.108", "19819"),
    ("H57.109", "19828"),
    ("H57.110", "19831"),
];

/// They share a system; each has an installation of its own.
const SYSTEM: &str = "mot-cua-hue";

/// One commune at its end of a line.
struct Commune {
    number: usize,
    agency: Agency,
    adapter: Adapter,
    line: Line,
    /// By request key: what the citizen was told, a code or a provisional number.
    told: BTreeMap<String, Value>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_without_lines_ends_with_equal_books_and_no_code_given_twice() {
    let place = Place::of_hue();
    let gateway = place.gateway().await;
    place.keep_address(&gateway);
    let mut communes = Vec::new();
    for number in 0..COMMUNES.len() {
        communes.push(Commune::open(&place, &gateway, number).await);
    }
    for commune in &communes {
        commune.is_prepared().await;
    }

    for commune in &communes {
        commune.line.set(Condition::Cut);
        commune.is_alone().await;
    }
    let half = DOSSIERS / 2;
    let mut communes = take_in(communes, 0..half).await;
    // In the middle of it the gateway dies, and one adapter; neither changes anything for the citizens.
    gateway.kill().await;
    let unlucky = communes.remove(3);
    communes.push(unlucky.restarted(&place).await);
    let gateway = place.gateway().await;
    let communes = take_in(communes, half..DOSSIERS).await;
    assert_eq!(gateway.figure("dossiers").await, 0, "nothing can have come through");

    for commune in &communes {
        commune.line.set(Condition::Sound);
    }
    for commune in &communes {
        until("everything to be forwarded", async || {
            (commune.adapter.status().await["offline"]["waiting"] == 0).then_some(())
        })
        .await;
        commune.adapter.settled().await;
    }

    // What the desks told is what the gateway holds, each code once, each dossier under what the citizen was told.
    let held = everything_of(&place.link(SYSTEM, gateway.bus)).await;
    assert_eq!(held.len(), COMMUNES.len() * DOSSIERS);
    let mut codes = BTreeSet::new();
    for commune in &communes {
        for (key, told) in &commune.told {
            let outcome = commune.agency.outcome(key).await;
            assert_eq!(outcome["type"], "request.admitted", "{key}: {outcome}");
            let code = outcome["dossier_code"].as_str().unwrap();
            assert!(codes.insert(code.to_owned()), "{code} was given twice");
            assert!(held.contains_key(code), "{code} is not with the gateway");
            match told["dossier_code"].as_str() {
                Some(given) => assert_eq!(given, code, "{key}"),
                None => panic!("{key}: there were numbers for all: {told}"),
            }
        }
        assert_eq!(commune.adapter.status().await["offline"]["exceptions"], 0);
    }
    assert_eq!(codes, held.keys().cloned().collect());
    for commune in &communes {
        commune.has_equal_books(&held).await;
    }

    for commune in communes {
        commune.adapter.stop().await;
    }
    gateway.stop().await;
    let books = place.fsck().await;
    assert_eq!(books["dossiers"], COMMUNES.len() * DOSSIERS);
}

/// All desks at once, each one dossier after the other.
async fn take_in(communes: Vec<Commune>, numbers: std::ops::Range<usize>) -> Vec<Commune> {
    let mut desks = JoinSet::new();
    for mut commune in communes {
        let numbers = numbers.clone();
        desks.spawn(async move {
            for number in numbers {
                commune.take_in(number).await;
            }
            commune
        });
    }
    desks.join_all().await
}

/// Every dossier that a system's parties have to do with, as the gateway has it.
async fn everything_of(link: &Link) -> BTreeMap<String, v1::Dossier> {
    let mut all = BTreeMap::new();
    for (party, _) in COMMUNES {
        let mut page_token = String::new();
        loop {
            let asked = v1::ListRequest {
                acting_party: party.to_owned(),
                actor: "clerk-1".to_owned(),
                page_size: 200,
                page_token,
                ..v1::ListRequest::default()
            };
            let page = link.dossiers().list(asked).await.unwrap().into_inner();
            all.extend(page.dossiers.into_iter().map(|dossier| (dossier.code.clone(), dossier)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
    }
    all
}

impl Commune {
    async fn open(place: &Place, gateway: &Gateway, number: usize) -> Self {
        let line = Line::to(gateway.bus, Condition::Sound).await;
        let agency = Agency::open(COMMUNES[number].0).await;
        let adapter = Self::start(place, number, &line, &agency).await;
        Self { number, agency, adapter, line, told: BTreeMap::new() }
    }

    async fn start(place: &Place, number: usize, line: &Line, agency: &Agency) -> Adapter {
        let party = COMMUNES[number].0;
        // Numbers for a busy day of its own, and of every neighbour's that a citizen may belong to.
        let neighbours: Vec<&str> = COMMUNES.iter().map(|(party, _)| *party).collect();
        let more = format!("[offline]\nblock = 100\ndays_ahead = 1\nauthorities = {neighbours:?}\n");
        let adapter = place.installation(SYSTEM, party, line.near, agency.hook, &more).await;
        agency.use_adapter(adapter.rest);
        adapter
    }

    fn party(&self) -> &'static str {
        COMMUNES[self.number].0
    }

    /// Waits until the desk could go on alone: it has the registry, and numbers of everybody for today and tomorrow.
    async fn is_prepared(&self) {
        until("a desk that is prepared", async || {
            let status = self.adapter.status().await;
            let numbers = status["offline"]["numbers"].as_array().cloned().unwrap_or_default();
            let enough = numbers.iter().filter(|block| block["left"].as_u64() >= Some(100)).count();
            (enough >= 2 * COMMUNES.len() && status["connected"] == true).then_some(())
        })
        .await;
    }

    /// SIGKILL, and a new start, without a line all the time.
    async fn restarted(self, place: &Place) -> Self {
        let Self { number, agency, adapter, line, told } = self;
        adapter.kill().await;
        let adapter = Self::start(place, number, &line, &agency).await;
        let commune = Self { number, agency, adapter, line, told };
        commune.is_alone().await;
        commune
    }

    /// Waits until the desk knows that nobody answers.
    async fn is_alone(&self) {
        until("a desk that knows it is alone", async || {
            (self.adapter.status().await["offline"]["line_down"] == true).then_some(())
        })
        .await;
    }

    /// A citizen comes: two of three belong here, one to a neighbour. Of some the clerk says at once that work has begun.
    async fn take_in(&mut self, number: usize) {
        let (key, own) = (format!("{}-{number}", self.party()), !number.is_multiple_of(3));
        let whose = if own { self.number } else { (self.number + 1 + number) % COMMUNES.len() };
        let (authority, unit) = COMMUNES[whose];
        let received_at = Timestamp::now() - jiff::SignedDuration::from_secs(60);
        let submission = json!({
            "procedure_code": "1.001193",
            "applicant": {
                "kind": "citizen", "full_name": "NGƯỜI KIỂM THỬ", "personal_number": "046301123456",
                "date_of_birth": "2001-05-20", "sex": "female",
            },
            "locality": unit,
            "intake_channel": "direct",
            "return_channel": "direct",
            "received_at": received_at.to_string(),
            "components": [{ "code": "to-khai", "name": "Tờ khai", "originals": 1 }],
        });
        let told = self.agency.submit(&key, &submission).await;
        assert_eq!((&told["offline"], &told["competent_authority"]), (&json!(true), &json!(authority)), "{told}");
        // Handed in once more, as software does that was not sure: the same dossier, the same code.
        if number.is_multiple_of(10) {
            let again = self.agency.submit(&key, &submission).await;
            assert_eq!(again["dossier_code"], told["dossier_code"]);
        }
        if authority == self.party() && number % 5 == 1 {
            let code = told["dossier_code"].as_str().unwrap();
            let said = json!({ "type": "processing_started", "occurred_at": Timestamp::now().to_string() });
            let headers = [("idempotency-key", &*format!("{key}-begun"))];
            let path = format!("/v1/dossiers/{code}/events");
            self.agency.call(Method::POST, &path, &headers, said.to_string()).await.with(202);
        }
        self.told.insert(key, told);
    }

    /// What the commune's own system was told about each dossier is what happened to it, each event once and in order.
    async fn has_equal_books(&self, held: &BTreeMap<String, v1::Dossier>) {
        let party = self.party();
        let mut events: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for hook in self.agency.told_so_far() {
            let (code, sequence) = match hook["type"].as_str().unwrap() {
                "dossier.event" => (&hook["dossier_code"], &hook["sequence"]),
                "request.admitted" => (&hook["dossier_code"], &hook["receipt"]["sequence"]),
                _ => panic!("{hook}"),
            };
            events.entry(code.as_str().unwrap().to_owned()).or_default().push(sequence.as_u64().unwrap());
        }
        let concerned = |dossier: &&v1::Dossier| dossier.intake_desk == party || dossier.competent_authority == party;
        for dossier in held.values().filter(concerned) {
            let all: Vec<u64> = (1..=u64::from(dossier.sequence)).collect();
            assert_eq!(events.remove(&dossier.code), Some(all), "{party} about {}", dossier.code);
        }
        assert!(events.is_empty(), "{party} was told about dossiers that are none of its: {:?}", events.keys());
    }
}
