//! Each command, as a request to the server.

use super::answer::{self, Holder};
use super::line::{Command, Put};
use super::tags::{Keys, More};
use super::tubes::Tubes;
use super::{Beanstalk, stats, words};
use crate::core::{Group, JobId, OnConflict, QueueName, Time, for_shell};
use crate::server::handling::{self, OfHolder, Which};
use crate::server::requests::RequestContext;
use crate::server::submit;
use crate::server::{Fault, Hub, Kind};
use crate::store::Store;
use bytes::Bytes;
use std::rc::Rc;
use std::time::Duration;

/// The most tubes that a connection may watch.
const WATCHED_MAX: usize = 1_000;

/// Does what a command asks for, which may wait until that time. Returns what is to be said; nothing if the engine answers.
pub(super) async fn handle<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    front: &Beanstalk,
    context: RequestContext<'_>,
    (command, body): (Command, Bytes),
    until: Time,
) -> Result<Option<Vec<u8>>, Fault> {
    let done = |is_done: bool, word: &'static str| if is_done { word } else { words::NOT_FOUND };
    let used = || front.own.borrow().used.clone();
    let text = match command {
        Command::Put(put) => {
            submit(hub, front, context, put, body)?;
            return Ok(None);
        }
        Command::Reserve(_) => {
            reserve(hub, front, context, (1, until))?;
            return Ok(None);
        }
        Command::ReserveBatch(most, _) => {
            reserve(hub, front, context, (most, until))?;
            return Ok(None);
        }
        Command::ReserveJob(id) => {
            handling::reserve_job(hub, context, id);
            return Ok(None);
        }
        Command::Delete(id) => {
            let from = handling::delete(hub, context, id)?;
            from.iter().for_each(|queue| front.tubes.note(queue, |tube| tube.deletes += 1));
            done(from.is_some(), words::DELETED)
        }
        Command::DeleteBatch(ids) => {
            let deleted = delete_all(hub, front, context, &ids);
            return Ok(Some(format!("DELETED_BATCH {deleted} {}\r\n", ids.len() - deleted).into()));
        }
        Command::Release(id, priority, delay) => {
            let what = OfHolder::Release(priority, delay);
            done(handling::of_holder(hub, context, id, what), words::RELEASED)
        }
        Command::Bury(id, priority) => {
            done(handling::of_holder(hub, context, id, OfHolder::Bury(priority)), words::BURIED)
        }
        Command::Touch(id) => done(handling::of_holder(hub, context, id, OfHolder::Touch), words::TOUCHED),
        Command::Kick(most) => {
            let kicked = handling::kick(hub, context, &used(), most).await?;
            return Ok(Some(format!("KICKED {kicked}\r\n").into()));
        }
        Command::KickJob(id) => done(handling::kick_job(hub, context, id)?, words::KICKED),
        Command::Peek(id) => return look(hub, context, &Which::Id(id)),
        Command::PeekReady => return look(hub, context, &Which::Ready(&used())),
        Command::PeekDelayed => return look(hub, context, &Which::Scheduled(&used())),
        Command::PeekBuried => return look(hub, context, &Which::Dead(&used())),
        Command::Use(tube) => return use_tube(hub, front, context, tube).map(Some),
        Command::Watch(tube) => return watch(hub, front, context, tube).map(Some),
        Command::Ignore(tube) => return Ok(Some(ignore(front, &tube))),
        Command::Stats => {
            let names = names(hub, front, context);
            return Ok(Some(stats::all(hub, &front.tubes, &names)));
        }
        Command::StatsTube(tube) => match has(hub, front, context, &tube) {
            true => return Ok(Some(stats::tube(hub, context, &tube, &front.tubes.get(&tube)))),
            false => words::NOT_FOUND,
        },
        Command::StatsJob(id) => {
            let say = |job: &_, run_time: Duration| stats::job(id, job, run_time, context.now);
            match handling::look(hub, context, id, say) {
                Some(said) => return Ok(Some(said)),
                None => words::NOT_FOUND,
            }
        }
        Command::ListTubes => return Ok(Some(stats::list(names(hub, front, context).iter()))),
        Command::ListTubesWatched => return Ok(Some(stats::list(front.own.borrow().watched.iter()))),
        Command::ListTubeUsed => return Ok(Some(format!("USING {}\r\n", used()).into())),
        Command::PauseTube(tube, seconds) => match has(hub, front, context, &tube) {
            true => {
                handling::pause(hub, context, &tube, seconds)?;
                front.tubes.note(&tube, |tube| {
                    tube.pauses += 1;
                    tube.paused_for = seconds;
                });
                words::PAUSED
            }
            false => words::NOT_FOUND,
        },
        // It is the end of the connection, and never comes here.
        Command::Quit => words::INTERNAL_ERROR,
    };
    Ok(Some(text.into()))
}

