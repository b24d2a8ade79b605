//! `lockstep genesis`: block 0 of a rollup as `genesis.json`, with the OP Stack's system contracts.

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use alloy::primitives::Address;
use lockstep_sequencer::{Fork, NodeConfig, SystemContracts};

use crate::{failure::Failure, output::Output};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Chain id of the rollup.
    #[arg(long)]
    chain_id: u64,
    /// Chain id of its L1.
    #[arg(long)]
    l1_chain_id: u64,
    /// Who may upgrade the system contracts.
    #[arg(long)]
    owner: Address,
    /// Who the collected fees can be withdrawn to, on L1; without it, the owner.
    #[arg(long)]
    fee_recipient: Option<Address>,
    /// The L1CrossDomainMessenger's proxy on L1.
    #[arg(long)]
    l1_cross_domain_messenger: Address,
    /// The L1StandardBridge's proxy on L1.
    #[arg(long)]
    l1_standard_bridge: Address,
    /// The L1ERC721Bridge's proxy on L1.
    #[arg(long)]
    l1_erc721_bridge: Address,
    /// Gas limit of every block.
    #[arg(long, default_value_t = 30_000_000)]
    gas_limit: u64,
    /// The rules of the rollup: granite or isthmus.
    #[arg(long, default_value_t)]
    fork: Fork,
    /// Timestamp of block 0 in seconds since 1970; without it, now.
    #[arg(long)]
    timestamp: Option<u64>,
    /// Also funds the development accounts, whose keys everybody knows.
    #[arg(long)]
    dev: bool,
    /// Where to write it.
    #[arg(long, default_value = "genesis.json")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let system = SystemContracts {
        chain_id: args.chain_id,
        l1_chain_id: args.l1_chain_id,
        owner: args.owner,
        fee_recipient: args.fee_recipient.unwrap_or(args.owner),
        l1_cross_domain_messenger: args.l1_cross_domain_messenger,
        l1_standard_bridge: args.l1_standard_bridge,
        l1_erc721_bridge: args.l1_erc721_bridge,
    };
    let funded = if args.dev { NodeConfig::dev()?.genesis } else { Vec::new() };
    let config = NodeConfig {
        chain_id: args.chain_id,
        gas_limit: args.gas_limit,
        kind: args.fork.kind(),
        genesis: system.accounts_for(args.fork.kind())?.into_iter().chain(funded).collect(),
        ..NodeConfig::default()
    };
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    std::fs::write(&args.out, config.genesis_json(args.timestamp.unwrap_or(now_s)))?;
    output.result(
        format!("wrote {} for chain {}", args.out.display(), args.chain_id),
        &serde_json::json!({ "what": "genesis", "file": args.out, "accounts": config.genesis.len() }),
    );
    Ok(())
}
