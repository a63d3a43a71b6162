//! What was set for a queue at run time, over what the configuration says. It is part of the state: events and rows hold
//! it. What the configuration says is not, so that the two meet only where a decision is made
//! (`Core::settings`). It must not know how a setting is written.

use super::job::Priority;
use super::rate::Rate;
use super::settings::{Full, Keep, QueueSettings, Retries};
use super::time::Time;
use std::time::Duration;

macro_rules! settings {
    ($($name:ident($type:ty): $field:ident, $text:literal;)*) => {
        /// Names a setting of a queue that can be set at run time.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "each is the field of `QueueSettings` of the same name")]
        pub enum SettingKey {
            $($name,)*
        }

        /// A setting of a queue, with a value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is the field of `QueueSettings` of the same name")]
        pub enum Setting {
            $($name($type),)*
        }

        impl SettingKey {
            /// All of them.
            pub const ALL: &'static [SettingKey] = &[$(SettingKey::$name,)*];

            /// As it is called in the configuration and on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(SettingKey::$name => $text,)*
                }
            }
        }

        impl Setting {
            /// What it sets.
            pub fn key(self) -> SettingKey {
                match self {
                    $(Setting::$name(_) => SettingKey::$name,)*
                }
            }

            /// The value that these settings have for a key.
            pub fn of(key: SettingKey, settings: &QueueSettings) -> Setting {
                match key {
                    $(SettingKey::$name => Setting::$name(settings.$field),)*
                }
            }

            /// Puts it into these settings.
            pub fn put(self, settings: &mut QueueSettings) {
                match self {
                    $(Setting::$name(value) => settings.$field = value,)*
                }
            }
        }
    };
}

settings! {
    Priority(Priority): priority, "priority";
    Lease(Duration): lease, "lease";
    Timeout(Option<Duration>): timeout, "timeout";
    Attempts(u32): attempts, "attempts";
    Retries(Retries): retries, "retries";
    Crashes(u32): crashes, "crashes";
    LaterMax(u32): later_max, "later_max";
    KeepDone(Keep): keep_done, "keep.done";
    KeepDoneMax(u64): keep_done_max, "keep.done_max";
    KeepDead(Keep): keep_dead, "keep.dead";
    KeepDeadMax(Option<u32>): keep_dead_max, "keep.dead_max";
    Backlog(u64): backlog, "backlog";
    BacklogBytes(u64): backlog_bytes, "backlog_bytes";
    Full(Full): full, "full";
    Concurrency(Option<u32>): concurrency, "concurrency";
    PerKey(Option<u32>): per_key, "per_key";
    Rate(Option<Rate>): rate, "rate";
    PerKeyRate(Option<Rate>): per_key_rate, "per_key_rate";
    Fair(bool): fair, "fair";
    Weight(Option<u32>): weight, "weight";
    CircuitFailures(Option<u32>): circuit_failures, "circuit.failures";
    CircuitProbe(Duration): circuit_probe, "circuit.probe";
}

/// One setting that was set at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// What it was set to.
    pub setting: Setting,
    /// The user who has set it.
    pub by: u32,
    /// When.
    pub at: Time,
}

/// All that was set for one queue at run time, each setting at most once, in the order of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(Vec<Override>);

impl Overrides {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// They, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = &Override> {
        self.0.iter()
    }

    /// What one setting was set to, if it was.
    pub fn get(&self, key: SettingKey) -> Option<&Override> {
        self.0.iter().find(|one| one.setting.key() == key)
    }

    /// Adds one, which takes the place of one of the same key.
    pub fn set(&mut self, new: Override) {
        let key = new.setting.key();
        match self.0.binary_search_by_key(&key, |one| one.setting.key()) {
            Ok(at) => self.0[at] = new,
            Err(at) => self.0.insert(at, new),
        }
    }

    /// Takes one out.
    pub fn unset(&mut self, key: SettingKey) {
        self.0.retain(|one| one.setting.key() != key);
    }

    /// These settings with what is set put over them.
    pub fn over(&self, settings: &QueueSettings) -> QueueSettings {
        let mut settings = settings.clone();
        self.0.iter().for_each(|one| one.setting.put(&mut settings));
        settings
    }
}

impl FromIterator<Override> for Overrides {
    fn from_iter<I: IntoIterator<Item = Override>>(all: I) -> Overrides {
        let mut overrides = Overrides::default();
        all.into_iter().for_each(|one| overrides.set(one));
        overrides
    }
}
