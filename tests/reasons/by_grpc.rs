//! How each reason is met by gRPC, as the system that would meet it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::SystemTime;

use bytes::Bytes;
use lgsp_adapters::link::Link;
use lgsp_certs::{CertificateAuthority, CertificateDigest, CertificateFacts, Issued, PrivateKey, Purpose};
use lgsp_domain::numbering::NumberZone;
use lgsp_gateway::store::sled::{Limits, Options, SledStore};
use lgsp_gateway::store::{Commit, EpochStarted, Parked, Store as _};
use lgsp_proto::v1::entry::What;
use lgsp_proto::v1::inbox_request::Request as Say;
use lgsp_proto::v1::upload_request::Request as Upload;
use lgsp_proto::{Reason, v1};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::client::Caller;
use crate::ground::{AN, Adapter, BINH, Ground, OPERATOR, Process, entry, refused, with};
use crate::proof::{Proof, Way};
use crate::support::{at, record, registry_files, submission, submit};

/// Provokes a refusal.
pub(crate) type Provoke = for<'a> fn(&'a Ground) -> Pin<Box<dyn Future<Output = Status> + Send + 'a>>;

/// What a dossier is when An has begun to work on it.
pub(crate) fn at_work() -> Vec<What> {
    vec![accepted(), What::ProcessingStarted(v1::ProcessingStarted::default())]
}

pub(crate) fn accepted() -> What {
    What::Accepted(v1::Accepted::default())
}

pub(crate) fn not_accepted() -> What {
    What::Refused(v1::Refused { reason: "thiếu giấy tờ mẫu".into() })
}

pub(crate) fn supplement_requested() -> What {
    let until = Some(at("2025-07-23T17:00:00+07:00"));
    What::SupplementRequested(v1::SupplementRequested { reason: "lý do mẫu".into(), items: vec![], until })
}

pub(crate) fn extended(to: &str) -> What {
    What::Extended(v1::Extended { reason: "lý do mẫu".into(), new_due_at: Some(at(to)) })
}

fn here(provoke: Provoke) -> Way<Provoke> {
    Way::Here(provoke)
}

/// Met by a test that has what it takes: somebody who owns data, and answers as he likes.
const fn met_by(why: &'static str, file: &'static str, test: &'static str) -> Way<Provoke> {
    Way::Cannot { why, proof: Proof::MetBy { file, test } }
}

