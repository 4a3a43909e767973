//! What a handler needs to know about a call besides its message, and our words for what the transport finds wrong.

use http::HeaderMap;
use lgsp_proto::{Reason, Refusal};
use tonic::{Code, Request, Status};

use super::listener::Caller;
use crate::engine::access::Peer;

/// The header of the W3C trace context.
pub(super) const TRACEPARENT: &str = "traceparent";

/// Who calls.
///
/// # Errors
/// As [`Caller::peer`].
pub(super) fn peer<T>(request: &Request<T>) -> Result<Peer, Refusal> {
    caller(request).peer()
}

/// The connection that a call came over.
pub(super) fn caller<T>(request: &Request<T>) -> &Caller {
    request.extensions().get::<Caller>().expect("every connection of the bus comes with its caller")
}

/// The trace context of a call, when it is well formed; a malformed one is no ground to refuse the call.
pub(super) fn traceparent<T>(request: &Request<T>) -> Option<String> {
    let text = request.metadata().get(TRACEPARENT)?.to_str().ok()?;
    is_traceparent(text).then(|| text.to_owned())
}

/// The same, of headers.
pub(super) fn traceparent_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(TRACEPARENT)?.to_str().ok().filter(|text| is_traceparent(text))
}

/// Whether a text is a traceparent of version 00: `00-<32 hex>-<16 hex>-<2 hex>`, neither identifier all zeros
/// (W3C Trace Context §3.2.2). Later versions may be longer; what we store has one form.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = parts.as_slice() else { return false };
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let named = |part: &str, digits: usize| hex(part, digits) && part.bytes().any(|b| b != b'0');
    *version == "00" && named(trace, 32) && named(span, 16) && hex(flags, 2)
}

/// Our refusal for a status that the transport made while reading a message; `None` for statuses of other kinds.
///
/// The library says "out of range" when a message is longer than allowed and "internal" when its bytes are not a message.
/// We use those two codes for nothing else without our own details. `limit_bytes` is what was allowed.
pub(super) fn fault(status: &Status, limit_bytes: usize) -> Option<Refusal> {
    if !status.details().is_empty() {
        return None;
    }
    match status.code() {
        Code::OutOfRange => Some(Refusal::new(Reason::MessageTooLarge).detail("limit_bytes", limit_bytes)),
        Code::Internal => Some(Refusal::new(Reason::Malformed)),
        _ => None,
    }
}

/// A status of a stream of requests, in our words where it is about what was sent.
pub(super) fn in_our_words(status: Status, limit_bytes: usize) -> Status {
    fault(&status, limit_bytes).map_or(status, Status::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_traceparent_is_kept() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(good));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }

    #[test]
    fn a_refusal_of_ours_keeps_its_words() {
        assert_eq!(fault(&Refusal::new(Reason::Internal).to_status(), 1), None);
        assert_eq!(fault(&Status::internal("bad varint"), 1), Some(Refusal::new(Reason::Malformed)));
        assert_eq!(fault(&Status::unimplemented(""), 1), None);
    }
}
