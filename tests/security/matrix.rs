//! Every RPC × everybody: what each of them must be answered, and that the refused leave nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use lgsp_certs::{CertificateAuthority, Issued, PrivateKey, SystemName};
use lgsp_proto::v1::audit_client::AuditClient;
use lgsp_proto::v1::certificates_client::CertificatesClient;
use lgsp_proto::v1::registry_client::RegistryClient;
use lgsp_proto::{DESCRIPTORS, Reason, Refusal, v1};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use rustls::AlertDescription;
use serde_json::Value;
use tonic::Status;

use crate::client::Caller;
use crate::rows::{As, Ask, ELSEWHERE, Foreign, OPERATOR, ROWS, Row, WITHOUT_PARTY, Without};
use crate::support::Bus;
use crate::things::Things;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whom no system of the registry is.
const NOBODY: &str = "la";

/// A system that acts for none of the parties in the table.
const STRANGER: &str = "buu-chinh";

/// A bus, and who calls it.
struct House {
    bus: Bus,
    things: Things,
    callers: BTreeMap<&'static str, Caller>,
}

impl House {
    async fn open() -> Self {
        let bus = Bus::start().await;
        let things = Things::on(&bus).await;
        Self { bus, things, callers: BTreeMap::new() }
    }

    /// The system, with a good certificate.
    fn system(&mut self, name: &'static str) -> Caller {
        let bus = &self.bus;
        self.callers.entry(name).or_insert_with(|| Caller::new(bus, Some(&bus.issue(name)))).clone()
    }

    async fn call(&mut self, row: &Row, system: &'static str, party: &'static str) -> Result<Vec<u8>, Status> {
        let caller = self.system(system);
        (row.call)(caller, Ask { party, things: self.things.clone() }).await
    }

    async fn refuses(&mut self, row: &Row, As(system, party): As, reason: Reason) -> Refusal {
        match self.call(row, system, party).await {
            Ok(_) => panic!("{}: {system} for {party} is served, and not refused with {reason}", row.rpc),
            Err(status) => {
                let refusal = refusal(row, &status);
                assert_eq!(refusal.reason(), reason, "{}: {system} for {party}: {refusal}", row.rpc);
                refusal
            }
        }
    }

    /// What the books say. That a system of the registry was seen with this certificate is noted in any case.
    async fn books(&self) -> Books {
        let store = self.bus.status().await["store"].take();
        let of_dossiers =
            |name: &str| ["dossiers", "events", "archived"].contains(&name) || name.starts_with("deliveries_");
        let figures = store.as_object().unwrap().iter().filter(|(name, _)| of_dossiers(name));
        let figures = figures.map(|(name, value)| (name.clone(), value.clone())).collect();

        let As(system, party) = OPERATOR;
        let channel = Caller::new(&self.bus, Some(&self.bus.issue(system))).channel;
        let (acting_party, actor) = (party.to_owned(), "operator-1".to_owned());
        let kinds = (1..).map_while(|kind| v1::AuditKind::try_from(kind).ok());
        let request = v1::ListAuditRequest {
            acting_party: acting_party.clone(),
            actor: actor.clone(),
            kinds: kinds.filter(|kind| *kind != v1::AuditKind::CertificateSeen).map(i32::from).collect(),
            page_size: 500,
            ..Default::default()
        };
        let audited = AuditClient::new(channel.clone()).list(request).await.unwrap().into_inner();
        assert_eq!(audited.next_page_token, "", "all of it is compared");
        let request = v1::RegistryVersionsRequest { acting_party, actor, ..Default::default() };
        let versions = RegistryClient::new(channel).versions(request).await.unwrap().into_inner();
        Books { figures, audited: audited.entries, registry: versions.versions[0].number }
    }
}

/// What is on record.
#[derive(Debug, PartialEq)]
struct Books {
    /// How much there is of dossiers and deliveries.
    figures: Vec<(String, Value)>,
    /// Who administered what: tokens, certificates and revocations among it.
    audited: Vec<v1::AuditEntry>,
    /// The version in force.
    registry: u64,
}

