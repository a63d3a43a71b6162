//! Completion in real shells: what the scripts of `musher completions` offer while somebody types.

use crate::helper::{Daemon, Home, block_on, skipped};
use std::path::Path;
use std::process::Command;

/// Offers what a shell offers for the last of the words behind `musher`, which are its arguments: a value a line, for
/// some shells with a tab or a colon and a description.
#[derive(Clone, Copy, Debug)]
struct Shell {
    name: &'static str,
    options: &'static [&'static str],
    script: &'static str,
    /// What stands between a value and its description.
    described: char,
}

const BASH: Shell = Shell {
    name: "bash",
    options: &["--norc", "-c"],
    script: "source <(musher completions bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9; \
             _clap_complete_musher musher \"${COMP_WORDS[-1]}\" \"\"; printf '%s\\n' \"${COMPREPLY[@]}\"",
    described: '\t',
};

/// Its line editor is not there without a terminal: what the script hands to it is printed instead.
const ZSH: Shell = Shell {
    name: "zsh",
    options: &["-f", "-c"],
    script: "compdef() { completer=$1; }; _describe() { printf '%s\\n' \"${(@P)3}\"; }; source <(musher completions zsh); \
             words=(\"$@\"); CURRENT=$#; $completer; true",
    described: ':',
};

const FISH: Shell = Shell {
    name: "fish",
    options: &["--no-config", "-c"],
    script: "musher completions fish | source; complete -C \"$argv\"",
    described: '\t',
};

impl Shell {
    fn is_here(self) -> bool {
        Command::new(self.name).arg("--version").output().is_ok_and(|output| output.status.success())
    }

    fn offers(self, home: &Home, words: &[&str]) -> Vec<String> {
        let musher = home.command();
        let dir = Path::new(musher.get_program()).parent().unwrap().display().to_string();
        let mut command = Command::new(self.name);
        command.args(self.options).arg(self.script);
        if self.name != "fish" {
            command.arg(self.name); // what `$0` is
        }
        command.arg("musher").args(words).current_dir(home.path(".")).env("HOME", home.path("."));
        command.env("PATH", format!("{dir}:/usr/bin:/bin")).env("MUSHER_SOCKET", home.socket());
        let output = command.output().unwrap();
        assert!(output.stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let values = text.lines().map(|line| line.split(self.described).next().unwrap_or_default());
        // Options may stand anywhere.
        values.filter(|value| !value.is_empty() && !value.starts_with("--")).map(str::to_owned).collect()
    }
}

#[test]
fn bash_offers_states_queues_ids_and_leases_of_the_running_daemon() {
    is_complete(BASH);
}

#[test]
fn zsh_offers_the_same() {
    is_complete(ZSH);
}

#[test]
fn fish_offers_the_same() {
    is_complete(FISH);
}

fn is_complete(shell: Shell) {
    if !shell.is_here() {
        return skipped(&format!("there is no {} here", shell.name));
    }
    block_on(async {
        let home = Home::new("");
        let daemon: Daemon = home.serve().await;
        daemon.submit("mails", &["a"]).await;
        daemon.submit("music", &["b"]).await;
        daemon.submit("photos", &["c"]).await;
        daemon.claim("music", false, 0).await.unwrap();
        for (words, expected) in [
            (
                &["list", "--state", ""][..],
                &["scheduled", "ready", "leased", "done", "dead", "cancelled", "expired", "waiting"][..],
            ),
            (&["list", "--state", "d"], &["done", "dead"]),
            (&["list", "--queue", "m"], &["mails", "music"]),
            (&["submit", "p"], &["photos"]),
            (&["work", "mails", "mu"], &["music"]),
            (&["pause", ""], &["commands", "mails", "music", "photos"]),
            (&["show", ""], &["3", "2", "1"]),
            (&["wait", "1", "2"], &["2"]),
            (&["cancel", "--queue", "ma"], &["mails"]),
            (&["complete", ""], &["2@1"]),
            (&["serv"], &["serve"]),
            (&["po"], &[]),
            (&["completions", "b"], &["bash"]),
            (&["verify", "--backup", "mush"], &["musher.toml"]),
        ] {
            let mut offered = shell.offers(&home, words);
            let mut expected: Vec<_> = expected.iter().map(|text| (*text).to_owned()).collect();
            if words[0] != "show" {
                offered.sort();
                expected.sort();
            }
            assert_eq!(offered, expected, "{words:?}");
        }
        let verbs = shell.offers(&home, &[""]);
        assert!(verbs.contains(&"submit".to_owned()) && !verbs.contains(&"pool".to_owned()), "{verbs:?}");
        daemon.stop().await;
        assert_eq!(
            shell.offers(&home, &["pause", ""]),
            [] as [&str; 0],
            "without a daemon there is nothing to offer"
        );
        assert_eq!(shell.offers(&home, &["list", "--state", "r"]), ["ready"]);
    });
}
