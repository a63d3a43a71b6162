//! A whole worker against a fake daemon, with real processes.

mod ahead;
mod fake;

use super::{Handler, Source, WorkerEnd};
use crate::clock;
use crate::protocol::admin::HandlerView;
use crate::protocol::{CommandJob, Word};
use crate::protocol::{Exit, Notice, Revocation, Verdict};
use bytes::Bytes;
use fake::{Rig, Said, State, all_dead, is_alive, job, plan};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;
use tokio::time::Instant;

/// Prints its own number and that of a process that it has started, and goes on for ever.
const FOR_EVER: &str = "sleep 1000 & echo $$ $!; wait";
/// The same, deaf to SIGTERM.
const DEAF: &str = "trap '' TERM; sleep 1000 & echo $$ $!; wait; wait";

fn fail(error: &str) -> Verdict {
    Verdict::Fail { error: error.into(), exit: None }
}

fn ended(error: &str, exit: Exit) -> Verdict {
    Verdict::Exited { error: error.into(), exit }
}

#[tokio::test]
async fn a_job_has_its_body_on_standard_input_and_knows_who_it_is() {
    let rig = Rig::shell("cat; env | grep ^MUSHER_ | sed 's|=/.*/7@2/|=…/|' | sort", 1).await;
    assert_eq!(rig.run(job(7, "hello\n")).await, Verdict::Complete);
    let expected = "hello\nMUSHER_ATTEMPT=2\nMUSHER_CHECKPOINT=…/checkpoint\nMUSHER_JOB_ID=7\nMUSHER_LEASE=7@2\nMUSHER_LEASE_UNTIL=1700000000000\n\
        MUSHER_MAX_ATTEMPTS=5\nMUSHER_QUEUE=mails\nMUSHER_RESULT=…/result\nMUSHER_SOCKET=/run/some.sock\nMUSHER_TAG_ORDER_NO=12\n";
    assert_eq!(rig.until(|state| Some(state.printed(7, 1))).await, expected);
}

#[tokio::test]
async fn how_the_process_ended_is_what_the_daemon_decides_by() {
    let table = [
        ("exit 0", Verdict::Complete),
        ("exit 75", ended("exit status 75", Exit::Status(75))),
        ("echo no such customer >&2; exit 65", ended("exit status 65: no such customer", Exit::Status(65))),
        ("exit 3", ended("exit status 3", Exit::Status(3))),
        (
            "echo first >&2; echo 'the last' >&2; echo >&2; exit 3",
            ended("exit status 3: the last", Exit::Status(3)),
        ),
        ("kill -9 $$", ended("killed by signal 9 (SIGKILL)", Exit::Signal(9))),
    ];
    for (script, verdict) in table {
        assert_eq!(Rig::shell(script, 1).await.run(job(1, "")).await, verdict, "{script}");
    }
}

#[tokio::test]
async fn what_cannot_be_started_fails_with_a_reason() {
    let zero = Handler::Exec(vec!["echo".into(), "a\0b".into()]);
    let rig = Rig::start(Source::Fixed(vec![plan(zero, 1)]), Vec::new()).await;
    let error = "cannot start `echo`: an argument or a variable contains a zero byte".into();
    assert_eq!(rig.run(job(1, "")).await, Verdict::FailDead { error, exit: None });
    let rig = Rig::start(Source::Fixed(vec![plan(Handler::Command, 1)]), Vec::new()).await;
    let Verdict::FailDead { error, .. } = rig.run(job(1, "echo")).await else { panic!("it can never run") };
    assert!(error.starts_with("the body is not a command: "), "{error}");
    let nowhere = CommandJob { argv: vec!["true".into()], cwd: "/no/where".into(), env: Vec::new() };
    rig.submit(job(2, serde_json::to_vec(&nowhere).unwrap()));
    let second = rig.until(|state| state.verdicts().get(1).cloned()).await.1;
    let error = "cannot start `true`: the working directory /no/where is not there".into();
    assert_eq!(second, Verdict::Exited { error, exit: Exit::Status(126) });
    let missing = CommandJob { argv: vec!["no-such-program".into()], cwd: "/".into(), env: Vec::new() };
    rig.submit(job(3, serde_json::to_vec(&missing).unwrap()));
    let third = rig.until(|state| state.verdicts().get(2).cloned()).await.1;
    let error = "cannot start `no-such-program`: No such file or directory".into();
    assert_eq!(third, Verdict::Exited { error, exit: Exit::Status(127) });
}

