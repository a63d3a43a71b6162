//! Each mistake in a configuration, and what is said of it.

use super::*;

/// What is written, and what the one error must say.
const MISTAKES: &[(&str, &str)] = &[
    ("[daemon]\nsockt = '/s'", "musher.toml:2: daemon.sockt: unknown key; did you mean `socket`?"),
    ("[limits]\n\nbdy = 1", "musher.toml:3: limits.bdy: unknown key; did you mean `body`?"),
    ("[deamon]", "musher.toml:1: deamon: unknown key; did you mean `daemon`?"),
    ("[zzz]", "zzz: unknown key; known here are daemon, limits, storage, cluster, queues, schedules, access"),
    ("[schedules.n]\nqueue = 'q'", "musher.toml:1: schedules.n: has no times; write cron = "),
    ("[schedules.n]\nevery = '1m'", "musher.toml:1: schedules.n: names no queue; write queue = \"NAME\""),
    (
        "[schedules.n]\nqueue = 'q'\ncron = '0 25 * * *'",
        "musher.toml:3: schedules.n.cron: `0 25 * * *` is not a time of cron: ",
    ),
    (
        "[schedules.n]\nqueue = 'q'\ncron = '@daily'\nzone = 'Mars'",
        "musher.toml:4: schedules.n.zone: `Mars` is not a time zone that this machine knows",
    ),
    (
        "[schedules.n]\nqueue = 'q'\ncron = '@daily'\nevery = '1m'",
        "musher.toml:4: schedules.n.every: goes not with cron: keep one of them",
    ),
    (
        "[schedules.n]\nqueue = 'q'\nevery = '1m'\nbody = 'x'\ncommand = ['true']",
        "musher.toml:5: schedules.n.command: goes not with body: keep one of them",
    ),
    (
        "[queues.q]\nhandler = { exec = ['cat'] }\n[schedules.n]\nqueue = 'q'\nevery = '1m'\ncommand = ['true']",
        "musher.toml:6: schedules.n.command: needs a queue with handler = \"command\"",
    ),
    (
        "[limits]\nbody = 10\n[schedules.n]\nqueue = 'q'\nevery = '1m'\nbody = '12345678901'",
        "musher.toml:6: schedules.n.body: a body of 11 bytes; that of a schedule has at most 10",
    ),
    (
        "[schedules.n]\nqueue = 'q'\nevery = '1m'\ncommand = []",
        "musher.toml:4: schedules.n.command: names no program; write it like",
    ),
    (
        "[schedules.n]\nqueue = 'q'\nevery = '1m'\ncommand = [\"a\\u0000b\"]",
        "musher.toml:4: schedules.n.command: has a zero byte in it",
    ),
    (
        "[schedules.n]\nqueue = 'q'\nevery = '1m'\nkey = ''",
        "musher.toml:4: schedules.n.key: a key of 0 bytes; it has at least one, and at most 256",
    ),
    ("[schedules.n]\nqueue = 'q'\nevery = '1m'\noverlap = 'alow'", "musher.toml:4: schedules.n.overlap: "),
    ("[schedules.n]\nqueue = 'q'\nevery = '1m'\ntags = ['x']", "schedules.n.tags: `x` is no tag"),
    ("[schedules.'a b']\nqueue = 'q'\nevery = '1m'", "`a b` is not a name for a schedule"),
    ("[queues.mails]\nleese = '1s'", "musher.toml:2: queues.mails.leese: unknown key; did you mean `lease`?"),
    (
        "[queues.m]\nbackoff = { bse = '1s' }",
        "musher.toml:2: queues.m.backoff.bse: unknown key; did you mean `base`?",
    ),
    (
        "[queues.m]\nkeep = { dine = '1s' }",
        "musher.toml:2: queues.m.keep.dine: unknown key; did you mean `done`?",
    ),
    ("[daemon]\nhttp = '1:1'", "musher.toml:2: daemon.http: must be an address and a port"),
    ("[daemon]\nbeanstalk = '1:1'", "musher.toml:2: daemon.beanstalk: must be an address and a port"),
    ("[topics]\na = 'b'", "musher.toml:2: topics.a: must be a list of texts"),
    ("[topics]\na = []", "musher.toml:2: topics.a: is bound to no queue"),
    ("[topics]\n'a b' = ['c']", "is not a pattern of topics"),
    ("[topics]\na = ['b c']", "is not a queue name"),
    ("[queues.m]\nper_key = '1'", "musher.toml:2: queues.m.per_key: must be"),
    (
        "[queues.m]\nrate = '50 a second'",
        "musher.toml:2: queues.m.rate: `50 a second` is not a rate such as \"100/s\", \"30/m burst 5\"",
    ),
    ("[queues.m]\nper_key_rate = 5", "musher.toml:2: queues.m.per_key_rate: must be"),
    ("[queues.m]\nrate = '0/s'", "queues.m.rate: `0/s` is not possible: counts go from 1 to 1000000"),
    ("[queues.m]\non_exit = { '0' = 'dead' }", "queues.m.on_exit.0: exit status 0 is always done"),
    (
        "[queues.m]\non_exit = { '256' = 'dead' }",
        "queues.m.on_exit.256: `256` is no end of a process: write an exit",
    ),
    ("[queues.m]\non_exit = { '9-3' = 'dead' }", "queues.m.on_exit.9-3: `9-3` is no end of a process"),
    (
        "[queues.m]\non_exit = { SIGNONE = 'dead' }",
        "queues.m.on_exit.SIGNONE: `SIGNONE` is no end of a process",
    ),
    (
        "[queues.m]\non_exit = { '3-9' = 'dead', '9-12' = 'later' }",
        "queues.m.on_exit.9-12: 9-12 and 3-9 overlap",
    ),
    (
        "[queues.m]\non_exit = { '3' = 'again' }",
        "musher.toml:2: queues.m.on_exit.3: must be one of \"done\", \"failed\", \"later\", \"dead\"",
    ),
    ("[queues.m]\non_exit = 75", "queues.m.on_exit: must be a table"),
    ("[queues.m]\nconcurrency = -1", "queues.m.concurrency"),
    ("[queues.m]\nper_key = '1'", "musher.toml:2: queues.m.per_key: must be"),
    (
        "[queues.m]\nhandler = { http = 'ftp://h/' }",
        "musher.toml:2: queues.m.handler.http: must be a whole URL of http or https",
    ),
    (
        "[queues.m]\nhandler = { http = '/hook' }",
        "queues.m.handler.http: must be a whole URL of http or https",
    ),
    ("[queues.m]\nhandler = { http = 'http://h/é x' }", "queues.m.handler.http: is no URL: "),
    (
        "[queues.m]\nhandler = { http = 'https://me:secret@h/' }",
        "queues.m.handler.http: must not have a user or a password in it",
    ),
    ("[queues.m]\nhandler = { http = 'http://h/#a' }", "queues.m.handler.http: must not have a fragment"),
    (
        "[queues.m]\nhandler = { http = 'http://h', exec = ['cat'] }",
        "queues.m.handler: a job is run by a program or sent to a URL, not both",
    ),
    (
        "[queues.m]\nhandler = { exec = ['cat'], secret_file = '/nowhere/key' }",
        "queues.m.handler.secret_file: is of use only with `http`; remove it",
    ),
    (
        "[queues.m]\nhandler = { http = 'http://h', secret_file = 'key' }",
        "queues.m.handler.secret_file: must be the whole path",
    ),
    (
        "[queues.m]\nhandler = { http = 'http://h', secret_file = '/etc/passwd' }",
        "queues.m.handler.secret_file: `/etc/passwd` is open to every user of this machine",
    ),
    (
        "[queues.m]\nhandler = { http = 'http://h', content_type = \"a\\nb\" }",
        "queues.m.handler.content_type: must be what a header can hold",
    ),
    (
        "[queues.m]\nhandler = { http = 'http://h', on_status = { '200' = 'dead' } }",
        "queues.m.handler.on_status.200: `200` is no status: write a status such as \"409\"",
    ),
    (
        "[queues.m]\nhandler = { http = 'http://h', on_status = { '400-410' = 'dead', '410-420' = 'later' } }",
        "queues.m.handler.on_status.410-420: 410-420 and 400-410 overlap",
    ),
    (
        "[queues.m]\nhandler = { http = 'http://h' }\non_exit = { '3' = 'dead' }",
        "musher.toml:3: queues.m.on_exit: says what ends of processes mean, and jobs that are sent to a URL have none",
    ),
    ("[daemon]\ndurability = 'interval'", "musher.toml:2: daemon.durability: only \"sync\" is supported"),
    ("[daemon]\ndata = 'here'", "musher.toml:2: daemon.data: must be the whole path"),
    (
        "[daemon]\ndrain_timeout = 30",
        "daemon.drain_timeout: must be a duration such as \"30s\", not an integer",
    ),
    (
        "[daemon]\ndrain_timeout = '30'",
        "musher.toml:2: daemon.drain_timeout: `30` is not a duration: it has no",
    ),
    ("[daemon]\ndrain_submits = 'x'", "`x` is not known; use one of \"refuse\", \"accept\""),
    ("[daemon]\njob_oom_score_adj = 1001", "daemon.job_oom_score_adj: 1001 is too large; the most is 1000"),
    ("[limits]\nbody = '1M'", "musher.toml:2: limits.body: `1M` is not a size: the unit can mean two things"),
    ("[limits]\nbody = true", "limits.body: must be a size such as \"64MiB\", not a boolean"),
    ("[limits]\nbody = 0", "limits.body: 0B is too small; the least is 1B"),
    ("[limits]\nbody = -1", "limits.body: must not be negative"),
    ("[limits]\nconnections = 0", "limits.connections: 0 is too small; the least is 1"),
    ("[limits]\nconnections = '5'", "limits.connections: must be a whole number, not a string"),
    ("[limits]\nbody = '32MiB'", "musher.toml:2: limits.body: a body of 32MiB does not fit a frame of 32MiB"),
    ("[limits]\nframe = '1MiB'", "musher.toml:2: limits.frame: a body of 1MiB does not fit a frame of 1MiB"),
    (
        "[storage]\nlog_file = '1KiB'",
        "musher.toml:2: storage.log_file: 1KiB is too small; the least is 64KiB",
    ),
    ("[storage]\nlog_file = '2GiB'", "storage.log_file: a log of 2GiB does not hold two files of 2GiB"),
    ("[storage]\ncheckpoint = '1ms'", "storage.checkpoint: 1ms is too short; the least is 10ms"),
    ("[queues.\"two words\"]", "musher.toml:1: queues.\"two words\": `two words` is not a queue name"),
    ("[queues.m]\nlease = '10ms'", "musher.toml:2: queues.m.lease: 10ms is too short; the least is 1s"),
    ("[queues.m]\ntimeout = '0'", "queues.m.timeout: 0s is too short"),
    ("[queues.m]\ntimeout = 'never'", "queues.m.timeout: `never` is not a duration"),
    (
        "[queues.m]\nretries = 'first'",
        "queues.m.retries: `first` is not known; use one of \"alternate\", \"behind\",",
    ),
    ("[queues.m]\npriority = -1", "queues.m.priority: must not be negative"),
    (
        "[queues.m]\npriority = 4294967296",
        "queues.m.priority: 4294967296 is too large; the most is 4294967295",
    ),
    ("[queues.m]\nlater_max = 0", "queues.m.later_max: 0 is too small; the least is 1"),
    ("[queues.m]\nattempts = 0", "queues.m.attempts: 0 is too small; the least is 1"),
    ("[queues.m]\ncrashes = 0", "queues.m.crashes: 0 is too small; the least is 1"),
    (
        "[queues.m]\nworkers = 4",
        "queues.m.workers: the daemon's workers have nothing to run without a handler",
    ),
    ("[queues.m]\nhandler = 'comand'", "queues.m.handler: `comand` is not known; write \"command\", { exec"),
    ("[queues.m]\nhandler = 4", "queues.m.handler: must be a text or a table, not an integer"),
    ("[queues.m]\nhandler = {}", "queues.m.handler: names no program; write { exec"),
    ("[queues.m]\nhandler = { exec = [] }", "queues.m.handler.exec: must name a program"),
    ("[queues.m]\nhandler = { exec = [''] }", "queues.m.handler.exec: must name a program"),
    ("[queues.m]\nhandler = { exec = 'sh' }", "queues.m.handler.exec: must be a list of texts, not a string"),
    (
        "[queues.m]\nhandler = { exec = ['./x'] }",
        "queues.m.handler.exec: `./x` is relative; write the whole path",
    ),
    (
        "[queues.m]\nhandler = { exec = [\"sh\", \"\\u0000\"] }",
        "queues.m.handler.exec: must not contain a NUL",
    ),
    (
        "[queues.m.backoff]\nkind = 'cubic'",
        "musher.toml:2: queues.m.backoff.kind: `cubic` is not known; use one of",
    ),
    ("[queues.m.backoff]\nbase = '2d'", "queues.m.backoff.base: base (2d) must not be longer than max (1d)"),
    ("[queues.m.backoff]\nmax = '800d'", "queues.m.backoff.max: 800d is too long; the most is 366d"),
    ("[queues.m.backoff]\njitter = 1.5", "queues.m.backoff.jitter: must be a number from 0 to 1"),
    ("[queues.m.keep]\ndead = 'always'", "queues.m.keep.dead: `always` is not a duration"),
    ("queues = 4", "musher.toml:1: queues: must be a table, not an integer"),
    ("[queues]\nm = 4", "musher.toml:2: queues.m: must be a table, not an integer"),
    ("[access]", "musher.toml:1: access: must be a list of tables, each begun by [[access]], not a table"),
    (
        "\n[[access]]\nqueues = ['*']\nmay = ['read']",
        "musher.toml:2: access[1]: applies to nobody; name users or groups",
    ),
    (
        "[[access]]\nusers = ['alix']\nqueues = ['*']\nmay = ['read']",
        "musher.toml:2: access[1].users: there is no user `alix` on this machine; add it, or write its number",
    ),
    (
        "[[access]]\ngroups = ['alice']\nqueues = ['*']\nmay = ['read']",
        "musher.toml:2: access[1].groups: there is no group `alice` on this machine",
    ),
    (
        "[[access]]\nusers = [-1]\nqueues = ['*']\nmay = ['read']",
        "musher.toml:2: access[1].users: must be a list of names and numbers, not of something else",
    ),
    (
        "[[access]]\nusers = 'alice'\nqueues = ['*']\nmay = ['read']",
        "musher.toml:2: access[1].users: must be a list of names and numbers, not string",
    ),
    (
        "[[access]]\nusers = []\nqueues = ['*']\nmay = ['read']",
        "musher.toml:2: access[1].users: must be a list of names and numbers, not of something else, or of nothing",
    ),
    ("[[access]]\nusers = ['*']\nmay = ['read']", "musher.toml:1: access[1].queues: names no queue; write"),
    (
        "[[access]]\nusers = ['*']\nqueues = ['a b']\nmay = ['read']",
        "musher.toml:3: access[1].queues: `a b` is not a pattern of queue names",
    ),
    (
        "[[access]]\nusers = ['*']\nqueues = '*'\nmay = ['read']",
        "musher.toml:3: access[1].queues: must be a list of texts, not a string",
    ),
    (
        "[[access]]\nusers = ['*']\nqueues = ['*']",
        "musher.toml:1: access[1].may: allows nothing; write a list of \"submit\", \"work\", \"read\", \"admin\"",
    ),
    ("[[access]]\nusers = ['*']\nqueues = ['*']\nmay = []", "musher.toml:4: access[1].may: allows nothing"),
    (
        "[[access]]\nusers = ['*']\nqueues = ['*']\nmay = ['reed']",
        "musher.toml:4: access[1].may: `reed` is not known; use \"submit\"",
    ),
    (
        "[[access]]\nuser = ['*']\ngroups = [1]\nqueues = ['*']\nmay = ['read']",
        "musher.toml:2: access[1].user: unknown key; did you mean `users`?",
    ),
    (
        "[cluster]\nnodes = ['a']\nnats = ['nats://h']\nsync = 'always'",
        "musher.toml:1: cluster.node: must say which of cluster.nodes this is: the machine's name, `here`, is none of them",
    ),
    (
        "[cluster]\nnode = 'b'\nnodes = ['a']\nnats = ['nats://h']\nsync = 'always'",
        "musher.toml:2: cluster.node: `b` is not among cluster.nodes",
    ),
    (
        "[cluster]\nnodes = ['here']\nnats = ['nats://h']",
        "musher.toml:1: cluster.sync: must be \"always\", by which you say",
    ),
    (
        "[cluster]\nnodes = ['here']\nnats = ['nats://h']\nsync = 'no'",
        "musher.toml:4: cluster.sync: must be \"always\"",
    ),
    ("[cluster]\nnodes = ['here']\nsync = 'always'", "musher.toml:1: cluster.nats: must name the servers"),
    (
        "[cluster]\nnode = 'a'\nnats = ['nats://h']\nsync = 'always'",
        "musher.toml:1: cluster.nodes: must name the nodes",
    ),
    (
        "[cluster]\nnodes = ['here', 'a.b']\nnats = ['nats://h']\nsync = 'always'",
        "musher.toml:2: cluster.nodes: `a.b` is no name",
    ),
    (
        "[cluster]\nnodes = ['here', 'here']\nnats = ['nats://h']\nsync = 'always'",
        "musher.toml:2: cluster.nodes: names `here` twice",
    ),
    (
        "[cluster]\nnodes = ['here']\nnats = ['nats://u:p@h']\nsync = 'always'",
        "musher.toml:3: cluster.nats: `nats://u:p@h` is no server",
    ),
    (
        "[cluster]\nnodes = ['here']\nnats = ['nats://h']\nsync = 'always'\nreplicas = 2",
        "musher.toml:5: cluster.replicas: must be odd",
    ),
    (
        "[cluster]\nnodes = ['here']\nnats = ['nats://h']\nsync = 'always'\ntls_key = '/k'",
        "musher.toml:5: cluster.tls_key: needs cluster.tls_certificate",
    ),
    (
        "[cluster]\nnodes = ['here']\nnats = ['nats://h']\nsync = 'always'\ntls = false\ntls_ca = '/c'",
        "musher.toml:5: cluster.tls: is false, and there are certificates for it",
    ),
    ("[limits]\nbody = \n", "musher.toml:2: "),
    ("[limits]\nbody = 1\nbody = 2", "musher.toml:3: duplicate key"),
];

#[test]
fn every_error_names_its_line_and_key_and_says_what_to_do() {
    for (source, expected) in MISTAKES {
        let message = parse(source).expect_err(source).to_string();
        assert!(message.contains(expected), "{source}\n{message}\nexpected: {expected}");
        assert_eq!(message.lines().count(), 1, "one mistake is one error: {source}\n{message}");
    }
}

/// Words without a byte take room all the same.
#[test]
fn a_command_of_very_many_words_is_refused() {
    let words = "'',".repeat(22_000);
    let text = format!("[schedules.n]\nqueue = 'q'\nevery = '1m'\ncommand = ['a', {words}]");
    let errors = parse(&text).unwrap_err().to_string();
    assert!(errors.contains("schedules.n.command: takes up to 66009 bytes as JSON"), "{errors}");
}
