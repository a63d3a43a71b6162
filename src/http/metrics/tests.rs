//! What is written for Prometheus, and that docs and contrib speak of the same.

use super::*;
use crate::protocol::admin::{ClusterView, NodeView, StreamView};
use std::collections::BTreeSet;
use std::path::Path;

fn histogram() -> HistogramView {
    HistogramView { below: vec![(0, 1), (10, 3)], count: 4, sum: 5_000 }
}

fn written() -> String {
    let queue = |name: &str| QueueMetricsView {
        queue: name.into(),
        submitted: 7,
        jobs: vec![("ready".into(), 3), ("dead".into(), 1)],
        now: (name == "mails")
            .then_some(QueueNowView { oldest_ready_ms: Some(2_500), ..QueueNowView::default() }),
        wait_ms: histogram(),
        run_ms: histogram(),
        ..QueueMetricsView::default()
    };
    let daemon = DaemonMetricsView {
        version: "1.2.3".into(),
        limits_hit: vec![("limits.backlog".into(), 2)],
        commit_micros: histogram(),
        commit_bytes: histogram(),
        ..DaemonMetricsView::default()
    };
    let node = |node: &str, role: &str, behind| NodeView {
        node: node.into(),
        role: role.into(),
        behind,
        ..NodeView::default()
    };
    let seen = ClusterView {
        shard: None,
        shards: None,
        node: Some("one".into()),
        owner: Some("one".into()),
        epoch: 4,
        nodes: vec![
            node("one", "owner", None),
            node("two", "standby", Some(3)),
            node("three", "absent", None),
        ],
        stream: StreamView { first: Some(11), last: Some(40), bytes: Some(5_000), ..StreamView::default() },
        unanswered_ms: Some(1_500),
    };
    let mut text = Text::default();
    of_queues(&mut text, &[queue("mails"), queue("(others)")]);
    of_daemon(&mut text, &daemon);
    cluster::write(&mut text, &[seen]);
    process::read().write(&mut text);
    text.into()
}

/// The names, with what they are.
fn families(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn each_queue_has_its_numbers() {
    let text = written();
    for line in [
        "musher_jobs_submitted_total{queue=\"mails\"} 7",
        "musher_jobs_submitted_total{queue=\"(others)\"} 7",
        "musher_queue_jobs{queue=\"mails\",state=\"ready\"} 3",
        "musher_queue_oldest_ready_seconds{queue=\"mails\"} 2.5",
        "musher_job_wait_seconds_bucket{queue=\"mails\",le=\"1.024\"} 3",
        "musher_job_wait_seconds_sum{queue=\"mails\"} 5",
        "musher_limits_hit_total{limit=\"limits.backlog\"} 2",
        "musher_build_info{version=\"1.2.3\"} 1",
        "musher_cluster_epoch 4",
        "musher_cluster_is_owner 1",
        "musher_cluster_unanswered_seconds 1.5",
        "musher_cluster_stream_records 30",
        "musher_cluster_nodes{role=\"absent\"} 1",
        "musher_cluster_nodes{role=\"starting\"} 0",
        "musher_cluster_node_behind_commits{node=\"two\"} 3",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in:\n{text}");
    }
    for name in ["oldest_ready_seconds", "paused", "circuit_open"] {
        let line = format!("musher_queue_{name}{{queue=\"(others)\"}}");
        assert!(!text.contains(&line), "it is none of one queue: {line}");
    }
}

#[test]
fn every_sample_stands_below_its_name_which_has_a_help() {
    let text = written();
    let (mut of, mut helped, mut seen) = ("", "", BTreeSet::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(words.ends_with('.') || words.contains("; "), "{line}");
            helped = name;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!((name, kind == "counter"), (helped, name.ends_with("_total")), "{line}");
            assert!(seen.insert(name), "{name} comes twice");
            of = name;
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let parts = ["", "_bucket", "_sum", "_count"];
            assert!(parts.iter().any(|part| name == format!("{of}{part}")), "{line} below {of}");
        }
    }
}

/// The table of docs/monitoring.md is what is written, in the same order.
#[test]
fn the_documentation_has_every_metric() {
    let (docs, text) = (read("docs/monitoring.md"), written());
    let rows = docs.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let (name, kind) = (cells.next()?.strip_suffix('`')?, cells.next()?);
        ["counter", "gauge", "histogram"].contains(&kind).then_some((name, kind))
    });
    assert_eq!(rows.collect::<Vec<_>>(), families(&text));
}

/// An alert or a panel about something that is not there is never seen.
#[test]
fn alerts_and_the_dashboard_are_about_what_is_there() {
    let text = written();
    let known: BTreeSet<&str> = families(&text).into_iter().map(|(name, _)| name).collect();
    for path in [
        "contrib/prometheus/alerts.yml",
        "contrib/prometheus/alerts_test.yml",
        "contrib/grafana/musher.json",
        "docs/monitoring.md",
    ] {
        let content = read(path);
        let words = content.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names = words.filter(|word| word.starts_with("musher_") || word.starts_with("process_"));
        let mut count = 0;
        for name in names {
            let plain = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
            assert!(known.contains(name) || plain.is_some_and(|name| known.contains(name)), "{path}: {name}");
            count += 1;
        }
        assert!(count > 10, "{path} has {count} names");
    }
    let dashboard: serde_json::Value = serde_json::from_str(&read("contrib/grafana/musher.json")).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
}
