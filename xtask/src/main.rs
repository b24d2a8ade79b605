//! The one door for developers: `cargo xtask` lists what there is.

mod bench;
mod contracts;
mod demo;
mod mutate;
mod op_contracts;
#[cfg(test)]
mod tidy;

use std::{
    path::Path,
    process::{Command, ExitCode},
};

const HELP: &str = "\
cargo xtask test [--all]          every test; --all fails where node is missing instead of saying what is left out
cargo xtask lint                  rustfmt, clippy, rustdoc, all warnings denied
cargo xtask bench SUITE [--quick] [--json]
                                  gas, kernels, market, node: a table, written under docs/benchmarks unless --quick;
                                  --json: one record a line instead
cargo xtask contracts [build|test|check|mutate]
                                  artifacts from the Solidity sources, forge tests, staleness; mutate: whether the tests notice
                                  contracts that are broken on purpose (an hour)
cargo xtask op-contracts [build|check]
                                  the OP Stack's contracts from their npm package
cargo xtask regen                 every generated file
cargo xtask demo [ARGS]           lockstep demo";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let done = match args.first().map(String::as_str) {
        Some("test") => test(rest),
        Some("lint") => lint(),
        Some("bench") => bench::run(rest),
        Some("contracts") => contracts::run(rest),
        Some("op-contracts") => op_contracts::run(rest),
        Some("regen") => regen(),
        Some("demo") => demo::run(rest),
        None | Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("there is no `{other}`\n{HELP}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("xtask: {words}");
            ExitCode::FAILURE
        }
    }
}

/// Runs cargo in the workspace, showing what it prints.
pub(crate) fn cargo(args: &[&str], env: &[(&str, &str)]) -> Result<(), String> {
    let status = Command::new(env!("CARGO"))
        .args(args)
        .envs(env.iter().copied())
        .current_dir(contracts::workspace_root())
        .status()
        .map_err(|e| format!("cargo cannot be started: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("`cargo {}` failed", args.join(" "))) }
}

fn test(args: &[String]) -> Result<(), String> {
    let all = args.iter().any(|a| a == "--all");
    cargo(&["test", "--release", "--workspace"], &[])?;
    let missing = ["npm", "jq"].into_iter().find(|tool| Command::new(tool).arg("--version").output().is_err());
    let Some(tool) = missing else {
        contracts::run(&["check".into()])?;
        op_contracts::run(&["check".into()])?;
        contracts::run(&["test".into()])?;
        return with_others();
    };
    let words = format!(
        "{tool} is not installed: forge's own tests, those with anvil, cast and viem, and the rebuild of the artifacts are left out \
         (the Rust tests did run the checked-in contracts and compared their sources' hashes)"
    );
    if all {
        return Err(words);
    }
    println!("{words}");
    Ok(())
}

/// The tests with programs that others wrote: anvil, cast, viem. Built as before, so that nothing is compiled again.
fn with_others() -> Result<(), String> {
    let tools = contracts::tools()?;
    contracts::install(&contracts::workspace_root().join("sequencer/tests/viem"), "viem")?;
    let build = ["test", "--release", "--workspace", "--test", "node", "--test", "loop", "--"];
    let which = ["--ignored", "anvil_is_an_l1", "viem_", "the_rollup_page"];
    cargo(&[build.as_slice(), &which].concat(), &[("LOCKSTEP_FOUNDRY_BIN", &tools.to_string_lossy())])
}

fn lint() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    cargo(&["doc", "--release", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
}

fn regen() -> Result<(), String> {
    for (package, example, file) in
        [("lockstep-ir", "vectors", "ir/vectors/v1.txt"), ("lockstep-commit", "roots", "commit/vectors/steps-v1.txt")]
    {
        let output = Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--release", "-p", package, "--all-features", "--example", example])
            .current_dir(contracts::workspace_root())
            .output()
            .map_err(|e| format!("cargo cannot be started: {e}"))?;
        if !output.status.success() {
            return Err(format!("{file} was not made:\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        write(&contracts::workspace_root().join(file), &output.stdout)?;
    }
    contracts::run(&[])
}

/// Writes a generated file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder.and_then(|()| std::fs::write(path, bytes)).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}
