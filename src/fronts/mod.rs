//! The wires that the daemon speaks, each in a folder of its own: bytes into what the server is asked for, and what that
//! came to into bytes. A front uses the server (`server::Front` says what it has to do); the server knows none of them.

mod native;
#[cfg(test)]
mod tests;

pub(crate) use native::Native;
