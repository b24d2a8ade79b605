//! A chain in memory with the contracts deployed: real bytecode, block gas limit, a clock that the test sets.

use alloy_primitives::{Address, Bytes, Log, TxKind, U256};
use alloy_sol_types::{SolCall, SolValue};
use lockstep_contracts::{DevL1Block, DevToken, Disputes, Parameters, Referee, Stakes};
use lockstep_dispute::Posted;
use lockstep_sdk::{
    chain::revert_words,
    deploy::{Planned, SUPPLY_WEI, default_values},
    moves::{self, Standing},
};
use revm::{
    Context, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext, MainnetEvm,
    context::{
        CfgEnv, TxEnv,
        result::{ExecutionResult, Output},
    },
    database::{CacheDB, EmptyDB},
    handler::MainnetContext,
    primitives::hardfork::SpecId,
};

/// Gas of one block; every transaction must fit.
const BLOCK_GAS: u64 = 30_000_000;

/// Accounts.
pub(crate) const DEPLOYER: Address = Address::with_last_byte(0xd0);
pub(crate) const TREASURY: Address = Address::with_last_byte(0xd1);
pub(crate) const REQUESTER: Address = Address::with_last_byte(0xd2);
pub(crate) const SOLVER: Address = Address::with_last_byte(0xd3);
pub(crate) const CHALLENGER: Address = Address::with_last_byte(0xd4);
pub(crate) const ARBITER: Address = Address::with_last_byte(0xd5);

/// Gas of a transaction.
#[derive(Clone, Copy)]
pub(crate) struct Gas {
    /// What is paid for.
    pub(crate) used: u64,
    /// What it had to have: refunds come after.
    pub(crate) needed: u64,
    /// What its data costs at least since Prague (EIP-7623), which the rollup has from Isthmus on.
    pub(crate) floor: u64,
}

/// The chain.
pub(crate) struct Chain {
    evm: MainnetEvm<MainnetContext<CacheDB<EmptyDB>>>,
    deployer_nonce: u64,
    pub(crate) token: Address,
    pub(crate) referee: Address,
    pub(crate) stakes: Address,
    pub(crate) market: Address,
    pub(crate) docket: Address,
    pub(crate) disputes: Address,
    pub(crate) draw: Address,
    /// Time of the next block.
    pub(crate) now_s: u64,
    /// Gas of all transactions so far, in order.
    pub(crate) gas: Vec<Gas>,
}

impl Chain {
    /// A chain with the contracts, deployed as the SDK does, and tokens with everybody.
    pub(crate) fn new() -> Self {
        let mut cfg = CfgEnv::new_with_spec(SpecId::CANCUN);
        cfg.disable_nonce_check = true;
        cfg.tx_gas_limit_cap = Some(BLOCK_GAS);
        let context = Context::mainnet().with_db(CacheDB::new(EmptyDB::default())).with_cfg(cfg);
        let evm = context.modify_block_chained(|block| block.gas_limit = BLOCK_GAS).build_mainnet();
        let [token, referee, stakes, market, docket, disputes, draw] = [Address::ZERO; 7];
        let now_s = 1_800_000_000;
        let deployer_nonce = 0;
        let mut chain =
            Self { evm, deployer_nonce, token, referee, stakes, market, docket, disputes, draw, now_s, gas: vec![] };
        chain.deploy();
        chain
    }

    fn deploy(&mut self) {
        let with = |code: &Bytes, arguments: Vec<u8>| [code.as_ref(), &arguments].concat();
        self.token = self.create(with(&DevToken::BYTECODE, (U256::from(SUPPLY_WEI),).abi_encode_params()));
        self.referee = self.create(Referee::BYTECODE.to_vec());
        let parameters = (DEPLOYER, default_values()).abi_encode_params();
        let parameters = self.create(with(&Parameters::BYTECODE, parameters));
        let l1 = self.create(DevL1Block::BYTECODE.to_vec());
        let planned = Planned::new(DEPLOYER, self.deployer_nonce);
        for (name, code, address) in planned.creations(self.token, parameters, l1, TREASURY) {
            assert_eq!(self.create(code.to_vec()), address, "{name}");
        }
        (self.stakes, self.market) = (planned.stakes, planned.market);
        (self.docket, self.disputes, self.draw) = (planned.docket, planned.disputes, planned.draw);
        for party in [REQUESTER, SOLVER, CHALLENGER] {
            self.fund(party, SUPPLY_WEI / 10);
        }
        let stakes = self.stakes;
        let amount = SUPPLY_WEI / 20;
        self.send(SOLVER, stakes, &Stakes::depositCall { amountWei: amount }).unwrap();
        self.send(SOLVER, stakes, &Stakes::registerSolverCall { hardwareClass: 0, registered: true }).unwrap();
    }

    /// Gives somebody tokens, which `Stakes` may take.
    pub(crate) fn fund(&mut self, party: Address, wei: u128) {
        let value = U256::from(wei);
        self.send(DEPLOYER, self.token, &DevToken::transferCall { to: party, value }).unwrap();
        let spender = self.stakes;
        self.send(party, self.token, &DevToken::approveCall { spender, value: U256::MAX }).unwrap();
    }

