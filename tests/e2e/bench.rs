//! `musher bench` against a daemon that runs, and against one of its own.

use super::helper::{Home, block_on};
use serde_json::Value;

#[test]
fn every_job_that_was_submitted_is_worked_off_and_nothing_is_left() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let args =
            ["bench", "--seconds", "1", "--producers", "2", "--workers", "2", "--batch", "3", "--json"];
        let output = home.musher(&args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let steps: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<&str> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
        assert_eq!(names, ["submit", "claim", "settle", "submit to waiting worker"]);
        let jobs: Vec<u64> = steps.iter().map(|step| step["jobs"].as_u64().unwrap()).collect();
        assert!(jobs[0] > 0 && jobs[0].is_multiple_of(3), "{jobs:?}");
        assert_eq!(jobs[1..], [jobs[0], jobs[0], 1_000]);
        for step in &steps {
            let at = |name: &str| step[name].as_u64().unwrap();
            assert!(
                0 < at("p50_us") && at("p50_us") <= at("p99_us") && at("p99_us") <= at("max_us"),
                "{step}"
            );
        }
        let queues = home.musher(&["queues", "--json"]);
        let queues = String::from_utf8(queues.stdout).unwrap();
        let queues = queues.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let queue = queues.into_iter().find(|queue| queue["queue"] == "musher-bench").unwrap();
        assert_eq!(
            (&queue["queue"], &queue["ready"], &queue["leased"]),
            (&"musher-bench".into(), &0.into(), &0.into())
        );

        daemon.submit("musher-bench", &["left over"]).await;
        let refused = home.musher(&args);
        assert_eq!(refused.status.code(), Some(1));
        let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            errors.contains("jobs of another run (1)") && errors.contains("musher purge musher-bench"),
            "{errors}"
        );
    });
}
