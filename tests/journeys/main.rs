//! Whole journeys through real processes: `lgsp gateway`, `lgsp adapter`, mutual TLS between them, and REST and webhooks
//! towards stand-ins for the agencies' own software.
//!
//! - [`dossier_life`]: a dossier from the desk that takes it in to the desk that hands it back.
//! - [`gateway_killed`]: the gateway dies under load, again and again; what was answered holds.
//! - [`restored`]: the gateway's disk is lost, a backup restored; what the agencies have receipts for comes back.
//! - [`adapter_killed`]: the adapter dies between its 202 and the gateway's answer; the effect is had once.
//! - [`by_folder`]: the same life by files alone, adapters killed between any two steps; the effect is had once.
//! - [`by_portal`]: dossiers are kept in step with a national portal that misbehaves, the adapter killed between any two steps.
//! - [`by_tables`]: the same life by rows alone, adapters and the database killed between any two steps; the effect is had once.
//! - [`line_cut`]: ten communes go on without a line for a day's worth of dossiers; in the end the books are equal.
//! - [`exception`]: a code given out without a line in vain is worked off by a clerk.
//! - [`privacy`]: everything is logged and much goes wrong; no citizen and no key is found in what was said.
//! - [`rotation`]: leafs, the gateway's certificate, the issuing CA and the root are exchanged under load; no call fails.
//! - [`revoked`]: a stolen key is out within seconds, and its system back with a new token and all that it kept.
//! - [`metrics`]: what Prometheus finds in the figures, and when its rules fire.
//! - [`parked`]: a refused delivery waits for a person; a lost disk's deliveries come again.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod agency;
mod http;
#[path = "../support/line.rs"]
mod line;
mod place;
#[path = "../support/postgres.rs"]
mod postgres;

mod adapter_killed;
mod by_folder;
mod by_portal;
mod by_tables;
mod dossier_life;
mod exception;
mod gateway_killed;
mod line_cut;
mod listed;
mod metrics;
mod parked;
mod privacy;
mod restored;
mod revoked;
mod rotation;

use std::future::Future;
use std::time::Duration;

/// Nothing here takes longer, on a machine that has other things to do as well; a journey that is stuck says so.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits for something, but not for ever.
async fn within<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Looks again and again until `look` gives something: for states that nobody announces.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    within(what, async {
        loop {
            again.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    })
    .await
}
