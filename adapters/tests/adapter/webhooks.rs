//! Webhooks as an agency's developer meets them: what is posted, how it is signed, what is seen of it, and a trial.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use http::{Method, StatusCode};
use lgsp_adapters::RunError;
use lgsp_proto::v1::AcknowledgeStage::HandedOver;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::agency::Posted;
use crate::support::{Adapter, Answer, Certificates, OTHER_PARTY, PARTY, World, until};

fn id(dossier: &str, sequence: u32) -> String {
    format!("{PARTY}/{dossier}/{sequence}")
}

fn header<'a>(posted: &'a Posted, name: &str) -> &'a str {
    posted.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

fn secret_file(world: &World) -> PathBuf {
    world.spool_folder().join("webhook.secret")
}

/// The signatures of a post, computed by Python's own library with each of these secrets.
fn by_python(posted: &Posted, secrets: &str) -> String {
    const SIGN: &str = "
import base64, hashlib, hmac, sys
id, timestamp, secrets = sys.argv[1:]
signed = (id + '.' + timestamp + '.').encode() + sys.stdin.buffer.read()
keys = [base64.b64decode(secret.removeprefix('whsec_')) for secret in secrets.split()]
print(' '.join('v1,' + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys))
";
    let mut python = Command::new("python3")
        .args(["-c", SIGN, header(posted, "webhook-id"), header(posted, "webhook-timestamp"), secrets])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(&posted.bytes).unwrap();
    String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_webhook_is_a_cloud_event_about_a_dossier() {
    let world = World::new().await;
    let adapter = world.pushing_adapter().await;
    world.gateway.deliver("D-1", 3);
    world.agency.takes(1).await;
    let [posted] = &world.agency.posted()[..] else { panic!() };
    assert_eq!(header(posted, "content-type"), "application/cloudevents+json; charset=utf-8");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut event = posted.event.clone();
    let time = event.as_object_mut().unwrap().remove("time");
    assert_eq!(
        event,
        json!({
            "specversion": "1.0", "id": id("D-1", 3), "source": "spiffe://lgsp.hue.test/system/one-stop",
            "type": "vn.lgsp.dossier.accepted.v1", "subject": "D-1", "datacontenttype": "application/json",
            "traceparent": trace, "partitionkey": "D-1",
        })
    );
    // As the gateway has told it, or not at all.
    assert_eq!(time.unwrap_or_default(), posted.body["event"]["admitted_at"]);

    // The outcome of a request is about the dossier it made; a refusal is about none.
    adapter.submit("k1").await;
    world.agency.takes(2).await;
    world.gateway.answer_next([Answer::Refuse(lgsp_proto::Reason::ProcedureUnknown)]);
    adapter.submit("k2").await;
    world.agency.takes(3).await;
    let told: Vec<_> = world.agency.posted()[1..].iter().map(|posted| posted.event.clone()).collect();
    assert_eq!(told[0]["type"], "vn.lgsp.request.admitted.v1");
    assert_eq!(told[0]["partitionkey"], told[0]["subject"]);
    assert_eq!(told[0]["subject"], world.agency.posted()[1].body["dossier_code"]);
    assert_eq!((&told[1]["type"], told[1].get("subject")), (&"vn.lgsp.request.refused.v1".into(), None));
}

#[tokio::test]
async fn every_post_is_signed_as_another_implementation_signs_it_also_when_it_comes_again() {
    let world = World::new().await;
    let _adapter = world.pushing_adapter().await;
    world.agency.answer(&id("A-1", 1), &[StatusCode::INTERNAL_SERVER_ERROR]);
    world.gateway.deliver("A-1", 1);
    world.agency.takes(1).await;
    let secret = fs::read_to_string(secret_file(&world)).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let posted = world.agency.posted();
    assert_eq!(posted.len(), 2);
    for posted in &posted {
        assert_eq!(header(posted, "webhook-signature"), by_python(posted, secret.trim()));
        assert_eq!(header(posted, "webhook-id"), "H57%2E101/A-1/1", "the same however often it comes");
        let sent: u64 = header(posted, "webhook-timestamp").parse().unwrap();
        assert!(now.abs_diff(sent) < 60, "the time of the post, not of the event");
    }
}

#[tokio::test]
async fn while_a_secret_is_changed_who_has_the_old_one_and_who_has_the_new_one_both_accept() {
    let world = World::new().await;
    let _adapter = world.pushing_adapter().await;
    world.gateway.deliver("A-1", 1);
    world.agency.takes(1).await;
    let old = fs::read_to_string(secret_file(&world)).unwrap().trim().to_owned();
    let new = format!("whsec_{}", BASE64.encode(&[7; 32]));
    fs::write(secret_file(&world), format!("{new}\n{old}\n")).unwrap();
    // A changed file counts soon, without a restart.
    let mut sequence = 1;
    let posted = until(async || {
        sequence += 1;
        world.gateway.deliver("A-1", sequence);
        world.agency.takes(sequence as usize).await;
        let last = world.agency.posted().pop().unwrap();
        header(&last, "webhook-signature").contains(' ').then_some(last)
    })
    .await;
    let signatures: Vec<_> = header(&posted, "webhook-signature").split(' ').collect();
    assert_eq!(signatures, [by_python(&posted, &new), by_python(&posted, &old)]);
}

#[tokio::test]
async fn what_is_seen_of_webhooks_says_who_fails_since_when_and_what_to_do() {
    let world = World::new().await;
    // Long enough to be seen waiting.
    let config_text = world.pushing_config().to_toml().replace("backoff_limit_ms = 50", "backoff_limit_ms = 60000");
    let config = lgsp_adapters::Config::parse(&config_text, Path::new("/"), []).unwrap();
    let adapter = Adapter::start(config).await;
    world.agency.answer(&id("A-1", 1), &[StatusCode::UNAUTHORIZED; 3]);
    world.gateway.deliver("A-1", 1);
    world.gateway.deliver("B-1", 1);
    world.agency.takes(2).await;
    world.gateway.hears(HandedOver, 2).await;

    // The gateway may hear of a hand-over before it is counted as done here.
    let seen = until(async || {
        let seen = adapter.call(Method::GET, "/v1/webhooks", &[], "").await.json();
        (seen["webhooks"][0]["waiting"] == 0).then_some(seen)
    })
    .await;
    let [webhook] = &seen["webhooks"].as_array().unwrap()[..] else { panic!("{seen}") };
    assert_eq!(webhook["url"], format!("http://{}/lgsp", world.agency.address()));
    assert_eq!(webhook["parties"], json!([PARTY, OTHER_PARTY]));
    assert_eq!(webhook["unencrypted"], false);
    assert_eq!(webhook["last_failure"]["outcome"], "http_status");
    assert_eq!(webhook["last_failure"]["http_status"], 401);
    assert!(webhook["last_failure"]["message_en"].as_str().unwrap().contains("secret"), "{seen}");
    assert_eq!((webhook.get("failing_since"), webhook.get("next_attempt_at")), (None, None), "{seen}");
    assert!(webhook["last_success_at"].is_string());

    // Each post, the latest first, in pages; without what it held.
    let pages = async |path: &str| adapter.call(Method::GET, path, &[], "").await;
    let of_a = pages("/v1/webhooks/attempts?dossier_code=A-1&party=H57.101&page_size=3").await.json();
    let words: Vec<_> = of_a["attempts"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(words, ["taken", "http_status", "http_status"]);
    let latest = &of_a["attempts"][0];
    assert_eq!((&latest["id"], &latest["attempt"]), (&id("A-1", 1).into(), &4.into()));
    assert_eq!((&latest["type"], &latest["dossier_code"]), (&"vn.lgsp.dossier.accepted.v1".into(), &"A-1".into()));
    assert!(latest["duration_ms"].is_u64() && latest["at"].is_string() && latest.get("data").is_none());
    let next = of_a["next_page_token"].as_str().unwrap();
    let rest = pages(&format!("/v1/webhooks/attempts?dossier_code=A-1&page_token={next}")).await.json();
    assert_eq!(rest["attempts"].as_array().unwrap().len(), 1);
    assert_eq!((&rest["attempts"][0]["attempt"], rest.get("next_page_token")), (&1.into(), None));
    assert_eq!(pages("/v1/webhooks/attempts?party=H57.12").await.json()["attempts"], json!([]));
    for bad in ["page_size=0", "page_size=201", "party=h57"] {
        let answer = pages(&format!("/v1/webhooks/attempts?{bad}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }

    // While it fails: since when, how much waits, and when it is tried again.
    world.agency.answer(&id("C-1", 1), &[StatusCode::SERVICE_UNAVAILABLE; 500]);
    world.gateway.deliver("C-1", 1);
    let failing = until(async || {
        let seen = adapter.call(Method::GET, "/v1/webhooks", &[], "").await.json()["webhooks"][0].clone();
        (seen["last_failure"]["http_status"] == 503 && seen["next_attempt_at"].is_string()).then_some(seen)
    })
    .await;
    assert!(failing["failing_since"].is_string() && failing["waiting"] == 1, "{failing}");
    let status = adapter.status().await;
    assert_eq!(status["webhooks"], json!({ "configured": 1, "failing": 1, "waiting": 1 }));
}

#[tokio::test]
async fn a_webhook_can_be_tried_and_is_told_what_to_mend() {
    let world = World::new().await;
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/lgsp", port.local_addr().unwrap());
    drop(port);
    let agency = format!("http://{}/lgsp", world.agency.address());
    // What is in a query, the receiver alone has to know.
    let whole = format!("{agency}?token=not-to-be-shown");
    let more = format!("webhook.url = \"{whole}\"\nwebhook.parties = {{ \"{OTHER_PARTY}\" = \"{nobody}\" }}");
    let adapter = Adapter::start(world.config(&more)).await;
    let tried = async |body: Value| adapter.call(Method::POST, "/v1/webhooks/test", &[], body.to_string()).await;

    let results = tried(json!({})).await.json();
    let seen = |at: usize| (results["results"][at]["parties"].clone(), results["results"][at]["outcome"].clone());
    assert_eq!(seen(0), (json!([PARTY]), "taken".into()));
    assert_eq!(seen(1), (json!([OTHER_PARTY]), "connection_refused".into()));
    assert!(results["results"][1]["message_vi"].as_str().unwrap().contains("webhook.url"));
    let [posted] = &world.agency.posted()[..] else { panic!() };
    assert_eq!(posted.event["type"], "vn.lgsp.webhook.test.v1");
    assert_eq!(posted.body["party"], PARTY);
    let secret = fs::read_to_string(secret_file(&world)).unwrap();
    assert_eq!(header(posted, "webhook-signature"), by_python(posted, secret.trim()));

    for one in [json!({ "url": agency }), json!({ "url": whole }), json!({ "party": PARTY })] {
        let results = tried(one).await.json()["results"].clone();
        assert_eq!(results.as_array().unwrap().len(), 1);
        assert_eq!(results[0]["url"], agency);
    }
    // A trial says nothing about the events that wait, and nothing is ever posted to where nothing is set up.
    let webhooks = adapter.call(Method::GET, "/v1/webhooks", &[], "").await.json();
    assert!(webhooks["webhooks"].as_array().unwrap().iter().all(|one| one.get("failing_since").is_none()));
    assert!(webhooks.to_string().contains(&format!("\"{agency}\"")), "{webhooks}");
    let attempts = adapter.call(Method::GET, "/v1/webhooks/attempts", &[], "").await.json();
    for said in [&results, &webhooks, &attempts] {
        assert!(!said.to_string().contains("not-to-be-shown"), "{said}");
    }
    for elsewhere in [json!({ "url": "http://127.0.0.1:1/" }), json!({ "party": "H57.99" })] {
        let answer = tried(elsewhere).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::NOT_FOUND, &"WEBHOOK_NOT_FOUND".into()));
    }
    assert_eq!(world.agency.posted().len(), 4);
}

/// An agency's system that answers 200 and never ends its answer.
async fn dawdling() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test's runtime.
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let read = stream.read(&mut [0; 4096]).await.unwrap();
            assert!(read > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
            open.push(stream);
        }
    });
    address.to_string()
}

