//! Completion in a real shell: what the script of `musher completions bash` offers while somebody types.

use crate::helper::{Home, block_on};
use std::path::Path;
use std::process::Command;

/// What bash offers for the last of these words.
fn offered(home: &Home, words: &[&str]) -> Vec<String> {
    let musher = home.command();
    let dir = Path::new(musher.get_program()).parent().unwrap().display().to_string();
    let script = "source <(musher completions bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9; \
                  _clap_complete_musher musher \"${COMP_WORDS[-1]}\" \"\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", script, "bash", "musher"]).args(words).current_dir(home.path("."));
    command.env("PATH", format!("{dir}:/usr/bin:/bin")).env("MUSHER_SOCKET", home.socket());
    let output = command.output().unwrap();
    assert!(output.stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Options may stand anywhere.
    text.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).map(str::to_owned).collect()
}

#[test]
fn states_queues_ids_and_leases_of_the_running_daemon_are_offered() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
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
            let mut offered = offered(&home, words);
            let mut expected: Vec<_> = expected.iter().map(|text| (*text).to_owned()).collect();
            if words[0] != "show" {
                offered.sort();
                expected.sort();
            }
            assert_eq!(offered, expected, "{words:?}");
        }
        let verbs = offered(&home, &[""]);
        assert!(verbs.contains(&"submit".to_owned()) && !verbs.contains(&"pool".to_owned()), "{verbs:?}");
        daemon.stop().await;
        assert_eq!(
            offered(&home, &["pause", ""]),
            [] as [&str; 0],
            "without a daemon there is nothing to offer"
        );
        assert_eq!(offered(&home, &["list", "--state", "r"]), ["ready"]);
    });
}
