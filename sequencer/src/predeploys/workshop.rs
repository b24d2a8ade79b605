//! A state in memory in which contracts are constructed and called before block 0.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, Bytes, TxKind, U256, address};
use revm::{
    Context, ExecuteCommitEvm, MainBuilder, MainContext,
    bytecode::Bytecode,
    context::{
        CfgEnv, TxEnv,
        result::{ExecutionResult, Output},
    },
    database::InMemoryDB,
    primitives::hardfork::SpecId,
    state::AccountInfo,
};

use crate::config::GenesisAccount;

/// Who constructs; nothing is left of it.
const MAKER: Address = address!("00000000000000000000000000000000000a11ce");

/// Gas for each construction or call: the largest contract needs about five million.
const GAS: u64 = 30_000_000;

/// The state.
#[derive(Default)]
pub(super) struct Workshop {
    db: InMemoryDB,
    /// What block 0 will hold, with its nonce.
    kept: BTreeMap<Address, u64>,
}

impl Workshop {
    /// Runs creation code. Returns the code and the storage that it leaves behind.
    pub(super) fn construct(&mut self, creation: &Bytes) -> Result<(Bytes, Vec<(B256, B256)>), String> {
        match self.run(MAKER, TxKind::Create, creation.clone())? {
            ExecutionResult::Success { output: Output::Create(code, Some(address)), .. } => {
                let made = self.db.cache.accounts.remove(&address).unwrap_or_default();
                let storage = made.storage.into_iter().filter(|(_, value)| !value.is_zero());
                Ok((code, storage.map(|(slot, value)| (slot.into(), value.into())).collect()))
            }
            other => Err(format!("construction failed: {other:?}")),
        }
    }

    /// Puts code at an address, where block 0 will have it.
    pub(super) fn put(&mut self, address: Address, nonce: u64, code: Bytes) {
        let code = Bytecode::new_legacy(code);
        let info = AccountInfo { nonce, code_hash: code.hash_slow(), code: Some(code), ..AccountInfo::default() };
        self.db.insert_account_info(address, info);
        self.kept.insert(address, nonce);
    }

    /// Sets a slot of an account that was put there.
    pub(super) fn store(&mut self, address: Address, slot: B256, value: B256) {
        let storage = &mut self.db.cache.accounts.entry(address).or_default().storage;
        storage.insert(slot.into(), value.into());
    }

    /// Calls a contract, which must succeed.
    pub(super) fn call(&mut self, from: Address, to: Address, input: Vec<u8>) -> Result<(), String> {
        match self.run(from, TxKind::Call(to), input.into())? {
            ExecutionResult::Success { .. } => Ok(()),
            other => Err(format!("a call of {to} failed: {other:?}")),
        }
    }

    fn run(&mut self, caller: Address, kind: TxKind, data: Bytes) -> Result<ExecutionResult, String> {
        let mut cfg = CfgEnv::new_with_spec(SpecId::CANCUN);
        cfg.disable_nonce_check = true;
        cfg.disable_base_fee = true;
        cfg.disable_fee_charge = true;
        cfg.disable_eip3607 = true;
        let mut evm = Context::mainnet().with_db(&mut self.db).with_cfg(cfg).build_mainnet();
        let tx = TxEnv { caller, kind, data, gas_limit: GAS, chain_id: None, ..TxEnv::default() };
        evm.transact_commit(tx).map_err(|error| error.to_string())
    }

    /// What was put there, as block 0 holds it.
    pub(super) fn accounts(self) -> Vec<GenesisAccount> {
        let Self { db, kept } = self;
        let account = |(address, nonce)| {
            let found = db.cache.accounts.get(&address);
            let code = found.and_then(|account| db.cache.contracts.get(&account.info.code_hash));
            let storage = found.into_iter().flat_map(|account| &account.storage);
            let mut storage: Vec<(U256, B256)> = storage
                .filter(|(_, value)| !value.is_zero())
                .map(|(slot, value)| (*slot, B256::from(*value)))
                .collect();
            storage.sort_unstable();
            let code = code.map(Bytecode::original_bytes).unwrap_or_default();
            GenesisAccount { address, nonce, balance_wei: U256::ZERO, code, storage }
        };
        kept.into_iter().map(account).collect()
    }
}
