//! A configuration written out again, with every default: what is printed, and would give the same if it were read.

use std::path::Path;
use std::time::Duration;

use lgsp_certs::TlsFiles;
use toml::Value;

use super::{
    Acknowledge, Config, Connector, Exchange, Folder, Identity, Offline, Population, Remote, Rest, Spool, Tables,
    Webhook,
};
use crate::backoff::Backoff;
use crate::link::{Address, Timings};
use crate::webhook::WebhookUrl;

impl Config {
    /// The effective values, as a file that would give the same configuration. Secrets appear as paths only.
    pub fn to_toml(&self) -> String {
        const MIB: u64 = 1 << 20;
        let path = |path: &Path| Value::from(path.display().to_string());
        let number = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
        let count = |count: usize| number(count as u64);
        let millis = |duration: Duration| number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let Config {
            address,
            identity,
            parties,
            spool,
            rest,
            remote,
            webhook,
            folder: watched,
            tables,
            connector,
            population,
            exchange,
            offline,
            stop_grace,
        } = self;
        // Every part is taken apart by name, so that a new key cannot be forgotten here.
        let Address { gateway, server_name, tls: TlsFiles { certificate, key, bundle }, timings } = address;
        let Identity { folder: identity, poll, trust_every, revocation_lists } = identity;
        let Timings { connect_timeout, call_timeout, keep_alive_interval, keep_alive_timeout } = timings;
        let Spool {
            folder,
            max_outgoing,
            max_incoming,
            keep_outcomes,
            max_document_bytes,
            max_documents_bytes,
            min_free_bytes,
        } = spool;
        let Rest { listen, token_file, clients_file, max_requests } = rest;
        let Webhook { url, parties: single, secret_file, bundle: agency_ca, timeout, at_once: posts_at_once, attempts } =
            webhook;
        let Exchange { instance, at_once, credit, backoff: Backoff { first, limit } } = exchange;
        let Offline { enabled, block, days_ahead, authorities, refresh, skew_tolerance, ahead, back } = offline;
        let optional = |key, value: Option<Value>| value.map(|value| (key, value));

        let mut top = vec![("gateway", Value::from(gateway.to_string()))];
        top.extend(optional("server_name", server_name.clone().map(Value::from)));
        let parties: Vec<_> = parties.iter().map(|party| party.to_string().into()).collect();
        top.push(("parties", Value::Array(parties)));
        top.push(("stop_grace_seconds", number(stop_grace.as_secs())));

        let mut listening = vec![("listen", Value::from(listen.to_string()))];
        listening.push(match token_file {
            Some(file) => ("token_file", path(file)),
            None => ("token", "none".into()),
        });
        listening.push(("clients_file", path(clients_file)));
        listening.push(("max_requests", count(max_requests.get())));

        let beyond = remote.as_ref().map_or_else(Vec::new, |Remote { listen, certificate, key, client_bundle }| {
            let mut beyond = vec![
                ("listen", Value::from(listen.to_string())),
                ("certificate", path(certificate)),
                ("key", path(key)),
            ];
            beyond.extend(optional("client_bundle", client_bundle.as_deref().map(path)));
            beyond
        });

        let mut posting: Vec<_> = optional("url", url.as_ref().map(|url| url.to_string().into())).into_iter().collect();
        posting.push(("secret_file", path(secret_file)));
        posting.extend(optional("bundle", agency_ca.as_deref().map(path)));
        posting.extend([
            ("timeout_ms", millis(*timeout)),
            ("at_once", count(posts_at_once.get())),
            ("attempts", number(attempts.get().into())),
        ]);
        let single: toml::Table =
            single.iter().map(|(party, url)| (party.to_string(), url.to_string().into())).collect();
        posting.extend(optional("parties", (!single.is_empty()).then_some(Value::Table(single))));

        let watching = watched.as_ref().map_or_else(Vec::new, |watched| {
            let Folder { dir, parties, poll, settle, documents, keep, max_inbox } = watched;
            vec![
                ("dir", path(dir)),
                ("parties", Value::Array(parties.iter().map(|party| party.to_string().into()).collect())),
                ("poll_ms", millis(*poll)),
                ("settle_ms", millis(*settle)),
                ("documents", Value::from(*documents)),
                ("keep_hours", number(keep.as_secs() / 3600)),
                ("max_inbox", count(max_inbox.get())),
            ]
        });

        let shared = tables.as_ref().map_or_else(Vec::new, |tables| {
            let Tables {
                host,
                port,
                database,
                user,
                password_file,
                bundle,
                plain,
                schema,
                parties,
                poll,
                timeout,
                documents,
                acknowledge,
                max_inbox,
            } = tables;
            let word = match acknowledge {
                Acknowledge::Stored => "stored",
                Acknowledge::Handled => "handled",
            };
            let mut shared = vec![
                ("host", Value::from(host.clone())),
                ("port", number((*port).into())),
                ("database", Value::from(database.clone())),
                ("user", Value::from(user.clone())),
            ];
            shared.extend(optional("password_file", password_file.as_deref().map(path)));
            shared.extend(optional("bundle", bundle.as_deref().map(path)));
            shared.extend([
                ("plain", Value::from(*plain)),
                ("schema", Value::from(schema.to_string())),
                ("parties", Value::Array(parties.iter().map(|party| party.to_string().into()).collect())),
                ("poll_ms", millis(*poll)),
                ("timeout_ms", millis(*timeout)),
                ("documents", Value::from(*documents)),
                ("acknowledge", Value::from(word)),
                ("max_inbox", count(max_inbox.get())),
            ]);
            shared
        });

        let serving = connector.as_ref().map_or_else(Vec::new, |connector| {
            let Connector { party, services, at_once } = connector;
            let one = |((name, version), url): (&(String, u32), &WebhookUrl)| {
                (format!("{name}/{version}"), Value::from(url.to_string()))
            };
            vec![
                ("party", Value::from(party.to_string())),
                ("at_once", count(at_once.get())),
                ("services", Value::Table(services.iter().map(one).collect())),
            ]
        });

        let mut known_by = match identity {
            Some(folder) => vec![("identity", path(folder))],
            None => vec![
                ("certificate", path(certificate)),
                ("key", path(key)),
                ("bundle", path(bundle)),
                ("crl", Value::Array(revocation_lists.iter().map(|file| path(file)).collect())),
            ],
        };
        known_by.extend([("poll_ms", millis(*poll)), ("trust_every_seconds", number(trust_every.as_secs()))]);

        let sections = [
            ("", top),
            ("tls", known_by),
            (
                "timings",
                vec![
                    ("connect_timeout_ms", millis(*connect_timeout)),
                    ("call_timeout_ms", millis(*call_timeout)),
                    ("keep_alive_interval_ms", millis(*keep_alive_interval)),
                    ("keep_alive_timeout_ms", millis(*keep_alive_timeout)),
                ],
            ),
            (
                "spool",
                vec![
                    ("folder", path(folder)),
                    ("max_outgoing", count(max_outgoing.get())),
                    ("max_incoming", count(max_incoming.get())),
                    ("keep_outcomes_hours", number(keep_outcomes.as_secs() / 3600)),
                    ("max_document_mib", number(max_document_bytes / MIB)),
                    ("max_documents_mib", number(max_documents_bytes / MIB)),
                    ("min_free_mib", number(min_free_bytes / MIB)),
                ],
            ),
            ("rest", listening),
            ("remote", beyond),
            ("webhook", posting),
            ("folder", watching),
            ("tables", shared),
            ("connector", serving),
            ("population", population.as_ref().map_or_else(Vec::new, Population::written)),
            (
                "exchange",
                vec![
                    ("instance", Value::from(instance.clone())),
                    ("at_once", count(at_once.get())),
                    ("credit", number((*credit).into())),
                    ("backoff_first_ms", millis(*first)),
                    ("backoff_limit_ms", millis(*limit)),
                ],
            ),
            (
                "offline",
                vec![
                    ("enabled", Value::from(*enabled)),
                    ("block", number((*block).into())),
                    ("days_ahead", number((*days_ahead).into())),
                    ("authorities", Value::Array(authorities.iter().map(|one| one.to_string().into()).collect())),
                    ("refresh_seconds", number(refresh.as_secs())),
                    ("skew_tolerance_seconds", number(skew_tolerance.as_secs())),
                    ("ahead_seconds", number(ahead.as_secs())),
                    ("back_days", number(back.as_secs() / (24 * 3600))),
                ],
            ),
        ];
        let mut text = String::new();
        for (name, entries) in sections {
            if !name.is_empty() {
                text += &format!("\n[{name}]\n");
            }
            for (key, value) in entries {
                text += &format!("{key} = {value}\n");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key, and none at its default.
    const EVERYTHING: &str = r#"
        gateway = "https://gw.lgsp.hue.test:7443"
        server_name = "another.lgsp.hue.test"
        parties = ["H57.101", "H57.12", "H57.13", "H57.14"]
        stop_grace_seconds = 11
        [tls]
        certificate = "/etc/adapter.pem"
        key = "/etc/adapter.key"
        bundle = "/etc/ca.pem"
        crl = ["/etc/ca.crl"]
        poll_ms = 5001
        trust_every_seconds = 3601
        [timings]
        connect_timeout_ms = 10001
        call_timeout_ms = 30001
        keep_alive_interval_ms = 10002
        keep_alive_timeout_ms = 10003
        [spool]
        folder = "/srv/spool"
        max_outgoing = 10001
        max_incoming = 10002
        keep_outcomes_hours = 169
        max_document_mib = 101
        max_documents_mib = 4097
        min_free_mib = 257
        [rest]
        listen = "127.0.0.1:8481"
        token_file = "/etc/token"
        clients_file = "/etc/clients.toml"
        max_requests = 257
        [remote]
        listen = "0.0.0.0:8444"
        certificate = "/etc/rest.pem"
        key = "/etc/rest.key"
        client_bundle = "/etc/agency-clients.pem"
        [webhook]
        url = "http://127.0.0.1:9000/lgsp"
        secret_file = "/etc/webhook.secret"
        bundle = "/etc/agency-ca.pem"
        timeout_ms = 10004
        at_once = 17
        attempts = 21
        [webhook.parties]
        "H57.12" = "http://127.0.0.1:9001/lgsp"
        [folder]
        dir = "/srv/lgsp"
        parties = ["H57.13"]
        poll_ms = 1001
        settle_ms = 2001
        documents = true
        keep_hours = 170
        max_inbox = 10003
        [tables]
        host = "db.agency.test"
        port = 5433
        database = "mot_cua"
        user = "another"
        password_file = "/etc/db.password"
        bundle = "/etc/db-ca.pem"
        plain = true
        schema = "bus"
        parties = ["H57.14"]
        poll_ms = 5002
        timeout_ms = 10005
        documents = true
        acknowledge = "handled"
        max_inbox = 10004
        [connector]
        party = "H57.12"
        at_once = 18
        [connector.services]
        "thua-dat/1" = "http://127.0.0.1:9002/thua-dat"
        [population]
        party = "H57.12"
        at_once = 66
        [population.replica]
        host = "population.hue.test"
        port = 5434
        database = "dan_cu"
        user = "reader"
        password_file = "/etc/replica.password"
        bundle = "/etc/replica-ca.pem"
        plain = true
        schema = "replica"
        connections = 5
        timeout_ms = 5001
        [exchange]
        instance = "hue-2"
        at_once = 65
        credit = 255
        backoff_first_ms = 251
        backoff_limit_ms = 30002
        [offline]
        enabled = false
        block = 51
        days_ahead = 4
        authorities = ["H57.15"]
        refresh_seconds = 301
        skew_tolerance_seconds = 121
        ahead_seconds = 302
        back_days = 16
    "#;

    fn parse(text: &str) -> Config {
        Config::parse(text, Path::new("/"), []).unwrap()
    }

    #[test]
    fn what_is_printed_gives_the_same_configuration_again_whatever_was_set() {
        let config = parse(EVERYTHING);
        let printed = config.to_toml();
        assert_eq!(format!("{:#?}", parse(&printed)), format!("{config:#?}"), "{printed}");
        // A key at its default would be tried by nothing; one that is not printed is missed here by its name.
        let is_key = |line: &&str| line.trim().split_once(" = ").is_some();
        let compulsory = [
            "gateway",
            "parties",
            "certificate",
            "key",
            "bundle",
            "folder",
            "dir",
            "host",
            "database",
            "party",
            "\"thua-dat/1\"",
        ];
        for line in EVERYTHING.lines().filter(is_key) {
            let (key, _) = line.trim().split_once(" = ").unwrap();
            assert!(printed.contains(&format!("{key} = ")), "{key}");
            if !compulsory.contains(&key) {
                let without = EVERYTHING.replace(line, "");
                assert_ne!(format!("{:?}", parse(&without)), format!("{config:?}"), "{key} is set to its default");
            }
        }
    }

    #[test]
    fn that_no_token_is_asked_for_is_printed_as_well() {
        let config = parse(&EVERYTHING.replace("token_file = \"/etc/token\"", "token = \"none\""));
        assert_eq!(format!("{:#?}", parse(&config.to_toml())), format!("{config:#?}"));
    }

    #[test]
    fn an_identity_is_printed_instead_of_its_files() {
        let from = EVERYTHING.find("certificate = ").unwrap();
        let to = EVERYTHING.find("poll_ms = ").unwrap();
        let config = parse(&format!("{}identity = \"/srv/identity\"\n{}", &EVERYTHING[..from], &EVERYTHING[to..]));
        let printed = config.to_toml();
        assert!(printed.contains("identity = \"/srv/identity\"") && !printed.contains("ca.pem\"\ncrl"), "{printed}");
        assert_eq!(format!("{:#?}", parse(&printed)), format!("{config:#?}"));
    }

    #[test]
    fn the_example_knows_every_key() {
        let shown = super::super::EXAMPLE;
        for line in EVERYTHING.lines().filter(|line| line.contains(" = ")) {
            let (key, _) = line.trim().split_once(" = ").unwrap();
            assert!(shown.contains(&format!("{key} = ")), "{key}");
        }
    }
}
