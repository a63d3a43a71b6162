//! What is wrong with a configuration: each problem says where, what, and what to do. Problems are collected, so
//! that somebody who mends a file sees all of them at once.

use std::fmt;

/// One thing that is wrong, or only odd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `musher.toml:12`, or the name of an option or variable.
    pub place: String,
    /// The key, in full: `queues.mails.lease`. Empty if no key is at fault.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { place, key, message } = self;
        match key.is_empty() {
            true => write!(f, "{place}: {message}"),
            false => write!(f, "{place}: {key}: {message}"),
        }
    }
}

/// Everything that is wrong with a configuration; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct ConfigErrors(pub Vec<Problem>);

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// Where problems are collected while a file is read.
#[derive(Debug)]
pub(super) struct Report<'a> {
    file: String,
    source: &'a str,
    /// With the byte at which each lies; outside of the file, the last.
    errors: Vec<(usize, Problem)>,
    warnings: Vec<(usize, Problem)>,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: String, source: &'a str) -> Report<'a> {
        Report { file, source, errors: Vec::new(), warnings: Vec::new() }
    }

    /// An error at a byte of the file.
    pub(super) fn error(&mut self, at: usize, key: &str, message: impl Into<String>) {
        let problem = Problem { place: self.line(at), key: key.to_owned(), message: message.into() };
        self.errors.push((at, problem));
    }

    /// A warning at a byte of the file.
    pub(super) fn warn(&mut self, at: usize, key: &str, message: impl Into<String>) {
        let problem = Problem { place: self.line(at), key: key.to_owned(), message: message.into() };
        self.warnings.push((at, problem));
    }

    /// An error that lies in the command line or the environment.
    pub(super) fn error_outside(&mut self, place: &str, message: impl Into<String>) {
        let problem = Problem { place: place.to_owned(), key: String::new(), message: message.into() };
        self.errors.push((usize::MAX, problem));
    }

    /// The warnings, or the errors if there are any; both in the order of the file.
    pub(super) fn finish(self) -> Result<Vec<Problem>, ConfigErrors> {
        let in_order = |mut problems: Vec<(usize, Problem)>| {
            problems.sort_by_key(|(at, _)| *at);
            problems.into_iter().map(|(_, problem)| problem).collect()
        };
        match self.errors.is_empty() {
            true => Ok(in_order(self.warnings)),
            false => Err(ConfigErrors(in_order(self.errors))),
        }
    }

    fn line(&self, at: usize) -> String {
        let before = &self.source.as_bytes()[..at.min(self.source.len())];
        format!("{}:{}", self.file, 1 + before.iter().filter(|byte| **byte == b'\n').count())
    }
}
