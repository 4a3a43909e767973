//! A CA in a temporary folder, and the files of the systems it certified.

use std::path::Path;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use lgsp_certs::{CertificateAuthority, Certified, Credentials, Issued, TlsFiles, Usage, server_name};
use rustls_pki_types::CertificateDer;

use crate::output;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One CA with its folder; dropped, both are gone.
pub(crate) struct Authority {
    folder: tempfile::TempDir,
    pub(crate) ca: CertificateAuthority,
}

impl Authority {
    pub(crate) fn new() -> Self {
        output::trace("certs");
        let folder = tempfile::tempdir().unwrap();
        let trust_domain = "lgsp.hue.test".parse().unwrap();
        // Some weeks old, so that it can have issued what has expired since.
        let ca = CertificateAuthority::create(folder.path(), &trust_domain, SystemTime::now() - 30 * DAY).unwrap();
        Self { folder, ca }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Files `<stem>.*` of this CA, trusting this CA.
    pub(crate) fn files(&self, stem: &str) -> TlsFiles {
        let file = |name: String| self.path().join(name);
        TlsFiles {
            certificate: file(format!("{stem}.pem")),
            key: file(format!("{stem}.key")),
            bundle: file("root.pem".into()),
        }
    }

    /// What was certified for a key in the CA's folder.
    pub(crate) fn credentials_of(&self, certified: &Certified, key: &str) -> Credentials {
        let file = self.path().join(format!("{}.pem", certified.digest));
        let pem = |der: &CertificateDer<'_>| {
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64.encode(der))
        };
        std::fs::write(&file, certified.chain.iter().map(pem).collect::<String>()).unwrap();
        let files = TlsFiles { certificate: file, key: self.path().join(key), ..self.files("") };
        files.load(Usage::Client, SystemTime::now()).unwrap()
    }

    fn keep(&self, stem: &str, issued: &Issued, usage: Usage, now: SystemTime) -> Credentials {
        issued.write_to(self.path(), stem).unwrap();
        self.files(stem).load(usage, now).unwrap()
    }

    pub(crate) fn server(&self, names: &[&str]) -> Credentials {
        let names: Vec<_> = names.iter().map(|name| server_name(name).unwrap()).collect();
        let now = SystemTime::now();
        let issued = self.ca.issue_server(&names, DAY, now).unwrap();
        self.keep("gateway", &issued, Usage::Server, now)
    }

    pub(crate) fn system(&self, name: &str) -> Credentials {
        self.system_since(name, SystemTime::now())
    }

    /// A system certified for one day from `then` on, with its files loaded at that time.
    pub(crate) fn system_since(&self, name: &str, then: SystemTime) -> Credentials {
        let issued = self.ca.issue_system(&name.parse().unwrap(), DAY, then).unwrap();
        self.keep(name, &issued, Usage::Client, then)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        output::keep("certs", self.path());
    }
}
