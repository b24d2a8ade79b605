//! The rules of the mempool.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEnvelope, TxLegacy},
    eips::eip2718::Encodable2718,
    primitives::{Address, TxKind},
    signers::{SignerSync, local::PrivateKeySigner},
};

use super::*;
use crate::{
    config::ChainKind,
    exec::block::Source,
    store::{AccountChange, Keep, NewBlock, Snapshot, StateChanges, Store},
};

const CHAIN: u64 = 901;
const GWEI: u128 = 1_000_000_000;

struct Bench {
    pool: Pool,
    store: Store,
    keys: Vec<PrivateKeySigner>,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(limits: PoolLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 26).unwrap();
        let keys = crate::dev_accounts().unwrap();
        let bench = Self {
            pool: Pool::new(PoolRules { chain_id: CHAIN, kind: ChainKind::Rollup, gas_limit: 30_000_000, limits }),
            store,
            keys,
            _dir: dir,
        };
        bench.set_nonces(0, 0);
        bench
    }

    /// Writes a block after which every key has this nonce and one ether.
    fn set_nonces(&self, block: u64, nonce: u64) {
        let accounts = self.keys.iter().map(|key| AccountChange {
            address: key.address(),
            info: Some((nonce, U256::from(10u128.pow(18)), alloy::primitives::KECCAK256_EMPTY)),
            wiped: false,
            storage: Vec::new(),
        });
        let mut batch = self.store.begin().unwrap();
        batch.apply_state(&StateChanges { accounts: accounts.collect(), code: Vec::new() }).unwrap();
        let header = alloy::consensus::Sealed::new(alloy::consensus::Header { number: block, ..Default::default() });
        batch
            .put_block(&NewBlock { header: &header, transactions: &[], receipts: &[], blobs: &[] }, Keep::undo(10))
            .unwrap();
        batch.commit().unwrap();
    }

    fn snapshot(&self) -> Snapshot {
        self.store.snapshot().unwrap()
    }

    fn submit(&self, raw: Bytes) -> Result<B256, PoolError> {
        self.pool.submit(self.pool.admit(raw)?, &self.snapshot().state(), 50 * GWEI as u64)
    }

    fn send(&self, key: usize, nonce: u64, tip_gwei: u128) -> Result<B256, PoolError> {
        self.submit(sign(&self.keys[key], transfer(nonce, tip_gwei)))
    }

    /// Sender index and nonce in the order in which a block takes them.
    fn order(&self, base_fee: u64) -> Vec<(usize, u64)> {
        let snapshot = self.snapshot();
        let mut best = self.pool.best(&snapshot.state(), base_fee).unwrap();
        let mut order = Vec::new();
        while let Some(tx) = best.next() {
            order.push((self.keys.iter().position(|key| key.address() == tx.sender).unwrap(), tx.nonce));
            best.included();
        }
        order
    }
}

fn transfer(nonce: u64, tip_gwei: u128) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 100 * GWEI + tip_gwei * GWEI,
        max_priority_fee_per_gas: tip_gwei * GWEI,
        to: TxKind::Call(Address::repeat_byte(1)),
        ..TxEip1559::default()
    }
}

fn sign<T: SignableTransaction<alloy::primitives::Signature>>(key: &PrivateKeySigner, tx: T) -> Bytes
where
    TxEnvelope: From<alloy::consensus::Signed<T>>,
{
    let signature = key.sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
}

#[test]
fn tips_decide_and_nonces_stay_in_order() {
    let bench = Bench::new(PoolLimits::default());
    bench.send(0, 1, 50).unwrap();
    bench.send(0, 0, 1).unwrap();
    bench.send(1, 0, 10).unwrap();
    bench.send(2, 0, 10).unwrap();
    // Key 0's second transaction pays best but cannot come before its first.
    assert_eq!(bench.order(1), [(1, 0), (2, 0), (0, 0), (0, 1)]);
    // Who does not pay the base fee waits, with all that follows; 101 gwei is the cap of the cheapest.
    assert_eq!(bench.order(102 * GWEI as u64), [(1, 0), (2, 0)]);
}

