//! Everything the sandbox keeps on disk, in one folder that a person can look around in, and start again from.
//!
//! ```text
//! chronicle.jsonl   every event of every dossier, with the scenario it runs under; marks the folder as a sandbox's
//! ca/ pki/          the CA with its root; a certificate for the gateway and for each system
//! registry/         the registry of Hue with the systems of the sandbox
//! gateway.toml      with data/, documents/ and node.key
//! adapter.toml      the developer's adapter, with adapter/ as its spool and the secret of its webhook in it
//! simulated.toml    the adapter of everybody who is simulated, with simulated/
//! desk.toml         a connection profile for commands in the developer's name, and operator.toml one of the operator
//! logs/             what every process had to say
//! ```

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lgsp_proto::types::PartyId;
use tempfile::TempDir;

use super::place::{self, DEVELOPER, NEIGHBOUR, OPERATOR, SIMULATED, SYSTEM};
use crate::failure::Failure;
use crate::staging::certificates::{self, GATEWAY, TRUST_DOMAIN};

/// Further ahead than any extension, in seconds: what the gateway lets pass once a dossier is to be late. Until then it is as
/// strict as any other.
const FAR_AHEAD_SECONDS: u32 = 400 * 24 * 3600;

/// By which a folder is known to be a sandbox's.
const CHRONICLE: &str = "chronicle.jsonl";

/// The sandbox's folder, nobody else's as long as this lives. A temporary one goes with it.
pub(super) struct Folder {
    path: PathBuf,
    /// Locked, so that no other sandbox takes the same folder.
    _chronicle: File,
    temporary: Option<TempDir>,
}

impl Folder {
    /// Makes the folder, or takes one of an earlier sandbox: at `wanted`, or a temporary one.
    ///
    /// # Errors
    /// It cannot be made, or holds something else.
    pub(super) fn open(wanted: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = wanted else {
            let temporary = tempfile::Builder::new().prefix("lgsp-sandbox-").tempdir()?;
            return Self::take(temporary.path().to_owned(), Some(temporary));
        };
        std::fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        let path = path.canonicalize()?;
        if !path.join(CHRONICLE).exists() && path.read_dir()?.next().is_some() {
            let path = path.display();
            return Err(Failure::usage_in(
                format!("{path} có sẵn thứ khác; hãy nêu một thư mục mới, hoặc thư mục của một sandbox trước"),
                format!("{path} holds something else; name a new folder, or that of an earlier sandbox"),
            ));
        }
        Self::take(path, None)
    }

    fn take(path: PathBuf, temporary: Option<TempDir>) -> anyhow::Result<Self> {
        let chronicle = File::options().create(true).append(true).open(path.join(CHRONICLE))?;
        if let Err(TryLockError::WouldBlock) = chronicle.try_lock() {
            let path = path.display();
            return Err(Failure::usage_in(
                format!("Một sandbox khác đang chạy với {path}; dừng nó, hoặc nêu thư mục khác"),
                format!("another sandbox runs with {path}; stop it, or name another folder"),
            ));
        }
        Ok(Self { path, _chronicle: chronicle, temporary })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it goes with the sandbox.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    pub(super) fn chronicle(&self) -> PathBuf {
        self.path.join(CHRONICLE)
    }

    pub(super) fn gateway_config(&self) -> PathBuf {
        self.path.join("gateway.toml")
    }

    pub(super) fn adapter_config(&self) -> PathBuf {
        self.path.join("adapter.toml")
    }

    pub(super) fn simulated_config(&self) -> PathBuf {
        self.path.join("simulated.toml")
    }

    pub(super) fn profile(&self) -> PathBuf {
        self.path.join("desk.toml")
    }

    pub(super) fn operator_profile(&self) -> PathBuf {
        self.path.join("operator.toml")
    }

    /// By which the developer's system checks the signatures of webhooks.
    pub(super) fn webhook_secret(&self) -> PathBuf {
        self.path.join("adapter").join("webhook.secret")
    }

    /// Writes what is known before the first process starts. Certificates are new at every start; the CA stays.
    ///
    /// # Errors
    /// A file cannot be written, a certificate not be issued.
    pub(super) fn furnish(&self, registry: &BTreeMap<String, String>) -> anyhow::Result<()> {
        for folder in ["logs", "registry"] {
            std::fs::create_dir_all(self.path.join(folder))?;
        }
        for (name, text) in registry {
            std::fs::write(self.path.join("registry").join(name), text)?;
        }
        let pki = self.path.join("pki");
        if pki.exists() {
            std::fs::remove_dir_all(&pki)?;
        }
        certificates::issue(&self.path.join("ca"), &pki, place::SYSTEMS)?;
        Ok(())
    }

    /// The gateway's configuration.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn configure_gateway(&self, far_ahead: bool) -> anyhow::Result<()> {
        let ahead =
            if far_ahead { format!("\n[limits]\nbusiness_ahead_s = {FAR_AHEAD_SECONDS}\n") } else { String::new() };
        let text = format!(
            "name = \"{TRUST_DOMAIN}\"\n\n\
             [listen]\nbus = \"127.0.0.1:0\"\nlocal = \"127.0.0.1:0\"\n\n\
             [tls]\ncertificate = \"pki/{GATEWAY}.pem\"\nkey = \"pki/{GATEWAY}.key\"\nclient_bundle = \"ca/root.pem\"\n\n\
             [store]\ndir = \"data\"\nnode_key = \"node.key\"\nmin_free_bytes = 0\n\n\
             [documents]\ndir = \"documents\"\n\n\
             [registry]\nfirst = \"registry\"\n{ahead}"
        );
        Ok(std::fs::write(self.gateway_config(), text)?)
    }

