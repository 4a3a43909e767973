//! Tokens, certificates and revoked keys.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lgsp_certs::{CertificateAuthority, CertificateFacts};
use lgsp_domain::numbering::NumberZone;
use lgsp_proto::types::Sha256Digest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::sample::{PORTAL, machine, party, sha256};
use crate::store::{
    CertificateIssued, CertificateQuery, CertificateRevoked, Commit, CommitError, EpochStarted, IssuedOver, Store,
    TokenId, TokenIssued, TokenState, TokenWithdrawn,
};

pub(super) fn token(id: TokenId, expires_at: SystemTime) -> TokenIssued {
    TokenIssued {
        id,
        secret_sha256: sha256(&id),
        for_system: "mot-cua".to_owned(),
        expires_at,
        party: party(PORTAL),
        actor: "van.hanh.1".parse().unwrap(),
        system: "van-hanh".to_owned(),
        at: machine(0),
    }
}

pub(super) fn withdrawn(id: TokenId) -> TokenWithdrawn {
    let (party, actor) = (party(PORTAL), "van.hanh.1".parse().unwrap());
    TokenWithdrawn { id, party, actor, system: "van-hanh".to_owned(), at: machine(5) }
}

/// Certificates of one CA, each with a key of its own.
pub(super) struct Mint(CertificateAuthority);

impl Mint {
    pub(super) fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("lgsp-contract-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).unwrap();
        let authority = CertificateAuthority::create(&dir, &"lgsp.hue.test".parse().unwrap(), machine(0)).unwrap();
        std::fs::remove_dir_all(dir).unwrap();
        Self(authority)
    }

    fn certificate(&self, system: &str, days: u64) -> Bytes {
        let life = Duration::from_secs(days * 86_400);
        let issued = self.0.issue_system(&system.parse().unwrap(), life, machine(0)).unwrap();
        let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
        Bytes::copy_from_slice(&der)
    }

    pub(super) fn issued(&self, system: &str, days: u64, over: IssuedOver) -> CertificateIssued {
        let der = self.certificate(system, days);
        CertificateIssued {
            digest: sha256(&der),
            der,
            intermediates: vec![Bytes::from_static(b"an intermediate")],
            for_system: system.to_owned(),
            over,
            at: machine(3),
        }
    }
}

pub(super) fn key_of(der: &[u8]) -> Sha256Digest {
    Sha256Digest::from(CertificateFacts::read(der).unwrap().key_sha256)
}

pub(super) fn revoked(keys: Vec<Sha256Digest>, ground: &str) -> CertificateRevoked {
    CertificateRevoked {
        keys,
        certificates: Vec::new(),
        for_system: None,
        ground: ground.to_owned(),
        party: party(PORTAL),
        actor: "van.hanh.1".parse().unwrap(),
        system: "van-hanh".to_owned(),
        at: machine(9),
    }
}

async fn open_ids(store: &dyn Store, from: SystemTime) -> Vec<TokenId> {
    store.open_tokens(from, 100).await.unwrap().into_iter().map(|token| token.id).collect()
}

pub(super) async fn a_token_is_spent_once_and_stays_spent(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let (store, mint) = (open("tokens").await, Mint::new());
    let id = [1; 16];
    assert_eq!(store.token(&id).await.unwrap(), None);
    store.commit(Commit::TokenIssued(token(id, machine(100)))).await.unwrap();
    store.commit(Commit::TokenIssued(token([2; 16], machine(50)))).await.unwrap();
    let again = store.commit(Commit::TokenIssued(token(id, machine(200)))).await;
    assert!(matches!(again, Err(CommitError::Conflict)), "{again:?}");
    let standing = store.token(&id).await.unwrap().unwrap();
    assert_eq!((standing.state, standing.epoch, standing.expires_at), (TokenState::Open, 1, machine(100)));
    assert_eq!(standing.secret_sha256, sha256(&id));
    // The first to expire is the first told, and what has expired is not told.
    assert_eq!(open_ids(&*store, machine(0)).await, [[2; 16], id]);
    assert_eq!(open_ids(&*store, machine(51)).await, [id]);
    let issued = mint.issued("mot-cua", 30, IssuedOver::Token(id));
    store.commit(Commit::CertificateIssued(issued.clone())).await.unwrap();
    let again = store.commit(Commit::CertificateIssued(mint.issued("mot-cua", 30, IssuedOver::Token(id)))).await;
    assert!(matches!(again, Err(CommitError::Conflict)), "{again:?}");
    let unknown = store.commit(Commit::CertificateIssued(mint.issued("mot-cua", 30, IssuedOver::Token([7; 16])))).await;
    assert!(matches!(unknown, Err(CommitError::Conflict)), "{unknown:?}");
    store.close().await;
    let store = open("tokens").await;
    let standing = store.token(&id).await.unwrap().unwrap();
    assert_eq!(standing.state, TokenState::Spent(Box::new(issued.clone())));
    assert_eq!(open_ids(&*store, machine(0)).await, [[2; 16]]);
    let known = store.known_certificate(&issued.digest).await.unwrap().unwrap();
    assert!(known.issued_here && known.first_seen_at.is_none() && known.revoked.is_none());
    assert_eq!((known.system.as_str(), known.key), ("mot-cua", key_of(&issued.der)));
    store.close().await;
}

