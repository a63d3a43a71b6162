//! The reference says of every key what the code does with it, and of no other.

use super::reference::{Defaults, Key, Kind, Reference, man_page, markdown, template};
use super::tests::{config, parse};
use crate::durations::{parse_duration, parse_size, show_duration, show_size};
use std::collections::BTreeSet;
use std::time::Duration;

/// Tables, as they are written, in which keys are asked for: what stands before such a key, and what its name begins
/// with in the reference.
const TABLES: [(&str, &str); 13] = [
    ("", ""),
    ("[daemon]\n", "daemon."),
    ("[limits]\n", "limits."),
    ("[storage]\n", "storage."),
    ("[cluster]\n", "cluster."),
    ("[queues.m]\n", "queues.NAME."),
    ("[queues.m]\nhandler.", "queues.NAME.handler."),
    ("[queues.m]\nbackoff.", "queues.NAME.backoff."),
    ("[queues.m]\nkeep.", "queues.NAME.keep."),
    ("[queues.m]\ncircuit.", "queues.NAME.circuit."),
    ("[schedules.m]\n", "schedules.NAME."),
    ("[topics]\n", TOPICS),
    ("[[access]]\n", "access."),
];

/// A table that takes any key.
const TOPICS: &str = "topics.";

fn errors(source: &str) -> String {
    parse(source).err().map(|errors| errors.to_string()).unwrap_or_default()
}

/// The keys that the code asks for in a table, without those that it only refuses.
fn asked(head: &str) -> Vec<String> {
    let message = errors(&format!("{head}\"@@@\" = 1"));
    let list = message.split("known here are ").nth(1).and_then(|list| list.lines().next());
    let list = list.unwrap_or_else(|| panic!("{head}: {message}"));
    let keys = list.split(", ").map(str::to_owned);
    keys.filter(|key| !errors(&format!("{head}{key} = 1")).contains("not supported by this version"))
        .collect()
}

/// How a key is set to a value.
fn setting(key: &Key, value: &str) -> String {
    let (head, short) =
        TABLES.iter().rev().find_map(|(head, prefix)| Some((head, key.name.strip_prefix(prefix)?))).unwrap();
    // A rule is one only as a whole.
    let all = [("users", "[\"*\"]"), ("queues", "[\"*\"]"), ("may", "[\"read\"]")];
    let rest =
        all.iter().filter(|(name, _)| *name != short).map(|(name, value)| format!("\n{name} = {value}"));
    let tls = |other| format!("\nhttp = '127.0.0.1:1'\nhttp_tokens = '/t'\n{other} = '/o'");
    let rest: String = match (*head, short) {
        ("[[access]]\n", _) => rest.collect(),
        ("[cluster]\n", short) => cluster_beside(short),
        ("[schedules.m]\n", "queue") => "\ncron = '@daily'".to_owned(),
        ("[schedules.m]\n", "cron" | "every") => "\nqueue = 'q'".to_owned(),
        ("[schedules.m]\n", _) => "\ncron = '@daily'\nqueue = 'q'".to_owned(),
        ("[daemon]\n", "http") => "\nhttp_tokens = '/t'".to_owned(),
        ("[daemon]\n", "beanstalk") => "\nbeanstalk_user = '7'".to_owned(),
        ("[daemon]\n", "beanstalk_user") => "\nbeanstalk = '127.0.0.1:1'".to_owned(),
        ("[daemon]\n", "http_tokens") => "\nhttp = '127.0.0.1:1'".to_owned(),
        ("[daemon]\n", "http_certificate") => tls("http_key"),
        ("[daemon]\n", "http_key") => tls("http_certificate"),
        (_, "workers") => "\nhandler = 'command'".to_owned(),
        ("[queues.m]\nhandler.", key) if !["exec", "http"].contains(&key) => {
            "\nhandler.http = 'http://h'".to_owned()
        }
        _ => String::new(),
    };
    format!("{head}{short} = {value}{rest}")
}

/// What must be there beside a key of a cluster.
fn cluster_beside(key: &str) -> String {
    let needed = [
        ("node", "'one'"),
        ("nodes", "['one', 'two', 'three']"),
        ("nats", "['nats://h:1']"),
        ("sync", "'always'"),
        ("tls_certificate", "'/c'"),
        ("tls_key", "'/k'"),
    ];
    let is_needed = |name: &str| name != key && (!name.starts_with("tls_") || key.starts_with("tls_"));
    needed
        .iter()
        .filter(|(name, _)| is_needed(name))
        .map(|(name, value)| format!("\n{name} = {value}"))
        .collect()
}

