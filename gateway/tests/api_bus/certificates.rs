//! Certificates come and go while the bus runs: who may vouch for whom, what is revoked, what is replaced, what expires.

use std::time::{Duration, Instant, SystemTime};

use lgsp_certs::ca::RevokedCertificate;
use lgsp_certs::{CertificateAuthority, Issued, PrivateKey, RootAuthority, SigningRequest, SystemName};
use lgsp_proto::v1::upload_request::Request as Say;
use lgsp_proto::{Reason, v1};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::delivery::Inbox;
use super::documents::{content, message, start};
use super::identity::is_locked_out;
use super::joining;
use super::world::*;

/// How soon a revocation is felt.
const SECONDS: Duration = Duration::from_secs(5);

fn name(system: &str) -> SystemName {
    system.parse().unwrap()
}

impl World {
    /// A system with a certificate that was made for it elsewhere.
    async fn with_certificate(&self, issued: &Issued, stem: &str) -> System {
        self.connected(self.credentials_of(issued, stem)).await
    }

    pub(super) async fn connected(&self, credentials: lgsp_certs::Credentials) -> System {
        let channel = connect(self.bus(), credentials.client_config()).await.unwrap();
        System { credentials, channel }
    }

    pub(super) async fn issued(
        &self,
        authority: &CertificateAuthority,
        system: &str,
        life: Duration,
        stem: &str,
    ) -> System {
        let issued = authority.issue_system(&name(system), life, SystemTime::now()).unwrap();
        self.with_certificate(&issued, stem).await
    }

    /// A certificate of the bus's CA for a key that is given.
    fn certified_key(&self, key: &PrivateKey, system: &str, stem: &str) -> lgsp_certs::Credentials {
        let request = SigningRequest::parse(&key.signing_request().unwrap()).unwrap();
        let certified = self.authority().sign_request(&request, &name(system), DAY, SystemTime::now()).unwrap();
        self.write(&format!("{stem}.key"), key.to_pem().unwrap().as_bytes());
        self.write(&format!("{stem}.pem"), pem(&certified.chain));
        self.load(stem)
    }

