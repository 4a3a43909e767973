//! The national procedure database, `[procedures]`: where it is, and whose services it answers.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lgsp_proto::types::PartyId;
use toml::Value;

use super::raw::Raw;
use super::{MAX_CREDIT, WebhookUrl, count, count_of, millis};

/// The connector to the national procedure database, `[procedures]`.
#[derive(Clone, Debug)]
pub struct Procedures {
    /// The owner of the services `thu-tuc-danh-sach` and `thu-tuc-chi-tiet`; one of the parties acted for.
    pub party: PartyId,
    /// Where the national side's services are, `https`; `/login` and the names of its services come behind it.
    pub url: WebhookUrl,
    /// The CA certificates that its certificate must chain to, PEM; no others are trusted.
    pub bundle: PathBuf,
    /// The province's account there.
    pub user: String,
    /// The file with its password.
    pub password_file: PathBuf,
    /// The province's code there (`madonvi`), e.g. `H57`.
    pub unit: String,
    /// The code of the destination on the national platform (header `dstcode`), where one stands between.
    pub destination: Option<String>,
    /// For one exchange.
    pub timeout: Duration,
    /// Questions under way at one time.
    pub at_once: NonZeroUsize,
}

pub(super) fn read(raw: &mut Raw, base: &Path, acted_for: Option<&[PartyId]>) -> Option<Option<Procedures>> {
    let mut section = raw.section("procedures");
    let path = |text: String| Ok::<_, String>(base.join(text));
    let party = section.optional("party", |text: String| text.parse::<PartyId>());
    let url = section.optional("url", |text: String| {
        let url = text.parse::<WebhookUrl>().map_err(|error| error.to_string())?;
        if url.is_https() { Ok(url) } else { Err("is not https".to_owned()) }
    });
    let bundle = section.optional("bundle", path);
    let user = section.optional("user", word);
    let password_file = section.optional("password_file", path);
    let unit = section.optional("unit", word);
    let destination = section.optional("destination", word);
    let timeout = section.or("timeout_ms", Duration::from_secs(15), millis);
    let at_once = section.or("at_once", count_of(8), |number: u64| match count(number) {
        Ok(count) if number <= MAX_CREDIT => Ok(count),
        _ => Err(format!("is not between 1 and {MAX_CREDIT}")),
    });
    let lacks = [
        ("party", matches!(party, Some(None)), "the party that owns the services"),
        ("url", matches!(url, Some(None)), "where the national side's services are"),
        ("bundle", matches!(bundle, Some(None)), "the CA certificates of the national side, PEM"),
        ("user", matches!(user, Some(None)), "the province's account there"),
        ("password_file", matches!(password_file, Some(None)), "the file with its password"),
        ("unit", matches!(unit, Some(None)), "the province's code there, e.g. H57"),
    ];
    // Without any of them nothing is to be reached.
    if lacks.iter().all(|(_, lacks, _)| *lacks) {
        raw.finish(section);
        return timeout.and(at_once).map(|_| None);
    }
    for (key, _, is) in lacks.iter().filter(|(_, lacks, _)| *lacks) {
        section.problem(key, "is missing", format!("set it: {is}"));
    }
    if let Some(Some(party)) = &party
        && acted_for.is_some_and(|acted_for| !acted_for.contains(party))
    {
        let what = format!("is {party}, which is not one of the parties");
        section.problem("party", what, "write one of the parties above");
    }
    raw.finish(section);
    Some(Some(Procedures {
        party: party??,
        url: url??,
        bundle: bundle??,
        user: user??,
        password_file: password_file??,
        unit: unit??,
        destination: destination?,
        timeout: timeout?,
        at_once: at_once?,
    }))
}

/// What may stand in a header and in a log.
fn word(text: String) -> Result<String, &'static str> {
    let plain = !text.is_empty() && text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { Ok(text) } else { Err("is not 1 to 128 visible ASCII characters") }
}

impl Procedures {
    /// Its keys and values, in the order of the file.
    pub(super) fn written(&self) -> Vec<(&'static str, Value)> {
        let Self { party, url, bundle, user, password_file, unit, destination, timeout, at_once } = self;
        let number = |number: u128| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
        let mut keys = vec![
            ("party", Value::from(party.to_string())),
            ("url", Value::from(url.to_string())),
            ("bundle", Value::from(bundle.display().to_string())),
            ("user", Value::from(user.clone())),
            ("password_file", Value::from(password_file.display().to_string())),
            ("unit", Value::from(unit.clone())),
        ];
        keys.extend(destination.clone().map(|destination| ("destination", Value::from(destination))));
        keys.extend([("timeout_ms", number(timeout.as_millis())), ("at_once", number(at_once.get() as u128))]);
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use std::path::Path;

    const SMALLEST: &str = "gateway = \"https://gw.lgsp.hue.test:7443\"\nparties = [\"G22\"]\n\
        [tls]\nidentity = \"id\"\n[spool]\nfolder = \"spool\"\n[rest]\ntoken = \"none\"\n[procedures]\n";
    const WHOLE: &str = "party = \"G22\"\nurl = \"https://tthc.test/api\"\nbundle = \"ca.pem\"\nuser = \"hue\"\n\
        password_file = \"tthc.password\"\nunit = \"H57\"\n";

    fn wrong(more: &str) -> Vec<String> {
        let problems = Config::parse(&format!("{SMALLEST}{more}"), Path::new("/srv/a"), []).unwrap_err();
        problems.0.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn the_national_database_is_reached_over_https_by_whom_it_belongs_to() {
        let read =
            |text: &str| Config::parse(&format!("{SMALLEST}{text}"), Path::new("/srv/a"), []).unwrap().procedures;
        assert!(read("").is_none());
        let read = read(WHOLE).unwrap();
        assert_eq!(read.password_file, Path::new("/srv/a/tthc.password"));
        assert_eq!(wrong(&WHOLE.replace("https://", "http://")), ["procedures.url"]);
        assert_eq!(wrong(&WHOLE.replace("G22", "H57.01")), ["procedures.party"]);
        assert_eq!(wrong(&WHOLE.replace("\"hue\"", "\"\"")), ["procedures.user"]);
        assert_eq!(wrong("unit = \"H57\"").len(), 5);
    }
}
