//! What becomes of each dossier: who does what, and when.
//!
//! Every course is rehearsed with the domain's own `decide` and `apply` as it is drawn, so a plan holds no step that the bus
//! would have to refuse, and due dates are the real ones. Who answers how is allotted in shares (most accept and resolve; some
//! ask for a supplement or a fee; a few refuse, stop or are late), estimates of ours again.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jiff::Span;
use jiff::civil::{DateTime, time};
use lgsp_domain::apply::apply;
use lgsp_domain::calendar::Calendar;
use lgsp_domain::deadline::Limit;
use lgsp_domain::decide::{self, ComponentGiven, TimeBounds, What};
use lgsp_domain::dossier::Dossier;
use lgsp_domain::event::Event;
use lgsp_domain::registry::{Registry, Right};
use lgsp_proto::types::{ActorId, BusinessTime, DossierCode, IntakeChannel, PartyId, ReturnChannel, Status};

use super::identity::Check;
use super::matters::Matter;
use super::people;
use super::{Act, CLERKS, Citizen, Filing, Paper, Step, clerk_of};
use crate::demo::random::Draw;
use crate::demo::ticks::{DAY, Ticks};

/// How a dossier ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum End {
    #[default]
    Resolved,
    Refused,
    Withdrawn,
    Stopped,
    /// A supplement is asked for and never comes.
    Expired,
}

/// What is in store for a dossier.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    end: End,
    supplement: bool,
    fee: bool,
    extended: bool,
    recalled: bool,
    late: bool,
}

/// Draws the course of each dossier.
pub(super) struct Courses<'a> {
    registry: &'a Registry,
    ticks: &'a Ticks,
    seed: u64,
    fates: BTreeMap<usize, Fate>,
    /// The applicant of each dossier, in the order of their numbers.
    applicants: Vec<Citizen>,
    post: PartyId,
    payment: PartyId,
}

