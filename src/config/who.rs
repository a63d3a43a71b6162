//! Who may do what, in words: what `musher config check` tells besides what is wrong.

use super::{Config, Handler};
use crate::access::Rule;

pub(super) fn who_may(config: &Config) -> Vec<String> {
    let mut lines = vec![
        format!(
            "who gets in: the daemon's user, root, and the group of the socket {} (mode 0660)",
            config.daemon.socket.display()
        ),
        "the daemon's user and root may do everything; everybody may see and stop his own jobs".to_owned(),
    ];
    match config.access.as_deref() {
        None => lines.push("others may submit to every queue, for there is no [[access]]".to_owned()),
        Some([]) => lines.push("others may do nothing more: access = []".to_owned()),
        Some(rules) => lines.extend(rules.iter().map(rule)),
    }
    let commands = config.queues.iter().filter(|(_, queue)| queue.handler == Some(Handler::Command));
    let names: Vec<String> = commands.map(|(name, _)| format!("`{name}`")).collect();
    lines.push(format!(
        "`musher run` (queue {}): a daemon of root runs each command as the user who submitted it; another daemon runs \
         those of its own user, and refuses everybody else's",
        names.join(", ")
    ));
    lines
}

fn rule(rule: &Rule) -> String {
    let names = |what, ids: &[u32]| {
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        (!ids.is_empty()).then(|| format!("{what} {}", ids.join(", ")))
    };
    let everybody = rule.everybody.then(|| "everybody who gets in".to_owned());
    let whom = [everybody, names("users", &rule.users), names("groups", &rule.groups)];
    let whom: Vec<String> = whom.into_iter().flatten().collect();
    let may: Vec<&str> = rule.may.iter().map(|right| right.name()).collect();
    let queues: Vec<&str> = rule.queues.iter().map(|pattern| pattern.as_str()).collect();
    format!("{} may {} at {}", whom.join(", "), may.join(", "), queues.join(", "))
}
