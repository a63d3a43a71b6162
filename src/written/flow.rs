//! Reads a document of jobs that wait for each other by name, and puts them in an order in which each comes after those that it
//! waits for.

use super::json::{self, Object};
use super::options::JobArgs;
use super::ties::{Name, OneOrMore, split_condition};
use crate::protocol::{After, AfterWhat, Condition, JobOptions, SubmitGroup, Ties};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};

/// The longest list of what a step needs that is kept as a tag.
const NEEDS_MAX: usize = 300;

/// What is submitted.
pub(crate) struct Document {
    /// The names of the jobs, in the order of the request.
    pub(crate) names: Vec<String>,
    pub(crate) groups: Vec<SubmitGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    group: Option<String>,
    jobs: Vec<Map<String, Value>>,
}

/// One job, as it is written.
struct Step {
    name: String,
    options: JobOptions,
    body: Bytes,
    /// The steps that it waits for, by their places in the document.
    needs: Vec<(usize, Condition)>,
    /// Jobs that are there already.
    ids: Vec<After>,
}

impl Document {
    /// Reads it; an error names the job. `group` is in the place of the document's.
    pub(crate) fn read(text: &[u8], group: Option<&str>) -> Result<Document, String> {
        let Object(written): Object<Written> = json::parse(text)?;
        let group = group.map(str::to_owned).or(written.group);
        if written.jobs.is_empty() {
            return Err("it has no jobs".into());
        }
        let mut places = HashMap::with_capacity(written.jobs.len());
        for (nth, job) in written.jobs.iter().enumerate() {
            let name = match job.get("name") {
                Some(Value::String(name)) if !name.is_empty() => name.clone(),
                Some(_) => return Err(format!("job {}: `name` is a text that is not empty", nth + 1)),
                None => return Err(format!("job {}: `name` is missing", nth + 1)),
            };
            if let Some(other) = places.insert(name.clone(), nth) {
                return Err(format!("jobs {} and {} are both named `{name}`", other + 1, nth + 1));
            }
        }
        let steps: Vec<Step> =
            written.jobs.into_iter().map(|job| Step::read(job, &places)).collect::<Result<_, _>>()?;
        let order = in_order(&steps)?;
        Ok(Document::of(steps, &order, group.as_deref()))
    }

    fn of(steps: Vec<Step>, order: &[usize], group: Option<&str>) -> Document {
        let mut place_of = vec![0; steps.len()];
        order.iter().enumerate().for_each(|(place, step)| place_of[*step] = place as u32);
        let names: Vec<String> = steps.iter().map(|step| step.name.clone()).collect();
        let mut steps: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
        let mut document = Document { names: Vec::with_capacity(steps.len()), groups: Vec::new() };
        for step in order.iter().filter_map(|nth| steps[*nth].take()) {
            let Step { name, mut options, body, needs, ids } = step;
            let needed = needs.iter().map(|(nth, _)| names[*nth].as_str()).collect::<Vec<_>>().join(",");
            let on_places =
                needs.iter().map(|(nth, when)| After { on: AfterWhat::Place(place_of[*nth]), when: *when });
            let mut ties = options.ties.take().unwrap_or_default();
            ties.after.extend(on_places.chain(ids));
            if let Some(group) = group {
                (ties.group, ties.seal) = (Some(group.to_owned()), true);
            }
            options.ties = (ties != Ties::default()).then_some(ties);
            options.tags.push(("step".into(), name.clone()));
            if !needed.is_empty() && needed.len() <= NEEDS_MAX {
                options.tags.push(("needs".into(), needed));
            }
            document.names.push(name);
            document.groups.push(SubmitGroup { options, bodies: vec![body] });
        }
        document
    }
}

