//! Element types, value types and shapes (docs/protocol.md, section 1).

use alloc::{string::String, vec::Vec};
use core::fmt;

/// Most dimensions of any shape.
pub const MAX_RANK: usize = 6;
/// Most elements of a tensor.
pub const MAX_ELEMENTS: u64 = 1 << 40;

/// The type of a tensor's elements in storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DType {
    /// IEEE binary32, 4 bytes.
    F32 = 0,
    /// Two's complement, 4 bytes.
    I32 = 1,
    /// Unsigned, 4 bytes.
    U32 = 2,
    /// Two's complement, 1 byte; loads as [`Ty::I32`].
    I8 = 3,
    /// Upper half of a binary32, 2 bytes; loads as [`Ty::F32`].
    Bf16 = 4,
}

/// The type of a value inside a scalar program; every value is 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Ty {
    /// IEEE binary32.
    F32 = 0,
    /// Two's complement.
    I32 = 1,
    /// Unsigned.
    U32 = 2,
}

impl DType {
    /// All element types, by code.
    pub const ALL: [Self; 5] = [Self::F32, Self::I32, Self::U32, Self::I8, Self::Bf16];

    /// Bytes of one element.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::I8 => 1,
            Self::Bf16 => 2,
        }
    }

    /// The type a loaded element has, and that a stored value must have.
    #[must_use]
    pub const fn ty(self) -> Ty {
        match self {
            Self::F32 | Self::Bf16 => Ty::F32,
            Self::I32 | Self::I8 => Ty::I32,
            Self::U32 => Ty::U32,
        }
    }

    /// The code used in encodings.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The type with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(code as usize).copied()
    }

    /// The name used in the text form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I8 => "i8",
            Self::Bf16 => "bf16",
        }
    }
}

impl Ty {
    /// The type with this code.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::F32),
            1 => Some(Self::I32),
            2 => Some(Self::U32),
            _ => None,
        }
    }

    /// The code used in encodings.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name used in the text form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::I32 => "i32",
            Self::U32 => "u32",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Number of elements of a shape: 1 for rank 0; `None` above [`MAX_ELEMENTS`] or with a dimension of 0.
#[must_use]
pub fn element_count(shape: &[u32]) -> Option<u64> {
    shape.iter().try_fold(1u64, |n, &d| match n.checked_mul(u64::from(d)) {
        Some(m) if m > 0 && m <= MAX_ELEMENTS => Some(m),
        _ => None,
    })
}

/// Row-major coordinates of element `index` under `factors`.
#[must_use]
pub fn coordinates(mut index: u64, factors: &[u32]) -> Vec<u32> {
    let mut out = alloc::vec![0; factors.len()];
    for (slot, &n) in out.iter_mut().zip(factors).rev() {
        *slot = (index % u64::from(n)) as u32;
        index /= u64::from(n);
    }
    out
}

/// `[2,3]`, as shapes are written in messages and in the text form.
#[must_use]
pub fn shape_text(shape: &[u32]) -> String {
    use core::fmt::Write as _;
    let mut s = String::from("[");
    for (i, d) in shape.iter().enumerate() {
        let _ = write!(s, "{}{d}", if i == 0 { "" } else { "," });
    }
    s.push(']');
    s
}
