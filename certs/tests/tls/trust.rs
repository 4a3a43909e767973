//! Who vouches for whom: several bundles at once, what was revoked, and both in real handshakes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use data_encoding::BASE64;
use lgsp_certs::ca::Books;
use lgsp_certs::trust::{BundleFiles, RevokedKeys, TrustError};
use lgsp_certs::{
    Bundle, Credentials, Identity, NotBacked, NotVouched, PrivateKey, RootAuthority, SigningRequest, SystemName,
    SystemPattern, TlsFiles, Trust, Usage, VerifiedLeaf, server_name,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rustls::{CertificateError, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::handshake::{ServerStream, meet, tls_error};
use crate::support::{Authority, DAY};

const GATEWAY: &str = "gateway.hue.test";

fn systems(patterns: &[&str]) -> Vec<SystemPattern> {
    patterns.iter().map(|pattern| pattern.parse().unwrap()).collect()
}

fn name(name: &str) -> SystemName {
    name.parse().unwrap()
}

fn bundle(called: &str, domain: &str, patterns: &[&str], root: &CertificateDer<'static>) -> Bundle {
    Bundle::new(called, domain.parse().unwrap(), systems(patterns), vec![root.clone()], Vec::new()).unwrap()
}

fn bundle_with_list(called: &str, root: &CertificateDer<'static>, list: Vec<u8>) -> Bundle {
    let lists = vec![CertificateRevocationListDer::from(list)];
    Bundle::new(called, "lgsp.hue.test".parse().unwrap(), systems(&["*"]), vec![root.clone()], lists).unwrap()
}

fn nothing_revoked() -> RevokedKeys {
    Arc::new(|_: &[u8; 32]| false)
}

fn listening(gateway: &Credentials, trust: &Arc<Trust>, revoked: RevokedKeys) -> Arc<ServerConfig> {
    Arc::new(gateway.server_config_for(trust.clone().client_verifier(revoked)))
}

fn vouching(trust: &Trust, credentials: &Credentials) -> Result<lgsp_certs::Vouch, NotVouched> {
    trust.vouching(credentials.chain(), SystemTime::now())
}

/// A CA that knows nothing of the bus, as an agency may have one, and a client certificate of it.
struct Agency {
    root: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
}

impl Agency {
    fn new(uri: Option<&str>) -> Self {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(ca, key).unwrap();
        let mut leaf = CertificateParams::default();
        leaf.subject_alt_names = uri.map(|uri| SanType::URI(uri.try_into().unwrap())).into_iter().collect();
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        Self { root: issuer.der().clone(), leaf: leaf.der().clone() }
    }
}

#[test]
fn a_chain_holds_by_its_root_and_by_no_other() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let desk = ours.system("one-stop");
    assert_eq!(desk.chain().len(), 2, "the issuing CA is sent along, the root is not");
    let by = |root: &Authority| Trust::new(vec![bundle("bus", "lgsp.hue.test", &["*"], root.ca.root())]).unwrap();
    let vouch = vouching(&by(&ours), &desk).unwrap();
    assert_eq!((vouch.bundle(), vouch.trust_domain().as_str()), ("bus", "lgsp.hue.test"));
    assert!(matches!(vouch.identity(), Identity::Spiffe(id) if id.system().as_str() == "one-stop"));
    let refused = vouching(&by(&theirs), &desk).unwrap_err();
    let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    assert_eq!(refused, NotVouched::Chain(unknown.clone()));
    // Without its issuing CA the leaf leads nowhere.
    let alone = by(&ours).vouching(&desk.chain()[..1], SystemTime::now()).unwrap_err();
    assert_eq!(alone, NotVouched::Chain(unknown));
}

#[test]
fn a_chain_that_is_expired_is_vouched_for_by_nobody() {
    let authority = Authority::new();
    let desk = authority.system("one-stop");
    let trust = Trust::new(vec![bundle("bus", "lgsp.hue.test", &["*"], authority.ca.root())]).unwrap();
    assert!(trust.vouching(desk.chain(), SystemTime::now()).is_ok());
    assert!(matches!(trust.vouching(desk.chain(), SystemTime::now() + 2 * DAY), Err(NotVouched::Chain(_))));
    assert!(matches!(trust.vouching(&[], SystemTime::now()), Err(NotVouched::Leaf(_))));
}

#[test]
fn a_bundle_does_not_vouch_for_another_trust_domain() {
    let (bus, agency) = (Authority::new(), Authority::new());
    // The agency's CA says of itself that it is ours.
    let impostor = agency.system("one-stop");
    let trust = Trust::new(vec![
        bundle("bus", "lgsp.hue.test", &["*"], bus.ca.root()),
        bundle("agency", "agency.test", &["*"], agency.ca.root()),
    ])
    .unwrap();
    assert_eq!(
        vouching(&trust, &impostor).unwrap_err(),
        NotVouched::TrustDomain {
            bundle: "agency".to_owned(),
            id: "spiffe://lgsp.hue.test/system/one-stop".to_owned()
        }
    );
}

#[test]
fn a_bundle_vouches_only_for_the_systems_it_was_given() {
    let authority = Authority::new();
    let trust = Trust::new(vec![bundle("bus", "lgsp.hue.test", &["one-stop", "ward-*"], authority.ca.root())]).unwrap();
    for system in ["one-stop", "ward-a", "ward-a-b"] {
        assert!(vouching(&trust, &authority.system(system)).is_ok(), "{system}");
    }
    for system in ["one-stop-2", "ward", "ward-", "police"] {
        assert_eq!(
            vouching(&trust, &authority.system(system)).unwrap_err(),
            NotVouched::System { bundle: "bus".to_owned(), id: format!("spiffe://lgsp.hue.test/system/{system}") }
        );
    }
}

#[test]
fn of_two_bundles_with_one_root_the_one_that_may_vouch_does() {
    let authority = Authority::new();
    let trust = Trust::new(vec![
        bundle("others", "lgsp.hue.test", &["police"], authority.ca.root()),
        bundle("desks", "lgsp.hue.test", &["one-stop"], authority.ca.root()),
    ])
    .unwrap();
    assert_eq!(vouching(&trust, &authority.system("one-stop")).unwrap().bundle(), "desks");
    assert_eq!(vouching(&trust, &authority.system("police")).unwrap().bundle(), "others");
}

#[test]
fn a_foreign_spiffe_id_is_vouched_for_by_its_own_domain_and_stays_as_it_is() {
    let id = "spiffe://gov.test/ns/desk/sa/adapter";
    let agency = Agency::new(Some(id));
    let of = |domain| Trust::new(vec![bundle("gov", domain, &["desk-*"], &agency.root)]).unwrap();
    let vouch = of("gov.test").vouching(std::slice::from_ref(&agency.leaf), SystemTime::now()).unwrap();
    assert_eq!(vouch.identity(), &Identity::ForeignSpiffe(id.to_owned()));
    assert!(vouch.covers(&name("desk-1")) && !vouch.covers(&name("one-stop")));
    let refused = of("lgsp.hue.test").vouching(&[agency.leaf], SystemTime::now()).unwrap_err();
    assert_eq!(refused, NotVouched::TrustDomain { bundle: "gov".to_owned(), id: id.to_owned() });
}

#[test]
fn a_certificate_without_a_spiffe_id_is_known_by_issuer_and_key() {
    let agency = Agency::new(None);
    let trust = Trust::new(vec![bundle("gov", "gov.test", &["desk"], &agency.root)]).unwrap();
    let vouch = trust.vouching(&[agency.leaf], SystemTime::now()).unwrap();
    assert!(matches!(vouch.identity(), Identity::NoSpiffeId(known) if known.issuer.contains("rcgen")));
    assert!(vouch.covers(&name("desk")) && !vouch.covers(&name("one-stop")));
}

#[test]
fn bundles_that_cannot_work_are_refused() {
    let authority = Authority::new();
    let good = || bundle("bus", "lgsp.hue.test", &["*"], authority.ca.root());
    assert_eq!(Trust::new(Vec::new()).unwrap_err(), TrustError::NoBundle);
    assert_eq!(Trust::new(vec![good(), good()]).unwrap_err(), TrustError::SameName("bus".to_owned()));
    let made = |roots, lists| Bundle::new("b", "a.test".parse().unwrap(), systems(&["*"]), roots, lists).unwrap_err();
    assert_eq!(made(Vec::new(), Vec::new()), TrustError::NoRoot("b".to_owned()));
    let root = authority.ca.root().clone();
    assert_eq!(made(vec![root.clone(), vec![1].into()], Vec::new()), TrustError::BadRoot("b".to_owned()));
    assert_eq!(made(vec![root], vec![vec![0x30, 0].into()]), TrustError::BadList("b".to_owned()));
    for text in ["**", "a*b", "-*", "A*", "", "é"] {
        assert!(text.parse::<SystemPattern>().is_err(), "{text}");
    }
    for text in ["*", "a", "a-*"] {
        assert_eq!(text.parse::<SystemPattern>().unwrap().to_string(), text);
    }
}

/// Lets `desk` in by `trust` and says what came of it.
async fn let_in(
    gateway: &Credentials,
    trust: &Arc<Trust>,
    revoked: RevokedKeys,
    desk: &Credentials,
) -> std::io::Result<ServerStream> {
    let (server, client) = meet(listening(gateway, trust, revoked), desk.client_config(), GATEWAY).await;
    assert_eq!(server.is_ok(), client.is_ok());
    server
}

const REVOKED: rustls::Error = rustls::Error::InvalidCertificate(CertificateError::Revoked);

#[tokio::test]
async fn a_revoked_key_is_refused_in_whatever_certificate() {
    let authority = Authority::new();
    let gateway = authority.server(&[GATEWAY]);
    let trust = Arc::new(Trust::new(vec![bundle("bus", "lgsp.hue.test", &["*"], authority.ca.root())]).unwrap());
    let key = PrivateKey::generate().unwrap();
    let request = SigningRequest::parse(&key.signing_request().unwrap()).unwrap();
    key.write_to(&authority.path().join("kept.key")).unwrap();
    let out: HashSet<[u8; 32]> = [key.key_sha256()].into();
    let revoked: RevokedKeys = Arc::new(move |key| out.contains(key));
    // The same key, certified for one system and then for another.
    for system in ["one-stop", "other"] {
        let certified = authority.ca.sign_request(&request, &name(system), DAY, SystemTime::now()).unwrap();
        let desk = authority.credentials_of(&certified, "kept.key");
        let leaf = let_in(&gateway, &trust, nothing_revoked(), &desk).await.unwrap();
        let leaf = VerifiedLeaf::of_client(leaf.get_ref().1).unwrap();
        assert_eq!((leaf.key_sha256(), leaf.not_before()), (key.key_sha256(), certified.not_before));
        assert_eq!(leaf.chain(), certified.chain);
        assert_eq!(leaf.chain_keys(), [key.key_sha256(), key_of(authority.ca.intermediate())]);
        assert!(trust.vouching(leaf.chain(), SystemTime::now()).is_ok());
        assert_eq!(tls_error(let_in(&gateway, &trust, revoked.clone(), &desk).await.map(drop)), REVOKED);
    }
    assert!(let_in(&gateway, &trust, revoked, &authority.system("third")).await.is_ok());
}

#[tokio::test]
async fn a_revoked_issuing_ca_takes_its_leafs_with_it() {
    let authority = Authority::new();
    let (gateway, desk) = (authority.server(&[GATEWAY]), authority.system("one-stop"));
    let trust = Arc::new(Trust::new(vec![bundle("bus", "lgsp.hue.test", &["*"], authority.ca.root())]).unwrap());
    let issuing = key_of(authority.ca.intermediate());
    let by_key: RevokedKeys = Arc::new(move |key| *key == issuing);
    assert_eq!(tls_error(let_in(&gateway, &trust, by_key, &desk).await.map(drop)), REVOKED);

    let root = RootAuthority::open(&authority.path().join("root")).unwrap();
    let now = SystemTime::now();
    let list = root.revoke(Some(authority.ca.intermediate()), now, now + DAY).unwrap();
    let bundle = bundle_with_list("bus", authority.ca.root(), std::fs::read(list).unwrap());
    let trust = Arc::new(Trust::new(vec![bundle]).unwrap());
    assert_eq!(tls_error(let_in(&gateway, &trust, nothing_revoked(), &desk).await.map(drop)), REVOKED);
}

#[test]
fn an_issuing_ca_is_backed_by_the_bundles_of_its_domain_that_lead_to_it_unless_its_root_lists_it() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (issuing, root) = (authority.ca.intermediate(), authority.ca.root());
    let ours = "lgsp.hue.test".parse().unwrap();
    let bundles = || {
        vec![
            bundle("other", "lgsp.hue.test", &["*"], other.ca.root()),
            bundle("root", "lgsp.hue.test", &["ward-*"], root),
            bundle("issuing", "lgsp.hue.test", &["*"], issuing),
            bundle("elsewhere", "so.test", &["*"], root),
        ]
    };
    let trust = Trust::new(bundles()).unwrap();
    assert_eq!(trust.backing(issuing, &ours), Ok(vec!["root", "issuing"]));
    assert_eq!(trust.backing(issuing, &"khac.test".parse().unwrap()), Err(NotBacked::NoRoot));
    let only = Trust::new(vec![bundle("other", "lgsp.hue.test", &["*"], other.ca.root())]).unwrap();
    assert_eq!(only.backing(issuing, &ours), Err(NotBacked::NoRoot));

    let now = SystemTime::now();
    let list = |authority: &Authority, ca| {
        let root = RootAuthority::open(&authority.path().join("root")).unwrap();
        std::fs::read(root.revoke(Some(ca), now, now + DAY).unwrap()).unwrap()
    };
    // A list of another root says nothing about it.
    let of_other = bundle_with_list("listed", other.ca.root(), list(&other, other.ca.intermediate()));
    let trust = Trust::new(bundles().into_iter().chain([of_other]).collect()).unwrap();
    assert_eq!(trust.backing(issuing, &ours), Ok(vec!["root", "issuing"]));
    assert_eq!(trust.backing(other.ca.intermediate(), &ours), Err(NotBacked::Listed));
    let listed = bundle_with_list("listed", root, list(&authority, issuing));
    let trust = Trust::new(bundles().into_iter().chain([listed]).collect()).unwrap();
    assert_eq!(trust.backing(issuing, &ours), Err(NotBacked::Listed));
}

