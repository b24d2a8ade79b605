//! Every command line in the documents is one that exists, with flags that exist.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::process::{Process, lockstep};

#[test]
fn commands_in_documents_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut helps = Helps::default();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for document in documents(&root) {
        for line in command_lines(&fs::read_to_string(&document).unwrap()) {
            if let Some(fault) = helps.fault(&line, &root) {
                wrong.push(format!("{}: `{}`: {fault}", document.display(), line.join(" ")));
            }
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 0, "no document shows a command");
}

#[test]
fn the_check_finds_what_is_wrong() {
    let mut helps = Helps::default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = "```sh\n$ RUST_LOG=info lockstep job submit x.toml --dev-account 1 \\\n  --window-s=3 | tail  # three seconds\n\
                ls; lockstep job sumbit x.toml\nlockstep node --prot 1\ncargo run --release -p lockstep -- demo --sed 1\n\
                lockstep solver|verifier\ncargo xtask tset\ncargo xtask regen\ncargo xtask demo --seed 4\n```\nlockstep nonsense\n";
    let lines = command_lines(text);
    let faults: Vec<_> = lines.iter().map(|line| helps.fault(line, &root)).collect();
    assert_eq!(
        faults.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, true, true, true, false, true, false, false],
        "{lines:?} {faults:?}"
    );
}

/// The table of what must never work names tests that exist.
#[test]
fn tests_in_documents_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/game.md")).unwrap();
    let (_, table) = page.split_once("## What must never work").unwrap();
    let named: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect();
    let folders = ["contracts/test", "contracts/tests", "dispute/tests", "ir/tests", "tests"];
    let sources: Vec<String> = folders.iter().flat_map(|folder| sources(&root.join(folder))).collect();
    let exists = |name: &str| {
        let declared = [format!("fn {name}("), format!("function {name}(")];
        sources.iter().any(|source| declared.iter().any(|start| source.contains(start)))
    };
    let missing: Vec<_> = named.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "docs/game.md names tests that do not exist: {missing:?}");
    assert!(named.len() > 40, "{named:?}");
}

/// The text of every Rust and Solidity file in a folder and those in it.
fn sources(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs" || e == "sol") {
            found.push(fs::read_to_string(path).unwrap());
        }
    }
    found
}

/// README.md and everything directly in docs.
fn documents(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        ["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)).into_iter().filter(|p| p.is_file()).collect();
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    found.extend(docs.filter(|path| path.extension().is_some_and(|e| e == "md")));
    found
}

/// The words of every `lockstep …` command in blocks of shell commands; `cargo run … -- …` is one as well. Those of
/// `cargo xtask …` begin with `xtask`.
fn command_lines(text: &str) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    let mut shell = false;
    let joined = text.replace("\\\n", " ");
    for line in joined.lines().map(str::trim) {
        if let Some(language) = line.strip_prefix("```") {
            shell = !shell && ["sh", "console", "bash", "shell"].contains(&language.trim());
            continue;
        }
        if !shell {
            continue;
        }
        for part in line.trim_start_matches("$ ").split(['|', ';', '&', '#']) {
            let words: Vec<String> = part.split_whitespace().map(str::to_owned).collect();
            let start = words.iter().position(|w| !w.contains('=')).unwrap_or(words.len());
            let words = &words[start..];
            let arguments = match words.first().map(String::as_str) {
                Some("lockstep" | "target/release/lockstep" | "./target/release/lockstep") => &words[1..],
                Some("cargo") if words.get(1).is_some_and(|w| w == "run") => match words.iter().position(|w| w == "--")
                {
                    Some(dashes) => &words[dashes + 1..],
                    None => continue,
                },
                // `cargo xtask demo` passes its arguments on.
                Some("cargo") if words.get(1).is_some_and(|w| w == "xtask") => match words.get(2).map(String::as_str) {
                    Some("demo") => &words[2..],
                    _ => &words[1..],
                },
                _ => continue,
            };
            lines.push(arguments.to_vec());
        }
    }
    lines
}

/// What `--help` says of each command, asked once.
#[derive(Default)]
struct Helps(BTreeMap<Vec<String>, Option<String>>);

impl Helps {
    fn of(&mut self, command: &[String]) -> Option<String> {
        let ask = || {
            let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            arguments.push("--help");
            let said = Process::start(lockstep(Path::new("."), &arguments)).finish();
            said.ok.then_some(said.out)
        };
        self.0.entry(command.to_vec()).or_insert_with(ask).clone()
    }

    /// What is wrong with a command line.
    fn fault(&mut self, words: &[String], root: &Path) -> Option<String> {
        if words.first().is_some_and(|w| w == "xtask") {
            let shown = words.get(1).map_or("cargo xtask".into(), |word| format!("cargo xtask {word} "));
            let known = fs::read_to_string(root.join("xtask/src/main.rs")).unwrap().contains(&shown);
            return (!known).then(|| "there is no such xtask".into());
        }
        let mut command = Vec::new();
        let mut rest = words.iter().peekable();
        let mut help = self.of(&command)?;
        while help.contains("\nCommands:\n") {
            let Some(word) = rest.next() else { break };
            if word.starts_with('-') {
                continue;
            }
            command.push(word.clone());
            match self.of(&command) {
                Some(found) => help = found,
                None => return Some(format!("there is no command `{word}`")),
            }
        }
        for word in rest {
            let flag = word.split('=').next().unwrap_or(word);
            let known = help.split(|c: char| c.is_whitespace() || c == ',').any(|w| w == flag);
            if flag.starts_with("--") && !known {
                return Some(format!("there is no flag `{flag}`"));
            }
            if word.ends_with(".toml") && word.contains('/') && !root.join(word).is_file() {
                return Some(format!("there is no file `{word}`"));
            }
        }
        None
    }
}
