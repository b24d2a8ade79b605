//! `lockstep node --dev` and `--follow`: the rollup on an L1.

use std::{net::SocketAddr, path::Path, pin::pin, time::Duration};

use lockstep_sequencer::{BlobSource, Devnet, DevnetConfig, DevnetRecord, NodeConfig, RollupNode};

use crate::{
    daemon::signalled,
    failure::Failure,
    node::{self, Args, unless},
    output::Output,
};

/// Starts L1, its contracts, and the rollup's sequencer in this process.
pub(crate) async fn dev(args: Args, output: &Output) -> Result<(), Failure> {
    if !args.block_time_ms.is_multiple_of(1000) || args.block_time_ms == 0 {
        return Err(Failure::new("with an L1, --block-time-ms is a whole number of seconds"));
    }
    let mut config = DevnetConfig::dev()?;
    config.data_dir.clone_from(&args.data_dir);
    config.l2.listen = SocketAddr::new(args.host, args.port);
    (config.l2.metrics_listen, config.l2.archive) = (args.metrics, args.archive);
    config.l2_block_time_s = args.block_time_ms / 1000;
    config.l1.node.listen = SocketAddr::new(args.host, args.l1_port);
    config.l1.beacon_listen = SocketAddr::new(args.host, args.beacon_port);
    config.batcher.blobs = args.blobs;
    config.fork = args.fork;
    let mut stop = pin!(signalled());
    output.text("starting L1 and its contracts");
    let Some(net) = unless(&mut stop, Box::pin(Devnet::start(config))).await else { return Ok(()) };
    let mut net = net?;
    if args.data_dir.is_none() {
        output.text("without --data-dir nothing of it is kept, and no second node can follow it after it stops");
    }
    let url = net.l2.node.http_url();
    let Some(deployment) = unless(&mut stop, Box::pin(node::deployed(&url, &args.deployment, output))).await else {
        return Ok(net.shutdown().await?);
    };
    let deployment = deployment?;
    let (l1, beacon) = (net.l1.node.http_url(), net.l1.beacon_url());
    output.result(
        format!(
            "L2 at {url}, chain {}; L1 at {l1}, chain {}, blobs at {beacon}; portal {}; contracts in {}",
            net.l2.node.chain_id(),
            net.l1.node.chain_id(),
            net.record.l1.portal,
            args.deployment.display()
        ),
        &serde_json::json!({
            "what": "ready", "rpc": url, "l1": l1, "beacon": beacon, "bridge": net.record.l1, "deployment": deployment,
        }),
    );
    tokio::select! {
        failed = net.l2.failed() => failed?,
        failed = net.l1.node.failed() => failed?,
        () = stop => (),
    }
    output.text("stopping");
    Ok(net.shutdown().await?)
}

/// Starts a node that derives the rollup of a `devnet.json` from L1.
pub(crate) async fn follow(args: Args, record: &Path, output: &Output) -> Result<(), Failure> {
    let record = DevnetRecord::read(record)?;
    let needed =
        |value: Option<String>, flag: &str| value.ok_or_else(|| Failure::new(format!("--follow needs {flag}")));
    let l1 = needed(args.l1, "--l1 with the URL of L1's RPC")?;
    let blobs = BlobSource::Beacon(needed(args.beacon, "--beacon with the URL of L1's beacon API")?);
    let mut node = NodeConfig::dev()?;
    node.data_dir = args.data_dir;
    node.listen = SocketAddr::new(args.host, args.port);
    (node.metrics_listen, node.archive) = (args.metrics, args.archive);
    let mut stop = pin!(signalled());
    let starting = Box::pin(RollupNode::start(record.follower(&node, &l1, blobs, args.sequencer)?));
    let Some(follower) = unless(&mut stop, starting).await else { return Ok(()) };
    let mut follower = follower?;
    let url = follower.node.http_url();
    output.result(
        format!("following at {url}, chain {}", follower.node.chain_id()),
        &serde_json::json!({ "what": "ready", "rpc": url }),
    );
    let mut last = u64::MAX;
    loop {
        tokio::select! {
            failed = follower.failed() => failed?,
            () = &mut stop => break,
            () = tokio::time::sleep(Duration::from_secs(5)) => {
                let status = follower.status();
                if status.safe.number != last {
                    last = status.safe.number;
                    output.text(format!(
                        "safe block {last}, finalized {}, read L1 to {}",
                        status.finalized.number, status.l1_current.id.number
                    ));
                }
            }
        }
    }
    output.text("stopping");
    Ok(follower.shutdown().await?)
}
