//! The text that Prometheus reads (its text format, version 0.0.4): for each name what it is, and then its samples.

use crate::protocol::admin::HistogramView;
use std::fmt::{Display, Write};

/// What tells the samples of a name apart.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// What the numbers of a histogram are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scale {
    Micros,
    Millis,
    Bytes,
}

impl Scale {
    /// The powers of two that are told.
    fn tells(self, power: u32) -> bool {
        match self {
            Scale::Micros => power >= 5,
            Scale::Millis => true,
            Scale::Bytes => power >= 7,
        }
    }

    /// What the values below a power of two do not exceed.
    fn bound(self, power: u32) -> f64 {
        let power = (1u64 << power.min(62)) as f64;
        match self {
            // Parts of a unit are cut off.
            Scale::Micros | Scale::Millis => self.show(power),
            Scale::Bytes => power - 1.0,
        }
    }

    fn show(self, value: f64) -> f64 {
        match self {
            Scale::Micros => value / 1e6,
            Scale::Millis => value / 1e3,
            Scale::Bytes => value,
        }
    }
}

/// The text so far.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl From<Text> for String {
    fn from(Text(text): Text) -> String {
        text
    }
}

impl Text {
    pub(super) fn counter(&mut self, name: &str, help: &str) {
        self.head(name, help, "counter");
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str) {
        self.head(name, help, "gauge");
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str) {
        self.head(name, help, "histogram");
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// A value.
    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.line(name, labels, None, value);
    }

    /// The values of a histogram.
    pub(super) fn buckets(&mut self, name: &str, labels: Labels<'_>, of: &HistogramView, scale: Scale) {
        let bucket = format!("{name}_bucket");
        for (power, below) in of.below.iter().filter(|(power, _)| scale.tells(*power)) {
            self.line(&bucket, labels, Some(&scale.bound(*power)), below);
        }
        self.line(&bucket, labels, Some(&"+Inf"), of.count);
        self.line(&format!("{name}_sum"), labels, None, scale.show(of.sum as f64));
        self.line(&format!("{name}_count"), labels, None, of.count);
    }

    fn line(&mut self, name: &str, labels: Labels<'_>, bound: Option<&dyn Display>, value: impl Display) {
        self.0 += name;
        let mut open = '{';
        for (label, value) in labels {
            self.push(format_args!("{open}{label}=\"{}\"", escaped(value)));
            open = ',';
        }
        if let Some(bound) = bound {
            self.push(format_args!("{open}le=\"{bound}\""));
            open = ',';
        }
        if open == ',' {
            self.0.push('}');
        }
        self.push(format_args!(" {value}\n"));
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // A text in memory takes all.
        let _ = self.0.write_fmt(text);
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut text = Text::default();
        text.counter("a_total", "What it is.");
        text.sample("a_total", &[], 7);
        text.sample("a_total", &[("queue", "x\"y\\\n"), ("state", "dead")], 1.5);
        assert_eq!(
            String::from(text),
            "# HELP a_total What it is.\n# TYPE a_total counter\na_total 7\n\
             a_total{queue=\"x\\\"y\\\\\\n\",state=\"dead\"} 1.5\n"
        );
    }

    #[test]
    fn buckets_are_in_the_units_of_their_names() {
        let of = HistogramView { below: vec![(0, 1), (3, 2), (7, 5), (10, 6)], count: 8, sum: 2_500 };
        let lines = |scale| {
            let mut text = Text::default();
            text.buckets("t", &[("queue", "q")], &of, scale);
            String::from(text)
        };
        assert_eq!(
            lines(Scale::Millis),
            "t_bucket{queue=\"q\",le=\"0.001\"} 1\nt_bucket{queue=\"q\",le=\"0.008\"} 2\nt_bucket{queue=\"q\",le=\"0.128\"} 5\n\
             t_bucket{queue=\"q\",le=\"1.024\"} 6\nt_bucket{queue=\"q\",le=\"+Inf\"} 8\nt_sum{queue=\"q\"} 2.5\nt_count{queue=\"q\"} 8\n"
        );
        assert!(
            lines(Scale::Bytes)
                .starts_with("t_bucket{queue=\"q\",le=\"127\"} 5\nt_bucket{queue=\"q\",le=\"1023\"} 6\n")
        );
        assert!(lines(Scale::Micros).starts_with("t_bucket{queue=\"q\",le=\"0.000128\"} 5\n"));
    }
}
