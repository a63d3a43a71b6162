//! A node that owns a simulated stream, as far as its log needs it.

use super::SimulatedStream;
use crate::store::commit::CommitNo;
use crate::store::log::replicated::{Ask, Link, NodeLife, Progress, Rules, Writer};
use bytes::Bytes;
use std::sync::Arc;

/// Carries the messages of one owner. Nothing moves but by [`SimulatedLink::step`], and where the log waits.
#[derive(Debug)]
pub(in crate::store) struct SimulatedLink {
    stream: SimulatedStream,
    sender: u64,
    writer: Writer,
    part_max: usize,
    progress: Arc<Progress>,
}

/// However unlucky a stream is, in so many steps something is confirmed.
const STEPS_MAX: usize = 1_000_000;

impl SimulatedLink {
    /// Takes over, behind what was read. `None` if somebody else was faster.
    pub(in crate::store) fn take_over(
        stream: SimulatedStream,
        rules: Rules,
        sender: u64,
        part_max: usize,
    ) -> Option<(SimulatedLink, Arc<Progress>)> {
        let progress = Arc::<Progress>::default();
        let writer = Writer::take_over(rules, NodeLife(sender.into()), 1);
        let mut link = SimulatedLink { stream, sender, writer, part_max, progress: progress.clone() };
        link.step_until(|writer| writer.is_owner());
        link.writer.is_owner().then_some((link, progress))
    }

    /// Goes on until one more commit is confirmed.
    pub(in crate::store) fn confirm_one(&mut self) {
        let before = self.writer.confirmed();
        self.step_until(|writer| writer.confirmed() > before);
    }

    fn step_until(&mut self, is_enough: impl Fn(&Writer) -> bool) {
        for _ in 0..STEPS_MAX {
            while let Some(ask) = self.writer.next_ask() {
                match ask {
                    Ask::Append { ticket, expected, message } => {
                        self.stream.send(self.sender, ticket, expected, message);
                    }
                    Ask::Read(seq) => self.writer.found(seq, self.stream.read(seq).as_ref()),
                }
            }
            self.progress.note(&self.writer);
            if self.writer.lost().is_some() || is_enough(&self.writer) {
                return;
            }
            if let Some((sender, ticket, outcome)) = self.stream.step()
                && sender == self.sender
            {
                self.writer.appended(ticket, outcome);
            }
        }
        panic!("nothing was confirmed in {STEPS_MAX} steps: {self:?}");
    }
}

impl Link for SimulatedLink {
    fn append(&mut self, number: CommitNo, payload: Bytes) {
        self.writer.append(number, &payload, self.part_max);
    }

    fn wait(&mut self) {
        self.step_until(|writer| writer.has_confirmed_all());
    }
}

impl Drop for SimulatedLink {
    fn drop(&mut self) {
        self.stream.forget(self.sender);
    }
}
