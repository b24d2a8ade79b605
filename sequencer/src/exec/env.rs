//! What the EVM is told about the block and the transaction.

use alloy::{
    consensus::{Header, Sealed, Transaction},
    eips::{
        eip4844::{DATA_GAS_PER_BLOB, MAX_DATA_GAS_PER_BLOCK_DENCUN},
        eip7840::BlobParams,
    },
    primitives::{Address, B64, B256, Bytes, U256, address, keccak256},
};
use op_revm::{DefaultOp, OpBuilder, OpContext, OpSpecId, OpTransaction, api::builder::DefaultOpEvm};
use revm::{
    Context,
    context::{BlockEnv, CfgEnv, TxEnv},
    context_interface::{block::BlobExcessGasAndPrice, either::Either},
    database_interface::WrapDatabaseRef,
    primitives::eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN,
};

use super::attributes::Attributes;
use crate::{config::ChainKind, store::State};

/// Receives the tips: the OP Stack's sequencer fee vault.
pub(crate) const FEE_RECIPIENT: Address = address!("4200000000000000000000000000000000000011");

/// Where the EVM collects base fees and L1 fees. On Ethereum they are burned.
pub(crate) const FEE_VAULTS: [Address; 2] =
    [address!("4200000000000000000000000000000000000019"), address!("420000000000000000000000000000000000001a")];

/// State with what was changed on top. One type for blocks and calls alike, so that the EVM is compiled once.
pub(crate) type Working<'a> = revm::database::State<WrapDatabaseRef<State<'a>>>;

/// The EVM over such a state.
pub(crate) type Evm<'db, 'a> = DefaultOpEvm<OpContext<&'db mut Working<'a>>>;

/// The same with an inspector.
pub(crate) type WatchedEvm<'db, 'a, I> = DefaultOpEvm<OpContext<&'db mut Working<'a>>, I>;

/// What is fixed about a block before its transactions are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockRules {
    /// Chain id.
    pub(crate) chain_id: u64,
    /// Whose rules the chain follows.
    pub(crate) kind: ChainKind,
    /// Number of the block.
    pub(crate) number: u64,
    /// Seconds since 1970.
    pub(crate) timestamp_s: u64,
    /// Who receives the tips.
    pub(crate) beneficiary: Address,
    /// Gas that its transactions may use together.
    pub(crate) gas_limit: u64,
    /// Wei per gas that is not paid to the sequencer.
    pub(crate) base_fee_wei: u64,
    /// The value of PREVRANDAO. Without an L1 to take it from, the hash of the parent's hash: unique, not random.
    pub(crate) prev_randao: B256,
    /// What EIP-4788 tells contracts about the consensus layer.
    pub(crate) parent_beacon_root: B256,
    /// What EIP-2935 tells contracts about the chain.
    pub(crate) parent_hash: B256,
    /// Parameters of the base fee after the block, where headers state them: denominator and elasticity. `None` or zero: the usual ones.
    pub(crate) base_fee_params: Option<B64>,
    /// Blob gas above the target that earlier blocks used (EIP-4844); always zero on a rollup.
    pub(crate) excess_blob_gas: u64,
}

impl BlockRules {
    /// The rules of the block after `parent`.
    pub(crate) fn after(chain_id: u64, kind: ChainKind, parent: &Sealed<Header>, timestamp_s: u64) -> Self {
        let excess_blob_gas = match kind {
            ChainKind::Rollup | ChainKind::Isthmus => 0,
            ChainKind::Ethereum => parent.next_block_excess_blob_gas(BlobParams::cancun()).unwrap_or_default(),
        };
        Self {
            chain_id,
            kind,
            number: parent.number + 1,
            timestamp_s,
            beneficiary: kind.beneficiary(),
            gas_limit: parent.gas_limit,
            base_fee_wei: kind.next_base_fee(parent),
            prev_randao: keccak256(parent.hash()),
            parent_beacon_root: B256::ZERO,
            parent_hash: parent.hash(),
            base_fee_params: None,
            excess_blob_gas,
        }
    }

