//! `lockstep solver`, `lockstep verifier`, `lockstep arbiter`.

use std::{net::SocketAddr, path::PathBuf};

use lockstep_arbiter::Arbiter;
use lockstep_sdk::{
    artifact::{Fetcher, Store, serve},
    client::Client,
    work::{Stop, stop_channel},
};
use lockstep_solver::Solver;
use lockstep_verifier::Verifier;

use crate::{
    failure::Failure,
    output::Output,
    party::{ChainArgs, KeyArgs},
};

#[derive(clap::Args, Debug)]
pub(crate) struct DaemonArgs {
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// Directory of the artifacts it fetches and makes.
    #[arg(long)]
    store: PathBuf,
    /// Milliseconds between looks at the chain.
    #[arg(long, default_value_t = 500)]
    poll_ms: u64,
}

#[derive(clap::Args, Debug)]
pub(crate) struct SolverArgs {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Address its artifacts are served on.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The same address as others reach it; by default the one it listens on.
    #[arg(long)]
    public_url: Option<String>,
    /// Least price of a milestone, in the payment token's smallest unit.
    #[arg(long, default_value_t = 0)]
    min_price_wei: u128,
}

#[derive(clap::Args, Debug)]
pub(crate) struct VerifierArgs {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Seconds that a judgement is left to an arbiter.
    #[arg(long, default_value_t = 5)]
    judge_after_s: u64,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ArbiterArgs {
    #[command(flatten)]
    daemon: DaemonArgs,
}

/// What all daemons start with; the task resolves the stop signal on Ctrl-C or termination.
async fn start(args: &DaemonArgs, who: &str, output: &Output) -> Result<(Client, Fetcher, Stop), Failure> {
    let client = args.chain.client(Some(&args.key)).await?;
    let fetcher = Fetcher::new(Store::open(&args.store)?)?;
    let (tell, stop) = stop_channel();
    let signalled = signalled();
    tokio::spawn(async move {
        signalled.await;
        // Nobody listening means that the daemon ended by itself.
        let _ = tell.send(true);
    });
    let address = client.chain().address()?;
    let rpc = client.chain().url();
    output.result(
        format!("{who} {address} on {rpc}, artifacts in {}", args.store.display()),
        &serde_json::json!({ "what": "ready", "who": who, "address": address, "rpc": rpc }),
    );
    Ok((client, fetcher, stop))
}

/// Waits for Ctrl-C or a termination signal; those that come from this call on are heard, even before it is awaited.
pub(crate) fn signalled() -> impl Future<Output = ()> + Send + use<> {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    let listen = |kind: SignalKind| {
        signal(kind).inspect_err(|e| tracing::warn!("signal {} is not heard: {e}", kind.as_raw_value())).ok()
    };
    async fn next(signal: Option<Signal>) {
        match signal {
            Some(mut signal) => _ = signal.recv().await,
            None => std::future::pending().await,
        }
    }
    let (interrupt, terminate) = (listen(SignalKind::interrupt()), listen(SignalKind::terminate()));
    async move {
        tokio::select! {
            () = next(interrupt) => {}
            () = next(terminate) => {}
        }
    }
}

pub(crate) async fn solver(args: SolverArgs, output: &Output) -> Result<(), Failure> {
    let (client, fetcher, stop) = start(&args.daemon, "solver", output).await?;
    let server = serve(fetcher.store().clone(), args.listen).await?;
    let config = lockstep_solver::Config {
        poll_ms: args.daemon.poll_ms,
        uri: args.public_url.unwrap_or_else(|| server.url()),
        min_milestone_price_wei: args.min_price_wei,
        fault: None,
    };
    output.text(format!("states served at {}", config.uri));
    Solver::new(client, fetcher, config, output.reporter("solver")).run(stop).await?;
    Ok(server.shutdown().await?)
}

pub(crate) async fn verifier(args: VerifierArgs, output: &Output) -> Result<(), Failure> {
    let (client, fetcher, stop) = start(&args.daemon, "verifier", output).await?;
    let config =
        lockstep_verifier::Config { poll_ms: args.daemon.poll_ms, judge_after_s: args.judge_after_s, fault: None };
    Ok(Verifier::new(client, fetcher, config, output.reporter("verifier")).run(stop).await?)
}

pub(crate) async fn arbiter(args: ArbiterArgs, output: &Output) -> Result<(), Failure> {
    let (client, fetcher, stop) = start(&args.daemon, "arbiter", output).await?;
    let config = lockstep_arbiter::Config { poll_ms: args.daemon.poll_ms };
    Ok(Arbiter::new(client, fetcher, config, output.reporter("arbiter")).run(stop).await?)
}
