//! The two services as the bus knows them: the list in pages that fit a reply, and one procedure.
//!
//! The pages of one list belong together: each carries the list's digest, and a page is cut from the list that was fetched for the
//! first one as long as that is here. What the national side writes as numbers or leaves out comes as texts, so that it fits the schema.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use lgsp_domain::registry::national::Listed;
use lgsp_proto::v1::{Question, ServiceRefusal};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::client::{Absent, National};
use crate::connector::source::{Source, failed};
use crate::digest::sha256;

/// Bytes of entries in one page, below what a reply may have.
const PAGE_BYTES: usize = 700 << 10;

/// `thu-tuc-danh-sach`.
pub(super) struct List {
    national: Arc<National>,
    /// The list that the pages are being cut from.
    held: Mutex<Option<Arc<Whole>>>,
}

struct Whole {
    digest: String,
    entries: Vec<Listed>,
}

/// `thu-tuc-chi-tiet`.
pub(super) struct One(pub(super) Arc<National>);

#[derive(Deserialize)]
struct ListRequest {
    #[serde(default)]
    from: usize,
    #[serde(default)]
    list: String,
}

#[derive(Serialize)]
struct Page<'a> {
    list: &'a str,
    total: usize,
    from: usize,
    procedures: &'a [Listed],
}

#[derive(Deserialize)]
struct OneRequest {
    code: String,
}

impl List {
    pub(super) fn new(national: Arc<National>) -> Self {
        Self { national, held: Mutex::default() }
    }

    /// The list of that digest if it is held, else the one of now.
    async fn whole(&self, digest: &str) -> Result<Arc<Whole>, Absent> {
        let mut held = self.held.lock().await;
        if let Some(whole) = held.as_ref().filter(|whole| whole.digest == digest) {
            return Ok(Arc::clone(whole));
        }
        let entries = self.national.list().await?;
        let bytes = serde_json::to_vec(&entries).map_err(|_| Absent::Failed("the list cannot be written"))?;
        let whole = Arc::new(Whole { digest: HEXLOWER.encode(&sha256(&bytes)), entries });
        *held = Some(Arc::clone(&whole));
        Ok(whole)
    }
}

#[async_trait]
impl Source for List {
    async fn reply(&self, question: &Question) -> Result<Bytes, ServiceRefusal> {
        let request: ListRequest = read(question)?;
        let whole = self.whole(&request.list).await.map_err(|absent| refusal(question, absent))?;
        let procedures = page(&whole.entries, request.from);
        write(question, &Page { list: &whole.digest, total: whole.entries.len(), from: request.from, procedures })
    }
}

#[async_trait]
impl Source for One {
    async fn reply(&self, question: &Question) -> Result<Bytes, ServiceRefusal> {
        let request: OneRequest = read(question)?;
        let one = self.0.one(&request.code).await.map_err(|absent| refusal(question, absent))?;
        write(question, &one)
    }
}

/// The entries from there on that fit one reply; one that is too long for any still has to be passed by.
fn page(entries: &[Listed], from: usize) -> &[Listed] {
    let rest = entries.get(from..).unwrap_or_default();
    let mut bytes = 0;
    let fits = |entry: &&Listed| {
        bytes += serde_json::to_vec(entry).map_or(PAGE_BYTES, |entry| entry.len() + 1);
        bytes < PAGE_BYTES
    };
    let count = rest.iter().take_while(fits).count();
    &rest[..count.max(1).min(rest.len())]
}

fn read<'a, T: Deserialize<'a>>(question: &'a Question) -> Result<T, ServiceRefusal> {
    serde_json::from_slice(&question.payload)
        .map_err(|_| failed(question, "the request is not of the service's schema"))
}

fn write(question: &Question, reply: &impl Serialize) -> Result<Bytes, ServiceRefusal> {
    let bytes = serde_json::to_vec(reply).map_err(|_| failed(question, "the reply cannot be written"))?;
    Ok(bytes.into())
}

fn refusal(question: &Question, absent: Absent) -> ServiceRefusal {
    match absent {
        Absent::NotFound => ServiceRefusal::NotFound,
        Absent::Maintenance => ServiceRefusal::Maintenance,
        Absent::Quota => ServiceRefusal::Quota,
        Absent::Failed(why) => failed(question, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::source::REPLY_BYTES_MAX;

    #[test]
    fn the_pages_of_a_list_fit_a_reply_and_together_are_the_list() {
        let one = |number: usize| Listed {
            code: format!("1.{number:06}"),
            name: "Thủ tục ".repeat(if number == 77 { 100_000 } else { number % 40 }),
            ..Listed::default()
        };
        let entries: Vec<Listed> = (0..5_700).map(one).collect();
        let (mut from, mut pages) = (0, 0);
        while from < entries.len() {
            let page = page(&entries, from);
            let is_the_long_one = page.len() == 1 && page[0].name.len() > PAGE_BYTES;
            assert!(serde_json::to_vec(page).unwrap().len() < REPLY_BYTES_MAX - 1024 || is_the_long_one);
            assert_eq!(page, &entries[from..from + page.len()]);
            from += page.len();
            pages += 1;
        }
        assert!((3..=8).contains(&pages) && page(&entries, from).is_empty(), "{pages}");
    }
}