/// How a reason is met. Every reason must be here.
pub(crate) fn way(reason: Reason) -> Way<Provoke> {
    match reason {
        Reason::CertificateWithoutIdentity => here(|_| {
            Box::pin(async move {
                let (ground, shown) = nameless().await;
                let caller = Caller::new(&ground.bus, Some(&shown));
                let submission = Bytes::from(submission().encode_to_vec());
                let signature = caller.sign(Purpose::Submission, &submission);
                let request = v1::SubmitRequest { submission, signature, earlier: None };
                v1::dossiers_client::DossiersClient::new(caller.channel).submit(request).await.unwrap_err()
            })
        }),
        Reason::CertificateNotVouched => here(|_| Box::pin(neighbour())),
        Reason::CertificateRevoked => here(|ground| {
            Box::pin(async move {
                let key = PrivateKey::generate().unwrap();
                let what = v1::revoke_request::What::KeySha256(key.key_sha256().to_vec().into());
                revoking(&ground.operator, what).await.unwrap();
                renewing(&ground.desk, key.signing_request().unwrap()).await.unwrap_err()
            })
        }),
        Reason::TokenInvalid => here(|ground| {
            Box::pin(async move {
                let token = token(&ground.operator).await;
                joining(ground, token.id().to_vec(), vec![7; 32]).await.unwrap_err()
            })
        }),
        Reason::TokenSpent => here(|ground| {
            Box::pin(async move {
                let token = token(&ground.operator).await;
                joining(ground, token.id().to_vec(), token.secret().to_vec()).await.unwrap();
                joining(ground, token.id().to_vec(), token.secret().to_vec()).await.unwrap_err()
            })
        }),
        Reason::TokenNotFound => here(|ground| {
            Box::pin(async move {
                let request = v1::WithdrawTokenRequest {
                    acting_party: OPERATOR.into(),
                    actor: "operator-1".into(),
                    token_id: vec![7; 16].into(),
                };
                ground.operator.certificates().withdraw_token(request).await.unwrap_err()
            })
        }),
        Reason::SigningRequestInvalid => {
            here(|ground| Box::pin(async move { renewing(&ground.desk, b"none".to_vec()).await.unwrap_err() }))
        }
        Reason::CertificateNotFound => here(|ground| {
            Box::pin(async move {
                let what = v1::revoke_request::What::CertificateSha256(vec![7; 32].into());
                revoking(&ground.operator, what).await.unwrap_err()
            })
        }),
        Reason::CaNotConfigured => here(|_| {
            Box::pin(async move {
                let without = |config: String, _: &std::path::Path| {
                    config
                        .replace("enrol = \"127.0.0.1:0\"\n", "\n")
                        .replace("[ca]\n", "")
                        .replace("dir = \"ca\"\n", "\n")
                };
                let ground = Ground::with(without).await;
                renewing(&ground.desk, PrivateKey::generate().unwrap().signing_request().unwrap()).await.unwrap_err()
            })
        }),
        Reason::RenewedElsewhere => here(|_| Box::pin(renewed_elsewhere())),
        Reason::RevocationLocksOut => here(|ground| {
            Box::pin(async move {
                let issuing = CertificateFacts::read(ground.bus.ca().intermediate()).unwrap().key_sha256;
                let what = v1::revoke_request::What::KeySha256(issuing.to_vec().into());
                revoking(&ground.operator, what).await.unwrap_err()
            })
        }),
        Reason::SystemUnknown => {
            here(|ground| Box::pin(async move { refused(submit(&ground.bus.link("la"), &submission()).await) }))
        }
        Reason::ActsForMissing => {
            here(|ground| Box::pin(async move { refused(submit(&ground.authority, &submission()).await) }))
        }
        Reason::GrantMissing => here(|ground| {
            Box::pin(async move {
                let department = with(|s| s.acting_party = "H99.01".into());
                refused(submit(&ground.bus.link("so-nganh"), &department).await)
            })
        }),
        Reason::RoleMissing => here(|ground| {
            Box::pin(async move {
                let code = ground.dossier(vec![]).await;
                refused(record(&ground.desk, &entry(BINH, &code, accepted())).await)
            })
        }),
        Reason::SignatureInvalid => here(|ground| {
            Box::pin(async move { signed(&ground.desk, submission().encode_to_vec(), b"other bytes").await })
        }),
        Reason::Malformed => here(|ground| {
            Box::pin(async move {
                let nonsense = [0x0a, 0xff, 0xff, 0xff];
                signed(&ground.desk, nonsense.to_vec(), &nonsense).await
            })
        }),
        Reason::MessageTooLarge => here(|ground| {
            Box::pin(async move {
                let large = vec![0; 5 << 20];
                signed(&ground.desk, large.clone(), &large).await
            })
        }),
        Reason::FieldInvalid => here(|ground| Box::pin(ground.submitting(|s| s.procedure_code = "TTHC-12".into()))),
        Reason::ProcedureUnknown => {
            here(|ground| Box::pin(ground.submitting(|s| s.procedure_code = "1.999999".into())))
        }
        Reason::ProcedureAbolished => {
            here(|ground| Box::pin(ground.submitting(|s| s.procedure_code = "1.000004".into())))
        }
        Reason::ProcedureNotYetInForce => {
            here(|ground| Box::pin(ground.submitting(|s| s.procedure_code = "1.000005".into())))
        }
        Reason::CaseUnknown => here(|ground| Box::pin(ground.submitting(|s| s.case_code = "khong-co".into()))),
        Reason::ComponentMissing => here(|ground| Box::pin(ground.submitting(|s| s.components.clear()))),
        Reason::UnitUnknown => here(|ground| Box::pin(ground.submitting(|s| s.locality = "12345".into()))),
        Reason::UnitCeased => here(|ground| Box::pin(ground.submitting(|s| s.locality = "99003".into()))),
        Reason::PartyUnknown => here(|ground| Box::pin(ground.submitting(|s| s.return_desk = "H99.77".into()))),
        Reason::NoRoute => here(|ground| Box::pin(ground.submitting(|s| s.procedure_code = "1.000006".into()))),
        Reason::DocumentUnknown => {
            here(|ground| Box::pin(ground.submitting(|s| s.components[0].document = Some(document(b"never uploaded")))))
        }
        Reason::DocumentDigestMismatch => here(|ground| {
            Box::pin(async move {
                let start = start(b"%PDF-1.7 announced", 0);
                uploading(
                    &ground.desk,
                    vec![Upload::Start(start), Upload::Chunk(Bytes::from_static(b"%PDF-1.7 sent     "))],
                )
                .await
                .unwrap_err()
            })
        }),
        Reason::DocumentOfAnotherDossier => here(|ground| {
            Box::pin(async move {
                let content = b"%PDF-1.7 of one dossier";
                uploaded(&ground.desk, content).await;
                submit(&ground.desk, &with(|s| s.components[0].document = Some(document(content)))).await.unwrap();
                ground.submitting(|s| s.components[0].document = Some(document(content))).await
            })
        }),
        Reason::DocumentNotFound => here(|ground| {
            Box::pin(async move {
                let code = ground.dossier(vec![]).await;
                downloading(&ground.desk, &code, b"never attached").await.unwrap_err()
            })
        }),
        Reason::DocumentOffsetWrong => here(|ground| {
            Box::pin(async move {
                uploading(&ground.desk, vec![Upload::Start(start(b"%PDF-1.7 begun nowhere", 5))]).await.unwrap_err()
            })
        }),
        Reason::DocumentTooLarge => here(|ground| {
            Box::pin(async move {
                let start = v1::StartUpload { size_bytes: 2 << 20, ..start(b"", 0) };
                uploading(&ground.desk, vec![Upload::Start(start)]).await.unwrap_err()
            })
        }),
        Reason::TimeTooFarBack => {
            here(|ground| Box::pin(ground.submitting(|s| s.received_at = Some(at("2025-06-01T08:30:00+07:00")))))
        }
        Reason::TimeAhead => {
            here(|ground| Box::pin(ground.submitting(|s| s.received_at = Some(at("2025-07-14T08:30:00+07:00")))))
        }
        Reason::CalendarNotCovering => {
            here(|ground| Box::pin(ground.recording(at_work(), extended("2027-03-01T09:00:00+07:00"))))
        }
        Reason::KeyReused => here(|ground| {
            Box::pin(async move {
                let first = submission();
                submit(&ground.desk, &first).await.unwrap();
                refused(submit(&ground.desk, &v1::Submission { summary: "khác".into(), ..first }).await)
            })
        }),
        Reason::StaleVersion => here(|ground| {
            Box::pin(async move {
                let code = ground.dossier(vec![]).await;
                let entry = v1::Entry { expected_sequence: 7, ..entry(AN, &code, accepted()) };
                refused(record(&ground.authority, &entry).await)
            })
        }),
        Reason::IllegalTransition => here(|ground| Box::pin(ground.recording(vec![not_accepted()], accepted()))),
        Reason::SupplementStillOpen => here(|ground| {
            Box::pin(ground.recording(
                vec![accepted(), supplement_requested()],
                What::SupplementExpired(v1::SupplementExpired::default()),
            ))
        }),
        Reason::ExtensionUsed => here(|ground| {
            let mut acts = at_work();
            acts.push(extended("2025-07-18T16:00:00+07:00"));
            Box::pin(ground.recording(acts, extended("2025-07-21T16:00:00+07:00")))
        }),
        Reason::ExtensionNotAllowed => {
            here(|ground| Box::pin(ground.recording(at_work(), extended("2025-07-14T09:00:00+07:00"))))
        }
        Reason::PauseNotAllowed => here(|ground| {
            let cause = v1::PauseCause::Expertise.into();
            Box::pin(ground.recording(at_work(), What::Resumed(v1::Resumed { cause })))
        }),
        Reason::CodeNotLeased => {
            here(|ground| Box::pin(ground.submitting(|s| s.dossier_code = "H99.101-250714-0077".into())))
        }
        Reason::AliasTaken => here(|ground| {
            Box::pin(async move {
                let alias = |s: &mut v1::Submission| s.aliases = vec!["000.00.01.H99-250714-0001".into()];
                submit(&ground.desk, &with(alias)).await.unwrap();
                ground.submitting(alias).await
            })
        }),
        Reason::EarlierReceiptInvalid => here(|ground| {
            Box::pin(async move {
                let first = submit(&ground.desk, &submission()).await.unwrap();
                let body = Bytes::from(submission().encode_to_vec());
                refused(ground.desk.submit_again(body, None, Some(first.signed)).await)
            })
        }),
        Reason::EarlierEventsMissing => here(|_| Box::pin(after_a_loss(false))),
        Reason::EpochConflict => here(|_| Box::pin(after_a_loss(true))),
        Reason::NumbersExhausted => here(|_| {
            Box::pin(async move {
                let ground = without_numbers().await;
                ground.submitting(|_| ()).await
            })
        }),
        Reason::NumbersNotLeasable => here(|ground| {
            Box::pin(async move {
                let wanted = v1::NumbersWanted { authority: AN.into(), day: "2025-01-01".into(), more: 1 };
                let request = v1::LeaseNumbersRequest {
                    acting_party: BINH.into(),
                    actor: "clerk-1".into(),
                    spool: vec![1; 16].into(),
                    wanted: vec![wanted],
                };
                ground.desk.numbers().lease(request).await.unwrap_err()
            })
        }),
        Reason::DossierNotFound => here(|ground| {
            Box::pin(async move { getting(&ground.desk, BINH, "H99.101-250714-9999").await.unwrap_err() })
        }),
        Reason::PageTokenInvalid => here(|ground| {
            Box::pin(async move {
                let request = v1::ListRequest {
                    acting_party: BINH.into(),
                    actor: "clerk-1".into(),
                    page_token: "none".into(),
                    ..Default::default()
                };
                ground.desk.dossiers().list(request).await.unwrap_err()
            })
        }),
        Reason::StreamProtocol => here(|ground| {
            Box::pin(
                async move { Inbox::silent(&ground.desk).await.ended_by(Say::Credit(v1::Credit { more: 1 })).await },
            )
        }),
        Reason::DeliveryUnknown => Way::Cannot {
            why: "on the bus, acknowledging what is not under way is no fault: it is left out of the answer",
            proof: Proof::GatewayNeverSays,
        },
        Reason::InstanceInUse => here(|ground| {
            Box::pin(async move {
                let open = |spool: u8| {
                    Say::Open(v1::OpenInbox {
                        parties: vec![BINH.into()],
                        credit: 1,
                        spool: vec![spool; 16].into(),
                        instance: "twice".into(),
                    })
                };
                let mut first = Inbox::silent(&ground.desk).await;
                first.say(open(1)).await;
                first.opened().await;
                Inbox::silent(&ground.desk).await.ended_by(open(2)).await
            })
        }),
        Reason::ParkedNotFound => here(|ground| {
            Box::pin(async move {
                let code = ground.dossier(vec![]).await;
                handling(&ground.operator, &code).await.unwrap_err()
            })
        }),
        Reason::ParkedHeld => here(|_| Box::pin(parked_and_held())),
        Reason::RegistryInvalid => here(|ground| {
            Box::pin(async move {
                let broken =
                    v1::RegistryFile { name: "parties.toml".into(), content: Bytes::from_static(b"party = 1") };
                applying(&ground.operator, vec![broken]).await.unwrap_err()
            })
        }),
        Reason::RegistryMissing => here(|_| {
            Box::pin(async move {
                let ground = Ground::with(without_registry).await;
                ground.submitting(|_| ()).await
            })
        }),
        Reason::RegistryVersionUnknown => here(|ground| {
            Box::pin(async move {
                let request = v1::ReadRegistryRequest {
                    acting_party: OPERATOR.into(),
                    actor: "operator-1".into(),
                    version: 99,
                    ..Default::default()
                };
                ground.operator.registry().read(request).await.unwrap_err()
            })
        }),
        Reason::RegistryLocksOut => here(|ground| {
            Box::pin(async move {
                let mut files = registry_files();
                let grants = files.iter_mut().find(|file| file.name == "grants.toml").unwrap();
                let text = String::from_utf8(grants.content.to_vec()).unwrap();
                assert!(text.contains("right = \"registry\""));
                grants.content = text.replace("right = \"registry\"", "right = \"operate\"").into();
                applying(&ground.operator, files).await.unwrap_err()
            })
        }),
        Reason::Overloaded => here(|_| {
            Box::pin(async move {
                let ground = Ground::with(|config, _| config + "[limits]\nuploads = 1\n").await;
                let (say, said) = mpsc::channel(1);
                let message = |request| v1::UploadRequest { request: Some(request) };
                say.send(message(Upload::Start(start(b"%PDF-1.7 slow", 0)))).await.unwrap();
                // A system has a part of the places only; another one's call finds that there is none left.
                let (mut documents, mut beside) = (ground.desk.documents(), ground.authority.documents());
                let slow = tokio::spawn(async move { documents.upload(ReceiverStream::new(said)).await });
                // Until the first one has taken the only place, the second one gets it, and fails for its size.
                let refused = loop {
                    let start = v1::StartUpload { acting_party: AN.into(), size_bytes: 2 << 20, ..start(b"", 0) };
                    let messages = tokio_stream::iter([message(Upload::Start(start))]);
                    let status = beside.upload(messages).await.unwrap_err();
                    if lgsp_proto::Refusal::from_status(&status).map(|refusal| refusal.reason())
                        != Some(Reason::DocumentTooLarge)
                    {
                        break status;
                    }
                };
                drop(say);
                slow.abort();
                refused
            })
        }),
        Reason::QuotaExceeded => here(|_| {
            Box::pin(async move {
                let ground = Ground::with(|config, _| config + "[limits]\nsystem_per_second = 1\n").await;
                loop {
                    let Err(status) = getting(&ground.desk, BINH, "H99.101-250714-9999").await else { continue };
                    let reason = lgsp_proto::Refusal::from_status(&status).unwrap().reason();
                    if reason != Reason::DossierNotFound {
                        break status;
                    }
                }
            })
        }),
        Reason::ReadOnly => here(|_| {
            Box::pin(async move {
                let mut ground = Ground::open().await;
                ground.bus.halt().await;
                let key = "node_key = \"node.key\"";
                ground.bus.config =
                    ground.bus.config.replace(key, &format!("{key}\nmin_free_bytes = 1000000000000000"));
                ground.bus.run().await;
                ground.links_again();
                ground.submitting(|_| ()).await
            })
        }),
        Reason::OutcomeUnknown => here(|_| {
            Box::pin(async move {
                let mut ground = Ground::open().await;
                ground.bus.halt().await;
                // A process of its own, whose disk fails in the middle of writing.
                let config = std::mem::take(&mut ground.bus.config);
                let failing = Process::start(&ground.bus, "gateway", &config, "journal.sync:9:fail").await;
                let mut address = ground.bus.address("mot-cua-binh");
                address.gateway = format!("https://{}", failing.at("bus")).parse().unwrap();
                let desk = Link::new(&address).unwrap();
                loop {
                    if let Err(error) = submit(&desk, &submission()).await {
                        break refused::<()>(Err(error));
                    }
                }
            })
        }),
        Reason::ShuttingDown => here(|_| {
            Box::pin(async move {
                let ground = Ground::open().await;
                let mut inbox = Inbox::silent(&ground.desk).await;
                inbox.say(open_inbox(BINH, "main")).await;
                inbox.opened().await;
                ground.bus.tell_to_stop();
                inbox.end().await
            })
        }),
        Reason::ContentErased => here(|ground| {
            Box::pin(async move {
                let content = b"%PDF-1.7 to be erased";
                uploaded(&ground.desk, content).await;
                let code = submit(&ground.desk, &with(|s| s.components[0].document = Some(document(content)))).await;
                let code = code.unwrap().receipt.dossier_code;
                record(&ground.authority, &entry(AN, &code, not_accepted())).await.unwrap();
                erasing(&ground.operator, &code).await.unwrap();
                downloading(&ground.desk, &code, content).await.unwrap_err()
            })
        }),
        Reason::DossierOpen => here(|ground| {
            Box::pin(async move {
                let code = ground.dossier(vec![]).await;
                erasing(&ground.operator, &code).await.unwrap_err()
            })
        }),
        Reason::DossierArchived => here(|_| {
            Box::pin(async move {
                let (ground, code) = archived().await;
                getting(&ground.desk, BINH, &code).await.unwrap_err()
            })
        }),
        Reason::ServiceUnknown => here(|ground| {
            Box::pin(async move {
                let request = v1::AskRequest {
                    acting_party: BINH.into(),
                    actor: "clerk-1".into(),
                    service: "khong-co".into(),
                    purpose: "tham-dinh".into(),
                    payload: Bytes::from_static(b"{}"),
                    ..Default::default()
                };
                ground.desk.queries().ask(request).await.unwrap_err()
            })
        }),
        Reason::QueryNotFound => here(|ground| {
            Box::pin(async move {
                let (acting_party, actor) = (BINH.into(), "clerk-1".into());
                let request = v1::LookRequest { acting_party, actor, query_id: vec![7; 16].into() };
                ground.desk.queries().look(request).await.unwrap_err()
            })
        }),
        Reason::SubjectNotFound
        | Reason::SubjectAmbiguous
        | Reason::SubjectMismatch
        | Reason::SubjectLocked
        | Reason::ClerkNotAuthorised
        | Reason::PurposeNotPermitted
        | Reason::ServiceQuotaExceeded
        | Reason::ServiceMaintenance
        | Reason::ServiceFailed => met_by(
            "it takes a connector of the owner that answers so",
            "gateway/tests/api_bus/queries.rs",
            "the_refusals_of_a_service_are_told_apart_and_each_is_on_record",
        ),
        Reason::ServiceNotServed => met_by(
            "it takes a data service in the registry",
            "gateway/tests/api_bus/queries.rs",
            "only_an_owners_system_serves_and_only_as_long_as_it_acts_for_it",
        ),
        Reason::ServiceBusy => met_by(
            "it takes a connector of the owner that is asked and does not answer",
            "gateway/tests/api_bus/queries.rs",
            "a_service_that_hangs_is_full_at_its_limit_and_delays_no_other",
        ),
        Reason::ServiceSuspended => met_by(
            "it takes a connector of the owner that fails again and again",
            "gateway/tests/api_bus/queries.rs",
            "a_service_that_fails_too_often_is_left_alone_and_the_others_are_not",
        ),
        Reason::QueryOutcomeUnknown => met_by(
            "it takes a connector of the owner whose stream ends when it was asked",
            "gateway/tests/api_bus/queries.rs",
            "a_question_is_asked_once_also_when_the_stream_dies_that_has_it",
        ),
        Reason::Internal => here(|_| {
            Box::pin(async move {
                let content = b"%PDF-1.7 to be lost";
                let (ground, code) = lost(content).await;
                downloading(&ground.desk, &code, content).await.unwrap_err()
            })
        }),
    }
}

