//! The embedded chain as an engine.

use std::sync::{Arc, Mutex, PoisonError};

use alloy::{
    consensus::{Header, Sealed, constants::EMPTY_WITHDRAWALS},
    primitives::{B64, B256, U256},
    rpc::types::engine::{
        BlobsBundleV1, ExecutionPayloadV1, ExecutionPayloadV2, ExecutionPayloadV3, ForkchoiceState, ForkchoiceUpdated,
        PayloadId, PayloadStatus, PayloadStatusEnum,
    },
};
use jsonrpsee::core::async_trait;
use op_alloy::rpc_types_engine::{
    OpExecutionPayloadEnvelopeV3, OpExecutionPayloadEnvelopeV4, OpExecutionPayloadV4, OpPayloadAttributes,
};

use super::{Engine, EngineError};
use crate::{
    chain::{Chain, Head, ProduceError},
    config::ChainKind,
    error::{NodeError, StoreError},
    exec::{attributes::Attributes, block::ExecuteError, env::FEE_RECIPIENT},
};

/// Codes of the Engine API.
const UNKNOWN_PAYLOAD: i64 = -38001;
const INVALID_FORKCHOICE: i64 = -38002;
const INVALID_ATTRIBUTES: i64 = -38003;
const UNSUPPORTED_FORK: i64 = -38005;
/// The node itself failed.
const INTERNAL: i64 = -32603;

/// Version of the payloads, part of their ids.
const VERSION: u8 = 3;

/// The embedded chain as an engine. See [`crate::NodeHandle::engine`].
///
/// It keeps one chain and one version of its state. So a block that was fetched or executed is the head at once, and a
/// forkchoice that does not choose it takes it back; a block beside the head is `ACCEPTED` unexecuted until a forkchoice has
/// made its parent the head.
#[derive(Clone)]
pub struct LocalEngine {
    chain: Arc<Chain>,
    begun: Arc<Mutex<Option<Begun>>>,
}

/// A block that was begun.
struct Begun {
    id: PayloadId,
    parent: B256,
    attributes: Attributes,
    built: Option<OpExecutionPayloadV4>,
}

impl LocalEngine {
    pub(crate) fn new(chain: Arc<Chain>) -> Self {
        Self { chain, begun: Arc::default() }
    }

    /// A method is for the payloads of one fork: Isthmus or what was before it.
    fn check_fork(&self, method: &'static str, isthmus: bool) -> Result<(), EngineError> {
        let has = self.chain.config.kind == ChainKind::Isthmus;
        if has == isthmus {
            return Ok(());
        }
        let (fork, version) = if has { ("Isthmus", "V4") } else { ("Granite", "V3") };
        Err(refused(
            method,
            UNSUPPORTED_FORK,
            format!("this chain has the rules of {fork}: call {version} of the method"),
        ))
    }

    fn choose(
        &self,
        state: ForkchoiceState,
        attributes: Option<OpPayloadAttributes>,
    ) -> Result<ForkchoiceUpdated, EngineError> {
        let refuse = |code, message: String| refused("engine_forkchoiceUpdatedV3", code, message);
        let failed = |error: NodeError| refuse(INTERNAL, error.to_string());
        let head = self.chain.head();
        let number = |hash: B256| head.snapshot.number(hash).map_err(|error| failed(error.into()));
        let Some(chosen) = number(state.head_block_hash)? else {
            return Ok(ForkchoiceUpdated::from_status(PayloadStatusEnum::Syncing));
        };
        let label = |hash: B256, name: &str, now: u64| {
            if hash.is_zero() {
                return Ok(now.min(chosen));
            }
            let behind = number(hash)?.filter(|number| *number <= chosen);
            behind.ok_or_else(|| refuse(INVALID_FORKCHOICE, format!("{name} block {hash} is not behind the head")))
        };
        let safe = label(state.safe_block_hash, "safe", head.safe)?;
        let finalized = label(state.finalized_block_hash, "finalized", head.finalized)?;
        if finalized > safe {
            return Err(refuse(INVALID_FORKCHOICE, "the finalized block is after the safe one".into()));
        }
        let begun = match attributes {
            Some(attributes) => {
                Some(self.begin(&header(&head, chosen).map_err(|error| failed(error.into()))?, &attributes)?)
            }
            None => None,
        };
        self.chain.unwind(chosen).map_err(failed)?;
        self.chain.set_labels(safe, finalized).map_err(failed)?;
        let valid = PayloadStatus::new(PayloadStatusEnum::Valid, Some(state.head_block_hash));
        let updated = ForkchoiceUpdated::new(valid);
        let Some(begun) = begun else { return Ok(updated) };
        let id = begun.id;
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
        Ok(updated.with_payload_id(id))
    }