pub(super) async fn of_many_who_spend_a_token_at_once_exactly_one_gets_a_certificate(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let (store, mint) = (open("tokens_raced").await, Mint::new());
    let id = [1; 16];
    store.commit(Commit::TokenIssued(token(id, machine(100)))).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, issued) = (Arc::clone(&store), mint.issued("mot-cua", 30, IssuedOver::Token(id)));
        tasks.spawn(async move { store.commit(Commit::CertificateIssued(issued)).await.is_ok() });
    }
    let store_too = Arc::clone(&store);
    tasks.spawn(async move { store_too.commit(Commit::TokenWithdrawn(withdrawn(id))).await.is_ok() });
    assert_eq!(tasks.join_all().await.into_iter().filter(|won| *won).count(), 1);
    store.close().await;
}

pub(super) async fn a_withdrawn_token_is_not_spent_and_a_spent_one_not_withdrawn(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let (store, mint) = (open("tokens_withdrawn").await, Mint::new());
    for id in [[1; 16], [2; 16]] {
        store.commit(Commit::TokenIssued(token(id, machine(100)))).await.unwrap();
    }
    store.commit(Commit::TokenWithdrawn(withdrawn([1; 16]))).await.unwrap();
    let spent = mint.issued("mot-cua", 30, IssuedOver::Token([2; 16]));
    store.commit(Commit::CertificateIssued(spent)).await.unwrap();
    let late = [
        Commit::CertificateIssued(mint.issued("mot-cua", 30, IssuedOver::Token([1; 16]))),
        Commit::TokenWithdrawn(withdrawn([1; 16])),
        Commit::TokenWithdrawn(withdrawn([2; 16])),
        Commit::TokenWithdrawn(withdrawn([3; 16])),
    ];
    for late in late {
        let refused = store.commit(late).await;
        assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    }
    let standing = store.token(&[1; 16]).await.unwrap().unwrap();
    assert_eq!(standing.state, TokenState::Withdrawn(machine(5)));
    assert!(open_ids(&*store, machine(0)).await.is_empty());
    store.close().await;
}

pub(super) async fn a_token_is_good_in_its_epoch_only(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let (store, mint) = (open("tokens_epoch").await, Mint::new());
    store.commit(Commit::TokenIssued(token([1; 16], machine(100)))).await.unwrap();
    let day = super::sample::DAY;
    let started = EpochStarted {
        number: 2,
        backup: [7; 16],
        backup_taken_at: machine(0),
        actor: "van.hanh.1".parse().unwrap(),
        at: machine(1),
        lost: NumberZone { days: day..=day, from: 10_001 },
    };
    store.commit(Commit::Epoch(started)).await.unwrap();
    store.commit(Commit::TokenIssued(token([2; 16], machine(100)))).await.unwrap();
    assert_eq!(open_ids(&*store, machine(0)).await, [[2; 16]]);
    // Whether it was spent before the restore, nobody knows any more.
    let old = store.commit(Commit::CertificateIssued(mint.issued("mot-cua", 30, IssuedOver::Token([1; 16])))).await;
    assert!(matches!(old, Err(CommitError::Conflict)), "{old:?}");
    let new = mint.issued("mot-cua", 30, IssuedOver::Token([2; 16]));
    store.commit(Commit::CertificateIssued(new)).await.unwrap();
    store.close().await;
}

