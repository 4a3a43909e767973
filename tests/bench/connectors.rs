//! Connectors as they are shipped: adapters in processes of their own, before the gateway under measurement.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lgsp_adapters::link::Link;
use lgsp_proto::v1;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::servers::Server;
use crate::world::World;

/// An adapter, ended when dropped.
pub(crate) struct Adapter {
    process: Child,
    _folder: TempDir,
}

impl Adapter {
    /// Starts that of `system`, which serves for `owner` by this part of its configuration.
    pub(crate) fn start(
        world: &World,
        server: &Server,
        system: &str,
        owner: &str,
        section: &str,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("connector-").tempdir_in(world.folder())?;
        let tls = world.tls(system);
        let config = folder.path().join("adapter.toml");
        std::fs::write(
            &config,
            format!(
                "gateway = \"https://{}\"\nparties = [{owner:?}]\n\
                 [tls]\ncertificate = {:?}\nkey = {:?}\nbundle = {:?}\n\
                 [spool]\nfolder = {:?}\n\
                 [rest]\nlisten = \"127.0.0.1:0\"\ntoken = \"none\"\n\
                 {section}",
                server.bus,
                tls.certificate,
                tls.key,
                tls.bundle,
                folder.path().join("spool"),
            ),
        )?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_lgsp"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LGSP_")) {
            command.env_remove(name);
        }
        let log = folder.path().join("log");
        command.args(["adapter", "--until-stdin-closes", "--config"]).arg(&config);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(std::fs::File::create(&log)?);
        let mut process = command.spawn().context("the connector cannot be started")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("it was piped")?).read_line(&mut line)?;
        let log = || std::fs::read_to_string(&log).unwrap_or_default();
        ensure!(!line.is_empty(), "the connector does not start:\n{}", log());
        Ok(Self { process, _folder: folder })
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until each of these services is served.
///
/// # Errors
/// One is not in half a minute.
pub(crate) async fn served(link: &Link, party: &str, names: &[&str]) -> anyhow::Result<()> {
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        let request = v1::ServicesRequest { acting_party: party.to_owned(), actor: "cb.thu".to_owned() };
        let services = link.queries().services(link.request(request, None)).await?.into_inner().services;
        let is_served = |name: &&str| {
            let is_it = |one: &v1::ServiceStanding| one.service.as_ref().is_some_and(|it| it.name == **name);
            services.iter().any(|one| is_it(one) && one.connectors > 0)
        };
        if names.iter().all(is_served) {
            return Ok(());
        }
        ensure!(Instant::now() < limit, "nobody serves {names:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
