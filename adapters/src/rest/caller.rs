//! Who calls: the party in whose name, the clerk's account, and the trace the call belongs to.

use std::str::FromStr;

use http::HeaderMap;
use lgsp_proto::types::{Malformed, PartyId, RequestKey};
use lgsp_proto::{Reason, Wrong};

use super::Api;
use crate::json::Fields;
use crate::office::Caller;
use crate::problem::Problem;
use crate::trace::{self, TraceParent};

/// The headers, as refusals name them.
const PARTY: &str = "LGSP-Party";
const ACTOR: &str = "LGSP-Actor";
const KEY: &str = "Idempotency-Key";

impl Caller {
    /// Reads the headers of a call.
    ///
    /// # Errors
    /// When one is missing or malformed, or the adapter does not act for the party.
    pub(super) fn read(api: &Api, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut fields = Fields::default();
        let caller = Self::collect(headers, &mut fields);
        Self::admit(api, fields.finish(caller)?)
    }

    /// As [`Caller::read`], for calls that have a key.
    ///
    /// # Errors
    /// As for [`Caller::read`].
    pub(super) fn read_with_key(api: &Api, headers: &HeaderMap) -> Result<(Self, RequestKey), Problem> {
        let mut fields = Fields::default();
        let caller = Self::collect(headers, &mut fields);
        let key = header(headers, KEY, &mut fields);
        let (caller, key) = fields.finish((caller, key))?;
        Ok((Self::admit(api, caller)?, key.ok_or(Reason::Internal)?))
    }

    /// The party alone, for questions about what is here.
    ///
    /// # Errors
    /// As for [`Caller::read`].
    pub(super) fn party(api: &Api, headers: &HeaderMap) -> Result<PartyId, Problem> {
        let mut fields = Fields::default();
        let party = header(headers, PARTY, &mut fields);
        let party = fields.finish(party)?.ok_or(Reason::Internal)?;
        api.office.acts_for(&party)?;
        Ok(party)
    }

    fn collect(headers: &HeaderMap, fields: &mut Fields) -> Option<Self> {
        let party = header(headers, PARTY, fields);
        let actor = header(headers, ACTOR, fields);
        let trace = headers.get(trace::HEADER).and_then(|value| TraceParent::parse(value.to_str().ok()?));
        Some(Self { party: party?, actor: actor?, trace: trace.unwrap_or_else(TraceParent::begin) })
    }

    fn admit(api: &Api, caller: Option<Self>) -> Result<Self, Problem> {
        // Without a caller a field was at fault, and that has been said.
        let caller = caller.ok_or(Reason::Internal)?;
        api.office.acts_for(&caller.party)?;
        Ok(caller)
    }
}

fn header<T: FromStr<Err = Malformed>>(headers: &HeaderMap, name: &str, fields: &mut Fields) -> Option<T> {
    match headers.get(name).map(|value| value.to_str()) {
        Some(Err(_)) => {
            fields.problem(name, Wrong::new("có ký tự ngoài ASCII", "is not ASCII"));
            None
        }
        Some(Ok(text)) => fields.required(name, Some(text)),
        None => fields.required(name, None),
    }
}
