//! Lays out tables and long texts for a terminal of a given width. It must not know where they come from, nor print.

use unicode_width::UnicodeWidthStr;

/// What stands between columns.
const GAP: &str = "  ";
/// A column of text is not cut below this width while there are columns to leave out.
const TEXT_MIN: usize = 16;
/// Below this it is not cut at all.
const TEXT_LEAST: usize = 4;

/// What each column of a table is like.
#[derive(Debug)]
pub(super) struct Layout {
    columns: Vec<Column>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    width: usize,
    numeric: bool,
    shown: bool,
}

impl Layout {
    /// As wide as it must be, at most `room` if that is known: text is cut, numbers never are, and of the columns
    /// some may be left out, the first first.
    pub(super) fn new(head: &[&str], rows: &[Vec<String>], optional: &[&str], room: Option<usize>) -> Layout {
        let column = |nth: usize| {
            let cells = rows.iter().map(|row| row[nth].width());
            let width = cells.chain([head[nth].width()]).max().unwrap_or(0);
            let numeric = !rows.is_empty() && rows.iter().all(|row| is_number(&row[nth]));
            Column { width, numeric, shown: true }
        };
        let mut layout = Layout { columns: (0..head.len()).map(column).collect() };
        let Some(room) = room else { return layout };
        for name in optional {
            if layout.least_width() <= room {
                break;
            }
            if let Some(nth) = head.iter().position(|known| known == name) {
                layout.columns[nth].shown = false;
            }
        }
        layout.cut(room);
        layout
    }

    /// With every text as narrow as it gets while there are columns to leave out.
    fn least_width(&self) -> usize {
        let too_wide = self.columns.iter().filter(|column| column.shown && !column.numeric);
        self.width() - too_wide.map(|column| column.width.saturating_sub(TEXT_MIN)).sum::<usize>()
    }

    /// How wide its lines are.
    pub(super) fn width(&self) -> usize {
        let shown = self.columns.iter().filter(|column| column.shown);
        shown.map(|column| column.width + GAP.len()).sum::<usize>().saturating_sub(GAP.len())
    }

    /// Makes the widest text narrower until all fits.
    fn cut(&mut self, room: usize) {
        while self.width() > room {
            let texts = self.columns.iter_mut().filter(|column| column.shown && !column.numeric);
            match texts.max_by_key(|column| column.width) {
                Some(column) if column.width > TEXT_LEAST => column.width -= 1,
                _ => return,
            }
        }
    }

    /// The columns that are not shown.
    pub(super) fn left_out<'h>(&self, head: &[&'h str]) -> Vec<&'h str> {
        let columns = head.iter().zip(&self.columns);
        columns.filter(|(_, column)| !column.shown).map(|(name, _)| *name).collect()
    }

    /// The table's lines.
    pub(super) fn lines(&self, head: &[&str], rows: &[Vec<String>]) -> impl Iterator<Item = String> {
        let head = self.line(head.iter().copied());
        [head].into_iter().chain(rows.iter().map(|row| self.line(row.iter().map(String::as_str))))
    }

    fn line<'c>(&self, cells: impl Iterator<Item = &'c str>) -> String {
        let mut line = String::new();
        for (cell, column) in cells.zip(&self.columns).filter(|(_, column)| column.shown) {
            let cell = cut(cell, column.width);
            let pad = " ".repeat(column.width.saturating_sub(cell.width()));
            line += &if column.numeric { format!("{pad}{cell}{GAP}") } else { format!("{cell}{pad}{GAP}") };
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// A number, perhaps with a unit: `1,000`, `38.4 k`, `250 µs`; or none, `-`.
fn is_number(cell: &str) -> bool {
    let of_number = |c: char| c.is_ascii_digit() || ",.-".contains(c);
    let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    number.chars().all(of_number) && ["", "k", "M", "G", "µs", "ms", "s"].contains(&unit)
}

/// A text of at most this width; what is missing is an ellipsis.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    format!("{}…", &text[..fitting(text, width.saturating_sub(1))])
}

/// How many bytes of a text fit into a width. What goes together may be wider or narrower than its characters.
fn fitting(text: &str, width: usize) -> usize {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    ends.take_while(|end| text[..*end].width() <= width).last().unwrap_or(0)
}

/// A text in lines of at most this width, broken between words where that is possible.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while rest.width() > width {
        // At least one character, or it would never end.
        let end = fitting(rest, width).max(rest.chars().next().map_or(0, char::len_utf8));
        let space = rest[..end].rfind(' ').filter(|at| *at > 0 && !rest[end..].starts_with(' '));
        let at = space.unwrap_or(end);
        lines.push(rest[..at].trim_end().to_owned());
        rest = rest[at..].trim_start_matches(' ');
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: [&str; 4] = ["QUEUE", "READY", "KEPT", "NOTE"];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        vec![
            row(["mails", "1,000", "7", "failed: the server does not answer at all"]),
            row(["日本語のキュー", "12", "10,000", ""]),
        ]
    }

    fn drawn(room: Option<usize>) -> String {
        let layout = Layout::new(&HEAD, &rows(), &["KEPT"], room);
        layout.lines(&HEAD, &rows()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_table_is_whole_where_there_is_no_terminal() {
        assert_eq!(
            drawn(None),
            "\
QUEUE           READY    KEPT  NOTE
mails           1,000       7  failed: the server does not answer at all
日本語のキュー     12  10,000"
        );
    }

    #[test]
    fn text_is_cut_then_columns_are_left_out_and_numbers_stay() {
        assert_eq!(
            drawn(Some(50)),
            "\
QUEUE           READY    KEPT  NOTE
mails           1,000       7  failed: the server…
日本語のキュー     12  10,000"
        );
        assert_eq!(
            drawn(Some(40)),
            "\
QUEUE           READY  NOTE
mails           1,000  failed: the serv…
日本語のキュー     12"
        );
        assert_eq!(Layout::new(&HEAD, &rows(), &["KEPT"], Some(40)).left_out(&HEAD), ["KEPT"]);
        assert_eq!(
            drawn(Some(25)),
            "\
QUEUE     READY  NOTE
mails     1,000  failed:…
日本語…      12"
        );
    }

    #[test]
    fn a_long_text_goes_on_below() {
        assert_eq!(wrap("sh -c 'make all'", 9), ["sh -c", "'make", "all'"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("日本語", 1), ["日", "本", "語"]);
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_its_room(text in "[a-z ü日🦀⚠\u{fe0f}\u{301}]{0,60}", width in 4usize..40) {
            prop_assert!(cut(&text, width).width() <= width);
            for line in wrap(&text, width) {
                prop_assert!(line.width() <= width, "{line:?}");
            }
        }
    }
}
