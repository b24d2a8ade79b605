//! The part of the beacon API that serves blobs.
//!
//! A slot is a second since genesis, so that every block has its own.

use std::{net::SocketAddr, sync::Arc};

use alloy::primitives::B256;
use axum::{
    Json, Router,
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    chain::Chain,
    error::{NodeError, StoreError},
    pool::Blob,
};

/// Seconds in a slot.
const SLOT_S: u64 = 1;

/// Starts the server. Returns where it listens and the task that serves.
pub(super) async fn start(chain: Arc<Chain>, listen: SocketAddr) -> Result<(SocketAddr, JoinHandle<()>), NodeError> {
    let failed = |error: std::io::Error| NodeError::Listen { address: listen, cause: error.to_string() };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let router = Router::new()
        .route("/eth/v1/beacon/genesis", get(genesis))
        .route("/eth/v1/config/spec", get(spec))
        .route("/eth/v1/beacon/blob_sidecars/{slot}", get(sidecars))
        .with_state(chain);
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the beacon API stopped");
        }
    });
    Ok((address, task))
}

async fn genesis(State(chain): State<Arc<Chain>>) -> Response {
    answer(genesis_time(&chain).map(|time_s| {
        Some(json!({
            "genesis_time": time_s.to_string(),
            "genesis_validators_root": B256::ZERO,
            "genesis_fork_version": "0x00000000",
        }))
    }))
}

async fn spec() -> Response {
    answer(Ok(Some(json!({ "SECONDS_PER_SLOT": SLOT_S.to_string() }))))
}

async fn sidecars(State(chain): State<Arc<Chain>>, Path(slot): Path<u64>, RawQuery(query): RawQuery) -> Response {
    let wanted = match indices(query.as_deref().unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(what) => return error(StatusCode::BAD_REQUEST, what),
    };
    let found = tokio::task::spawn_blocking(move || blobs_of(&chain, slot)).await;
    let found = found.unwrap_or_else(|error| Err(StoreError::Corrupt(format!("a task failed: {error}"))));
    answer(found.map(|blobs| {
        let numbered = (0usize..).zip(blobs?);
        let chosen = numbered.filter(|(index, _)| wanted.is_empty() || wanted.contains(index));
        Some(chosen.map(|(index, blob)| sidecar(index, &blob)).collect())
    }))
}

/// The numbers in `indices=1,2&indices=3`.
fn indices(query: &str) -> Result<Vec<usize>, String> {
    let lists = query.split('&').filter_map(|pair| pair.strip_prefix("indices="));
    let numbers = lists.flat_map(|list| list.split(','));
    numbers.map(|number| number.parse().map_err(|_| format!("indices: {number} is no number"))).collect()
}

/// The blobs of the block at a slot, `None` if there is no such block.
fn blobs_of(chain: &Chain, slot: u64) -> Result<Option<Vec<Blob>>, StoreError> {
    let head = chain.head();
    let time_s = genesis_time(chain)?.saturating_add(slot.saturating_mul(SLOT_S));
    let (mut low, mut high) = (0, head.header.number);
    while low < high {
        let middle = low + (high - low) / 2;
        let header = head.snapshot.header(middle)?.ok_or_else(|| missing(middle))?;
        if header.timestamp < time_s { low = middle + 1 } else { high = middle }
    }
    let header = head.snapshot.header(low)?.ok_or_else(|| missing(low))?;
    if header.timestamp != time_s {
        return Ok(None);
    }
    head.snapshot.blobs(low).map(Some)
}

fn genesis_time(chain: &Chain) -> Result<u64, StoreError> {
    Ok(chain.head().snapshot.header(0)?.ok_or_else(|| missing(0))?.timestamp)
}

fn missing(number: u64) -> StoreError {
    StoreError::Corrupt(format!("block {number} has no header"))
}

fn sidecar(index: usize, blob: &Blob) -> Value {
    json!({
        "index": index.to_string(),
        "blob": blob.data,
        "kzg_commitment": blob.commitment,
        "kzg_proof": blob.proof,
    })
}

fn answer(found: Result<Option<Value>, StoreError>) -> Response {
    match found {
        Ok(Some(data)) => Json(json!({ "data": data })).into_response(),
        Ok(None) => error(StatusCode::NOT_FOUND, "no block in this slot".into()),
        Err(cause) => error(StatusCode::INTERNAL_SERVER_ERROR, cause.to_string()),
    }
}

fn error(code: StatusCode, message: String) -> Response {
    (code, Json(json!({ "code": code.as_u16(), "message": message }))).into_response()
}
