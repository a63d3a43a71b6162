//! What the system says of this process, under the names that Prometheus has for it everywhere. What it does not say is left away.

use super::text::Text;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use std::fs;

/// What the system says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    cpu_seconds: Option<f64>,
    start_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

/// Asks the system.
pub(super) fn read() -> Figures {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let all = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fds = fs::read_dir("/proc/self/fd").map(|entries| entries.count() as u64).ok();
    Figures {
        // Not the one by which they are counted.
        open_fds: fds.map(|fds| fds.saturating_sub(1)),
        max_fds: getrlimit(Resource::Nofile).current,
        ..of_stat(&stat, &all, clock_ticks_per_second(), page_size() as u64)
    }
}

/// From `/proc/PID/stat` and `/proc/stat` (`proc(5)`).
fn of_stat(stat: &str, all: &str, ticks: u64, page: u64) -> Figures {
    // The name of the program may have blanks and brackets in it.
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split_whitespace().collect();
    // The first of these is the third of all.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |ticks_of: u64| ticks_of as f64 / ticks as f64;
    let boot = all.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
    Figures {
        cpu_seconds: field(14).zip(field(15)).map(|(user, system)| seconds(user + system)),
        start_seconds: field(22).zip(boot).map(|(start, boot)| boot as f64 + seconds(start)),
        virtual_bytes: field(23),
        resident_bytes: field(24).map(|pages| pages * page),
        ..Figures::default()
    }
}

impl Figures {
    pub(super) fn write(&self, text: &mut Text) {
        let whole = |number: Option<u64>| number.map(|number| number as f64);
        if let Some(seconds) = self.cpu_seconds {
            let name = "process_cpu_seconds_total";
            text.counter(name, "Time of processors that this process has had.");
            text.sample(name, &[], seconds);
        }
        for (name, help, value) in [
            ("process_start_time_seconds", "When it was started, since 1970 (UTC).", self.start_seconds),
            ("process_resident_memory_bytes", "Memory that it has.", whole(self.resident_bytes)),
            ("process_virtual_memory_bytes", "Memory that it may use.", whole(self.virtual_bytes)),
            ("process_open_fds", "Descriptors that are open.", whole(self.open_fds)),
            ("process_max_fds", "The most that may be open.", whole(self.max_fds)),
        ] {
            if let Some(value) = value {
                text.gauge(name, help);
                text.sample(name, &[], value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let stat =
            "7 (a b) c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 3 0 1000 2048 12 18446744073709551615";
        let figures = of_stat(stat, "cpu 1\nbtime 1700000000\n", 100, 4096);
        let expected = Figures {
            cpu_seconds: Some(2.0),
            start_seconds: Some(1_700_000_010.0),
            virtual_bytes: Some(2048),
            resident_bytes: Some(12 * 4096),
            ..Figures::default()
        };
        assert_eq!(figures, expected);
        assert_eq!(of_stat("", "", 100, 4096), Figures::default());
    }

    #[test]
    fn this_process_has_all_of_it() {
        let Figures { cpu_seconds, start_seconds, resident_bytes, virtual_bytes, open_fds, max_fds } = read();
        assert!(cpu_seconds.is_some() && start_seconds.is_some_and(|at| at > 1.6e9));
        assert!(resident_bytes.is_some_and(|bytes| bytes > 1 << 20) && virtual_bytes > resident_bytes);
        assert!(open_fds.is_some_and(|fds| fds > 2) && max_fds.is_none_or(|max| max > 2));
    }
}
