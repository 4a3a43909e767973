//! Searches what a run has said for what nobody may be told: private keys, join tokens, webhook secrets, tokens of REST APIs, and
//! citizens' data.
//!
//! Every byte is looked at, in whatever form it may have been printed: as it is, in base64 at any offset, in hexadecimal, as a list of
//! numbers or an escaped text as `{:?}` prints bytes, percent-encoded. What is looked for: the keys, the secrets of join tokens and webhooks, and the
//! REST tokens that the run made, byte by byte; the form of any other private key, join token or webhook secret; the people whom fixtures invent, found in the sources; and any citizen's number or phone.
#![allow(dead_code, reason = "each suite uses its own part")]

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use lgsp_proto::types::{CitizenNumber, JoinToken};

use super::output::{REST_TOKEN, WEBHOOK_SECRET};

/// Something that should not have been said. It does not say it again.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Finding {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// The fewest bytes by which something is recognised.
const HEAD: usize = 8;

/// What a webhook secret begins with, and how much of one follows at least: 24 bytes in Base64.
const WHSEC: &str = "whsec_";
const WHSEC_REST: usize = 32;

/// How many secrets are looked for, of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Secrets {
    /// Private keys, node keys and join tokens.
    pub(crate) keys: usize,
    pub(crate) webhook: usize,
    pub(crate) rest: usize,
}

/// What is looked for.
#[derive(Default)]
pub(crate) struct Scan {
    /// By their first bytes: what is searched for, and what it is.
    needles: HashMap<[u8; HEAD], Vec<(Vec<u8>, String)>>,
    pub(crate) looked_for: usize,
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

impl Scan {
    /// Looks for what gives a secret or a person away by its form, and for the people of the repository's fixtures.
    pub(crate) fn new() -> Self {
        let mut scan = Self::default();
        scan.text("a private key", "PRIVATE KEY-----");
        // PKCS #8 of a P-256 key, and SEC 1, up to where the secret begins.
        scan.text("a private key in base64", "MIGHAgEAMBMGByqGSM49");
        scan.bytes_of("a private key", &HEXLOWER.decode(b"308187020100301306072a8648ce3d020106").unwrap());
        scan.text("a private key in base64", "MHcCAQEEI");
        for datum in people() {
            scan.bytes_of("a citizen's datum", datum.as_bytes());
        }
        // Of the sandbox's people all names have this, and of the demo's, who are the rehearsal's, each name and address one of these.
        for of_all in ["Giả Lập", "Văn Thử", "Thị Thử", "VĂN THỬ", "THỊ THỬ", "đường Diễn Tập"]
        {
            scan.bytes_of("a citizen of the demo", of_all.as_bytes());
        }
        scan
    }

    /// Looks for these secrets too: keys in PEM files, node keys, join tokens, and by the names of their files webhook secrets and
    /// REST tokens.
    pub(crate) fn keys_in(&mut self, secrets: &Path) -> Secrets {
        let mut found = Secrets::default();
        for path in fs::read_dir(secrets).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.to_string_lossy().into_owned();
            let file = fs::read(&path).unwrap();
            if name.ends_with(WEBHOOK_SECRET) {
                found.webhook += self.webhook_secrets(&String::from_utf8_lossy(&file));
            } else if name.ends_with(REST_TOKEN) {
                found.rest += usize::from(self.rest_token(String::from_utf8_lossy(&file).trim()));
            } else {
                found.keys += usize::from(self.key(&file));
            }
        }
        found
    }

    /// A file of webhook secrets: what is in it, decoded, whatever words it is told in.
    fn webhook_secrets(&mut self, file: &str) -> usize {
        let secrets = file.lines().filter_map(|line| BASE64.decode(line.trim().strip_prefix(WHSEC)?.as_bytes()).ok());
        // One of equal bytes is nobody's, and everywhere.
        let secrets: Vec<_> = secrets.filter(|secret| secret.iter().any(|byte| *byte != secret[0])).collect();
        secrets.iter().for_each(|secret| self.bytes_of("a webhook secret", secret));
        secrets.len()
    }

