//! `lgsp certs init|issue|list|revoke|crl --ca DIR`: a CA in a folder, where its key is, without a gateway.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::Args;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use lgsp_certs::ca::{Books, RevokedCertificate};
use lgsp_certs::{
    CaError, CertificateAuthority, CertificateFacts, RootAuthority, SystemName, TrustDomain, server_name,
};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::{Facts, certificates, second};
use crate::failure::{Failure, because};
use crate::lang::Lang;
use crate::output::{Output, print};
use crate::table::Table;

#[derive(Args, Debug)]
pub(super) struct Init {
    /// The folder of the issuing CA, made if need be. An existing CA is never overwritten.
    dir: PathBuf,
    /// The domain whose names the CA vouches for, e.g. lgsp.hue.test.
    #[arg(long, value_name = "DOMAIN", required_unless_present = "root", conflicts_with = "root")]
    trust_domain: Option<TrustDomain>,
    /// Where to put the root and its key, e.g. a medium that is then carried away; DIR/root if not given.
    #[arg(long, value_name = "DIR", conflicts_with = "root")]
    root_to: Option<PathBuf>,
    /// Make a further issuing CA of the root in this folder, to take the place of one that ends.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Issue {
    /// The CA's folder.
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    #[command(flatten)]
    holder: Holder,
    /// For how many days it is valid.
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    /// Where to write the files; the CA's folder if not given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Whom a certificate is for.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Holder {
    /// A system of the bus, by the name the registry knows it by.
    #[arg(long, value_name = "NAME")]
    system: Option<SystemName>,
    /// A gateway, by its DNS names and IP addresses. The files are named after the first.
    #[arg(long, value_name = "DNS,IP…", value_delimiter = ',')]
    server: Option<Vec<String>>,
}

/// What a CA's folder issued.
#[derive(Debug)]
pub(super) struct List {
    pub(super) ca: PathBuf,
    pub(super) expiring: Option<Days>,
    pub(super) output: Output,
}

/// One certificate of a CA's folder, for its revocation list.
#[derive(Debug)]
pub(super) struct Revoke {
    pub(super) ca: PathBuf,
    pub(super) file: PathBuf,
    pub(super) validity: ListValidity,
}

#[derive(Args, Debug)]
pub(super) struct Crl {
    /// The folder of the CA, or of its root.
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    #[command(flatten)]
    validity: ListValidity,
}

#[derive(Args, Debug)]
pub(super) struct ListValidity {
    /// After how many days readers should have a newer list.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
}

/// A time in days: `30d`, or `30`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Days(pub(super) u32);

impl FromStr for Days {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_suffix('d').unwrap_or(text).parse().map(Self).map_err(|_| "it is a number of days, e.g. 30d")
    }
}

fn unusable(error: CaError) -> anyhow::Error {
    Failure::usage(because(&error))
}

