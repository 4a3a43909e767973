//! `[tls]` and `[[tls.trust]]`: what the gateway shows, and whose certificates it accepts for which systems.
//!
//! `tls.client_bundle` is the short form of one bundle that vouches for every system of the bus's own trust domain.

use std::path::{Path, PathBuf};

use lgsp_certs::TrustDomain;
use lgsp_certs::trust::SystemPattern;
use serde::Deserialize;

use super::raw::{Expected, Section};
use super::{Wrong, path, trust_domain};

/// The name of the bundle of the short form; no other can have it.
const SHORT_FORM: &str = "client_bundle";

/// The gateway's certificate, and whose certificates it accepts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    /// Its own certificate, followed by its intermediates; PEM.
    pub certificate: PathBuf,
    /// The certificate's private key; PEM.
    pub key: PathBuf,
    /// Who may vouch for whom; never empty.
    pub trust: Vec<TrustFiles>,
    /// The folder of the issuing CA, if there is one: every `*.crl` in it counts for the bundles that have its root.
    pub ca: Option<PathBuf>,
    /// The folder in which the lists of our own CAs are kept when their folders go; `None` where nothing outlives the process.
    pub kept: Option<PathBuf>,
}

/// A trust bundle: root certificates, and what certificates under them may say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustFiles {
    /// What it is called in messages; each has a name of its own.
    pub name: String,
    /// The root certificates; PEM.
    pub bundle: PathBuf,
    /// Revocation lists of its CAs (RFC 5280 §5), PEM or DER.
    pub crls: Vec<PathBuf>,
    /// The trust domain it vouches for.
    pub trust_domain: TrustDomain,
    /// The systems it vouches for in that domain.
    pub systems: Vec<SystemPattern>,
}

/// The section as it was read: the bus's own name, which is the default trust domain, is known later.
pub(super) struct Read {
    certificate: PathBuf,
    key: PathBuf,
    trust: Vec<ReadTrust>,
}

struct ReadTrust {
    name: String,
    bundle: PathBuf,
    crls: Vec<PathBuf>,
    trust_domain: Option<TrustDomain>,
    systems: Vec<SystemPattern>,
}

/// One text or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Expected for OneOrMore {
    const EXPECTED: &'static str = "a text in quotes, or several in brackets";
}

impl Expected for Vec<String> {
    const EXPECTED: &'static str = "texts in quotes, in brackets";
}

pub(super) fn read(section: &mut Section<'_>, base: &Path) -> Option<Read> {
    let mut file = |key, what| section.required(key, what, |file: String| path(base, file));
    let certificate = file("certificate", "a PEM file with the gateway's certificate; `lgsp certs` makes one");
    let key = file("key", "a PEM file with the certificate's private key");
    let short = section.optional("client_bundle", |file: String| path(base, file));
    let named = section.each("trust", |section| trust(section, base));
    let mut trust = Vec::new();
    if let Some(bundle) = short? {
        trust.push(ReadTrust {
            name: SHORT_FORM.to_owned(),
            bundle,
            crls: Vec::new(),
            trust_domain: None,
            systems: vec![all_systems()],
        });
    }
    for (number, named) in named?.into_iter().enumerate() {
        if trust.iter().any(|other| other.name == named.name) {
            let key = format!("trust[{}].name", number + 1);
            section.problem(&key, "is the name of another bundle", "give each a name of its own");
            return None;
        }
        trust.push(named);
    }
    if trust.is_empty() {
        let remedy = "set it: a PEM file with the root certificates that clients must chain to, or write [[tls.trust]]";
        section.problem("client_bundle", "is missing", remedy);
        return None;
    }
    Some(Read { certificate: certificate?, key: key?, trust })
}

fn trust(section: &mut Section<'_>, base: &Path) -> Option<ReadTrust> {
    let name = section.required("name", "what messages call this bundle, e.g. \"ca-chinh-phu\"", word);
    let what = "a PEM file with the root certificates of this bundle";
    let bundle = section.required("bundle", what, |file: String| path(base, file));
    let crls = section.or_default("crl", Vec::new, |files: OneOrMore| {
        let files = match files {
            OneOrMore::One(file) => vec![file],
            OneOrMore::More(files) => files,
        };
        files.into_iter().map(|file| path(base, file)).collect()
    });
    let trust_domain = section.optional("trust_domain", trust_domain);
    // Without a default: whoever forgot it would have let another CA speak for every system, operators too.
    let what = "the systems it may speak for, e.g. [\"so-y-te-*\"]; write [\"*\"] for all";
    let systems = section.required("systems", what, systems);
    Some(ReadTrust { name: name?, bundle: bundle?, crls: crls?, trust_domain: trust_domain?, systems: systems? })
}

fn word(name: String) -> Result<String, Wrong> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=63).contains(&name.len()) && name.chars().all(fits) {
        Ok(name)
    } else {
        Err(("is no short name", "use at most 63 of a-z, 0-9 and -"))
    }
}

fn systems(patterns: Vec<String>) -> Result<Vec<SystemPattern>, Wrong> {
    if patterns.is_empty() {
        return Err(("names no system", "name systems, or write [\"*\"]"));
    }
    let parsed: Result<_, _> = patterns.iter().map(|pattern| pattern.parse()).collect();
    parsed.map_err(|_| ("has what is no system", "write \"*\", a name, or the beginning of names like \"so-y-te-*\""))
}

fn all_systems() -> SystemPattern {
    "*".parse().expect("a pattern")
}

impl Read {
    /// Fills in what follows from the bus's own name.
    pub(super) fn of_bus(self, ours: &TrustDomain, ca: Option<PathBuf>, kept: PathBuf) -> Tls {
        let Self { certificate, key, trust } = self;
        let filled = |ReadTrust { name, bundle, crls, trust_domain, systems }| TrustFiles {
            name,
            bundle,
            crls,
            trust_domain: trust_domain.unwrap_or_else(|| ours.clone()),
            systems,
        };
        Tls { certificate, key, trust: trust.into_iter().map(filled).collect(), ca, kept: Some(kept) }
    }
}

impl Tls {
    /// The entries of `[tls]`, and of each `[[tls.trust]]` behind it.
    #[expect(clippy::type_complexity, reason = "keys and values of a section, and of several")]
    pub(super) fn written(&self) -> (Vec<(&'static str, toml::Value)>, Vec<Vec<(&'static str, toml::Value)>>) {
        let text = |path: &Path| toml::Value::from(path.display().to_string());
        let mut own = vec![("certificate", text(&self.certificate)), ("key", text(&self.key))];
        let mut bundles = Vec::new();
        for TrustFiles { name, bundle, crls, trust_domain, systems } in &self.trust {
            if name == SHORT_FORM {
                own.push(("client_bundle", text(bundle)));
                continue;
            }
            let systems: Vec<_> = systems.iter().map(ToString::to_string).collect();
            let mut entries = vec![("name", name.clone().into()), ("bundle", text(bundle))];
            if !crls.is_empty() {
                entries.push(("crl", crls.iter().map(|crl| text(crl)).collect::<Vec<_>>().into()));
            }
            entries.extend([("trust_domain", trust_domain.to_string().into()), ("systems", systems.into())]);
            bundles.push(entries);
        }
        (own, bundles)
    }
}
