//! The OP Stack's system contracts in block 0 of a rollup.
//!
//! ```text
//!   op-contracts/contracts.json --constructor, run here--> code at 0xc0d3...00NN
//!        2,046 proxies at 0x4200...0000 + NN, 17 of them pointing there --initialize, run here--> storage
//!        preinstalls (Multicall3, Permit2, Create2 deployer, Safe, ERC-4337, EIP-4788 ...) as they are everywhere
//! ```
//!
//! This is what the OP Stack's own genesis script does, with the constructors and initializers of its contracts.

mod workshop;

use alloy::{
    eips::eip2935::HISTORY_STORAGE_ADDRESS,
    primitives::{Address, B256, Bytes, U256, address, b256, keccak256},
    sol,
    sol_types::{SolCall, SolValue},
};

use lockstep_derive::Upgrade;

use crate::{
    config::{ChainKind, GenesisAccount},
    error::NodeError,
    op_contracts::{Preinstall, creation, preinstalls},
};
use workshop::Workshop;

sol! {
    function initialize(address other);
    function setEcotone();
    function setFjord();
    function setIsthmus();
}

/// What the system contracts of a rollup have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemContracts {
    /// Chain id of the rollup.
    pub chain_id: u64,
    /// Chain id of its L1.
    pub l1_chain_id: u64,
    /// Who may upgrade the system contracts.
    pub owner: Address,
    /// Who the collected fees can be withdrawn to, on L1.
    pub fee_recipient: Address,
    /// The `L1CrossDomainMessenger` (proxy) on L1.
    pub l1_cross_domain_messenger: Address,
    /// The `L1StandardBridge` (proxy) on L1.
    pub l1_standard_bridge: Address,
    /// The `L1ERC721Bridge` (proxy) on L1.
    pub l1_erc721_bridge: Address,
}

/// First address of the system contracts.
const FIRST: Address = address!("4200000000000000000000000000000000000000");
/// How many addresses are theirs.
const COUNT: u16 = 2048;
/// Where the code behind the proxies is: the last two bytes are those of the proxy.
const CODE_FIRST: Address = address!("c0d3c0d3c0d3c0d3c0d3c0d3c0d3c0d3c0d30000");

const WETH: u16 = 0x06;
const MESSENGER: u16 = 0x07;
const GAS_PRICE_ORACLE: u16 = 0x0f;
const BRIDGE: u16 = 0x10;
const ERC20_FACTORY: u16 = 0x12;
const ERC721_BRIDGE: u16 = 0x14;
const L1_BLOCK: u16 = 0x15;
const PROXY_ADMIN: u16 = 0x18;
const OPERATOR_FEE_VAULT: u16 = 0x1b;
const GOVERNANCE_TOKEN: u16 = 0x42;

/// Slots of EIP-1967.
const IMPLEMENTATION: B256 = b256!("360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc");
const ADMIN: B256 = b256!("b53127684a568b3173ae13b9f8a6016e243e63b6e8ee1178d6a717850b5d6103");

/// Sends the deposits that describe L1.
const DEPOSITOR: Address = address!("DeaDDEaDDeAdDeAdDEAdDEaddeAddEAdDEAd0001");
/// Deployed the contract of EIP-4788 where that was not there from the start.
const BEACON_ROOTS_SENDER: Address = address!("0B799C86a49DEeb90402691F1041aa3AF2d3C875");

/// Deployed the contract of EIP-2935 there.
const BLOCK_HASHES_SENDER: Address = address!("3462413Af4609098e1E27A490f554f260213D685");

/// Least amount that a fee vault withdraws: ten ether.
const VAULT_MINIMUM_WEI: u128 = 10_000_000_000_000_000_000;

impl SystemContracts {
    /// The accounts that block 0 must hold, in the order of their addresses.
    ///
    /// # Errors
    /// [`NodeError::Config`] if a contract refuses its arguments, such as a zero owner.
    pub fn accounts(&self) -> Result<Vec<GenesisAccount>, NodeError> {
        self.accounts_for(ChainKind::Rollup)
    }

    /// The same for a chain with the rules of `kind`.
    ///
    /// # Errors
    /// As [`Self::accounts`].
    pub fn accounts_for(&self, kind: ChainKind) -> Result<Vec<GenesisAccount>, NodeError> {
        self.build(kind).map_err(|error| NodeError::Config(format!("system contracts: {error}")))
    }

