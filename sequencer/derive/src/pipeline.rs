//! The stages of derivation, put together.

use std::sync::{Arc, atomic::Ordering};

use alloy_primitives::{Address, B256, Bytes};
use kona_derive::{
    AttributesBuilder, AttributesQueue, BatchProvider, BatchStream, ChainProvider, ChannelProvider, DerivationPipeline,
    EthereumDataSource, FrameQueue, L1Retrieval, OriginProvider, Pipeline, PipelineEncodingError, PipelineError,
    PipelineErrorKind, PollingTraversal, ResetSignal, Signal, SignalReceiver, StatefulAttributesBuilder, StepResult,
};
use kona_genesis::ChainGenesis;
use kona_protocol::BlockInfo;

use crate::{
    error::DeriveError,
    patient::Patient,
    provider::{L1, L2},
    reader::{BoundedReader, Marks},
    rollup::{BlockId, L1Ref, L2Head, Rollup},
    source::{L1Source, L2Source},
};

/// Steps that lead neither to a block nor to a later L1 block before the caller gets a word in.
const STEPS: usize = 4096;

/// What an L2 block is made of: payload attributes of the Engine API with what L1 and the batch say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivedAttributes {
    /// The parent of the block.
    pub parent_hash: B256,
    /// Its timestamp in seconds since 1970.
    pub timestamp_s: u64,
    /// PREVRANDAO: that of the L1 origin.
    pub prev_randao: B256,
    /// Root of the parent of the L1 origin's beacon block.
    pub parent_beacon_root: B256,
    /// Who receives the tips.
    pub fee_recipient: Address,
    /// Gas limit of the block.
    pub gas_limit: u64,
    /// Since Holocene the parameters of the base fee after the block: denominator and elasticity, four bytes each; zero for the usual ones.
    pub base_fee_params: Option<[u8; 8]>,
    /// Encoded transactions (EIP-2718): the L1-attributes deposit, other deposits, those of the batch.
    pub transactions: Vec<Bytes>,
}

/// What a step of derivation brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next block, and the L1 block that completed its batch.
    Block(Box<DerivedAttributes>, BlockId),
    /// All of this L1 block was read.
    Read(BlockId),
    /// Nothing yet; call again.
    Busy,
}

type Reader<A> =
    BoundedReader<ChannelProvider<FrameQueue<L1Retrieval<EthereumDataSource<L1<A>, L1<A>>, PollingTraversal<L1<A>>>>>>;
type Queue<A, B> = AttributesQueue<
    BatchProvider<Patient<BatchStream<Reader<A>, L2<B>>>, L2<B>>,
    StatefulAttributesBuilder<L1<A>, L2<B>>,
>;

/// Derivation of the L2 chain from L1. See the crate's documentation.
#[derive(Debug)]
pub struct Derivation<A: L1Source, B: L2Source> {
    rollup: Rollup,
    l1: L1<A>,
    pipeline: DerivationPipeline<Queue<A, B>, L2<B>>,
    marks: Arc<Marks>,
}

impl<A: L1Source, B: L2Source> Derivation<A, B> {
    /// Prepares derivation. Call [`Self::reset`] before the first step.
    pub fn new(rollup: Rollup, l1: A, l2: B) -> Self {
        let config = rollup.0.clone();
        let l1 = L1::new(l1);
        let l2 = L2::new(l2, config.clone());
        let source = EthereumDataSource::new_from_parts(l1.clone(), l1.clone(), &config);
        let mut traversal = PollingTraversal::new(l1.clone(), config.clone());
        // The stages ask where they stand before they are told where to begin.
        let ChainGenesis { l1: first, l2_time, .. } = config.genesis;
        traversal.block = Some(BlockInfo::new(first.hash, first.number, B256::ZERO, l2_time));
        let frames = FrameQueue::new(L1Retrieval::new(traversal, source), config.clone());
        let marks = Arc::new(Marks::default());
        let channels = ChannelProvider::new(config.clone(), frames);
        let reader = BoundedReader::new(channels, config.clone(), marks.clone());
        let stream = Patient::new(BatchStream::new(reader, config.clone(), l2.clone()), marks.clone());
        let batches = BatchProvider::new(config.clone(), stream, l2.clone());
        let builder = StatefulAttributesBuilder::new(config.clone(), l2.clone(), l1.clone());
        let queue = AttributesQueue::new(config.clone(), batches, builder);
        Self { rollup, l1, pipeline: DerivationPipeline::new(queue, config, l2), marks }
    }

    /// Begins again after `safe`, the newest block that is known to follow from canonical L1 blocks. Reads L1 from far enough
    /// back for every channel that was open there.
    ///
    /// Since Holocene what a batch comes to depends on what was safe when it was read. So `read`, the newest L1 block that was read to its end when
    /// `safe` was the newest safe block, says whose batches must not be read again; `None` if nothing was. Before Holocene it is of no
    /// concern.
    ///
    /// # Errors
    /// [`DeriveError::Retry`] if a source does not answer.
    pub async fn reset(&mut self, safe: &L2Head, read: Option<u64>) -> Result<(), DeriveError> {
        let read_before = read.filter(|_| self.rollup.is_isthmus()).unwrap_or_default();
        self.marks.read_before.store(read_before, Ordering::Relaxed);
        let oldest = self.rollup.l1_genesis().number;
        let mut number = safe.l1_origin.number.saturating_sub(self.rollup.channel_timeout_blocks()).max(oldest);
        // From exactly one block before, kona's batch queue takes the wrong epoch and asks for a reset again and again. That happens only
        // where the rollup begins, and the block that it begins at holds no batches of it.
        if number + 1 == safe.l1_origin.number {
            number += 1;
        }
        let l1_origin: BlockInfo = self
            .l1
            .block_info_by_number(number)
            .await
            .map_err(|error| DeriveError::from(PipelineErrorKind::from(error)))?;
        self.pipeline.prepared.clear();
        let signal = ResetSignal { l2_safe_head: safe.into(), l1_origin, system_config: None };
        Ok(self.pipeline.signal(signal.signal()).await?)
    }

