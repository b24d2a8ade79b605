//! The one binary: every role and every user command.
//!
//! ```text
//! lockstep demo                        the whole loop in one process, three acts
//! lockstep node                        a development chain with the contracts deployed
//! lockstep genesis                     block 0 of a rollup with the OP Stack's system contracts
//! lockstep solver|verifier|arbiter     the daemons
//! lockstep job submit|status|…         what requesters do
//! lockstep stake show|deposit|…        stakes and balances with the market
//! lockstep wallet new|show|backup      keys
//! ```

mod daemon;
mod demo;
mod failure;
mod genesis;
mod job;
mod node;
mod output;
mod party;
mod rollup;
mod stake;
mod wallet;

use clap::{Parser, Subcommand};
use failure::Failure;
use output::Output;

/// Training jobs with an answer that can be checked bit by bit.
#[derive(Parser)]
#[command(name = "lockstep", version, about, max_term_width = 100)]
struct Cli {
    /// One JSON object a line instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The whole loop in one process: an honest job, a convicted cheat, a false challenge.
    Demo(demo::Args),
    /// A development chain with the contracts deployed.
    Node(node::Args),
    /// Writes block 0 of a rollup, with the OP Stack's system contracts, as genesis.json.
    Genesis(genesis::Args),
    /// Takes jobs, trains them, claims, defends its claims, collects.
    Solver(daemon::SolverArgs),
    /// Re-runs claims, disputes the wrong ones, collects bounties.
    Verifier(daemon::VerifierArgs),
    /// Judges disputes for the tip.
    Arbiter(daemon::ArbiterArgs),
    /// Posts, watches, downloads and withdraws jobs.
    #[command(subcommand)]
    Job(job::Command),
    /// Shows, adds to and takes back what is with the market.
    #[command(subcommand)]
    Stake(stake::Command),
    /// Makes and looks at keys.
    #[command(subcommand)]
    Wallet(wallet::Command),
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_target(false).with_ansi(colour).init();
    let output = Output::new(cli.json);
    match run(cli.command, &output) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            output.failure(&e);
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(command: Command, output: &Output) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Demo(args) => demo::run(args, output).await,
            Command::Node(args) => node::run(args, output).await,
            Command::Genesis(args) => genesis::run(&args, output),
            Command::Solver(args) => daemon::solver(args, output).await,
            Command::Verifier(args) => daemon::verifier(args, output).await,
            Command::Arbiter(args) => daemon::arbiter(args, output).await,
            Command::Job(command) => job::run(command, output).await,
            Command::Stake(command) => stake::run(command, output).await,
            Command::Wallet(command) => wallet::run(command, output),
        }
    })
}
