//! The node in numbers, one JSON record a line. `cargo xtask bench node` runs it and makes the table.
//!
//! `--quick` for fewer transfers and less state; `ANVIL` names the peer's program, without it only ours is measured; words choose
//! parts: `direct` (execution, root and flush alone), `rollup` (bytes on L1, derivation) and `rpc` (raw transactions over HTTP).
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a benchmark")]

mod direct;
mod load;
mod rollup;
mod world;

use lockstep_bench::Record;

/// Transfers a second that execution, root and flush must reach on one core.
const DIRECT_GOAL: f64 = 20_000.0;
/// How many times the peer's sustained rate ours must be; the bound in the table.
const PEER_GOAL: f64 = 2.0;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let quick = words.iter().any(|word| word == "--quick");
    let wanted = |name: &str| words.iter().all(|word| word.starts_with("--")) || words.iter().any(|word| word == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if wanted("direct") {
        let sizes: &[u32] = if quick { &[10_000, 100_000] } else { &[10_000, 100_000, 1_000_000] };
        let mut first = None;
        for &accounts in sizes {
            // Enough that the database is written beside block production once.
            let measured = runtime.block_on(direct::measure(accounts, if quick { 20_000 } else { 200_000 }));
            direct::print(accounts, &measured, &mut first);
        }
    }
    if wanted("rollup") {
        runtime.block_on(rollup::print(quick));
    }
    if wanted("rpc") {
        runtime.block_on(over_rpc(quick));
    }
}

async fn over_rpc(quick: bool) {
    let transfers = if quick { 6_000 } else { 40_000 };
    let world = world::World::new(10_000, 1_000);
    let bodies = load::bodies(&world, transfers);
    let ours = load::ours(&world, &bodies, transfers).await;
    let peer = match std::env::var("ANVIL") {
        Ok(anvil) => Some(load::anvil(&anvil, &world, &bodies, transfers).await),
        Err(_) => None,
    };
    let record = Record::new("node", "ERC-20 transfers over RPC, sustained", "1/s", ours);
    let record = match peer {
        Some(peer) => record.against("anvil", peer, ours / peer).of_limit(PEER_GOAL * peer),
        None => record.missing_peer("anvil (not named)"),
    };
    println!("{}", record.line());
}
