//! Cutting a reply to the fields that may be told (*tối thiểu dữ liệu*).
//!
//! The gateway cuts what a connector answers, and the connector has cut it before: neither relies on the other. What is not on the
//! list is left out, also what no schema knows.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::json::{Node, NotJson};

/// The reply without what is not allowed.
///
/// `allowed` are fields: paths of leaves, joined by dots; lists are transparent. Of an object or a list that leads to an allowed
/// field its being there, or being null, is told. When nothing has to go it is the very bytes of the reply, with the same digest.
///
/// # Errors
/// The reply is not JSON, or is no object. Then nothing of it may be told.
pub fn cut<'a>(reply: &'a [u8], allowed: &BTreeSet<String>) -> Result<Cow<'a, [u8]>, NotJson> {
    let mut node = Node::parse(reply)?;
    if !matches!(node, Node::Object(_)) {
        return Err(NotJson::Malformed);
    }
    let mut cut = Cut { allowed, path: String::new(), has_cut: false };
    cut.within(&mut node);
    if !cut.has_cut {
        return Ok(Cow::Borrowed(reply));
    }
    let mut text = String::with_capacity(reply.len());
    node.write(&mut text);
    Ok(Cow::Owned(text.into_bytes()))
}

struct Cut<'l> {
    allowed: &'l BTreeSet<String>,
    /// Where we are.
    path: String,
    has_cut: bool,
}

