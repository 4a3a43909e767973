//! The table: one row for every RPC of `lgsp.v1`, with who may call it and who may not.
//!
//! A row's call is in order but for who makes it: the one of whom it is expected is served by the very same request.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use lgsp_certs::{PrivateKey, Purpose};
use lgsp_proto::v1::audit_client::AuditClient;
use lgsp_proto::v1::certificates_client::CertificatesClient;
use lgsp_proto::v1::documents_client::DocumentsClient;
use lgsp_proto::v1::dossiers_client::DossiersClient;
use lgsp_proto::v1::inbox_client::InboxClient;
use lgsp_proto::v1::inbox_request::Request as Said;
use lgsp_proto::v1::inbox_response::Response as Answer;
use lgsp_proto::v1::numbers_client::NumbersClient;
use lgsp_proto::v1::operations_client::OperationsClient;
use lgsp_proto::v1::queries_client::QueriesClient;
use lgsp_proto::v1::registry_client::RegistryClient;
use lgsp_proto::{Reason, v1};
use prost::Message as _;
use tonic::Status;

use crate::client::Caller;
use crate::support::submission;
use crate::things::{self, DOCUMENT, LOOSE, Things, entry, open_inbox, sha256};

/// A system, and the party it acts for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct As(pub(crate) &'static str, pub(crate) &'static str);

/// The desk of commune Binh, which took the dossiers in.
pub(crate) const BINH: As = As("mot-cua-binh", "H99.102");
/// Commune An, which is competent for them.
pub(crate) const AN: As = As("mot-cua", "H99.101");
/// The police of commune Binh, whom none of them concern.
pub(crate) const POLICE: As = As("cong-an", "H99.CA.102");
/// A department: in the registry, and no desk.
pub(crate) const DEPARTMENT: As = As("so-nganh", "H99.01");
/// Who operates the bus.
pub(crate) const OPERATOR: As = As("van-hanh", "H99.VH");

/// A call's answer as bytes, or its refusal.
pub(crate) type Called = Pin<Box<dyn Future<Output = Result<Vec<u8>, Status>> + Send>>;

/// What a call is about.
#[derive(Clone)]
pub(crate) struct Ask {
    /// The party it is made for.
    pub(crate) party: &'static str,
    pub(crate) things: Things,
}

/// One RPC.
pub(crate) struct Row {
    /// Its service and name.
    pub(crate) rpc: &'static str,
    /// Who is served.
    pub(crate) with: As,
    /// Who acts for its party and lacks the grant.
    pub(crate) without: Without,
    /// Who acts for its party and has no business with what the call is about.
    pub(crate) foreign: Foreign,
    /// Makes the call.
    pub(crate) call: fn(Caller, Ask) -> Called,
}

/// Whether a grant is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Without {
    /// This right is: the party of `As` lacks it, and is told its name and whom to ask.
    Right(As, &'static str),
    /// The dossier's roles decide, and the party of `As` has none that may.
    Role(As),
    /// To act for the party is all there is to it: what it is told is its own, or everybody's.
    NeedsNone,
}

/// What the call can name that is another party's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Foreign {
    /// Named by a party that has nothing to do with it, it is refused for this reason.
    Refused(As, Reason),
    /// Asked by a party that has nothing to do with it, nothing of it is told.
    Untold(As),
    /// It names nothing that belongs to a party.
    NamesNothing,
}

