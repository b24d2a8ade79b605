//! The funded accounts of a development chain.

use alloy::signers::local::{MnemonicBuilder, PrivateKeySigner, coins_bip39::English};

use crate::error::NodeError;

/// The mnemonic that Ethereum development tools share. Its keys are public: never send anything of value there.
pub const DEV_MNEMONIC: &str = "test test test test test test test test test test test junk";

/// How many accounts [`dev_accounts`] derives.
pub const DEV_ACCOUNTS: u32 = 10;

/// The first [`DEV_ACCOUNTS`] keys of [`DEV_MNEMONIC`] at the usual path `m/44'/60'/0'/0/i`, in order.
///
/// # Errors
/// [`NodeError::Config`] if derivation fails, which a test rules out.
pub fn dev_accounts() -> Result<Vec<PrivateKeySigner>, NodeError> {
    (0..DEV_ACCOUNTS)
        .map(|index| {
            MnemonicBuilder::<English>::default()
                .phrase(DEV_MNEMONIC)
                .index(index)
                .and_then(|builder| builder.build())
                .map_err(|error| NodeError::Config(format!("development account {index} cannot be derived: {error}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::address;

    #[test]
    fn accounts_are_the_ones_every_tool_knows() {
        let keys = dev_accounts().unwrap();
        assert_eq!(keys.len(), 10);
        assert_eq!(keys[0].address(), address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
        assert_eq!(keys[9].address(), address!("a0Ee7A142d267C1f36714E4a8F75612F20a79720"));
    }
}
