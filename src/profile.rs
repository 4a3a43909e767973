//! The connection profile: which gateway, by which certificate, in whose name. From a file, the environment and flags; a flag
//! wins over the environment, and that over the file. Every problem is told at once, and before anything is sent.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::Args;
use jiff::Timestamp;
use lgsp_adapters::link::{Address, BadGatewayUrl, Link, Profile, Timings};
use lgsp_certs::{CertificateFacts, Credentials, TlsFiles, Usage};
use lgsp_proto::types::Malformed;
use serde::Deserialize;

use crate::failure::{Failure, because};

/// From when on the end of a certificate is told.
const ENDS_SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// How to reach a gateway, and in whose name.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Profile: a TOML file with the keys gateway, server_name, certificate, key, bundle, crl, party, actor.
    #[arg(long, value_name = "FILE", env = "LGSP_PROFILE")]
    profile: Option<PathBuf>,
    /// The gateway, https://HOST:PORT.
    #[arg(long, value_name = "URL", env = "LGSP_GATEWAY")]
    gateway: Option<String>,
    /// The name in the gateway's certificate, when it is not the URL's host.
    #[arg(long, value_name = "NAME", env = "LGSP_SERVER_NAME")]
    server_name: Option<String>,
    /// Certificate of the system, PEM.
    #[arg(long, value_name = "FILE", env = "LGSP_CERTIFICATE")]
    certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", env = "LGSP_KEY")]
    key: Option<PathBuf>,
    /// The CA certificates the gateway's must chain to, PEM.
    #[arg(long, value_name = "FILE", env = "LGSP_BUNDLE")]
    bundle: Option<PathBuf>,
    /// Revocation lists about certificates of gateways, PEM or DER.
    #[arg(long, value_name = "FILE,…", value_delimiter = ',', env = "LGSP_CRL")]
    crl: Vec<PathBuf>,
    /// The party in whose name calls are made, e.g. H57.101.
    #[arg(long = "as", value_name = "PARTY", env = "LGSP_PARTY")]
    party: Option<String>,
    /// The clerk's account; never a person's name.
    #[arg(long, value_name = "ID", env = "LGSP_ACTOR")]
    actor: Option<String>,
}

/// The profile file. Paths in it are relative to its own folder.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    gateway: Option<String>,
    server_name: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    bundle: Option<PathBuf>,
    #[serde(default)]
    crl: Vec<PathBuf>,
    party: Option<String>,
    actor: Option<String>,
}

impl Connection {
    /// Reads the profile and prepares the link. Nothing is sent before the first call. Must run inside a Tokio runtime.
    pub(crate) fn open(&self) -> anyhow::Result<(Profile, Link)> {
        let (profile, link, credentials) = self.open_to_renew()?;
        if let Ok(facts) = CertificateFacts::read(credentials.certificate())
            && let Some(warning) = warning(&facts, SystemTime::now(), self.profile.as_deref())
        {
            eprintln!("{}: {warning}", profile.address.tls.certificate.display());
        }
        Ok((profile, link))
    }

    /// As [`Connection::open`], with what was loaded, and without a word on when the certificate ends.
    pub(crate) fn open_to_renew(&self) -> anyhow::Result<(Profile, Link, Credentials)> {
        let (profile, lists) = self.profile()?;
        let now = SystemTime::now();
        let loaded = profile.address.tls.load(Usage::Client, now);
        let loaded = loaded.and_then(|credentials| credentials.with_revocation_lists(&lists));
        let credentials = loaded.map_err(|error| Failure::of_tls_file(&error))?;
        let link = Link::with(&profile.address, &credentials).map_err(|error| Failure::usage(because(&error)))?;
        Ok((profile, link, credentials))
    }

