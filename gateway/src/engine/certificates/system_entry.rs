//! Entering one system into the text of `systems.toml`, and leaving every other character as the operator wrote it.

use lgsp_domain::registry::PartyPattern;
use lgsp_proto::v1;
use serde::Deserialize;
use toml::Spanned;

/// The registry's file of systems.
const FILE: &str = "systems.toml";

/// The files with one more system. What is made of them is checked as a whole when they are applied.
pub(super) fn enter(
    mut files: Vec<v1::RegistryFile>,
    name: &str,
    description: &str,
    acts_for: &[PartyPattern],
) -> Vec<v1::RegistryFile> {
    let entry = Entry { name, description, acts_for };
    match files.iter_mut().find(|file| file.name == FILE) {
        Some(file) => {
            // One that is no text is refused with all its problems when it is applied.
            let text = String::from_utf8_lossy(&file.content);
            file.content = entry.into_text(&text).into();
        }
        None => files.push(v1::RegistryFile { name: FILE.to_owned(), content: entry.into_text("").into() }),
    }
    files
}

struct Entry<'a> {
    name: &'a str,
    description: &'a str,
    acts_for: &'a [PartyPattern],
}

/// As far as the file has to be understood: whether its systems are written as a list in brackets, and where that begins.
#[derive(Deserialize)]
struct Systems {
    system: Option<Spanned<toml::Value>>,
}

impl Entry<'_> {
    fn into_text(self, text: &str) -> String {
        let list = toml::from_str::<Systems>(text).ok().and_then(|systems| systems.system);
        let brackets = list.map(|list| list.span()).filter(|span| is_inline(text, span));
        match brackets {
            // Behind the opening bracket, so that neither a missing comma nor a comment at the end of the list matters.
            Some(span) => {
                let at = span.start + 1;
                format!("{}\n  {},{}", &text[..at], self.inline(), &text[at..])
            }
            None => {
                let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
                format!("{text}{gap}\n[[system]]\n{}\n", self.keys().join("\n"))
            }
        }
    }

    fn inline(&self) -> String {
        format!("{{ {} }}", self.keys().join(", "))
    }

    fn keys(&self) -> [String; 3] {
        let acts_for = self.acts_for.iter().map(|pattern| toml::Value::from(pattern.to_string())).collect::<Vec<_>>();
        [
            format!("name = {}", toml::Value::from(self.name)),
            format!("description = {}", toml::Value::from(self.description)),
            format!("acts_for = {}", toml::Value::from(acts_for)),
        ]
    }
}

/// Whether the value stands in brackets, and not as `[[system]]` tables.
fn is_inline(text: &str, span: &std::ops::Range<usize>) -> bool {
    let value = text.get(span.clone()).unwrap_or_default();
    value.starts_with('[') && !value.starts_with("[[")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Written {
        name: String,
        description: String,
        acts_for: Vec<String>,
    }

    fn entered(text: &str) -> (String, Vec<Written>) {
        #[derive(Deserialize)]
        struct File {
            system: Vec<Written>,
        }
        let acts_for = [PartyPattern::One("H57.101".parse().unwrap()), PartyPattern::Below("H57.BD".parse().unwrap())];
        let file = v1::RegistryFile { name: FILE.into(), content: text.to_owned().into() };
        let files = enter(vec![file], "xa-moi", "Một cửa \"xã Mới\"\n", &acts_for);
        let text = String::from_utf8(files[0].content.to_vec()).unwrap();
        let File { system } = toml::from_str(&text).unwrap();
        (text, system)
    }

    #[test]
    fn a_system_is_entered_however_the_others_are_written_and_they_stay_as_they_are() {
        let one = "name = \"cu\", description = \"Cũ\", acts_for = [\"H57.1\"]";
        let table = one.replace(", ", "\n");
        let texts = [
            String::new(),
            "# nothing yet".to_owned(),
            "system = []\n".to_owned(),
            format!("# head\nsystem = [\n  {{ {one} }}, # the last one\n]\n# foot"),
            format!("system = [\n  {{ {one} }} # no comma ]\n]\n"),
            format!("# head\n[[system]]\n{table}\n# foot"),
        ];
        for text in texts {
            let (written, systems) = entered(&text);
            let new = systems.iter().find(|system| system.name == "xa-moi").unwrap();
            assert_eq!(new.description, "Một cửa \"xã Mới\"\n");
            assert_eq!(new.acts_for, ["H57.101", "H57.BD.*"]);
            assert_eq!(systems.len(), 1 + usize::from(text.contains("Cũ")), "{written}");
            for line in text.lines().filter(|line| *line != "system = []") {
                assert!(written.lines().any(|kept| kept == line), "{line:?} is gone:\n{written}");
            }
        }
    }

    #[test]
    fn without_a_file_of_systems_there_is_one() {
        let files = enter(Vec::new(), "xa-moi", "x", &[]);
        assert_eq!((files.len(), files[0].name.as_str()), (1, FILE));
    }
}
