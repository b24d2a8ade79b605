//! The canonical encoding: Solidity structs, ABI-encoded, declared once in `ir/sol/Program.sol`.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_sol_types::{SolValue, abi::AbiDecoderConfig, sol};

use crate::{
    program::{self, Fold, Order, Source, VERSION},
    scalar::{self, WordError},
    types::{DType, Ty},
};

sol!("sol/Program.sol");

/// Longest encoding that is looked at, in bytes.
pub const MAX_ENCODED_BYTES: usize = 64 << 20;

/// Why bytes are not a program, node or declaration. Give up on them: they are malformed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// More than [`MAX_ENCODED_BYTES`].
    #[error("the encoding is {0} bytes long, more than {MAX_ENCODED_BYTES}")]
    TooLong(usize),
    /// Not ABI encoding of the structure.
    #[error("not the ABI encoding of a {what}: {reason}")]
    Abi {
        /// Structure expected.
        what: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// Bytes that do not encode back to themselves.
    #[error("the encoding of this {0} is not canonical: it does not encode back to the same bytes")]
    NotCanonical(&'static str),
    /// A code without meaning.
    #[error("{field} has the unknown code {code}")]
    UnknownCode {
        /// Which field.
        field: &'static str,
        /// The code found.
        code: u64,
    },
    /// A field that a plain map must leave zero or empty.
    #[error("a node without fold sets `{0}`, which only a fold has")]
    MapWithFold(&'static str),
    /// A scalar program that cannot be unpacked.
    #[error("`{field}`: {source}")]
    Word {
        /// Which scalar program.
        field: &'static str,
        /// What is wrong with it.
        source: WordError,
    },
    /// Written for another protocol.
    #[error("the program is for protocol version {got}; this build speaks version {VERSION}")]
    Version {
        /// Version found.
        got: u32,
    },
    /// In one of the nodes.
    #[error("node {index}: {source}")]
    Node {
        /// Which node.
        index: usize,
        /// What is wrong with it.
        source: alloc::boxed::Box<Self>,
    },
}

fn dtype(field: &'static str, code: u8) -> Result<DType, DecodeError> {
    DType::from_code(code).ok_or(DecodeError::UnknownCode { field, code: code.into() })
}

fn source(field: &'static str, kind: u8, index: u32) -> Result<Source, DecodeError> {
    Source::from_code(kind, index).ok_or(DecodeError::UnknownCode { field, code: kind.into() })
}

fn code(field: &'static str, bytes: &[u8]) -> Result<Vec<scalar::Instr>, DecodeError> {
    scalar::decode(bytes).map_err(|source| DecodeError::Word { field, source })
}

fn decode<T: SolValue + From<<T::SolType as alloy_sol_types::SolType>::RustType>>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, DecodeError> {
    if bytes.len() > MAX_ENCODED_BYTES {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    // Strict: the only layout is the encoder's, so nothing is read twice and memory grows with the input alone.
    let config = AbiDecoderConfig::new().strict(true).memory_limit(8 * bytes.len());
    let value = T::abi_decode_with_config(bytes, config)
        .map_err(|e| DecodeError::Abi { what, reason: alloc::string::ToString::to_string(&e) })?;
    if value.abi_encode() == bytes { Ok(value) } else { Err(DecodeError::NotCanonical(what)) }
}

impl program::TensorDecl {
    fn to_sol(&self) -> TensorDecl {
        TensorDecl { dtype: self.dtype.code(), shape: self.shape.clone() }
    }

    /// `abi.encode(TensorDecl)`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.to_sol().abi_encode()
    }

    /// Leaf of `dataDeclsRoot`.
    #[must_use]
    pub fn hash(&self) -> B256 {
        keccak256(self.encode())
    }
}

impl program::StateDecl {
    /// As the contracts take it.
    #[must_use]
    pub fn to_sol(&self) -> StateDecl {
        let (source, index) = self.next.code();
        StateDecl { dtype: self.decl.dtype.code(), shape: self.decl.shape.clone(), source, index }
    }

    /// `abi.encode(StateDecl)`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.to_sol().abi_encode()
    }

    /// Leaf of `stateDeclsRoot`.
    #[must_use]
    pub fn hash(&self) -> B256 {
        keccak256(self.encode())
    }

    fn from_sol(s: StateDecl) -> Result<Self, DecodeError> {
        let decl = program::TensorDecl { dtype: dtype("state.dtype", s.dtype)?, shape: s.shape };
        Ok(Self { decl, next: source("state.source", s.source, s.index)? })
    }
}

impl program::Operand {
    fn to_sol(&self) -> Operand {
        let (source, index) = self.source.code();
        Operand {
            source,
            index,
            dtype: self.decl.dtype.code(),
            shape: self.decl.shape.clone(),
            viewShape: self.view.clone(),
            access: self.access.clone(),
            gathers: self.gathers.iter().map(|g| Gather { dim: g.dim, operand: g.operand, stride: g.stride }).collect(),
            fill: self.fill,
            skip: self.skip,
        }
    }

    fn from_sol(s: Operand) -> Result<Self, DecodeError> {
        Ok(Self {
            source: source("operand.source", s.source, s.index)?,
            decl: program::TensorDecl { dtype: dtype("operand.dtype", s.dtype)?, shape: s.shape },
            view: s.viewShape,
            access: s.access,
            gathers: s
                .gathers
                .iter()
                .map(|g| program::Gather { dim: g.dim, operand: g.operand, stride: g.stride })
                .collect(),
            fill: s.fill,
            skip: s.skip,
        })
    }
}

fn fold(s: &Node) -> Result<Option<Fold>, DecodeError> {
    if s.fold.is_empty() {
        let set = [
            ("order", s.order != 0),
            ("accType", s.accType != 0),
            ("init", s.init != 0),
            ("body", !s.body.is_empty()),
            ("combine", !s.combine.is_empty()),
        ];
        return set.iter().find(|(_, set)| *set).map_or(Ok(None), |(field, _)| Err(DecodeError::MapWithFold(field)));
    }
    let order = match s.order {
        0 => Order::Chain,
        1 => Order::Lanes,
        other => return Err(DecodeError::UnknownCode { field: "order", code: other.into() }),
    };
    let ty = Ty::from_code(s.accType).ok_or(DecodeError::UnknownCode { field: "accType", code: s.accType.into() })?;
    let (body, combine) = (code("body", &s.body)?, code("combine", &s.combine)?);
    Ok(Some(Fold { factors: s.fold.clone(), order, ty, init: s.init, body, combine }))
}

impl program::Node {
    /// `abi.encode(Node)`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fold = self.fold.as_ref();
        Node {
            dtype: self.out.dtype.code(),
            shape: self.out.shape.clone(),
            domain: self.domain.clone(),
            fold: self.fold_factors().to_owned(),
            order: fold.map_or(0, |f| f.order as u8),
            accType: fold.map_or(0, |f| f.ty.code()),
            init: fold.map_or(0, |f| f.init),
            operands: self.operands.iter().map(program::Operand::to_sol).collect(),
            body: fold.map(|f| scalar::encode(&f.body)).unwrap_or_default().into(),
            combine: fold.map(|f| scalar::encode(&f.combine)).unwrap_or_default().into(),
            finish: scalar::encode(&self.finish).into(),
        }
        .abi_encode()
    }

    /// Leaf of `nodesRoot`.
    #[must_use]
    pub fn hash(&self) -> B256 {
        keccak256(self.encode())
    }

    /// Reads `abi.encode(Node)`.
    ///
    /// # Errors
    /// The bytes are malformed or not canonical. Give up on the program.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let s: Node = decode("node", bytes)?;
        let fold = fold(&s)?;
        let operands = s.operands.into_iter().map(program::Operand::from_sol).collect::<Result<_, _>>()?;
        let out = program::TensorDecl { dtype: dtype("node.dtype", s.dtype)?, shape: s.shape };
        Ok(Self { out, domain: s.domain, operands, fold, finish: code("finish", &s.finish)? })
    }
}

