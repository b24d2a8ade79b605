//! Execution, root and flush alone: transactions are in the mempool before the first block is built, and blocks are built on one
//! thread.

use std::time::Instant;

use crate::{DIRECT_GOAL, world};
use lockstep_bench::Record;
use lockstep_sequencer::{Node, NodeConfig, PoolLimits, Timings};

/// Senders; each has several transfers waiting.
const SENDERS: u32 = 2_000;
/// Transfers in a block.
const BLOCK: u32 = 10_000;

/// Time spent on `count` transfers over a state of `accounts` holders. What blocks leave in memory is written into the database
/// once in many blocks; here it is once, at the end, and counts as flushed. Also the bytes on disk after that.
pub(crate) async fn measure(accounts: u32, count: u32) -> (Timings, u64) {
    let dir = tempfile::tempdir().unwrap();
    let world = world::World::new(accounts, SENDERS);
    let node = Node::start(NodeConfig {
        data_dir: Some(dir.path().into()),
        chain_id: world::CHAIN,
        genesis: world.genesis(),
        block_time_ms: 3_600_000,
        gas_limit: 1_000_000_000,
        pool: PoolLimits { per_sender: 100_000, total: 1_000_000, ..PoolLimits::default() },
        ..NodeConfig::default()
    });
    let node = node.await.unwrap();
    let mut warm = Timings::default();
    for block in world.transfers(BLOCK + count).chunks(BLOCK as usize) {
        for raw in block {
            node.submit(raw.clone()).unwrap();
        }
        node.mine().await.unwrap();
        if node.head().number == 1 {
            warm = node.timings();
        }
    }
    let all = node.timings();
    let end = Instant::now();
    node.checkpoint().await.unwrap();
    let written = end.elapsed();
    node.shutdown().await.unwrap();
    let disk = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    let spent = Timings {
        blocks: all.blocks - warm.blocks,
        transactions: all.transactions - warm.transactions,
        gas: all.gas - warm.gas,
        entries: all.entries - warm.entries,
        recover: all.recover - warm.recover,
        execute: all.execute - warm.execute,
        root: all.root - warm.root,
        flush: all.flush - warm.flush + written,
    };
    (spent, disk)
}

/// Prints the records of one size of state, of which `disk` bytes are left; `first` remembers the smallest with
/// its microseconds and changed entries of a transfer. What a transfer costs cannot grow less than the tries make it change more.
pub(crate) fn print(accounts: u32, spent: &Timings, disk: u64, first: &mut Option<(u32, f64, f64)>) {
    let each_us = |time: std::time::Duration| time.as_secs_f64() * 1e6 / spent.transactions as f64;
    let total_us = each_us(spent.execute + spent.root + spent.flush);
    let record = |what: &str, unit, ours| Record::new("node", format!("{what}, {accounts} accounts"), unit, ours);
    let print = |record: Record| println!("{}", record.line());
    print(record("execute + root + flush, one core", "1/s", 1e6 / total_us).of_limit(DIRECT_GOAL));
    for (what, time) in
        [("execute", spent.execute), ("root", spent.root), ("flush", spent.flush), ("recover", spent.recover)]
    {
        print(record(what, "us per transfer", each_us(time)));
    }
    let entries = spent.entries as f64 / spent.transactions as f64;
    print(record("accounts, slots and trie nodes changed", "per transfer", entries));
    print(record("on disk", "MB", disk as f64 / 1e6));
    match first {
        None => *first = Some((accounts, total_us, entries)),
        Some((smallest, us, few)) => {
            let growth = record(&format!("cost over that at {smallest}"), "times", total_us / *us);
            print(growth.of_limit(entries / *few));
        }
    }
}
