//! The reference of the configuration: what each key means, in which unit, with its default, its bounds and an
//! example; as Markdown (docs/configuration.md), as a man page, and as a file to begin with. The words are in reference.toml, the defaults are
//! those that `musher config show` prints, and the tests hold both against what the code asks for.

use super::{Overrides, Surroundings, check};
use roff::{Inline, Roff, bold, italic, roman};
use serde::Deserialize;

const BEFORE: &str = "\
The daemon reads one file of TOML: `--config FILE`, else `$MUSHER_CONFIG`, else the first that exists of `musher.toml` in \
`$CONFIGURATION_DIRECTORY`, `/etc/musher` (for root and the system's service) and `~/.config/musher`. Every key has a \
default, so it needs none. Unknown keys are errors that name the nearest known one. `musher config check` says everything \
that is wrong, `musher config show` prints what holds with all defaults, `systemctl reload` (SIGHUP) reads it again: a bad \
one is refused as a whole, and the old one stays.";

const UNITS: &str = "\
Durations are texts such as `\"250ms\"`, `\"30s\"`, `\"1h30m\"` or `\"2d\"`, in steps of a millisecond, up to a hundred \
years. Sizes are texts such as `\"64MiB\"` or `\"500kB\"`, or whole numbers of bytes. Counts are whole numbers.";

/// All of it, as it is written in reference.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reference {
    table: Vec<Table>,
    key: Vec<Key>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// What the names of its keys begin with.
    pub(super) name: String,
    /// As it is written in the file.
    head: String,
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    /// In full; `NAME` stands for a queue's or a schedule's.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// In words, where it depends on something.
    pub(super) default: Option<String>,
    pub(super) least: Option<String>,
    pub(super) most: Option<String>,
    /// What may stand there, if that is one of a few words.
    #[serde(default)]
    pub(super) words: Vec<String>,
    /// A value, in TOML.
    pub(super) example: String,
    /// Whether a reload does not change it.
    #[serde(default)]
    pub(super) restart: bool,
    text: String,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Path,
    Text,
    Word,
    Duration,
    Limit,
    Size,
    Count,
    Rate,
    Share,
    Flag,
    Handler,
    Keep,
    Full,
    Texts,
    Names,
    Exits,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::Path => "path",
            Kind::Text => "text",
            Kind::Word => "word",
            Kind::Duration => "duration",
            Kind::Limit => "duration, or `\"none\"`",
            Kind::Size => "size",
            Kind::Count => "count",
            Kind::Rate => "rate, or `\"none\"`",
            Kind::Share => "number from 0 to 1",
            Kind::Flag => "`true` or `false`",
            Kind::Handler => "`\"command\"`, or a table with `exec` or `http`",
            Kind::Keep => "duration, `\"forever\"` or `\"no\"`",
            Kind::Full => "`\"reject\"`, `\"drop-new\"`, `\"drop-old\"` or `\"wait TIME\"`",
            Kind::Texts => "list of texts",
            Kind::Exits => "table whose values are `\"done\"`, `\"failed\"`, `\"later\"` or `\"dead\"`",
            Kind::Names => "list of names and numbers",
        }
    }
}

impl Reference {
    pub(super) fn read() -> Reference {
        toml::from_str(include_str!("reference.toml")).expect("a test reads it")
    }

    pub(super) fn tables(&self) -> &[Table] {
        &self.table
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.key
    }

    fn keys_of<'r>(&'r self, table: &'r Table) -> impl Iterator<Item = (&'r str, &'r Key)> {
        let of = |key: &'r Key| Some((key.name.strip_prefix(&table.name)?.strip_prefix('.')?, key));
        self.keys().iter().filter_map(of)
    }
}

/// What `config show` prints if nothing is configured, and one queue is there.
pub(super) struct Defaults(toml::Table);

impl Defaults {
    pub(super) fn new() -> Defaults {
        let env = |name: &str| (name == "HOME").then(|| "/".into());
        let (user, group) = (|_: &str| None, |_: &str| None);
        let around = Surroundings {
            env: Box::new(env),
            root: false,
            uid: 0,
            cpus: 1,
            host: String::new(),
            user: Box::new(user),
            group: Box::new(group),
        };
        let parsed = check::parse(String::new(), "[queues.NAME]", &Overrides::default(), &around);
        let (config, _) = parsed.expect("nothing that is set cannot be wrong");
        Defaults(config.show().parse().expect("what is shown can be read"))
    }

