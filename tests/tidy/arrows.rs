//! Arrows between modules: which of ours a module may know, and that those of a folder do not know each other in a
//! circle.

use crate::text::{is_test, statements};
use std::collections::BTreeSet;

/// Which modules of ours a module may import, beside itself: the arrows of docs/architecture.md. Tests are free.
const ARROWS: [(&str, &[&str]); 34] = [
    ("access", &["core"]),
    ("core", &[]),
    ("process", &[]),
    ("shards", &[]),
    ("signals", &[]),
    ("stream", &["watched"]),
    ("traceparent", &[]),
    ("views", &[]),
    ("watched", &[]),
    ("web_client", &[]),
    ("calendar", &["core"]),
    ("clock", &["core"]),
    ("credentials", &["access"]),
    ("durations", &["core"]),
    ("notify", &["clock"]),
    ("spans", &["core", "traceparent"]),
    ("tally", &["core"]),
    ("words", &["core"]),
    ("protocol", &["traceparent", "views"]),
    ("client", &["protocol", "stream", "views"]),
    ("store", &["clock", "core", "migrations"]),
    ("engine", &["calendar", "core", "spans", "store", "tally", "traceparent"]),
    ("config", &["access", "calendar", "core", "durations", "shards"]),
    ("telemetry", &["clock", "config", "core", "durations", "engine", "words"]),
    ("private", &["telemetry"]),
    (
        "server",
        &[
            "access",
            "calendar",
            "clock",
            "config",
            "core",
            "credentials",
            "durations",
            "engine",
            "store",
            "stream",
            "tally",
            "telemetry",
            "views",
            "watched",
            "words",
        ],
    ),
    ("cluster", &["access", "clock", "config", "store", "stream", "telemetry", "views"]),
    ("router", &["access", "protocol", "shards", "stream", "views"]),
    ("fronts", &["access", "clock", "core", "engine", "protocol", "server", "store", "views"]),
    ("written", &["durations", "protocol"]),
    ("http", &["access", "client", "credentials", "protocol", "written"]),
    ("otlp", &["core", "spans", "telemetry", "web_client"]),
    (
        "worker",
        &["client", "clock", "notify", "protocol", "signals", "telemetry", "views", "watched", "web_client"],
    ),
    (
        "cli",
        &[
            "client",
            "clock",
            "cluster",
            "config",
            "core",
            "daemon",
            "durations",
            "process",
            "protocol",
            "signals",
            "store",
            "telemetry",
            "views",
            "words",
            "worker",
            "written",
        ],
    ),
];

/// Modules that put others together, and may import all of them.
const FREE: [&str; 4] = ["daemon", "fuzzing", "lib", "main"];

/// Folders whose modules, each a file or a folder, do not use each other in a circle. Their mod.rs only puts them
/// together.
pub(super) const WITHOUT_CIRCLES: [&str; 9] = [
    "src/cluster",
    "src/server",
    "src/server/operators",
    "src/fronts/beanstalk",
    "src/fronts/native",
    "src/store",
    "src/store/log/files",
    "src/store/home/sled",
    "src/store/simulated",
];

pub(super) fn arrows(path: &str, text: &str) -> Vec<String> {
    let own = path.split('/').nth(1).unwrap_or("").trim_end_matches(".rs");
    if !path.starts_with("src/") || is_test(path) || FREE.contains(&own) {
        return Vec::new();
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(module, _)| *module == own) else {
        return vec![format!("{path}:1: `{own}` is not among the arrows of tests/tidy/arrows.rs")];
    };
    let mut faults = Vec::new();
    for (number, line) in statements(text) {
        for module in named(&line, "crate::") {
            if module != own && !allowed.contains(&module) {
                faults.push(format!("{path}:{number}: `{own}` must not know `{module}`"));
            }
        }
    }
    faults
}

