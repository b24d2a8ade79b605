//! What waits: the `txpool` namespace.

use std::{collections::BTreeMap, sync::Arc};

use alloy::{
    primitives::{Address, U64},
    rpc::types::txpool::{TxpoolContent, TxpoolContentFrom, TxpoolInspect, TxpoolInspectSummary},
};
use jsonrpsee::{core::RpcResult, proc_macros::rpc};

use super::{Rpc, blocks, types::RpcTransaction};
use crate::{error::StoreError, pool::PooledTx};

/// The mempool. `pending` is what the next blocks can take, `queued` what waits behind a nonce gap.
#[rpc(server, namespace = "txpool")]
pub(super) trait TxpoolApi {
    #[method(name = "status", blocking)]
    fn status(&self) -> RpcResult<serde_json::Value>;
    #[method(name = "content", blocking)]
    fn content(&self) -> RpcResult<TxpoolContent<RpcTransaction>>;
    #[method(name = "contentFrom", blocking)]
    fn content_from(&self, sender: Address) -> RpcResult<TxpoolContentFrom<RpcTransaction>>;
    #[method(name = "inspect", blocking)]
    fn inspect(&self) -> RpcResult<TxpoolInspect>;
}

/// Transactions by sender and nonce, as the namespace writes them.
type BySender<T> = BTreeMap<Address, BTreeMap<String, T>>;

impl TxpoolApiServer for Rpc {
    fn status(&self) -> RpcResult<serde_json::Value> {
        let (pending, queued) = self.waiting()?;
        Ok(serde_json::json!({ "pending": U64::from(pending.len()), "queued": U64::from(queued.len()) }))
    }

    fn content(&self) -> RpcResult<TxpoolContent<RpcTransaction>> {
        let (pending, queued) = self.waiting()?;
        Ok(TxpoolContent { pending: by_sender(&pending, shown)?, queued: by_sender(&queued, shown)? })
    }

    fn content_from(&self, sender: Address) -> RpcResult<TxpoolContentFrom<RpcTransaction>> {
        let head = self.chain.head();
        let next = head.snapshot.state().account(sender)?.unwrap_or_default().nonce;
        let gap = self.chain.pool.pending_nonce(sender, next);
        let of = |nonces: std::ops::Range<u64>| -> Result<BTreeMap<String, RpcTransaction>, StoreError> {
            let txs = self.chain.pool.of_sender(sender);
            let txs = txs.iter().filter(|tx| nonces.contains(&tx.nonce));
            txs.map(|tx| Ok((tx.nonce.to_string(), shown(tx)?))).collect()
        };
        Ok(TxpoolContentFrom { pending: of(next..gap)?, queued: of(gap..u64::MAX)? })
    }

    fn inspect(&self) -> RpcResult<TxpoolInspect> {
        let summary = |tx: &PooledTx| {
            let base = &tx.env.base;
            let (to, value, gas, gas_price) = (base.kind.to().copied(), base.value, base.gas_limit, base.gas_price);
            Ok(TxpoolInspectSummary { to, value, gas, gas_price })
        };
        let (pending, queued) = self.waiting()?;
        Ok(TxpoolInspect { pending: by_sender(&pending, summary)?, queued: by_sender(&queued, summary)? })
    }
}

impl Rpc {
    #[allow(clippy::type_complexity, reason = "two lists")]
    fn waiting(&self) -> Result<(Vec<Arc<PooledTx>>, Vec<Arc<PooledTx>>), StoreError> {
        self.chain.pool.content(&self.chain.head().snapshot.state())
    }
}

fn shown(tx: &PooledTx) -> Result<RpcTransaction, StoreError> {
    blocks::waiting(tx)
}

fn by_sender<T>(
    txs: &[Arc<PooledTx>],
    show: impl Fn(&PooledTx) -> Result<T, StoreError>,
) -> Result<BySender<T>, StoreError> {
    let mut senders = BySender::new();
    for tx in txs {
        senders.entry(tx.sender).or_default().insert(tx.nonce.to_string(), show(tx)?);
    }
    Ok(senders)
}