#[test]
fn gaps_wait_and_used_nonces_are_forgotten() {
    let bench = Bench::new(PoolLimits::default());
    for nonce in [0, 1, 3] {
        bench.send(0, nonce, 1).unwrap();
    }
    assert_eq!(bench.order(1), [(0, 0), (0, 1)]);
    let sender = bench.keys[0].address();
    assert_eq!(bench.pool.pending_nonce(sender, 0), 2);
    let (ready, queued) = bench.pool.content(&bench.snapshot().state()).unwrap();
    assert_eq!((ready.len(), queued.len()), (2, 1));
    bench.set_nonces(1, 3);
    assert!(matches!(bench.send(0, 2, 1), Err(PoolError::NonceTooLow { next: 3, tx: 2 })));
    assert_eq!(bench.order(1), [(0, 3)]);
    assert_eq!(bench.pool.lock().by_hash.len(), 1);
}

#[test]
fn a_refused_transaction_holds_back_its_sender_only() {
    let bench = Bench::new(PoolLimits::default());
    let bad = bench.send(0, 0, 9).unwrap();
    bench.send(0, 1, 9).unwrap();
    bench.send(1, 0, 1).unwrap();
    let snapshot = bench.snapshot();
    let mut best = bench.pool.best(&snapshot.state(), 1).unwrap();
    assert_eq!(best.next().unwrap().hash, bad);
    best.invalid("for the test".into());
    assert_eq!(best.next().unwrap().sender, bench.keys[1].address());
    best.postponed();
    assert!(best.next().is_none());
    assert_eq!((best.invalid.clone(), best.taken.len()), (vec![bad], 0));
    bench.pool.forget(best.invalid);
    assert_eq!(bench.order(1), [(1, 0)]);
}

#[test]
fn replacement_needs_ten_percent_on_both_prices() {
    let bench = Bench::new(PoolLimits::default());
    let first = bench.send(0, 0, 10).unwrap();
    assert!(matches!(bench.send(0, 0, 10), Err(PoolError::Known)));
    assert!(matches!(bench.send(0, 0, 11), Err(PoolError::Underpriced { percent: 10 })));
    let mut better = transfer(0, 11);
    better.max_fee_per_gas = 121 * GWEI;
    let second = bench.submit(sign(&bench.keys[0], better)).unwrap();
    assert!(bench.pool.get(first).is_none() && bench.pool.get(second).is_some());
    assert_eq!(bench.order(1), [(0, 0)]);
}

#[test]
fn one_sender_and_all_together_are_limited() {
    let bench = Bench::new(PoolLimits { per_sender: 3, total: 5, ..PoolLimits::default() });
    for nonce in 0..3 {
        bench.send(0, nonce, 5).unwrap();
    }
    assert!(matches!(bench.send(0, 3, 5), Err(PoolError::SenderFull { limit: 3 })));
    bench.send(1, 0, 2).unwrap();
    bench.send(1, 1, 2).unwrap();
    assert!(matches!(bench.send(2, 0, 2), Err(PoolError::Full { limit: 5 })));
    // A better one pushes out the worst that nothing depends on.
    bench.send(2, 0, 3).unwrap();
    assert_eq!(bench.order(1), [(0, 0), (0, 1), (0, 2), (2, 0), (1, 0)]);
}

#[test]
fn eviction_takes_gaps_first_then_who_does_not_pay_the_base_fee() {
    let bench = Bench::new(PoolLimits { total: 3, ..PoolLimits::default() });
    // Key 0 has a gap and tips best; key 1 pays less than the base fee of 50 gwei; key 2 pays little.
    bench.send(0, 1, 90).unwrap();
    let cheap = TxEip1559 { max_fee_per_gas: 40 * GWEI, max_priority_fee_per_gas: 30 * GWEI, ..transfer(0, 1) };
    bench.submit(sign(&bench.keys[1], cheap)).unwrap();
    bench.send(2, 0, 1).unwrap();
    // Who would wait behind a gap cannot push out anybody, whatever the tip, unless another does so for less.
    assert!(matches!(bench.send(3, 5, 80), Err(PoolError::Full { limit: 3 })));
    let waiting = || (0..5).map(|key| bench.pool.of_sender(bench.keys[key].address()).len()).collect::<Vec<_>>();
    bench.send(3, 0, 2).unwrap();
    assert_eq!(waiting(), [0, 1, 1, 1, 0]);
    bench.send(4, 0, 2).unwrap();
    assert_eq!(waiting(), [0, 0, 1, 1, 1]);
    assert!(matches!(bench.send(0, 0, 1), Err(PoolError::Full { limit: 3 })));
    bench.send(0, 0, 3).unwrap();
    assert_eq!(waiting(), [1, 0, 0, 1, 1]);
}

