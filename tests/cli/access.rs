//! Who may call an adapter, from the command line: the page of the documentation, run as it stands.

use std::fs;
use std::path::Path;

use super::examples::examples;
use super::support::Place;

/// What stands in the fenced blocks of this kind.
fn blocks(page: &str, kind: &str) -> String {
    let fence = format!("```{kind}\n");
    page.split(&fence).skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

#[test]
fn what_the_page_on_access_says_works_in_both_languages_and_no_secret_is_logged() {
    let place = Place::new();
    place.certificates(&["mot-cua-hue"]);
    let english = page("access.md");
    for kind in ["sh", "toml"] {
        assert_eq!(blocks(&english, kind), blocks(&page("access.vi.md"), kind));
    }
    let remote = blocks(&english, "toml");
    assert!(remote.contains("0.0.0.0:8443"));
    place.write(
        "adapter.toml",
        &format!(
            "gateway = \"https://127.0.0.1:1\"\nparties = [\"H57.101\", \"H57.102\"]\n\
             [tls]\ncertificate = \"pki/mot-cua-hue.pem\"\nkey = \"pki/mot-cua-hue.key\"\nbundle = \"ca/root.pem\"\n\
             [spool]\nfolder = \"spool\"\n[rest]\nlisten = \"127.0.0.1:0\"\n{}",
            remote.replace("0.0.0.0:8443", "127.0.0.1:0")
        ),
    );
    place.lgsp(&["adapter", "--config", "adapter.toml", "--check"]).ok();
    let adapter = place.start("adapter", "adapter.toml");
    let commands = blocks(&english, "sh");
    assert!(commands.contains("http://127.0.0.1:8480/") && commands.contains("https://127.0.0.1:8443/"));
    let script = commands.replace("curl -s ", "curl -sS --fail ");
    let script = script.replace("127.0.0.1:8480", adapter.at("rest")).replace("127.0.0.1:8443", adapter.at("remote"));
    // The client that was just added is taken up within a second; curl tries again until then.
    let script = script.replace("--fail", "--fail --retry 20 --retry-delay 1 --retry-all-errors");
    place.write("page.sh", &format!("set -eu\n{script}"));
    let said = place.shell("sh page.sh").ok();
    assert!(said.contains("\"uptime_seconds\"") && said.contains("\"requests\"") && said.contains("ho-tich"), "{said}");
    // Nothing there answered with a secret that it should not have.
    assert_eq!(said.matches("lgspt_").count(), 1, "the new token, where it is asked for: {said}");
    assert!(!said.contains("lgsps_") && !said.contains("lgspa_"), "{said}");

    // And the help's own examples.
    place.lgsp(&["adapter", "client", "remove", "ho-tich", "--config", "adapter.toml"]).ok();
    for command in ["token", "client"] {
        examples(&place.lgsp(&["adapter", command, "--help"]).ok())
            .iter()
            .for_each(|line| drop(place.shell(line).ok()));
    }
    let refused = place.lgsp(&["adapter", "client", "remove", "nobody", "--config", "adapter.toml"]).failed(2);
    assert!(refused.contains("no client nobody"), "{refused}");
    let add = ["adapter", "client", "add", "x", "--party", "H57.99", "--config", "adapter.toml"];
    let refused = place.lgsp(&add).failed(2);
    assert!(refused.contains("H57.99"), "{refused}");
    assert!(adapter.stop().success());
    let log = fs::read_to_string(place.log("adapter")).unwrap();
    assert!(log.contains("access token issued") && log.contains("mot-cua"), "{log}");
    for secret in ["lgsps_", "lgspa_", "lgspt_"] {
        assert!(!log.contains(secret), "{log}");
    }
}
