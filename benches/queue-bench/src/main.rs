//! Measures job queues that acknowledge a job when it is on disk, all with the same load.

mod limits;
mod load;
mod net;
mod reference;
mod target;
mod targets;

use load::Plan;
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
  table     medians of result lines; --file FILE --cores N
  ratios    load, target, median, ratio to one target and to the limit; --file FILE --to TARGET --limit TARGET
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

/// CPU seconds of the server and of this program, idle CPU seconds of the
/// machine, and flushes sent to the disks.
#[derive(Clone, Copy, Default)]
struct Usage {
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

fn usage(pids: &[String]) -> Usage {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let cpu: Vec<f64> =
        stat.lines().next().unwrap_or("").split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
    let disks = std::fs::read_to_string("/proc/diskstats").unwrap_or_default();
    let flushes = |l: &str| l.split_whitespace().nth(18).and_then(|f| f.parse().ok()).unwrap_or(0.0);
    Usage {
        server: pids.iter().map(|p| ticks(&format!("/proc/{p}/stat"))).sum(),
        own: ticks("/proc/self/stat"),
        idle: (cpu.get(4).unwrap_or(&0.0) + cpu.get(5).unwrap_or(&0.0)) / 100.0,
        flushes: disks.lines().filter(|l| !l.contains(" loop") && !l.contains(" dm-")).map(flushes).sum(),
    }
}

fn quantiles(mut ns: Vec<u64>) -> (f64, f64) {
    ns.sort_unstable();
    let at = |q: f64| {
        ns.get(((ns.len() as f64 * q) as usize).min(ns.len().saturating_sub(1)))
            .map_or(0.0, |v| *v as f64 / 1000.0)
    };
    (at(0.5), at(0.99))
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
    let print = |load: &str, rate: f64, ns: Vec<u64>, a: Usage, b: Usage, secs: f64| {
        let (p50, p99) = quantiles(ns);
        let share = |x: f64, y: f64| (y - x) / secs.max(1e-9);
        println!(
            "{peer}\t{load}\t{}\t{rate:.0}\t{p50:.1}\t{p99:.1}\t{:.2}\t{:.2}\t{:.2}\t{:.0}",
            plan.size,
            share(a.server, b.server),
            share(a.own, b.own),
            share(a.idle, b.idle),
            share(a.flushes, b.flushes)
        );
    };
    let measured = |load: &str, plan: &Plan| -> io::Result<()> {
        let mut probes = Vec::new();
        let out = load::run(plan, &mut || probes.push(usage(&ask("pids"))))?;
        let done = if plan.consumers > 0 { out.acked } else { out.stored };
        print(load, done as f64 / out.secs, out.put_ns, probes[0], probes[1], out.secs);
        Ok(())
    };
    match &command[..] {
        "run" => measured(&name, &plan)?,
        "wake" => {
            let (before, start) = (usage(&ask("pids")), Instant::now());
            let ns = load::wake(&plan)?;
            let secs = start.elapsed().as_secs_f64();
            print(&name, ns.len() as f64 / secs, ns, before, usage(&ask("pids")), secs)
        }
        "backlog" => {
            measured("W5 fill", &Plan { consumers: 0, ..plan.clone() })?;
            let size = |v: &[String]| v.first().and_then(|x| x.parse().ok()).unwrap_or(0.0);
            print(
                "W5 server memory, MiB",
                size(&ask("rss")),
                vec![],
                Usage::default(),
                Usage::default(),
                1.0,
            );
            print("W5 disk, MiB", size(&ask("disk")), vec![], Usage::default(), Usage::default(), 1.0);
            ctl("kill").status()?;
            let start = Instant::now();
            let mut starter = ctl("start").spawn()?;
            let (secs, _) = load::until_serving(&plan, start, Duration::from_secs(120))?;
            starter.wait()?;
            print(
                "W5 restart after kill, ms",
                secs * 1000.0,
                vec![],
                Usage::default(),
                Usage::default(),
                1.0,
            );
            let drain =
                Plan { producers: 0, consumers: 16, jobs: 20_000, secs: 5.0, batch: 1, ..plan.clone() };
            measured("W5 claim+ack, 16 consumers", &drain)?;
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
        "table" => {
            table(&std::fs::read_to_string(args.text("file", "results.tsv"))?, args.num("cores", 2.0))?
        }
        "ratios" => {
            let (to, limit) = (args.text("to", ""), args.text("limit", ""));
            ratios(&std::fs::read_to_string(args.text("file", "results.tsv"))?, &to, &limit)
        }
        _ => println!("{HELP}"),
    }
    Ok(())
}

/// Tab-separated: load, target, median per second, ratio to a target and to the limit; in the order in which the loads
/// came. The load of a wake-up is told by its p50 in microseconds, and its ratios are of times.
fn ratios(text: &str, to: &str, limit: &str) {
    let rows: Vec<Vec<&str>> =
        text.lines().map(|l| l.split('\t').collect()).filter(|f: &Vec<&str>| f.len() == 10).collect();
    let figure = |f: &[&str]| if f[1].starts_with("W4") { f[4] } else { f[3] }.parse().unwrap_or(0.0);
    let median = |load: &str, target: &str| {
        let of: fn(&[&str], &str, &str) -> bool = |f, load, target| f[1] == load && f[0] == target;
        let mut all: Vec<f64> = rows.iter().filter(|f| of(f, load, target)).map(|f| figure(f)).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    println!("load\ttarget\tper second (W4: p50 in us)\tratio to {to}\tratio to {limit}");
    let mut seen = Vec::new();
    for f in &rows {
        if seen.contains(&(f[1], f[0])) {
            continue;
        }
        seen.push((f[1], f[0]));
        let own = median(f[1], f[0]).unwrap_or(0.0);
        let ratio =
            |other: &str| median(f[1], other).map_or("-".into(), |other| format!("{:.2}", own / other));
        println!("{}\t{}\t{own:.0}\t{}\t{}", f[1], f[0], ratio(to), ratio(limit));
    }
}

/// One Markdown table per load and size: medians over the repeats. A run in
/// which something else used the processors is left out where there is
/// another, and marked `!` where there is not.
fn table(text: &str, cores: f64) -> io::Result<()> {
    type Rows = Vec<Vec<f64>>;
    let mut groups: BTreeMap<(String, String), BTreeMap<String, Rows>> = BTreeMap::new();
    for l in text.lines() {
        let f: Vec<&str> = l.split('\t').collect();
        if f.len() == 10 {
            let row = f[3..].iter().map(|v| v.parse().unwrap_or(0.0)).collect();
            groups.entry((f[1].into(), f[2].into())).or_default().entry(f[0].into()).or_default().push(row);
        }
    }
    // Columns: rate, p50, p99, server, generator, idle, flushes.
    let quiet = |r: &Vec<f64>| r[5] == 0.0 || cores - r[3] - r[4] - r[5] < 0.35;
    for ((load, size), peers) in groups {
        let size = if size == "0" { String::new() } else { format!(", {size} B") };
        println!(
            "\n### {load}{size}\n\n| peer | per second | p50 µs | p99 µs | server CPU | generator CPU | idle CPU | flushes/s | runs |"
        );
        println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
        let mut lines = Vec::new();
        for (peer, all) in peers {
            let clean: Rows = all.iter().filter(|r| quiet(r)).cloned().collect();
            let (rows, mark) = if clean.is_empty() { (all, "!") } else { (clean, "") };
            let median = |i: usize| {
                let mut v: Vec<f64> = rows.iter().map(|r| r[i]).collect();
                v.sort_by(f64::total_cmp);
                (v[(v.len() - 1) / 2] + v[v.len() / 2]) / 2.0
            };
            let cells: Vec<String> = [0, 0, 0, 2, 2, 2, 0]
                .iter()
                .enumerate()
                .map(|(i, d)| format!("{:.*}", d, median(i)))
                .collect();
            lines.push((median(0), format!("| {peer} | {} | {}{mark} |", cells.join(" | "), rows.len())));
        }
        lines.sort_by(|a, b| b.0.total_cmp(&a.0));
        lines.iter().for_each(|(_, l)| println!("{l}"));
    }
    Ok(())
}