#[tokio::test]
async fn a_revoked_root_takes_its_leafs_with_it_though_nobody_sends_it() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (gateway, desk) = (authority.server(&[GATEWAY]), authority.system("one-stop"));
    // An agency's issuing CA may be what a bundle trusts; the desk sends it along, or does not.
    let anchor = authority.ca.intermediate();
    let bundles = vec![
        bundle("bus", "lgsp.hue.test", &["*"], other.ca.root()),
        bundle("agency", "lgsp.hue.test", &["*"], anchor),
    ];
    let trust = Arc::new(Trust::new(bundles).unwrap());
    let leaf_only = &desk.chain()[..1];
    assert_eq!(trust.anchor_keys(leaf_only), [key_of(anchor)]);
    assert_eq!(trust.anchor_keys(other.system("one-stop").chain()), [key_of(other.ca.root())]);
    let out = key_of(anchor);
    let verifier = trust.clone().client_verifier(Arc::new(move |key| *key == out));
    let now = rustls_pki_types::UnixTime::now();
    assert_eq!(verifier.verify_client_cert(&leaf_only[0], &[], now).map(drop), Err(REVOKED));
    let all = trust.clone().client_verifier(nothing_revoked());
    assert!(all.verify_client_cert(&leaf_only[0], &[], now).is_ok());
    // Those of other roots stay.
    let kept = other.system("kept");
    assert!(verifier.verify_client_cert(&kept.chain()[0], &kept.chain()[1..], now).is_ok());
    assert!(let_in(&gateway, &trust, nothing_revoked(), &desk).await.is_ok());
}

