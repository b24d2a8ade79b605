//! The state and the transactions that are measured.

use std::sync::LazyLock;

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{Address, B256, Bytes, TxKind, U256, address, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::SolCall,
};
use lockstep_sequencer::GenesisAccount;

sol! {
    function transfer(address to, uint256 value) external returns (bool);
}

/// Where the token is.
const TOKEN: Address = address!("00000000000000000000000000000000000704e2");
/// Chain id.
pub(crate) const CHAIN: u64 = 901;

/// An OpenZeppelin ERC-20 as it runs on chain. Balances are the mapping in its slot 0.
static CODE: LazyLock<Bytes> = LazyLock::new(|| {
    let artifact = include_str!("../../../contracts/artifacts/DevToken.json");
    let artifact: serde_json::Value = serde_json::from_str(artifact).unwrap();
    artifact["deployedBytecode"].as_str().unwrap().parse().unwrap()
});

/// Holders of the token, the first of which can sign.
pub(crate) struct World {
    /// Who sends.
    pub(crate) keys: Vec<PrivateKeySigner>,
    /// Every holder: an account with a balance of ether and one of the token.
    pub(crate) holders: Vec<Address>,
}

impl World {
    /// So many holders, `senders` of whom send.
    pub(crate) fn new(holders: u32, senders: u32) -> Self {
        let key = |i: u32| PrivateKeySigner::from_bytes(&keccak256((u64::from(i) + 1).to_be_bytes())).unwrap();
        let keys: Vec<_> = (0..senders).map(key).collect();
        let rest = (senders..holders).map(|i| Address::from_word(keccak256(i.to_be_bytes())));
        let holders = keys.iter().map(PrivateKeySigner::address).chain(rest).collect();
        Self { keys, holders }
    }

    /// Block 0.
    pub(crate) fn genesis(&self) -> Vec<GenesisAccount> {
        let ether = U256::from(10u64).pow(U256::from(20u64));
        let fund = |holder: &Address| GenesisAccount::funded(*holder, ether);
        let mut token = GenesisAccount::contract(TOKEN, CODE.clone());
        token.storage = self.holders.iter().map(|holder| (balance_slot(*holder), B256::from(ether))).collect();
        self.holders.iter().map(fund).chain([token]).collect()
    }

    /// Transfers, round after round by all senders, each to a holder picked by hash.
    pub(crate) fn transfers(&self, count: u32) -> Vec<Bytes> {
        (0..count).map(|i| self.transfer(i)).collect()
    }

    fn transfer(&self, index: u32) -> Bytes {
        let senders = self.keys.len() as u32;
        let pick = U256::from_be_bytes(keccak256([&b"to"[..], &index.to_be_bytes()].concat()).0);
        let to = self.holders[(pick % U256::from(self.holders.len())).to::<usize>()];
        let tx = TxEip1559 {
            chain_id: CHAIN,
            nonce: u64::from(index / senders),
            gas_limit: 70_000,
            max_fee_per_gas: 1_000_000_000_000,
            max_priority_fee_per_gas: 1_000_000,
            to: TxKind::Call(TOKEN),
            input: transferCall { to, value: U256::from(1u64 + u64::from(index)) }.abi_encode().into(),
            ..TxEip1559::default()
        };
        let key = &self.keys[(index % senders) as usize];
        let signature = key.sign_hash_sync(&tx.signature_hash()).unwrap();
        TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
    }
}

fn balance_slot(holder: Address) -> U256 {
    keccak256([holder.into_word().0, [0; 32]].concat()).into()
}
