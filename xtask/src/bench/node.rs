//! The rollup node against anvil, and its parts alone.

use super::{Sink, kernels};
use crate::contracts;

pub(super) const NOTES: &str = "ERC-20 transfers (OpenZeppelin) to holders picked at random. Over RPC: raw transactions in batches of 50 \
                                over 8 connections, a block with its state root every second, ours durable before it is announced, \
                                anvil's in memory; client and node share the cores. Alone: blocks of 10,000 transfers by 2,000 \
                                senders; `flush` makes a block durable in the log, `write` is the database, which another thread writes \
                                beside the blocks, with their state once in many of them and once more at the end. On one core both \
                                count, with the database written beside only what a block waits for. Times of blocks are from their \
                                beginning until they are durable, with the signatures recovered before; another is due after a second. \
                                `recover` is the time of signatures, which all cores share. `on disk` is what the file system holds: \
                                the database makes its file twice as long when it is full, and the rest of it is a hole. \
                                The limit of the cost over that at the smallest state is how many more accounts, slots and trie nodes a \
                                transfer changes there: hashing and writing these cannot be flat. On L1: plain transfers in span batches \
                                of a development network, the limit 60 % of their bytes as they were signed (a signature has 64, a \
                                recipient 20, and neither shrinks); a follower with nothing but L1 derives what full blocks of 30 M gas, \
                                one a second, would hold.";

pub(super) fn run(quick: bool, sink: Sink<'_>) -> Result<(), String> {
    let anvil = contracts::anvil()?;
    kernels::program("lockstep-sequencer", "node", quick, Some(("ANVIL", &anvil)), sink)
}
