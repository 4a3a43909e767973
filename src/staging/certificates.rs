//! A CA for one stage, and the certificates of everybody on it. Good for a month on this machine, and for nothing else.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::ensure;
use lgsp_certs::{CertificateAuthority, server_name};

/// The bus's name, the trust domain of every certificate. `.test` is nobody's.
pub(crate) const TRUST_DOMAIN: &str = "lgsp.hue.test";
/// The name the gateway's certificate and files go by.
pub(crate) const GATEWAY: &str = "gateway";
const VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);

/// Makes the CA in `ca`, or takes the one that is there, and writes a certificate for the gateway and for each system to `pki`.
///
/// # Errors
/// A file cannot be written, a certificate not be issued.
pub(crate) fn issue<'a>(ca: &Path, pki: &Path, systems: impl IntoIterator<Item = &'a str>) -> anyhow::Result<()> {
    let now = SystemTime::now();
    let ca = match ca.exists() {
        true => CertificateAuthority::open(ca)?,
        false => CertificateAuthority::create(ca, &TRUST_DOMAIN.parse()?, now)?,
    };
    let names = [server_name("127.0.0.1")?, server_name("localhost")?];
    ca.issue_server(&names, VALIDITY, now)?.write_to(pki, GATEWAY)?;
    for system in systems {
        ensure!(system != GATEWAY, "no system may be called {GATEWAY}");
        ca.issue_system(&system.parse()?, VALIDITY, now)?.write_to(pki, system)?;
    }
    Ok(())
}