fn key_of(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, parsed.public_key().raw);
    digest.as_ref().try_into().unwrap()
}

#[tokio::test]
async fn a_listed_client_is_refused_also_by_an_old_list_and_where_another_bundle_has_none() {
    let authority = Authority::new();
    let gateway = authority.server(&[GATEWAY]);
    let (out, kept) = (authority.system("one-stop"), authority.system("other"));
    let now = SystemTime::now();
    let file = authority.ca.revoke(Some(out.certificate()), now - 9 * DAY, now - 2 * DAY).unwrap();
    let list = std::fs::read(file).unwrap();
    let listed = || bundle_with_list("listed", authority.ca.root(), list.clone());
    assert!(listed().stale_list(now).is_some() && listed().stale_list(now - 3 * DAY).is_none());
    let unlisted = || bundle("unlisted", "lgsp.hue.test", &["*"], authority.ca.root());
    for bundles in [vec![listed()], vec![unlisted(), listed()]] {
        let trust = Arc::new(Trust::new(bundles).unwrap());
        assert_eq!(tls_error(let_in(&gateway, &trust, nothing_revoked(), &out).await.map(drop)), REVOKED);
        assert_eq!(vouching(&trust, &out).unwrap_err(), NotVouched::Chain(REVOKED));
        assert!(let_in(&gateway, &trust, nothing_revoked(), &kept).await.is_ok());
    }
}

