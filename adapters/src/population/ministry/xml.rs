//! The little of XML that SOAP needs, read into a tree: elements of known namespaces and their text.
//!
//! Prefixes are free, namespaces count; what is of another namespace is left out, whatever it is. There are no document types, and so no
//! entities of their own: nothing is fetched and nothing grows. Length is bounded by whoever read it, depth here.

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;

/// How deep elements may stand in each other. Answers a document that would exhaust the stack when its tree is dropped.
const DEPTH_MAX: usize = 32;

/// How many there may be; a citizen has some eighty. Answers a document of nothing but small elements, which would take many times its length.
const ELEMENTS_MAX: usize = 4_096;

/// The envelope's namespace, SOAP 1.1 §3.
pub(super) const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// The ministry's.
pub(super) const POPULATION: &str = "http://dancuquocgia.bca";

/// One of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Of {
    Soap,
    Population,
}

/// An element. No `Debug`: its texts are personal.
pub(super) struct Element {
    of: Of,
    name: Box<str>,
    text: String,
    children: Vec<Element>,
}

/// The document cannot be read; what it says is nobody's business here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NotXml;

impl Element {
    /// The document's element.
    ///
    /// # Errors
    /// It is not well formed, has a document type, is nested too deeply, or its element is of another namespace.
    pub(super) fn read(document: &[u8]) -> Result<Self, NotXml> {
        let document = str::from_utf8(document).map_err(|_| NotXml)?;
        let mut reader = NsReader::from_str(document);
        reader.config_mut().expand_empty_elements = true;
        // An element of another namespace is kept while it is open, as `None`, and left out with all that is in it.
        let mut open: Vec<Option<Self>> = Vec::new();
        let (mut root, mut elements) = (None, 0);
        loop {
            let (namespace, event) = reader.read_resolved_event().map_err(|_| NotXml)?;
            match event {
                Event::Start(start) => {
                    elements += 1;
                    if open.len() == DEPTH_MAX || elements > ELEMENTS_MAX || (open.is_empty() && root.is_some()) {
                        return Err(NotXml);
                    }
                    let is_left_out = matches!(open.last(), Some(None));
                    let of = of(&namespace).filter(|_| !is_left_out);
                    let name = start.local_name().into_inner().into();
                    open.push(of.map(|of| Self { of, name, text: String::new(), children: Vec::new() }));
                }
                Event::End(_) => {
                    let done = open.pop().ok_or(NotXml)?;
                    match (open.last_mut(), done) {
                        (Some(Some(parent)), Some(done)) => parent.children.push(done),
                        (None, done) => root = Some(done.ok_or(NotXml)?),
                        _ => {}
                    }
                }
                Event::Text(text) => add(&mut open, &text.xml10_content())?,
                Event::CData(text) => add(&mut open, &text.xml10_content())?,
                Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(|_| NotXml)? {
                    Some(c) => add(&mut open, c.encode_utf8(&mut [0; 4]))?,
                    None => add(&mut open, resolve_predefined_entity(&reference).ok_or(NotXml)?)?,
                },
                Event::DocType(_) => return Err(NotXml),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Empty(_) => return Err(NotXml),
                Event::Eof => break,
            }
        }
        if open.is_empty() { root.ok_or(NotXml) } else { Err(NotXml) }
    }

    pub(super) fn is(&self, of: Of, name: &str) -> bool {
        self.of == of && *self.name == *name
    }

    /// Its first child of this name in its own namespace.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children_named(name).next()
    }

    /// All of them.
    pub(super) fn children_named(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.children.iter().filter(move |child| child.is(self.of, name))
    }

    /// Takes out its first child of this name, and namespace.
    pub(super) fn take(&mut self, of: Of, name: &str) -> Option<Self> {
        let at = self.children.iter().position(|child| child.is(of, name))?;
        Some(self.children.swap_remove(at))
    }

    /// Its own text, without blanks at the ends.
    pub(super) fn text(&self) -> &str {
        self.text.trim()
    }
}

fn of(namespace: &ResolveResult<'_>) -> Option<Of> {
    let ResolveResult::Bound(Namespace(namespace)) = namespace else { return None };
    match *namespace {
        SOAP => Some(Of::Soap),
        POPULATION => Some(Of::Population),
        _ => None,
    }
}

