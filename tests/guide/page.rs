//! A page as a list of things to do. How its blocks are marked is said in CONTRIBUTING.md.

/// One thing that the reader does, and what it should look like.
pub(crate) enum Step {
    /// Builds the binary.
    Build(String),
    /// Types a command, and reads all that it prints.
    Run { command: String, shown: String },
    /// Starts a program in a window of its own, and reads how it begins.
    Open { window: String, command: String, shown: String },
    /// Looks again into such a window.
    Look { window: String, shown: String },
}

/// The steps of a page, in its order.
pub(crate) fn steps(page: &str) -> Vec<Step> {
    let blocks = page.split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap());
    let mut blocks = blocks.map(|(kind, text)| (kind.trim(), text.to_owned())).peekable();
    let mut steps = Vec::new();
    while let Some((kind, text)) = blocks.next() {
        let mut shown = || blocks.next_if(|(kind, _)| ["text", "json"].contains(kind)).map(|(_, text)| text);
        steps.push(match kind.split_once(' ').unwrap_or((kind, "")) {
            ("sh", "") => Step::Run { command: text, shown: shown().unwrap_or_default() },
            ("sh", "build") => Step::Build(text),
            ("sh", window) => {
                Step::Open { window: window.to_owned(), command: text, shown: shown().unwrap_or_default() }
            }
            ("text", window) if !window.is_empty() => Step::Look { window: window.to_owned(), shown: text },
            other => panic!("nobody would know what to do with {other:?}: {text}"),
        });
    }
    steps
}

/// Whether something was printed as it is shown. `…` stands for anything; blanks and line breaks do not count, because a long answer is
/// shown on several lines.
pub(crate) fn matches(shown: &str, said: &str) -> bool {
    let bare = |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).collect() };
    let (shown, said) = (bare(shown), bare(said));
    let mut parts = shown.split('…').peekable();
    let Some(mut rest) = said.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}
