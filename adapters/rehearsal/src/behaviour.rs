//! The script of a rehearsal: what the counterpart does to the requests, phase by phase.
//!
//! Owns reading and writing it and which phase a request falls into. What a behaviour looks like on the wire is, beside slowness and
//! broken lines, the counterpart's.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The most requests of one phase: more than anybody sends, and far too few for a script's phases to add up past a `u64`.
const REQUESTS_MAX: u64 = 1_000_000_000;

/// How a counterpart treats a request.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Behaviour {
    /// As it should.
    Normal,
    /// As it should, and late.
    Slow(Slowness),
    /// In turns: the line breaks after the work, 502 after the work, the line breaks before it, and as it should; then in another order.
    Flaky,
    /// The answer is not what the description of the system says.
    WrongSchema,
    /// The answer to an earlier request, or the same twice.
    Duplicate,
    /// Closed for maintenance, and saying so.
    Maintenance,
    /// Whoever was logged in is not any more.
    ExpiredSession,
    /// As it should by a clock of its own, which is ahead by so many minutes.
    ClockSkew(u32),
}

/// How late an answer is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Slowness {
    /// So many times what the counterpart usually takes.
    Times(u32),
    /// By so much.
    By(Duration),
}

/// A script, e.g. `normal:20,slow(50x):20,maintenance`: phases with the number of requests each is for. The last one without a number
/// goes on for ever.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Script(Vec<Phase>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Phase {
    behaviour: Behaviour,
    /// `None` is for ever.
    requests: Option<u64>,
}

/// A script that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadScript {
    /// There is no such behaviour.
    #[error(
        "'{0}' is no behaviour; there are normal, slow(50x), slow(2000ms), flaky, wrong-schema, duplicate, maintenance, expired-session, clock-skew(10m)"
    )]
    Behaviour(String),
    /// The number of requests is none, or more than anybody sends.
    #[error("'{0}' is not a number of requests from 1 to 1000000000")]
    Requests(String),
    /// What comes after it would never be reached.
    #[error("only the last phase may go on for ever; give '{0}' a number of requests, e.g. {0}:20")]
    NeverOver(Behaviour),
}

impl Behaviour {
    /// Its name without figures, a word that never changes: for reports and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Slow(_) => "slow",
            Self::Flaky => "flaky",
            Self::WrongSchema => "wrong-schema",
            Self::Duplicate => "duplicate",
            Self::Maintenance => "maintenance",
            Self::ExpiredSession => "expired-session",
            Self::ClockSkew(_) => "clock-skew",
        }
    }
}

impl Script {
    /// One behaviour for ever.
    pub fn always(behaviour: Behaviour) -> Self {
        Self(vec![Phase { behaviour, requests: None }])
    }

    /// How request number `request` is treated, counted from 0; `None` when the script is over by then.
    pub fn at(&self, request: u64) -> Option<Behaviour> {
        let mut before = 0;
        for phase in &self.0 {
            let Some(requests) = phase.requests else { return Some(phase.behaviour) };
            before += requests;
            if request < before {
                return Some(phase.behaviour);
            }
        }
        None
    }

    /// The requests after which it is over; `None` if it never is.
    pub fn requests(&self) -> Option<u64> {
        self.0.iter().map(|phase| phase.requests).sum()
    }

