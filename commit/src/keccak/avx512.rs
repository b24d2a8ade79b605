//! keccak256 of eight messages side by side, with AVX-512, as assembly.
//!
//! The states stay in registers for all blocks: a processor that takes two cycles to store a register of 512 bits (Zen 4) would spend more time
//! on storing a round's 25 lanes than on computing them. A compiler runs out of registers here; with seven to spare there are just enough.
//!
//! ```text
//!  zmm0–24   the states, each lane in the register of its number
//!  zmm25–29  column parities; what a round adds to columns 1, 2 and 3 ("theta"), and two for scratch
//!  zmm30–31  what it adds to columns 4 and 0
//! ```
//!
//! A row of the next state takes one lane of every row and column of the state, and no two rows the same one, so it is made where these lanes
//! are. Moving them to their own registers is a matter of names to the processor, and takes it no time.
#![allow(unsafe_code, reason = "assembly of vector instructions that were found to be there")]

use std::{arch::asm, array};

use super::permutation::{RATE, ROUND_CONSTANTS};
use crate::B256;

/// Bytes of a block.
const BLOCK: usize = 8 * RATE;

/// What the assembly works on.
#[repr(C, align(64))]
struct Work {
    /// The first lanes of the states in the end.
    lanes: [[u64; 8]; 4],
    /// Where every message is.
    messages: [*const u8; 8],
    /// Its last block, padded.
    last: [*const u8; 8],
    /// What is to be fetched meanwhile.
    next: [*const u8; 8],
}

/// keccak256 of eight messages, while what is `next` is fetched.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn eight<const BYTES: usize>(messages: &[&[u8; BYTES]], next: &[&[u8; BYTES]], digests: &mut [B256]) {
    assert!(messages.len() == 8 && digests.len() == 8);
    let whole = BYTES / BLOCK;
    let mut last = [[0u8; BLOCK]; 8];
    for (block, message) in last.iter_mut().zip(messages) {
        let rest = &message[whole * BLOCK..];
        block[..rest.len()].copy_from_slice(rest);
        // One byte ends the message, the last bit of the block ends the padding.
        block[rest.len()] = 1;
        block[BLOCK - 1] |= 1 << 7;
    }
    let mut work = Work {
        lanes: [[0; 8]; 4],
        messages: array::from_fn(|i| messages[i].as_ptr()),
        last: array::from_fn(|i| last[i].as_ptr()),
        next: array::from_fn(|i| next.get(i).unwrap_or(&messages[i]).as_ptr()),
    };
    // SAFETY: the messages have so many whole blocks, and each has a last one.
    unsafe { absorb(&mut work, whole + 1) };
    for (i, digest) in digests.iter_mut().enumerate() {
        for (bytes, lane) in digest.0.as_chunks_mut().0.iter_mut().zip(&work.lanes) {
            *bytes = lane[i].to_le_bytes();
        }
    }
}

/// Sets the lanes of a list to 0.
macro_rules! clear {
    ($($lane:literal)*) => { concat!($("vpxord xmm", $lane, ", xmm", $lane, ", xmm", $lane, "\n",)*) };
}

/// Where the messages are, from the table at `$at`.
macro_rules! places {
    ($at:literal) => {
        concat!(
            concat!("mov r8, [{work} + ", $at, "]\n"),
            concat!("mov r9, [{work} + ", $at, " + 8]\n"),
            concat!("mov r10, [{work} + ", $at, " + 16]\n"),
            concat!("mov r11, [{work} + ", $at, " + 24]\n"),
            concat!("mov r12, [{work} + ", $at, " + 32]\n"),
            concat!("mov r13, [{work} + ", $at, " + 40]\n"),
            concat!("mov r14, [{work} + ", $at, " + 48]\n"),
            concat!("mov r15, [{work} + ", $at, " + 56]\n"),
        )
    };
}

