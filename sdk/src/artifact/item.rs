//! What an artifact must be: its kind, its root, how many bytes it may have; and the check of bytes against that.

use lockstep_commit::{B256, ProgramTree, stream::RootStream, tensor, tensor::TensorStream};
use lockstep_ir::abi::{DecodeError, MAX_ENCODED_BYTES};
use lockstep_ir::program::{Program, TensorDecl};

use super::error::ArtifactError;

/// What an artifact is to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A program in its encoding; its name is `programRoot`.
    Program,
    /// The tensors of a state; its name is the state root.
    State,
    /// The data tensors; its name is `dataRoot`.
    Data,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Program, Self::State, Self::Data];

    /// The name of its folder and of its part of a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::State => "state",
            Self::Data => "data",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An artifact to be had: its name, and what its bytes are.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) root: B256,
    /// Of all tensors, in order; none for a program.
    decls: Vec<TensorDecl>,
    /// Most bytes that it may have; of tensors, exactly these.
    max_bytes: u64,
}

impl Item {
    pub(super) fn program(root: B256) -> Self {
        Self { kind: Kind::Program, root, decls: vec![], max_bytes: MAX_ENCODED_BYTES as u64 }
    }

    pub(super) fn tensors(kind: Kind, root: B256, decls: &[TensorDecl]) -> Result<Self, ArtifactError> {
        if kind == Kind::Program {
            return Err(ArtifactError::NotTensors { root });
        }
        let max_bytes = decls.iter().try_fold(0u64, |sum, decl| Ok(sum.saturating_add(tensor::byte_count(decl)?)));
        let max_bytes = max_bytes.map_err(|source| ArtifactError::Declaration { kind, root, source })?;
        Ok(Self { kind, root, decls: decls.to_vec(), max_bytes })
    }

    pub(super) fn decls(&self) -> &[TensorDecl] {
        &self.decls
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Bytes that it must have, where that is known beforehand.
    pub(super) fn exact_bytes(&self) -> Option<u64> {
        (self.kind != Kind::Program).then_some(self.max_bytes)
    }
}

/// The root of bytes that come in order, in pieces of any size. Keeps less than one chunk of tensors, but all of a program.
#[derive(Debug)]
pub(super) enum Check {
    Program { bytes: Vec<u8> },
    Tensors { roots: RootStream, current: Option<Current>, rest: std::vec::IntoIter<TensorDecl> },
}

/// The tensor that the next bytes belong to.
#[derive(Debug)]
pub(super) struct Current {
    stream: TensorStream,
    missing_bytes: u64,
}

/// Why bytes have no root at all.
#[derive(Debug)]
pub(super) enum Unrooted {
    /// More or fewer than declared.
    ByteCount(lockstep_commit::Error),
    /// Not a program.
    Program(DecodeError),
}

impl From<lockstep_commit::Error> for Unrooted {
    fn from(error: lockstep_commit::Error) -> Self {
        Self::ByteCount(error)
    }
}

impl Check {
    pub(super) fn new(item: &Item) -> Self {
        if item.kind == Kind::Program {
            Self::Program { bytes: vec![] }
        } else {
            Self::Tensors { roots: RootStream::new(), current: None, rest: item.decls.clone().into_iter() }
        }
    }

    /// Takes the next bytes. The caller sees to it that there are at most [`Item::max_bytes`] in all.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), Unrooted> {
        let (roots, current, rest) = match self {
            Self::Program { bytes } => {
                bytes.extend_from_slice(piece);
                return Ok(());
            }
            Self::Tensors { roots, current, rest } => (roots, current, rest),
        };
        while !piece.is_empty() {
            let mut tensor = match current.take() {
                Some(tensor) => tensor,
                None => Current::next(rest, piece.len() as u64)?,
            };
            let taken = tensor.missing_bytes.min(piece.len() as u64);
            let (head, tail) = piece.split_at(taken as usize);
            tensor.stream.push(head)?;
            tensor.missing_bytes -= taken;
            piece = tail;
            if tensor.missing_bytes == 0 {
                roots.push(tensor.stream.finish()?);
            } else {
                *current = Some(tensor);
            }
        }
        Ok(())
    }

    /// The root of all bytes.
    pub(super) fn finish(self) -> Result<B256, Unrooted> {
        match self {
            Self::Program { bytes } => {
                let program = Program::decode(&bytes).map_err(Unrooted::Program)?;
                Ok(ProgramTree::new(&program).root())
            }
            Self::Tensors { mut roots, current, rest } => {
                // A tensor without all of its bytes ends in an error here.
                for tensor in current.into_iter().map(Ok).chain(rest.map(Current::new)) {
                    roots.push(tensor?.stream.finish()?);
                }
                Ok(roots.root())
            }
        }
    }
}

impl Current {
    fn new(decl: TensorDecl) -> Result<Self, lockstep_commit::Error> {
        let missing_bytes = tensor::byte_count(&decl)?;
        Ok(Self { stream: TensorStream::new(decl)?, missing_bytes })
    }

    fn next(rest: &mut std::vec::IntoIter<TensorDecl>, more_bytes: u64) -> Result<Self, lockstep_commit::Error> {
        let none_left = lockstep_commit::Error::WrongByteCount { expected: 0, actual: more_bytes };
        Self::new(rest.next().ok_or(none_left)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_commit::roots::root_of_tensors;
    use lockstep_ir::tensor::Tensor;

    fn tensors() -> Vec<Tensor> {
        let values: Vec<u32> = (0..3000).collect();
        [&[700][..], &[1], &[], &[30, 100], &[256]]
            .map(|shape| Tensor::from_u32(shape, &values[..shape.iter().product::<u32>() as usize]).unwrap())
            .into()
    }

    fn root_in_pieces(item: &Item, bytes: &[u8], piece: usize) -> Result<B256, Unrooted> {
        let mut check = Check::new(item);
        for piece in bytes.chunks(piece) {
            check.push(piece)?;
        }
        check.finish()
    }

    #[test]
    fn pieces_of_any_size_lead_to_the_same_root() {
        let tensors = tensors();
        let decls: Vec<TensorDecl> = tensors.iter().map(|tensor| tensor.decl().clone()).collect();
        let bytes: Vec<u8> = tensors.iter().flat_map(|tensor| tensor.bytes()).copied().collect();
        let root = root_of_tensors(&tensors);
        let item = Item::tensors(Kind::State, root, &decls).unwrap();
        assert_eq!(item.exact_bytes(), Some(bytes.len() as u64));
        for piece in [1, 3, 1023, 1024, 2800, 2801, 2804, 2805, bytes.len()] {
            assert_eq!(root_in_pieces(&item, &bytes, piece).unwrap(), root, "{piece}");
        }
        assert!(matches!(root_in_pieces(&item, &bytes[1..], 1000), Err(Unrooted::ByteCount(_))));
        assert!(matches!(root_in_pieces(&item, &[&bytes[..], &[0]].concat(), 1000), Err(Unrooted::ByteCount(_))));
        assert!(matches!(root_in_pieces(&item, &[], 1), Err(Unrooted::ByteCount(_))));
    }

    #[test]
    fn no_tensors_have_a_root() {
        let item = Item::tensors(Kind::Data, B256::ZERO, &[]).unwrap();
        assert_eq!(item.exact_bytes(), Some(0));
        assert_eq!(Check::new(&item).finish().unwrap(), B256::ZERO);
    }

    #[test]
    fn kinds_have_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::from_name(".."), None);
    }
}
