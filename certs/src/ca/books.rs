//! What a CA's folder remembers: every certificate it issued (`issued/<serial>.der`) and what was revoked (`revoked`, and
//! from it the list `*.crl` for the others).
//!
//! A certificate is in the folder before anybody gets it. A revocation is a line in `revoked`, serial in hex and Unix
//! seconds, before the list says so; two processes that revoke at once wait for each other.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;

use super::{CaError, make_folder, write};
use crate::files::PUBLIC;
use crate::{hex, x509};

/// The memory of one CA's folder. Reading it needs no key.
#[derive(Clone, Debug)]
pub struct Books {
    dir: PathBuf,
}

/// A certificate that is out of force, as a revocation list names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RevokedCertificate {
    /// Its serial number, big-endian, as in the certificate.
    pub serial: Vec<u8>,
    /// Since when.
    pub at: SystemTime,
}

impl Books {
    /// Those of the CA in `dir`, issuing or root.
    pub fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Every certificate that was issued into files here, in the order of their ends. Those signed over the bus are
    /// the gateway's to list.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read, or is no certificate.
    pub fn issued(&self) -> Result<Vec<CertificateDer<'static>>, CaError> {
        let dir = self.dir.join("issued");
        let unreadable = |file: &Path, source| CaError::File { file: file.to_owned(), source };
        let mut found = Vec::new();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(&dir, error)),
        };
        for entry in entries {
            let file = entry.map_err(|error| unreadable(&dir, error))?.path();
            // Drafts of an interrupted write have another ending.
            if file.extension().is_none_or(|extension| extension != "der") {
                continue;
            }
            let der = CertificateDer::from(std::fs::read(&file).map_err(|error| unreadable(&file, error))?);
            let end = x509::parse(&der).map(|parsed| parsed.validity().not_after.timestamp());
            let end = end.map_err(|_| CaError::Content { file, problem: "is not a certificate" })?;
            found.push((end, der));
        }
        found.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.as_ref().cmp(b.1.as_ref())));
        Ok(found.into_iter().map(|(_, der)| der).collect())
    }

    /// What was revoked here, in the order it was.
    ///
    /// # Errors
    /// When the file cannot be read, or has a line that is none of ours.
    pub fn revoked(&self) -> Result<Vec<RevokedCertificate>, CaError> {
        let file = self.revoked_file();
        match std::fs::read_to_string(&file) {
            Ok(text) => self.parse(&text).map(|(revoked, _)| revoked),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(CaError::File { file, source }),
        }
    }

    pub(super) fn record(&self, der: &[u8], serial: &[u8]) -> Result<(), CaError> {
        let dir = self.dir.join("issued");
        make_folder(&dir)?;
        write(&dir.join(format!("{}.der", hex::encode(serial))), der, PUBLIC)
    }

    /// Notes a serial as revoked, if it is not noted yet, and calls `publish` with all that are, while no other process can
    /// revoke here. Gives back since when it is.
    pub(super) fn revoke<T>(
        &self,
        serial: Option<&[u8]>,
        now: SystemTime,
        publish: impl FnOnce(&[RevokedCertificate]) -> Result<T, CaError>,
    ) -> Result<T, CaError> {
        let path = self.revoked_file();
        let failed = |source| CaError::File { file: path.clone(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let (mut revoked, whole) = self.parse(&text)?;
        if let Some(serial) = serial.filter(|serial| revoked.iter().all(|known| known.serial != *serial)) {
            let seconds = now.duration_since(UNIX_EPOCH).map_err(|_| CaError::Time)?.as_secs();
            revoked.push(RevokedCertificate { serial: serial.into(), at: UNIX_EPOCH + Duration::from_secs(seconds) });
            append(&mut file, whole, &format!("{} {seconds}\n", hex::encode(serial))).map_err(failed)?;
        }
        publish(&revoked)
    }

    /// The lines, and how many bytes they take. What is behind the last line feed was being written when somebody
    /// stopped: nobody was told that it is revoked.
    fn parse(&self, text: &str) -> Result<(Vec<RevokedCertificate>, u64), CaError> {
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let line = |line: &str| {
            let (serial, seconds) = line.split_once(' ')?;
            let at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))?;
            Some(RevokedCertificate { serial: hex::decode(serial)?, at })
        };
        let revoked: Option<Vec<_>> = text[..whole].lines().map(line).collect();
        let problem = "has a line that is not a serial number in hex and a time in seconds";
        let revoked = revoked.ok_or_else(|| CaError::Content { file: self.revoked_file(), problem })?;
        Ok((revoked, whole as u64))
    }

    fn revoked_file(&self) -> PathBuf {
        self.dir.join("revoked")
    }
}

fn append(file: &mut File, at: u64, line: &str) -> std::io::Result<()> {
    file.set_len(at)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(line.as_bytes())?;
    file.sync_all()
}
