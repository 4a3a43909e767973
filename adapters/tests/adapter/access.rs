//! Who gets in: on this machine with the token, from elsewhere with a name of one's own.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use http::{Method, StatusCode};
use lgsp_adapters::Config;
use lgsp_adapters::access::{
    Client, Proof, add_client, begin_token_change, current_token, finish_token_change, new_secret,
    proof_of_certificate, remove_client,
};
use lgsp_certs::tls::https_client_config;
use lgsp_certs::{TlsFiles, Usage, server_name};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Adapter, Certificates, OTHER_PARTY, PARTY, PATIENCE, World, submission, until};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// The status of a question, asked with this token.
async fn asked(adapter: &mut Adapter, token: &str) -> StatusCode {
    adapter.token = Some(token.to_owned());
    adapter.get("/v1/requests").await.status
}

#[tokio::test]
async fn without_a_word_in_the_configuration_there_is_a_token_and_it_is_asked_for() {
    let world = World::new().await;
    let config = world.config("rest.token = \"file\"");
    let file = config.rest.token_file.clone().unwrap();
    assert_eq!(file, world.spool_folder().join("rest.token"));
    let mut adapter = Adapter::start(config).await;
    let refused = adapter.get("/v1/requests").await;
    assert_eq!((refused.status, &refused.json()["reason"]), (StatusCode::UNAUTHORIZED, &"TOKEN_INVALID".into()));
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    for wrong in ["", "another", "lgspa_another"] {
        assert_eq!(asked(&mut adapter, wrong).await, StatusCode::UNAUTHORIZED, "{wrong:?}");
    }
    let token = current_token(&file).unwrap().to_string();
    assert_eq!(asked(&mut adapter, &token).await, StatusCode::OK);
    // Not as anything else.
    adapter.token = None;
    let basic =
        adapter.call(Method::GET, "/v1/requests", &[("lgsp-party", PARTY), ("authorization", &token)], "").await;
    assert_eq!(basic.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_token_may_be_there_before_the_adapter_and_is_changed_while_it_runs() {
    let world = World::new().await;
    let config = world.config("rest.token = \"file\"");
    let file = config.rest.token_file.clone().unwrap();
    std::fs::create_dir(world.spool_folder()).unwrap();
    let old = current_token(&file).unwrap().to_string();
    let mut adapter = Adapter::start(config).await;
    assert_eq!(asked(&mut adapter, &old).await, StatusCode::OK);
    begin_token_change(&file).unwrap();
    let new = current_token(&file).unwrap().to_string();
    until(async || (asked(&mut adapter, &new).await == StatusCode::OK).then_some(())).await;
    assert_eq!(asked(&mut adapter, &old).await, StatusCode::OK, "both are good during a change");
    finish_token_change(&file).unwrap();
    until(async || (asked(&mut adapter, &old).await == StatusCode::UNAUTHORIZED).then_some(())).await;
    assert_eq!(asked(&mut adapter, &new).await, StatusCode::OK);
}

/// A world whose adapter also listens for other machines.
struct Outside {
    world: World,
    config: Config,
}

/// Another machine.
struct Machine {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Outside {
    async fn new() -> Self {
        let world = World::new().await;
        let name = server_name("127.0.0.1").unwrap();
        let TlsFiles { certificate, key, bundle } = world.certificates.server_for(&name, "rest");
        let more = format!(
            "rest.token = \"file\"\nremote.listen = \"127.0.0.1:0\"\nremote.certificate = {certificate:?}\n\
             remote.key = {key:?}\nremote.client_bundle = {bundle:?}"
        );
        let mut config = world.config(&more);
        config.identity.poll = Duration::from_millis(20);
        Self { world, config }
    }

    async fn start(&self) -> Adapter {
        Adapter::start(self.config.clone()).await
    }

    fn clients(&self) -> PathBuf {
        std::fs::create_dir_all(self.world.spool_folder()).unwrap();
        self.config.rest.clients_file.clone()
    }

    /// A client for one party.
    fn add(&self, name: &str, proof: Proof) {
        let client = Client { name: name.into(), parties: vec![PARTY.parse().unwrap()], proof };
        add_client(&self.clients(), client).unwrap();
    }

    /// One with a secret.
    fn add_with_secret(&self, name: &str) -> String {
        let (secret, proof) = new_secret();
        self.add(name, proof);
        secret.to_string()
    }

    /// A machine with this certificate.
    fn machine(&self, adapter: &Adapter, certificate: Option<(&TlsFiles, SystemTime)>) -> Machine {
        let mut tls = match certificate {
            Some((files, time)) => {
                let files = TlsFiles { bundle: self.world.tls.bundle.clone(), ..files.clone() };
                files.load(Usage::Client, time).unwrap().client_config()
            }
            None => https_client_config(&self.world.tls.bundle).unwrap(),
        };
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Machine { address: adapter.remote.unwrap(), tls: Arc::new(tls) }
    }

    /// A machine without one.
    fn stranger(&self, adapter: &Adapter) -> Machine {
        self.machine(adapter, None)
    }
}

impl Machine {
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Answer> {
        let exchange = async {
            let stream = TcpStream::connect(self.address).await?;
            let name = server_name("127.0.0.1").unwrap();
            let mut stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
            let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
            for (name, value) in headers {
                request += &format!("{name}: {value}\r\n");
            }
            request += &format!("content-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }

    /// Begins to ask for a token, is listened to, and says nothing more.
    async fn silent(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = server_name("127.0.0.1").unwrap();
        let mut stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await.unwrap();
        let (kind, form) = FORM;
        let head = format!(
            "POST /v1/oauth/token HTTP/1.1\r\nhost: a\r\n{kind}: {form}\r\ncontent-length: 100\r\n\
             expect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut told = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut told)).await.unwrap().unwrap();
        assert!(told.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&told));
        stream
    }

    /// Asks for a party's requests.
    async fn ask(&self, party: &str, more: &[(&str, &str)]) -> Answer {
        self.send("GET", "/v1/requests", &[&[("lgsp-party", party)], more].concat(), "").await.unwrap()
    }

    /// An access token, or the refusal.
    async fn token(&self, name: &str, secret: &str) -> Answer {
        let form = format!("grant_type=client_credentials&client_id={name}&client_secret={secret}");
        self.send("POST", "/v1/oauth/token", &[FORM], &form).await.unwrap()
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}\n{}", self.head, self.body))
    }

    fn is(&self, status: u16, reason: &str) -> bool {
        self.status == status && self.json()["reason"] == reason
    }

    /// The token that was given.
    fn bearer(&self) -> String {
        format!("Bearer {}", self.json()["access_token"].as_str().unwrap())
    }
}

#[tokio::test]
async fn from_another_machine_a_client_is_known_by_its_certificate_and_acts_for_its_parties_only() {
    let outside = Outside::new().await;
    let certificates = &outside.world.certificates;
    let (named, keyed) = (certificates.system("ho-tich"), certificates.system("dat-dai"));
    outside.add("ho-tich", Proof::Name("spiffe://lgsp.hue.test/system/ho-tich".into()));
    outside.add("dat-dai", proof_of_certificate(&keyed.certificate).unwrap());
    let adapter = outside.start().await;
    let now = SystemTime::now();
    for files in [&named, &keyed] {
        let machine = outside.machine(&adapter, Some((files, now)));
        assert_eq!(machine.ask(PARTY, &[]).await.status, 200);
        // One that the adapter acts for, and one that it knows nothing of: the same answer.
        for party in [OTHER_PARTY, "H57.99"] {
            let refused = machine.ask(party, &[]).await;
            assert!(refused.is(403, "CLIENT_PARTY_MISSING"), "{}", refused.body);
            assert_eq!(refused.json()["details"], json!({ "party": party }));
        }
        let by_parameter = machine.send("GET", "/v1/inbox?party=H57.12", &[], "").await.unwrap();
        assert!(by_parameter.is(403, "CLIENT_PARTY_MISSING"), "{}", by_parameter.body);
        for path in ["/status", "/metrics", "/v1/webhooks", "/v1/webhooks/attempts"] {
            let refused = machine.send("GET", path, &[], "").await.unwrap();
            assert!(refused.is(403, "CLIENT_PARTY_MISSING"), "{path}: {}", refused.body);
        }
        let key = ("idempotency-key", &*format!("k-{}", files.key.display().to_string().len()));
        let headers = [("lgsp-party", PARTY), ("lgsp-actor", "cb01"), key];
        let taken = machine.send("POST", "/v1/dossiers", &headers, &submission().to_string()).await.unwrap();
        assert_eq!(taken.status, 202, "{}", taken.body);
    }
    // Out from the next call on.
    remove_client(&outside.clients(), "ho-tich").unwrap();
    let machine = outside.machine(&adapter, Some((&named, now)));
    until(async || machine.ask(PARTY, &[]).await.is(401, "CLIENT_INVALID").then_some(())).await;
}

#[tokio::test]
async fn without_a_certificate_that_is_good_nobody_gets_in_from_another_machine() {
    let outside = Outside::new().await;
    outside.add("ho-tich", Proof::Name("spiffe://lgsp.hue.test/system/ho-tich".into()));
    let adapter = outside.start().await;
    let now = SystemTime::now();
    let stranger = outside.stranger(&adapter);
    assert!(stranger.ask(PARTY, &[]).await.is(401, "TOKEN_INVALID"));
    // The token of the adapter's own machine is good there only.
    let local = current_token(outside.config.rest.token_file.as_deref().unwrap()).unwrap().to_string();
    let refused = stranger.ask(PARTY, &[("authorization", &format!("Bearer {local}"))]).await;
    assert!(refused.is(401, "TOKEN_INVALID"), "{}", refused.body);
    // Of the right CA, and nobody's.
    let nobody = outside.world.certificates.system("nobody");
    assert!(outside.machine(&adapter, Some((&nobody, now))).ask(PARTY, &[]).await.is(401, "CLIENT_INVALID"));
    // Of another CA, with the right name; and one whose time is over: no call is read.
    let another = Certificates::new();
    let elsewhere = another.system("ho-tich");
    let headers = [("lgsp-party", PARTY)];
    let forged = outside.machine(&adapter, Some((&elsewhere, now)));
    assert!(forged.send("GET", "/v1/requests", &headers, "").await.is_err());
    let over = outside.world.certificates.system_of_yesterday("ho-tich");
    let over = outside.machine(&adapter, Some((&over, now - Duration::from_secs(20 * 3600))));
    assert!(over.send("GET", "/v1/requests", &headers, "").await.is_err());
    // Nothing in the clear.
    let mut plain = TcpStream::connect(adapter.remote.unwrap()).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    // What anybody may know.
    for path in ["/healthz", "/v1/openapi.json"] {
        assert_eq!(stranger.send("GET", path, &[], "").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_client_gets_a_token_for_its_secret_which_outlives_a_restart_and_not_the_client() {
    let outside = Outside::new().await;
    let (secret, other_secret) = (outside.add_with_secret("mot-cua"), outside.add_with_secret("dong-bo"));
    let adapter = outside.start().await;
    let machine = outside.stranger(&adapter);
    let issued = machine.token("mot-cua", &secret).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    assert!(issued.head.contains("cache-control: no-store"), "{}", issued.head);
    let json = issued.json();
    assert_eq!(
        (&json["token_type"], &json["expires_in"], &json["scope"]),
        (&"Bearer".into(), &600.into(), &PARTY.into())
    );
    let bearer = issued.bearer();
    let with = [("authorization", &*bearer)];
    assert_eq!(machine.ask(PARTY, &with).await.status, 200);
    assert!(machine.ask(OTHER_PARTY, &with).await.is(403, "CLIENT_PARTY_MISSING"));
    let garbled = bearer.replace("lgspa_", "lgspa_A");
    assert!(machine.ask(PARTY, &[("authorization", &garbled)]).await.is(401, "TOKEN_INVALID"));
    // As good on the adapter's own machine, for the same party.
    let headers = |party| [("lgsp-party", party), ("authorization", &*bearer)];
    assert_eq!(adapter.call(Method::GET, "/v1/requests", &headers(PARTY), "").await.status, StatusCode::OK);
    let refused = adapter.call(Method::GET, "/v1/requests", &headers(OTHER_PARTY), "").await;
    assert_eq!(refused.json()["reason"], "CLIENT_PARTY_MISSING");

    // By the header, as stock clients do.
    let basic = |name: &str, secret: &str| format!("Basic {}", BASE64.encode(format!("{name}:{secret}").as_bytes()));
    let mine = basic("mot-cua", &secret);
    let headers = [FORM, ("authorization", &*mine)];
    let sent = machine.send("POST", "/v1/oauth/token", &headers, "grant_type=client_credentials");
    assert_eq!(sent.await.unwrap().status, 200);
    let other = machine.token("dong-bo", &other_secret).await.bearer();
    assert_ne!(other, bearer);

    adapter.stop().await.unwrap();
    let adapter = outside.start().await;
    let machine = outside.stranger(&adapter);
    assert_eq!(machine.ask(PARTY, &with).await.status, 200, "it outlives a restart");
    remove_client(&outside.clients(), "mot-cua").unwrap();
    until(async || machine.ask(PARTY, &with).await.is(401, "TOKEN_INVALID").then_some(())).await;
    assert_eq!(machine.ask(PARTY, &[("authorization", &other)]).await.status, 200, "the other one is not concerned");
}

#[tokio::test]
async fn a_client_with_a_certificate_does_not_come_with_the_token_of_another() {
    let outside = Outside::new().await;
    let files = outside.world.certificates.system("ho-tich");
    outside.add("ho-tich", proof_of_certificate(&files.certificate).unwrap());
    let secret = outside.add_with_secret("mot-cua");
    let adapter = outside.start().await;
    let bearer = outside.stranger(&adapter).token("mot-cua", &secret).await.bearer();
    let both = outside.machine(&adapter, Some((&files, SystemTime::now())));
    assert!(both.ask(PARTY, &[("authorization", &bearer)]).await.is(401, "TOKEN_INVALID"));
    assert_eq!(both.ask(PARTY, &[]).await.status, 200);
}

#[tokio::test]
async fn whoever_guesses_is_told_the_same_of_every_name_and_soon_has_to_wait() {
    let outside = Outside::new().await;
    let secret = outside.add_with_secret("mot-cua");
    let adapter = outside.start().await;
    let machine = outside.stranger(&adapter);
    let wrong = machine.token("mot-cua", "lgsps_guess").await;
    assert!(wrong.is(401, "CLIENT_INVALID") && wrong.json()["error"] == "invalid_client", "{}", wrong.body);
    assert!(wrong.head.contains("www-authenticate: basic"), "{}", wrong.head);
    let unknown = machine.token("nobody", "lgsps_guess").await;
    assert_eq!((unknown.status, &unknown.body), (wrong.status, &wrong.body));
    assert!(!wrong.body.contains("guess") && !wrong.body.contains("mot-cua"));
    let mut limited = None;
    for _ in 0..20 {
        let answer = machine.token("mot-cua", "lgsps_guess").await;
        if answer.status == 429 {
            limited = Some(answer);
            break;
        }
        assert!(answer.is(401, "CLIENT_INVALID"), "{}", answer.body);
    }
    let limited = limited.expect("not for ever");
    assert!(limited.is(429, "TOO_MANY_FAILURES") && limited.head.contains("retry-after: "), "{}", limited.head);
    // Nothing is looked at, so that waiting tells nothing either; a call with a guessed token is the same guess.
    assert!(machine.token("mot-cua", &secret).await.is(429, "TOO_MANY_FAILURES"));
    assert!(machine.ask(PARTY, &[("authorization", "Bearer lgspa_guess")]).await.is(429, "TOO_MANY_FAILURES"));
    // On the adapter's own machine nobody has to wait for that.
    let form = format!("grant_type=client_credentials&client_id=mot-cua&client_secret={secret}");
    assert_eq!(adapter.call(Method::POST, "/v1/oauth/token", &[FORM], form).await.status, StatusCode::OK);
}

#[tokio::test]
async fn forms_that_never_come_keep_nobody_from_anything_else_and_are_not_waited_for_long() {
    let mut outside = Outside::new().await;
    outside.config.rest.max_requests = NonZeroUsize::new(1).unwrap();
    let secret = outside.add_with_secret("mot-cua");
    let local = current_token(outside.config.rest.token_file.as_deref().unwrap()).unwrap().to_string();
    let mut adapter = outside.start().await;
    let machine = outside.stranger(&adapter);
    let bearer = machine.token("mot-cua", &secret).await.bearer();
    let with = [("authorization", &*bearer)];

    let mut first = machine.silent().await;
    assert_eq!(asked(&mut adapter, &local).await, StatusCode::OK, "the desk goes on");
    assert_eq!(machine.ask(PARTY, &with).await.status, 200, "and so does who has a token");
    let mut silent = Vec::new();
    for _ in 1..32 {
        silent.push(machine.silent().await);
    }
    let full = machine.token("mot-cua", &secret).await;
    assert!(full.is(503, "OVERLOADED") && full.json()["error"] == "temporarily_unavailable", "{}", full.body);
    assert_eq!(asked(&mut adapter, &local).await, StatusCode::OK);
    let form = format!("grant_type=client_credentials&client_id=mot-cua&client_secret={secret}");
    adapter.token = None;
    assert_eq!(adapter.call(Method::POST, "/v1/oauth/token", &[FORM], form).await.status, StatusCode::OK);

    // It is told that the form did not come, and the next one gets its token.
    let mut told = [0; 12];
    tokio::time::timeout(PATIENCE, first.read_exact(&mut told)).await.unwrap().unwrap();
    assert_eq!(told, *b"HTTP/1.1 400");
    until(async || (machine.token("mot-cua", &secret).await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn other_machines_that_take_all_their_room_leave_the_desk_its_own() {
    let mut outside = Outside::new().await;
    outside.config.rest.max_requests = NonZeroUsize::new(1).unwrap();
    let secret = outside.add_with_secret("mot-cua");
    let local = current_token(outside.config.rest.token_file.as_deref().unwrap()).unwrap().to_string();
    let mut adapter = outside.start().await;
    let machine = outside.stranger(&adapter);
    let bearer = machine.token("mot-cua", &secret).await.bearer();
    let with = [("lgsp-party", PARTY), ("authorization", &*bearer)];
    // Whoever waits for something that does not come has the only place.
    let waiting = async {
        loop {
            let inbox = machine.send("GET", "/v1/inbox?wait_ms=60000", &with, "").await.unwrap();
            assert_eq!(inbox.status, 503, "{}", inbox.body);
        }
    };
    let looking = async {
        until(async || machine.ask(PARTY, &with[1..]).await.is(503, "OVERLOADED").then_some(())).await;
        asked(&mut adapter, &local).await
    };
    tokio::select! {
        () = waiting => unreachable!("it goes on for ever"),
        status = looking => assert_eq!(status, StatusCode::OK),
    }
}

#[tokio::test]
async fn a_form_that_is_not_what_it_should_be_is_refused_in_oauths_own_words() {
    let outside = Outside::new().await;
    let secret = outside.add_with_secret("mot-cua");
    let adapter = outside.start().await;
    let basic = format!("Basic {}", BASE64.encode(format!("mot-cua:{secret}").as_bytes()));
    let basic = ("authorization", &*basic);
    let whole = format!("grant_type=client_credentials&client_id=mot-cua&client_secret={secret}");
    let twice = format!("{whole}&client_id=mot-cua");
    let long = format!("{whole}&scope={}", "a".repeat(10_000));
    type Tried<'a> = (&'a [(&'a str, &'a str)], &'a str, u16, &'a str);
    let forms: [Tried<'_>; 7] = [
        (&[FORM], "client_id=mot-cua", 400, "invalid_request"),
        (&[FORM], "grant_type=password&client_id=mot-cua", 400, "unsupported_grant_type"),
        (&[FORM], "grant_type=client_credentials", 401, "invalid_client"),
        (&[FORM], &twice, 400, "invalid_request"),
        (&[FORM, basic], &whole, 400, "invalid_request"),
        (&[("content-type", "application/json")], "{}", 400, "invalid_request"),
        (&[FORM], &long, 413, "invalid_request"),
    ];
    for (headers, form, status, error) in forms {
        let answer = adapter.call(Method::POST, "/v1/oauth/token", headers, form.to_owned()).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (status, &error.into()), "{form}");
        assert!(answer.json()["remedy"]["vi"].is_string() && answer.json()["reason"].is_string(), "{form}");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    let metadata =
        outside.stranger(&adapter).send("GET", "/.well-known/oauth-authorization-server", &[], "").await.unwrap();
    let issuer = format!("https://{}", adapter.remote.unwrap());
    assert_eq!(metadata.json()["issuer"], issuer);
    assert_eq!(metadata.json()["token_endpoint"], format!("{issuer}/v1/oauth/token"));
    for evil in ["a@b", "a b", "a/b"] {
        let host = [("host", evil)];
        let refused = adapter.call(Method::GET, "/.well-known/oauth-authorization-server", &host, "").await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{evil}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_exchanged_counts_at_once_and_one_that_cannot_be_used_does_not() {
    let outside = Outside::new().await;
    let adapter = outside.start().await;
    let files = outside.config.remote.clone().unwrap();
    let old = outside.stranger(&adapter);
    assert_eq!(old.send("GET", "/healthz", &[], "").await.unwrap().status, 200);
    // Half of a set: what was there goes on.
    let good = std::fs::read(&files.key).unwrap();
    std::fs::write(&files.key, "no key").unwrap();
    assert_eq!(old.send("GET", "/healthz", &[], "").await.unwrap().status, 200);
    std::fs::write(&files.key, good).unwrap();
    // Of another CA, whom the old machine does not believe.
    let other = Certificates::new();
    let next = other.server_for(&server_name("127.0.0.1").unwrap(), "rest");
    std::fs::copy(&next.certificate, &files.certificate).unwrap();
    std::fs::copy(&next.key, &files.key).unwrap();
    until(async || old.send("GET", "/healthz", &[], "").await.is_err().then_some(())).await;
    let tls = https_client_config(&next.bundle).unwrap();
    let new = Machine { address: old.address, tls: Arc::new(tls) };
    assert_eq!(new.send("GET", "/healthz", &[], "").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_certificate_that_has_expired_closes_the_way_in_and_nothing_else_until_there_is_another() {
    let outside = Outside::new().await;
    let (certificates, name) = (&outside.world.certificates, server_name("127.0.0.1").unwrap());
    let put = |new: &TlsFiles| {
        let files = outside.config.remote.as_ref().unwrap();
        std::fs::copy(&new.key, &files.key).unwrap();
        std::fs::copy(&new.certificate, &files.certificate).unwrap();
    };
    put(&certificates.server_of_yesterday(&name, "over"));
    let mut adapter = outside.start().await;
    let local = current_token(outside.config.rest.token_file.as_deref().unwrap()).unwrap().to_string();
    assert_eq!(asked(&mut adapter, &local).await, StatusCode::OK, "the desk goes on");
    let remote = adapter.status().await["remote"].clone();
    assert_eq!((&remote["open"], &remote["address"]), (&false.into(), &adapter.remote.unwrap().to_string().into()));
    assert!(remote["problem"].as_str().unwrap().contains("expired"), "{remote}");
    assert!(remote["problem_vi"].as_str().unwrap().contains("hết hạn"), "{remote}");
    let machine = outside.stranger(&adapter);
    assert!(machine.send("GET", "/healthz", &[], "").await.is_err());

    put(&certificates.server_for(&name, "next"));
    until(async || machine.send("GET", "/healthz", &[], "").await.is_ok().then_some(())).await;
    let remote = adapter.status().await["remote"].clone();
    assert_eq!((&remote["open"], remote.get("problem")), (&true.into(), None));
}

#[tokio::test]
async fn curl_gets_in_with_its_certificate_over_http_1_and_2() {
    let outside = Outside::new().await;
    let files = outside.world.certificates.system("ho-tich");
    outside.add("ho-tich", proof_of_certificate(&files.certificate).unwrap());
    let adapter = outside.start().await;
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let mut curl = Command::new("curl");
        curl.args(["-s", option, "-w", "\n%{http_code} %{http_version}", "-H", "LGSP-Party: H57.101"]);
        curl.arg("--cert").arg(&files.certificate).arg("--key").arg(&files.key).arg("--cacert").arg(&files.bundle);
        curl.arg(format!("https://{}/v1/requests", adapter.remote.unwrap()));
        let said = tokio::task::spawn_blocking(move || curl.output()).await.unwrap().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(said.lines().last().unwrap(), format!("200 {version}"), "{said}");
    }
}

/// What a system does on its own account; everything else about a dossier is done by somebody.
const WITHOUT_A_CLERK: [&str; 12] = [
    "acknowledge_deliveries",
    "add_to_upload",
    "begin_upload",
    "drop_upload",
    "fetch_inbox",
    "list_exceptions",
    "list_requests",
    "refuse_deliveries",
    "show_request",
    "show_upload",
    "stream_inbox",
    "upload_document",
];

#[tokio::test]
async fn whatever_is_said_or_looked_at_about_a_dossier_names_the_clerk_and_the_description_says_so() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let described: Value = serde_json::from_slice(&lgsp_adapters::description()).unwrap();
    let mut without = Vec::new();
    for (path, operations) in described["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let names = operation["parameters"].as_array().into_iter().flatten();
            let named: Vec<_> = names.map(|parameter| parameter["name"].as_str().unwrap()).collect();
            if !named.contains(&"LGSP-Party") {
                continue;
            }
            let id = operation["operationId"].as_str().unwrap();
            if !named.contains(&"LGSP-Actor") {
                without.push(id);
                continue;
            }
            let path = path.replace("{code}", "A-1").replace("{key}", "k").replace("{sha256}", &"ab".repeat(32));
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let headers = [("lgsp-party", PARTY), ("idempotency-key", "k")];
            let path = if path == "/v1/route" { path + "?procedure=1.001193&locality=19753" } else { path };
            let refused = adapter.call(method, &path, &headers, "{}").await;
            let fields = refused.json()["fields"].clone();
            assert!(fields.to_string().contains("LGSP-Actor"), "{id}: {} {fields}", refused.status);
        }
    }
    without.sort_unstable();
    assert_eq!(without, WITHOUT_A_CLERK);
}
