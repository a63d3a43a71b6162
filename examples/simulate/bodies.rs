//! Bodies that are replaced, one after the other: which of them a job may have. Once a replacement was told done, or was
//! seen, no older one comes back, whatever dies in between; and one that was refused is never seen.

use bytes::Bytes;
use musher::core::JobId;
use std::collections::BTreeMap;

/// The body of a job: says whose it is and which of its bodies, and is of any length. The first one is 0.
pub(crate) fn body(batch: usize, index: usize, nth: u32) -> Bytes {
    let at = batch * 31 + index * 7 + nth as usize * 13;
    let len = match at % 64 {
        0 => 3_000,
        len => len,
    };
    let mut body = format!("{batch}.{index}.{nth};").into_bytes();
    body.extend((0..len).map(|n| b'a' + ((at + n) % 26) as u8));
    body.into()
}

/// The batch, the place in it, and which of its bodies it is.
pub(crate) fn whose(body: &Bytes) -> Option<(usize, usize, u32)> {
    let text = std::str::from_utf8(body).ok()?;
    let mut parts = text.split_once(';')?.0.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The bodies that jobs may have which were sent others.
#[derive(Debug, Default)]
pub(crate) struct Bodies(BTreeMap<JobId, Sent>);

#[derive(Debug)]
struct Sent {
    newest: u32,
    /// In the order in which they were sent.
    may_be: Vec<u32>,
}

impl Bodies {
    /// A job is sent another body. Returns which one it is.
    pub(crate) fn replaces(&mut self, id: JobId) -> u32 {
        let sent = self.0.entry(id).or_insert(Sent { newest: 0, may_be: vec![0] });
        sent.newest += 1;
        sent.may_be.push(sent.newest);
        sent.newest
    }

    /// It was told done, or refused.
    pub(crate) fn replaced(&mut self, id: JobId, nth: u32, done: bool) {
        if let Some(sent) = self.0.get_mut(&id) {
            sent.may_be.retain(|one| if done { *one >= nth } else { *one != nth });
        }
    }

    /// This one was seen.
    pub(crate) fn seen(&mut self, id: JobId, nth: u32) {
        match self.0.get_mut(&id) {
            None => assert_eq!(nth, 0, "job {id} has another body, and nobody has sent it one"),
            Some(sent) => {
                assert!(sent.may_be.contains(&nth), "body {nth} of job {id} is there: {sent:?}");
                sent.may_be.retain(|one| *one >= nth);
            }
        }
    }

    /// This one was found at a start: what was under way is over.
    pub(crate) fn found(&mut self, id: JobId, nth: u32) {
        self.seen(id, nth);
        if let Some(sent) = self.0.get_mut(&id) {
            sent.may_be.truncate(1);
        }
    }

    /// The job is gone.
    pub(crate) fn forget(&mut self, id: JobId) {
        self.0.remove(&id);
    }
}
