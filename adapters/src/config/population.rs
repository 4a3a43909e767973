//! `[population]`: the connector to the national population database, over the ministry's endpoint or a replica.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lgsp_proto::types::PartyId;
use toml::{Table, Value};

use super::raw::{Raw, Section};
use super::{MAX_CREDIT, SchemaName, count, count_of, is_this_machine, millis, yes_or_no};
use crate::webhook::WebhookUrl;

/// The most connections to a replica.
const MAX_CONNECTIONS: u64 = 64;

/// The population services of one owner, `[population]`.
#[derive(Clone, Debug)]
pub struct Population {
    /// The owner; one of the parties acted for.
    pub party: PartyId,
    /// Questions under way at one time.
    pub at_once: NonZeroUsize,
    /// Where the register is.
    pub backend: PopulationBackend,
}

/// Where the register is.
#[derive(Clone, Debug)]
pub enum PopulationBackend {
    /// At the ministry, `[population.ministry]`.
    Ministry(Ministry),
    /// In the province, `[population.replica]`.
    Replica(Replica),
}

/// The ministry's endpoint.
#[derive(Clone, Debug)]
pub struct Ministry {
    /// Where questions are posted; `https`.
    pub url: WebhookUrl,
    /// The CA certificates that the endpoint's must chain to, PEM.
    pub bundle: PathBuf,
    /// The certificate and the key shown to it, if it asks for them.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// `X-Road-Client`.
    pub client: String,
    /// The file with `ApiKey`.
    pub api_key_file: PathBuf,
    /// The user in whose name requests are signed.
    pub user: String,
    /// The file with the secret they are signed with.
    pub secret_file: PathBuf,
    /// Who our clerks are there.
    pub clerks_file: PathBuf,
}

/// A replica in PostgreSQL.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The server: a name, an address, or the folder of its Unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The connector's role there.
    pub user: String,
    /// The file with its password.
    pub password_file: Option<PathBuf>,
    /// The CA certificates that the server's must chain to, PEM; then the connection is TLS or none.
    pub bundle: Option<PathBuf>,
    /// Whether it may be without TLS to another machine.
    pub plain: bool,
    /// The schema of the tables.
    pub schema: SchemaName,
    /// Connections, each for many questions at once.
    pub connections: NonZeroUsize,
    /// For a connection, and the most for one statement.
    pub timeout: Duration,
}

pub(super) fn population(raw: &mut Raw, base: &Path, acted_for: Option<&[PartyId]>) -> Option<Option<Population>> {
    let mut section = raw.section("population");
    let party = section.optional("party", |text: String| text.parse::<PartyId>());
    let at_once = section.or("at_once", count_of(16), |number: u64| match count(number) {
        Ok(count) if number <= MAX_CREDIT => Ok(count),
        _ => Err(format!("is not between 1 and {MAX_CREDIT}")),
    });
    let ministry = section.inner("ministry", "population.ministry").map(|section| ministry(raw, section, base));
    let replica = section.inner("replica", "population.replica").map(|section| replica(raw, section, base));
    let backends = usize::from(ministry.is_some()) + usize::from(replica.is_some());
    if let Some(Some(party)) = &party {
        if acted_for.is_some_and(|acted_for| !acted_for.contains(party)) {
            let what = format!("is {party}, which is not one of the parties");
            section.problem("party", what, "write one of the parties above");
        }
        if backends != 1 {
            let what = "needs one of [population.ministry] and [population.replica]";
            section.problem("party", what, "write where the register is");
        }
    } else if backends > 0 && party.is_some() {
        section.problem("party", "is missing", "write the party that owns the services");
    }
    raw.finish(section);
    let (party, at_once) = (party?, at_once?);
    let backend = match (ministry, replica) {
        (Some(ministry), None) => Some(PopulationBackend::Ministry(ministry?)),
        (None, Some(replica)) => Some(PopulationBackend::Replica(replica?)),
        _ => None,
    };
    Some(party.zip(backend).map(|(party, backend)| Population { party, at_once, backend }))
}

fn ministry(raw: &mut Raw, mut section: Section, base: &Path) -> Option<Ministry> {
    let path = |text: String| Ok::<_, String>(base.join(text));
    let url = section.required("url", "the endpoint, https://host/path", |text: String| {
        let url = text.parse::<WebhookUrl>().map_err(|error| error.to_string())?;
        if url.is_https() { Ok(url) } else { Err("is not https: citizens' data would travel readable".to_owned()) }
    });
    let bundle = section.required("bundle", "a PEM file with the CA certificates of the endpoint", path);
    let certificate = section.optional("certificate", path);
    let key = section.optional("key", path);
    let client = section.required("client", "what is sent as X-Road-Client", word);
    let api_key_file = section.required("api_key_file", "the file with the ApiKey", path);
    let user = section.required("user", "the user in whose name requests are signed", |text: String| {
        if text.contains(':') { Err("has a colon".to_owned()) } else { word(text) }
    });
    let secret_file = section.required("secret_file", "the file with the secret that requests are signed with", path);
    let clerks_file = section.required("clerks_file", "the file that says who our clerks are at the ministry", path);
    match (&certificate, &key) {
        (Some(Some(_)), Some(None)) => section.problem("key", "is missing", "write the key of the certificate"),
        (Some(None), Some(Some(_))) => section.problem("certificate", "is missing", "write the certificate of the key"),
        _ => {}
    }
    raw.finish(section);
    Some(Ministry {
        url: url?,
        bundle: bundle?,
        identity: certificate?.zip(key?),
        client: client?,
        api_key_file: api_key_file?,
        user: user?,
        secret_file: secret_file?,
        clerks_file: clerks_file?,
    })
}