    fn begin(&self, parent: &Sealed<Header>, attributes: &OpPayloadAttributes) -> Result<Begun, EngineError> {
        let refuse = |message: String| Err(refused("engine_forkchoiceUpdatedV3", INVALID_ATTRIBUTES, message));
        let given = &attributes.payload_attributes;
        let Some(gas_limit) = attributes.gas_limit else { return refuse("gasLimit is missing".into()) };
        let Some(parent_beacon_root) = given.parent_beacon_block_root else {
            return refuse("parentBeaconBlockRoot is missing".into());
        };
        if given.timestamp < parent.timestamp {
            return refuse(format!("timestamp {} is before the parent's, {}", given.timestamp, parent.timestamp));
        }
        if given.suggested_fee_recipient != FEE_RECIPIENT {
            return refuse(format!("suggestedFeeRecipient must be the sequencer fee vault {FEE_RECIPIENT}"));
        }
        if given.withdrawals.as_ref().is_none_or(|withdrawals| !withdrawals.is_empty()) {
            return refuse("withdrawals must be an empty list".into());
        }
        if attributes.min_base_fee.is_some() {
            return refuse("minBaseFee is of a later fork than Isthmus".into());
        }
        match (self.chain.config.kind == ChainKind::Isthmus, attributes.eip_1559_params) {
            (true, None) => return refuse("eip1559Params is missing".into()),
            (true, Some(params)) if params[..4] == [0; 4] && !params.is_zero() => {
                return refuse(format!("eip1559Params {params} has a denominator of zero"));
            }
            (false, Some(_)) => return refuse("eip1559Params is of a later fork than Granite".into()),
            _ => (),
        }
        Ok(Begun {
            id: attributes.payload_id(&parent.hash(), VERSION),
            parent: parent.hash(),
            attributes: Attributes {
                timestamp_s: given.timestamp,
                prev_randao: given.prev_randao,
                parent_beacon_root,
                gas_limit,
                base_fee_params: attributes.eip_1559_params,
                forced: attributes.transactions.clone().unwrap_or_default(),
                from_pool: !attributes.no_tx_pool.unwrap_or_default(),
            },
            built: None,
        })
    }

    /// The block that was begun, and its parent's beacon root.
    fn fetch(&self, method: &'static str, id: PayloadId) -> Result<(OpExecutionPayloadV4, B256), EngineError> {
        let refuse = |code, message: String| refused(method, code, message);
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(begun) = begun.as_mut().filter(|begun| begun.id == id) else {
            return Err(refuse(UNKNOWN_PAYLOAD, format!("no block was begun as {id}")));
        };
        let parent_beacon_root = begun.attributes.parent_beacon_root;
        if let Some(built) = &begun.built {
            return Ok((built.clone(), parent_beacon_root));
        }
        let produced = self.chain.produce(begun.parent, &begun.attributes).map_err(|error| match error {
            ProduceError::Stale { .. } => refuse(UNKNOWN_PAYLOAD, error.to_string()),
            ProduceError::Execute(ExecuteError::Forced { .. }) => refuse(INVALID_ATTRIBUTES, error.to_string()),
            error => refuse(INTERNAL, error.to_string()),
        })?;
        let built = self.payload(&produced).map_err(|error| refuse(INTERNAL, error.to_string()))?;
        begun.built = Some(built.clone());
        Ok((built, parent_beacon_root))
    }

    fn execute(
        &self,
        method: &'static str,
        payload: &OpExecutionPayloadV4,
        parent_beacon_root: B256,
    ) -> Result<PayloadStatus, EngineError> {
        let failed = |error: String| refused(method, INTERNAL, error);
        let block = &payload.payload_inner.payload_inner.payload_inner;
        let head = self.chain.head();
        let number = |hash| head.snapshot.number(hash).map_err(|error| failed(error.to_string()));
        let valid = |hash| PayloadStatus::new(PayloadStatusEnum::Valid, Some(hash));
        let invalid = |why: String| {
            PayloadStatus::new(PayloadStatusEnum::Invalid { validation_error: why }, Some(block.parent_hash))
        };
        if let Some(known) = number(block.block_hash)? {
            let header = header(&head, known).map_err(|error| failed(error.to_string()))?;
            let same = self.payload(&header).map_err(|error| failed(error.to_string()))? == *payload;
            return Ok(if same { valid(block.block_hash) } else { invalid("blockHash is of another block".into()) });
        }
        if block.parent_hash != head.header.hash() {
            let status = match number(block.parent_hash)? {
                Some(_) => PayloadStatusEnum::Accepted,
                None => PayloadStatusEnum::Syncing,
            };
            return Ok(PayloadStatus::from_status(status));
        }
        let attributes = Attributes {
            timestamp_s: block.timestamp,
            prev_randao: block.prev_randao,
            parent_beacon_root,
            gas_limit: block.gas_limit,
            base_fee_params: block.extra_data.get(1..9).map(B64::from_slice),
            forced: block.transactions.clone(),
            from_pool: false,
        };
        if block.timestamp < head.header.timestamp {
            return Ok(invalid(format!("timestamp {} is before the parent's", block.timestamp)));
        }
        let produced = match self.chain.produce(block.parent_hash, &attributes) {
            Ok(produced) => produced,
            Err(ProduceError::Execute(error @ ExecuteError::Forced { .. })) => return Ok(invalid(error.to_string())),
            Err(error) => return Err(failed(error.to_string())),
        };
        if self.payload(&produced).map_err(|error| failed(error.to_string()))? == *payload {
            return Ok(valid(block.block_hash));
        }
        self.chain.unwind(head.header.number).map_err(|error| failed(error.to_string()))?;
        Ok(invalid(format!("its transactions give block {}, not {}", produced.hash(), block.block_hash)))
    }