impl Step {
    fn read(mut job: Map<String, Value>, places: &HashMap<String, usize>) -> Result<Step, String> {
        let name = job.remove("name").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
        let wrong = |why: String| format!("job `{name}`: {why}");
        let after = job.remove("after").map(serde_json::from_value::<OneOrMore>).transpose();
        let after = after.map_err(|error| wrong(format!("after: {error}")))?;
        // It is about what the job waits for, which is known here only.
        let on_unmet = job.remove("on_unmet").map(serde_json::from_value).transpose();
        let on_unmet = on_unmet.map_err(|error| wrong(format!("on_unmet: {error}")))?;
        let text = serde_json::to_vec(&job).map_err(|error| wrong(error.to_string()))?;
        let read = json::read(&text, &JobArgs::default(), "").map_err(wrong)?;
        let Some((mut options, body)) = read else { return Err(wrong("it is empty".into())) };
        if options.queue.is_empty() {
            return Err(wrong("queue: it is missing".into()));
        }
        let (mut needs, mut ids) = (Vec::new(), Vec::new());
        let all = match after {
            None => Vec::new(),
            Some(OneOrMore::One(one)) => vec![one],
            Some(OneOrMore::More(more)) => more,
        };
        for one in all {
            match on(one, places).map_err(wrong)? {
                (On::Step(nth), when) => needs.push((nth, when)),
                (On::Job(id), when) => ids.push(After { on: AfterWhat::Job(id), when }),
            }
        }
        if let Some(unmet) = on_unmet {
            let ties = options.ties.get_or_insert_default();
            if needs.is_empty() && ids.is_empty() && ties.after.is_empty() {
                return Err(wrong("on_unmet: it waits for nothing".into()));
            }
            ties.on_unmet = crate::written::ties::on_unmet(Some(unmet));
        }
        Ok(Step { name, options, body, needs, ids })
    }
}

enum On {
    Step(usize),
    Job(u64),
}

/// What a job waits for: another one of the document, or one that is there.
fn on(name: Name, places: &HashMap<String, usize>) -> Result<(On, Condition), String> {
    let text = match name {
        Name::Number(id) => return Ok((On::Job(id), Condition::Done)),
        Name::Text(text) => text,
    };
    // A name may have a colon in it.
    if let Some(nth) = places.get(&text) {
        return Ok((On::Step(*nth), Condition::Done));
    }
    let (name, when) = split_condition(&text)?;
    if let Some(nth) = places.get(name) {
        return Ok((On::Step(*nth), when));
    }
    match name.parse() {
        Ok(id) if id > 0 => Ok((On::Job(id), when)),
        _ => Err(format!("after: `{name}` is neither the name of a job of the document nor an id")),
    }
}

/// An order in which each step comes after those that it needs, as near to that of the document as that allows.
fn in_order(steps: &[Step]) -> Result<Vec<usize>, String> {
    let mut left: Vec<usize> = Vec::with_capacity(steps.len());
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (nth, step) in steps.iter().enumerate() {
        let needs: BTreeSet<usize> = step.needs.iter().map(|(needed, _)| *needed).collect();
        left.push(needs.len());
        needs.into_iter().for_each(|needed| needed_by[needed].push(nth));
    }
    let mut free: BTreeSet<usize> = (0..steps.len()).filter(|nth| left[*nth] == 0).collect();
    let mut order = Vec::with_capacity(steps.len());
    while let Some(nth) = free.pop_first() {
        order.push(nth);
        for other in &needed_by[nth] {
            left[*other] -= 1;
            if left[*other] == 0 {
                free.insert(*other);
            }
        }
    }
    if order.len() == steps.len() {
        return Ok(order);
    }
    Err(circle(steps, &left))
}

/// The most steps of a circle that are named.
const NAMED_MAX: usize = 10;

