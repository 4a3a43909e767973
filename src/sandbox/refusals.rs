//! Requests of the developer's that the gateway refused: no dossier's event tells of them, so the adapter is asked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

use super::asking::until_answered;
use super::people::{BY_US, People};
use super::place::DEVELOPER;

/// How often the adapter is asked.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many of the latest refusals are looked at.
const LATEST: u32 = 50;

/// Shows every refusal from now on, until the sandbox ends.
///
/// # Errors
/// The adapter answers something unexpected.
pub(super) async fn tell(people: Arc<People>) -> anyhow::Result<()> {
    let mut known: Option<HashSet<String>> = None;
    loop {
        let list = ask(&people, &format!("/v1/requests?state=refused&page_size={LATEST}")).await?;
        let Some(requests) = list["requests"].as_array() else { bail!("no list of requests: {list}") };
        let keys = requests.iter().filter_map(|request| request["request_key"].as_str());
        let keys: HashSet<String> = keys.map(str::to_owned).collect();
        // Those of an earlier start have been told.
        let before = known.get_or_insert_with(|| keys.clone());
        for key in keys.difference(before).filter(|key| !key.starts_with(BY_US)) {
            show(&people, key).await?;
        }
        before.extend(keys);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn show(people: &People, key: &str) -> anyhow::Result<()> {
    let request = ask(people, &format!("/v1/requests/{key}")).await?;
    let (problem, lang) = (&request["problem"], people.live.lang());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let what = text(&problem[lang.pick("message_vi", "title")]);
    let fields = problem["fields"].as_array().into_iter().flatten();
    let fields = fields.map(|field| format!(" {} {};", text(&field["field"]), text(&field["problem"])));
    let what = format!("{what}{}", fields.collect::<String>());
    people.live.refused(key, &text(&problem["reason"]), &what, &text(&problem["remedy"][lang.pick("vi", "en")]));
    Ok(())
}

async fn ask(people: &People, path: &str) -> anyhow::Result<Value> {
    let mut headers = HeaderMap::new();
    headers.insert("lgsp-party", HeaderValue::from_static(DEVELOPER));
    let asked = (Method::GET, path);
    let (_, answer) = until_answered(&people.developers, &people.live, asked, headers, Bytes::new()).await;
    Ok(serde_json::from_slice(&answer)?)
}