#[tokio::test]
async fn a_handler_that_cannot_be_started_spends_no_attempt_and_goes_on_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let (program, holder) = (dir.path().join("handler"), dir.path().join("new"));
    std::fs::write(&holder, "#!/bin/sh\necho done\n").unwrap();
    std::fs::set_permissions(&holder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let handler = Handler::Exec(vec![program.display().to_string()]);
    let rig = Rig::start(Source::Fixed(vec![plan(handler, 2)]), Vec::new()).await;
    assert_eq!(rig.run(job(1, "")).await, Verdict::Release { delay_ms: 0 });
    let error = format!("cannot start `{}`: No such file or directory", program.display());
    let holds = |state: &State| {
        let holds = state
            .said
            .iter()
            .filter_map(|said| if let Said::Hold(error) = said { Some(error) } else { None });
        holds.cloned().collect::<Vec<_>>()
    };
    rig.until(|state| (holds(state).len() >= 2).then_some(())).await;
    assert_eq!(rig.until(|state| holds(state).pop()).await, Some(error));
    rig.submit(job(1, ""));
    rig.until(|state| (holds(state).len() >= 3).then_some(())).await;
    assert_eq!(
        rig.until(|state| Some(state.verdicts().len())).await,
        1,
        "it is not claimed to see whether it works"
    );
    std::fs::rename(&holder, &program).unwrap();
    let second = rig.until(|state| state.verdicts().get(1).cloned()).await;
    assert_eq!(second, (1, Verdict::Complete));
    assert_eq!(rig.until(|state| holds(state).pop()).await, None, "it has said so");
}

#[tokio::test]
async fn a_command_job_has_its_own_directory_and_environment_and_nothing_on_standard_input() {
    let env = vec![("PATH".into(), "/usr/bin:/bin".into()), ("FRUIT".into(), "plum".into())];
    let argv = ["sh", "-c", "pwd; cat; echo $FRUIT $HOME $MUSHER_JOB_ID"].map(Word::from).to_vec();
    let body = serde_json::to_vec(&CommandJob { argv, cwd: "/usr".into(), env }).unwrap();
    let rig = Rig::start(Source::Fixed(vec![plan(Handler::Command, 1)]), Vec::new()).await;
    assert_eq!(rig.run(job(3, body)).await, Verdict::Complete);
    assert_eq!(rig.until(|state| Some(state.printed(3, 1))).await, "/usr\nplum 3\n");
}

#[tokio::test]
async fn a_job_that_runs_too_long_ends_with_all_its_processes() {
    let rig = Rig::shell(FOR_EVER, 1).await;
    let slow = crate::protocol::ClaimedJob { timeout_ms: 1_000, ..job(1, "") };
    assert_eq!(rig.run(slow).await, fail("timed out after 1s"));
    let pids = rig.until(|state| state.numbers(1)).await;
    assert_eq!(pids.len(), 2);
    all_dead(&pids).await;
}

#[tokio::test]
async fn a_job_ends_at_its_deadline_and_does_not_begin_after_it() {
    let verdict = async |job| Rig::shell("exec sleep 1000", 1).await.run(job).await;
    let deadline = |id, deadline_ms, timeout_ms| crate::protocol::ClaimedJob {
        deadline_ms: Some(deadline_ms),
        timeout_ms,
        ..job(id, "")
    };
    let now = clock::wall().0;
    assert_eq!(verdict(deadline(1, now, 0)).await, Verdict::Release { delay_ms: 0 });
    assert_eq!(verdict(deadline(2, now + 2_000, 60_000)).await, fail("the job's deadline was over"));
    assert_eq!(verdict(deadline(3, u64::MAX, 300)).await, fail("timed out after 300ms"));
}

#[tokio::test]
async fn what_a_job_leaves_in_its_group_is_killed_with_its_end() {
    let rig = Rig::shell("sleep 1000 & echo $!", 1).await;
    assert_eq!(rig.run(job(1, "")).await, Verdict::Complete);
    all_dead(&rig.until(|state| state.numbers(1)).await).await;
}

