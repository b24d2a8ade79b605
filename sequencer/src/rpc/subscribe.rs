//! `eth_subscribe`.

use std::sync::Arc;

use alloy::rpc::types::{
    Filter, Header as RpcHeader,
    pubsub::{Params, SubscriptionKind},
};
use jsonrpsee::{
    PendingSubscriptionSink, SubscriptionSink,
    core::{SubscriptionResult, async_trait, to_json_raw_value},
    proc_macros::rpc,
};
use serde::Serialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{Rpc, error::invalid, logs};
use crate::chain::NewHead;

/// Subscriptions of the `eth` namespace.
#[rpc(server, namespace = "eth")]
pub(super) trait PubSubApi {
    #[subscription(name = "subscribe" => "subscription", unsubscribe = "unsubscribe", item = serde_json::Value)]
    async fn subscribe(&self, kind: SubscriptionKind, params: Option<Params>) -> SubscriptionResult;
}

#[async_trait]
impl PubSubApiServer for Rpc {
    async fn subscribe(
        &self,
        pending: PendingSubscriptionSink,
        kind: SubscriptionKind,
        params: Option<Params>,
    ) -> SubscriptionResult {
        // Listening begins before the client learns of it, so that no block falls in between.
        let blocks = self.chain.events.subscribe();
        match (kind, params) {
            (SubscriptionKind::NewHeads, _) => heads(pending.accept().await?, blocks).await,
            (SubscriptionKind::Logs, Some(Params::Logs(filter))) => {
                new_logs(pending.accept().await?, blocks, *filter).await;
            }
            (SubscriptionKind::Logs, None | Some(Params::None)) => {
                new_logs(pending.accept().await?, blocks, Filter::new()).await;
            }
            (kind, _) => pending.reject(invalid(format!("no such subscription: {kind} with these options"))).await,
        }
        Ok(())
    }
}

async fn heads(sink: SubscriptionSink, mut blocks: Receiver<Arc<NewHead>>) {
    while let Some(block) = next(&sink, &mut blocks).await {
        if !send(&sink, &RpcHeader::from_consensus(block.header.clone(), None, None)).await {
            return;
        }
    }
}

async fn new_logs(sink: SubscriptionSink, mut blocks: Receiver<Arc<NewHead>>, filter: Filter) {
    while let Some(block) = next(&sink, &mut blocks).await {
        for log in logs::matching(&filter, &block.header, &block.receipts) {
            if !send(&sink, &log).await {
                return;
            }
        }
    }
}

/// The next block; `None` ends the subscription, as when the client could not keep up: it must notice a gap.
async fn next(sink: &SubscriptionSink, blocks: &mut Receiver<Arc<NewHead>>) -> Option<Arc<NewHead>> {
    tokio::select! {
        () = sink.closed() => None,
        block = blocks.recv() => match block {
            Ok(block) => Some(block),
            Err(RecvError::Closed) => None,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "ended a subscription that could not keep up");
                None
            }
        },
    }
}

/// Sends an item. Returns whether the client is still there.
async fn send(sink: &SubscriptionSink, item: &impl Serialize) -> bool {
    match to_json_raw_value(item) {
        Ok(json) => sink.send(json).await.is_ok(),
        Err(error) => {
            tracing::error!(%error, "an item could not be encoded");
            false
        }
    }
}