/// A call that carries these bytes under a signature of those.
async fn signed(link: &Link, body: Vec<u8>, signed: &[u8]) -> Status {
    let signature = link.signing_key().sign(Purpose::Submission, signed).into();
    let request = v1::SubmitRequest { submission: body.into(), signature, ..Default::default() };
    link.dossiers().submit(request).await.unwrap_err()
}

pub(crate) async fn getting(link: &Link, party: &str, code: &str) -> Result<v1::GetResponse, Status> {
    let request = v1::GetRequest {
        acting_party: party.into(),
        actor: "clerk-1".into(),
        dossier_code: code.into(),
        ..Default::default()
    };
    Ok(link.dossiers().get(request).await?.into_inner())
}

pub(crate) fn sha256(content: &[u8]) -> Bytes {
    Bytes::copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content).as_ref())
}

pub(crate) fn document(content: &[u8]) -> v1::DocumentRef {
    v1::DocumentRef {
        sha256: sha256(content),
        size_bytes: content.len() as u64,
        media_type: "application/pdf".into(),
        file_name: "to-khai.pdf".into(),
    }
}

fn start(content: &[u8], offset: u64) -> v1::StartUpload {
    v1::StartUpload {
        acting_party: BINH.into(),
        actor: "clerk-1".into(),
        sha256: sha256(content),
        size_bytes: content.len() as u64,
        media_type: "application/pdf".into(),
        offset,
    }
}

