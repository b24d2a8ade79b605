//! What a node is started with.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use alloy::{
    consensus::Header,
    eips::eip1559::BaseFeeParams,
    primitives::{Address, B64, B256, Bytes, U256},
};
use op_revm::OpSpecId;

use serde::{Deserialize, Serialize};

use crate::{dev, error::NodeError, exec::env::FEE_RECIPIENT, store::Keep};

/// Everything a node needs to know before its first block.
///
/// Chain rules (`chain_id`, `genesis`, `gas_limit`, `initial_base_fee_wei`, `genesis_time_s`) are fixed when a data
/// directory is first used. A directory of another chain is refused.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where the chain is kept. `None`: a temporary directory that is removed with the handle.
    pub data_dir: Option<PathBuf>,
    /// Chain id that transactions must be signed for.
    pub chain_id: u64,
    /// Whose rules it follows.
    pub kind: ChainKind,
    /// Whether blocks are built only when told to, instead of every `block_time_ms`.
    pub driven: bool,
    /// Milliseconds between blocks.
    ///
    /// Block timestamps are whole seconds. With 1000 ms or more every block is at least one second later than its
    /// parent; with less, neighbouring blocks may share a timestamp. They never decrease.
    pub block_time_ms: u64,
    /// Whether blocks are built when no transaction waits, so that contracts with deadlines see time pass.
    pub mine_empty: bool,
    /// Address of the JSON-RPC server, HTTP and WebSocket on one port. Port 0: any free port.
    pub listen: SocketAddr,
    /// Accounts that exist in block 0.
    pub genesis: Vec<GenesisAccount>,
    /// Timestamp of block 0 in seconds since 1970. `None`: the time of the first start.
    pub genesis_time_s: Option<u64>,
    /// Gas limit of every block.
    pub gas_limit: u64,
    /// Base fee of block 0 in wei per gas.
    pub initial_base_fee_wei: u64,
    /// On an Ethereum chain, how many blocks behind the newest the `finalized` one is; `safe` is half as many behind.
    /// On a rollup L1 says what is safe and finalized; without one, everything is.
    pub finality_blocks: u64,
    /// Blocks whose state can still be read and proven by number, beside the head.
    pub history_blocks: u64,
    /// Whether the state of every block from here on can be read by number, for good.
    pub archive: bool,
    /// Memory for pages of the database, in bytes. With less than the state takes, blocks wait for the disk.
    pub page_cache_bytes: usize,
    /// Offers `evm_increaseTime` and `evm_mine` over RPC. Never set it on a chain that others use.
    pub dev_methods: bool,
    /// Host names, with or without a port, that RPC requests may name; others are refused. Empty: any.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may use the RPC; `*` for all. Empty: none.
    pub cors_origins: Vec<String>,
    /// Address for metrics (`/metrics`, Prometheus), liveness (`/health`) and readiness (`/ready`). `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// What the mempool accepts.
    pub pool: PoolLimits,
    /// What one RPC client may ask for.
    pub rpc: RpcLimits,
}

/// Whose rules a chain follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChainKind {
    /// An OP Stack rollup as of Granite.
    #[default]
    Rollup,
    /// An OP Stack rollup as of Isthmus: the parameters of the base fee in every header, an operator's fee, withdrawals in the header, and what
    /// Prague brought.
    Isthmus,
    /// Ethereum as of Cancun, blobs included: a development L1.
    ///
    /// The EVM is the rollup's, which differs from Ethereum's in this: the precompile of RIP-7212 exists and the one for
    /// pairings takes at most 112,687 bytes.
    Ethereum,
}

/// The rules of a rollup, from its first block on, by the OP Stack's name for the upgrade that brought them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fork {
    /// Those of the contracts that the L1 side is deployed with.
    #[default]
    Granite,
    /// What Holocene and Isthmus brought, too.
    Isthmus,
}

impl Fork {
    /// The kind of chain that follows these rules.
    pub const fn kind(self) -> ChainKind {
        match self {
            Self::Granite => ChainKind::Rollup,
            Self::Isthmus => ChainKind::Isthmus,
        }
    }
}

impl std::fmt::Display for Fork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Granite => "granite",
            Self::Isthmus => "isthmus",
        })
    }
}

impl std::str::FromStr for Fork {
    type Err = NodeError;

