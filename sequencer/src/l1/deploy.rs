//! The OP Stack's contracts on L1, from the artifacts of `@eth-optimism/contracts-bedrock` that are checked in.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    network::TxSignerSync,
    primitives::{Address, B64, B256, Bytes, TxKind, U256, hex},
    providers::{Provider, RootProvider},
    signers::local::PrivateKeySigner,
    sol,
    sol_types::{SolCall, SolValue},
};
use serde::{Deserialize, Serialize};

use super::send::await_receipt;
use crate::{config::Fork, error::L1Error, op_contracts::creation};

sol! {
    struct ResourceConfig {
        uint32 maxResourceLimit;
        uint8 elasticityMultiplier;
        uint8 baseFeeMaxChangeDenominator;
        uint32 minimumBaseFee;
        uint32 systemTxMaxGas;
        uint128 maximumBaseFee;
    }

    struct SystemAddresses {
        address l1CrossDomainMessenger;
        address l1ERC721Bridge;
        address l1StandardBridge;
        address disputeGameFactory;
        address optimismPortal;
        address optimismMintableERC20Factory;
        address gasPayingToken;
    }

    interface ProxyAdmin {
        function upgradeAndCall(address proxy, address implementation, bytes data) external payable;
    }
    interface SuperchainConfig {
        function initialize(address guardian, bool paused) external;
    }
    interface SystemConfigInit {
        function initialize(
            address owner, uint32 basefeeScalar, uint32 blobbasefeeScalar, bytes32 batcherHash, uint64 gasLimit,
            address unsafeBlockSigner, ResourceConfig config, address batchInbox, SystemAddresses addresses
        ) external;
    }
    interface TwoAddresses {
        function initialize(address first, address second) external;
    }
    interface ThreeAddresses {
        function initialize(address first, address second, address third) external;
    }
    interface OneAddress {
        function initialize(address first) external;
    }
    interface OracleInit {
        function initialize(
            uint256 submissionInterval, uint256 l2BlockTime, uint256 startingBlockNumber, uint256 startingTimestamp,
            address proposer, address challenger, uint256 finalizationPeriodSeconds
        ) external;
    }
}

/// The gas market of deposits; the OP Stack's own numbers.
const RESOURCES: ResourceConfig = ResourceConfig {
    maxResourceLimit: 20_000_000,
    elasticityMultiplier: 10,
    baseFeeMaxChangeDenominator: 8,
    minimumBaseFee: 1_000_000_000,
    systemTxMaxGas: 1_000_000,
    maximumBaseFee: u128::MAX,
};

/// Gas of each deployment transaction; the largest takes about six million.
const GAS: u64 = 8_000_000;

/// What the contracts are set up with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeployConfig {
    /// L2 chain id.
    pub l2_chain_id: u64,
    /// Seconds between L2 blocks.
    pub l2_block_time_s: u64,
    /// Gas limit of L2 blocks.
    pub l2_gas_limit: u64,
    /// Who sends batches.
    pub batcher: Address,
    /// Who proposes output roots.
    pub proposer: Address,
    /// Who may delete output roots that were not final yet, pause withdrawals, upgrade the system contracts of L2, and be paid
    /// the fees that it collects.
    pub guardian: Address,
    /// Millionths of the L1 base fee that a byte of compressed L2 transactions pays, times sixteen (Ecotone).
    pub base_fee_scalar: u32,
    /// The same of the L1 blob base fee.
    pub blob_base_fee_scalar: u32,
    /// L2 blocks between output proposals.
    pub submission_interval: u64,
    /// Seconds after which a proposed output is final and withdrawals can be finalised.
    pub finalization_s: u64,
    /// L1 blocks within which a batch must follow its L1 origin.
    pub sequencing_window: u64,
    /// The rules of the rollup.
    #[serde(default)]
    pub fork: Fork,
    /// Under Isthmus: millionths of a wei that the operator takes for each gas.
    #[serde(default)]
    pub operator_fee_scalar: u32,
    /// Under Isthmus: wei that the operator takes for each transaction.
    #[serde(default)]
    pub operator_fee_constant_wei: u64,
}

/// Where the contracts are, and what they were set up with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct L1Deployment {
    /// L1 chain id.
    pub l1_chain_id: u64,
    /// The L1 block that the rollup begins at.
    pub anchor_number: u64,
    /// Its hash.
    pub anchor_hash: B256,
    /// Its timestamp, which is that of the first L2 block, in seconds since 1970.
    pub anchor_time_s: u64,
    /// Where batches are sent: an address without code.
    pub batch_inbox: Address,
    /// Who may upgrade the rest.
    pub proxy_admin: Address,
    /// Pauses withdrawals.
    pub superchain_config: Address,
    /// Gas limit, fee scalars, who batches.
    pub system_config: Address,
    /// Deposits and withdrawals.
    pub portal: Address,
    /// Output roots.
    pub output_oracle: Address,
    /// Messages between the layers.
    pub messenger: Address,
    /// Ether and ERC-20 tokens.
    pub standard_bridge: Address,
    /// ERC-721 tokens.
    pub erc721_bridge: Address,
    /// Makes L1 representations of L2 tokens.
    pub erc20_factory: Address,
}

