//! What keys come to: another screen, a change that is asked back, and what of the daemon is looked at then.

use super::*;

#[test]
fn keys_lead_from_one_screen_to_another_and_out() {
    use Key::{Char, Control, Down, Enter, Escape, Next, Previous};
    let look = Order::Look;
    for (keys, tab, orders) in [
        (&[Next][..], Tab::Running, vec![look.clone()]),
        (&[Previous], Tab::Schedules, vec![look.clone()]),
        (&[Char('3'), Char('1')], Tab::Queues, vec![look.clone(), look.clone()]),
        (&[Char('q')], Tab::Queues, vec![Order::Leave(0)]),
        (&[Escape], Tab::Queues, vec![Order::Leave(0)]),
        (&[Control('c')], Tab::Queues, vec![Order::Leave(130)]),
        (&[Char('?'), Char('q'), Char('?'), Escape], Tab::Queues, vec![]),
        (&[Control('z'), Control('l')], Tab::Queues, vec![Order::Suspend, Order::Redraw]),
        // Of a queue what runs; the filter goes before the program does.
        (&[Down, Enter, Escape], Tab::Running, vec![look.clone(), look]),
        (&[Char('p'), Char('n'), Char('p'), Escape, Char('p'), Char('x')], Tab::Queues, vec![]),
        (&[Char('2'), Enter, Char('p')], Tab::Running, vec![Order::Look]),
    ] {
        let mut model = model((80, 24));
        assert_eq!((press(&mut model, keys), model.tab), (orders, tab), "{keys:?}");
    }
}

#[test]
fn changes_are_asked_back_and_their_outcome_is_said() {
    let pause = |name: &str| Change::PauseQueue(name.into());
    let mut model = model((80, 24));
    press(&mut model, &[Key::Down, Key::Char('p')]);
    assert_eq!(model.mode, Mode::Question(pause("mails")));
    assert!(text(&mut model).ends_with("Pause queue mails: give out none of its jobs? (y/n)"));
    assert_eq!(press(&mut model, &[Key::Char('y')]), [Order::Change(pause("mails"))]);
    assert_eq!(
        press(&mut model, &[Key::Up, Key::Char('p'), Key::Char('y')]),
        [Order::Change(Change::ResumeQueue("images".into()))]
    );
    let edit = |edit: EditView| Ok(Some(edit));
    for (change, result, said) in [
        (pause("mails"), Ok(None), "queue mails is paused: it gives out no jobs"),
        (pause("mails"), Err("not\x1b[2J yours".to_owned()), "not\\u{1b}[2J yours"),
        (Change::Retry(7, "dead".into()), edit(EditView::default()), "job 7 runs again"),
        (
            Change::Retry(7, "dead".into()),
            edit(EditView { moved_on: true, ..EditView::default() }),
            "job 7 has moved on: it is not dead any more; nothing was changed",
        ),
        (
            Change::Cancel(7, "leased".into()),
            edit(EditView { when_stopped: true, ..EditView::default() }),
            "job 7: its worker is told, and it is cancelled when that has stopped it",
        ),
        (
            Change::Cancel(7, "leased".into()),
            edit(EditView { error: Some("there is no job 7".into()), ..EditView::default() }),
            "there is no job 7",
        ),
    ] {
        assert_eq!(model.hear(Heard::Changed(change, result)), [Order::Look]);
        assert!(text(&mut model).ends_with(said), "{said}");
    }
    press(&mut model, &[Key::Down]);
    assert!(text(&mut model).ends_with("? help"), "what was said goes with the next key");
}