#[tokio::test]
async fn a_process_that_has_left_the_group_holds_nobody_up() {
    let script = "f=$(mktemp -u); mkfifo $f; setsid sh -c \"echo \\$\\$; echo > $f; exec sleep 1000\" & read _ < $f; rm $f";
    let rig = Rig::shell(script, 1).await;
    assert_eq!(rig.run(job(1, "")).await, Verdict::Complete);
    let pid = rig.until(|state| state.numbers(1)).await[0];
    assert!(is_alive(pid));
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    all_dead(&[pid]).await;
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_no_trouble() {
    let rig = Rig::shell("exit 0", 1).await;
    assert_eq!(rig.run(job(1, vec![b'x'; 1 << 20])).await, Verdict::Complete);
}

#[tokio::test]
async fn a_long_body_arrives_whole_while_the_job_prints() {
    let rig = Rig::shell("head -c 300000; tee /dev/stderr | wc -c >&2", 1).await;
    assert_eq!(rig.run(job(1, vec![b'x'; 1_000_000])).await, Verdict::Complete);
    let printed = rig.until(|state| Some([state.printed(1, 1).len(), state.printed(1, 2).len()])).await;
    assert_eq!(printed, [300_000, 700_000 + "700000\n".len()]);
}

#[tokio::test]
async fn of_output_beyond_the_limit_the_beginning_and_the_end_are_kept() {
    let script = "echo begin; head -c 8000000 /dev/zero; echo end";
    let handler = Handler::Exec(["sh", "-c", script].map(str::to_owned).to_vec());
    let plan = super::Plan { output_max: 100 << 10, ..plan(handler, 1) };
    let rig = Rig::start(Source::Fixed(vec![plan]), Vec::new()).await;
    assert_eq!(rig.run(job(1, "")).await, Verdict::Complete);
    let (kept, said) = rig.until(|state| Some((state.printed(1, 1), state.printed(1, 2)))).await;
    assert!(kept.len() > 50 << 10 && kept.len() <= 100 << 10, "{}", kept.len());
    assert!(kept.starts_with("begin\n") && kept.ends_with("end\n"));
    let printed = "begin\n".len() + 8_000_000 + "end\n".len();
    assert_eq!(said, format!("\n… {} bytes are left out here\n", printed - kept.len()));
}

#[tokio::test]
async fn all_output_comes_before_the_verdict() {
    let rig = Rig::shell("head -c 200000 /dev/zero; echo end >&2", 4).await;
    (1..=20).for_each(|id| rig.submit(job(id, "")));
    rig.until(|state| (state.verdicts().len() == 20).then_some(())).await;
    let (said, verdicts) = rig.until(|state| Some((state.said.clone(), state.verdicts()))).await;
    // One that was claimed ahead goes back if its slot does not come soon.
    let ran = verdicts.into_iter().filter(|(_, verdict)| *verdict == Verdict::Complete);
    for id in ran.map(|(id, _)| id) {
        let settled =
            |said: &Said| matches!(said, Said::Settle(items) if items.iter().any(|i| i.lease.id == id));
        let before = State::after(&said[..said.iter().position(settled).unwrap()]);
        assert_eq!(before.printed(id, 1).len(), 200_000);
        assert_eq!(before.printed(id, 2), "end\n");
    }
}

#[tokio::test]
async fn it_claims_for_the_free_slots_and_never_runs_more() {
    let rig = Rig::shell("echo $$; exec sleep 1000", 3).await;
    (1..=5).for_each(|id| rig.submit(job(id, "")));
    let first = rig.until(|state| state.numbers(1)).await;
    rig.until(|state| state.numbers(3)).await;
    let claims = |state: &State| state.said.iter().filter(|said| matches!(said, Said::Claim { .. })).count();
    assert_eq!(rig.until(|state| state.said.first().cloned()).await, Said::Claim { max: 3 });
    let before = rig.until(|state| Some(claims(state))).await;
    kill_process(Pid::from_raw(first[0]).unwrap(), Signal::KILL).unwrap();
    rig.until(|state| state.numbers(4)).await;
    assert_eq!(rig.until(|state| Some((claims(state), state.numbers(5)))).await, (before + 1, None));
}

#[tokio::test]
async fn a_lease_is_extended_for_as_long_as_its_job_runs() {
    let rig = Rig::shell("sleep 1000", 1).await;
    rig.submit(crate::protocol::ClaimedJob { lease_ms: 90, ..job(1, "") });
    let extends = |state: &State| state.said.iter().filter(|said| matches!(said, Said::Extend(_))).count();
    rig.until(|state| (extends(state) >= 4).then_some(())).await;
}

#[tokio::test]
async fn a_lease_that_is_lost_ends_its_job_and_one_that_is_cancelled_is_given_back_then() {
    let rig = Rig::shell(FOR_EVER, 2).await;
    let short = crate::protocol::ClaimedJob { lease_ms: 3_000, ..job(1, "") };
    rig.change(|state| state.lost = [short.lease].into());
    rig.submit(short);
    rig.submit(job(2, ""));
    all_dead(&rig.until(|state| state.numbers(1)).await).await;
    let pids = rig.until(|state| state.numbers(2)).await;
    rig.say(Notice::Revoked { lease: job(2, "").lease, why: Revocation::Cancelled });
    all_dead(&pids).await;
    rig.stop(Duration::ZERO);
    let (end, state) = rig.ended().await;
    assert!(matches!(end, WorkerEnd::Stopped));
    assert_eq!(state.lock().unwrap().verdicts(), [(2, Verdict::Release { delay_ms: 0 })]);
}

#[tokio::test]
async fn with_the_connection_all_processes_end_at_once() {
    let rig = Rig::shell(DEAF, 2).await;
    rig.submit(job(1, ""));
    rig.submit(job(2, ""));
    let mut pids = rig.until(|state| state.numbers(1)).await;
    pids.extend(rig.until(|state| state.numbers(2)).await);
    let begin = Instant::now();
    rig.close();
    assert!(matches!(rig.ended().await.0, WorkerEnd::Disconnected));
    assert!(begin.elapsed() < Duration::from_secs(1), "it does not wait for SIGTERM to work");
    all_dead(&pids).await;
}

#[tokio::test]
async fn a_stop_lets_jobs_finish_in_time_and_gives_the_others_back() {
    let rig = Rig::shell("read what; echo $$; [ $what = quick ] && exit 0; exec sleep 1000", 2).await;
    rig.submit(job(1, "quick\n"));
    rig.submit(job(2, "slow\n"));
    rig.until(|state| state.numbers(2)).await;
    rig.say(Notice::Stopping { grace_ms: 1_000 });
    let (end, state) = rig.ended().await;
    assert!(matches!(end, WorkerEnd::Stopped));
    let verdicts = state.lock().unwrap().verdicts();
    assert_eq!(verdicts, [(1, Verdict::Complete), (2, Verdict::Release { delay_ms: 0 })]);
}

#[tokio::test]
async fn a_job_that_does_not_heed_the_stop_is_killed_and_given_back() {
    let rig = Rig::shell(DEAF, 1).await;
    rig.submit(job(1, ""));
    let pids = rig.until(|state| state.numbers(1)).await;
    rig.stop(Duration::ZERO);
    let (_, state) = rig.ended().await;
    assert_eq!(state.lock().unwrap().verdicts(), [(1, Verdict::Release { delay_ms: 0 })]);
    all_dead(&pids).await;
}

#[tokio::test]
async fn the_daemon_says_what_runs_and_may_change_it() {
    let view = |exec: Option<Vec<String>>| {
        vec![HandlerView {
            queue: "mails".into(),
            workers: 1,
            exec,
            http: None,
            output_max: 1000,
            result_max: 1000,
        }]
    };
    let echo = |word: &str| view(Some(vec!["echo".into(), word.into()]));
    let rig = Rig::start(Source::Daemon, echo("old")).await;
    assert_eq!(rig.run(job(1, "")).await, Verdict::Complete);
    rig.change(|state| state.handlers = echo("new"));
    rig.say(Notice::Reconfigured);
    // The claim for the old plan ends, and one for the new plan follows.
    let claims = |state: &State| state.said.iter().filter(|said| matches!(said, Said::Claim { .. })).count();
    rig.until(|state| (claims(state) == 3).then_some(())).await;
    rig.submit(job(2, ""));
    rig.until(|state| (state.verdicts().len() == 2).then_some(())).await;
    let printed = rig.until(|state| Some([state.printed(1, 1), state.printed(2, 1)])).await;
    assert_eq!(printed, ["old\n", "new\n"]);
}

#[tokio::test]
async fn an_idle_worker_stops_at_once() {
    let rig = Rig::shell("exit 0", 4).await;
    rig.until(|state| state.said.first().map(drop)).await;
    rig.stop(Duration::from_secs(3600));
    assert!(matches!(rig.ended().await.0, WorkerEnd::Stopped));
}

#[tokio::test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture job_rate"]
async fn job_rate() {
    for (slots, jobs) in [(1, 1_000), (2, 2_000), (4, 4_000), (8, 4_000), (16, 4_000)] {
        let program = Handler::Exec(vec!["/bin/true".into()]);
        let rig = Rig::start(Source::Fixed(vec![plan(program, slots)]), Vec::new()).await;
        let begin = Instant::now();
        (1..=jobs).for_each(|id| rig.submit(job(id, Bytes::from_static(b"{\"a\":1}"))));
        let done = |state: &State| {
            let settles =
                state.said.iter().filter_map(|s| if let Said::Settle(s) = s { Some(s.len()) } else { None });
            (settles.sum::<usize>() as u64 == jobs).then_some(())
        };
        rig.until(done).await;
        let took = begin.elapsed();
        let settles =
            rig.until(|s| Some(s.said.iter().filter(|s| matches!(s, Said::Settle(_))).count())).await;
        let rate = jobs as f64 / took.as_secs_f64();
        println!("{slots} slots: {rate:.0} jobs/s, {:.1} jobs a settle", jobs as f64 / settles as f64);
    }
}
