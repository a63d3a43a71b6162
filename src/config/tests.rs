//! The configuration's promises: every error names its line and key and says what to do, nothing is ignored in
//! silence, and what is shown loads to the same.

mod mistakes;
mod settings;

use super::*;
use crate::core::{Backoff, Growth, Keep, Priority, Retries};

fn around() -> Surroundings {
    let env = |name: &str| (name == "HOME").then(|| "/h".into());
    let user = |name: &str| (name == "alice").then_some(1000);
    let group = |name: &str| (name == "mailers").then_some(2000);
    Surroundings {
        env: Box::new(env),
        root: false,
        uid: 7,
        cpus: 6,
        host: "here".to_owned(),
        user: Box::new(user),
        group: Box::new(group),
    }
}

pub(super) fn parse(source: &str) -> Result<(Config, Vec<Problem>), ConfigErrors> {
    check::parse("musher.toml".to_owned(), source, &Overrides::default(), &around())
}

pub(super) fn config(source: &str) -> Config {
    parse(source).unwrap_or_else(|errors| panic!("{errors}")).0
}

fn queue<'c>(config: &'c Config, name: &str) -> &'c Queue {
    &config.queues[&QueueName::new(name).unwrap()]
}

#[test]
fn all_errors_are_told_at_once() {
    let errors =
        parse("[daemon]\nhttp = 'x'\n[limits]\nbody = 'y'\n[queues.a]\nlease = 1\nattempts = 0\nx = 1");
    let places: Vec<String> = errors.unwrap_err().0.into_iter().map(|problem| problem.place).collect();
    assert_eq!(places, [2, 4, 6, 7, 8].map(|line| format!("musher.toml:{line}")), "in the order of the file");
}

#[test]
fn nothing_needs_to_be_configured() {
    let config = config("");
    assert_eq!(config.daemon.data, Path::new("/h/.local/state/musher"));
    assert_eq!(config.daemon.socket, Path::new("/h/.local/state/musher/musher.sock"));
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.storage, Storage::default());
    let commands = queue(&config, COMMANDS_QUEUE);
    assert_eq!((commands.workers, &commands.handler), (6, &Some(Handler::Command)));
    assert_eq!(commands.settings.keep_done, Keep::For(Duration::from_secs(3600)));
    assert_eq!(commands.settings.timeout, None);
}

#[test]
fn no_place_for_the_jobs_is_an_error_that_says_how_to_name_one() {
    let nowhere = Surroundings { env: Box::new(|_| None), cpus: 1, ..around() };
    let errors = check::parse("f".to_owned(), "", &Overrides::default(), &nowhere).unwrap_err();
    assert!(errors.to_string().contains("set daemon.data or give --data"), "{errors}");
}

const EVERYTHING: &str = r#"
[daemon]
data = "/d"
socket = "/s"
durability = "sync"
drain_timeout = "1m 30s"
resume_within = "45s"
drain_submits = "accept"
job_oom_score_adj = 0
[limits]
connections = 7
frame = "64MiB"
body = "500kB"
backlog = 12
queues = 3
batch = 9
disk_reserve = 0
output = 4096
waiting = 5
buffers = "100MiB"
metrics_queues = 7
[storage]
log_file = "1MiB"
log_max = "1GiB"
checkpoint = "2s"
cache = "8MiB"
ballast = 0
shrink_above = "1GiB"
[queues.default]
[queues."a.b"]
workers = 2
handler = { exec = ["/bin/sh", "-c", "echo \"it's\" \\ \n done"] }
lease = "5s"
timeout = "250ms"
priority = 7
retries = "behind"
later_max = 3
attempts = 1
backoff = { kind = "linear", base = "0s", max = "1h", jitter = 0.125 }
crashes = 2
keep = { done = "forever", dead = "1d", done_max = 10 }
backlog = 3
[queues.commands]
workers = 0
[queues.free]
timeout = "none"
[queues.pushed]
handler = { http = "https://h:8443/a?b", content_type = "text/plain", secret_file = "/nowhere/key", ca_file = "/nowhere/ca", on_status = { "409" = "done", "500-599" = "later" } }
[[access]]
users = ["alice", "*", 7, 0x10]
groups = ["mailers", 5]
queues = ["a.b", "mails*"]
may = ["submit", "read"]
[[access]]
groups = [1]
queues = ["*"]
may = ["admin", "work"]
"#;