    /// What is shorter than anybody would make one is a word of a test's own.
    fn rest_token(&mut self, token: &str) -> bool {
        let is_long = token.len() >= 2 * HEAD;
        if is_long {
            self.bytes_of("a token of a REST API", token.as_bytes());
        }
        is_long
    }

    fn key(&mut self, file: &[u8]) -> bool {
        let text = String::from_utf8_lossy(file);
        if let Ok(token) = text.trim().parse::<JoinToken>() {
            self.bytes_of("a join token's secret", token.secret());
            return true;
        }
        if !text.contains("-----BEGIN") {
            // A node key is a line of text; a key block of the store is no secret by itself.
            let line = text.trim();
            let is_text = (32..=128).contains(&line.len()) && line.bytes().all(|byte| byte.is_ascii_graphic());
            if is_text {
                self.text("a node's key", line);
                if let Ok(bytes) = HEXLOWER.decode(line.as_bytes()) {
                    self.bytes_of("a node's key", &bytes);
                }
            }
            return is_text;
        }
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let Ok(der) = BASE64.decode(body.as_bytes()) else { return false };
        // The secret number of a P-256 key, which is what must not be told in any form.
        let Some(at) = der.windows(4).position(|window| window == [2, 1, 1, 4]) else { return false };
        let Some(secret) = der.get(at + 5..at + 37) else { return false };
        self.bytes_of("a private key that the run made", secret);
        true
    }

    /// Looks for bytes in every form in which they may be printed.
    pub(crate) fn bytes_of(&mut self, what: &str, bytes: &[u8]) {
        self.looked_for += 1;
        let list =
            |separator: &str| bytes.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator).into_bytes();
        let escaped: String = bytes.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
        let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
        let mut forms = vec![
            bytes.to_vec(),
            HEXLOWER.encode(bytes).into_bytes(),
            HEXUPPER.encode(bytes).into_bytes(),
            list(", "),
            list(","),
            escaped.into_bytes(),
            // `Bytes` writes a zero in its own way.
            format!("{:?}", bytes::Bytes::copy_from_slice(bytes)).trim_start_matches('b').trim_matches('"').into(),
            percent.into_bytes(),
        ];
        // At whatever offset it lies in something longer: what its own bytes alone decide of the text.
        for offset in 0..3 {
            let mut padded = vec![0; offset];
            padded.extend_from_slice(bytes);
            padded.truncate(padded.len() / 3 * 3);
            let skip = if offset == 0 { 0 } else { 4 };
            for text in [BASE64_NOPAD.encode(&padded), BASE64URL_NOPAD.encode(&padded)] {
                forms.push(text.into_bytes().split_off(skip));
            }
        }
        let forms: BTreeSet<Vec<u8>> = forms.into_iter().filter(|form| form.len() >= HEAD).collect();
        assert!(!forms.is_empty(), "{what} is too short to be searched for");
        forms.into_iter().for_each(|form| self.needle(what, form));
    }

    fn text(&mut self, what: &str, text: &str) {
        self.looked_for += 1;
        self.needle(what, text.as_bytes().to_vec());
    }

    fn needle(&mut self, what: &str, form: Vec<u8>) {
        let head = *form.first_chunk().expect("it is long enough");
        self.needles.entry(head).or_default().push((form, what.to_owned()));
    }

    /// Searches every file of a folder but the secrets themselves.
    pub(crate) fn folder(&mut self, folder: &Path) -> Vec<Finding> {
        let mut found = Vec::new();
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_file() {
                found.extend(self.file(&path));
            }
        }
        found.sort();
        found.dedup();
        found
    }

    fn file(&mut self, path: &Path) -> Vec<Finding> {
        let text = fs::read(path).unwrap();
        self.files += 1;
        self.bytes += text.len() as u64;
        let whats = self.said(&text);
        let line_of = |at: usize| 1 + text[..at].iter().filter(|byte| **byte == b'\n').count();
        whats.into_iter().map(|(at, what)| Finding { file: path.to_owned(), line: line_of(at), what }).collect()
    }

    /// What a text says that it should not, and where.
    pub(crate) fn said(&self, text: &[u8]) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, head) in text.windows(HEAD).enumerate() {
            let head: &[u8; HEAD] = head.try_into().expect("a window is as long as it is");
            let Some(needles) = self.needles.get(head) else { continue };
            let there = needles.iter().filter(|(form, _)| text[at..].starts_with(form));
            found.extend(there.map(|(_, what)| (at, what.clone())));
        }
        found.extend(tokens(text).map(|at| (at, "a join token".to_owned())));
        found.extend(webhook_secrets(text).map(|at| (at, "a webhook secret".to_owned())));
        found.extend(numbers(text));
        found
    }
}

