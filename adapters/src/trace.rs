//! The W3C trace context as data: taken from the agency's system, kept in the spool, sent on with every call, so that a
//! retry tomorrow joins today's story.

use data_encoding::HEXLOWER;

use crate::digest::random;

/// The name of the header and of the gRPC metadata key.
pub const HEADER: &str = "traceparent";

/// A well-formed `traceparent` of version 00 (W3C Trace Context §3.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceParent(Box<str>);

impl TraceParent {
    /// Reads a header; `None` if it is malformed, and then the standard wants a new trace rather than an error.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex =
            |part: &str, length| part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let zero = |part: &str| part.bytes().all(|b| b == b'0');
        let well_formed = version == "00"
            && hex(trace, 32)
            && !zero(trace)
            && hex(parent, 16)
            && !zero(parent)
            && hex(flags, 2)
            && parts.next().is_none();
        well_formed.then(|| Self(text.into()))
    }

    /// Begins a trace, marked as sampled.
    pub fn begin() -> Self {
        let (mut trace, mut parent) = (random::<16>(), random::<8>());
        // All zeros mean "no trace"; once in 2^128 calls is once too often to explain.
        trace[15] |= 1;
        parent[7] |= 1;
        Self(format!("00-{}-{}-01", HEXLOWER.encode(&trace), HEXLOWER.encode(&parent)).into())
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_trace_reads_back_and_is_never_twice_the_same() {
        let (one, two) = (TraceParent::begin(), TraceParent::begin());
        assert_eq!(TraceParent::parse(one.as_str()), Some(one.clone()));
        assert_ne!(one, two);
    }

    #[test]
    fn only_what_the_standard_calls_well_formed_is_taken() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(TraceParent::parse(good).is_some());
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-0001",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}
