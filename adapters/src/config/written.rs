//! A configuration written out again, with every default: what is printed, and would give the same if it were read.

use std::path::Path;
use std::time::Duration;

use toml::Value;

use super::Config;

impl Config {
    /// The effective values, as a file that would give the same configuration. Secrets appear as paths only.
    pub fn to_toml(&self) -> String {
        const MIB: u64 = 1 << 20;
        let path = |path: &Path| Value::from(path.display().to_string());
        let number = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
        let count = |count: usize| number(count as u64);
        let millis = |duration: Duration| number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let Config { address, parties, spool, rest, webhook, exchange, offline, stop_grace } = self;
        let timings = &address.timings;
        let optional = |key, value: Option<Value>| value.map(|value| (key, value));

        let mut top = vec![("gateway", Value::from(address.gateway.to_string()))];
        top.extend(optional("server_name", address.server_name.clone().map(Value::from)));
        let parties: Vec<_> = parties.iter().map(|party| party.to_string().into()).collect();
        top.push(("parties", Value::Array(parties)));
        top.push(("stop_grace_seconds", number(stop_grace.as_secs())));

        let mut listening = vec![("listen", Value::from(rest.listen.to_string()))];
        listening.extend(optional("token_file", rest.token_file.as_deref().map(path)));
        listening.push(("max_requests", count(rest.max_requests.get())));

        let mut posting: Vec<_> =
            optional("url", webhook.url.as_ref().map(|url| url.to_string().into())).into_iter().collect();
        posting.extend([("timeout_ms", millis(webhook.timeout)), ("at_once", count(webhook.at_once.get()))]);
        let single: toml::Table =
            webhook.parties.iter().map(|(party, url)| (party.to_string(), url.to_string().into())).collect();
        posting.extend(optional("parties", (!single.is_empty()).then_some(Value::Table(single))));

        let sections = [
            ("", top),
            (
                "tls",
                vec![
                    ("certificate", path(&address.tls.certificate)),
                    ("key", path(&address.tls.key)),
                    ("bundle", path(&address.tls.bundle)),
                ],
            ),
            (
                "timings",
                vec![
                    ("connect_timeout_ms", millis(timings.connect_timeout)),
                    ("call_timeout_ms", millis(timings.call_timeout)),
                    ("keep_alive_interval_ms", millis(timings.keep_alive_interval)),
                    ("keep_alive_timeout_ms", millis(timings.keep_alive_timeout)),
                ],
            ),
            (
                "spool",
                vec![
                    ("folder", path(&spool.folder)),
                    ("max_outgoing", count(spool.max_outgoing.get())),
                    ("max_incoming", count(spool.max_incoming.get())),
                    ("keep_outcomes_hours", number(spool.keep_outcomes.as_secs() / 3600)),
                    ("max_document_mib", number(spool.max_document_bytes / MIB)),
                    ("max_documents_mib", number(spool.max_documents_bytes / MIB)),
                    ("min_free_mib", number(spool.min_free_bytes / MIB)),
                ],
            ),
            ("rest", listening),
            ("webhook", posting),
            (
                "exchange",
                vec![
                    ("at_once", count(exchange.at_once.get())),
                    ("credit", number(exchange.credit.into())),
                    ("backoff_first_ms", millis(exchange.backoff.first)),
                    ("backoff_limit_ms", millis(exchange.backoff.limit)),
                ],
            ),
            (
                "offline",
                vec![
                    ("enabled", Value::from(offline.enabled)),
                    ("block", number(offline.block.into())),
                    ("days_ahead", number(offline.days_ahead.into())),
                    (
                        "authorities",
                        Value::Array(offline.authorities.iter().map(|one| one.to_string().into()).collect()),
                    ),
                    ("refresh_seconds", number(offline.refresh.as_secs())),
                    ("skew_tolerance_seconds", number(offline.skew_tolerance.as_secs())),
                    ("ahead_seconds", number(offline.ahead.as_secs())),
                    ("back_days", number(offline.back.as_secs() / (24 * 3600))),
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
