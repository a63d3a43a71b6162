//! The example `memory_journal`, in its short form: three lives, one of them killed and one drained, and the account.

use crate::helper::{Home, block_on};
use example::account::{self, Account};
use example::life::Life;
use example::{play, queue};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

#[path = "../../examples/memory_journal/main.rs"]
#[allow(dead_code, reason = "an example is a program, with a main of its own")]
mod example;

/// What a life is asked for, in words, one a line.
const LIFE: &str = "MUSHER_TEST_JOURNAL";

/// How many memories are enough for all that the example shows.
const MEMORIES: usize = 60;

/// Plays it with a process for each life: the first test below, started with [`LIFE`] in its environment.
fn play(life: &Life) -> Account {
    let program = std::env::current_exe().unwrap();
    let start = |life: &Life| {
        let mut command = Command::new(&program);
        let name = "memory_journal::what_was_acknowledged_is_associated_closed_and_consolidated_once_whatever_ends_it";
        command.args([name, "--exact", "--nocapture"]);
        command.env(LIFE, life.to_args().join("\n")).stderr(Stdio::null());
        command
    };
    play::play(life, start).unwrap()
}

fn life(directory: &Path, more: &[&str]) -> Life {
    let memories = MEMORIES.to_string();
    let words = ["--memories", &*memories].into_iter().chain(more.iter().copied()).map(str::to_owned);
    Life::from_args(words, directory).unwrap()
}

#[test]
fn what_was_acknowledged_is_associated_closed_and_consolidated_once_whatever_ends_it() {
    if let Ok(words) = std::env::var(LIFE) {
        let life = Life::from_args(words.lines().map(str::to_owned), Path::new("")).unwrap();
        return example::live_here(&life).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let life = life(dir.path(), &["--full", "drop-old"]);
    let account = play(&life);
    assert_eq!(account.faults, [] as [&str; 0]);
    let all = (0..MEMORIES as u32).collect();
    let queues = play::queues(&life).unwrap();
    let again = || account::check(dir.path(), &all, MEMORIES, &queues).unwrap().faults;
    assert_eq!(again(), [] as [&str; 0]);

    // What the account says if something is lost, is other than it should be, or was done twice.
    let store = dir.path().join("store");
    fs::remove_file(store.join("ends/00007.causal.json")).unwrap();
    fs::write(store.join("ends/00008.temporal.json"), r#"{"linked": []}"#).unwrap();
    fs::remove_file(store.join("closed/00009.json")).unwrap();
    let one = fs::read_dir(store.join("consolidations")).unwrap().next().unwrap().unwrap().path();
    fs::copy(one, store.join("consolidations/9999.json")).unwrap();
    let faults = again().join("\n");
    for fault in [
        "memory 7, causal: None",
        "memory 8, temporal: Some(Linked([]))",
        "memory 9 is not closed",
        "in 2 consolidations",
    ] {
        assert!(faults.contains(fault), "{fault}:\n{faults}");
    }
}

#[test]
fn it_is_the_same_with_a_daemon() {
    block_on(async {
        let home = Home::new("");
        fs::write(home.path("musher.toml"), queue::CONFIGURATION).unwrap();
        let daemon = home.serve().await;
        let socket = home.socket();
        let (directory, words) =
            (home.path("journal"), ["--socket", socket.to_str().unwrap(), "--full", "wait"]);
        let life = life(&directory, &words);
        fs::create_dir(&directory).unwrap();
        let account = tokio::task::spawn_blocking(move || play(&life)).await.unwrap();
        assert_eq!(account.faults, [] as [&str; 0]);
        daemon.stop().await;
    });
}