impl Cut<'_> {
    /// Takes out of an object or a list what may not be told.
    fn within(&mut self, node: &mut Node<'_>) {
        match node {
            Node::Scalar(_) => {}
            Node::Array(items) => items.retain_mut(|item| self.keep(item)),
            Node::Object(members) => members.retain_mut(|(name, value)| {
                let before = self.path.len();
                if !self.path.is_empty() {
                    self.path.push('.');
                }
                self.path.push_str(name);
                // A name with a dot in it would pass for a path; no schema has one.
                let is_told = !name.contains('.') && self.keep(value);
                self.has_cut |= !is_told;
                self.path.truncate(before);
                is_told
            }),
        }
    }

    /// Whether something stays, without what may not be told of it.
    fn keep(&mut self, value: &mut Node<'_>) -> bool {
        let is_told = self.is_told(value);
        if is_told {
            self.within(value);
        }
        self.has_cut |= !is_told;
        is_told
    }

    fn is_told(&self, value: &Node<'_>) -> bool {
        match value {
            _ if value.is_null() => self.allowed.contains(&self.path) || self.leads_on(),
            Node::Scalar(_) => self.allowed.contains(&self.path),
            Node::Array(_) => self.allowed.contains(&self.path) || self.leads_on(),
            Node::Object(_) => self.leads_on(),
        }
    }

    /// Whether an allowed field lies below the path.
    fn leads_on(&self) -> bool {
        let below = format!("{}.", self.path);
        self.allowed.range(below.clone()..).next().is_some_and(|field| field.starts_with(&below))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn fields(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn cut_to(reply: &Value, names: &[&str]) -> Value {
        let reply = reply.to_string();
        serde_json::from_slice(&cut(reply.as_bytes(), &fields(names)).unwrap()).unwrap()
    }

    #[test]
    fn what_is_not_allowed_goes_and_lists_are_transparent() {
        let reply = json!({
            "full_name": "NGUYỄN VĂN THỬ",
            "residence": { "commune_code": "99001", "detail": "Thôn 1" },
            "children": [{ "name": "A", "number": "1" }, { "name": "B" }],
            "names": ["A", "B"],
            "father": null,
        });
        let told = cut_to(&reply, &["residence.commune_code", "children.name"]);
        let expected =
            json!({ "residence": { "commune_code": "99001" }, "children": [{ "name": "A" }, { "name": "B" }] });
        assert_eq!(told, expected);
        assert_eq!(cut_to(&reply, &["names", "father.name"]), json!({ "names": ["A", "B"], "father": null }));
        assert_eq!(cut_to(&reply, &[]), json!({}));
    }

    #[test]
    fn an_object_where_a_field_should_be_tells_nothing_and_neither_does_a_text_where_an_object_should_be() {
        let allowed = ["full_name", "residence.commune_code"];
        let reply = json!({ "full_name": { "last": "Nguyễn" }, "residence": "Thôn 1, xã An" });
        assert_eq!(cut_to(&reply, &allowed), json!({}));
        let reply = json!({ "residence.commune_code": "99001", "full_name": ["A", { "b": 1 }, [["C"]]] });
        assert_eq!(cut_to(&reply, &allowed), json!({ "full_name": ["A", [["C"]]] }));
    }

    #[test]
    fn a_reply_of_which_everything_may_be_told_stays_the_same_bytes() {
        let reply = b"{ \"b\" : 1.50,\n \"a\":{\"c\":\"\\u0041\"} }";
        let told = cut(reply, &fields(&["a.c", "b", "z"])).unwrap();
        assert!(matches!(told, Cow::Borrowed(same) if same == reply));
        assert_eq!(&*cut(reply, &fields(&["b"])).unwrap(), b"{\"b\":1.50}");
    }

    #[test]
    fn what_is_no_object_tells_nothing() {
        for reply in ["[]", "\"x\"", "1", "", "{\"a\":1,\"a\":2}"] {
            assert!(cut(reply.as_bytes(), &fields(&["a"])).is_err(), "{reply}");
        }
    }

    const NAMES: [&str; 4] = ["a", "b", "cc", "a-b"];

    /// Records whose objects and lists have at least so many members.
    fn record(least: usize) -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!(null)), Just(json!(1.5)), Just(json!("x")), Just(json!(true))];
        let inner = leaf.prop_recursive(4, 40, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), least..4).prop_map(Value::from),
                prop::collection::btree_map(prop::sample::select(&NAMES[..]), inner, least..4)
                    .prop_map(Value::from_iter),
            ]
        });
        prop::collection::btree_map(prop::sample::select(&NAMES[..]), inner, least..5).prop_map(Value::from_iter)
    }

    fn grant() -> impl Strategy<Value = BTreeSet<String>> {
        let path = prop::collection::vec(prop::sample::select(&NAMES[..]), 1..4).prop_map(|parts| parts.join("."));
        prop::collection::btree_set(path, 0..12)
    }

    /// Every leaf with its path, lists transparent. Written apart from the code it judges.
    fn leaves(value: &Value, path: &[String], into: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                leaves(value, &[path, std::slice::from_ref(name)].concat(), into);
            }),
            Value::Array(items) => items.iter().for_each(|item| leaves(item, path, into)),
            leaf => into.push((path.join("."), leaf.clone())),
        }
    }

    fn leaves_of(value: &Value) -> Vec<(String, Value)> {
        let mut found = Vec::new();
        leaves(value, &[], &mut found);
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// The promise of the query: no field outside the grant, everything inside it, nothing made up.
        #[test]
        fn no_field_outside_the_grant_is_told_and_every_one_inside_it_is(record in record(0), grant in grant()) {
            let reply = record.to_string();
            let told = cut(reply.as_bytes(), &grant).unwrap();
            let is_same = matches!(told, Cow::Borrowed(_));
            let told: Value = serde_json::from_slice(&told).unwrap();
            let allowed = |(path, _): &(String, Value)| grant.contains(path);
            // That something is null where an object could be is not a field.
            let tells = |leaf: &(String, Value)| allowed(leaf) || !leaf.1.is_null();
            let before: Vec<_> = leaves_of(&record).into_iter().filter(allowed).collect();
            let after: Vec<_> = leaves_of(&told).into_iter().filter(tells).collect();
            prop_assert_eq!(&after, &before);
            for (path, leaf) in leaves_of(&told) {
                let leads_on = grant.iter().any(|field| field.starts_with(&format!("{path}.")));
                prop_assert!(grant.contains(&path) || (leaf.is_null() && leads_on), "{} is told", path);
            }
            prop_assert_eq!(is_same, told == record);
        }

        #[test]
        fn a_grant_of_every_field_changes_no_byte(record in record(1)) {
            let reply = serde_json::to_string_pretty(&record).unwrap();
            let grant: BTreeSet<String> = leaves_of(&record).into_iter().map(|(path, _)| path).collect();
            prop_assert!(matches!(cut(reply.as_bytes(), &grant).unwrap(), Cow::Borrowed(_)));
        }
    }
}
