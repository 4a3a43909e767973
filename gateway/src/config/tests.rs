//! A bad file is told whole; a good one survives being printed.

use super::*;

const GOOD: &str = r#"
name = "lgsp.hue.test"
[tls]
certificate = "tls/gateway.pem"
key = "tls/gateway.key"
client_bundle = "tls/ca.pem"
[store]
dir = "data"
node_key = "secret/node.key"
[documents]
dir = "documents"
"#;

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, Problems> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(text, Path::new("/etc/lgsp"), environment)
}

fn keys(problems: &Problems) -> Vec<&str> {
    problems.0.iter().map(|problem| problem.key.as_str()).collect()
}

#[test]
fn what_is_not_said_has_a_default_and_paths_start_at_the_file() {
    let config = parse(GOOD, &[]).unwrap();
    assert_eq!(config.listen.bus, "0.0.0.0:7443".parse().unwrap());
    assert_eq!(config.listen.local, "127.0.0.1:7480".parse().unwrap());
    assert_eq!(config.store.dir, Path::new("/etc/lgsp/data"));
    assert_eq!(config.limits, Limits::default());
    let retention = &config.retention;
    assert_eq!((retention.archive_after_days, &*retention.archive_dir), (None, Path::new("/etc/lgsp/data/archives")));
    assert_eq!(config.queries.unattached_days, 30);
    assert_eq!((config.business_clock, config.first_registry), (BusinessClock::System, None));
}

#[test]
fn every_problem_is_reported_at_once_with_its_key() {
    let bad = r#"
        colour = "red"
        [listen]
        bus = "bus"
        local = "0.0.0.0:7480"
        [tls]
        certificate = 7
        client_bundle = ""
        [store]
        dir = "data"
        node_key = "data/node.key"
        [documents]
        dir = "documents"
        max_bytes = 0
        max_byte = 1
        [business_clock]
        kind = "sundial"
        [limits]
        lease_s = -1
        lease_days = 32
        lease_block = 0
        lease_hold = 10001
    "#;
    let problems = parse(bad, &[("LGSP_GATEWAY__A__B__C", "1")]).unwrap_err();
    let mut found = keys(&problems);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "LGSP_GATEWAY__A__B__C",
            "business_clock.kind",
            "colour",
            "documents.max_byte",
            "documents.max_bytes",
            "limits.lease_block",
            "limits.lease_days",
            "limits.lease_hold",
            "limits.lease_s",
            "listen.bus",
            "listen.local",
            "name",
            "store.node_key",
            "tls.certificate",
            "tls.client_bundle",
            "tls.key",
        ]
    );
    assert!(problems.0.iter().all(|problem| !problem.what.is_empty() && !problem.remedy.is_empty()));
}

#[test]
fn a_short_bundle_vouches_for_every_system_of_the_bus_and_others_for_what_they_say() {
    let config = parse(
        &format!(
            "{GOOD}\n[[tls.trust]]\nname = \"so-y-te\"\nbundle = \"yte.pem\"\ncrl = \"yte.crl\"\nsystems = [\"yte-*\", \"his\"]\n\
             [[tls.trust]]\nname = \"spire\"\nbundle = \"spire.pem\"\ncrl = [\"a.crl\", \"b.crl\"]\ntrust_domain = \"spire.test\"\nsystems = [\"*\"]\n"
        ),
        &[],
    )
    .unwrap();
    let all = |trust: &TrustFiles| trust.systems.iter().map(ToString::to_string).collect::<Vec<_>>();
    let [short, health, spire] = config.tls.trust.as_slice() else { panic!("{:?}", config.tls.trust) };
    assert_eq!((short.bundle.as_path(), &short.trust_domain), (Path::new("/etc/lgsp/tls/ca.pem"), &config.name));
    assert_eq!((all(short), short.crls.len()), (vec!["*".to_owned()], 0));
    assert_eq!((health.name.as_str(), &health.trust_domain), ("so-y-te", &config.name));
    assert_eq!(all(health), ["yte-*", "his"]);
    assert_eq!(health.crls, [Path::new("/etc/lgsp/yte.crl")]);
    assert_eq!((spire.trust_domain.as_str(), all(spire)), ("spire.test", vec!["*".to_owned()]));
    assert_eq!(spire.crls, [Path::new("/etc/lgsp/a.crl"), Path::new("/etc/lgsp/b.crl")]);
    // Printed, it is the same; and without the short form as well.
    assert_eq!(parse(&config.to_toml(), &[]).unwrap(), config);
    let long_only = config.to_toml().replace("client_bundle = ", "# client_bundle = ");
    assert_eq!(parse(&long_only, &[]).unwrap().tls.trust, config.tls.trust[1..]);
    // The environment reaches the short form.
    let environment = [("LGSP_GATEWAY__TLS__CLIENT_BUNDLE", "/other.pem")];
    assert_eq!(parse(&long_only, &environment).unwrap().tls.trust[0].bundle, Path::new("/other.pem"));
}