    /// The profile, checked, and the files of revocation lists.
    fn profile(&self) -> anyhow::Result<(Profile, Vec<PathBuf>)> {
        let file = self.profile.as_deref().map(File::read).transpose()?.unwrap_or_default();
        let mut problems = Problems(Vec::new());
        let gateway = problems.parse("gateway", self.gateway.clone().or(file.gateway), bad_url);
        let certificate = problems.need("certificate", self.certificate.clone().or(file.certificate));
        let key = problems.need("key", self.key.clone().or(file.key));
        let bundle = problems.need("bundle", self.bundle.clone().or(file.bundle));
        let acting_party = problems.parse("party", self.party.clone().or(file.party), Malformed::vietnamese);
        let actor = problems.parse("actor", self.actor.clone().or(file.actor), Malformed::vietnamese);
        let server_name = self.server_name.clone().or(file.server_name);
        match (gateway, certificate, key, bundle, acting_party, actor) {
            (Some(gateway), Some(certificate), Some(key), Some(bundle), Some(acting_party), Some(actor)) => {
                let tls = TlsFiles { certificate, key, bundle };
                let address = Address { gateway, server_name, tls, timings: Timings::default() };
                let lists = if self.crl.is_empty() { file.crl } else { self.crl.clone() };
                Ok((Profile { address, acting_party, actor }, lists))
            }
            _ => {
                let [vi, en] = [0, 1].map(|lang| problems.0.iter().map(|texts| &*texts[lang]).collect::<Vec<_>>());
                Err(Failure::usage_in(vi.join("\n"), en.join("\n")))
            }
        }
    }
}

impl File {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let unusable = |vi: &str, problem: &dyn std::fmt::Display| {
            let path = path.display();
            Failure::usage_in(format!("hồ sơ kết nối {path} {vi}: {problem}"), format!("profile {path}: {problem}"))
        };
        let text = std::fs::read_to_string(path).map_err(|error| Failure::of_file(path, &error))?;
        let file = toml::from_str(&text).map_err(|error| unusable("không phải TOML hợp lệ hoặc có khoá lạ", &error));
        let mut file: Self = file?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let File { certificate, key, bundle, crl, .. } = &mut file;
        for file in [certificate, key, bundle].into_iter().flatten().chain(crl) {
            *file = folder.join(&*file);
        }
        Ok(file)
    }
}

/// What to say about a certificate that ends soon: within 30 days, and with two thirds of its life behind it. Somebody whose own
/// has ended cannot make himself another.
fn warning(facts: &CertificateFacts, now: SystemTime, profile: Option<&Path>) -> Option<String> {
    let left = facts.not_after.duration_since(now).unwrap_or_default();
    let life = facts.not_after.duration_since(facts.not_before).unwrap_or_default();
    let until = Timestamp::try_from(facts.not_after).ok()?;
    let profile = profile.map(|file| format!(" --profile {}", file.display())).unwrap_or_default();
    (left < ENDS_SOON && left < life / 3).then(|| {
        format!(
            "chứng thư hết hạn lúc {until}; hãy gia hạn trước lúc đó / the certificate ends at {until}; renew it before that: \
             lgsp certs renew{profile}"
        )
    })
}

/// What is wrong or missing, each with where to give it, in Vietnamese and English.
struct Problems(Vec<[String; 2]>);

impl Problems {
    fn need<T>(&mut self, name: &str, given: Option<T>) -> Option<T> {
        if given.is_none() {
            let (flag, variable) = (if name == "party" { "as" } else { name }, name.to_uppercase());
            self.0.push([
                format!(
                    "{name} còn thiếu: nêu bằng --{flag}, LGSP_{variable}, hoặc {name} = \"…\" trong hồ sơ kết nối"
                ),
                format!("{name} is missing: give --{flag}, LGSP_{variable}, or {name} = \"…\" in the profile"),
            ]);
        }
        given
    }

    fn parse<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &str,
        given: Option<String>,
        vietnamese: impl FnOnce(&T::Err) -> String,
    ) -> Option<T> {
        let text = self.need(name, given)?;
        let parsed = text.parse().map_err(|problem| {
            self.0.push([format!("{name} {text:?} {}", vietnamese(&problem)), format!("{name} {text:?} {problem}")]);
        });
        parsed.ok()
    }
}

