//! The configuration that an adapter begins with, once it has joined. People go on with it by hand.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use lgsp_journal::fault;
use toml::Value;

use crate::identity::Joined;
use crate::webhook::WebhookUrl;
use lgsp_proto::types::PartyId;

/// The name of the identity's folder beside the configuration.
pub const IDENTITY: &str = "identity";

/// Where the CA certificates of an https webhook are looked for, beside the configuration.
const AGENCY_CA: &str = "agency-ca.pem";

/// What whoever joins may choose.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// Where the local interface listens.
    pub listen: SocketAddr,
    /// Where deliveries are posted.
    pub webhook: Option<WebhookUrl>,
    /// The parties to act for; if there are none, those that the registry names.
    pub parties: Vec<PartyId>,
}

/// Writes a first adapter.toml, unless there is one: durably, and whole or not at all. Says whether it did.
///
/// # Errors
/// What the disk says. It may be asked again.
pub fn write_starter(file: &Path, joined: &Joined, wishes: &Wishes) -> io::Result<bool> {
    if file.symlink_metadata().is_ok() {
        return Ok(false);
    }
    let draft = file.with_extension("toml.new");
    let mut new = File::create(&draft)?;
    new.write_all(starter(joined, wishes).as_bytes())?;
    new.sync_all()?;
    fault::reached(fault::JOIN_CONFIG)?;
    fs::rename(&draft, file)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok(true)
}

/// Text of a first adapter.toml. [`Config::parse`](super::Config::parse) takes it as it is, unless the registry names only whole
/// families of parties and nobody has chosen among them; then `parties` is empty, and that is the problem it tells.
pub fn starter(joined: &Joined, wishes: &Wishes) -> String {
    let parties = if wishes.parties.is_empty() { &joined.parties } else { &wishes.parties };
    let parties = Value::Array(parties.iter().map(|party| party.to_string().into()).collect());
    let gateway = Value::from(joined.gateway.to_string());
    let mut text = format!(
        "# Written by `lgsp adapter join` for the system {}. Every key, and its default: the adapter's example configuration.\n\
         gateway = {gateway}\n",
        joined.system
    );
    if let Some(name) = &joined.server_name {
        text += &format!("server_name = {}\n", Value::from(name.as_str()));
    }
    if !joined.families.is_empty() {
        text += &format!(
            "# The registry lets this system act for all of: {}. Write here for whom this adapter does.\n",
            joined.families.join(", ")
        );
    }
    text += &format!(
        "parties = {parties}\n\n\
         [tls]\nidentity = \"{IDENTITY}\"\n\n\
         [spool]\nfolder = \"spool\"\n\n\
         [rest]\nlisten = \"{}\"\n\n",
        wishes.listen
    );
    text += &match &wishes.webhook {
        Some(url) if url.is_https() => format!(
            "[webhook]\nurl = {}\n# The CA certificates of the agency's own system, PEM: put them there.\nbundle = \"{AGENCY_CA}\"\n",
            Value::from(url.to_string())
        ),
        Some(url) => format!("[webhook]\nurl = {}\n", Value::from(url.to_string())),
        None => "# Where deliveries and outcomes are posted; without it they are fetched from /v1/inbox.\n\
                 # [webhook]\n# url = \"http://127.0.0.1:9000/lgsp\"\n\
                 # Or all of it by files, or by rows of your own PostgreSQL: [folder] and [tables] in the adapter's example configuration.\n"
            .to_owned(),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Problems};
    use super::*;
    use std::path::Path;
    use std::time::SystemTime;

    fn joined(parties: &[&str], families: &[&str]) -> Joined {
        Joined {
            system: "phan-mem-phu-loc".into(),
            is_first: true,
            not_after: SystemTime::UNIX_EPOCH,
            gateway: "https://gw.lgsp.hue.test:7443".parse().unwrap(),
            looked_for_at: None,
            server_name: Some("bus.lgsp.hue.test".into()),
            parties: parties.iter().map(|party| party.parse().unwrap()).collect(),
            families: families.iter().map(ToString::to_string).collect(),
        }
    }

    fn read(joined: &Joined, wishes: &Wishes) -> Result<Config, Problems> {
        Config::parse(&starter(joined, wishes), Path::new("/srv/adapter"), [])
    }

    #[test]
    fn what_is_written_is_a_configuration_as_it_stands() {
        let listen = "127.0.0.1:8499".parse().unwrap();
        let wishes = Wishes { listen, webhook: Some("http://127.0.0.1:9/x".parse().unwrap()), parties: Vec::new() };
        let config = read(&joined(&["H57.101", "H57.102"], &[]), &wishes).unwrap();
        assert_eq!(config.identity.folder.as_deref(), Some(Path::new("/srv/adapter/identity")));
        assert_eq!((config.parties.len(), config.rest.listen), (2, listen));
        assert_eq!(config.address.server_name.as_deref(), Some("bus.lgsp.hue.test"));
        assert!(config.webhook.url.is_some());
    }

    #[test]
    fn a_webhook_over_https_has_a_place_for_the_agencys_own_roots() {
        let webhook = Some("https://agency.test/lgsp".parse().unwrap());
        let wishes = Wishes { listen: "127.0.0.1:8480".parse().unwrap(), webhook, parties: Vec::new() };
        let config = read(&joined(&["H57.101"], &[]), &wishes).unwrap();
        assert_eq!(config.webhook.bundle.as_deref(), Some(Path::new("/srv/adapter/agency-ca.pem")));
    }

    #[test]
    fn a_system_for_a_family_of_parties_must_choose_and_may_do_so_beforehand() {
        let family = joined(&[], &["H57.BD.*"]);
        let mut wishes = Wishes { listen: "127.0.0.1:8480".parse().unwrap(), webhook: None, parties: Vec::new() };
        assert_eq!(read(&family, &wishes).unwrap_err().0[0].key, "parties");
        assert!(starter(&family, &wishes).contains("H57.BD.*"));
        wishes.parties = vec!["H57.BD.7".parse().unwrap()];
        assert_eq!(read(&family, &wishes).unwrap().parties, wishes.parties);
    }
}
