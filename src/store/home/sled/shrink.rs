//! Decides when the home's file is rewritten. The thread that writes checkpoints does it, between two of them; only the
//! next checkpoint waits for it, and the log has room for that.

use super::rewrite::{RewriteError, Slack, Step};
use super::{HomeError, SledRows};
use crate::store::options::Options;
use crate::store::room::Shrunk;
use crate::store::space;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

/// How many checkpoints pass between a rewrite that failed and the next one: it may fail again, at the same cost.
const REST: u32 = 1000;

/// What the disk must have left besides the reserve and the ballast while a copy is made, as for a checkpoint.
const MARGIN: u64 = 16 << 20;

/// When a rewrite may happen.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    dir: PathBuf,
    above: u64,
    keep_free: u64,
}

impl Bounds {
    pub(crate) fn new(dir: PathBuf, options: &Options) -> Bounds {
        let keep_free =
            options.disk_reserve_bytes.saturating_add(options.ballast_bytes).saturating_add(MARGIN);
        Bounds { dir, above: options.shrink_above_bytes, keep_free }
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        space::free(&self.dir) >= self.keep_free.saturating_add(bytes)
    }
}

/// The thread's side.
pub(super) struct Shrink {
    home: Arc<SledRows>,
    bounds: Bounds,
    news: Sender<Shrunk>,
    /// Set while one is under way, so that the loop looks for its result.
    under_way: Arc<AtomicBool>,
    rest: u32,
}

impl Shrink {
    pub(super) fn new(
        home: Arc<SledRows>,
        bounds: Bounds,
        news: Sender<Shrunk>,
        under_way: Arc<AtomicBool>,
    ) -> Shrink {
        Shrink { home, bounds, news, under_way, rest: 0 }
    }

    /// Whether it is worth it now, after a whole checkpoint.
    pub(super) fn look(&mut self) -> Result<Option<Slack>, HomeError> {
        if self.rest > 0 {
            self.rest -= 1;
            return Ok(None);
        }
        let slack = self.home.slack(self.bounds.above)?;
        let slack = slack.filter(|slack| self.bounds.has_room_for(slack.copy_bytes()));
        self.under_way.store(slack.is_some(), Ordering::Release);
        Ok(slack)
    }

    /// Does it. A failure is reported, and costs nothing but the space; unless the home was given up over it, which the
    /// next checkpoint finds out.
    pub(super) fn run(&mut self, slack: Slack) {
        let bounds = self.bounds.clone();
        let mut on_step = |step| match step {
            Step::Copied if !bounds.has_room_for(0) => Err(RewriteError::NoRoom),
            _ => Ok(()),
        };
        let news = match self.home.rewrite(&mut on_step) {
            Ok(after) => Shrunk::Done { before: slack.file, after },
            Err(error) => {
                self.rest = REST;
                Shrunk::Failed(error.to_string())
            }
        };
        let _ = self.news.send(news); // nobody listens any more: the store is being closed
        self.under_way.store(false, Ordering::Release);
    }
}
