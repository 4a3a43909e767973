//! What every run finds in place: certificates, the registry of Hue, and who plays which part in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use jiff::civil::{Date, date};
use lgsp_adapters::link::{Address, Link, Timings};
use lgsp_certs::{CertificateAuthority, TlsFiles, server_name};
use lgsp_domain::registry::{PartyKind, Registry};
use tempfile::TempDir;

/// The registry that the gateway gets.
const REGISTRY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/registry/hue");

/// Where files go: on the disk of the build, for a temporary folder may be memory, where a sync costs nothing.
const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");

/// The day on which the business clock stands.
const DAY: Date = date(2025, 7, 14);

/// The system that hands in, for the portal; the portal gets no copy of what it handed in itself.
pub(crate) const SENDER: &str = "cong-dich-vu";

/// The system that decides, for many communes.
pub(crate) const AUTHORITY: &str = "mot-cua-hue";

/// The connector to the national population database.
pub(crate) const POPULATION: &str = "dan-cu";

/// The connector to the national procedure database.
pub(crate) const PROCEDURES: &str = "ket-noi-thu-tuc";

/// The operator's system, which keeps the catalogue in step.
pub(crate) const OPERATOR: &str = "van-hanh";

/// Longer than the longest benchmark.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// The folder of one benchmark, removed in the end.
pub(crate) struct World {
    folder: TempDir,
    /// The communes of [`AUTHORITY`], each with the code of its locality. There are thirty of them because a commune has
    /// 99,999 numbers a day, and one run uses more.
    pub(crate) communes: Vec<(String, String)>,
}

impl World {
    /// Makes the certificates and reads the registry.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(SCRATCH).context(SCRATCH)?;
        let now = SystemTime::now();
        let ca = CertificateAuthority::create(&folder.path().join("ca"), &"lgsp.hue.test".parse()?, now)?;
        let pki = folder.path().join("pki");
        ca.issue_server(&[server_name("127.0.0.1")?], VALIDITY, now)?.write_to(&pki, "gateway")?;
        for system in [SENDER, AUTHORITY, POPULATION, PROCEDURES, OPERATOR] {
            ca.issue_system(&system.parse()?, VALIDITY, now)?.write_to(&pki, system)?;
        }
        lay_registry(&folder.path().join("registry"))?;
        Ok(Self { communes: communes(&registry()?)?, folder })
    }

    /// Where everything is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration of a server that keeps its data in `data`: the same for the gateway and for the limit.
    pub(crate) fn configuration(&self, data: &Path, limits: &str) -> String {
        let file = |name: &str| self.folder().join(name);
        let (certificate, key, bundle) = (file("pki/gateway.pem"), file("pki/gateway.key"), file("ca/root.pem"));
        format!(
            "name = \"lgsp.hue.test\"\n\
             [listen]\nbus = \"127.0.0.1:0\"\nlocal = \"127.0.0.1:0\"\n\
             [tls]\ncertificate = {certificate:?}\nkey = {key:?}\nclient_bundle = {bundle:?}\n\
             [store]\ndir = {:?}\nnode_key = {:?}\n\
             [documents]\ndir = {:?}\n\
             [business_clock]\nkind = \"replay\"\nstart = \"{DAY}T09:00:00+07:00\"\n\
             [registry]\nfirst = {:?}\n\
             [limits]\n{limits}",
            data.join("data"),
            data.join("node.key"),
            data.join("documents"),
            file("registry"),
        )
    }

    /// The files of `system`'s certificate.
    pub(crate) fn tls(&self, system: &str) -> TlsFiles {
        let file = |name: String| -> PathBuf { self.folder().join(name) };
        TlsFiles {
            certificate: file(format!("pki/{system}.pem")),
            key: file(format!("pki/{system}.key")),
            bundle: file("ca/root.pem".to_owned()),
        }
    }

    /// A connection of `system` to the server at `bus`, made at its first call.
    pub(crate) fn link(&self, system: &str, bus: &str) -> anyhow::Result<Link> {
        let gateway = format!("https://{bus}").parse()?;
        Ok(Link::new(&Address { gateway, server_name: None, tls: self.tls(system), timings: Timings::default() })?)
    }
}

/// The registry of Hue, but that the services may be asked as often as the machine can, and no answer is kept: neither their owners' limits
/// nor the gateway's memory are what is measured.
fn lay_registry(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(folder)?;
    for entry in std::fs::read_dir(REGISTRY).context(REGISTRY)? {
        let entry = entry?;
        let mut text = std::fs::read_to_string(entry.path())?;
        if entry.file_name() == "services.toml" {
            let lines = text.lines().filter(|line| !line.starts_with("cache_s"));
            let lines = lines.map(|line| if line.starts_with("concurrency") { "concurrency = 1000" } else { line });
            text = lines.collect::<Vec<_>>().join("\n");
        }
        std::fs::write(folder.join(entry.file_name()), text)?;
    }
    Ok(())
}

/// The registry of Hue.
///
/// # Errors
/// It has problems, or cannot be read.
pub(crate) fn registry() -> anyhow::Result<Registry> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(REGISTRY).context(REGISTRY)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".toml") || name.ends_with(".schema.json") {
            files.insert(name, std::fs::read(entry.path())?);
        }
    }
    Registry::parse(&files).map_err(|problems| anyhow::anyhow!("{REGISTRY} has problems: {problems:?}"))
}

fn communes(registry: &Registry) -> anyhow::Result<Vec<(String, String)>> {
    let system = registry.system(AUTHORITY, DAY).context("the authority's system is in the registry")?;
    let parties = registry.parties_of_system(system, DAY).filter_map(|id| registry.party(id));
    let communes = parties.filter(|party| party.kind == PartyKind::Commune);
    Ok(communes.filter_map(|party| Some((party.id.to_string(), party.unit.as_ref()?.to_string()))).collect())
}
