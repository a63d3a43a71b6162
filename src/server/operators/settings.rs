//! The settings of a queue: what each is, what the configuration says, and what somebody has set at run time.

use crate::access::Right;
use crate::config::{read_settings, setting_keys, show_setting};
use crate::core::{Command, Core, QueueName, QueueSettings, Rejection, Setting, SettingKey};
use crate::engine::Refusal;
use crate::server::fault::{Fault, Kind};
use crate::server::hub::Hub;
use crate::server::requests::{RequestContext, queue_name};
use crate::store::Store;
use crate::views::{QueueSettingsView, SettingView};

/// Sets these settings, each a key and a value as the configuration has them, and lets others be as the configuration says.
pub(crate) fn set<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    queue: &str,
    set: &[(String, String)],
    unset: &[String],
) -> Result<(), Fault> {
    let queue = queue_name(queue)?;
    hub.permissions(context.peer).queue(Right::Admin, &queue)?;
    let invalid = |message| Fault::new(Kind::Invalid, message);
    let mut keys = Vec::new();
    for name in unset {
        keys.extend(setting_keys(name).map_err(invalid)?);
    }
    let set = read_settings(set).map_err(invalid)?;
    if set.is_empty() && keys.is_empty() {
        return Err(invalid("nothing to set: name a setting, as in rate=50/s".to_owned()));
    }
    let command = Command::SetQueue { queue, set, unset: keys, by: context.peer.caller.uid };
    hub.engine.borrow_mut().change_queue(context.origin, &command, context.now);
    hub.settings_changed();
    Ok(())
}

/// The settings of a queue, in the order of the documentation.
pub(crate) fn show<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    queue: &str,
) -> Result<QueueSettingsView, Fault> {
    let queue = queue_name(queue)?;
    let (engine, service) = (hub.engine.borrow(), hub.service.borrow());
    let core = engine.core();
    let is_there = core.state.queue(&queue).is_some() || core.is_configured(&queue);
    if !is_there || !hub.permissions(context.peer).knows(queue.as_str()) {
        return Err(Fault::from(&Refusal::from(Rejection::NoSuchQueue { queue })));
    }
    let plain = QueueSettings::default();
    let usual = service.usual.get(&queue).unwrap_or(&plain);
    let setting = |key: &SettingKey| setting(hub, core, &queue, usual, *key);
    Ok(QueueSettingsView {
        queue: queue.as_str().into(),
        configured: core.is_configured(&queue),
        settings: SettingKey::ALL.iter().map(setting).collect(),
    })
}

fn setting<S>(
    hub: &Hub<S>,
    core: &Core,
    queue: &QueueName,
    usual: &QueueSettings,
    key: SettingKey,
) -> SettingView {
    let set = core.state.queue(queue).and_then(|queue| queue.overrides().get(key));
    let configured = Setting::of(key, core.configured(queue));
    let from = match set {
        Some(_) => "set",
        None if configured == Setting::of(key, usual) => "default",
        None => "configuration",
    };
    SettingView {
        key: key.name().into(),
        value: show_setting(Setting::of(key, core.settings.of(queue))),
        from: from.into(),
        configured: show_setting(configured),
        by: set.map(|set| set.by),
        at: set.map(|set| hub.clock.shown(set.at).0),
    }
}
