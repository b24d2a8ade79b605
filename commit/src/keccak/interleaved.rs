//! Keccak-f[1600] on two states of four messages each, with AVX2, as assembly.
//!
//! A round of one state is followed by the same round of the other. So nothing waits: the column parities that a round begins with were
//! stored long ago, and they are gathered while the last row of the other state is finished. Within a round the lanes of a row are
//! rotated while the row before it is finished. A compiler has its own mind about this order and runs out of registers.
//!
//! ```text
//!  ymm0–4    what a round adds to the columns ("theta")
//!  ymm5–9    rows 0, 2 and 4 of the next state, before they are mixed ("chi")
//!  ymm10–14  column parities, then rows 1 and 3
//!  ymm15     scratch
//! ```
#![allow(unsafe_code, reason = "assembly of vector instructions that were found to be there")]

use std::{arch::asm, arch::x86_64::__m256i, mem::MaybeUninit};

use super::permutation::ROUND_CONSTANTS;

/// Two states, the second 800 bytes behind the first.
type Two = [[__m256i; 25]; 2];

/// Round constants for four messages.
#[repr(align(32))]
struct Constants([[u64; 4]; 24]);

static CONSTANTS: Constants = {
    let mut table = [[0; 4]; 24];
    let mut round = 0;
    while round < 24 {
        table[round] = [ROUND_CONSTANTS[round]; 4];
        round += 1;
    }
    Constants(table)
};

/// Shuffles that rotate words left by 8 and by 56 bits.
#[repr(align(32))]
struct Shuffles([[u8; 32]; 2]);

static SHUFFLES: Shuffles = {
    let mut order = [[0; 32]; 2];
    let mut at = 0;
    while at < 32 {
        order[0][at] = (at / 8 % 2 * 8 + (at + 7) % 8) as u8;
        order[1][at] = (at / 8 % 2 * 8 + (at + 1) % 8) as u8;
        at += 1;
    }
    Shuffles(order)
};

/// Lane `$i` of a row: lane `$source` of the state at `$at`, with its column's theta, rotated left by `$left`.
macro_rules! lane {
    ($at:literal, $to:literal, $theta:literal, $source:literal) => {
        concat!("vpxor ymm", $to, ", ymm", $theta, ", [{from} + ", $at, " + 32 * ", $source, "]\n")
    };
    ($at:literal, $to:literal, $theta:literal, $source:literal, bytes $shuffle:literal) => {
        concat!(
            lane!($at, $to, $theta, $source),
            concat!("vpshufb ymm", $to, ", ymm", $to, ", [{shuffles} + ", $shuffle, "]\n")
        )
    };
    ($at:literal, $to:literal, $theta:literal, $source:literal, $left:literal) => {
        concat!(
            lane!($at, $to, $theta, $source),
            concat!("vpsllq ymm15, ymm", $to, ", ", $left, "\n"),
            concat!("vpsrlq ymm", $to, ", ymm", $to, ", 64 - ", $left, "\n"),
            concat!("vpor ymm", $to, ", ymm", $to, ", ymm15\n")
        )
    };
}

/// Lane `$slot` of the next state at `$at` from three neighbours of its row, `a ^ (!b & c)`.
macro_rules! chi {
    ($into:literal, $at:literal, $slot:literal, $a:literal, $b:literal, $c:literal $(, $iota:literal)?) => {
        concat!(
            concat!("vpandn ymm15, ymm", $b, ", ymm", $c, "\n"),
            concat!("vpxor ymm15, ymm15, ymm", $a, "\n"),
            $(concat!("vpxor ymm15, ymm15, [", $iota, "]\n"),)?
            concat!("vmovdqa [", $into, " + ", $at, " + 32 * ", $slot, "], ymm15\n")
        )
    };
}

/// Parity of column `$x` of the state at `$at`.
macro_rules! parity {
    ($at:literal, $to:literal, $x:literal) => {
        concat!(
            concat!("vmovdqa ymm", $to, ", [{from} + ", $at, " + 32 * ", $x, "]\n"),
            concat!("vpxor ymm", $to, ", ymm", $to, ", [{from} + ", $at, " + 32 * (5 + ", $x, ")]\n"),
            concat!("vpxor ymm", $to, ", ymm", $to, ", [{from} + ", $at, " + 32 * (10 + ", $x, ")]\n"),
            concat!("vpxor ymm", $to, ", ymm", $to, ", [{from} + ", $at, " + 32 * (15 + ", $x, ")]\n"),
            concat!("vpxor ymm", $to, ", ymm", $to, ", [{from} + ", $at, " + 32 * (20 + ", $x, ")]\n")
        )
    };
}

/// What a round adds to column `$x`: the parity before it, and the one after it rotated left by 1.
macro_rules! theta {
    ($x:literal, $before:literal, $after:literal) => {
        concat!(
            concat!("vpaddq ymm15, ymm", $after, ", ymm", $after, "\n"),
            concat!("vpsrlq ymm", $x, ", ymm", $after, ", 63\n"),
            concat!("vpxor ymm", $x, ", ymm", $x, ", ymm", $before, "\n"),
            concat!("vpxor ymm", $x, ", ymm", $x, ", ymm15\n")
        )
    };
}

