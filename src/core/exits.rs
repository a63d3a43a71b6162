//! What the end of a process says about its job: exit statuses and signals, and what each of them means in a queue. Pure
//! numbers: how they are written, and what signals are called, is the configuration's.

use super::job::Exit;

/// What an end of a process means for its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitMeaning {
    /// It is done.
    Done,
    /// The attempt has failed.
    Failed,
    /// Not now: again later, without using up an attempt.
    Later,
    /// It is dead at once.
    Dead,
}

/// Some ends of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exits {
    /// The statuses from the first to the last.
    Statuses(u8, u8),
    /// One signal.
    Signal(u8),
    /// Any signal.
    AnySignal,
}

impl Exits {
    fn has(self, exit: Exit) -> bool {
        match (self, exit) {
            (Exits::Statuses(first, last), Exit::Status(status)) => (first..=last).contains(&status),
            (Exits::Signal(signal), Exit::Signal(other)) => signal == other,
            (Exits::AnySignal, Exit::Signal(_)) => true,
            (Exits::Statuses(..), Exit::Signal(_))
            | (Exits::Signal(_) | Exits::AnySignal, Exit::Status(_)) => false,
        }
    }

    /// How many ends they are: of two rules the one with fewer decides.
    fn count(self) -> u16 {
        match self {
            Exits::Statuses(first, last) => u16::from(last - first) + 1,
            Exits::Signal(_) => 1,
            Exits::AnySignal => u16::MAX,
        }
    }
}

/// What ends of processes mean in a queue. What no rule names is a failure; exit status 0 is no question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnExit(Vec<(Exits, ExitMeaning)>);

/// "Try again later, this is no failure", as in sysexits.h.
const EX_TEMPFAIL: u8 = 75;
/// "The input is wrong", as in sysexits.h.
const EX_DATAERR: u8 = 65;
const USUAL: [(u8, ExitMeaning); 2] = [(EX_TEMPFAIL, ExitMeaning::Later), (EX_DATAERR, ExitMeaning::Dead)];

impl Default for OnExit {
    fn default() -> OnExit {
        OnExit::new(Vec::new())
    }
}

impl OnExit {
    /// These rules, and what is usual for statuses that none of them names. Where several name an end, the one that names
    /// the fewest decides; the caller sees to it that there is one.
    pub fn new(mut rules: Vec<(Exits, ExitMeaning)>) -> OnExit {
        for (status, meaning) in USUAL {
            if !rules.iter().any(|(exits, _)| exits.has(Exit::Status(status))) {
                rules.push((Exits::Statuses(status, status), meaning));
            }
        }
        rules.sort_by_key(|(exits, _)| (exits.count(), *exits));
        OnExit(rules)
    }

    /// What this end means.
    pub fn of(&self, exit: Exit) -> ExitMeaning {
        match exit {
            Exit::Status(0) => ExitMeaning::Done,
            exit => {
                self.0.iter().find(|(exits, _)| exits.has(exit)).map_or(ExitMeaning::Failed, |(_, it)| *it)
            }
        }
    }

    /// The rules, the narrowest first.
    pub fn rules(&self) -> &[(Exits, ExitMeaning)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ExitMeaning::{Dead, Done, Failed, Later};

    #[test]
    fn the_narrowest_rule_decides_and_what_none_names_is_a_failure() {
        let rules = vec![
            (Exits::AnySignal, Later),
            (Exits::Statuses(3, 90), Dead),
            (Exits::Statuses(24, 24), Done),
            (Exits::Signal(11), Dead),
        ];
        let on_exit = OnExit::new(rules);
        let table = [
            (Exit::Status(0), Done),
            (Exit::Status(2), Failed),
            (Exit::Status(3), Dead),
            (Exit::Status(24), Done),
            (Exit::Status(75), Dead),
            (Exit::Status(90), Dead),
            (Exit::Status(255), Failed),
            (Exit::Signal(9), Later),
            (Exit::Signal(11), Dead),
        ];
        for (exit, meaning) in table {
            assert_eq!(on_exit.of(exit), meaning, "{exit:?}");
        }
    }

    #[test]
    fn usually_75_is_later_and_65_dead() {
        let (usual, own) = (OnExit::default(), OnExit::new(vec![(Exits::Statuses(75, 75), Failed)]));
        let of = |on_exit: &OnExit| [0, 1, 65, 75].map(|status| on_exit.of(Exit::Status(status)));
        assert_eq!(of(&usual), [Done, Failed, Dead, Later]);
        assert_eq!(of(&own), [Done, Failed, Dead, Failed]);
        assert_eq!(usual.of(Exit::Signal(9)), Failed);
        assert_eq!(OnExit::new(usual.rules().to_vec()), usual, "what is shown can be read back");
    }
}