#[tokio::test]
async fn a_list_of_another_issuer_is_not_in_the_way() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (gateway, desk) = (authority.server(&[GATEWAY]), authority.system("one-stop"));
    let now = SystemTime::now();
    let list = std::fs::read(other.ca.revoke(None, now, now + DAY).unwrap()).unwrap();
    let trust = Arc::new(Trust::new(vec![bundle_with_list("bus", authority.ca.root(), list)]).unwrap());
    assert!(let_in(&gateway, &trust, nothing_revoked(), &desk).await.is_ok());
}

#[tokio::test]
async fn of_two_lists_of_one_issuer_the_newer_counts_wherever_it_stands() {
    let authority = Authority::new();
    let (gateway, out) = (authority.server(&[GATEWAY]), authority.system("one-stop"));
    let now = SystemTime::now();
    let list = |revoked: Option<&CertificateDer<'_>>, at| {
        CertificateRevocationListDer::from(std::fs::read(authority.ca.revoke(revoked, at, now + DAY).unwrap()).unwrap())
    };
    let kept = authority.system("other");
    let (old, new) = (list(None, now - DAY), list(Some(out.certificate()), now));
    let write = |name: &str, list: &[u8]| {
        std::fs::write(authority.path().join(name), list).unwrap();
        authority.path().join(name)
    };
    let files = [write("old.crl", &old), write("new.crl", &new)];
    authority.ca.revoke(Some(gateway.certificate()), now, now + DAY).unwrap();
    let warned = [files[0].clone(), authority.path().join("ca.crl")];
    for turned in [false, true] {
        let (mut lists, mut warned) = (vec![old.clone(), new.clone()], warned.clone());
        if turned {
            lists.reverse();
            warned.reverse();
        }
        let roots = vec![authority.ca.root().clone()];
        let bundle = Bundle::new("bus", "lgsp.hue.test".parse().unwrap(), systems(&["*"]), roots, lists).unwrap();
        let trust = Arc::new(Trust::new(vec![bundle]).unwrap());
        assert_eq!(tls_error(let_in(&gateway, &trust, nothing_revoked(), &out).await.map(drop)), REVOKED);
        assert!(let_in(&gateway, &trust, nothing_revoked(), &kept).await.is_ok());
        // And the other way round: a client that has the gateway's certificate on the newer of two lists.
        let desk = authority.files("other").load(Usage::Client, now).unwrap().with_revocation_lists(&warned).unwrap();
        let (_, client) = meet(gateway.server_config(), desk.client_config(), GATEWAY).await;
        assert_eq!(tls_error(client.map(drop)), REVOKED);
    }
}

