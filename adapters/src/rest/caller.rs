//! Who calls: what the connection has shown, the party in whose name, the clerk's account, and the trace the call belongs to.
//!
//! The rule about the clerk: what somebody does or looks at is done by somebody, so every call about a dossier names the account
//! ([`Caller::read`]). What a system does on its own account, uploading, asking what became of its requests, and emptying its
//! inbox, names the party alone ([`Caller::party`]).

use std::ops::Deref;
use std::str::FromStr;

use axum::extract::{ConnectInfo, FromRequestParts};
use http::HeaderMap;
use http::request::Parts;
use lgsp_proto::types::{Malformed, PartyId, RequestKey};
use lgsp_proto::{Reason, Wrong};

use super::Api;
use crate::access::{Origin, Who};
use crate::json::Fields;
use crate::office::Caller;
use crate::problem::Problem;
use crate::trace::{self, TraceParent};

/// The headers, as refusals name them.
const PARTY: &str = "LGSP-Party";
const ACTOR: &str = "LGSP-Actor";
const KEY: &str = "Idempotency-Key";

/// The headers of a call that was let in.
pub(super) struct Call {
    headers: HeaderMap,
    who: Who,
}

impl Call {
    /// Whether whoever calls, and this adapter, act for a party.
    ///
    /// # Errors
    /// `CLIENT_PARTY_MISSING`, which says nothing about the adapter; `ACTS_FOR_MISSING`.
    pub(super) fn acts_for(&self, api: &Api, party: &PartyId) -> Result<(), Problem> {
        self.who.may_act_for(party)?;
        api.office.acts_for(party)
    }
}

impl Deref for Call {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        &self.headers
    }
}

impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Put there by the guard; a path that it does not stand before serves nobody.
        let who = parts.extensions.get::<Who>().cloned().ok_or(Reason::Internal)?;
        Ok(Self { headers: parts.headers.clone(), who })
    }
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let origin = parts.extensions.get::<ConnectInfo<Self>>();
        Ok(origin.map(|ConnectInfo(origin)| origin.clone()).ok_or(Reason::Internal)?)
    }
}

impl Caller {
    /// Reads the headers of a call.
    ///
    /// # Errors
    /// When one is missing or malformed, or the adapter does not act for the party.
    pub(super) fn read(api: &Api, headers: &Call) -> Result<Self, Problem> {
        let mut fields = Fields::default();
        let caller = Self::collect(headers, &mut fields);
        Self::admit(api, headers, fields.finish(caller)?)
    }

    /// As [`Caller::read`], for calls that have a key.
    ///
    /// # Errors
    /// As for [`Caller::read`].
    pub(super) fn read_with_key(api: &Api, headers: &Call) -> Result<(Self, RequestKey), Problem> {
        let mut fields = Fields::default();
        let caller = Self::collect(headers, &mut fields);
        let key = header(headers, KEY, &mut fields);
        let (caller, key) = fields.finish((caller, key))?;
        Ok((Self::admit(api, headers, caller)?, key.ok_or(Reason::Internal)?))
    }

    /// The party alone, for questions about what is here.
    ///
    /// # Errors
    /// As for [`Caller::read`].
    pub(super) fn party(api: &Api, headers: &Call) -> Result<PartyId, Problem> {
        let mut fields = Fields::default();
        let party = header(headers, PARTY, &mut fields);
        let party = fields.finish(party)?.ok_or(Reason::Internal)?;
        headers.acts_for(api, &party)?;
        Ok(party)
    }

    fn collect(headers: &HeaderMap, fields: &mut Fields) -> Option<Self> {
        let party = header(headers, PARTY, fields);
        let actor = header(headers, ACTOR, fields);
        let trace = headers.get(trace::HEADER).and_then(|value| TraceParent::parse(value.to_str().ok()?));
        Some(Self { party: party?, actor: actor?, trace: trace.unwrap_or_else(TraceParent::begin) })
    }

    fn admit(api: &Api, call: &Call, caller: Option<Self>) -> Result<Self, Problem> {
        // Without a caller a field was at fault, and that has been said.
        let caller = caller.ok_or(Reason::Internal)?;
        call.acts_for(api, &caller.party)?;
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
