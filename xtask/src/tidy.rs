//! The style that a compiler does not enforce: see CONTRIBUTING.md.

use std::{fs, process::Command};

use crate::contracts::workspace_root;

/// Most lines of a source file; 500 is the aim, past this it is two rooms.
const MAX_LINES: usize = 600;

/// `(path, text)` of every tracked file with one of these endings.
fn tracked(endings: &[&str]) -> Vec<(String, String)> {
    let root = workspace_root();
    let output = Command::new("git").arg("ls-files").current_dir(&root).output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    let wanted = names.lines().filter(|n| endings.iter().any(|e| n.ends_with(e)));
    wanted.filter_map(|n| Some((n.to_owned(), fs::read_to_string(root.join(n)).ok()?))).collect()
}

#[test]
fn source_files_are_one_room() {
    let long: Vec<String> = (tracked(&[".rs", ".sol"]).iter())
        .filter(|(_, text)| text.lines().count() > MAX_LINES)
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    assert!(long.is_empty(), "more than {MAX_LINES} lines, split them:\n{}", long.join("\n"));
}

#[test]
fn nothing_is_left_open() {
    let open = ["todo!(", "unimplemented!(", concat!("FIX", "ME"), concat!("TO", "DO"), "dbg!("];
    for (name, text) in tracked(&[".rs", ".sol", ".toml", ".md"]) {
        if name == "xtask/src/tidy.rs" {
            continue;
        }
        for word in open {
            assert!(!text.contains(word), "{name} contains {word}");
        }
    }
}

#[test]
fn every_crate_explains_itself() {
    let libraries: Vec<_> = tracked(&["lib.rs"]);
    assert!(libraries.len() >= 10);
    for (name, text) in libraries {
        assert!(text.starts_with("//!"), "{name} does not begin with what the crate is for");
        assert!(text.contains("//! ```"), "{name} has no example or picture");
    }
}