/// The names that follow a prefix in a line, also those in braces.
fn named<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let first = |text: &'_ str| text.find(|c| !is_name(c)).unwrap_or(text.len());
    let mut found = Vec::new();
    let is_whole = |before: &str| !before.ends_with(|c: char| is_name(c) || c == ':');
    for (at, _) in line.match_indices(prefix).filter(|(at, _)| is_whole(&line[..*at])) {
        let rest = &line[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(&rest[..first(rest)]);
            continue;
        };
        let mut depth = 0;
        for part in group.split_inclusive([',', '{', '}']) {
            let name = part.trim_start();
            if depth == 0 && first(name) > 0 {
                found.push(&name[..first(name)]);
            }
            depth += i32::from(part.ends_with('{')) - i32::from(part.ends_with('}'));
            if depth < 0 {
                break;
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// Which modules of a folder use which others of it, as pairs. What mod.rs itself uses does not count.
pub(super) fn uses(folder: &str, files: &[(String, String)]) -> BTreeSet<(String, String)> {
    let inside = |path: &str| Some(path.strip_prefix(folder)?.strip_prefix('/')?.to_owned());
    let module = |path: &str| path.split('/').next().unwrap_or("").trim_end_matches(".rs").to_owned();
    let inner: Vec<(String, &String)> =
        files.iter().filter_map(|(path, text)| Some((inside(path)?, text))).collect();
    let all: BTreeSet<String> = inner.iter().map(|(path, _)| module(path)).collect();
    let from_root = format!("crate::{}::", folder.trim_start_matches("src/").replace('/', "::"));
    let mut uses = BTreeSet::new();
    for (path, text) in inner.iter().filter(|(path, _)| !is_test(&format!("/{path}"))) {
        let own = module(path);
        // How deep the file's module is below the folder's.
        let depth = path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
        let from_here = "super::".repeat(depth);
        for (_, line) in statements(text).filter(|_| own != "mod") {
            for other in named(&line, &from_root).into_iter().chain(named(&line, &from_here)) {
                if other != own && all.contains(other) {
                    uses.insert((own.clone(), other.to_owned()));
                }
            }
        }
    }
    uses
}

/// A circle among such pairs, as it is read, if there is one.
pub(super) fn circle(uses: &BTreeSet<(String, String)>) -> Option<String> {
    // Whoever is not used by anybody who is left is in no circle.
    let mut left = uses.clone();
    loop {
        let used: BTreeSet<String> = left.iter().map(|(_, other)| other.clone()).collect();
        let before = left.len();
        left.retain(|(one, _)| used.contains(one));
        if left.len() == before {
            break;
        }
    }
    // Backwards from anybody who is left: somebody uses him, and so on until one comes again.
    let mut way = vec![left.first()?.0.clone()];
    loop {
        let last = way.last().expect("it has one");
        let (user, _) = left.iter().find(|(_, other)| other == last).expect("he is used");
        if let Some(again) = way.iter().position(|on_the_way| on_the_way == user) {
            way.drain(..again);
            way.push(user.clone());
            way.reverse();
            return Some(way.join(" → "));
        }
        way.push(user.clone());
    }
}

mod catches {
    use super::*;

    #[test]
    fn an_arrow_that_points_the_wrong_way() {
        for (path, line, module) in [
            ("src/core/job.rs", "use crate::store::Store;", "store"),
            ("src/core/decide/mod.rs", "    let x = crate::engine::now();", "engine"),
            ("src/core/job.rs", "use crate::{core::Time, clock::Clock};", "clock"),
            ("src/protocol/frame.rs", "use crate::core::Time;", "core"),
            ("src/store/log.rs", "pub(crate) use crate::engine::Engine;", "engine"),
            ("src/engine/mod.rs", "use crate::server;", "server"),
            ("src/engine/mod.rs", "#[cfg(test)]\nmod tests;\nuse crate::server;", "server"),
            (
                "src/server/hub.rs",
                "use crate::{\n    access::Access,\n    protocol::Request,\n};",
                "protocol",
            ),
            ("src/server/hub.rs", "use crate::fronts::Native;", "fronts"),
            ("src/cli/run.rs", "use crate::server::Hub;", "server"),
        ] {
            let faults = arrows(path, &format!("//! For.\n{line}\n"));
            assert_eq!(faults.len(), 1, "{line}: {faults:?}");
            assert!(faults[0].contains(&format!("must not know `{module}`")), "{faults:?}");
        }
    }

    #[test]
    fn no_arrow_that_points_the_right_way() {
        for (path, line) in [
            ("src/store/log.rs", "use crate::{core::{Event, JobId}, store::Commit};"),
            ("src/store/log.rs", "use crate::migrations;"),
            ("src/core/job.rs", "/// See crate::store."),
            ("src/core/job.rs", "pub(crate) fn f() {}"),
            ("src/cli/mod.rs", "use crate::client::Client;"),
            ("src/core/job.rs", "#[cfg(test)]\nmod tests {\n    use crate::store::Store;\n}"),
            ("src/fronts/tests/mod.rs", "use crate::client::Client;"),
            ("src/daemon.rs", "use crate::fronts::Native;"),
        ] {
            assert_eq!(arrows(path, &format!("//! For.\n{line}\n")), [] as [&str; 0], "{line}");
        }
    }

    #[test]
    fn a_module_without_arrows() {
        assert_eq!(arrows("src/new.rs", "//! For.\n").len(), 1);
    }

    #[test]
    fn modules_that_use_each_other() {
        let of = |files: &[(&str, &str)]| {
            let files: Vec<_> =
                files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
            circle(&uses("src/a", &files))
        };
        let (one, two) = (("src/a/one.rs", "use super::two::X;"), ("src/a/two.rs", "use super::three::X;"));
        assert_eq!(of(&[one, two, ("src/a/three.rs", "use super::Hub;")]), None);
        assert_eq!(of(&[one, ("src/a/two.rs", "// super::one\nuse crate::b::one;")]), None);
        assert_eq!(of(&[one, ("src/a/two/tests.rs", "use super::super::one::X;")]), None);
        let three = "use crate::a::{\n    X,\n    one,\n};";
        for path in ["src/a/three.rs", "src/a/three/mod.rs", "src/a/three/deep.rs"] {
            let way = of(&[one, two, (path, three)]).unwrap();
            assert!("one → two → three → one → two → three".contains(&way), "{way}");
            assert_eq!(way.split(" → ").count(), 4, "{way}");
        }
        assert!(of(&[one, ("src/a/two/mod.rs", "use super::one::X;")]).is_some());
        assert!(of(&[one, ("src/a/two/deep.rs", "use super::super::one::X;")]).is_some());
    }
}
