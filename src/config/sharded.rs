//! What a cluster of several shards means for the rest of a configuration: what it cannot have, and what of it concerns one shard.

use super::problem::{ConfigErrors, Problem, Report};
use super::{Config, Topic};
use crate::shards::{Shards, namespace};

/// Refuses what would reach over several shards.
pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    if config.cluster.as_ref().is_none_or(|cluster| cluster.shards == 1) {
        return;
    }
    if config.daemon.beanstalk.is_some() {
        let message = "is not spoken where cluster.shards is more than 1: a connection may watch tubes of several shards, whose jobs no \
                       claim takes in one step; remove one of the two";
        report.error_outside("daemon.beanstalk", message);
    }
    for (pattern, queues) in &config.topics {
        let own = namespace(pattern.as_str());
        let strangers: Vec<_> =
            queues.iter().map(|name| name.as_str()).filter(|name| namespace(name) != own).collect();
        if own.contains('*') || !strangers.is_empty() {
            let message = format!(
                "{}: where cluster.shards is more than 1, a topic and its queues have the same namespace, which is what stands \
                 before the first `/`: `orders/*` may have `orders/mail`, say",
                strangers.first().copied().unwrap_or(pattern.as_str())
            );
            report.error_outside(&format!("topics.{}", pattern.as_str()), message);
        }
    }
}

impl Config {
    /// What of it concerns one shard of several, which a process of its own has. Others come to it by that process's parent.
    ///
    /// # Errors
    /// There are not so many by this configuration: then its queues are not those of the shard.
    pub fn of_shard(mut self, (shard, count): (usize, usize)) -> Result<Config, ConfigErrors> {
        let Some(cluster) = self.cluster.as_ref().filter(|cluster| cluster.shards == count) else {
            let message =
                format!("is {count} where the shards run, which cannot be changed: set it back to that");
            let (place, key) = ("the configuration".to_owned(), "cluster.shards".to_owned());
            return Err(ConfigErrors(vec![Problem { place, key, message }]));
        };
        let shards = Shards::new(count);
        self.cluster = Some(cluster.of_shard(shard));
        self.daemon.data = self.daemon.data.join(format!("shard-{shard}"));
        (self.daemon.http, self.daemon.beanstalk) = (None, None);
        self.queues.retain(|name, _| shards.of_name(name.as_str()) == shard);
        self.schedules.retain(|_, schedule| shards.of_name(schedule.queue.as_str()) == shard);
        self.topics.retain(|(pattern, _): &Topic| shards.of_name(pattern.as_str()) == shard);
        Ok(self)
    }
}
