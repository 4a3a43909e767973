//! `lgsp certs`: a CA in a folder, certificates for systems and gateways, and what a certificate says; over the bus, join tokens,
//! the books of certificates, and revocation.

mod folder;
mod list;
mod renew;
mod revoke;
mod token;
mod withdraw;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use lgsp_certs::CertificateDigest;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use crate::failure::Failure;
use crate::lang::Lang;
use crate::output::Output;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  lgsp certs init ca --trust-domain lgsp.hue.test --root-to /media/root
  lgsp certs issue --ca ca --server gw.lgsp.hue.test,127.0.0.1 --out pki
  lgsp certs issue --ca ca --system mot-cua-hue --days 90 --out pki
  lgsp certs show pki/mot-cua-hue.pem
  lgsp certs list --ca ca --expiring 30d
  lgsp certs revoke --ca ca pki/gw.lgsp.hue.test.pem
  lgsp certs init ca-2030 --root /media/root

Over the bus, as an operator:
  lgsp certs token --system mot-cua-xa-moi --acts-for H57.130 --profile operator.toml
  lgsp certs list --expiring 30d --profile operator.toml
  lgsp certs withdraw 5f0c93d1 --profile operator.toml
  lgsp certs renew --profile operator.toml
  lgsp certs revoke --system mot-cua-xa-moi --ground KEY_STOLEN --profile operator.toml";

/// A CA and its certificates.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a CA: a root, and an issuing CA of it in DIR (ca.pem, ca.key, root.pem).
    ///
    /// Everybody's bundle is root.pem. The root's key is needed for a further issuing CA only, and can stay offline until then.
    /// Both keys lie in their folders unprotected but for their mode, 0600; where a file system keeps no modes, as on a
    /// memory stick, that is said.
    Init(folder::Init),
    /// Issue a certificate with a fresh key: NAME.pem and NAME.key.
    Issue(folder::Issue),
    /// Issue a join token: with it an agency gets its certificate by one command, once.
    Token(token::Token),
    Renew(renew::Renew),
    /// Take back a join token that was not spent.
    Withdraw(withdraw::Withdraw),
    /// Certificates by when they expire, and open tokens: as the bus knows them, or what a CA's folder issued (--ca).
    List(list::List),
    /// What a certificate says: identity, validity, digests.
    Show {
        /// A PEM file; of several certificates, each is shown.
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Put out of force, for good: on the bus a certificate, a key or all of a system; or, with --ca, a certificate by the
    /// CA's revocation list.
    Revoke(revoke::Revoke),
    /// Write the revocation list anew, before it gets old.
    Crl(folder::Crl),
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Init(init) => init.run(lang)?,
            Action::Issue(issue) => issue.run(lang)?,
            Action::Token(token) => return crate::block_on(token.run(lang)),
            Action::Renew(renew) => return crate::block_on(renew.run(lang)),
            Action::Withdraw(withdraw) => return crate::block_on(withdraw.run(lang)),
            Action::List(list) => return list.run(lang),
            Action::Show { file, output } => show(&file, output, lang)?,
            Action::Revoke(revoke) => return revoke.run(lang),
            Action::Crl(crl) => crl.run(lang)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(file: &Path, output: Output, lang: Lang) -> anyhow::Result<()> {
    let facts: Option<Vec<Facts>> = certificates(file)?.iter().map(Facts::read).collect();
    let facts =
        facts.ok_or_else(|| Failure::usage(format!("{} holds a certificate that cannot be read", file.display())))?;
    let tables = || facts.iter().map(|facts| facts.table(lang).to_string()).collect::<Vec<_>>().join("\n");
    output.print(|| facts.iter().map(Facts::json).collect(), tables)?;
    Ok(())
}

/// The certificates in a PEM file: at least one.
fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let unusable = |problem: &str| Failure::usage(format!("{} {problem}", file.display()));
    let pem = std::fs::read(file).map_err(|error| Failure::of_file(file, &error))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|_| unusable("holds damaged PEM"))?;
    if chain.is_empty() { Err(unusable("holds no PEM certificate")) } else { Ok(chain) }
}

/// What people ask a certificate.
struct Facts {
    names: Vec<String>,
    is_ca: bool,
    issuer: String,
    from: Timestamp,
    until: Timestamp,
    digest: CertificateDigest,
    serial: Vec<u8>,
    key: CertificateDigest,
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
            serial: certificate.raw_serial().to_vec(),
            // The digest of a key is made and printed like that of a certificate.
            key: CertificateDigest::of(certificate.public_key().raw),
        })
    }

    /// Whose it is, in one cell.
    fn holder(&self) -> String {
        let names = self.names.join(", ");
        if self.is_ca { format!("CA {names}") } else { names }
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
            "serial": HEXLOWER.encode(&self.serial),
            "sha256": self.digest.to_string(),
            "key_sha256": self.key.to_string(),
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
            (lang.pick("SHA-256 của khóa", "SHA-256 of the key"), self.key.to_string()),
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

/// Reads so many bytes, written as hexadecimal digits.
fn hex<const BYTES: usize>(text: &str) -> Result<[u8; BYTES], String> {
    let bytes = HEXLOWER.decode(text.to_ascii_lowercase().as_bytes()).ok();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| format!("it is {} hexadecimal digits", 2 * BYTES))
}
