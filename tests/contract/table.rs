//! The transition table over the wire.
//!
//! The cells are generated from `lgsp_domain::transition::TABLE`; [`entry`] matches every act and [`violation`] every guard
//! without a wildcard, so that a new one without an expected answer does not compile.

use std::collections::{BTreeMap, VecDeque};

use lgsp_adapters::link::{CallError, Link};
use lgsp_domain::transition::{Act, Guard, Requirement, Role, TABLE, Target, Transition, expected, row};
use lgsp_proto::types::{BusinessTime, Status};
use lgsp_proto::{Reason, v1};

use crate::support::{Bus, MORNING, at, fresh_key, record, refusal, submission, submit};

/// The systems and the parties that hold the roles; each party holds no other role of the dossier than shown here.
struct Desks {
    bus: Bus,
    links: BTreeMap<&'static str, Link>,
}

/// Who holds a role in the dossiers of this suite: the party, and the system that acts for it. The citizen speaks through
/// the intake desk.
const fn holder(role: Role) -> (&'static str, &'static str) {
    match role {
        Role::Citizen | Role::IntakeDesk => ("H99.102", "mot-cua-binh"),
        Role::CompetentAuthority => ("H99.101", "mot-cua"),
        Role::ReturnDesk => ("H99.TT", "mot-cua"),
        Role::Payment => ("H99.TTO", "thanh-toan"),
        Role::Post => ("H99.BC", "buu-chinh"),
    }
}

/// The roles of the party that holds `role`, in the order in which the domain tries them.
const fn roles_of_holder(role: Role) -> &'static [Role] {
    match role {
        Role::Citizen | Role::IntakeDesk => &[Role::Citizen, Role::IntakeDesk],
        Role::CompetentAuthority => &[Role::CompetentAuthority],
        Role::ReturnDesk => &[Role::ReturnDesk],
        Role::Payment => &[Role::Payment],
        Role::Post => &[Role::Post],
    }
}

/// A dossier brought to a status.
#[derive(Clone, Debug)]
struct Standing {
    code: String,
    status: Status,
    sequence: u32,
    resume_to: Option<Status>,
    /// Whether a fee was asked for, so that the payment platform knows the dossier.
    payment_told: bool,
    /// Whether a result went by post, so that the post knows it.
    post_told: bool,
    return_by: v1::ReturnChannel,
}

impl Desks {
    async fn open() -> Self {
        let bus = Bus::start().await;
        let links = ["mot-cua", "mot-cua-binh", "thanh-toan", "buu-chinh", "cong-an"];
        let links = links.into_iter().map(|system| (system, bus.link(system))).collect();
        Self { bus, links }
    }

    async fn submitted(&self, return_by: v1::ReturnChannel) -> Standing {
        let mut submission = submission();
        submission.return_channel = return_by.into();
        let admitted = submit(&self.links["mot-cua-binh"], &submission).await.unwrap();
        let (payment_told, post_told) = (false, false);
        let code = admitted.receipt.dossier_code;
        Standing { code, status: Status::Registered, sequence: 1, resume_to: None, payment_told, post_told, return_by }
    }

    /// A fresh dossier, brought to `status` by the shortest legal way.
    async fn standing_in(&self, status: Status, return_by: v1::ReturnChannel) -> Standing {
        let mut standing = self.submitted(return_by).await;
        for act in way_to(status) {
            let row = row(act, Some(standing.status)).unwrap();
            let what = entry(act, None);
            self.record(&mut standing, row.roles[0], what).await.unwrap_or_else(|error| panic!("{act:?}: {error}"));
        }
        assert_eq!(standing.status, status);
        standing
    }

