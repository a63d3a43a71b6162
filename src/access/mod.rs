//! Who may do what: the rules of the configuration (`[[access]]`), and what they allow a caller. It is pure: who the
//! caller is, and what is asked for, is found out elsewhere. Of the core it knows patterns of names, and it must not know connections, jobs or the state.
//!
//! # The rules
//! - The daemon's own user and root may do everything.
//! - Any other user may do what a rule allows that names the user, or one of the user's groups, and the queue. Rules
//!   only allow and never forbid, so their order does not matter.
//! - [`Right::Admin`] includes the three others.
//! - Without any rule in the configuration, everybody who can connect may submit to every queue.
//! - Whatever the rules say, a job belongs to the user who submitted it: that user may look at it, and cancel, bury or
//!   delete it. To run it again, the user must be allowed to submit to its queue.

#[cfg(test)]
mod tests;

use crate::core::Pattern;

/// What a rule can allow at a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Submit jobs to it.
    Submit,
    /// Claim its jobs and settle them, no matter who submitted them.
    Work,
    /// Look at its jobs, no matter who submitted them: what they are, their bodies, what they printed.
    Read,
    /// All of that, and change its jobs; pause and purge it.
    Admin,
}

impl Right {
    /// All of them, in the order of the documentation.
    pub const ALL: [Right; 4] = [Right::Submit, Right::Work, Right::Read, Right::Admin];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Right::Submit => "submit",
            Right::Work => "work",
            Right::Read => "read",
            Right::Admin => "admin",
        }
    }

    /// What a caller without it may not do, in words, up to the queue's name.
    fn words(self) -> &'static str {
        match self {
            Right::Submit => "submit to",
            Right::Work => "work on",
            Right::Read => "read the jobs of",
            Right::Admin => "change",
        }
    }
}

/// One rule: these users may do this with these queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it applies to everybody who may connect to the socket.
    pub everybody: bool,
    /// The users.
    pub users: Vec<u32>,
    /// The groups, any of which a user must be in.
    pub groups: Vec<u32>,
    /// The queues.
    pub queues: Vec<Pattern>,
    /// What they may do there.
    pub may: Vec<Right>,
}

impl Rule {
    fn names(&self, caller: &Caller) -> bool {
        self.everybody
            || self.users.contains(&caller.uid)
            || self.groups.iter().any(|group| caller.groups.contains(group))
    }

    fn allows(&self, right: Right) -> bool {
        self.may.contains(&right) || self.may.contains(&Right::Admin)
    }
}

/// Somebody who asks for something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The user.
    pub uid: u32,
    /// All groups of the user.
    pub groups: Vec<u32>,
}

/// The rules in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    own: u32,
    rules: Vec<Rule>,
}

impl Access {
    /// For a daemon that runs as user `own`. `None`: the configuration has no rules.
    pub fn new(own: u32, rules: Option<Vec<Rule>>) -> Access {
        let otherwise = || {
            let queues = vec![Pattern::everything()];
            let may = vec![Right::Submit];
            vec![Rule { everybody: true, users: Vec::new(), groups: Vec::new(), queues, may }]
        };
        Access { own, rules: rules.unwrap_or_else(otherwise) }
    }

    /// Whether the caller may do everything.
    pub fn is_open_to(&self, caller: &Caller) -> bool {
        caller.uid == 0 || caller.uid == self.own
    }

    /// Whether the caller may do this with a queue.
    pub fn may(&self, caller: &Caller, right: Right, queue: &str) -> bool {
        self.any_rule(caller, right, |pattern| pattern.matches(queue))
    }

    /// Whether the caller may do this with every queue, future ones too.
    pub fn may_everywhere(&self, caller: &Caller, right: Right) -> bool {
        self.any_rule(caller, right, Pattern::is_everything)
    }

    /// Whether the caller has any right at a queue.
    pub fn knows(&self, caller: &Caller, queue: &str) -> bool {
        Right::ALL.into_iter().any(|right| self.may(caller, right, queue))
    }

    /// Whether the caller may look at a job that belongs to `owner`.
    pub fn may_read(&self, caller: &Caller, owner: u32, queue: &str) -> bool {
        owner == caller.uid || self.may(caller, Right::Read, queue)
    }

    /// Whether the caller may change a job that belongs to `owner`; `to_run` if that makes it run, or run earlier.
    pub fn may_change(&self, caller: &Caller, owner: u32, queue: &str, to_run: bool) -> bool {
        let his = owner == caller.uid && (!to_run || self.may(caller, Right::Submit, queue));
        his || self.may(caller, Right::Admin, queue)
    }

    fn any_rule(&self, caller: &Caller, right: Right, fits: impl Fn(&Pattern) -> bool) -> bool {
        let mut rules = self.rules.iter().filter(|rule| rule.names(caller) && rule.allows(right));
        self.is_open_to(caller) || rules.any(|rule| rule.queues.iter().any(&fits))
    }
}

/// The caller may not do what was asked for; the message says which rule would allow it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "you (uid {uid}) may not {} {}: a rule in the daemon's configuration can allow it: \
     [[access]] users = [{uid}], queues = [\"{}\"], may = [\"{}\"]",
    right.words(),
    queue.as_ref().map_or_else(|| "the whole daemon".to_owned(), |queue| format!("queue `{queue}`")),
    queue.as_deref().unwrap_or("*"),
    right.name()
)]
pub struct Denied {
    /// Who.
    pub uid: u32,
    /// What.
    pub right: Right,
    /// Where; `None` for every queue.
    pub queue: Option<String>,
}
