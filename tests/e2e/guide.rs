//! docs/guide.md: each section is played against a daemon with its configuration, and each command must print what the
//! guide says. `…` there stands for anything.

use crate::helper::{Home, block_on};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What one section says.
#[derive(Default)]
struct Section {
    title: String,
    config: String,
    /// The files that it shows, by their names.
    files: Vec<(String, String)>,
    /// A command, and the lines that it prints.
    commands: Vec<(String, Vec<String>)>,
}

fn sections(text: &str) -> Vec<Section> {
    let (mut sections, mut block) = (vec![Section::default()], None);
    for line in text.lines() {
        let section = sections.last_mut().unwrap();
        match (block, line) {
            (Some(_), "```") => block = None,
            (None, line) if line.starts_with("```") => block = Some(&line[3..]),
            (Some(kind), line) if kind.starts_with("json ") => {
                let name = &kind[5..];
                if section.files.last().is_none_or(|(last, _)| last != name) {
                    section.files.push((name.to_owned(), String::new()));
                }
                section.files.last_mut().unwrap().1 += &format!("{line}\n");
            }
            (Some("toml"), line) => section.config += &format!("{line}\n"),
            (Some("console"), line) => match line.strip_prefix("$ ") {
                Some(command) => section.commands.push((command.to_owned(), Vec::new())),
                None => section.commands.last_mut().unwrap().1.push(line.to_owned()),
            },
            (None, line) if line.starts_with("## ") => {
                sections.push(Section { title: line[3..].to_owned(), ..Section::default() });
            }
            _ => {}
        }
    }
    sections
}

/// Whether a line is as it was written, with anything where that has an ellipsis.
fn fits(line: &str, written: &str) -> bool {
    let mut parts = written.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A line that is an ellipsis alone stands for any number of lines.
fn all_fit(printed: &[&str], written: &[String]) -> bool {
    match written {
        [] => printed.is_empty(),
        [any, rest @ ..] if any == "…" => (0..=printed.len()).any(|from| all_fit(&printed[from..], rest)),
        [first, rest @ ..] => {
            printed.first().is_some_and(|line| fits(line, first)) && all_fit(&printed[1..], rest)
        }
    }
}

#[test]
fn an_ellipsis_stands_for_anything() {
    assert!(fits("job 7 waits", "job … waits") && fits("a", "a") && fits("abc", "…"));
    assert!(!fits("job 7 runs", "job … waits") && !fits("ab", "a") && !fits("a", "ab…"));
    let written = ["…", "b", "c…"].map(str::to_owned);
    assert!(all_fit(&["x", "y", "b", "cd"], &written) && !all_fit(&["b", "x"], &written));
}

/// Runs as a person would type it. What goes on in the background is killed when the section ends.
struct Shell<'a> {
    home: &'a Home,
    path: String,
    background: Vec<Child>,
}

impl Shell<'_> {
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", &format!("set -o pipefail; {line}")]).current_dir(self.home.path("."));
        command.env("PATH", &self.path).env("MUSHER_SOCKET", self.home.socket()).env("NO_COLOR", "1");
        command.env_remove("MUSHER_CONFIG").stdin(Stdio::null());
        command
    }

    fn run(&mut self, section: &str, line: &str, written: &[String]) {
        if let Some(line) = line.strip_suffix(" &") {
            let mut command = self.command(&format!("exec {line}"));
            let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
            return self.background.push(quiet.spawn().unwrap());
        }
        // What goes to standard error is shown to a person as well.
        let output = self.command(&format!("{{ {line}\n}} 2>&1")).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let printed: Vec<&str> = printed.lines().collect();
        assert!(
            output.status.success() && all_fit(&printed, written),
            "{section}: `{line}` ({}) prints\n{}\n\ninstead of\n{}",
            output.status,
            printed.join("\n"),
            written.join("\n")
        );
    }
}

impl Drop for Shell<'_> {
    fn drop(&mut self) {
        for child in &mut self.background {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn every_command_of_the_guide_does_what_it_says() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide.md");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_musher"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut played = 0;
    for section in sections(&fs::read_to_string(guide).unwrap()) {
        block_on(async {
            let home = Home::new(&section.config);
            for (name, text) in &section.files {
                fs::write(home.path(name), text).unwrap();
            }
            let daemon = home.serve().await;
            let mut shell = Shell { home: &home, path: path.clone(), background: Vec::new() };
            for (line, written) in &section.commands {
                shell.run(&section.title, line, written);
                played += 1;
            }
            drop(shell);
            daemon.stop().await;
        });
    }
    assert!(played > 35, "the guide has {played} commands");
}
