//! The page: what the SDK has read, in OpenMetrics 1.0 or in the text form of Prometheus 0.0.4.
//!
//! Both by the rules of OpenTelemetry for Prometheus: points become underscores, a unit that Prometheus knows is the end of the name,
//! a counter ends in `_total`. Gauges and sums are all that [`crate::Telemetry`] makes.

use std::fmt::Write as _;

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics};

/// Which of the forms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Prometheus 0.0.4, which everybody reads.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// A page and what it is.
#[derive(Debug)]
pub struct Page {
    /// For the header `Content-Type`.
    pub content_type: &'static str,
    /// The page.
    pub body: String,
}

impl Format {
    /// What a caller with this header `Accept` gets: OpenMetrics where it is wanted at least as much as plain text.
    pub fn for_accept(accept: Option<&str>) -> Self {
        let ranges: Vec<_> = accept.unwrap_or_default().split(',').map(Range::read).collect();
        let wanted = |kind: &str| {
            let of_kind = ranges.iter().filter(|range| range.kind.eq_ignore_ascii_case(kind) && range.is_ours);
            of_kind.map(|range| range.weight).fold(0.0, f64::max)
        };
        let openmetrics = wanted("application/openmetrics-text");
        if openmetrics > 0.0 && openmetrics >= wanted("text/plain") { Self::OpenMetrics } else { Self::Text }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One of the things in an `Accept`.
struct Range<'a> {
    kind: &'a str,
    weight: f64,
    /// Of a version that we write, or of none.
    is_ours: bool,
}

impl<'a> Range<'a> {
    fn read(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self { kind: parts.next().unwrap_or_default(), weight: 1.0, is_ours: true };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "q" => range.weight = value.trim().parse().unwrap_or(0.0),
                "version" => range.is_ours = matches!(value.trim().trim_matches('"'), "0.0.4" | "1.0.0"),
                _ => {}
            }
        }
        range
    }
}

pub(crate) fn written(read: &ResourceMetrics, format: Format) -> Page {
    let mut body = String::new();
    write_target(&mut body, read, format);
    let mut metrics: Vec<&Metric> = read.scope_metrics().flat_map(|scope| scope.metrics()).collect();
    metrics.sort_by_key(|metric| metric.name().to_owned());
    for metric in metrics {
        write_metric(&mut body, metric, format);
    }
    if format == Format::OpenMetrics {
        body += "# EOF\n";
    }
    Page { content_type: format.content_type(), body }
}

/// Which process of which version this is.
fn write_target(body: &mut String, read: &ResourceMetrics, format: Format) {
    let mut labels: Vec<_> =
        read.resource().iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    // The SDK has them in any order.
    labels.sort_by(|one, other| one.key.cmp(&other.key));
    let (family, kind) = match format {
        Format::Text => ("target_info", "gauge"),
        Format::OpenMetrics => ("target", "info"),
    };
    write_head(body, family, kind, "", "Which process this is, and of which version.", format);
    write_sample(body, "target_info", labels.iter(), 1.0);
}

fn write_metric(body: &mut String, metric: &Metric, format: Format) {
    let samples: (bool, Vec<(f64, Vec<&KeyValue>)>) = match metric.data() {
        AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
            (false, gauge.data_points().map(|point| (point.value(), point.attributes().collect())).collect())
        }
        AggregatedMetrics::F64(MetricData::Sum(sum)) => {
            (sum.is_monotonic(), sum.data_points().map(|point| (point.value(), point.attributes().collect())).collect())
        }
        _ => return,
    };
    let (counts, mut samples) = samples;
    if samples.is_empty() {
        return;
    }
    let family = family(metric.name(), metric.unit());
    let kind = if counts { "counter" } else { "gauge" };
    let name = if counts { format!("{family}_total") } else { family.clone() };
    // Plain Prometheus knows the name of the series only, OpenMetrics that of the family.
    let head = if format == Format::Text { &name } else { &family };
    write_head(body, head, kind, suffix(metric.unit()), metric.description(), format);
    for (_, labels) in &mut samples {
        labels.sort_by(|one, other| one.key.cmp(&other.key));
    }
    samples.sort_by_key(|(_, labels)| labels.iter().map(|label| label.value.to_string()).collect::<Vec<_>>());
    for (value, labels) in samples {
        write_sample(body, &name, labels, value);
    }
}

fn write_head(body: &mut String, family: &str, kind: &str, unit: &str, help: &str, format: Format) {
    let mut line = |what: &str, said: &str| {
        let _ = writeln!(body, "# {what} {family} {said}");
    };
    line("TYPE", kind);
    if format == Format::OpenMetrics && !unit.is_empty() {
        line("UNIT", unit);
    }
    let help = help.replace('\\', r"\\").replace('\n', r"\n");
    line("HELP", &if format == Format::OpenMetrics { help.replace('"', "\\\"") } else { help });
}

fn write_sample<'a>(body: &mut String, name: &str, labels: impl IntoIterator<Item = &'a KeyValue>, value: f64) {
    let label = |label: &KeyValue| {
        let value = label.value.to_string();
        let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        format!("{}=\"{value}\"", underscored(label.key.as_str()))
    };
    let labels: Vec<_> = labels.into_iter().map(label).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    // Writing to a string does not fail.
    let _ = writeln!(body, "{name}{labels} {value}");
}

