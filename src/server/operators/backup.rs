//! Sends a backup to a client. A thread reads the rows and produces pieces; the loop only passes them to the
//! connection, as fast as that takes them, and is asked once where the log stands.

use crate::server::connection::Connection;
use crate::server::encoder::Part;
use crate::server::fault::{Fault, Kind};
use crate::server::hub::Hub;
use crate::server::requests::RequestContext;
use crate::store::{BackupError, BackupRows, BackupTail, CommitNo, Store};
use bytes::Bytes;
use std::io::{self, BufWriter, Write};
use std::rc::Rc;
use tokio::sync::{mpsc, oneshot};

/// The length of a piece, and how many wait for the loop.
const PIECE_BYTES: usize = 256 << 10;
const PIECES_WAITING: usize = 4;

type Done = Result<CommitNo, BackupError>;

/// Begins one, and says it part by part.
pub(crate) fn start<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    connection: &Rc<Connection>,
    context: RequestContext<'_>,
) -> Result<(), Fault> {
    // Everybody's bodies are in it.
    hub.permissions(context.peer).daemon()?;
    let Some(rows) = hub.engine.borrow_mut().store_for_backup().begin_backup() else {
        let message = "another backup is under way; ask again when it is done";
        return Err(Fault::new(Kind::Busy, message));
    };
    tokio::task::spawn_local(run(hub.clone(), connection.clone(), context.origin.request, rows));
    Ok(())
}

async fn run<S: Store + 'static>(
    hub: Rc<Hub<S>>,
    connection: Rc<Connection>,
    request: u32,
    rows: BackupRows,
) {
    let done = pass_on(&hub, &connection, request, rows).await;
    hub.engine.borrow_mut().store_for_backup().end_backup();
    hub.wake.notify_one();
    let done = done.map(|_| ()).map_err(|error| Fault::new(Kind::Internal, error.to_string()));
    connection.say_part(request, Part::End(done));
    connection.flush();
}

async fn pass_on<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    connection: &Rc<Connection>,
    request: u32,
    rows: BackupRows,
) -> Done {
    let (pieces, mut written) = mpsc::channel(PIECES_WAITING);
    let (ask, mut asked) = oneshot::channel();
    let (finish, finished) = oneshot::channel();
    std::thread::Builder::new().name("backup".into()).spawn(move || {
        // The client has gone away.
        let _ = finish.send(take(&rows, pieces, ask));
    })?;
    let mut is_asked = false;
    loop {
        tokio::select! {
            biased;
            piece = written.recv() => {
                let Some(piece) = piece else { break };
                connection.say_part(request, Part::Backup(piece));
                connection.flush();
                hub.connections.enforce_budget();
                connection.until_drained().await;
                if !hub.connections.has(connection.id) {
                    written.close();
                }
            }
            answer = &mut asked, if !is_asked => {
                is_asked = true;
                if let Ok(answer) = answer {
                    // The thread waits for it.
                    let _ = oneshot::Sender::send(answer, hub.engine.borrow_mut().store_for_backup().backup_tail());
                }
            }
        }
    }
    // Its reader may have gone before the thread has asked: it must not wait for an answer.
    drop(asked);
    finished.await.unwrap_or_else(|_| Err(io::Error::other("the backup's thread has ended").into()))
}

/// The thread's part.
fn take(
    rows: &BackupRows,
    pieces: mpsc::Sender<Bytes>,
    ask: oneshot::Sender<oneshot::Sender<Option<BackupTail>>>,
) -> Done {
    let tail = || {
        let (answer, answered) = oneshot::channel();
        ask.send(answer).ok()?;
        answered.blocking_recv().ok().flatten()
    };
    rows.write(BufWriter::with_capacity(PIECE_BYTES, PieceWriter(pieces)), tail)
}

/// Where the thread writes to; waits while nobody takes anything.
struct PieceWriter(mpsc::Sender<Bytes>);

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(PIECE_BYTES)];
        let sent = self.0.blocking_send(Bytes::copy_from_slice(part));
        sent.map_err(|_| io::Error::other("the client that asked for the backup has gone away"))?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
