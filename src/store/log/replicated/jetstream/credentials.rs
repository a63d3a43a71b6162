//! The file of what the servers know a node by: as `nsc` writes it (a JWT and its key), or one line with a user and a password.

use rustix::fs::Mode;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The longest file.
const MOST: u64 = 64 << 10;

/// What is in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    Keys(String),
    Password { user: String, password: String },
}

/// Reads it.
///
/// # Errors
/// In words: the system refuses it, everybody may read it, or it is neither of both.
pub(super) fn read(path: &Path) -> Result<Credentials, String> {
    let fault = |what: &str| format!("{}: {what}", path.display());
    let failed = |error: std::io::Error| fault(&error.to_string());
    let file = File::open(path).map_err(failed)?;
    let mode = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?.st_mode;
    if Mode::from_raw_mode(mode).intersects(Mode::RWXO) {
        return Err(fault("everybody may read it; `chmod o= FILE` it"));
    }
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text).map_err(failed)?;
    parse(text).ok_or_else(|| fault("it is neither a file of nsc nor one line with USER:PASSWORD"))
}

fn parse(text: String) -> Option<Credentials> {
    if text.contains("-----BEGIN ") {
        return Some(Credentials::Keys(text));
    }
    let (user, password) = text.trim_end_matches(['\r', '\n']).split_once(':')?;
    let is_one_line = !user.is_empty() && !password.is_empty() && !text.trim_end().contains('\n');
    is_one_line.then(|| Credentials::Password { user: user.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_of_nsc_or_a_password() {
        let parsed = |text: &str| parse(text.to_owned());
        let keys = "-----BEGIN NATS USER JWT-----\na.b.c\n------END NATS USER JWT------\n";
        assert_eq!(parsed(keys), Some(Credentials::Keys(keys.to_owned())));
        for text in ["musher:a:b c", "musher:a:b c\n", "musher:a:b c\r\n"] {
            let (user, password) = ("musher".to_owned(), "a:b c".to_owned());
            assert_eq!(parsed(text), Some(Credentials::Password { user, password }), "{text:?}");
        }
        for text in ["", "musher", ":secret", "musher:", "musher:\n", "musher:a\nother:b\n"] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_everybody_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nats");
        assert!(read(&path).unwrap_err().contains("No such file"));
        fs::write(&path, "musher:secret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.contains("everybody may read it") && !error.contains("secret"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        read(&path).unwrap();
        fs::write(&path, "nothing of use\n").unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.contains("USER:PASSWORD") && !error.contains("of use"), "{error}");
    }
}
