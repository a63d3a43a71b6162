//! Authorization: applies the access rules to each request. Its sender is known (`peer.rs`); the jobs and queues that
//! it names are looked up here. A job that the sender may not see does not exist for the sender: the answers are those
//! for a job that never was.

use super::fault::{Fault, Kind};
use super::peer::Peer;
use crate::access::{Access, Caller, Denied, Right};
use crate::core::{Edit, JobGroup, JobId, QueueName, RecentEnd, Spec, State};
use crate::views::HandlerView;
use std::rc::Rc;

/// What one connection may do, by the rules of this moment.
pub(crate) struct Permissions<'a> {
    access: Rc<Access>,
    caller: &'a Caller,
    /// There is nothing to ask.
    is_open: bool,
}

impl<'a> Permissions<'a> {
    pub(super) fn new(access: Rc<Access>, peer: &'a Peer) -> Permissions<'a> {
        let is_open = peer.pool || access.is_open_to(&peer.caller);
        Permissions { access, caller: &peer.caller, is_open }
    }

    /// May this be done with a queue?
    pub(super) fn queue(&self, right: Right, queue: &QueueName) -> Result<(), Fault> {
        let may = self.is_open || self.access.may(self.caller, right, queue.as_str());
        self.unless_denied(may, right, Some(queue))
    }

    /// May the daemon as a whole be changed?
    pub(super) fn daemon(&self) -> Result<(), Fault> {
        let may = self.is_open || self.access.may_everywhere(self.caller, Right::Admin);
        self.unless_denied(may, Right::Admin, None)
    }

    fn unless_denied(&self, may: bool, right: Right, queue: Option<&QueueName>) -> Result<(), Fault> {
        if may {
            return Ok(());
        }
        let denied = Denied { uid: self.caller.uid, right, queue: queue.map(ToString::to_string) };
        Err(Fault::new(Kind::Forbidden, denied.to_string()))
    }

    /// Is this queue shown?
    pub(super) fn knows(&self, queue: &str) -> bool {
        self.is_open || self.access.knows(self.caller, queue)
    }

    /// Is everything shown, what is forgotten of jobs that are gone included?
    pub(super) fn reads_everything(&self) -> bool {
        self.is_open || self.access.may_everywhere(self.caller, Right::Read)
    }

    /// Is this group shown? It is to whoever made it.
    pub(super) fn reads_group(&self, group: &JobGroup) -> bool {
        group.owner == self.caller.uid || self.reads_everything()
    }

    /// Are jobs like this one shown?
    pub(super) fn reads(&self, spec: &Spec) -> bool {
        self.is_open || self.access.may_read(self.caller, spec.owner, spec.queue.as_str())
    }

    /// Is this job there, but not for a reader?
    pub(super) fn hides(&self, state: &State, id: JobId) -> bool {
        self.hides_unless(state, id, |spec| self.reads(spec))
    }

    /// Is the end of this job, of which nothing else is left, not for a reader? Of which queue it was, nobody knows
    /// any more.
    pub(super) fn hides_end(&self, state: &State, id: JobId) -> bool {
        let his = |end: RecentEnd| end.owner == self.caller.uid;
        !self.reads_everything() && !state.contains(id) && !state.recent_end(id).is_some_and(his)
    }

    /// May a worker name these jobs? Those that it may neither see nor work on are hidden from it, and no reason to
    /// refuse the others.
    pub(super) fn work(&self, state: &State, ids: impl Iterator<Item = JobId>) -> Result<(), Fault> {
        self.shown_jobs(state, ids, |spec| if self.works(spec) { None } else { Some(Right::Work) })
    }

    /// Is this job there, but not for a worker?
    pub(super) fn hides_from_work(&self, state: &State, id: JobId) -> bool {
        self.hides_unless(state, id, |spec| self.works(spec))
    }

    /// May these jobs be changed like this? As for [`Permissions::work`]; hidden is what [`Permissions::hides`] says.
    pub(super) fn edit(
        &self,
        state: &State,
        ids: impl Iterator<Item = JobId>,
        edit: &Edit,
    ) -> Result<(), Fault> {
        let to_run = matches!(edit, Edit::Retry | Edit::Kick | Edit::Prioritize(_));
        self.shown_jobs(state, ids, |spec| self.lacks_to_change(spec, to_run))
    }

    /// May the body of this job be written? Only its owner may, who may still submit to its queue.
    pub(super) fn write(&self, state: &State, id: JobId) -> Result<(), Fault> {
        let Some(spec) = state.spec_of(id).filter(|spec| !self.is_open && self.reads(spec)) else {
            return Ok(());
        };
        if spec.owner == self.caller.uid {
            return self.queue(Right::Submit, &spec.queue);
        }
        let message = format!(
            "job {id} is of another user (uid {}): only its owner, root and the daemon's own user may edit it",
            spec.owner
        );
        Err(Fault::new(Kind::Forbidden, message))
    }

    /// May a job of this user become one of this queue? What was data would be a command there, which runs as that user.
    pub(super) fn makes_command(
        &self,
        handlers: &[HandlerView],
        queue: &QueueName,
        owner: u32,
    ) -> Result<(), Fault> {
        if self.is_open || owner == self.caller.uid || !runs_commands(handlers, queue) {
            return Ok(());
        }
        let message = format!(
            "queue `{queue}` runs commands, and the job is of another user (uid {owner}): only its owner, root and the \
             daemon's own user may move it there"
        );
        Err(Fault::new(Kind::Forbidden, message))
    }

    /// May what submits jobs like this one be changed; `to_run` if jobs come of that?
    pub(super) fn change(&self, spec: &Spec, to_run: bool) -> Result<(), Fault> {
        match self.lacks_to_change(spec, to_run) {
            Some(right) if !self.is_open => self.unless_denied(false, right, Some(&spec.queue)),
            _ => Ok(()),
        }
    }

    /// The right that is missing to change jobs like this one.
    fn lacks_to_change(&self, spec: &Spec, to_run: bool) -> Option<Right> {
        if self.access.may_change(self.caller, spec.owner, spec.queue.as_str(), to_run) {
            None
        } else if spec.owner == self.caller.uid {
            Some(Right::Submit)
        } else {
            Some(Right::Admin)
        }
    }

    /// Refuses a request if it names a job that is shown, but with which `lacks` finds a right missing.
    fn shown_jobs(
        &self,
        state: &State,
        ids: impl Iterator<Item = JobId>,
        lacks: impl Fn(&Spec) -> Option<Right>,
    ) -> Result<(), Fault> {
        if self.is_open {
            return Ok(());
        }
        let shown = ids.filter_map(|id| state.spec_of(id)).filter(|spec| self.reads(spec));
        shown
            .filter_map(|spec| Some((lacks(spec)?, &spec.queue)))
            .try_for_each(|(right, queue)| self.unless_denied(false, right, Some(queue)))
    }

    /// May a worker have jobs like this one?
    pub(super) fn works(&self, spec: &Spec) -> bool {
        self.is_open || self.access.may(self.caller, Right::Work, spec.queue.as_str())
    }

    fn hides_unless(&self, state: &State, id: JobId, may: impl Fn(&Spec) -> bool) -> bool {
        !self.is_open && state.spec_of(id).is_some_and(|spec| !may(spec))
    }
}

/// A command job runs as the user who submitted it. Only root can run something as somebody else.
pub(super) fn can_run_as(handlers: &[HandlerView], queue: &QueueName, owner: u32) -> Result<(), Fault> {
    if !runs_commands(handlers, queue) {
        return Ok(());
    }
    let own = rustix::process::geteuid().as_raw();
    if owner != own && own != 0 {
        let message = format!(
            "queue `{queue}` runs commands as the user who submits them, and a daemon of user {own} cannot run anything as \
             uid {owner}: submit as that user, or to a daemon of root or of your own"
        );
        return Err(Fault::new(Kind::Forbidden, message));
    }
    Ok(())
}

/// Whether the jobs of a queue are commands.
fn runs_commands(handlers: &[HandlerView], queue: &QueueName) -> bool {
    handlers.iter().any(|handler| handler.runs_commands() && handler.queue == queue.as_str())
}
