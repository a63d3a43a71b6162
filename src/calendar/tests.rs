//! Times in zones, on nights on which clocks are set, and those that have passed.

use super::*;
use jiff::Zoned;
use jiff::tz::TimeZoneDatabase;
use proptest::prelude::*;

fn cron(fields: &str, zone: &str) -> Result<Calendar, BadRhythm> {
    Calendar::new(&Rhythm::Cron { fields: fields.into(), zone: zone.into() })
}

fn at(text: &str) -> Time {
    Time(text.parse::<Timestamp>().unwrap().as_millisecond() as u64)
}

/// The next times, as clocks in the zone show them, with the offset.
fn next(fields: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let (calendar, zone_known) = (cron(fields, zone).unwrap(), zones::zone(zone).unwrap());
    let mut time = at(after);
    let mut shown = || {
        time = calendar.next(time);
        Zoned::new(instant(time), zone_known.clone()).strftime("%d %H:%M:%S %:z").to_string()
    };
    (0..count).map(|_| shown()).collect()
}

#[test]
fn fields_lists_ranges_steps_names_and_seconds() {
    for (fields, expected) in [
        ("30 4 * * *", ["02 04:30:00", "03 04:30:00"]),
        ("0,30 4 * * *", ["02 04:00:00", "02 04:30:00"]),
        ("*/20 4-5 * * *", ["02 04:00:00", "02 04:20:00"]),
        ("0 0 * * mon,SAT", ["03 00:00:00", "05 00:00:00"]),
        ("0 12 9 feb-mar *", ["09 12:00:00", "09 12:00:00"]),
        ("0 0 13 * fri", ["02 00:00:00", "09 00:00:00"]),
        ("*/30 * * * * *", ["01 12:00:30", "01 12:01:00"]),
        ("@hourly", ["01 13:00:00", "01 14:00:00"]),
        ("@daily", ["02 00:00:00", "03 00:00:00"]),
        ("@midnight", ["02 00:00:00", "03 00:00:00"]),
        ("@weekly", ["04 00:00:00", "11 00:00:00"]),
        ("@monthly", ["01 00:00:00", "01 00:00:00"]),
        ("@yearly", ["01 00:00:00", "01 00:00:00"]),
    ] {
        // A Thursday.
        let found = next(fields, "UTC", "2026-01-01T12:00:00Z", 2);
        assert_eq!(found, expected.map(|time| format!("{time} +00:00")), "{fields}");
    }
}

#[test]
fn what_is_no_time_is_refused_with_words() {
    for fields in
        ["", "* * * *", "61 * * * *", "0 3 * * * * *", "@reboot", "@often", "0 3 @daily", "a b c d e"]
    {
        let error = cron(fields, "UTC").unwrap_err();
        assert!(matches!(error, BadRhythm::Fields { .. }), "{fields}: {error}");
    }
    assert!(matches!(cron("0 0 30 2 *", "UTC"), Err(BadRhythm::Never { .. })));
    assert!(matches!(cron("0 0 * * *", "Mars/Olympus"), Err(BadRhythm::Zone { .. })));
    assert!(matches!(cron(&"0 ".repeat(999), "UTC"), Err(BadRhythm::Fields { .. })));
    let quick = Calendar::new(&Rhythm::Every(Duration::from_millis(999)));
    assert_eq!(quick.unwrap_err(), BadRhythm::TooQuick);
}

#[test]
fn the_29_of_february() {
    let calendar = cron("0 3 29 2 *", "Europe/Berlin").unwrap();
    let (first, second) = (calendar.next(at("2026-06-01T00:00:00Z")), at("2032-02-29T02:00:00Z"));
    assert_eq!((first, calendar.next(first)), (at("2028-02-29T02:00:00Z"), second));
    // 2100 has none.
    assert_eq!(calendar.next(at("2097-01-01T00:00:00Z")), at("2104-02-29T02:00:00Z"));
}

