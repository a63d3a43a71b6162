//! What the loops of workers need of a connection beside its requests: to send one before the next, without waiting for
//! its answer, and to hear what the daemon says unasked.

use crate::protocol::Notice;
use std::future::Future;
use std::task::{Context, Waker};
use tokio::sync::mpsc;

/// Sends a request before anything that is sent later, and leaves its answer to a task.
pub(crate) fn send_now(request: impl Future<Output = ()> + Send + 'static) {
    let mut request = Box::pin(request);
    if request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        tokio::spawn(request);
    }
}

/// What the daemon says next. When the connection has ended it says nothing any more.
pub(crate) async fn next_notice(notices: &mut Option<mpsc::UnboundedReceiver<Notice>>) -> Notice {
    if let Some(notices) = notices
        && let Some(notice) = notices.recv().await
    {
        return notice;
    }
    std::future::pending().await
}
