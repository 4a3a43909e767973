//! What the population counterpart gives a connector to call with, in the files that a connector reads it from. Made once for a folder.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use data_encoding::HEXLOWER;
use lgsp_rehearsal::population::Given;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The values of a rehearsal's headers that are no secret.
const CLIENT: &str = "VN/GOV/LGSP/REHEARSAL";
const USER: &str = "rehearsal";

/// Reads `api-key` and `secret` in the folder, or makes them, readable by their owner only. Beside them: what to tell of it, without either.
///
/// # Errors
/// A file can be neither read nor written.
pub(super) fn in_folder(dir: &Path) -> anyhow::Result<(Given, Vec<(&'static str, String)>)> {
    let [api_key_file, secret_file] = ["api-key", "secret"].map(|name| dir.join(name));
    let given = Given {
        client: CLIENT.to_owned(),
        api_key: kept(&api_key_file)?,
        user: USER.to_owned(),
        secret: kept(&secret_file)?,
    };
    let facts = vec![
        ("client", CLIENT.to_owned()),
        ("user", USER.to_owned()),
        ("api_key_file", api_key_file.display().to_string()),
        ("secret_file", secret_file.display().to_string()),
    ];
    Ok((given, facts))
}

fn kept(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(mut made) => {
            let mut random = Zeroizing::new([0; 24]);
            aws_lc_rs::rand::fill(&mut *random)?;
            let text = Zeroizing::new(HEXLOWER.encode(&*random));
            made.write_all(text.as_bytes()).map_err(|error| Failure::of_file(file, &error))?;
            Ok(text)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let text = std::fs::read_to_string(file).map_err(|error| Failure::of_file(file, &error))?;
            Ok(Zeroizing::new(text.trim().to_owned()))
        }
        Err(error) => Err(Failure::of_file(file, &error)),
    }
}
