//! Measures job queues that acknowledge a job when it is on disk, all with the same load.

mod limits;
mod load;
mod long;
mod net;
mod offered;
mod plot;
mod reference;
mod report;
mod results;
mod target;
mod targets;

use load::Plan;
use results::{Latency, Results, Row, Used};
use std::collections::BTreeMap;
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

const HELP: &str = "queue-bench COMMAND [--option value]...
  run       producers and consumers; --producers --consumers --window --batch
  wake      time from put to a waiting consumer
  backlog   fill, measure, kill, restart, claim (needs --ctl)
  crash     kill the server mid-run, restart, count lost jobs (needs --ctl)
  reference the floor: a beanstalk-speaking queue; --log FILE --claims 1 --overlap 1
  limits    what the machine can do; --dir DIR
  offered   submits at a rate, whatever the server does; --rate N --producers
  long      a long run in slices beside a standing backlog; --minutes --slices --standing
  columns   the names of the columns of a result line
  ratios    load, target, median, ratio to one target and to the limit; --file FILE --to TARGET --limit TARGET
  report    writes the tables into a document; --file FILE --document FILE
  plot      draws results as SVG; --file FILE --dir DIR
Common: --addr --protocol --peer NAME --load NAME --jobs --secs --size --ctl PROGRAM";

struct Args(BTreeMap<String, String>);

impl Args {
    fn text(&self, key: &str, default: &str) -> String {
        self.0.get(key).cloned().unwrap_or_else(|| default.into())
    }
    fn num(&self, key: &str, default: f64) -> f64 {
        self.0.get(key).map_or(default, |v| v.parse().expect("a number"))
    }
}

/// Processor seconds of the server, of this program, and idle ones of the machine; flushes sent to the disks; and when.
#[derive(Clone, Copy)]
struct Usage {
    at: Instant,
    server: f64,
    own: f64,
    idle: f64,
    flushes: f64,
}

fn ticks(path: &str) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let fields: Vec<f64> =
        text.rsplit(')').next().unwrap_or("").split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
    fields.get(11..13).map_or(0.0, |f| f.iter().sum::<f64>() / 100.0)
}

impl Usage {
    fn now(pids: &[String]) -> Usage {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let cpu: Vec<f64> =
            stat.lines().next().unwrap_or("").split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
        let disks = std::fs::read_to_string("/proc/diskstats").unwrap_or_default();
        let flushes = |l: &str| l.split_whitespace().nth(18).and_then(|f| f.parse().ok()).unwrap_or(0.0);
        Usage {
            at: Instant::now(),
            server: pids.iter().map(|p| ticks(&format!("/proc/{p}/stat"))).sum(),
            own: ticks("/proc/self/stat"),
            idle: (cpu.get(4).unwrap_or(&0.0) + cpu.get(5).unwrap_or(&0.0)) / 100.0,
            flushes: disks.lines().filter(|l| !l.contains(" loop") && !l.contains(" dm-")).map(flushes).sum(),
        }
    }

    /// What was used since; `others` is all that is neither idle nor the server's nor ours.
    fn used(&self, until: &Usage) -> Used {
        let secs = (until.at - self.at).as_secs_f64().max(1e-9);
        let share = |x: f64, y: f64| ((y - x) / secs).max(0.0);
        let (server, generator) = (share(self.server, until.server), share(self.own, until.own));
        let others = (processors() - server - generator - share(self.idle, until.idle)).max(0.0);
        Used { server, generator, others, flushes: share(self.flushes, until.flushes) }
    }
}

/// Those of the machine, whichever this program may run on: `/proc/stat` counts the idle time of all.
fn processors() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    stat.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")).count() as f64
}

fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let mut args = Args(BTreeMap::new());
    while let (Some(k), Some(v)) = (words.next(), words.next()) {
        args.0.insert(k.trim_start_matches('-').into(), v);
    }
    let plan = Plan {
        addr: args.text("addr", "unix:/tmp/queue.sock"),
        protocol: args.text("protocol", "beanstalk"),
        jobs: args.num("jobs", 200_000.0) as usize,
        secs: args.num("secs", 5.0),
        size: args.num("size", 100.0) as usize,
        producers: args.num("producers", 1.0) as usize,
        consumers: args.num("consumers", 0.0) as usize,
        window: args.num("window", 1.0) as usize,
        batch: args.num("batch", 1.0) as usize,
        ahead: usize::MAX,
    };
    let (peer, name) = (args.text("peer", &plan.protocol), args.text("load", &command));
    let ctl_path = args.text("ctl", "");
    let mode = peer.clone();
    let ctl = move |verb: &str| {
        let mut c = Command::new(&ctl_path);
        c.arg(verb).arg(&mode);
        c
    };
    let ask = |verb: &str| -> Vec<String> {
        let out = ctl(verb).output().map(|o| o.stdout).unwrap_or_default();
        String::from_utf8_lossy(&out).split_whitespace().map(String::from).collect()
    };
    let tell = |load: &str, figure: f64, latency: Latency, used: Used| {
        let row = Row { target: peer.clone(), load: load.into(), size: plan.size, figure, latency, used };
        println!("{}", row.line());
        eprintln!("{}", row.spoken());
    };
    // A figure that was not taken over a time: others used what they did just before.
    let bare = |load: &str, figure: f64, before: Used| {
        tell(load, figure, Latency::default(), Used { others: before.others, ..Used::default() })
    };
    type Run<'a> = &'a mut dyn FnMut(&mut dyn FnMut()) -> io::Result<load::Outcome>;
    let measured = |load: &str, run: Run| -> io::Result<Used> {
        // Asked once: to ask costs processor time, which at the end of a short run would count as others'.
        let (mut probes, mut pids) = (Vec::new(), None);
        let out = run(&mut || probes.push(Usage::now(pids.get_or_insert_with(|| ask("pids")))))?;
        if out.broken {
            return Err(io::Error::other("the server closed a connection"));
        }
        let used = probes[0].used(&probes[1]);
        tell(load, out.done as f64 / out.secs, Latency::of(out.put_ns), used);
        Ok(used)
    };
    match &command[..] {
        "run" => {
            measured(&name, &mut |probe| load::run(&plan, probe))?;
        }
        "offered" => {
            measured(&name, &mut |probe| offered::offered(&plan, args.num("rate", 1000.0), probe))?;
        }
        "wake" => {
            let pids = ask("pids");
            let (before, start) = (Usage::now(&pids), Instant::now());
            let ns = load::wake(&plan)?;
            let rate = ns.len() as f64 / start.elapsed().as_secs_f64();
            tell(&name, rate, Latency::of(ns), before.used(&Usage::now(&pids)))
        }
        "backlog" => {
            let jobs = plan.jobs;
            let fill = Plan { consumers: 0, ..plan.clone() };
            let used = measured(&format!("W5 fill, {jobs}"), &mut |probe| load::run(&fill, probe))?;
            let size = |v: &[String]| v.first().and_then(|x| x.parse().ok()).unwrap_or(0.0);
            bare(&format!("W5 server memory, MiB, {jobs}"), size(&ask("rss")), used);
            bare(&format!("W5 disk, MiB, {jobs}"), size(&ask("disk")), used);
            ctl("kill").status()?;
            let start = Instant::now();
            let mut starter = ctl("start").spawn()?;
            let (secs, _) = load::until_serving(&plan, start, Duration::from_secs(120))?;
            starter.wait()?;
            bare(&format!("W5 restart after kill, ms, {jobs}"), secs * 1000.0, used);
            let drain = Plan {
                producers: 0,
                consumers: 16,
                jobs: 20_000.min(jobs / 2),
                secs: 5.0,
                batch: 1,
                ..plan.clone()
            };
            measured(&format!("W5 claim+ack, 16 consumers, {jobs}"), &mut |probe| load::run(&drain, probe))?;
        }
        "long" => {
            let slices = args.num("slices", 10.0).max(2.0) as usize;
            let length = Duration::from_secs_f64(args.num("minutes", 10.0) * 60.0 / slices as f64);
            let standing = args.num("standing", 1_000_000.0) as usize;
            eprintln!("filling a standing backlog of {standing} jobs");
            long::fill(&plan, standing)?;
            let pids = ask("pids");
            let (mut usage, mut rates, mut disturbed) = (Usage::now(&pids), Vec::new(), Vec::new());
            eprintln!("slice   jobs/s  p50 ms  p99 ms  p99.9 ms  pause ms  turned over/s  others");
            long::run(&plan, slices, length, &mut |slice: long::Slice| {
                let now = Usage::now(&pids);
                let (used, l) = (usage.used(&now), &slice.latency);
                usage = now;
                rates.push(slice.rate);
                disturbed.push(used.others > results::OTHERS_MAX);
                let number = rates.len();
                eprintln!(
                    "{number:>5} {:>8.0} {:>7.2} {:>7.2} {:>9.2} {:>9.1} {:>14.0} {:>7.2}{}",
                    slice.rate,
                    l.p50 / 1e3,
                    l.p99 / 1e3,
                    l.p999 / 1e3,
                    slice.pause,
                    slice.turned,
                    used.others,
                    if used.others > results::OTHERS_MAX { " disturbed" } else { "" }
                );
                let row = |load: String, figure, latency| {
                    Row { target: peer.clone(), load, size: plan.size, figure, latency, used }.line()
                };
                println!("{}", row(format!("long {number}"), slice.rate, slice.latency));
                println!("{}", row(format!("pause of long {number}"), slice.pause, Latency::default()));
            })?;
            let (Some(first), Some(last)) = (rates.first(), rates.last()) else {
                return Err(io::Error::other("no slice came to its end"));
            };
            eprintln!("the last slice against the first: {:.2}", last / first);
            if disturbed[0] || disturbed[rates.len() - 1] {
                return Err(io::Error::other("others used the machine, so this says nothing: run it again"));
            }
            if rates.len() < slices || last / first < 0.9 {
                return Err(io::Error::other("the last slice must reach nine tenths of the first"));
            }
        }
        "crash" => println!(
            "{peer}\t{name}\t{}",
            load::crash(&plan, &ctl, Duration::from_secs_f64(args.num("after", 2.0)))?
        ),
        "reference" => {
            let log = args.0.get("log").map(|s| s.as_str());
            reference::serve(&plan.addr, log, args.num("claims", 0.0) > 0.0, args.num("overlap", 0.0) > 0.0)?
        }
        "limits" => limits::all(&args.text("dir", "."))?,
        "columns" => println!("{}", results::COLUMNS),
        "ratios" => {
            let kept = Results::read(&args.text("file", "results.tsv"))?;
            results::ratios(&kept, &args.text("to", ""), &args.text("limit", ""))
        }
        "report" => {
            report::into(&args.text("document", ""), &Results::read(&args.text("file", "results.tsv"))?)?
        }
        "plot" => plot::all(
            &Results::read(&args.text("file", "results.tsv"))?,
            std::path::Path::new(&args.text("dir", ".")),
        )?,
        _ => println!("{HELP}"),
    }
    Ok(())
}