/// A CA's certificate under a name, with a key of its own.
fn ca_called(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    (params, KeyPair::generate().unwrap())
}

fn list_by(
    issuer: &CertifiedIssuer<'_, KeyPair>,
    serials: &[u64],
    number: u64,
) -> CertificateRevocationListDer<'static> {
    let now = SystemTime::now();
    let revoked = |serial: &u64| rcgen::RevokedCertParams {
        serial_number: (*serial).into(),
        revocation_time: now.into(),
        reason_code: None,
        invalidity_date: None,
    };
    let list = rcgen::CertificateRevocationListParams {
        this_update: now.into(),
        next_update: (now + DAY).into(),
        crl_number: number.into(),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    list.signed_by(issuer).unwrap().der().clone()
}

#[test]
fn a_list_by_another_key_of_its_issuers_name_locks_nobody_out_and_lets_nobody_in() {
    let root = {
        let (params, key) = ca_called("root");
        CertifiedIssuer::self_signed(params, key).unwrap()
    };
    // One name, two keys, as after the renewal of an issuing CA.
    let [before, after] = [(); 2].map(|()| {
        let (params, key) = ca_called("issuing");
        CertifiedIssuer::signed_by(params, key, &root).unwrap()
    });
    let leaf = |issuer: &CertifiedIssuer<'_, KeyPair>, serial: u64| {
        let mut leaf = CertificateParams::default();
        leaf.serial_number = Some(serial.into());
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap();
        vec![leaf.der().clone(), issuer.der().clone()]
    };
    let made = |root: &CertificateDer<'static>, lists| {
        Bundle::new("gov", "gov.test".parse().unwrap(), systems(&["*"]), vec![root.clone()], lists)
    };
    let (of_before, of_after) = (list_by(&before, &[1], 9), list_by(&after, &[2], 3));
    let holds = |trust: &Trust, chain: &[CertificateDer<'_>]| trust.vouching(chain, SystemTime::now()).map(drop);
    let revoked = Err(NotVouched::Chain(REVOKED));

    let trust = Trust::new(vec![made(root.der(), vec![of_before.clone()]).unwrap()]).unwrap();
    assert!(!trust.bundles().next().unwrap().sets_a_list_aside());
    assert_eq!(holds(&trust, &leaf(&before, 1)), revoked);
    assert_eq!(holds(&trust, &leaf(&after, 2)), Ok(()));
    assert!(trust.bundles().next().unwrap().sets_a_list_aside());

    for lists in [vec![of_before.clone(), of_after.clone()], vec![of_after, of_before.clone()]] {
        let trust = Trust::new(vec![made(root.der(), lists).unwrap()]).unwrap();
        assert_eq!(holds(&trust, &leaf(&before, 1)), revoked);
        assert_eq!(holds(&trust, &leaf(&after, 2)), revoked);
        assert_eq!(holds(&trust, &leaf(&before, 2)), Ok(()));
        assert_eq!(holds(&trust, &leaf(&after, 1)), Ok(()));
    }

    // What can be told at once is, and is not in the way either: the root itself has the name, and did not sign.
    let by_root = list_by(&after, &[2], 1);
    let [forged, genuine, both] = [vec![of_before.clone()], vec![by_root.clone()], vec![of_before, by_root]]
        .map(|lists| Trust::new(vec![made(after.der(), lists).unwrap()]).unwrap());
    let aside = |trust: &Trust| trust.bundles().next().unwrap().lists_set_aside().count();
    assert_eq!([&forged, &genuine, &both].map(aside), [1, 0, 1]);
    assert_eq!(holds(&forged, &leaf(&after, 2)), Ok(()));
    assert_eq!(holds(&genuine, &leaf(&after, 2)), revoked);
    assert_eq!(holds(&both, &leaf(&after, 2)), revoked);
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = match u16::try_from(content.len()).unwrap().to_be_bytes() {
        [0, length @ 0..0x80] => vec![length],
        [0, length] => vec![0x81, length],
        [high, low] => vec![0x82, high, low],
    };
    [&[tag][..], &length, &content].concat()
}

