//! Execution, root and flush alone: transactions are in the mempool before the first block is built, and blocks are built on one
//! thread.

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};

use crate::{DIRECT_GOAL, world};
use lockstep_bench::Record;
use lockstep_sequencer::{Node, NodeConfig, PoolLimits, Timings};

/// Senders; each has several transfers waiting.
const SENDERS: u32 = 2_000;
/// Transfers in a block.
const BLOCK: u32 = 10_000;
/// How long a block may take: another is due then.
const BLOCK_TIME: Duration = Duration::from_secs(1);

/// What was measured over a state of so many holders.
pub(crate) struct Measured {
    /// Time spent. What blocks leave in memory is written into the database, beside them and once more at the end; both are in
    /// `write`.
    spent: Timings,
    /// Time from the beginning of a block until it was durable, for every block, the shortest first.
    blocks: Vec<Duration>,
    /// Bytes on disk in the end.
    disk: u64,
}

/// Makes `count` transfers over a state of `accounts` holders.
pub(crate) async fn measure(accounts: u32, count: u32) -> Measured {
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
    let (mut blocks, mut before) = (Vec::new(), Duration::ZERO);
    for block in world.transfers(BLOCK + count).chunks(BLOCK as usize) {
        for raw in block {
            node.submit(raw.clone()).unwrap();
        }
        node.mine().await.unwrap();
        if node.head().number == 1 {
            warm = node.timings();
        }
        let now = node.timings();
        let all = now.execute + now.root + now.flush;
        blocks.push(all - before);
        before = all;
    }
    node.checkpoint().await.unwrap();
    let all = node.timings();
    node.shutdown().await.unwrap();
    let disk = on_disk(dir.path());
    let spent = Timings {
        blocks: all.blocks - warm.blocks,
        transactions: all.transactions - warm.transactions,
        gas: all.gas - warm.gas,
        entries: all.entries - warm.entries,
        recover: all.recover - warm.recover,
        execute: all.execute - warm.execute,
        root: all.root - warm.root,
        flush: all.flush - warm.flush,
        write: all.write - warm.write,
    };
    // The first warms up.
    blocks.remove(0);
    blocks.sort_unstable();
    Measured { spent, blocks, disk }
}

/// Bytes that the file system holds for the files of a directory. The database makes its file twice as long when it is full, and what
/// was never written takes no room.
fn on_disk(dir: &Path) -> u64 {
    let blocks = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().blocks());
    // Of 512 bytes, whatever the file system's own are.
    blocks.sum::<u64>() * 512
}

/// Prints the records of one size of state; `first` remembers the smallest with its microseconds and changed entries of a
/// transfer. What a transfer costs cannot grow less than the tries make it change more.
pub(crate) fn print(accounts: u32, measured: &Measured, first: &mut Option<(u32, f64, f64)>) {
    let Measured { spent, blocks, disk } = measured;
    let each_us = |time: Duration| time.as_secs_f64() * 1e6 / spent.transactions as f64;
    let blocks_us = each_us(spent.execute + spent.root + spent.flush);
    let total_us = blocks_us + each_us(spent.write);
    let record = |what: &str, unit, ours| Record::new("node", format!("{what}, {accounts} accounts"), unit, ours);
    let print = |record: Record| println!("{}", record.line());
    print(record("execute + root + flush, one core", "1/s", 1e6 / total_us).of_limit(DIRECT_GOAL));
    print(record("execute + root + flush, the database written beside", "1/s", 1e6 / blocks_us).of_limit(DIRECT_GOAL));
    for (what, time) in [
        ("execute", spent.execute),
        ("root", spent.root),
        ("flush", spent.flush),
        ("write", spent.write),
        ("recover", spent.recover),
    ] {
        print(record(what, "us per transfer", each_us(time)));
    }
    for (what, part) in [("half of the blocks", 50), ("longest block", 100)] {
        let at = (blocks.len() * part).div_ceil(100).max(1) - 1;
        let limit_ms = BLOCK_TIME.as_secs_f64() * 1e3;
        print(record(what, "ms", blocks[at].as_secs_f64() * 1e3).of_limit(limit_ms));
    }
    let entries = spent.entries as f64 / spent.transactions as f64;
    print(record("accounts, slots and trie nodes changed", "per transfer", entries));
    print(record("on disk", "MB", *disk as f64 / 1e6));
    match first {
        None => *first = Some((accounts, total_us, entries)),
        Some((smallest, us, few)) => {
            let growth = record(&format!("cost over that at {smallest}"), "times", total_us / *us);
            print(growth.of_limit(entries / *few));
        }
    }
}
