//! `lockstep stake`: what a party has with the market.

use lockstep_sdk::{account::Account, client::Client};

use crate::{
    failure::Failure,
    output::{Output, tokens},
    party::{ChainArgs, KeyArgs},
};

/// Stakes and balances.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Shows balance and stake.
    Show(PartyArgs),
    /// Adds to the stake.
    Deposit(AmountArgs),
    /// Starts the way out for part of the free stake.
    Unbond(AmountArgs),
    /// Turns what has finished its way out into balance.
    Finish(PartyArgs),
    /// Sends the whole balance to the wallet.
    Withdraw(PartyArgs),
}

#[derive(clap::Args, Debug)]
pub(crate) struct PartyArgs {
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct AmountArgs {
    /// How much, in the payment token's smallest unit.
    amount_wei: u128,
    #[command(flatten)]
    party: PartyArgs,
}

impl PartyArgs {
    async fn client(&self) -> Result<Client, Failure> {
        self.chain.client(Some(&self.key)).await
    }
}

pub(crate) async fn run(command: Command, output: &Output) -> Result<(), Failure> {
    let client = match command {
        Command::Show(party) => party.client().await?,
        Command::Deposit(args) => {
            let client = args.party.client().await?;
            client.deposit(args.amount_wei, "the stake").await?;
            client
        }
        Command::Unbond(args) => {
            let client = args.party.client().await?;
            client.unbond(args.amount_wei).await?;
            client
        }
        Command::Finish(party) => {
            let client = party.client().await?;
            client.finish_unbonding().await?;
            client
        }
        Command::Withdraw(party) => {
            let client = party.client().await?;
            client.withdraw().await?;
            client
        }
    };
    let address = client.chain().address()?;
    let account = client.account(address).await?;
    output.result(
        words(&account),
        &serde_json::json!({
            "what": "account", "address": address, "balance_wei": account.balance_wei.to_string(),
            "stake_wei": account.stake_wei.to_string(), "locked_wei": account.locked_wei.to_string(),
            "unbonding_wei": account.unbonding_wei.to_string(), "unbonded_at_s": account.unbonded_at_s,
        }),
    );
    Ok(())
}

fn words(a: &Account) -> String {
    let [balance, stake, locked, unbonding] =
        [a.balance_wei, a.stake_wei, a.locked_wei, a.unbonding_wei].map(|wei| tokens(wei as i128));
    format!(
        "balance {balance}, stake {stake}: {locked} held by jobs, {unbonding} on its way out until {}",
        a.unbonded_at_s
    )
}