/// Says in the log why something was refused, if the protocol cannot: not again and again.
pub(super) fn tell(front: &Beanstalk, context: RequestContext<'_>, command: &str, fault: &Fault) {
    if fault.kind != Kind::NotFound && front.tubes.is_news(&fault.message, context.now) {
        handling::log_refusal(context, command, fault);
    }
}

fn reserve<S: Store + 'static>(
    hub: &Hub<S>,
    front: &Beanstalk,
    context: RequestContext<'_>,
    (most, until): (u32, Time),
) -> Result<(), Fault> {
    front.first_time(&front.is_worker, &front.tubes.workers);
    let watched = front.own.borrow().watched.clone();
    handling::reserve(hub, context, (watched, most), until)
}

fn submit<S: Store + 'static>(
    hub: &Hub<S>,
    front: &Beanstalk,
    context: RequestContext<'_>,
    put: Put,
    body: Bytes,
) -> Result<(), Fault> {
    front.first_time(&front.is_producer, &front.tubes.producers);
    let mut own = front.own.borrow_mut();
    let Put { priority, delay, ttr, more, .. } = put;
    let spec = own.spec(context.peer.caller.uid, priority, ttr);
    let More::Keys(keys) = more else {
        return handling::put(hub, context, Group::new(spec, 1), (delay, None, body));
    };
    check_limit(hub, &own.used, &keys)?;
    let spec = own.keyed_spec(&spec, &keys);
    if let Some(key) = spec.unique
        && let Some(kind) = handling::holder_of(hub, &own.used, key, context.now)
    {
        let holder = Holder { kind, raised_to: priority };
        front.holders.borrow_mut().insert(context.origin.request, holder);
    }
    let text = |key: Option<(String, u32)>| key.map(|(text, _)| text);
    let envelope = submit::envelope(Vec::new(), (text(keys.concurrency), text(keys.unique)))?;
    let group = Group { on_conflict: OnConflict::Raise, ..Group::new(spec, 1) };
    handling::put(hub, context, group, (delay, envelope.as_ref(), body))
}

/// How many jobs of a key run at a time is the queue's to say: refuses a put that relies on fewer.
fn check_limit<S: Store + 'static>(hub: &Hub<S>, tube: &QueueName, keys: &Keys) -> Result<(), Fault> {
    let Some((_, most)) = &keys.concurrency else { return Ok(()) };
    let limit = hub.engine.borrow().core().settings.of(tube).per_key;
    if limit.is_some_and(|limit| limit <= *most) {
        return Ok(());
    }
    let has = limit.map_or("no limit".to_owned(), |limit| format!("per_key = {limit}"));
    let message = format!(
        "a put with `con:` wants at most {most} jobs of a key at a time, and queue `{tube}` has {has}: \
         `musher queue set {} per_key={most}`, or set it in the configuration",
        for_shell(tube.as_str())
    );
    Err(Fault::new(Kind::Invalid, message))
}

