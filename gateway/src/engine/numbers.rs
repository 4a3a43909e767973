//! Numbers leased ahead, and whose number a code is that a desk gave out itself.
//!
//! A desk leases blocks of an authority's numbers for the days to come, so that it gives out real codes while its line is
//! down. Invariants: what is answered is durable, one block belongs to one spool of one desk, and nothing here takes a number
//! back: one that was given to a citizen stays used, whatever becomes of the dossier.

use jiff::ToSpan as _;
use lgsp_domain::numbering::{Block, NumberSource, SpoolId};
use lgsp_domain::registry::Right;
use lgsp_proto::types::{BusinessTime, Date, DossierCode, PartyId};
use lgsp_proto::{FieldViolation, Reason, Refusal, Wrong};
use tokio::task::JoinSet;

use super::access::{Authorized, Peer};
use super::clock::machine_now;
use super::intake::number_failed;
use super::lanes::Lane;
use super::{Engine, read_failed};
use crate::store::{BlockWanted, NumberError};

/// Of an authority's numbers of a day this part is never leased, so that hoards leave something for whoever is on line.
const NEVER_LEASED: u32 = 10;

/// What a desk asks for.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The desk.
    pub desk: PartyId,
    /// The spool that will give the numbers out.
    pub spool: SpoolId,
    /// Numbers of which authorities and days; each once.
    pub wanted: Vec<Wanted>,
}

/// Numbers of one authority's day.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// In whose name.
    pub authority: PartyId,
    /// On which business day.
    pub day: Date,
    /// How many to add; 0 asks only.
    pub more: u32,
}

/// What a spool holds.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Its blocks with numbers left, in the order they were asked for and leased.
    pub blocks: Vec<(PartyId, Date, Block)>,
    /// The epoch they are good in.
    pub epoch: u32,
    /// The business clock.
    pub now: BusinessTime,
}

impl Engine {
    /// Adds to what a spool holds, and says what it holds then. Every block is durable when this returns `Ok`.
    ///
    /// # Errors
    /// `GRANT_MISSING` for a party that takes nothing in, `NUMBERS_NOT_LEASABLE` with every authority and day for which no
    /// numbers are leased; nothing was leased then. After those of a commit some of the blocks may have been; asking again
    /// tells.
    pub async fn lease_numbers(&self, peer: Peer, request: LeaseRequest) -> Result<Holding, Refusal> {
        let engine = self.clone();
        self.to_the_end(async move { engine.lease_now(&peer, request).await }).await
    }

    async fn lease_now(&self, peer: &Peer, request: LeaseRequest) -> Result<Holding, Refusal> {
        let LeaseRequest { desk, spool, wanted } = request;
        let now = self.clock().now();
        let authorized = self.authorize(peer, &desk)?;
        authorized.require(Right::Submit, None)?;
        self.refuse_unleasable(&authorized, &wanted)?;
        // What the desk holds is looked at and added to by one call at a time.
        let _held = self.inner.lanes.hold([Lane::Numbers(desk.as_str())]).await;
        let epoch = self.inner.store.epoch().await.map_err(read_failed)?;

        let mut leases = JoinSet::new();
        for Wanted { authority, day, more } in wanted.iter().filter(|one| one.more > 0) {
            let held = self.blocks_of(authority, *day, &desk, epoch).await?;
            let count = self.inner.settings.leases.grantable(&held, spool, *more);
            if count == 0 {
                continue;
            }
            let last = authorized.registry().last_number_of(authority);
            let block = BlockWanted {
                authority: authority.clone(),
                day: *day,
                desk: desk.clone(),
                spool,
                epoch,
                count,
                last: last - last / NEVER_LEASED,
            };
            let store = self.inner.store.clone();
            // Side by side, so that they share the journal's syncs.
            leases
                .spawn(async move { store.lease_numbers(&block, machine_now()).await.map_err(|error| (error, block)) });
        }
        for leased in leases.join_all().await {
            match leased {
                // There may be fewer than were asked for, or none.
                Ok(_) | Err((NumberError::Exhausted(_), _)) => {}
                Err((error, block)) => return Err(number_failed(error, &block.authority)),
            }
        }

        let mut blocks = Vec::new();
        for Wanted { authority, day, .. } in wanted {
            let held = self.blocks_of(&authority, day, &desk, epoch).await?;
            let of_spool = held.into_iter().filter(|block| block.spool == Some(spool));
            blocks.extend(of_spool.map(|block| (authority.clone(), day, block)));
        }
        Ok(Holding { blocks, epoch, now })
    }

