//! What a scenario does to the bus itself, as against the people on it: the outage, and dates that lie ahead.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Method};
use lgsp_domain::transition::Act;
use serde::Deserialize;

use super::asking::until_answered;
use super::gateway::Orders;
use super::line::Line;
use super::people::{Ahead, People};
use super::place::NEIGHBOUR;
use super::scenario::Scenario;

/// How often the developer's adapter is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who directs.
pub(super) struct Director {
    pub(super) people: Arc<People>,
    pub(super) gateway: Orders,
    /// The developer's line, and that of everybody else.
    pub(super) lines: Arc<[Line; 2]>,
    /// How long line and gateway stay away.
    pub(super) outage: Duration,
}

/// What an adapter says about itself.
#[derive(Deserialize)]
struct Status {
    outgoing: Outgoing,
    offline: Offline,
}

#[derive(Deserialize)]
struct Outgoing {
    waiting: u64,
}

#[derive(Deserialize)]
struct Offline {
    line_down: bool,
    numbers: Vec<Numbers>,
}

#[derive(Deserialize)]
struct Numbers {
    authority: String,
    left: u32,
}

impl Director {
    /// Directs until the sandbox ends.
    ///
    /// # Errors
    /// The developer's adapter does not say how it is.
    pub(super) async fn direct(self) -> anyhow::Result<()> {
        let (mut scenario, mut ahead) = (self.people.scenario.subscribe(), self.people.ahead.subscribe());
        loop {
            let dates = *ahead.borrow_and_update();
            if dates == Ahead::Wanted {
                self.look_ahead().await;
            }
            let wanted = *scenario.borrow_and_update();
            if wanted == Scenario::Outage {
                tokio::select! {
                    ended = self.outage() => ended?,
                    // Another one is wanted: the line must not stay cut for it.
                    _ = scenario.changed() => scenario.mark_changed(),
                }
                self.mend().await?;
            }
            tokio::select! {
                changed = scenario.changed() => changed?,
                changed = ahead.changed() => changed?,
            }
        }
    }

    /// Late dossiers have their events dated ahead, which an ordinary gateway refuses: from here on this one does not.
    async fn look_ahead(&self) {
        self.gateway.look_ahead().await;
        self.people.ahead.send_replace(Ahead::Taken);
        self.people.live.note(
            "far_ahead",
            "trục đã chạy lại; từ đây đến hết lần chạy này nó nhận cả ngày giờ ở tương lai, trục thật thì từ chối (TIME_AHEAD)",
            "the gateway was restarted; until the sandbox ends it takes dates ahead, which a real one refuses (TIME_AHEAD)",
        );
    }

    /// The line is cut until a request has waited for a while; then the gateway is killed over the next dossier accepted.
    async fn outage(&self) -> anyhow::Result<()> {
        let live = &self.people.live;
        self.until(|status| {
            status.offline.numbers.iter().any(|numbers| numbers.authority == NEIGHBOUR && numbers.left > 0)
        })
        .await?;
        self.lines[0].cut();
        self.until(|status| status.offline.line_down).await?;
        live.note(
            "line_cut",
            "đứt đường truyền giữa bộ kết nối của bạn và trục: hãy nộp một hồ sơ, câu trả lời có mã ngay",
            "the line between your adapter and the gateway is cut: hand in a dossier, its answer holds a code at once",
        );
        let accepted = self.people.has_come(Scenario::Outage, Act::Accept);
        tokio::pin!(accepted);
        self.until(|status| status.outgoing.waiting > 0).await?;
        live.note(
            "waiting",
            "một yêu cầu đang chờ trong bộ kết nối của bạn, chưa đến trục",
            "a request waits in your adapter, and is not with the gateway yet",
        );
        tokio::time::sleep(self.outage).await;
        self.mend().await?;
        accepted.await;
        live.note(
            "gateway_killed",
            "trục bị kill -9; những gì đã trả lời vẫn còn",
            "the gateway is killed with kill -9; what it answered is not lost",
        );
        let ahead = *self.people.ahead.borrow() == Ahead::Taken;
        self.gateway.kill(self.outage, ahead).await;
        live.note("gateway_back", "trục chạy lại", "the gateway runs again");
        let ordinary = |scenario: &mut Scenario| {
            let ends = *scenario == Scenario::Outage;
            if ends {
                *scenario = Scenario::Normal;
            }
            ends
        };
        if self.people.scenario.send_if_modified(ordinary) {
            live.note("scenario", "kịch bản trở về normal", "the scenario is normal again");
        }
        Ok(())
    }

    /// Has the line lead to the gateway again, if it is cut.
    async fn mend(&self) -> anyhow::Result<()> {
        if self.lines[0].mend() {
            self.until(|status| !status.offline.line_down).await?;
            self.people.live.note(
                "line_back",
                "đường truyền có lại, hồ sơ được chuyển đi",
                "the line is back, what waited is forwarded",
            );
        }
        Ok(())
    }

    /// Waits until the developer's adapter is like that: a level, not an edge.
    async fn until(&self, is_so: impl Fn(&Status) -> bool) -> anyhow::Result<()> {
        let (adapter, live) = (&self.people.developers, &self.people.live);
        loop {
            let asked = (Method::GET, "/status");
            let (status, answer) = until_answered(adapter, live, asked, HeaderMap::new(), Bytes::new()).await;
            let said = serde_json::from_slice::<Status>(&answer);
            if is_so(&said.with_context(|| format!("/status answered {status}"))?) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