async fn uploading(link: &Link, messages: Vec<Upload>) -> Result<v1::UploadResponse, Status> {
    let messages: Vec<_> = messages.into_iter().map(|request| v1::UploadRequest { request: Some(request) }).collect();
    Ok(link.documents().upload(tokio_stream::iter(messages)).await?.into_inner())
}

pub(crate) async fn uploaded(link: &Link, content: &'static [u8]) {
    let messages = vec![Upload::Start(start(content, 0)), Upload::Chunk(Bytes::from_static(content))];
    uploading(link, messages).await.unwrap();
}

async fn downloading(link: &Link, code: &str, content: &[u8]) -> Result<(), Status> {
    let request = v1::DownloadRequest {
        acting_party: BINH.into(),
        actor: "clerk-1".into(),
        dossier_code: code.into(),
        sha256: sha256(content),
        offset: 0,
    };
    let mut parts = link.documents().download(request).await?.into_inner();
    while parts.message().await?.is_some() {}
    Ok(())
}

async fn renewing(link: &Link, signing_request: Vec<u8>) -> Result<v1::RenewResponse, Status> {
    let request = v1::RenewRequest { signing_request: signing_request.into() };
    Ok(link.certificates().renew(request).await?.into_inner())
}

pub(crate) async fn revoking(operator: &Link, what: v1::revoke_request::What) -> Result<v1::RevokeResponse, Status> {
    let request = v1::RevokeRequest {
        acting_party: OPERATOR.into(),
        actor: "operator-1".into(),
        what: Some(what),
        ground: "KEY_STOLEN".into(),
        despite_lockout: false,
    };
    Ok(operator.certificates().revoke(request).await?.into_inner())
}

