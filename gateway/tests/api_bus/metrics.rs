//! What the gateway tells Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lgsp_certs::PrivateKey;
use lgsp_gateway::telemetry::names;
use lgsp_proto::Reason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::delivery::Inbox;
use super::identity::is_locked_out;
use super::joining;
use super::world::*;

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

/// A page as it was served.
struct Page {
    head: String,
    text: String,
    /// Each series, as it is written, and its value.
    series: BTreeMap<String, f64>,
}

impl Page {
    fn value(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("{series} is not among\n{}", self.text))
    }

    /// The names of the series, each with the names of its labels.
    fn shapes(&self) -> BTreeSet<(String, Vec<String>)> {
        let shape = |series: &String| {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels =
                labels.trim_end_matches('}').split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            (name.to_owned(), labels.collect())
        };
        self.series.keys().map(shape).collect()
    }
}

impl Page {
    /// The values of labels that are of a closed set and that the page on the architecture does not name, under its figures or its
    /// refusals.
    fn undocumented(&self) -> Vec<String> {
        let architecture = concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md");
        let text = std::fs::read_to_string(architecture).unwrap();
        let section = |name: &str| text.split(name).nth(1).unwrap().split("\n## ").next().unwrap();
        // Reasons have a page each in the reference, which the table names.
        let reasons = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/reasons.md");
        let named = section("\n## Figures").to_owned() + &std::fs::read_to_string(reasons).unwrap();
        let open = ["bundle", "root", "issuer", "system", "service_name", "service_version"];
        let labels = self.series.keys().flat_map(|series| series.split(['{', ',', '}']));
        let labels = labels.filter_map(|label| label.split_once("=\""));
        let unknown = labels.filter(|(label, value)| {
            !open.contains(label) && !named.contains(&format!("`{}`", value.trim_end_matches('"')))
        });
        unknown.map(|(label, value)| format!("{label}={value}")).collect()
    }
}

