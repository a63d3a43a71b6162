//! Which directories are accepted for the data; all others are left untouched.

use super::*;
use crate::store::skipped::skipped;

#[test]
fn a_second_daemon_is_refused_at_once_and_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    let refused = DiskStore::open(dir.path(), &options()).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(refused, OpenError::Directory(DirectoryError::InUse { pid: said, .. }) if said == pid));
}

#[test]
fn a_newer_format_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    fs::write(dir.path().join("FORMAT"), "musher data format 999\n").unwrap();
    fs::remove_file(dir.path().join("lock")).unwrap();
    let before = contents(dir.path());
    let error = DiskStore::open(dir.path(), &options()).unwrap_err().to_string();
    assert!(
        error.contains("format 999") && error.contains("know") && error.contains("formats up to"),
        "{error}"
    );
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn data_without_a_format_and_other_things_in_the_place_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    fs::remove_file(dir.path().join("FORMAT")).unwrap();
    let refused = DiskStore::open(dir.path(), &options());
    assert!(matches!(refused, Err(OpenError::Directory(DirectoryError::NoFormat { .. }))));
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = DiskStore::open(&file, &options());
    assert!(matches!(refused, Err(OpenError::Directory(DirectoryError::NotADirectory { .. }))));
}

#[test]
fn a_directory_of_somebody_else_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    if std::os::unix::fs::chown(&data, Some(12_345), None).is_err() {
        return skipped("a directory cannot be given away here (that needs root)");
    }
    let error = DiskStore::open(&data, &options()).unwrap_err().to_string();
    assert!(error.contains("belongs to user 12345") && error.contains(data.to_str().unwrap()), "{error}");
    assert!(contents(&data).is_empty());
}

#[test]
fn a_link_to_a_directory_is_followed_and_one_to_nowhere_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (link, data) = (dir.path().join("link"), dir.path().join("data"));
    std::os::unix::fs::symlink(&data, &link).unwrap();
    let error = DiskStore::open(&link, &options()).unwrap_err().to_string();
    assert!(error.contains(link.to_str().unwrap()), "{error}");
    assert!(!data.exists(), "nothing is made behind it");
    fs::create_dir(&data).unwrap();
    drop(open(&link));
    assert!(data.join("FORMAT").exists());
}

#[test]
fn the_data_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a/b");
    drop(open(&data));
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
}
