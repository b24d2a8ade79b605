//! Copies that make a fold judgeable: one leaf block may read at most 16 chunks, and its witness and terms together have a limit of gas
//! (docs/protocol.md, section 2.3), so a long fold must run along memory.

use lockstep_ir::{
    build::{BuildError, Index, NodeBuilder, ProgramBuilder, TensorRef, o},
    eval::CHUNK_BYTES,
    expr::load,
    judge::MAX_CHUNKS,
    program::BLOCK,
};

/// Up to so many values, the gas of a block's terms leaves room for [`MAX_CHUNKS`]; above, for [`CHUNKS_OF_LONG`].
const SHORT: u64 = 64;
const CHUNKS_OF_LONG: u64 = 6;

/// A matrix that a fold reads along dimension `fold` (0: down the columns, strided; 1: along the rows, contiguous).
pub(crate) struct Matrix<T> {
    pub(crate) tensor: T,
    pub(crate) fold: usize,
}

impl<T> Matrix<T> {
    /// The coordinates, with `folded` in the fold's dimension and `kept` in the other.
    pub(crate) fn along(&self, folded: Index, kept: Index) -> [Index; 2] {
        if self.fold == 0 { [folded, kept] } else { [kept, folded] }
    }
}

impl Matrix<&TensorRef> {
    fn length(&self) -> u64 {
        u64::from(self.tensor.decl.shape[self.fold])
    }

    /// Most chunks that one leaf block reads; a contiguous run of a block starts anywhere, so it can lie in two.
    fn chunks(&self) -> u64 {
        let decl = &self.tensor.decl;
        let all = (decl.elements().unwrap_or(1) * decl.dtype.size() as u64).div_ceil(CHUNK_BYTES);
        let block = if self.fold == 0 { self.length().min(BLOCK) } else { 2 };
        all.min(block)
    }

    fn contiguous(&self, p: &mut ProgramBuilder) -> Result<Matrix<TensorRef>, BuildError> {
        let tensor = if self.fold == 0 { transposed(p, self.tensor)? } else { self.tensor.clone() };
        Ok(Matrix { tensor, fold: 1 })
    }
}

/// A copy of a matrix with rows and columns exchanged.
fn transposed(p: &mut ProgramBuilder, x: &TensorRef) -> Result<TensorRef, BuildError> {
    let shape = [x.decl.shape[1], x.decl.shape[0]];
    p.node(NodeBuilder::new(x.decl.dtype, &shape).operand(x.at([o(1), o(0)])).finish(load(0)))
}

/// The operands of one fold, as they are if a leaf block over them is judgeable; else with the strided ones copied.
pub(crate) fn judgeable<const N: usize>(
    p: &mut ProgramBuilder,
    operands: [Matrix<&TensorRef>; N],
) -> Result<[Matrix<TensorRef>; N], BuildError> {
    let long = operands.iter().any(|m| m.length() > SHORT);
    let fits = operands.iter().map(Matrix::chunks).sum::<u64>() <= if long { CHUNKS_OF_LONG } else { MAX_CHUNKS };
    let mut failed = Ok(());
    let copied = operands.map(|m| {
        let as_it_is = Matrix { tensor: m.tensor.clone(), fold: m.fold };
        if fits || failed.is_err() {
            return as_it_is;
        }
        m.contiguous(p).unwrap_or_else(|e| {
            failed = Err(e);
            as_it_is
        })
    });
    failed.map(|()| copied)
}