/// Deploys and initialises every contract. Takes about twenty transactions of `owner`, who remains the owner of all.
///
/// # Errors
/// [`L1Error::Rpc`] if L1 does not answer, [`L1Error::Reverted`] if a transaction fails: `owner` then lacks funds, or L1's
/// block gas limit is under eight million.
pub async fn deploy(
    l1: &RootProvider,
    owner: &PrivateKeySigner,
    config: &DeployConfig,
) -> Result<L1Deployment, L1Error> {
    let mut deployer = Deployer::new(l1, owner).await?;
    let admin = deployer.create("ProxyAdmin", &owner.address().abi_encode()).await?;
    let mut proxies = [Address::ZERO; 8];
    for proxy in &mut proxies {
        *proxy = deployer.create("Proxy", &admin.abi_encode()).await?;
    }
    let [
        superchain_config,
        system_config,
        portal,
        output_oracle,
        messenger,
        standard_bridge,
        erc721_bridge,
        erc20_factory,
    ] = proxies;
    let superchain = SuperchainConfig::initializeCall { guardian: config.guardian, paused: false };
    deployer.install(admin, superchain_config, "SuperchainConfig", superchain.abi_encode()).await?;
    let batch_inbox = batch_inbox(config.l2_chain_id);
    let system = SystemConfigInit::initializeCall {
        owner: owner.address(),
        basefeeScalar: config.base_fee_scalar,
        blobbasefeeScalar: config.blob_base_fee_scalar,
        batcherHash: config.batcher.into_word(),
        gasLimit: config.l2_gas_limit,
        unsafeBlockSigner: config.batcher,
        config: RESOURCES,
        batchInbox: batch_inbox,
        addresses: SystemAddresses {
            l1CrossDomainMessenger: messenger,
            l1ERC721Bridge: erc721_bridge,
            l1StandardBridge: standard_bridge,
            disputeGameFactory: Address::ZERO,
            optimismPortal: portal,
            optimismMintableERC20Factory: erc20_factory,
            gasPayingToken: Address::repeat_byte(0xee),
        },
    };
    deployer.install(admin, system_config, "SystemConfig", system.abi_encode()).await?;
    let three = |first, second, third| ThreeAddresses::initializeCall { first, second, third }.abi_encode();
    let init = three(output_oracle, system_config, superchain_config);
    deployer.install(admin, portal, "OptimismPortal", init).await?;
    let init = three(superchain_config, portal, system_config);
    deployer.install(admin, messenger, "L1CrossDomainMessenger", init).await?;
    let init = three(messenger, superchain_config, system_config);
    deployer.install(admin, standard_bridge, "L1StandardBridge", init).await?;
    let init = TwoAddresses::initializeCall { first: messenger, second: superchain_config }.abi_encode();
    deployer.install(admin, erc721_bridge, "L1ERC721Bridge", init).await?;
    let init = OneAddress::initializeCall { first: standard_bridge }.abi_encode();
    deployer.install(admin, erc20_factory, "OptimismMintableERC20Factory", init).await?;
    deployer.settle().await?;
    let anchor = deployer.newest().await?;
    let oracle = OracleInit::initializeCall {
        submissionInterval: U256::from(config.submission_interval),
        l2BlockTime: U256::from(config.l2_block_time_s),
        startingBlockNumber: U256::ZERO,
        startingTimestamp: U256::from(anchor.inner.timestamp),
        proposer: config.proposer,
        challenger: config.guardian,
        finalizationPeriodSeconds: U256::from(config.finalization_s),
    };
    deployer.install(admin, output_oracle, "L2OutputOracle", oracle.abi_encode()).await?;
    deployer.settle().await?;
    Ok(L1Deployment {
        l1_chain_id: deployer.chain_id,
        anchor_number: anchor.inner.number,
        anchor_hash: anchor.hash,
        anchor_time_s: anchor.inner.timestamp,
        batch_inbox,
        proxy_admin: admin,
        superchain_config,
        system_config,
        portal,
        output_oracle,
        messenger,
        standard_bridge,
        erc721_bridge,
        erc20_factory,
    })
}

/// The address without code that an L2 chain's batches are sent to.
pub fn batch_inbox(l2_chain_id: u64) -> Address {
    // The OP Stack's habit: ff, zeros, and the chain id in decimal digits.
    let digits = format!("ff{l2_chain_id:0>38}");
    hex::decode(digits).map(|bytes| Address::from_slice(&bytes)).unwrap_or_default()
}

/// The L2 fee scalar in the form of a system configuration (Ecotone).
fn scalar(config: &DeployConfig) -> B256 {
    let mut scalar = B256::ZERO;
    scalar[0] = 1;
    scalar[24..28].copy_from_slice(&config.blob_base_fee_scalar.to_be_bytes());
    scalar[28..].copy_from_slice(&config.base_fee_scalar.to_be_bytes());
    scalar
}

