//! The house style as a test: reads the sources and fails on what no compiler sees. Arrows between modules that
//! point the wrong way, files without a paragraph on what they are for, leftovers, and what grew past its length.
//! What was long before is listed with its length and held there; do not add to the lists, find the seam.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 450;
const FUNCTION_LINES_MAX: usize = 90;

/// Which modules of ours a module may import, beside itself: the arrows of docs/architecture.md. Tests are free.
const ARROWS: [(&str, &[&str]); 20] = [
    ("access", &[]),
    ("core", &[]),
    ("process", &[]),
    ("signals", &[]),
    ("views", &[]),
    ("clock", &["core"]),
    ("durations", &["core"]),
    ("notify", &["clock"]),
    ("words", &["core"]),
    ("protocol", &["views"]),
    ("client", &["protocol", "views"]),
    ("store", &["core", "migrations"]),
    ("engine", &["core", "store"]),
    ("config", &["access", "core", "durations"]),
    ("telemetry", &["clock", "config", "core", "durations", "engine", "words"]),
    ("private", &["telemetry"]),
    ("server", &["access", "clock", "core", "durations", "engine", "store", "telemetry", "views", "words"]),
    ("fronts", &["access", "clock", "core", "engine", "protocol", "server", "store", "views"]),
    ("worker", &["client", "clock", "notify", "protocol", "signals", "telemetry", "views"]),
    (
        "cli",
        &[
            "client",
            "clock",
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
        ],
    ),
];

/// Modules that put others together, and may import all of them.
const FREE: [&str; 4] = ["daemon", "fuzzing", "lib", "main"];

/// Folders whose modules, each a file or a folder, do not use each other in a circle. Their mod.rs only puts them
/// together.
const WITHOUT_CIRCLES: [&str; 7] = [
    "src/server",
    "src/server/operators",
    "src/fronts/native",
    "src/store",
    "src/store/log/files",
    "src/store/home/sled",
    "src/store/simulated",
];

/// Functions that are longer than that, and how long each may be.
const LONG_FUNCTIONS: [(&str, usize); 0] = [];

#[test]
fn the_sources_are_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    collect(&root.join("migrations"), &mut files);
    assert!(files.len() > 10, "the sources are where they are looked for");
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("sources are UTF-8");
        (file.strip_prefix(root).expect("it was found there").to_string_lossy().into_owned(), text)
    };
    let files: Vec<(String, String)> = files.iter().map(read).collect();
    let mut faults: Vec<String> = files.iter().flat_map(|(path, text)| check(path, text)).collect();
    for folder in WITHOUT_CIRCLES {
        let circle = circle(&uses(folder, &files));
        faults.extend(circle.map(|circle| format!("{folder}: modules in a circle: {circle}")));
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// What is installed has no store without a disk and no door for benches.
#[test]
fn what_is_for_tests_is_not_installed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("sources are where they were");
    let faults = installed(&read("Cargo.toml"), &read("src/store/mod.rs"));
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Everything that is wrong with one file.
fn check(path: &str, text: &str) -> Vec<String> {
    let mut faults = paragraph(path, text);
    faults.extend(arrows(path, text));
    faults.extend(leftovers(path, text));
    faults.extend(file_length(path, text));
    faults.extend(function_lengths(path, text));
    faults
}

/// A file says first what it is for. One that holds a single line has nothing to explain.
fn paragraph(path: &str, text: &str) -> Vec<String> {
    match text.lines().count() <= 1 || text.starts_with("//! ") {
        true => Vec::new(),
        false => vec![format!("{path}:1: begin with a paragraph (//!) on what the file is for")],
    }
}

fn arrows(path: &str, text: &str) -> Vec<String> {
    let own = path.split('/').nth(1).unwrap_or("").trim_end_matches(".rs");
    if !path.starts_with("src/") || is_test(path) || FREE.contains(&own) {
        return Vec::new();
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(module, _)| *module == own) else {
        return vec![format!("{path}:1: `{own}` is not among the arrows of tests/tidy.rs")];
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
fn uses(folder: &str, files: &[(String, String)]) -> BTreeSet<(String, String)> {
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
fn circle(uses: &BTreeSet<(String, String)>) -> Option<String> {
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

/// What of the store's modules for tests is in what is installed.
fn installed(manifest: &str, store: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for module in ["measured", "simulated"] {
        let lines: Vec<&str> = store.lines().collect();
        let at = lines.iter().position(|line| line.ends_with(&format!("mod {module};")));
        let attributes =
            at.map(|at| lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).copied());
        let is_feature = |line: &str| line.starts_with("#[cfg(") && line.contains("feature = \"simulation\"");
        if !attributes.is_some_and(|mut lines| lines.any(is_feature)) {
            faults.push(format!("src/store/mod.rs: `{module}` is not behind the feature `simulation`"));
        }
    }
    let mut section = "";
    for line in manifest.lines().filter(|line| !line.starts_with('#')) {
        section = if line.starts_with('[') { line } else { section };
        let is_default = section == "[features]" && line.starts_with("default");
        if is_default || line.contains("\"simulation\"") && section != "[dev-dependencies]" {
            faults.push(format!("Cargo.toml: `{line}` may turn on `simulation` in what is installed"));
        }
    }
    faults
}

fn leftovers(path: &str, text: &str) -> Vec<String> {
    const WORDS: [&str; 7] = ["dbg!(", "todo!(", "unimplemented!(", "TODO", "FIXME", "XXX", "HACK"];
    let lines = text.lines().enumerate();
    let found =
        lines.flat_map(|(at, line)| WORDS.iter().filter(|word| line.contains(**word)).map(move |w| (at, w)));
    found.map(|(at, word)| format!("{path}:{}: `{word}` is a leftover", at + 1)).collect()
}

fn file_length(path: &str, text: &str) -> Vec<String> {
    if is_test(path) {
        return Vec::new();
    }
    let most = FILE_LINES_MAX;
    match without_tests(text).count() {
        lines if lines > most => vec![format!("{path}: {lines} lines, at most {most}; look for the seam")],
        _ => Vec::new(),
    }
}

fn function_lengths(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        // rustfmt puts the closing brace of a function below its first letter.
        let end = lines[at..].iter().position(|l| l.strip_prefix(indent).is_some_and(|rest| rest == "}"));
        // The signature ends with its body's brace, or with a semicolon, or all of it stands in one line.
        let signature = lines[at..].iter().find(|l| l.ends_with(['{', ';', '}'])).copied().unwrap_or("");
        let Some(length) = end.filter(|_| signature.ends_with('{')).map(|end| end + 1) else { continue };
        let most = allowance(&LONG_FUNCTIONS, &format!("{path}:{name}"), FUNCTION_LINES_MAX);
        if length > most {
            faults.push(format!("{path}:{}: `{name}` has {length} lines, at most {most}", at + 1));
        }
    }
    faults
}

/// The name of the function that begins in a line.
fn function(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| {
        matches!(*word, "pub" | "async" | "const" | "unsafe") || word.starts_with("pub(") || *word == "super)"
    });
    let named = words.next() == Some("fn");
    let name = words.next().filter(|_| named)?;
    name.split(['(', '<']).next()
}

fn allowance(list: &[(&str, usize)], name: &str, most: usize) -> usize {
    list.iter().find(|(listed, _)| *listed == name).map_or(most, |(_, lines)| *lines)
}

/// The lines before a trailing `#[cfg(test)] mod … { … }`.
fn without_tests(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|two| two[0] == "#[cfg(test)]" && two[1].starts_with("mod ") && two[1].ends_with('{'));
    let end = tests.unwrap_or(lines.len());
    lines.into_iter().take(end).enumerate().map(|(at, line)| (at + 1, line))
}

/// Whether a whole file is a test.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.ends_with("_tests.rs")
}