#[test]
fn every_rpc_of_the_bus_has_a_row() {
    let descriptors = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let ours = descriptors.file.iter().filter(|file| file.package() == "lgsp.v1");
    let served: BTreeSet<String> = ours
        .flat_map(|file| &file.service)
        .flat_map(|service| service.method.iter().map(move |rpc| format!("{}/{}", service.name(), rpc.name())))
        .collect();
    let rows: BTreeSet<String> = ROWS.iter().map(|row| row.rpc).chain(ELSEWHERE).map(str::to_owned).collect();
    assert_eq!(rows.len(), ROWS.len() + ELSEWHERE.len(), "an RPC has two rows");
    assert_eq!(rows, served);
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_certificate_is_no_good_is_turned_away_before_a_call_is_read() {
    let house = House::open().await;
    let bus = &house.bus;
    let other = CertificateAuthority::create(&bus.folder().join("other"), bus.ca().trust_domain(), now()).unwrap();
    let revoked = bus.issue("mot-cua-binh");
    assert_eq!(Caller::new(bus, Some(&revoked)).turned_away_with().await, None, "it is good until then");
    revoke(bus, &revoked).await;
    let shown: [(&str, Option<Issued>, AlertDescription); 5] = [
        ("revoked", Some(revoked), AlertDescription::CertificateRevoked),
        ("no certificate", None, AlertDescription::CertificateRequired),
        // Of the same name as ours: it is the signature that shows it.
        ("another CA", Some(issue(&other, now())), AlertDescription::UnknownCA),
        ("expired", Some(issue(bus.ca(), now() - 2 * DAY)), AlertDescription::CertificateExpired),
        ("not yet valid", Some(issue(bus.ca(), now() + DAY)), AlertDescription::CertificateExpired),
    ];
    let before = house.books().await;
    for (what, certificate, alert) in shown {
        let caller = Caller::new(bus, certificate.as_ref());
        assert_eq!(caller.turned_away_with().await, Some(alert), "{what}");
        for row in ROWS {
            let ask = Ask { party: row.with.1, things: house.things.clone() };
            let status = (row.call)(caller.clone(), ask).await.expect_err(row.rpc);
            // The word of the connection that broke, and not of anything behind it.
            assert_eq!(Refusal::from_status(&status), None, "{what}: {}", row.rpc);
        }
    }
    assert_eq!(house.books().await, before, "somebody without a good certificate left something behind");
    house.bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_in_the_registry_or_lacks_the_grant_or_the_party_is_refused_and_told_why() {
    let mut house = House::open().await;
    let before = house.books().await;
    for row in ROWS {
        let As(_, party) = row.with;
        let refusal = house.refuses(row, As(NOBODY, party), Reason::SystemUnknown).await;
        assert_eq!(refusal.details()["system"], NOBODY, "{}", row.rpc);

        if !WITHOUT_PARTY.contains(&row.rpc) {
            let refusal = house.refuses(row, As(STRANGER, party), Reason::ActsForMissing).await;
            assert_eq!(refusal.details()["party"], party, "{}", row.rpc);
        }

        match row.without {
            Without::Right(who, right) => {
                let refusal = house.refuses(row, who, Reason::GrantMissing).await;
                assert_eq!(refusal.details()["right"], right, "{}", row.rpc);
                assert!(refusal.details().contains_key("owner"), "{}: {refusal}", row.rpc);
            }
            Without::Role(who) => drop(house.refuses(row, who, Reason::RoleMissing).await),
            Without::NeedsNone => {}
        }
        if let Foreign::Refused(who, reason) = row.foreign {
            house.refuses(row, who, reason).await;
        }
    }
    assert_eq!(house.books().await, before, "somebody who was refused left something behind");
    house.bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_all_it_takes_is_served_and_nobody_is_told_of_what_is_anothers() {
    let mut house = House::open().await;
    for row in ROWS {
        let As(system, party) = row.with;
        let answer = house.call(row, system, party).await;
        let answer = answer.unwrap_or_else(|status| panic!("{}: {}", row.rpc, refusal(row, &status)));
        if let Foreign::Untold(As(system, party)) = row.foreign {
            assert!(!answer.is_empty(), "{}: there is nothing that could be told", row.rpc);
            let untold = house.call(row, system, party).await;
            let untold = untold.unwrap_or_else(|status| panic!("{}: {}", row.rpc, refusal(row, &status)));
            assert!(untold.is_empty(), "{}: {party} is told of what is not its own", row.rpc);
        }
    }
    house.bus.stop().await;
}

/// Puts the key of a certificate out of force, as the operator does; the certificate need not have been seen before.
async fn revoke(bus: &Bus, issued: &Issued) {
    let As(system, party) = OPERATOR;
    let key = PrivateKey::from_pem(issued.key_pem.as_bytes()).unwrap();
    let request = v1::RevokeRequest {
        acting_party: party.into(),
        actor: "operator-1".into(),
        what: Some(v1::revoke_request::What::KeySha256(key.key_sha256().to_vec().into())),
        ground: "key-lost".into(),
        despite_lockout: false,
    };
    let channel = Caller::new(bus, Some(&bus.issue(system))).channel;
    CertificatesClient::new(channel).revoke(request).await.unwrap();
}

fn issue(ca: &CertificateAuthority, at: SystemTime) -> Issued {
    let name: SystemName = "mot-cua-binh".parse().unwrap();
    ca.issue_system(&name, DAY, at).unwrap()
}

fn now() -> SystemTime {
    SystemTime::now()
}

#[track_caller]
fn refusal(row: &Row, status: &Status) -> Refusal {
    Refusal::from_status(status).unwrap_or_else(|| panic!("{}: not a refusal of the bus: {status}", row.rpc))
}