/// What Isthmus adds to a system configuration: how the base fee moves, zero for the usual way, and the operator's fee.
fn isthmus_parameters(config: &DeployConfig) -> [(&'static str, serde_json::Value); 2] {
    let mut operator = B256::ZERO;
    operator[20..24].copy_from_slice(&config.operator_fee_scalar.to_be_bytes());
    operator[24..].copy_from_slice(&config.operator_fee_constant_wei.to_be_bytes());
    [("eip1559Params", serde_json::json!(B64::ZERO)), ("operatorFeeParams", serde_json::json!(operator))]
}

/// The rollup's description, `rollup.json`, once the first L2 block's hash is known.
pub fn rollup_json(config: &DeployConfig, deployment: &L1Deployment, l2_genesis: B256) -> serde_json::Value {
    let mut rollup = serde_json::json!({
        "genesis": {
            "l1": { "hash": deployment.anchor_hash, "number": deployment.anchor_number },
            "l2": { "hash": l2_genesis, "number": 0 },
            "l2_time": deployment.anchor_time_s,
            "system_config": {
                "batcherAddr": config.batcher,
                "overhead": B256::ZERO,
                "scalar": scalar(config),
                "gasLimit": config.l2_gas_limit,
            },
        },
        "block_time": config.l2_block_time_s,
        "max_sequencer_drift": 600,
        "seq_window_size": config.sequencing_window,
        "channel_timeout": 300,
        "granite_channel_timeout": 50,
        "l1_chain_id": deployment.l1_chain_id,
        "l2_chain_id": config.l2_chain_id,
        "regolith_time": 0,
        "canyon_time": 0,
        "delta_time": 0,
        "ecotone_time": 0,
        "fjord_time": 0,
        "granite_time": 0,
        "batch_inbox_address": deployment.batch_inbox,
        "deposit_contract_address": deployment.portal,
        "l1_system_config_address": deployment.system_config,
        "protocol_versions_address": Address::ZERO,
        "chain_op_config": { "eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250 },
    });
    if config.fork == Fork::Isthmus {
        for (name, value) in isthmus_parameters(config) {
            rollup["genesis"]["system_config"][name] = value;
        }
        for fork in ["holocene_time", "isthmus_time"] {
            rollup[fork] = 0.into();
        }
    }
    rollup
}

struct Deployer<'a> {
    l1: &'a RootProvider,
    owner: &'a PrivateKeySigner,
    chain_id: u64,
    nonce: u64,
    /// Sent and not yet seen in a block.
    sent: Vec<B256>,
}

impl<'a> Deployer<'a> {
    async fn new(l1: &'a RootProvider, owner: &'a PrivateKeySigner) -> Result<Self, L1Error> {
        let chain_id = l1.get_chain_id().await.map_err(L1Error::rpc)?;
        let nonce = l1.get_transaction_count(owner.address()).await.map_err(L1Error::rpc)?;
        Ok(Self { l1, owner, chain_id, nonce, sent: Vec::new() })
    }

    /// Deploys a contract of the package.
    async fn create(&mut self, name: &str, arguments: &[u8]) -> Result<Address, L1Error> {
        let code = creation(name, arguments).map_err(L1Error::Artifact)?;
        let address = self.owner.address().create(self.nonce);
        self.send(TxKind::Create, code).await?;
        Ok(address)
    }

    /// Deploys an implementation and puts it behind its proxy.
    async fn install(&mut self, admin: Address, proxy: Address, name: &str, init: Vec<u8>) -> Result<(), L1Error> {
        let implementation = self.create(name, &[]).await?;
        let upgrade = ProxyAdmin::upgradeAndCallCall { proxy, implementation, data: init.into() };
        self.send(admin.into(), upgrade.abi_encode().into()).await
    }

    async fn send(&mut self, to: TxKind, input: Bytes) -> Result<(), L1Error> {
        let fees = self.l1.estimate_eip1559_fees().await.map_err(L1Error::rpc)?;
        let mut tx = TxEip1559 {
            chain_id: self.chain_id,
            nonce: self.nonce,
            gas_limit: GAS,
            max_fee_per_gas: fees.max_fee_per_gas * 2,
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            to,
            input,
            ..TxEip1559::default()
        };
        let signature = self.owner.sign_transaction_sync(&mut tx).map_err(|error| L1Error::Key(error.to_string()))?;
        let signed = TxEnvelope::from(tx.into_signed(signature));
        let hash = *signed.tx_hash();
        let _ = self.l1.send_raw_transaction(&signed.encoded_2718()).await.map_err(L1Error::rpc)?;
        self.nonce += 1;
        self.sent.push(hash);
        Ok(())
    }

    /// Waits until everything that was sent is in a block.
    async fn settle(&mut self) -> Result<(), L1Error> {
        for hash in std::mem::take(&mut self.sent) {
            if !await_receipt(self.l1, hash).await?.status() {
                return Err(L1Error::Reverted { hash, what: "deployment".into() });
            }
        }
        Ok(())
    }

    async fn newest(&self) -> Result<alloy::rpc::types::Header, L1Error> {
        let block = self.l1.get_block(alloy::eips::BlockId::latest()).await.map_err(L1Error::rpc)?;
        block.map(|block| block.header).ok_or_else(|| L1Error::Rpc("L1 has no newest block".into()))
    }
}
