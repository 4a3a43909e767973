//! Reading a JSON document into a tree whose leaves are the bytes that stood there.
//!
//! A number keeps its digits and a text its escapes: what is passed on is what was said, not what a parser made of it. A name that
//! stands twice in one object is refused, because two readers would disagree about which one counts.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How deep a document may be nested. Answers one that would exhaust the stack, and bounds the work: every level is read again.
pub(super) const DEPTH_MAX: usize = 24;

/// The bytes are not a JSON document that can be judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotJson {
    /// Not JSON at all, or a name stands twice in one object.
    #[error("is not a JSON document, or has a name twice in one object")]
    Malformed,
    /// Nested too deeply.
    #[error("is nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
}

/// A document, or a part of one.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Object(Vec<(String, Node<'a>)>),
    Array(Vec<Node<'a>>),
    /// A text, a number, true, false or null, as it is written.
    Scalar(&'a str),
}

impl<'a> Node<'a> {
    pub(super) fn parse(document: &'a [u8]) -> Result<Self, NotJson> {
        let raw: &RawValue = serde_json::from_slice(document).map_err(|_| NotJson::Malformed)?;
        Self::read(raw.get(), 0)
    }

    fn read(text: &'a str, depth: usize) -> Result<Self, NotJson> {
        if depth > DEPTH_MAX {
            return Err(NotJson::TooDeep);
        }
        match text.as_bytes().first() {
            Some(b'{') => {
                let Members(members) = members(text)?;
                let read = |(name, value): (String, &'a RawValue)| Ok((name, Self::read(value.get(), depth + 1)?));
                members.into_iter().map(read).collect::<Result<_, _>>().map(Node::Object)
            }
            Some(b'[') => {
                let Items(items) = items(text)?;
                let read = |value: &'a RawValue| Self::read(value.get(), depth + 1);
                items.into_iter().map(read).collect::<Result<_, _>>().map(Node::Array)
            }
            _ => Ok(Node::Scalar(text)),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Node::Scalar("null"))
    }

    /// Writes it: leaves as they were, and no blanks between them.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Node::Scalar(text) => out.push_str(text),
            Node::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Node::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    out.push_str(&serde_json::Value::from(name.as_str()).to_string());
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

struct Members<'a>(Vec<(String, &'a RawValue)>);
struct Items<'a>(Vec<&'a RawValue>);

fn members(text: &str) -> Result<Members<'_>, NotJson> {
    serde_json::Deserializer::from_str(text).deserialize_map(Collect).map_err(|_| NotJson::Malformed)
}

fn items(text: &str) -> Result<Items<'_>, NotJson> {
    serde_json::Deserializer::from_str(text).deserialize_seq(CollectItems).map_err(|_| NotJson::Malformed)
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut members, mut names) = (Vec::new(), BTreeSet::new());
        while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom("a name stands twice"));
            }
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

struct CollectItems;

impl<'de> Visitor<'de> for CollectItems {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<&'de RawValue>()? {
            items.push(item);
        }
        Ok(Items(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_again_keeps_every_digit_and_escape() {
        let text = r#"{"so":1.00000000000000000001e2,"ten":"\u0041n","con":[null,true,{}],"\"":[]}"#;
        let mut again = String::new();
        Node::parse(text.as_bytes()).unwrap().write(&mut again);
        assert_eq!(again, text);
    }

    #[test]
    fn a_name_twice_a_tail_and_a_document_without_end_are_refused() {
        for bad in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, "{} {}", "{", "", "\u{feff}{}", "{'a':1}"] {
            assert_eq!(Node::parse(bad.as_bytes()).err(), Some(NotJson::Malformed), "{bad}");
        }
        assert_eq!(Node::parse(b"\"\xff\"").err(), Some(NotJson::Malformed));
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(Node::parse(nested(DEPTH_MAX + 1).as_bytes()).is_ok());
        assert_eq!(Node::parse(nested(DEPTH_MAX + 2).as_bytes()).err(), Some(NotJson::TooDeep));
    }
}
