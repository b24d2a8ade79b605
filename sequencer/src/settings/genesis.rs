//! `genesis.json`, in the form that op-geth, op-reth and their tools share.

use std::collections::BTreeMap;

use alloy::{
    genesis::{ChainConfig, Genesis, GenesisAccount as FileAccount},
    primitives::{B256, U256},
};

use crate::{
    config::{ChainKind, GenesisAccount, NodeConfig},
    error::NodeError,
    exec::env::FEE_RECIPIENT,
};

/// Forks of the OP Stack whose rules hold from the first block. All times are zero.
const FORKS: [&str; 6] = ["regolithTime", "canyonTime", "ecotoneTime", "deltaTime", "fjordTime", "graniteTime"];

/// Those beyond, whose rules hold from the first block or never.
const ISTHMUS: [&str; 2] = ["holoceneTime", "isthmusTime"];

/// Forks whose rules this version does not have.
const LATER: [&str; 2] = ["jovianTime", "interopTime"];

impl NodeConfig {
    /// Takes chain id, block 0 and its state from a `genesis.json`.
    ///
    /// # Errors
    /// [`NodeError::Config`] if it is malformed, or describes a chain with other rules or another first header than this node's.
    pub fn set_genesis(&mut self, json: &str) -> Result<(), NodeError> {
        let wrong = |what: String| NodeError::Config(format!("genesis: {what}"));
        let file: Genesis = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
        self.kind = check(&file).map_err(wrong)?;
        self.chain_id = file.config.chain_id;
        self.genesis_time_s = Some(file.timestamp);
        self.gas_limit = file.gas_limit;
        let base_fee = file.base_fee_per_gas.unwrap_or(1_000_000_000);
        self.initial_base_fee_wei =
            base_fee.try_into().map_err(|_| wrong(format!("baseFeePerGas {base_fee} is above 2^64")))?;
        self.genesis = file.alloc.into_iter().map(|(address, account)| from_file(address, account)).collect();
        Ok(())
    }

