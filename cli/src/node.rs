//! `lockstep node`: a development chain with the contracts deployed and the development accounts funded.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    pin::pin,
};

use lockstep_sdk::{chain::Chain, client::Client, deploy, deploy::Deployment, wallet::Wallet};
use lockstep_sequencer::{DEV_ACCOUNTS, Fork, Node, NodeConfig, NodeHandle};

use crate::{daemon::signalled, failure::Failure, output::Output, rollup};

/// Development account that deploys, and that the treasury's share goes to.
pub(crate) const DEPLOYER: u32 = 0;
/// What each other development account gets of the development token: a million.
pub(crate) const DEV_TOKENS_WEI: u128 = 1_000_000 * 1_000_000_000_000_000_000;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Configuration file (see docs/node.example.toml); without it, a development chain on port 8545. A data directory given
    /// as an option goes before the file's.
    #[arg(long, conflicts_with_all = ["host", "port", "block_time_ms", "metrics", "archive", "dev", "follow"])]
    config: Option<PathBuf>,
    /// Where the chain is kept; without it, in a temporary directory.
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// Port of the JSON-RPC; 0 for any free one.
    #[arg(long, default_value_t = 8545)]
    pub(crate) port: u16,
    /// Milliseconds between blocks.
    #[arg(long, default_value_t = 1000)]
    pub(crate) block_time_ms: u64,
    /// Address for metrics (/metrics, Prometheus), liveness (/health) and readiness (/ready); without it, nowhere.
    #[arg(long)]
    pub(crate) metrics: Option<SocketAddr>,
    /// Keep an index of what blocks overwrite, so that the state of every block from here on can be read.
    #[arg(long)]
    pub(crate) archive: bool,
    /// Where the contracts' addresses are written; an existing file of this chain is kept.
    #[arg(long, default_value = "deployment.json")]
    pub(crate) deployment: PathBuf,
    /// Start a development L1 too, with the OP Stack's contracts, batches, outputs and withdrawals.
    #[arg(long)]
    pub(crate) dev: bool,
    /// With --dev: port of L1's JSON-RPC; 0 for any free one.
    #[arg(long, default_value_t = 8544)]
    pub(crate) l1_port: u16,
    /// With --dev: port of L1's beacon API, which serves blobs; 0 for any free one.
    #[arg(long, default_value_t = 8543)]
    pub(crate) beacon_port: u16,
    /// With --dev: batches travel in blobs instead of calldata.
    #[arg(long)]
    pub(crate) blobs: bool,
    /// With --dev: the rules of the rollup, granite or isthmus; without it granite's, or those that the network in --data-dir began with.
    #[arg(long, requires = "dev")]
    pub(crate) fork: Option<Fork>,
    /// Follow the rollup that a `devnet.json` describes, from L1 alone; it lies in the --data-dir of the one to follow.
    #[arg(long, conflicts_with = "dev")]
    pub(crate) follow: Option<PathBuf>,
    /// With --follow: URL of L1's JSON-RPC.
    #[arg(long)]
    pub(crate) l1: Option<String>,
    /// With --follow: URL of L1's beacon API.
    #[arg(long)]
    pub(crate) beacon: Option<String>,
    /// With --follow: URL of the sequencer, to hear of blocks before L1 holds them.
    #[arg(long)]
    pub(crate) sequencer: Option<String>,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<(), Failure> {
    if let Some(record) = args.follow.clone() {
        return Box::pin(rollup::follow(args, &record, output)).await;
    }
    if args.dev {
        return Box::pin(rollup::dev(args, output)).await;
    }
    let config = settings(&args)?;
    let dev = config.dev_methods;
    let mut stop = pin!(signalled());
    let Some(node) = unless(&mut stop, Box::pin(Node::start(config))).await else { return Ok(()) };
    let node = node?;
    let url = node.http_url();
    if !dev {
        output.result(
            format!("node at {url}, chain {}", node.chain_id()),
            &serde_json::json!({ "what": "ready", "rpc": url }),
        );
        return until_stopped(node, stop, output).await;
    }
    let Some(deployment) = unless(&mut stop, Box::pin(deployed(&url, &args.deployment, output))).await else {
        return Ok(node.shutdown().await?);
    };
    let deployment = deployment?;
    output.result(
        format!("node at {url}, chain {}; contracts in {}", node.chain_id(), args.deployment.display()),
        &serde_json::json!({ "what": "ready", "rpc": url, "deployment": deployment }),
    );
    until_stopped(node, stop, output).await
}

/// What the work gives; nothing if the signal comes first.
pub(crate) async fn unless<T>(stop: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = stop => None,
    }
}

/// What the file says, or the options.
fn settings(args: &Args) -> Result<NodeConfig, Failure> {
    let Some(path) = &args.config else {
        return Ok(NodeConfig {
            data_dir: args.data_dir.clone(),
            listen: SocketAddr::new(args.host, args.port),
            block_time_ms: args.block_time_ms,
            metrics_listen: args.metrics,
            archive: args.archive,
            ..NodeConfig::dev()?
        });
    };
    let mut config = NodeConfig::read(path)?;
    config.data_dir = args.data_dir.clone().or(config.data_dir);
    Ok(config)
}

async fn until_stopped(mut node: NodeHandle, stop: impl Future<Output = ()>, output: &Output) -> Result<(), Failure> {
    tokio::select! {
        failed = node.failed() => failed?,
        () = stop => (),
    }
    output.text("stopping");
    Ok(node.shutdown().await?)
}

/// The deployment in `file` if its contracts are on this chain, else a new one.
pub(crate) async fn deployed(url: &str, file: &Path, output: &Output) -> Result<Deployment, Failure> {
    if file.exists() {
        let deployment = Deployment::read(file)?;
        let client = Client::connect(url, deployment.clone(), None).await;
        if let Ok(client) = client
            && client.job_count().await.is_ok()
        {
            return Ok(deployment);
        }
        output.text(format!("{} is of another chain; deploying anew", file.display()));
    }
    let deployment = prepare(url).await?.deployment().clone();
    deployment.write(file)?;
    Ok(deployment)
}

/// Deploys the contracts and hands tokens to every development account.
pub(crate) async fn prepare(url: &str) -> Result<Client, Failure> {
    let deployer = Wallet::dev(DEPLOYER)?;
    let chain = Chain::connect(url, Some(deployer)).await?;
    let treasury = chain.address()?;
    let deployment = deploy::deploy(&chain, treasury).await?;
    let client = Client::connect(url, deployment, Some(Wallet::dev(DEPLOYER)?)).await?;
    for account in 1..DEV_ACCOUNTS {
        client.transfer(Wallet::dev(account)?.address(), DEV_TOKENS_WEI).await?;
    }
    Ok(client)
}
