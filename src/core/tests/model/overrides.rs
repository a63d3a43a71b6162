//! What is set for queues at run time, in the naive model: put over what the configuration says, all anew each time.

use super::Model;
use crate::core::*;

impl Model {
    pub(super) fn set_queue(
        &mut self,
        name: &QueueName,
        set: &[Setting],
        unset: &[SettingKey],
        by: u32,
    ) -> Result<Outcome, Rejection> {
        let before: Vec<Override> = self.overrides_of(name);
        let mut all: Vec<_> =
            before.iter().filter(|one| !unset.contains(&one.setting.key())).copied().collect();
        for setting in set {
            if all.iter().any(|one| one.setting == *setting) {
                continue;
            }
            all.retain(|one| one.setting.key() != setting.key());
            all.push(Override { setting: *setting, by, at: Time(self.now) });
        }
        all.sort_by_key(|one| one.setting.key());
        if all.is_empty() {
            self.must_exist(name)?;
        }
        if all == before {
            return Ok(Outcome::Ok);
        }
        self.make_room(&[name])?;
        let is_last = all.is_empty();
        self.row(name).overrides = all.into_iter().collect();
        self.bring_together();
        let at = self.queue(name).expect("it was made just now");
        let row = &self.queues[at];
        let has_jobs = self.jobs.iter().any(|(_, job)| job.spec.queue == *name);
        if is_last && row.paused_until.is_none() && row.totals == Totals::default() && !has_jobs {
            self.queues.remove(at);
        }
        Ok(Outcome::Ok)
    }

    fn overrides_of(&self, name: &QueueName) -> Vec<Override> {
        let row = self.queue(name).map(|at| &self.queues[at]);
        row.into_iter().flat_map(|row| row.overrides.iter()).copied().collect()
    }

    /// The settings that hold.
    pub(in crate::core::tests) fn bring_together(&mut self) {
        self.settings = self.configured.clone();
        for row in self.queues.iter().filter(|row| !row.overrides.is_empty()) {
            let mut settings = self.configured.of(&row.name).clone();
            row.overrides.iter().for_each(|one| one.setting.put(&mut settings));
            self.settings.queues.insert(row.name.clone(), settings);
        }
    }
}
