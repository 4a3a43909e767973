//! What the documents say is what the code does: the parts of them that can be compared are.
#![expect(clippy::unwrap_used, reason = "tests")]

mod portal;

use std::path::Path;

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_architectures_table_of_figures_is_the_codes_list() {
    let page = document("ARCHITECTURE.md");
    let section = page.split("\n## Figures").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `lgsp_")).collect();
    let gateway = lgsp_gateway::telemetry::names::ALL.iter().copied().flatten();
    let adapter: Vec<_> = lgsp_adapters::telemetry::names::ALL.iter().copied().flatten().collect();
    let is_shared = |name: &str| adapter.iter().any(|metric| metric.name == name);
    let gateway: Vec<_> = gateway.collect();
    let row = |metric: &lgsp_telemetry::Metric, whose: &str| {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!(" {}", labels.join(", ")) };
        format!("| `{}` |{labels} | {whose} | {} |", metric.page_name(), metric.help)
    };
    let of_gateway = gateway.iter().map(|metric| row(metric, if is_shared(metric.name) { "both" } else { "gateway" }));
    let only_adapter = adapter.iter().filter(|metric| gateway.iter().all(|other| other.name != metric.name));
    let expected: Vec<_> = of_gateway.chain(only_adapter.map(|metric| row(metric, "adapter"))).collect();
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(row, expected);
    }
    assert_eq!(rows.len(), expected.len(), "a row too many or too few");
}

#[test]
fn a_page_and_its_vietnamese_one_name_the_same_commands_and_show_the_same_programs() {
    let pages = pages();
    let english: Vec<_> = pages.iter().filter(|page| !page.ends_with(".vi.md")).collect();
    assert_eq!(english.len() * 2, pages.len(), "a page without the other language: {pages:?}");
    for page in english {
        let vietnamese = page.replace(".md", ".vi.md");
        let [en, vi] = [page, &vietnamese].map(|page| blocks(&document(page)));
        assert_eq!(commands(&en), commands(&vi), "{page}");
        // The READMEs' JSON and configuration carry comments and examples in their own language, and so may what a command prints,
        // but for the tutorial, where a test compares it.
        let shown = match page.as_str() {
            "docs/tutorial.md" => &["python", "json", "toml", "text"][..],
            page if page.starts_with("docs/") => &["python", "json", "toml"],
            _ => &[],
        };
        for language in shown {
            let of = |blocks: &[(String, String)]| -> Vec<String> {
                let bare =
                    |text: &String| text.lines().map(|line| line.split(" # ").next().unwrap().trim_end()).collect();
                blocks
                    .iter()
                    .filter(|(kind, _)| kind.split(' ').next() == Some(language))
                    .map(|(_, text)| bare(text))
                    .collect()
            };
            assert_eq!(of(&en), of(&vi), "{page}");
        }
    }
}

/// The lines of shell in these blocks, without comments and without what chooses the language of an answer.
fn commands(blocks: &[(String, String)]) -> Vec<String> {
    let shell = blocks.iter().filter(|(language, _)| language.split(' ').next() == Some("sh"));
    let lines = shell.flat_map(|(_, text)| text.lines());
    let bare = |line: &str| line.split('#').next().unwrap().replace(" --lang vi", "").trim().to_owned();
    lines.map(bare).filter(|line| !line.is_empty()).collect()
}

#[test]
fn every_path_a_document_names_exists_and_every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let others = ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned);
    for page in pages().into_iter().chain(others) {
        let text = document(&page);
        let named = text.split('`').skip(1).step_by(2).filter(|code| {
            let roots = ["proto/", "certs/", "gateway/", "adapters/", "src/", "tests/", "docs/"];
            roots.iter().any(|root| code.starts_with(root)) && !code.contains(char::is_whitespace)
        });
        for path in named {
            assert!(root.join(path).exists(), "{page} names {path}");
        }
        let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in links.filter(|link| !link.starts_with("https://") && !link.contains(char::is_whitespace)) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root.join(&page) } else { root.join(&page).with_file_name(path) };
            assert!(target.exists(), "{page} links to {link}");
            if !heading.is_empty() {
                let headings = std::fs::read_to_string(target).unwrap();
                let mut headings = headings.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.any(|one| one == heading), "{page} links to {link}");
            }
        }
    }
}

