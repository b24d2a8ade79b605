//! Deployment of the contracts, and the file of their addresses.

use std::path::Path;

use alloy::{
    primitives::{Address, Bytes, U256, address},
    sol_types::SolValue,
};
use lockstep_contracts::{
    Deliveries, DevL1Block, DevToken, Disputes, Docket, JobMarket, Parameters, Referee, Stakes, Timelock, VerifierDraw,
};
use serde::{Deserialize, Serialize};

use crate::{chain::Chain, error::Error};

/// Supply of the development token, in its smallest unit (18 decimals): a billion.
pub const SUPPLY_WEI: u128 = 1_000_000_000 * 1_000_000_000_000_000_000;
/// Share of every paid milestone that goes to the treasury, in hundredths of a percent.
pub const FEE_BPS: u16 = 100;
/// Where OP Stack chains show the L1 block that they derive from.
pub const L1_BLOCK: Address = address!("4200000000000000000000000000000000000015");
/// How long a change of the parameters is public before it can be made, in seconds.
pub const TIMELOCK_S: u64 = 2 * 86_400;

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
    /// Challenges and their bonds.
    pub docket: Address,
    /// Jobs and claims.
    pub market: Address,
    /// Every token of the market: escrow, stakes, bonds, balances.
    pub stakes: Address,
    /// Assigned verifiers.
    pub draw: Address,
    /// Pay that waits for a receipt.
    pub deliveries: Address,
    /// What the owner may set.
    pub parameters: Address,
    /// The owner of the parameters.
    pub timelock: Address,
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

/// The first version of the parameters: the defaults of the protocol, with times short enough for a development chain.
#[must_use]
pub fn default_values() -> Parameters::Values {
    let token_wei = 1_000_000_000_000_000_000;
    Parameters::Values {
        feeBps: FEE_BPS,
        winnerBps: 5_000,
        reservedBps: 5_000,
        requesterBps: 8_000,
        defenderBps: 7_500,
        lateBps: 5_000,
        retractBps: 1_000,
        unrevealedBps: 1_000,
        idleBps: 1_000,
        concedeBps: 500,
        maxStandingClaims: 4,
        minWindowS: 1,
        minClockS: 1,
        challengeRevealS: 3_600,
        unbondingS: 90 * 86_400,
        minSolverStakeWei: 1_000,
        minVerifierStakeWei: token_wei,
        minBondWei: 1_000,
    }
}

/// Deploys token, referee, and the market's contracts. The whole token supply goes to the deployer, who hands it out. The
/// parameters belong to a timelock that the deployer proposes to.
///
/// # Errors
/// A transaction fails. Start again: a half deployment is of no use and costs nothing but its gas.
pub async fn deploy(chain: &Chain, treasury: Address) -> Result<Deployment, Error> {
    let block = chain.block_number().await?;
    let deployer = chain.address()?;
    let token = creation(&DevToken::BYTECODE, (U256::from(SUPPLY_WEI),).abi_encode_params());
    let token = chain.create("DevToken", token).await?;
    let referee = chain.create("Referee", Referee::BYTECODE.clone()).await?;
    let timelock = (U256::from(TIMELOCK_S), vec![deployer]).abi_encode_params();
    let timelock = chain.create("Timelock", creation(&Timelock::BYTECODE, timelock)).await?;
    let parameters = (timelock, default_values()).abi_encode_params();
    let parameters = chain.create("Parameters", creation(&Parameters::BYTECODE, parameters)).await?;
    let l1 = if chain.has_code(L1_BLOCK).await? {
        L1_BLOCK
    } else {
        chain.create("DevL1Block", DevL1Block::BYTECODE.clone()).await?
    };
    // The rest name each other, so their addresses are computed from the nonces that will make them.
    let planned = Planned::new(deployer, chain.nonce().await?);
    for (name, code, address) in planned.creations(token, parameters, l1, treasury) {
        let made = chain.create(name, code).await?;
        if made != address {
            let reason = format!(
                "{name} is at {made} instead of {address}: another transaction used the deployer's nonce; deploy again"
            );
            return Err(Error::Refused { what: "the deployment".into(), reason });
        }
    }
    let Planned { stakes, market, docket, disputes, draw, deliveries } = planned;
    let chain_id = chain.chain_id();
    Ok(Deployment {
        chain_id,
        token,
        referee,
        disputes,
        docket,
        market,
        stakes,
        draw,
        deliveries,
        parameters,
        timelock,
        block,
    })
}

/// Addresses of the contracts that name each other, before they exist.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    /// Tokens.
    pub stakes: Address,
    /// Jobs.
    pub market: Address,
    /// Challenges.
    pub docket: Address,
    /// The game.
    pub disputes: Address,
    /// Assigned verifiers.
    pub draw: Address,
    /// Holdbacks.
    pub deliveries: Address,
}

impl Planned {
    /// What `deployer` creates from `nonce` on.
    #[must_use]
    pub fn new(deployer: Address, nonce: u64) -> Self {
        let [stakes, market, docket, disputes, draw, deliveries] =
            [0, 1, 2, 3, 4, 5].map(|i| deployer.create(nonce + i));
        Self { stakes, market, docket, disputes, draw, deliveries }
    }

    /// Name, creation code and address of each, in the order of their nonces.
    #[must_use]
    pub fn creations(
        &self,
        token: Address,
        parameters: Address,
        l1: Address,
        treasury: Address,
    ) -> [(&'static str, Bytes, Address); 6] {
        let Self { stakes, market, docket, disputes, draw, deliveries } = *self;
        let modules = (token, parameters, [market, docket, draw, deliveries]).abi_encode_params();
        let neighbours = JobMarket::Neighbours { stakes, parameters, docket, draw, deliveries, treasury };
        let drawing = (stakes, market, parameters, l1, treasury).abi_encode_params();
        let challenges = (stakes, market, disputes, parameters, treasury).abi_encode_params();
        [
            ("Stakes", creation(&Stakes::BYTECODE, modules), stakes),
            ("JobMarket", creation(&JobMarket::BYTECODE, neighbours.abi_encode()), market),
            ("Docket", creation(&Docket::BYTECODE, challenges), docket),
            ("Disputes", creation(&Disputes::BYTECODE, docket.abi_encode()), disputes),
            ("VerifierDraw", creation(&VerifierDraw::BYTECODE, drawing), draw),
            ("Deliveries", creation(&Deliveries::BYTECODE, (stakes, market).abi_encode_params()), deliveries),
        ]
    }
}
