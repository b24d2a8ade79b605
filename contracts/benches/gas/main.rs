//! Gas of the referee, as records: `cargo xtask bench gas` prints and keeps them. `--quick` leaves the operations out.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a measurement")]

#[path = "../../tests/common/mod.rs"]
mod common;
mod gpt2;
mod operators;
mod small;
mod sparse;
mod step;
mod units;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let operators = if quick { vec![] } else { operators::records() };
    for record in operators.iter().chain(&units::records()) {
        println!("{}", record.line());
    }
}
