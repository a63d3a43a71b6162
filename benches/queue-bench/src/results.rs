//! What a run comes to: one tab-separated line, and what many such lines come to: medians, ratios, tables. A file of
//! lines may be added to at any time; nothing here measures.

use std::collections::BTreeMap;
use std::io;

/// What other processes may use of the machine, in processors, before a run counts as disturbed.
pub const OTHERS_MAX: f64 = 0.35;

/// The columns of a line, in their order.
pub const COLUMNS: &str =
    "target\tload\tbytes\tfigure\tp50_us\tp99_us\tp999_us\tlongest_us\tserver\tgenerator\tothers\tflushes";

/// One run of one load on one target.
#[derive(Clone, Default)]
pub struct Row {
    pub target: String,
    pub load: String,
    pub size: usize,
    /// Jobs a second, or what the load's name says (MiB, ms).
    pub figure: f64,
    pub latency: Latency,
    pub used: Used,
}

/// Of requests, in microseconds; zero where none was measured.
#[derive(Clone, Copy, Default)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub longest: f64,
}

/// In processors; and flushes of the disks a second.
#[derive(Clone, Copy, Default)]
pub struct Used {
    pub server: f64,
    pub generator: f64,
    pub others: f64,
    pub flushes: f64,
}

impl Latency {
    pub fn of(mut ns: Vec<u64>) -> Latency {
        ns.sort_unstable();
        let at = |q: f64| {
            let index = ((ns.len() as f64 * q) as usize).min(ns.len().saturating_sub(1));
            ns.get(index).map_or(0.0, |v| *v as f64 / 1000.0)
        };
        Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999), longest: at(1.0) }
    }
}

impl Row {
    pub fn disturbed(&self) -> bool {
        self.used.others > OTHERS_MAX
    }

    pub fn line(&self) -> String {
        let (l, u) = (&self.latency, &self.used);
        format!(
            "{}\t{}\t{}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{:.2}\t{:.2}\t{:.2}\t{:.0}",
            self.target,
            self.load,
            self.size,
            self.figure,
            l.p50,
            l.p99,
            l.p999,
            l.longest,
            u.server,
            u.generator,
            u.others,
            u.flushes
        )
    }

    /// For eyes that follow a run: without what nobody reads as it passes.
    pub fn spoken(&self) -> String {
        let mark = if self.disturbed() {
            format!("   disturbed: others used {:.2} processors", self.used.others)
        } else {
            String::new()
        };
        let l = &self.latency;
        format!(
            "{:<24} {:<34} {:>10.0}   p50 {:.0} p99 {:.0} p99.9 {:.0} longest {:.0} us   {:.0} flushes/s{mark}",
            self.target, self.load, self.figure, l.p50, l.p99, l.p999, l.longest, self.used.flushes
        )
    }

    fn parse(line: &str) -> Option<Row> {
        let f: Vec<&str> = line.split('\t').collect();
        if f.len() != 12 || line.starts_with('#') || line == COLUMNS {
            return None;
        }
        let n = |i: usize| f[i].parse().ok();
        Some(Row {
            target: f[0].into(),
            load: f[1].into(),
            size: f[2].parse().ok()?,
            figure: n(3)?,
            latency: Latency { p50: n(4)?, p99: n(5)?, p999: n(6)?, longest: n(7)? },
            used: Used { server: n(8)?, generator: n(9)?, others: n(10)?, flushes: n(11)? },
        })
    }
}

/// All runs of one load on one target, as one: the median of each column over the undisturbed ones.
pub struct Median {
    pub row: Row,
    pub runs: usize,
    /// No run was undisturbed, so these are the disturbed ones.
    pub disturbed: bool,
}

pub struct Results {
    rows: Vec<Row>,
    /// The lines that begin with `#`: on what machine, when.
    pub notes: Vec<String>,
}

impl Results {
    pub fn read(path: &str) -> io::Result<Results> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
        let notes = text.lines().filter_map(|l| l.strip_prefix("# ")).map(String::from).collect();
        Ok(Results { rows: text.lines().filter_map(Row::parse).collect(), notes })
    }

    /// Loads and targets in the order in which they came.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        let mut seen = Vec::new();
        for row in &self.rows {
            let pair = (&row.load[..], &row.target[..]);
            if !seen.contains(&pair) {
                seen.push(pair);
            }
        }
        seen
    }

    pub fn median(&self, load: &str, target: &str) -> Option<Median> {
        let of: Vec<&Row> = self.rows.iter().filter(|r| r.load == load && r.target == target).collect();
        let clean: Vec<&Row> = of.iter().filter(|r| !r.disturbed()).copied().collect();
        let disturbed = clean.is_empty();
        let rows = if disturbed { of } else { clean };
        let first = rows.first()?;
        let mid = |field: fn(&Row) -> f64| {
            let mut all: Vec<f64> = rows.iter().map(|r| field(r)).collect();
            all.sort_by(f64::total_cmp);
            (all[(all.len() - 1) / 2] + all[all.len() / 2]) / 2.0
        };
        let latency = Latency {
            p50: mid(|r| r.latency.p50),
            p99: mid(|r| r.latency.p99),
            p999: mid(|r| r.latency.p999),
            longest: mid(|r| r.latency.longest),
        };
        let used = Used {
            server: mid(|r| r.used.server),
            generator: mid(|r| r.used.generator),
            others: mid(|r| r.used.others),
            flushes: mid(|r| r.used.flushes),
        };
        let row = Row { figure: mid(|r| r.figure), latency, used, ..(*first).clone() };
        Some(Median { row, runs: rows.len(), disturbed })
    }

    /// A load's name and a number (`producers 16`), as points over that number, for each target.
    pub fn series(&self, name: &str, y: fn(&Row) -> f64) -> BTreeMap<String, Vec<(f64, f64)>> {
        let mut series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (load, target) in self.pairs() {
            let Some((_, x)) = load.rsplit_once(' ').filter(|(front, _)| *front == name) else { continue };
            let (Ok(x), Some(median)) = (x.parse(), self.median(load, target)) else { continue };
            series.entry(target.into()).or_default().push((x, y(&median.row)));
        }
        series.values_mut().for_each(|points| points.sort_by(|a, b| a.0.total_cmp(&b.0)));
        series
    }
}

/// What one compares of a load: the rate, or for a wake-up the p50.
fn compared(row: &Row) -> f64 {
    if row.load.starts_with("W4") { row.latency.p50 } else { row.figure }
}

/// Tab-separated: load, target, median, ratio to a target and to the limit. `!` marks a median of disturbed runs.
pub fn ratios(results: &Results, to: &str, limit: &str) {
    println!("load\ttarget\tper second (W4: p50 in us)\tratio to {to}\tratio to {limit}");
    for (load, target) in results.pairs() {
        let Some(own) = results.median(load, target) else { continue };
        let figure = compared(&own.row);
        let ratio = |other: &str| match results.median(load, other).map(|m| compared(&m.row)) {
            Some(other) if other > 0.0 => format!("{:.2}", figure / other),
            _ => "-".into(),
        };
        let mark = if own.disturbed { "!" } else { "" };
        println!("{load}\t{target}\t{figure:.0}{mark}\t{}\t{}", ratio(to), ratio(limit));
    }
}