/// A list as OpenSSL's shipped configuration writes it: with a number, and without saying whose key it is by.
fn bare_list(name: &[u8], key: &KeyPair, serials: &[u8], number: u8) -> CertificateRevocationListDer<'static> {
    const ECDSA_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    const CRL_NUMBER: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x14];
    let time = |text: &[u8]| der(0x17, &[text]);
    let revoked = |serial: &u8| der(0x30, &[&der(0x02, &[&[*serial]]), &time(b"250101000000Z")]);
    let revoked = der(0x30, &[&serials.iter().flat_map(revoked).collect::<Vec<_>>()]);
    let number = der(0x30, &[CRL_NUMBER, &der(0x04, &[&der(0x02, &[&[number]])])]);
    let extensions = der(0xa0, &[&der(0x30, &[&number])]);
    let times = [time(b"250101000000Z"), time(b"490101000000Z")].concat();
    let told = der(0x30, &[&[2, 1, 1], ECDSA_SHA256, name, &times, &revoked, &extensions]);
    let signature = rcgen::SigningKey::sign(key, &told).unwrap();
    der(0x30, &[&told, ECDSA_SHA256, &der(0x03, &[&[0], &signature])]).into()
}

fn name_in(certificate: &CertificateDer<'_>) -> Vec<u8> {
    x509_parser::parse_x509_certificate(certificate).unwrap().1.subject().as_raw().to_vec()
}

#[test]
fn of_lists_of_one_name_the_newest_that_the_issuer_signed_counts_whatever_they_say_of_themselves() {
    let root = {
        let (params, key) = ca_called("root");
        CertifiedIssuer::self_signed(params, key).unwrap()
    };
    // An issuing CA, the same after its key was changed, and somebody who says that his key is that one.
    let [before, after, forger] = ["before", "after", "after"].map(|key_id| {
        let (mut params, key) = ca_called("issuing");
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(key_id.into());
        CertifiedIssuer::signed_by(params, key, &root).unwrap()
    });
    let name = name_in(before.der());
    let by =
        |issuer: &CertifiedIssuer<'_, KeyPair>, serials: &[u8], number| bare_list(&name, issuer.key(), serials, number);
    let leaf = |issuer: &CertifiedIssuer<'_, KeyPair>, serial: u64| {
        let mut leaf = CertificateParams::default();
        leaf.serial_number = Some(serial.into());
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap();
        vec![leaf.der().clone(), issuer.der().clone()]
    };
    let named = rcgen::CertificateRevocationListParams {
        this_update: SystemTime::now().into(),
        next_update: (SystemTime::now() + DAY).into(),
        crl_number: 1000.into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::PreSpecified("after".into()),
    };
    let forged = named.signed_by(&forger).unwrap().der().clone();
    // Numbers begin anew with the key; what an older list of the same key names does not count any more.
    let lists = [by(&before, &[1], 9), by(&after, &[1, 2], 2), by(&after, &[2], 3), forged, by(&forger, &[3], 100)];
    for turned in 0..lists.len() {
        let mut lists = lists.to_vec();
        lists.rotate_left(turned);
        let roots = vec![root.der().clone()];
        let bundle = Bundle::new("gov", "gov.test".parse().unwrap(), systems(&["*"]), roots, lists).unwrap();
        let trust = Trust::new(vec![bundle]).unwrap();
        let holds = |chain: &[CertificateDer<'_>]| trust.vouching(chain, SystemTime::now()).map(drop);
        let revoked = Err(NotVouched::Chain(REVOKED));
        assert_eq!(holds(&leaf(&before, 1)), revoked, "{turned}");
        assert_eq!(holds(&leaf(&after, 2)), revoked, "{turned}");
        for (issuer, serial) in [(&before, 2), (&after, 1), (&after, 3)] {
            assert_eq!(holds(&leaf(issuer, serial)), Ok(()), "{turned}: {serial}");
        }
    }
}

