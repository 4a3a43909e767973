//! `lgsp gateway`: runs the bus.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use lgsp_gateway::app::{App, RunError};
use lgsp_gateway::config::Config;
use lgsp_gateway::tls::Loaded;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, because};
use crate::lang::Lang;
use crate::node::{Node, Runnable, announce, environment};

const EXAMPLES: &str = "\
A first configuration, gateway.toml (paths are relative to the file):
  name = \"lgsp.hue.test\"
  [listen]
  bus = \"127.0.0.1:7443\"
  local = \"127.0.0.1:7480\"
  [tls]
  certificate = \"pki/gw.lgsp.hue.test.pem\"
  key = \"pki/gw.lgsp.hue.test.key\"
  client_bundle = \"ca/root.pem\"
  [store]
  dir = \"data\"
  node_key = \"node.key\"
  [documents]
  dir = \"documents\"
  [registry]
  first = \"registry/hue\"

That systems can join with a token and renew by themselves (`lgsp certs token --help`), add:
  [listen]
  enrol = \"127.0.0.1:7444\"
  [ca]
  dir = \"ca\"

The certificates: see `lgsp certs --help`. registry/hue is a folder of registry files, in the source tree
gateway/registry/hue; it is applied once, later ones by `lgsp registry apply`. The other files and folders are made.

Any key can be overridden: LGSP_GATEWAY__LISTEN__BUS=0.0.0.0:7443

Examples:
  lgsp gateway --config gateway.toml --check
  lgsp gateway --config gateway.toml --print-config
  lgsp gateway --config gateway.toml

Certificates, bundles and revocation lists are read again when their files change, or at once on SIGHUP.

When it serves, it prints one line of JSON with its addresses. SIGTERM or SIGINT stops it in order, a second one at once.";

/// Run a gateway.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(flatten)]
    node: Node,
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let config = Config::load(&self.node.config, environment());
        self.node.run(config, lang)
    }
}

impl Runnable for Config {
    fn to_toml(&self) -> String {
        self.to_toml()
    }

    fn check(&self, lang: Lang) -> anyhow::Result<()> {
        Loaded::load(&self.tls, SystemTime::now()).map_err(|error| Failure::usage(because(&error)))?;
        if let Some(dir) = &self.first_registry {
            crate::registry::in_folder(dir, lang)
                .map_err(|error| Failure::usage(format!("registry.first cannot be used: {error}")))?;
        }
        Ok(())
    }

    fn runtime() -> Builder {
        Builder::new_multi_thread()
    }

    async fn serve(self, shutdown: CancellationToken, _: Lang) -> anyhow::Result<()> {
        let app = App::build(self).await.map_err(|error| Failure::usage(because(&error)))?;
        let mut listeners = vec![("bus", app.bus_address()?), ("local", app.local_address()?)];
        listeners.extend(app.enrolment_address()?.map(|enrol| ("enrol", enrol)));
        let (ready, served) = oneshot::channel();
        let told = async {
            // A sender that is gone means that the gateway did not start; its own error says why.
            if served.await.is_ok() { announce(&listeners) } else { Ok(()) }
        };
        let (ended, told) = tokio::join!(Box::pin(app.run(shutdown, ready)), told);
        ended.map_err(|error| match &error {
            RunError::Documents { .. } | RunError::FirstRegistry { .. } | RunError::RegistryRefused(_) => {
                Failure::usage(because(&error))
            }
            _ => error.into(),
        })?;
        Ok(told?)
    }
}
