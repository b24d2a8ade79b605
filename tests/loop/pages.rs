//! The commands of the pages for requesters, solvers and verifiers, run as they stand there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::process::{Finished, Process};

/// A folder like a checkout, in which `cargo run … -- ARGS` means `lockstep ARGS`.
struct Reader {
    dir: tempfile::TempDir,
    rpc: Option<String>,
    /// The lines of the pages that were not run yet.
    lines: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Reader {
    fn new(pages: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root().join("train"), dir.path().join("train")).unwrap();
        let shim = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$LOCKSTEP_BINARY\" \"$@\"\n";
        let cargo = dir.path().join("bin/cargo");
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::write(&cargo, shim).unwrap();
        fs::set_permissions(&cargo, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let text: String =
            pages.iter().map(|page| fs::read_to_string(root().join("docs").join(page)).unwrap()).collect();
        let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        Self { dir, rpc: None, lines: blocks.flat_map(str::lines).map(str::to_owned).collect() }
    }

    /// Starts the one line with these words; `more` goes behind it: what a test needs, and no reader.
    fn start(&mut self, words: &str, more: &str) -> Process {
        let found: Vec<usize> = (0..self.lines.len()).filter(|&i| self.lines[i].contains(words)).collect();
        assert_eq!(found.len(), 1, "lines with `{words}` in {:#?}", self.lines);
        let line = self.lines.remove(found[0]);
        let path = format!("{}/bin:{}", self.dir.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        // exec, so that ending the process ends the command itself; variables set in front of it are exported.
        let script = match line.split_once(" cargo run ") {
            Some((set, run)) => format!("export {set}; exec cargo run {run} {more}"),
            None => format!("exec {line} {more}"),
        };
        command.args(["-c", &script]).current_dir(self.dir.path()).stdin(Stdio::null()).env("PATH", path);
        command.env("LOCKSTEP_BINARY", env!("CARGO_BIN_EXE_lockstep"));
        for name in ["LOCKSTEP_DEPLOYMENT", "LOCKSTEP_KEYSTORE", "LOCKSTEP_PASSWORD", "RUST_LOG"] {
            command.env_remove(name);
        }
        // The port is not the usual one, which may be taken on this machine.
        command.env("LOCKSTEP_RPC", self.rpc.as_deref().unwrap_or_default());
        Process::start(command)
    }

    fn daemon(&mut self, words: &str) -> Process {
        let mut daemon = self.start(words, "--poll-ms 100 --json");
        daemon.wait_for("ready", |e| e["what"] == "ready");
        daemon
    }

    fn run(&mut self, words: &str) -> Finished {
        self.start(words, "--json").finish()
    }

    /// Runs a line that must succeed.
    fn works(&mut self, words: &str) {
        let finished = self.run(words);
        assert!(finished.ok, "`{words}` failed:\n{}\n{}", finished.out, finished.err);
    }
}

#[test]
fn requester_solver_and_verifier_pages_work_together() {
    let mut reader = Reader::new(&["requester.md", "solver.md", "verifier.md"]);
    reader.works("wallet new");
    reader.works("wallet backup");
    let mut node = reader.start("-- node", "--port 0 --block-time-ms 200 --json");
    let ready = node.wait_for("ready", |e| e["what"] == "ready");
    reader.rpc = ready["rpc"].as_str().map(str::to_owned);
    let mut solver = reader.daemon("-- solver");
    let mut verifier = reader.daemon("-- verifier");
    let _arbiter = reader.daemon("-- arbiter");
    let submitted = reader.start("job submit", "--poll-ms 100 --json").finish();
    crate::world::assert_done(&submitted);
    solver.event(1, "over");
    verifier.event(1, "verified");
    reader.works("job list");
    reader.works("job status");
    reader.works("job download");
    assert!(reader.dir.path().join("data/model").exists());
    reader.run("job cancel").refuses(&["job 1 is done"]);
    reader.works("stake show");
    reader.works("stake unbond");
    reader.run("stake finish").refuses(&["NotYetUnbonded"]);
    reader.works("stake withdraw");
    assert!(reader.lines.is_empty(), "not run: {:#?}", reader.lines);
}
