//! A line between a client and the adapter that loses one message, at the worst moment there is.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

/// What gets lost.
#[derive(Clone, Copy)]
pub(crate) enum Lost {
    /// The adapter has done it, and the client never hears so.
    Answer,
    /// The client has said it, and the adapter never hears it.
    Request,
}

/// The line; it loses the first call to its path, and is a good line before and after.
pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    lost: Receiver<TcpStream>,
}

impl Line {
    pub(crate) fn losing(lost: Lost, path: &'static str, adapter: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, receiver) = channel();
        let (adapter, done) = (adapter.trim_start_matches("http://").to_owned(), Arc::new(AtomicBool::new(false)));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (adapter, sender, done) = (adapter.clone(), sender.clone(), done.clone());
                std::thread::spawn(move || {
                    let Some(request) = request(&client) else { return };
                    let is_it = request.starts_with(format!("POST {path} ").as_bytes());
                    let loses = is_it && !done.swap(true, Ordering::SeqCst);
                    let answer = match (loses, lost) {
                        (true, Lost::Request) => Vec::new(),
                        _ => ask(&adapter, &request),
                    };
                    match loses {
                        true => drop(sender.send(client)),
                        // Who has gone meanwhile does not need it.
                        false => drop((&client).write_all(&answer)),
                    }
                });
            }
        });
        Self { address, lost: receiver }
    }

    /// Waits until the message is lost. The client waits as long as what is given here is kept.
    pub(crate) fn lost(&self) -> TcpStream {
        self.lost.recv_timeout(super::window::PATIENCE).unwrap()
    }
}

/// One request, which asks for the connection to be closed after it.
pub(crate) fn request(client: &TcpStream) -> Option<Vec<u8>> {
    let (mut reader, mut head, mut length) = (BufReader::new(client), String::new(), 0);
    loop {
        let from = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        let line = head[from..].to_ascii_lowercase();
        if line == "\r\n" {
            break;
        }
        if line.starts_with("connection:") {
            head.truncate(from);
        } else if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    head.insert_str(head.len() - 2, "connection: close\r\n");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some([head.into_bytes(), body].concat())
}

fn ask(adapter: &str, request: &[u8]) -> Vec<u8> {
    let mut adapter = TcpStream::connect(adapter).unwrap();
    adapter.write_all(request).unwrap();
    let mut answer = Vec::new();
    adapter.read_to_end(&mut answer).unwrap();
    answer
}
