//! Decides what is set for queues at run time, and brings it together with what the configuration says: once when either
//! changes, so that no other decision does.

use super::{Core, Decision};
use crate::core::change::Recorder;
use crate::core::command::Outcome;
use crate::core::event::RowEvent;
use crate::core::job::QueueName;
use crate::core::overrides::{Override, Setting, SettingKey};
use crate::core::rejection::Rejection;
use crate::core::settings::{Full, QueueSettings, Settings};
use crate::core::state::{State, Totals};
use std::collections::HashSet;

impl<R: Recorder> Decision<'_, R> {
    /// Sets and unsets settings of a queue, which need not be there yet.
    pub(super) fn set_queue(
        &mut self,
        name: &QueueName,
        set: &[Setting],
        unset: &[SettingKey],
        by: u32,
    ) -> Result<Outcome, Rejection> {
        let queue = self.state().queue(name);
        let before = queue.map(|queue| queue.overrides.clone()).unwrap_or_default();
        let mut overrides = before.clone();
        unset.iter().for_each(|key| overrides.unset(*key));
        let at = self.moment.now;
        for setting in set {
            // What is set already was set by somebody else, at that time.
            if overrides.get(setting.key()).is_none_or(|one| one.setting != *setting) {
                overrides.set(Override { setting: *setting, by, at });
            }
        }
        if queue.is_none() && overrides.is_empty() {
            self.must_be_configured(name)?;
        }
        if overrides == before {
            return Ok(Outcome::Ok);
        }
        // It is no job's queue yet, and so counts for no user.
        self.make_room_for_queues(usize::from(queue.is_none()), 0, &HashSet::from([name]))?;
        let is_last = overrides.is_empty();
        self.emit(RowEvent::OverridesSet { queue: name.clone(), overrides });
        self.core.bring_together(name);
        if is_last && self.state().queue(name).is_some_and(|q| q.is_empty() && q.totals == Totals::default())
        {
            // It was there for nothing else.
            self.emit(RowEvent::QueueForgotten { queue: name.clone() });
        }
        Ok(Outcome::Ok)
    }
}

impl Core {
    /// A core over what recovery found.
    pub fn new(state: State, settings: Settings) -> Core {
        let mut core = Core { state, ..Core::default() };
        core.configure(settings);
        core
    }

    /// Takes other settings into force, from a configuration; what was set at run time goes over them.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
        self.configured.clear();
        let is_set =
            |(name, queue): (&QueueName, &super::Queue)| (!queue.overrides.is_empty()).then(|| name.clone());
        for name in self.state.queues().filter_map(is_set).collect::<Vec<_>>() {
            self.overlay(&name);
        }
        self.see_what_counts();
        let lets_none_go = |name: &&QueueName| self.settings.of(name).full != Full::DropOld;
        let names = self.state.queues().map(|(name, _)| name).filter(lets_none_go).cloned();
        names.collect::<Vec<_>>().iter().for_each(|name| self.state.forget_last_in_line(name));
    }

    /// What the configuration says for a queue, whatever was set for it at run time.
    pub fn configured(&self, name: &QueueName) -> &QueueSettings {
        match self.configured.get(name) {
            Some(table) => table.as_ref().unwrap_or(&self.settings.default),
            None => self.settings.of(name),
        }
    }

    /// Whether the configuration has a table for this queue.
    pub fn is_configured(&self, name: &QueueName) -> bool {
        match self.configured.get(name) {
            Some(table) => table.is_some(),
            None => self.settings.queues.contains_key(name),
        }
    }

    fn see_what_counts(&mut self) {
        let Settings { default, queues, total_backlog_bytes, .. } = &self.settings;
        let each = || queues.values().chain([default]);
        self.counts_bytes = *total_backlog_bytes > 0 || each().any(|settings| settings.backlog_bytes > 0);
        self.has_weights = each().any(|settings| settings.weight.is_some());
    }

    /// Brings what was set for a queue into force, or out of it.
    pub(super) fn bring_together(&mut self, name: &QueueName) {
        self.overlay(name);
        self.see_what_counts();
        if self.settings.of(name).full != Full::DropOld {
            self.state.forget_last_in_line(name);
        }
    }

    fn overlay(&mut self, name: &QueueName) {
        let overrides = self.state.queue(name).map(|queue| &queue.overrides).filter(|all| !all.is_empty());
        if let Some(overrides) = overrides {
            let settings = overrides.over(self.configured(name));
            let table = self.settings.queues.insert(name.clone(), settings);
            self.configured.entry(name.clone()).or_insert(table);
        } else if let Some(table) = self.configured.remove(name) {
            match table {
                Some(table) => self.settings.queues.insert(name.clone(), table),
                None => self.settings.queues.remove(name),
            };
        }
    }
}
