//! What is on the screen, cell by cell.

use super::*;

#[test]
fn queues_at_80_by_24() {
    let mut model = model((80, 24));
    let text = text(&mut model);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 24);
    assert_eq!(
        lines[..6],
        [
            "musher 1.2.3  up 2 h  1,240 ready  3 running  2 dead  250/s done              ok",
            " 1 Queues 3   2 Running 3   3 Dead 2   4 Schedules 2",
            "  QUEUE    READY  RUN  DEAD  OLDEST  DONE/S  WORK  10 MIN      STATE",
            "> images       3    1     0       -       0     2              paused",
            "  mails    1,234    1     2   2 min     250     2  ▆▇▇▇███▆▇▇  at most 3",
            "  reports      3    1     0       -       0     -              circuit open",
        ]
    );
    assert_eq!(lines[23], "q leave  Tab screen  p pause  Enter what runs  / filter  ? help");
}

#[test]
fn what_is_left_out_on_40_by_10_is_on_200_by_50() {
    assert_eq!(
        text(&mut model((40, 10))).lines().take(4).collect::<Vec<_>>(),
        [
            "1,240 ready  3 running  2 dead        ok",
            "1 Queues 2 Running 3 Dead 4 Schedules",
            "  QUEUE    READY  RUN  DEAD  STATE",
            "> images       3    1     0  paused",
        ]
    );
    let wide = text(&mut model((200, 50)));
    assert_eq!(wide.lines().count(), 50);
    let mails = wide.lines().find(|line| line.contains("mails")).unwrap();
    assert!(mails.contains("·▂▃▄▆▇█·▂▃▄▆▇█·") && mails.ends_with("at most 3"), "{mails}");
    assert!(wide.contains("circuit open"), "{wide}");
    // Bars are fewer where there is less room, and never cut.
    for width in 40..140 {
        let text = text(&mut model((width, 10)));
        let mails = text.lines().find(|line| line.contains("mails")).unwrap();
        let bars = mails.chars().filter(|c| ('▁'..='█').contains(c) || *c == '·').count();
        assert!([0, 10, 20, 30, 60].contains(&bars) && !mails.contains('…'), "{width}: {mails}");
        assert_eq!(bars == 0, width < 53, "{width}: {mails}");
    }
}

#[test]
fn nothing_breaks_whatever_the_size() {
    for (width, height) in (0..50).flat_map(|width| (0..14).map(move |height| (width, height))) {
        let size = (width, height);
        let dead =
            json!({ "failures": [{ "attempt": 1, "at": NOW.0, "error": "日本語 🦀\u{1b}[2J".repeat(9) }] });
        let mut screens = vec![model(size), with_jobs(size, '3', vec![job(1, "dead", dead); 3], Some(1))];
        screens.push(with_job(size));
        screens.push(model(size));
        press(&mut screens[3], &[Key::Char('?'), Key::Down, Key::Down]);
        for mut model in screens {
            let text = text(&mut model);
            if width >= 40 && height >= 10 {
                assert_eq!(text.lines().count(), usize::from(height), "{text}");
            } else if width >= 20 && height >= 2 {
                assert!(text.contains("too small"), "{width}×{height}: {text}");
            }
        }
    }
}

#[test]
fn without_colours_there_are_none_and_with_them_what_is_bad_is_red() {
    for has_colours in [false, true] {
        let cells = drawn(&mut model((80, 24)), has_colours);
        let coloured = cells.content.iter().filter(|cell| (cell.fg, cell.bg) != (Color::Reset, Color::Reset));
        assert_eq!(coloured.count() > 0, has_colours);
        assert_eq!(cells[(2, 5)].fg == Color::Red, has_colours, "the queue whose circuit is open");
        assert!(cells[(2, 3)].modifier.contains(Modifier::REVERSED), "what is selected");
        assert!(!cells[(2, 4)].modifier.contains(Modifier::REVERSED));
    }
}

#[test]
fn running_and_dead_jobs_and_schedules() {
    let progress =
        json!({ "progress": { "percent": 40, "text": "page 7\u{1b}[31m", "at": NOW.0 }, "cancelling": true });
    let mut running = with_jobs((100, 12), '2', vec![job(41, "leased", progress)], None);
    assert_eq!(
        text(&mut running).lines().skip(2).take(2).collect::<Vec<_>>(),
        [
            "  ID  QUEUE  ELAPSED    ATTEMPT  PROGRESS  WORKER              WHAT",
            "> 41  mails  1 min 5 s  2 of 25  40 %      4711 of ann (1000)  cancelling; page 7\\u{1b}[31m",
        ]
    );
    let error =
        json!({ "failures": [{ "attempt": 2, "at": NOW.0, "error": "日本語の長い説明です".repeat(8) }] });
    let mut dead = with_jobs((60, 12), '3', vec![job(7, "dead", error)], Some(3));
    assert_eq!(
        text(&mut dead).lines().skip(2).take(2).collect::<Vec<_>>(),
        [
            "  ID  QUEUE  WHEN     FAILED   ERROR",
            ">  7  mails  5 s ago  1 of 25  日本語の長い説明です日本語の…",
        ]
    );
    assert!(
        text(&mut dead).ends_with("page 1, more below  q leave  Tab screen  Enter show  r retr…"),
        "{}",
        text(&mut dead)
    );
    let mut model = model((80, 12));
    press(&mut model, &[Key::Char('4')]);
    let mut seen = seen(model.look(Duration::from_secs(3)), 3, status(queues()));
    assert!(seen.look.schedules && seen.look.jobs.is_none());
    let paused = json!({ "paused": true, "next_at": null, "runs": [{ "at": 1, "job": 9, "state": "done" }] });
    seen.schedules = Some(vec![schedule("nightly", json!({})), schedule("often", paused)]);
    model.hear(Heard::Seen(Box::new(seen)));
    assert_eq!(
        text(&mut model).lines().skip(2).take(3).collect::<Vec<_>>(),
        [
            "  SCHEDULE  NEXT      STATE   TIMES          QUEUE  LAST JOB  FIRED",
            "> nightly   in 2 min  runs    0 3 * * * UTC  mails  -            12",
            "  often     -         paused  0 3 * * * UTC  mails  9 done       12",
        ]
    );
    assert_eq!(
        press(&mut model, &[Key::Down, Key::Char('p'), Key::Char('y')]),
        [Order::Change(Change::ResumeSchedule("often".into()))]
    );
}