/// The name under which a heading can be linked to.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn whoever_starts_with_the_page_on_rest_is_told_to_show_a_token() {
    for page in ["docs/rest.md", "docs/rest.vi.md"] {
        let (text, access) = (document(page), page.replace("docs/rest", "access"));
        let head = text.split("\n| ").next().unwrap();
        assert!(head.contains("`Authorization: Bearer …`") && head.contains(&format!("]({access})")), "{page}");
    }
}

#[test]
fn both_pages_on_webhooks_name_every_type() {
    for page in ["docs/webhooks.md", "docs/webhooks.vi.md"].map(document) {
        let types = lgsp_adapters::webhook::event_types();
        for kind in &types {
            let of_dossier = kind.strip_prefix("vn.lgsp.dossier.").and_then(|kind| kind.strip_suffix(".v1"));
            assert!(page.contains(&format!("`{}`", of_dossier.unwrap_or(kind))), "{kind}");
        }
        let listed = page.lines().find(|line| line.starts_with("| `vn.lgsp.dossier.KIND.v1`")).unwrap();
        let of_dossiers = types.iter().filter(|kind| kind.starts_with("vn.lgsp.dossier.")).count();
        assert_eq!(listed.matches('`').count() / 2, of_dossiers + 1, "a kind too many or too few");
    }
}

/// The READMEs and every page below `docs/`, by their paths.
fn pages() -> Vec<String> {
    fn below(folder: &str, pages: &mut Vec<String>) {
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            match entry.path().is_dir() {
                true => below(&path, pages),
                false if path.ends_with(".md") => pages.push(path),
                false => {}
            }
        }
    }
    let mut pages = vec!["README.md".to_owned(), "README.vi.md".to_owned()];
    below("docs", &mut pages);
    pages.sort();
    pages
}

/// The blocks of code of a page: the language of each, and its text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let fenced = page.split("\n```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').unwrap()).map(|(kind, text)| (kind.to_owned(), text.to_owned())).collect()
}

#[test]
fn the_receiver_of_the_examples_is_the_one_that_the_page_on_webhooks_shows() {
    let page = document("docs/webhooks.md");
    let shown = blocks(&page).into_iter().find(|(language, _)| language == "python").unwrap().1;
    assert_eq!(document("docs/examples/python/receiver.py").trim(), shown.trim());
}

/// A threat's answer names where it is shown as "`path`: *the test's name*, *another*; `path`: …".
#[test]
fn every_test_that_the_page_on_security_names_is_there() {
    let page = document("SECURITY.md");
    let mut named = 0;
    for row in page.lines().filter(|line| line.starts_with("| **")) {
        let shown = row.trim_end_matches('|').rsplit(" | ").next().unwrap();
        for place in shown.split("; ").filter(|place| place.trim_start().starts_with('`')) {
            let (path, tests) = place.split_once(": ").unwrap_or_else(|| panic!("no test after the place: {place}"));
            let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path.trim().trim_matches('`')));
            for test in tests.split('*').skip(1).step_by(2) {
                let name = format!("fn {}(", test.replace(' ', "_"));
                assert!(sources.contains(&name), "{path} has no test \"{test}\"");
                named += 1;
            }
        }
    }
    let threats = page.split("## Threats").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = threats.lines().filter(|line| line.starts_with("| **")).count();
    assert!(named >= rows && rows > 0, "{named} tests for {rows} threats");
}

/// The text of a source, or of all of a folder.
fn sources(path: &Path) -> String {
    if path.is_file() {
        return std::fs::read_to_string(path).unwrap();
    }
    let inside = std::fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let inside = inside.map(|entry| entry.unwrap().path());
    inside
        .filter(|path| path.is_dir() || path.extension().is_some_and(|kind| kind == "rs"))
        .map(|path| sources(&path))
        .collect()
}

/// `FailedPrecondition` as gRPC writes it.

#[test]
fn the_reference_is_what_the_code_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    let pages = lgsp_adapters::reference::markdown::pages();
    if std::env::var_os("LGSP_WRITE_REFERENCE").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, page) in &pages {
            std::fs::write(folder.join(name), page).unwrap();
        }
    }
    for (name, page) in &pages {
        let written = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let differs = written.lines().zip(page.lines()).find(|(written, said)| written != said);
        assert_eq!(
            differs, None,
            "docs/reference/{name}: `LGSP_WRITE_REFERENCE=1 cargo test --test docs reference` writes it"
        );
        assert_eq!(written.len(), page.len(), "docs/reference/{name} ends elsewhere");
    }
    let mut there: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    let mut expected: Vec<_> = pages.iter().map(|(name, _)| name.clone()).collect();
    expected.sort();
    assert_eq!(there, expected);
}