/// The xor of five lanes.
macro_rules! parity {
    ($to:literal, $a:literal $b:literal $c:literal $d:literal $e:literal) => {
        concat!(
            concat!("vmovdqa64 zmm", $to, ", zmm", $a, "\n"),
            concat!("vpternlogq zmm", $to, ", zmm", $b, ", zmm", $c, ", 0x96\n"),
            concat!("vpternlogq zmm", $to, ", zmm", $d, ", zmm", $e, ", 0x96\n"),
        )
    };
}

macro_rules! rotate {
    ($to:literal, $from:literal, $left:literal) => {
        concat!("vprolq zmm", $to, ", zmm", $from, ", ", $left, "\n")
    };
}

macro_rules! xor {
    ($to:literal, $with:literal) => {
        concat!("vpxorq zmm", $to, ", zmm", $to, ", zmm", $with, "\n")
    };
}

/// A row: its five lanes, each with the register of its column's theta and by how much it is rotated, mixed in place.
macro_rules! row {
    ($(($lane:literal, $theta:literal $(, $left:literal)?))* $(; $iota:literal)?) => {
        concat!($(xor!($lane, $theta), $(rotate!($lane, $lane, $left),)?)* chi!($($lane)* $(; $iota)?))
    };
}

/// `a ^ (!b & c)` of every lane of a row with the two after it.
macro_rules! chi {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $(; $iota:literal)?) => {
        concat!(
            concat!("vmovdqa64 zmm27, zmm", $a, "\n"),
            concat!("vmovdqa64 zmm28, zmm", $b, "\n"),
            concat!("vpternlogq zmm", $a, ", zmm", $b, ", zmm", $c, ", 0xd2\n"),
            $(concat!("vpxorq zmm", $a, ", zmm", $a, ", ", $iota, "\n"),)?
            concat!("vpternlogq zmm", $b, ", zmm", $c, ", zmm", $d, ", 0xd2\n"),
            concat!("vpternlogq zmm", $c, ", zmm", $d, ", zmm", $e, ", 0xd2\n"),
            concat!("vpternlogq zmm", $d, ", zmm", $e, ", zmm27, 0xd2\n"),
            concat!("vpternlogq zmm", $e, ", zmm27, zmm28, 0xd2\n"),
        )
    };
}

/// Each lane of the list comes from the next one, the last from the first.
macro_rules! turn {
    ($first:literal $($rest:literal)*) => { concat!("vmovdqa64 zmm31, zmm", $first, "\n", turn!(@ $first $($rest)*)) };
    (@ $last:literal) => { concat!("vmovdqa64 zmm", $last, ", zmm31\n") };
    (@ $to:literal $from:literal $($rest:literal)*) => {
        concat!("vmovdqa64 zmm", $to, ", zmm", $from, "\n", turn!(@ $from $($rest)*))
    };
}

/// Adds words `$at` and `$at + 1` of the block to two lanes, or the second of them alone.
macro_rules! take {
    ($($first:literal)? and $second:literal, $at:literal) => {
        concat!(
            concat!("vmovdqu64 xmm25, [r8 + 8 * ", $at, "]\n"),
            concat!("vmovdqu64 xmm26, [r9 + 8 * ", $at, "]\n"),
            concat!("vinserti64x2 zmm25, zmm25, [r10 + 8 * ", $at, "], 1\n"),
            concat!("vinserti64x2 zmm26, zmm26, [r11 + 8 * ", $at, "], 1\n"),
            concat!("vinserti64x2 zmm25, zmm25, [r12 + 8 * ", $at, "], 2\n"),
            concat!("vinserti64x2 zmm26, zmm26, [r13 + 8 * ", $at, "], 2\n"),
            concat!("vinserti64x2 zmm25, zmm25, [r14 + 8 * ", $at, "], 3\n"),
            concat!("vinserti64x2 zmm26, zmm26, [r15 + 8 * ", $at, "], 3\n"),
            $("vpunpcklqdq zmm27, zmm25, zmm26\n", xor!($first, 27),)?
            "vpunpckhqdq zmm28, zmm25, zmm26\n",
            xor!($second, 28),
        )
    };
}

