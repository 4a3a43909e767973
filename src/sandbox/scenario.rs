//! What the simulated people do with a dossier: one act after the other, by what has happened to it so far.
//!
//! Pure: a scenario remembers nothing, so a sandbox that is started again goes on where it stood. Whose act it is, and that
//! some acts are the developer's own, is [`super::people`]'s to know. Together the scenarios hold every act of the law
//! (a test compares).

use clap::ValueEnum;
use lgsp_domain::transition::Act;
use lgsp_proto::reason::Bilingual;
use lgsp_proto::types::Status;
use serde::{Deserialize, Serialize};

/// What happens to dossiers handed in from now on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scenario {
    Normal,
    Supplement,
    Expired,
    Refused,
    Fee,
    Late,
    Paused,
    Stopped,
    Recalled,
    Withdrawn,
    Duplicate,
    Outage,
}

impl Scenario {
    /// As it is written on the command line and in a path.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Supplement => "supplement",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Fee => "fee",
            Self::Late => "late",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Recalled => "recalled",
            Self::Withdrawn => "withdrawn",
            Self::Duplicate => "duplicate",
            Self::Outage => "outage",
        }
    }

    /// What the developer gets to see.
    pub(super) const fn text(self) -> Bilingual {
        match self {
            Self::Normal => Bilingual {
                vi: "tiếp nhận, xử lý, có kết quả, trả kết quả",
                en: "accepted, processed, resolved, returned",
            },
            Self::Supplement => Bilingual {
                vi: "yêu cầu bổ sung (mẫu 02) rồi chờ nơi tiếp nhận gửi supplement_provided",
                en: "a supplement is requested (form 02); it waits for the desk's supplement_provided",
            },
            Self::Expired => Bilingual {
                vi: "yêu cầu bổ sung, hết hạn mà không có, hồ sơ không được tiếp nhận",
                en: "a supplement is requested and never comes: the term ends, the dossier is not accepted",
            },
            Self::Refused => Bilingual {
                vi: "từ chối tiếp nhận, có lý do (mẫu 03)",
                en: "refused at reception, with the reason (form 03)",
            },
            Self::Fee => Bilingual {
                vi: "yêu cầu nộp phí rồi chờ nơi tiếp nhận gửi fee_paid",
                en: "a fee is requested; it waits for the desk's fee_paid",
            },
            Self::Late => Bilingual {
                vi: "xin lỗi và gia hạn (mẫu 04), rồi vẫn trễ: các sự kiện ghi ngày về sau",
                en: "an apology and an extension (form 04), and late all the same: its events are dated ahead",
            },
            Self::Paused => Bilingual {
                vi: "có bước nội bộ (mẫu 06), tạm dừng thời hạn để giám định, rồi tính tiếp",
                en: "a step inside the authority (form 06), the clock pauses for an expertise and runs on",
            },
            Self::Stopped => Bilingual {
                vi: "dừng giải quyết, có lý do (mẫu 05)",
                en: "stopped without a result, with the reason (form 05)",
            },
            Self::Recalled => Bilingual {
                vi: "thu hồi kết quả trước khi trả, rồi có kết quả khác",
                en: "the result is recalled before it is handed out, and comes again",
            },
            Self::Withdrawn => Bilingual {
                vi: "chờ công dân rút hồ sơ: nơi tiếp nhận gửi withdrawn",
                en: "it waits for the citizen to withdraw: the desk's withdrawn",
            },
            Self::Duplicate => Bilingual {
                vi: "như normal, nhưng mỗi webhook đến hai lần với cùng id: chỉ tính một",
                en: "as normal, but every webhook comes twice with the same id: count it once",
            },
            Self::Outage => Bilingual {
                vi: "đứt đường truyền: hồ sơ kế tiếp nhận mã ngay tại chỗ; có lại đường thì được chuyển đi; rồi trục bị kill -9 và chạy lại; sau đó về normal",
                en: "the line is cut: the next dossier gets its code on the spot, and is forwarded when the line is back; then the gateway is killed and restarted; then normal again",
            },
        }
    }

    /// What happens next to a dossier in this status, after these acts; nothing when it has ended. `extendable` says
    /// whether its date may still be put off.
    pub(super) fn next(self, status: Status, before: &[Act], extendable: bool) -> Option<Act> {
        let had = |act| before.contains(&act);
        let asks = matches!(self, Self::Supplement | Self::Expired) && !had(Act::RequestSupplement);
        Some(match (status, self) {
            (Status::Registered | Status::Accepted | Status::Processing, _) if asks => Act::RequestSupplement,
            (Status::Registered, Self::Refused) => Act::Refuse,
            (Status::Registered, _) => Act::Accept,
            // Taken in at the counter of the authority itself it is accepted at once: there is nothing left to refuse.
            (Status::Accepted, Self::Refused) => Act::Stop,
            (Status::Accepted, _) => Act::StartProcessing,
            (Status::Processing, Self::Fee) if !had(Act::RequestFee) => Act::RequestFee,
            (Status::Processing, Self::Late) if extendable && !had(Act::Extend) => Act::Extend,
            (Status::Processing, Self::Paused) if !had(Act::Progress) => Act::Progress,
            (Status::Processing, Self::Paused) if !had(Act::Pause) => Act::Pause,
            (Status::Processing, Self::Paused) if !had(Act::Resume) => Act::Resume,
            (Status::Processing, Self::Stopped | Self::Refused) => Act::Stop,
            (Status::Processing, Self::Withdrawn) => Act::Withdraw,
            (Status::Processing, _) => Act::Resolve,
            (Status::SupplementRequested, Self::Expired) => Act::ExpireSupplement,
            (Status::SupplementRequested, _) => Act::ProvideSupplement,
            (Status::PaymentRequested, _) => Act::ConfirmPayment,
            (Status::Resolved, Self::Recalled) if !had(Act::RecallResult) => Act::RecallResult,
            (Status::Resolved, _) => Act::ReturnResult,
            (Status::NotAccepted | Status::Withdrawn | Status::Stopped | Status::Returned, _) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lgsp_domain::transition::{Target, row};

    use super::*;

    /// Plays a scenario through the table of the law.
    fn played(scenario: Scenario, opened: Status) -> (Vec<Act>, Status) {
        let (mut acts, mut status, mut came_from) = (vec![Act::Submit], opened, opened);
        while let Some(act) = scenario.next(status, &acts, true) {
            let row =
                row(act, Some(status)).unwrap_or_else(|| panic!("{act:?} is illegal in {status} of {scenario:?}"));
            acts.push(act);
            let to = match row.to {
                Target::Fixed(to) => to,
                Target::Resume => came_from,
                Target::Same | Target::Opening => status,
            };
            (came_from, status) = (status, to);
            assert!(acts.len() < 20, "{scenario:?} never ends: {acts:?}");
        }
        (acts, status)
    }

    #[test]
    fn every_scenario_is_legal_and_ends_wherever_the_dossier_was_handed_in() {
        for scenario in Scenario::value_variants() {
            for opened in [Status::Registered, Status::Accepted] {
                let (_, end) = played(*scenario, opened);
                let expected = match (scenario, opened) {
                    (Scenario::Refused, Status::Registered) | (Scenario::Expired, _) => Status::NotAccepted,
                    (Scenario::Refused | Scenario::Stopped, _) => Status::Stopped,
                    (Scenario::Withdrawn, _) => Status::Withdrawn,
                    _ => Status::Returned,
                };
                assert_eq!(end, expected, "{scenario:?} from {opened}");
            }
        }
    }

    #[test]
    fn together_the_scenarios_hold_every_act_of_the_law() {
        let all = Scenario::value_variants().iter().flat_map(|scenario| played(*scenario, Status::Registered).0);
        assert_eq!(all.collect::<BTreeSet<_>>(), Act::ALL.iter().copied().collect::<BTreeSet<_>>());
    }

    #[test]
    fn a_scenario_is_called_the_same_everywhere() {
        for scenario in Scenario::value_variants() {
            let word = scenario.word();
            assert_eq!(Scenario::from_str(word, false), Ok(*scenario));
            assert_eq!(serde_json::to_value(scenario).unwrap(), word);
        }
    }
}
