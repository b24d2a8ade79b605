//! Filters that clients poll.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use alloy::{
    primitives::{B256, U256},
    rpc::types::{Filter, FilterBlockOption, FilterChanges, Log},
};
use jsonrpsee::core::RpcResult;

use super::{
    error::{failed, over_limit},
    logs,
};
use crate::{chain::Head, config::RpcLimits};

/// Filters that nobody polls for this long are dropped.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// All filters.
pub(super) struct Filters {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last_id: u64,
    filters: HashMap<U256, Installed>,
}

struct Installed {
    kind: Kind,
    /// The first block that was not reported yet.
    next: u64,
    polled: Instant,
}

#[derive(Clone)]
enum Kind {
    Blocks,
    Logs(Box<Filter>),
}

impl Filters {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Installs a filter for hashes of new blocks.
    pub(super) fn blocks(&self, head: &Head) -> RpcResult<U256> {
        self.install(Kind::Blocks, head)
    }

    /// Installs a filter for new logs.
    pub(super) fn logs(&self, filter: Filter, head: &Head) -> RpcResult<U256> {
        self.install(Kind::Logs(Box::new(filter)), head)
    }

    fn install(&self, kind: Kind, head: &Head) -> RpcResult<U256> {
        let mut inner = self.lock();
        inner.filters.retain(|_, filter| filter.polled.elapsed() < IDLE);
        if inner.filters.len() >= self.limit {
            return Err(over_limit(format!("{} filters exist already: uninstall some", self.limit)));
        }
        inner.last_id += 1;
        let id = U256::from(inner.last_id);
        inner.filters.insert(id, Installed { kind, next: head.header.number + 1, polled: Instant::now() });
        Ok(id)
    }

    /// What is new since the last poll. What could not be returned is asked for again by the next poll.
    pub(super) fn changes(&self, id: U256, head: &Head, limits: &RpcLimits) -> RpcResult<FilterChanges> {
        let (kind, from) = {
            let mut inner = self.lock();
            let filter = inner.filters.get_mut(&id).ok_or_else(not_found)?;
            filter.polled = Instant::now();
            (filter.kind.clone(), filter.next)
        };
        let to = head.header.number.min(from.saturating_add(limits.log_blocks - 1));
        let changes = match kind {
            _ if from > to => FilterChanges::Empty,
            Kind::Blocks => {
                let hashes: Result<Vec<Option<B256>>, _> =
                    (from..=to).map(|number| head.snapshot.hash(number)).collect();
                FilterChanges::Hashes(hashes?.into_iter().flatten().collect())
            }
            Kind::Logs(filter) => FilterChanges::Logs(logs::select(head, &narrowed(&filter, from, to), limits)?),
        };
        if let Some(filter) = self.lock().filters.get_mut(&id) {
            filter.next = filter.next.max(to + 1);
        }
        Ok(changes)
    }

    /// All logs that a filter selects.
    pub(super) fn all_logs(&self, id: U256, head: &Head, limits: &RpcLimits) -> RpcResult<Vec<Log>> {
        let kind = self.lock().filters.get(&id).map(|filter| filter.kind.clone());
        match kind {
            Some(Kind::Logs(filter)) => logs::select(head, &filter, limits),
            _ => Err(not_found()),
        }
    }

    /// Removes a filter. Returns whether it existed.
    pub(super) fn uninstall(&self, id: U256) -> bool {
        self.lock().filters.remove(&id).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The filter over new blocks only.
fn narrowed(filter: &Filter, from: u64, to: u64) -> Filter {
    let mut filter = filter.clone();
    filter.block_option = FilterBlockOption::Range { from_block: Some(from.into()), to_block: Some(to.into()) };
    filter
}

fn not_found() -> jsonrpsee::types::ErrorObjectOwned {
    failed("filter not found: install it again")
}
