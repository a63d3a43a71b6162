//! Kept results as pictures: SVG written by hand, since a few lines and circles need no library. Colours and dashes
//! belong to a target in every picture.

use crate::results::{Results, Row};
use std::fmt::Write;
use std::io;
use std::path::Path;

/// How each target is drawn: its name in results, in the legend, its colour and dashes.
const STYLES: [(&str, &str, &str, &str); 7] = [
    ("musher/sync", "Musher", "#c0392b", ""),
    ("reference/group+claims", "reference", "#555555", "2 3"),
    ("redis-list/always", "Redis list", "#1f77b4", ""),
    ("redis-stream/always", "Redis stream", "#17a2b8", "7 3"),
    ("beanstalkd/fsync", "beanstalkd", "#2e8b57", ""),
    ("nats/always", "NATS", "#8e44ad", ""),
    ("postgres/on", "PostgreSQL", "#d68910", ""),
];

const WIDTH: f64 = 430.0;
const HEIGHT: f64 = 360.0;
/// Around the field of one panel.
const LEFT: f64 = 74.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;
const LEGEND: f64 = 30.0;

/// One field with its axes.
struct Panel {
    title: &'static str,
    /// What the axes are, with their units; both are logarithmic.
    x: &'static str,
    y: &'static str,
    /// Name of the loads whose last word is the x of a point, and what is the y.
    load: &'static str,
    value: fn(&Row) -> f64,
}

/// Writes every picture for which there are results, and says which.
pub fn all(results: &Results, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let figure = |row: &Row| row.figure;
    let throughput = [
        Panel {
            title: "Producers with one submit in flight each",
            x: "producers",
            y: "submits a second",
            load: "producers",
            value: figure,
        },
        Panel {
            title: "One connection with many in flight",
            x: "submits in flight",
            y: "submits a second",
            load: "in flight",
            value: figure,
        },
    ];
    let offered = "offered submits a second (open loop, 16 connections)";
    let ms = "milliseconds from when a submit was due";
    let latency = [
        Panel { title: "p50", x: offered, y: ms, load: "offered", value: |row| row.latency.p50 / 1000.0 },
        Panel { title: "p99", x: offered, y: ms, load: "offered", value: |row| row.latency.p99 / 1000.0 },
        Panel { title: "p99.9", x: offered, y: ms, load: "offered", value: |row| row.latency.p999 / 1000.0 },
    ];
    let jobs = "jobs waiting";
    let backlog = [
        Panel { title: "Memory", x: jobs, y: "MiB", load: "W5 server memory, MiB,", value: figure },
        Panel {
            title: "Serving again after kill -9",
            x: jobs,
            y: "milliseconds",
            load: "W5 restart after kill, ms,",
            value: figure,
        },
    ];
    for (name, panels) in [("throughput", &throughput[..]), ("latency", &latency), ("backlog", &backlog)] {
        let file = dir.join(format!("{name}.svg"));
        match picture(results, panels) {
            Some(svg) => {
                std::fs::write(&file, svg)?;
                println!("{}", file.display());
            }
            None => eprintln!("{name}: no results to draw"),
        }
    }
    Ok(())
}

type Series = Vec<(&'static (&'static str, &'static str, &'static str, &'static str), Vec<(f64, f64)>)>;

fn picture(results: &Results, panels: &[Panel]) -> Option<String> {
    let all: Vec<Series> = panels.iter().map(|panel| of(results, panel)).collect();
    if all.iter().all(|series| series.is_empty()) {
        return None;
    }
    let (width, height) = (WIDTH * panels.len() as f64, HEIGHT + LEGEND);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
         {height}\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" font-size=\"12\">\n<rect \
         width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (index, (panel, series)) in panels.iter().zip(&all).enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate({:.0} 0)\">", WIDTH * index as f64);
        // Panels of one unit have one scale, so that the eye may go from one to the next.
        let alike = panels.iter().zip(&all).filter(|(other, _)| other.y == panel.y);
        let y = Range::over(alike.flat_map(|(_, series)| points(series)).map(|p| p.1));
        draw(&mut svg, panel, series, &y);
        svg.push_str("</g>\n");
    }
    legend(&mut svg, &all);
    svg.push_str("</svg>\n");
    Some(svg)
}

