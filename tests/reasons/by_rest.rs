//! How each reason is met by REST: as the answer of an adapter, or as what became of a request.

use std::pin::Pin;

use ::http::Method;
use data_encoding::HEXLOWER;
use lgsp_adapters::reference::LocalReason;
use lgsp_certs::CertificateAuthority;
use lgsp_proto::Reason;
use serde_json::{Value, json};

use crate::by_grpc::{
    accepted, archived, at_work, erasing, extended, lost, lost_and_sent_again, nameless, not_accepted,
    refusing_what_has_not_come_back, sha256, supplement_requested, trusting_a_neighbour, uploaded, without_numbers,
    without_registry,
};
use crate::ground::{AN, Adapter, BINH, Ground, entry, submission_json, with};
use crate::proof::{Proof, Way};
use crate::support::{fresh_key, record, submit};

/// Provokes a problem.
pub(crate) type Provoke = for<'a> fn(&'a Ground) -> Pin<Box<dyn Future<Output = Value> + Send + 'a>>;

fn here(provoke: Provoke) -> Way<Provoke> {
    Way::Here(provoke)
}

/// An administrator's call, which no adapter makes: this is what it would send.
const fn administrators(request: &'static str) -> Way<Provoke> {
    Way::Cannot {
        why: "only an administrator's call is refused so, and an adapter makes none",
        proof: Proof::AdapterNeverSends(request),
    }
}

/// A call that the adapter makes on its own, here; nobody's request holds what became of it.
const fn adapters_own(file: &'static str, call: &'static str) -> Way<Provoke> {
    Way::Cannot {
        why: "the adapter makes this call on its own, puts right what it can, and tells the rest in its log and /status",
        proof: Proof::AdaptersOwnCall { file, call },
    }
}

/// Met by a test that has what it takes: a crash, a full disk, a clerk's day.
const fn met_by(why: &'static str, file: &'static str, test: &'static str) -> Way<Provoke> {
    Way::Cannot { why, proof: Proof::MetBy { file, test } }
}