fn replica(raw: &mut Raw, mut section: Section, base: &Path) -> Option<Replica> {
    let path = |text: String| Ok::<_, String>(base.join(text));
    let host = section.required("host", "the database server, or the folder of its socket", word);
    let port = section.or("port", 5432, |number: u64| match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("is not a port"),
    });
    let database = section.required("database", "the name of the database", word);
    let user = section.or("user", "lgsp_adapter".to_owned(), word);
    let password_file = section.optional("password_file", path);
    let bundle = section.optional("bundle", path);
    let plain = section.or("plain", false, yes_or_no);
    let schema = section.or("schema", SchemaName("dan_cu".into()), |text: String| text.parse::<SchemaName>());
    let connections = section.or("connections", count_of(4), |number: u64| match count(number) {
        Ok(count) if number <= MAX_CONNECTIONS => Ok(count),
        _ => Err(format!("is not between 1 and {MAX_CONNECTIONS}")),
    });
    let timeout = section.or("timeout_ms", Duration::from_millis(5000), millis);
    if let (Some(host), Some(None), Some(false)) = (&host, &bundle, plain)
        && !is_this_machine(host)
    {
        let remedy = "set it to a PEM file with the CA certificates of the database; citizens' data would travel readable \
                      (plain = true says that another layer protects it)";
        section.problem("bundle", "is missing, and the database is on another machine", remedy);
    }
    raw.finish(section);
    Some(Replica {
        host: host?,
        port: port?,
        database: database?,
        user: user?,
        password_file: password_file?,
        bundle: bundle?,
        plain: plain?,
        schema: schema?,
        connections: connections?,
        timeout: timeout?,
    })
}

/// What goes into a header or a connection's parameter.
fn word(text: String) -> Result<String, String> {
    match &*text {
        "" => Err("is empty".to_owned()),
        text if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err("is not of printable ASCII".to_owned()),
        _ => Ok(text),
    }
}

impl Population {
    /// The keys and values of the section, which give the same if they are read.
    pub(super) fn written(&self) -> Vec<(&'static str, Value)> {
        let Self { party, at_once, backend } = self;
        let (name, inner) = match backend {
            PopulationBackend::Ministry(ministry) => ("ministry", ministry.written()),
            PopulationBackend::Replica(replica) => ("replica", replica.written()),
        };
        vec![("party", party.to_string().into()), ("at_once", number(at_once.get())), (name, Value::Table(inner))]
    }
}

impl Ministry {
    fn written(&self) -> Table {
        let Self { url, bundle, identity, client, api_key_file, user, secret_file, clerks_file } = self;
        let mut table = Table::new();
        table.insert("url".to_owned(), url.to_string().into());
        table.insert("bundle".to_owned(), shown(bundle));
        if let Some((certificate, key)) = identity {
            table.insert("certificate".to_owned(), shown(certificate));
            table.insert("key".to_owned(), shown(key));
        }
        table.insert("client".to_owned(), client.clone().into());
        table.insert("api_key_file".to_owned(), shown(api_key_file));
        table.insert("user".to_owned(), user.clone().into());
        table.insert("secret_file".to_owned(), shown(secret_file));
        table.insert("clerks_file".to_owned(), shown(clerks_file));
        table
    }
}

impl Replica {
    fn written(&self) -> Table {
        let Self { host, port, database, user, password_file, bundle, plain, schema, connections, timeout } = self;
        let mut table = Table::new();
        table.insert("host".to_owned(), host.clone().into());
        table.insert("port".to_owned(), i64::from(*port).into());
        table.insert("database".to_owned(), database.clone().into());
        table.insert("user".to_owned(), user.clone().into());
        for (key, file) in [("password_file", password_file), ("bundle", bundle)] {
            if let Some(file) = file {
                table.insert(key.to_owned(), shown(file));
            }
        }
        table.insert("plain".to_owned(), (*plain).into());
        table.insert("schema".to_owned(), schema.to_string().into());
        table.insert("connections".to_owned(), number(connections.get()));
        table.insert("timeout_ms".to_owned(), i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX).into());
        table
    }
}

fn shown(path: &Path) -> Value {
    path.display().to_string().into()
}

