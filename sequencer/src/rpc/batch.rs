//! Batches of `eth_sendRawTransaction`, as whoever sends many transactions uses them: answered together, on one thread that may block,
//! with one lock of the mempool and one write of its journal. All other requests pass.

use std::{future::Future, sync::Arc};

use alloy::primitives::{B256, Bytes};
use jsonrpsee::{
    core::middleware::{Batch, BatchEntry, Notification, Request, RpcServiceT},
    server::{BatchResponseBuilder, MethodResponse, ResponsePayload},
    types::{ErrorObjectOwned, Id},
};

use super::error::failed;
use crate::{chain::Chain, error::PoolError};

/// The service before the methods.
#[derive(Clone)]
pub(super) struct Sends<S> {
    /// The methods.
    pub(super) inner: S,
    /// Where transactions go.
    pub(super) chain: Arc<Chain>,
    /// The most that an answer may have.
    pub(super) response_bytes: usize,
}

impl<S> RpcServiceT for Sends<S>
where
    S: RpcServiceT<BatchResponse = MethodResponse> + Clone + Send + Sync + 'static,
{
    type MethodResponse = S::MethodResponse;
    type NotificationResponse = S::NotificationResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = Self::MethodResponse> + Send + 'a {
        self.inner.call(request)
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let Some((ids, raws)) = transactions(&batch) else { return this.inner.batch(batch).await };
            let chain = this.chain.clone();
            match tokio::task::spawn_blocking(move || chain.submit_all(raws)).await {
                Ok(answers) => together(ids, answers, this.response_bytes),
                Err(error) => MethodResponse::error(Id::Null, failed(format!("the batch was not handled: {error}"))),
            }
        }
    }

    fn notification<'a>(&self, n: Notification<'a>) -> impl Future<Output = Self::NotificationResponse> + Send + 'a {
        self.inner.notification(n)
    }
}

/// The transactions of a batch with the ids of their requests, if it has some and nothing else.
fn transactions<'a>(batch: &Batch<'a>) -> Option<(Vec<Id<'a>>, Vec<Bytes>)> {
    if batch.is_empty() {
        return None;
    }
    let one = |request: &Request<'a>| {
        let params = request.params.as_ref().filter(|_| request.method == "eth_sendRawTransaction")?;
        let (raw,): (Bytes,) = serde_json::from_str(params.get()).ok()?;
        Some((request.id.clone(), raw))
    };
    let each = batch.iter().map(|entry| match entry {
        Ok(BatchEntry::Call(request)) => one(request),
        _ => None,
    });
    each.collect()
}

fn together(ids: Vec<Id<'_>>, answers: Vec<Result<B256, PoolError>>, response_bytes: usize) -> MethodResponse {
    let mut all = BatchResponseBuilder::new_with_limit(response_bytes);
    for (id, answer) in ids.into_iter().zip(answers) {
        let answer = match answer {
            Ok(hash) => MethodResponse::response(id, ResponsePayload::success(hash), response_bytes),
            Err(error) => MethodResponse::error(id, ErrorObjectOwned::from(error)),
        };
        if let Err(too_large) = all.append(answer) {
            return too_large;
        }
    }
    MethodResponse::from_batch(all.finish())
}
