//! The Engine API of another process.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::{
    primitives::B256,
    rpc::types::engine::{ExecutionPayloadV3, ForkchoiceState, ForkchoiceUpdated, PayloadId, PayloadStatus},
};
use jsonrpsee::core::async_trait;
use op_alloy::rpc_types_engine::{
    OpExecutionPayloadEnvelopeV3, OpExecutionPayloadEnvelopeV4, OpExecutionPayloadV4, OpPayloadAttributes,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Engine, EngineError, JwtSecret};

/// How long an engine may take: executing a full block is within it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Largest answer in bytes: a payload as large as any block.
const MAX_ANSWER: usize = 64 << 20;

/// An engine over HTTP.
#[derive(Debug)]
pub struct EngineClient {
    url: String,
    secret: JwtSecret,
    http: reqwest::Client,
    last_id: AtomicU64,
}

/// A JSON-RPC answer.
#[derive(Deserialize)]
struct Answer {
    id: Value,
    result: Option<Value>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: i64,
    message: String,
}

impl EngineClient {
    /// An engine at a URL such as `http://127.0.0.1:8551`. Nothing is sent yet.
    pub fn new(url: impl Into<String>, secret: JwtSecret) -> Self {
        Self { url: url.into(), secret, http: reqwest::Client::new(), last_id: AtomicU64::new(0) }
    }

    async fn call<T: DeserializeOwned>(&self, method: &'static str, params: Value) -> Result<T, EngineError> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        let text = self.post(body).await?;
        let answer: Answer = serde_json::from_slice(&text).map_err(|error| self.malformed(error.to_string()))?;
        if answer.id != json!(id) {
            return Err(self.malformed(format!("the answer to request {id} has id {}", answer.id)));
        }
        if let Some(Refusal { code, message }) = answer.error {
            return Err(EngineError::Rpc { method, code, message });
        }
        let result = answer.result.ok_or_else(|| self.malformed(format!("{method}: neither result nor error")))?;
        serde_json::from_value(result).map_err(|error| self.malformed(format!("{method}: {error}")))
    }

    async fn post(&self, body: String) -> Result<Vec<u8>, EngineError> {
        let unreachable = |error: reqwest::Error| self.unreachable(error.to_string());
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // A token is good for a minute, so each request has its own.
        let request = self.http.post(&self.url).bearer_auth(self.secret.token(now_s)).timeout(PATIENCE);
        let request = request.header("content-type", "application/json").body(body);
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        match status {
            200 => (),
            401 | 403 => return Err(EngineError::Unauthorized { url: self.url.clone(), status }),
            _ => return Err(self.unreachable(format!("HTTP status {status}"))),
        }
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if text.len() + chunk.len() > MAX_ANSWER {
                return Err(self.malformed(format!("more than {MAX_ANSWER} bytes")));
            }
            text.extend_from_slice(&chunk);
        }
        Ok(text)
    }

    fn unreachable(&self, cause: String) -> EngineError {
        EngineError::Unreachable { url: self.url.clone(), cause }
    }

    fn malformed(&self, cause: String) -> EngineError {
        EngineError::Malformed { url: self.url.clone(), cause }
    }
}

#[async_trait]
impl Engine for EngineClient {
    async fn forkchoice_updated(
        &self,
        state: ForkchoiceState,
        attributes: Option<OpPayloadAttributes>,
    ) -> Result<ForkchoiceUpdated, EngineError> {
        self.call("engine_forkchoiceUpdatedV3", json!([state, attributes])).await
    }

    async fn get_payload(&self, id: PayloadId) -> Result<OpExecutionPayloadEnvelopeV3, EngineError> {
        self.call("engine_getPayloadV3", json!([id])).await
    }

    async fn new_payload(
        &self,
        payload: ExecutionPayloadV3,
        parent_beacon_block_root: B256,
    ) -> Result<PayloadStatus, EngineError> {
        // A rollup's payload carries no blobs, so there are no versioned hashes.
        self.call("engine_newPayloadV3", json!([payload, [], parent_beacon_block_root])).await
    }

    async fn get_payload_v4(&self, id: PayloadId) -> Result<OpExecutionPayloadEnvelopeV4, EngineError> {
        self.call("engine_getPayloadV4", json!([id])).await
    }

    async fn new_payload_v4(
        &self,
        payload: OpExecutionPayloadV4,
        parent_beacon_block_root: B256,
    ) -> Result<PayloadStatus, EngineError> {
        // Nor has it requests to the consensus layer.
        self.call("engine_newPayloadV4", json!([payload, [], parent_beacon_block_root, []])).await
    }
}