#[test]
fn what_is_written_holds() {
    let config = config(EVERYTHING);
    assert_eq!(config.daemon.drain_timeout, Duration::from_secs(90));
    assert_eq!(config.daemon.resume_within, Duration::from_secs(45));
    assert_eq!(config.limits.body, 500_000);
    let both = queue(&config, "a.b");
    assert_eq!(
        both.settings.backoff,
        Backoff {
            growth: Growth::Linear,
            base: Duration::ZERO,
            max: Duration::from_secs(3600),
            jitter_permille: 125,
        }
    );
    assert_eq!(both.settings.keep_dead, Keep::For(Duration::from_secs(86_400)));
    assert_eq!((both.workers, both.settings.backlog), (2, 3));
    assert_eq!((both.settings.priority, both.settings.later_max), (Priority(7), 3));
    assert_eq!(both.settings.retries, Retries::Behind);
    assert_eq!(both.settings.timeout, Some(Duration::from_millis(250)));
    assert_eq!(queue(&config, "free").settings.timeout, None);
    let default = queue(&config, "default");
    assert_eq!((default.workers, default.settings.backlog), (0, 12), "limits.backlog holds unless it is set");
    assert_eq!(default.settings.keep_done, Keep::No);
    assert_eq!(queue(&config, COMMANDS_QUEUE).workers, 0);
    let settings = config.settings();
    assert_eq!((settings.default.backlog, settings.queues_max, settings.queues.len()), (12, 3, 5));
}

#[test]
fn commands_run_without_end_unless_somebody_says_how_long() {
    let written =
        config("[queues.c]\nhandler = 'command'\n[queues.commands]\nworkers = 1\n[queues.q]\nlease = '5s'");
    let timeout = |name| queue(&written, name).settings.timeout;
    let usual = Some(Duration::from_secs(600));
    assert_eq!(["c", COMMANDS_QUEUE, "q"].map(timeout), [None, None, usual]);
    let said = config("[queues.commands]\ntimeout = '1h'");
    assert_eq!(queue(&said, COMMANDS_QUEUE).settings.timeout, Some(Duration::from_secs(3600)));
}

#[test]
fn rules_of_access_hold_as_they_are_written() {
    use crate::access::Right;
    use crate::core::Pattern;
    assert_eq!((config("").access, config("access = []").access), (None, Some(Vec::new())));
    let rules = config(EVERYTHING).access.unwrap();
    let patterns =
        |names: &[&str]| -> Vec<_> { names.iter().map(|name| Pattern::new(name).unwrap()).collect() };
    let first = Rule {
        everybody: true,
        users: vec![1000, 7, 16],
        groups: vec![2000, 5],
        queues: patterns(&["a.b", "mails*"]),
        may: vec![Right::Submit, Right::Read],
    };
    let second = Rule {
        everybody: false,
        users: Vec::new(),
        groups: vec![1],
        queues: patterns(&["*"]),
        may: vec![Right::Admin, Right::Work],
    };
    assert_eq!(rules, [first, second]);
}

#[test]
fn what_is_shown_loads_to_the_same() {
    for source in ["", "access = []", EVERYTHING] {
        let first = config(source);
        assert_eq!(config(&first.show()), first, "{}", first.show());
    }
}

#[test]
fn the_command_line_goes_before_the_file() {
    let overrides =
        Overrides { data: Some("/other".into()), socket: Some("relative.sock".into()), workers: Some(1) };
    let source = "[daemon]\ndata = '/d'\n[queues.a]\nhandler = 'command'\n[queues.b]\nhandler = 'command'\nworkers = 3";
    let (config, _) = check::parse("f".to_owned(), source, &overrides, &around()).unwrap();
    assert_eq!(config.daemon.data, Path::new("/other"));
    assert!(config.daemon.socket.is_absolute() && config.daemon.socket.ends_with("relative.sock"));
    let workers = ["a", "b", COMMANDS_QUEUE].map(|name| queue(&config, name).workers);
    assert_eq!(workers, [1, 3, 1]);
}

#[test]
fn a_socket_path_that_is_too_long_is_refused_wherever_it_comes_from() {
    let long = format!("/{}", "x".repeat(SOCKET_PATH_MAX));
    let written = parse(&format!("[daemon]\nsocket = '{long}'")).unwrap_err().to_string();
    assert!(written.starts_with("musher.toml:2: daemon.socket: the path has 108 bytes"), "{written}");
    let given = Overrides { socket: Some(long.into()), ..Overrides::default() };
    let given = check::parse("f".to_owned(), "", &given, &around()).unwrap_err().to_string();
    assert!(given.starts_with("--socket: the path has 108 bytes"), "{given}");
    let fits = format!("/{}", "x".repeat(SOCKET_PATH_MAX - 1));
    assert!(parse(&format!("[daemon]\nsocket = '{fits}'")).is_ok());
}

