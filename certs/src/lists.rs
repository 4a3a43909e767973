//! Which revocation lists count, and how a chain is asked of them.
//!
//! The TLS library looks at the first list of an issuer's name only, and refuses the chain when that one is not signed by
//! the issuer. So of the lists of one key the newest is kept, lists of one name by different keys are asked one after
//! another, and a list that its issuer did not sign is set aside, by itself. Invariant: whom a list names that its issuer
//! signed is refused, whatever other lists lie beside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::oid_registry::{OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_ISSUER_DISTRIBUTION_POINT};

use crate::tls::provider;
use crate::x509;

type List = CertificateRevocationListDer<'static>;

/// Of the lists of one issuer, key and distribution point the newest: by its number (RFC 5280 §5.2.3), then by its date.
///
/// What cannot be read is kept, for whoever refuses it.
pub(crate) fn newest(lists: Vec<List>) -> Vec<List> {
    let mut newest: BTreeMap<_, (_, List)> = BTreeMap::new();
    let mut unread = Vec::new();
    for list in lists {
        let key_and_age = x509_parser::parse_x509_crl(&list).ok().map(|(_, parsed)| {
            let extension = |oid| {
                let mut all = parsed.extensions().iter();
                all.find(|extension| extension.oid == oid).map(|extension| extension.value.to_vec())
            };
            let issuer = parsed.issuer().as_raw().to_vec();
            let by_key = extension(OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER);
            let point = extension(OID_X509_EXT_ISSUER_DISTRIBUTION_POINT);
            let age = (parsed.crl_number().cloned(), x509::time(parsed.last_update()));
            ((issuer, by_key, point), age)
        });
        let Some((key, age)) = key_and_age else {
            unread.push(list);
            continue;
        };
        match newest.get(&key) {
            Some((known, _)) if *known >= age => {}
            _ => drop(newest.insert(key, (age, list))),
        }
    }
    newest.into_values().map(|(_, list)| list).chain(unread).collect()
}

/// Whether one of `issuers` has the list's issuer for its name, but none of those made the signature.
///
/// Of a list whose issuer is not among them nothing is known yet: it may be an issuing CA that peers send along.
pub(crate) fn is_forged(list: &List, issuers: &[CertificateDer<'_>]) -> bool {
    let Ok((_, list)) = x509_parser::parse_x509_crl(list) else { return false };
    let parsed = issuers.iter().filter_map(|issuer| x509::parse(issuer).ok());
    let mut named = parsed.filter(|issuer| issuer.subject().as_raw() == list.issuer().as_raw()).peekable();
    let (told, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
    named.peek().is_some()
        && !named.any(|issuer| is_signed(&issuer.public_key().subject_public_key.data, told, signature))
}

/// Whether `issuer` has the list's issuer for its name, and its key made the signature.
pub(crate) fn is_by(list: &List, issuer: &CertificateDer<'_>) -> bool {
    let (Ok((_, list)), Ok(issuer)) = (x509_parser::parse_x509_crl(list), x509::parse(issuer)) else { return false };
    let (told, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
    issuer.subject().as_raw() == list.issuer().as_raw()
        && is_signed(&issuer.public_key().subject_public_key.data, told, signature)
}

/// Whether the key made the signature, in any way that is accepted in a handshake.
pub(crate) fn is_signed(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let algorithms = provider().signature_verification_algorithms.all;
    algorithms.iter().any(|algorithm| algorithm.verify_signature(key, message, signature).is_ok())
}

/// A chain's verifiers: all of one listener or client, over the same roots.
pub(crate) struct Layered<V: ?Sized> {
    /// Without any list.
    plain: Arc<V>,
    /// At least one. In none are two lists of one issuer's name.
    layers: Vec<Layer<V>>,
}

struct Layer<V: ?Sized> {
    together: Arc<V>,
    /// For when a list is in the way.
    each: Vec<(Arc<V>, AtomicBool)>,
}

impl<V: ?Sized> Layered<V> {
    /// Makes the verifiers by `build`, which is given lists that are to be asked together.
    pub(crate) fn new<E>(lists: &[List], build: impl Fn(Vec<List>) -> Result<Arc<V>, E>) -> Result<Self, E> {
        let mut layers: Vec<(Vec<Vec<u8>>, Vec<List>)> = vec![Default::default()];
        for list in lists {
            let issuer = x509_parser::parse_x509_crl(list).map(|(_, list)| list.issuer().as_raw().to_vec());
            let issuer = issuer.unwrap_or_default();
            let layer = match layers.iter().position(|(issuers, _)| !issuers.contains(&issuer)) {
                Some(free) => free,
                None => {
                    layers.push(Default::default());
                    layers.len() - 1
                }
            };
            layers[layer].0.push(issuer);
            layers[layer].1.push(list.clone());
        }
        let layer = |(_, lists): (_, Vec<List>)| {
            let each = lists.iter().map(|list| Ok((build(vec![list.clone()])?, AtomicBool::new(false))));
            Ok(Layer { each: each.collect::<Result<_, E>>()?, together: build(lists)? })
        };
        Ok(Self { plain: build(Vec::new())?, layers: layers.into_iter().map(layer).collect::<Result<_, E>>()? })
    }

    /// One of the verifiers, for what has nothing to do with lists.
    pub(crate) fn any(&self) -> &V {
        &self.plain
    }

    /// Asks until one refuses.
    pub(crate) fn ask<T>(&self, ask: impl Fn(&V) -> Result<T, rustls::Error>) -> Result<T, rustls::Error> {
        let mut accepted = None;
        for layer in &self.layers {
            accepted = Some(match ask(&layer.together) {
                Err(rustls::Error::InvalidCertRevocationList(_)) => self.one_by_one(layer, &ask)?,
                other => other?,
            });
        }
        Ok(accepted.expect("there is a layer"))
    }

    /// A list in this layer is not one of the chain's issuers, whatever it says. That one is set aside, no other.
    fn one_by_one<T>(
        &self,
        layer: &Layer<V>,
        ask: &impl Fn(&V) -> Result<T, rustls::Error>,
    ) -> Result<T, rustls::Error> {
        let accepted = ask(&self.plain)?;
        for (verifier, set_aside) in &layer.each {
            match ask(verifier) {
                Err(rustls::Error::InvalidCertRevocationList(_)) => set_aside.store(true, Ordering::Relaxed),
                other => drop(other?),
            }
        }
        Ok(accepted)
    }

    /// Whether a list was set aside so far, because it did not come from the issuer of a chain. To be told to an operator.
    pub(crate) fn set_aside(&self) -> bool {
        self.layers.iter().flat_map(|layer| &layer.each).any(|(_, aside)| aside.load(Ordering::Relaxed))
    }
}
