//! A replicated stream, simulated: several servers as one thing that stores, confirms, loses and forgets what the real ones
//! may, in an order that a seed decides.

mod node;
#[cfg(test)]
mod standby_tests;
#[cfg(test)]
mod tests;

pub(in crate::store) use node::SimulatedLink;

use super::faults::Random;
use crate::store::log::replicated::{Outcome, Seq};
use bytes::Bytes;
use std::cell::RefCell;
use std::rc::Rc;

/// A stream. Clones are the same one.
#[derive(Clone, Debug)]
pub(in crate::store) struct SimulatedStream(Rc<RefCell<Servers>>);

/// A fault of the servers that the rules cannot make good: an oracle has to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum StreamFault {
    /// They confirm what only their leader has.
    EarlyAnswers,
    /// They forget what they have confirmed.
    Forgets,
}

/// What came of an append: whose, which, and what.
pub(in crate::store) type Answer = (u64, u64, Outcome);

#[derive(Debug)]
struct Servers {
    random: Random,
    records: Vec<Bytes>,
    /// How many of them are on most of the servers: they stay, are confirmed and can be read. The rest only the leader has.
    safe: usize,
    under_way: Vec<UnderWay>,
    fault: Option<StreamFault>,
}

/// An append under way.
#[derive(Clone, Debug)]
struct UnderWay {
    sender: u64,
    ticket: u64,
    expected: Seq,
    message: Bytes,
    place: Place,
    /// Whether its sender still waits.
    is_awaited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    OnTheWay,
    Stored(Seq),
    Refused,
    Lost,
}

impl SimulatedStream {
    /// An empty stream.
    pub(in crate::store) fn new(seed: u64) -> SimulatedStream {
        SimulatedStream(Rc::new(RefCell::new(Servers {
            random: Random(seed),
            records: Vec::new(),
            safe: 0,
            under_way: Vec::new(),
            fault: None,
        })))
    }

    /// Plants a fault.
    pub(in crate::store) fn plant(&self, fault: StreamFault) {
        self.0.borrow_mut().fault = Some(fault);
    }

    /// Sends an append.
    pub(in crate::store) fn send(&self, sender: u64, ticket: u64, expected: Seq, message: Bytes) {
        let place = Place::OnTheWay;
        let one = UnderWay { sender, ticket, expected, message, place, is_awaited: true };
        self.0.borrow_mut().under_way.push(one);
    }

    /// A record, if there is one.
    pub(in crate::store) fn read(&self, seq: Seq) -> Option<Bytes> {
        let servers = self.0.borrow();
        servers.records[..servers.safe].get(seq.0.checked_sub(1)? as usize).cloned()
    }

    /// The newest record.
    pub(in crate::store) fn end(&self) -> Seq {
        Seq(self.0.borrow().safe as u64)
    }

    /// A sender is gone. What it has sent may still arrive.
    pub(in crate::store) fn forget(&self, sender: u64) {
        let under_way = &mut self.0.borrow_mut().under_way;
        under_way.iter_mut().filter(|one| one.sender == sender).for_each(|one| one.is_awaited = false);
    }

    /// Nothing is lost any more: everything under way arrives, and is answered by the steps that follow.
    pub(in crate::store) fn calm_down(&self) {
        let mut servers = self.0.borrow_mut();
        for nth in 0..servers.under_way.len() {
            servers.arrive(nth);
        }
        servers.safe = servers.records.len();
        servers.under_way.retain(|one| one.is_awaited);
    }

    /// Nothing that is under way arrives, and what only the leader has is forgotten.
    pub(in crate::store) fn lose_all(&self) {
        let mut servers = self.0.borrow_mut();
        servers.under_way.clear();
        let safe = servers.safe;
        servers.records.truncate(safe);
    }

    /// Something happens.
    pub(in crate::store) fn step(&self) -> Option<Answer> {
        self.0.borrow_mut().step()
    }
}

impl Servers {
    fn step(&mut self) -> Option<Answer> {
        match self.random.below(9) {
            0..3 => {
                let nth = self.any(|one| one.place == Place::OnTheWay)?;
                if self.random.below(8) == 0 {
                    // It is sent twice.
                    let again = UnderWay { is_awaited: false, ..self.under_way[nth].clone() };
                    self.under_way.push(again);
                }
                self.arrive(nth);
            }
            3 | 4 => {
                let unsafe_ones = self.records.len() - self.safe;
                self.safe += self.random.below(unsafe_ones + 1);
            }
            5 | 6 => return self.answer(),
            7 => self.lose(),
            _ if self.random.below(4) == 0 => self.lose_leader(),
            _ => {
                // Its sender waits no longer. It may arrive all the same.
                let nth = self.any(|one| one.is_awaited)?;
                let one = &mut self.under_way[nth];
                one.is_awaited = false;
                return Some((one.sender, one.ticket, Outcome::Unknown));
            }
        }
        None
    }

    /// A random one of those.
    fn any(&mut self, of: impl Fn(&UnderWay) -> bool) -> Option<usize> {
        let all: Vec<usize> = (0..self.under_way.len()).filter(|nth| of(&self.under_way[*nth])).collect();
        if all.is_empty() { None } else { Some(all[self.random.below(all.len())]) }
    }

    fn arrive(&mut self, nth: usize) {
        let one = &mut self.under_way[nth];
        if one.place != Place::OnTheWay {
            return;
        }
        one.place = if one.expected.0 == self.records.len() as u64 {
            self.records.push(one.message.clone());
            Place::Stored(one.expected.next())
        } else {
            Place::Refused
        };
    }

    /// One answer arrives, or gets lost.
    fn answer(&mut self) -> Option<Answer> {
        self.under_way.retain(|one| one.is_awaited || one.place == Place::OnTheWay);
        let (safe, is_early) = (self.safe as u64, self.fault == Some(StreamFault::EarlyAnswers));
        let nth = self.any(|one| match one.place {
            Place::OnTheWay => false,
            Place::Stored(seq) => is_early || seq.0 <= safe,
            Place::Refused | Place::Lost => true,
        })?;
        let one = self.under_way.swap_remove(nth);
        let outcome = match one.place {
            Place::Stored(seq) if self.random.below(6) > 0 => Outcome::Appended(seq),
            Place::Refused => Outcome::Refused,
            _ => Outcome::Unknown,
        };
        Some((one.sender, one.ticket, outcome))
    }

    /// Something is lost on its way.
    fn lose(&mut self) {
        if let Some(nth) = self.any(|one| one.place == Place::OnTheWay) {
            self.under_way[nth].place = Place::Lost;
        }
    }

    /// The next leader has what is safe, and forgets the rest.
    fn lose_leader(&mut self) {
        if self.fault == Some(StreamFault::Forgets) {
            self.safe = self.safe.saturating_sub(1);
        }
        let safe = self.safe;
        self.records.truncate(safe);
        for one in &mut self.under_way {
            if matches!(one.place, Place::Stored(seq) if seq.0 > safe as u64) {
                one.place = Place::Lost;
            }
        }
    }
}
