//! The gateways and adapters on which reasons are met. One of each serves most; what needs another gateway starts one.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use ::http::{HeaderMap, HeaderName, Method};
use bytes::Bytes;
use lgsp_adapters::Config;
use lgsp_adapters::link::{Address, CallError, Link};
use lgsp_proto::v1;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{OnceCell, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::http;
use crate::support::{Bus, MORNING, at, fresh_key, record, submission, submit};

/// The desk of commune Binh, the authority of commune An, and who runs the bus.
pub(crate) const BINH: &str = "H99.102";
pub(crate) const AN: &str = "H99.101";
pub(crate) const OPERATOR: &str = "H99.VH";

/// See the module.
pub(crate) struct Ground {
    pub(crate) bus: Bus,
    /// Links of the systems named most: of Binh, of An and the centre, of the operator.
    pub(crate) desk: Link,
    pub(crate) authority: Link,
    pub(crate) operator: Link,
    desk_adapter: OnceCell<Adapter>,
    authority_adapter: OnceCell<Adapter>,
}

impl Ground {
    pub(crate) async fn open() -> Self {
        Self::on(Bus::start().await)
    }

    /// On another gateway.
    pub(crate) async fn with(change: impl FnOnce(String, &Path) -> String) -> Self {
        Self::on(Bus::start_with(change).await)
    }

    fn on(bus: Bus) -> Self {
        let [desk, authority, operator] = ["mot-cua-binh", "mot-cua", "van-hanh"].map(|system| bus.link(system));
        Self { bus, desk, authority, operator, desk_adapter: OnceCell::new(), authority_adapter: OnceCell::new() }
    }

    /// The links, after the gateway has begun another life at other ports.
    pub(crate) fn links_again(&mut self) {
        [self.desk, self.authority, self.operator] =
            ["mot-cua-binh", "mot-cua", "van-hanh"].map(|system| self.bus.link(system));
    }

    /// The adapter of Binh.
    pub(crate) async fn at_binh(&self) -> &Adapter {
        self.desk_adapter.get_or_init(|| Adapter::start(&self.bus, "mot-cua-binh", BINH, "")).await
    }

    /// The adapter of An.
    pub(crate) async fn at_an(&self) -> &Adapter {
        self.authority_adapter.get_or_init(|| Adapter::start(&self.bus, "mot-cua", AN, "")).await
    }

    /// A dossier taken in at Binh that An has to decide; after these acts of An's.
    pub(crate) async fn dossier(&self, acts: Vec<v1::entry::What>) -> String {
        let code = submit(&self.desk, &submission()).await.unwrap().receipt.dossier_code;
        for what in acts {
            record(&self.authority, &entry(AN, &code, what)).await.unwrap();
        }
        code
    }

    /// The refusal of a submission.
    pub(crate) async fn submitting(&self, change: impl FnOnce(&mut v1::Submission)) -> Status {
        refused(submit(&self.desk, &with(change)).await)
    }

    /// The refusal of what An records about a dossier after these acts.
    pub(crate) async fn recording(&self, acts: Vec<v1::entry::What>, what: v1::entry::What) -> Status {
        let code = self.dossier(acts).await;
        refused(record(&self.authority, &entry(AN, &code, what)).await)
    }

    /// What becomes of a submission by REST.
    pub(crate) async fn handing_in(&self, change: impl FnOnce(&mut Value)) -> Value {
        let mut submission = submission_json();
        change(&mut submission);
        self.at_binh().await.refused("/v1/dossiers", &submission).await
    }

    /// What becomes of what An says by REST about a dossier after these acts.
    pub(crate) async fn saying(&self, acts: Vec<v1::entry::What>, what: Value) -> Value {
        let code = self.dossier(acts).await;
        self.at_an().await.says(&code, what).await
    }
}

/// The submission of the suites, changed.
pub(crate) fn with(change: impl FnOnce(&mut v1::Submission)) -> v1::Submission {
    let mut submission = submission();
    change(&mut submission);
    submission
}

pub(crate) fn entry(party: &str, code: &str, what: v1::entry::What) -> v1::Entry {
    v1::Entry {
        request_key: fresh_key(),
        acting_party: party.into(),
        actor: "clerk-1".into(),
        dossier_code: code.into(),
        occurred_at: Some(at(MORNING)),
        what: Some(what),
        ..Default::default()
    }
}

/// The same submission as an agency's system writes it.
pub(crate) fn submission_json() -> Value {
    json!({
        "procedure_code": "1.000001",
        "applicant": {
            "kind": "citizen", "full_name": "NGƯỜI KIỂM THỬ", "personal_number": "046301123456",
            "date_of_birth": "2001-05-20", "sex": "female",
        },
        "locality": "99001", "intake_channel": "direct", "return_desk": "H99.TT", "return_channel": "direct",
        "received_at": MORNING,
        "components": [{ "code": "to-khai", "name": "Tờ khai", "originals": 1 }],
    })
}

/// What a call was refused with.
#[track_caller]
pub(crate) fn refused<T>(answer: Result<T, CallError>) -> Status {
    match answer.map(drop) {
        Err(CallError::Refused(refused) | CallError::NotNow(refused)) => refused.status().clone(),
        other => panic!("not refused by the bus: {other:?}"),
    }
}

/// An adapter of one system for one party, without a token. Stopped when dropped.
pub(crate) struct Adapter {
    pub(crate) party: &'static str,
    pub(crate) rest: SocketAddr,
    stop: CancellationToken,
}

impl Adapter {
    /// Starts one; `more` are lines of its configuration.
    pub(crate) async fn start(bus: &Bus, system: &str, party: &'static str, more: &str) -> Self {
        Self::showing(bus, &bus.address(system), party, more).await
    }

    /// The same with a certificate that is given.
    pub(crate) async fn showing(bus: &Bus, at: &Address, party: &'static str, more: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let spool = format!("spool-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let config = Self::config(at, party, &spool, more);
        let config = Config::parse(&config, bus.folder(), []).unwrap_or_else(|problems| panic!("{problems}"));
        let stop = CancellationToken::new();
        let (ready, is_ready) = oneshot::channel();
        tokio::spawn(lgsp_adapters::run(config, stop.clone(), ready));
        Self { party, rest: is_ready.await.unwrap().rest, stop }
    }

    /// The configuration of one. Further lines may have a `[rest]` or a `[spool]` of their own.
    pub(crate) fn config(at: &Address, party: &str, spool: &str, more: &str) -> String {
        let tls = &at.tls;
        let rest = if more.contains("[rest]\n") { "" } else { "[rest]\nlisten = \"127.0.0.1:0\"\n" };
        let own = if more.contains("[spool]\n") { "" } else { "[spool]\nmin_free_mib = 0\nmax_document_mib = 1\n" };
        let more = format!("{own}{more}").replace("[spool]\n", &format!("[spool]\nfolder = {spool:?}\n"));
        format!(
            "gateway = \"{}\"\nparties = [\"{party}\"]\n\
             [tls]\ncertificate = {:?}\nkey = {:?}\nbundle = {:?}\n{rest}{more}\
             [exchange]\nbackoff_first_ms = 20\nbackoff_limit_ms = 200\n",
            at.gateway, tls.certificate, tls.key, tls.bundle
        )
    }

    /// Says something about a dossier, and gives the key under which it was admitted.
    pub(crate) async fn admitted(&self, code: &str, mut what: Value) -> String {
        what["occurred_at"] = MORNING.into();
        let key = fresh_key();
        let path = format!("/v1/dossiers/{code}/events");
        self.call(Method::POST, &path, &[("idempotency-key", &key)], what.to_string()).await.json(202);
        self.until(&format!("/v1/requests/{key}?wait_ms=20000"), |request| request["state"] == "admitted").await;
        key
    }

    /// The problem of a request that was admitted once and is refused now.
    pub(crate) async fn refused_at_last(&self, key: &str) -> Value {
        let path = format!("/v1/requests/{key}?wait_ms=100");
        self.until(&path, |request| request["state"] == "refused").await["problem"].clone()
    }

    /// Asks until the answer is as wished.
    pub(crate) async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let answer = self.call(Method::GET, path, &[], Bytes::new()).await.json(200);
            if is_so(&answer) {
                return answer;
            }
        }
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        more: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> http::Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in [("lgsp-party", self.party), ("lgsp-actor", "clerk-1")].iter().chain(more) {
            headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        http::send(self.rest, method, path, headers, body.into()).await
    }

    /// The problem that a call is answered with.
    pub(crate) async fn problem(
        &self,
        method: Method,
        path: &str,
        more: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Value {
        let answer = self.call(method, path, more, body).await;
        let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|error| {
            panic!("{path}: {error}: {} {}", answer.status, String::from_utf8_lossy(&answer.body))
        });
        assert_eq!(problem["status"], answer.status.as_u16(), "{path}: {problem}");
        problem
    }

    /// The problem that a question is answered with.
    pub(crate) async fn asking(&self, path: &str) -> Value {
        self.problem(Method::GET, path, &[], Bytes::new()).await
    }

    /// The problem with which something to be sent is turned away, or which became of it.
    pub(crate) async fn refused(&self, path: &str, body: &Value) -> Value {
        self.refused_with(path, &[], body).await
    }

    pub(crate) async fn refused_with(&self, path: &str, more: &[(&str, &str)], body: &Value) -> Value {
        let key = fresh_key();
        let headers = [&[("idempotency-key", key.as_str())], more].concat();
        let answer = self.call(Method::POST, path, &headers, body.to_string()).await;
        if answer.status != 202 {
            let status = answer.status.as_u16();
            return answer.json(status);
        }
        let outcome =
            self.call(Method::GET, &format!("/v1/requests/{key}?wait_ms=30000"), &[], Bytes::new()).await.json(200);
        assert_eq!(outcome["state"], "refused", "{outcome:#}");
        outcome["problem"].clone()
    }

    /// What becomes of what its party says about a dossier.
    pub(crate) async fn says(&self, code: &str, what: Value) -> Value {
        self.says_with(code, &[], what).await
    }

    pub(crate) async fn says_with(&self, code: &str, more: &[(&str, &str)], mut what: Value) -> Value {
        if what["occurred_at"].is_null() {
            what["occurred_at"] = MORNING.into();
        }
        self.refused_with(&format!("/v1/dossiers/{code}/events"), more, &what).await
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The binary under test as a process of its own, which can be told to fail. Killed when dropped.
pub(crate) struct Process {
    _child: Child,
    /// Closed when we die, whichever way; the process ends then.
    _stdin: ChildStdin,
    ready: Value,
}

impl Process {
    /// Starts it in the folder of a bus, with a point at which it is to fail.
    pub(crate) async fn start(bus: &Bus, role: &str, config: &str, fault: &str) -> Self {
        let file = bus.folder().join(format!("{role}-process.toml"));
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(file.with_extension("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lgsp"));
        command.args([role, "--config"]).arg(&file).arg("--until-stdin-closes").current_dir(bus.folder());
        command.env("LGSP_FAULT_AT", fault).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = crate::within(role, lines.next_line()).await.unwrap().expect("it says that it is ready");
        let told: Value = serde_json::from_str(&line).unwrap();
        Self { _child: child, _stdin: stdin, ready: told["ready"].clone() }
    }

    /// Where one of its listeners is.
    pub(crate) fn at(&self, listener: &str) -> SocketAddr {
        self.ready[listener].as_str().unwrap_or_else(|| panic!("{}", self.ready)).parse().unwrap()
    }
}