impl World {
    async fn page(&self, accept: &str) -> Page {
        let mut stream = TcpStream::connect(self.local_address()).await.unwrap();
        let request = format!("GET /metrics HTTP/1.0\r\nhost: localhost\r\naccept: {accept}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let series = samples.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        });
        let series: BTreeMap<_, _> = series.collect();
        assert_eq!(series.len(), text.lines().filter(|line| !line.starts_with('#')).count(), "a series twice:\n{text}");
        Page { head: head.to_ascii_lowercase(), text: text.to_owned(), series }
    }

    async fn metrics(&self) -> Page {
        self.page("*/*").await
    }
}

fn seconds(moment: SystemTime) -> f64 {
    moment.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// A world with two bundles, one of them with a list, of which the next is due in a week.
async fn with_an_agency() -> (World, lgsp_certs::CertificateAuthority, SystemTime) {
    let mut world = World::start().await;
    let agency = world.other_authority("agency", DOMAIN);
    let now = SystemTime::now();
    let next = now + Duration::from_secs(7 * 24 * 3600);
    world.write("agency.pem", agency.root_pem());
    world.write("agency.crl", agency.revocation_list(&[], 1, now, next).unwrap());
    world.trust =
        "[[tls.trust]]\nname = \"so\"\nbundle = \"agency.pem\"\ncrl = \"agency.crl\"\nsystems = [\"mot-cua-*\"]".into();
    world.restart().await;
    (world, agency, next)
}

#[tokio::test]
async fn the_page_tells_when_certificates_roots_and_lists_end_and_what_systems_show() {
    let (world, agency, next) = with_an_agency().await;
    let issued = agency.issue_system(&"mot-cua-binh".parse().unwrap(), DAY * 3, SystemTime::now()).unwrap();
    let longer = world.credentials_of(&issued, "longer");
    let _long = Inbox::open(&world.connected_by(longer).await, &[BINH], 8).await;
    let binh = world.system("mot-cua-binh").await;
    let _short = Inbox::open(&binh, &[BINH], 8).await;

    let page = world.metrics().await;
    let until = |series: &str, moment: SystemTime| {
        assert!((page.value(series) - seconds(moment)).abs() < 1.0, "{series} is {}", page.value(series));
    };
    until("lgsp_certificate_not_after_timestamp_seconds{certificate=\"own\"}", world.gateway().not_after());
    let root = agency.root_pem();
    let root = lgsp_certs::CertificateFacts::read(&der(&root)).unwrap().not_after;
    let of_agency: Vec<_> = page.series.keys().filter(|series| series.contains("bundle=\"so\"")).collect();
    let [list, of_root] = &of_agency[..] else { panic!("a list and a root: {of_agency:?}") };
    assert!(
        list.starts_with("lgsp_revocation_list_next_update_timestamp_seconds{")
            && of_root.starts_with("lgsp_root_not_")
    );
    until(list, next);
    until(of_root, root);
    // Of two connections of one system that which ends first; a system that is not here has none, and is here as 0.
    let system = "lgsp_gateway_system_certificate_not_after_timestamp_seconds{system=\"mot-cua-binh\"}";
    until(system, binh.credentials.not_after());
    assert_eq!(page.value("lgsp_gateway_system_connections{system=\"mot-cua-binh\"}"), 2.0);
    assert_eq!(page.value("lgsp_gateway_system_connections{system=\"mot-cua\"}"), 0.0);
    assert!(!page.text.contains("certificate_not_after_timestamp_seconds{system=\"mot-cua\"}"));
    assert_eq!(page.value("lgsp_gateway_inbox_streams"), 2.0);

    // What is replaced is gone from the page at once.
    world.write("agency.pem", world.impostor().root_pem());
    let now = SystemTime::now();
    world.write("agency.crl", world.authority().revocation_list(&[], 2, now, now + DAY).unwrap());
    world.reload().await.unwrap();
    let after = world.metrics().await;
    assert!(!after.series.contains_key(*of_root), "{}", after.text);
    assert_eq!(after.value("lgsp_certificates_reloads_total{outcome=\"in_force\"}"), 1.0);
}

#[tokio::test]
async fn what_is_turned_away_is_counted_by_its_cause_and_by_nothing_that_was_sent() {
    let world = World::start_with("party_per_second = 1").await;
    let stranger = world.stranger().await;
    assert_eq!(reason(stranger.submit(&aid("k-1")).await), Reason::CertificateNotVouched);
    let impostor = world.impostor();
    let issued = impostor.issue_system(&"mot-cua".parse().unwrap(), DAY, SystemTime::now()).unwrap();
    assert!(is_locked_out(&world, world.credentials_of(&issued, "impostor").client_config()).await);
    // Certified, and not in the registry: it counts, and has no series of its own.
    let unknown = world.system("khong-co").await;
    assert_eq!(reason(unknown.submit(&aid("k-1")).await), Reason::SystemUnknown);
    let desk = world.system("mot-cua").await;
    let refused =
        async |key: u32| desk.submit(&aid(&format!("k-{key}"))).await.err().map(|status| reason(Err::<(), _>(status)));
    let mut quota = 0;
    for key in 0..8 {
        quota += u32::from(refused(key).await == Some(Reason::QuotaExceeded));
    }
    assert!(quota > 0);
    world.write("gateway.pem", "nothing");
    world.reload().await.unwrap_err();

    let page = world.metrics().await;
    assert!(page.value("lgsp_gateway_handshakes_refused_total{reason=\"unknown_ca\"}") >= 1.0, "{}", page.text);
    assert_eq!(page.value("lgsp_gateway_handshakes_refused_total{reason=\"revoked\"}"), 0.0);
    assert_eq!(page.value("lgsp_gateway_calls_refused_total{reason=\"CERTIFICATE_NOT_VOUCHED\"}"), 1.0);
    assert_eq!(page.value("lgsp_gateway_calls_refused_total{reason=\"QUOTA_EXCEEDED\"}"), f64::from(quota));
    assert_eq!(page.value("lgsp_gateway_quota_refusals_total{quota=\"party_rate\"}"), f64::from(quota));
    assert_eq!(page.value("lgsp_certificates_reloads_total{outcome=\"failed\"}"), 1.0);
    assert_eq!(page.value("lgsp_certificates_up_to_date"), 0.0);
    assert!(page.value("lgsp_gateway_connections") >= 3.0 && !page.text.contains("khong-co"), "{}", page.text);
    assert!(!page.text.contains(NEIGHBOUR) && !page.text.contains("k-1"), "{}", page.text);

    // The key of the desk is put out: it is counted there, and its next handshake as well.
    let key = desk.credentials.client_config();
    let facts = lgsp_certs::CertificateFacts::read(desk.credentials.certificate()).unwrap();
    world.engine().connections().revoke([facts.key_sha256]);
    assert!(is_locked_out(&world, key).await);
    let page = world.metrics().await;
    assert_eq!(page.value("lgsp_gateway_keys_revoked"), 1.0);
    assert!(page.value("lgsp_gateway_handshakes_refused_total{reason=\"revoked\"}") >= 1.0, "{}", page.text);
}

#[tokio::test]
async fn the_page_has_every_figure_there_is_with_its_labels_and_no_other() {
    let (world, _, _) = with_an_agency().await;
    let operator = world.system("van-hanh").await;
    let token = joining::issue(&operator, joining::token_for("mot-cua")).await;
    let key = PrivateKey::generate().unwrap();
    let joined = joining::join(&world, &token, &key).await.unwrap();
    assert!(joined.certificate.is_some());
    // The same token with another key is refused.
    joining::join(&world, &token, &PrivateKey::generate().unwrap()).await.unwrap_err();
    let _open = joining::issue(&operator, joining::token_for("mot-cua")).await;
    let _ = world.system("mot-cua").await.admitted(&aid("k-1")).await;
    let page = world.metrics().await;
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
    assert_eq!(page.shapes(), expected);
    assert_eq!(
        page.undocumented(),
        Vec::<String>::new(),
        "ARCHITECTURE.md and the reference have not all values of labels"
    );
    assert_eq!(page.value("lgsp_gateway_join_tokens_open"), 1.0);
    assert_eq!(page.value("lgsp_gateway_certificates_issued_total{over=\"token\"}"), 1.0);
    assert_eq!(page.value("lgsp_gateway_joins_refused_total{reason=\"TOKEN_SPENT\"}"), 1.0);
    assert_eq!((page.value("lgsp_gateway_ready"), page.value("lgsp_gateway_dossiers")), (1.0, 1.0));
    let owed = ["waiting", "taken_over", "parked"];
    let owed = owed.map(|state| page.value(&format!("lgsp_gateway_deliveries{{state=\"{state}\"}}")));
    assert!(owed[0] > 0.0 && owed[1..] == [0.0, 0.0], "{owed:?}");
}

#[tokio::test]
async fn prometheus_gets_openmetrics_and_a_person_plain_text() {
    let world = World::start().await;
    let plain = world.metrics().await;
    assert!(plain.head.contains("content-type: text/plain; version=0.0.4"), "{}", plain.head);
    assert!(plain.text.contains("# TYPE lgsp_gateway_events_total counter\n") && !plain.text.contains("# EOF"));
    let open = world.page(OPENMETRICS).await;
    assert!(open.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", open.head);
    assert!(open.text.contains("# TYPE lgsp_gateway_events counter\n") && open.text.ends_with("\n# EOF\n"));
    assert!(open.text.contains("# UNIT lgsp_gateway_start_timestamp_seconds seconds\n"));
    assert_eq!(open.shapes(), plain.shapes());
}

fn der(pem: &str) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject as _;
    rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}