#[tokio::test]
async fn what_was_answered_2xx_is_taken_also_if_the_answer_never_ends() {
    let world = World::new().await;
    let more = format!("webhook.url = \"http://{}/lgsp\"\nwebhook.timeout_ms = 3000", dawdling().await);
    let adapter = Adapter::start(world.config(&more)).await;
    world.gateway.deliver("A-1", 1);
    world.gateway.hears(HandedOver, 1).await;
    let tried = adapter.call(Method::POST, "/v1/webhooks/test", &[], "{}").await.json();
    assert_eq!(tried["results"][0]["outcome"], "taken");
    let attempts = adapter.call(Method::GET, "/v1/webhooks/attempts", &[], "").await.json();
    let attempts = attempts["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "each was posted once");
}

#[tokio::test]
async fn an_adapter_that_could_not_sign_or_check_as_told_does_not_start() {
    let world = World::new().await;
    let fails = async |more: &str| {
        let config = world.config(&format!("webhook.url = \"https://127.0.0.1:9/\"\n{more}"));
        let (ready, _) = tokio::sync::oneshot::channel();
        let stop = tokio_util::sync::CancellationToken::new();
        lgsp_adapters::run(config, stop, ready).await.unwrap_err()
    };
    let root = world.certificates.files("any").bundle;
    let secrets = world.folder.path().join("bad.secret");
    fs::write(&secrets, "whsec_dG9vIHNob3J0").unwrap();
    let error = fails(&format!("webhook.bundle = {root:?}\nwebhook.secret_file = {secrets:?}")).await;
    assert!(matches!(&error, RunError::WebhookSecrets { file, .. } if *file == secrets), "{error:?}");
    let error = fails("webhook.bundle = \"/nowhere/agency-ca.pem\"").await;
    assert!(matches!(error, RunError::WebhookBundle(_)), "{error:?}");
}

/// The receiver that docs/webhooks.md shows, running.
struct Receiver {
    process: std::process::Child,
    url: String,
}

impl Receiver {
    async fn start(world: &World) -> Self {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/webhooks.md")).unwrap();
        let program = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
        let file = world.folder.path().join("receiver.py");
        fs::write(&file, program).unwrap();
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = port.local_addr().unwrap();
        drop(port);
        let process = Command::new("python3")
            .arg(file)
            .arg(secret_file(world))
            .arg(address.port().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until(async || tokio::net::TcpStream::connect(address).await.ok()).await;
        Self { process, url: format!("http://{address}/") }
    }

    /// Posts what somebody else might, and gives the answer's status.
    async fn post(&self, id: &str, timestamp: u64, signature: &str, body: &str) -> StatusCode {
        use hyper_util::client::legacy::{Client, connect::HttpConnector};
        let client: Client<HttpConnector, String> = Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
        let request = http::Request::post(&self.url)
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature);
        client.request(request.body(body.to_owned()).unwrap()).await.unwrap().status()
    }

    /// Ends it; what it has printed.
    fn end(mut self) -> String {
        self.process.kill().unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.process.stdout.take().unwrap(), &mut said).unwrap();
        said
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Once more does no harm.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn the_receiver_in_the_readme_takes_what_is_genuine_once_and_refuses_the_rest() {
    let world = World::new().await;
    let receiver = Receiver::start(&world).await;
    let adapter = Adapter::start(world.config(&format!("webhook.url = \"{}\"", receiver.url))).await;
    let waits = async |count: usize| adapter.until(|status| status["incoming"]["not_handed_over"] == count).await;
    for (dossier, sequence) in [("A-1", 1), ("A-1", 2), ("B-1", 1)] {
        world.gateway.deliver(dossier, sequence);
    }
    world.gateway.hears(HandedOver, 3).await;
    waits(0).await;
    // A new secret above the old one: both are in the file that the receiver reads, too.
    let old = fs::read_to_string(secret_file(&world)).unwrap();
    let new = format!("whsec_{}", BASE64.encode(&[7; 32]));
    fs::write(secret_file(&world), format!("{new}\n{old}")).unwrap();
    world.gateway.deliver("A-1", 3);
    world.gateway.hears(HandedOver, 4).await;

    // What a stranger sends, what was changed on the way, and what is as old as it was genuine.
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
    let sign = |id: &str, sent: u64, body: &str| {
        let tag = aws_lc_rs::hmac::sign(&key, format!("{id}.{sent}.{body}").as_bytes());
        format!("v1,{}", BASE64.encode(tag.as_ref()))
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let body = r#"{"id":"x/1","type":"vn.lgsp.webhook.test.v1"}"#;
    let genuine = sign("x/1", now, body);
    for _ in 0..2 {
        assert_eq!(receiver.post("x/1", now, &format!("v1,AAAA {genuine}"), body).await, StatusCode::NO_CONTENT);
    }
    for (id, sent, signature, body) in [
        ("x/1", now, "v1,AAAA", body),
        ("x/2", now, &genuine, body),
        ("x/1", now, &genuine, r#"{"id":"x/3","type":"vn.lgsp.webhook.test.v1"}"#),
        ("x/1", now - 1, &genuine, body),
        ("x/4", now - 400, &sign("x/4", now - 400, body), body),
    ] {
        assert_eq!(receiver.post(id, sent, signature, body).await, StatusCode::UNAUTHORIZED, "{id} {sent}");
    }
    let line = |kind: &str, dossier: &str| format!("vn.lgsp.{kind}.v1 {dossier}");
    let said = receiver.end();
    let mut said: Vec<_> = said.lines().map(str::to_owned).collect();
    said.sort_unstable();
    let mut expected = vec![line("dossier.accepted", "A-1"); 3];
    expected.extend([line("dossier.accepted", "B-1"), line("webhook.test", "-")]);
    assert_eq!(said, expected);
}

/// The agency's system behind TLS, with a certificate for this name; asks nobody for theirs.
async fn behind_tls(world: &World, name: &str) -> String {
    use lgsp_certs::{server_name, tls::certificates_in};
    use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};
    let files = world.certificates.server_for(&server_name(name).unwrap(), name);
    let chain = certificates_in(&files.certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, agency) = (listener.local_addr().unwrap(), world.agency.address());
    // Ends with the test's runtime.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut outside = acceptor.accept(stream).await?;
                let mut inside = tokio::net::TcpStream::connect(agency).await?;
                tokio::io::copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    });
    address.to_string()
}

#[tokio::test]
async fn a_webhook_over_https_trusts_the_agencys_own_roots_and_nobody_else() {
    let world = World::new().await;
    let (right, misnamed) = (behind_tls(&world, "127.0.0.1").await, behind_tls(&world, "agency.test").await);
    let (root, stranger) = (world.certificates.files("any").bundle, Certificates::of("other.test"));
    let tried = async |url: &str, bundle: &Path| {
        let config = world.config(&format!("webhook.url = \"{url}/lgsp\"\nwebhook.bundle = {bundle:?}"));
        let adapter = Adapter::start(config).await;
        let answer = adapter.call(Method::POST, "/v1/webhooks/test", &[], "{}").await.json();
        (answer["results"][0]["outcome"].as_str().unwrap().to_owned(), adapter)
    };
    let expect = async |url: &str, bundle: &Path, expected: &str| {
        let (outcome, adapter) = tried(url, bundle).await;
        assert_eq!(outcome, expected, "{url}");
        adapter.stop().await.unwrap();
    };
    expect(&format!("https://{right}"), &stranger.files("any").bundle, "tls_untrusted").await;
    expect(&format!("https://{misnamed}"), &root, "tls_name").await;
    expect(&format!("https://{}", world.agency.address()), &root, "tls_failed").await;
    expect(&format!("http://{right}"), &root, "broken_off").await;
    // Longer than a name may be, so that no resolver is asked.
    expect(&format!("https://{}.test", "a".repeat(64)), &root, "name_unknown").await;
    assert!(world.agency.posted().is_empty());

    let (outcome, _adapter) = tried(&format!("https://{right}"), &root).await;
    assert_eq!(outcome, "taken");
    world.gateway.deliver("A-1", 1);
    assert_eq!(world.agency.takes(2).await[1], id("A-1", 1));
}
