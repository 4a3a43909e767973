//! What the CA signs, what it refuses, and what its folder remembers.

use std::os::unix::fs::PermissionsExt;

use super::root::{ISSUING_VALIDITY, ROOT_VALIDITY};
use super::validity::{BACKDATED, END_OF_9999};
use super::*;
use rustls_pki_types::pem::PemObject;
use std::time::UNIX_EPOCH;

/// 14 July 2025, 01:00 UTC, with a fraction that no certificate can hold.
fn monday() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_752_454_800_750)
}

fn trust_domain() -> TrustDomain {
    "lgsp.hue.test".parse().unwrap()
}

fn ca() -> (tempfile::TempDir, CertificateAuthority) {
    let folder = tempfile::tempdir().unwrap();
    let ca = CertificateAuthority::create(folder.path(), &trust_domain(), monday()).unwrap();
    (folder, ca)
}

fn der(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap()
}

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn private_keys_are_readable_by_their_owner_only() {
    let (folder, ca) = ca();
    assert_eq!(mode(&folder.path().join("ca.key")), 0o600);
    assert_eq!(mode(&folder.path().join("root/root.key")), 0o600);
    assert_eq!(mode(&folder.path().join("ca.pem")), 0o644);
    let leafs = folder.path().join("leafs");
    ca.issue_system(&"one-stop".parse().unwrap(), DAY, monday()).unwrap().write_to(&leafs, "one-stop").unwrap();
    assert_eq!(mode(&leafs.join("one-stop.key")), 0o600);
    assert_eq!(mode(&leafs.join("one-stop.pem")), 0o644);
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let (folder, ca) = ca();
    let before = std::fs::read(folder.path().join("ca.key")).unwrap();
    let again = CertificateAuthority::create(folder.path(), &trust_domain(), monday()).unwrap_err();
    assert!(matches!(&again, CaError::Exists(file) if file.ends_with("ca.pem")), "{again}");
    assert_eq!(std::fs::read(folder.path().join("ca.key")).unwrap(), before);

    // A key that lost its certificate is somebody's key all the same.
    std::fs::remove_file(folder.path().join("ca.pem")).unwrap();
    let again = CertificateAuthority::create(folder.path(), &trust_domain(), monday()).unwrap_err();
    assert!(matches!(&again, CaError::Exists(file) if file.ends_with("ca.key")), "{again}");
    assert!(!folder.path().join("ca.pem").exists());

    let issued = ca.issue_system(&"one-stop".parse().unwrap(), DAY, monday()).unwrap();
    issued.write_to(folder.path(), "one-stop").unwrap();
    assert!(matches!(issued.write_to(folder.path(), "one-stop"), Err(CaError::Exists(_))));
}

#[test]
fn an_opened_ca_is_the_one_that_was_created() {
    let (folder, ca) = ca();
    let opened = CertificateAuthority::open(folder.path()).unwrap();
    assert_eq!(opened.trust_domain(), &trust_domain());
    assert_eq!((opened.root(), opened.intermediate()), (ca.root(), ca.intermediate()));
    assert_eq!(opened.not_after(), monday() - Duration::from_millis(750) + ISSUING_VALIDITY);
}

