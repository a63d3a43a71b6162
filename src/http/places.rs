//! The connections of the front, and what they hold: how many there are, which one gives way to a new one, and how much of answers
//! waits for readers. A connection on which nobody with a token is being served gives way to any that is new, so that neither a crowd
//! nor half a request keeps anybody out. It knows no requests.

use super::unread::Lingering;
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

/// The most connections at a time, and of them the most on which one user is being served.
pub(super) const MOST: usize = 256;
pub(super) const OF_USER_MAX: usize = 128;
/// How many bytes of answers may wait for their readers on all connections together.
const UNSENT_MAX: usize = 64 << 20;
/// How long a reader may take nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<All>);

#[derive(Debug, Default)]
struct All {
    open: Mutex<Open>,
    /// Rings when one ends, or may give way.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    places: BTreeMap<u64, Place>,
    /// What counts up with all that happens: what is lower was longer ago.
    last: u64,
    unsent: usize,
}

#[derive(Debug)]
struct Place {
    gives_way: Arc<Notify>,
    /// Who is being served; he still is while a part of his answer has not left.
    user: Option<u32>,
    /// Whether the answer is made.
    is_answered: bool,
    /// Since when nobody has been.
    idle_since: u64,
    /// How much of an answer has not left, and since when there was something without a break.
    unsent: usize,
    owes_since: u64,
}

impl Open {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Nobody is being served on a connection any more once the answer is made and has left. Returns whether that is so now.
    fn free_if_done(&mut self, id: u64) -> bool {
        let now = self.next();
        let done = |place: &&mut Place| place.user.is_some() && place.is_answered && place.unsent == 0;
        let place = self.places.get_mut(&id).filter(done);
        place.map(|place| (place.user, place.idle_since) = (None, now)).is_some()
    }

    /// Ends the connection of which `key` is lowest, if it has one.
    fn end_first(&mut self, key: impl Fn(&Place) -> Option<u64>) -> bool {
        let found = self.places.iter().filter_map(|(id, place)| Some((key(place)?, *id))).min();
        let place = found.and_then(|(_, id)| self.places.remove(&id));
        if let Some(place) = &place {
            self.unsent -= place.unsent;
            place.gives_way.notify_one();
        }
        place.is_some()
    }
}

impl Places {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection. If all are taken, the one that has been idle for the longest gives way; if somebody is being
    /// served on each, it waits until one of them is free.
    pub(super) async fn enter(&self) -> Held {
        loop {
            {
                let mut open = self.open();
                if open.places.len() < MOST
                    || open.end_first(|place| place.user.is_none().then_some(place.idle_since))
                {
                    let id = open.next();
                    let gives_way = Arc::<Notify>::default();
                    let place = Place {
                        gives_way: gives_way.clone(),
                        user: None,
                        is_answered: false,
                        idle_since: id,
                        unsent: 0,
                        owes_since: 0,
                    };
                    open.places.insert(id, place);
                    return Held { places: self.clone(), id, gives_way, has_unread: AtomicBool::new(false) };
                }
            }
            self.0.freed.notified().await;
        }
    }
}

/// The place of one connection. It is free again when this goes.
#[derive(Debug)]
pub(super) struct Held {
    places: Places,
    id: u64,
    gives_way: Arc<Notify>,
    has_unread: AtomicBool,
}

impl Held {
    /// Whether there is something left of the last request that nobody has read.
    pub(super) fn note_unread(&self, has_unread: bool) {
        self.has_unread.store(has_unread, Ordering::Relaxed);
    }

    /// Returns when the connection is to end.
    pub(super) async fn gives_way(&self) {
        self.gives_way.notified().await;
    }

    /// A user is being served from now on, until what is returned goes; not if that happens on too many connections.
    pub(super) fn serve(self: &Arc<Held>, user: u32) -> Option<Serving> {
        let mut open = self.places.open();
        let own = open.places.values().filter(|place| place.user == Some(user)).count();
        if own >= OF_USER_MAX {
            return None;
        }
        if let Some(place) = open.places.get_mut(&self.id) {
            (place.user, place.is_answered) = (Some(user), false);
        }
        Some(Serving(self.clone()))
    }

    /// So many bytes of an answer are to leave. If that is too much with those of others, the connection ends on which something waits
    /// for the longest.
    pub(super) fn owe(&self, bytes: usize) {
        let mut open = self.places.open();
        let now = open.next();
        let Some(place) = open.places.get_mut(&self.id) else { return };
        if place.unsent == 0 {
            place.owes_since = now;
        }
        place.unsent += bytes;
        open.unsent += bytes;
        while open.unsent > UNSENT_MAX
            && open.end_first(|place| (place.unsent > 0).then_some(place.owes_since))
        {}
    }

