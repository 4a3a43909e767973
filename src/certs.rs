//! `lgsp certs`: a development CA, certificates for systems and gateways, and what a certificate says.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use lgsp_certs::{CertificateAuthority, CertificateDigest, SystemName, TrustDomain, server_name};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use crate::failure::{Failure, because};
use crate::lang::Lang;
use crate::output::{Output, print};
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  lgsp certs init ca --trust-domain lgsp.hue.test
  lgsp certs issue --ca ca --server gw.lgsp.hue.test,127.0.0.1 --out pki
  lgsp certs issue --ca ca --system mot-cua-hue --days 90 --out pki
  lgsp certs show pki/mot-cua-hue.pem";

/// A development CA and its certificates.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a new CA: ca.pem and ca.key in DIR.
    ///
    /// The key lies in the folder unprotected: for development and tests, not for a province.
    Init {
        /// The folder, made if need be. An existing CA is never overwritten.
        dir: PathBuf,
        /// The domain whose names the CA vouches for, e.g. lgsp.hue.test.
        #[arg(long, value_name = "DOMAIN")]
        trust_domain: TrustDomain,
    },
    /// Issue a certificate with a fresh key: NAME.pem and NAME.key.
    Issue(Issue),
    /// What a certificate says: identity, validity, digest.
    Show {
        /// A PEM file; of several certificates, each is shown.
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Args, Debug)]
struct Issue {
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

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Init { dir, trust_domain } => init(&dir, &trust_domain, lang)?,
            Action::Issue(issue) => issue.run(lang)?,
            Action::Show { file, output } => show(&file, output, lang)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn init(dir: &Path, trust_domain: &TrustDomain, lang: Lang) -> anyhow::Result<()> {
    CertificateAuthority::create(dir, trust_domain, SystemTime::now())
        .map_err(|error| Failure::usage(because(&error)))?;
    let dir = dir.display();
    print(lang.pick(
        format!("Đã tạo CA thử nghiệm cho {trust_domain}: {dir}/ca.pem (công khai), {dir}/ca.key (giữ kín)\n"),
        format!("Made a development CA for {trust_domain}: {dir}/ca.pem (public), {dir}/ca.key (keep it secret)\n"),
    ))?;
    Ok(())
}

impl Issue {
    fn run(self, lang: Lang) -> anyhow::Result<()> {
        let (now, validity) = (SystemTime::now(), Duration::from_secs(self.days * 24 * 60 * 60));
        let unusable = |error| Failure::usage(because(&error));
        let ca = CertificateAuthority::open(&self.ca).map_err(unusable)?;
        let (stem, issued) = match (&self.holder.system, &self.holder.server) {
            (Some(name), _) => (name.to_string(), ca.issue_system(name, validity, now).map_err(unusable)?),
            (None, names) => {
                let names = names.as_deref().unwrap_or_default();
                let parsed: Result<Vec<_>, _> = names.iter().map(|name| server_name(name.trim())).collect();
                let parsed = parsed.map_err(|error| Failure::usage(error.to_string()))?;
                // An IPv6 address has colons, which are no good in the name of a file everywhere.
                let stem = names.first().map(|name| name.trim().replace(':', "-")).unwrap_or_default();
                (stem, ca.issue_server(&parsed, validity, now).map_err(unusable)?)
            }
        };
        let dir = self.out.unwrap_or(self.ca);
        issued.write_to(&dir, &stem).map_err(unusable)?;
        let (file, until) = (dir.join(&stem), second(issued.not_after)?);
        let (file, digest) = (file.display(), issued.digest);
        print(lang.pick(
            format!("Đã cấp {file}.pem và {file}.key (giữ kín), hiệu lực đến {until}\nSHA-256 {digest}\n"),
            format!("Issued {file}.pem and {file}.key (keep it secret), valid until {until}\nSHA-256 {digest}\n"),
        ))?;
        Ok(())
    }
}

fn show(file: &Path, output: Output, lang: Lang) -> anyhow::Result<()> {
    let unusable = |problem: &str| Failure::usage(format!("{} {problem}", file.display()));
    let pem = std::fs::read(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|_| unusable("holds damaged PEM"))?;
    if chain.is_empty() {
        return Err(unusable("holds no PEM certificate"));
    }
    let facts: Option<Vec<Facts>> = chain.iter().map(Facts::read).collect();
    let facts = facts.ok_or_else(|| unusable("holds a certificate that cannot be read"))?;
    let tables = || facts.iter().map(|facts| facts.table(lang).to_string()).collect::<Vec<_>>().join("\n");
    output.print(|| facts.iter().map(Facts::json).collect(), tables)?;
    Ok(())
}

/// What people ask a certificate.
struct Facts {
    names: Vec<String>,
    is_ca: bool,
    issuer: String,
    from: Timestamp,
    until: Timestamp,
    digest: CertificateDigest,
}

impl Facts {
    fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(Self {
            names: names(&certificate),
            is_ca: certificate.is_ca(),
            issuer: certificate.issuer().to_string(),
            from: Timestamp::from_second(certificate.validity().not_before.timestamp()).ok()?,
            until: Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?,
            digest: CertificateDigest::of(der),
        })
    }

    fn is_valid(&self) -> bool {
        (self.from..=self.until).contains(&Timestamp::now())
    }

    fn json(&self) -> Value {
        json!({
            "names": self.names,
            "is_ca": self.is_ca,
            "issuer": self.issuer,
            "not_before": self.from.to_string(),
            "not_after": self.until.to_string(),
            "valid_now": self.is_valid(),
            "sha256": self.digest.to_string(),
        })
    }

    fn table(&self, lang: Lang) -> Table {
        let now = match self.is_valid() {
            true => lang.pick("đang có hiệu lực", "valid now"),
            false => lang.pick("KHÔNG có hiệu lực lúc này", "NOT valid now"),
        };
        let name = if self.is_ca { "CA" } else { lang.pick("Định danh", "Identity") };
        Table::of_pairs([
            (name, self.names.join(", ")),
            (lang.pick("Do CA cấp", "Issued by"), self.issuer.clone()),
            (lang.pick("Hiệu lực từ", "Valid from"), self.from.to_string()),
            (lang.pick("đến", "until"), format!("{} ({now})", self.until)),
            ("SHA-256", self.digest.to_string()),
        ])
    }
}

/// The names a certificate is known by, as text.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let listed = certificate.subject_alternative_name().ok().flatten();
    let listed = listed.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => (*uri).to_owned(),
        GeneralName::DNSName(dns) => (*dns).to_owned(),
        GeneralName::IPAddress([a, b, c, d]) => std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string(),
        GeneralName::IPAddress(bytes) => match <[u8; 16]>::try_from(*bytes) {
            Ok(bytes) => std::net::Ipv6Addr::from(bytes).to_string(),
            Err(_) => format!("{name}"),
        },
        other => other.to_string(),
    };
    listed.iter().map(text).collect()
}

/// To the second, as certificates have it.
fn second(time: SystemTime) -> anyhow::Result<Timestamp> {
    let time = Timestamp::try_from(time).context("a certificate's time is in the calendar")?;
    Ok(Timestamp::from_second(time.as_second())?)
}