    /// The behaviours that come in it, each once.
    pub fn behaviours(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.0.iter().map(|phase| phase.behaviour.name()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl FromStr for Behaviour {
    type Err = BadScript;

    fn from_str(text: &str) -> Result<Self, BadScript> {
        let unknown = || BadScript::Behaviour(text.to_owned());
        if let Some(figure) = text.strip_prefix("slow(").and_then(|rest| rest.strip_suffix(')')) {
            let slowness = if let Some(times) = figure.strip_suffix('x') {
                Slowness::Times(times.parse().ok().filter(|times| *times > 0).ok_or_else(unknown)?)
            } else {
                let by = figure.strip_suffix("ms").and_then(|by| by.parse().ok()).ok_or_else(unknown)?;
                Slowness::By(Duration::from_millis(by))
            };
            return Ok(Self::Slow(slowness));
        }
        if let Some(figure) = text.strip_prefix("clock-skew(").and_then(|rest| rest.strip_suffix("m)")) {
            return figure.parse().map(Self::ClockSkew).map_err(|_| unknown());
        }
        match text {
            "normal" => Ok(Self::Normal),
            "flaky" => Ok(Self::Flaky),
            "wrong-schema" => Ok(Self::WrongSchema),
            "duplicate" => Ok(Self::Duplicate),
            "maintenance" => Ok(Self::Maintenance),
            "expired-session" => Ok(Self::ExpiredSession),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow(Slowness::Times(times)) => write!(f, "slow({times}x)"),
            Self::Slow(Slowness::By(by)) => write!(f, "slow({}ms)", by.as_millis()),
            Self::ClockSkew(minutes) => write!(f, "clock-skew({minutes}m)"),
            other => f.write_str(other.name()),
        }
    }
}

impl FromStr for Script {
    type Err = BadScript;

    fn from_str(text: &str) -> Result<Self, BadScript> {
        let mut phases = Vec::new();
        for phase in text.split(',').map(str::trim) {
            let (behaviour, requests) = match phase.split_once(':') {
                None => (phase, None),
                Some((behaviour, number)) => {
                    let requests = number.parse().ok().filter(|requests| (1..=REQUESTS_MAX).contains(requests));
                    (behaviour, Some(requests.ok_or_else(|| BadScript::Requests(number.to_owned()))?))
                }
            };
            phases.push(Phase { behaviour: behaviour.parse()?, requests });
        }
        let (_, but_last) = phases.split_last().ok_or_else(|| BadScript::Behaviour(text.to_owned()))?;
        if let Some(endless) = but_last.iter().find(|phase| phase.requests.is_none()) {
            return Err(BadScript::NeverOver(endless.behaviour));
        }
        Ok(Self(phases))
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, phase) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{}", phase.behaviour)?;
            if let Some(requests) = phase.requests {
                write!(f, ":{requests}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_as_it_is_written_and_leads_from_phase_to_phase() {
        let text = "normal:2,slow(50x):1,slow(2000ms):1,flaky:1,wrong-schema:1,duplicate:1,expired-session:1,clock-skew(10m):1,maintenance";
        let script: Script = text.parse().unwrap();
        assert_eq!(script.to_string(), text);
        let names: Vec<_> = (0..11).map(|request| script.at(request).unwrap().to_string()).collect();
        let all = "normal normal slow(50x) slow(2000ms) flaky wrong-schema duplicate expired-session clock-skew(10m) maintenance maintenance";
        assert_eq!(names.join(" "), all);
        assert_eq!(script.requests(), None);
        let ends: Script = "normal:2, flaky:3".parse().unwrap();
        assert_eq!((ends.requests(), ends.at(4), ends.at(5)), (Some(5), Some(Behaviour::Flaky), None));
        assert_eq!(ends.behaviours(), ["flaky", "normal"]);
    }

    #[test]
    fn a_number_of_requests_that_nobody_could_ever_send_is_refused_instead_of_added_up() {
        for number in ["18446744073709551615", "1000000001"] {
            let refused = format!("normal:{number},normal:1").parse::<Script>();
            assert_eq!(refused, Err(BadScript::Requests(number.to_owned())));
        }
        let most: Script = "normal:1000000000,flaky:1".parse().unwrap();
        assert_eq!((most.requests(), most.at(1_000_000_000)), (Some(1_000_000_001), Some(Behaviour::Flaky)));
    }

    #[test]
    fn a_script_that_cannot_be_read_says_what_is_wrong_with_it() {
        let wrong = |text: &str| text.parse::<Script>().unwrap_err();
        for unknown in ["", "quick", "normal:2,", "slow", "slow(0x)", "slow(2s)", "slow(x)", "clock-skew(1h)"] {
            assert!(matches!(wrong(unknown), BadScript::Behaviour(_)), "{unknown}");
        }
        assert_eq!(wrong("normal:0"), BadScript::Requests("0".to_owned()));
        assert_eq!(wrong("flaky,normal:2"), BadScript::NeverOver(Behaviour::Flaky));
    }
}