/// A round of the state at `$at`, from its parities to its last row, which is left to be mixed.
macro_rules! round {
    ($at:literal) => {
        concat!(
            theta!("0", "14", "11"),
            theta!("1", "10", "12"),
            theta!("2", "11", "13"),
            theta!("3", "12", "14"),
            theta!("4", "13", "10"),
            lane!($at, "5", "0", "0"),
            lane!($at, "6", "1", "6", "44"),
            lane!($at, "7", "2", "12", "43"),
            lane!($at, "8", "3", "18", "21"),
            lane!($at, "9", "4", "24", "14"),
            lane!($at, "10", "3", "3", "28"),
            chi!("{to}", $at, "0", "5", "6", "7", "{constant}"),
            lane!($at, "11", "4", "9", "20"),
            chi!("{to}", $at, "1", "6", "7", "8"),
            lane!($at, "12", "0", "10", "3"),
            chi!("{to}", $at, "2", "7", "8", "9"),
            lane!($at, "13", "1", "16", "45"),
            chi!("{to}", $at, "3", "8", "9", "5"),
            lane!($at, "14", "2", "22", "61"),
            chi!("{to}", $at, "4", "9", "5", "6"),
            lane!($at, "5", "1", "1", "1"),
            chi!("{to}", $at, "5", "10", "11", "12"),
            lane!($at, "6", "2", "7", "6"),
            chi!("{to}", $at, "6", "11", "12", "13"),
            lane!($at, "7", "3", "13", "25"),
            chi!("{to}", $at, "7", "12", "13", "14"),
            lane!($at, "8", "4", "19", bytes "0"),
            chi!("{to}", $at, "8", "13", "14", "10"),
            lane!($at, "9", "0", "20", "18"),
            chi!("{to}", $at, "9", "14", "10", "11"),
            lane!($at, "10", "4", "4", "27"),
            chi!("{to}", $at, "10", "5", "6", "7"),
            lane!($at, "11", "0", "5", "36"),
            chi!("{to}", $at, "11", "6", "7", "8"),
            lane!($at, "12", "1", "11", "10"),
            chi!("{to}", $at, "12", "7", "8", "9"),
            lane!($at, "13", "2", "17", "15"),
            chi!("{to}", $at, "13", "8", "9", "5"),
            lane!($at, "14", "3", "23", bytes "32"),
            chi!("{to}", $at, "14", "9", "5", "6"),
            lane!($at, "5", "2", "2", "62"),
            chi!("{to}", $at, "15", "10", "11", "12"),
            lane!($at, "6", "3", "8", "55"),
            chi!("{to}", $at, "16", "11", "12", "13"),
            lane!($at, "7", "4", "14", "39"),
            chi!("{to}", $at, "17", "12", "13", "14"),
            lane!($at, "8", "0", "15", "41"),
            chi!("{to}", $at, "18", "13", "14", "10"),
            lane!($at, "9", "1", "21", "2"),
            chi!("{to}", $at, "19", "14", "10", "11")
        )
    };
}

/// The last row of the state at `$last`, into `$into`, and the parities of the state at `$next`.
macro_rules! turn {
    ($into:literal, $last:literal, $next:literal) => {
        concat!(
            chi!($into, $last, "20", "5", "6", "7"),
            parity!($next, "10", "0"),
            chi!($into, $last, "21", "6", "7", "8"),
            parity!($next, "11", "1"),
            chi!($into, $last, "22", "7", "8", "9"),
            parity!($next, "12", "2"),
            chi!($into, $last, "23", "8", "9", "5"),
            parity!($next, "13", "3"),
            chi!($into, $last, "24", "9", "5", "6"),
            parity!($next, "14", "4")
        )
    };
}

/// Permutes both states.
#[target_feature(enable = "avx2")]
pub(super) fn permute(states: &mut Two) {
    let mut other = MaybeUninit::<Two>::uninit();
    // SAFETY: the assembly reads and writes the two pairs of states, 1,600 bytes each and aligned as `__m256i` is, and reads the two
    // tables: 24 constants, one a round, and 2 shuffles. It has no stack and changes no register that is not named. The rounds are even
    // in number, so the last ones write `states`; what it reads of `other` it has written a round before.
    unsafe {
        asm!(
            parity!("0", "10", "0"), parity!("0", "11", "1"), parity!("0", "12", "2"), parity!("0", "13", "3"), parity!("0", "14", "4"),
            "2:",
            round!("0"),
            turn!("{to}", "0", "800"),
            round!("800"),
            "xchg {from}, {to}",
            "add {constant}, 32",
            "cmp {constant}, {end}",
            "je 3f",
            turn!("{from}", "800", "0"),
            "jmp 2b",
            "3:",
            chi!("{from}", "800", "20", "5", "6", "7"),
            chi!("{from}", "800", "21", "6", "7", "8"),
            chi!("{from}", "800", "22", "7", "8", "9"),
            chi!("{from}", "800", "23", "8", "9", "5"),
            chi!("{from}", "800", "24", "9", "5", "6"),
            from = inout(reg) states.as_mut_ptr() => _,
            to = inout(reg) other.as_mut_ptr() => _,
            constant = inout(reg) CONSTANTS.0.as_ptr() => _,
            end = in(reg) CONSTANTS.0.as_ptr_range().end,
            shuffles = in(reg) SHUFFLES.0.as_ptr(),
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _, out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _, out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack),
        );
    }
}