    /// A block of the chain as a payload.
    fn payload(&self, header: &Sealed<Header>) -> Result<OpExecutionPayloadV4, StoreError> {
        let transactions = self.chain.head().snapshot.transactions(header.number)?;
        let block = ExecutionPayloadV1 {
            parent_hash: header.parent_hash,
            fee_recipient: header.beneficiary,
            state_root: header.state_root,
            receipts_root: header.receipts_root,
            logs_bloom: header.logs_bloom,
            prev_randao: header.mix_hash,
            block_number: header.number,
            gas_limit: header.gas_limit,
            gas_used: header.gas_used,
            timestamp: header.timestamp,
            extra_data: header.extra_data.clone(),
            base_fee_per_gas: U256::from(header.base_fee_per_gas.unwrap_or_default()),
            block_hash: header.hash(),
            transactions,
        };
        let payload = ExecutionPayloadV3 {
            payload_inner: ExecutionPayloadV2 { payload_inner: block, withdrawals: Vec::new() },
            blob_gas_used: header.blob_gas_used.unwrap_or_default(),
            excess_blob_gas: header.excess_blob_gas.unwrap_or_default(),
        };
        let withdrawals_root = header.withdrawals_root.unwrap_or(EMPTY_WITHDRAWALS);
        Ok(OpExecutionPayloadV4::from_v3_with_withdrawals_root(payload, withdrawals_root))
    }

    /// Runs what may block where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let engine = self.clone();
        let done = tokio::task::spawn_blocking(move || work(engine)).await;
        done.map_err(|error| refused("embedded engine", INTERNAL, error.to_string()))?
    }
}

/// A header that must exist.
fn header(head: &Head, number: u64) -> Result<Sealed<Header>, StoreError> {
    let missing = || StoreError::Corrupt(format!("block {number} has no header"));
    head.snapshot.header(number)?.ok_or_else(missing)
}

fn refused(method: &'static str, code: i64, message: String) -> EngineError {
    EngineError::Rpc { method, code, message }
}

impl std::fmt::Debug for LocalEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalEngine").finish_non_exhaustive()
    }
}

#[async_trait]
impl Engine for LocalEngine {
    async fn forkchoice_updated(
        &self,
        state: ForkchoiceState,
        attributes: Option<OpPayloadAttributes>,
    ) -> Result<ForkchoiceUpdated, EngineError> {
        self.blocking(move |engine| engine.choose(state, attributes)).await
    }

    async fn get_payload(&self, id: PayloadId) -> Result<OpExecutionPayloadEnvelopeV3, EngineError> {
        let method = "engine_getPayloadV3";
        self.check_fork(method, false)?;
        let (payload, parent_beacon_block_root) = self.blocking(move |engine| engine.fetch(method, id)).await?;
        Ok(OpExecutionPayloadEnvelopeV3 {
            execution_payload: payload.payload_inner,
            block_value: U256::ZERO,
            blobs_bundle: no_blobs(),
            should_override_builder: false,
            parent_beacon_block_root,
        })
    }

    async fn new_payload(
        &self,
        payload: ExecutionPayloadV3,
        parent_beacon_block_root: B256,
    ) -> Result<PayloadStatus, EngineError> {
        let method = "engine_newPayloadV3";
        self.check_fork(method, false)?;
        let payload = OpExecutionPayloadV4::from_v3_with_withdrawals_root(payload, EMPTY_WITHDRAWALS);
        self.blocking(move |engine| engine.execute(method, &payload, parent_beacon_block_root)).await
    }

    async fn get_payload_v4(&self, id: PayloadId) -> Result<OpExecutionPayloadEnvelopeV4, EngineError> {
        let method = "engine_getPayloadV4";
        self.check_fork(method, true)?;
        let (execution_payload, parent_beacon_block_root) =
            self.blocking(move |engine| engine.fetch(method, id)).await?;
        Ok(OpExecutionPayloadEnvelopeV4 {
            execution_payload,
            block_value: U256::ZERO,
            blobs_bundle: no_blobs(),
            should_override_builder: false,
            parent_beacon_block_root,
            execution_requests: Vec::new(),
        })
    }

    async fn new_payload_v4(
        &self,
        payload: OpExecutionPayloadV4,
        parent_beacon_block_root: B256,
    ) -> Result<PayloadStatus, EngineError> {
        let method = "engine_newPayloadV4";
        self.check_fork(method, true)?;
        self.blocking(move |engine| engine.execute(method, &payload, parent_beacon_block_root)).await
    }
}

const fn no_blobs() -> BlobsBundleV1 {
    BlobsBundleV1 { commitments: Vec::new(), proofs: Vec::new(), blobs: Vec::new() }
}