#[test]
fn a_folder_that_is_not_a_ca_is_named_with_the_reason() {
    let (folder, _ca) = ca();
    let (certificate, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
    let (other, other_ca) = self::ca();
    let leaf = other_ca.issue_system(&"a".parse().unwrap(), DAY, monday()).unwrap();
    let refused = || CertificateAuthority::open(folder.path()).unwrap_err().to_string();

    std::fs::copy(other.path().join("ca.key"), &key).unwrap();
    assert_eq!(refused(), format!("{} is not the key of the certificate beside it", key.display()));
    std::fs::write(&key, "nothing").unwrap();
    assert_eq!(refused(), format!("{} holds no ECDSA P-256 private key", key.display()));
    std::fs::write(&certificate, &leaf.certificate_pem).unwrap();
    assert_eq!(refused(), format!("{} is not the certificate of a CA", certificate.display()));
    std::fs::write(&certificate, "nothing").unwrap();
    assert_eq!(refused(), format!("{} holds no PEM certificate", certificate.display()));
    std::fs::remove_file(&certificate).unwrap();
    assert_eq!(refused(), format!("cannot use {}", certificate.display()));
}

#[test]
fn a_system_certificate_is_for_clients_and_a_server_certificate_for_servers() {
    let (_folder, ca) = ca();
    let system = der(&ca.issue_system(&"one-stop".parse().unwrap(), DAY, monday()).unwrap());
    let parsed = x509::parse(&system).unwrap();
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !parsed.is_ca());
    assert_eq!(x509::uris(&parsed).unwrap(), ["spiffe://lgsp.hue.test/system/one-stop"]);

    let names = ["gateway.hue.test", "127.0.0.1", "::1"].map(|name| crate::server_name(name).unwrap());
    let server = der(&ca.issue_server(&names, DAY, monday()).unwrap());
    let parsed = x509::parse(&server).unwrap();
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !parsed.is_ca());
    assert_eq!(parsed.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 3);
    assert!(matches!(ca.issue_server(&[], DAY, monday()), Err(CaError::NoServerName)));
}

#[test]
fn a_certificate_holds_from_a_little_before_now_to_its_end() {
    let (_folder, ca) = ca();
    let issued = ca.issue_system(&"one-stop".parse().unwrap(), DAY, monday()).unwrap();
    let der = der(&issued);
    let validity = x509::parse(&der).unwrap().validity().clone();
    let second = monday() - Duration::from_millis(750);
    assert_eq!(x509::time(validity.not_before), second - BACKDATED);
    assert_eq!(x509::time(validity.not_after), second + DAY);
    assert_eq!(issued.not_after, second + DAY);
    assert_eq!(issued.digest, CertificateDigest::of(&der));
}

#[test]
fn no_certificate_outlives_its_ca() {
    let (_folder, ca) = ca();
    let name = "one-stop".parse().unwrap();
    assert!(ca.issue_system(&name, ISSUING_VALIDITY, monday()).is_ok());
    let longer = ISSUING_VALIDITY + Duration::from_secs(1);
    assert!(matches!(ca.issue_system(&name, longer, monday()), Err(CaError::OutlivesCa)));
    for length in [Duration::from_secs(END_OF_9999), Duration::MAX] {
        assert!(matches!(ca.issue_system(&name, length, monday()), Err(CaError::Time)));
    }
    assert!(matches!(ca.issue_system(&name, DAY, UNIX_EPOCH), Err(CaError::Time)));
}

#[test]
fn serial_numbers_are_random_and_of_full_length() {
    let (_folder, ca) = ca();
    let serials: std::collections::HashSet<Vec<u8>> = (0..32)
        .map(|_| {
            let der = der(&ca.issue_system(&"a".parse().unwrap(), DAY, monday()).unwrap());
            x509::parse(&der).unwrap().raw_serial().to_vec()
        })
        .collect();
    assert_eq!(serials.len(), 32);
    assert!(serials.iter().all(|serial| serial.len() == 16 && serial[0] & 0x80 == 0), "{serials:?}");
}

#[test]
fn debug_output_shows_no_key() {
    let (_folder, ca) = ca();
    let issued = ca.issue_system(&"one-stop".parse().unwrap(), DAY, monday()).unwrap();
    let shown = format!("{ca:?} {issued:?}");
    assert!(!shown.contains("PRIVATE") && !shown.contains("issuer"), "{shown}");
}

/// A second issuing CA of the same root, in a folder of its own.
fn rotated(folder: &Path) -> CertificateAuthority {
    RootAuthority::open(&folder.join("root")).unwrap().issue_authority(&folder.join("next"), monday()).unwrap()
}

fn one_stop() -> SystemName {
    "one-stop".parse().unwrap()
}

#[test]
fn a_root_has_one_ca_below_it_and_that_has_none() {
    let (folder, ca) = ca();
    let path_len = |der: &CertificateDer<'_>| {
        let parsed = x509::parse(der).unwrap();
        parsed.basic_constraints().unwrap().map(|extension| (extension.value.ca, extension.value.path_len_constraint))
    };
    assert_eq!(path_len(ca.root()), Some((true, Some(1))));
    assert_eq!(path_len(ca.intermediate()), Some((true, Some(0))));
    let root = RootAuthority::open(&folder.path().join("root")).unwrap();
    assert_eq!(root.certificate(), ca.root());
    assert_eq!(root.not_after(), monday() - Duration::from_millis(750) + ROOT_VALIDITY);
    assert_eq!(root.books().issued().unwrap(), [ca.intermediate().clone()]);
}

