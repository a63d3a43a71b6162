//! `musher top` in a terminal: a pseudo-terminal of the test's own, with as much of a terminal behind it as is needed to read the
//! screen.

mod terminal;

use crate::helper::{Home, block_on, until};
use rustix::process::Signal;
use terminal::Terminal;

#[test]
fn a_queue_is_paused_and_the_screen_outlives_the_daemon() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("alpha", &["a", "b"]).await;
        daemon.submit("beta", &["c"]).await;
        let mut top = Terminal::start(home.command().arg("top"), (80, 24));
        top.until("> alpha").await;
        top.until("  beta").await;
        top.press("p");
        top.until("Pause queue alpha: give out none of its jobs? (y/n)").await;
        top.press("n");
        top.until("nothing was changed").await;
        assert!(!daemon.queue("alpha").await.paused);
        top.press("py");
        top.until("queue alpha is paused: it gives out no jobs").await;
        assert!(daemon.queue("alpha").await.paused);
        // In the list too, by which `p` goes.
        top.until("  paused").await;
        daemon.kill().await;
        top.until("the daemon is away, trying again").await;
        top.press("j");
        top.until("> beta").await;
        let daemon = home.serve().await;
        top.until_not("is away").await;
        top.press("kpy");
        top.until("queue alpha is resumed: it gives out jobs").await;
        assert!(!daemon.queue("alpha").await.paused);
        // Drawn anew, without asking the terminal anything.
        top.press("\x0c");
        top.until("> alpha").await;
        assert!(!top.said().contains("\x1b[6n"));
        top.resize((30, 6));
        top.until("30×6 is too small").await;
        top.resize((100, 30));
        top.until("> alpha").await;
        assert!(!top.said().contains("\x1b[38;"), "without colours, as NO_COLOR says");
        top.press("q");
        assert_eq!(top.ended().await, Some(0));
        daemon.stop().await;
    });
}

#[test]
fn a_job_is_followed_and_cancelled_and_cannot_control_the_terminal() {
    block_on(async {
        let home = Home::new(
            "[queues.alpha]\nworkers = 1\nhandler = { exec = [\"sh\", \"-c\", \"cat; exec sleep 600\"] }\n",
        );
        let daemon = home.serve().await;
        let id = daemon.submit("alpha", &["one\n\x1b[2J\x1b[31mtwo\x1b]0;title\x07 \x1bcthree\n"]).await;
        daemon.until_state(id, "leased").await;
        let mut top = Terminal::start(home.command().arg("top"), (80, 24));
        top.until("> alpha").await;
        top.press("2");
        top.until(">  1  alpha").await;
        top.press("\r");
        top.until("it is running: attempt 1").await;
        top.until("two \\u{1b}cthree").await;
        for control in ["\x1b[31mtwo", "\x1b]0;", "\x1bc"] {
            assert!(!top.said().contains(control), "{control:?}");
        }
        top.press("cy");
        top.until("job 1: its worker is told").await;
        daemon.until_state(id, "cancelled").await;
        top.until("job 1, cancelled").await;
        top.press("q3");
        top.until("no job is dead").await;
        top.press("q");
        assert_eq!(top.ended().await, Some(0));
    });
}

#[test]
fn the_terminal_is_given_back_whatever_ends_it() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("alpha", &["a"]).await;
        for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
            let mut top = Terminal::start(home.command().arg("top"), (80, 24));
            top.until("> alpha").await;
            top.signal(signal);
            assert_eq!(top.ended().await, Some(code), "{signal:?}");
        }
        let mut top = Terminal::start(home.command().arg("top"), (80, 24));
        top.until("> alpha").await;
        top.press("\x03");
        assert_eq!(top.ended().await, Some(130));
        // Without a terminal there is nothing to give back.
        let mut top = Terminal::start(home.command().arg("top"), (80, 24));
        top.until("> alpha").await;
        top.hang_up();
        until("it ends with its terminal", async || top.try_wait()).await;
    });
}

#[test]
fn without_a_terminal_it_says_so() {
    block_on(async {
        let home = Home::new("");
        let output = home.musher(&["top"]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("musher: `musher top` needs a terminal"), "{said}");
        assert!(output.stdout.is_empty());
        let mut top = Terminal::start(home.command().arg("top"), (80, 24));
        assert_eq!(top.until_ended().await, Some(69), "there is no daemon");
        assert!(
            top.said().contains("no daemon answers") && !top.said().contains("\x1b[?1049h"),
            "{}",
            top.said()
        );
    });
}