async fn token(operator: &Link) -> lgsp_proto::types::JoinToken {
    let request = v1::IssueTokenRequest {
        acting_party: OPERATOR.into(),
        actor: "operator-1".into(),
        system: "mot-cua".into(),
        ..Default::default()
    };
    let token = operator.certificates().issue_token(request).await.unwrap().into_inner().token;
    crate::support::output::tokens_in("reasons", &token);
    token.parse().unwrap()
}

/// Joins with a key of its own, as somebody without a certificate.
async fn joining(ground: &Ground, id: Vec<u8>, secret: Vec<u8>) -> Result<v1::JoinResponse, Status> {
    let signing_request = PrivateKey::generate().unwrap().signing_request().unwrap().into();
    let request = v1::JoinRequest { token_id: id.into(), token_secret: secret.into(), signing_request };
    let channel = Caller::joining(&ground.bus, None).channel;
    Ok(v1::enrolment_client::EnrolmentClient::new(channel).join(request).await?.into_inner())
}

pub(crate) async fn erasing(operator: &Link, code: &str) -> Result<v1::EraseResponse, Status> {
    let request = v1::EraseRequest {
        acting_party: OPERATOR.into(),
        actor: "operator-1".into(),
        dossier_code: code.into(),
        ground: "QD-1/2026".into(),
    };
    Ok(operator.operations().erase(request).await?.into_inner())
}

