//! What desks and authorities say: small, signed, and the same bytes at every try.

use bytes::Bytes;
use lgsp_certs::Purpose;
use lgsp_domain::decide::{Entry, Submission, What};
use lgsp_gateway::engine::Engine;
use lgsp_gateway::engine::access::{Named, Peer};
use lgsp_gateway::engine::intake::{Admitted, RecordedEntry, Signed};
use lgsp_proto::types::{BusinessTime, IntakeChannel, ReturnChannel};
use lgsp_proto::{Refusal, v1};
use serde::{Deserialize, Serialize};

use crate::house::HOUSE;

/// A request as it stands in a spool.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Request {
    pub(crate) party: String,
    pub(crate) key: String,
    pub(crate) matter: Matter,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Matter {
    Submit {
        procedure: String,
        locality: String,
        return_desk: String,
        received_at: i64,
        alias: Option<String>,
        code: Option<String>,
    },
    Record {
        code: String,
        act: Act,
        occurred_at: i64,
        expected: Option<u32>,
    },
}

/// The acts that are tried. Those that involve third parties (fees, post) are left to the domain's own tests.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Act {
    Accept,
    Refuse,
    RequestSupplement,
    ProvideSupplement,
    ExpireSupplement,
    Withdraw,
    StartProcessing,
    Progress,
    Stop,
    Resolve,
    RecallResult,
    ReturnResult,
}

/// How long the citizen has to supplement.
const SUPPLEMENT_SECONDS: i64 = 3 * 86_400;

impl Request {
    /// By which a party and its gateway name it.
    pub(crate) fn name(&self) -> (String, String) {
        (self.party.clone(), self.key.clone())
    }

    /// The bytes that are signed.
    fn body(&self) -> Bytes {
        serde_json::to_vec(self).unwrap().into()
    }

    /// Calls the gateway, as the API does once it has parsed the bytes.
    pub(crate) async fn call(
        &self,
        engine: &Engine,
        peer: Peer,
        earlier: Option<v1::SignedReceipt>,
    ) -> Result<Admitted, Refusal> {
        match &self.matter {
            Matter::Submit { procedure, locality, return_desk, received_at, alias, code } => {
                let content = Submission {
                    acting_party: self.party.parse().unwrap(),
                    actor: "can-bo-01".parse().unwrap(),
                    procedure: procedure.parse().unwrap(),
                    case: None,
                    locality: locality.parse().unwrap(),
                    intake_channel: IntakeChannel::Online,
                    return_channel: ReturnChannel::Direct,
                    support_point: None,
                    return_desk: Some(return_desk.parse().unwrap()),
                    received_at: time(*received_at),
                    components: Vec::new(),
                    documents: Vec::new(),
                    aliases: alias.iter().map(|alias| alias.parse().unwrap()).collect(),
                    code: code.as_ref().map(|code| code.parse().unwrap()),
                };
                let signed = self.signed(&peer, Purpose::Submission, content, earlier);
                engine.submit(peer, signed).await
            }
            Matter::Record { code, act, occurred_at, expected } => {
                let entry = Entry {
                    acting_party: self.party.parse().unwrap(),
                    actor: "can-bo-02".parse().unwrap(),
                    expected_sequence: *expected,
                    occurred_at: time(*occurred_at),
                    what: act.what(*occurred_at),
                };
                let content = RecordedEntry { dossier: code.clone(), entry };
                let signed = self.signed(&peer, Purpose::Entry, content, earlier);
                engine.record(peer, signed).await
            }
        }
    }

    fn signed<T>(&self, peer: &Peer, purpose: Purpose, content: T, earlier: Option<v1::SignedReceipt>) -> Signed<T> {
        let body = self.body();
        let Named::System(system) = peer.named() else { unreachable!("its certificates name systems") };
        Signed {
            content,
            signature: HOUSE.sign(system.as_str(), purpose, &body),
            body,
            request_key: self.key.parse().unwrap(),
            documents: Vec::new(),
            warnings: Vec::new(),
            traceparent: None,
            earlier,
        }
    }
}

impl Act {
    fn what(self, at: i64) -> What {
        match self {
            Self::Accept => What::Accept,
            Self::Refuse => What::Refuse,
            Self::RequestSupplement => What::RequestSupplement { until: time(at + SUPPLEMENT_SECONDS) },
            Self::ProvideSupplement => What::ProvideSupplement { documents: Vec::new() },
            Self::ExpireSupplement => What::ExpireSupplement,
            Self::Withdraw => What::Withdraw,
            Self::StartProcessing => What::StartProcessing,
            Self::Progress => What::Progress,
            Self::Stop => What::Stop,
            Self::Resolve => What::Resolve { results: std::num::NonZeroU32::MIN, documents: Vec::new() },
            Self::RecallResult => What::RecallResult,
            Self::ReturnResult => What::ReturnResult { channel: ReturnChannel::Direct },
        }
    }
}

pub(crate) fn time(seconds: i64) -> BusinessTime {
    BusinessTime::from_unix_seconds(seconds).unwrap()
}
