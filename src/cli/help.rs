//! `musher --help`: the verbs, grouped by purpose. The text of each is where it is declared.

use super::output::terminal_width;
use super::table::wrap;
use clap::Command;

/// What one wants, and the verbs for it. A test sees to it that none is missing.
const GROUPS: [(&str, &[&str]); 7] = [
    ("Submit jobs", &["submit", "run", "flow", "schedule", "import"]),
    ("Work on jobs", &["work", "claim", "complete", "fail", "extend", "progress", "checkpoint", "release"]),
    (
        "Look at jobs and queues",
        &["status", "queues", "stats", "top", "list", "show", "explain", "logs", "result", "wait"],
    ),
    (
        "Change jobs and queues",
        &[
            "cancel", "retry", "kick", "signal", "bury", "delete", "move", "edit", "priority", "pause",
            "resume", "purge", "queue", "group", "topic",
        ],
    ),
    ("Run the daemon", &["serve", "config", "cluster", "drain", "undrain", "log-level"]),
    ("Keep the data", &["backup", "restore", "export", "verify", "migrate"]),
    ("Try and learn", &["demo", "bench", "man", "completions"]),
];

/// The widest that help is, as clap has it.
const WIDTH_MAX: usize = 100;

/// The program with help that names its verbs in groups.
pub(super) fn grouped(program: Command) -> Command {
    let width = terminal_width().unwrap_or(WIDTH_MAX).min(WIDTH_MAX);
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}Options:\n{{options}}{{after-help}}",
        verbs(&program, width)
    );
    program.help_template(template)
}

fn verbs(program: &Command, width: usize) -> String {
    let indent = 2 + program.get_subcommands().map(|verb| verb.get_name().len()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (purpose, names) in GROUPS {
        text += &format!("{purpose}:\n");
        for name in names {
            // The program may have been built without what it is for.
            let shown = |verb: &&Command| verb.get_name() == *name && !verb.is_hide_set();
            let Some(verb) = program.get_subcommands().find(shown) else {
                continue;
            };
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            let mut head = format!("  {name}");
            for line in wrap(&about, width.saturating_sub(indent).max(20)) {
                text += &format!("{head:<indent$}{line}\n");
                head.clear();
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    #[test]
    fn every_verb_is_in_one_group_and_hidden_ones_in_none() {
        let program = Cli::command();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let mut known: Vec<&str> =
            program.get_subcommands().filter(|verb| !verb.is_hide_set()).map(Command::get_name).collect();
        grouped.sort_unstable();
        known.sort_unstable();
        assert_eq!(grouped, known, "src/cli/help.rs names each verb once");
    }

    #[test]
    fn help_fits_a_narrow_terminal() {
        let text = verbs(&Cli::command(), 60);
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        let help = super::grouped(Cli::command()).render_help().to_string();
        assert!(help.contains("Submit jobs:\n  submit  "), "{help}");
        assert!(help.contains("--socket <PATH>") && help.contains("Exit codes:"), "{help}");
    }
}
