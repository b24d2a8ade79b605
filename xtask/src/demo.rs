//! `cargo xtask demo`, and the demo's numbers for the benchmark tables.

use std::process::Command;

use serde_json::Value;

use crate::{cargo, contracts::workspace_root};

/// Runs the demo.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let mut words = vec!["run", "--release", "--bin", "lockstep", "--", "demo"];
    words.extend(args.iter().map(String::as_str));
    cargo(&words, &[])
}

/// Runs the demo and gives the last line of its JSON, the summary.
pub(crate) fn summary(seed: u64) -> Result<Value, String> {
    let seed = seed.to_string();
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--release", "--bin", "lockstep", "--", "demo", "--json", "--seed", &seed])
        .current_dir(workspace_root())
        .output()
        .map_err(|e| format!("cargo cannot be started: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("the demo failed:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    let last = text.lines().last().ok_or("the demo printed nothing")?;
    serde_json::from_str(last).map_err(|e| format!("the demo's last line is not JSON: {e}"))
}