    /// The chain as a `genesis.json`. `timestamp_s` is that of block 0.
    pub fn genesis_json(&self, timestamp_s: u64) -> String {
        let mut config = ChainConfig {
            chain_id: self.chain_id,
            homestead_block: Some(0),
            eip150_block: Some(0),
            eip155_block: Some(0),
            eip158_block: Some(0),
            byzantium_block: Some(0),
            constantinople_block: Some(0),
            petersburg_block: Some(0),
            istanbul_block: Some(0),
            muir_glacier_block: Some(0),
            berlin_block: Some(0),
            london_block: Some(0),
            arrow_glacier_block: Some(0),
            gray_glacier_block: Some(0),
            merge_netsplit_block: Some(0),
            shanghai_time: Some(0),
            cancun_time: Some(0),
            terminal_total_difficulty: Some(U256::ZERO),
            terminal_total_difficulty_passed: true,
            ..ChainConfig::default()
        };
        let mut extra = BTreeMap::from([("bedrockBlock".to_owned(), serde_json::json!(0))]);
        extra.extend(FORKS.map(|fork| (fork.to_owned(), serde_json::json!(0))));
        if self.kind == ChainKind::Isthmus {
            extra.extend(ISTHMUS.map(|fork| (fork.to_owned(), serde_json::json!(0))));
            config.prague_time = Some(0);
        }
        let fees =
            serde_json::json!({ "eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250 });
        extra.insert("optimism".to_owned(), fees);
        config.extra_fields = alloy::serde::OtherFields::new(extra);
        let file = Genesis {
            config,
            timestamp: timestamp_s,
            extra_data: self.kind.extra_data(None),
            gas_limit: self.gas_limit,
            coinbase: FEE_RECIPIENT,
            base_fee_per_gas: Some(self.initial_base_fee_wei.into()),
            alloc: self.genesis.iter().map(|account| (account.address, to_file(account))).collect(),
            ..Genesis::default()
        };
        // Numbers, hashes and bytes always have a JSON form.
        serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
    }
}

/// What decides the hash of block 0 and the rules, as far as this node has no choice in it.
fn check(file: &Genesis) -> Result<ChainKind, String> {
    if file.coinbase != FEE_RECIPIENT {
        return Err(format!("coinbase is {}, must be the sequencer fee vault {FEE_RECIPIENT}", file.coinbase));
    }
    let zero = |value: bool, name: &str| if value { Ok(()) } else { Err(format!("{name} must be zero or left out")) };
    zero(file.nonce == 0, "nonce")?;
    zero(file.difficulty.is_zero(), "difficulty")?;
    zero(file.mix_hash == B256::ZERO, "mixHash")?;
    zero(file.number.unwrap_or_default() == 0, "number")?;
    zero(file.parent_hash.unwrap_or_default() == B256::ZERO, "parentHash")?;
    let time = |fork: &str| file.config.extra_fields.get(fork).and_then(serde_json::Value::as_u64);
    if let Some(missing) = FORKS.iter().find(|fork| time(fork) != Some(0)) {
        return Err(format!("config.{missing} must be 0: Granite's rules hold from the first block"));
    }
    if let Some(later) = LATER.iter().find(|fork| time(fork).is_some()) {
        return Err(format!("config.{later} is set, and this version does not have its rules"));
    }
    let kind = match ISTHMUS.map(time) {
        [None, None] => ChainKind::Rollup,
        [Some(0), Some(0)] => ChainKind::Isthmus,
        _ => return Err("config.holoceneTime and config.isthmusTime must both be 0 or both be left out".into()),
    };
    let wanted = kind.extra_data(None);
    match file.extra_data == wanted {
        true => Ok(kind),
        false => Err(format!("extraData is {}, must be {wanted}", file.extra_data)),
    }
}

fn from_file(address: alloy::primitives::Address, account: FileAccount) -> GenesisAccount {
    GenesisAccount {
        address,
        balance_wei: account.balance,
        nonce: account.nonce.unwrap_or_default(),
        code: account.code.unwrap_or_default(),
        storage: account.storage.into_iter().flatten().map(|(slot, value)| (slot.into(), value)).collect(),
    }
}

fn to_file(account: &GenesisAccount) -> FileAccount {
    let storage: BTreeMap<B256, B256> =
        account.storage.iter().map(|(slot, value)| (B256::from(*slot), *value)).collect();
    FileAccount {
        nonce: Some(account.nonce),
        balance: account.balance_wei,
        code: (!account.code.is_empty()).then(|| account.code.clone()),
        storage: (!storage.is_empty()).then_some(storage),
        ..FileAccount::default()
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;

    use super::*;

    fn config() -> NodeConfig {
        let mut config = NodeConfig { chain_id: 42, gas_limit: 25_000_000, ..NodeConfig::dev().unwrap() };
        let mut contract = GenesisAccount::contract(Address::repeat_byte(3), vec![0x60, 0].into());
        contract.storage.push((U256::from(7u64), B256::repeat_byte(9)));
        config.genesis.push(contract);
        config.genesis.sort_by_key(|account| account.address);
        config
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config = config();
        let mut read = NodeConfig::default();
        read.set_genesis(&config.genesis_json(1_700_000_000)).unwrap();
        assert_eq!(read.genesis, config.genesis);
        assert_eq!((read.chain_id, read.gas_limit, read.genesis_time_s), (42, 25_000_000, Some(1_700_000_000)));
        assert_eq!(read.initial_base_fee_wei, config.initial_base_fee_wei);
        assert_eq!(read.kind, ChainKind::Rollup);
        let isthmus = NodeConfig { kind: ChainKind::Isthmus, ..config };
        read.set_genesis(&isthmus.genesis_json(1_700_000_000)).unwrap();
        assert_eq!(read.kind, ChainKind::Isthmus);
    }

    #[test]
    fn other_rules_are_refused_by_name() {
        let good: serde_json::Value = serde_json::from_str(&config().genesis_json(0)).unwrap();
        let refused = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut json = good.clone();
            change(&mut json);
            NodeConfig::default().set_genesis(&json.to_string()).unwrap_err().to_string()
        };
        assert!(refused(&|json| json["config"]["graniteTime"] = 5.into()).contains("graniteTime"));
        assert!(refused(&|json| json["config"]["isthmusTime"] = 0.into()).contains("isthmusTime"));
        assert!(refused(&|json| json["config"]["jovianTime"] = 0.into()).contains("jovianTime"));
        assert!(refused(&|json| json["coinbase"] = serde_json::json!(Address::ZERO)).contains("coinbase"));
        assert!(refused(&|json| json["extraData"] = "0x01".into()).contains("extraData"));
        assert!(refused(&|json| json["alloc"] = 5.into()).contains("genesis:"));
    }
}