/// How a reason of the bus is met. Every reason must be here.
pub(crate) fn way(reason: Reason) -> Way<Provoke> {
    match reason {
        Reason::CertificateWithoutIdentity => here(|_| {
            Box::pin(async move {
                let (ground, shown) = nameless().await;
                let folder = ground.bus.folder().join("nameless");
                shown.write_to(&folder, "two-names").unwrap();
                let mut theirs = ground.bus.address("mot-cua-binh");
                theirs.tls.certificate = folder.join("two-names.pem");
                theirs.tls.key = folder.join("two-names.key");
                Adapter::showing(&ground.bus, &theirs, BINH, "").await.asking("/v1/dossiers/H99.101-250714-0001").await
            })
        }),
        Reason::CertificateNotVouched => here(|_| {
            Box::pin(async move {
                let ground = Ground::with(trusting_a_neighbour).await;
                let ca = CertificateAuthority::open(&ground.bus.folder().join("neighbour")).unwrap();
                let theirs = ground.bus.address_of(&ca, "mot-cua-binh");
                Adapter::showing(&ground.bus, &theirs, BINH, "").await.asking("/v1/dossiers/H99.101-250714-0001").await
            })
        }),
        Reason::CertificateRevoked => met_by(
            "who is revoked has no connection to be told on, but in the instant of it",
            "adapters/tests/adapter/link.rs",
            "a_certificate_that_the_gateway_turns_away_is_told_as_such",
        ),
        Reason::TokenInvalid | Reason::TokenSpent => adapters_own("adapters/src/identity/join.rs", ".join(request)"),
        Reason::TokenNotFound => administrators("WithdrawTokenRequest"),
        Reason::SigningRequestInvalid | Reason::CaNotConfigured | Reason::RenewedElsewhere => {
            adapters_own("adapters/src/identity/renewal.rs", "RenewRequest")
        }
        Reason::CertificateNotFound | Reason::RevocationLocksOut => administrators("RevokeRequest"),
        Reason::SystemUnknown => here(|ground| {
            Box::pin(async move {
                let unknown = Adapter::start(&ground.bus, "la", BINH, "").await;
                unknown.asking("/v1/dossiers/H99.101-250714-0001").await
            })
        }),
        Reason::ActsForMissing => here(|ground| {
            Box::pin(async move {
                let party = [("lgsp-party", AN)];
                ground.at_binh().await.problem(Method::GET, "/v1/dossiers", &party, "").await
            })
        }),
        Reason::GrantMissing => here(|ground| {
            Box::pin(async move {
                let department = Adapter::start(&ground.bus, "so-nganh", "H99.01", "").await;
                department.refused("/v1/dossiers", &submission_json()).await
            })
        }),
        Reason::RoleMissing => here(|ground| {
            Box::pin(async move {
                let code = ground.dossier(vec![]).await;
                ground.at_binh().await.says(&code, json!({ "type": "accepted" })).await
            })
        }),
        Reason::SignatureInvalid => adapters_own("adapters/src/link/calls.rs", ".sign("),
        Reason::Malformed => here(|ground| {
            Box::pin(async move {
                let key = fresh_key();
                let headers = [("idempotency-key", key.as_str())];
                ground.at_binh().await.problem(Method::POST, "/v1/dossiers", &headers, "{").await
            })
        }),
        Reason::MessageTooLarge => here(|ground| {
            Box::pin(async move {
                let key = fresh_key();
                let headers = [("idempotency-key", key.as_str())];
                ground.at_binh().await.problem(Method::POST, "/v1/dossiers", &headers, vec![b' '; 3 << 20]).await
            })
        }),
        Reason::FieldInvalid => here(|ground| Box::pin(ground.handing_in(|s| s["procedure_code"] = "TTHC-12".into()))),
        Reason::ProcedureUnknown => {
            here(|ground| Box::pin(ground.handing_in(|s| s["procedure_code"] = "1.999999".into())))
        }
        Reason::ProcedureAbolished => {
            here(|ground| Box::pin(ground.handing_in(|s| s["procedure_code"] = "1.000004".into())))
        }
        Reason::ProcedureNotYetInForce => {
            here(|ground| Box::pin(ground.handing_in(|s| s["procedure_code"] = "1.000005".into())))
        }
        Reason::CaseUnknown => here(|ground| Box::pin(ground.handing_in(|s| s["case_code"] = "khong-co".into()))),
        Reason::ComponentMissing => here(|ground| Box::pin(ground.handing_in(|s| s["components"] = json!([])))),
        Reason::UnitUnknown => here(|ground| Box::pin(ground.handing_in(|s| s["locality"] = "12345".into()))),
        Reason::UnitCeased => here(|ground| Box::pin(ground.handing_in(|s| s["locality"] = "99003".into()))),
        Reason::PartyUnknown => here(|ground| Box::pin(ground.handing_in(|s| s["return_desk"] = "H99.77".into()))),
        Reason::NoRoute => here(|ground| Box::pin(ground.handing_in(|s| s["procedure_code"] = "1.000006".into()))),
        Reason::DocumentUnknown => here(|ground| {
            Box::pin(ground.handing_in(|s| {
                let sha256 = HEXLOWER.encode(&sha256(b"never uploaded anywhere"));
                s["components"][0]["document"] =
                    json!({ "sha256": sha256, "size_bytes": 23, "media_type": "application/pdf", "file_name": "a.pdf" });
            }))
        }),
        Reason::DocumentDigestMismatch => here(|ground| {
            Box::pin(async move {
                let content = b"%PDF-1.7 of another size by REST";
                uploaded(&ground.desk, content).await;
                ground
                    .handing_in(|s| {
                        let sha256 = HEXLOWER.encode(&sha256(content));
                        s["components"][0]["document"] =
                            json!({ "sha256": sha256, "size_bytes": 7, "media_type": "application/pdf", "file_name": "a.pdf" });
                    })
                    .await
            })
        }),
        Reason::DocumentOfAnotherDossier => here(|ground| {
            Box::pin(async move {
                let content = b"%PDF-1.7 of one dossier by REST";
                uploaded(&ground.desk, content).await;
                let named = with(|s| s.components[0].document = Some(crate::by_grpc::document(content)));
                submit(&ground.desk, &named).await.unwrap();
                ground
                    .handing_in(|s| {
                        let sha256 = HEXLOWER.encode(&sha256(content));
                        s["components"][0]["document"] = json!({
                            "sha256": sha256, "size_bytes": content.len(), "media_type": "application/pdf", "file_name": "a.pdf",
                        });
                    })
                    .await
            })
        }),
        Reason::DocumentNotFound => here(|ground| {
            Box::pin(async move {
                let code = ground.dossier(vec![]).await;
                let path = format!("/v1/dossiers/{code}/documents/{}", HEXLOWER.encode(&sha256(b"never attached")));
                ground.at_binh().await.asking(&path).await
            })
        }),
        Reason::DocumentOffsetWrong => adapters_own("adapters/src/link/documents.rs", "StartUpload"),
        Reason::DocumentTooLarge => here(|ground| {
            Box::pin(async move {
                let headers = [("content-type", "application/pdf")];
                ground.at_binh().await.problem(Method::POST, "/v1/documents", &headers, vec![b'.'; 2 << 20]).await
            })
        }),
        Reason::TimeTooFarBack => {
            here(|ground| Box::pin(ground.handing_in(|s| s["received_at"] = "2025-06-01T08:30:00+07:00".into())))
        }
        Reason::TimeAhead => {
            here(|ground| Box::pin(ground.handing_in(|s| s["received_at"] = "2025-07-14T08:30:00+07:00".into())))
        }
        Reason::CalendarNotCovering => {
            here(|ground| Box::pin(ground.saying(at_work(), extending("2027-03-01T09:00:00+07:00"))))
        }
        Reason::KeyReused => here(|ground| {
            Box::pin(async move {
                let key = fresh_key();
                let headers = [("idempotency-key", key.as_str())];
                let mut submission = submission_json();
                let adapter = ground.at_binh().await;
                adapter.call(Method::POST, "/v1/dossiers", &headers, submission.to_string()).await.with(202);
                submission["summary"] = "khác".into();
                adapter.problem(Method::POST, "/v1/dossiers", &headers, submission.to_string()).await
            })
        }),
        Reason::StaleVersion => {
            here(|ground| Box::pin(ground.saying(vec![], json!({ "type": "accepted", "expected_sequence": 7 }))))
        }
        Reason::IllegalTransition => {
            here(|ground| Box::pin(ground.saying(vec![not_accepted()], json!({ "type": "accepted" }))))
        }
        Reason::SupplementStillOpen => here(|ground| {
            let acts = vec![accepted(), supplement_requested()];
            Box::pin(ground.saying(acts, json!({ "type": "supplement_expired" })))
        }),
        Reason::ExtensionUsed => here(|ground| {
            let acts = [at_work(), vec![extended("2025-07-18T16:00:00+07:00")]].concat();
            Box::pin(ground.saying(acts, extending("2025-07-21T16:00:00+07:00")))
        }),
        Reason::ExtensionNotAllowed => {
            here(|ground| Box::pin(ground.saying(at_work(), extending("2025-07-14T09:00:00+07:00"))))
        }
        Reason::PauseNotAllowed => {
            here(|ground| Box::pin(ground.saying(at_work(), json!({ "type": "resumed", "cause": "expertise" }))))
        }
        Reason::CodeNotLeased => {
            here(|ground| Box::pin(ground.handing_in(|s| s["dossier_code"] = "H99.101-250714-0077".into())))
        }
        Reason::AliasTaken => here(|ground| {
            Box::pin(async move {
                let alias = "000.00.01.H99-250714-0002";
                submit(&ground.desk, &with(|s| s.aliases = vec![alias.into()])).await.unwrap();
                ground.handing_in(|s| s["aliases"] = json!([alias])).await
            })
        }),
        Reason::EarlierReceiptInvalid => here(|_| Box::pin(lost_and_sent_again(false))),
        Reason::EarlierEventsMissing => here(|_| Box::pin(refusing_what_has_not_come_back())),
        Reason::EpochConflict => here(|_| Box::pin(lost_and_sent_again(true))),
        Reason::NumbersExhausted => here(|_| {
            Box::pin(async move {
                let ground = without_numbers().await;
                ground.handing_in(|_| ()).await
            })
        }),
        Reason::NumbersNotLeasable => adapters_own("adapters/src/offline/keeper.rs", "LeaseNumbersRequest"),
        Reason::DossierNotFound => here(|ground| {
            Box::pin(async move { ground.at_binh().await.asking("/v1/dossiers/H99.101-250714-9999").await })
        }),
        Reason::PageTokenInvalid => {
            here(|ground| Box::pin(async move { ground.at_binh().await.asking("/v1/dossiers?page_token=none").await }))
        }
        Reason::StreamProtocol | Reason::InstanceInUse => adapters_own("adapters/src/receive.rs", "OpenInbox"),
        Reason::DeliveryUnknown => here(|ground| {
            Box::pin(async move {
                let body =
                    json!({ "deliveries": [{ "dossier_code": "H99.101-250714-9999", "sequence": 1 }] }).to_string();
                ground.at_binh().await.problem(Method::POST, "/v1/inbox/ack", &[], body).await
            })
        }),
        Reason::ParkedNotFound | Reason::ParkedHeld => administrators("HandleParkedRequest"),
        Reason::RegistryInvalid | Reason::RegistryLocksOut => administrators("ApplyRegistryRequest"),
        Reason::RegistryVersionUnknown => adapters_own("adapters/src/offline/keeper.rs", "ReadRegistryRequest"),
        Reason::RegistryMissing => here(|_| {
            Box::pin(async move {
                let ground = Ground::with(without_registry).await;
                ground.at_binh().await.asking("/v1/dossiers/H99.101-250714-9999").await
            })
        }),
        Reason::Overloaded => here(|ground| {
            Box::pin(async move {
                let one = "[rest]\nlisten = \"127.0.0.1:0\"\ntoken = \"none\"\nmax_requests = 1\n";
                let adapter = Adapter::start(&ground.bus, "cong-an", "H99.CA.101", one).await;
                // Whoever waits for something that does not come has the only place, until nobody listens any more.
                let waiting = adapter.call(Method::GET, "/v1/inbox?wait_ms=60000", &[], "");
                let turned_away = async {
                    loop {
                        let answer = adapter.call(Method::GET, "/v1/requests", &[], "").await;
                        if answer.status != 200 {
                            break answer.json(503);
                        }
                    }
                };
                tokio::select! {
                    answer = waiting => panic!("nothing came to be waited for: {answer:?}"),
                    problem = turned_away => problem,
                }
            })
        }),
        Reason::QuotaExceeded => here(|_| {
            Box::pin(async move {
                let ground = Ground::with(|config, _| config + "[limits]\nsystem_per_second = 1\n").await;
                let adapter = ground.at_binh().await;
                loop {
                    let problem = adapter.asking("/v1/dossiers/H99.101-250714-9999").await;
                    if problem["reason"] != "DOSSIER_NOT_FOUND" {
                        break problem;
                    }
                }
            })
        }),
        Reason::ReadOnly => met_by(
            "a gateway that cannot write is waited for; an adapter whose own disk fails says it in the instant before it ends",
            "adapters/tests/adapter/disk.rs",
            "a_real_disk_is_full",
        ),
        Reason::OutcomeUnknown => met_by(
            "an adapter sends again until the outcome is known, and tells that one",
            "adapters/tests/adapter/calls.rs",
            "what_may_pass_is_tried_again_with_the_same_bytes",
        ),
        Reason::ShuttingDown => met_by(
            "it takes a question in the instant of the stop; what a gateway says then is passed on like every reason",
            "adapters/src/problem.rs",
            "a_kept_refusal_reads_like_a_fresh_one",
        ),
        Reason::ContentErased => here(|ground| {
            Box::pin(async move {
                let content = b"%PDF-1.7 to be erased by REST";
                uploaded(&ground.desk, content).await;
                let named = with(|s| s.components[0].document = Some(crate::by_grpc::document(content)));
                let code = submit(&ground.desk, &named).await.unwrap().receipt.dossier_code;
                record(&ground.authority, &entry(AN, &code, not_accepted())).await.unwrap();
                erasing(&ground.operator, &code).await.unwrap();
                let path = format!("/v1/dossiers/{code}/documents/{}", HEXLOWER.encode(&sha256(content)));
                ground.at_binh().await.asking(&path).await
            })
        }),
        Reason::DossierOpen => administrators("EraseRequest"),
        Reason::DossierArchived => here(|_| {
            Box::pin(async move {
                let (ground, code) = archived().await;
                ground.at_binh().await.asking(&format!("/v1/dossiers/{code}")).await
            })
        }),
        Reason::ServiceUnknown => here(|ground| {
            Box::pin(async move {
                let asked = json!({ "service": "khong-co", "purpose": "tham-dinh", "payload": {} });
                ground.at_binh().await.refused("/v1/queries", &asked).await
            })
        }),
        Reason::QueryNotFound => here(|ground| {
            Box::pin(async move { ground.at_binh().await.asking("/v1/queries/07070707070707070707070707070707").await })
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
                let content = b"%PDF-1.7 to be lost by REST";
                let (ground, code) = lost(content).await;
                let path = format!("/v1/dossiers/{code}/documents/{}", HEXLOWER.encode(&sha256(content)));
                ground.at_binh().await.asking(&path).await
            })
        }),
    }
}

