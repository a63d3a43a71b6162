//! Bodies that are replaced, one after the other: which of them a job may have. Once a replacement was told done, or was
//! seen, no older one comes back, whatever dies in between; and one that was refused is never seen.

use bytes::Bytes;
use musher::core::JobId;
use std::collections::BTreeMap;

/// Which body: of which submit, of which of its jobs, and which of the bodies that this one was sent; the first one is 0.
pub(crate) type Which = (usize, usize, u32);

/// A body: says which one it is, and is of any length.
pub(crate) fn body((batch, index, nth): Which) -> Bytes {
    let at = batch * 31 + index * 7 + nth as usize * 13;
    let len = match at % 64 {
        0 => 3_000,
        len => len,
    };
    let mut body = format!("{batch}.{index}.{nth};").into_bytes();
    body.extend((0..len).map(|n| b'a' + ((at + n) % 26) as u8));
    body.into()
}

/// Which one it is.
pub(crate) fn which(body: &Bytes) -> Option<Which> {
    let text = std::str::from_utf8(body).ok()?;
    let mut parts = text.split_once(';')?.0.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The bodies that jobs may have which were sent others.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    all: BTreeMap<JobId, Sent>,
    sent: u64,
}

#[derive(Debug)]
struct Sent {
    /// The submit that the job came with, and its place in it.
    own: (usize, usize),
    newest: u32,
    /// In the order in which they were sent.
    may_be: Vec<(u64, Which)>,
}

impl Bodies {
    /// The submit that a job came with, and its place in it, if it was sent another body.
    pub(crate) fn own(&self, id: JobId) -> Option<(usize, usize)> {
        self.all.get(&id).map(|sent| sent.own)
    }

    /// A job is sent another body: this one, or one of its own. Returns the number of that, and which one it is.
    pub(crate) fn replaces(
        &mut self,
        id: JobId,
        own: (usize, usize),
        with: Option<(usize, usize)>,
    ) -> (u64, Which) {
        self.sent += 1;
        let first = vec![(0, (own.0, own.1, 0))];
        let sent = self.all.entry(id).or_insert(Sent { own, newest: 0, may_be: first });
        sent.newest += u32::from(with.is_none());
        let which = with.map_or((own.0, own.1, sent.newest), |(batch, index)| (batch, index, 0));
        sent.may_be.push((self.sent, which));
        (self.sent, which)
    }

    /// It was told done, or refused.
    pub(crate) fn replaced(&mut self, id: JobId, nth: u64, done: bool) {
        if let Some(sent) = self.all.get_mut(&id) {
            sent.may_be.retain(|(one, _)| if done { *one >= nth } else { *one != nth });
        }
    }

    /// This one was seen, of a job that came with this submit.
    pub(crate) fn seen(&mut self, id: JobId, own: (usize, usize), which: Which) {
        let Some(sent) = self.all.get_mut(&id) else {
            assert_eq!(which, (own.0, own.1, 0), "job {id} has another body, and nobody has sent it one");
            return;
        };
        let Some(at) = sent.may_be.iter().position(|(_, one)| *one == which) else {
            panic!("body {which:?} of job {id} is there: {sent:?}")
        };
        sent.may_be.drain(..at);
    }

    /// This one was found at a start: what was under way is over.
    pub(crate) fn found(&mut self, id: JobId, own: (usize, usize), which: Which) {
        self.seen(id, own, which);
        if let Some(sent) = self.all.get_mut(&id) {
            sent.may_be.truncate(1);
        }
    }

    /// The job is gone.
    pub(crate) fn forget(&mut self, id: JobId) {
        self.all.remove(&id);
    }

    /// At a start: of what came to nothing the ids are given again.
    pub(crate) fn begin_anew(&mut self, next: JobId) {
        self.all.retain(|id, _| *id < next);
    }
}