#[test]
fn a_root_makes_further_issuing_cas_and_overwrites_none() {
    let (folder, ca) = ca();
    let next = rotated(folder.path());
    assert_eq!(next.root(), ca.root());
    let names = [&ca, &next].map(|ca| x509::parse(ca.intermediate()).unwrap().subject().to_string());
    assert_ne!(names[0], names[1], "lists and chains are looked up by name");
    let root = RootAuthority::open(&folder.path().join("root")).unwrap();
    let before = std::fs::read(folder.path().join("ca.key")).unwrap();
    assert!(matches!(root.issue_authority(folder.path(), monday()), Err(CaError::Exists(_))));
    assert_eq!(std::fs::read(folder.path().join("ca.key")).unwrap(), before);
}

#[test]
fn the_root_key_may_be_elsewhere() {
    let (folder, ca) = ca();
    std::fs::remove_dir_all(folder.path().join("root")).unwrap();
    let opened = CertificateAuthority::open(folder.path()).unwrap();
    assert!(opened.issue_system(&one_stop(), DAY, monday()).is_ok());
    assert_eq!(opened.root(), ca.root());
}

#[test]
fn a_root_that_did_not_sign_the_issuing_ca_is_refused() {
    let ((folder, _ca), (other, _other_ca)) = (ca(), ca());
    let root = folder.path().join("root.pem");
    std::fs::copy(other.path().join("root.pem"), &root).unwrap();
    let refused = CertificateAuthority::open(folder.path()).unwrap_err().to_string();
    assert_eq!(refused, format!("{} is not the root that signed ca.pem", root.display()));
}

#[test]
fn a_request_is_certified_for_its_key_and_for_nothing_else_in_it() {
    let (_folder, ca) = ca();
    // Asks to be a CA for somebody else's names.
    let mut wish = CertificateParams::new(["gateway.hue.test".to_owned()]).unwrap();
    wish.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    wish.distinguished_name.push(DnType::CommonName, "police");
    wish.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let request = SigningRequest::parse(wish.serialize_request(&key).unwrap().der()).unwrap();

    let certified = ca.sign_request(&request, &one_stop(), DAY, monday()).unwrap();
    assert_eq!(certified.chain[1..], [ca.intermediate().clone()]);
    let parsed = x509::parse(&certified.chain[0]).unwrap();
    assert_eq!(x509::uris(&parsed).unwrap(), ["spiffe://lgsp.hue.test/system/one-stop"]);
    assert_eq!(parsed.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
    assert_eq!(parsed.subject().to_string(), "CN=one-stop");
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !parsed.is_ca());
    assert_eq!(sha256(parsed.public_key().raw), certified.key_sha256);
    assert_eq!(certified.key_sha256, request.key_sha256());
    assert_eq!(certified.digest, CertificateDigest::of(&certified.chain[0]));
    assert_eq!(x509::time(parsed.validity().not_after), certified.not_after);
    assert_eq!(x509::time(parsed.validity().not_before), certified.not_before);
}

#[test]
fn a_certificate_is_to_be_renewed_at_two_thirds_of_its_life() {
    let at = |days| monday() + days * DAY;
    assert_eq!(renew_from(at(0), at(90)), at(60));
    assert_eq!(renew_from(at(1), at(0)), at(0));
}

#[test]
fn a_certified_request_ends_with_its_ca_unless_that_ends_today() {
    let (_folder, ca) = ca();
    let request = SigningRequest::parse(&crate::PrivateKey::generate().unwrap().signing_request().unwrap()).unwrap();
    let sign = |now| ca.sign_request(&request, &one_stop(), 90 * DAY, now);
    let shortened = sign(ca.not_after() - 2 * DAY).unwrap();
    assert_eq!(shortened.not_after, ca.not_after());
    assert!(matches!(sign(ca.not_after() - DAY + Duration::from_secs(1)), Err(CaError::OutlivesCa)));
    assert!(matches!(sign(ca.not_after() + DAY), Err(CaError::OutlivesCa)));
}