    fn from_str(name: &str) -> Result<Self, NodeError> {
        [Self::Granite, Self::Isthmus]
            .into_iter()
            .find(|fork| fork.to_string() == name)
            .ok_or_else(|| NodeError::Config(format!("no fork {name}: it is granite or isthmus")))
    }
}

impl ChainKind {
    /// Who receives the tips: on a rollup a vault, on a development L1 nobody.
    pub(crate) const fn beneficiary(self) -> Address {
        match self {
            Self::Rollup | Self::Isthmus => FEE_RECIPIENT,
            Self::Ethereum => Address::ZERO,
        }
    }

    /// The base fee of the block after `parent`, in wei per gas.
    pub(crate) fn next_base_fee(self, parent: &Header) -> u64 {
        let params = match self {
            // The OP Stack's parameters since Canyon: target a sixth of the limit, at most 2 % per block.
            Self::Rollup => BaseFeeParams::optimism_canyon(),
            Self::Isthmus => stated_params(parent).unwrap_or(BaseFeeParams::optimism_canyon()),
            Self::Ethereum => BaseFeeParams::ethereum(),
        };
        parent.next_block_base_fee(params).unwrap_or_default()
    }

    /// What a header says beyond what all have. `params` are those of the base fee after it, `None` or zero for the usual ones.
    pub(crate) fn extra_data(self, params: Option<B64>) -> Bytes {
        if self != Self::Isthmus {
            return Bytes::new();
        }
        let usual = BaseFeeParams::optimism_canyon();
        let parts = [usual.max_change_denominator as u32, usual.elasticity_multiplier as u32].map(u32::to_be_bytes);
        let usual = B64::from_slice(&parts.concat());
        let params = params.filter(|params| !params.is_zero()).unwrap_or(usual);
        [&[EXTRA_DATA_VERSION], params.as_slice()].concat().into()
    }

    /// The rules of the EVM.
    pub(crate) const fn spec(self) -> OpSpecId {
        match self {
            Self::Isthmus => OpSpecId::ISTHMUS,
            // Ethereum's rules of Cancun are among Granite's.
            Self::Rollup | Self::Ethereum => OpSpecId::GRANITE,
        }
    }
}

/// First byte of the extra data of a header since Holocene.
const EXTRA_DATA_VERSION: u8 = 0;

/// The parameters of the base fee that a header states (Holocene).
fn stated_params(header: &Header) -> Option<BaseFeeParams> {
    let [EXTRA_DATA_VERSION, a, b, c, d, e, f, g, h] = *header.extra_data.as_ref() else { return None };
    let params = BaseFeeParams {
        max_change_denominator: u32::from_be_bytes([a, b, c, d]).into(),
        elasticity_multiplier: u32::from_be_bytes([e, f, g, h]).into(),
    };
    (params.max_change_denominator > 0 && params.elasticity_multiplier > 0).then_some(params)
}

/// One account of block 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenesisAccount {
    /// Its address.
    pub address: Address,
    /// Its balance in wei.
    pub balance_wei: U256,
    /// Its nonce.
    pub nonce: u64,
    /// Its runtime code; empty for an account without code.
    pub code: Bytes,
    /// Its storage: slot and value.
    pub storage: Vec<(U256, B256)>,
}

impl GenesisAccount {
    /// An account with a balance and nothing else.
    pub fn funded(address: Address, balance_wei: U256) -> Self {
        Self { address, balance_wei, ..Self::default() }
    }

    /// A contract with code and nothing else.
    pub fn contract(address: Address, code: Bytes) -> Self {
        Self { address, nonce: 1, code, ..Self::default() }
    }
}

/// Limits of the mempool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolLimits {
    /// Transactions of one sender.
    pub per_sender: usize,
    /// Transactions of all senders.
    pub total: usize,
    /// Encoded size of one transaction in bytes.
    pub tx_bytes: usize,
    /// By how many percent a replacement must raise both the fee cap and the tip.
    pub price_bump_percent: u64,
    /// The least that a transaction must be ready to pay per gas, in wei. The base fee never falls below 7 by itself.
    pub fee_cap_floor_wei: u64,
    /// How long a transaction may wait behind a nonce gap, in seconds.
    pub gap_lifetime_s: u64,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            per_sender: 256,
            total: 10_000,
            tx_bytes: 128 * 1024,
            price_bump_percent: 10,
            fee_cap_floor_wei: 7,
            gap_lifetime_s: 3 * 3600,
        }
    }
}