impl<'a> Courses<'a> {
    pub(super) fn new(
        seed: u64,
        registry: &'a Registry,
        ticks: &'a Ticks,
        matters: &[Matter<'_>],
    ) -> anyhow::Result<Self> {
        let one = |right: Right| registry.parties_with(right, DAY).next().cloned();
        Ok(Self {
            registry,
            ticks,
            seed,
            fates: allot(seed, matters),
            applicants: people::applicants(seed, matters.len())?,
            post: one(Right::Post).context("nobody in the registry may carry results by post")?,
            payment: one(Right::Payment).context("nobody in the registry may confirm payments")?,
        })
    }

    /// The steps of dossier `number`, as far as they fall before the end of the demo.
    ///
    /// # Errors
    /// The rehearsal was refused: plan and law disagree.
    pub(super) fn of(&self, number: u32, matter: &Matter<'_>) -> anyhow::Result<Vec<Step>> {
        let fate = self.fates.get(&(number as usize - 1)).copied().unwrap_or_default();
        let draw = Draw::new(self.seed, u64::from(number));
        let mut course = Course::open(self, number, matter, draw)?;
        match course.tell(fate) {
            Ok(()) | Err(Halt::AfterTheEnd) => Ok(course.steps),
            Err(Halt::Broken(error)) => {
                Err(error.context(format!("dossier {number} of the plan, procedure {}", matter.procedure.code)))
            }
        }
    }
}

/// Gives so many of every thousand dossiers, rounded up, each fate that is not the ordinary one.
fn allot(seed: u64, matters: &[Matter<'_>]) -> BTreeMap<usize, Fate> {
    let mut draw = Draw::new(seed, u64::MAX - 1);
    let mut fates: BTreeMap<usize, Fate> = BTreeMap::new();
    let mut give = |among: Vec<usize>, per_mille: usize, mark: fn(&mut Fate)| {
        let mut among: Vec<usize> = among.into_iter().collect();
        let taken = draw.take(&mut among, (matters.len() * per_mille).div_ceil(1000));
        for index in &taken {
            mark(fates.entry(*index).or_default());
        }
        among
    };
    // What a desk takes in for itself at the counter is received at once: there is nothing left to refuse.
    let at_own_counter = |index: &usize| {
        let matter = &matters[*index];
        matter.intake_channel != IntakeChannel::Online && matter.intake == matter.authority
    };
    let (own, mut rest): (Vec<usize>, Vec<usize>) = (0..matters.len()).partition(at_own_counter);
    rest = give(rest, 30, |fate| fate.end = End::Refused);
    rest.extend(own);
    rest = give(rest, 10, |fate| fate.end = End::Withdrawn);
    rest = give(rest, 5, |fate| fate.end = End::Stopped);
    rest = give(rest, 10, |fate| fate.end = End::Expired);
    give(rest.clone(), 50, |fate| fate.supplement = true);
    give(rest.clone(), 50, |fate| fate.fee = true);
    let limited = |index: &usize| {
        let matter = &matters[*index];
        matter.procedure.limit(matter.case.as_ref(), matter.intake_channel) != Limit::Unlimited
    };
    let rest: Vec<usize> = rest.into_iter().filter(limited).collect();
    // Recalled and extended results come late by themselves, as do some that wait for a clerk; with them it is 6 or 7 of 100.
    give(rest.clone(), 35, |fate| fate.late = true);
    give(rest.clone(), 10, |fate| fate.extended = true);
    give(rest, 10, |fate| fate.recalled = true);
    fates
}

/// Why a course goes no further.
enum Halt {
    /// What comes next lies after the end of the demo.
    AfterTheEnd,
    /// It cannot be rehearsed.
    Broken(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// One dossier as it is rehearsed.
struct Course<'a, 'm> {
    plan: &'a Courses<'a>,
    number: u32,
    matter: &'m Matter<'m>,
    dossier: Dossier,
    /// Who knows of its last event.
    told: Vec<PartyId>,
    steps: Vec<Step>,
    draw: Draw,
}

impl<'a, 'm> Course<'a, 'm> {
    fn open(plan: &'a Courses<'a>, number: u32, matter: &'m Matter<'m>, mut draw: Draw) -> anyhow::Result<Self> {
        let citizen = plan.applicants[number as usize - 1].clone();
        let check = Check::of(matter, plan.registry)?;
        let filing = filing(number, matter, citizen, check, &mut draw);
        let actor = clerk(&matter.intake, &mut draw);
        let given = decide::Submission {
            acting_party: matter.intake.clone(),
            actor: actor.parse()?,
            procedure: matter.procedure.code.clone(),
            case: matter.case.clone(),
            locality: matter.locality.clone(),
            intake_channel: matter.intake_channel,
            return_channel: matter.return_channel,
            support_point: matter.support_point.clone(),
            return_desk: Some(matter.return_desk.clone()),
            received_at: matter.received.try_into()?,
            components: filing
                .papers
                .iter()
                .map(|paper| ComponentGiven { code: paper.code.clone(), has_document: true })
                .collect(),
            documents: Vec::new(),
            aliases: Vec::new(),
            code: None,
        };
        let tick = plan.ticks.at_or_after(matter.received).context("the day ends before the dossier comes in")?;
        let now = tick.try_into()?;
        let admissible = decide::submission(&given, plan.registry, now, &TimeBounds::default())
            .map_err(|refusal| anyhow!("dossier {number} of the plan, {}: {refusal}", matter.procedure.code))?;
        // Any number will do for a rehearsal.
        let code = DossierCode::issue(admissible.authority(), admissible.day(), 1)?;
        let event = admissible.with_code(code).map_err(|refusal| anyhow!("{refusal}"))?.event;
        let step = Step {
            dossier: number,
            sequence: 1,
            at: matter.received,
            party: matter.intake.to_string(),
            actor,
            act: Act::Submit(Box::new(filing)),
        };
        Ok(Self { plan, number, matter, dossier: apply(None, &event)?, told: told(event), steps: vec![step], draw })
    }

    /// The story of a dossier, from reception to the citizen's hand.
    fn tell(&mut self, fate: Fate) -> Result<(), Halt> {
        let mut asks = fate.supplement || fate.end == End::Expired;
        if fate.end == End::Withdrawn && self.draw.chance(0.5) {
            return self.withdraw();
        }
        if self.dossier.status == Status::Registered {
            let answer = self.answered_by();
            if fate.end == End::Refused {
                return self.authority(answer, Act::Refuse);
            }
            if asks && self.draw.chance(0.4) {
                asks = false;
                self.supplement(answer, fate.end)?;
                if fate.end == End::Expired {
                    return Ok(());
                }
            }
            let answer = self.answered_by();
            self.authority(answer, Act::Accept)?;
        }
        self.start_work()?;
        if asks {
            let at = self.within(0.1, 0.4)?;
            self.supplement(at, fate.end)?;
            if fate.end == End::Expired {
                return Ok(());
            }
            self.start_work()?;
        }
        if fate.end == End::Withdrawn {
            return self.withdraw();
        }
        if fate.fee {
            self.fee()?;
        }
        if self.limit_is_long() && self.draw.chance(0.2) {
            let at = self.within(0.2, 0.5)?;
            self.authority(at, Act::Progress { step: "Thẩm định hồ sơ".to_owned() })?;
        }
        if fate.end == End::Stopped {
            let at = self.within(0.3, 0.8)?;
            return self.authority(at, Act::Stop);
        }
        if fate.extended {
            self.extend()?;
        }
        let at = if fate.late { self.too_late()? } else { self.within(0.3, 0.9)? };
        self.resolve(at)?;
        if fate.recalled {
            let at = self.working_minutes(20, 90)?;
            self.authority(at, Act::RecallResult)?;
            let at = self.working_minutes(30, 120)?;
            self.resolve(at)?;
        }
        self.hand_out()
    }

    fn supplement(&mut self, at: DateTime, end: End) -> Result<(), Halt> {
        let calendar = self.calendar();
        let term = calendar.working_day_after(at.date(), 7)?.at(17, 0, 0, 0);
        self.authority(at, Act::RequestSupplement { until: term })?;
        if end == End::Expired {
            let after = calendar.working_day_after(term.date(), 1)?;
            return self.authority(after.at(8, 15, 0, 0), Act::ExpireSupplement);
        }
        let days = self.draw.between(1, 4) as u16;
        let brought = calendar.working_day_after(self.last().date(), days)?.to_datetime(time(7, 30, 0, 0));
        let brought = brought.checked_add(Span::new().minutes(self.draw.between(0, 200)))?;
        let paper = paper(self.number, self.dossier.sequence + 1, None, "Giấy tờ bổ sung", "bo-sung");
        let intake = self.matter.intake.clone();
        self.during_hours(&intake, brought, Act::ProvideSupplement { paper })
    }

    fn fee(&mut self) -> Result<(), Halt> {
        let at = self.within(0.15, 0.4)?;
        let channel = self.matter.intake_channel;
        let fee = self.matter.procedure.fees.iter().find(|fee| fee.channel.is_none_or(|one| one == channel));
        let (name, amount_vnd) =
            fee.map_or(("Lệ phí (minh hoạ)".to_owned(), 30_000), |fee| (fee.name.clone(), fee.amount_vnd));
        self.authority(at, Act::RequestFee { name, amount_vnd })?;
        let paid = self.last().checked_add(Span::new().minutes(self.draw.between(30, 36 * 60)))?;
        let platform = self.plan.payment.clone();
        self.step(&platform, paid, Act::ConfirmPayment { amount_vnd })
    }

    fn extend(&mut self) -> Result<(), Halt> {
        let Some(due) = self.dossier.clock.due() else { return Ok(()) };
        let wished = self.within_until(due, 0.3, 0.6)?;
        let at = self.clerks_time(&self.matter.authority, wished)?;
        // A same-day procedure may be due before the clerk gets to it.
        if at >= due {
            return Ok(());
        }
        let new_due = self.calendar().after_working_time(due, hours(self.draw.between(16, 40)))?;
        self.authority(at, Act::Extend { new_due })
    }

    fn start_work(&mut self) -> Result<(), Halt> {
        let at_the_counter = matches!(self.dossier.clock.terms().limit, Limit::SameDay { .. });
        if self.dossier.status != Status::Accepted || (at_the_counter && self.draw.chance(0.8)) {
            return Ok(());
        }
        let at = self.working_minutes(5, 60)?;
        self.authority(at, Act::StartProcessing)
    }

    fn resolve(&mut self, at: DateTime) -> Result<(), Halt> {
        let name = self.matter.procedure.results.first().map_or("Kết quả giải quyết", String::as_str);
        let result = paper(self.number, self.dossier.sequence + 1, None, name, "ket-qua");
        self.authority(at, Act::Resolve { result })
    }

    fn withdraw(&mut self) -> Result<(), Halt> {
        let at = self.working_minutes(30, 300)?;
        let intake = self.matter.intake.clone();
        self.during_hours(&intake, at, Act::Withdraw)
    }

    /// At the desk and by post on a later day, in working hours; electronically when the result is there.
    fn hand_out(&mut self) -> Result<(), Halt> {
        let channel = self.matter.return_channel;
        let act = Act::Return { channel: channel.as_str().to_owned() };
        let desk = self.matter.return_desk.clone();
        let minutes = Span::new().minutes(self.draw.between(5, 200));
        let morning = |days| -> Result<DateTime, Halt> {
            let day = self.calendar().working_day_after(self.last().date(), days)?;
            Ok(day.at(7, 30, 0, 0).checked_add(minutes)?)
        };
        match channel {
            ReturnChannel::Online => self.step(&desk, self.last().checked_add(minutes)?, act),
            ReturnChannel::Direct => self.during_hours(&desk, morning(1)?, act),
            ReturnChannel::Post => {
                let at = morning(2)?;
                let post = self.plan.post.clone();
                self.during_hours(&post, at, act)
            }
        }
    }

    fn authority(&mut self, at: DateTime, act: Act) -> Result<(), Halt> {
        let authority = self.matter.authority.clone();
        self.during_hours(&authority, at, act)
    }

    fn during_hours(&mut self, party: &PartyId, at: DateTime, act: Act) -> Result<(), Halt> {
        let at = self.clerks_time(party, at)?;
        self.step(party, at, act)
    }

    /// The next moment at which a clerk of `party`, who knows of the last event, can act.
    fn clerks_time(&self, party: &PartyId, wished: DateTime) -> Result<DateTime, Halt> {
        let at = wished.max(self.known_from()?);
        Ok(self.plan.registry.calendar_of(party).next_opening(at)?)
    }

    /// Rehearses one step and notes it.
    fn step(&mut self, party: &PartyId, wished: DateTime, act: Act) -> Result<(), Halt> {
        let at = wished.max(self.known_from()?);
        let tick = self.plan.ticks.at_or_after(at).ok_or(Halt::AfterTheEnd)?;
        if !self.told.contains(party) {
            return Err(anyhow!("{party} would act on what it was never told").into());
        }
        let actor = clerk(party, &mut self.draw);
        let entry = decide::Entry {
            acting_party: party.clone(),
            actor: actor.parse::<ActorId>()?,
            expected_sequence: Some(self.dossier.sequence),
            occurred_at: at.try_into()?,
            what: what(&act)?,
        };
        let decision =
            decide::entry(&self.dossier, &entry, self.plan.registry, tick.try_into()?, &TimeBounds::default());
        let event = decision.map_err(|refusal| anyhow!("step {} at {at}: {refusal}", self.dossier.sequence + 1))?.event;
        self.dossier = apply(Some(&self.dossier), &event)?;
        self.steps.push(Step {
            dossier: self.number,
            sequence: event.sequence,
            at,
            party: party.to_string(),
            actor,
            act,
        });
        self.told = told(event);
        Ok(())
    }

    fn last(&self) -> DateTime {
        self.dossier.updated_at.civil()
    }

    /// From when on everybody knows of the last event: just after the tick at which it was recorded.
    fn known_from(&self) -> Result<DateTime, Halt> {
        let tick = self.plan.ticks.at_or_after(self.last()).ok_or(Halt::AfterTheEnd)?;
        Ok(tick.checked_add(Span::new().minutes(1))?)
    }

    fn calendar(&self) -> &'a Calendar {
        self.plan.registry.calendar_of(&self.matter.authority)
    }

    /// When the authority answers: most within the hour, nearly all within the eight working hours of an online filing.
    fn answered_by(&mut self) -> DateTime {
        let minutes = 6.0 + 150.0 * self.draw.fraction().powi(3);
        let opening = self.calendar().next_opening(self.last()).unwrap_or(self.last());
        self.calendar().after_working_time(opening, Duration::from_secs((minutes * 60.0) as u64)).unwrap_or(opening)
    }

    fn working_minutes(&mut self, low: i64, high: i64) -> Result<DateTime, Halt> {
        let span = Duration::from_secs(self.draw.between(low, high).unsigned_abs() * 60);
        Ok(self.calendar().after_working_time(self.last(), span)?)
    }

    /// Somewhere between these fractions of the working time that is left until the dossier is due.
    fn within(&mut self, low: f64, high: f64) -> Result<DateTime, Halt> {
        let due = match self.dossier.clock.due() {
            Some(due) => due,
            // Nothing is published: a few days, as others have.
            None => self.calendar().after_working_time(self.last(), hours(self.draw.between(16, 60)))?,
        };
        self.within_until(due, low, high)
    }

    fn within_until(&mut self, due: DateTime, low: f64, high: f64) -> Result<DateTime, Halt> {
        let left = self.calendar().working_time(self.last(), due)?;
        let part = low + (high - low) * self.draw.fraction();
        Ok(self.calendar().after_working_time(self.last(), left.mul_f64(part))?)
    }

    fn too_late(&mut self) -> Result<DateTime, Halt> {
        let due = self.dossier.clock.due().unwrap_or(self.last()).max(self.last());
        Ok(self.calendar().after_working_time(due, hours(self.draw.between(1, 24)))?)
    }

    fn limit_is_long(&self) -> bool {
        matches!(self.dossier.clock.terms().limit, Limit::WorkingDays(5..) | Limit::CalendarDays(7..))
    }
}

/// Everybody who knows of an event: who recorded it, and whom the bus tells.
fn told(event: Event) -> Vec<PartyId> {
    let mut told = event.recipients;
    told.push(event.by);
    told
}

fn hours(count: i64) -> Duration {
    Duration::from_secs(count.unsigned_abs() * 3600)
}

fn clerk(party: &PartyId, draw: &mut Draw) -> String {
    clerk_of(party, draw.between(1, CLERKS))
}

fn filing(number: u32, matter: &Matter<'_>, citizen: Citizen, check: Check, draw: &mut Draw) -> Filing {
    let mut papers: Vec<Paper> = matter
        .procedure
        .compulsory_components(matter.case.as_ref())
        .map(|component| paper(number, 1, component.code.clone(), &component.name, "to-khai"))
        .collect();
    if papers.is_empty() && draw.chance(0.93) {
        let first = matter.procedure.components.first();
        let name = first.map_or("Tờ khai", |component| component.name.as_str());
        papers.push(paper(number, 1, first.and_then(|component| component.code.clone()), name, "to-khai"));
    }
    if draw.chance(0.2) {
        papers.push(paper(number, 1, None, "Giấy tờ kèm theo", "kem-theo"));
    }
    let by_post = matter.return_channel == ReturnChannel::Post;
    Filing {
        procedure: matter.procedure.code.to_string(),
        case: matter.case.as_ref().map(ToString::to_string),
        locality: matter.locality.to_string(),
        intake_channel: matter.intake_channel.as_str().to_owned(),
        return_channel: matter.return_channel.as_str().to_owned(),
        support_point: matter.support_point.as_ref().map(ToString::to_string),
        return_desk: (matter.return_desk != matter.intake).then(|| matter.return_desk.to_string()),
        papers,
        summary: format!("Hồ sơ giả lập số {number}"),
        return_address: by_post.then(|| citizen.address.clone()),
        citizen,
        check,
    }
}

/// A paper of dossier `number`, for its event `sequence`. No two have the same content: a document belongs to one dossier.
fn paper(number: u32, sequence: u32, code: Option<String>, name: &str, file: &str) -> Paper {
    Paper {
        code,
        name: name.to_owned(),
        file_name: format!("{file}-{number:05}-{sequence:02}.txt"),
        text: format!("DỮ LIỆU GIẢ LẬP, KHÔNG CÓ GIÁ TRỊ PHÁP LÝ\nHồ sơ giả lập số {number}, lần {sequence}: {name}\n"),
    }
}

/// The act as the domain sees it. Texts and papers play no part in a rehearsal.
fn what(act: &Act) -> anyhow::Result<What> {
    let one = NonZeroU32::MIN;
    Ok(match act {
        Act::Submit(_) => anyhow::bail!("a dossier is opened once"),
        Act::Accept => What::Accept,
        Act::Refuse => What::Refuse,
        Act::RequestSupplement { until } => What::RequestSupplement { until: BusinessTime::try_from(*until)? },
        Act::ProvideSupplement { .. } => What::ProvideSupplement { documents: Vec::new() },
        Act::ExpireSupplement => What::ExpireSupplement,
        Act::Withdraw => What::Withdraw,
        Act::StartProcessing => What::StartProcessing,
        Act::RequestFee { .. } => What::RequestFee { fees: one },
        Act::ConfirmPayment { .. } => What::ConfirmPayment,
        Act::Stop => What::Stop,
        Act::Resolve { .. } => What::Resolve { results: one, documents: Vec::new() },
        Act::RecallResult => What::RecallResult,
        Act::Return { channel } => What::ReturnResult { channel: channel.parse()? },
        Act::Extend { new_due } => What::Extend { new_due: BusinessTime::try_from(*new_due)? },
        Act::Progress { .. } => What::Progress,
    })
}