/// Where a text that looks like a join token begins; its prefix alone is told in help texts.
fn tokens(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    const PREFIX: &[u8] = b"lgsp-join-1.";
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'-' | b'_');
    let begins = text.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
    begins.map(|(at, _)| at).filter(move |at| text[at + PREFIX.len()..].iter().take_while(is_part).count() >= 40)
}

/// Where a text that looks like a webhook secret begins; one of equal letters is a test's own, and its prefix is in help texts.
fn webhook_secrets(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'+' | b'/');
    let begins = text.windows(WHSEC.len()).enumerate().filter(|(_, window)| *window == WHSEC.as_bytes());
    begins.map(|(at, _)| at).filter(move |at| {
        let secret: Vec<u8> = text[at + WHSEC.len()..].iter().take_while(is_part).copied().collect();
        secret.len() >= WHSEC_REST && secret.iter().any(|byte| *byte != secret[0])
    })
}

/// Numbers that are a citizen's, or a mobile phone's, by their structure: whoever's they are.
fn numbers(text: &[u8]) -> Vec<(usize, String)> {
    let joins =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'+' | b'_' | b'/' | b'%');
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            at += 1;
            continue;
        }
        let (before, after) = (at.checked_sub(1).and_then(|at| text.get(at)), text.get(at + digits));
        // The end of a sentence ends a number too.
        let ends = after.is_none_or(|byte| !joins(byte))
            || (after == Some(&b'.') && !text.get(at + digits + 1).is_some_and(u8::is_ascii_alphanumeric));
        if text[at] == b'0' && before.is_none_or(|byte| !joins(byte)) && ends {
            let number = std::str::from_utf8(&text[at..at + digits]).expect("digits are text");
            if digits == 12 && number.parse::<CitizenNumber>().is_ok() {
                found.push((at, "a citizen's number".to_owned()));
            }
            if digits == 10 && matches!(text[at + 1], b'3' | b'5' | b'7' | b'8' | b'9') {
                found.push((at, "a phone number".to_owned()));
            }
        }
        at += digits;
    }
    found
}

