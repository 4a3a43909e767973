//! Questions to an adapter that must have an answer: one that is too busy, or does not answer just now, is asked again with
//! the same bytes. That it has ended is noticed where the processes are looked after; a refusal is an answer.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::live::Live;
use crate::staging::http::Client;

/// How long an adapter is left alone before it is asked again.
const LEFT_ALONE: Duration = Duration::from_millis(500);

/// The adapter's answer, whenever it comes. That it is waited for is shown once.
pub(super) async fn until_answered(
    adapter: &Client,
    live: &Live,
    (method, path): (Method, &str),
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Bytes) {
    let mut told = false;
    loop {
        let why = match adapter.send(method.clone(), path, headers.clone(), body.clone()).await {
            Ok((status, answer)) if !status.is_server_error() => return (status, answer),
            Ok((status, answer)) => format!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer)),
            Err(error) => format!("{method} {error:#}"),
        };
        if !std::mem::replace(&mut told, true) {
            live.note(
                "asked_again",
                format!("sandbox hỏi lại bộ kết nối cho đến khi được trả lời: {why}"),
                format!("the sandbox asks the adapter again until it answers: {why}"),
            );
        }
        tokio::time::sleep(LEFT_ALONE).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::lang::Lang;

    #[tokio::test]
    async fn the_same_is_sent_until_it_is_answered_and_a_refusal_is_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let adapter = Client::new(&listener.local_addr().unwrap().to_string());
        let answers = ["", "503 Service Unavailable", "500 Internal Server Error", "409 Conflict"];
        let served = tokio::spawn(async move {
            let mut seen = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"the body") {
                    assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
                }
                seen.push(request);
                // The first connection is lost without an answer.
                if !answer.is_empty() {
                    let answer = format!("HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 2\r\n\r\nso");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
            seen
        });
        let live = Live::new(Lang::En, true, CancellationToken::new());
        let body = Bytes::from_static(b"the body");
        let asked = until_answered(&adapter, &live, (Method::POST, "/v1/dossiers"), HeaderMap::new(), body).await;
        assert_eq!(asked, (StatusCode::CONFLICT, Bytes::from_static(b"so")));
        let seen = served.await.unwrap();
        assert!(seen.iter().all(|request| *request == seen[0]), "the same bytes, or it is another request");
    }
}
