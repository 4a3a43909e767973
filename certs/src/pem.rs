//! PEM text for what this package writes (RFC 7468); reading is done by `rustls-pki-types`.
//!
//! Written here because key text must be wiped: nothing in this module copies its input into memory that is not.

use zeroize::Zeroizing;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// 48 bytes make a line of 64 characters.
const BYTES_PER_LINE: usize = 48;

pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let lines = der.len().div_ceil(BYTES_PER_LINE);
    // Room for all of it at once: a string that grows would leave pieces of a key behind.
    let room = der.len().div_ceil(3) * 4 + lines + 2 * ("-----BEGIN -----\n".len() + label.len());
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in der.chunks(BYTES_PER_LINE) {
        line.chunks(3).for_each(|group| push_group(&mut text, group));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    debug_assert!(text.len() <= room);
    text
}

/// Appends the four characters that stand for one to three bytes.
fn push_group(text: &mut String, group: &[u8]) {
    let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    for i in 0..4 {
        let sextet = (bits >> (18 - 6 * i)) & 0x3f;
        text.push(if i <= group.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    #[test]
    fn the_vectors_of_rfc_4648_come_out() {
        for (bytes, expected) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            let text = encode("X", bytes.as_bytes());
            assert_eq!(*text, format!("-----BEGIN X-----\n{expected}\n-----END X-----\n"));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(der in proptest::collection::vec(any::<u8>(), 1..300)) {
            let text = encode("CERTIFICATE", &der);
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            let read = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            prop_assert_eq!(read.as_ref(), der.as_slice());
        }
    }
}