/// What the fixtures of the repository say of people: the values of such fields in tests, the demo and the documents.
fn people() -> BTreeSet<String> {
    const FIELDS: [&str; 7] =
        ["full_name", "personal_number", "phone", "email", "address", "return_address", "organisation_number"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut data = BTreeSet::new();
    for folder in ["tests", "src", "gateway/tests", "gateway/src", "adapters/tests", "adapters/src", "proto/src"] {
        walk(&root.join(folder), &mut |text| {
            for field in FIELDS {
                let after = text.match_indices(field).map(|(at, _)| &text[at + field.len()..]);
                data.extend(after.filter_map(value).map(str::to_owned));
            }
        });
    }
    // What is shorter could be anything.
    data.retain(|datum| datum.len() >= HEAD);
    data
}

/// The text that a field has in Rust, in JSON, or in Python: what is between the next quotes, unless something else comes first.
fn value(after: &str) -> Option<&str> {
    let rest = after.trim_start_matches(['"', '\\', ' ', ':', '=']);
    // The quote that opens the value has been passed over with those around the name; without one it is a name in a program.
    let passed = &after[..after.len() - rest.len()];
    if !passed.ends_with('"') || !passed.contains([':', '=']) {
        return None;
    }
    let value = rest.split(['"', '\\']).next()?;
    let is_datum = |c: char| c.is_alphanumeric() || " @.,-/+".contains(c);
    (value.contains(|c: char| c == ' ' || c.is_ascii_digit() || c == '@') && value.chars().all(is_datum))
        .then_some(value)
}

fn walk(folder: &Path, text: &mut impl FnMut(&str)) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            walk(&path, text);
        } else if path.extension().is_some_and(|ending| ["rs", "py", "json", "md"].iter().any(|known| ending == *known))
            && let Ok(read) = fs::read_to_string(&path)
        {
            text(&read);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgABEiM0RVZneImaq7\n\
        zN3u/wARIjNEVWZ3iJmqu8zd7v+hRANCAAQA\n-----END PRIVATE KEY-----\n";

    fn secret() -> Vec<u8> {
        (0..32u8).map(|number| (number % 16) * 0x11).collect()
    }

    #[test]
    fn a_key_is_found_however_it_is_printed() {
        let mut scan = Scan::default();
        assert!(scan.key(KEY.as_bytes()));
        let secret = secret();
        let surrounded: Vec<u8> = [b"ab".as_slice(), &secret, b"cd"].concat();
        let said = [
            secret.clone(),
            HEXLOWER.encode(&secret).into_bytes(),
            format!("{:?}", bytes::Bytes::from(secret.clone())).into_bytes(),
            format!("{secret:?}").into_bytes(),
            BASE64.encode(&secret).into_bytes(),
            BASE64.encode(&surrounded).into_bytes(),
            BASE64URL_NOPAD.encode(&surrounded[1..]).into_bytes(),
        ];
        for (number, form) in said.into_iter().enumerate() {
            let text = [b"2025-07-14 INFO key=".as_slice(), &form, b" loaded\n"].concat();
            assert!(!scan.said(&text).is_empty(), "form {number}");
            assert!(scan.said(&text[..text.len() / 2]).is_empty(), "half of form {number} is none");
        }
    }

    #[test]
    fn a_key_that_nobody_kept_is_found_by_its_form_and_so_is_a_token() {
        let scan = Scan::new();
        assert!(!scan.said(KEY.as_bytes()).is_empty());
        let der = BASE64.decode(KEY.lines().skip(1).take(1).collect::<String>().as_bytes()).unwrap();
        assert!(!scan.said(format!("key: {der:?}").as_bytes()).is_empty());
        assert!(!scan.said(HEXLOWER.encode(&der).as_bytes()).is_empty());
        let token = format!("joined with lgsp-join-1.{}", "Ab3_-".repeat(20));
        assert_eq!(scan.said(token.as_bytes()), [(12, "a join token".to_owned())]);
        assert!(scan.said(b"a token begins with lgsp-join-1. and goes on").is_empty());
    }

    #[test]
    fn the_secret_of_a_token_that_the_run_made_is_found_without_its_token() {
        let until = "2026-01-01T00:00:00Z".parse().unwrap();
        let secret: [u8; 32] = secret().try_into().unwrap();
        let url = "https://gw.lgsp.hue.test:7444";
        let token = JoinToken::new(url, None, vec![[7; 32]], [1; 16], secret.into(), "mot-cua", until).unwrap();
        let mut scan = Scan::default();
        assert!(scan.key(token.to_text().as_bytes()));
        for said in [
            secret.to_vec(),
            HEXLOWER.encode(&secret).into_bytes(),
            format!("JoinRequest {{ token_secret: {:?} }}", bytes::Bytes::copy_from_slice(&secret)).into_bytes(),
            BASE64.encode(&secret).into_bytes(),
        ] {
            assert_eq!(scan.said(&said).first().map(|(_, what)| what.as_str()), Some("a join token's secret"));
        }
        assert!(scan.said(&token.id()[..]).is_empty(), "its id is told in lists");
    }

    #[test]
    fn a_webhook_secret_and_a_rest_token_are_found_however_they_are_printed() {
        let folder = tempfile::tempdir().unwrap();
        let (mine, before) = (secret(), vec![0xe7; 31].into_iter().chain([1]).collect::<Vec<u8>>());
        let lines = format!("whsec_{}\nwhsec_{}\n", BASE64.encode(&mine), BASE64.encode(&before));
        fs::write(folder.path().join("journeys-1-0000.secret"), lines).unwrap();
        fs::write(folder.path().join("journeys-1-0001.token"), "ma-truy-cap-thu-nghiem\n").unwrap();
        let mut scan = Scan::default();
        let Secrets { keys, webhook, rest } = scan.keys_in(folder.path());
        assert_eq!((keys, webhook, rest), (0, 2, 1));
        for said in [
            format!("signing with {}", BASE64.encode(&mine)),
            format!("Secrets {{ keys: [{mine:?}] }}"),
            HEXLOWER.encode(&before),
            "authorization: \"Bearer ma-truy-cap-thu-nghiem\"".to_owned(),
        ] {
            assert!(!scan.said(said.as_bytes()).is_empty(), "{said}");
        }
        // One that nobody kept, by its form; the words of a help text are none.
        let stranger = format!("--secret whsec_{}", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert_eq!(Scan::default().said(stranger.as_bytes()), [(9, "a webhook secret".to_owned())]);
        assert_eq!(Scan::default().said(b"line 1 is not whsec_ and 24 to 64 bytes in Base64"), []);
    }

    #[test]
    fn a_citizen_is_found_by_name_and_by_number_however_they_are_printed() {
        let scan = Scan::new();
        let name = "Nguyễn Thị Thử";
        let escaped: String = name.bytes().flat_map(std::ascii::escape_default).map(char::from).collect();
        for said in [
            format!("applicant={name} refused"),
            format!("body=b\"\\n\\x12{escaped}\\x18\""),
            format!("{:?}", name.as_bytes()),
            format!("path=/v1/dossiers?name={}", name.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>()),
            "Trần Văn Giả Lập Bốn Hai".to_owned(),
            "Số 12 đường Giả Lập".to_owned(),
            "HOÀNG THỊ THỬ YẾN".to_owned(),
            "Số 12 đường Diễn Tập".to_owned(),
            "number 046190000001, refused".to_owned(),
            // Nobody's in the fixtures, and a citizen's all the same.
            "number=\"001201012345\"".to_owned(),
            "call 0912345678.".to_owned(),
        ] {
            assert!(!scan.said(said.as_bytes()).is_empty(), "{said}");
        }
        for said in [
            "record 046190 of segment 0000000001.seg, 12.046291000003 s, sha256 0462910000030462910000030462910000",
            "H57.101-250714-0001 2025-07-14T09:00:00.046291000Z +0700 trace=00-046291000003046291000003-01 at 046291000003.5",
        ] {
            assert_eq!(scan.said(said.as_bytes()), [], "{said}");
        }
    }

    #[test]
    fn the_people_of_the_fixtures_are_known() {
        let people = people();
        for known in
            ["NGƯỜI KIỂM THỬ", "Trần Thị Thử", "Nguyễn Thử Nghiệm", "Nguyễn Văn Thử", "046301123456", "046190000001"]
        {
            assert!(people.contains(known), "{known} is not among {people:?}");
        }
        // A name in a program beside a field's is nobody's.
        assert_eq!(value(r#"": number, "full_name": "Trần Thị Thử""#), None);
        assert_eq!(value(r#"": "Trần Thị Thử" }"#), Some("Trần Thị Thử"));
        assert!(people.len() < 200, "{} data are not people's", people.len());
    }
}
