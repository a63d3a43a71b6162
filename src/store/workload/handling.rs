//! What was done with jobs and queues by clients that count it.

use super::Workload;
use crate::core::*;
use crate::store::Commit;

impl Workload {
    /// What clients of beanstalkd do to a job, and to a queue whose name begins with what the key of a topic does.
    pub(crate) fn handle(&mut self, seed: u32) -> Commit {
        let jobs: Ids = self.known(|_| true).into_iter().take(2).collect();
        let counted = |what| Event::Counted { jobs: jobs.clone(), what };
        let queue = || QueueName::new(&format!("$(queue);{seed}")).expect("it follows the rule");
        let until = self.time.plus(std::time::Duration::from_secs(9));
        let one: Ids = self.state.next_id().into();
        let arrives = Event::Submitted {
            jobs: one.ranges()[0],
            spec: Spec::plain(queue()).into(),
            at: self.time.whole_second(),
            due: Some(until),
            expiry: Expiry::default(),
        };
        self.commit(vec![
            counted(Handling::Released),
            counted(Handling::TimedOut),
            counted(Handling::Buried { no: 7 }),
            counted(Handling::Kicked),
            arrives,
            Event::Counted { jobs: one, what: Handling::Delayed { seconds: 9, no: 8 } },
            Event::Row(RowEvent::PausedUntil { queue: queue(), until }),
        ])
    }
}