#[test]
fn the_folder_remembers_what_was_issued_in_the_order_of_its_end() {
    let (folder, ca) = ca();
    let later = der(&ca.issue_system(&one_stop(), 9 * DAY, monday()).unwrap());
    let sooner = der(&ca.issue_system(&one_stop(), DAY, monday()).unwrap());
    // What an interruption left is passed over.
    std::fs::write(folder.path().join("issued/.0102.der.0000"), "half").unwrap();
    assert_eq!(ca.books().issued().unwrap(), [sooner, later]);
    assert_eq!(Books::of(&folder.path().join("nowhere")).issued().unwrap(), []);
}

/// Serial numbers and number of the list in a file.
fn list(file: &Path) -> (Vec<Vec<u8>>, u64) {
    let der = std::fs::read(file).unwrap();
    let (_, list) = x509_parser::parse_x509_crl(&der).unwrap();
    let serials = list.iter_revoked_certificates().map(|revoked| revoked.raw_serial().to_vec()).collect();
    (serials, x509::list_number(&der).unwrap())
}

#[test]
fn a_revoked_certificate_is_on_every_list_from_then_on() {
    let (folder, ca) = ca();
    let [first, second] = [1, 2].map(|days| der(&ca.issue_system(&one_stop(), days * DAY, monday()).unwrap()));
    let serial = |der: &CertificateDer<'_>| x509::parse(der).unwrap().raw_serial().to_vec();
    let (now, until) = (monday(), monday() + 30 * DAY);

    let file = ca.revoke(Some(&first), now, until).unwrap();
    assert_eq!(file, folder.path().join("ca.crl"));
    let (serials, number) = list(&file);
    assert_eq!(serials, [serial(&first)]);

    ca.revoke(Some(&second), now, until).unwrap();
    ca.revoke(Some(&first), now + DAY, until).unwrap();
    CertificateAuthority::open(folder.path()).unwrap().revoke(None, now, until).unwrap();
    let (serials, last) = list(&file);
    assert_eq!(serials, [serial(&first), serial(&second)]);
    assert!(last > number, "{last} after {number}");
    let second = monday() - Duration::from_millis(750);
    assert_eq!(ca.books().revoked().unwrap().iter().map(|revoked| revoked.at).collect::<Vec<_>>(), [second, second]);
}

#[test]
fn only_its_issuer_revokes_a_certificate() {
    let (folder, ca) = ca();
    let foreign = der(&rotated(folder.path()).issue_system(&one_stop(), DAY, monday()).unwrap());
    let refused = |certificate| ca.revoke(Some(certificate), monday(), monday() + DAY).unwrap_err();
    assert!(matches!(refused(&foreign), CaError::NotIssuedHere));
    assert!(matches!(refused(ca.intermediate()), CaError::NotIssuedHere));
    assert!(!folder.path().join("ca.crl").exists());
    let root = RootAuthority::open(&folder.path().join("root")).unwrap();
    let file = root.revoke(Some(ca.intermediate()), monday(), monday() + DAY).unwrap();
    assert_eq!(file, folder.path().join("root/root.crl"));
    assert_eq!(list(&file).0.len(), 1);
}

#[test]
fn a_line_that_was_being_written_when_somebody_stopped_is_written_anew() {
    let (folder, ca) = ca();
    let [first, second] = [1, 2].map(|days| der(&ca.issue_system(&one_stop(), days * DAY, monday()).unwrap()));
    let until = monday() + DAY;
    ca.revoke(Some(&first), monday(), until).unwrap();
    let file = folder.path().join("revoked");
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{whole}4a5b")).unwrap();
    ca.revoke(Some(&second), monday(), until).unwrap();
    assert_eq!(ca.books().revoked().unwrap().len(), 2);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with(&whole));

    std::fs::write(&file, "hello\n").unwrap();
    let refused = ca.revoke(Some(&second), monday(), until).unwrap_err();
    assert!(matches!(&refused, CaError::Content { file, .. } if file.ends_with("revoked")), "{refused}");
}
