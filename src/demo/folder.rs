//! Everything the demo keeps on disk, in one folder that a person can look around in.
//!
//! ```text
//! ca/ pki/          the CA with its root; a certificate for the gateway and for each system
//! registry/         the registry of Hue
//! gateway.toml      with data/, documents/ and node.key
//! adapters/         a configuration and a spool for each system
//! national/         what the national systems and their adapters share, and catalogue/ as it was fetched
//! agencies/         each agency's share of the plan, and its books
//! desk.toml         a connection profile for the commands to try
//! operator.toml     one of the operator, who may let another system join
//! logs/             what every process had to say
//! ```

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::civil::DateTime;
use lgsp_domain::registry::{Registry, System};
use lgsp_proto::types::PartyId;
use tempfile::TempDir;

use super::scenario::Scenario;
use super::ticks::DAY;
use crate::failure::Failure;
use crate::staging::certificates::{self, GATEWAY, TRUST_DOMAIN};
use crate::staging::hue;

/// The system that may join the demo while it stays.
pub(super) const NEWCOMER: &str = "phan-mem-moi";

/// The demo's folder. A temporary one goes with it, unless it is kept.
pub(super) struct Folder {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl Folder {
    /// Makes the folder: at `wanted`, which must not hold anything yet, or a temporary one.
    ///
    /// # Errors
    /// It cannot be made, or is not empty.
    pub(super) fn make(wanted: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = wanted else {
            let temporary = tempfile::Builder::new().prefix("lgsp-demo-").tempdir()?;
            return Ok(Self { path: temporary.path().to_owned(), temporary: Some(temporary) });
        };
        std::fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        let path = path.canonicalize()?;
        if path.read_dir()?.next().is_some() {
            return Err(Failure::usage(format!("{} is not empty; name a new folder", path.display())));
        }
        Ok(Self { path, temporary: None })
    }

    /// Leaves the folder where it is when the demo ends.
    pub(super) fn keep(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            self.path = temporary.keep();
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(super) fn node_key(&self) -> PathBuf {
        self.path.join("node.key")
    }

    pub(super) fn gateway_config(&self) -> PathBuf {
        self.path.join("gateway.toml")
    }

    pub(super) fn adapter_config(&self, system: &str) -> PathBuf {
        self.path.join("adapters").join(format!("{system}.toml"))
    }

    pub(super) fn plan(&self, system: &str) -> PathBuf {
        self.path.join("agencies").join(format!("{system}.plan.json"))
    }

    pub(super) fn books(&self, system: &str) -> PathBuf {
        self.path.join("agencies").join(format!("{system}.books.jsonl"))
    }

    pub(super) fn profile(&self) -> PathBuf {
        self.path.join("desk.toml")
    }

    pub(super) fn operator_profile(&self) -> PathBuf {
        self.path.join("operator.toml")
    }

    /// Where the token for another system comes.
    pub(super) fn token(&self) -> PathBuf {
        self.path.join("token.txt")
    }

    /// The folder of another system's adapter.
    pub(super) fn newcomer(&self) -> PathBuf {
        self.path.join(NEWCOMER)
    }

    /// What a national system and its adapter share.
    pub(super) fn national(&self, which: &str) -> PathBuf {
        self.path.join("national").join(which)
    }

    /// The national catalogue, as it was fetched.
    pub(super) fn catalogue(&self) -> PathBuf {
        self.path.join("national").join("catalogue")
    }

    pub(super) fn registry(&self) -> PathBuf {
        self.path.join("registry")
    }

    fn pki(&self) -> PathBuf {
        self.path.join("pki")
    }

    /// Writes everything that is known before the first process starts.
    ///
    /// # Errors
    /// A file cannot be written, a certificate not be issued.
    pub(super) fn furnish(&self, registry: &Registry, scenario: &Scenario) -> anyhow::Result<()> {
        for folder in ["adapters", "agencies", "logs", "national", "registry"] {
            std::fs::create_dir(self.path.join(folder))?;
        }
        for (name, text) in hue::FILES {
            std::fs::write(self.registry().join(name), text)?;
        }
        for (system, share) in &scenario.shares {
            std::fs::write(self.plan(system), serde_json::to_vec(share)?)?;
        }
        let systems = registry.systems().map(|system| system.name.as_str());
        certificates::issue(&self.path.join("ca"), &self.pki(), systems)
    }

    /// The gateway's configuration, its business clock standing at `clock`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn configure_gateway(&self, clock: DateTime) -> anyhow::Result<()> {
        let text = format!(
            "name = \"{TRUST_DOMAIN}\"\n\n\
             [listen]\nbus = \"127.0.0.1:0\"\nlocal = \"127.0.0.1:0\"\nenrol = \"127.0.0.1:0\"\n\n\
             [tls]\ncertificate = \"pki/{GATEWAY}.pem\"\nkey = \"pki/{GATEWAY}.key\"\nclient_bundle = \"ca/root.pem\"\n\n\
             [ca]\ndir = \"ca\"\n\n\
             [store]\ndir = \"data\"\nnode_key = \"node.key\"\n\n\
             [documents]\ndir = \"documents\"\n\n\
             [business_clock]\nkind = \"replay\"\nstart = \"{clock}+07:00\"\n\n\
             [registry]\nfirst = \"registry\"\n"
        );
        Ok(std::fs::write(self.gateway_config(), text)?)
    }

    /// Writes a file that nobody but its owner may read.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write_private(&self, file: &Path, text: &str) -> anyhow::Result<()> {
        let mut options = OpenOptions::new();
        let opened = options.create(true).write(true).truncate(true).mode(0o600).open(file);
        let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
        written.with_context(|| file.display().to_string())
    }

    /// An adapter's configuration: for every party of its system, with what comes in posted to `webhook`, if there is one, and `more`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn configure_adapter(
        &self,
        system: &System,
        registry: &Registry,
        gateway: &str,
        webhook: Option<&str>,
        more: &str,
    ) -> anyhow::Result<()> {
        let name = &system.name;
        let parties = registry.parties_of_system(system, DAY).map(|party| format!("\"{party}\"")).collect::<Vec<_>>();
        let mut text = String::new();
        write!(
            text,
            "gateway = \"https://{gateway}\"\nparties = [{}]\n\n\
             [tls]\ncertificate = \"../pki/{name}.pem\"\nkey = \"../pki/{name}.key\"\nbundle = \"../ca/root.pem\"\n\n\
             [spool]\nfolder = \"{name}\"\n\n\
             [rest]\nlisten = \"127.0.0.1:0\"\ntoken = \"none\"\n\n{more}",
            parties.join(", ")
        )?;
        if let Some(webhook) = webhook {
            write!(text, "\n[webhook]\nurl = \"http://{webhook}/\"\n")?;
        }
        Ok(std::fs::write(self.adapter_config(name), text)?)
    }

    /// A profile to act for `party` through `system`, in `file`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn configure_profile(
        &self,
        file: &Path,
        gateway: &str,
        system: &str,
        party: &PartyId,
    ) -> anyhow::Result<()> {
        let text = format!(
            "gateway = \"https://{gateway}\"\ncertificate = \"pki/{system}.pem\"\nkey = \"pki/{system}.key\"\n\
             bundle = \"ca/root.pem\"\nparty = \"{party}\"\nactor = \"cb01.{party}\"\n"
        );
        Ok(std::fs::write(file, text)?)
    }
}
