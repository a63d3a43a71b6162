//! What a producer asks for: the part of it that decisions need.

use crate::core::groups::GroupNo;
use crate::core::retry::Backoff;
use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Where a job stands among those of its queue: 0 goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u32);

impl Default for Priority {
    /// Such that there is room on both sides: for what is urgent, and for what can wait.
    fn default() -> Priority {
        Priority(1024)
    }
}

/// The name of a queue: 1 to [`QueueName::MAX`] characters of `A-Z a-z 0-9 . _ - / : + ; $ ( )`, not beginning with `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Arc<str>);

/// A queue name that breaks the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a queue name: use 1 to {max} of the characters A-Z a-z 0-9 . _ - / : + ; $ ( ), not beginning with -",
    max = QueueName::MAX
)]
pub struct BadQueueName(pub String);

impl QueueName {
    /// The longest name, in bytes: as long as that of a tube of beanstalkd, which has the same characters but for the colon.
    pub const MAX: usize = 200;

    /// Checks a name.
    ///
    /// # Errors
    /// [`BadQueueName`], with the name cut to a length that can be shown.
    ///
    /// ```
    /// use musher::core::QueueName;
    /// assert!(QueueName::new("mails/eu-1").is_ok());
    /// assert!(QueueName::new("two words").is_err());
    /// ```
    pub fn new(name: &str) -> Result<QueueName, BadQueueName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-/:+;$()".contains(&b);
        if name.is_empty() || name.len() > Self::MAX || name.starts_with('-') || !name.bytes().all(allowed) {
            return Err(BadQueueName(name.chars().take(40).collect::<String>().escape_debug().to_string()));
        }
        Ok(QueueName(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the very same text in memory: two that are not may be equal all the same.
    pub(crate) fn is_same(&self, other: &QueueName) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The name as text that is shared with it.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

/// A name as it is typed in a shell, where some of the characters that it may have mean something. For advice to people, who copy it.
///
/// ```
/// use musher::core::for_shell;
/// assert_eq!(for_shell("mails/eu-1"), "mails/eu-1");
/// assert_eq!(for_shell("a;$(b)"), "'a;$(b)'");
/// ```
pub fn for_shell(name: &str) -> Cow<'_, str> {
    // No name has a quote.
    match name.contains([';', '$', '(', ')']) {
        true => format!("'{name}'").into(),
        false => name.into(),
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the producer asked for: options, which many jobs have in common, and keys, which few have. Equal neighbours share
/// one `Spec`, and those that differ only in their keys share the options.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// The options. They are read as if they were fields of the spec.
    pub options: Arc<SpecOptions>,
    /// The concurrency key; `None` for most.
    pub key: Option<Key>,
    /// The unique key; `None` for most. How long the job holds it is one of the options.
    pub unique: Option<Key>,
}

// A million jobs with keys take as many of these, and with their counters they fit into 56 bytes.
const _: () = assert!(size_of::<Spec>() <= 40);

/// What the text of a key is to the core: a hash of it, long enough that no two texts have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Never zero, so that a key that is not there takes no more room than one that is.
    high: NonZeroU64,
    low: u64,
}

impl Key {
    /// The key of a hash. Its first half must not be all zero, which no real one is; it is taken for one then.
    pub fn new(hash: [u8; 16]) -> Key {
        let number = u128::from_be_bytes(hash);
        let high = NonZeroU64::new((number >> 64) as u64).unwrap_or(NonZeroU64::MIN);
        Key { high, low: number as u64 }
    }

    /// The hash.
    pub fn hash(self) -> [u8; 16] {
        self.number().to_be_bytes()
    }

    fn number(self) -> u128 {
        u128::from(self.high.get()) << 64 | u128::from(self.low)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:032x})", self.number())
    }
}

/// How long a job holds its unique key: until then no other job of its queue gets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UniqueWhile {
    /// Until its first attempt begins. What comes back after that does not hold it again.
    Waiting,
    /// Until it has ended.
    #[default]
    Unfinished,
    /// Until so long after its end. It is kept as long as that.
    Kept(Duration),
}

/// The options of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpecOptions {
    /// The queue that the job waits in.
    pub queue: QueueName,
    /// Its place among the others.
    pub priority: Priority,
    /// After how many failed attempts it is dead; the queue's setting if not given.
    pub attempts: Option<u32>,
    /// How it waits between attempts; the queue's setting if not given.
    pub backoff: Option<Backoff>,
    /// How long one attempt may run, zero for without end; the queue's setting if not given. Enforced by the worker.
    pub timeout: Option<Duration>,
    /// How long it holds its unique key, if it has one.
    pub unique_while: UniqueWhile,
    /// Whether something for people and workers (tags, the texts of keys) is stored beside its body: jobs that differ
    /// only in what that is are alike.
    pub has_envelope: bool,
    /// The user who submitted it.
    pub owner: u32,
    /// The group that it belongs to.
    pub group: Option<GroupNo>,
}

impl SpecOptions {
    /// A job for `queue` with nothing asked for.
    pub fn plain(queue: QueueName) -> SpecOptions {
        SpecOptions {
            queue,
            priority: Priority::default(),
            attempts: None,
            backoff: None,
            timeout: None,
            unique_while: UniqueWhile::default(),
            has_envelope: false,
            owner: 0,
            group: None,
        }
    }
}

impl Spec {
    /// A job for `queue` with nothing asked for.
    pub fn plain(queue: QueueName) -> Spec {
        SpecOptions::plain(queue).into()
    }

    /// The same with a key.
    pub fn with_key(self, key: Option<Key>) -> Spec {
        Spec { key, ..self }
    }

    /// The same with a unique key.
    pub fn with_unique(self, unique: Option<Key>) -> Spec {
        Spec { unique, ..self }
    }

    /// The same with other options.
    pub fn with_options(&self, options: Arc<SpecOptions>) -> Spec {
        Spec { options, ..*self }
    }

    /// Whether it has a key of any kind, so that few others are like it.
    pub fn has_keys(&self) -> bool {
        self.key.is_some() || self.unique.is_some()
    }

    /// The options, to be changed.
    pub fn options_mut(&mut self) -> &mut SpecOptions {
        Arc::make_mut(&mut self.options)
    }
}

impl Deref for Spec {
    type Target = SpecOptions;

    fn deref(&self) -> &SpecOptions {
        &self.options
    }
}

impl From<SpecOptions> for Spec {
    fn from(options: SpecOptions) -> Spec {
        Spec { options: options.into(), key: None, unique: None }
    }
}

impl From<SpecOptions> for Arc<Spec> {
    fn from(options: SpecOptions) -> Arc<Spec> {
        Arc::new(options.into())
    }
}