#[test]
fn a_genuine_list_that_cannot_be_used_lets_nobody_in_and_a_foreign_one_is_told_by_its_name() {
    let root = {
        let (params, key) = ca_called("root");
        CertifiedIssuer::self_signed(params, key).unwrap()
    };
    let (mut params, key) = ca_called("issuing without lists");
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let issuing = CertifiedIssuer::signed_by(params, key, &root).unwrap();
    let mut leaf = CertificateParams::default();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuing).unwrap();
    let chain = [leaf.der().clone(), issuing.der().clone()];
    let under = |key: &KeyPair| {
        let lists = vec![bare_list(&name_in(issuing.der()), key, &[1], 1)];
        let roots = vec![root.der().clone()];
        let bundle = Bundle::new("gov", "gov.test".parse().unwrap(), systems(&["*"]), roots, lists).unwrap();
        Trust::new(vec![bundle]).unwrap()
    };
    let aside = |trust: &Trust| -> Vec<String> {
        let bundle = trust.bundles().next().unwrap();
        bundle.lists_set_aside().map(|(issuer, why)| format!("{issuer}: {why}")).collect()
    };
    let genuine = under(issuing.key());
    let refused = rustls::Error::InvalidCertRevocationList(rustls::CertRevocationListError::IssuerInvalidForCrl);
    let vouching = |trust: &Trust| trust.vouching(&chain, SystemTime::now()).map(drop);
    assert_eq!((vouching(&genuine), aside(&genuine)), (Err(NotVouched::Chain(refused)), Vec::new()));
    let foreign = under(&KeyPair::generate().unwrap());
    assert_eq!(vouching(&foreign), Ok(()));
    assert!(aside(&foreign)[0].ends_with("CN=issuing without lists: BadSignature"), "{:?}", aside(&foreign));
}

