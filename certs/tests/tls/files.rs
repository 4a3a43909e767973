//! What a bad certificate file gets: its own name, and the reason.

use std::error::Error;
use std::fs;
use std::time::SystemTime;

use lgsp_certs::tls::{BadServerName, TlsFileError};
use lgsp_certs::{Purpose, TlsFiles, Usage, server_name};

use crate::support::{Authority, DAY};

/// The whole story, as a log line prints it.
fn chain(error: &TlsFileError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

fn refused(files: &TlsFiles, usage: Usage, now: SystemTime) -> String {
    chain(&files.load(usage, now).unwrap_err())
}

#[test]
fn every_bad_file_is_named_with_its_reason() {
    let authority = Authority::new();
    let now = SystemTime::now();
    authority.system("one-stop");
    authority.system("other");
    let good = authority.files("one-stop");
    let at = |name: &str| authority.path().join(name);
    let text = at("text");
    fs::write(&text, "not a certificate").unwrap();
    let cut = at("cut.pem");
    fs::write(&cut, &fs::read(&good.certificate).unwrap()[..200]).unwrap();
    let bent = at("bent.pem");
    fs::write(&bent, "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").unwrap();
    let p384 = at("p384.key");
    let other_curve = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    fs::write(&p384, other_curve.serialize_pem()).unwrap();

    let cannot = |file: &std::path::Path, why: &str| format!("cannot use {}: {why}", file.display());
    let with_certificate = |file: &std::path::Path| TlsFiles { certificate: file.into(), ..good.clone() };
    let with_key = |file: &std::path::Path| TlsFiles { key: file.into(), ..good.clone() };
    let with_bundle = |file: &std::path::Path| TlsFiles { bundle: file.into(), ..good.clone() };
    let no_pem = "it holds no PEM certificate";
    let no_key = "there is no unencrypted PEM private key";
    for (files, expected) in [
        (with_certificate(&text), cannot(&text, no_pem)),
        (with_certificate(&good.key), cannot(&good.key, no_pem)),
        (with_certificate(&cut), cannot(&cut, "its PEM is damaged")),
        (with_certificate(&bent), cannot(&bent, "it holds a certificate that cannot be read")),
        (with_key(&text), cannot(&text, no_key)),
        (with_key(&good.certificate), cannot(&good.certificate, no_key)),
        (with_key(&p384), cannot(&p384, "the key is not an intact ECDSA P-256 key")),
        (
            with_key(&at("other.key")),
            cannot(
                &at("other.key"),
                &format!("the key does not belong to the certificate {}", good.certificate.display()),
            ),
        ),
        (with_bundle(&text), cannot(&text, no_pem)),
        (with_bundle(&bent), cannot(&bent, "it holds a certificate that cannot be read")),
    ] {
        assert_eq!(refused(&files, Usage::Client, now), expected);
    }
    let missing = at("missing");
    for files in [with_certificate(&missing), with_key(&missing), with_bundle(&missing)] {
        let told = refused(&files, Usage::Client, now);
        assert!(told.starts_with(&cannot(&missing, "it cannot be read: No such file")), "{told}");
    }
    assert!(good.load(Usage::Client, now).is_ok());
}

#[test]
fn a_certificate_out_of_its_time_or_use_is_refused_on_loading() {
    let authority = Authority::new();
    let now = SystemTime::now();
    let desk = authority.system("one-stop");
    let files = authority.files("one-stop");
    assert!(files.load(Usage::Client, desk.not_after()).is_ok());
    let told = refused(&files, Usage::Client, now + 2 * DAY);
    assert!(told.contains("one-stop.pem: the certificate expired on "), "{told}");
    let told = refused(&files, Usage::Client, now - DAY);
    assert!(told.contains("one-stop.pem: the certificate is valid only from "), "{told}");
    let told = refused(&files, Usage::Server, now);
    assert!(told.ends_with("one-stop.pem: the certificate is not meant for a server"), "{told}");

    authority.server(&["gateway.hue.test"]);
    let told = refused(&authority.files("gateway"), Usage::Client, now);
    assert!(told.ends_with("gateway.pem: the certificate is not meant for a client"), "{told}");
}

#[test]
fn the_signing_key_is_that_of_the_certificate() {
    let authority = Authority::new();
    let desk = authority.system("one-stop");
    let signature = desk.signing_key().sign(Purpose::Entry, b"body");
    let key = lgsp_certs::VerifyingKey::from_certificate(desk.certificate()).unwrap();
    assert_eq!(key.verify(Purpose::Entry, b"body", &signature), Ok(()));
}

#[test]
fn a_host_with_a_port_is_not_a_server_name() {
    for host in ["gateway.hue.test:8443", "https://gateway.hue.test", "", "a b", "*"] {
        assert_eq!(server_name(host), Err(BadServerName(host.to_owned())));
    }
}

#[test]
fn nothing_shown_about_credentials_holds_a_key() {
    let authority = Authority::new();
    let shown = format!("{:?}", authority.system("one-stop"));
    assert!(shown.starts_with("Credentials { digest: CertificateDigest("), "{shown}");
    assert!(!shown.contains("key"), "{shown}");
}
