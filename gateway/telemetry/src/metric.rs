//! What a figure is, and what the figures are at one moment.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::KeyValue;

/// How a figure moves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Up and down.
    Gauge,
    /// Only up, from 0 at the start of the process unless its help says otherwise.
    Counter,
}

/// A figure, described once. Its name on the page follows from it: [`Metric::page_name`].
#[derive(Debug)]
pub struct Metric {
    /// As OpenTelemetry names it, e.g. `lgsp.gateway.dossiers`.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// In UCUM, as OpenTelemetry wants it: `s`; nothing for what is counted.
    pub unit: &'static str,
    /// What it is, in a sentence for operators.
    pub help: &'static str,
    /// The names of its labels. The values of each are a closed set.
    pub labels: &'static [&'static str],
}

impl Metric {
    /// A gauge of something that is counted, or of 0 and 1.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, unit: "", help, labels }
    }

    /// A moment, in seconds since 1970.
    pub const fn moment(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, unit: "s", help, labels }
    }

    /// A count of what happened.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, unit: "", help, labels }
    }

    /// As Prometheus calls it: with its unit, and `_total` if it is a counter.
    pub fn page_name(&self) -> String {
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{total}", crate::page::family(self.name, self.unit))
    }
}

/// The figures at one moment: what is not said is not on the page.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<&'static str, BTreeMap<Vec<String>, f64>>);

impl Figures {
    /// A figure without labels.
    pub fn tell(&mut self, metric: &'static Metric, value: f64) {
        self.tell_of(metric, [], value);
    }

    /// A figure with these labels, in the order of [`Metric::labels`].
    pub fn tell_of<'a>(&mut self, metric: &'static Metric, labels: impl IntoIterator<Item = &'a str>, value: f64) {
        *self.at(metric, labels, value) = value;
    }

    /// A moment; of several with the same labels the first.
    pub fn soonest<'a>(
        &mut self,
        metric: &'static Metric,
        labels: impl IntoIterator<Item = &'a str>,
        moment: SystemTime,
    ) {
        let moment = unix_seconds(moment);
        let told = self.at(metric, labels, moment);
        *told = told.min(moment);
    }

    /// How often each of the words of a tally was counted.
    pub fn counted(&mut self, metric: &'static Metric, tally: &crate::Tally) {
        for (word, times) in tally.each() {
            self.tell_of(metric, [word], count(times));
        }
    }

    fn at<'a>(
        &mut self,
        metric: &'static Metric,
        labels: impl IntoIterator<Item = &'a str>,
        otherwise: f64,
    ) -> &mut f64 {
        let labels: Vec<String> = labels.into_iter().map(str::to_owned).collect();
        debug_assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
        self.0.entry(metric.name).or_default().entry(labels).or_insert(otherwise)
    }

    pub(crate) fn each(&self, metric: &Metric, mut tell: impl FnMut(f64, &[KeyValue])) {
        for (values, told) in self.0.get(metric.name).into_iter().flatten() {
            let labels = metric.labels.iter().zip(values);
            let labels: Vec<_> = labels.map(|(label, value)| KeyValue::new(*label, value.clone())).collect();
            tell(*told, &labels);
        }
    }
}

/// Seconds since 1970, as every rule of Prometheus counts; less than nothing before.
pub fn unix_seconds(moment: SystemTime) -> f64 {
    match moment.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// A count as a figure. Beyond 2⁵³ the last digits are lost.
#[expect(clippy::cast_precision_loss, reason = "nothing here is counted that far")]
pub fn count(times: impl TryInto<u64>) -> f64 {
    times.try_into().unwrap_or(u64::MAX) as f64
}

/// 1 for what is so, 0 for what is not.
pub fn yes_or_no(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}
