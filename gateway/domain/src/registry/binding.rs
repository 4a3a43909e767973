//! Which certificates mean a system although they do not name it: those of an agency's own CA.
//!
//! A certificate of this bus names its system itself (`spiffe://<trust domain>/system/<name>`) and is never bound here. Whether
//! a CA may vouch for a system at all is not decided here; a binding only says who is meant. It means one system, for ever
//! the same one while the registry is in force.

use std::collections::BTreeMap;
use std::fmt;

use super::load::Declared;
use super::party::System;
use super::problem::{Fault, ProblemKind};
use super::source::{Entry, FromText, Placed, Problems};

/// A certificate without a SPIFFE id, known by who issued it and by its key: a renewed one with the same key is the same.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct CertificateBinding {
    /// The issuer's name as `lgsp certs show` prints it, e.g. `CN=Sở TTTT CA, C=VN`.
    pub issuer: String,
    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER).
    pub key_sha256: KeyDigest,
}

/// SHA-256 of a public key; prints as 64 lower-case hex digits.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyDigest(pub [u8; 32]);

impl CertificateBinding {
    pub(super) fn read(entry: &Entry<'_>) -> Option<Self> {
        let issuer = entry.text("issuer");
        let key_sha256 = entry.value("key_sha256");
        Some(Self { issuer: issuer?, key_sha256: key_sha256? })
    }
}

impl fmt::Display for CertificateBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.issuer, self.key_sha256)
    }
}

impl FromText for KeyDigest {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(
                format!("\"{text}\" không phải SHA-256 của khoá: 64 chữ số thập lục phân"),
                format!("\"{text}\" is no SHA-256 of a key: 64 hex digits"),
            )
        };
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(fault());
        }
        let mut digest = [0; 32];
        for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| fault())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| fault())?;
        }
        Ok(Self(digest))
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({self})")
    }
}

/// A SPIFFE id that some other authority gives out, e.g. `spiffe://so-nganh.example/ns/mot-cua/sa/adapter` (SPIFFE-ID §2).
///
/// Compared byte by byte, so only one spelling is accepted. Ids with the path `/system/<name>` are refused: those name a
/// system by themselves, and must not mean another one.
pub(super) struct ForeignId(pub(super) String);

impl FromText for ForeignId {
    fn from_text(text: &str) -> Result<Self, Fault> {
        /// SPIFFE-ID §2.3: an id has at most 2048 bytes.
        const LIMIT: usize = 2048;
        let malformed = || {
            Fault::new(
                format!("\"{text}\" không phải SPIFFE ID, ví dụ spiffe://mien.example/ns/x"),
                format!("\"{text}\" is no SPIFFE id, e.g. spiffe://domain.example/ns/x"),
            )
        };
        let (domain, path) =
            text.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).ok_or_else(malformed)?;
        let of_domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
        let of_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_segment = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(of_path);
        let is_domain = (1..=255).contains(&domain.len()) && domain.chars().all(of_domain);
        if text.len() > LIMIT || !is_domain || !path.split('/').all(is_segment) {
            return Err(malformed());
        }
        if path == "system" || path.starts_with("system/") {
            return Err(Fault::new(
                format!("\"{text}\" tự nêu tên hệ thống; chỉ khai ở đây các ID có đường dẫn khác /system/"),
                format!("\"{text}\" names a system by itself; only ids with another path than /system/ are bound here"),
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What each binding means, by what is bound.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings {
    ids: BTreeMap<String, String>,
    certificates: BTreeMap<CertificateBinding, String>,
}

impl Bindings {
    pub(super) fn of<'a>(systems: impl Iterator<Item = &'a System>) -> Self {
        let mut bindings = Self::default();
        for system in systems {
            bindings.ids.extend(system.spiffe_ids.iter().map(|id| (id.clone(), system.name.clone())));
            bindings.certificates.extend(system.certificates.iter().map(|one| (one.clone(), system.name.clone())));
        }
        bindings
    }

    pub(super) fn system_of_id(&self, id: &str) -> Option<&str> {
        self.ids.get(id).map(String::as_str)
    }

    pub(super) fn system_of_certificate(&self, binding: &CertificateBinding) -> Option<&str> {
        self.certificates.get(binding).map(String::as_str)
    }
}

/// No id is bound twice, and no key to two systems, whoever issued certificates for it: a key is of one system, and is
/// revoked as one.
pub(super) fn check(systems: &Declared<System>, problems: &Problems) {
    let (mut ids, mut keys) = (BTreeMap::new(), BTreeMap::new());
    let duplicate = |entry: &Placed<System>, key: &str, what: &dyn fmt::Display, at: u32| {
        let fault = Fault::new(
            format!("\"{what}\" đã được gắn với một hệ thống ở dòng {at}"),
            format!("\"{what}\" is already bound to a system on line {at}"),
        );
        problems.add(entry.place.problem(key, ProblemKind::Duplicate, fault));
    };
    for entry in &systems.entries {
        for id in &entry.value.spiffe_ids {
            if let Some(at) = ids.insert(id, entry.place.line()) {
                duplicate(entry, "spiffe_ids", id, at);
            }
        }
        let mut own: Vec<&CertificateBinding> = Vec::new();
        for binding in &entry.value.certificates {
            let elsewhere = keys.get(&binding.key_sha256).copied();
            let here = own.contains(&binding).then(|| entry.place.line());
            if let Some(at) = elsewhere.or(here) {
                duplicate(entry, "certificates", &binding.key_sha256, at);
            }
            own.push(binding);
        }
        keys.extend(own.iter().map(|binding| (binding.key_sha256, entry.place.line())));
    }
}