#[test]
fn every_problem_of_a_bundle_names_it_by_its_number() {
    let bad = GOOD.replace("client_bundle = \"tls/ca.pem\"", "")
        + "[[tls.trust]]\nname = \"Sở\"\ncrl = 7\n\
           [[tls.trust]]\nname = \"b\"\nbundle = \"b.pem\"\nsystems = []\ntrust_domain = \"A\"\ncolour = 1\n";
    let problems = parse(&bad, &[]).unwrap_err();
    let mut found = keys(&problems);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "tls.trust[1].bundle",
            "tls.trust[1].crl",
            "tls.trust[1].name",
            "tls.trust[1].systems",
            "tls.trust[2].colour",
            "tls.trust[2].systems",
            "tls.trust[2].trust_domain",
        ]
    );
    let trust = "[[tls.trust]]\nname = \"b\"\nbundle = \"b.pem\"\nsystems = [\"b\"]\n";
    assert_eq!(keys(&parse(&format!("{GOOD}{trust}{trust}"), &[]).unwrap_err()), ["tls.trust[2].name"]);
    let none = GOOD.replace("client_bundle", "# client_bundle");
    assert_eq!(keys(&parse(&none, &[]).unwrap_err()), ["tls.client_bundle"]);
    let flat = GOOD.replace("client_bundle = \"tls/ca.pem\"", "trust = \"ca.pem\"");
    assert_eq!(keys(&parse(&flat, &[]).unwrap_err()), ["tls.trust"]);
}

#[test]
fn whoever_lets_systems_join_says_by_which_ca_and_where_they_find_it() {
    let config = parse(GOOD, &[]).unwrap();
    assert_eq!((config.ca, config.listen.enrol), (None, None));
    let ca = "[listen]\nenrol = \"0.0.0.0:7444\"\n[ca]\ndir = \"ca\"\nenrol_url = \"https://gw.lgsp.hue.test:7444\"\n";
    let config = parse(&format!("{GOOD}{ca}"), &[]).unwrap();
    let read = config.ca.clone().unwrap();
    assert_eq!((read.dir.as_path(), read.leaf_life.as_secs()), (Path::new("/etc/lgsp/ca"), 30 * 24 * 3600));
    assert_eq!(read.token_valid.as_secs(), 24 * 3600);
    assert_eq!(parse(&config.to_toml(), &[]).unwrap(), config);

    let bad = "[ca]\nleaf_life_s = 0\ntoken_valid_s = 604801\nbus_url = \"gw:7443\"\nserver_name = \"a b\"\n";
    let problems = parse(&format!("{GOOD}{bad}"), &[]).unwrap_err();
    assert_eq!(keys(&problems), ["ca.dir", "ca.leaf_life_s", "ca.token_valid_s", "ca.bus_url", "ca.server_name"]);
    let nothing_signs = parse(&format!("{GOOD}[listen]\nenrol = \"0.0.0.0:7444\"\n"), &[]).unwrap_err();
    assert_eq!(keys(&nothing_signs), ["listen.enrol"]);
}

#[test]
fn a_replay_needs_its_start() {
    let replay = format!("{GOOD}\n[business_clock]\nkind = \"replay\"\n");
    assert_eq!(keys(&parse(&replay, &[]).unwrap_err()), ["business_clock.start"]);
    let start = ("LGSP_GATEWAY__BUSINESS_CLOCK__START", "2025-07-14T07:00:00+07:00");
    let BusinessClock::Replay { start } = parse(&replay, &[start]).unwrap().business_clock else { panic!("no replay") };
    assert_eq!(start.to_string(), "2025-07-14T07:00:00+07:00");
}

#[test]
fn the_environment_overrides_the_file_and_others_variables_are_left_alone() {
    let environment = [
        ("LGSP_GATEWAY__LISTEN__BUS", "127.0.0.1:1"),
        ("LGSP_GATEWAY__LIMITS__CALLS", "8"),
        ("LGSP_GATEWAY__NAME", "other.test"),
        ("LGSP_ADAPTER__LISTEN__BUS", "no"),
        ("PATH", "/bin"),
    ];
    let config = parse(GOOD, &environment).unwrap();
    assert_eq!((config.listen.bus, config.limits.calls), ("127.0.0.1:1".parse().unwrap(), 8));
    assert_eq!(config.name, "other.test".parse().unwrap());
}

#[test]
fn what_is_printed_parses_back_to_the_same() {
    let replay = [
        ("LGSP_GATEWAY__BUSINESS_CLOCK__KIND", "replay"),
        ("LGSP_GATEWAY__BUSINESS_CLOCK__START", "2025-07-14T07:00:00+07:00"),
        ("LGSP_GATEWAY__REGISTRY__FIRST", "registry/hue"),
        ("LGSP_GATEWAY__LIMITS__LEASE_DAYS", "5"),
        ("LGSP_GATEWAY__LIMITS__LEASE_BLOCK", "50"),
        ("LGSP_GATEWAY__LIMITS__LEASE_HOLD", "300"),
        ("LGSP_GATEWAY__LIMITS__RECEIVED_LATE_S", "1800"),
    ];
    for environment in [&replay[..], &[]] {
        let config = parse(GOOD, environment).unwrap();
        assert_eq!(parse(&config.to_toml(), &[]).unwrap(), config);
    }
}

#[test]
fn a_file_that_is_not_toml_names_the_line() {
    let problems = parse("name = \"a\"\n[listen\n", &[]).unwrap_err();
    assert!(problems.0[0].what.starts_with("line 2 "), "{problems}");
}
