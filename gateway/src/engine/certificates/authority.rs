//! The issuing CA beside the gateway: opened anew for every certificate, so that another one in its place is taken up by
//! itself. While its files do not fit each other, the last one that did goes on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use lgsp_certs::{CaError, CertificateAuthority, SigningRequest, SystemName, TrustDomain};
use lgsp_proto::{Reason, Refusal};

use super::super::clock::machine_now;
use super::sha256;
use crate::store::{CertificateIssued, IssuedOver};

/// An issuing CA in a folder.
pub struct Authority {
    dir: PathBuf,
    last: Arc<ArcSwap<CertificateAuthority>>,
    leaf_life: Duration,
    token_valid: Duration,
}

impl Authority {
    /// The CA in `dir`. Certificates live for `leaf_life`, tokens are good for `token_valid` unless they say otherwise.
    ///
    /// # Errors
    /// The folder holds no CA that can sign.
    pub fn open(dir: PathBuf, leaf_life: Duration, token_valid: Duration) -> Result<Self, CaError> {
        let opened = CertificateAuthority::open(&dir)?;
        Ok(Self { dir, last: Arc::new(ArcSwap::from_pointee(opened)), leaf_life, token_valid })
    }

    /// Whose names it signs.
    pub fn trust_domain(&self) -> TrustDomain {
        self.last.load().trust_domain().clone()
    }

    pub(super) fn token_valid(&self) -> Duration {
        self.token_valid
    }

    /// Certifies a key as that of `system`. Nothing is recorded yet, and nothing given to anybody.
    pub(super) async fn sign(
        &self,
        request: SigningRequest,
        system: SystemName,
        over: IssuedOver,
    ) -> Result<CertificateIssued, Refusal> {
        let (dir, last, life) = (self.dir.clone(), Arc::clone(&self.last), self.leaf_life);
        let signed = tokio::task::spawn_blocking(move || {
            let authority = current(&dir, &last);
            let now = machine_now();
            authority.sign_request(&request, &system, life, now).map(|certified| (certified, system, now))
        });
        let (certified, system, at) =
            signed.await.map_err(|panicked| failed(&panicked))?.map_err(|error| match error {
                CaError::OutlivesCa => {
                    tracing::error!("the issuing CA has less than a day to live; nothing is issued any more");
                    Refusal::new(Reason::CaNotConfigured).detail("cause", "ca_expires")
                }
                error => failed(&error),
            })?;
        let mut chain = certified.chain.iter().map(|der| Bytes::copy_from_slice(der));
        let der = chain.next().ok_or_else(|| Refusal::new(Reason::Internal))?;
        let intermediates = chain.collect();
        Ok(CertificateIssued { digest: sha256(&der), der, intermediates, for_system: system.to_string(), over, at })
    }
}

/// The CA as it lies in the folder now.
fn current(dir: &std::path::Path, last: &ArcSwap<CertificateAuthority>) -> Arc<CertificateAuthority> {
    let before = last.load_full();
    match CertificateAuthority::open(dir) {
        Ok(opened) if opened.trust_domain() == before.trust_domain() => {
            let opened = Arc::new(opened);
            last.store(Arc::clone(&opened));
            opened
        }
        Ok(_) => {
            tracing::error!("the CA's folder holds one of another trust domain; the one before goes on");
            before
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the CA's folder cannot be used; the one before goes on");
            before
        }
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::error!(error, "a certificate could not be signed");
    Refusal::new(Reason::Internal)
}
