//! What the parts of the daemon need of a configuration, each in its own words. It decides nothing.

use crate::access::Access;
use crate::config::{self, Config, DrainSubmits, Handler};
use crate::core::{ExitMeaning, Payload, Plan, Spec, SpecOptions};
use crate::engine::Bounds;
use crate::protocol::{CommandJob, Word};
use crate::server::{Limits, Service, submit};
use crate::store::{Envelope, Options};
use crate::views::{HandlerView, PushView, StatusMeaning, StatusRule};
use std::rc::Rc;

/// Where the programs of commands are looked for that name no directory: what others know of it is no part of the configuration.
const COMMAND_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// About how much memory a queue or a job takes that a waiting request names.
const WAITING_BYTES: usize = 512;

/// How the store keeps what it has.
pub(super) fn store_options(config: &Config) -> Options {
    Options {
        log_file_bytes: config.storage.log_file,
        log_max_bytes: config.storage.log_max,
        checkpoint_interval: config.storage.checkpoint,
        cache_bytes: config.storage.cache,
        disk_reserve_bytes: config.limits.disk_reserve,
        ballast_bytes: config.storage.ballast,
        shrink_above_bytes: config.storage.shrink_above,
    }
}

/// What a configuration may have is what an envelope takes.
const _: () = assert!(
    config::SCHEDULE_TAGS.0 == Envelope::TAG_COUNT_MAX
        && config::SCHEDULE_TAGS.1 == Envelope::TAGS_MAX
        && config::SCHEDULE_KEY_MAX == Envelope::KEY_MAX
);

/// What a schedule of the configuration submits, and when. Its jobs are the daemon's own.
pub(super) fn plan(schedule: &config::Schedule) -> Plan {
    let tags = schedule.tags.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
    let key = schedule.key.as_deref();
    let envelope = Envelope::new(tags.collect()).and_then(|tags| tags.with_keys(key.map(Into::into), None));
    let envelope = envelope.expect("the configuration was checked");
    let envelope = Some(envelope).filter(|_| !schedule.tags.is_empty() || key.is_some());
    let body = schedule.command.as_deref().map_or_else(|| schedule.body.as_bytes().to_vec(), command);
    let options = SpecOptions {
        priority: schedule.priority.unwrap_or_default(),
        attempts: schedule.attempts.or(schedule.command.is_some().then_some(1)),
        timeout: schedule.timeout,
        has_envelope: envelope.is_some(),
        owner: rustix::process::geteuid().as_raw(),
        ..SpecOptions::plain(schedule.queue.clone())
    };
    Plan {
        rhythm: schedule.rhythm.clone(),
        catch_up: schedule.catch_up,
        overlap: schedule.overlap,
        jitter: schedule.jitter,
        spec: Spec::from(options).with_key(key.map(submit::key)).into(),
        usual_priority: schedule.priority.is_none(),
        ttl: schedule.ttl,
        deadline: schedule.deadline,
        payload: Payload {
            body: body.into(),
            envelope: envelope.map(|envelope| (*envelope.encode()).into()),
        },
        configured: true,
    }
}

/// The body of a job that runs this command.
fn command(argv: &[String]) -> Vec<u8> {
    let word = |text: &str| Word(text.into());
    let job = CommandJob {
        argv: argv.iter().map(|text| word(text)).collect(),
        cwd: word("/"),
        env: vec![(word("PATH"), word(COMMAND_PATH))],
    };
    serde_json::to_vec(&job).expect("it is written to memory, and its keys are texts")
}

/// What the loop needs of a configuration.
pub(super) fn service(config: &Config) -> Service {
    let limits = &config.limits;
    Service {
        settings: config.settings(),
        usual: config.queues.iter().map(|(name, queue)| (name.clone(), queue.usual.clone())).collect(),
        access: Rc::new(Access::new(rustix::process::geteuid().as_raw(), config.access.clone())),
        limits: Limits {
            connections: limits.connections,
            frame: limits.frame,
            body: limits.body,
            checkpoint: limits.checkpoint,
            signal: limits.signal,
            result: limits.result,
            batch: limits.batch,
            output: limits.output as u64,
            buffers: limits.buffers,
            bounds: Bounds {
                resume_within: config.daemon.resume_within,
                waiting: limits.waiting,
                waiting_all: limits.buffers / WAITING_BYTES,
                claim_bytes: limits.frame / 2,
                parked_bytes: limits.buffers / 4,
                body: limits.body,
                metrics_queues: limits.metrics_queues,
                ..Bounds::default()
            },
        },
        handlers: config
            .queues
            .iter()
            .filter_map(|(name, queue)| {
                let (exec, http) = match queue.handler.as_ref()? {
                    Handler::Exec(argv) => (Some(argv.clone()), None),
                    Handler::Http(push) => (None, Some(push_view(push))),
                    Handler::Command => (None, None),
                };
                let (queue, workers) = (name.as_str().into(), queue.workers);
                Some(HandlerView {
                    queue,
                    workers,
                    exec,
                    http,
                    output_max: limits.output as u64,
                    result_max: limits.result,
                })
            })
            .collect(),
        drain_timeout: config.daemon.drain_timeout,
        accept_while_draining: config.daemon.drain_submits == DrainSubmits::Accept,
    }
}

fn push_view(push: &config::Push) -> PushView {
    let rule = |(first, last, meaning): &(u16, u16, ExitMeaning)| {
        let means = match meaning {
            ExitMeaning::Done => StatusMeaning::Done,
            ExitMeaning::Failed => StatusMeaning::Failed,
            ExitMeaning::Later => StatusMeaning::Later,
            ExitMeaning::Dead => StatusMeaning::Dead,
        };
        StatusRule { first: *first, last: *last, means }
    };
    PushView {
        url: push.url.clone(),
        content_type: push.content_type.clone(),
        secret_file: push.secret_file.clone(),
        ca_file: push.ca_file.clone(),
        on_status: push.on_status.iter().map(rule).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A longer body would be written, and refused at the next start.
    #[test]
    fn a_command_takes_no_more_as_a_body_than_the_configuration_has_counted() {
        let most = |word: &str| config::SCHEDULE_COMMAND_MAX / config::stored_at_most(&[word.to_owned()]);
        for word in ["", "x", "\u{1}", "\"", "\u{2028}", &"\u{1f}".repeat(10_000)] {
            let argv = vec![word.to_owned(); most(word)];
            assert!(config::stored_at_most(&argv) <= config::SCHEDULE_COMMAND_MAX && !argv.is_empty());
            assert!(command(&argv).len() <= Payload::BODY_MAX, "{} of {word:?}", argv.len());
        }
    }
}