async fn applying(operator: &Link, files: Vec<v1::RegistryFile>) -> Result<v1::ApplyRegistryResponse, Status> {
    let request = v1::ApplyRegistryRequest {
        acting_party: OPERATOR.into(),
        actor: "operator-1".into(),
        files,
        base_version: 1,
        ..Default::default()
    };
    Ok(operator.registry().apply(request).await?.into_inner())
}

async fn handling(operator: &Link, code: &str) -> Result<v1::HandleParkedResponse, Status> {
    let request = v1::HandleParkedRequest {
        acting_party: OPERATOR.into(),
        actor: "operator-1".into(),
        r#ref: Some(v1::DeliveryRef { party: AN.into(), dossier_code: code.into(), sequence: 1 }),
        action: v1::ParkedActionKind::Retry.into(),
        why: "thử".into(),
    };
    Ok(operator.inbox().handle_parked(request).await?.into_inner())
}

pub(crate) fn without_registry(config: String, _: &std::path::Path) -> String {
    config.split("[registry]").next().unwrap().to_owned()
}

/// An inbox stream.
struct Inbox {
    say: mpsc::Sender<v1::InboxRequest>,
    hear: Streaming<v1::InboxResponse>,
    /// Deliveries that came while something else was waited for.
    came: VecDeque<v1::Delivery>,
}

fn open_inbox(party: &str, instance: &str) -> Say {
    let parties = vec![party.into()];
    Say::Open(v1::OpenInbox { parties, credit: 64, spool: vec![3; 16].into(), instance: instance.into() })
}

impl Inbox {
    /// Opens the stream, and says nothing yet.
    async fn silent(link: &Link) -> Self {
        let (say, said) = mpsc::channel(16);
        let hear = link.inbox().open(ReceiverStream::new(said)).await.unwrap().into_inner();
        Self { say, hear, came: VecDeque::new() }
    }

    async fn say(&mut self, request: Say) {
        self.say.send(v1::InboxRequest { request: Some(request) }).await.unwrap();
    }

    async fn opened(&mut self) {
        let opened = self.hear.message().await.unwrap().unwrap().response;
        assert!(matches!(opened, Some(v1::inbox_response::Response::Opened(_))), "{opened:?}");
    }

    async fn delivery(&mut self) -> v1::Delivery {
        while self.came.is_empty() {
            self.heard().await;
        }
        self.came.pop_front().unwrap()
    }

    /// The next answer, if it is no delivery.
    async fn heard(&mut self) -> Option<v1::inbox_response::Response> {
        match self.hear.message().await.unwrap().unwrap().response.unwrap() {
            v1::inbox_response::Response::Delivery(delivery) => {
                self.came.push_back(delivery);
                None
            }
            other => Some(other),
        }
    }

    /// Has a delivery go through these stages.
    async fn acknowledge(&mut self, delivery: &v1::Delivery, stages: &[v1::AcknowledgeStage]) {
        for stage in stages {
            let deliveries = vec![delivery.r#ref.clone().unwrap()];
            self.say(Say::Acknowledge(v1::Acknowledge { stage: (*stage).into(), deliveries })).await;
            while self.heard().await.is_none() {}
        }
    }

    /// With what the stream ends after this.
    async fn ended_by(mut self, request: Say) -> Status {
        self.say(request).await;
        self.end().await
    }

    async fn end(&mut self) -> Status {
        loop {
            match self.hear.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ends in order"),
                Err(status) => return status,
            }
        }
    }
}

/// Hands over whatever waits for a party.
async fn handed_over(ground: &Ground, system: &str, party: &str) {
    let link = ground.bus.link(system);
    let asked = v1::BacklogRequest { parties: vec![party.into()], actor: "clerk-1".into() };
    let backlog = link.inbox().backlog(asked).await.unwrap().into_inner();
    let mut inbox = Inbox::silent(&link).await;
    inbox.say(open_inbox(party, party)).await;
    inbox.opened().await;
    for _ in 0..backlog.parties[0].waiting {
        let delivery = inbox.delivery().await;
        inbox.acknowledge(&delivery, &[v1::AcknowledgeStage::TakenOver, v1::AcknowledgeStage::HandedOver]).await;
    }
}

/// A gateway with a dossier in an archive, and its code.
pub(crate) async fn archived() -> (Ground, String) {
    let ground = Ground::open().await;
    let code = ground.dossier(vec![not_accepted()]).await;
    let told = [("mot-cua-binh", BINH), ("mot-cua", AN), ("cong-dich-vu", "H99.CDV"), ("mot-cua", "H99.TT")];
    for (system, party) in told {
        handed_over(&ground, system, party).await;
    }
    ground.bus.set_clock("2025-09-01T09:00:00+07:00".parse().unwrap()).await;
    let request =
        v1::ArchiveRequest { acting_party: OPERATOR.into(), actor: "operator-1".into(), after_days: Some(30) };
    let mut told = ground.operator.operations().archive(request).await.unwrap().into_inner();
    let mut archived = 0;
    while let Some(answer) = told.message().await.unwrap() {
        archived = answer.archived;
    }
    assert_eq!(archived, 1);
    (ground, code)
}