#[test]
fn a_job_is_shown_with_why_and_what_it_prints() {
    let mut model = with_job((60, 12));
    let shown = text(&mut model);
    assert_eq!(
        shown.lines().skip(2).collect::<Vec<_>>(),
        [
            "job 42, leased",
            "why    it is running: attempt 2, by a connected worker",
            "queue  mails, priority 1024",
            "── output, as it comes ─────────────────────────────────────",
            "line 26",
            "line 27",
            "line 28",
            "line 29",
            "line 30",
            "q back  c cancel  r retry  ↑↓ output  Tab facts  ? help",
        ]
    );
    press(&mut model, &[Key::Up, Key::Up]);
    let shown = text(&mut model);
    assert!(
        shown.contains("── output, 2 more lines below: G ─") && shown.contains("line 28\nq back"),
        "{shown}"
    );
    model.hear(Heard::Output(Output::End));
    press(&mut model, &[Key::Last]);
    assert!(text(&mut model).contains("line 30\n(end)"));
    assert_eq!(press(&mut model, &[Key::Char('c')]), []);
    assert!(text(&mut model).ends_with("Cancel job 42 for good? (y/n)"));
    assert_eq!(press(&mut model, &[Key::Char('y')]), [Order::Change(Change::Cancel(42, "leased".into()))]);
    // It is gone meanwhile: it can be seen still, and not changed.
    let mut gone = seen(model.look(Duration::from_secs(5)), 5, status(queues()));
    gone.job = Some(Err("there is no job 42".into()));
    model.hear(Heard::Seen(Box::new(gone)));
    press(&mut model, &[Key::Char('c')]);
    let shown = text(&mut model);
    assert!(
        shown.contains("job 42, leased  there is no job 42") && shown.ends_with("no job is selected"),
        "{shown}"
    );
    assert_eq!(press(&mut model, &[Key::Escape]), [Order::Unfollow, Order::Look]);
    assert!(model.job.is_none());
}

#[test]
fn the_daemon_may_go_away_and_come_back_and_be_unwell() {
    let mut model = model((80, 24));
    model.hear(Heard::Away("no daemon answers at /x".into()));
    let shown = text(&mut model);
    assert!(shown.contains("the daemon is away, trying again (no daemon answers at /x)"), "{shown}");
    assert!(shown.lines().next().unwrap().ends_with("away") && shown.contains("mails"), "{shown}");
    assert_eq!(press(&mut model, &[Key::Char('p'), Key::Char('y')]), [], "it would be done when it is back");
    assert_eq!(model.hear(Heard::Back), [Order::Look]);
    assert!(text(&mut model).ends_with("the daemon is away: nothing was changed"));
    press(&mut model, &[Key::Down]);
    assert!(!text(&mut model).contains("away"));
    model.is_late = true;
    assert!(text(&mut model).contains("the daemon does not answer"));
    let mut unwell = status(queues());
    unwell.refusing = Some("the disk is full".into());
    model.hear(Heard::Seen(Box::new(seen(Look::default(), 3, unwell.clone()))));
    let shown = text(&mut model);
    assert!(
        shown.contains("takes no new jobs\n") && shown.ends_with("takes no new jobs: the disk is full"),
        "{shown}"
    );
    (unwell.mode, unwell.draining_ms) = ("draining".into(), Some(61_000));
    model.hear(Heard::Seen(Box::new(seen(Look::default(), 4, unwell))));
    assert!(text(&mut model).lines().next().unwrap().ends_with("draining for 1 min 1 s"));
    model.hear(Heard::Refused("not for you".into()));
    assert!(text(&mut model).ends_with("not for you"));
    // What was said does not hide for long how it is.
    for _ in 0..16 {
        assert!(text(&mut model).ends_with("not for you"));
        model.hear(Heard::Seen(Box::new(seen(Look::default(), 5, status(queues())))));
    }
    assert!(text(&mut model).ends_with("? help"));
    model.hear(Heard::Refused("not for you".into()));
    model.hear(Heard::Away("gone".into()));
    assert!(text(&mut model).ends_with("the daemon is away, trying again (gone)"));
}
