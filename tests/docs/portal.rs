//! The table from the portal's field names to ours: our side is what the OpenAPI document says, and all of a submission is there.

use std::collections::BTreeSet;

use lgsp_proto::types::{IntakeChannel, ReturnChannel, Status};
use serde_json::Value;

use super::document;

const PAGES: [&str; 2] = ["docs/portal-fields.md", "docs/portal-fields.vi.md"];

/// What is between backticks in a text.
fn names(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The rows of the tables of a page's section, each as its cells.
fn rows(page: &str, section: usize) -> Vec<Vec<&str>> {
    let section = page.split("\n## ").nth(section).unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

struct Interface(Value);

impl Interface {
    fn read() -> Self {
        Self(serde_json::from_slice(&lgsp_adapters::description()).unwrap())
    }

    fn schema(&self, name: &str) -> &Value {
        &self.0["components"]["schemas"][name]
    }

    /// The fields of a schema: behind references, lists and "this or null", and of all that it is put together from.
    fn fields<'a>(&'a self, schema: &'a Value) -> Vec<(&'a String, &'a Value)> {
        let parts = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
        let reference = schema["$ref"].as_str().map(|name| self.schema(name.rsplit('/').next().unwrap()));
        let inside = parts.chain(reference).chain(schema.get("items")).flat_map(|part| self.fields(part));
        schema["properties"].as_object().into_iter().flatten().chain(inside).collect()
    }

    fn has(&self, schema: &str, path: &str) -> bool {
        let mut at = self.schema(schema);
        for step in path.split('.') {
            let (name, is_list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
            let Some((_, field)) = self.fields(at).into_iter().find(|(field, _)| *field == name) else { return false };
            if is_list && field.get("items").is_none() {
                return false;
            }
            at = field;
        }
        true
    }

    /// Every field below a schema that is no object itself, by its path.
    fn leaves(&self, at: &Value, path: &str, leaves: &mut BTreeSet<String>) {
        let fields = self.fields(at);
        if fields.is_empty() {
            leaves.insert(path.trim_start_matches('.').to_owned());
        }
        for (name, field) in fields {
            let list = if field.get("items").is_some_and(|items| items.get("$ref").is_some()) { "[]" } else { "" };
            self.leaves(field, &format!("{path}.{name}{list}"), leaves);
        }
    }
}

#[test]
fn our_side_of_the_portals_table_is_the_interface_and_no_field_of_a_submission_is_left_out() {
    let interface = Interface::read();
    for page in PAGES.map(document) {
        for row in rows(&page, 1) {
            for name in names(row[1]) {
                assert!(interface.has("Submission", name), "{name} in {row:?}");
            }
        }
        for row in rows(&page, 2).iter().filter(|row| row[0].contains('.')) {
            let paths = names(row[0]).into_iter().chain(names(row[2])).filter(|name| name.contains('.'));
            for name in paths {
                assert!(interface.has("DossierWithEvents", name), "{name} in {row:?}");
            }
        }
        for row in rows(&page, 3) {
            let Some((kind, fields)) = row[1].split_once(": ") else { continue };
            let kind = interface.schema("Entry")["discriminator"]["mapping"][names(kind)[0]].as_str();
            let schema = kind.unwrap_or_else(|| panic!("no such event: {row:?}")).rsplit('/').next().unwrap();
            for name in names(fields) {
                assert!(interface.has(schema, name), "{name} in {row:?}");
            }
        }
        let section = page.split("\n## ").nth(1).unwrap();
        let named: BTreeSet<&str> = names(section).into_iter().collect();
        let mut all = BTreeSet::new();
        interface.leaves(interface.schema("Submission"), "", &mut all);
        for field in all {
            assert!(named.contains(field.as_str()), "nothing is said about {field}");
        }
    }
}

#[test]
fn the_portals_codes_are_translated_to_the_words_of_the_interface() {
    for page in PAGES.map(document) {
        let codes = |field: &str| {
            let row = rows(&page, 1).into_iter().find(|row| row[1] == format!("`{field}`")).unwrap();
            names(row[2]).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let channels = IntakeChannel::ALL.map(|channel| [channel.number().to_string(), channel.as_str().to_owned()]);
        assert_eq!(codes("intake_channel"), channels.concat());
        assert!(
            ReturnChannel::ALL.iter().all(|channel| codes("return_channel").contains(&channel.as_str().to_owned()))
        );
        let table: Vec<_> = page.lines().filter(|line| line.split(' ').nth(1).is_some_and(is_number)).collect();
        let expected =
            Status::ALL.map(|one| format!("| {} | `{}` | {} |", one.number(), one.as_str(), one.vietnamese()));
        assert_eq!(table, expected);
    }
}

#[test]
fn both_languages_name_the_same_fields_row_by_row() {
    let [en, vi] = PAGES.map(document);
    let all = |page: &str| -> Vec<Vec<String>> {
        let rows = (1..=3).flat_map(|section| rows(page, section));
        rows.map(|row| names(&row.join(" ")).into_iter().map(str::to_owned).collect()).collect()
    };
    assert_eq!(all(&en), all(&vi));
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}