#[test]
fn what_waits_comes_back_from_the_journal_and_used_nonces_do_not() {
    let bench = Bench::new(PoolLimits::default());
    let open = |pool: &Pool| pool.keep_journal(bench._dir.path(), &bench.snapshot().state(), 1);
    open(&bench.pool);
    for (key, nonce) in [(0, 0), (0, 1), (1, 3), (2, 0)] {
        bench.send(key, nonce, 5).unwrap();
    }
    bench.set_nonces(1, 1);
    let pool = Pool::new(bench.pool.rules);
    open(&pool);
    assert_eq!(pool.content(&bench.snapshot().state()).map(|(a, b)| (a.len(), b.len())).unwrap(), (1, 1));
    // What came back is still in the journal.
    let again = Pool::new(bench.pool.rules);
    open(&again);
    assert_eq!(again.len(), 2);
}

#[test]
fn a_fee_cap_under_the_floor_is_refused() {
    let bench = Bench::new(PoolLimits { fee_cap_floor_wei: 2_000_000_000, ..PoolLimits::default() });
    let low = TxEip1559 { max_fee_per_gas: 2 * GWEI - 1, max_priority_fee_per_gas: 0, ..transfer(0, 1) };
    let error = bench.submit(sign(&bench.keys[0], low)).unwrap_err();
    assert!(matches!(error, PoolError::FeeCapTooLow { floor, .. } if floor == 2_000_000_000), "{error}");
}

#[test]
fn what_waits_behind_a_gap_for_too_long_is_forgotten() {
    let bench = Bench::new(PoolLimits { gap_lifetime_s: 0, ..PoolLimits::default() });
    for nonce in [0, 2] {
        bench.send(0, nonce, 5).unwrap();
    }
    assert_eq!(bench.order(1), [(0, 0)]);
    assert_eq!(bench.pool.len(), 1);
}

#[test]
fn all_waiting_transactions_together_must_be_affordable() {
    let bench = Bench::new(PoolLimits::default());
    let half = |nonce| TxEip1559 { value: U256::from(6 * 10u128.pow(17)), ..transfer(nonce, 1) };
    bench.submit(sign(&bench.keys[0], half(0))).unwrap();
    let error = bench.submit(sign(&bench.keys[0], half(1))).unwrap_err();
    assert!(matches!(error, PoolError::Funds { .. }), "{error}");
    bench.send(0, 1, 1).unwrap();
}

#[test]
fn what_is_no_transaction_of_this_chain_is_refused() {
    let bench = Bench::new(PoolLimits { tx_bytes: 1000, ..PoolLimits::default() });
    let key = &bench.keys[0];
    let to = TxKind::Call(Address::repeat_byte(1));
    let legacy = TxLegacy { chain_id: Some(CHAIN), gas_price: GWEI, gas_limit: 21_000, to, ..TxLegacy::default() };
    let old = TxEip2930 { chain_id: CHAIN, gas_price: GWEI, gas_limit: 21_000, to, nonce: 1, ..TxEip2930::default() };
    bench.submit(sign(key, legacy.clone())).unwrap();
    bench.submit(sign(key, old)).unwrap();
    let refused = |raw: Bytes| bench.submit(raw).unwrap_err();
    assert!(matches!(refused(sign(key, TxLegacy { chain_id: None, nonce: 2, ..legacy })), PoolError::Unprotected));
    let big = TxEip1559 { input: vec![1; 1000].into(), ..transfer(2, 1) };
    assert!(matches!(refused(sign(key, big)), PoolError::TooLarge { limit: 1000, .. }));
    let other = TxEip1559 { chain_id: 1, ..transfer(2, 1) };
    assert!(matches!(refused(sign(key, other)), PoolError::ChainId { have: 1, want: CHAIN }));
    let mut trailing = sign(key, transfer(2, 1)).to_vec();
    trailing.push(0);
    assert!(matches!(refused(trailing.into()), PoolError::Undecodable(_)));
    for raw in [&[][..], &[0x80], &[2], &[0xf8, 0xff], &[3, 0xc0], &[0x7e, 0xc0], &[0xff; 64]] {
        assert!(matches!(refused(Bytes::copy_from_slice(raw)), PoolError::Undecodable(_)), "{raw:?}");
    }
    // A signature by nobody.
    let bad = transfer(2, 1).into_signed(alloy::primitives::Signature::new(U256::ZERO, U256::ONE, false));
    assert!(matches!(refused(TxEnvelope::from(bad).encoded_2718().into()), PoolError::Signature(_)));
}
