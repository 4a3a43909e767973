//! Every example of every help text, run as it is printed, in the order of a first day: certificates, registry, gateway,
//! dossiers. Only what belongs to another machine is replaced: where its files lie.

use std::fs;

use super::support::{HUE, Place};

/// The lines of a help text under "Examples:", as one would type them.
pub(super) fn examples(help: &str) -> Vec<String> {
    let after = help.split("Examples:\n").nth(1).unwrap_or_else(|| panic!("no examples in {help}"));
    let block = after.replace("\\\n", " ");
    let lines: Vec<String> =
        block.lines().take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.starts_with("lgsp ")), "{lines:?}");
    lines
}

/// The indented block of a help text under the line that begins with `title`.
fn block(help: &str, title: &str) -> String {
    let after = help.lines().skip_while(|line| !line.starts_with(title)).skip(1);
    after.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned() + "\n").collect()
}

#[test]
fn every_example_of_the_help_texts_does_what_it_says() {
    let place = Place::new();
    let help = |command: &str| place.lgsp(&[command, "--help"]).ok();
    let run = |line: &str| {
        let line = line.replace("/var/lib/lgsp/data", "data").replace("/etc/lgsp/node.key", "node.key");
        let line = line.replace("/media/root", "media-root");
        place.shell(&line).ok()
    };
    std::os::unix::fs::symlink(HUE, place.path().join("hue")).unwrap();
    fs::create_dir(place.path().join("registry")).unwrap();
    std::os::unix::fs::symlink(HUE, place.path().join("registry/hue")).unwrap();

    examples(&help("certs")).iter().for_each(|line| drop(run(line)));
    run("lgsp certs issue --ca ca --system van-hanh --out pki");

    // Both first configurations are those in the help.
    for node in ["gateway", "adapter"] {
        place.write(&format!("{node}.toml"), &block(&help(node), "A first configuration"));
        let lines = examples(&help(node));
        let (looking, serving): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.contains(".toml --"));
        assert_eq!(serving, [&format!("lgsp {node} --config {node}.toml")]);
        looking.into_iter().for_each(|line| drop(run(line)));
    }
    // Served on ports of the system's choice, so that this test does not meet anybody else's gateway.
    let gateway = place.gateway();

    place.profile("operator.toml", gateway.at("bus"), "van-hanh", "H57.VH");
    place.profile("desk.toml", gateway.at("bus"), "mot-cua-hue", "H57.102");
    place.profile("authority.toml", gateway.at("bus"), "mot-cua-hue", "H57.101");
    examples(&help("registry")).iter().for_each(|line| drop(run(line)));

    place.write("to-khai.pdf", "%PDF-1.7 a form");
    place.write("submission.json", &super::gateway::submission());
    let lines = examples(&help("dossier"));
    let (offline, online): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.contains("--data"));
    for line in online {
        if let Some(rest) = line.strip_prefix("lgsp dossier erase ") {
            // Erased is what is closed: the rest of the dossier's life is not in the help.
            let code = rest.split_whitespace().next().unwrap();
            for what in ["processing-started", "resolved --result 'Giấy khai sinh'", "returned --channel direct"] {
                let by = if what.starts_with("returned") { "desk" } else { "authority" };
                let at = format!("--at 2025-07-14T09:20:00+07:00 --profile {by}.toml");
                run(&format!("lgsp dossier record {code} --type {what} {at}"));
            }
        }
        run(line);
    }
    // Whether it is allowed or not, it is answered.
    for line in examples(&help("can-i")) {
        let answer = place.shell(&line);
        assert!([0, 3].contains(&answer.code) && answer.out.contains("llowed"), "{line}: {answer:#?}");
    }
    // Nothing is due for an archive on this day; what a file is shown by is tried where there is one.
    let (archived, run_now): (Vec<_>, Vec<_>) =
        examples(&help("archive")).into_iter().partition(|line| !line.starts_with("lgsp archive run "));
    assert_eq!(archived.len(), 4);
    run_now.iter().for_each(|line| drop(run(line)));
    examples(&help("inbox")).iter().for_each(|line| drop(run(line)));
    examples(&help("audit")).iter().for_each(|line| drop(run(line)));

    assert!(gateway.stop().success());
    offline.into_iter().for_each(|line| drop(run(line)));
    examples(&help("fsck")).iter().for_each(|line| drop(run(line)));
}
