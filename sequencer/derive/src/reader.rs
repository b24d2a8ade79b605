//! From a channel to its batches, within bounds.
//!
//! kona's own stage inflates a zlib stream without a limit, and refuses a channel that is over the limit instead of reading
//! it up to there as the specification has it. This one reads up to the limit, survives a decoder that panics, and
//! drops at once what no later block could make valid. After a reset it leaves out what was read before.

use std::{
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use alloy_primitives::Bytes;
use alloy_rlp::Decodable;
use async_trait::async_trait;
use kona_derive::{
    BatchStreamProvider, ChannelReaderProvider, OriginAdvancer, OriginProvider, PipelineError, PipelineResult, Signal,
    SignalReceiver,
};
use kona_genesis::{FJORD_MAX_SEQUENCER_DRIFT, MAX_RLP_BYTES_PER_CHANNEL_FJORD, RollupConfig};
use kona_protocol::{Batch, BlockInfo};

use crate::channel::BROTLI;

/// The least a channel may still hold for reading to go on: an empty RLP string.
const BUFFER_BYTES: usize = 1 << 16;

/// The stage that reads channels.
#[derive(Debug)]
pub(crate) struct BoundedReader<P> {
    prev: P,
    config: Arc<RollupConfig>,
    channel: Option<Inflated>,
    marks: Arc<Marks>,
}

/// What the reader and the stages around it tell each other.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Channels that end in L1 blocks up to this one were read before.
    pub(crate) read_before: AtomicU64,
    /// A batch was dropped with its channel.
    pub(crate) dropped: AtomicBool,
}

#[derive(Debug)]
struct Inflated {
    bytes: Vec<u8>,
    at: usize,
}

impl<P> BoundedReader<P> {
    pub(crate) fn new(prev: P, config: Arc<RollupConfig>, marks: Arc<Marks>) -> Self {
        Self { prev, config, channel: None, marks }
    }
}

/// Inflates a channel up to the protocol's limit. What was read before an error or the limit counts.
pub(crate) fn inflate(channel: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let limit = MAX_RLP_BYTES_PER_CHANNEL_FJORD;
    let read = match channel {
        [BROTLI, rest @ ..] => brotli::Decompressor::new(rest, BUFFER_BYTES).take(limit).read_to_end(&mut bytes),
        [first, ..] if matches!(first & 0x0f, 8 | 15) => {
            flate2::read::ZlibDecoder::new(channel).take(limit).read_to_end(&mut bytes)
        }
        _ => return bytes,
    };
    if let Err(error) = read {
        tracing::debug!(%error, inflated = bytes.len(), "a channel ended early");
    }
    bytes
}

impl Inflated {
    /// The next batch; `None` ends the channel.
    fn next(&mut self, config: &RollupConfig) -> Option<Batch> {
        let mut rest = self.bytes.get(self.at..)?;
        let encoded = Bytes::decode(&mut rest).ok()?;
        self.at = self.bytes.len() - rest.len();
        // The decoder of span batches was not written for hostile numbers: overflow panics.
        let decoded = catch_unwind(AssertUnwindSafe(|| Batch::decode(&mut encoded.as_ref(), config)));
        match decoded {
            Ok(Ok(batch)) => Some(batch),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a batch cannot be decoded");
                None
            }
            Err(_) => {
                tracing::warn!("a batch made the decoder panic");
                None
            }
        }
    }
}

/// Whether a batch could become valid when it was included at `inclusion_s`. Its L1 origin is older than that, and an L2 block
/// is at most the sequencer drift ahead of its origin, so what is further in the future never can.
fn can_be_valid(batch: &Batch, inclusion_s: u64) -> bool {
    let latest_s = inclusion_s.saturating_add(FJORD_MAX_SEQUENCER_DRIFT);
    match batch {
        Batch::Single(batch) => batch.timestamp <= latest_s && batch.epoch_num <= u64::from(u32::MAX),
        Batch::Span(batch) => {
            let ends = batch.batches.first().into_iter().chain(batch.batches.last());
            !batch.batches.is_empty()
                && ends.clone().all(|block| block.timestamp <= latest_s && block.epoch_num <= u64::from(u32::MAX))
        }
    }
}

#[async_trait]
impl<P> BatchStreamProvider for BoundedReader<P>
where
    P: ChannelReaderProvider + OriginAdvancer + OriginProvider + SignalReceiver + std::fmt::Debug + Send,
{
    fn flush(&mut self) {
        // Called since Holocene only.
        self.channel = None;
        self.marks.dropped.store(true, Ordering::Relaxed);
    }

    async fn next_batch(&mut self) -> PipelineResult<Batch> {
        let channel = match &mut self.channel {
            Some(channel) => channel,
            None => {
                let data = self.prev.next_data().await?.ok_or(PipelineError::ChannelReaderEmpty.temp())?;
                let origin = self.prev.origin().ok_or(PipelineError::MissingOrigin.crit())?;
                if origin.number <= self.marks.read_before.load(Ordering::Relaxed) {
                    return Err(PipelineError::NotEnoughData.temp());
                }
                self.channel.insert(Inflated { bytes: inflate(&data), at: 0 })
            }
        };
        let Some(batch) = channel.next(&self.config) else {
            self.channel = None;
            return Err(PipelineError::NotEnoughData.temp());
        };
        let inclusion = self.prev.origin().ok_or(PipelineError::MissingOrigin.crit())?;
        if !can_be_valid(&batch, inclusion.timestamp) {
            tracing::warn!(l1_block = inclusion.number, "dropped a batch from the future");
            return Err(PipelineError::NotEnoughData.temp());
        }
        Ok(batch)
    }
}