    /// The default of a key, in TOML.
    pub(super) fn of(&self, name: &str) -> Option<String> {
        let mut names = name.split('.');
        let first = self.0.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name)).map(toml::Value::to_string)
    }
}

impl Key {
    /// Unit, default, bounds and example, in Markdown.
    fn facts(&self, short: &str, defaults: &Defaults) -> String {
        let code = |text: &str| format!("`{text}`");
        let default = match (&self.default, defaults.of(&self.name)) {
            (Some(words), _) => words.clone(),
            (None, Some(shown)) => code(&shown),
            (None, None) => "none".to_owned(),
        };
        let words: Vec<String> = self.words.iter().map(|word| format!("`\"{word}\"`")).collect();
        let bounds = match (&self.least, &self.most) {
            (Some(least), Some(most)) => format!("from {least} to {most}"),
            (Some(least), None) => format!("at least {least}"),
            (None, Some(most)) => format!("at most {most}"),
            (None, None) if words.is_empty() => String::new(),
            (None, None) => format!("one of {}", words.join(", ")),
        };
        let mut facts = vec![self.kind.words().to_owned()];
        facts.extend((!bounds.is_empty()).then_some(bounds));
        facts.push(format!("default: {default}"));
        facts.push(format!("example: {}", code(&format!("{short} = {}", self.example))));
        facts.extend(self.restart.then(|| "a change needs a restart".to_owned()));
        facts.join("; ")
    }
}

/// `docs/configuration.md`.
pub(super) fn markdown() -> String {
    let (reference, defaults) = (Reference::read(), Defaults::new());
    let mut text = String::from("# Configuration\n\n");
    text += "<!-- Made by `cargo run -- config reference > docs/configuration.md` from src/config/reference.toml. -->\n\n";
    text += &format!("{BEFORE}\n\n{UNITS}\n\nThe same as a man page: `musher man musher.toml | man -l -`.\n");
    for table in reference.tables() {
        text += &format!("\n## `{}`\n{}\n\n", table.head, table.text.trim());
        for (short, key) in reference.keys_of(table) {
            text += &format!("- **`{short}`** {}  \n  {}\n", key.text.trim(), key.facts(short, &defaults));
        }
    }
    text
}

/// How wide the lines of text in a template are.
const WIDTH: usize = 98;

/// A configuration that says nothing: each key with what it means, and what holds without it, as comments.
pub(super) fn template() -> String {
    let (reference, defaults) = (Reference::read(), Defaults::new());
    let mut text = commented(BEFORE);
    text += "#\n";
    text += &commented(UNITS);
    text += "#\n# Lines that begin with # and a blank tell; of the others, take the # away to set a key.\n";
    for table in reference.tables() {
        text += &format!("\n\n{}#{}\n", commented(&table.text), table.head);
        for (short, key) in reference.keys_of(table) {
            let default = defaults.of(&key.name).filter(|_| key.default.is_none());
            let value = default.as_deref().unwrap_or(&key.example);
            text += &format!("\n{}{}", commented(&key.text), commented(&key.facts(short, &defaults)));
            text += &format!("#{short} = {value}\n");
        }
    }
    text
}

/// The words as lines of comments.
fn commented(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.into_iter().map(|line| format!("# {line}\n")).collect()
}

/// `musher.toml(5)`.
pub(super) fn man_page() -> String {
    let (reference, defaults) = (Reference::read(), Defaults::new());
    let mut page = Roff::new();
    page.control("TH", ["musher.toml", "5", "", concat!("musher ", env!("CARGO_PKG_VERSION"))]);
    page.control("SH", ["NAME"]).text([roman("musher.toml - the configuration of the job queue musher")]);
    page.control("SH", ["DESCRIPTION"]).text(inlines(BEFORE));
    page.control("PP", []).text(inlines(UNITS));
    for table in reference.tables() {
        page.control("SH", [table.head.as_str()]).text(inlines(table.text.trim()));
        for (short, key) in reference.keys_of(table) {
            page.control("TP", []).text([bold(short)]).text(inlines(key.text.trim()));
            page.control("br", []).text(inlines(&key.facts(short, &defaults)));
        }
    }
    page.control("SH", ["SEE ALSO"]).text([bold("musher"), roman("(1)")]);
    page.render()
}

/// Words in which `…` is code.
fn inlines(text: &str) -> Vec<Inline> {
    let part = |(nth, part): (usize, &str)| if nth % 2 == 1 { italic(part) } else { roman(part) };
    text.split('`').enumerate().map(part).collect()
}