    fn build(&self, kind: ChainKind) -> Result<Vec<GenesisAccount>, String> {
        let mut shop = Workshop::default();
        let proxy = shop.construct(&creation("Proxy", &Address::ZERO.abi_encode())?)?.0;
        for index in (0..COUNT).filter(|index| ![WETH, GOVERNANCE_TOKEN].contains(index)) {
            shop.put(at(index), 0, proxy.clone());
            shop.store(at(index), ADMIN, word(at(PROXY_ADMIN)));
        }
        for (index, name, arguments) in self.implementations() {
            let (code, storage) = shop.construct(&creation(name, &arguments)?).map_err(|e| format!("{name}: {e}"))?;
            let home = if index == WETH { at(WETH) } else { behind(index) };
            shop.put(home, 0, code);
            for (slot, value) in storage {
                shop.store(home, slot, value);
            }
            if index != WETH {
                shop.store(at(index), IMPLEMENTATION, word(home));
            }
        }
        shop.store(at(PROXY_ADMIN), B256::ZERO, word(self.owner));
        self.initialize(&mut shop)?;
        if kind == ChainKind::Isthmus {
            upgrade(&mut shop)?;
        }
        self.preinstall(&mut shop)?;
        Ok(shop.accounts())
    }

    /// Last bytes of the address, name and constructor arguments of everything that has code of its own.
    fn implementations(&self) -> Vec<(u16, &'static str, Vec<u8>)> {
        let vault = (self.fee_recipient, U256::from(VAULT_MINIMUM_WEI), U256::ZERO).abi_encode_params();
        let none = Vec::new;
        vec![
            (0x00, "LegacyMessagePasser", none()),
            (0x02, "DeployerWhitelist", none()),
            (WETH, "WETH", none()),
            (MESSENGER, "L2CrossDomainMessenger", none()),
            (GAS_PRICE_ORACLE, "GasPriceOracle", none()),
            (BRIDGE, "L2StandardBridge", none()),
            (0x11, "SequencerFeeVault", vault.clone()),
            (ERC20_FACTORY, "OptimismMintableERC20Factory", none()),
            (0x13, "L1BlockNumber", none()),
            (ERC721_BRIDGE, "L2ERC721Bridge", none()),
            (L1_BLOCK, "L1Block", none()),
            (0x16, "L2ToL1MessagePasser", none()),
            (
                0x17,
                "OptimismMintableERC721Factory",
                (at(ERC721_BRIDGE), U256::from(self.l1_chain_id)).abi_encode_params(),
            ),
            (PROXY_ADMIN, "ProxyAdmin", self.owner.abi_encode()),
            (0x19, "BaseFeeVault", vault.clone()),
            (0x1a, "L1FeeVault", vault),
            (0x20, "SchemaRegistry", none()),
            (0x21, "EAS", none()),
        ]
    }

    fn initialize(&self, shop: &mut Workshop) -> Result<(), String> {
        let others = [
            (MESSENGER, self.l1_cross_domain_messenger),
            (BRIDGE, self.l1_standard_bridge),
            (ERC721_BRIDGE, self.l1_erc721_bridge),
            (ERC20_FACTORY, at(BRIDGE)),
        ];
        for (index, other) in others {
            shop.call(DEPOSITOR, at(index), initializeCall { other }.abi_encode())?;
        }
        shop.call(DEPOSITOR, at(GAS_PRICE_ORACLE), setEcotoneCall {}.abi_encode())?;
        shop.call(DEPOSITOR, at(GAS_PRICE_ORACLE), setFjordCall {}.abi_encode())
    }

    fn preinstall(&self, shop: &mut Workshop) -> Result<(), String> {
        for account in preinstalled(self.chain_id)? {
            shop.put(account.address, 1, account.code);
        }
        Ok(())
    }
}