/// Adds to the text of the element that is open. Outside of the document's element there are blanks only.
fn add(open: &mut [Option<Element>], text: &str) -> Result<(), NotXml> {
    match open.last_mut() {
        Some(Some(element)) => element.text.push_str(text),
        Some(None) => {}
        None if text.trim().is_empty() => {}
        None => return Err(NotXml),
    }
    Ok(())
}

/// Adds an element with a text.
pub(super) fn write(xml: &mut String, name: &str, text: &str) {
    xml.push('<');
    xml.push_str(name);
    xml.push('>');
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            // What XML 1.0 has no way to write is nothing that anybody meant.
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            c => xml.push(c),
        }
    }
    xml.push_str("</");
    xml.push_str(name);
    xml.push('>');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str) -> Result<Element, NotXml> {
        Element::read(document.as_bytes())
    }

    #[test]
    fn prefixes_are_free_and_namespaces_count() {
        let document = r#"<?xml version="1.0"?><!-- x --><a:Envelope xmlns:a="http://schemas.xmlsoap.org/soap/envelope/">
            <a:Body><p xmlns="http://dancuquocgia.bca"><q> Trần &amp; Th&#x1EED;<![CDATA[ <1>]]></q>
            <q xmlns="urn:other"><q xmlns="http://dancuquocgia.bca">no</q></q><z:r xmlns:z="http://dancuquocgia.bca"/></p></a:Body></a:Envelope>"#;
        let mut envelope = read(document).ok().unwrap();
        assert!(envelope.is(Of::Soap, "Envelope") && !envelope.is(Of::Population, "Envelope"));
        let mut body = envelope.take(Of::Soap, "Body").unwrap();
        let p = body.take(Of::Population, "p").unwrap();
        let texts: Vec<_> = p.children_named("q").map(Element::text).collect();
        assert_eq!(texts, ["Trần & Thử <1>"]);
        assert!(p.child("r").is_some_and(|r| r.text().is_empty()));
        // Not under another prefix bound elsewhere, and not without a namespace.
        assert!(read("<Envelope/>").is_err() && read(r#"<a:Envelope xmlns:b="urn:b"/>"#).is_err());
    }

    #[test]
    fn there_are_no_document_types_no_entities_and_no_depths() {
        let named = |inner: &str| format!(r#"<p xmlns="http://dancuquocgia.bca">{inner}</p>"#);
        assert!(read(&named("x")).is_ok());
        let external = r#"<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]>"#;
        assert!(read(&format!("{external}{}", named("&x;"))).is_err());
        assert!(read(&format!("<!DOCTYPE p>{}", named("x"))).is_err());
        for broken in ["&x;", "&#0;", "<q>", "<q></r>", "</q>", "&#xD800;"] {
            assert!(read(&named(broken)).is_err(), "{broken}");
        }
        let deep = |levels: usize| named(&format!("{}{}", "<q>".repeat(levels), "</q>".repeat(levels)));
        assert!(read(&deep(DEPTH_MAX - 1)).is_ok() && read(&deep(DEPTH_MAX)).is_err());
        assert!(read(&deep(100_000)).is_err());
        let many = |elements: usize| named(&"<q/>".repeat(elements));
        assert!(read(&many(ELEMENTS_MAX - 1)).is_ok() && read(&many(ELEMENTS_MAX)).is_err());
        for around in [format!("{}{}", named("x"), named("x")), format!("{}x", named("x")), String::new()] {
            assert!(read(&around).is_err(), "{around}");
        }
        assert!(Element::read(b"<p xmlns=\"http://dancuquocgia.bca\">\xff</p>").is_err());
    }

    #[test]
    fn what_is_written_reads_as_it_was() {
        let mut xml = r#"<p xmlns="http://dancuquocgia.bca">"#.to_owned();
        write(&mut xml, "q", "Trần <&> ]]> \"Thử\"\u{1}");
        xml.push_str("</p>");
        let read = read(&xml).ok().unwrap();
        assert_eq!(read.child("q").map(Element::text), Some("Trần <&> ]]> \"Thử\""));
    }
}