    /// Records `what` as the holder of `role`, and follows the dossier.
    async fn record(&self, standing: &mut Standing, role: Role, what: v1::entry::What) -> Result<(), CallError> {
        let act = act_of(&what);
        let admitted = self.send(standing, role, what).await?;
        let before = standing.status;
        standing.sequence = admitted.sequence;
        standing.status = Status::try_from(u32::try_from(admitted.status).unwrap()).unwrap();
        if matches!(standing.status, Status::SupplementRequested | Status::PaymentRequested)
            && before != standing.status
        {
            standing.resume_to = Some(before);
        }
        standing.payment_told |= act == Act::RequestFee;
        standing.post_told |= act == Act::Resolve && standing.return_by == v1::ReturnChannel::Post;
        Ok(())
    }

    async fn send(&self, standing: &Standing, role: Role, what: v1::entry::What) -> Result<v1::Receipt, CallError> {
        let (party, system) = holder(role);
        let entry = v1::Entry {
            request_key: fresh_key(),
            acting_party: party.into(),
            actor: "clerk-1".into(),
            dossier_code: standing.code.clone(),
            expected_sequence: 0,
            occurred_at: Some(at(MORNING)),
            what: Some(what),
        };
        record(&self.links[system], &entry).await.map(|admitted| admitted.receipt)
    }
}

/// The shortest way from a fresh dossier to `status`, found in the table.
fn way_to(status: Status) -> Vec<Act> {
    let mut ways = VecDeque::from([(Status::Registered, Vec::new())]);
    let mut seen = vec![Status::Registered];
    while let Some((at, way)) = ways.pop_front() {
        if at == status {
            return way;
        }
        for row in TABLE.iter().filter(|row| row.from == Some(at) && row.act != Act::ExpireSupplement) {
            if let Target::Fixed(next) = row.to
                && !seen.contains(&next)
            {
                seen.push(next);
                ways.push_back((next, way.iter().copied().chain([row.act]).collect()));
            }
        }
    }
    panic!("no way leads to {status:?}");
}

/// An entry that records `act` in full, or without `omitted`. Every act must be here.
fn entry(act: Act, omitted: Option<Requirement>) -> v1::entry::What {
    use v1::entry::What;
    let has = |requirement| omitted != Some(requirement);
    let reason = if has(Requirement::Reason) { "lý do mẫu".to_owned() } else { String::new() };
    let cause = if has(Requirement::PauseCause) { v1::PauseCause::PaperTransit } else { v1::PauseCause::Unspecified };
    match act {
        Act::Submit => panic!("a submission is no entry"),
        Act::Accept => What::Accepted(v1::Accepted::default()),
        Act::Refuse => What::Refused(v1::Refused { reason }),
        Act::RequestSupplement => What::SupplementRequested(v1::SupplementRequested {
            reason,
            items: vec!["Giấy chứng sinh".into()],
            until: has(Requirement::SupplementUntil).then(|| at("2025-07-23T17:00:00+07:00")),
        }),
        Act::ProvideSupplement => What::SupplementProvided(v1::SupplementProvided::default()),
        Act::ExpireSupplement => What::SupplementExpired(v1::SupplementExpired::default()),
        Act::Withdraw => What::Withdrawn(v1::Withdrawn::default()),
        Act::StartProcessing => What::ProcessingStarted(v1::ProcessingStarted::default()),
        Act::RequestFee => What::FeeRequested(v1::FeeRequested {
            fees: if has(Requirement::Fees) {
                vec![v1::Fee { code: "LP01".into(), name: "Lệ phí".into(), amount_vnd: 8000 }]
            } else {
                Vec::new()
            },
        }),
        Act::ConfirmPayment => What::FeePaid(v1::FeePaid {
            payment_reference: if has(Requirement::PaymentReference) { "TT-0001".into() } else { String::new() },
            amount_vnd: 8000,
        }),
        Act::Stop => What::Stopped(v1::Stopped { reason }),
        Act::Resolve => What::Resolved(v1::Resolved {
            results: if has(Requirement::Results) {
                vec![v1::Result { name: "Giấy khai sinh".into(), ..Default::default() }]
            } else {
                Vec::new()
            },
            note: String::new(),
        }),
        Act::RecallResult => What::ResultRecalled(v1::ResultRecalled { reason }),
        Act::ReturnResult => What::Returned(v1::Returned {
            channel: if has(Requirement::ReturnChannel) {
                v1::ReturnChannel::Direct.into()
            } else {
                v1::ReturnChannel::Unspecified.into()
            },
            note: String::new(),
        }),
        Act::Extend => What::Extended(v1::Extended {
            reason,
            new_due_at: has(Requirement::NewDue).then(|| at("2025-07-18T16:00:00+07:00")),
        }),
        Act::Pause => What::Paused(v1::Paused { cause: cause.into(), reason: "lý do mẫu".into() }),
        Act::Resume => What::Resumed(v1::Resumed { cause: cause.into() }),
        Act::Progress => What::Progressed(v1::Progressed {
            step: if has(Requirement::Step) { "Thẩm định".into() } else { String::new() },
            ..Default::default()
        }),
    }
}

