//! Every reason, met: by gRPC at a real gateway over mutual TLS, and by REST at a real adapter in front of a real gateway.
//!
//! - [`by_grpc`], [`by_rest`]: for each reason, how it is met, in an exhaustive `match`: a new reason does not compile without. A way that
//!   cannot be is a value with its proof.
//! - [`ground`]: the gateways and adapters it happens on, few for many reasons.
//!
//! Owns no rule: why something is refused is tested where it is decided. Here it is told: word, code, both languages, remedy,
//! command, facts, page.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../journeys/http.rs"]
#[allow(dead_code, reason = "that suite needs more of it")]
mod http;

#[path = "../security/client.rs"]
#[allow(dead_code, reason = "that suite needs more of it")]
mod client;

mod by_grpc;
mod by_rest;
mod ground;
mod proof;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lgsp_adapters::reference::{self, LocalReason};
use lgsp_proto::explain;
use lgsp_proto::{Reason, Refusal};
use serde_json::Value;
use tokio::task::JoinSet;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::ground::Ground;
use crate::proof::Way;

/// Nothing here takes longer; what hangs says so.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(40);
    tokio::time::timeout(patience, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_is_met_by_grpc_and_says_all_there_is_to_say() {
    let mut met = Met::on(Ground::open().await);
    for reason in Reason::ALL.iter().copied() {
        match by_grpc::way(reason) {
            Way::Here(provoke) => {
                let ground = Arc::clone(&met.ground);
                met.by(reason.as_str(), async move {
                    let status = provoke(&ground).await;
                    support::output::said("reasons", format!("{status} {status:?}"));
                    said_by_grpc(reason, &status);
                });
            }
            Way::Cannot { why, proof } => met.not(reason.as_str(), why, &proof),
        }
    }
    assert!(met.all().await >= 60, "hardly any reason was met");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_is_met_by_rest_and_says_all_there_is_to_say() {
    let mut met = Met::on(Ground::open().await);
    let of_bus = Reason::ALL.iter().map(|reason| (reason.as_str(), by_rest::way(*reason)));
    let local = LocalReason::ALL.into_iter().map(|reason| (reason.word(), by_rest::local_way(reason)));
    for (word, way) in of_bus.chain(local) {
        match way {
            Way::Here(provoke) => {
                let ground = Arc::clone(&met.ground);
                met.by(word, async move { said_by_rest(word, &provoke(&ground).await) });
            }
            Way::Cannot { why, proof } => met.not(word, why, &proof),
        }
    }
    assert!(met.all().await >= 50, "hardly any reason was met");
}

/// The reasons that are being met, all at once; each that is not is told at the end.
struct Met {
    ground: Arc<Ground>,
    tasks: JoinSet<()>,
    words: HashMap<tokio::task::Id, &'static str>,
    failed: Vec<&'static str>,
}

impl Met {
    fn on(ground: Ground) -> Self {
        Self { ground: Arc::new(ground), tasks: JoinSet::new(), words: HashMap::new(), failed: Vec::new() }
    }

    fn by(&mut self, word: &'static str, meet: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(within(word, meet));
        self.words.insert(task.id(), word);
    }

    fn not(&mut self, word: &'static str, why: &str, proof: &proof::Proof) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| proof.holds(word, why))).is_err() {
            self.failed.push(word);
        }
    }

    /// Waits for all, and gives how many there were.
    async fn all(mut self) -> usize {
        let count = self.words.len();
        while let Some(done) = self.tasks.join_next_with_id().await {
            if let Err(error) = done {
                self.failed.push(self.words[&error.id()]);
            }
        }
        assert!(self.failed.is_empty(), "not met, see above: {:?}", self.failed);
        count
    }
}

/// All that a refusal on the bus has to say.
fn said_by_grpc(reason: Reason, status: &Status) {
    let refusal = Refusal::from_status(status).unwrap_or_else(|| panic!("{reason}: no refusal of ours: {status:?}"));
    assert_eq!(refusal.reason(), reason, "{status:?}");
    let (texts, page) = (reason.texts(), reason.page());
    assert_eq!((status.code(), status.message()), (reason.code(), texts.what.en), "{reason}");
    let told = status.get_details_localized_message().unwrap();
    assert_eq!((told.locale.as_str(), told.message.as_str()), ("vi", texts.what.vi), "{reason}");
    let said = status.get_details_error_info().unwrap().metadata;
    assert_eq!(
        (said["remedy_en"].as_str(), said["remedy_vi"].as_str()),
        (texts.remedy.en, texts.remedy.vi),
        "{reason}"
    );
    assert_eq!(said["explain"], explain::command(reason.as_str(), refusal.details()), "{reason}");
    for fact in refusal.details().keys() {
        assert!(page.details.contains(&fact.as_str()), "{reason}: {fact} is not on its page");
    }
    has_a_page(reason.as_str());
}

/// All that a problem has to say, whether it was answered at once or is what became of a request.
fn said_by_rest(word: &str, problem: &Value) {
    assert_eq!(problem["reason"], word, "{problem:#}");
    let page = has_a_page(word);
    assert_eq!(problem["status"], page["http_status"], "{word}");
    assert_eq!(problem["type"], format!("urn:lgsp:problem:{}", word.to_lowercase().replace('_', "-")));
    assert_eq!((&problem["title"], &problem["message_vi"]), (&page["name"]["en"], &page["name"]["vi"]), "{word}");
    let remedy = &problem["remedy"];
    // What cannot be read as JSON is no matter of the .proto files: its remedy is another one.
    if word != "MALFORMED" {
        assert_eq!(*remedy, page["remedy"], "{word}");
    }
    assert!(!remedy["en"].as_str().unwrap().is_empty() && !remedy["vi"].as_str().unwrap().is_ascii(), "{problem}");
    let details: BTreeMap<String, String> =
        serde_json::from_value(problem.get("details").cloned().unwrap_or_else(|| Value::Object(Default::default())))
            .unwrap();
    for fact in details.keys() {
        assert!(
            page["details"].as_array().unwrap().iter().any(|known| known == fact),
            "{word}: {fact} is not on its page"
        );
    }
    assert!(problem["explain"].as_str().unwrap().starts_with("lgsp "), "{problem}");
    if details.is_empty() {
        assert_eq!(problem["explain"], page["explain"], "{word}");
    }
}

/// The page of a reason, as `lgsp explain` prints it and as it stands in `docs/reference`.
fn has_a_page(word: &str) -> Value {
    let found = reference::find(word);
    let [entry] = &found[..] else { panic!("{word} has {} pages", found.len()) };
    for file in ["reasons.md", "reasons.vi.md"] {
        let page = std::fs::read_to_string(format!("{}/docs/reference/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(page.contains(&format!("\n## `{word}`\n")), "{word} is not in docs/reference/{file}");
    }
    entry.to_json()
}
