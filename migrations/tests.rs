//! The runner of migrations, with steps made up for it.

use super::*;

const INVENTED: &[Step] =
    &[Step { rewrites: &["sled"], run: |path| fs::write(path.join("sled").join("row"), "two") }];

fn old_directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &[]).unwrap();
    fs::create_dir(dir.path().join("sled")).unwrap();
    fs::write(dir.path().join("sled").join("row"), "one").unwrap();
    dir
}

#[test]
fn an_older_directory_is_changed_after_a_copy_of_what_was_there() {
    let dir = old_directory();
    run(dir.path(), INVENTED).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("sled/row")).unwrap(), "two");
    assert_eq!(fs::read_to_string(dir.path().join("before-format-2/sled/row")).unwrap(), "one");
    assert_eq!(read(dir.path()).unwrap(), Some(2));
    run(dir.path(), INVENTED).unwrap();
}

#[test]
fn a_newer_directory_is_refused_and_left_as_it_is() {
    let dir = old_directory();
    run(dir.path(), INVENTED).unwrap();
    let error = run(dir.path(), &[]).unwrap_err();
    assert!(matches!(error, MigrateError::Newer { found: 2, known: 1, .. }), "{error}");
    assert_eq!(fs::read_to_string(dir.path().join("sled/row")).unwrap(), "two");
}

#[test]
fn a_directory_of_something_else_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("log")).unwrap();
    assert!(matches!(bring_up_to_date(dir.path()), Err(MigrateError::Unknown { .. })));
    assert!(!dir.path().join("FORMAT").exists());
    fs::write(dir.path().join("FORMAT"), "something else").unwrap();
    assert!(matches!(bring_up_to_date(dir.path()), Err(MigrateError::Unknown { .. })));
}