pub(super) async fn certificates_are_listed_in_the_order_in_which_they_expire(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let (store, mint) = (open("certificates_listed").await, Mint::new());
    let days = |days: u64| machine(days * 86_400);
    let (mut digests, mut last) = (Vec::new(), None);
    for (system, life) in [("b", 30), ("a", 10), ("a", 20)] {
        let issued = mint.issued(system, life, IssuedOver::Renewal(sha256(b"before")));
        last = Some(issued.der.clone());
        digests.push(issued.digest);
        store.commit(Commit::CertificateIssued(issued)).await.unwrap();
    }
    let seen = mint.certificate("c", 5);
    let digest = sha256(&seen);
    digests.push(digest);
    let commit = Commit::Certificate { digest, der: seen.clone(), system: "c".to_owned(), at: machine(4) };
    store.commit(commit).await.unwrap();
    let revoke = Commit::CertificateRevoked(revoked(vec![key_of(&seen)], "LOST"));
    let all = || CertificateQuery { limit: 10, ..CertificateQuery::default() };
    let found = async |query: CertificateQuery| {
        let page = store.certificates(&query).await.unwrap();
        page.certificates.into_iter().map(|known| known.digest).collect::<Vec<_>>()
    };
    assert_eq!(found(all()).await, [digests[3], digests[1], digests[2], digests[0]]);
    assert_eq!(found(CertificateQuery { expiring_from: Some(days(6)), ..all() }).await[0], digests[1]);
    assert_eq!(found(CertificateQuery { expiring_before: Some(days(6)), ..all() }).await, [digests[3]]);
    assert_eq!(found(CertificateQuery { system: Some("a".to_owned()), ..all() }).await, [digests[1], digests[2]]);
    let known = store.known_certificate(&digest).await.unwrap().unwrap();
    assert_eq!((known.issued_here, known.first_seen_at), (false, Some(machine(4))));
    store.commit(revoke).await.unwrap();
    assert_eq!(found(all()).await, [digests[1], digests[2], digests[0]]);
    assert_eq!(found(CertificateQuery { with_revoked: true, ..all() }).await[0], digest);
    // Page by page they are the same ones.
    let mut query = CertificateQuery { limit: 1, with_revoked: true, ..CertificateQuery::default() };
    let mut paged = Vec::new();
    loop {
        let page = store.certificates(&query).await.unwrap();
        paged.extend(page.certificates.into_iter().map(|known| known.digest));
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    assert_eq!(paged, [digests[3], digests[1], digests[2], digests[0]]);
    let of_a: BTreeSet<_> = store.certificates_of_system("a", None, 9).await.unwrap().into_iter().collect();
    assert_eq!(
        of_a.iter().map(|(digest, _)| *digest).collect::<BTreeSet<_>>(),
        BTreeSet::from([digests[1], digests[2]])
    );
    let first = of_a.first().unwrap().0;
    assert_eq!(store.certificates_of_system("a", Some(&first), 9).await.unwrap().len(), 1);
    // One is superseded when a later one of its system is in use, and no sooner.
    let not_renewed = || CertificateQuery { without_superseded: true, ..all() };
    assert_eq!(found(not_renewed()).await, [digests[1], digests[2], digests[0]]);
    let der = last.unwrap();
    let (digest, system) = (digests[2], "a".to_owned());
    store.commit(Commit::Certificate { digest, der: der.clone(), system, at: machine(5) }).await.unwrap();
    assert_eq!(found(not_renewed()).await, [digests[2], digests[0]]);
    assert_eq!(found(all()).await, [digests[1], digests[2], digests[0]]);
    store.commit(Commit::CertificateRevoked(revoked(vec![key_of(&der)], "LOST"))).await.unwrap();
    assert_eq!(found(not_renewed()).await, [digests[1], digests[0]]);
    store.close().await;
}

pub(super) async fn a_revoked_key_stays_revoked(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let (store, mint) = (open("revoked").await, Mint::new());
    let der = mint.certificate("mot-cua", 30);
    let (digest, key) = (sha256(&der), key_of(&der));
    let commit = Commit::Certificate { digest, der, system: "mot-cua".to_owned(), at: machine(1) };
    store.commit(commit).await.unwrap();
    assert_eq!(store.revocation(&key).await.unwrap(), None);
    // One that nobody ever saw can be revoked as well.
    let unseen = Sha256Digest::from([0xff; 32]);
    store.commit(Commit::CertificateRevoked(revoked(vec![key, unseen], "KEY_STOLEN"))).await.unwrap();
    store.commit(Commit::CertificateRevoked(revoked(vec![key], "AGAIN"))).await.unwrap();
    store.close().await;
    let store = open("revoked").await;
    assert_eq!(store.revocation(&key).await.unwrap().unwrap().ground, "KEY_STOLEN");
    let known = store.known_certificate(&digest).await.unwrap().unwrap();
    assert_eq!(known.revoked, Some((machine(9), "KEY_STOLEN".to_owned())));
    assert_eq!(store.certificates_of_key(&key, 9).await.unwrap(), [digest]);
    assert!(store.certificates_of_key(&unseen, 9).await.unwrap().is_empty());
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let slice = store.revoked_keys(after.as_ref(), 1).await.unwrap();
        let Some(last) = slice.last() else { break };
        after = Some(*last);
        all.extend(slice);
    }
    let mut expected = [key, unseen];
    expected.sort_unstable();
    assert_eq!(all, expected);
    store.close().await;
}
