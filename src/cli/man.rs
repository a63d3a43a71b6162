//! `musher man`: man pages, made from the help texts and the reference of the configuration.

use super::exit::{End, Failure};
use super::output;
use crate::config::Config;
use clap::{Args, Command};
use clap_mangen::Man as Page;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The page of the configuration.
const CONFIGURATION: &str = "musher.toml";

const EXAMPLES: &str = "\
Examples:
  musher man submit | man -l -
  musher man musher.toml | man -l -
  musher man --dir /usr/local/share/man         all of them, in man1 and man5";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Man {
    /// A verb, or musher.toml [default: the program as a whole]
    #[arg(value_name = "VERB|musher.toml")]
    page: Option<String>,
    /// Write all pages into man1 and man5 of this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "page")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(&self, mut program: Command) -> End {
        program.build();
        match (&self.dir, self.page.as_deref()) {
            (Some(dir), _) => write_all(dir, &program)?,
            (None, Some(CONFIGURATION)) => output::text(&Config::man_page())?,
            (None, None | Some("musher")) => output::text(&render(program)?)?,
            (None, Some(verb)) => {
                let found = program.get_subcommands().find(|known| known.get_name() == verb);
                let found = found.ok_or_else(|| {
                    Failure::usage(format!(
                        "there is no verb `{verb}`; name one of `musher --help`, or {CONFIGURATION}"
                    ))
                })?;
                output::text(&render(found.clone())?)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write_all(dir: &Path, program: &Command) -> Result<(), Failure> {
    let write = |section: &str, name: String, page: String| {
        let path = dir.join(section).join(name);
        let written = fs::create_dir_all(dir.join(section)).and_then(|()| fs::write(&path, page));
        written.map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
    };
    write("man5", format!("{CONFIGURATION}.5"), Config::man_page())?;
    write("man1", "musher.1".to_owned(), render(program.clone())?)?;
    for verb in program.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write("man1", format!("musher-{}.1", verb.get_name()), render(verb.clone())?)?;
    }
    Ok(())
}

pub(super) fn render(command: Command) -> io::Result<String> {
    // Pages of verbs are called as people look for them: musher-submit(1).
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut page = Vec::new();
    Page::new(command).title(name).manual("musher").render(&mut page)?;
    String::from_utf8(page).map_err(io::Error::other)
}
