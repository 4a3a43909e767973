//! The part of JSON Schema (2020-12) in which a service declares its request and its reply.
//!
//! A small part, read by ourselves: a grant names fields, so the fields of a reply must be countable, and what a schema says must
//! be what is checked. Objects are closed: what the schema does not name is refused in a request and never told of a reply. A
//! keyword that would be an assertion and is not understood is a fault, except `pattern` and `format`, which are told to whoever
//! asks and kept to by the connector.

use std::collections::{BTreeMap, BTreeSet};

use lgsp_proto::{FieldViolation, Wrong};
use serde_json::{Map, Value};

use super::json::{Node, NotJson};

/// Fields of one schema. Answers a declaration that would make every answer expensive.
pub const FIELDS_MAX: usize = 256;

/// The longest path of a field, as grants write it.
pub const FIELD_LENGTH_MAX: usize = 64;

/// How deep a schema may be nested, references followed.
const DEPTH_MAX: usize = 12;

/// Objects, lists and leaves of one schema, references followed: two references in each of a few definitions are a million.
const SHAPES_MAX: usize = 2_048;

/// Keywords that say nothing about what is valid, or that are only told.
const TOLD: [&str; 14] = [
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "title",
    "description",
    "default",
    "deprecated",
    "examples",
    "readOnly",
    "writeOnly",
    "format",
    "pattern",
    "contentMediaType",
];

/// What a document must look like.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    root: Shape,
    fields: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Object { members: BTreeMap<String, Shape>, required: BTreeSet<String>, or_null: bool },
    List { item: Box<Shape>, length: Range, or_null: bool },
    Leaf(Leaf),
}

#[derive(Clone, Debug, PartialEq)]
struct Leaf {
    types: BTreeSet<&'static str>,
    /// One of these, where the schema lists them.
    values: Option<Vec<Value>>,
    /// Characters of a text.
    length: Range,
    minimum: Option<f64>,
    maximum: Option<f64>,
}

/// From how many to how many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Range {
    least: Option<u64>,
    most: Option<u64>,
}

impl Range {
    fn holds(self, count: usize) -> bool {
        let count = count as u64;
        self.least.is_none_or(|least| least <= count) && self.most.is_none_or(|most| count <= most)
    }
}

/// What is wrong with a schema, and where in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SchemaFault {
    /// A JSON pointer into the schema, e.g. `/properties/full_name/type`; empty for the whole.
    pub at: String,
    /// What is wrong and what to do, in Vietnamese.
    pub vi: String,
    /// The same in English.
    pub en: String,
}

