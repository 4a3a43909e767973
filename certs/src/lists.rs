//! Which revocation lists count, and how a chain is asked of them.
//!
//! The TLS library looks at the first list of an issuer's name only, and refuses the chain when that one is not signed by
//! the issuer. So lists of one name are asked apart, the newest first, until one is the issuer's; one that is not is set
//! aside, by itself. What a list says of itself, its number and whose key it is by, decides nothing before its signature
//! does. Invariant: whom the newest list of those that its issuer signed names is refused, whatever lists lie beside it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::num_bigint::BigUint;
use x509_parser::oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT;

use crate::tls::provider;
use crate::x509;

type List = CertificateRevocationListDer<'static>;

/// Of the lists that one of `issuers` signed the newest for each distribution point. All others as they are, each once.
pub(crate) fn newest(lists: Vec<List>, issuers: &[CertificateDer<'_>]) -> Vec<List> {
    let mut newest: BTreeMap<_, (Age, List)> = BTreeMap::new();
    let mut others: Vec<List> = Vec::new();
    for list in lists {
        let signer = issuers.iter().position(|issuer| is_by(&list, issuer));
        let (Some(signer), Some(Read { point, age, .. })) = (signer, Read::of(&list)) else {
            if !others.contains(&list) {
                others.push(list);
            }
            continue;
        };
        match newest.get(&(signer, point.clone())) {
            Some((known, _)) if *known >= age => {}
            _ => drop(newest.insert((signer, point), (age, list))),
        }
    }
    newest.into_values().map(|(_, list)| list).chain(others).collect()
}

/// By its number (RFC 5280 §5.2.3), then by its date.
type Age = (Option<BigUint>, SystemTime);

/// What a list says of itself.
struct Read {
    issuer: Vec<u8>,
    /// The same in words.
    issuer_name: String,
    /// The distribution point that it is limited to, if it is.
    point: Option<Vec<u8>>,
    age: Age,
}

impl Read {
    /// `None` for what cannot be read; whoever loads it refuses it.
    fn of(list: &List) -> Option<Self> {
        let (_, list) = x509_parser::parse_x509_crl(list).ok()?;
        let mut all = list.extensions().iter();
        let point = all.find(|extension| extension.oid == OID_X509_EXT_ISSUER_DISTRIBUTION_POINT);
        Some(Self {
            issuer: list.issuer().as_raw().to_vec(),
            issuer_name: list.issuer().to_string(),
            point: point.map(|extension| extension.value.to_vec()),
            age: (list.crl_number().cloned(), x509::time(list.last_update())),
        })
    }
}

/// Whom a list names as its issuer, in words.
pub(crate) fn issuer_name(list: &List) -> String {
    Read::of(list).map(|read| read.issuer_name).unwrap_or_default()
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
    /// With the lists whose issuers' names are theirs alone.
    together: Arc<V>,
    /// Each of these by itself, for when one is in the way.
    each: Vec<One<V>>,
    /// The lists of one name and distribution point, where there are several: the newest first.
    rivals: Vec<Vec<One<V>>>,
}

/// One list.
struct One<V: ?Sized> {
    verifier: Arc<V>,
    issuer: String,
    /// Why it did not count for a chain that it should have counted for.
    aside: OnceLock<rustls::CertRevocationListError>,
}

impl<V: ?Sized> Layered<V> {
    /// Makes the verifiers by `build`, which is given lists that are to be asked together.
    pub(crate) fn new<E>(lists: &[List], build: impl Fn(Vec<List>) -> Result<Arc<V>, E>) -> Result<Self, E> {
        let one = |list: &List| {
            let (verifier, issuer) = (build(vec![list.clone()])?, issuer_name(list));
            Ok(One { verifier, issuer, aside: OnceLock::new() })
        };
        let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for list in lists {
            let read = Read::of(list);
            let (issuer, rest) = read.map(|read| (read.issuer, (read.point, read.age))).unzip();
            named.entry(issuer).or_default().push((rest, list));
        }
        let (mut alone, mut each, mut rivals) = (Vec::new(), Vec::new(), Vec::new());
        for (_, of_name) in named {
            if let [(_, list)] = of_name[..] {
                each.push(one(list)?);
                alone.push(list.clone());
                continue;
            }
            let mut of_points: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for (rest, list) in of_name {
                let (point, age) = rest.unzip();
                of_points.entry(point).or_default().push((age, list));
            }
            for mut of_point in of_points.into_values() {
                of_point.sort_by(|(a, _), (b, _)| b.cmp(a));
                rivals.push(of_point.into_iter().map(|(_, list)| one(list)).collect::<Result<_, E>>()?);
            }
        }
        Ok(Self { plain: build(Vec::new())?, together: build(alone)?, each, rivals })
    }

    /// One of the verifiers, for what has nothing to do with lists.
    pub(crate) fn any(&self) -> &V {
        &self.plain
    }

    /// Asks until one refuses.
    pub(crate) fn ask<T>(&self, ask: impl Fn(&V) -> Result<T, rustls::Error>) -> Result<T, rustls::Error> {
        let accepted = match ask(&self.together) {
            Err(error) if by_another_key(&error).is_some() => {
                let accepted = ask(&self.plain)?;
                for one in &self.each {
                    one.counts(&ask)?;
                }
                accepted
            }
            other => other?,
        };
        for rivals in &self.rivals {
            for one in rivals {
                // The newest of the issuer's own, or none of them is about this chain.
                if one.counts(&ask)? {
                    break;
                }
            }
        }
        Ok(accepted)
    }

    /// The issuers of lists that were set aside so far, because they are not by the CA of that name of a chain that came, and
    /// why. To be told to an operator.
    pub(crate) fn set_aside(&self) -> impl Iterator<Item = (&str, &rustls::CertRevocationListError)> {
        let all = self.each.iter().chain(self.rivals.iter().flatten());
        all.filter_map(|one| Some((one.issuer.as_str(), one.aside.get()?)))
    }
}

impl<V: ?Sized> One<V> {
    /// Whether this list is not in the way of the chain, and does not refuse it.
    fn counts<T>(&self, ask: &impl Fn(&V) -> Result<T, rustls::Error>) -> Result<bool, rustls::Error> {
        let Err(error) = ask(&self.verifier) else { return Ok(true) };
        let Some(why) = by_another_key(&error) else { return Err(error) };
        let _ = self.aside.set(why.clone());
        Ok(false)
    }
}

/// Why a list is not one by the key of the issuer at hand; `None` for every other error.
///
/// A list with the issuer's signature that cannot be used all the same, because that CA's certificate does not let it sign lists
/// or an entry is damaged, is the issuer's: whom it names is not known, and so nobody of that CA is let in.
fn by_another_key(error: &rustls::Error) -> Option<&rustls::CertRevocationListError> {
    use rustls::CertRevocationListError as Why;
    let rustls::Error::InvalidCertRevocationList(why) = error else { return None };
    // By the name of an algorithm that the issuer's key is not of, or that nobody here knows, nothing is signed.
    let is_other = match why {
        Why::BadSignature
        | Why::UnsupportedSignatureAlgorithmContext { .. }
        | Why::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => true,
        #[expect(deprecated, reason = "as long as it can come")]
        Why::UnsupportedSignatureAlgorithm => true,
        _ => false,
    };
    is_other.then_some(why)
}