/// Puts the contracts of Isthmus in the place of Granite's, which keep their storage.
fn upgrade(shop: &mut Workshop) -> Result<(), String> {
    let Upgrade { l1_block, gas_price_oracle, operator_fee_vault, block_hashes } = Upgrade::isthmus();
    for (index, creation) in
        [(L1_BLOCK, l1_block), (GAS_PRICE_ORACLE, gas_price_oracle), (OPERATOR_FEE_VAULT, operator_fee_vault)]
    {
        let (code, storage) = shop.construct(&creation)?;
        shop.put(behind(index), 0, code);
        for (slot, value) in storage {
            shop.store(behind(index), slot, value);
        }
        shop.store(at(index), IMPLEMENTATION, word(behind(index)));
    }
    shop.call(DEPOSITOR, at(GAS_PRICE_ORACLE), setIsthmusCall {}.abi_encode())?;
    let (code, _) = shop.construct(&block_hashes)?;
    shop.put(HISTORY_STORAGE_ADDRESS, 1, code);
    shop.put(BLOCK_HASHES_SENDER, 1, Bytes::new());
    Ok(())
}

/// The contracts that every chain has at the same addresses: Multicall3, Permit2, the Create2 deployer and their like.
pub(crate) fn preinstalled(chain_id: u64) -> Result<Vec<GenesisAccount>, String> {
    let mut accounts = vec![GenesisAccount::contract(BEACON_ROOTS_SENDER, Bytes::new())];
    for Preinstall { name, address, code } in preinstalls()? {
        let code = if name == "Permit2" { permit2(*address, code, chain_id)? } else { code.clone() };
        accounts.push(GenesisAccount::contract(*address, code));
    }
    Ok(accounts)
}

/// Permit2 holds the chain id and what it hashes to in its code.
fn permit2(address: Address, code: &Bytes, chain_id: u64) -> Result<Bytes, String> {
    let chain_id = U256::from(chain_id);
    let kind = keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)");
    let domain = keccak256((kind, keccak256("Permit2"), chain_id, address).abi_encode_params());
    let mut code = code.to_vec();
    for (offset, value) in [(6945, chain_id.to_be_bytes::<32>()), (6983, domain.0)] {
        code.get_mut(offset..offset + 32).ok_or("Permit2 is too short")?.copy_from_slice(&value);
    }
    Ok(code.into())
}

/// The system contract with these last bytes.
fn at(index: u16) -> Address {
    numbered(FIRST, index)
}

/// Where the code behind a proxy is.
fn behind(index: u16) -> Address {
    numbered(CODE_FIRST, index)
}

fn numbered(first: Address, index: u16) -> Address {
    let mut address = first;
    address[18..].copy_from_slice(&index.to_be_bytes());
    address
}

fn word(address: Address) -> B256 {
    address.into_word()
}

/// Some rollup's, for tests.
#[cfg(test)]
pub(crate) const RULES: SystemContracts = SystemContracts {
    chain_id: 901,
    l1_chain_id: 900,
    owner: Address::repeat_byte(1),
    fee_recipient: Address::repeat_byte(2),
    l1_cross_domain_messenger: Address::repeat_byte(3),
    l1_standard_bridge: Address::repeat_byte(4),
    l1_erc721_bridge: Address::repeat_byte(5),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_address_has_its_proxy_and_nothing_else_is_left() {
        let accounts = RULES.accounts().unwrap();
        assert!(accounts.is_sorted_by_key(|account| account.address));
        let find = |address| accounts.iter().find(|account| account.address == address);
        let proxies =
            (0..COUNT).filter(|index| find(at(*index)).is_some_and(|proxy| !proxy.storage.is_empty())).count();
        assert_eq!(proxies, 2046);
        // Proxies, the code behind 17 of them, WETH, the preinstalls, the sender of the beacon roots' contract.
        assert_eq!(accounts.len(), 2046 + 17 + 1 + 12 + 1);
        let slot = |address, slot: B256| {
            let found = find(address).unwrap().storage.iter().find(|(key, _)| B256::from(*key) == slot);
            found.map_or(B256::ZERO, |(_, value)| *value)
        };
        assert_eq!(slot(at(0x15), IMPLEMENTATION), word(behind(0x15)));
        assert_eq!(slot(at(0x99), IMPLEMENTATION), B256::ZERO);
        assert_eq!(slot(at(PROXY_ADMIN), B256::ZERO), word(RULES.owner));
        assert!(find(DEPOSITOR).is_none());
        // The same settings give the same accounts, others give others.
        assert_eq!(RULES.accounts().unwrap(), accounts);
        assert_ne!(SystemContracts { chain_id: 902, ..RULES }.accounts().unwrap(), accounts);
    }
}