/// Limits of the RPC server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RpcLimits {
    /// Size of one request, or of one batch, in bytes.
    pub request_bytes: u32,
    /// Size of one response in bytes.
    pub response_bytes: u32,
    /// Calls in one batch.
    pub batch: u32,
    /// Connections at a time.
    pub connections: u32,
    /// Subscriptions of one connection.
    pub subscriptions: u32,
    /// Gas that `eth_call` may use. `eth_estimateGas` is bounded by the block's gas limit.
    pub call_gas: u64,
    /// Calls and estimates that run at the same time.
    pub calls_at_once: usize,
    /// Blocks that one `eth_getLogs` may span.
    pub log_blocks: u64,
    /// Logs that one `eth_getLogs` may return.
    pub log_results: usize,
    /// Filters (`eth_newFilter` and its kin) that exist at a time.
    pub filters: usize,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self {
            request_bytes: 4 << 20,
            response_bytes: 32 << 20,
            batch: 100,
            connections: 256,
            subscriptions: 64,
            call_gas: 100_000_000,
            calls_at_once: 32,
            log_blocks: 10_000,
            log_results: 20_000,
            filters: 1024,
        }
    }
}

impl Default for NodeConfig {
    /// Chain 901, one block a second, 30 M gas, nobody funded, RPC on any free port of 127.0.0.1, temporary store.
    fn default() -> Self {
        Self {
            data_dir: None,
            chain_id: 901,
            kind: ChainKind::Rollup,
            driven: false,
            block_time_ms: 1000,
            mine_empty: true,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            genesis: Vec::new(),
            genesis_time_s: None,
            gas_limit: 30_000_000,
            initial_base_fee_wei: 1_000_000_000,
            finality_blocks: 64,
            history_blocks: 128,
            archive: false,
            page_cache_bytes: 1 << 30,
            dev_methods: false,
            allowed_hosts: Vec::new(),
            cors_origins: Vec::new(),
            metrics_listen: None,
            pool: PoolLimits::default(),
            rpc: RpcLimits::default(),
        }
    }
}

impl NodeConfig {
    /// A development chain: the default with the ten accounts of [`crate::dev_accounts`] funded with 10,000 ether
    /// each and the `evm_` methods on.
    ///
    /// # Errors
    /// [`NodeError::Config`] if the development mnemonic cannot be derived, which a test rules out.
    pub fn dev() -> Result<Self, NodeError> {
        let ether = U256::from(10u64).pow(U256::from(18u64));
        let balance_wei = U256::from(10_000u64) * ether;
        let genesis =
            dev::dev_accounts()?.iter().map(|key| GenesisAccount::funded(key.address(), balance_wei)).collect();
        Ok(Self { genesis, dev_methods: true, ..Self::default() })
    }

    /// What a block leaves behind of the past.
    pub(crate) fn keep(&self) -> Keep {
        Keep { undo_blocks: self.history_blocks, archive: self.archive }
    }

    /// Checks what can be wrong before anything is opened.
    pub(crate) fn check(&self) -> Result<(), NodeError> {
        let wrong = |what: String| Err(NodeError::Config(what));
        if self.chain_id == 0 {
            return wrong("chain_id is 0, which no wallet signs for; choose another".into());
        }
        if !(10..=3_600_000).contains(&self.block_time_ms) {
            return wrong(format!("block_time_ms is {}, not within 10 to 3,600,000", self.block_time_ms));
        }
        if !(100_000..=1_000_000_000).contains(&self.gas_limit) {
            return wrong(format!("gas_limit is {}, not within 100,000 to 1,000,000,000", self.gas_limit));
        }
        let mut seen = HashSet::new();
        for account in &self.genesis {
            let address = account.address;
            if !seen.insert(address) {
                return wrong(format!("genesis names {address} twice"));
            }
            if account.balance_wei.is_zero() && account.nonce == 0 && account.code.is_empty() {
                return wrong(format!("genesis account {address} has no balance, nonce or code, so it cannot exist"));
            }
            if account.code.starts_with(&[0xef]) {
                return wrong(format!("genesis account {address}: code must not start with ef (EIP-3541)"));
            }
            let mut slots = HashSet::new();
            if let Some((slot, _)) = account.storage.iter().find(|(slot, _)| !slots.insert(slot)) {
                return wrong(format!("genesis account {address} names slot {slot} twice"));
            }
        }
        Ok(())
    }
}