#[test]
fn every_key_has_its_entry_and_every_entry_its_key() {
    let reference = Reference::read();
    let described: BTreeSet<&str> = reference.keys().iter().map(|key| &*key.name).collect();
    let mut known = BTreeSet::new();
    for (head, prefix) in TABLES {
        for key in if prefix == TOPICS { vec!["NAME".to_owned()] } else { asked(head) } {
            let name = format!("{prefix}{key}");
            let tables = TABLES.iter().filter_map(|(_, prefix)| prefix.strip_suffix('.'));
            let mut tables = tables.map(|table| table.strip_suffix(".NAME").unwrap_or(table));
            let is_table = tables.any(|table| table == name);
            assert!(
                is_table || described.contains(&*name),
                "`{name}` has no entry in src/config/reference.toml: say there what it means (a new table goes into TABLES too)"
            );
            known.insert(name);
        }
    }
    for name in described {
        assert!(known.contains(name), "src/config/reference.toml tells of `{name}`, which no code asks for");
    }
    for table in reference.tables() {
        assert!(TABLES.iter().any(|(_, prefix)| *prefix == format!("{}.", table.name)), "{}", table.name);
        assert!(reference.keys().iter().any(|key| key.name.starts_with(&format!("{}.", table.name))));
    }
}

#[test]
fn every_default_is_one_that_is_shown_or_in_words() {
    let defaults = Defaults::new();
    for key in Reference::read().keys() {
        let found = key.default.is_some() || defaults.of(&key.name).is_some();
        assert!(
            found,
            "`{}` has no default: add it to src/config/show.rs, or its words to reference.toml",
            key.name
        );
    }
}

#[test]
fn every_example_loads_and_changes_something() {
    for key in Reference::read().keys() {
        let source = setting(key, &key.example).replace("\"alice\", 1001", "\"alice\"");
        assert_eq!(errors(&source), "", "{source}");
        if key.default.is_none() && key.words.len() != 1 {
            let default = Defaults::new().of(&key.name).unwrap();
            assert_ne!(
                config(&setting(key, &default)),
                config(&source),
                "{source}: another one than the default"
            );
        }
    }
}

#[test]
fn every_bound_is_the_one_that_is_checked() {
    for key in Reference::read().keys() {
        let (step, open_end): (u64, u64) = match key.kind {
            Kind::Duration | Kind::Limit => (1, Duration::from_secs(36_525 * 86_400).as_millis() as u64),
            Kind::Size | Kind::Count => (1, i64::MAX as u64),
            _ => continue,
        };
        let read = |text: &String| match key.kind {
            Kind::Duration | Kind::Limit => parse_duration(text).unwrap().as_millis() as u64,
            _ => parse_size(text).unwrap(),
        };
        let write = |value: u64| match key.kind {
            Kind::Duration | Kind::Limit => format!("\"{}\"", show_duration(Duration::from_millis(value))),
            Kind::Size => format!("\"{}\"", show_size(value)),
            _ => value.to_string(),
        };
        let out_of_bounds = |value: u64| {
            let message = errors(&setting(key, &write(value)));
            ["the least is", "the most is"].iter().any(|text| message.contains(text))
        };
        let (least, most) = (key.least.as_ref().map(read), key.most.as_ref().map(read));
        for inside in [least.unwrap_or(0), most.unwrap_or(open_end)] {
            assert!(!out_of_bounds(inside), "`{}` = {} is within its bounds", key.name, write(inside));
        }
        for outside in [least.map(|least| least - step), most.map(|most| most + step)].into_iter().flatten() {
            assert!(out_of_bounds(outside), "`{}` = {} is out of its bounds", key.name, write(outside));
        }
    }
}

#[test]
fn a_restart_is_needed_for_what_says_so() {
    let old = config("[queues.m]");
    for key in Reference::read().keys() {
        let new = config(&setting(key, &key.example).replace("\"alice\", 1001", "\"alice\""));
        assert_eq!(old.restart_needed(&new).contains(&&*key.name), key.restart, "{}", key.name);
    }
}

#[test]
fn the_document_is_that_of_this_tree() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let same = written == markdown();
    assert!(same, "docs/configuration.md is old: cargo run -- config reference > docs/configuration.md");
}

#[test]
fn the_man_page_has_every_key() {
    let page = man_page();
    for key in Reference::read().keys() {
        let last = key.name.rsplit('.').next().unwrap();
        assert!(page.contains(last), "{}", key.name);
    }
    assert!(page.contains(".TH musher.toml 5"), "{page}");
}

#[test]
fn the_template_says_nothing_and_what_it_would_say_is_the_default() {
    let text = template();
    assert_eq!(config(&text), config(""));
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100 || !line.starts_with("# ")), "{text}");
    // Those that have a default, with the heads of their tables.
    let (reference, defaults) = (Reference::read(), Defaults::new());
    let has_default = |key: &Key| key.default.is_none() && defaults.of(&key.name).is_some();
    let mut set = String::new();
    for table in ["daemon", "limits", "storage", "queues.NAME"] {
        set += &format!("[{table}]\n");
        for key in reference.keys().iter().filter(|key| has_default(key)) {
            if let Some(short) = key.name.strip_prefix(table).and_then(|rest| rest.strip_prefix('.')) {
                let line = text.lines().find(|line| {
                    line.starts_with(&format!("#{short} = {}", defaults.of(&key.name).unwrap()))
                });
                set +=
                    &format!("{}\n", line.unwrap_or_else(|| panic!("{}", key.name)).trim_start_matches('#'));
            }
        }
    }
    assert_eq!(config(&set), config("[queues.NAME]"));
}