/// Has a block's lines of what is next fetched.
macro_rules! fetch {
    ($($message:literal)*) => {
        concat!($(
            concat!("mov {count}, [{work} + 384 + 8 * ", $message, "]\n"),
            "prefetcht0 [{count}]\n",
            "prefetcht0 [{count} + 64]\n",
            "prefetcht0 [{count} + 128]\n",
            concat!("add qword ptr [{work} + 384 + 8 * ", $message, "], 136\n"),
        )*)
    };
}

/// Takes in so many blocks of every message, at least one: the last one of `work`, those before it of the messages.
///
/// # Safety
/// The pointers must be to so many bytes.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn absorb(work: &mut Work, blocks: usize) {
    debug_assert!(blocks > 0);
    // SAFETY: the assembly writes the 256 bytes of lanes, reads the tables of pointers and writes the last one, reads 136 bytes of the messages
    // for every block but one and of the last blocks for that, and the table of 24 constants, one a round. Fetching changes nothing,
    // wherever it is. It has no stack and changes no register that is not named.
    unsafe {
        asm!(
            clear!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24),
            places!("256"),
            "2:",
            "dec {blocks}",
            "jne 3f",
            places!("320"),
            "3:",
            take!(0 and 1, 0),
            take!(2 and 3, 2),
            take!(4 and 5, 4),
            take!(6 and 7, 6),
            take!(8 and 9, 8),
            take!(10 and 11, 10),
            take!(12 and 13, 12),
            take!(14 and 15, 14),
            take!(and 16, 15),
            fetch!(0 1 2 3 4 5 6 7),
            "mov {count}, 24",
            "4:",
            parity!(25, 0 5 10 15 20),
            parity!(26, 1 6 11 16 21),
            parity!(27, 2 7 12 17 22),
            parity!(28, 3 8 13 18 23),
            parity!(29, 4 9 14 19 24),
            // Every parity is needed as it is, for the column behind it, and rotated, for the one before it: in this order nothing is lost.
            rotate!(30, 25, 1), xor!(30, 28),
            rotate!(31, 26, 1), xor!(31, 29),
            rotate!(29, 29, 1), xor!(29, 27),
            rotate!(27, 27, 1), xor!(25, 27),
            rotate!(28, 28, 1), xor!(26, 28),
            row!((0, 31) (6, 25, 44) (12, 26, 43) (18, 29, 21) (24, 30, 14); "qword ptr [{constant}]{{1to8}}"),
            row!((3, 29, 28) (9, 30, 20) (10, 31, 3) (16, 25, 45) (22, 26, 61)),
            row!((1, 25, 1) (7, 26, 6) (13, 29, 25) (19, 30, 8) (20, 31, 18)),
            row!((4, 30, 27) (5, 31, 36) (11, 25, 10) (17, 26, 15) (23, 29, 56)),
            row!((2, 26, 62) (8, 29, 55) (14, 30, 39) (15, 31, 41) (21, 25, 2)),
            turn!(1 6 9 22 14 20 2 12 13 19 23 15 4 24 21 8 16 5 3 18 17 11 7 10),
            "add {constant}, 8",
            "dec {count}",
            "jne 4b",
            "sub {constant}, 192",
            "add r8, 136",
            "add r9, 136",
            "add r10, 136",
            "add r11, 136",
            "add r12, 136",
            "add r13, 136",
            "add r14, 136",
            "add r15, 136",
            "test {blocks}, {blocks}",
            "jne 2b",
            "vmovdqa64 [{work}], zmm0",
            "vmovdqa64 [{work} + 64], zmm1",
            "vmovdqa64 [{work} + 128], zmm2",
            "vmovdqa64 [{work} + 192], zmm3",
            work = in(reg) std::ptr::from_mut(work),
            blocks = inout(reg) blocks => _,
            constant = inout(reg) ROUND_CONSTANTS.as_ptr() => _,
            count = out(reg) _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
            out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _, out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _,
            out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _, out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
            out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm27") _, out("zmm28") _, out("zmm29") _, out("zmm30") _, out("zmm31") _,
            options(nostack),
        );
    }
}
