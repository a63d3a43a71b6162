//! Who asks, as far as a decision depends on it: which jobs are there for them. What the rules are is decided elsewhere.

use super::job::Spec;
use std::fmt;

/// The jobs that are there for whoever asks. One that is hidden is answered for as if there were none.
#[derive(Clone, Copy)]
pub struct Visibility<'a>(Option<&'a dyn Fn(&Spec) -> bool>);

impl<'a> Visibility<'a> {
    /// All jobs.
    pub const ALL: Visibility<'static> = Visibility(None);

    /// Those jobs that `sees` says.
    pub fn of(sees: &'a dyn Fn(&Spec) -> bool) -> Visibility<'a> {
        Visibility(Some(sees))
    }

    /// Whether such a job is there.
    pub fn sees(self, spec: &Spec) -> bool {
        self.0.is_none_or(|sees| sees(spec))
    }
}

impl fmt::Debug for Visibility<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Visibility(some)" } else { "Visibility(all)" })
    }
}