/// Names the steps of a circle: from any that is left to one that it needs and that is left as well, until one comes again.
fn circle(steps: &[Step], left: &[usize]) -> String {
    let (mut way, mut place) = (Vec::new(), vec![None; steps.len()]);
    let mut at = left.iter().position(|left| *left > 0);
    while let Some(nth) = at.filter(|nth| place[*nth].is_none()) {
        place[nth] = Some(way.len());
        way.push(nth);
        at = steps[nth].needs.iter().map(|(needed, _)| *needed).find(|needed| left[*needed] > 0);
    }
    let begin = at.and_then(|at| place[at]).unwrap_or(0);
    let circle = way[begin..].iter().chain(&at);
    let mut names: Vec<String> =
        circle.take(NAMED_MAX + 1).map(|nth| format!("`{}`", steps[*nth].name)).collect();
    if way.len() - begin > NAMED_MAX {
        names.pop();
        names.push(format!("… ({} in all)", way.len() - begin));
    }
    format!("jobs wait for each other in a circle: {}", names.join(" waits for "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Document, String> {
        Document::read(text.as_bytes(), None)
    }

    fn job(name: &str, more: &str) -> String {
        format!(r#"{{"name": "{name}", "queue": "q", "body": "b"{more}}}"#)
    }

    fn document(jobs: &[String]) -> String {
        format!(r#"{{"group": "g", "jobs": [{}]}}"#, jobs.join(","))
    }

    #[test]
    fn jobs_come_after_those_that_they_wait_for() {
        let jobs = [
            job("deploy", r#", "after": ["build", "test:ended", 71, "72:failed"], "on_unmet": "hold""#),
            job("build", ""),
            job("test", r#", "after": "build""#),
        ];
        let Document { names, groups } = read(&document(&jobs)).unwrap();
        assert_eq!(names, ["build", "test", "deploy"]);
        let ties = groups[2].options.ties.clone().unwrap();
        let expected = [
            (AfterWhat::Place(0), Condition::Done),
            (AfterWhat::Place(1), Condition::Ended),
            (AfterWhat::Job(71), Condition::Done),
            (AfterWhat::Job(72), Condition::Failed),
        ];
        assert_eq!(ties.after, expected.map(|(on, when)| After { on, when }));
        assert_eq!((ties.group.as_deref(), ties.seal), (Some("g"), true));
        assert_eq!(ties.on_unmet, crate::protocol::OnUnmet::Hold);
        let tags = [("step".to_owned(), "deploy".to_owned()), ("needs".to_owned(), "build,test".to_owned())];
        assert_eq!(groups[2].options.tags, tags);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (jobs, error) in [
            (vec![], "it has no jobs"),
            (vec![job("", "")], "job 1: `name` is a text that is not empty"),
            (vec![r#"{"queue": "q", "body": ""}"#.to_owned()], "job 1: `name` is missing"),
            (vec![job("a", ""), job("b", ""), job("a", "")], "jobs 1 and 3 are both named `a`"),
            (vec![job("a", r#", "after": "b""#)], "job `a`: after: `b` is neither"),
            (vec![job("a", r#", "after": "a:soon""#)], "job `a`: `soon` is not how something ends"),
            (vec![job("a", r#", "after": {}"#)], "job `a`: after: "),
            (vec![job("a", r#", "on_unmet": "run""#)], "job `a`: on_unmet: it waits for nothing"),
            (vec![job("a", r#", "dealy": "1s""#)], "job `a`: unknown field `dealy`"),
            (vec![r#"{"name": "a", "body": ""}"#.to_owned()], "job `a`: queue: it is missing"),
            (vec![job("a", r#", "after": "a""#)], "jobs wait for each other in a circle: `a` waits for `a`"),
            (
                vec![
                    job("x", r#", "after": "a""#),
                    job("a", r#", "after": "c""#),
                    job("b", r#", "after": "a""#),
                    job("c", r#", "after": ["b"]"#),
                ],
                "jobs wait for each other in a circle: `a` waits for `c` waits for `b` waits for `a`",
            ),
        ] {
            let said = read(&document(&jobs)).err().unwrap_or_default();
            assert!(said.starts_with(error), "{said}");
        }
        assert!(read("[]").is_err() && read("{}").is_err());
        let long =
            (0..50_000).map(|nth| job(&nth.to_string(), &format!(r#", "after": "{}""#, (nth + 1) % 50_000)));
        let said = read(&document(&long.collect::<Vec<_>>())).err().unwrap_or_default();
        assert!(said.ends_with("waits for `9` waits for … (50000 in all)"), "{said}");
    }
}
