//! Runs a contract's code in an EVM in memory.

use alloy_primitives::{Address, Bytes, address};
use alloy_sol_types::SolCall;
use revm::{
    Context, ExecuteEvm, MainBuilder, MainContext, MainnetEvm,
    context::{
        CfgEnv, TxEnv,
        result::{ExecutionResult, Output},
    },
    database::{CacheDB, EmptyDB},
    handler::MainnetContext,
    primitives::hardfork::SpecId,
    state::{AccountInfo, Bytecode},
};

const AT: Address = address!("0x00000000000000000000000000000000c0de0001");

/// One contract, alone in an empty chain with Cancun's rules and no gas limit.
pub(crate) struct Deployed(MainnetEvm<MainnetContext<CacheDB<EmptyDB>>>);

impl Deployed {
    /// Puts the code of contract `name` at an address: `runtime`, or what `cargo xtask contracts mutate` made of its sources.
    pub(crate) fn new(name: &str, runtime: &Bytes) -> Self {
        let changed = std::env::var_os("LOCKSTEP_CONTRACT_CODES").map(|folder| {
            let hex = std::fs::read_to_string(std::path::Path::new(&folder).join(name)).unwrap();
            hex.parse::<Bytes>().unwrap()
        });
        let runtime = changed.as_ref().unwrap_or(runtime);
        let mut database = CacheDB::new(EmptyDB::default());
        database.insert_account_info(AT, AccountInfo::default().with_code(Bytecode::new_legacy(runtime.clone())));
        let mut cfg = CfgEnv::new_with_spec(SpecId::CANCUN);
        cfg.disable_nonce_check = true;
        cfg.tx_gas_limit_cap = Some(u64::MAX);
        let context = Context::mainnet().with_db(database).with_cfg(cfg).modify_block_chained(|block| {
            block.gas_limit = u64::MAX;
        });
        Self(context.build_mainnet())
    }

    /// Calls it; gives the result or the revert's bytes, and the gas used, calldata included.
    pub(crate) fn call<C: SolCall>(&mut self, call: &C) -> (Result<C::Return, Bytes>, u64) {
        let (result, gas) = self.raw(call.abi_encode());
        (result.map(|bytes| C::abi_decode_returns(&bytes).unwrap()), gas)
    }

    /// The same with any bytes.
    pub(crate) fn raw(&mut self, data: Vec<u8>) -> (Result<Bytes, Bytes>, u64) {
        let tx = TxEnv::builder()
            .caller(address!("0x00000000000000000000000000000000000ca11e"))
            .call(AT)
            .data(data.into())
            .gas_limit(u64::MAX)
            .build()
            .unwrap();
        let result = self.0.transact(tx).unwrap().result;
        let gas = result.tx_gas_used();
        match result {
            ExecutionResult::Success { output: Output::Call(bytes), .. } => (Ok(bytes), gas),
            ExecutionResult::Revert { output, .. } => (Err(output), gas),
            other => panic!("the contract halted: {other:?}"),
        }
    }
}
