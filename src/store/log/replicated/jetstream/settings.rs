//! How the stream is to be: it keeps what it has confirmed, and takes nothing else.

use super::connection::{StreamConfig, StreamError};
use async_nats::jetstream::stream::{
    Config as JetStreamConfig, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType,
};
use std::fmt;
use std::time::Duration;

/// Of how many shards the stream is one, among what is noted with it.
const SHARDS: &str = "musher.shards";

pub(super) fn wanted(config: &StreamConfig) -> JetStreamConfig {
    JetStreamConfig {
        name: config.stream.clone(),
        subjects: vec![config.subject.clone()],
        description: Some("the log of a shard of musher: written by its nodes only".to_owned()),
        storage: StorageType::File,
        num_replicas: config.replicas,
        retention: RetentionPolicy::Limits,
        // Bounds would let old records go before they are home, or none in.
        discard: DiscardPolicy::New,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        deny_delete: true,
        metadata: config.shards.map(|shards| (SHARDS.to_owned(), shards.to_string())).into_iter().collect(),
        ..JetStreamConfig::default()
    }
}

/// Whether a stream that is there already keeps what it has confirmed, and takes nothing else.
pub(super) fn check(config: &StreamConfig, found: &JetStreamConfig) -> Result<(), StreamError> {
    let wanted = wanted(config);
    let differs = |what, found: &dyn fmt::Debug, wanted: &dyn fmt::Debug| {
        let (stream, found, wanted) = (config.stream.clone(), format!("{found:?}"), format!("{wanted:?}"));
        if found == wanted { Ok(()) } else { Err(StreamError::Unsafe { stream, what, found, wanted }) }
    };
    differs("storage", &found.storage, &wanted.storage)?;
    differs("replicas", &found.num_replicas, &wanted.num_replicas)?;
    differs("retention", &found.retention, &wanted.retention)?;
    differs("subjects", &found.subjects, &wanted.subjects)?;
    differs("discard", &found.discard, &wanted.discard)?;
    differs("max_age", &found.max_age, &Duration::ZERO)?;
    differs("max_bytes", &found.max_bytes, &wanted.max_bytes)?;
    differs("max_msgs", &found.max_messages, &wanted.max_messages)?;
    differs("max_msgs_per_subject", &found.max_messages_per_subject, &wanted.max_messages_per_subject)?;
    differs("max_msg_size", &found.max_message_size, &wanted.max_message_size)?;
    differs("deny_delete", &found.deny_delete, &true)?;
    differs("allow_rollup", &found.allow_rollup, &false)?;
    differs("allow_msg_ttl", &found.allow_message_ttl, &false)?;
    differs("no_ack", &found.no_ack, &false)?;
    differs("sealed", &found.sealed, &false)?;
    differs("a mirror", &found.mirror.is_some(), &false)?;
    differs("sources", &found.sources.as_ref().is_some_and(|sources| !sources.is_empty()), &false)?;
    // Nodes that count otherwise look for a queue elsewhere.
    differs("shards", &found.metadata.get(SHARDS), &wanted.metadata.get(SHARDS))?;
    // The other mode confirms what is not on disk yet.
    differs("persist_mode", &found.persist_mode.unwrap_or_default(), &PersistenceMode::Default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_refused_for_all_that_loses_records() {
        let config = StreamConfig {
            servers: Vec::new(),
            credentials: None,
            tls: None,
            stream: "s".to_owned(),
            subject: "s".to_owned(),
            shards: Some(4),
            replicas: 3,
        };
        check(&config, &wanted(&config)).unwrap();
        type Change = fn(&mut JetStreamConfig);
        let changes: [(&str, Change); 10] = [
            ("storage", |it| it.storage = StorageType::Memory),
            ("replicas", |it| it.num_replicas = 1),
            ("discard", |it| it.discard = DiscardPolicy::Old),
            ("max_age", |it| it.max_age = Duration::from_secs(3600)),
            ("max_bytes", |it| it.max_bytes = 1 << 30),
            ("max_msgs_per_subject", |it| it.max_messages_per_subject = 1),
            ("deny_delete", |it| it.deny_delete = false),
            ("allow_rollup", |it| it.allow_rollup = true),
            ("shards", |it| it.metadata.clear()),
            ("persist_mode", |it| it.persist_mode = Some(PersistenceMode::Async)),
        ];
        for (what, change) in changes {
            let mut found = wanted(&config);
            change(&mut found);
            let error = check(&config, &found).unwrap_err().to_string();
            assert!(error.contains(&format!("has {what} ")), "{error}");
        }
    }
}
