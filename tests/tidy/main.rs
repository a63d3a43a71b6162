//! The house style as a test: reads the sources and fails on what no compiler sees. Arrows between modules that
//! point the wrong way, files without a paragraph on what they are for, leftovers, and what grew past its length.
//! Each rule is a file here, with tests of its own.

mod arrows;
mod installed;
mod lengths;
mod text;

use arrows::{WITHOUT_CIRCLES, arrows, circle, uses};
use lengths::{file_length, function_lengths};
use std::fs;
use std::path::{Path, PathBuf};

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
    faults.extend(undescribed(path, text));
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

fn leftovers(path: &str, text: &str) -> Vec<String> {
    const WORDS: [&str; 7] = ["dbg!(", "todo!(", "unimplemented!(", "TODO", "FIXME", "XXX", "HACK"];
    let lines = text.lines().enumerate();
    let found =
        lines.flat_map(|(at, line)| WORDS.iter().filter(|word| line.contains(**word)).map(move |w| (at, w)));
    found.map(|(at, word)| format!("{path}:{}: `{word}` is a leftover", at + 1)).collect()
}

/// All routes of the HTTP front are added in one place, which puts them into its document too; but for pages, which are no part of
/// the API.
fn undescribed(path: &str, text: &str) -> Vec<String> {
    let may = ["src/http/described.rs", "src/http/dashboard/mod.rs"].contains(&path);
    let is_elsewhere = path.starts_with("src/http/") && !may;
    let lines = text.lines().enumerate().filter(|(_, line)| is_elsewhere && line.contains(".route("));
    lines.map(|(at, _)| format!("{path}:{}: this route is not in the document", at + 1)).collect()
}

mod catches {
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
    fn a_route_beside_the_document() {
        let text = "//! For.\n\nfn one() {\n    router.route(\"/x\", get(x))\n}\n";
        let faults = check("src/http/health.rs", text);
        assert_eq!(faults, ["src/http/health.rs:4: this route is not in the document"]);
        assert_eq!(check("src/http/described.rs", text), [] as [&str; 0]);
    }

    #[test]
    fn leftovers_in_code_and_comments() {
        for line in ["    dbg!(x);", "// TODO: later", "/* FIXME */", "    todo!()"] {
            assert_eq!(check("src/clock.rs", &format!("//! For.\n{line}\n")).len(), 1, "{line}");
        }
    }
}