/// Hands a result out by the channel the citizen chose.
fn handing_out_by(channel: v1::ReturnChannel, mut what: v1::entry::What) -> v1::entry::What {
    if let v1::entry::What::Returned(returned) = &mut what {
        returned.channel = channel.into();
    }
    what
}

fn act_of(what: &v1::entry::What) -> Act {
    use v1::entry::What;
    match what {
        What::Accepted(_) => Act::Accept,
        What::Refused(_) => Act::Refuse,
        What::SupplementRequested(_) => Act::RequestSupplement,
        What::SupplementProvided(_) => Act::ProvideSupplement,
        What::SupplementExpired(_) => Act::ExpireSupplement,
        What::Withdrawn(_) => Act::Withdraw,
        What::ProcessingStarted(_) => Act::StartProcessing,
        What::FeeRequested(_) => Act::RequestFee,
        What::FeePaid(_) => Act::ConfirmPayment,
        What::Stopped(_) => Act::Stop,
        What::Resolved(_) => Act::Resolve,
        What::ResultRecalled(_) => Act::RecallResult,
        What::Returned(_) => Act::ReturnResult,
        What::Extended(_) => Act::Extend,
        What::Paused(_) => Act::Pause,
        What::Resumed(_) => Act::Resume,
        What::Progressed(_) => Act::Progress,
    }
}

/// Whether the holder of `role` has been told of the dossier.
fn is_told(standing: &Standing, role: Role) -> bool {
    match role {
        Role::Citizen | Role::IntakeDesk | Role::CompetentAuthority | Role::ReturnDesk => true,
        Role::Payment => standing.payment_told,
        Role::Post => standing.post_told,
    }
}

/// What the table says to the holder of `role`: the best answer any of its roles gets.
fn oracle(standing: &Standing, act: Act, role: Role) -> Result<Target, Reason> {
    if !is_told(standing, role) {
        return Err(Reason::DossierNotFound);
    }
    let mut answers = roles_of_holder(role).iter().map(|role| expected(act, Some(standing.status), *role));
    answers.clone().find(Result::is_ok).unwrap_or_else(|| answers.next_back().unwrap())
}

/// The guard that does not hold in a fresh dossier, if any.
fn guard_in_the_way(act: Act) -> Option<Reason> {
    match act {
        // The term has not passed yet.
        Act::ExpireSupplement => Some(Guard::SupplementPassed.reason()),
        // Nothing has been paused yet.
        Act::Resume => Some(Guard::CauseOpen.reason()),
        _ => None,
    }
}

