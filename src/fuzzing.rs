//! Entry points for the fuzz targets (`fuzz/`) to decoders that are private otherwise. They are built for fuzzing only
//! (`--cfg fuzzing`), and assert what must hold for each decoder.

use crate::config::{Config, Overrides, Surroundings};
use std::fs;
use std::path::{Path, PathBuf};

pub use crate::store::fuzzing::store;

/// A directory of this process's own.
fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("musher-fuzz-{}", std::process::id())).join(name);
    fs::create_dir_all(&dir).expect("the temporary directory takes files");
    dir
}

fn write(file: &Path, data: &[u8]) {
    fs::write(file, data).expect("the temporary directory takes files");
}

/// The log's files, of which there is one.
pub fn log(data: &[u8]) {
    let dir = scratch("log");
    write(&dir.join("0000000000000000.log"), data);
    crate::store::fuzzing::log(&dir);
}

/// The configuration: what loads is shown as text that loads to the same.
pub fn config(data: &[u8]) {
    let file = scratch("config").join("musher.toml");
    let load = |text: &[u8]| {
        write(&file, text);
        let env = |name: &str| (name == "HOME").then(|| "/h".into());
        let (user, group) = (|_: &str| None, |_: &str| None);
        let (env, user, group) = (Box::new(env), Box::new(user), Box::new(group));
        let around = Surroundings { env, root: false, uid: 7, cpus: 6, user, group };
        Config::load_in(Some(&file), &Overrides::default(), &around)
    };
    if let Ok(loaded) = load(data) {
        let again = load(loaded.config.show().as_bytes()).expect("what is shown loads");
        assert_eq!(again.config, loaded.config);
    }
}
