//! The runner, with an invented step.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

static FAILS: AtomicBool = AtomicBool::new(false);

/// Adds a line to a file; can be made to fail after that.
const INVENTED: Step = Step {
    rewrites: &["data"],
    run: |dir| {
        let path = dir.join("data/file");
        fs::write(&path, fs::read_to_string(&path)? + "two\n")?;
        if FAILS.load(Ordering::Relaxed) { Err(io::Error::other("the disk is tired")) } else { Ok(()) }
    },
};

fn directory(number: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write_number(dir.path(), number).unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/file"), "one\n").unwrap();
    dir
}

fn file(dir: &Path) -> String {
    fs::read_to_string(dir.join("data/file")).unwrap()
}

/// One test, since the step can only be told by a static whether to fail.
#[test]
fn a_step_runs_once_and_begins_anew_after_a_failure() {
    let dir = directory(1);
    FAILS.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let error = run_steps(dir.path(), &[INVENTED]).unwrap_err();
        assert!(matches!(error, MigrationError::Step { from: 1, .. }), "{error}");
        assert_eq!(check_up_to(dir.path(), 2).unwrap(), Some(1));
        assert_eq!(fs::read_to_string(dir.path().join("before-format-2/data/file")).unwrap(), "one\n");
    }
    FAILS.store(false, Ordering::Relaxed);
    for _ in 0..2 {
        run_steps(dir.path(), &[INVENTED]).unwrap();
        assert_eq!(file(dir.path()), "one\ntwo\n");
        assert_eq!(check_up_to(dir.path(), 2).unwrap(), Some(2));
        assert!(!dir.path().join("before-format-2").exists());
    }
}

#[test]
fn a_newer_format_is_refused_untouched() {
    let dir = directory(NEWEST + 1);
    assert!(matches!(check(dir.path()), Err(MigrationError::Newer { found, .. }) if found == NEWEST + 1));
    assert!(run(dir.path()).is_err());
    assert_eq!(file(dir.path()), "one\n");
}

#[test]
fn an_unreadable_format_is_refused() {
    let dir = directory(1);
    for text in ["", "musher data format x\n", "musher data format 0\n", "something else 1\n"] {
        fs::write(dir.path().join(FILE), text).unwrap();
        assert!(matches!(check(dir.path()), Err(MigrationError::Unreadable { .. })), "{text:?}");
    }
}