    /// Leaves out what is left of the channel that is being read: a block of it could not be executed (Holocene).
    ///
    /// # Errors
    /// [`DeriveError::Failed`] if the stages refuse, which they have no reason to.
    pub async fn flush_channel(&mut self) -> Result<(), DeriveError> {
        Ok(self.pipeline.signal(Signal::FlushChannel).await?)
    }

    /// Goes on, with `safe` the newest block that was derived. Before Holocene a block that cannot be executed is left out: pass the same
    /// `safe` again. Since then make it of its deposits alone, call [`Self::flush_channel`], and go on from it.
    ///
    /// # Errors
    /// By what to do about it, see [`DeriveError`]. At the end of L1 it is [`DeriveError::Retry`].
    pub async fn step(&mut self, safe: &L2Head) -> Result<Step, DeriveError> {
        for _ in 0..STEPS {
            match self.pipeline.step(safe.into()).await {
                StepResult::PreparedAttributes => {
                    if let Some(prepared) = self.pipeline.next() {
                        let l1 = prepared.derived_from.map_or_else(BlockId::default, |l1| block_id(&l1));
                        let attributes = attributes(prepared.parent.block_info.hash, prepared.inner);
                        return Ok(Step::Block(Box::new(attributes), l1));
                    }
                }
                StepResult::AdvancedOrigin => {
                    let origin = self.pipeline.origin().map_or_else(BlockId::default, |l1| block_id(&l1));
                    return Ok(Step::Read(origin));
                }
                StepResult::OriginAdvanceErr(error) => return Err(error.into()),
                StepResult::StepFailed(error) => match error {
                    PipelineErrorKind::Temporary(PipelineError::Provider(_)) => return Err(error.into()),
                    PipelineErrorKind::Temporary(_) => (),
                    // A span batch whose ends fit and whose middle does not. kona would stop for good; it is dropped with its channel.
                    PipelineErrorKind::Critical(PipelineError::BadEncoding(PipelineEncodingError::SpanBatchError(
                        cause,
                    ))) if self.rollup.is_isthmus() => {
                        tracing::warn!(%cause, "dropped a span batch that contradicts itself");
                        self.flush_channel().await?;
                    }
                    error => return Err(error.into()),
                },
            }
        }
        Ok(Step::Busy)
    }

    /// The L1 block that is being read.
    pub fn origin(&self) -> Option<L1Ref> {
        self.pipeline.origin().map(|l1| L1Ref {
            id: block_id(&l1),
            parent_hash: l1.parent_hash,
            timestamp_s: l1.timestamp,
        })
    }
}

fn block_id(info: &BlockInfo) -> BlockId {
    BlockId { number: info.number, hash: info.hash }
}

fn attributes(parent_hash: B256, payload: OpPayload) -> DerivedAttributes {
    let inner = payload.payload_attributes;
    DerivedAttributes {
        parent_hash,
        timestamp_s: inner.timestamp,
        prev_randao: inner.prev_randao,
        parent_beacon_root: inner.parent_beacon_block_root.unwrap_or_default(),
        fee_recipient: inner.suggested_fee_recipient,
        gas_limit: payload.gas_limit.unwrap_or_default(),
        base_fee_params: payload.eip_1559_params.map(|params| params.0),
        transactions: payload.transactions.unwrap_or_default(),
    }
}

type OpPayload = op_alloy_rpc_types_engine::OpPayloadAttributes;

/// What a sequencer's next block must begin with.
#[derive(Clone, Debug)]
pub struct Preparation<A: L1Source, B: L2Source> {
    l1: L1<A>,
    l2: L2<B>,
    rollup: Rollup,
}

impl<A: L1Source, B: L2Source> Preparation<A, B> {
    /// Prepares blocks of a rollup.
    pub fn new(rollup: Rollup, l1: A, l2: B) -> Self {
        let config = Arc::clone(&rollup.0);
        Self { l1: L1::new(l1), l2: L2::new(l2, config), rollup }
    }

    /// The attributes of the block after `parent` with the given L1 origin: its deposits, and no other transactions.
    ///
    /// # Errors
    /// [`DeriveError::Reset`] if the origin is not that of `parent` or the block after it, or is later than the block itself;
    /// [`DeriveError::Retry`] if a source does not answer.
    pub async fn attributes(&self, parent: &L2Head, l1_origin: BlockId) -> Result<DerivedAttributes, DeriveError> {
        let mut builder = StatefulAttributesBuilder::new(self.rollup.0.clone(), self.l2.clone(), self.l1.clone());
        let payload = builder.prepare_payload_attributes(parent.into(), l1_origin.into()).await?;
        Ok(attributes(parent.hash, payload))
    }

    /// Timestamp of an L1 block in seconds since 1970.
    ///
    /// # Errors
    /// [`DeriveError::Reset`] if it is gone, [`DeriveError::Retry`] if L1 does not answer.
    pub async fn l1_time_s(&self, hash: B256) -> Result<u64, DeriveError> {
        let header = self.l1.header(hash).await.map_err(|error| DeriveError::from(PipelineErrorKind::from(error)))?;
        Ok(header.timestamp)
    }
}