#[tokio::test]
async fn a_bundle_is_loaded_from_files_in_either_form() {
    let authority = Authority::new();
    let (gateway, desk) = (authority.server(&[GATEWAY]), authority.system("one-stop"));
    let now = SystemTime::now();
    let der = authority.ca.revoke(Some(desk.certificate()), now, now + DAY).unwrap();
    let text = BASE64.encode(&std::fs::read(&der).unwrap());
    let pem = authority.path().join("ca.crl.pem");
    std::fs::write(&pem, format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n")).unwrap();
    let load = |crl: &std::path::Path| {
        let files = BundleFiles { roots: authority.path().join("root.pem"), crls: vec![crl.to_owned()] };
        Bundle::load("bus", "lgsp.hue.test".parse().unwrap(), systems(&["*"]), &files)
    };
    for file in [&der, &pem] {
        let trust = Arc::new(Trust::new(vec![load(file).unwrap()]).unwrap());
        assert_eq!(tls_error(let_in(&gateway, &trust, nothing_revoked(), &desk).await.map(drop)), REVOKED);
    }
    for bad in [authority.path().join("root.pem"), authority.path().join("missing.crl")] {
        assert_eq!(load(&bad).unwrap_err().file, bad);
    }
    assert_eq!(Books::of(authority.path()).revoked().unwrap().len(), 1);
}

#[tokio::test]
async fn a_listed_gateway_is_refused_by_a_client_that_has_the_list() {
    let authority = Authority::new();
    let gateway = authority.server(&[GATEWAY]);
    let now = SystemTime::now();
    let list = authority.ca.revoke(Some(gateway.certificate()), now, now + DAY).unwrap();
    authority.system("one-stop");
    let desk = || authority.files("one-stop").load(Usage::Client, now).unwrap();
    let (_, client) = meet(gateway.server_config(), desk().client_config(), GATEWAY).await;
    assert!(client.is_ok());
    let warned = desk().with_revocation_lists(&[list]).unwrap();
    let (_, client) = meet(gateway.server_config(), warned.client_config(), GATEWAY).await;
    assert_eq!(tls_error(client.map(drop)), REVOKED);
    // Another certificate of the same gateway is on no list.
    let names = [server_name(GATEWAY).unwrap()];
    authority.ca.issue_server(&names, DAY, now).unwrap().write_to(authority.path(), "renewed").unwrap();
    let renewed = authority.files("renewed").load(Usage::Server, now).unwrap();
    let (_, client) = meet(renewed.server_config(), warned.client_config(), GATEWAY).await;
    assert!(client.is_ok());
    let missing = authority.path().join("missing.crl");
    assert_eq!(desk().with_revocation_lists(std::slice::from_ref(&missing)).unwrap_err().file, missing);
}

#[tokio::test]
async fn rotated_issuing_cas_and_roots_work_beside_each_other() {
    let (old, new) = (Authority::new(), Authority::new());
    let root = RootAuthority::open(&old.path().join("root")).unwrap();
    let next = root.issue_authority(&old.path().join("next"), SystemTime::now()).unwrap();
    next.issue_system(&name("renewed"), DAY, SystemTime::now()).unwrap().write_to(old.path(), "renewed").unwrap();
    let renewed = old.files("renewed").load(Usage::Client, SystemTime::now()).unwrap();
    let roots = vec![old.ca.root().clone(), new.ca.root().clone()];
    let both = Bundle::new("bus", "lgsp.hue.test".parse().unwrap(), systems(&["*"]), roots, Vec::new()).unwrap();
    let trust = Arc::new(Trust::new(vec![both]).unwrap());
    let gateway = old.server(&[GATEWAY]);
    assert!(let_in(&gateway, &trust, nothing_revoked(), &renewed).await.is_ok());
    assert!(let_in(&gateway, &trust, nothing_revoked(), &old.system("one-stop")).await.is_ok());
    // Of the new root, and so far knowing only the old one as the gateway's.
    new.system("one-stop");
    let files = TlsFiles { bundle: old.files("").bundle, ..new.files("one-stop") };
    let desk = files.load(Usage::Client, SystemTime::now()).unwrap();
    assert!(let_in(&gateway, &trust, nothing_revoked(), &desk).await.is_ok());
}

/// A client that trusts nothing but what it is told, with its own choice of key exchange.
fn offering(authority: &Authority, groups: Vec<&'static dyn rustls::crypto::SupportedKxGroup>) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.ca.root().clone()).unwrap();
    let provider =
        rustls::crypto::CryptoProvider { kx_groups: groups, ..rustls::crypto::aws_lc_rs::default_provider() };
    let pem = std::fs::read(authority.path().join("offering.key")).unwrap();
    let key = rustls_pki_types::pem::PemObject::from_pem_slice(&pem).unwrap();
    let chain = authority.files("offering").load(Usage::Client, SystemTime::now()).unwrap().chain().to_vec();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

#[tokio::test]
async fn the_key_exchange_is_hybrid_when_it_can_be_and_classical_when_not() {
    use rustls::NamedGroup;
    use rustls::crypto::aws_lc_rs::kx_group;
    let authority = Authority::new();
    let gateway = Arc::new(authority.server(&[GATEWAY]).server_config());
    authority.system("offering");
    for (groups, expected) in [
        (vec![kx_group::X25519MLKEM768, kx_group::X25519], Some(NamedGroup::X25519MLKEM768)),
        // What a client has sent a share of is taken rather than asking it again.
        (vec![kx_group::X25519, kx_group::X25519MLKEM768], Some(NamedGroup::X25519)),
        (vec![kx_group::X25519], Some(NamedGroup::X25519)),
        (vec![kx_group::SECP256R1], Some(NamedGroup::secp256r1)),
        (vec![kx_group::SECP384R1], None),
    ] {
        let client = offering(&authority, groups);
        let (server, _) = meet(gateway.clone(), client, GATEWAY).await;
        let group = server.ok().map(|stream| stream.get_ref().1.negotiated_key_exchange_group().unwrap().name());
        assert_eq!(group, expected);
    }
}
