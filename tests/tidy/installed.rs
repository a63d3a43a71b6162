//! What is installed has no store without a disk and no access for benches.

use std::fs;
use std::path::Path;

#[test]
fn what_is_for_tests_is_not_installed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("sources are where they were");
    let faults = installed(&read("Cargo.toml"), &read("src/store/mod.rs"));
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// What of the store's modules for tests is in what is installed.
fn installed(manifest: &str, store: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for module in ["measured", "simulated"] {
        let lines: Vec<&str> = store.lines().collect();
        let at = lines.iter().position(|line| line.ends_with(&format!("mod {module};")));
        let attributes =
            at.map(|at| lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).copied());
        let is_feature = |line: &str| line.starts_with("#[cfg(") && line.contains("feature = \"simulation\"");
        if !attributes.is_some_and(|mut lines| lines.any(is_feature)) {
            faults.push(format!("src/store/mod.rs: `{module}` is not behind the feature `simulation`"));
        }
    }
    let mut section = "";
    for line in manifest.lines().filter(|line| !line.starts_with('#')) {
        section = if line.starts_with('[') { line } else { section };
        let is_default = section == "[features]" && line.starts_with("default");
        if is_default || line.contains("\"simulation\"") && section != "[dev-dependencies]" {
            faults.push(format!("Cargo.toml: `{line}` may turn on `simulation` in what is installed"));
        }
    }
    faults
}

mod catches {
    use super::*;

    #[test]
    fn what_is_for_tests_in_what_is_installed() {
        let store = "#[cfg(feature = \"simulation\")]\n#[doc(hidden)]\npub mod measured;\n\
                     #[cfg(any(test, feature = \"simulation\"))]\npub mod simulated;\n";
        let manifest =
            "[features]\nsimulation = []\n[dev-dependencies]\nmusher = { features = [\"simulation\"] }\n";
        assert_eq!(installed(manifest, store), [] as [&str; 0]);
        for without in ["#[cfg(feature = \"simulation\")]\n", "#[cfg(any(test, feature = \"simulation\"))]\n"]
        {
            assert_eq!(installed(manifest, &store.replace(without, "")).len(), 1);
        }
        for worse in [
            "[features]\ndefault = [\"simulation\"]\n",
            "[dependencies]\na = { features = [\"simulation\"] }\n",
        ] {
            assert_eq!(installed(worse, store).len(), 1);
        }
    }
}
