//! The four ways to associate a memory with earlier ones. Each is a function of the memory and of what came before it, so that
//! the same job comes to the same result however often it runs; that is what the account checks at the end. They block their
//! thread, ask now and then whether they are to stop, and know nothing of queues.

mod causal;
mod contextual;
mod semantic;
mod temporal;
mod terms;

pub(crate) use terms::terms;

use super::memory::{Kind, Link, Memory};
use std::fmt;
use std::sync::Arc;

/// Why there is no result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The passage has none to give, and would have none the next time.
    Refused(String),
    /// It was told to stop.
    Stopped,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Refused(why) => f.write_str(why),
            Missing::Stopped => f.write_str("told to stop"),
        }
    }
}

/// Looks for links of one kind. `earlier` is all memories with lower numbers; `is_stopped` is asked for each of them.
pub(crate) fn find(
    kind: Kind,
    memory: &Memory,
    earlier: &[Arc<Memory>],
    is_stopped: &dyn Fn() -> bool,
) -> Result<Vec<Link>, Missing> {
    let going_on = || if is_stopped() { Err(Missing::Stopped) } else { Ok(()) };
    match kind {
        Kind::Temporal => temporal::find(memory, earlier, &going_on),
        Kind::Semantic => semantic::find(memory, earlier, &going_on),
        Kind::Causal => causal::find(memory, earlier, &going_on),
        Kind::Contextual => contextual::find(memory, earlier, &going_on),
    }
}

/// Says whether to go on.
type GoingOn<'a> = &'a dyn Fn() -> Result<(), Missing>;

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn memory(number: u32, text: &str) -> Arc<Memory> {
        let (at_ms, source) = (1_000 * u64::from(number), format!("book {}", number % 2));
        Arc::new(Memory { number, at_ms, source, place: number, text: text.to_owned() })
    }

    pub(super) fn to(kind: Kind, text: &str, earlier: &[&str]) -> Vec<u32> {
        let earlier: Vec<_> = (0..).zip(earlier).map(|(number, text)| memory(number, text)).collect();
        let memory = memory(earlier.len() as u32, text);
        let links = find(kind, &memory, &earlier, &|| false).unwrap();
        links.iter().map(|link| link.to).collect()
    }

    #[test]
    fn whoever_is_told_to_stop_stops() {
        let earlier = [memory(0, "a white rabbit ran because it was late")];
        for kind in Kind::ALL {
            let found = find(kind, &memory(1, "a rabbit, because of the cat"), &earlier, &|| true);
            assert_eq!(found, Err(Missing::Stopped), "{kind}");
        }
    }
}
