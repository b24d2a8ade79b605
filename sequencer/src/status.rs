//! Metrics for Prometheus, liveness and readiness, over HTTP on a port of their own.

use std::{
    fmt::Write,
    net::SocketAddr,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
};

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    chain::Chain,
    error::NodeError,
    l1::{BatcherStats, SyncStatus},
};

/// A node that builds blocks is ready while the newest is younger than this many block times, and than
/// [`LEAST_PATIENCE_S`].
const PATIENCE_BLOCKS: u64 = 5;
/// Seconds that are never too long for a block.
const LEAST_PATIENCE_S: u64 = 10;

/// Starts serving. Returns the address.
pub(crate) async fn start(
    chain: Arc<Chain>,
    address: SocketAddr,
    mut stop: watch::Receiver<bool>,
) -> Result<SocketAddr, NodeError> {
    let failed = |error: std::io::Error| NodeError::Listen { address, cause: error.to_string() };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let (metrics, ready) = (chain.clone(), chain);
    let app = Router::new()
        .route("/metrics", get(async move || ([(CONTENT_TYPE, "text/plain; version=0.0.4")], render(&metrics))))
        .route("/health", get(async || "alive\n"))
        .route("/ready", get(async move || readiness(&ready)));
    tokio::spawn(async move {
        let stopped = async move {
            // An error means that the node is gone, which is also an end.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    Ok(bound)
}

fn readiness(chain: &Chain) -> impl IntoResponse + use<> {
    if chain.metrics.failed.load(Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "blocks cannot be built any more: see the log\n".to_owned());
    }
    let age_s = chain.metrics.since_last_block().as_secs();
    let patience_s = (chain.config.block_time_ms * PATIENCE_BLOCKS / 1000).max(LEAST_PATIENCE_S);
    if chain.config.mine_empty && age_s > patience_s {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("no block for {age_s} s\n"));
    }
    (StatusCode::OK, "ready\n".to_owned())
}

fn render(chain: &Chain) -> String {
    let mut text = String::new();
    let mut put =
        |name: &str, kind: &str, help: &str, samples: &[(&str, f64)]| write(&mut text, name, kind, help, samples);
    let head = chain.head();
    let timings = chain.timings();
    put("head_block", "gauge", "Number of the newest block.", &[("", head.header.number as f64)]);
    put("safe_block", "gauge", "Number of the newest block that L1 holds.", &[("", head.safe as f64)]);
    put(
        "finalized_block",
        "gauge",
        "Number of the newest block that a final L1 block holds.",
        &[("", head.finalized as f64)],
    );
    put("head_timestamp_seconds", "gauge", "Timestamp of the newest block.", &[("", head.header.timestamp as f64)]);
    let lag_s = chain.metrics.since_last_block().as_secs_f64();
    put("head_age_seconds", "gauge", "Seconds since the newest block was built here.", &[("", lag_s)]);
    let base_fee = head.header.base_fee_per_gas.unwrap_or_default() as f64;
    put("base_fee_wei", "gauge", "Base fee of the newest block.", &[("", base_fee)]);
    put("mempool_transactions", "gauge", "Transactions that wait.", &[("", chain.pool.len() as f64)]);
    put("blocks_total", "counter", "Blocks built since the start.", &[("", timings.blocks as f64)]);
    put("transactions_total", "counter", "Transactions in them.", &[("", timings.transactions as f64)]);
    put("gas_total", "counter", "Gas they used.", &[("", timings.gas as f64)]);
    let entries = timings.entries as f64;
    put("state_entries_total", "counter", "Accounts, slots and trie nodes they set or removed.", &[("", entries)]);
    put(
        "block_seconds_total",
        "counter",
        "Where the time of building blocks went.",
        &[
            ("{part=\"recover\"}", timings.recover.as_secs_f64()),
            ("{part=\"execute\"}", timings.execute.as_secs_f64()),
            ("{part=\"root\"}", timings.root.as_secs_f64()),
            ("{part=\"flush\"}", timings.flush.as_secs_f64()),
            ("{part=\"write\"}", timings.write.as_secs_f64()),
        ],
    );
    if let Some(rollup) = chain.rollup.get() {
        render_l1(&mut text, &rollup.status.borrow(), &rollup.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }
    text
}

/// What a rollup's node knows about its L1.
fn render_l1(text: &mut String, status: &SyncStatus, batches: &BatcherStats) {
    let mut put = |name: &str, kind: &str, help: &str, value: f64| write(text, name, kind, help, &[("", value)]);
    let (read, newest) = (status.l1_current.id.number, status.l1_head.id.number);
    put("l1_head_block", "gauge", "Number of the newest L1 block.", newest as f64);
    put("l1_lag_blocks", "gauge", "L1 blocks that were not read yet.", newest.saturating_sub(read) as f64);
    put("l1_reorganisations_total", "counter", "L1 reorganisations that were followed.", status.reorganisations as f64);
    put("mismatches_total", "counter", "Blocks that differed from what L1 then said.", status.mismatches as f64);
    put("batched_blocks_total", "counter", "Blocks that were submitted to L1.", batches.blocks as f64);
    put("batched_transactions_total", "counter", "Transactions in them.", batches.transactions as f64);
    put("batch_transactions_total", "counter", "Transactions to L1 that carried them.", batches.l1_transactions as f64);
    put("batch_bytes_total", "counter", "Bytes of L1 that these took.", batches.l1_bytes as f64);
    put("batch_fees_wei_total", "counter", "Wei that these cost.", batches.l1_fees_wei as f64);
}

/// Writes a metric.
fn write(text: &mut String, name: &str, kind: &str, help: &str, samples: &[(&str, f64)]) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP lockstep_node_{name} {help}\n# TYPE lockstep_node_{name} {kind}");
    for (labels, value) in samples {
        let _ = writeln!(text, "lockstep_node_{name}{labels} {value}");
    }
}