#[test]
fn what_is_selected_stays_so_where_others_come_and_go() {
    let mut model = model((80, 24));
    press(&mut model, &[Key::Down]);
    let selected = |model: &Model| model.queues.selected().cloned().unwrap_or_default();
    let see = |model: &mut Model, names: &[&str]| {
        let queues = names.iter().map(|name| queue(name, json!({}))).collect();
        model.hear(Heard::Seen(Box::new(seen(Look::default(), 9, status(queues)))));
        selected(model)
    };
    assert_eq!(see(&mut model, &["a", "b", "mails", "z"]), "mails");
    assert_eq!(see(&mut model, &["a", "b", "z"]), "z", "what is in its place");
    assert_eq!(see(&mut model, &["a"]), "a");
    assert_eq!(see(&mut model, &[]), "");
    let many: Vec<String> = (0..100).map(|n| format!("q{n:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    see(&mut model, &many);
    for (key, expected) in [
        (Key::Last, "q99"),
        (Key::PageUp, "q79"),
        (Key::Char('k'), "q78"),
        (Key::PageDown, "q98"),
        (Key::First, "q00"),
        (Key::Up, "q00"),
    ] {
        press(&mut model, &[key]);
        assert_eq!(selected(&model), expected, "{key:?}");
        assert!(text(&mut model).contains(&format!("> {expected}")));
    }
    press(&mut model, &[Key::Last]);
    model.resize((80, 10));
    assert!(text(&mut model).contains("> q99"));
}

#[test]
fn jobs_are_there_one_page_at_a_time() {
    let jobs = |ids: std::ops::RangeInclusive<u64>| {
        ids.rev().map(|id| job(id, "dead", json!({}))).collect::<Vec<_>>()
    };
    let mut model = with_jobs((80, 10), '3', jobs(95..=100), Some(95));
    let query = |model: &Model| model.look(Duration::ZERO).jobs.unwrap();
    assert_eq!((query(&model).limit, query(&model).before, query(&model).newest), (6, None, true));
    assert_eq!(press(&mut model, &[Key::PageDown]), [Order::Look]);
    assert_eq!(query(&model).before, Some(95));
    assert_eq!(press(&mut model, &[Key::PageDown]), [], "the page has not come yet");
    give_jobs(&mut model, jobs(90..=94), None);
    assert!(text(&mut model).contains("> 94") && text(&mut model).contains("page 2"));
    assert_eq!(press(&mut model, &[Key::Up]), [Order::Look]);
    give_jobs(&mut model, jobs(95..=100), Some(95));
    assert!(text(&mut model).contains(">  95"), "{}", text(&mut model));
    // A page that is empty by now leads back.
    press(&mut model, &[Key::Down]);
    give_jobs(&mut model, Vec::new(), None);
    assert_eq!(query(&model).before, None);
}

#[test]
fn a_text_filters_and_a_queue_s_name_asks_for_its_jobs() {
    let mut model = model((80, 24));
    press(&mut model, &[Key::Char('/'), Key::Char('M'), Key::Char('A')]);
    assert_eq!(model.listed_queues().len(), 2 - 1 + usize::from("images".contains("ma")));
    assert!(text(&mut model).contains("/MA"));
    press(&mut model, &[Key::Backspace, Key::Control('u'), Key::Char('x'), Key::Enter]);
    assert!(text(&mut model).contains("none here with “x”"), "{}", text(&mut model));
    press(&mut model, &[Key::Char('/'), Key::Char('y'), Key::Escape]);
    assert_eq!(model.filter(), "x");
    assert_eq!(press(&mut model, &[Key::Escape]), [Order::Look]);
    assert_eq!(model.listed_queues().len(), 3);
    let error = |error: &str| json!({ "failures": [{ "attempt": 1, "at": 1, "error": error }] });
    let jobs = || vec![job(8, "dead", error("Refused")), job(7, "dead", error("timed out"))];
    let mut model = with_jobs((80, 24), '3', jobs(), None);
    press(&mut model, &[Key::Char('/')].into_iter().chain("refu".chars().map(Key::Char)).collect::<Vec<_>>());
    let query = model.look(Duration::ZERO).jobs.unwrap();
    assert_eq!((query.queue, query.limit), (None, 500));
    give_jobs(&mut model, jobs(), None);
    assert!(text(&mut model).contains(">  8") && !text(&mut model).contains("timed out"));
    press(
        &mut model,
        &[Key::Control('u')].into_iter().chain("mails".chars().map(Key::Char)).collect::<Vec<_>>(),
    );
    let query = model.look(Duration::ZERO).jobs.unwrap();
    assert_eq!((query.queue.as_deref(), query.limit), (Some("mails"), 20));
}

#[test]
fn no_more_is_asked_for_than_is_shown_and_nothing_twice_in_no_time() {
    let names: Vec<String> = (0..1_000).map(|n| format!("q{n:03}")).collect();
    let all = || status(names.iter().map(|name| queue(name, json!({}))).collect());
    let mut model = Model::new((80, 12));
    assert_eq!(model.look(Duration::ZERO), Look::default());
    model.hear(Heard::Seen(Box::new(seen(Look::default(), 1, all()))));
    let look = model.look(Duration::from_secs(1));
    assert_eq!((look.past.len(), look.limits.len()), (8, 8));
    model.hear(Heard::Seen(Box::new(seen(look, 2, all()))));
    assert_eq!(model.look(Duration::from_secs(3)), Look::default(), "it holds a while");
    assert_eq!(model.look(Duration::from_secs(13)).past.len(), 8);
    press(&mut model, &[Key::Last]);
    let look = model.look(Duration::from_secs(3));
    assert_eq!(look.past[0], "q992");
}
