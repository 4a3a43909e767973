//! The envelopes of the population database, read and written: SOAP 1.1, the ministry's namespace, any prefix.
//!
//! Own code of the counterpart, by domain.md §5.1. There are no document types, so no entities that grow and nothing that is fetched; depth and number of
//! elements are bounded, length is by the server.

use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

pub(super) const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(super) const MINISTRY: &str = "http://dancuquocgia.bca";

/// How deep elements stand in each other. Answers a document made to exhaust the stack.
const DEPTH_MAX: usize = 16;
/// How many there are. Answers a document made to fill the memory.
const ELEMENTS_MAX: usize = 1_000;

/// An element. No `Debug`: its texts are about people.
pub(super) struct Node {
    namespace: String,
    pub(super) name: String,
    pub(super) text: String,
    pub(super) children: Vec<Node>,
}

/// The document is not one that is taken: why.
pub(super) type NotTaken = &'static str;

/// What is in the body of the envelope: an operation of the ministry.
pub(super) fn operation(document: &[u8]) -> Result<Node, NotTaken> {
    let envelope = read(document)?;
    if envelope.namespace != ENVELOPE || envelope.name != "Envelope" {
        return Err("no SOAP 1.1 envelope");
    }
    let mut bodies = envelope.children.into_iter().filter(|child| child.namespace == ENVELOPE && child.name == "Body");
    let body = bodies.next().ok_or("no body in the envelope")?;
    let mut operations = body.children.into_iter();
    match (operations.next(), operations.next()) {
        (Some(operation), None) if operation.is_ministrys() => Ok(operation),
        (Some(_), None) => Err("the element in the body, or one in it, is not in the ministry's namespace"),
        _ => Err("not one element in the body"),
    }
}

impl Node {
    fn is_ministrys(&self) -> bool {
        self.namespace == MINISTRY && self.children.iter().all(Self::is_ministrys)
    }

    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of a child; nothing if there is none.
    pub(super) fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.trim())
    }
}

fn read(document: &[u8]) -> Result<Node, NotTaken> {
    let text = str::from_utf8(document).map_err(|_| "not UTF-8")?;
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let (mut open, mut root, mut elements): (Vec<Node>, Option<Node>, usize) = (Vec::new(), None, 0);
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|_| "not well-formed XML")?;
        let mut add = |text: &str| {
            if let Some(node) = open.last_mut() {
                node.text.push_str(text);
            }
        };
        match event {
            Event::Start(start) => {
                elements += 1;
                if open.len() == DEPTH_MAX || elements > ELEMENTS_MAX || (open.is_empty() && root.is_some()) {
                    return Err("too deep, too many elements, or more than one document");
                }
                let namespace = match namespace {
                    ResolveResult::Bound(namespace) => {
                        String::from_utf8_lossy(namespace.as_ref().as_ref()).into_owned()
                    }
                    _ => String::new(),
                };
                let name = String::from_utf8_lossy(start.local_name().as_ref().as_ref()).into_owned();
                open.push(Node { namespace, name, text: String::new(), children: Vec::new() });
            }
            Event::End(_) => {
                let node = open.pop().ok_or("not well-formed XML")?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(node),
                    None => root = Some(node),
                }
            }
            Event::Text(text) => add(&text.xml10_content()),
            Event::CData(text) => add(&text.xml10_content()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(|_| "a broken reference")? {
                Some(c) => add(c.encode_utf8(&mut [0; 4])),
                None => add(resolve_predefined_entity(&reference).ok_or("an entity that XML does not know")?),
            },
            Event::DocType(_) => return Err("a document type"),
            Event::Eof => break,
            _ => {}
        }
    }
    root.filter(|_| open.is_empty()).ok_or("not well-formed XML")
}

/// Writes elements one after the other.
#[derive(Default)]
pub(super) struct Xml(pub(super) String);

impl Xml {
    /// An element with a text.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.0.push_str(&format!("<{name}>{}</{name}>", escape(text)));
    }

    /// An element with others in it.
    pub(super) fn within(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.0.push_str(&format!("<{name}>"));
        write(self);
        self.0.push_str(&format!("</{name}>"));
    }
}

/// An envelope around what is in its body.
pub(super) fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soap:Envelope xmlns:soap=\"{ENVELOPE}\"><soap:Body>{body}</soap:Body></soap:Envelope>"
    )
}

/// A response of an operation, in the namespace given.
pub(super) fn response(operation: &str, namespace: &str, content: &str) -> String {
    format!("<dc:{operation}Response xmlns:dc=\"{namespace}\" xmlns=\"{namespace}\">{content}</dc:{operation}Response>")
}

/// A fault of whoever asked (SOAP 1.1 §4.4).
pub(super) fn fault(why: &str) -> String {
    envelope(&format!(
        "<soap:Fault><faultcode>soap:Client</faultcode><faultstring>{}</faultstring></soap:Fault>",
        escape(why)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(inner: &str) -> Result<Node, NotTaken> {
        operation(
            format!(r#"<e:Envelope xmlns:e="{ENVELOPE}" xmlns:q="{MINISTRY}"><e:Body>{inner}</e:Body></e:Envelope>"#)
                .as_bytes(),
        )
    }

    #[test]
    fn prefixes_are_free_and_namespaces_are_compared() {
        let node = body("<q:X><q:A>1 &amp; &#x1EED;<![CDATA[<2>]]></q:A></q:X>").ok().unwrap();
        assert_eq!((node.name.as_str(), node.text_of("A")), ("X", "1 & ử<2>"));
        for other in ["<X/>", "<q:X><A/></q:X>", "<X xmlns='urn:x'/>", "<q:X/><q:X/>", ""] {
            assert!(body(other).is_err(), "{other}");
        }
        assert!(operation(b"<Envelope/>").is_err());
    }

    #[test]
    fn nothing_grows_and_nothing_is_fetched() {
        let outside = r#"<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>"#;
        assert_eq!(operation(format!("{outside}<x>&a;</x>").as_bytes()).err(), Some("a document type"));
        assert!(body("<q:X>&a;</q:X>").is_err());
        assert!(body(&("<q:X>".repeat(50) + &"</q:X>".repeat(50))).is_err());
        assert!(body(&format!("<q:X>{}</q:X>", "<q:A/>".repeat(ELEMENTS_MAX))).is_err());
        assert!(body("<q:X>").is_err() && operation(b"\xff").is_err());
    }
}
