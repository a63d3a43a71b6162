//! The options of a job that waits for others, or belongs to a group.

use super::options::parse_id;
use crate::protocol::{After, AfterWhat, Condition, OnUnmet, Ties};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use utoipa::ToSchema;

/// What may be asked of a job about others.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of the job")]
pub(crate) struct TieArgs {
    /// Let it wait until this job is done, or has ended or failed; may be repeated, and it waits for all
    #[arg(long, value_name = "ID[:done|ended|failed]", value_parser = parse_after_job)]
    pub(crate) after: Vec<After>,
    /// Let it wait for all jobs of a group, once that is sealed; may be repeated
    #[arg(long, value_name = "GROUP[:done|ended|failed]", value_parser = parse_after_group)]
    pub(crate) after_group: Vec<After>,
    /// What becomes of it if one of these ends otherwise [default: cancel]
    #[arg(long, value_name = "WAY")]
    pub(crate) on_unmet: Option<Unmet>,
    /// The group that it belongs to; it comes into being with its first job
    #[arg(long, value_name = "GROUP", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) group: Option<String>,
    /// The group takes no more jobs after this one: it ends with the last that it has
    #[arg(long, requires = "group")]
    pub(crate) seal: bool,
}

/// What becomes of a job if what it waits for ends otherwise than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unmet {
    /// It is cancelled, and with it what waits for it in the same way
    Cancel,
    /// It runs all the same
    Run,
    /// It waits on: until the other one is retried and ends as it should, or until `musher kick`
    Hold,
}

impl TieArgs {
    /// The same for the protocol; `None` if there is nothing.
    pub(crate) fn for_wire(&self) -> Result<Option<Ties>, String> {
        let after: Vec<After> = self.after.iter().chain(&self.after_group).cloned().collect();
        if self.on_unmet.is_some() && after.is_empty() {
            return Err("on_unmet (--on-unmet) is for a job that waits for others: say which with --after or --after-group".into());
        }
        let ties =
            Ties { after, on_unmet: on_unmet(self.on_unmet), group: self.group.clone(), seal: self.seal };
        Ok((ties != Ties::default()).then_some(ties))
    }
}

/// The same for the protocol.
pub(crate) fn on_unmet(unmet: Option<Unmet>) -> OnUnmet {
    match unmet {
        None | Some(Unmet::Cancel) => OnUnmet::Cancel,
        Some(Unmet::Run) => OnUnmet::Run,
        Some(Unmet::Hold) => OnUnmet::Hold,
    }
}

/// What is before a condition, and the condition; done if none is given.
pub(crate) fn split_condition(text: &str) -> Result<(&str, Condition), String> {
    let Some((on, when)) = text.rsplit_once(':') else { return Ok((text, Condition::Done)) };
    let when = match when {
        "done" => Condition::Done,
        "ended" => Condition::Ended,
        "failed" => Condition::Failed,
        other => return Err(format!("`{other}` is not how something ends: use done, ended or failed")),
    };
    Ok((on, when))
}

fn parse_after_job(text: &str) -> Result<After, String> {
    let (id, when) = split_condition(text)?;
    Ok(After { on: AfterWhat::Job(parse_id(id)?), when })
}

/// The names of groups may have colons, so a condition is only what is one.
fn parse_after_group(text: &str) -> Result<After, String> {
    let (name, when) = split_condition(text).unwrap_or((text, Condition::Done));
    match name {
        "" => Err("the name of the group is missing".into()),
        name => Ok(After { on: AfterWhat::Group(name.to_owned()), when }),
    }
}

/// Reads what a job in JSON waits for: ids, or texts such as "71:ended"; one, or a list.
pub(crate) fn after<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<After>, D::Error> {
    some(reader, parse_after_job)
}

/// The same of groups.
pub(crate) fn after_group<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<After>, D::Error> {
    some(reader, parse_after_group)
}

fn some<'de, D: Deserializer<'de>>(
    reader: D,
    parse: fn(&str) -> Result<After, String>,
) -> Result<Vec<After>, D::Error> {
    let all = match OneOrMore::deserialize(reader)? {
        OneOrMore::One(one) => vec![one],
        OneOrMore::More(more) => more,
    };
    let after = all.into_iter().map(|name| match name {
        Name::Number(id) => parse(&id.to_string()),
        Name::Text(text) => parse(&text),
    });
    after.collect::<Result<_, _>>().map_err(D::Error::custom)
}

/// One name, or a list.
#[derive(Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected an id, a text such as \"71:ended\", or a list of them")]
pub(crate) enum OneOrMore {
    One(Name),
    More(Vec<Name>),
}

/// A number or a text.
#[derive(Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected an id, or a text such as \"71:ended\"")]
pub(crate) enum Name {
    Number(u64),
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_follows_what_it_is_about() {
        let job = |id, when| Ok(After { on: AfterWhat::Job(id), when });
        assert_eq!(parse_after_job("71"), job(71, Condition::Done));
        assert_eq!(parse_after_job("71:failed"), job(71, Condition::Failed));
        for bad in ["", "x", "0", "71:", "71:dead", ":done", "-1"] {
            assert!(parse_after_job(bad).is_err(), "{bad}");
        }
        let group = |name: &str, when| Ok(After { on: AfterWhat::Group(name.into()), when });
        assert_eq!(parse_after_group("import:42"), group("import:42", Condition::Done));
        assert_eq!(parse_after_group("import:42:ended"), group("import:42", Condition::Ended));
        assert!(parse_after_group(":done").is_err());
    }

    #[test]
    fn what_is_not_waited_for_has_no_way_to_be_unmet() {
        let args = TieArgs { on_unmet: Some(Unmet::Run), ..TieArgs::default() };
        assert!(args.for_wire().unwrap_err().contains("--after"));
        assert_eq!(TieArgs::default().for_wire(), Ok(None));
    }
}