impl Schema {
    /// Reads a schema, whose top must be an object.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn parse(text: &[u8]) -> Result<Self, Vec<SchemaFault>> {
        let whole = |vi: &str, en: &str| vec![SchemaFault { at: String::new(), vi: vi.into(), en: en.into() }];
        // Read by the same rules as documents, so that no name stands twice.
        if Node::parse(text).is_err() {
            return Err(whole("không phải tài liệu JSON, hoặc có khoá trùng", "is not JSON, or has a key twice"));
        }
        let root: Value = serde_json::from_slice(text).map_err(|_| whole("không phải JSON", "is not JSON"))?;
        let mut reading = Reading { root: &root, shapes: 0, faults: Vec::new() };
        let shape = reading.shape(&root, String::new(), 0);
        let mut faults = reading.faults;
        let mut fields = BTreeSet::new();
        if let Some(shape) = &shape {
            if !matches!(shape, Shape::Object { .. }) {
                faults.extend(whole(
                    "phải là một đối tượng (\"type\": \"object\")",
                    "must be an object (\"type\": \"object\")",
                ));
            }
            shape.collect_fields(&mut String::new(), &mut fields);
        }
        if fields.len() > FIELDS_MAX {
            faults.extend(whole(
                &format!("có nhiều hơn {FIELDS_MAX} trường"),
                &format!("has more than {FIELDS_MAX} fields"),
            ));
        }
        if let Some(long) = fields.iter().find(|field| field.len() > FIELD_LENGTH_MAX) {
            faults.extend(whole(
                &format!("đường dẫn trường \"{long}\" dài hơn {FIELD_LENGTH_MAX} ký tự"),
                &format!("has a field whose path is longer than {FIELD_LENGTH_MAX} characters: \"{long}\""),
            ));
        }
        match shape {
            Some(root) if faults.is_empty() => Ok(Self { root, fields }),
            _ => Err(faults),
        }
    }

    /// The paths of its leaves, e.g. `residence.commune_code`.
    pub fn fields(&self) -> &BTreeSet<String> {
        &self.fields
    }

    /// What is wrong with a request. Nothing of its content is repeated.
    ///
    /// # Errors
    /// Every field at fault, below `payload`.
    pub fn check_request(&self, document: &[u8]) -> Result<(), Vec<FieldViolation>> {
        self.check(document, true)
    }

    /// What is wrong with a reply. Fields may be missing that are required, for the connector leaves out what nobody may have, and
    /// fields may be there that the schema does not know: they are cut.
    ///
    /// # Errors
    /// As [`Schema::check_request`].
    pub fn check_reply(&self, document: &[u8]) -> Result<(), Vec<FieldViolation>> {
        self.check(document, false)
    }

    /// What a request says in one of its fields; `None` when it says nothing there, or has it in a list.
    pub fn text_in(document: &[u8], field: &str) -> Option<String> {
        let root = Node::parse(document).ok()?;
        let mut node = &root;
        for part in field.split('.') {
            let Node::Object(members) = node else { return None };
            node = &members.iter().find(|(name, _)| name == part)?.1;
        }
        let Node::Scalar(text) = node else { return None };
        match serde_json::from_str(text).ok()? {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    fn check(&self, document: &[u8], is_request: bool) -> Result<(), Vec<FieldViolation>> {
        let mut checking = Checking { is_request, found: Vec::new() };
        match Node::parse(document) {
            Ok(node) => checking.shape(&self.root, &node, "payload"),
            Err(error) => {
                let vi = match error {
                    NotJson::Malformed => "không phải tài liệu JSON, hoặc có tên trùng trong một đối tượng",
                    NotJson::TooDeep => "lồng quá sâu",
                };
                checking.found("payload", Wrong::new(vi, error.to_string()));
            }
        }
        if checking.found.is_empty() { Ok(()) } else { Err(checking.found) }
    }
}

impl Shape {
    fn collect_fields(&self, path: &mut String, into: &mut BTreeSet<String>) {
        match self {
            Shape::Leaf(_) => {
                into.insert(path.clone());
            }
            Shape::List { item, .. } => item.collect_fields(path, into),
            Shape::Object { members, .. } => {
                for (name, member) in members {
                    let before = path.len();
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                    member.collect_fields(path, into);
                    path.truncate(before);
                }
            }
        }
    }
}

/// Violations told of one document: who sends ten thousand wrong items need not be told of each.
const VIOLATIONS_MAX: usize = 50;

struct Checking {
    is_request: bool,
    found: Vec<FieldViolation>,
}

impl Checking {
    fn found(&mut self, field: &str, problem: Wrong) {
        if self.found.len() < VIOLATIONS_MAX {
            self.found.push(FieldViolation { field: field.to_owned(), problem });
        }
    }

    fn shape(&mut self, shape: &Shape, node: &Node<'_>, at: &str) {
        match (shape, node) {
            (Shape::Object { or_null: true, .. } | Shape::List { or_null: true, .. }, node) if node.is_null() => {}
            (Shape::Object { members, required, .. }, Node::Object(given)) => {
                let is_asked = self.is_request;
                let is_given = |name: &String| given.iter().any(|(has, _)| has == name);
                for name in required.iter().filter(|name| is_asked && !is_given(name)) {
                    self.found(&format!("{at}.{name}"), Wrong::missing());
                }
                for (name, value) in given {
                    match members.get(name) {
                        Some(member) => self.shape(member, value, &format!("{at}.{name}")),
                        // Its name is the sender's, and may say anything.
                        None if self.is_request => {
                            let (vi, en) =
                                ("có trường mà dịch vụ không biết", "has a field that the service does not know");
                            self.found(at, Wrong::new(vi, en));
                        }
                        None => {}
                    }
                }
            }
            (Shape::List { item, length, .. }, Node::Array(given)) => {
                if !length.holds(given.len()) {
                    self.found(at, Wrong::new("có quá nhiều hoặc quá ít phần tử", "has too many or too few items"));
                }
                for (number, value) in given.iter().enumerate() {
                    self.shape(item, value, &format!("{at}[{number}]"));
                }
            }
            (Shape::Leaf(leaf), Node::Scalar(text)) => {
                if let Err(problem) = leaf.check(text) {
                    self.found(at, problem);
                }
            }
            (Shape::Object { .. }, _) => self.found(at, Wrong::new("không phải đối tượng", "is no object")),
            (Shape::List { .. }, _) => self.found(at, Wrong::new("không phải danh sách", "is no list")),
            (Shape::Leaf(leaf), _) => self.found(at, leaf.wanted()),
        }
    }
}

impl Leaf {
    fn wanted(&self) -> Wrong {
        let types: Vec<&str> = self.types.iter().copied().collect();
        Wrong::new(format!("không phải {}", types.join(" hoặc ")), format!("is no {}", types.join(" or ")))
    }

    fn check(&self, text: &str) -> Result<(), Wrong> {
        let value: Value = serde_json::from_str(text).map_err(|_| self.wanted())?;
        let has = |name: &str| self.types.contains(name);
        let is_of_type = match &value {
            Value::Null => has("null"),
            Value::Bool(_) => has("boolean"),
            Value::String(_) => has("string"),
            Value::Number(number) => has("number") || (has("integer") && is_whole(number)),
            Value::Array(_) | Value::Object(_) => false,
        };
        if !is_of_type {
            return Err(self.wanted());
        }
        if self.values.as_ref().is_some_and(|values| !values.contains(&value)) {
            return Err(Wrong::new("không phải giá trị dịch vụ biết", "is none of the values that the service knows"));
        }
        if value.as_str().is_some_and(|text| !self.length.holds(text.chars().count())) {
            return Err(Wrong::new("quá dài hoặc quá ngắn", "is too long or too short"));
        }
        let number = value.as_f64();
        let is_below = number.zip(self.minimum).is_some_and(|(number, least)| number < least);
        let is_above = number.zip(self.maximum).is_some_and(|(number, most)| number > most);
        if is_below || is_above {
            return Err(Wrong::new("quá lớn hoặc quá nhỏ", "is too large or too small"));
        }
        Ok(())
    }
}

fn is_whole(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// One schema being read.
struct Reading<'a> {
    root: &'a Value,
    /// How many shapes were read; references may multiply them.
    shapes: usize,
    faults: Vec<SchemaFault>,
}

impl<'a> Reading<'a> {
    fn fault(&mut self, at: &str, vi: impl Into<String>, en: impl Into<String>) {
        self.faults.push(SchemaFault { at: at.to_owned(), vi: vi.into(), en: en.into() });
    }

    fn shape(&mut self, schema: &'a Value, at: String, depth: usize) -> Option<Shape> {
        self.shapes += 1;
        if self.shapes > SHAPES_MAX {
            if self.shapes == SHAPES_MAX + 1 {
                self.fault("", "có quá nhiều phần tử", "has too many parts");
            }
            return None;
        }
        if depth > DEPTH_MAX {
            let (vi, en) = ("lồng quá sâu, hoặc tham chiếu vòng", "is nested too deeply, or refers to itself");
            self.fault(&at, vi, en);
            return None;
        }
        let Some(keys) = schema.as_object() else {
            self.fault(&at, "phải là một lược đồ dạng đối tượng", "must be a schema that is an object");
            return None;
        };
        if let Some(reference) = keys.get("$ref") {
            return self.reference(keys, reference, &at, depth);
        }
        let types = self.types(keys, &at)?;
        let or_null = types.contains("null");
        let kinds: BTreeSet<&str> = types.iter().copied().filter(|one| *one != "null").collect();
        if kinds.contains("object") || kinds.contains("array") {
            if kinds.len() > 1 {
                let (vi, en) = (
                    "không thể vừa là đối tượng hay danh sách vừa là kiểu khác",
                    "cannot be an object or a list and something else",
                );
                self.fault(&format!("{at}/type"), vi, en);
                return None;
            }
            return if kinds.contains("object") {
                self.object(keys, at, or_null, depth)
            } else {
                self.list(keys, at, or_null, depth)
            };
        }
        self.known(keys, &at, &["type", "enum", "const", "minLength", "maxLength", "minimum", "maximum"]);
        let values = match (keys.get("enum"), keys.get("const")) {
            (Some(Value::Array(values)), None) => Some(values.clone()),
            (None, Some(value)) => Some(vec![value.clone()]),
            (None, None) => None,
            _ => {
                self.fault(
                    &format!("{at}/enum"),
                    "phải là một danh sách, và không đi cùng const",
                    "must be a list, and not beside const",
                );
                None
            }
        };
        Some(Shape::Leaf(Leaf {
            types,
            values,
            length: Range { least: self.count(keys, "minLength", &at), most: self.count(keys, "maxLength", &at) },
            minimum: self.number(keys, "minimum", &at),
            maximum: self.number(keys, "maximum", &at),
        }))
    }

    fn object(&mut self, keys: &'a Map<String, Value>, at: String, or_null: bool, depth: usize) -> Option<Shape> {
        self.known(keys, &at, &["type", "properties", "required", "additionalProperties"]);
        if !matches!(keys.get("additionalProperties"), None | Some(Value::Bool(false))) {
            let (vi, en) = (
                "chỉ nhận false: trường nào không khai thì không qua trục",
                "must be false: a field that is not declared does not cross the bus",
            );
            self.fault(&format!("{at}/additionalProperties"), vi, en);
        }
        let Some(properties) = keys.get("properties").and_then(Value::as_object).filter(|all| !all.is_empty()) else {
            let (vi, en) = ("phải liệt kê các trường trong properties", "must list its fields in properties");
            self.fault(&at, vi, en);
            return None;
        };
        let mut members = BTreeMap::new();
        for (name, schema) in properties {
            let at = format!("{at}/properties/{name}");
            if !is_name(name) {
                let (vi, en) = (
                    "tên trường gồm A-Z, a-z, 0-9, -, _, bắt đầu bằng chữ hoặc số",
                    "the name of a field is made of A-Z, a-z, 0-9, - and _, beginning with a letter or a digit",
                );
                self.fault(&at, vi, en);
            }
            if let Some(shape) = self.shape(schema, at, depth + 1) {
                members.insert(name.clone(), shape);
            }
        }
        let mut required = BTreeSet::new();
        match keys.get("required").map(Value::as_array) {
            None => {}
            Some(Some(names)) => {
                for name in names {
                    match name.as_str().filter(|name| properties.contains_key(*name)) {
                        Some(name) => _ = required.insert(name.to_owned()),
                        None => self.fault(
                            &format!("{at}/required"),
                            "nêu trường không có trong properties",
                            "names a field that properties does not have",
                        ),
                    }
                }
            }
            Some(None) => {
                self.fault(&format!("{at}/required"), "phải là danh sách tên trường", "must be a list of names")
            }
        }
        Some(Shape::Object { members, required, or_null })
    }

    fn list(&mut self, keys: &'a Map<String, Value>, at: String, or_null: bool, depth: usize) -> Option<Shape> {
        self.known(keys, &at, &["type", "items", "minItems", "maxItems"]);
        let length = Range { least: self.count(keys, "minItems", &at), most: self.count(keys, "maxItems", &at) };
        let Some(items) = keys.get("items") else {
            self.fault(&at, "danh sách phải khai items", "is a list and must say what its items are");
            return None;
        };
        let item = Box::new(self.shape(items, format!("{at}/items"), depth + 1)?);
        Some(Shape::List { item, length, or_null })
    }

    /// `{"$ref": "#/$defs/name"}`, and nothing that would be checked beside it.
    fn reference(&mut self, keys: &'a Map<String, Value>, reference: &Value, at: &str, depth: usize) -> Option<Shape> {
        self.known(keys, at, &["$ref"]);
        let name = reference.as_str().and_then(|text| text.strip_prefix("#/$defs/"));
        let root = self.root;
        let Some(target) = name.and_then(|name| root.get("$defs")?.get(name)) else {
            let (vi, en) = ("chỉ nhận \"#/$defs/<tên>\" có trong tệp", "must be \"#/$defs/<name>\" of the same file");
            self.fault(&format!("{at}/$ref"), vi, en);
            return None;
        };
        self.shape(target, format!("/$defs/{}", name.unwrap_or_default()), depth + 1)
    }

    fn types(&mut self, keys: &Map<String, Value>, at: &str) -> Option<BTreeSet<&'static str>> {
        const TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];
        let named: Option<Vec<&str>> = match keys.get("type") {
            Some(Value::String(one)) => Some(vec![one]),
            Some(Value::Array(several)) => several.iter().map(Value::as_str).collect(),
            _ => None,
        };
        let known = |name: &str| TYPES.into_iter().find(|one| *one == name);
        let types: Option<BTreeSet<&'static str>> = named.and_then(|named| named.into_iter().map(known).collect());
        let types = types.filter(|types| !types.is_empty());
        if types.is_none() {
            let list = TYPES.join(", ");
            self.fault(
                &format!("{at}/type"),
                format!("phải nêu kiểu, một hay nhiều trong: {list}"),
                format!("must name a type, one or several of: {list}"),
            );
        }
        types
    }

    /// Reports every keyword that would be passed over.
    fn known(&mut self, keys: &Map<String, Value>, at: &str, read: &[&str]) {
        for key in keys.keys().filter(|key| !read.contains(&key.as_str()) && !TOLD.contains(&key.as_str())) {
            let read = read.join(", ");
            self.fault(
                &format!("{at}/{key}"),
                format!("trục không kiểm tra được từ khoá này ở đây; dùng: {read}"),
                format!("is no keyword that the bus checks here; it knows: {read}"),
            );
        }
    }

    fn count(&mut self, keys: &Map<String, Value>, key: &str, at: &str) -> Option<u64> {
        let value = keys.get(key)?;
        if value.as_u64().is_none() {
            self.fault(&format!("{at}/{key}"), "phải là số nguyên không âm", "must be a whole number, not negative");
        }
        value.as_u64()
    }

    fn number(&mut self, keys: &Map<String, Value>, key: &str, at: &str) -> Option<f64> {
        let value = keys.get(key)?;
        if value.as_f64().is_none() {
            self.fault(&format!("{at}/{key}"), "phải là một số", "must be a number");
        }
        value.as_f64()
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERSON: &str = r##"{
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["full_name", "sex"],
        "properties": {
            "full_name": { "type": "string", "minLength": 1, "maxLength": 20, "title": "Họ và tên" },
            "sex": { "type": "string", "enum": ["male", "female"] },
            "born": { "type": ["integer", "null"], "minimum": 1900, "maximum": 2100 },
            "residence": { "$ref": "#/$defs/place" },
            "children": { "type": "array", "maxItems": 2, "items": { "type": "object", "properties": {
                "name": { "type": "string", "pattern": "^[A-Z]" }, "born_in": { "$ref": "#/$defs/place" } } } },
            "names": { "type": ["array", "null"], "items": { "type": "string" } }
        },
        "$defs": { "place": { "type": ["object", "null"], "additionalProperties": false, "properties": {
            "commune_code": { "type": "string" } } } }
    }"##;

    fn schema() -> Schema {
        Schema::parse(PERSON.as_bytes()).unwrap()
    }

    #[test]
    fn its_fields_are_the_paths_of_its_leaves() {
        let schema = schema();
        let fields: Vec<&str> = schema.fields().iter().map(String::as_str).collect();
        let expected = [
            "born",
            "children.born_in.commune_code",
            "children.name",
            "full_name",
            "names",
            "residence.commune_code",
            "sex",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_request_is_told_every_field_at_fault_and_none_of_its_content() {
        let good = r#"{"full_name":"NGUYỄN VĂN THỬ","sex":"male","born":null,"residence":null,"names":null,
            "children":[{"name":"A"},{"born_in":{"commune_code":"99001"}}]}"#;
        assert_eq!(schema().check_request(good.as_bytes()), Ok(()));
        let bad = r#"{"full_name":"","sex":"bí mật","born":1899.5,"residence":"bí mật","bí mật":1,
            "children":[{"name":1},{},{}],"names":[null]}"#;
        let found = schema().check_request(bad.as_bytes()).unwrap_err();
        let fields: BTreeSet<&str> = found.iter().map(|one| one.field.as_str()).collect();
        let expected = [
            "payload",
            "payload.born",
            "payload.children",
            "payload.children[0].name",
            "payload.full_name",
            "payload.names[0]",
            "payload.residence",
            "payload.sex",
        ];
        assert_eq!(fields, BTreeSet::from(expected));
        assert!(!format!("{found:?}").contains("bí mật"));
        let missing = schema().check_request(b"{}").unwrap_err();
        assert_eq!(missing.len(), 2);
        assert_eq!(schema().check_request(b"[]").unwrap_err()[0].field, "payload");
        assert!(schema().check_request(b"{").is_err());
    }

    #[test]
    fn a_reply_may_lack_fields_and_have_unknown_ones_but_none_of_another_type() {
        assert_eq!(schema().check_reply(br#"{"sex":"male","father":{"name":"x"}}"#), Ok(()));
        assert!(schema().check_reply(br#"{"sex":1}"#).is_err());
        assert!(schema().check_reply(b"\"x\"").is_err());
    }

    #[test]
    fn what_is_not_understood_is_a_fault_where_it_stands() {
        let at = |text: &str| Schema::parse(text.as_bytes()).unwrap_err().remove(0).at;
        let one = |inner: &str| format!(r#"{{"type":"object","properties":{{"a":{inner}}}}}"#);
        assert_eq!(at("{"), "");
        assert_eq!(at(r#"{"type":"string"}"#), "");
        assert_eq!(at(r#"{"type":"object"}"#), "");
        assert_eq!(at(&one("{}")), "/properties/a/type");
        assert_eq!(at(&one(r#"{"type":"text"}"#)), "/properties/a/type");
        assert_eq!(at(&one(r#"{"type":["object","string"]}"#)), "/properties/a/type");
        assert_eq!(at(&one(r#"{"type":"array"}"#)), "/properties/a");
        assert_eq!(at(&one(r#"{"type":"string","anyOf":[]}"#)), "/properties/a/anyOf");
        assert_eq!(at(&one(r#"{"type":"string","maxLength":-1}"#)), "/properties/a/maxLength");
        assert_eq!(at(&one(r#"{"$ref":"other.json"}"#)), "/properties/a/$ref");
        assert_eq!(at(&one(r##"{"$ref":"#/$defs/b"}"##)), "/properties/a/$ref");
        assert_eq!(at(r#"{"type":"object","properties":{"a.b":{"type":"string"}}}"#), "/properties/a.b");
        let extra =
            r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":true,"required":["b"]}"#;
        let faults = Schema::parse(extra.as_bytes()).unwrap_err();
        assert_eq!(faults.len(), 2);
        assert!(faults.iter().all(|fault| fault.en.is_ascii() && !fault.vi.is_ascii()));
        let circle = r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/b"}},
            "$defs":{"b":{"type":"object","properties":{"c":{"$ref":"#/$defs/b"}}}}}"##;
        assert!(Schema::parse(circle.as_bytes()).unwrap_err()[0].en.contains("refers to itself"));
    }

    #[test]
    fn what_a_request_says_in_a_field_is_found_by_its_path() {
        let request = r#"{"number":"046","at":{"n":7},"list":["x"],"none":null}"#.as_bytes();
        assert_eq!(Schema::text_in(request, "number").as_deref(), Some("046"));
        assert_eq!(Schema::text_in(request, "at.n").as_deref(), Some("7"));
        for nothing in ["list", "none", "at", "number.x", "x"] {
            assert_eq!(Schema::text_in(request, nothing), None, "{nothing}");
        }
    }
}
