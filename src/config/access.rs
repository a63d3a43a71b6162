//! `[[access]]`: who may do what. Names of users and groups become numbers here, so that a name that nobody has is
//! an error at its line and not a rule that never holds.

use super::paths::Surroundings;
use super::problem::Report;
use super::raw::{NameOrNumber, Section};
use crate::access::{Right, Rule};
use crate::core::Pattern;

/// Whom a rule names that holds for everybody.
const EVERYBODY: &str = "*";

/// The rules in the order of the file; `None` if the file has none, which is not the same as an empty list.
pub(super) fn rules(
    root: &mut Section<'_>,
    around: &Surroundings,
    report: &mut Report<'_>,
) -> Option<Vec<Rule>> {
    let tables = root.tables(report, "access")?;
    Some(tables.into_iter().map(|table| rule(table, around, report)).collect())
}

fn rule(mut table: Section<'_>, around: &Surroundings, report: &mut Report<'_>) -> Rule {
    let users = table.names_or_numbers(report, "users");
    let groups = table.names_or_numbers(report, "groups");
    if !table.has("users") && !table.has("groups") {
        let message = "applies to nobody; name users or groups (users = [\"*\"] is everybody who may connect to the socket)";
        table.fault_of_all(report, message);
    }
    let everybody = users.contains(&NameOrNumber::Name(EVERYBODY));
    let named = users.iter().filter(|user| **user != NameOrNumber::Name(EVERYBODY));
    let number = |key, what, ids: &dyn Fn(&str) -> Option<u32>, report: &mut Report<'_>, one: &_| match one {
        NameOrNumber::Number(number) => Some(*number),
        NameOrNumber::Name(name) => {
            let id = ids(name);
            if id.is_none() {
                let shown = name.escape_debug();
                let message =
                    format!("there is no {what} `{shown}` on this machine; add it, or write its number");
                table.fault(report, key, message);
            }
            id
        }
    };
    let users = named.filter_map(|one| number("users", "user", &around.user, report, one)).collect();
    let groups =
        groups.iter().filter_map(|one| number("groups", "group", &around.group, report, one)).collect();
    let rule =
        Rule { everybody, users, groups, queues: queues(&mut table, report), may: may(&mut table, report) };
    table.finish(report);
    rule
}

fn queues(table: &mut Section<'_>, report: &mut Report<'_>) -> Vec<Pattern> {
    let names = some_texts(table, report, "queues", "names no queue; write the names, or [\"*\"] for all");
    let pattern = |name: &String| {
        let pattern = Pattern::new(name);
        if pattern.is_none() {
            let shown = name.chars().take(40).collect::<String>();
            let message = format!(
                "`{}` is not a pattern of queue names: use letters, digits, . _ - / : + ; $ ( ) and * for anything",
                shown.escape_debug()
            );
            table.fault(report, "queues", message);
        }
        pattern
    };
    names.iter().filter_map(pattern).collect()
}

fn may(table: &mut Section<'_>, report: &mut Report<'_>) -> Vec<Right> {
    let known = Right::ALL.map(|right| format!("\"{}\"", right.name())).join(", ");
    let words = some_texts(table, report, "may", &format!("allows nothing; write a list of {known}"));
    let right = |word: &String| {
        let right = Right::ALL.into_iter().find(|right| right.name() == word);
        if right.is_none() {
            table.fault(report, "may", format!("`{}` is not known; use {known}", word.escape_debug()));
        }
        right
    };
    words.iter().filter_map(right).collect()
}

/// A list of texts that must not be empty, nor missing.
fn some_texts(
    table: &mut Section<'_>,
    report: &mut Report<'_>,
    key: &'static str,
    if_empty: &str,
) -> Vec<String> {
    let texts = table.texts(report, key);
    // One that is no list of texts has its own error.
    if texts.as_ref().map_or(!table.has(key), Vec::is_empty) {
        table.fault(report, key, if_empty);
    }
    texts.unwrap_or_default()
}