/// The same, each `use` that takes several lines as one.
fn statements(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut lines = code(text);
    std::iter::from_fn(move || {
        let (number, line) = lines.next()?;
        let mut statement = line.to_owned();
        let begins = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        while begins.starts_with("use ") && !statement.ends_with(';') {
            statement.push_str(lines.next()?.1.trim());
        }
        Some((number, statement))
    })
}

/// The lines that are code: no comments, no tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    without_tests(text).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

mod each_rule_catches {
    use super::*;

    const GOOD: &str = "//! What this is for.\n\nuse crate::core::Time;\n\nfn one() {\n    two()\n}\n";

    #[test]
    fn nothing_in_a_good_file() {
        assert_eq!(check("src/core/job.rs", GOOD), [] as [&str; 0]);
    }

    #[test]
    fn a_file_without_a_paragraph() {
        let faults = check("src/clock.rs", "use std::fmt;\nfn one() {}\n");
        assert_eq!(faults, ["src/clock.rs:1: begin with a paragraph (//!) on what the file is for"]);
    }

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
            let faults = check(path, &format!("//! For.\n{line}\n"));
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

    #[test]
    fn what_is_for_tests_in_what_is_installed() {
        let store = "#[cfg(feature = \"simulation\")]\n#[doc(hidden)]\npub mod measured;\n\
                     #[cfg(any(test, feature = \"simulation\"))]\npub mod simulated;\n";
        let manifest =
            "[features]\nsimulation = []\n[dev-dependencies]\nmusher = { features = [\"simulation\"] }\n";
        assert_eq!(installed(manifest, store), [] as [&str; 0]);
        for without in ["#[cfg(feature = \"simulation\")]\n", "#[cfg(any(test, feature = \"simulation\"))]\n"]
        {
            assert_eq!(installed(manifest, &store.replace(without, "")).len(), 1);
        }
        for worse in [
            "[features]\ndefault = [\"simulation\"]\n",
            "[dependencies]\na = { features = [\"simulation\"] }\n",
        ] {
            assert_eq!(installed(worse, store).len(), 1);
        }
    }

    #[test]
    fn leftovers_in_code_and_comments() {
        for line in ["    dbg!(x);", "// TODO: later", "/* FIXME */", "    todo!()"] {
            assert_eq!(check("src/clock.rs", &format!("//! For.\n{line}\n")).len(), 1, "{line}");
        }
    }

    #[test]
    fn a_long_file_but_not_its_tests() {
        let long = format!("//! For.\n{}", "// on\n".repeat(FILE_LINES_MAX));
        assert_eq!(check("src/clock.rs", &long).len(), 1);
        assert_eq!(check("src/clock/tests.rs", &long).len(), 0);
        let tests = format!("//! For.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "// on\n".repeat(FILE_LINES_MAX));
        assert_eq!(check("src/clock.rs", &tests).len(), 0);
    }

    #[test]
    fn a_long_function_also_inside_an_impl() {
        let body = "        step();\n".repeat(FUNCTION_LINES_MAX);
        let long =
            format!("//! For.\nimpl A {{\n    pub(super) async fn run<T>(&self) {{\n{body}    }}\n}}\n");
        let faults = check("src/clock.rs", &long);
        assert_eq!(
            faults,
            [format!("src/clock.rs:3: `run` has {} lines, at most 90", FUNCTION_LINES_MAX + 2)]
        );
        let short = format!("//! For.\nfn one() {{}}\nfn two(\n    a: u8,\n);\nstruct A {{\n{body}}}\n");
        assert_eq!(check("src/clock.rs", &short).len(), 0);
    }
}
