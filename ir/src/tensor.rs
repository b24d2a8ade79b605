//! A tensor in memory, as it is stored and hashed: row-major, little-endian.

use alloc::vec::Vec;

use crate::{
    number::{bf16_to_f32, canonical, f32_to_bf16, saturate_i8},
    program::TensorDecl,
    types::{DType, shape_text},
};

/// Bytes with a type and a shape.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Tensor {
    decl: TensorDecl,
    bytes: Vec<u8>,
}

/// Why bytes are not a tensor.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TensorError {
    /// The shape has a 0, too many dimensions or too many elements.
    #[error("shape {0} is refused: at most 6 dimensions, none of them 0, at most 2^40 elements")]
    Shape(alloc::string::String),
    /// The number of bytes does not fit type and shape.
    #[error("{dtype}{shape} takes {expected} bytes, got {got}")]
    Length {
        /// Element type.
        dtype: DType,
        /// Shape in text.
        shape: alloc::string::String,
        /// Bytes needed.
        expected: u64,
        /// Bytes given.
        got: u64,
    },
    /// No memory for a tensor of this size.
    #[error("no memory for a tensor of {bytes} bytes")]
    Memory {
        /// Bytes needed.
        bytes: u64,
    },
    /// A NaN that is not the canonical one: such a job is invalid.
    #[error("element {index} of a {dtype} tensor is a NaN other than the canonical one; replace it before posting")]
    Nan {
        /// Element type.
        dtype: DType,
        /// First such element.
        index: u64,
    },
}

impl Tensor {
    /// From stored bytes.
    ///
    /// # Errors
    /// The shape is refused, or the bytes do not fit it. Fix the input.
    pub fn from_bytes(decl: TensorDecl, bytes: Vec<u8>) -> Result<Self, TensorError> {
        let refused = || TensorError::Shape(shape_text(&decl.shape));
        if decl.shape.len() > crate::types::MAX_RANK {
            return Err(refused());
        }
        let expected = decl.elements().ok_or_else(refused)? * decl.dtype.size() as u64;
        if expected != bytes.len() as u64 {
            let shape = shape_text(&decl.shape);
            return Err(TensorError::Length { dtype: decl.dtype, shape, expected, got: bytes.len() as u64 });
        }
        Ok(Self { decl, bytes })
    }

    /// All zero.
    ///
    /// # Errors
    /// The shape is refused: fix the input. Or there is no memory for it: use a larger machine.
    pub fn zeros(decl: TensorDecl) -> Result<Self, TensorError> {
        if decl.shape.len() > crate::types::MAX_RANK {
            return Err(TensorError::Shape(shape_text(&decl.shape)));
        }
        let elements = decl.elements().ok_or_else(|| TensorError::Shape(shape_text(&decl.shape)))?;
        let needed = elements * decl.dtype.size() as u64;
        let no_memory = || TensorError::Memory { bytes: needed };
        let len = usize::try_from(needed).map_err(|_| no_memory())?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| no_memory())?;
        bytes.resize(len, 0);
        Self::from_bytes(decl, bytes)
    }

    /// An `f32` tensor.
    ///
    /// # Errors
    /// The shape does not fit the number of values. Fix the input.
    pub fn from_f32(shape: &[u32], values: &[f32]) -> Result<Self, TensorError> {
        let bytes = values.iter().flat_map(|v| canonical(v.to_bits()).to_le_bytes()).collect();
        Self::from_bytes(TensorDecl { dtype: DType::F32, shape: shape.to_vec() }, bytes)
    }

    /// A `u32` tensor.
    ///
    /// # Errors
    /// The shape does not fit the number of values. Fix the input.
    pub fn from_u32(shape: &[u32], values: &[u32]) -> Result<Self, TensorError> {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::from_bytes(TensorDecl { dtype: DType::U32, shape: shape.to_vec() }, bytes)
    }

    /// An `i32` tensor.
    ///
    /// # Errors
    /// The shape does not fit the number of values. Fix the input.
    pub fn from_i32(shape: &[u32], values: &[i32]) -> Result<Self, TensorError> {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::from_bytes(TensorDecl { dtype: DType::I32, shape: shape.to_vec() }, bytes)
    }

    /// Type and shape.
    #[must_use]
    pub fn decl(&self) -> &TensorDecl {
        &self.decl
    }

    /// The stored bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The stored bytes, to write into; the length is fixed.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> u64 {
        (self.bytes.len() / self.decl.dtype.size()) as u64
    }

    /// Never true: no dimension is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The stored bits of element `index`, zero-extended: what a dispute compares.
    #[must_use]
    pub fn stored(&self, index: u64) -> u32 {
        let size = self.decl.dtype.size();
        let at = index as usize * size;
        self.bytes[at..at + size].iter().rev().fold(0, |v, &b| v << 8 | u32::from(b))
    }

    /// Overwrites the stored bits of element `index`.
    pub fn set_stored(&mut self, index: u64, bits: u32) {
        let size = self.decl.dtype.size();
        let at = index as usize * size;
        self.bytes[at..at + size].copy_from_slice(&bits.to_le_bytes()[..size]);
    }

    /// The widened value of element `index`.
    #[must_use]
    pub fn load(&self, index: u64) -> u32 {
        widen(self.decl.dtype, self.stored(index))
    }

    /// All elements as `f32`; `None` for another type.
    #[must_use]
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        (self.decl.dtype == DType::F32).then(|| (0..self.len()).map(|i| f32::from_bits(self.stored(i))).collect())
    }

    /// All elements as `u32`; `None` for another type.
    #[must_use]
    pub fn to_u32(&self) -> Option<Vec<u32>> {
        (self.decl.dtype == DType::U32).then(|| (0..self.len()).map(|i| self.stored(i)).collect())
    }

    /// Checks that every NaN is the canonical one (docs/protocol.md, section 1).
    ///
    /// # Errors
    /// The first element that is another NaN. Fix the input.
    pub fn check_nans(&self) -> Result<(), TensorError> {
        let dtype = self.decl.dtype;
        let bad = |i: &u64| match dtype {
            DType::F32 => canonical(self.stored(*i)) != self.stored(*i),
            DType::Bf16 => self.stored(*i) & 0x7fff > 0x7f80 && self.stored(*i) != 0x7fc0,
            _ => false,
        };
        (0..self.len()).find(bad).map_or(Ok(()), |index| Err(TensorError::Nan { dtype, index }))
    }
}

/// The value that stored bits load as.
#[must_use]
pub fn widen(dtype: DType, stored: u32) -> u32 {
    match dtype {
        DType::F32 => canonical(stored),
        DType::I32 | DType::U32 => stored,
        DType::I8 => stored as u8 as i8 as i32 as u32,
        DType::Bf16 => bf16_to_f32(stored as u16),
    }
}

/// The bits, zero-extended, that a value is stored as.
#[must_use]
pub fn narrow(dtype: DType, value: u32) -> u32 {
    match dtype {
        DType::F32 => canonical(value),
        DType::I32 | DType::U32 => value,
        DType::I8 => saturate_i8(value),
        DType::Bf16 => f32_to_bf16(value),
    }
}
