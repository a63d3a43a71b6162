//! What keys cost the core: `cargo bench --bench keys`. A claim beside so many keys that have all the leases that they
//! may have, and jobs that wait for these; and the cycle of jobs with keys, fifty at a time, beside the same without.

use divan::Bencher;
use divan::counter::ItemsCount;
use musher::core::{
    Attempt, Change, Claim, ClaimOrder, Command, Core, Event, Grant, Group, Holder, JobId, Key, LeaseId,
    Moment, Observer, Outcome, QueueChange, QueueName, Recorder, Spec, Time, Verdict, Visibility,
};
use std::cell::RefCell;

const BATCH: u64 = 50;
/// Keys of the cycle.
const KEYS: u64 = 100_000;

fn main() {
    divan::main();
}

/// Nobody keeps what was decided.
struct Nobody;

impl Observer for Nobody {
    fn changed(&mut self, _: &Change<'_>) {}

    fn queue_changed(&mut self, _: &QueueName, _: QueueChange) {}
}

impl Recorder for Nobody {
    fn record(&mut self, _: Event) {}
}

/// What of a job is its own.
#[derive(Clone, Copy, Debug)]
enum Own {
    Nothing,
    Key,
    UniqueKey,
}

struct Queue {
    core: Core,
    name: QueueName,
    /// How many jobs were submitted.
    jobs: u64,
}

impl Queue {
    fn new() -> Queue {
        let mut core = Core::default();
        core.settings.default.per_key = Some(1);
        Queue { core, name: QueueName::new("bench").expect("a good name"), jobs: 0 }
    }

    fn run(&mut self, command: &Command) -> Outcome {
        let moment = Moment { now: Time(1), random: 1 };
        self.core.decide(command, Visibility::ALL, moment, &mut Nobody).expect("nothing is refused")
    }

    fn submit(&mut self, own: Own, numbers: impl Iterator<Item = u64>) {
        let key = |number: u64| Some(Key::new((u128::from(number) << 64 | 1).to_be_bytes()));
        let spec = Spec::plain(self.name.clone());
        let group = |number| {
            Group::new(
                match own {
                    Own::Nothing => spec.clone(),
                    Own::Key => spec.clone().with_key(key(number)),
                    Own::UniqueKey => spec.clone().with_unique(key(number)),
                },
                1,
            )
        };
        let groups: musher::core::Groups = match own {
            Own::Nothing => [Group { count: numbers.count() as u64, ..group(0) }].into_iter().collect(),
            Own::Key | Own::UniqueKey => numbers.map(group).collect(),
        };
        self.jobs += groups.iter().map(|group| group.count).sum::<u64>();
        self.run(&Command::Submit { groups });
    }

    fn claim(&mut self, max: u64) -> Vec<Grant> {
        let (queues, holder) = (vec![self.name.clone()], Holder::Session(1));
        let claim =
            Claim { queues, max: max as u32, lease: None, holder, worker: None, order: ClaimOrder::AsNamed };
        match self.run(&Command::Claim(claim)) {
            Outcome::Claimed(grants) => grants,
            _ => Vec::new(),
        }
    }

    fn complete(&mut self, jobs: impl Iterator<Item = JobId>) {
        let lease = |id| (LeaseId { id, attempt: Attempt(1) }, Verdict::Complete);
        self.run(&Command::Settle { items: jobs.map(lease).collect() });
    }
}

/// One job of a key of its own is ready; the keys before it are not its concern.
#[divan::bench(args = [10, 1_000, 100_000])]
fn claim_beside_blocked_keys(bencher: Bencher, keys: u64) {
    let mut queue = Queue::new();
    queue.submit(Own::Key, (0..keys).flat_map(|key| [key + 1, key + 1]));
    assert_eq!(queue.claim(keys).len() as u64, keys);
    assert!(queue.claim(1).is_empty(), "all keys have what they may have");
    let queue = RefCell::new(queue);
    let renew = || {
        let mut queue = queue.borrow_mut();
        let last = JobId(queue.jobs);
        if last.0 > keys * 2 {
            queue.complete([last].into_iter());
        }
        let number = 1 << 40 | queue.jobs;
        queue.submit(Own::Key, [number].into_iter());
    };
    bencher.with_inputs(renew).bench_local_values(|()| assert_eq!(queue.borrow_mut().claim(1).len(), 1));
}

/// Submit, claim and complete, beside a backlog of jobs of as many keys.
#[divan::bench(args = [Own::Nothing, Own::Key, Own::UniqueKey])]
fn cycle_of_fifty(bencher: Bencher, own: Own) {
    let mut queue = Queue::new();
    // Numbers that jump from one end of the keys to the other.
    let number = |job: u64| match own {
        Own::UniqueKey => job * 7_919 % (1 << 40) + 1,
        _ => job * 7_919 % KEYS + 1,
    };
    queue.submit(own, (0..KEYS).map(number));
    let queue = RefCell::new(queue);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let mut queue = queue.borrow_mut();
        let jobs = queue.jobs;
        queue.submit(own, (jobs..jobs + BATCH).map(number));
        let grants = queue.claim(BATCH);
        assert_eq!(grants.len() as u64, BATCH);
        queue.complete(grants.iter().map(|grant| grant.id));
    });
}
