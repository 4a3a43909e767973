//! `lgsp adapter client`: the systems that may call an adapter under a name of their own, and for which parties.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use lgsp_adapters::Config;
use lgsp_adapters::access::{Client, Proof, add_client, list_clients, new_secret, proof_of_certificate, remove_client};
use lgsp_proto::types::PartyId;
use serde_json::json;

use crate::failure::{Failure, because};
use crate::lang::Lang;
use crate::node::environment;
use crate::output::{Output, print};
use crate::table::Table;

const EXAMPLES: &str = "\
A client is a system on this or another machine that calls the adapter under a name of its own, for its parties and no other. It is known by a
secret, for which it gets access tokens at POST /v1/oauth/token, or by a certificate of one of the CAs in remote.client_bundle.
The secret is printed once and kept nowhere. The running adapter takes changes up by itself; what is removed is out from its next call on.

Examples:
  lgsp adapter client add mot-cua --party H57.101 --config adapter.toml
  lgsp adapter client add ho-tich --party H57.101,H57.102 --certificate pki/mot-cua-hue.pem --config adapter.toml
  lgsp adapter client add dong-bo --party H57.102 --certificate-name dong-bo.agency.test --config adapter.toml
  lgsp adapter client list --config adapter.toml
  lgsp adapter client remove mot-cua --config adapter.toml";

/// Systems that may call under a name of their own, from this machine or others.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Let a system in, for these parties. Without a certificate it gets a secret, which is printed once.
    Add(Add),
    /// Which there are.
    List(List),
    /// Take one out.
    Remove(Remove),
}

#[derive(Args, Debug)]
struct Add {
    /// What it is to be called: a-z 0-9 . _ -
    name: String,
    /// The parties it may act for, of those that the adapter acts for.
    #[arg(long = "party", value_name = "PARTY,…", value_delimiter = ',', required = true)]
    parties: Vec<PartyId>,
    /// Its certificate, PEM: it is known by the key in it, whatever certificate it has for that key next.
    #[arg(long, value_name = "FILE", conflicts_with = "certificate_name")]
    certificate: Option<PathBuf>,
    /// A DNS name or URI in its certificates, whatever their keys.
    #[arg(long, value_name = "NAME")]
    certificate_name: Option<String>,
    /// The adapter's configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
struct List {
    /// The adapter's configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
struct Remove {
    /// Which.
    name: String,
    /// The adapter's configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Add(add) => add.run(lang),
            Action::List(list) => list.run(lang),
            Action::Remove(remove) => remove.run(lang),
        }
    }
}

impl Add {
    fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let config = load(&self.config)?;
        if let Some(stranger) = self.parties.iter().find(|party| !config.parties.contains(party)) {
            let (vi, en) = ("không thuộc parties của bộ kết nối này", "is not one of the parties of this adapter");
            return Err(Failure::usage(format!("--party: {stranger} {}", lang.pick(vi, en))));
        }
        let with_certificate = self.certificate.is_some() || self.certificate_name.is_some();
        if with_certificate && config.remote.as_ref().is_none_or(|remote| remote.client_bundle.is_none()) {
            // It is no mistake to add the client first.
            eprintln!(
                "{}",
                lang.pick(
                    "Lưu ý: chưa đặt remote.client_bundle, nên chưa chứng thư nào được chấp nhận.",
                    "Note: remote.client_bundle is not set, so no certificate counts yet.",
                )
            );
        }
        let (secret, proof) = match (&self.certificate, self.certificate_name) {
            (Some(file), _) => (None, proof_of_certificate(file).map_err(|error| Failure::of_tls_file(&error))?),
            (_, Some(name)) => (None, Proof::Name(name.into())),
            _ => {
                let (secret, proof) = new_secret();
                (Some(secret), proof)
            }
        };
        let file = &config.rest.clients_file;
        let made = file.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(Into::into);
        let added = made
            .and_then(|()| add_client(file, Client { name: self.name.clone().into(), parties: self.parties, proof }));
        added.map_err(|error| at(file, &error))?;
        let (name, secret) = (self.name, secret.as_deref().map(String::as_str));
        self.output.print(
            || json!({ "client_id": name, "client_secret": secret }),
            || match secret {
                Some(secret) => lang.pick(
                    format!("client_id:     {name}\nclient_secret: {secret}\n  Mã bí mật chỉ hiện một lần và không được lưu.\n"),
                    format!("client_id:     {name}\nclient_secret: {secret}\n  The secret is shown once and kept nowhere.\n"),
                ),
                None => format!("{name}\n"),
            },
        )?;
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let file = load(&self.config)?.rest.clients_file;
        let clients = list_clients(&file).map_err(|error| at(&file, &error))?;
        let known_by = |client: &Client| match client.proof {
            Proof::Secret(_) => "secret",
            Proof::Key(_) => "key",
            Proof::Name(_) => "certificate",
        };
        let names = |client: &Client| client.parties.iter().map(ToString::to_string).collect::<Vec<_>>();
        let one =
            |client: &Client| json!({ "name": client.name, "parties": names(client), "known_by": known_by(client) });
        self.output.print(
            || json!({ "clients": clients.iter().map(one).collect::<Vec<_>>() }),
            || {
                let title = [("Tên", "Name"), ("Cơ quan", "Parties"), ("Nhận biết bằng", "Known by")];
                let mut table = Table::new(title.map(|(vi, en)| lang.pick(vi, en)));
                for client in &clients {
                    table.row([client.name.to_string(), names(client).join(", "), known_by(client).to_owned()]);
                }
                table.to_string()
            },
        )?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Remove {
    fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let file = load(&self.config)?.rest.clients_file;
        remove_client(&file, &self.name).map_err(|error| at(&file, &error))?;
        let name = self.name;
        print(lang.pick(format!("Đã bỏ {name}.\n"), format!("{name} is out.\n")))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn load(file: &Path) -> anyhow::Result<Config> {
    Config::load(file, environment()).map_err(|problems| Failure::usage(problems.to_string()))
}

fn at(file: &Path, error: &dyn std::error::Error) -> anyhow::Error {
    Failure::usage(format!("{}: {}", file.display(), because(error)))
}
