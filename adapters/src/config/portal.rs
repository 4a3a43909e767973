//! The national portal that dossiers are kept in step with, `[portal]`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use lgsp_proto::types::PartyId;
use toml::Value;

use super::raw::Raw;
use super::{Folder, Spool, Tables, Webhook, WebhookUrl, count, count_of, millis, parties};

/// The national portal that dossiers are kept in step with, `[portal]`.
#[derive(Clone, Debug)]
pub struct Portal {
    /// Where its services are asked.
    pub service_url: WebhookUrl,
    /// Where one logs in.
    pub login_url: WebhookUrl,
    /// The account there.
    pub username: String,
    /// The file with its password, read at each login.
    pub password_file: PathBuf,
    /// The CA certificates that the portal's must chain to, PEM; no others are trusted.
    pub bundle: Option<PathBuf>,
    /// The header `dstcode`: the member of the national platform that is meant.
    pub destination: HeaderValue,
    /// `madonvi`: in whose name it is told.
    pub unit: String,
    /// The parties whose deliveries are for the portal; none has another way out.
    pub parties: Vec<PartyId>,
    /// Dossiers told at one time.
    pub at_once: NonZeroUsize,
    /// For one answer.
    pub timeout: Duration,
    /// Where the portal may fetch documents, if anybody serves them to it; without it no document is named by a URL.
    pub documents_url: Option<WebhookUrl>,
}

/// What else the parties of a configuration have.
pub(super) struct Others<'a> {
    pub(super) acted_for: Option<&'a [PartyId]>,
    pub(super) spool: Option<&'a Spool>,
    pub(super) webhook: Option<&'a Webhook>,
    pub(super) folder: Option<&'a Option<Folder>>,
    pub(super) tables: Option<&'a Option<Tables>>,
}

/// Reads the section; `Some(None)` when there is none.
pub(super) fn portal(raw: &mut Raw, base: &Path, others: &Others<'_>) -> Option<Option<Portal>> {
    let mut section = raw.section("portal");
    let word = |text: String| if text.trim().is_empty() { Err("is empty") } else { Ok(text) };
    let url = |text: String| match text.parse::<WebhookUrl>() {
        Ok(url) if url.is_exposed() => {
            Err("is http on another machine: citizens' data would travel readable".to_owned())
        }
        Ok(url) => Ok(url),
        Err(error) => Err(error.to_string()),
    };
    let service_url = section.optional("service_url", url);
    let login_url = section.optional("login_url", url);
    let username = section.optional("username", word);
    let in_spool = others.spool.map_or(base, |spool| &spool.folder).join("portal.password");
    let password_file = section.or("password_file", in_spool, |text: String| Ok::<_, String>(base.join(text)));
    let bundle = section.optional("bundle", |text: String| Ok::<_, String>(base.join(text)));
    let destination = section.optional("destination", |text: String| {
        HeaderValue::from_str(&text).ok().filter(|value| !value.is_empty()).ok_or("cannot stand in a header")
    });
    let unit = section.optional("unit", word);
    let spoken_for = section.optional("parties", parties);
    let at_once = section.or("at_once", count_of(4), count);
    let timeout = section.or("timeout_ms", Duration::from_millis(30_000), millis);
    let documents_url = section.optional("documents_url", |text: String| text.parse::<WebhookUrl>());
    let needed = [
        ("service_url", matches!(service_url, Some(None)), "where the portal's services are asked, https://host/path"),
        ("login_url", matches!(login_url, Some(None)), "where one logs in, https://host/path"),
        ("username", matches!(username, Some(None)), "the account at the portal"),
        ("destination", matches!(destination, Some(None)), "the code of the member that dstcode names"),
        ("unit", matches!(unit, Some(None)), "in whose name the portal is told, madonvi"),
        ("parties", matches!(spoken_for, Some(None)), "the parties whose deliveries are for the portal"),
    ];
    let is_meant = needed.iter().any(|(_, is_missing, _)| !is_missing);
    for (key, _, is) in needed.into_iter().filter(|(_, is_missing, _)| is_meant && *is_missing) {
        section.problem(key, "is missing", format!("set it: {is}"));
    }
    for party in spoken_for.iter().flatten().flatten() {
        if others.acted_for.is_some_and(|acted_for| !acted_for.contains(party)) {
            let what = format!("names {party}, which is not one of the parties");
            section.problem("parties", what, "write some of the parties above");
        }
        for (has, what, where_) in [
            (
                others.webhook.is_some_and(|one| one.parties.contains_key(party)),
                "a webhook of its own",
                "[webhook.parties]",
            ),
            (in_one(others.folder, |one| &one.parties, party), "the watched folder", "folder.parties"),
            (in_one(others.tables, |one| &one.parties, party), "the tables", "tables.parties"),
        ] {
            if has {
                let what = format!("names {party}, which has {what}");
                section.problem("parties", what, format!("a party has one way out: remove it here or from {where_}"));
            }
        }
    }
    let is_https = [&service_url, &login_url].into_iter().flatten().flatten().any(WebhookUrl::is_https);
    if let (Some(None), true) = (&bundle, is_https) {
        let remedy =
            "set it to a PEM file with the CA certificates of the portal; what this machine trusts is not used";
        section.problem("bundle", "is missing, and the portal is https", remedy);
    }
    raw.finish(section);
    let (service_url, login_url, username) = (service_url?, login_url?, username?);
    let (destination, unit, spoken_for) = (destination?, unit?, spoken_for?);
    let (password_file, bundle, documents_url) = (password_file?, bundle?, documents_url?);
    let (at_once, timeout) = (at_once?, timeout?);
    // All of them or none, unless that is a problem already.
    let portal = || {
        Some(Portal {
            service_url: service_url?,
            login_url: login_url?,
            username: username?,
            password_file,
            bundle,
            destination: destination?,
            unit: unit?,
            parties: spoken_for?,
            at_once,
            timeout,
            documents_url,
        })
    };
    Some(portal())
}