#[test]
fn the_night_that_is_an_hour_shorter_in_berlin() {
    // 02:00 to 03:00 is skipped on 29 March 2026.
    let from = "2026-03-28T12:00:00Z";
    assert_eq!(next("30 2 * * *", "Europe/Berlin", from, 2), ["29 03:00:00 +02:00", "30 02:30:00 +02:00"]);
    assert_eq!(next("0 2,3 * * *", "Europe/Berlin", from, 2), ["29 03:00:00 +02:00", "30 02:00:00 +02:00"]);
    assert_eq!(
        next("15 1-3 29 * *", "Europe/Berlin", from, 3),
        ["29 01:15:00 +01:00", "29 03:00:00 +02:00", "29 03:15:00 +02:00"]
    );
    assert_eq!(
        next("*/30 * 29 * *", "Europe/Berlin", "2026-03-29T00:20:00Z", 3),
        ["29 01:30:00 +01:00", "29 03:00:00 +02:00", "29 03:30:00 +02:00"]
    );
}

#[test]
fn the_night_that_is_an_hour_longer_in_berlin() {
    // 02:00 to 03:00 comes twice on 25 October 2026.
    let from = "2026-10-24T12:00:00Z";
    assert_eq!(next("30 2 * * *", "Europe/Berlin", from, 2), ["25 02:30:00 +02:00", "26 02:30:00 +01:00"]);
    assert_eq!(
        next("0 2,3 * * *", "Europe/Berlin", from, 3),
        ["25 02:00:00 +02:00", "25 03:00:00 +01:00", "26 02:00:00 +01:00"]
    );
    // Asked in the middle of the second hour: it has run.
    let second = "2026-10-25T01:10:00Z";
    assert_eq!(next("30 2 * * *", "Europe/Berlin", second, 1), ["26 02:30:00 +01:00"]);
    // At the change itself.
    assert_eq!(next("0 2 * * *", "Europe/Berlin", "2026-10-25T00:59:59Z", 1), ["26 02:00:00 +01:00"]);
    assert_eq!(next("0 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00Z", 1), ["26 02:00:00 +01:00"]);
    // Each quarter of an hour goes on.
    assert_eq!(
        next("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 4),
        ["25 02:30:00 +02:00", "25 02:00:00 +01:00", "25 02:30:00 +01:00", "25 03:00:00 +01:00"]
    );
}

#[test]
fn half_an_hour_in_lord_howe_and_odd_minutes_in_chatham() {
    // Clocks go from 02:00 to 02:30 on 4 October 2026, and from 02:00 back to 01:30 on 5 April.
    let (howe, chatham) = ("Australia/Lord_Howe", "Pacific/Chatham");
    assert_eq!(
        next("10 2 * * *", howe, "2026-10-03T00:00:00Z", 2),
        ["04 02:30:00 +11:00", "05 02:10:00 +11:00"]
    );
    assert_eq!(
        next("40 1 * * *", howe, "2026-04-04T00:00:00Z", 2),
        ["05 01:40:00 +11:00", "06 01:40:00 +10:30"]
    );
    assert_eq!(
        next("*/15 * * * *", howe, "2026-04-04T14:40:00Z", 4),
        ["05 01:45:00 +11:00", "05 01:30:00 +10:30", "05 01:45:00 +10:30", "05 02:00:00 +10:30"]
    );
    // From 02:45 to 03:45 on 27 September 2026, and from 03:45 back to 02:45 on 5 April.
    assert_eq!(
        next("0 3 * * *", chatham, "2026-09-26T00:00:00Z", 2),
        ["27 03:45:00 +13:45", "28 03:00:00 +13:45"]
    );
    assert_eq!(
        next("0 3 * * *", chatham, "2026-04-04T00:00:00Z", 2),
        ["05 03:00:00 +13:45", "06 03:00:00 +12:45"]
    );
}

#[test]
fn a_zone_that_the_system_does_not_have_is_known_here() {
    assert!(TimeZoneDatabase::bundled().get("Pacific/Chatham").is_ok());
}

#[test]
fn the_newest_of_what_has_passed_is_known() {
    let calendar = cron("* * * * * *", "Europe/Berlin").unwrap();
    let (due, now) = (at("2025-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
    let passed = calendar.passed(due, now);
    assert_eq!(
        (passed.times.len(), passed.times.last(), passed.next),
        (PASSED_MAX, Some(&now), now.plus(Duration::from_secs(1)))
    );
    let calendar = cron("0 3 * * *", "Europe/Berlin").unwrap();
    let passed = calendar.passed(at("2026-01-01T02:00:00Z"), at("2026-01-04T02:00:00Z"));
    let days =
        ["2026-01-01T02:00:00Z", "2026-01-02T02:00:00Z", "2026-01-03T02:00:00Z", "2026-01-04T02:00:00Z"];
    assert_eq!(passed, Passed { times: days.map(at).to_vec(), next: at("2026-01-05T02:00:00Z") });
    assert_eq!(calendar.passed(now.plus(Duration::from_secs(9)), now).times, []);
}

/// Anybody may ask for one, on the loop.
#[test]
fn a_time_that_never_comes_is_found_out_quickly() {
    for fields in [
        "0 0 30 2 *",
        "* * * 31 2,4,6,9,11 *",
        "* * * * * 30 2 *",
        "0 0 31 2,4,6,9,11 *",
        "* * 30 2 *",
        "0 0 29 2 +1#5",
        "0 0 29W 2 *",
        "59 59 23 31 11 *",
    ] {
        let begun = crate::clock::monotonic();
        let read = cron(fields, "America/New_York");
        let took = crate::clock::monotonic() - begun;
        assert!(took < Duration::from_millis(500), "{fields}: {took:?}, {:?}", read.is_ok());
    }
}

proptest! {
    #[test]
    fn once_in_so_long_counts_from_the_last_time(ms in 1_000u64..100_000, due in 0u64..1 << 40, later in 0u64..20_000_000) {
        let calendar = Calendar::new(&Rhythm::Every(Duration::from_millis(ms))).unwrap();
        let (due, now) = (Time(due), Time(due + later));
        let Passed { times, next } = calendar.passed(due, now);
        let all = later / ms + 1;
        prop_assert_eq!(times.len() as u64, all.min(PASSED_MAX as u64));
        prop_assert_eq!(next, Time(due.0 + all * ms));
        prop_assert!(times.iter().all(|time| (time.0 - due.0) % ms == 0 && *time <= now));
        prop_assert!(times.windows(2).all(|pair| pair[1].0 - pair[0].0 == ms));
    }

    /// Each civil time of the fields is an instant, or the first behind a gap, and no other instant is one.
    #[test]
    fn times_of_cron_are_those_of_the_clocks_on_the_wall(
        zone in prop::sample::select(vec!["Europe/Berlin", "Australia/Lord_Howe", "Pacific/Chatham", "America/Havana", "UTC"]),
        fields in prop::sample::select(vec!["0 2 * * *", "*/20 1-3 * * *", "30 * * * *", "*/15 * * * *", "15 0,2 * * *"]),
        from in 1_760_000_000u64..1_800_000_000,
    ) {
        let (calendar, known) = (cron(fields, zone).unwrap(), zones::zone(zone).unwrap());
        let parsed = parse(fields).unwrap();
        let mut time = Time(from * 1_000);
        for _ in 0..50 {
            let next = calendar.next(time);
            prop_assert!(next > time);
            let civil = known.to_datetime(instant(next));
            let just_before = known.to_datetime(instant(Time(next.0 - 1_000)));
            let behind_gap = civil.duration_since(just_before).as_secs() > 1;
            prop_assert!(parsed.is_time_matching(&civil).unwrap() || behind_gap, "{civil}");
            // No minute between has been left out, unless it came before.
            let mut between = time.0 / 60_000 * 60_000 + 60_000;
            while between < next.0 {
                let civil = known.to_datetime(instant(Time(between)));
                let first = known.to_timestamp(civil).unwrap();
                let is_first = first == instant(Time(between));
                prop_assert!(!parsed.is_time_matching(&civil).unwrap() || !is_first, "{civil} was left out");
                between += 60_000;
            }
            time = next;
        }
    }
}