/// What a figure is called without the ending of a counter.
pub(crate) fn family(name: &str, unit: &str) -> String {
    match suffix(unit) {
        "" => underscored(name),
        unit => format!("{}_{unit}", underscored(name)),
    }
}

fn suffix(unit: &str) -> &'static str {
    match unit {
        "s" => "seconds",
        "By" => "bytes",
        _ => "",
    }
}

fn underscored(name: &str) -> String {
    name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::{Figures, Metric as Described, Tally, Telemetry};

    static ENDS: Described = Described::moment("lgsp.ends.timestamp", &["what", "of"], "When it ends, \"really\".");
    static TURNED_AWAY: Described = Described::counter("lgsp.turned_away", &["reason"], "How often.");
    static READY: Described = Described::gauge("lgsp.ready", &[], "Whether it is.");
    static ALL: &[&[&Described]] = &[&[&ENDS, &TURNED_AWAY], &[&READY]];

    fn figures(ends: &[(&str, u64)]) -> Figures {
        let mut figures = Figures::default();
        for (what, seconds) in ends {
            figures.soonest(&ENDS, [*what, "x"], UNIX_EPOCH + Duration::from_secs(*seconds));
        }
        let tally = Tally::of(["late", "broken"]);
        tally.count("late");
        figures.counted(&TURNED_AWAY, &tally);
        figures
    }

    #[test]
    fn openmetrics_is_written_as_the_standard_has_it() {
        let telemetry = Telemetry::new("lgsp-test", "1.2.3", ALL);
        let page = telemetry
            .page(figures(&[("b", 15), ("b", 10), ("a\"\n\\", 1_800_000_000), ("b", 20)]), Format::OpenMetrics);
        assert_eq!(
            page.body,
            "# TYPE target info\n\
             # HELP target Which process this is, and of which version.\n\
             target_info{service_name=\"lgsp-test\",service_version=\"1.2.3\"} 1\n\
             # TYPE lgsp_ends_timestamp_seconds gauge\n\
             # UNIT lgsp_ends_timestamp_seconds seconds\n\
             # HELP lgsp_ends_timestamp_seconds When it ends, \\\"really\\\".\n\
             lgsp_ends_timestamp_seconds{of=\"x\",what=\"a\\\"\\n\\\\\"} 1800000000\n\
             lgsp_ends_timestamp_seconds{of=\"x\",what=\"b\"} 10\n\
             # TYPE lgsp_turned_away counter\n\
             # HELP lgsp_turned_away How often.\n\
             lgsp_turned_away_total{reason=\"broken\"} 0\n\
             lgsp_turned_away_total{reason=\"late\"} 1\n\
             # EOF\n"
        );
        assert_eq!(page.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let plain = telemetry.page(figures(&[]), Format::Text);
        assert!(plain.body.contains("# TYPE lgsp_turned_away_total counter\n"), "{}", plain.body);
        assert!(!plain.body.contains("UNIT") && !plain.body.contains("EOF"));
    }

    #[test]
    fn what_is_told_no_more_is_not_on_the_page() {
        let telemetry = Telemetry::new("lgsp-test", "1.2.3", ALL);
        let look = |figures| telemetry.page(figures, Format::Text).body;
        assert!(look(figures(&[("a", 1), ("b", 2)])).contains("what=\"a\""));
        let after = look(figures(&[("b", 2)]));
        assert!(!after.contains("what=\"a\"") && after.contains("what=\"b\""), "{after}");
        assert!(!look(Figures::default()).contains("lgsp_"));
    }

    #[test]
    fn a_system_more_than_the_sdk_takes_by_itself_has_a_series_of_its_own() {
        static OF_SYSTEMS: Described = Described::gauge("lgsp.open", &[crate::SYSTEM], "Open.");
        static ONE: &[&[&Described]] = &[&[&OF_SYSTEMS]];
        let telemetry = Telemetry::new("lgsp-test", "1.2.3", ONE);
        let mut figures = Figures::default();
        for system in 0..3000 {
            figures.tell_of(&OF_SYSTEMS, [&*format!("s{system}")], 1.0);
        }
        let page = telemetry.page(figures, Format::Text).body;
        assert_eq!(page.lines().filter(|line| line.starts_with("lgsp_open{system=\"s")).count(), 3000);
        assert!(!page.contains("overflow"));
    }

    #[test]
    fn who_asks_for_openmetrics_gets_it_and_everybody_else_plain_text() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            (Some(prometheus), Format::OpenMetrics),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some("application/openmetrics-text; version=1.0.0; charset=utf-8"), Format::OpenMetrics),
            (Some("text/plain, application/openmetrics-text;q=0.4"), Format::Text),
            (Some("application/openmetrics-text;q=0"), Format::Text),
            (Some("application/openmetrics-text;version=0.0.1"), Format::Text),
            (Some("*/*"), Format::Text),
            (Some(";;,=,q"), Format::Text),
            (None, Format::Text),
        ] {
            assert_eq!(Format::for_accept(accept), format, "{accept:?}");
        }
    }
}