/// The points of a panel, in the order of the legend; what cannot stand on a logarithmic axis is left out.
fn of(results: &Results, panel: &Panel) -> Series {
    let mut all = results.series(panel.load, panel.value);
    let styled = |style: &'static (&'static str, _, _, _)| {
        let mut points = all.remove(style.0)?;
        points.retain(|(x, y)| *x > 0.0 && *y > 0.0);
        (!points.is_empty()).then_some((style, points))
    };
    STYLES.iter().filter_map(styled).collect()
}

fn legend(svg: &mut String, series: &[Series]) {
    let mut x = LEFT;
    for style in &STYLES {
        if !series.iter().flatten().any(|(of, _)| of.0 == style.0) {
            continue;
        }
        let y = HEIGHT + LEGEND / 2.0 - 4.0;
        let (_, name, colour, dashes) = style;
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.0} {y:.0}h26\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>\
             <circle cx=\"{:.0}\" cy=\"{y:.0}\" r=\"3\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"{:.0}\">{name}</text>",
            x + 13.0,
            x + 32.0,
            y + 4.0
        );
        x += 52.0 + 7.5 * name.len() as f64;
    }
}

/// The ends of an axis, and where a value stands between them.
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// Out to the next tick on both sides, so that the ends have their figures.
    fn over(values: impl Iterator<Item = f64> + Clone) -> Range {
        let high = values.clone().fold(f64::MIN, f64::max);
        let low = values.fold(f64::MAX, f64::min);
        let ticks = candidates();
        let below = ticks.iter().rev().find(|tick| **tick <= low * 1.001).unwrap_or(&ticks[0]);
        let above = ticks.iter().find(|tick| **tick >= high * 0.999 && *tick > below);
        Range { low: *below, high: *above.unwrap_or(&(below * 10.0)) }
    }

    fn at(&self, value: f64) -> f64 {
        (value / self.low).ln() / (self.high / self.low).ln()
    }

    /// Where lines and figures stand: every 1, 2, 5 in a range of few decades, only powers of ten in a longer one.
    fn ticks(&self, few: f64) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let within = |v: &f64| *v >= self.low * 0.999 && *v <= self.high * 1.001;
        let round = |v: &f64| decades <= few || (v.log10() - v.log10().round()).abs() < 1e-6;
        candidates().into_iter().filter(within).filter(round).collect()
    }
}

/// 1, 2, 5, 10 …
fn candidates() -> Vec<f64> {
    (-6..12).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power))).collect()
}

fn points(series: &Series) -> impl Iterator<Item = &(f64, f64)> + Clone {
    series.iter().flat_map(|(_, points)| points)
}

fn draw(svg: &mut String, panel: &Panel, series: &Series, y: &Range) {
    let x = Range::over(points(series).map(|p| p.0));
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let px = |v: f64| LEFT + x.at(v) * (right - LEFT);
    let py = |v: f64| bottom - y.at(v) * (bottom - TOP);
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\" font-size=\"14\" font-weight=\"bold\">{}</text>",
        (LEFT + right) / 2.0,
        TOP - 16.0,
        panel.title
    );
    for tick in x.ticks(2.8) {
        let at = px(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#e3e3e3\"/><text x=\"{at:.1}\" y=\"{:.0}\" \
             text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            figure(tick)
        );
    }
    for tick in y.ticks(3.8) {
        let at = py(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#e3e3e3\"/><text x=\"{:.0}\" y=\"{:.1}\" \
             text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            figure(tick)
        );
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"black\"/>\n<text x=\"{:.0}\" y=\"{:.0}\" \
         text-anchor=\"middle\">{}</text>\n<text transform=\"translate(18 {:.0}) rotate(-90)\" \
         text-anchor=\"middle\">{}</text>",
        (LEFT + right) / 2.0,
        bottom + 42.0,
        panel.x,
        (TOP + bottom) / 2.0,
        panel.y
    );
    // In reverse, so that the first of the legend lies on top.
    for ((_, _, colour, dashes), points) in series.iter().rev() {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{:.1} {:.1}", px(*x), py(*y))).collect();
        let _ = writeln!(
            svg,
            "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>",
            path.join("L")
        );
        for (x, y) in points {
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                px(*x),
                py(*y)
            );
        }
    }
}

/// A tick as people read it: 0.5, 20, 10 k, 1 M.
fn figure(value: f64) -> String {
    let (scaled, unit) = match value {
        1e6.. => (value / 1e6, " M"),
        1e4.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.6}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}
