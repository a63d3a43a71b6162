//! The targets that there are.

mod beanstalk;
mod musher;
mod nats;
mod postgres;
mod redis;

use crate::target::Target;

/// One codec per connection; `n` numbers the connections of a run.
pub fn open(protocol: &str, n: usize) -> Option<Box<dyn Target>> {
    Some(match protocol {
        "beanstalk" => Box::new(beanstalk::Beanstalk::default()),
        "musher" => Box::new(musher::Musher::on("q")),
        // a key for each job, and one at a time of each (`per_key = 1` of the queue)
        "musher:keyed" => Box::new(musher::Musher::on("keyed").with_keys(100_000, n)),
        // a unique key for each job
        "musher:unique" => Box::new(musher::Musher::on("unique").with_unique_keys(n)),
        // another queue beside that one, for long runs
        "musher:standing" => Box::new(musher::Musher::on("standing")),
        "redis-list" => Box::new(redis::Redis::list(n)),
        "redis-stream" => Box::new(redis::Redis::stream(n)),
        "nats" => Box::new(nats::Nats::new(n, 1)),
        // On three servers.
        "nats:3" => Box::new(nats::Nats::new(n, 3)),
        "postgres" => Box::new(postgres::Postgres::new(false)),
        "postgres-notify" => Box::new(postgres::Postgres::new(true)),
        _ => return None,
    })
}
