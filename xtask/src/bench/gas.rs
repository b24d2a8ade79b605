//! Gas of the contracts: operations and units from the referee alone; jobs, moves and whole disputes from the court's tests, which also
//! hold them to what is promised.

use std::process::Command;

use super::{Sink, kernels};

pub(super) const NOTES: &str = "Gas does not depend on the machine; rules of Granite (Cancun). Jobs, moves and disputes are transactions to the real contracts, \
                                with made-up roots for GPT-2 small. An operation's limit is what the validator \
                                charges for it. A unit is one call of `Disputes.judge` with all its witness, on numbers between -1 and \
                                1: the referee's call as measured, and what a dispute adds to it at worst; `bound` is the validator's \
                                worst case for the node, on any numbers. Where Isthmus' floor for calldata (EIP-7623) is more, a row \
                                of its own says so.";

pub(super) fn run(quick: bool, sink: Sink<'_>) -> Result<(), String> {
    let mut court = Command::new(env!("CARGO"));
    court.args(["test", "--quiet", "--release", "-p", "lockstep-contracts", "--test", "court", "--"]);
    court.args(["gas::", "--nocapture", "--test-threads", "1"]);
    kernels::records(court, "the court's tests", sink)?;
    kernels::program("lockstep-contracts", "gas", quick, None, sink)
}
