//! What an adapter reads, as functions of bytes: what a fuzzer may try without sockets and folders.

use lgsp_proto::{spool_v1, v1};
use prost::Message;

use crate::json::{BodyJson, DeliveryJson, DossierJson, EntryJson, EventJson, ReceiptJson, RouteJson, SubmissionJson};
use crate::spool;

/// Reads a body of the REST interface in every way there is. What is accepted can be written again.
pub fn rest(body: &[u8]) {
    let (key, party, actor) = ("key-1", "H57.101", "clerk-1");
    let (key, party, actor) = (key.parse().ok(), party.parse().ok(), actor.parse().ok());
    let (Some(key), Some(party), Some(actor)) = (key, party, actor) else { return };
    if let Ok(submission) = serde_json::from_slice::<SubmissionJson>(body)
        && let Ok(submission) = submission.into_proto(&key, &party, &actor)
    {
        drop(serde_json::to_vec(&SubmissionJson::from_proto(submission)).expect("what was read can be written"));
    }
    if let Ok(entry) = EntryJson::read(body)
        && let Ok(entry) = entry.into_proto("H57.101-250714-0001", &key, &party, &actor)
    {
        assert!(EntryJson::to_json(entry).is_some(), "what was read can be written");
    }
    crate::rest::fuzz(body);
    crate::access::fuzz(body);
}

/// Reads what the ministry answers to the population connector.
pub fn population(document: &[u8]) {
    crate::population::fuzz(document);
}

/// Reads what lies in a watched folder.
pub fn folder(text: &[u8]) {
    if let Ok(party) = "H57.101".parse() {
        crate::folder::fuzz(text, &party);
    }
}

/// Reads a message of a gateway's and writes it as the agency's own system gets it; `which` picks the kind.
pub fn answer(which: u8, message: &[u8]) {
    match which % 6 {
        0 => told(message, DossierJson::new),
        1 => told(message, EventJson::new),
        2 => told(message, |signed: v1::SignedReceipt| ReceiptJson::new(&signed)),
        3 => told(message, RouteJson::new),
        4 => told(message, |delivery: v1::Delivery| DeliveryJson::new(delivery, "delivery-1".to_owned(), Some(1))),
        _ => {
            if let Some((kind, body)) = message.split_first() {
                written(&BodyJson::new(i32::from(*kind), body));
            }
        }
    }
}

/// Reads a record of a spool that opened with its key.
pub fn spool_record(bytes: &[u8]) {
    if let Ok(record) = spool_v1::SpoolRecord::decode(bytes) {
        spool::fuzz(&record);
    }
}

fn told<M: Message + Default, T: serde::Serialize>(message: &[u8], view: impl FnOnce(M) -> T) {
    if let Ok(message) = M::decode(message) {
        written(&view(message));
    }
}

fn written(view: &impl serde::Serialize) {
    drop(serde_json::to_vec(view).expect("our own types have text keys and finite numbers only"));
}