impl program::Program {
    /// `abi.encode(Program)`, the form in which a program is stored and sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Program {
            version: VERSION,
            state: self.state.iter().map(program::StateDecl::to_sol).collect(),
            data: self.data.iter().map(program::TensorDecl::to_sol).collect(),
            nodes: self.nodes.iter().map(|n| Bytes::from(n.encode())).collect(),
        }
        .abi_encode()
    }

    /// Reads `abi.encode(Program)`. What it reads is well-formed, not yet valid: see [`crate::validate::validate`].
    ///
    /// # Errors
    /// The bytes are malformed, not canonical, or of another version. Give up on the program.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let s: Program = decode("program", bytes)?;
        if s.version != VERSION {
            return Err(DecodeError::Version { got: s.version });
        }
        let node = |(index, bytes): (usize, &Bytes)| {
            program::Node::decode(bytes).map_err(|e| DecodeError::Node { index, source: e.into() })
        };
        Ok(Self {
            state: s.state.into_iter().map(program::StateDecl::from_sol).collect::<Result<_, _>>()?,
            data: s
                .data
                .into_iter()
                .map(|d| Ok(program::TensorDecl { dtype: dtype("data.dtype", d.dtype)?, shape: d.shape }))
                .collect::<Result<_, DecodeError>>()?,
            nodes: s.nodes.iter().enumerate().map(node).collect::<Result<_, _>>()?,
        })
    }
}
