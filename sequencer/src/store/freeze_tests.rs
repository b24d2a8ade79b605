//! Kills and reads while the database is being written.

use std::{sync::mpsc, thread, time::Duration};

use alloy::{
    consensus::{Header, Sealed},
    primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256},
};
use proptest::prelude::*;

use super::{
    current::Limits,
    leaf_tests::check_leaves,
    log::FILES,
    tests::{Model, apply_to_model, block, check_proofs, check_state, killed, model_root, write_block},
    writer::Stage,
    *,
};

/// A few blocks fill these.
const SMALL: Limits = Limits { log_bytes: 1500, recent_bytes: 40_000, waiting_bytes: 1 << 20 };

fn open(dir: &std::path::Path) -> Store {
    Store::open_with(dir, 1 << 26, SMALL).unwrap()
}

const KEEP: Keep = Keep { undo_blocks: 4, archive: true };

/// The store holds the blocks of these models, and no later one. `undone` and older blocks cannot be taken back.
fn check(store: &Store, models: &[Model], undone: usize) {
    check_snapshot(&store.snapshot().unwrap(), models, undone);
    assert_eq!(store.chain().map_or(0, |(_, head)| head), models.len() as u64 - 1);
}

fn check_snapshot(snapshot: &Snapshot, models: &[Model], undone: usize) {
    let head = models.len() as u64 - 1;
    check_leaves(snapshot, &models[head as usize]);
    assert!(snapshot.header(head + 1).unwrap().is_none());
    for (number, model) in (0u64..).zip(models) {
        let header = snapshot.header(number).unwrap().unwrap();
        assert_eq!(snapshot.number(header.hash()).unwrap(), Some(number));
        assert_eq!(snapshot.hash(number).unwrap(), Some(header.hash()));
        assert_eq!(header.state_root, model_root(model));
        let state = snapshot.state_at(number, head).unwrap();
        check_state(&state, model);
        if number >= undone as u64 {
            check_proofs(&state, model);
        }
    }
}

/// Writes block 0, of an empty state.
fn begin(store: &Store) {
    let mut batch = store.begin().unwrap();
    batch.put_chain_id(901).unwrap();
    let state_root = batch.apply_state(&StateChanges::default()).unwrap();
    let header = Sealed::new(Header { state_root, ..Header::default() });
    batch.put_block(&NewBlock { header: &header, transactions: &[], receipts: &[], blobs: &[] }, KEEP).unwrap();
    batch.commit().unwrap();
}

fn stage() -> impl Strategy<Value = Option<Stage>> {
    prop_oneof![Just(None), Just(Some(Stage::Begin)), Just(Some(Stage::Commit)), Just(Some(Stage::End))]
}

/// What a disk does to the segment of a generation's parity: flips a bit, or cuts.
type Damage = (usize, prop::sample::Index, bool);

