//! What peers, agencies' systems and callers without any name say over a wire.

use std::borrow::Cow;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use lgsp_certs::{SigningKey, SigningRequest, SpiffeId, VerifyingKey};
use lgsp_domain::person_name;
use lgsp_domain::query::{Schema, cut};
use lgsp_proto::types::{
    ActorId, Alias, BusinessTime, CaseCode, DossierCode, FileName, JoinToken, MediaType, PartyId, PersonalNumber,
    ProcedureCode, RequestKey, UnitCode,
};

/// What stands in a peer's certificate.
pub(crate) fn certificate(der: &[u8]) {
    lgsp_certs::fuzz::leaf(der);
    let _ = VerifyingKey::from_certificate(der);
    let _ = VerifyingKey::from_spki(der);
}

/// What somebody without any certificate asks to have certified.
pub(crate) fn signing_request(der: &[u8]) {
    if let Ok(request) = SigningRequest::parse(der) {
        assert!(der.len() <= SigningRequest::MAX_BYTES);
        VerifyingKey::from_spki(request.spki()).expect("a request's key can be used on the bus");
    }
}

/// A join token, as text, and as the text of what is in it. It reads back as it was written, and does not show its secret.
pub(crate) fn join_token(bytes: &[u8]) {
    let inside = format!("lgsp-join-1.{}", BASE64URL_NOPAD.encode(bytes));
    for text in str::from_utf8(bytes).into_iter().chain([inside.as_str()]) {
        if let Ok(token) = text.parse::<JoinToken>() {
            let again: JoinToken = token.to_text().parse().expect("what was written can be read");
            assert!(again == token);
            assert!(!format!("{token:?}").contains(&format!("{:?}", token.secret())));
        }
    }
}

/// A data service's reply, and a request to one: what is left of a reply is left of it again, byte by byte.
pub(crate) fn reply(bytes: &[u8]) {
    let schema = br#"{"type":"object","required":["a"],"properties":{"a":{"type":["string","null"],"maxLength":9},
        "b":{"type":"array","items":{"type":"object","properties":{"c":{"type":"number"},"d":{"type":"boolean"}}}}}}"#;
    let schema = Schema::parse(schema).expect("a schema");
    let _ = (schema.check_request(bytes), schema.check_reply(bytes), Schema::text_in(bytes, "b.c"));
    let told = ["a", "b.c"].map(str::to_owned).into();
    if let Ok(once) = cut(bytes, &told) {
        let again = cut(&once, &told).expect("what was cut can be read");
        assert!(matches!(&again, Cow::Borrowed(same) if *same == &*once), "cut twice it is another");
    }
}

/// What the ministry answers about a citizen, and a name: equal to itself however it is written.
pub(crate) fn population(bytes: &[u8]) {
    lgsp_adapters::fuzz::population(bytes);
    if let Ok(text) = str::from_utf8(bytes) {
        let key = person_name::key(text);
        assert_eq!(person_name::key(&key), key);
        assert_eq!(person_name::is_same(text, text), !key.is_empty());
    }
}

/// A private key's file.
pub(crate) fn pem(text: &[u8]) {
    if let Ok(key) = SigningKey::from_pem(text) {
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
    }
}

/// Every name, code and time that is text: what is accepted prints as something that is accepted and is the same.
pub(crate) fn names(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(id) = text.parse::<SpiffeId>() {
        assert_eq!(id.to_string(), text);
    }
    stays::<PartyId>(text);
    stays::<DossierCode>(text);
    stays::<Alias>(text);
    stays::<RequestKey>(text);
    stays::<ActorId>(text);
    stays::<ProcedureCode>(text);
    stays::<CaseCode>(text);
    stays::<UnitCode>(text);
    stays::<MediaType>(text);
    stays::<BusinessTime>(text);
    let _ = text.parse::<FileName>();
    let _ = text.parse::<PersonalNumber>();
    let _ = PartyId::from_legacy(text);
    let _ = BusinessTime::from_national(text);
    let _ = lgsp_adapters::trace::TraceParent::parse(text);
    let _ = text.parse::<lgsp_adapters::link::GatewayUrl>();
    let _ = text.parse::<lgsp_adapters::config::WebhookUrl>();
}

fn stays<T: FromStr + Display>(text: &str)
where
    T::Err: Debug,
{
    if let Ok(read) = text.parse::<T>() {
        let printed = read.to_string();
        let again = printed.parse::<T>().expect("what was printed can be read");
        assert_eq!(again.to_string(), printed);
    }
}

/// The signed body of a submission.
pub(crate) fn submission(body: &[u8]) {
    lgsp_gateway::api::fuzz::submission(body);
}

/// The signed body of an entry.
pub(crate) fn entry(body: &[u8]) {
    lgsp_gateway::api::fuzz::entry(body);
}

/// Every other message that a call begins with; the first byte says which.
pub(crate) fn calls(bytes: &[u8]) {
    if let Some((which, message)) = bytes.split_first() {
        lgsp_gateway::api::fuzz::call(*which, message);
    }
}

/// What a gateway tells an adapter; the first byte says which message.
pub(crate) fn answers(bytes: &[u8]) {
    if let Some((which, message)) = bytes.split_first() {
        lgsp_adapters::fuzz::answer(*which, message);
    }
}

/// A request in a folder that an adapter watches.
pub(crate) fn folder_request(text: &[u8]) {
    lgsp_adapters::fuzz::folder(text);
}

/// The bodies of the adapter's REST interface.
pub(crate) fn rest(body: &[u8]) {
    lgsp_adapters::fuzz::rest(body);
}
