//! Pages done as they are written: every command of docs/tutorial.md and docs/queries.md in its order, each answer compared with the
//! one that the page shows.
//!
//! Only what belongs to the reader's machine is replaced: the ports, and the build, whose binary is the one under test.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod clients;
mod line;
mod page;
mod receiver;
mod stand_in;
mod window;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use page::{Step, matches};
use window::{Program, Shell};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap()
}

#[test]
fn the_tutorial_leads_from_nothing_to_a_returned_result_as_it_is_written() {
    follow("docs/tutorial.md", &window::free_ports());
}

#[test]
fn the_page_on_queries_leads_from_a_schema_to_the_first_answer_as_it_is_written() {
    let [adapter, software] = window::two_free_ports();
    let more =
        [(":9001", format!(":{adapter}")), (":9002", format!(":{software}")), (" 9002)", format!(" {software})"))];
    follow("docs/queries.md", &[&window::free_ports()[..], &more].concat());
}

/// Does what a page says, with other ports than those on it.
fn follow(page: &str, ports: &[(&str, String)]) {
    // A sandbox on its usual port is not told so on the page.
    let here = |text: &str| {
        let text = text.replace("lgsp sandbox", &format!("lgsp sandbox --port {}", &ports[0].1[1..]));
        ports.iter().fold(text, |text, (page, port)| text.replace(page, port))
    };
    let there = |text: &str| ports.iter().fold(text.to_owned(), |text, (page, port)| text.replace(port, page));
    let folder = tempfile::tempdir().unwrap();
    symlink(Path::new(ROOT).join("docs"), folder.path().join("docs")).unwrap();

    let mut shell = Shell::open(folder.path());
    let mut programs: Vec<Program> = Vec::new();
    for (number, step) in page::steps(&document(page)).into_iter().enumerate() {
        match step {
            Step::Build(command) => assert!(document("README.md").contains(&command), "{command}"),
            Step::Run { command, shown } => {
                let said = there(&shell.run(&here(&command)));
                assert!(matches(&shown, &said), "step {number}\n{command}\nthe page shows\n{shown}\nit was\n{said}");
            }
            Step::Open { window, command, shown } => {
                // The page says Ctrl-C before it opens a window anew.
                programs.retain(|program| program.window != window);
                let program = Program::start(window, &here(&command), folder.path());
                program.shows(|said| matches(&format!("{shown}…"), &there(said)));
                programs.push(program);
            }
            Step::Look { window, shown } => {
                let program = programs.iter().find(|program| program.window == window).unwrap();
                program.shows(|said| matches(&format!("…{shown}…"), &there(said)));
            }
        }
    }
}

#[test]
fn what_the_page_shows_is_compared_and_only_an_ellipsis_may_be_anything() {
    assert!(matches("a …: 1\n", "a b:  1"));
    assert!(matches("{ \"code\": \"…\", … }", r#"{"code":"H57.1","due":"x"}"#));
    for (shown, said) in [("a: 1", "a: 2"), ("a", "ab"), ("a", ""), ("… b", "a"), ("a …", "b a")] {
        assert!(!matches(shown, said), "{shown} is not {said}");
    }
}
