//! The audit: what is administered is an entry of it, and nothing else is.

use std::sync::Arc;
use std::time::SystemTime;

use lgsp_domain::numbering::NumberZone;
use lgsp_proto::types::Status;
use lgsp_proto::v1::{self, AuditKind};

use super::certificates::{Mint, key_of, revoked, token, withdrawn};
use super::reading::admit;
use super::sample::{
    AUTHORITY, DAY, DESK, PORTAL, RETURN_DESK, acknowledgement, at, code, handled, holder, machine, opened, parked,
    party, progressed, sha256,
};
use crate::store::{
    Archiving, AuditEntry, AuditQuery, CertificateRevoked, Commit, DossiersArchived, EpochStarted, Erasure, Exported,
    GivenBack, GivenBackWhy, IssuedOver, ParkedAction, RegistryRecord, Stage, Store,
};

const EVERYTHING: AuditQuery =
    AuditQuery { kinds: Vec::new(), since: None, until: None, by_actor: None, about: None, limit: 500, before: None };

async fn all(store: &dyn Store) -> Vec<AuditEntry> {
    let page = store.audit(&EVERYTHING).await.unwrap();
    assert_eq!(page.next, None);
    page.entries
}

fn copied(identity: u8) -> Exported {
    Exported {
        what: "backup".to_owned(),
        identity: [identity; 16],
        party: None,
        actor: "uid-1000".parse().unwrap(),
        system: "(gateway)".to_owned(),
        at: machine(70),
    }
}

fn registry(actor: &str) -> Commit {
    let version = v1::RegistryVersion {
        number: 1,
        applied_at: Some(prost_types::Timestamp { seconds: 1_752_458_400, nanos: 7_000_000 }),
        applied_by_system: "van-hanh".to_owned(),
        actor: actor.to_owned(),
        acting_party: PORTAL.to_owned(),
        ..v1::RegistryVersion::default()
    };
    Commit::Registry(RegistryRecord { version, files: Vec::new() })
}

fn released() -> Commit {
    let why = GivenBackWhy::Released {
        acting_party: party(PORTAL),
        actor: "operator.1".parse().unwrap(),
        system: "van-hanh".to_owned(),
        ground: "DISK_LOST".to_owned(),
    };
    let deliveries = vec![(code(2), 1)];
    Commit::GivenBack(GivenBack {
        party: party(AUTHORITY),
        deliveries,
        holder: holder("main", b""),
        why,
        at: machine(20),
    })
}

fn erasure() -> Erasure {
    Erasure {
        code: code(1),
        key_ids: Vec::new(),
        party: party(PORTAL),
        actor: "operator.2".parse().unwrap(),
        system: "van-hanh".to_owned(),
        ground: "QD-7/2026".to_owned(),
        at: machine(30),
    }
}

/// Two dossiers, of which the authority has taken one over, the other is closed, and one is parked for the portal.
async fn business(store: &dyn Store) {
    for number in 1..=2 {
        admit(store, opened(number)).await;
    }
    let standing = store.dossier(&code(1)).await.unwrap().unwrap();
    let mut closing = progressed(&standing, at(60));
    closing.status = Status::NotAccepted;
    admit(store, closing).await;
    let taken = acknowledgement(AUTHORITY, Stage::TakenOver, &[(2, 1)]);
    store.commit(Commit::Acknowledgement(taken)).await.unwrap();
    let own = GivenBackWhy::SpoolReplaced;
    let taken_over = Commit::GivenBack(GivenBack {
        party: party(DESK),
        deliveries: Vec::new(),
        holder: holder("main", b""),
        why: own,
        at: machine(8),
    });
    store.commit(taken_over).await.unwrap();
    store.commit(Commit::Parked(parked(PORTAL, 2, 1))).await.unwrap();
    for party in [AUTHORITY, RETURN_DESK, PORTAL, DESK] {
        let all = acknowledgement(party, Stage::HandedOver, &[(1, 1), (1, 2)]);
        store.commit(Commit::Acknowledgement(all)).await.unwrap();
    }
}

