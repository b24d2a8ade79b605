//! Channels: batches compressed, cut into frames, and put into calldata or blobs.
//!
//! ```text
//!   span batches --> RLP strings --> brotli --> frames --> one per transaction's calldata, or one per blob
//! ```

use std::io::Write;

use alloy_primitives::{Bytes, keccak256};

/// First byte of a channel that is compressed with brotli (Fjord).
pub(crate) const BROTLI: u8 = 1;

/// First byte of what carries frames.
const DERIVATION_VERSION: u8 = 0;

/// What a frame is larger than its data: channel, number, length, end mark.
const FRAME_OVERHEAD: usize = 16 + 2 + 4 + 1;

/// Bytes of data that a blob can hold.
pub const BLOB_DATA_BYTES: usize = (4 * 31 + 3) * 1024 - 4;

/// Bytes in a blob.
const BLOB_BYTES: usize = 131_072;

/// Compression: the densest but one, an order of magnitude faster than that.
const QUALITY: u32 = 10;

/// The logarithm of the window that compression looks back.
const WINDOW_BITS: u32 = 22;

/// Compresses what a channel holds: encoded batches one after another, as [`crate::span_batch`] makes them.
pub fn compress(batches: &[u8]) -> Bytes {
    let mut writer = brotli::CompressorWriter::new(vec![BROTLI], 1 << 16, QUALITY, WINDOW_BITS);
    // Writing into memory cannot fail.
    let _ = writer.write_all(batches);
    writer.into_inner().into()
}

/// Cuts a compressed channel into pieces of at most `most` bytes, each to be sent as calldata or in a blob of its own.
/// The channel's id follows from its content, so that a channel that is made again is the same channel.
pub fn frames(channel: &[u8], most: usize) -> Vec<Bytes> {
    let room = most.saturating_sub(FRAME_OVERHEAD + 1).max(1);
    let digest = keccak256(channel);
    let count = channel.len().div_ceil(room).max(1);
    let chunk = |number: usize| &channel[(number * room).min(channel.len())..((number + 1) * room).min(channel.len())];
    (0..count)
        .map(|number| {
            let data = chunk(number);
            let mut frame = vec![DERIVATION_VERSION];
            frame.extend_from_slice(&digest[..16]);
            // A channel of more than 65,536 frames would be larger than any the batcher makes.
            frame.extend_from_slice(&(number as u16).to_be_bytes());
            frame.extend_from_slice(&(data.len() as u32).to_be_bytes());
            frame.extend_from_slice(data);
            frame.push(u8::from(number + 1 == count));
            frame.into()
        })
        .collect()
}

/// Puts at most [`BLOB_DATA_BYTES`] bytes into a blob; `None` if they do not fit.
///
/// A field element takes 31 bytes whole, and six bits of its first byte. Four elements so hold 127 bytes: 31, one that is spread
/// over them, 31, another, 31, a third, 31. The first element's data begins with a version and the length.
pub fn to_blob(data: &[u8]) -> Option<Bytes> {
    if data.len() > BLOB_DATA_BYTES {
        return None;
    }
    let length = (data.len() as u32).to_be_bytes();
    let mut input = vec![DERIVATION_VERSION];
    input.extend_from_slice(&length[1..]);
    input.extend_from_slice(data);
    let mut blob = vec![0u8; BLOB_BYTES];
    for (input, output) in input.chunks(127).zip(blob.chunks_mut(128)) {
        let mut whole = [0u8; 127];
        whole[..input.len()].copy_from_slice(input);
        let (x, y, z) = (whole[31], whole[63], whole[95]);
        let spread = [x & 0x3f, (y & 0x0f) | ((x & 0xc0) >> 2), z & 0x3f, ((z & 0xc0) >> 2) | ((y & 0xf0) >> 4)];
        for (element, high) in spread.into_iter().enumerate() {
            output[32 * element] = high;
            output[32 * element + 1..32 * (element + 1)].copy_from_slice(&whole[32 * element..32 * element + 31]);
        }
    }
    Some(blob.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kona_protocol::Frame;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = length as u64 + 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    /// The specification's decoder, in the plainest words: bits in the order in which they were spread.
    fn from_blob(blob: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        for four in blob.chunks(128) {
            let [a, b, c, d] = [four[0], four[32], four[64], four[96]];
            let spread = [a | (b & 0x30) << 2, b & 0x0f | (d & 0x0f) << 4, c | (d & 0x30) << 2];
            for (element, extra) in four.chunks(32).zip(spread.iter().map(Some).chain([None])) {
                whole.extend_from_slice(&element[1..]);
                whole.extend(extra);
            }
        }
        let length = u32::from_be_bytes(whole[..4].try_into().unwrap()) as usize;
        assert!(length <= BLOB_DATA_BYTES && whole[4 + length..].iter().all(|byte| *byte == 0));
        whole[4..4 + length].to_vec()
    }

    #[test]
    fn blobs_decode_to_what_was_put_in() {
        for length in [0, 1, 26, 27, 28, 122, 123, 124, 250, 251, 5000, BLOB_DATA_BYTES - 1, BLOB_DATA_BYTES] {
            let data = noise(length);
            let blob = to_blob(&data).unwrap();
            assert_eq!(blob.len(), BLOB_BYTES);
            assert!(blob.chunks(32).all(|element| element[0] < 0x40));
            assert_eq!(from_blob(&blob), data);
        }
        assert!(to_blob(&noise(BLOB_DATA_BYTES + 1)).is_none());
    }

    #[test]
    fn frames_make_the_channel_again() {
        for (length, most) in [(0, 100), (1, 100), (76, 100), (77, 100), (152, 100), (100_000, 1234)] {
            let channel = noise(length);
            let pieces = frames(&channel, most);
            assert!(pieces.iter().all(|piece| piece.len() <= most));
            let parsed: Vec<Frame> = pieces.iter().map(|piece| Frame::parse_frames(piece).unwrap().remove(0)).collect();
            let joined: Vec<u8> = parsed.iter().flat_map(|frame| frame.data.clone()).collect();
            assert_eq!(joined, channel);
            assert!(parsed.iter().enumerate().all(|(number, frame)| usize::from(frame.number) == number));
            assert!(parsed.iter().all(|frame| frame.id == parsed[0].id));
            assert_eq!(parsed.iter().filter(|frame| frame.is_last).count(), 1);
            assert!(parsed.last().is_some_and(|frame| frame.is_last));
        }
    }

    #[test]
    fn what_is_compressed_is_inflated() {
        let data: Vec<u8> = noise(70_000).into_iter().map(|byte| byte & 3).collect();
        let channel = compress(&data);
        assert!(channel.len() < data.len() / 3);
        assert_eq!(crate::reader::inflate(&channel), data);
    }
}