/// A file that an attempt before this one may have left, with how to go on from there.
fn in_the_way(error: CaError, dir: &Path, lang: Lang) -> anyhow::Error {
    let CaError::Exists(file) = &error else { return unusable(error) };
    let folder = file.parent().unwrap_or(Path::new(""));
    let has = |name: &str| folder.join(name).exists();
    let (dir, folder, there) = (dir.display(), folder.display(), because(&error));
    let is_root = file.ends_with("root.pem") && has("root.key");
    let hint = if is_root {
        lang.pick(
            format!("Chứng thư gốc đã có; để tạo CA cấp chứng thư từ đó: lgsp certs init {dir} --root {folder}"),
            format!("The root is there; to make the issuing CA of it: lgsp certs init {dir} --root {folder}"),
        )
    } else if (has("root.key") && !has("root.pem")) || (has("ca.key") && !has("ca.pem")) {
        lang.pick(
            format!("Khoá trong {folder} chưa có chứng thư, chưa ký gì: xoá tệp khoá đó rồi chạy lại."),
            format!("The key in {folder} has no certificate and has signed nothing: delete it, and say this again."),
        )
    } else {
        return unusable(error);
    };
    Failure::usage(format!("{there}\n  {hint}"))
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Init {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<()> {
        let now = SystemTime::now();
        let (root_dir, root) = match (self.root, &self.trust_domain) {
            (Some(dir), _) => (dir.clone(), RootAuthority::open(&dir).map_err(unusable)?),
            (None, Some(domain)) => {
                // Looked at before a root is made that would then stand alone.
                if let Some(there) =
                    ["ca.pem", "ca.key"].map(|file| self.dir.join(file)).into_iter().find(|file| file.exists())
                {
                    return Err(in_the_way(CaError::Exists(there), &self.dir, lang));
                }
                let dir = self.root_to.unwrap_or_else(|| self.dir.join("root"));
                let made = RootAuthority::create(&dir, domain, now).map_err(|error| in_the_way(error, &self.dir, lang));
                (dir, made?)
            }
            (None, None) => return Err(Failure::usage("a trust domain or a root is needed")),
        };
        let ca = root.issue_authority(&self.dir, now).map_err(|error| in_the_way(error, &self.dir, lang))?;
        for key in [self.dir.join("ca.key"), root_dir.join("root.key")] {
            warn_of_others(&key, lang);
        }
        let (dir, root_dir, domain) = (self.dir.display(), root_dir.display(), ca.trust_domain());
        let until = second(ca.not_after())?;
        print(lang.pick(
            format!(
                "CA cấp chứng thư cho {domain}: {dir}/ca.pem, {dir}/ca.key (giữ kín), hiệu lực đến {until}\n\
                 Chứng thư gốc mọi bên tin cậy: {dir}/root.pem; khóa gốc: {root_dir}/root.key, hãy cất riêng, ngoại tuyến\n"
            ),
            format!(
                "Issuing CA for {domain}: {dir}/ca.pem, {dir}/ca.key (keep it secret), valid until {until}\n\
                 Root that everybody trusts: {dir}/root.pem; its key: {root_dir}/root.key, keep that apart and offline\n"
            ),
        ))?;
        Ok(())
    }
}

impl Issue {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<()> {
        let (now, validity) = (SystemTime::now(), Duration::from_secs(self.days * 24 * 60 * 60));
        let ca = CertificateAuthority::open(&self.ca).map_err(unusable)?;
        let names = self.holder.server.as_deref().unwrap_or_default();
        // An IPv6 address has colons, which are no good in the name of a file everywhere.
        let of_server = || names.first().map(|name| name.trim().replace(':', "-")).unwrap_or_default();
        let stem = self.holder.system.as_ref().map_or_else(of_server, ToString::to_string);
        let dir = self.out.unwrap_or(self.ca);
        // Looked at first: what is issued stands in the CA's list, also when its files could then not be written.
        for ending in ["pem", "key"] {
            let file = dir.join(format!("{stem}.{ending}"));
            if file.exists() {
                return Err(unusable(CaError::Exists(file)));
            }
        }
        let issued = match &self.holder.system {
            Some(name) => ca.issue_system(name, validity, now).map_err(unusable)?,
            None => {
                let parsed: Result<Vec<_>, _> = names.iter().map(|name| server_name(name.trim())).collect();
                let parsed = parsed.map_err(|error| Failure::usage(error.to_string()))?;
                ca.issue_server(&parsed, validity, now).map_err(unusable)?
            }
        };
        issued.write_to(&dir, &stem).map_err(unusable)?;
        warn_of_others(&dir.join(format!("{stem}.key")), lang);
        let (file, until) = (dir.join(&stem), second(issued.not_after)?);
        let (file, digest) = (file.display(), issued.digest);
        print(lang.pick(
            format!("Đã cấp {file}.pem và {file}.key (giữ kín), hiệu lực đến {until}\nSHA-256 {digest}\n"),
            format!("Issued {file}.pem and {file}.key (keep it secret), valid until {until}\nSHA-256 {digest}\n"),
        ))?;
        Ok(())
    }
}

/// Says so when a key that was made for its owner alone can be read by others all the same.
fn warn_of_others(key: &Path, lang: Lang) {
    if is_open_to_others(key) {
        let key = key.display();
        eprintln!(
            "{}",
            lang.pick(
                format!(
                    "Chú ý: nơi lưu này không giữ được quyền tệp, người khác trên máy đọc được {key}; \
                     hãy gắn lại cho riêng chủ tệp (umask=077)"
                ),
                format!(
                    "Warning: this medium keeps no modes, so others on this machine can read {key}; \
                     mount it for its owner only (umask=077)"
                ),
            )
        );
    }
}

/// On FAT and exFAT the mode is what the mount says, whatever was asked for.
fn is_open_to_others(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
}

impl List {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<()> {
        let books = Books::of(&self.ca);
        let revoked = books.revoked().map_err(unusable)?;
        let issued = books.issued().map_err(unusable)?;
        // Its own end, and its root's, is the end of all the others.
        let own = ["ca.pem", "root.pem"].map(|file| self.ca.join(file)).into_iter().filter(|file| file.exists());
        let own: Vec<_> = own.map(|file| Ok(certificates(&file)?.remove(0))).collect::<anyhow::Result<_>>()?;
        if issued.is_empty() && own.is_empty() {
            return Err(Failure::usage(format!("{} is not the folder of a CA", self.ca.display())));
        }
        let mut listed: Vec<_> = issued.iter().filter_map(|der| Listed::read(der, &revoked)).collect();
        // Whether they are revoked is in the books of their issuer.
        listed.extend(own.iter().filter_map(|der| Listed::read(der, &[])));
        listed.sort_by_key(|entry| entry.facts.until);
        if let Some(Days(days)) = self.expiring {
            let end = Timestamp::try_from(SystemTime::now() + DAY * days)?;
            listed.retain(|entry| entry.state() == State::InForce && entry.facts.until <= end);
        }
        let table = || {
            let mut table = Table::new(match lang {
                Lang::Vi => ["Định danh", "Đến", "Trạng thái", "SHA-256"],
                Lang::En => ["Identity", "Until", "State", "SHA-256"],
            });
            for entry in &listed {
                let facts = &entry.facts;
                let state = entry.state().text(lang).to_owned();
                table.row([facts.holder(), facts.until.to_string(), state, facts.digest.to_string()]);
            }
            match table.is_empty() {
                true => lang.pick("Không có chứng thư nào.\n", "There is no such certificate.\n").to_owned(),
                false => table.to_string(),
            }
        };
        self.output.print(|| listed.iter().map(Listed::json).collect(), table)?;
        Ok(())
    }
}

/// One line of the list.
struct Listed {
    facts: Facts,
    revoked_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum State {
    InForce,
    Ended,
    Revoked,
}

impl State {
    fn text(self, lang: Lang) -> &'static str {
        match self {
            Self::InForce => lang.pick("còn hiệu lực", "in force"),
            Self::Ended => lang.pick("đã hết hạn", "expired"),
            Self::Revoked => lang.pick("ĐÃ THU HỒI", "REVOKED"),
        }
    }
}

impl Listed {
    fn read(der: &CertificateDer<'_>, revoked: &[RevokedCertificate]) -> Option<Self> {
        let facts = Facts::read(der)?;
        let revoked = revoked.iter().find(|revoked| revoked.serial == facts.serial);
        let revoked_at = revoked.and_then(|revoked| Timestamp::try_from(revoked.at).ok());
        Some(Self { facts, revoked_at })
    }

    fn state(&self) -> State {
        match self.revoked_at {
            Some(_) => State::Revoked,
            None if self.facts.until < Timestamp::now() => State::Ended,
            None => State::InForce,
        }
    }

    fn json(&self) -> Value {
        let mut value = self.facts.json();
        value["state"] = State::text(self.state(), Lang::En).to_lowercase().replace(' ', "_").into();
        value["revoked_at"] = json!(self.revoked_at.map(|at| at.to_string()));
        value
    }
}

impl Revoke {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<()> {
        let certificate = certificates(&self.file)?.remove(0);
        let file = publish(&self.ca, Some(&certificate), self.validity.days)?;
        let of = Facts::read(&certificate).map(|facts| facts.holder()).unwrap_or_default();
        let key = CertificateFacts::read(&certificate).map(|facts| HEXLOWER.encode(&facts.key_sha256));
        let (key, dir, file) = (key.unwrap_or_default(), self.ca.display(), file.display());
        let told = if is_root(&self.ca) {
            lang.pick(
                "Hãy chép tệp này vào thư mục mà [ca] dir của cổng chỉ tới: cổng dùng ngay, các bộ kết nối nhận từ cổng khi hỏi lại \
                 hoặc tham gia. Trước đó chứng thư của cổng phải do CA khác cấp.\n"
                    .to_owned(),
                "Copy it into the folder that the gateway's [ca] dir leads to: it counts there at once, and adapters are told when \
                 they next ask or join. The gateway's own certificate must be by another CA before.\n"
                    .to_owned(),
            )
        } else {
            let again = format!("lgsp certs revoke --key-sha256 {key} --ground WORD --profile FILE");
            lang.pick(
                format!(
                    "Cổng dùng ngay danh sách này và báo cho các bộ kết nối nếu [ca] dir của cổng đang hoặc đã từng chỉ tới {dir}; \
                     nếu không, hãy nêu tệp ở crl của [[tls.trust]]. Chứng thư khác của cùng khoá vẫn dùng được; để chặn chính \
                     khoá ấy, báo ngay cho trục đang chạy:\n  {again}\n"
                ),
                format!(
                    "The gateway takes it up at once, and tells adapters, if its [ca] dir leads to {dir} or once did; otherwise name \
                     the file as crl of [[tls.trust]]. Another certificate for the same key stays good; a bus that runs is told to \
                     put the key itself out by\n  {again}\n"
                ),
            )
        };
        print(lang.pick(
            format!("Đã thu hồi chứng thư của {of}. Danh sách thu hồi: {file}\n{told}"),
            format!("Revoked the certificate of {of}. Revocation list: {file}\n{told}"),
        ))?;
        Ok(())
    }
}

impl Crl {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<()> {
        let file = publish(&self.ca, None, self.validity.days)?;
        let (file, days) = (file.display(), self.validity.days);
        print(lang.pick(
            format!("Đã ghi danh sách thu hồi {file}; cần danh sách mới trong vòng {days} ngày\n"),
            format!("Wrote the revocation list {file}; a newer one is due within {days} days\n"),
        ))?;
        Ok(())
    }
}

/// Whether the folder is that of a root, and not of an issuing CA.
fn is_root(dir: &Path) -> bool {
    !dir.join("ca.pem").exists() && dir.join("root.key").exists()
}

/// Writes the list of the CA, or the root, in `dir`.
fn publish(dir: &Path, certificate: Option<&CertificateDer<'_>>, days: u64) -> anyhow::Result<PathBuf> {
    let now = SystemTime::now();
    let until = now + Duration::from_secs(days * 24 * 60 * 60);
    let written = if is_root(dir) {
        RootAuthority::open(dir).and_then(|root| root.revoke(certificate, now, until))
    } else {
        CertificateAuthority::open(dir).and_then(|ca| ca.revoke(certificate, now, until))
    };
    written.map_err(unusable)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use super::*;

    #[test]
    fn a_key_that_others_can_read_is_noticed_and_one_that_only_its_owner_can_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("root.key");
        write(&key, "a key").unwrap();
        // As a memory stick is mostly mounted: for everybody, or for a group.
        for (mode, is_open) in [(0o755, true), (0o640, true), (0o600, false), (0o700, false)] {
            set_permissions(&key, Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_open_to_others(&key), is_open, "{mode:o}");
        }
    }
}
