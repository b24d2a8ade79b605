//! The same random blocks made by this node and by kona's stateless builder: other code for execution's frame, receipts, tries and
//! headers, reading this store's trie nodes by their hashes.

use std::collections::HashMap;

use alloy::{
    consensus::{Header, Sealed},
    primitives::{Address, B256, Bytes, U256, keccak256},
};
use alloy_consensus_1::{Header as Header1, Sealable as _};
use alloy_op_evm_14::OpEvmFactory;
use alloy_rlp::Decodable as _;
use alloy_rpc_types_engine_1::PayloadAttributes;
use kona_executor::{StatelessL2Builder, TrieDBProvider};
use kona_genesis::{BaseFeeConfig, HardForkConfig, RollupConfig};
use kona_mpt::{NoopTrieHinter, TrieNode, TrieProvider};
use op_alloy_rpc_types_engine_18::OpPayloadAttributes;

use super::{env::FEE_RECIPIENT, random::World};
use crate::{
    chain::Chain,
    config::{ChainKind, NodeConfig},
    exec::attributes::Attributes,
    l1::MESSAGE_PASSER,
    predeploys::RULES,
    store::Store,
};

const CHAIN_ID: u64 = RULES.chain_id;

/// What kona asks for by hash.
#[derive(Debug, Default)]
struct Preimages(HashMap<B256, Bytes>);

impl Preimages {
    fn get(&self, hash: B256) -> Result<&[u8], String> {
        self.0.get(&hash).map(AsRef::as_ref).ok_or_else(|| format!("nothing has the hash {hash}"))
    }

    fn add(&mut self, bytes: impl IntoIterator<Item = Bytes>) {
        self.0.extend(bytes.into_iter().map(|bytes| (keccak256(&bytes), bytes)));
    }
}

impl TrieProvider for &Preimages {
    type Error = String;

    fn trie_node_by_hash(&self, hash: B256) -> Result<TrieNode, String> {
        TrieNode::decode(&mut self.get(hash)?).map_err(|error| error.to_string())
    }
}

impl TrieDBProvider for &Preimages {
    fn bytecode_by_hash(&self, hash: B256) -> Result<Bytes, String> {
        Ok(Bytes::copy_from_slice(self.get(hash)?))
    }

    fn header_by_hash(&self, hash: B256) -> Result<Header1, String> {
        Header1::decode(&mut self.get(hash)?).map_err(|error| error.to_string())
    }
}

fn rollup(kind: ChainKind) -> RollupConfig {
    let zero = Some(0);
    let isthmus = (kind == ChainKind::Isthmus).then_some(0);
    RollupConfig {
        l2_chain_id: CHAIN_ID.into(),
        block_time: 1,
        hardforks: HardForkConfig {
            regolith_time: zero,
            canyon_time: zero,
            delta_time: zero,
            ecotone_time: zero,
            fjord_time: zero,
            granite_time: zero,
            holocene_time: isthmus,
            isthmus_time: isthmus,
            ..HardForkConfig::default()
        },
        chain_op_config: BaseFeeConfig {
            eip1559_elasticity: 6,
            eip1559_denominator: 50,
            eip1559_denominator_canyon: 250,
        },
        ..RollupConfig::default()
    }
}

/// The header that kona makes after `parent`.
fn by_kona(kind: ChainKind, preimages: &Preimages, parent: &Header, attributes: &Attributes) -> Header {
    let parent = Header1::decode(&mut alloy_rlp::encode(parent).as_slice()).unwrap().seal_slow();
    let config = rollup(kind);
    let mut builder = StatelessL2Builder::new(&config, OpEvmFactory::default(), preimages, NoopTrieHinter, parent);
    let built = builder.build_block(OpPayloadAttributes {
        payload_attributes: PayloadAttributes {
            timestamp: attributes.timestamp_s,
            prev_randao: attributes.prev_randao,
            suggested_fee_recipient: FEE_RECIPIENT,
            withdrawals: Some(Vec::new()),
            parent_beacon_block_root: Some(attributes.parent_beacon_root),
        },
        transactions: Some(attributes.forced.clone()),
        no_tx_pool: Some(true),
        gas_limit: Some(attributes.gas_limit),
        eip_1559_params: attributes.base_fee_params,
    });
    let header = alloy_rlp::encode(built.unwrap().header.inner());
    Header::decode(&mut header.as_slice()).unwrap()
}

/// What the random blocks did, so that a test of nothing does not pass.
#[derive(Debug, Default)]
struct Seen {
    failed: usize,
    failed_deposits: usize,
    created: usize,
    logs: usize,
    slots_deleted: usize,
    accounts_gone: usize,
    set_code: usize,
    withdrawals: usize,
}

type Slots = HashMap<Address, Vec<(U256, U256)>>;

