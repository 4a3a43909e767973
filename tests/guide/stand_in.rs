//! A stand-in for the adapter, for answers that a real one gives only after a disaster. It keeps what it was asked.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use super::line::request;

/// Status and body for a request, given as `METHOD /path?query`.
pub(crate) type Answers = fn(&str) -> (u16, String);

pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    pub(crate) fn answering(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let keeps = asked.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Some(request) = request(&client) else { continue };
                let request = String::from_utf8(request).unwrap();
                let (status, body) = answers(request.split(" HTTP/").next().unwrap());
                keeps.lock().unwrap().push(request);
                let head =
                    format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                drop((&client).write_all((head + &body).as_bytes()));
            }
        });
        Self { address, asked }
    }

    /// What it was asked since the last time, each request whole.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}