fn in_one<T>(way: Option<&Option<T>>, parties: impl Fn(&T) -> &Vec<PartyId>, party: &PartyId) -> bool {
    way.and_then(Option::as_ref).is_some_and(|way| parties(way).contains(party))
}

/// The section written out again.
pub(super) fn written(portal: &Portal) -> Vec<(&'static str, Value)> {
    // Taken apart by name, so that a new key cannot be forgotten here.
    let Portal {
        service_url,
        login_url,
        username,
        password_file,
        bundle,
        destination,
        unit,
        parties,
        at_once,
        timeout,
        documents_url,
    } = portal;
    let path = |path: &Path| Value::from(path.display().to_string());
    let number = |number: u128| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    let mut written = vec![
        ("service_url", Value::from(service_url.to_string())),
        ("login_url", Value::from(login_url.to_string())),
        ("username", Value::from(username.clone())),
        ("password_file", path(password_file)),
    ];
    written.extend(bundle.as_deref().map(|bundle| ("bundle", path(bundle))));
    written.extend([
        ("destination", Value::from(destination.to_str().unwrap_or_default())),
        ("unit", Value::from(unit.clone())),
        ("parties", Value::Array(parties.iter().map(|party| party.to_string().into()).collect())),
        ("at_once", number(at_once.get() as u128)),
        ("timeout_ms", number(timeout.as_millis())),
    ]);
    written.extend(documents_url.as_ref().map(|url| ("documents_url", Value::from(url.to_string()))));
    written
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn problems(section: &str) -> Vec<String> {
        let text = format!(
            "gateway = \"https://gw.lgsp.hue.test:7443\"\nparties = [\"H57.CDV\", \"H57.12\"]\n\
             [tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"\nbundle = \"ca.pem\"\n[spool]\nfolder = \"spool\"\n{section}"
        );
        match Config::parse(&text, Path::new("/srv"), []) {
            Ok(config) => {
                assert!(config.portal.is_some());
                Vec::new()
            }
            Err(problems) => problems.0.into_iter().map(|problem| problem.key).collect(),
        }
    }

    const ENOUGH: &str = "[portal]\nservice_url = \"https://portal.test/service\"\nlogin_url = \"https://portal.test/login\"\n\
                          username = \"hue\"\ndestination = \"G22\"\nunit = \"H57\"\nparties = [\"H57.CDV\"]\n";

    #[test]
    fn a_portal_needs_an_address_an_account_and_a_party_without_another_way_out() {
        assert_eq!(problems(&format!("{ENOUGH}bundle = \"portal-ca.pem\"\n")), [""; 0]);
        assert_eq!(problems(ENOUGH), ["portal.bundle"]);
        assert_eq!(
            problems("[portal]\nunit = \"H57\"\n"),
            ["portal.service_url", "portal.login_url", "portal.username", "portal.destination", "portal.parties"]
        );
        let exposed = ENOUGH.replace("https://portal.test/service", "http://portal.test/service") + "bundle = \"x\"\n";
        assert_eq!(problems(&exposed), ["portal.service_url"]);
        let twice = format!("{ENOUGH}bundle = \"x\"\n[folder]\ndir = \"f\"\nparties = [\"H57.CDV\"]\n");
        assert_eq!(problems(&twice), ["portal.parties"]);
    }
}