/// Every RPC of the bus.
pub(crate) const ROWS: &[Row] = &[
    Row {
        rpc: "Dossiers/Submit",
        with: BINH,
        without: Without::Right(DEPARTMENT, "submit"),
        // Another party's document; its digest may be known, and gives no right to it.
        foreign: Foreign::Refused(AN, Reason::DocumentUnknown),
        call: |caller, ask| {
            let mut content = submission();
            content.acting_party = ask.party.into();
            if ask.party == AN.1 {
                content.components[0].document = Some(v1::DocumentRef {
                    sha256: sha256(LOOSE),
                    size_bytes: LOOSE.len() as u64,
                    media_type: "application/pdf".into(),
                    file_name: "to-khai.pdf".into(),
                });
            }
            let submission = Bytes::from(content.encode_to_vec());
            let signature = caller.sign(Purpose::Submission, &submission);
            let request = v1::SubmitRequest { submission, signature, earlier: None };
            Box::pin(async move { told(DossiersClient::new(caller.channel).submit(request).await) })
        },
    },
    Row {
        rpc: "Dossiers/Record",
        with: AN,
        without: Without::Role(BINH),
        foreign: Foreign::Refused(POLICE, Reason::DossierNotFound),
        call: |caller, ask| {
            let accepted = v1::entry::What::Accepted(v1::Accepted::default());
            let entry = Bytes::from(entry(ask.party, &ask.things.open, accepted).encode_to_vec());
            let signature = caller.sign(Purpose::Entry, &entry);
            let request = v1::RecordRequest { entry, signature, earlier: None };
            Box::pin(async move { told(DossiersClient::new(caller.channel).record(request).await) })
        },
    },
    Row {
        rpc: "Dossiers/Get",
        with: BINH,
        without: Without::NeedsNone,
        foreign: Foreign::Refused(POLICE, Reason::DossierNotFound),
        call: |caller, ask| {
            let request = v1::GetRequest {
                acting_party: ask.party.into(),
                actor: "clerk-1".into(),
                dossier_code: ask.things.open,
                with_bodies: true,
                after_sequence: 0,
            };
            Box::pin(async move { told(DossiersClient::new(caller.channel).get(request).await) })
        },
    },
    Row {
        rpc: "Dossiers/List",
        with: BINH,
        without: Without::NeedsNone,
        foreign: Foreign::Untold(POLICE),
        call: |caller, ask| {
            let request =
                v1::ListRequest { acting_party: ask.party.into(), actor: "clerk-1".into(), ..Default::default() };
            Box::pin(async move { told(DossiersClient::new(caller.channel).list(request).await) })
        },
    },
    Row {
        rpc: "Dossiers/ExplainRoute",
        with: BINH,
        without: Without::NeedsNone,
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let request = v1::ExplainRouteRequest {
                acting_party: ask.party.into(),
                actor: "clerk-1".into(),
                procedure_code: "1.000001".into(),
                locality: "99001".into(),
                ..Default::default()
            };
            Box::pin(async move { told(DossiersClient::new(caller.channel).explain_route(request).await) })
        },
    },
    Row {
        rpc: "Documents/Upload",
        with: BINH,
        without: Without::NeedsNone,
        // What is uploaded is the party's own, whoever else has the same.
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            Box::pin(async move {
                let uploaded = things::upload(caller.channel, ask.party, DOCUMENT).await;
                uploaded.map(|uploaded| uploaded.encode_to_vec())
            })
        },
    },
    Row {
        rpc: "Documents/UploadState",
        with: BINH,
        without: Without::NeedsNone,
        // That it is there is not told: offset 0, not complete, which is an empty answer.
        foreign: Foreign::Untold(AN),
        call: |caller, ask| {
            let request = v1::UploadStateRequest {
                acting_party: ask.party.into(),
                actor: "clerk-1".into(),
                sha256: sha256(LOOSE),
            };
            Box::pin(async move { told(DocumentsClient::new(caller.channel).upload_state(request).await) })
        },
    },
    Row {
        rpc: "Documents/Download",
        with: AN,
        without: Without::NeedsNone,
        foreign: Foreign::Refused(POLICE, Reason::DossierNotFound),
        call: |caller, ask| {
            let request = v1::DownloadRequest {
                acting_party: ask.party.into(),
                actor: "clerk-1".into(),
                dossier_code: ask.things.open,
                sha256: sha256(DOCUMENT),
                offset: 0,
            };
            Box::pin(async move {
                let mut stream = DocumentsClient::new(caller.channel).download(request).await?.into_inner();
                let mut all = Vec::new();
                while let Some(part) = stream.message().await? {
                    all.extend(part.encode_to_vec());
                }
                Ok(all)
            })
        },
    },
    Row {
        rpc: "Inbox/Open",
        with: AN,
        without: Without::NeedsNone,
        // To say of what others are owed that one has it: nothing of it is taken for said.
        foreign: Foreign::Untold(POLICE),
        call: |caller, ask| {
            let deliveries = vec![v1::DeliveryRef { party: AN.1.into(), dossier_code: ask.things.open, sequence: 1 }];
            let stage = v1::AcknowledgeStage::HandedOver.into();
            let says = [Said::Open(open_inbox(ask.party)), Said::Acknowledge(v1::Acknowledge { stage, deliveries })];
            let says = says.map(|said| v1::InboxRequest { request: Some(said) });
            Box::pin(async move {
                let mut answers = InboxClient::new(caller.channel).open(tokio_stream::iter(says)).await?.into_inner();
                loop {
                    let answer = answers.message().await?.and_then(|answer| answer.response);
                    match answer.ok_or_else(|| Status::internal("the stream ended without an answer"))? {
                        Answer::Acknowledged(taken) => {
                            return Ok(taken.deliveries.iter().flat_map(prost::Message::encode_to_vec).collect());
                        }
                        Answer::Opened(_) | Answer::Delivery(_) | Answer::Declined(_) => {}
                    }
                }
            })
        },
    },
    Row {
        rpc: "Inbox/Backlog",
        with: AN,
        without: Without::NeedsNone,
        foreign: Foreign::Refused(POLICE, Reason::ActsForMissing),
        call: |caller, ask| {
            let others = (ask.party == POLICE.1).then_some(AN.1);
            let parties = [ask.party].into_iter().chain(others).map(str::to_owned).collect();
            let request = v1::BacklogRequest { parties, actor: "clerk-1".into() };
            Box::pin(async move { told(InboxClient::new(caller.channel).backlog(request).await) })
        },
    },
    Row {
        rpc: "Inbox/Parked",
        with: AN,
        without: Without::NeedsNone,
        foreign: Foreign::Refused(POLICE, Reason::ActsForMissing),
        call: |caller, ask| {
            let request = v1::ParkedRequest {
                acting_party: ask.party.into(),
                actor: "clerk-1".into(),
                parties: vec![AN.1.into()],
                ..Default::default()
            };
            Box::pin(async move { told(InboxClient::new(caller.channel).parked(request).await) })
        },
    },
    Row {
        rpc: "Inbox/HandleParked",
        with: AN,
        without: Without::NeedsNone,
        foreign: Foreign::Refused(POLICE, Reason::ActsForMissing),
        call: |caller, ask| {
            let request = v1::HandleParkedRequest {
                acting_party: ask.party.into(),
                actor: "clerk-1".into(),
                r#ref: Some(ask.things.parked),
                action: v1::ParkedActionKind::Skip.into(),
                why: "lý do mẫu".into(),
            };
            Box::pin(async move { told(InboxClient::new(caller.channel).handle_parked(request).await) })
        },
    },
    Row {
        rpc: "Inbox/Release",
        with: OPERATOR,
        // Its own deliveries just as little: an installation may still hand them over.
        without: Without::Right(AN, "operate"),
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let request = v1::ReleaseRequest {
                acting_party: ask.party.into(),
                actor: "operator-1".into(),
                party: AN.1.into(),
                system: AN.0.into(),
                instance: "lost".into(),
                why: "disk-lost".into(),
            };
            Box::pin(async move { told(InboxClient::new(caller.channel).release(request).await) })
        },
    },
    Row {
        rpc: "Numbers/Lease",
        with: BINH,
        without: Without::Right(DEPARTMENT, "submit"),
        // A spool that leases nothing is told what it holds: of another's blocks, nothing.
        foreign: Foreign::Untold(AN),
        call: |caller, ask| {
            let more = u32::from(ask.party != AN.1);
            let wanted = vec![v1::NumbersWanted { authority: AN.1.into(), day: "2025-07-14".into(), more }];
            let request = v1::LeaseNumbersRequest {
                acting_party: ask.party.into(),
                actor: "adapter".into(),
                spool: Bytes::from_static(&[7; 16]),
                wanted,
            };
            Box::pin(async move {
                let leased = NumbersClient::new(caller.channel).lease(request).await?.into_inner();
                Ok(leased.blocks.iter().flat_map(prost::Message::encode_to_vec).collect())
            })
        },
    },
    Row {
        rpc: "Queries/Ask",
        with: BINH,
        without: Without::Right(DEPARTMENT, "call"),
        // For a dossier it has no business with.
        foreign: Foreign::Refused(POLICE, Reason::DossierNotFound),
        call: |caller, ask| {
            let foreign = (ask.party == POLICE.1).then_some(v1::ask_request::Matter::DossierCode(ask.things.open));
            let request = v1::AskRequest { matter: foreign, ..things::parcel(ask.party) };
            Box::pin(async move { told(QueriesClient::new(caller.channel).ask(request).await) })
        },
    },
    Row {
        rpc: "Queries/Serve",
        with: DEPARTMENT,
        without: Without::NeedsNone,
        // To answer in the name of whoever owns the data.
        foreign: Foreign::Refused(POLICE, Reason::ActsForMissing),
        call: |caller, ask| {
            let says = tokio_stream::iter([things::open_serving(ask.party)]);
            Box::pin(async move {
                let mut answers = QueriesClient::new(caller.channel).serve(says).await?.into_inner();
                let first = answers.message().await?;
                Ok(first.ok_or_else(|| Status::internal("the stream ended without an answer"))?.encode_to_vec())
            })
        },
    },
    Row {
        rpc: "Queries/Services",
        with: BINH,
        without: Without::NeedsNone,
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let request = v1::ServicesRequest { acting_party: ask.party.into(), actor: "clerk-1".into() };
            Box::pin(async move { told(QueriesClient::new(caller.channel).services(request).await) })
        },
    },
    Row {
        rpc: "Queries/Look",
        with: BINH,
        without: Without::NeedsNone,
        foreign: Foreign::Refused(POLICE, Reason::QueryNotFound),
        call: |caller, ask| {
            let (acting_party, query_id) = (ask.party.to_owned(), ask.things.query);
            let request = v1::LookRequest { acting_party, actor: "clerk-1".into(), query_id };
            Box::pin(async move { told(QueriesClient::new(caller.channel).look(request).await) })
        },
    },
    Row {
        rpc: "Queries/List",
        with: BINH,
        without: Without::NeedsNone,
        foreign: Foreign::Untold(POLICE),
        call: |caller, ask| {
            let acting_party = ask.party.to_owned();
            let request = v1::ListQueriesRequest { acting_party, actor: "clerk-1".into(), ..Default::default() };
            Box::pin(async move { told(QueriesClient::new(caller.channel).list(request).await) })
        },
    },
    Row {
        rpc: "Queries/Figures",
        with: BINH,
        without: Without::NeedsNone,
        foreign: Foreign::Untold(POLICE),
        call: |caller, ask| {
            let (acting_party, by) = (ask.party.to_owned(), v1::FiguresBy::Party.into());
            let request = v1::FiguresRequest { acting_party, actor: "clerk-1".into(), by, ..Default::default() };
            Box::pin(async move {
                let told = QueriesClient::new(caller.channel).figures(request).await?.into_inner();
                Ok(told.lines.iter().flat_map(prost::Message::encode_to_vec).collect())
            })
        },
    },
    Row {
        rpc: "Operations/Erase",
        with: OPERATOR,
        without: Without::Right(AN, "operate"),
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let request = v1::EraseRequest {
                acting_party: ask.party.into(),
                actor: "operator-1".into(),
                dossier_code: ask.things.closed,
                ground: "QD-1/2025".into(),
            };
            Box::pin(async move { told(OperationsClient::new(caller.channel).erase(request).await) })
        },
    },
    Row {
        rpc: "Operations/Archive",
        with: OPERATOR,
        without: Without::Right(AN, "operate"),
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let request =
                v1::ArchiveRequest { acting_party: ask.party.into(), actor: "operator-1".into(), after_days: Some(1) };
            Box::pin(async move {
                let mut told = OperationsClient::new(caller.channel).archive(request).await?.into_inner();
                let mut last = Vec::new();
                while let Some(answer) = told.message().await? {
                    last = answer.encode_to_vec();
                }
                Ok(last)
            })
        },
    },
    Row {
        rpc: "Registry/Read",
        with: BINH,
        without: Without::NeedsNone,
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let request = v1::ReadRegistryRequest {
                acting_party: ask.party.into(),
                actor: "clerk-1".into(),
                ..Default::default()
            };
            Box::pin(async move { told(RegistryClient::new(caller.channel).read(request).await) })
        },
    },
    Row {
        rpc: "Registry/Plan",
        with: OPERATOR,
        without: Without::Right(AN, "registry"),
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let request = v1::PlanRegistryRequest {
                acting_party: ask.party.into(),
                actor: "operator-1".into(),
                files: crate::support::registry_files(),
                ..Default::default()
            };
            Box::pin(async move { told(RegistryClient::new(caller.channel).plan(request).await) })
        },
    },
    Row {
        rpc: "Registry/Apply",
        with: OPERATOR,
        without: Without::Right(AN, "registry"),
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let request = v1::ApplyRegistryRequest {
                acting_party: ask.party.into(),
                actor: "operator-1".into(),
                files: things::with_services(),
                base_version: 2,
                ..Default::default()
            };
            Box::pin(async move { told(RegistryClient::new(caller.channel).apply(request).await) })
        },
    },
    Row {
        rpc: "Registry/Versions",
        with: OPERATOR,
        without: Without::Right(AN, "registry"),
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let request = v1::RegistryVersionsRequest {
                acting_party: ask.party.into(),
                actor: "operator-1".into(),
                ..Default::default()
            };
            Box::pin(async move { told(RegistryClient::new(caller.channel).versions(request).await) })
        },
    },
    Row {
        rpc: "Registry/CanI",
        with: BINH,
        without: Without::NeedsNone,
        // About a dossier that is none of the party's business.
        foreign: Foreign::Refused(POLICE, Reason::DossierNotFound),
        call: |caller, ask| {
            let request = v1::CanIRequest {
                acting_party: ask.party.into(),
                actor: "clerk-1".into(),
                right: "decide".into(),
                dossier_code: ask.things.open,
                ..Default::default()
            };
            Box::pin(async move { told(RegistryClient::new(caller.channel).can_i(request).await) })
        },
    },
    Row {
        rpc: "Audit/List",
        with: OPERATOR,
        without: Without::Right(AN, "audit"),
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let request = v1::ListAuditRequest {
                acting_party: ask.party.into(),
                actor: "auditor-1".into(),
                ..Default::default()
            };
            Box::pin(async move { told(AuditClient::new(caller.channel).list(request).await) })
        },
    },
    Row {
        rpc: "Certificates/Renew",
        with: BINH,
        without: Without::NeedsNone,
        foreign: Foreign::NamesNothing,
        call: |caller, _| {
            let signing_request = PrivateKey::generate().unwrap().signing_request().unwrap().into();
            let request = v1::RenewRequest { signing_request };
            Box::pin(async move { told(CertificatesClient::new(caller.channel).renew(request).await) })
        },
    },
    Row {
        rpc: "Certificates/Trust",
        with: BINH,
        without: Without::NeedsNone,
        foreign: Foreign::NamesNothing,
        call: |caller, _| {
            let request = v1::TrustRequest::default();
            Box::pin(async move { told(CertificatesClient::new(caller.channel).trust(request).await) })
        },
    },
    Row {
        rpc: "Certificates/IssueToken",
        with: OPERATOR,
        without: Without::Right(AN, "certify"),
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let request = v1::IssueTokenRequest { acting_party: ask.party.into(), ..things::token_for("mot-cua") };
            Box::pin(async move { told(CertificatesClient::new(caller.channel).issue_token(request).await) })
        },
    },
    Row {
        rpc: "Certificates/WithdrawToken",
        with: OPERATOR,
        // A token for its very own system just as little.
        without: Without::Right(AN, "certify"),
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let request = v1::WithdrawTokenRequest {
                acting_party: ask.party.into(),
                actor: "operator-1".into(),
                token_id: ask.things.token,
            };
            Box::pin(async move { told(CertificatesClient::new(caller.channel).withdraw_token(request).await) })
        },
    },
    Row {
        rpc: "Certificates/List",
        with: OPERATOR,
        // Those of another system; its own it may list.
        without: Without::Right(AN, "certify"),
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let request = v1::ListCertificatesRequest {
                acting_party: ask.party.into(),
                actor: "operator-1".into(),
                system: BINH.0.into(),
                ..Default::default()
            };
            Box::pin(async move { told(CertificatesClient::new(caller.channel).list(request).await) })
        },
    },
    Row {
        rpc: "Certificates/Revoke",
        with: OPERATOR,
        without: Without::Right(AN, "certify"),
        foreign: Foreign::NamesNothing,
        call: |caller, ask| {
            let what = v1::revoke_request::What::KeySha256(Bytes::from_static(&[9; 32]));
            let request = v1::RevokeRequest {
                acting_party: ask.party.into(),
                actor: "operator-1".into(),
                what: Some(what),
                ground: "key-lost".into(),
                despite_lockout: false,
            };
            Box::pin(async move { told(CertificatesClient::new(caller.channel).revoke(request).await) })
        },
    },
];

/// RPCs that are not served on the bus: [`crate::joining`] calls them.
pub(crate) const ELSEWHERE: [&str; 1] = ["Enrolment/Join"];

/// RPCs that name no party: the system speaks for itself.
pub(crate) const WITHOUT_PARTY: [&str; 2] = ["Certificates/Renew", "Certificates/Trust"];

fn told<M: prost::Message>(answer: Result<tonic::Response<M>, Status>) -> Result<Vec<u8>, Status> {
    answer.map(|answer| answer.into_inner().encode_to_vec())
}