    /// Goes this many blocks on.
    pub(crate) fn roll(&mut self, blocks: u64) {
        self.evm.ctx.block.number += U256::from(blocks);
    }

    fn create(&mut self, code: Vec<u8>) -> Address {
        let result = self.transact(DEPLOYER, TxKind::Create, code);
        let ExecutionResult::Success { output: Output::Create(_, Some(address)), .. } = result else {
            panic!("no contract was made: {result:?}");
        };
        address
    }

    fn transact(&mut self, from: Address, to: TxKind, data: Vec<u8>) -> ExecutionResult {
        self.evm.ctx.block.timestamp = U256::from(self.now_s);
        let zeros = data.iter().filter(|&&byte| byte == 0).count() as u64;
        let floor = 21_000 + 10 * (zeros + 4 * (data.len() as u64 - zeros));
        let result = self.evm.transact_commit(transaction(from, to, data)).unwrap();
        self.deployer_nonce += u64::from(from == DEPLOYER);
        self.gas.push(Gas { used: result.tx_gas_used(), needed: result.gas().total_gas_spent(), floor });
        result
    }

    /// Sends a transaction; its logs, or the contract's refusal in words.
    pub(crate) fn send<C: SolCall>(&mut self, from: Address, to: Address, call: &C) -> Result<Vec<Log>, String> {
        self.send_raw(from, to, call.abi_encode())
    }

    pub(crate) fn send_raw(&mut self, from: Address, to: Address, data: Vec<u8>) -> Result<Vec<Log>, String> {
        match self.transact(from, TxKind::Call(to), data) {
            ExecutionResult::Success { logs, .. } => Ok(logs),
            ExecutionResult::Revert { output, .. } => {
                let words = revert_words(&output);
                assert!(!words.contains("unknown error"), "a refusal without a name: {words}");
                Err(words)
            }
            halt @ ExecutionResult::Halt { .. } => panic!("the contract halted: {halt:?}"),
        }
    }

    /// Gas of the dearest transaction so far.
    pub(crate) fn most_gas(&self) -> u64 {
        self.gas.iter().map(|gas| gas.used).max().unwrap()
    }

    /// What a transaction would do: its logs or its revert, and the gas that it would use. Nothing is changed.
    pub(crate) fn attempt(&mut self, from: Address, to: Address, data: Vec<u8>) -> (Result<Vec<Log>, Bytes>, u64) {
        self.evm.ctx.block.timestamp = U256::from(self.now_s);
        let result = self.evm.transact(transaction(from, TxKind::Call(to), data)).unwrap().result;
        let gas = result.tx_gas_used();
        match result {
            ExecutionResult::Success { logs, .. } => (Ok(logs), gas),
            ExecutionResult::Revert { output, .. } => (Err(output), gas),
            halt @ ExecutionResult::Halt { .. } => panic!("the contract halted: {halt:?}"),
        }
    }

    /// Calls a view.
    pub(crate) fn view<C: SolCall>(&mut self, to: Address, call: &C) -> C::Return {
        self.measured(to, call).0
    }

    /// Calls a view; also the gas that it had to have as a transaction.
    pub(crate) fn measured<C: SolCall>(&mut self, to: Address, call: &C) -> (C::Return, u64) {
        self.evm.ctx.block.timestamp = U256::from(self.now_s);
        let result = self.evm.transact(transaction(ARBITER, TxKind::Call(to), call.abi_encode())).unwrap().result;
        let gas = result.gas().total_gas_spent();
        let ExecutionResult::Success { output: Output::Call(bytes), .. } = result else {
            panic!("{} failed: {result:?}", C::SIGNATURE);
        };
        (C::abi_decode_returns(&bytes).unwrap(), gas)
    }

    /// What a party can have back by itself: wallet, balance, and stake that nothing holds.
    pub(crate) fn balance_wei(&mut self, of: Address) -> i128 {
        let wallet = self.view(self.token, &DevToken::balanceOfCall { account: of });
        let a = self.view(self.stakes, &Stakes::accountCall { who: of });
        i128::try_from(wallet).unwrap() + (a.balanceWei + a.stakeWei - a.lockedWei) as i128
    }

    /// What one of the contracts holds for others.
    pub(crate) fn held_wei(&mut self, holder: Address) -> i128 {
        i128::try_from(self.view(self.stakes, &Stakes::heldWeiCall { holder })).unwrap()
    }

    /// The dispute as the contract has it.
    pub(crate) fn standing(&mut self, dispute_id: u64) -> Standing {
        let id = U256::from(dispute_id);
        let dispute = self.view(self.disputes, &Disputes::disputeCall { disputeId: id });
        let deadline_s = self.view(self.disputes, &Disputes::deadlineSCall { disputeId: id });
        moves::standing(dispute_id, &dispute, deadline_s).unwrap()
    }
}

fn transaction(from: Address, to: TxKind, data: Vec<u8>) -> TxEnv {
    TxEnv::builder().caller(from).kind(to).data(data.into()).gas_limit(BLOCK_GAS).build().unwrap()
}

/// What the defender posted, from its logs.
pub(crate) fn posted(logs: &[Log]) -> Posted {
    moves::posted(logs)
}