#[async_trait]
impl<P> OriginAdvancer for BoundedReader<P>
where
    P: OriginAdvancer + Send,
{
    async fn advance_origin(&mut self) -> PipelineResult<()> {
        self.prev.advance_origin().await
    }
}

impl<P: OriginProvider> OriginProvider for BoundedReader<P> {
    fn origin(&self) -> Option<BlockInfo> {
        self.prev.origin()
    }
}

#[async_trait]
impl<P> SignalReceiver for BoundedReader<P>
where
    P: SignalReceiver + Send,
{
    async fn signal(&mut self, signal: Signal) -> PipelineResult<()> {
        self.channel = None;
        if signal == Signal::FlushChannel { Ok(()) } else { self.prev.signal(signal).await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_bomb_is_read_up_to_the_limit() {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        let zeros = vec![0; 1 << 20];
        for _ in 0..160 {
            encoder.write_all(&zeros).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < 200_000);
        assert_eq!(inflate(&bomb).len() as u64, MAX_RLP_BYTES_PER_CHANNEL_FJORD);
    }

    #[test]
    fn what_came_before_damage_counts() {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        let data: Vec<u8> = (0..100_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        encoder.write_all(&data).unwrap();
        let mut channel = encoder.finish().unwrap();
        channel.truncate(channel.len() / 2);
        let read = inflate(&channel);
        assert!(read.len() > 100_000 && data.starts_with(&read));
        assert!(inflate(&[]).is_empty() && inflate(&[1]).is_empty() && inflate(&[7, 7]).is_empty());
        assert!(inflate(&[1, 0xff, 0xff, 0xff, 0xff]).len() < 10);
    }

    /// Channels, the last first, that all end in one L1 block.
    #[derive(Debug)]
    struct Channels(u64, Vec<Bytes>);

    #[async_trait]
    impl ChannelReaderProvider for Channels {
        async fn next_data(&mut self) -> PipelineResult<Option<Bytes>> {
            Ok(self.1.pop())
        }
    }

    #[async_trait]
    impl OriginAdvancer for Channels {
        async fn advance_origin(&mut self) -> PipelineResult<()> {
            self.0 += 1;
            Ok(())
        }
    }

    impl OriginProvider for Channels {
        fn origin(&self) -> Option<BlockInfo> {
            Some(BlockInfo { number: self.0, timestamp: 1_700_000_000, ..BlockInfo::default() })
        }
    }

    #[async_trait]
    impl SignalReceiver for Channels {
        async fn signal(&mut self, _: Signal) -> PipelineResult<()> {
            Ok(())
        }
    }

    /// What a future gives that waits for nothing.
    fn now<T>(future: impl Future<Output = T>) -> T {
        use std::task::{Context, Poll, Waker};
        match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn channels_that_were_read_before_are_left_out() {
        let rollup = crate::Rollup::parse(crate::EXAMPLE_ROLLUP).unwrap();
        let block = |number| {
            let head = crate::L2Head { number, timestamp_s: 1_700_000_000 + number, ..crate::L2Head::default() };
            crate::BatchBlock { head, transactions: Vec::new() }
        };
        let channel = |number| crate::compress(&crate::single_batches(&[block(number)]).unwrap());
        let marks = Arc::new(Marks::default());
        marks.read_before.store(7, Ordering::Relaxed);
        let channels = Channels(7, vec![channel(2), channel(1)]);
        let mut reader = BoundedReader::new(channels, rollup.0, marks.clone());
        assert_eq!(now(reader.next_batch()).unwrap_err(), PipelineError::NotEnoughData.temp());
        now(reader.advance_origin()).unwrap();
        assert_eq!(now(reader.next_batch()).unwrap().timestamp(), 1_700_000_002);
        assert!(!marks.dropped.load(Ordering::Relaxed));
        reader.flush();
        assert!(marks.dropped.load(Ordering::Relaxed));
    }

    #[test]
    fn hostile_batches_are_no_batches() {
        let config = RollupConfig { block_time: 1, ..RollupConfig::default() };
        let mut noise = 7u64;
        for length in 0..4000usize {
            let mut bytes: Vec<u8> = (0..length % 300)
                .map(|_| {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (noise >> 56) as u8
                })
                .collect();
            // A span batch with numbers as large as they come.
            if let Some(first) = bytes.first_mut() {
                *first = 1;
            }
            for byte in bytes.iter_mut().skip(1).take(length / 300 * 3) {
                *byte |= 0x80;
            }
            let mut inflated = Inflated { bytes: alloy_rlp::encode(Bytes::from(bytes)), at: 0 };
            if let Some(batch) = inflated.next(&config) {
                can_be_valid(&batch, 0);
            }
        }
    }
}