#[test]
fn what_is_odd_is_a_warning() {
    let source = "[queues.m]\nhandler = { exec = ['/nowhere/thumb'] }\nkeep = { dead = 'no' }\nworkers = 0";
    let (_, warnings) = parse(source).unwrap();
    let texts: Vec<String> = warnings.iter().map(Problem::to_string).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(
        texts[0].starts_with("musher.toml:2: queues.m.handler.exec: `/nowhere/thumb` does not exist here")
    );
    assert!(texts[1].starts_with("musher.toml:3: queues.m.keep.dead: dead jobs"));
    assert!(texts[2].starts_with("musher.toml:4: queues.m.workers: the daemon runs none of its jobs"));
    let (_, warnings) = parse("[queues.commands]\nworkers = 0").unwrap();
    assert!(warnings[0].to_string().contains("queues.commands.workers"), "{warnings:?}");
}

#[test]
fn a_handler_that_cannot_be_started_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, mode: u32| {
        let path = dir.path().join(name);
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let (good, plain) = (file("good", 0o755), file("plain", 0o644));
    let folder = dir.path().display().to_string();
    let path = folder.clone();
    let around =
        Surroundings { env: Box::new(move |name| (name == "PATH").then(|| path.clone().into())), ..around() };
    for (program, warning) in [
        (&*good, None),
        ("good", None),
        (&plain, Some("is not executable")),
        ("plain", Some("is not executable")),
        ("nosuch", Some("is not in PATH")),
        (&folder, Some("is no file")),
        ("/nowhere/x", Some("does not exist here")),
    ] {
        let source = format!("[daemon]\ndata = '/d'\n[queues.m]\nhandler = {{ exec = ['{program}'] }}");
        let (_, warnings) = check::parse("f".to_owned(), &source, &Overrides::default(), &around).unwrap();
        assert_eq!(warnings.len(), usize::from(warning.is_some()), "{program}: {warnings:?}");
        if let (Some(warning), Some(problem)) = (warning, warnings.first()) {
            let text = problem.to_string();
            assert!(text.starts_with("f:4: queues.m.handler.exec: `") && text.contains(warning), "{text}");
        }
    }
}

#[test]
fn it_is_told_who_may_do_what() {
    let told = |source: &str| config(source).who_may().join("\n");
    let plain = told("");
    assert!(plain.contains("the group of the socket /h/.local/state/musher/musher.sock"), "{plain}");
    assert!(
        plain.contains("others may submit to every queue") && plain.contains("(queue `commands`)"),
        "{plain}"
    );
    assert!(told("access = []").contains("others may do nothing more"));
    let rules = told(EVERYTHING);
    assert!(
        rules.contains(
            "everybody who gets in, users 1000, 7, 16, groups 2000, 5 may submit, read at a.b, mails*"
        ),
        "{rules}"
    );
}

#[test]
fn a_reload_says_what_needs_a_restart() {
    let old = config("");
    let new = config("[daemon]\ndata = '/d'\nsocket = '/s'\n[limits]\nbody = 1\n[storage]\ncache = '2MiB'");
    assert_eq!(old.restart_needed(&new), ["daemon.data", "daemon.socket", "storage.cache"]);
    assert_eq!(old.restart_needed(&old), [] as [&str; 0]);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_that_names_it() {
    let missing = Path::new("/nowhere/musher.toml");
    let errors = Config::load_in(Some(missing), &Overrides::default(), &around()).unwrap_err().to_string();
    assert!(errors.starts_with("/nowhere/musher.toml: the configuration cannot be read"), "{errors}");
}

#[test]
fn a_file_is_read_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.toml");
    std::fs::write(&file, "[limits]\nqueues = 5").unwrap();
    let loaded = Config::load_in(Some(&file), &Overrides::default(), &around()).unwrap();
    assert_eq!((loaded.config.limits.queues, loaded.file), (5, Some(file)));
}

#[test]
fn checkpoints_and_results_fit_a_frame() {
    let limits = |text: &str| config(&format!("[limits]\n{text}")).limits;
    let default = Limits::default();
    assert_eq!((default.checkpoint, default.result), (256 << 10, 1 << 20));
    // What nobody asks for makes no small frame wrong.
    let small = limits("frame = '64KiB'\nbody = '40KiB'");
    assert_eq!((small.checkpoint, small.result), (20 << 10, 60 << 10));
    assert_eq!(limits("frame = '64KiB'\nbody = '60KiB'").checkpoint, 0);
    for (text, words) in [
        ("frame = '64KiB'\nbody = '40KiB'\ncheckpoint = '30KiB'", "lower limits.checkpoint"),
        ("frame = '64KiB'\nbody = '40KiB'\nresult = '61KiB'", "lower limits.result"),
    ] {
        let error = parse(&format!("[limits]\n{text}")).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("does not fit a frame of 64KiB"), "{error}");
    }
}