/// How an adapter's own reason is met. Every one must be here; by gRPC there is none of them.
pub(crate) fn local_way(reason: LocalReason) -> Way<Provoke> {
    match reason {
        LocalReason::TokenInvalid => here(|ground| {
            Box::pin(async move {
                std::fs::write(ground.bus.folder().join("token"), "a-token-for-tests-of-some-length-1234567890")
                    .unwrap();
                let guarded = "[rest]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"token\"\n";
                Adapter::start(&ground.bus, "cong-an", "H99.CA.101", guarded).await.asking("/v1/dossiers").await
            })
        }),
        LocalReason::ResourceNotFound => {
            here(|ground| Box::pin(async move { ground.at_binh().await.asking("/v1/nothing").await }))
        }
        LocalReason::MethodNotAllowed => here(|ground| {
            Box::pin(async move { ground.at_binh().await.problem(Method::PUT, "/v1/dossiers", &[], "").await })
        }),
        LocalReason::RequestNotFound => {
            here(|ground| Box::pin(async move { ground.at_binh().await.asking("/v1/requests/none").await }))
        }
        LocalReason::ExceptionNotFound => here(|ground| {
            Box::pin(async move {
                let body = json!({ "note": "đã báo người dân" }).to_string();
                ground.at_binh().await.problem(Method::POST, "/v1/exceptions/none/handled", &[], body).await
            })
        }),
        LocalReason::ExceptionHandled => met_by(
            "it takes a day without a line, a refusal after it, and two clerks",
            "adapters/tests/adapter/offline.rs",
            "a_code_given_in_vain_stands_in_the_list_until_a_clerk_has_worked_it_off",
        ),
        LocalReason::UploadNotFound => here(|ground| {
            Box::pin(async move {
                ground.at_binh().await.problem(Method::DELETE, "/v1/document-uploads/0123456789abcdef", &[], "").await
            })
        }),
        LocalReason::UploadOffsetWrong => met_by(
            "it takes an upload in pieces",
            "adapters/tests/adapter/uploads.rs",
            "an_upload_is_one_partys_and_goes_on_at_one_place_only",
        ),
        LocalReason::RangeNotSatisfiable => here(|ground| {
            Box::pin(async move {
                let content = b"%PDF-1.7 in part";
                uploaded(&ground.desk, content).await;
                let named = with(|s| s.components[0].document = Some(crate::by_grpc::document(content)));
                let code = submit(&ground.desk, &named).await.unwrap().receipt.dossier_code;
                let path = format!("/v1/dossiers/{code}/documents/{}", HEXLOWER.encode(&sha256(content)));
                ground.at_binh().await.problem(Method::GET, &path, &[("range", "bytes=4000-")], "").await
            })
        }),
        LocalReason::WebhookNotFound => here(|ground| {
            Box::pin(async move {
                let body = json!({ "party": BINH }).to_string();
                ground.at_binh().await.problem(Method::POST, "/v1/webhooks/test", &[], body).await
            })
        }),
        LocalReason::GatewayUnreachable => here(|_| {
            Box::pin(async move {
                let ground = Ground::open().await;
                let adapter = Adapter::start(&ground.bus, "mot-cua-binh", BINH, "").await;
                let mut ground = ground;
                ground.bus.halt().await;
                adapter.asking("/v1/dossiers/H99.101-250714-9999").await
            })
        }),
        LocalReason::SpoolDiskFull => here(|ground| {
            Box::pin(async move {
                let full = "[spool]\nmin_free_mib = 1000000000\n";
                let adapter = Adapter::start(&ground.bus, "cong-an", "H99.CA.101", full).await;
                adapter.refused("/v1/dossiers", &submission_json()).await
            })
        }),
        LocalReason::SpoolRecordDamaged => met_by(
            "it takes a disk that gives back other bytes",
            "adapters/tests/adapter/held_up.rs",
            "a_record_that_cannot_be_read_back_is_told_and_shown_to_a_clerk_and_the_next_go_on",
        ),
        LocalReason::ClientInvalid | LocalReason::TooManyFailures => met_by(
            "it takes a listener for other machines, and somebody who guesses",
            "adapters/tests/adapter/access.rs",
            "whoever_guesses_is_told_the_same_of_every_name_and_soon_has_to_wait",
        ),
        LocalReason::ClientPartyMissing => met_by(
            "it takes a listener for other machines",
            "adapters/tests/adapter/access.rs",
            "from_another_machine_a_client_is_known_by_its_certificate_and_acts_for_its_parties_only",
        ),
        LocalReason::TablesDocumentUnusable => met_by(
            "it is answered in a row of the agency's database, and not over HTTP",
            "adapters/tests/adapter/tables.rs",
            "what_cannot_be_taken_in_is_answered_in_its_own_row_and_stops_no_other",
        ),
        LocalReason::FolderEntryInvalid => met_by(
            "it is answered in a watched folder, and not over HTTP",
            "adapters/tests/adapter/folder.rs",
            "what_is_no_folder_of_a_request_is_answered_under_a_name_that_can_be_used",
        ),
        LocalReason::FolderFileUnusable => met_by(
            "it is answered in a watched folder, and not over HTTP",
            "adapters/tests/adapter/folder.rs",
            "what_cannot_be_taken_in_is_answered_with_reason_field_and_remedy_and_nothing_is_sent",
        ),
    }
}

fn extending(to: &str) -> Value {
    json!({ "type": "extended", "reason": "lý do mẫu", "new_due_at": to })
}