/// Every administrative act that the port knows, with the kind of its entry and what it is about.
fn acts() -> Vec<(Commit, AuditKind, String)> {
    let der = bytes::Bytes::from_static(b"der");
    let seen = Commit::Certificate { digest: sha256(&der), der, system: "so-tu-phap".to_owned(), at: machine(5) };
    let archived = DossiersArchived {
        codes: vec![code(1)],
        archive: "archive-2026-11-0001.lgsp".to_owned(),
        sha256: sha256(b"an archive"),
        party: None,
        actor: "retention".parse().unwrap(),
        system: "(gateway)".to_owned(),
        after_days: 365,
        at: machine(40),
    };
    let started = EpochStarted {
        number: 9,
        backup: [4; 16],
        backup_taken_at: machine(1),
        actor: "operator.1".parse().unwrap(),
        at: machine(50),
        lost: NumberZone { days: DAY..=DAY, from: 10_001 },
    };
    let (open, taken_back) = ([1; 16], [2; 16]);
    let renews = IssuedOver::Renewal(sha256(b"before"));
    let mint = Mint::new();
    let joined = mint.issued("mot-cua", 30, IssuedOver::Token(open));
    let renewed = mint.issued("mot-cua", 30, renews);
    let revoking = revoked(vec![key_of(&joined.der)], "KEY_STOLEN");
    let of_system = CertificateRevoked { for_system: Some("mot-cua".to_owned()), ..revoking };
    vec![
        (registry("operator.1"), AuditKind::RegistryApplied, "registry".to_owned()),
        (Commit::TokenIssued(token(open, machine(100))), AuditKind::TokenIssued, "mot-cua".to_owned()),
        (Commit::TokenIssued(token(taken_back, machine(100))), AuditKind::TokenIssued, "mot-cua".to_owned()),
        (Commit::TokenWithdrawn(withdrawn(taken_back)), AuditKind::TokenWithdrawn, "02".repeat(16)),
        (Commit::CertificateIssued(joined), AuditKind::CertificateIssued, "mot-cua".to_owned()),
        (Commit::CertificateIssued(renewed), AuditKind::CertificateIssued, "mot-cua".to_owned()),
        (Commit::CertificateRevoked(of_system), AuditKind::CertificateRevoked, "mot-cua".to_owned()),
        (seen, AuditKind::CertificateSeen, "so-tu-phap".to_owned()),
        (Commit::Handled(handled(PORTAL, 2, 1, ParkedAction::Skip)), AuditKind::DeliveryHandled, code(2).to_string()),
        (released(), AuditKind::DeliveriesReleased, AUTHORITY.to_owned()),
        (
            Commit::Archived(Archiving { archived, sequences: vec![2], queries: vec![0] }),
            AuditKind::DossiersArchived,
            "archive-2026-11-0001.lgsp".to_owned(),
        ),
        (Commit::Epoch(started), AuditKind::EpochStarted, "books".to_owned()),
        (Commit::Exported(copied(1)), AuditKind::Exported, "backup".to_owned()),
    ]
}

pub(super) async fn every_administrative_act_is_one_entry_and_nothing_else_is(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("audit").await;
    business(&*store).await;
    assert_eq!(all(&*store).await, [], "business of the bus is no administration");
    let mut before = Vec::new();
    for (act, kind, about) in acts() {
        store.commit(act.clone()).await.unwrap_or_else(|error| panic!("{act:?}: {error}"));
        let after = all(&*store).await;
        assert_eq!(after.len(), before.len() + 1, "{kind:?}");
        assert_eq!(&after[1..], before, "an entry before {kind:?} was touched");
        assert_eq!((after[0].kind, &after[0].subject), (kind, &about));
        assert_eq!(after[0].position, store.figures().durable);
        before = after;
    }
    store.erase(erasure()).await.unwrap();
    store.erase(erasure()).await.unwrap();
    let entries = all(&*store).await;
    assert_eq!((entries.len(), entries[0].kind), (before.len() + 1, AuditKind::DossierErased));
    assert_eq!((entries[0].ground.as_str(), entries[0].at), ("QD-7/2026", Some(machine(30))));
    // A copy that is told of again is the same copy.
    store.commit(Commit::Exported(copied(1))).await.unwrap();
    assert_eq!(all(&*store).await, entries);
    store.commit(Commit::Exported(copied(2))).await.unwrap();
    let entries = all(&*store).await;
    store.close().await;

    let store = open("audit").await;
    assert_eq!(all(&*store).await, entries);
    store.close().await;
}

pub(super) async fn entries_are_found_by_kind_time_account_and_what_they_are_about(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("audit_found").await;
    business(&*store).await;
    for (act, ..) in acts() {
        store.commit(act).await.unwrap();
    }
    let found = async |query: AuditQuery| {
        let entries = store.audit(&query).await.unwrap().entries;
        entries.iter().map(|entry| entry.kind).collect::<Vec<_>>()
    };
    let actor = |name: &str| Some(name.parse().unwrap());
    let about = |name: &str| Some(name.to_owned());
    let since = |seconds| -> Option<SystemTime> { Some(machine(seconds)) };
    use AuditKind as K;
    let kinds = vec![K::EpochStarted, K::RegistryApplied];
    assert_eq!(found(AuditQuery { kinds, ..EVERYTHING }).await, [K::EpochStarted, K::RegistryApplied]);
    let by_actor = actor("retention");
    assert_eq!(found(AuditQuery { by_actor, ..EVERYTHING }).await, [K::DossiersArchived]);
    // A dossier among many of an archive is found as well.
    let named = about(code(1).as_str());
    assert_eq!(found(AuditQuery { about: named, ..EVERYTHING }).await, [K::DossiersArchived]);
    assert_eq!(found(AuditQuery { about: about(AUTHORITY), ..EVERYTHING }).await, [K::DeliveriesReleased]);
    let between = AuditQuery { since: since(40), until: since(70), ..EVERYTHING };
    assert_eq!(found(between).await, [K::EpochStarted, K::DossiersArchived]);
    store.close().await;
}
