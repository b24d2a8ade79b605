//! Deployment of the contracts, and the file of their addresses.

use std::path::Path;

use alloy::{
    primitives::{Address, Bytes},
    sol_types::SolValue,
};
use lockstep_contracts::{DevToken, Disputes, JobMarket, Referee};
use serde::{Deserialize, Serialize};

use crate::{chain::Chain, error::Error};

/// Supply of the development token, in its smallest unit (18 decimals): a billion.
pub const SUPPLY_WEI: u128 = 1_000_000_000 * 1_000_000_000_000_000_000;
/// Share of every paid milestone that goes to the treasury, in hundredths of a percent.
pub const FEE_BPS: u16 = 100;

/// Where the contracts of one chain are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// Chain they are on.
    pub chain_id: u64,
    /// Payment token (ERC-20).
    pub token: Address,
    /// Referee that new jobs pin by default.
    pub referee: Address,
    /// The dispute game.
    pub disputes: Address,
    /// Escrow and claims.
    pub market: Address,
    /// Block they were deployed in: nothing of interest is older.
    pub block: u64,
}

impl Deployment {
    /// Reads the file that [`Self::write`] wrote.
    ///
    /// # Errors
    /// It cannot be read, or is not a deployment file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let fail = |reason: String| Error::File { path: path.display().to_string(), reason };
        let hint = "the contracts' addresses are needed; `lockstep node` writes them, --deployment FILE names the file";
        let text = std::fs::read_to_string(path).map_err(|e| fail(format!("{e}; {hint}")))?;
        serde_json::from_str(&text).map_err(|e| fail(format!("not a deployment file: {e}")))
    }

    /// Writes the addresses as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let fail = |reason: String| Error::File { path: path.display().to_string(), reason };
        let text = serde_json::to_string_pretty(self).map_err(|e| fail(e.to_string()))?;
        std::fs::write(path, text + "\n").map_err(|e| fail(e.to_string()))
    }
}

fn creation(bytecode: &Bytes, arguments: Vec<u8>) -> Bytes {
    [bytecode.as_ref(), &arguments].concat().into()
}

/// Deploys token, referee, market and disputes. The whole token supply goes to the deployer, who hands it out.
///
/// # Errors
/// A transaction fails. Start again: a half deployment is of no use and costs nothing but its gas.
pub async fn deploy(chain: &Chain, treasury: Address) -> Result<Deployment, Error> {
    let block = chain.block_number().await?;
    let token = creation(&DevToken::BYTECODE, (alloy::primitives::U256::from(SUPPLY_WEI),).abi_encode_params());
    let token = chain.create("DevToken", token).await?;
    let referee = chain.create("Referee", Referee::BYTECODE.clone()).await?;
    // Market and disputes name each other, so the second address is computed from the nonce that will make it.
    let disputes = chain.address()?.create(chain.nonce().await? + 1);
    let market = creation(&JobMarket::BYTECODE, (token, disputes, treasury, FEE_BPS).abi_encode_params());
    let market = chain.create("JobMarket", market).await?;
    let made = chain.create("Disputes", creation(&Disputes::BYTECODE, (market, token).abi_encode_params())).await?;
    if made != disputes {
        let reason = format!(
            "Disputes is at {made} instead of {disputes}: another transaction used the deployer's nonce; deploy again"
        );
        return Err(Error::Refused { what: "the deployment".into(), reason });
    }
    Ok(Deployment { chain_id: chain.chain_id(), token, referee, disputes, market, block })
}