fn damage(dir: &std::path::Path, (file, at, cut): &Damage) {
    let path = dir.join(FILES[*file]);
    let mut bytes = std::fs::read(&path).unwrap();
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    if *cut {
        bytes.truncate(at);
    } else {
        bytes[at] ^= 1;
    }
    std::fs::write(path, bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Wherever the writer is, every block's state reads as it was, and a kill leaves all of them, also after blocks were taken
    /// back. Snapshots see their block and no other, whatever is written later. A damaged log costs the newest blocks, but what
    /// comes back is a chain.
    #[test]
    fn a_kill_while_the_database_is_written_loses_nothing(
        steps in prop::collection::vec((block(), prop::option::weighted(0.15, 1u64..3), prop::option::weighted(0.6, stage())), 4..16),
        damages in prop::collection::vec((0usize..2, any::<prop::sample::Index>(), any::<bool>()), 16),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        begin(&store);
        let mut models = vec![Model::new()];
        let (mut undone, mut snapshots) = (0, Vec::new());
        for ((changes, back, stop), damaged) in steps.iter().zip(&damages) {
            if let Some(stop) = stop {
                store.shared.gate.set(*stop);
            }
            let back = back.filter(|back| (undone + *back as usize) < models.len());
            if let Some(back) = back {
                store.shared.gate.set(None);
                models.truncate(models.len() - back as usize);
                let mut batch = store.begin().unwrap();
                batch.unwind(models.len() as u64 - 1).unwrap();
                batch.commit().unwrap();
                check(&store, &models, undone);
            }
            if store.shared.is_behind() {
                store.shared.gate.set(None);
            }
            let mut model = models.last().cloned().unwrap_or_default();
            apply_to_model(&mut model, changes);
            prop_assert_eq!(write_block(&store, models.len() as u64, changes, KEEP), model_root(&model));
            models.push(model);
            undone = undone.max((models.len() - 1).saturating_sub(KEEP.undo_blocks as usize));
            check(&store, &models, undone);
            snapshots.push((store.snapshot().unwrap(), models.clone(), undone));
            let copy = killed(&store);
            let broken = killed(&store);
            check(&open(copy.path()), &models, undone);
            // Killed again right after that start, and opened with what it wrote.
            check(&open(copy.path()), &models, undone);
            damage(broken.path(), damaged);
            let mended = open(broken.path());
            let head = mended.chain().unwrap().1 as usize;
            check(&mended, &models[..=head], undone.min(head));
            // And it goes on, on what there is.
            write_block(&mended, head as u64 + 1, &StateChanges::default(), KEEP);
            drop(open(killed(&mended).path()));
        }
        store.shared.gate.set(None);
        for (snapshot, models, undone) in &snapshots {
            check_snapshot(snapshot, models, *undone);
        }
    }
}

fn transfer(number: u64) -> StateChanges {
    let account = AccountChange {
        address: Address::repeat_byte(1),
        info: Some((number, U256::from(number), KECCAK256_EMPTY)),
        wiped: false,
        storage: (0..8).map(|slot| (U256::from(slot), U256::from(1000 * number + slot))).collect(),
    };
    StateChanges {
        accounts: vec![account],
        code: vec![(keccak256([number as u8; 40]), Bytes::from(vec![number as u8; 40]))],
    }
}

fn receipt(hash: B256) -> StoredReceipt {
    StoredReceipt {
        hash,
        sender: Address::ZERO,
        tx_type: 2,
        success: true,
        gas_used: 21_000,
        cumulative_gas_used: 21_000,
        effective_gas_price: 1,
        first_log: 0,
        created: Bytes::new(),
        logs: Vec::new(),
        deposit_nonce: 0,
    }
}

/// Writes a block with two transactions.
fn write_transfers(store: &Store, number: u64) {
    let mut batch = store.begin().unwrap();
    let state_root = batch.apply_state(&transfer(number)).unwrap();
    let header = Sealed::new(Header { number, state_root, ..Header::default() });
    let hashes = [B256::repeat_byte(200 - number as u8), B256::repeat_byte(number as u8)];
    let transactions = hashes.map(|hash| Bytes::copy_from_slice(hash.as_slice()));
    let receipts = hashes.map(receipt);
    batch
        .put_block(
            &NewBlock { header: &header, transactions: &transactions, receipts: &receipts, blobs: &[] },
            Keep::undo(100),
        )
        .unwrap();
    batch.commit().unwrap();
}

/// Every block of these has its transactions, receipts, code and look-ups, wherever its rows are.
fn check_transfers(store: &Store, blocks: u64) {
    let snapshot = store.snapshot().unwrap();
    for number in 0..blocks {
        let hashes = [B256::repeat_byte(200 - number as u8), B256::repeat_byte(number as u8)];
        assert_eq!(snapshot.receipts(number).unwrap(), hashes.map(receipt));
        assert_eq!(snapshot.transactions(number).unwrap(), hashes.map(|hash| Bytes::copy_from_slice(hash.as_slice())));
        for (index, hash) in (0u32..).zip(hashes) {
            assert_eq!(snapshot.location(hash).unwrap(), Some((number, index)));
            assert_eq!(snapshot.receipt(number, index).unwrap(), Some(receipt(hash)));
            assert_eq!(snapshot.transaction(number, index).unwrap().unwrap().as_ref(), hash.as_slice());
        }
        assert!(snapshot.receipt(number, 2).unwrap().is_none() && snapshot.transaction(number, 2).unwrap().is_none());
        let code = snapshot.state().code(keccak256([number as u8; 40])).unwrap();
        assert_eq!(code.as_ref(), [number as u8; 40]);
    }
    assert!(snapshot.receipts(blocks).unwrap().is_empty() && snapshot.transactions(blocks).unwrap().is_empty());
    assert_eq!(snapshot.location(B256::repeat_byte(blocks as u8)).unwrap(), None);
}

/// Blocks go on while the database is written, with all that can be asked about them.
#[test]
fn blocks_go_on_while_the_database_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(dir.path(), 1 << 26, Limits { log_bytes: 4000, ..SMALL }).unwrap();
    store.shared.gate.set(Some(Stage::Commit));
    let mut blocks = 0;
    let mut written_frozen = 0;
    while !store.shared.is_behind() {
        write_transfers(&store, blocks);
        blocks += 1;
        written_frozen += u64::from(store.shared.is_frozen());
        check_transfers(&store, blocks);
    }
    assert!(written_frozen > 3, "{written_frozen} of {blocks} blocks were written beside the database");
    store.shared.gate.set(None);
    store.shared.settle().unwrap();
    assert!(!store.shared.is_frozen());
    check_transfers(&store, blocks);
    drop(store);
    check_transfers(&open(dir.path()), blocks);
}

/// If memory is full before the database is written, the next block waits, and comes.
#[test]
fn a_block_waits_rather_than_fill_memory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.shared.gate.set(Some(Stage::Begin));
    let mut blocks = 0;
    while !store.shared.is_behind() {
        write_transfers(&store, blocks);
        blocks += 1;
    }
    let (done, finished) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            write_transfers(&store, blocks);
            done.send(()).unwrap();
        });
        assert!(finished.try_recv().is_err());
        // It can only go on once the frozen state is written: the log has no room.
        store.shared.gate.set(None);
        finished.recv_timeout(Duration::from_secs(90)).unwrap();
    });
    check_transfers(&store, blocks + 1);
}

/// The writer's error reaches the next block, and the log still has every block that was announced.
#[test]
fn what_the_writer_could_not_write_is_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write_transfers(&store, 0);
    store.shared.settle().unwrap();
    store.shared.gate.set(Some(Stage::Begin));
    let mut blocks = 1;
    while !store.shared.is_frozen() {
        write_transfers(&store, blocks);
        blocks += 1;
    }
    let full = std::io::Error::other("the disk is full");
    store.shared.fail(full.into());
    let error = store.begin().unwrap().commit().unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert!(store.checkpoint().is_err());
    check_transfers(&store, blocks);
    let copy = killed(&store);
    check_transfers(&open(copy.path()), blocks);
}
