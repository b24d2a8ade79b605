//! Data sets that come with the repository (train/data/README.md: source and licence).

use std::io::Read as _;

use flate2::read::GzDecoder;
use lockstep_ir::{Tensor, tensor::TensorError};

use crate::philox::{Stream, below, word};

/// Pixels of an image: 8×8, row-major.
pub const PIXELS: u32 = 64;
/// Digits there are.
pub const CLASSES: u32 = 10;
/// Images for training; the other 360 are held out.
pub const TRAIN: usize = 1437;

const IMAGES: usize = 1797;
const MAX_PIXEL: u32 = 16;
const MAX_CSV_BYTES: u64 = 1 << 20;
static DIGITS: &[u8] = include_bytes!("../data/digits.csv.gz");

/// Why bytes are not the digits. Give up on them: the file is another one, or damaged.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Not gzip, or damaged.
    #[error("the digits cannot be unpacked: {0}")]
    Unpack(#[from] std::io::Error),
    /// More than the file can hold.
    #[error("the digits unpack to more than {MAX_CSV_BYTES} bytes")]
    TooLong,
    /// A line without 64 pixels and a digit.
    #[error("line {line} has {got} numbers, 65 are needed: 64 pixels and the digit")]
    Columns {
        /// Line, from 1.
        line: usize,
        /// Numbers found.
        got: usize,
    },
    /// A field that is not a number in its range.
    #[error("line {line}, column {column}: `{field}` is not a whole number from 0 to {max}")]
    Field {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is there.
        field: String,
        /// Largest number accepted.
        max: u32,
    },
    /// Another number of images.
    #[error("{got} images, {IMAGES} are needed")]
    Count {
        /// Images found.
        got: usize,
    },
    /// The images do not make tensors.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Examples with their classes.
#[derive(Clone, Debug)]
pub struct Examples {
    /// `f32[n,64]`, from 0 to 1.
    pub images: Tensor,
    /// `u32[n]`, below 10.
    pub labels: Tensor,
}

/// The handwritten digits of the UCI repository, split.
#[derive(Clone, Debug)]
pub struct Digits {
    /// 1,437 images.
    pub train: Examples,
    /// 360 images that training does not see.
    pub test: Examples,
}

/// One image and its digit.
struct Digit {
    pixels: [f32; PIXELS as usize],
    label: u32,
}

impl Digits {
    /// The digits in the repository.
    ///
    /// # Errors
    /// The file built into the program is damaged.
    pub fn load() -> Result<Self, DataError> {
        Self::read(DIGITS)
    }

    /// Reads gzipped CSV of 1,797 lines. The split is fixed: the lines in the order of [`permutation`], the first 1,437 for training.
    ///
    /// # Errors
    /// The bytes are not that.
    pub fn read(gzip: &[u8]) -> Result<Self, DataError> {
        let mut csv = String::new();
        GzDecoder::new(gzip).take(MAX_CSV_BYTES + 1).read_to_string(&mut csv)?;
        if csv.len() as u64 > MAX_CSV_BYTES {
            return Err(DataError::TooLong);
        }
        let digits = csv.lines().enumerate().map(|(i, line)| digit(i + 1, line)).collect::<Result<Vec<_>, _>>()?;
        if digits.len() != IMAGES {
            return Err(DataError::Count { got: digits.len() });
        }
        let order = permutation(IMAGES as u32);
        let part = |indices: &[u32]| examples(indices.iter().map(|&i| &digits[i as usize]).collect());
        Ok(Self { train: part(&order[..TRAIN])?, test: part(&order[TRAIN..])? })
    }
}

fn number(line: usize, column: usize, field: &str, max: u32) -> Result<u32, DataError> {
    let parsed = field.parse().ok().filter(|&n| n <= max);
    parsed.ok_or_else(|| DataError::Field { line, column, field: field.chars().take(20).collect(), max })
}

fn digit(line: usize, text: &str) -> Result<Digit, DataError> {
    let fields: Vec<&str> = text.split(',').collect();
    let Some((label, pixels)) = fields.split_last().filter(|(_, p)| p.len() == PIXELS as usize) else {
        return Err(DataError::Columns { line, got: fields.len() });
    };
    let mut out = Digit { pixels: [0.0; PIXELS as usize], label: number(line, fields.len(), label, CLASSES - 1)? };
    for (i, (slot, field)) in out.pixels.iter_mut().zip(pixels).enumerate() {
        // Exact: a small integer over a power of two.
        *slot = number(line, i + 1, field, MAX_PIXEL)? as f32 / MAX_PIXEL as f32;
    }
    Ok(out)
}

fn examples(digits: Vec<&Digit>) -> Result<Examples, DataError> {
    let n = digits.len() as u32;
    let pixels: Vec<f32> = digits.iter().flat_map(|d| d.pixels).collect();
    let labels: Vec<u32> = digits.iter().map(|d| d.label).collect();
    Ok(Examples { images: Tensor::from_f32(&[n, PIXELS], &pixels)?, labels: Tensor::from_u32(&[n], &labels)? })
}

/// A fixed permutation of `0..n`: Fisher and Yates's shuffle with Philox words of key 0, stream [`Stream::Split`].
#[must_use]
pub fn permutation(n: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i as usize, below(word([0, 0], Stream::Split, i), i + 1) as usize);
    }
    order
}
