//! A wall clock that was wrong once, and how long a drain lasts.

use crate::helper::{Home, block_on};
use musher::clock::wall;
use musher::core::{Group, QueueName, Spec, Time, Visibility};
use musher::engine::{Bounds, Engine, Origin};
use musher::protocol::{self, JobOptions, SubmitGroup, Verdict};
use musher::store::{DiskStore, Options};
use std::time::Duration;

const YEAR: Duration = Duration::from_secs(365 * 86_400);
const HOUR: Duration = Duration::from_secs(3_600);

fn wall_year() -> i16 {
    let now = jiff::Timestamp::from_millisecond(wall().0 as i64).unwrap();
    now.to_zoned(jiff::tz::TimeZone::UTC).year()
}

/// A data directory that was written when the clock was years ahead, with one job in it.
fn live_in_the_future(home: &Home, time: Time) {
    let (store, found) = DiskStore::open(&home.path("data"), &Options::default()).unwrap();
    let settings = musher::core::Settings::default();
    let mut engine = Engine::new(found.state, found.last, store, settings, Bounds::default(), 1, time);
    let spec = Spec::plain(QueueName::new("q").unwrap());
    let group = Group::new(spec, 1);
    engine.submit(
        Origin { session: 1, request: 1 },
        vec![group],
        vec!["early".into()],
        Visibility::ALL,
        time,
    );
    engine.turn(time).unwrap();
    engine.close().unwrap();
}

/// What was submitted for a point in time ran at once, silently, for as many years as the clock had been ahead once.
#[test]
fn a_point_in_time_follows_the_wall_clock_of_now() {
    block_on(async {
        let home = Home::new("");
        live_in_the_future(&home, wall().plus(YEAR * 5));
        let daemon = home.serve().await;
        let status = daemon.status().await;
        assert!(status.clock_ahead_ms > YEAR.as_millis() as i64 * 4, "{status:?}");
        home.until_logged("the newest commit is").await;
        let said = home.musher(&["status"]);
        let said = String::from_utf8_lossy(&said.stdout);
        assert!(said.contains("its clock is 1,824 days ahead of the system clock"), "{said}");

        let point = wall().plus(HOUR);
        let start = protocol::Start::At(point.0);
        let options = JobOptions { queue: "q".into(), start, ..JobOptions::default() };
        daemon.client.submit(vec![SubmitGroup { options, bodies: vec!["later".into()] }]).await.unwrap();
        let job = daemon.show(2).await.unwrap();
        assert_eq!(job.state, "scheduled");
        let (due, submitted) = (Time(job.due_at.unwrap()), Time(job.submitted_at));
        let near = |a: Time, b: Time| a.since(b).max(b.since(a)) < Duration::from_secs(60);
        assert!(near(due, point) && near(submitted, wall()), "{job:?}");

        let now = SubmitGroup {
            options: JobOptions { queue: "now".into(), ..JobOptions::default() },
            bodies: vec!["now".into()],
        };
        daemon.client.submit(vec![now]).await.unwrap();
        let claimed = daemon.claim("now", true, 0).await.unwrap();
        let ends = Time(claimed.until_ms);
        assert!(near(ends, wall().plus(Duration::from_millis(claimed.lease_ms))), "{claimed:?}");
        let extended = daemon.client.extend(vec![claimed.lease], Some(7_200_000)).await.unwrap();
        assert!(near(Time(*extended[0].as_ref().unwrap()), wall().plus(HOUR * 2)), "{extended:?}");
        let error = Verdict::FailRetryAfter { error: "no".into(), exit: None, wait_ms: 3_600_000 };
        assert!(daemon.settle(claimed.lease, error).await);
        home.until_logged("runs again at ").await;
        let (log, this_year) = (home.log(), wall_year());
        let year: i16 = log.split("runs again at ").nth(1).unwrap()[..4].parse().unwrap();
        assert!(year - this_year <= 1, "{log}");
        daemon.stop().await;
    });
}

/// It said for how long the daemon had run.
#[test]
fn status_says_for_how_long_it_drains() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        assert_eq!(daemon.status().await.draining_ms, None);
        assert!(home.musher(&["drain"]).status.success());
        let first = daemon.status().await;
        let again = crate::helper::until("time passes", async || {
            assert!(home.musher(&["drain"]).status.success());
            let status = daemon.status().await;
            (status.draining_ms > first.draining_ms).then_some(status)
        })
        .await;
        assert!(again.draining_ms.unwrap() < again.uptime_ms);
        assert_eq!((first.mode.as_str(), again.mode.as_str()), ("draining", "draining"));
        let said = home.musher(&["status"]);
        let said = String::from_utf8_lossy(&said.stdout);
        assert!(said.contains("draining for") && said.contains(", up for "), "{said}");
        assert!(home.musher(&["undrain"]).status.success());
        assert_eq!(daemon.status().await.draining_ms, None);
        daemon.stop().await;
    });
}