fn target_status(standing: &Standing, target: Target) -> Status {
    match target {
        Target::Fixed(status) => status,
        Target::Same => standing.status,
        // The procedure of this suite restarts its clock: what was asked in 2 or 4 goes back to 2, what was asked in 1 to 1.
        // A paid fee goes back where it was asked.
        Target::Resume => match (standing.status, standing.resume_to) {
            (Status::SupplementRequested, Some(Status::Processing)) => Status::Accepted,
            (_, Some(status)) => status,
            (_, None) => panic!("nothing to resume to"),
        },
        Target::Opening => panic!("only a submission opens"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_in_every_status_by_every_role_is_answered_as_the_table_says() {
    let desks = Desks::open().await;
    let mut cells = 0;
    for return_by in [v1::ReturnChannel::Direct, v1::ReturnChannel::Post] {
        for status in Status::ALL {
            let mut standing = desks.standing_in(status, return_by).await;
            for act in Act::ALL.iter().copied().filter(|act| *act != Act::Submit) {
                for role in Role::ALL.iter().copied() {
                    cells += 1;
                    let cell = format!("{act:?} in {status:?} by {role:?}, returned by {return_by:?}");
                    let oracle = oracle(&standing, act, role);
                    let guarded = guard_in_the_way(act);
                    let answer = desks.send(&standing, role, handing_out_by(return_by, entry(act, None))).await;
                    match (oracle, guarded, answer) {
                        (Ok(target), None, Ok(receipt)) => {
                            let after = Status::try_from(u32::try_from(receipt.status).unwrap()).unwrap();
                            assert_eq!(after, target_status(&standing, target), "{cell}");
                            assert_eq!(receipt.sequence, standing.sequence + 1, "{cell}");
                            // What was admitted has changed the dossier: the next cell gets a fresh one.
                            standing = desks.standing_in(status, return_by).await;
                        }
                        (Ok(_), Some(reason), Err(error)) | (Err(reason), _, Err(error)) => {
                            assert_eq!(refusal(&error).reason(), reason, "{cell}: {error}");
                        }
                        (oracle, guarded, answer) => panic!("{cell}: {oracle:?} {guarded:?} {answer:?}"),
                    }
                }
            }
        }
    }
    assert_eq!(cells, 2 * Status::ALL.len() * (Act::ALL.len() - 1) * Role::ALL.len());
    desks.bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_requirement_left_out_is_named_and_nothing_is_written() {
    let desks = Desks::open().await;
    for row in TABLE.iter().filter(|row| row.from.is_some()) {
        let standing = desks.standing_in(row.from.unwrap(), v1::ReturnChannel::Direct).await;
        for requirement in row.requires {
            let without = entry(row.act, Some(*requirement));
            let error = desks.send(&standing, row.roles[0], without).await.unwrap_err();
            let refusal = refusal(&error);
            assert_eq!(refusal.reason(), Reason::FieldInvalid, "{row:?}");
            let fields: Vec<&str> = refusal.violations().iter().map(|violation| violation.field.as_str()).collect();
            assert_eq!(fields, [requirement.path(row.act)], "{row:?}");
            assert!(!refusal.violations()[0].problem.vi().is_ascii(), "{row:?} in Vietnamese");
        }
        assert_eq!(sequence_of(&desks, &standing).await, standing.sequence, "{row:?}");
    }
    desks.bus.stop().await;
}

/// What somebody records in a role.
type Said = (Role, v1::entry::What);

/// How to violate a guard of `row`: what happens first, and what is then refused. Every guard must be here.
fn violation(guard: Guard, row: &Transition) -> Option<(Vec<Said>, Said)> {
    use v1::entry::What;
    let role = row.roles[0];
    let paper = v1::PauseCause::PaperTransit.into();
    let pause = |cause: v1::PauseCause| match row.act {
        Act::Pause => What::Paused(v1::Paused { cause: cause.into(), reason: "lý do mẫu".into() }),
        _ => What::Resumed(v1::Resumed { cause: cause.into() }),
    };
    Some(match guard {
        Guard::TermAhead => {
            let until = Some(at(MORNING));
            let what = v1::SupplementRequested { reason: "lý do mẫu".into(), items: Vec::new(), until };
            (vec![], (role, What::SupplementRequested(what)))
        }
        Guard::SupplementPassed => (vec![], (role, entry(row.act, None))),
        Guard::FirstExtension => {
            let later = What::Extended(v1::Extended {
                reason: "lý do mẫu".into(),
                new_due_at: Some(at("2025-07-21T16:00:00+07:00")),
            });
            (vec![(role, entry(row.act, None))], (role, later))
        }
        Guard::ExtensionInTime => {
            let earlier = What::Extended(v1::Extended {
                reason: "lý do mẫu".into(),
                new_due_at: Some(at("2025-07-14T09:00:00+07:00")),
            });
            (vec![], (role, earlier))
        }
        Guard::NamedCause => (vec![], (role, pause(v1::PauseCause::Supplement))),
        Guard::PaperBeforeReception => (vec![], (role, pause(v1::PauseCause::Expertise))),
        Guard::PaperUnlessAuthority => (vec![], (Role::IntakeDesk, pause(v1::PauseCause::Expertise))),
        Guard::CauseNotOpen => {
            let open = What::Paused(v1::Paused { cause: paper, reason: "lý do mẫu".into() });
            (vec![(role, open)], (role, pause(v1::PauseCause::PaperTransit)))
        }
        Guard::CauseOpen => (vec![], (role, pause(v1::PauseCause::PaperTransit))),
        // The post is told only of what goes by post, so over the wire it meets "not found" before this guard; the cell is
        // in the exhaustive test above.
        Guard::PostOnlyByPost => return None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_guard_violated_gives_its_reason_and_writes_nothing() {
    let desks = Desks::open().await;
    for row in TABLE.iter().filter(|row| row.from.is_some()) {
        for guard in row.guards {
            let Some((before, (role, what))) = violation(*guard, row) else { continue };
            let mut standing = desks.standing_in(row.from.unwrap(), v1::ReturnChannel::Direct).await;
            for (role, what) in before {
                desks.record(&mut standing, role, what).await.unwrap();
            }
            // Before reception only paper may stop the clock, whoever says so: that guard comes first there.
            let reason = match guard {
                Guard::PaperUnlessAuthority if row.guards.contains(&Guard::PaperBeforeReception) => {
                    Guard::PaperBeforeReception.reason()
                }
                guard => guard.reason(),
            };
            let error = desks.send(&standing, role, what).await.unwrap_err();
            assert_eq!(refusal(&error).reason(), reason, "{guard:?} of {row:?}: {error}");
            assert_eq!(sequence_of(&desks, &standing).await, standing.sequence, "{guard:?} of {row:?}");
        }
    }
    desks.bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_that_passed_lets_the_authority_close_the_dossier() {
    let desks = Desks::open().await;
    let mut standing = desks.standing_in(Status::SupplementRequested, v1::ReturnChannel::Direct).await;
    let later = "2025-07-24T08:00:00+07:00";
    desks.bus.set_clock(later.parse::<BusinessTime>().unwrap()).await;
    let (party, system) = holder(Role::CompetentAuthority);
    let entry = v1::Entry {
        request_key: fresh_key(),
        acting_party: party.into(),
        actor: "clerk-1".into(),
        dossier_code: standing.code.clone(),
        occurred_at: Some(at(later)),
        what: Some(entry(Act::ExpireSupplement, None)),
        ..Default::default()
    };
    let admitted = record(&desks.links[system], &entry).await.unwrap();
    standing.sequence += 1;
    assert_eq!(admitted.receipt.sequence, standing.sequence);
    assert_eq!(admitted.receipt.status(), v1::Status::Refused);
    desks.bus.stop().await;
}

async fn sequence_of(desks: &Desks, standing: &Standing) -> u32 {
    let (party, system) = holder(Role::CompetentAuthority);
    let request = v1::GetRequest {
        acting_party: party.into(),
        actor: "clerk-1".into(),
        dossier_code: standing.code.clone(),
        ..Default::default()
    };
    let answer = desks.links[system].dossiers().get(request).await.unwrap().into_inner();
    answer.dossier.unwrap().sequence
}
