//! Settings that are set at run time are read as the configuration is, and shown as they are read.

use super::config;
use crate::config::{read_settings, setting_keys, show_setting};
use crate::core::{Keep, QueueName, Rate, Retries, Setting, SettingKey};
use std::time::Duration;

fn read(pairs: &[&str]) -> Result<Vec<Setting>, String> {
    let pair =
        |text: &&str| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap();
    read_settings(&pairs.iter().map(pair).collect::<Vec<_>>())
}

#[test]
fn they_are_written_as_people_write_them() {
    assert_eq!(
        read(&[
            "rate=50/s",
            "concurrency=8",
            "keep.done=1h",
            "keep.done_max=10",
            "retries=behind",
            "per_key=0",
            "fair=true",
            "per_key_rate=30/m burst 5"
        ]),
        Ok(vec![
            Setting::Retries(Retries::Behind),
            Setting::KeepDone(Keep::For(Duration::from_secs(3600))),
            Setting::KeepDoneMax(10),
            Setting::Concurrency(Some(8)),
            Setting::PerKey(None),
            Setting::Rate(Rate::new(50, Duration::from_secs(1), None)),
            Setting::PerKeyRate(Rate::new(30, Duration::from_secs(60), Some(5))),
            Setting::Fair(true),
        ])
    );
    assert_eq!(read(&["rate=\"30/m burst 5\""]), read(&["rate=30/m burst 5"]));
    assert_eq!(read(&["keep={ dead = \"no\" }"]), Ok(vec![Setting::KeepDead(Keep::No)]));
    assert_eq!(read(&["timeout=none"]), Ok(vec![Setting::Timeout(None)]));
}

#[test]
fn what_is_wrong_is_told_with_what_is_valid() {
    for (pairs, expected) in [
        (&["rat=5/s"][..], "rat: unknown key; did you mean `rate`?"),
        (&["keep.don=1h"], "keep.don: unknown key; did you mean `done`?"),
        (&["workers=3"], "workers: is set in the configuration only"),
        (&["backoff.base=3s"], "backoff: is set in the configuration only"),
        (&["rate=fast"], "rate: `fast` is not a rate such as \"100/s\""),
        (&["fair=1"], "fair: must be true or false, not an integer"),
        (&["fair=often"], "fair: must be true or false, not a string"),
        (&["per_key_rate=0/s"], "per_key_rate: `0/s` is not possible: counts go from 1 to 1000000"),
        (&["per_key_rat=1/s"], "per_key_rat: unknown key; did you mean `per_key_rate`?"),
        (&["rate=5"], "rate: must be a text, not an integer"),
        (&["concurrency=many"], "concurrency: must be a whole number, not a string"),
        (&["concurrency=-1"], "concurrency: must not be negative"),
        (&["retries=first"], "use one of \"alternate\", \"behind\", \"place\""),
        (&["lease=1ms"], "lease: 1ms is too short; the least is 1s"),
        (&["attempts=0"], "attempts: 0 is too small; the least is 1"),
        (&["rate=1/s", "rate=2/s"], "rate is given twice"),
        (&["keep=1", "keep.done=1h"], "keep.done is given twice"),
        (&["concurrency=8\nworkers = 3"], "concurrency: must be a whole number"),
        (&["=5"], "unknown key"),
        (&["x.=5"], "unknown key"),
    ] {
        let message = read(pairs).unwrap_err();
        assert!(message.contains(expected), "{pairs:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    assert_eq!(read(&["rat=5/s", "attempts=0"]).unwrap_err().lines().count(), 2, "all at once");
}

#[test]
fn they_are_shown_as_they_are_read() {
    let source = "[queues.q]\nrate = '7/d burst 2'\nretries = 'place'\nkeep = { done = '90m', dead = 'forever' }\ntimeout = 'none'";
    let queues = config(source).queues;
    let settings = &queues[&QueueName::new("q").unwrap()].settings;
    for key in SettingKey::ALL {
        let setting = Setting::of(*key, settings);
        assert_eq!(read(&[&format!("{}={}", key.name(), show_setting(setting))]), Ok(vec![setting]));
    }
}

#[test]
fn a_name_is_a_setting_or_a_table_of_them() {
    assert_eq!(setting_keys("rate"), Ok(vec![SettingKey::Rate]));
    let keep = [SettingKey::KeepDone, SettingKey::KeepDoneMax, SettingKey::KeepDead, SettingKey::KeepDeadMax];
    assert_eq!(setting_keys("keep"), Ok(keep.to_vec()));
    assert!(setting_keys("concurency").unwrap_err().contains("did you mean `concurrency`?"));
    assert!(setting_keys("").unwrap_err().contains("known here are priority, lease"));
}
