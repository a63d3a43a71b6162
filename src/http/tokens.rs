//! The file of tokens: who may ask by HTTP, and as which user of the system. A token stands for a user, so what it may do is what
//! `[[access]]` says of that user, as on the socket. It knows no requests.
//!
//! Each line is a user's name or number, blanks, and a token of 32 characters at least; `#` begins a comment:
//! ```text
//! deploy  0f8fad5b-d9cb-469f-a165-70867728950e
//! ```

use super::files::{self, Contents};
use crate::access::Caller;
use crate::credentials;
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// The shortest token: 32 hexadecimal digits have 128 bits.
const LEAST: usize = 32;

/// Why the tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file cannot be read.
    #[error("the tokens of {} cannot be read: {error}", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Others may read it.
    #[error(
        "{} may be read by everybody, and so may its tokens: `chmod o-rwx` it, and replace the tokens if others use this machine",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// A line is wrong.
    #[error("{}:{line}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1 on.
        line: usize,
        /// What is wrong with it. It never has the token in it.
        why: String,
    },
}

/// Tokens, and the users that they stand for.
#[derive(Clone, Default)]
pub(crate) struct Tokens(Vec<Token>);

#[derive(Clone)]
struct Token {
    /// Of the text: so that all are as long, and none can be read from memory.
    sum: [u8; 32],
    caller: Caller,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

fn sum(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, others may read it, or a line of it is wrong.
    pub(crate) fn read(path: &Path) -> Result<Tokens, TokensError> {
        let unread = |error| TokensError::Unread { path: path.to_owned(), error };
        let Contents { bytes, is_open } = files::read(path).map_err(unread)?;
        if is_open {
            return Err(TokensError::Open { path: path.to_owned() });
        }
        let text = String::from_utf8(bytes).map_err(|error| unread(io::Error::other(error.utf8_error())))?;
        Tokens::parse(&text, credentials::of_name).map_err(|(line, why)| TokensError::Line {
            path: path.to_owned(),
            line,
            why,
        })
    }

    /// Reads the lines; of a wrong one its number and what is wrong.
    fn parse(
        text: &str,
        caller: impl Fn(&str) -> io::Result<Option<Caller>>,
    ) -> Result<Tokens, (usize, String)> {
        let mut tokens: Vec<Token> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let wrong = |why: String| (number + 1, why);
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let (user, token) = match (words.next(), words.next(), words.next()) {
                (None, ..) => continue,
                (Some(user), Some(token), None) => (user, token),
                _ => return Err(wrong("a line is a user and a token".into())),
            };
            if token.len() < LEAST {
                let why = format!(
                    "the token has {} characters; it must have {LEAST} at least: `openssl rand -hex 32` makes a good one",
                    token.len()
                );
                return Err(wrong(why));
            }
            let found = caller(user).map_err(|error| wrong(format!("user `{user}`: {error}")))?;
            let none =
                || wrong(format!("there is no user `{user}` on this machine; add it, or write its number"));
            let (sum, caller) = (sum(token.as_bytes()), found.ok_or_else(none)?);
            if tokens.iter().any(|token| token.sum == sum) {
                return Err(wrong("this token stands in the file twice".into()));
            }
            tokens.push(Token { sum, caller });
        }
        Ok(Tokens(tokens))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whose token that is. How long it takes does not depend on how much of it is right.
    pub(super) fn find(&self, token: &[u8]) -> Option<&Caller> {
        let sum = sum(token);
        let mut found = None;
        for token in &self.0 {
            if bool::from(token.sum.ct_eq(&sum)) {
                found = Some(&token.caller);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ONE: &str = "0123456789abcdef0123456789abcdef";

    fn known(user: &str) -> io::Result<Option<Caller>> {
        Ok((user == "deploy").then(|| Caller { uid: 7, groups: vec![8] }))
    }

    #[test]
    fn a_line_is_a_user_and_a_token() {
        let text = format!("# who\n\n  deploy\t{ONE}  # of the pipeline\ndeploy {ONE}x\n");
        let tokens = Tokens::parse(&text, known).unwrap();
        assert_eq!(tokens.len(), 2);
        assert_eq!(tokens.find(ONE.as_bytes()).map(|caller| caller.uid), Some(7));
        for wrong in ["", &ONE[1..], "deploy", &format!("{ONE}y")] {
            assert_eq!(tokens.find(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(format!("{tokens:?}"), "2 tokens");
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_without_the_token() {
        for (text, line, told) in [
            ("deploy", 1, "a user and a token"),
            (&format!("\ndeploy {ONE} more"), 2, "a user and a token"),
            ("deploy short", 1, "has 5 characters; it must have 32"),
            (&format!("nobody-here {ONE}"), 1, "no user `nobody-here`"),
            (&format!("deploy {ONE}\ndeploy {ONE}"), 2, "twice"),
        ] {
            let (found, why) = Tokens::parse(text, known).unwrap_err();
            assert_eq!(found, line, "{text}");
            assert!(why.contains(told) && !why.contains(ONE), "{why}");
        }
    }

    #[test]
    fn a_file_that_everybody_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, format!("0 {ONE}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let tokens = Tokens::read(&path).unwrap();
        assert_eq!(tokens.find(ONE.as_bytes()).map(|caller| caller.uid), Some(0));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Tokens::read(&path).unwrap_err().to_string();
        assert!(error.contains("read by everybody"), "{error}");
        let error = Tokens::read(&dir.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{error}");
    }
}
