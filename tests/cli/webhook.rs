//! Webhooks from the command line: the adapter without any gateway, and the receiver that docs/webhooks.md shows.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::examples::examples;
use super::support::{Place, eventually};

/// The page's receiver; killed when dropped.
struct Receiver(Child);

impl Receiver {
    fn start(place: &Place, secrets: &str, port: u16) -> Self {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/webhooks.md")).unwrap();
        place.write("receiver.py", page.split("```python\n").nth(1).unwrap().split("```").next().unwrap());
        // As the page says to run it.
        assert!(page.contains("`python3 receiver.py spool/webhook.secret 9000`"));
        let mut python = Command::new("python3");
        python.args(["receiver.py", secrets, &port.to_string()]).current_dir(place.path());
        let child = python.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the receiver listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self(child)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_developer_tries_a_webhook_is_told_what_to_mend_and_changes_the_secret() {
    let place = Place::new();
    place.certificates(&["mot-cua-hue"]);
    let (one, other) = (free_port(), free_port());
    place.write("token", "ma-thu-0123456789");
    place.write(
        "adapter.toml",
        &format!(
            "gateway = \"https://127.0.0.1:{}\"\nparties = [\"H57.101\", \"H57.102\"]\n\
             [tls]\ncertificate = \"pki/mot-cua-hue.pem\"\nkey = \"pki/mot-cua-hue.key\"\nbundle = \"ca/root.pem\"\n\
             [spool]\nfolder = \"spool\"\n[rest]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"token\"\n\
             [webhook]\nurl = \"http://127.0.0.1:{one}/\"\nparties = {{ \"H57.102\" = \"http://127.0.0.1:{other}/\" }}\n",
            free_port()
        ),
    );
    let adapter = place.start("adapter", "adapter.toml");
    let at = ["--adapter", adapter.at("rest"), "--token-file", "token"];
    let run = |words: &[&str]| place.lgsp(&[&["webhook"], words, &at].concat());

    let said = run(&["test"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert_eq!(said.out.matches("connection_refused").count(), 2, "{said:?}");
    let said = run(&["test", "--party", "H57.101", "--lang", "vi"]);
    assert!(said.out.contains("kiểm tra cổng trong webhook.url") && !said.out.contains("H57.102"), "{said:?}");
    // Where adapter.toml is at hand, its token is known; another is refused.
    assert_eq!(place.lgsp(&["webhook", "list", "--adapter", adapter.at("rest")]).code, 0);
    place.write("another", "ma-khac-0123456789");
    let said = place.lgsp(&["webhook", "test", "--adapter", adapter.at("rest"), "--token-file", "another"]).failed(3);
    assert!(said.contains("TOKEN_INVALID"), "{said}");
    let said = run(&["test", "--url", "http://127.0.0.1:1/"]).failed(3);
    assert!(said.contains("WEBHOOK_NOT_FOUND") && said.contains("webhook.url"), "{said}");

    let _receiver = Receiver::start(&place, "spool/webhook.secret", one);
    let said = run(&["test", "--party", "H57.101"]).ok();
    assert!(said.contains("taken") && said.contains(" ms"), "{said}");
    // A receiver with another secret: a 401, and a word about the secret.
    let stranger = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    place.write("other.secret", stranger);
    let _stranger = Receiver::start(&place, "other.secret", other);
    let said = run(&["test", "--party", "H57.102"]);
    assert!(said.code == 3 && said.out.contains("HTTP 401") && said.out.contains("webhook secret"), "{said:?}");

    // The agency's secret is put into the adapter's file beside the old one, and both receivers accept.
    let secrets = place.path().join("spool/webhook.secret");
    let old = fs::read_to_string(&secrets).unwrap();
    fs::write(&secrets, format!("{stranger}\n{old}")).unwrap();
    eventually("both accept", || run(&["test"]).code == 0);
    let listed = run(&["list"]).ok();
    assert!(listed.contains("H57.102") && listed.contains(&format!("http://127.0.0.1:{one}/")), "{listed}");
    let posts = run(&["attempts", "--party", "H57.102"]).ok();
    let shows = |word: &str| posts.lines().any(|line| line.contains("webhook.test.v1") && line.contains(word));
    assert!(shows("HTTP 401") && shows("taken") && shows("connection_refused"), "{posts}");
    let finish = ["webhook", "secret", "--config", "adapter.toml", "--finish"];
    place.lgsp(&finish).ok();
    assert_eq!(fs::read_to_string(&secrets).unwrap().trim(), stranger);
    assert!(place.lgsp(&finish).failed(2).contains("begin one first"));
    eventually("the old one is out of use", || run(&["test"]).code == 0);

    // What cannot be used is said before the adapter starts.
    fs::write(&secrets, "whsec_dG9vIHNob3J0").unwrap();
    let said = place.lgsp(&["adapter", "--config", "adapter.toml", "--check"]).failed(2);
    assert!(said.contains("24 to 64 bytes") && !said.contains("dG9v"), "{said}");
    fs::write(&secrets, stranger).unwrap();

    let environment = format!("LGSP_ADAPTER={} LGSP_ADAPTER_TOKEN_FILE=token", adapter.at("rest"));
    for line in examples(&place.lgsp(&["webhook", "--help"]).ok()) {
        let said = place.shell(&format!("{environment} {line}")).ok();
        assert!(!said.contains("whsec_"), "{line}: {said}");
    }
    assert!(adapter.stop().success());
    let said = place.lgsp(&["webhook", "test", "--adapter", "127.0.0.1:1"]).failed(4);
    assert!(said.contains("No answer from the adapter"), "{said}");
    assert!(!fs::read_to_string(place.log("adapter")).unwrap().contains("whsec_"));
}

#[test]
fn the_token_goes_to_the_adapter_that_its_configuration_names_and_to_no_other_machine() {
    let place = Place::new();
    place.certificates(&["mot-cua-hue"]);
    place.write("token", "ma-thu-0123456789");
    let configuration = format!(
        "gateway = \"https://127.0.0.1:1\"\nparties = [\"H57.101\"]\n\
         [tls]\ncertificate = \"pki/mot-cua-hue.pem\"\nkey = \"pki/mot-cua-hue.key\"\nbundle = \"ca/root.pem\"\n\
         [spool]\nfolder = \"spool\"\n[rest]\nlisten = \"127.0.0.1:{}\"\ntoken_file = \"token\"\n\
         [webhook]\nurl = \"http://127.0.0.1:1/\"\n",
        free_port()
    );
    place.write("adapter.toml", &configuration);
    let adapter = place.start("adapter", "adapter.toml");
    let listed = place.lgsp(&["webhook", "list"]).ok();
    assert!(listed.contains("H57.101"), "{listed}");

    // Nothing of this is sent: the documentation's addresses would keep the command waiting for an answer.
    for remote in ["192.0.2.1:8480", "adapter.example:8480", "127.0.0.1:8480@192.0.2.1:8480"] {
        let said = place.lgsp(&["webhook", "list", "--adapter", remote]).failed(2);
        assert!(said.contains(remote) && said.contains("in the clear"), "{said}");
        let said = place.lgsp(&["webhook", "list", "--adapter", remote, "--token-file", "token", "--lang", "vi"]);
        let said = said.failed(2);
        assert!(said.contains(remote) && said.contains("không mã hoá"), "{said}");
        assert!(!said.contains("ma-thu"), "{said}");
    }
    let said = place.shell("LGSP_ADAPTER=192.0.2.1:8480 lgsp webhook list").failed(2);
    assert!(said.contains("192.0.2.1:8480"), "{said}");

    // A configuration that cannot be used is told, not passed over without its token.
    place.write("elsewhere/adapter.toml", "gateway = \"ftp://127.0.0.1\"\n");
    let said = place.shell("cd elsewhere && lgsp webhook list").failed(2);
    assert!(said.contains("adapter.toml") && said.contains("gateway: "), "{said}");

    // The command that is printed does what is said of it, in this folder and with this file.
    let named = "bộ kết nối.toml";
    place.write(named, &configuration);
    for (lang, then) in [("en", "then: "), ("vi", "rồi: ")] {
        let begun = place.lgsp(&["webhook", "secret", "--config", named, "--begin", "--lang", lang]).ok();
        let printed = begun.lines().find_map(|line| line.split_once(then)).unwrap().1.to_owned();
        let secrets = place.path().join("spool/webhook.secret");
        assert_eq!(fs::read_to_string(&secrets).unwrap().trim().lines().count(), 2);
        place.shell(&printed).ok();
        assert_eq!(fs::read_to_string(&secrets).unwrap().trim().lines().count(), 1, "{printed}");
    }
    assert!(adapter.stop().success());
}
