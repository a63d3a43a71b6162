//! Topics: everybody may see which queues are bound to them. Binding queues changes where the jobs of all go that submit to a
//! topic, and whether they may, so it is for those who may change the whole daemon.

use crate::core::{Command, Pattern, QueueName, TopicAction, Topics};
use crate::server::fault::{Fault, Kind};
use crate::server::hub::Hub;
use crate::server::requests::{RequestContext, queue_name};
use crate::store::Store;
use crate::views::TopicView;

/// The topics: those of the configuration, then those that were bound by command.
pub(crate) fn topics<S: Store + 'static>(hub: &Hub<S>) -> Vec<TopicView> {
    let engine = hub.engine.borrow();
    let core = engine.core();
    let from = |topics: &Topics, from: &str| -> Vec<TopicView> {
        let view = |(pattern, queues): (&Pattern, &std::sync::Arc<[QueueName]>)| TopicView {
            topic: pattern.as_str().to_owned(),
            queues: queues.iter().map(|queue| queue.as_str().to_owned()).collect(),
            from: from.to_owned(),
        };
        topics.iter().map(view).collect()
    };
    let configured = from(&core.settings.topics, TopicView::CONFIGURATION);
    [configured, from(core.state.topics(), TopicView::COMMAND)].concat()
}

/// Binds queues to topics.
pub(crate) fn bind<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    topic: &str,
    queues: &[String],
) -> Result<(), Fault> {
    if queues.is_empty() {
        return Err(Fault::new(Kind::Invalid, "no queue to bind to the topic: name one at least"));
    }
    change(hub, context, topic, queues, |queues| TopicAction::Bind { queues })
}

/// Lets go of queues that were bound by command: of all if none are named.
pub(crate) fn unbind<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    topic: &str,
    queues: &[String],
) -> Result<(), Fault> {
    change(hub, context, topic, queues, |queues| TopicAction::Unbind { queues })
}

fn change<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    topic: &str,
    queues: &[String],
    action: impl FnOnce(Vec<QueueName>) -> TopicAction,
) -> Result<(), Fault> {
    hub.permissions(context.peer).daemon()?;
    hub.check_batch(queues.len())?;
    let pattern = Topics::pattern(topic).map_err(|error| Fault::new(Kind::Invalid, error.to_string()))?;
    let queues = queues.iter().map(|queue| queue_name(queue)).collect::<Result<_, _>>()?;
    let command = Command::Topic { pattern, action: action(queues) };
    hub.engine.borrow_mut().change_queue(context.origin, &command, context.now);
    Ok(())
}