fn number(number: usize) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    const SMALLEST: &str = "gateway = \"https://gw.test:7443\"\nparties = [\"G01\"]\n[tls]\nidentity = \"identity\"\n\
                            [spool]\nfolder = \"spool\"\n";
    const MINISTRY: &str = "[population.ministry]\nurl = \"https://dancu.test/ws\"\nbundle = \"ca.pem\"\nclient = \"VN/GOV/H57\"\n\
                            api_key_file = \"key\"\nuser = \"hue\"\nsecret_file = \"secret\"\nclerks_file = \"clerks.toml\"\n";
    const REPLICA: &str = "[population.replica]\nhost = \"/run/postgresql\"\ndatabase = \"dan_cu\"\n";
    const OWNER: &str = "[population]\nparty = \"G01\"\n";

    fn read(text: &str) -> Result<Option<Population>, Vec<String>> {
        let read = Config::parse(&format!("{SMALLEST}{text}"), Path::new("/srv"), []);
        read.map(|config| config.population).map_err(|problems| problems.0.into_iter().map(|one| one.key).collect())
    }

    #[test]
    fn an_owner_has_one_place_where_the_register_is() {
        let ministry = read(&format!("{OWNER}{MINISTRY}")).unwrap().unwrap();
        let PopulationBackend::Ministry(at) = ministry.backend else { panic!("it is at the ministry") };
        assert_eq!((&*at.clerks_file, at.identity), (Path::new("/srv/clerks.toml"), None));
        let replica = read(&format!("{OWNER}{REPLICA}")).unwrap().unwrap();
        assert!(matches!(&replica.backend, PopulationBackend::Replica(at) if at.schema.as_str() == "dan_cu"));
        assert!(read("[population]\nat_once = 3\n").unwrap().is_none() && read("").unwrap().is_none());
        for text in [
            OWNER.to_owned(),
            format!("{OWNER}{MINISTRY}{REPLICA}"),
            MINISTRY.to_owned(),
            format!("{}{REPLICA}", OWNER.replace("G01", "G99")),
        ] {
            assert_eq!(read(&text).unwrap_err(), ["population.party"], "{text}");
        }
    }

    #[test]
    fn the_pages_configurations_are_read_as_they_stand() {
        let page = include_str!("../../../docs/population.md");
        let shown: Vec<_> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        let shown: Vec<_> = shown.into_iter().filter(|text| text.starts_with("[population]")).collect();
        assert_eq!(shown.len(), 2);
        for text in shown {
            assert!(read(text).unwrap().is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        for (from, to, key) in [
            ("https://dancu", "http://dancu", "population.ministry.url"),
            ("bundle = \"ca.pem\"\n", "", "population.ministry.bundle"),
            ("user = \"hue\"", "user = \"h:ue\"", "population.ministry.user"),
            ("client = \"VN", "client = \"Huế", "population.ministry.client"),
            ("user = ", "certificate = \"a.pem\"\nuser = ", "population.ministry.key"),
            ("user = ", "key = \"a.key\"\nuser = ", "population.ministry.certificate"),
            ("user = ", "colour = 1\nuser = ", "population.ministry.colour"),
        ] {
            let text = format!("{OWNER}{}", MINISTRY.replace(from, to));
            assert_eq!(read(&text).unwrap_err(), [key], "{to}");
        }
        for (from, to, key) in [
            ("/run/postgresql", "db.hue.test", "population.replica.bundle"),
            ("database = \"dan_cu\"", "", "population.replica.database"),
            ("database", "connections = 65\ndatabase", "population.replica.connections"),
            ("database", "schema = \"a b\"\ndatabase", "population.replica.schema"),
            ("database", "port = 0\ndatabase", "population.replica.port"),
        ] {
            let text = format!("{OWNER}{}", REPLICA.replace(from, to));
            assert_eq!(read(&text).unwrap_err(), [key], "{to}");
        }
        assert_eq!(read("population = 3").unwrap_err().len(), 1);
        assert_eq!(read(&format!("{OWNER}ministry = 3\n")).unwrap_err()[0], "population.ministry");
    }

    #[test]
    fn what_is_written_reads_as_it_was() {
        let identity = MINISTRY.replace("client", "certificate = \"a.pem\"\nkey = \"a.key\"\nclient");
        let whole = "port = 5433\nuser = \"another\"\npassword_file = \"pw\"\nbundle = \"ca.pem\"\nplain = true\nschema = \"dc\"\n\
                     connections = 5\ntimeout_ms = 5001\n";
        for backend in [identity, format!("{REPLICA}{whole}")] {
            let text = format!("{SMALLEST}{OWNER}at_once = 65\n{backend}");
            let config = Config::parse(&text, Path::new("/srv"), []).unwrap();
            let again = Config::parse(&config.to_toml(), Path::new("/elsewhere"), []).unwrap();
            assert_eq!(format!("{again:?}"), format!("{config:?}"));
            assert!(format!("{again:?}").contains("65"));
        }
    }
}