    /// The developer's adapter, its REST API on `port`; what comes in is posted to `webhook`, or waits in the inbox.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn configure_adapter(
        &self,
        gateway: SocketAddr,
        port: u16,
        webhook: Option<&str>,
    ) -> anyhow::Result<()> {
        let webhook = webhook.map(|url| format!("\n[webhook]\nurl = \"{url}\"\n")).unwrap_or_default();
        let text = format!(
            "{}\n[offline]\nauthorities = [\"{NEIGHBOUR}\"]\n{webhook}",
            adapter(gateway, SYSTEM, &place::quoted([DEVELOPER]), "adapter", port)
        );
        Ok(std::fs::write(self.adapter_config(), text)?)
    }

    /// The adapter of everybody who is simulated.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn configure_simulated(
        &self,
        gateway: SocketAddr,
        parties: &[PartyId],
        webhook: &str,
    ) -> anyhow::Result<()> {
        let parties = place::quoted(parties.iter().map(PartyId::as_str));
        let text = format!(
            "{}\n[offline]\nenabled = false\n\n[webhook]\nurl = \"{webhook}\"\n",
            adapter(gateway, SIMULATED, &parties, "simulated", 0)
        );
        Ok(std::fs::write(self.simulated_config(), text)?)
    }

    /// The profiles of the developer's party and of the operator.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn configure_profiles(&self, gateway: SocketAddr) -> anyhow::Result<()> {
        for (file, system, party) in
            [(self.profile(), SYSTEM, DEVELOPER), (self.operator_profile(), OPERATOR, place::THE_OPERATOR)]
        {
            let text = format!(
                "gateway = \"https://{gateway}\"\ncertificate = \"pki/{system}.pem\"\nkey = \"pki/{system}.key\"\n\
                 bundle = \"ca/root.pem\"\nparty = \"{party}\"\nactor = \"cb01\"\n"
            );
            std::fs::write(file, text)?;
        }
        Ok(())
    }
}

fn adapter(gateway: SocketAddr, system: &str, parties: &str, spool: &str, port: u16) -> String {
    format!(
        "gateway = \"https://{gateway}\"\nparties = [{parties}]\n\n\
         [tls]\ncertificate = \"pki/{system}.pem\"\nkey = \"pki/{system}.key\"\nbundle = \"ca/root.pem\"\n\n\
         [spool]\nfolder = \"{spool}\"\nmin_free_mib = 0\n\n\
         [rest]\nlisten = \"127.0.0.1:{port}\"\n"
    )
}
