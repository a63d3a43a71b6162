//! Where producers and workers put down what happens: into the account at once, and, where there is a disk whose writes are
//! counted, into a list with the place in that count, so that the account of any earlier moment can be made again.

use crate::account::{Account, Broken, Entry};
use crate::plan::has_shards;
use musher::protocol::Fault;
use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;

/// Counts what a disk has done so far.
pub(crate) type Position = Rc<dyn Fn() -> usize>;

/// Shared by all tasks of a run.
pub(crate) struct Recorder {
    account: RefCell<Account>,
    /// The first promise found broken.
    broken: RefCell<Option<Broken>>,
    position: Option<Position>,
    entries: RefCell<Vec<(usize, Entry)>>,
    next_submit: Cell<u64>,
    stopped: Cell<bool>,
    /// Whether the owner of a cluster is about to be lost.
    is_life_over: Cell<bool>,
}

impl Recorder {
    pub(crate) fn new(account: Account, position: Option<Position>) -> Rc<Recorder> {
        Rc::new(Recorder {
            next_submit: Cell::new(account.submits.keys().max().map_or(1, |last| last + 1)),
            account: RefCell::new(account),
            broken: RefCell::new(None),
            position,
            entries: RefCell::default(),
            stopped: Cell::new(false),
            is_life_over: Cell::new(false),
        })
    }

    /// From now on nothing counts: the disk is going away, and what the daemon may still say is not a promise.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
    }

    /// From now on nobody connects anew: whoever answers may be another daemon.
    pub(crate) fn end_life(&self) {
        self.is_life_over.set(true);
        let mut account = self.account.borrow_mut();
        account.is_shard_lost = has_shards(account.seed);
    }

    pub(crate) fn is_life_over(&self) -> bool {
        self.is_life_over.get()
    }

    pub(crate) fn note(&self, entry: Entry) {
        if matches!(entry, Entry::Died) {
            self.is_life_over.set(false);
        }
        if self.stopped.get() && !matches!(entry, Entry::Died) {
            return;
        }
        self.stopped.set(false);
        if let Err(broken) = self.account.borrow_mut().apply(&entry) {
            self.broken(broken);
        }
        if let Some(position) = &self.position {
            self.entries.borrow_mut().push((position(), entry));
        }
    }

    pub(crate) fn broken(&self, broken: Broken) {
        if !self.stopped.get() {
            self.broken.borrow_mut().get_or_insert(broken);
        }
    }

    /// Whatever is asked here may be asked: only for want of space may the daemon say no.
    pub(crate) fn refused(&self, what: &str, fault: &Fault) {
        if !fault.code.try_again() {
            self.broken(Broken(format!("{what} was refused: {fault}")));
        }
    }

    /// The account, or what was found broken so far.
    pub(crate) fn sound(&self) -> Result<(), Broken> {
        self.broken.borrow_mut().take().map_or(Ok(()), Err)
    }

    pub(crate) fn account(&self) -> Ref<'_, Account> {
        self.account.borrow()
    }

    /// For what is found by looking at everything. No entry is made of it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        change(&mut self.account.borrow_mut())
    }

    pub(crate) fn next_submit(&self) -> u64 {
        self.next_submit.replace(self.next_submit.get() + 1)
    }

    /// Everything noted, each entry with the disk's count when it was.
    pub(crate) fn take_entries(&self) -> Vec<(usize, Entry)> {
        self.entries.take()
    }
}