fn slots(chain: &Chain, known: &[Address]) -> Slots {
    let head = chain.head();
    let state = head.snapshot.state();
    known.iter().map(|address| (*address, state.slots(*address).unwrap())).collect()
}

impl Seen {
    fn look(&mut self, chain: &Chain, known: &[Address], before: &Slots) {
        let head = chain.head();
        let state = head.snapshot.state();
        for receipt in head.snapshot.receipts(head.header.number).unwrap() {
            self.failed += usize::from(!receipt.success);
            self.failed_deposits += usize::from(!receipt.success && receipt.tx_type == 0x7e);
            self.created += usize::from(!receipt.created.is_empty());
            self.logs += receipt.logs.len();
            self.set_code += usize::from(receipt.tx_type == 4);
            self.withdrawals += receipt.logs.iter().filter(|log| log.address == MESSAGE_PASSER).count();
            let created = Address::try_from(receipt.created.as_ref()).ok();
            self.accounts_gone += usize::from(created.is_some_and(|made| state.account(made).unwrap().is_none()));
        }
        let now = slots(chain, known);
        let gone = |(address, slots): (&Address, &Vec<(U256, U256)>)| {
            slots.iter().filter(|(slot, _)| now[address].iter().all(|(other, _)| other != slot)).count()
        };
        self.slots_deleted += before.iter().map(gone).sum::<usize>();
    }
}

/// A chain with everything that a rollup has in block 0.
fn chain(kind: ChainKind, dir: &std::path::Path) -> Chain {
    let mut config =
        NodeConfig { kind, chain_id: CHAIN_ID, genesis_time_s: Some(1_000_000), ..NodeConfig::dev().unwrap() };
    config.genesis.extend(RULES.accounts_for(kind).unwrap());
    Chain::open(config, Store::open(dir, 1 << 26).unwrap()).unwrap()
}

fn compare(kind: ChainKind, seed: u64, blocks: u64, seen: &mut Seen) {
    let dir = tempfile::tempdir().unwrap();
    let chain = chain(kind, dir.path());
    let isthmus = kind == ChainKind::Isthmus;
    let world = World::new(seed, CHAIN_ID);
    let mut world = if isthmus { world.isthmus() } else { world };
    let mut preimages = Preimages::default();
    for number in 1..=blocks {
        let parent = chain.head();
        preimages.add(parent.snapshot.preimages().unwrap());
        preimages.add([alloy_rlp::encode(parent.header.inner()).into()]);
        let attributes = Attributes {
            timestamp_s: parent.header.timestamp + 1 + world.dice.below(3),
            prev_randao: world.dice.hash(),
            parent_beacon_root: world.dice.hash(),
            gas_limit: 30_000_000 + world.dice.below(5) * 1_000_000,
            base_fee_params: isthmus.then(|| world.base_fee_params()),
            forced: world.block(number),
            from_pool: false,
        };
        let before = slots(&chain, &world.known);
        let ours = chain.produce(parent.header.hash(), &attributes).unwrap();
        seen.look(&chain, &world.known, &before);
        let theirs = by_kona(kind, &preimages, &parent.header, &attributes);
        assert_eq!(ours.inner(), &theirs, "seed {seed}, block {number}");
        assert_eq!(ours.hash(), Sealed::new(theirs).hash());
    }
}

#[test]
fn random_blocks_have_the_headers_that_kona_gives_them() {
    let mut seen = Seen::default();
    for seed in 0..4 {
        compare(ChainKind::Rollup, seed, 25, &mut seen);
    }
    println!("{seen:?}");
    let counts = [seen.failed, seen.failed_deposits, seen.created, seen.logs, seen.slots_deleted, seen.accounts_gone];
    assert!(counts.iter().all(|count| *count >= 3), "the blocks do too little: {seen:?}");
}

#[test]
fn random_blocks_of_isthmus_have_the_headers_that_kona_gives_them() {
    let mut seen = Seen::default();
    for seed in 10..14 {
        compare(ChainKind::Isthmus, seed, 25, &mut seen);
    }
    println!("{seen:?}");
    let counts = [seen.failed, seen.created, seen.logs, seen.slots_deleted, seen.set_code, seen.withdrawals];
    assert!(counts.iter().all(|count| *count >= 3), "the blocks do too little: {seen:?}");
}

/// Many more; for hand.
#[test]
#[ignore = "takes minutes"]
fn many_random_blocks_have_the_headers_that_kona_gives_them() {
    let mut seen = Seen::default();
    for seed in 1000..1100 {
        compare(ChainKind::Rollup, seed, 50, &mut seen);
        compare(ChainKind::Isthmus, seed, 50, &mut seen);
    }
    println!("{seen:?}");
}