/// A gateway whose disk has lost a document, and the code of its dossier.
pub(crate) async fn lost(content: &'static [u8]) -> (Ground, String) {
    let ground = Ground::open().await;
    uploaded(&ground.desk, content).await;
    let submission = with(|s| s.components[0].document = Some(document(content)));
    let code = submit(&ground.desk, &submission).await.unwrap().receipt.dossier_code;
    let mut folder = ground.bus.folder().join("documents/whole");
    while folder.is_dir() {
        folder = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    }
    std::fs::remove_file(folder).unwrap();
    (ground, code)
}

/// A gateway that has lost its disk, and a receipt for what it no longer has comes back: its place is missing, or taken.
async fn after_a_loss(taken: bool) -> Status {
    let mut ground = Ground::open().await;
    let code = ground.dossier(vec![accepted()]).await;
    let started = entry(AN, &code, What::ProcessingStarted(v1::ProcessingStarted::default())).encode_to_vec();
    let receipt = ground.authority.record(started.clone().into(), None).await.unwrap().signed;
    ground.bus.halt().await;
    for lost in ["data", "documents"] {
        std::fs::remove_dir_all(ground.bus.folder().join(lost)).unwrap();
    }
    ground.bus.run().await;
    let (desk, authority) = (ground.bus.link("mot-cua-binh"), ground.bus.link("mot-cua"));
    if taken {
        let other = submit(&desk, &submission()).await.unwrap().receipt.dossier_code;
        assert_eq!(other, code);
        for what in [accepted(), What::Progressed(v1::Progressed { step: "Thẩm định".into(), ..Default::default() })]
        {
            record(&authority, &entry(AN, &code, what)).await.unwrap();
        }
    }
    refused(authority.record_again(started.into(), None, Some(receipt)).await)
}

/// A gateway that was stopped, whose store was written to, and that runs again.
async fn between_two_lives(ground: &mut Ground, commit: Commit) {
    ground.bus.halt().await;
    write_to_store(ground, commit).await;
    ground.bus.run().await;
    ground.links_again();
}

/// Writes to the store of a gateway that does not run.
async fn write_to_store(ground: &Ground, commit: Commit) {
    let folder = ground.bus.folder();
    let options = Options { dir: folder.join("data"), node_key: folder.join("node.key"), limits: Limits::default() };
    let store = SledStore::open(&options, |_| ()).unwrap();
    store.commit(commit).await.unwrap();
    store.close().await;
}

/// What a restore from a backup writes: another epoch has begun.
fn restored() -> Commit {
    let day = |day: i8| format!("2025-07-{day:02}").parse().unwrap();
    Commit::Epoch(EpochStarted {
        number: 2,
        backup: [7; 16],
        backup_taken_at: SystemTime::now(),
        actor: "operator-1".parse().unwrap(),
        at: SystemTime::now(),
        lost: NumberZone { days: day(1)..=day(31), from: 10_001 },
    })
}

/// What becomes of An's request by REST, when the gateway loses it and is restored: An's adapter sends it again with its receipt, and
/// finds its place taken; or the receipt is of a key that the restored gateway does not know as its own.
pub(crate) async fn lost_and_sent_again(is_place_taken: bool) -> serde_json::Value {
    let mut ground = Ground::open().await;
    let code = ground.dossier(vec![]).await;
    let port = ground.bus.port();
    let folder = ground.bus.folder().to_owned();
    ground.bus.halt().await;
    copy(&folder.join("data"), &folder.join("backup"));
    if !is_place_taken {
        ground.bus.certify_anew();
    }
    let anywhere = ground.bus.config.clone();
    let here = anywhere.replace("bus = \"127.0.0.1:0\"", &format!("bus = \"127.0.0.1:{port}\""));
    ground.bus.config.clone_from(&here);
    ground.bus.run().await;
    let adapter = Adapter::start(&ground.bus, "mot-cua", AN, "").await;
    let key = adapter.admitted(&code, serde_json::json!({ "type": "accepted" })).await;
    // The line is cut, as far as the adapter can see, until the gateway is restored and somebody else was faster.
    ground.bus.halt().await;
    restore(&ground).await;
    if is_place_taken {
        ground.bus.config = anywhere;
        ground.bus.run().await;
        record(&ground.bus.link("mot-cua"), &entry(AN, &code, accepted())).await.unwrap();
        ground.bus.halt().await;
        ground.bus.config = here;
    } else {
        ground.bus.certify_anew();
    }
    ground.bus.run().await;
    adapter.refused_at_last(&key).await
}

/// Puts the store as it was copied in the place of the present one, as a restore does.
async fn restore(ground: &Ground) {
    let folder = ground.bus.folder();
    std::fs::remove_dir_all(folder.join("data")).unwrap();
    std::fs::rename(folder.join("backup"), folder.join("data")).unwrap();
    write_to_store(ground, restored()).await;
}

