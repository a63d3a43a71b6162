//! How long something took, over many times.

use std::fmt::{self, Display};
use std::time::Duration;

#[derive(Default)]
pub(super) struct Times {
    all: Vec<Duration>,
    /// The longest, and what it was.
    longest: (Duration, String),
}

impl Times {
    pub(super) fn note(&mut self, took: Duration, what: &str) {
        self.all.push(took);
        if took > self.longest.0 {
            self.longest = (took, what.to_owned());
        }
    }
}

impl Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut all, (longest, what)) = (self.all.clone(), &self.longest);
        all.sort_unstable();
        match all.get(all.len() / 2) {
            None => f.write_str("0"),
            Some(half) => {
                write!(f, "{} (half within {half:.2?}, the longest {longest:.2?}: {what})", all.len())
            }
        }
    }
}
