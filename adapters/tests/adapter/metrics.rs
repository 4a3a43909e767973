//! What an adapter tells Prometheus.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};
use lgsp_adapters::telemetry::names;
use lgsp_certs::CertificateAuthority;
use lgsp_proto::v1::AcknowledgeStage::TakenOver;

use crate::identity::Bus;
use crate::support::{Adapter, DAY, PARTY, submission};

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";

/// The names of the series, each with the names of its labels.
fn shapes(page: &str) -> BTreeSet<(String, Vec<String>)> {
    let series = page.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap().0);
    let shape = |series: &str| {
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        (name.to_owned(), labels.collect())
    };
    series.map(shape).collect()
}

/// The values of labels, but for those of `open` sets, that the page on the architecture does not name under its figures.
fn undocumented(page: &str, open: &[&str]) -> Vec<String> {
    let architecture = concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md");
    let text = std::fs::read_to_string(architecture).unwrap();
    let figures = text.split("## Figures").nth(1).unwrap().split("\n## ").next().unwrap();
    let series = page.lines().filter(|line| !line.starts_with('#'));
    let labels = series.flat_map(|line| line.split(['{', ',', '}']).filter_map(|label| label.split_once("=\"")));
    let unknown = labels.filter(|(label, value)| {
        !open.contains(label) && !figures.contains(&format!("`{}`", value.trim_end_matches('"')))
    });
    unknown.map(|(label, value)| format!("{label}={value}")).collect()
}

fn seconds(moment: SystemTime) -> f64 {
    moment.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[tokio::test]
async fn the_page_has_every_figure_there_is_with_its_labels_and_no_other() {
    let world = crate::offline::world().await;
    let ca = CertificateAuthority::open(world.certificates.folder()).unwrap();
    let (now, list) = (SystemTime::now(), world.folder.path().join("gateways.crl"));
    let next = now + Duration::from_secs(7 * 24 * 3600);
    std::fs::write(&list, ca.revocation_list(&[], 1, now, next).unwrap()).unwrap();
    // And a portal that nobody answers for.
    let password = world.folder.path().join("portal.password");
    std::fs::write(&password, "a-secret").unwrap();
    std::fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    let mut config = world.config(&format!(
        "portal = {{ service_url = \"http://127.0.0.1:9/service\", login_url = \"http://127.0.0.1:9/login\", username = \"hue\", \
         password_file = {password:?}, destination = \"portal\", unit = \"H57\", parties = [\"{PARTY}\"] }}"
    ));
    config.identity.revocation_lists.push(list);
    let adapter = Adapter::start(config).await;
    adapter.until(|status| status["offline"]["registry"]["version"] == 7 && status["connected"] == true).await;
    // One delivery that nobody fetches, and one call that does not get through.
    world.gateway.deliver("A-1", 1);
    world.gateway.hears(TakenOver, 1).await;
    world.line.cut();
    adapter.until(|status| status["connected"] == false).await;
    let headers =
        [("lgsp-party", PARTY), ("lgsp-actor", "mot.cua"), ("idempotency-key", "k1"), ("lgsp-offline", "never")];
    let kept = adapter.call(Method::POST, "/v1/dossiers", &headers, submission().to_string()).await;
    assert_eq!(kept.status, StatusCode::ACCEPTED);
    let page = adapter.metrics().await;
    let value = |series: &str| page.value(series);
    assert_eq!((value("lgsp_adapter_outgoing{state=\"waiting\"}"), value("lgsp_adapter_connected")), (1.0, 0.0));
    assert_eq!(value("lgsp_adapter_incoming{state=\"not_handed_over\"}"), 1.0);
    assert_eq!(value("lgsp_adapter_registry_version"), 7.0);
    for oldest in ["outgoing", "incoming", "portal"] {
        let since = value(&format!("lgsp_adapter_{oldest}_oldest_timestamp_seconds"));
        assert!((seconds(now)..=seconds(SystemTime::now())).contains(&since), "{oldest} since {since}");
    }
    let own = value("lgsp_certificate_not_after_timestamp_seconds{certificate=\"own\"}");
    assert!((own - seconds(now + DAY)).abs() < 60.0, "{own}");
    let list = page.text.lines().find(|line| line.starts_with("lgsp_revocation_list_next_update")).unwrap();
    let told: f64 = list.rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!((told - seconds(next)).abs() < 1.0, "{list}");
    // A party, a clerk, a dossier and a key are nobody's label.
    for private in [PARTY, "mot.cua", "A-1", "k1"] {
        assert!(!page.text.contains(private), "{private} in\n{}", page.text);
    }

    // One that renews by itself says when.
    let bus = Bus::new().await;
    let renewing = bus.adapter().await;
    let renewing = renewing.metrics().await;
    assert!(renewing.value("lgsp_adapter_certificate_renew_from_timestamp_seconds") > seconds(now));
    let mut expected: BTreeSet<_> = names::ALL
        .iter()
        .copied()
        .flatten()
        .map(|metric| {
            let mut labels: Vec<_> = metric.labels.iter().map(|&label| label.to_owned()).collect();
            labels.sort();
            (metric.page_name(), labels)
        })
        .collect();
    expected.insert(("target_info".into(), vec!["service_name".into(), "service_version".into()]));
    for page in [&page.text, &renewing.text] {
        let unknown = undocumented(page, &["bundle", "root", "issuer", "service_name", "service_version"]);
        assert_eq!(unknown, Vec::<String>::new(), "the table of labels in ARCHITECTURE.md has not all of them");
    }
    let served: BTreeSet<_> = shapes(&page.text).union(&shapes(&renewing.text)).cloned().collect();
    assert_eq!(served, expected);
}

#[tokio::test]
async fn prometheus_gets_openmetrics_and_nothing_without_the_token() {
    let world = crate::support::World::new().await;
    let file = world.folder.path().join("token");
    std::fs::write(&file, "a-secret\n").unwrap();
    let mut adapter = Adapter::start(world.config(&format!("rest.token_file = {file:?}"))).await;
    let scrape = async |adapter: &Adapter| adapter.call(Method::GET, "/metrics", &[("accept", OPENMETRICS)], "").await;
    assert_eq!(scrape(&adapter).await.status, StatusCode::UNAUTHORIZED);
    adapter.token = Some("a-secret".into());
    let answered = scrape(&adapter).await;
    assert_eq!(answered.status, StatusCode::OK);
    assert_eq!(answered.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(answered.body.ends_with(b"\n# EOF\n"));
}