    /// The rules of the block after `parent` as `attributes` have it.
    pub(crate) fn chosen(chain_id: u64, kind: ChainKind, parent: &Sealed<Header>, attributes: &Attributes) -> Self {
        Self {
            gas_limit: attributes.gas_limit,
            prev_randao: attributes.prev_randao,
            parent_beacon_root: attributes.parent_beacon_root,
            base_fee_params: attributes.base_fee_params,
            ..Self::after(chain_id, kind, parent, attributes.timestamp_s)
        }
    }

    /// The rules that a finished block was made by.
    pub(crate) fn of(chain_id: u64, kind: ChainKind, header: &Header) -> Self {
        Self {
            chain_id,
            kind,
            number: header.number,
            timestamp_s: header.timestamp,
            beneficiary: header.beneficiary,
            gas_limit: header.gas_limit,
            base_fee_wei: header.base_fee_per_gas.unwrap_or_default(),
            prev_randao: header.mix_hash,
            parent_beacon_root: header.parent_beacon_block_root.unwrap_or_default(),
            parent_hash: header.parent_hash,
            base_fee_params: None,
            excess_blob_gas: header.excess_blob_gas.unwrap_or_default(),
        }
    }

    /// An EVM for this block.
    pub(crate) fn evm<'db, 'a>(&self, state: &'db mut Working<'a>) -> Evm<'db, 'a> {
        self.evm_with(state, |_| ())
    }

    /// An EVM for this block with settings that blocks themselves never use.
    pub(crate) fn evm_with<'db, 'a>(
        &self,
        state: &'db mut Working<'a>,
        adjust: impl FnOnce(&mut CfgEnv<OpSpecId>),
    ) -> Evm<'db, 'a> {
        let mut cfg = self.cfg();
        adjust(&mut cfg);
        Context::op().with_db(state).with_cfg(cfg).with_block(self.block_env()).build_op()
    }

    /// An EVM for this block that tells an inspector of every step.
    pub(crate) fn evm_watched<'db, 'a, I>(&self, state: &'db mut Working<'a>, inspector: I) -> WatchedEvm<'db, 'a, I> {
        Context::op()
            .with_db(state)
            .with_cfg(self.cfg())
            .with_block(self.block_env())
            .build_op_with_inspector(inspector)
    }

    fn cfg(&self) -> CfgEnv<OpSpecId> {
        CfgEnv::new_with_spec(self.kind.spec())
            .with_chain_id(self.chain_id)
            .with_max_blobs_per_tx(MAX_DATA_GAS_PER_BLOCK_DENCUN / DATA_GAS_PER_BLOB)
    }

    /// What a unit of blob gas costs, in wei.
    pub(crate) fn blob_fee_wei(&self) -> u128 {
        BlobExcessGasAndPrice::new(self.excess_blob_gas, BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN).blob_gasprice
    }

    pub(super) fn block_env(&self) -> BlockEnv {
        BlockEnv {
            number: U256::from(self.number),
            beneficiary: self.beneficiary,
            timestamp: U256::from(self.timestamp_s),
            gas_limit: self.gas_limit,
            basefee: self.base_fee_wei,
            prevrandao: Some(self.prev_randao),
            blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(
                self.excess_blob_gas,
                BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN,
            )),
            ..BlockEnv::default()
        }
    }
}

/// A signed transaction as the EVM takes it.
pub(crate) fn tx_env(tx: &impl Transaction, sender: Address, raw: Bytes) -> OpTransaction<TxEnv> {
    let base = TxEnv {
        tx_type: tx.ty(),
        caller: sender,
        gas_limit: tx.gas_limit(),
        gas_price: tx.max_fee_per_gas(),
        kind: tx.kind(),
        value: tx.value(),
        data: tx.input().clone(),
        nonce: tx.nonce(),
        chain_id: tx.chain_id(),
        access_list: tx.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: tx.max_priority_fee_per_gas(),
        blob_hashes: tx.blob_versioned_hashes().unwrap_or_default().to_vec(),
        max_fee_per_blob_gas: tx.max_fee_per_blob_gas().unwrap_or_default(),
        authorization_list: tx.authorization_list().unwrap_or_default().iter().cloned().map(Either::Left).collect(),
    };
    OpTransaction { base, enveloped_tx: Some(raw), deposit: Default::default() }
}