/// Copies a folder.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What An is told when it refuses a delivery of before a restore that has not come again yet.
pub(crate) async fn refusing_what_has_not_come_back() -> serde_json::Value {
    let mut ground = Ground::open().await;
    let here = format!("bus = \"127.0.0.1:{}\"", ground.bus.port());
    ground.bus.config = ground.bus.config.replace("bus = \"127.0.0.1:0\"", &here);
    let folder = ground.bus.folder().to_owned();
    ground.bus.halt().await;
    copy(&folder.join("data"), &folder.join("backup"));
    ground.bus.run().await;
    ground.links_again();
    let code = ground.dossier(vec![]).await;
    let adapter = Adapter::start(&ground.bus, "mot-cua", AN, "").await;
    adapter.until("/v1/inbox?wait_ms=20000", |inbox| inbox.to_string().contains(&code)).await;
    ground.bus.halt().await;
    restore(&ground).await;
    ground.bus.run().await;
    adapter.until("/status", |status| status["epoch"] == 2).await;
    let deliveries = serde_json::json!([{ "dossier_code": code, "sequence": 1 }]);
    let body = serde_json::json!({ "deliveries": deliveries, "reason": "AGENCY_REFUSED" }).to_string();
    adapter.problem(::http::Method::POST, "/v1/inbox/refuse", &[], body).await
}

/// A gateway with a dossier parked for An, and an installation that did not give it back before the gateway died.
async fn parked_and_held() -> Status {
    let mut ground = Ground::open().await;
    let code = ground.dossier(vec![]).await;
    let mut inbox = Inbox::silent(&ground.authority).await;
    inbox.say(open_inbox(AN, "main")).await;
    inbox.opened().await;
    let delivery = inbox.delivery().await;
    inbox.acknowledge(&delivery, &[v1::AcknowledgeStage::TakenOver]).await;
    drop(inbox);
    let parked = Parked {
        party: AN.parse().unwrap(),
        code: code.parse().unwrap(),
        sequence: 1,
        reason: "AGENCY_REFUSED".into(),
        kind: v1::DeclineKind::Permanent,
        attempts: 1,
        system: "mot-cua".into(),
        at: SystemTime::now(),
    };
    between_two_lives(&mut ground, Commit::Parked(parked)).await;
    handling(&ground.operator, &code).await.unwrap_err()
}

/// A gateway without numbers left for An: it was restored, and An numbers itself from where the gateway's would go on.
pub(crate) async fn without_numbers() -> Ground {
    let mut ground = Ground::open().await;
    let mut files = registry_files();
    let parties = files.iter_mut().find(|file| file.name == "parties.toml").unwrap();
    let text = String::from_utf8(parties.content.to_vec()).unwrap();
    let of_an = "unit = \"99001\", desk = true }";
    assert!(text.contains(of_an));
    parties.content = text.replace(of_an, "unit = \"99001\", desk = true, own_numbers_from = 6001 }").into();
    applying(&ground.operator, files).await.unwrap();
    between_two_lives(&mut ground, restored()).await;
    ground
}

/// Makes these roots ones of the bus too.
fn also_trusting(config: String, folder: &std::path::Path, more: &str) -> String {
    let ours = std::fs::read_to_string(folder.join("ca/root.pem")).unwrap();
    std::fs::write(folder.join("clients.pem"), ours + more).unwrap();
    config.replace("client_bundle = \"ca/root.pem\"", "client_bundle = \"clients.pem\"")
}

/// A bus that accepts certificates of a neighbour's CA, which may not vouch for anybody here.
pub(crate) fn trusting_a_neighbour(config: String, folder: &std::path::Path) -> String {
    let domain = "neighbour.test".parse().unwrap();
    let ca = CertificateAuthority::create(&folder.join("neighbour"), &domain, SystemTime::now()).unwrap();
    also_trusting(config, folder, &ca.root_pem())
}

async fn neighbour() -> Status {
    let ground = Ground::with(trusting_a_neighbour).await;
    let ca = CertificateAuthority::open(&ground.bus.folder().join("neighbour")).unwrap();
    refused(submit(&Link::new(&ground.bus.address_of(&ca, "mot-cua-binh")).unwrap(), &submission()).await)
}

/// A gateway that accepts certificates of a CA, and one by that CA which names two systems.
pub(crate) async fn nameless() -> (Ground, Issued) {
    let p256 = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let (ca_key, key) = (p256(), p256());
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let mut params = rcgen::CertificateParams::default();
    let names = ["spiffe://bus.test/system/mot-cua", "spiffe://bus.test/system/mot-cua-binh"];
    params.subject_alt_names = names.iter().map(|id| rcgen::SanType::URI((*id).try_into().unwrap())).collect();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let shown = Issued {
        certificate_pem: leaf.pem(),
        key_pem: key.serialize_pem().into(),
        digest: CertificateDigest::of(leaf.der()),
        not_after: SystemTime::now(),
    };
    (Ground::with(|config, folder| also_trusting(config, folder, &root)).await, shown)
}

/// A system whose certificate an agency's own CA issues, for which that CA may vouch.
async fn renewed_elsewhere() -> Status {
    let ground = Ground::with(|config, folder| {
        let domain = "bus.test".parse().unwrap();
        let ca = CertificateAuthority::create(&folder.join("agency"), &domain, SystemTime::now()).unwrap();
        std::fs::write(folder.join("agency.pem"), ca.root_pem()).unwrap();
        config + "[[tls.trust]]\nname = \"binh\"\nbundle = \"agency.pem\"\nsystems = [\"mot-cua-*\"]\n"
    })
    .await;
    let ca = CertificateAuthority::open(&ground.bus.folder().join("agency")).unwrap();
    let theirs = Link::new(&ground.bus.address_of(&ca, "mot-cua-binh")).unwrap();
    renewing(&theirs, PrivateKey::generate().unwrap().signing_request().unwrap()).await.unwrap_err()
}