    /// So many have left.
    fn sent(&self, bytes: usize) {
        let mut open = self.places.open();
        let Some(place) = open.places.get_mut(&self.id) else { return };
        // What stands above an answer was not counted, and neither is what TLS adds.
        let paid = bytes.min(place.unsent);
        place.unsent -= paid;
        open.unsent -= paid;
        if open.free_if_done(self.id) {
            drop(open);
            self.places.0.freed.notify_one();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = self.places.open();
        if let Some(place) = open.places.remove(&self.id) {
            open.unsent -= place.unsent;
        }
        drop(open);
        self.places.0.freed.notify_one();
    }
}

/// Somebody is being served.
#[derive(Debug)]
pub(super) struct Serving(Arc<Held>);

impl Drop for Serving {
    fn drop(&mut self) {
        let mut open = self.0.places.open();
        if let Some(place) = open.places.get_mut(&self.0.id) {
            place.is_answered = true;
        }
        if open.free_if_done(self.0.id) {
            drop(open);
            self.0.places.0.freed.notify_one();
        }
    }
}

/// A stream that notes what leaves, fails if its reader takes nothing for long, and is not closed on somebody who still sends.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    place: Arc<Held>,
    stalled: Option<Pin<Box<Sleep>>>,
    lingering: Option<Lingering>,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, place: Arc<Held>) -> Wire<S> {
        Wire { stream, place, stalled: None, lingering: None }
    }

    /// What a write has come to.
    fn wrote(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(bytes)) => {
                self.place.sent(*bytes);
                self.stalled = None;
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
                if stalled.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        wrote
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.wrote(context, wrote)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.wrote(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.place.has_unread.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        this.lingering.get_or_insert_with(Lingering::new).poll(&mut this.stream, context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Waker;

    fn enter(places: &Places) -> Option<Arc<Held>> {
        match pin!(places.enter()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(held) => Some(Arc::new(held)),
            Poll::Pending => None,
        }
    }

    fn has_given_way(held: &Held) -> bool {
        pin!(held.gives_way()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_is_idle_for_the_longest_gives_way_and_who_is_served_does_not() {
        let places = Places::default();
        let held: Vec<_> = (0..MOST).map(|_| enter(&places).unwrap()).collect();
        let first = held[0].serve(1).unwrap();
        let second = enter(&places).expect("another one gives way");
        assert!(!has_given_way(&held[0]) && has_given_way(&held[1]) && !has_given_way(&held[2]));
        // Now it is the one that has been idle for the shortest.
        drop(first);
        let _third = enter(&places).unwrap();
        assert!(!has_given_way(&held[0]) && has_given_way(&held[2]));
        assert_eq!(places.open().places.len(), MOST);
        drop((held, second));
        assert_eq!(places.open().places.len(), 1);
    }

    #[test]
    fn one_user_does_not_take_all_and_who_comes_waits_if_all_are_served() {
        let places = Places::default();
        let held: Vec<_> = (0..MOST).map(|_| enter(&places).unwrap()).collect();
        let own: Vec<_> = held.iter().filter_map(|held| held.serve(1)).collect();
        assert_eq!(own.len(), OF_USER_MAX);
        let mut others: Vec<_> = held[OF_USER_MAX..].iter().filter_map(|held| held.serve(2)).collect();
        assert!(enter(&places).is_none());
        others.pop();
        assert!(enter(&places).is_some());
    }

    #[test]
    fn who_still_waits_for_a_part_of_his_answer_is_being_served() {
        let places = Places::default();
        let held: Vec<_> = (0..MOST).map(|_| enter(&places).unwrap()).collect();
        let all: Vec<_> = held.iter().enumerate().map(|(nth, held)| held.serve(nth as u32 % 2)).collect();
        held[0].owe(10);
        drop(all);
        assert!(!has_given_way(&held[0]) && enter(&places).is_some() && has_given_way(&held[1]));
        held[0].sent(9);
        assert_eq!(places.open().places[&held[0].id].user, Some(0));
        held[0].sent(9);
        assert_eq!(places.open().places[&held[0].id].user, None);
    }

    #[test]
    fn who_has_owed_for_the_longest_gives_way_where_too_much_is_unread() {
        let places = Places::default();
        let [deaf, slow, good] = std::array::from_fn(|_| enter(&places).unwrap());
        deaf.owe(UNSENT_MAX / 2);
        slow.owe(UNSENT_MAX / 2);
        slow.sent(UNSENT_MAX / 2);
        slow.owe(UNSENT_MAX / 2);
        assert!(!has_given_way(&deaf));
        good.owe(1);
        assert!(has_given_way(&deaf) && !has_given_way(&slow) && !has_given_way(&good));
        drop((deaf, slow, good));
        assert_eq!(places.open().unsent, 0);
    }
}
