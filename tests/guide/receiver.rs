//! The receiver of docs/examples, and what a stranger may send to it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::ROOT;

/// Killed when dropped.
struct Receiver(Child);

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_stranger_who_posts_nonsense_to_the_receiver_is_answered_and_not_read() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("secrets"), "whsec_bWEtdGh1LTAxMjM0NTY3ODk=\n").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut python = Command::new("python3");
    python.arg(format!("{ROOT}/docs/examples/python/receiver.py")).args(["secrets", &port.to_string()]);
    let python = python.current_dir(place.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let _receiver = Receiver(python.spawn().unwrap());
    let since = std::time::Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(since.elapsed() < super::window::PATIENCE, "the receiver does not listen");
        std::thread::yield_now();
    }

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
    let long = "9".repeat(5_000);
    // "²" is one byte of a header, as the receiver reads it.
    let posts: [(&str, &[u8], &[u8], &str); 6] = [
        ("2", b"\xb2", b"v1,x", "401"),
        ("2", long.as_bytes(), b"v1,x", "401"),
        ("2", now.as_bytes(), b"v1,\xb2", "401"),
        ("99999999999", now.as_bytes(), b"v1,x", "413"),
        ("-1", now.as_bytes(), b"v1,x", "413"),
        ("x", now.as_bytes(), b"v1,x", "413"),
    ];
    for (length, sent, signature, expected) in posts {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(super::window::PATIENCE)).unwrap();
        let head = format!("POST / HTTP/1.1\r\ncontent-length: {length}\r\nwebhook-id: a\r\nwebhook-timestamp: ");
        let parts = [head.as_bytes(), sent, b"\r\nwebhook-signature: ", signature, b"\r\n\r\n{}"];
        stream.write_all(&parts.concat()).unwrap();
        let mut answer = String::new();
        let read = BufReader::new(&stream).read_line(&mut answer);
        assert!(answer.contains(expected), "{length} {sent:?} {signature:?}: {read:?} {answer}");
    }
}
