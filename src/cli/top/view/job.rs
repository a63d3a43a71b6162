//! One job: why it is as it is, what there is to know of it, and below that what it prints.

use super::{BOLD, Canvas, DIM, Part};
use crate::cli::table::wrap;
use crate::cli::top::model::JobScreen;
use crate::cli::top::tail::Kind;
use ratatui::style::Style;

/// How much of one text is shown.
const TEXT_MAX: usize = 2_000;
/// How many lines the smaller part has at least, where there is something for them.
const PART_LEAST: usize = 3;

pub(super) fn draw(canvas: &mut Canvas<'_>, part: Part, screen: &JobScreen) {
    let title = match &screen.seen {
        Some(seen) => format!("job {}, {}", screen.id, seen.job.state_in_words()),
        None => format!("job {}", screen.id),
    };
    let x = canvas.line(0, part.top, &crate::cli::output::safe(&title), BOLD);
    if let Some(why) = &screen.gone {
        let style = canvas.palette.bad();
        canvas.line(x, part.top, &format!("  {why}"), style);
    }
    let facts = facts(screen, canvas.width());
    // The title and the line between them are not counted.
    let body = usize::from(part.height).saturating_sub(2);
    let most = if screen.facts_first { body.saturating_sub(PART_LEAST) } else { body / 2 };
    let room = facts.len().min(most);
    let from = screen.facts_from.min(facts.len() - room);
    let mut y = part.top + 1;
    for (name, text, indent) in facts.iter().skip(from).take(room) {
        canvas.line(0, y, name, DIM);
        canvas.line(*indent, y, text, Style::new());
        y += 1;
    }
    line_between(canvas, y, screen, facts.len() - from - room);
    let end = part.top + part.height;
    output(canvas, Part { top: y + 1, height: end.saturating_sub(y + 1) }, screen);
}

/// The lines of what there is to know: a name, which stands at the first one, and a text.
fn facts(screen: &JobScreen, width: usize) -> Vec<(&'static str, String, usize)> {
    let Some(seen) = &screen.seen else { return Vec::new() };
    let reasons = seen.reasons.iter().map(|reason| ("why", reason));
    // That of the job itself is the title.
    let rest = seen.facts.iter().filter(|(name, _)| *name != "job").map(|(name, text)| (*name, text));
    let all: Vec<_> = reasons.chain(rest).collect();
    let indent = 2 + all.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (mut name, text) in all {
        let text: String = text.chars().take(TEXT_MAX).collect();
        for line in wrap(&text, width.saturating_sub(indent).max(1)) {
            lines.push((name, line, indent));
            name = "";
        }
    }
    lines
}

fn line_between(canvas: &mut Canvas<'_>, y: u16, screen: &JobScreen, facts_below: usize) {
    let mut text = "── output".to_owned();
    if let Some(to) = screen.output_to {
        text += &format!(", {} more lines below: G", screen.tail.len().saturating_sub(to));
    } else if screen.ended.is_none() {
        text += ", as it comes";
    }
    if facts_below > 0 {
        text += &format!(" ── {facts_below} more lines above: Tab");
    }
    text += " ";
    let left = canvas.width().saturating_sub(unicode_width::UnicodeWidthStr::width(&*text));
    text.extend(std::iter::repeat_n('─', left));
    canvas.line(0, y, &text, DIM);
}

/// The last lines that there is room for, from below.
fn output(canvas: &mut Canvas<'_>, part: Part, screen: &JobScreen) {
    let room = usize::from(part.height);
    let to = screen.output_to.unwrap_or(usize::MAX);
    let mut lines: Vec<(Style, String)> = Vec::new();
    if let (None, Some(how)) = (screen.output_to, &screen.ended) {
        lines.push((DIM, format!("({how})")));
    }
    for (kind, text) in screen.tail.back_from(to) {
        if lines.len() >= room {
            break;
        }
        let style = match kind {
            Kind::Said => Style::new(),
            Kind::Complained => canvas.palette.odd(),
            Kind::Attempt => BOLD,
        };
        let text = if kind == Kind::Attempt { format!("({text})") } else { text };
        lines.extend(wrap(&text, canvas.width().max(1)).into_iter().rev().map(|line| (style, line)));
    }
    lines.truncate(room);
    for ((style, line), y) in lines.iter().rev().zip(part.top..) {
        canvas.line(0, y, line, *style);
    }
}
