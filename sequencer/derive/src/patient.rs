//! Between kona's stream of batches and what judges them.
//!
//! When a span batch is dropped, kona's stream says that all of the L1 block was read. The pipeline then goes on to the next L1 block, and after two
//! such batches in one L1 block it would leave out the whole of the next. This stage says that there may be more.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use kona_derive::{
    NextBatchProvider, OriginAdvancer, OriginProvider, PipelineError, PipelineErrorKind, PipelineResult, Signal,
    SignalReceiver,
};
use kona_protocol::{Batch, BlockInfo, L2BlockInfo};

use crate::reader::Marks;

/// The stage.
#[derive(Debug)]
pub(crate) struct Patient<P> {
    prev: P,
    marks: Arc<Marks>,
}

impl<P> Patient<P> {
    pub(crate) fn new(prev: P, marks: Arc<Marks>) -> Self {
        Self { prev, marks }
    }
}

#[async_trait]
impl<P> NextBatchProvider for Patient<P>
where
    P: NextBatchProvider + Send,
{
    fn flush(&mut self) {
        self.prev.flush();
    }

    fn span_buffer_size(&self) -> usize {
        self.prev.span_buffer_size()
    }

    async fn next_batch(&mut self, parent: L2BlockInfo, l1_origins: &[BlockInfo]) -> PipelineResult<Batch> {
        self.marks.dropped.store(false, Ordering::Relaxed);
        match self.prev.next_batch(parent, l1_origins).await {
            Err(PipelineErrorKind::Temporary(PipelineError::Eof)) if self.marks.dropped.load(Ordering::Relaxed) => {
                Err(PipelineError::NotEnoughData.temp())
            }
            other => other,
        }
    }
}

#[async_trait]
impl<P: OriginAdvancer + Send> OriginAdvancer for Patient<P> {
    async fn advance_origin(&mut self) -> PipelineResult<()> {
        self.prev.advance_origin().await
    }
}

impl<P: OriginProvider> OriginProvider for Patient<P> {
    fn origin(&self) -> Option<BlockInfo> {
        self.prev.origin()
    }
}

#[async_trait]
impl<P: SignalReceiver + Send> SignalReceiver for Patient<P> {
    async fn signal(&mut self, signal: Signal) -> PipelineResult<()> {
        self.prev.signal(signal).await
    }
}
