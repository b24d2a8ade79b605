//! The one door for developers: `cargo xtask <command>`.

use std::process::ExitCode;

mod contracts;

const USAGE: &str = "usage: cargo xtask contracts [build | test | check]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.split_first() {
        Some((command, rest)) if command == "contracts" => contracts::run(rest),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}
