//! Kernels and commitments: programs of their own, which print their records as lines of JSON.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use lockstep_bench::Record;

use super::Sink;
use crate::contracts::workspace_root;

pub(super) const NOTES: &str = "Contenders take turns in the same process; `ours` and `peer` are their best times (of a thread's own \
                                time, where one thread runs), `ratio` is the median over the rounds.";

/// Package and benchmark.
const PROGRAMS: [(&str, &str); 2] = [("lockstep-commit", "roots"), ("lockstep-kernels", "kernels")];

pub(super) fn run(quick: bool, sink: Sink<'_>) -> Result<(), String> {
    PROGRAMS.iter().try_for_each(|(package, bench)| program(package, bench, quick, None, sink))
}

/// Runs `cargo bench`, with a variable in its environment, and takes the records that it prints.
pub(super) fn program(
    package: &str,
    bench: &str,
    quick: bool,
    variable: Option<(&str, &Path)>,
    sink: Sink<'_>,
) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["bench", "--quiet", "--profile", "release", "-p", package, "--bench", bench, "--"]);
    command.args(quick.then_some("--quick")).envs(variable);
    records(command, &format!("the benchmark {bench} of {package}"), sink)
}

/// Runs a program and takes the records among the lines that it prints.
pub(super) fn records(mut command: Command, what: &str, sink: Sink<'_>) -> Result<(), String> {
    command.current_dir(workspace_root()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{what} cannot be started: {e}"))?;
    let lines = child.stdout.take().map(|out| BufReader::new(out).lines());
    for line in lines.into_iter().flatten() {
        let line = line.map_err(|e| format!("cannot read what {what} prints: {e}"))?;
        if line.starts_with('{') {
            sink(line.parse::<Record>().map_err(|e| format!("{what} printed a line that is no record: {e}: {line}"))?);
        }
    }
    let status = child.wait().map_err(|e| format!("{what} was lost: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what} failed: {status}")) }
}