fn bad_url(problem: &BadGatewayUrl) -> String {
    let text = match problem {
        BadGatewayUrl::Form => "không phải địa chỉ dạng https://máy:cổng",
        BadGatewayUrl::Scheme => "không bắt đầu bằng https://",
        BadGatewayUrl::TooMuch => "có nhiều hơn máy và cổng; cần dạng https://máy:cổng",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    use lgsp_certs::CertificateAuthority;

    const NOTHING: Connection = Connection {
        profile: None,
        gateway: None,
        server_name: None,
        certificate: None,
        key: None,
        bundle: None,
        crl: Vec::new(),
        party: None,
        actor: None,
    };

    #[test]
    fn everything_missing_or_malformed_is_told_at_once() {
        let connection =
            Connection { gateway: Some("http://gw".into()), actor: Some("Nguyễn Văn A".into()), ..NOTHING };
        let text = connection.profile().unwrap_err().to_string();
        for name in ["gateway", "certificate", "key", "bundle", "party", "actor"] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} in {text}");
        }
        assert_eq!(text.lines().count(), 6, "{text}");
    }

    #[test]
    fn a_flag_wins_over_the_file_and_paths_are_relative_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("desk.toml");
        let text = "gateway = \"https://gw:7443\"\ncertificate = \"a.pem\"\nkey = \"a.key\"\nbundle = \"/etc/ca.pem\"\n\
                    crl = [\"gw.crl\"]\n\
                    party = \"H57.101\"\nactor = \"nv.an\"\n";
        std::fs::write(&path, text).unwrap();
        let connection = Connection { profile: Some(path), party: Some("H57.102".into()), ..NOTHING };
        let (profile, lists) = connection.profile().unwrap();
        assert_eq!(profile.acting_party.to_string(), "H57.102");
        assert_eq!(profile.address.tls.certificate, folder.path().join("a.pem"));
        assert_eq!(profile.address.tls.bundle, Path::new("/etc/ca.pem"));
        assert_eq!(lists, [folder.path().join("gw.crl")]);
    }

    #[test]
    fn a_slip_of_the_pen_in_the_file_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("desk.toml");
        std::fs::write(&path, "gatewey = \"https://gw:7443\"\n").unwrap();
        let error = Connection { profile: Some(path), ..NOTHING }.profile().unwrap_err();
        assert!(error.to_string().contains("gatewey"), "{error}");
    }

    #[test]
    fn the_end_of_a_certificate_is_told_thirty_days_before_and_not_all_its_life() {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let begin = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let warns = |life: u32, after: u32| {
            let facts = CertificateFacts {
                key_sha256: [0; 32],
                issuer: String::new(),
                not_before: begin,
                not_after: begin + life * DAY,
                hosts: Vec::new(),
            };
            warning(&facts, begin + after * DAY, Some(Path::new("operator.toml")))
        };
        for (life, after, told) in
            [(365, 300, false), (365, 335, false), (365, 336, true), (365, 364, true), (30, 20, false), (30, 21, true)]
        {
            let warning = warns(life, after);
            assert_eq!(warning.is_some(), told, "{after} of {life}");
            let names_it = |text: String| text.ends_with("lgsp certs renew --profile operator.toml");
            assert!(warning.is_none_or(names_it), "{after} of {life}");
        }
    }

    #[test]
    fn revocation_lists_of_a_profile_are_loaded_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let ca = CertificateAuthority::create(folder.path(), &"lgsp.hue.test".parse().unwrap(), now).unwrap();
        let day = Duration::from_secs(24 * 3600);
        ca.issue_system(&"van-hanh".parse().unwrap(), day, now).unwrap().write_to(folder.path(), "a").unwrap();
        let path = folder.path().join("desk.toml");
        let text = "gateway = \"https://gw:7443\"\ncertificate = \"a.pem\"\nkey = \"a.key\"\nbundle = \"root.pem\"\n\
                    crl = [\"gw.crl\"]\nparty = \"H57.101\"\nactor = \"nv.an\"\n";
        std::fs::write(&path, text).unwrap();
        let error = Connection { profile: Some(path), ..NOTHING }.open().unwrap_err();
        assert!(error.to_string().contains("gw.crl"), "{error}");
    }
}