    async fn blocks_of(
        &self,
        authority: &PartyId,
        day: Date,
        desk: &PartyId,
        epoch: u32,
    ) -> Result<Vec<Block>, Refusal> {
        self.inner.store.blocks(authority, day, desk, epoch).await.map_err(read_failed)
    }

    /// Every authority and day at fault, at once. A day that is over may still be asked for, not leased for.
    fn refuse_unleasable(&self, authorized: &Authorized, wanted: &[Wanted]) -> Result<(), Refusal> {
        let today = authorized.today();
        let last = today.checked_add(i64::from(self.inner.settings.leases.days).days()).unwrap_or(Date::MAX);
        let mut faults: Vec<FieldViolation> = Vec::new();
        for (at, Wanted { authority, day, more }) in wanted.iter().enumerate().filter(|(_, one)| one.more > 0) {
            let mut fault =
                |field: &str, problem| faults.push(FieldViolation { field: format!("wanted[{at}].{field}"), problem });
            if !(today..=last).contains(day) {
                let adds = Wrong::new(
                    format!("xin thêm {more} số cho ngày không cấp trước số"),
                    format!("asks for {more} more on a day that numbers are not leased for"),
                );
                fault("day", adds);
            } else if let Err(absent) = authorized.registry().party_in_force(authority, *day) {
                fault("authority", Wrong::new(absent.vietnamese(), absent.to_string()));
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        let refusal = Refusal::new(Reason::NumbersNotLeasable).detail("from", today).detail("to", last);
        Err(faults.into_iter().fold(refusal, |refusal, fault| refusal.field(fault.field, fault.problem)))
    }

    /// Whose number a code is that the desk gave out itself: one of a block leased to it, or, at the authority's own desk, one
    /// of the range that the registry leaves to the authority. It must not have been used before.
    ///
    /// # Errors
    /// `CODE_NOT_LEASED` with what stands against it.
    pub(super) async fn check_given(
        &self,
        authorized: &Authorized,
        authority: &PartyId,
        code: &DossierCode,
    ) -> Result<NumberSource, Refusal> {
        let epoch = self.inner.store.epoch().await.map_err(read_failed)?;
        let refused = |problem: Wrong| {
            let refusal = Refusal::new(Reason::CodeNotLeased).field("dossier_code", problem);
            Err(refusal.detail("authority", authority).detail("epoch", epoch))
        };
        if code.party() != authority {
            return refused(Wrong::new(
                "không mang tên cơ quan có thẩm quyền",
                "is not in the competent authority's name",
            ));
        }
        let (store, desk, day, number) = (&self.inner.store, authorized.party(), code.date(), code.number());
        let leased = store.is_leased(authority, day, desk, epoch, number).await.map_err(read_failed)?;
        let is_own = number > authorized.registry().last_number_of(authority);
        if !(leased || is_own && desk == authority) {
            return refused(if is_own {
                Wrong::new(
                    "nằm trong dải số do cơ quan có thẩm quyền tự cấp",
                    "is in the range that the competent authority numbers itself",
                )
            } else {
                Wrong::new(
                    "chưa được cấp trước cho bộ phận này trong kỳ này",
                    "was not leased to this desk in this epoch",
                )
            });
        }
        if self.lookup(code.as_str()).await?.is_some() {
            return refused(Wrong::new("đã được dùng", "is taken"));
        }
        if leased {
            return Ok(NumberSource::Leased);
        }
        match store.leave_number(authority, day, number).await {
            Ok(()) => Ok(NumberSource::Own),
            Err(NumberError::Given(_)) => refused(Wrong::new(
                "đã được cấp trước khi cơ quan có dải số riêng",
                "was given out before the authority had a range of its own",
            )),
            Err(error) => Err(number_failed(error, authority)),
        }
    }
}
