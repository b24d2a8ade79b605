//! Gas of the referee: operations and units.

use super::{Sink, kernels};

pub(super) const NOTES: &str = "Gas does not depend on the machine; rules of Granite (Cancun). An operation's limit is what the validator \
                                charges for it. A unit is one call of `Disputes.judge` with all its witness, on numbers between -1 and \
                                1: the referee's call as measured, and what a dispute adds to it at worst; `bound` is the validator's \
                                worst case for the node, on any numbers. Where Isthmus' floor for calldata (EIP-7623) is more, a row \
                                of its own says so.";

pub(super) fn run(quick: bool, sink: Sink<'_>) -> Result<(), String> {
    kernels::program("lockstep-contracts", "gas", quick, None, sink)
}