    /// Waits until something is so, by looking again and again, but not for ever.
    pub(super) async fn eventually(&self, is_so: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so().await {
            assert!(Instant::now() < deadline, "it never came to be");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What the local listener says about the certificates.
    pub(super) async fn certificates(&self) -> serde_json::Value {
        let (_, body) = self.local("GET", "/status", "").await;
        serde_json::from_str::<serde_json::Value>(&body).unwrap()["certificates"].take()
    }

    /// Applies the registry with `from` replaced by `to` among its systems.
    async fn change_systems(&self, from: &str, to: &str) {
        self.change("systems.toml", from, to).await;
    }

    pub(super) async fn change(&self, file: &str, from: &str, to: &str) {
        let mut registry = self.system("van-hanh").await.registry();
        let (acting_party, actor) = ("H99.VH".to_owned(), "van.hanh.1".to_owned());
        let read =
            v1::ReadRegistryRequest { acting_party: acting_party.clone(), actor: actor.clone(), ..Default::default() };
        let read = within(registry.read(read)).await.unwrap().into_inner();
        let (mut files, base_version) = (read.files, read.version.unwrap().number);
        let systems = files.iter_mut().find(|one| one.name == file).unwrap();
        let text = std::str::from_utf8(&systems.content).unwrap();
        assert!(text.contains(from), "{text}");
        systems.content = text.replace(from, to).into();
        let apply = v1::ApplyRegistryRequest { acting_party, actor, files, base_version, ..Default::default() };
        within(registry.apply(apply)).await.unwrap();
    }
}

pub(super) fn pem(certificates: &[CertificateDer<'_>]) -> String {
    let block = |der: &CertificateDer<'_>| {
        let text = data_encoding::BASE64.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    certificates.iter().map(block).collect()
}

/// A CA of an agency, which knows nothing of how the bus names systems.
struct Agency {
    root: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Agency {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "CA cua So");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        Self { root, issuer: Issuer::new(params, key) }
    }

    /// Writes a certificate with this SPIFFE id, or without one.
    fn write(&self, world: &World, stem: &str, id: Option<&str>) -> lgsp_certs::Credentials {
        let mut params = CertificateParams::default();
        params.subject_alt_names = id.iter().map(|id| SanType::URI((*id).try_into().unwrap())).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        world.write(&format!("{stem}.pem"), params.signed_by(&key, &self.issuer).unwrap().pem());
        world.write(&format!("{stem}.key"), key.serialize_pem());
        world.load(stem)
    }
}

/// The systems that a refusal at the first call names, or the answer's code.
async fn speaks_for(system: &System, party: &str) -> Result<(), Reason> {
    let backlog = v1::BacklogRequest { parties: vec![party.into()], actor: "can.bo.1".into() };
    let answer = within(system.inbox().backlog(backlog)).await;
    if answer.is_ok() { Ok(()) } else { Err(reason(answer)) }
}

#[tokio::test]
async fn a_revoked_key_loses_stream_and_upload_within_seconds_and_comes_back_in_no_certificate() {
    let world = World::start().await;
    let key = PrivateKey::generate().unwrap();
    let binh = world.connected(world.certified_key(&key, "mot-cua-binh", "first")).await;
    let desk = world.system("mot-cua").await;
    let mut inbox = Inbox::open(&binh, &[BINH], 8).await;
    let content = content(400_000);
    let (say, said) = mpsc::channel(1);
    let mut documents = binh.documents();
    let uploading = tokio::spawn(async move { documents.upload(ReceiverStream::new(said)).await });
    let begun = v1::StartUpload { acting_party: BINH.into(), ..start(&content, 0) };
    for part in [Say::Start(begun), Say::Chunk(content.slice(..200_000))] {
        say.send(message(part)).await.unwrap();
    }
    speaks_for(&binh, BINH).await.unwrap();

    assert_eq!(world.engine().connections().revoke([key.key_sha256()]), 1);
    let revoked = Instant::now();
    inbox.hear().await.unwrap_err();
    within(uploading).await.unwrap().unwrap_err();
    assert!(revoked.elapsed() < SECONDS, "{:?}", revoked.elapsed());
    assert!(is_locked_out(&world, binh.credentials.client_config()).await);
    let renewed = world.certified_key(&key, "mot-cua-binh", "second");
    assert!(is_locked_out(&world, renewed.client_config()).await);

    // Nobody else has felt it, the system itself is in with another key, and half a document is none.
    desk.submit(&aid("k-1")).await.unwrap();
    let binh = world.system("mot-cua-binh").await;
    let state = v1::UploadStateRequest {
        acting_party: BINH.into(),
        actor: "can.bo.1".into(),
        sha256: super::documents::sha256(&content),
    };
    assert!(!within(binh.documents().upload_state(state)).await.unwrap().into_inner().complete);
}

#[tokio::test]
async fn a_bundle_speaks_for_the_systems_it_was_given_and_for_no_other() {
    let mut world = World::start().await;
    let agency = world.other_authority("agency", DOMAIN);
    world.write("agency.pem", agency.root_pem());
    world.trust = "[[tls.trust]]\nname = \"binh\"\nbundle = \"agency.pem\"\nsystems = [\"mot-cua-*\"]".into();
    world.restart().await;
    let binh = world.issued(&agency, "mot-cua-binh", DAY, "agency-binh").await;
    assert_eq!(speaks_for(&binh, BINH).await, Ok(()));
    let desk = world.issued(&agency, "mot-cua", DAY, "agency-desk").await;
    let refused = refusal(desk.submit(&aid("k-1")).await);
    assert_eq!(refused.reason(), Reason::CertificateNotVouched);
    assert_eq!(refused.details()["bundle"], "binh");
    assert_eq!(refused.details()["spiffe_id"], format!("spiffe://{DOMAIN}/system/mot-cua"));
    assert_eq!(speaks_for(&world.system("mot-cua").await, AN).await, Ok(()));
}

#[tokio::test]
async fn two_bundles_of_one_root_each_speak_for_their_own() {
    let mut world = World::start().await;
    let agency = world.other_authority("agency", DOMAIN);
    world.write("agency.pem", agency.root_pem());
    world.trust = "[[tls.trust]]\nname = \"one\"\nbundle = \"agency.pem\"\nsystems = [\"mot-cua\"]\n\
                   [[tls.trust]]\nname = \"two\"\nbundle = \"agency.pem\"\nsystems = [\"mot-cua-binh\"]"
        .into();
    world.restart().await;
    for (system, party, expected) in [
        ("mot-cua", AN, Ok(())),
        ("mot-cua-binh", BINH, Ok(())),
        ("so-nganh", "H99.01", Err(Reason::CertificateNotVouched)),
    ] {
        let peer = world.issued(&agency, system, DAY, &format!("agency-{system}")).await;
        assert_eq!(speaks_for(&peer, party).await, expected, "{system}");
    }
}

#[tokio::test]
async fn a_certificate_that_names_no_system_is_the_one_the_registry_binds_it_to_from_the_next_call_on() {
    let mut world = World::start().await;
    let agency = Agency::new();
    world.write("agency.pem", &agency.root);
    world.trust = "[[tls.trust]]\nname = \"agency\"\nbundle = \"agency.pem\"\ntrust_domain = \"so.test\"\n\
                   systems = [\"mot-cua-*\"]"
        .into();
    world.restart().await;
    let bare = world.connected(agency.write(&world, "bare", None)).await;
    let spire = world.connected(agency.write(&world, "spire", Some("spiffe://so.test/ns/binh"))).await;
    let unbound = refusal(bare.get(BINH, "H99.102-250714-0001", false).await);
    assert_eq!(unbound.reason(), Reason::SystemUnknown);
    let (issuer, key) = (unbound.details()["issuer"].clone(), unbound.details()["key_sha256"].clone());
    assert_eq!(issuer, "CN=CA cua So");
    let unbound = refusal(spire.get(BINH, "H99.102-250714-0001", false).await);
    assert_eq!(unbound.details()["spiffe_id"], "spiffe://so.test/ns/binh");

    // Pasted from the refusals; the connections are still the same.
    let bound = format!(
        "name = \"mot-cua-binh\", certificates = [{{ issuer = \"{issuer}\", key_sha256 = \"{key}\" }}], \
         spiffe_ids = [\"spiffe://so.test/ns/binh\"],"
    );
    world.change_systems("name = \"mot-cua-binh\",", &bound).await;
    for system in [&bare, &spire] {
        assert_eq!(speaks_for(system, BINH).await, Ok(()));
        assert_eq!(speaks_for(system, AN).await, Err(Reason::ActsForMissing));
    }
    // Its signatures count as well.
    let submission = v1::Submission { acting_party: BINH.into(), ..aid_elsewhere("k-1") };
    bare.submit(&submission).await.unwrap();

    // Bound to a system that the bundle was not given, it is none; unbound again neither.
    world.change_systems(&bound, "name = \"mot-cua-binh\",").await;
    assert_eq!(speaks_for(&bare, BINH).await, Err(Reason::SystemUnknown));
    world.change_systems("name = \"mot-cua\",", &bound.replace("\"mot-cua-binh\"", "\"mot-cua\"")).await;
    assert_eq!(speaks_for(&bare, AN).await, Err(Reason::CertificateNotVouched));
    // A certificate of another trust domain than its bundle's is nobody, whatever the registry says.
    let foreign = world.connected(agency.write(&world, "foreign", Some("spiffe://khac.test/ns/binh"))).await;
    assert_eq!(speaks_for(&foreign, BINH).await, Err(Reason::CertificateNotVouched));
    // And the agency's CA cannot take a name of the bus, nor does a name within its own domain mean anybody here.
    let id = "spiffe://so.test/system/mot-cua-binh";
    let namesake = world.connected(agency.write(&world, "namesake", Some(id))).await;
    let refused = refusal(namesake.get(BINH, "H99.102-250714-0001", false).await);
    assert_eq!((refused.reason(), refused.details()["spiffe_id"].as_str()), (Reason::SystemUnknown, id));
    let id = format!("spiffe://{DOMAIN}/system/mot-cua-binh");
    let posing = world.connected(agency.write(&world, "posing", Some(&id))).await;
    assert_eq!(speaks_for(&posing, BINH).await, Err(Reason::CertificateNotVouched));
}

#[tokio::test]
async fn a_system_that_never_signed_anything_is_put_out_by_its_name() {
    let mut world = World::start().await;
    let agency = Agency::new();
    world.write("agency.pem", &agency.root);
    world.trust = "[[tls.trust]]\nname = \"agency\"\nbundle = \"agency.pem\"\ntrust_domain = \"so.test\"\n\
                   systems = [\"mot-cua-*\"]"
        .into();
    world.restart().await;
    let operator = world.system("van-hanh").await;
    let revoke = async |system: &str| {
        let request = joining::revoke(v1::revoke_request::What::System(system.into()));
        within(joining::certificates(&operator).revoke(request)).await.unwrap().into_inner()
    };
    // It has only shown its certificate, and gone again.
    let reader = world.system("so-nganh").await;
    let certificate = lgsp_proto::types::Sha256Digest::from(*reader.credentials.digest().as_bytes());
    world.eventually(async || world.engine().store().knows_certificate(&certificate).await.unwrap()).await;
    let System { credentials, channel } = reader;
    drop(channel);
    assert_eq!(revoke("so-nganh").await.certificate_sha256, [certificate.as_bytes().to_vec()]);
    assert!(is_locked_out(&world, credentials.client_config()).await);

    // Nobody knew whose this was when it connected, and the other key was never seen at all.
    let spire = world.connected(agency.write(&world, "spire", Some("spiffe://so.test/ns/binh"))).await;
    let bound = format!(
        "name = \"mot-cua-binh\", certificates = [{{ issuer = \"CN=CA cua So\", key_sha256 = \"{}\" }}], \
         spiffe_ids = [\"spiffe://so.test/ns/binh\"],",
        "07".repeat(32)
    );
    world.change_systems("name = \"mot-cua-binh\",", &bound).await;
    assert_eq!(revoke("mot-cua-binh").await.connections_cut, 1);
    assert!(is_locked_out(&world, spire.credentials.client_config()).await);
    assert!(world.engine().connections().is_revoked(&[7; 32]));
}

#[tokio::test]
async fn a_certificate_first_seen_as_another_systems_is_put_out_with_the_one_it_is_bound_to_now() {
    let mut world = World::start().await;
    let agency = Agency::new();
    world.write("agency.pem", &agency.root);
    world.trust = "[[tls.trust]]\nname = \"agency\"\nbundle = \"agency.pem\"\ntrust_domain = \"so.test\"\n\
                   systems = [\"*\"]"
        .into();
    world.restart().await;
    let bound = |name: &str| format!("name = \"{name}\", spiffe_ids = [\"spiffe://so.test/ns/binh\"],");
    world.change_systems("name = \"mot-cua-binh\",", &bound("mot-cua-binh")).await;
    let spire = world.connected(agency.write(&world, "spire", Some("spiffe://so.test/ns/binh"))).await;
    assert_eq!(speaks_for(&spire, BINH).await, Ok(()));
    let digest = lgsp_proto::types::Sha256Digest::from(*spire.credentials.digest().as_bytes());
    let key = lgsp_certs::CertificateFacts::read(spire.credentials.certificate()).unwrap().key_sha256;
    world.eventually(async || world.engine().store().knows_certificate(&digest).await.unwrap()).await;
    drop(spire);
    world.eventually(async || world.engine().connections().peers().iter().all(|(other, _)| *other != key)).await;
    world.change_systems(&bound("mot-cua-binh"), "name = \"mot-cua-binh\",").await;
    world.change_systems("name = \"cong-an\",", &bound("cong-an")).await;

    let operator = world.system("van-hanh").await;
    let request = joining::revoke(v1::revoke_request::What::System("cong-an".into()));
    let revoked = within(joining::certificates(&operator).revoke(request)).await.unwrap().into_inner();
    assert_eq!(revoked.certificate_sha256, [digest.as_bytes().to_vec()]);
    assert!(world.engine().connections().is_revoked(&key));
}

#[tokio::test]
async fn receipts_verify_by_the_certificate_that_their_connection_was_shown() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let mut inbox = Inbox::open(&world.system("mot-cua-binh").await, &[BINH], 8).await;
    let before = world.gateway().digest();
    world.replace_certificate(world.authority());
    let after = world.gateway().digest();
    assert_ne!(before, after);
    world.reload().await.unwrap();
    // The old connection goes on, and knows the old certificate only; a new one is shown the new one.
    let old = desk.submit(&aid_elsewhere("k-1")).await.unwrap().receipt.unwrap();
    assert_eq!(old.certificate_sha256, before.as_bytes()[..]);
    let new = world.system("mot-cua").await.submit(&aid("k-2")).await.unwrap().receipt.unwrap();
    assert_eq!(new.certificate_sha256, after.as_bytes()[..]);
    world.receipt(&new);
    // The stream that was open is open.
    assert_eq!(inbox.delivery().await.r#ref.unwrap().sequence, 1);
    for digest in [before, after] {
        let digest = lgsp_proto::types::Sha256Digest::from(*digest.as_bytes());
        assert!(world.engine().store().knows_certificate(&digest).await.unwrap());
    }
}

#[tokio::test]
async fn changed_files_are_seen_by_themselves_and_a_set_that_does_not_load_changes_nothing() {
    let mut world = World::start().await;
    let agency = world.other_authority("agency", DOMAIN);
    world.write("agency.pem", agency.root_pem());
    world.trust = "[[tls.trust]]\nname = \"agency\"\nbundle = \"agency.pem\"\nsystems = [\"*\"]".into();
    world.restart().await;
    // Nobody asks for anything: the files are looked at.
    world.replace_certificate(world.authority());
    let renewed = world.gateway().digest();
    world
        .eventually(async || {
            let desk = world.system("mot-cua").await;
            let key = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
            let receipt = desk.submit(&aid(&format!("k-{key}"))).await.unwrap().receipt.unwrap();
            receipt.certificate_sha256 == renewed.as_bytes()[..]
        })
        .await;
    world.write("agency.pem", "nothing");
    world.eventually(async || problem(&world).await.is_some_and(|problem| problem.contains("agency.pem"))).await;
    let asked = world.reload().await.unwrap_err().to_string();
    assert!(asked.contains("agency.pem"), "{asked}");
    let known = world.issued(&agency, "mot-cua-binh", DAY, "known").await;
    assert_eq!(speaks_for(&known, BINH).await, Ok(()));
    world.write("agency.pem", agency.root_pem());
    world.eventually(async || problem(&world).await.is_none()).await;
}

async fn problem(world: &World) -> Option<String> {
    world.certificates().await["problem"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_list_that_came_after_the_start_is_seen_when_it_is_overwritten_and_a_broken_one_undoes_nothing() {
    let mut world = World::start().await;
    let list = |stem: &str, number| {
        let (now, serial) = (SystemTime::now(), serial_of(&world, stem));
        world.authority().revocation_list(&[RevokedCertificate { serial, at: now }], number, now, now + DAY).unwrap()
    };
    let mut out = Vec::new();
    for (stem, number) in [("first", 1), ("second", 2)] {
        let system = world.issued(world.authority(), "mot-cua-binh", DAY, stem).await;
        assert_eq!(speaks_for(&system, BINH).await, Ok(()));
        // In its place: what changes the second time is the file, and not the folder.
        std::fs::write(world.folder().join("ca/by-hand.crl"), list(stem, number)).unwrap();
        world.eventually(async || is_locked_out(&world, system.credentials.client_config()).await).await;
        out.push(system);
    }
    let second = &out[1].credentials;
    let told = within(joining::certificates(&world.system("mot-cua").await).trust(v1::TrustRequest::default())).await;
    let told = told.unwrap().into_inner().revocation_lists;

    std::fs::write(world.folder().join("ca/by-hand.crl"), "half of a lis").unwrap();
    world.reload().await.unwrap();
    assert!(is_locked_out(&world, second.client_config()).await);
    world.restart().await;
    assert!(is_locked_out(&world, second.client_config()).await, "the start has let a listed certificate in again");
    let again = within(joining::certificates(&world.system("mot-cua").await).trust(v1::TrustRequest::default())).await;
    assert_eq!((told.len(), again.unwrap().into_inner().revocation_lists), (1, told));
}

#[tokio::test]
async fn a_list_that_its_root_did_not_sign_keeps_nothing_from_being_put_in_force() {
    let mut world = World::start().await;
    let agency = world.other_authority("agency", DOMAIN);
    let root = RootAuthority::open(&world.folder().join("agency/root")).unwrap();
    let now = SystemTime::now();
    // By the root about its issuing CA, and the same with a damaged signature: as from a key that the root had before.
    let genuine = std::fs::read(root.revoke(Some(agency.intermediate()), now, now + DAY).unwrap()).unwrap();
    let mut forged = genuine.clone();
    *forged.last_mut().unwrap() ^= 1;
    world.write("agency.pem", agency.root_pem());
    world.write("agency.crl", &forged);
    world.trust =
        "[[tls.trust]]\nname = \"agency\"\nbundle = \"agency.pem\"\ncrl = \"agency.crl\"\nsystems = [\"*\"]".into();
    world.restart().await;
    let system = world.issued(&agency, "mot-cua-binh", DAY, "agencys").await;
    assert_eq!(speaks_for(&system, BINH).await, Ok(()));
    world.write("agency.crl", &genuine);
    world.reload().await.unwrap();
    assert!(is_locked_out(&world, system.credentials.client_config()).await);
    // The good one goes on while a bad one is in its place, and the gateway's own certificate is renewed all the same.
    world.write("agency.crl", &forged);
    world.replace_certificate(world.authority());
    world.reload().await.unwrap();
    assert!(is_locked_out(&world, system.credentials.client_config()).await);
    assert_eq!(problem(&world).await, None);
    let desk = world.system("mot-cua").await;
    let receipt = desk.submit(&aid("k-after")).await.unwrap().receipt.unwrap();
    assert_eq!(receipt.certificate_sha256, world.gateway().digest().as_bytes()[..]);
}

#[tokio::test]
async fn connections_that_the_present_bundles_and_lists_do_not_accept_are_cut() {
    let mut world = World::start().await;
    let agency = world.other_authority("agency", DOMAIN);
    let list = |revoked: &[RevokedCertificate], number| {
        let now = SystemTime::now();
        agency.revocation_list(revoked, number, now, now + DAY).unwrap()
    };
    world.write("agency.pem", agency.root_pem());
    world.write("agency.crl", list(&[], 1));
    world.trust =
        "[[tls.trust]]\nname = \"agency\"\nbundle = \"agency.pem\"\ncrl = \"agency.crl\"\nsystems = [\"*\"]".into();
    world.restart().await;
    let first = world.issued(&agency, "mot-cua-binh", DAY, "first").await;
    let second = world.issued(&agency, "mot-cua-binh", DAY, "second").await;
    let mut streams = [Inbox::open(&first, &[BINH], 8).await, Inbox::open(&second, &[BINH], 8).await];
    // One certificate is on the list: its connection goes, the other's stays.
    let serial = serial_of(&world, "first");
    world.write("agency.crl", list(&[RevokedCertificate { serial, at: SystemTime::now() }], 2));
    world.reload().await.unwrap();
    streams[0].hear().await.unwrap_err();
    assert!(is_locked_out(&world, first.credentials.client_config()).await);
    assert_eq!(speaks_for(&second, BINH).await, Ok(()));
    // The whole bundle is another one: so does the other; those of the bus itself stay.
    let (desk, ours) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let mut watching = Inbox::open(&ours, &[BINH], 8).await;
    world.write("agency.pem", world.impostor().root_pem());
    world.reload().await.unwrap();
    streams[1].hear().await.unwrap_err();
    assert!(is_locked_out(&world, second.credentials.client_config()).await);
    desk.submit(&aid_elsewhere("k-1")).await.unwrap();
    assert_eq!(watching.delivery().await.r#ref.unwrap().sequence, 1);
}

#[tokio::test]
async fn a_certificate_that_is_revoked_in_the_folder_of_the_gateways_ca_is_out() {
    let world = World::start().await;
    let desk = world.issued(world.authority(), "mot-cua-binh", DAY, "desk").await;
    let kept = world.issued(world.authority(), "mot-cua-binh", DAY, "kept").await;
    let mut stream = Inbox::open(&desk, &[BINH], 8).await;
    let now = SystemTime::now();
    // The first list of the folder: nobody names it in the configuration, and nobody asks for anything.
    world.authority().revoke(Some(desk.credentials.certificate()), now, now + DAY).unwrap();
    stream.hear().await.unwrap_err();
    assert!(is_locked_out(&world, desk.credentials.client_config()).await);
    assert_eq!(speaks_for(&kept, BINH).await, Ok(()));
}

#[tokio::test]
async fn a_revoked_root_cuts_those_under_it_who_never_sent_it() {
    let mut world = World::start().await;
    let agency = world.other_authority("agency", DOMAIN);
    // What is trusted is the agency's issuing CA; its systems send nothing but their own certificate.
    world.trust = "[[tls.trust]]\nname = \"agency\"\nbundle = \"agency/ca.pem\"\nsystems = [\"mot-cua-*\"]".into();
    world.restart().await;
    drop(world.issued(&agency, "mot-cua-binh", DAY, "known").await);
    let leaf = world.load("known").certificate().clone();
    world.write("known.pem", pem(&[leaf]));
    let known = world.connected(world.load("known")).await;
    let ours = world.system("mot-cua-binh").await;
    let (mut stream, mut watching) = (Inbox::open(&known, &[BINH], 8).await, Inbox::open(&ours, &[BINH], 8).await);
    let root = lgsp_certs::CertificateFacts::read(agency.intermediate()).unwrap().key_sha256;
    assert_eq!(world.engine().connections().revoke([root]), 1);
    stream.hear().await.unwrap_err();
    assert!(is_locked_out(&world, known.credentials.client_config()).await);
    world.system("mot-cua").await.submit(&aid_elsewhere("k-1")).await.unwrap();
    assert_eq!(watching.delivery().await.r#ref.unwrap().sequence, 1);
}

fn serial_of(world: &World, stem: &str) -> Vec<u8> {
    let pem = std::fs::read(world.folder().join(format!("{stem}.pem"))).unwrap();
    let leaf = CertificateDer::from_pem_slice(&pem).unwrap();
    // RFC 5280 §4.1: the serial number follows the version within the signed part; both lengths are two bytes long.
    assert_eq!((leaf[0], leaf[1], leaf[4], leaf[5]), (0x30, 0x82, 0x30, 0x82));
    assert_eq!((&leaf[8..13], leaf[13]), (&[0xa0, 3, 2, 1, 2][..], 2));
    leaf[15..15 + usize::from(leaf[14])].to_vec()
}

#[tokio::test]
async fn a_connection_is_asked_to_leave_before_its_certificate_expires_and_shut_when_it_does() {
    let world = World::start().await;
    let brief = world.issued(world.authority(), "mot-cua-binh", Duration::from_secs(9), "brief").await;
    let mut inbox = Inbox::open(&brief, &[BINH], 8).await;
    // The stream ends in order, without an error, while the certificate still holds.
    assert!(inbox.end().await.is_ok());
    assert!(SystemTime::now() < brief.credentials.not_after());
    // Whoever has not renewed comes back for what is left of it, and is not sent away again.
    let mut inbox = Inbox::open(&brief, &[BINH], 8).await;
    inbox.end().await.unwrap_err();
    let late = SystemTime::now().duration_since(brief.credentials.not_after()).unwrap();
    assert!(late < SECONDS, "{late:?}");
    assert!(is_locked_out(&world, brief.credentials.client_config()).await);
}

#[tokio::test]
async fn every_call_is_answered_while_its_connection_is_asked_to_leave() {
    let world = World::start().await;
    let brief = world.issued(world.authority(), "mot-cua", Duration::from_secs(8), "brief").await;
    // As long as the certificate holds, and so beyond the moment of being asked; the client opens the next connection.
    let until = brief.credentials.not_after() - Duration::from_millis(1500);
    let mut calls = 0;
    while SystemTime::now() < until {
        calls += 1;
        let submission = aid(&format!("k-{calls}"));
        if let Err(status) = brief.submit(&submission).await {
            // The client's library gives up a call that it was about to send when it learns that the connection goes; that
            // is the one failure there may be, and nothing of it has come here.
            assert_eq!(status.code(), tonic::Code::Cancelled, "{status:?}");
            assert!(!brief.submit(&submission).await.unwrap().repeated);
        }
    }
    assert!(calls > 10, "{calls}");
}

#[tokio::test]
async fn leaf_issuing_ca_and_root_are_replaced_one_after_the_other_and_no_call_fails() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let calling = {
        let desk = System { credentials: world.load(&format!("{DOMAIN}-mot-cua")), channel: desk.channel.clone() };
        tokio::spawn(async move {
            let mut calls = 0;
            while !*stopped.borrow() {
                calls += 1;
                desk.submit(&aid(&format!("k-{calls}"))).await.unwrap();
            }
            calls
        })
    };
    let fresh = async |authority: &CertificateAuthority, stem: &str, key: &str| {
        let peer = world.issued(authority, "mot-cua", DAY, stem).await;
        peer.submit(&aid(key)).await.unwrap();
    };
    // A leaf of the same issuing CA.
    world.replace_certificate(world.authority());
    world.reload().await.unwrap();
    fresh(world.authority(), "leaf", "n-1").await;
    // Another issuing CA of the same root.
    let root = RootAuthority::open(&world.folder().join("ca/root")).unwrap();
    let second = root.issue_authority(&world.folder().join("second"), SystemTime::now()).unwrap();
    world.replace_certificate(&second);
    world.reload().await.unwrap();
    fresh(&second, "issuing", "n-2").await;
    // Another root: first beside the old one.
    let other = world.other_authority("other", DOMAIN);
    world.write("clients.pem", format!("{}{}", world.root_pem(), other.root_pem()));
    world.reload().await.unwrap();
    fresh(&other, "root", "n-3").await;
    fresh(&second, "old-root", "n-4").await;
    assert!(!calling.is_finished());
    stop.send_replace(true);
    assert!(within(calling).await.unwrap() > 0);
    // Then the old one goes, and with it whoever has not renewed.
    world.write("clients.pem", other.root_pem());
    world.reload().await.unwrap();
    assert!(is_locked_out(&world, desk.credentials.client_config()).await);
    fresh(&other, "new-root", "n-5").await;
}

#[tokio::test]
async fn the_local_listener_tells_how_long_the_certificates_last() {
    let world = World::start().await;
    let _brief = world.issued(world.authority(), "mot-cua-binh", Duration::from_secs(3600), "brief").await;
    let _desk = world.system("mot-cua").await;
    speaks_for(&_brief, BINH).await.unwrap();
    let told = world.certificates().await;
    let within = |value: &serde_json::Value, most: Duration| {
        let (left, most) = (value.as_i64().unwrap(), most.as_secs().cast_signed());
        assert!((most - 60..=most).contains(&left), "{left} of {most}");
    };
    within(&told["expires_in_seconds"]["own"], DAY);
    within(&told["client_expires_in_seconds"], Duration::from_secs(3600));
    for certificate in ["issuing", "ca", "bundle:client_bundle"] {
        assert!(told["expires_in_seconds"][certificate].as_i64().unwrap() > 300 * 24 * 3600, "{told}");
    }
    assert!(told["connections"].as_u64().unwrap() >= 1, "{told}");
}
