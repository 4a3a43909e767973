//! The border of the wire, as functions of bytes: what a fuzzer may try without a socket.
//!
//! Each decodes a message as the service does and reads it into the domain's types; what comes of it does not matter here.

use bytes::Bytes;
use lgsp_proto::{Reason, Refusal, v1};
use prost::Message;

use super::convert::{
    auditing, can_i, certificates, document, entry as entries, numbers, operating, parked, reading,
    submission as submissions,
};

/// Reads the signed body of a submission.
pub fn submission(body: &[u8]) {
    let request = v1::SubmitRequest { submission: Bytes::copy_from_slice(body), ..v1::SubmitRequest::default() };
    explained(submissions::signed(request, None));
}

/// Reads the signed body of an entry.
pub fn entry(body: &[u8]) {
    let request = v1::RecordRequest { entry: Bytes::copy_from_slice(body), ..v1::RecordRequest::default() };
    explained(entries::signed(request, None));
}

/// Reads any other message that says what a caller wants; `which` picks the kind.
pub fn call(which: u8, message: &[u8]) {
    match which % 26 {
        0 => read(message, document::announced),
        1 => read(message, document::upload_state),
        2 => read(message, document::wanted),
        3 => read(message, numbers::lease),
        4 => read(message, operating::erase),
        5 => read(message, operating::archive),
        6 => read(message, parked::query),
        7 => read(message, parked::decision),
        8 => read(message, parked::release),
        9 => read(message, reading::get),
        10 => read(message, reading::list),
        11 => read(message, reading::matter),
        12 => read(message, reading::open),
        13 => read(message, reading::more_credit),
        14 => read(message, reading::acknowledge),
        15 => read(message, reading::decline),
        16 => read(message, reading::backlog),
        17 => read(message, auditing::query),
        18 => read(message, |request: &v1::CanIRequest| can_i::asked(request.clone())),
        19 => read(message, can_i::versions),
        // 20 was the last one for long, and is what the corpus says of it.
        21 => read(message, |request: &v1::JoinRequest| certificates::join(request.clone())),
        22 => read(message, certificates::token_wanted),
        23 => read(message, certificates::withdrawal),
        24 => read(message, certificates::asked),
        25 => read(message, certificates::revocation),
        _ => read(message, |request: &v1::ReadRegistryRequest| {
            reading::only_asking(&request.acting_party, &request.actor)
        }),
    }
}

fn read<M: Message + Default, T>(message: &[u8], read: impl FnOnce(&M) -> Result<T, Refusal>) {
    if let Ok(message) = M::decode(message) {
        explained(read(&message));
    }
}

/// Who is refused for a field is told which.
fn explained<T>(read: Result<T, Refusal>) {
    if let Err(refusal) = read {
        let named = refusal.reason() != Reason::FieldInvalid || !refusal.violations().is_empty();
        assert!(named, "refused for a field, and nobody says which");
        drop(refusal.to_status());
    }
}