/// Deletes those of these jobs that the sender may delete. Returns how many it were. Where rights are missing the log says which, once.
fn delete_all<S: Store + 'static>(
    hub: &Hub<S>,
    front: &Beanstalk,
    context: RequestContext<'_>,
    ids: &[JobId],
) -> usize {
    let (mut deleted, mut refused) = (0, None);
    for id in ids {
        match handling::delete(hub, context, *id) {
            Ok(Some(queue)) => {
                front.tubes.note(&queue, |tube| tube.deletes += 1);
                deleted += 1;
            }
            Ok(None) => {}
            Err(fault) => refused = Some(fault),
        }
    }
    if let Some(fault) = refused {
        tell(front, context, "delete-batch", &fault);
    }
    deleted
}

fn look<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    context: RequestContext<'_>,
    which: &Which<'_>,
) -> Result<Option<Vec<u8>>, Fault> {
    let found = handling::peek(hub, context, which)?;
    Ok(Some(found.map_or_else(|| words::NOT_FOUND.into(), |(id, body)| answer::found(id, &body))))
}

/// The tubes that are there, as far as the sender may know of them.
fn names<S: Store + 'static>(hub: &Hub<S>, front: &Beanstalk, context: RequestContext<'_>) -> Vec<QueueName> {
    let mut names = front.tubes.names(&hub.engine.borrow().core().state);
    names.retain(|name| handling::knows(hub, context, name) || Tubes::is_default(name));
    names
}

fn has<S: Store + 'static>(
    hub: &Hub<S>,
    front: &Beanstalk,
    context: RequestContext<'_>,
    tube: &QueueName,
) -> bool {
    let is_known = handling::knows(hub, context, tube) || Tubes::is_default(tube);
    is_known && front.tubes.has(tube, &hub.engine.borrow().core().state)
}

/// The connection refers to a tube. A pause of one that was not there any more ended with that.
fn refer<S: Store + 'static>(
    hub: &Hub<S>,
    front: &Beanstalk,
    context: RequestContext<'_>,
    tube: &QueueName,
    count: fn(&mut super::tubes::Tube) -> &mut u64,
) -> Result<(), Fault> {
    let was_paused = front.tubes.refer(tube, &hub.engine.borrow().core().state, count);
    if was_paused { handling::pause(hub, context, tube, 0) } else { Ok(()) }
}

fn use_tube<S: Store + 'static>(
    hub: &Hub<S>,
    front: &Beanstalk,
    context: RequestContext<'_>,
    tube: QueueName,
) -> Result<Vec<u8>, Fault> {
    let said = format!("USING {tube}\r\n").into();
    if front.own.borrow().used != tube {
        refer(hub, front, context, &tube, |tube| &mut tube.using)?;
        let former = std::mem::replace(&mut front.own.borrow_mut().used, tube);
        front.tubes.let_go(&former, |tube| &mut tube.using);
    }
    Ok(said)
}

fn watch<S: Store + 'static>(
    hub: &Hub<S>,
    front: &Beanstalk,
    context: RequestContext<'_>,
    tube: QueueName,
) -> Result<Vec<u8>, Fault> {
    let (count, is_new) = {
        let watched = &front.own.borrow().watched;
        (watched.len(), !watched.contains(&tube))
    };
    let most = WATCHED_MAX.min(hub.service.borrow().limits.bounds.waiting);
    if is_new && count >= most {
        let message =
            format!("a connection may watch {most} tubes at most: use another one (limits.waiting)");
        return Err(Fault::new(Kind::Busy, message));
    }
    if is_new {
        refer(hub, front, context, &tube, |tube| &mut tube.watching)?;
        front.own.borrow_mut().watched.push(tube);
    }
    Ok(watching(front))
}

fn ignore(front: &Beanstalk, tube: &QueueName) -> Vec<u8> {
    let at = front.own.borrow().watched.iter().position(|watched| watched == tube);
    if let Some(at) = at {
        if front.own.borrow().watched.len() == 1 {
            return words::NOT_IGNORED.into();
        }
        front.own.borrow_mut().watched.remove(at);
        front.tubes.let_go(tube, |tube| &mut tube.watching);
    }
    watching(front)
}

fn watching(front: &Beanstalk) -> Vec<u8> {
    format!("WATCHING {}\r\n", front.own.borrow().watched.len()).into()
}
