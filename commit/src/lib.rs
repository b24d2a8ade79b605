//! What is hashed, and how parts of it are proven (docs/protocol.md, section 3). No I/O.
//!
//! ```text
//!  bytes of a tensor ──1,024 each──▶ chunks ──keccak256──▶ leaves ──Merkle──▶ merkle root
//!                                                                               │ with type and shape
//!                                                                               ▼
//!  state, data or trace root ◀──Merkle── tensor root, tensor root, …  ◀──── tensor root
//!            │ states at checkpoints
//!            ▼
//!        claim root
//! ```
//!
//! * [`tree`]: the padded binary tree: roots, proofs, and the subtree hashes of any height that a dispute posts.
//! * [`tensor`]: chunks and tensor roots. [`TensorTree`] keeps every hash, [`tensor::TensorStream`] nearly none.
//! * [`roots`]: roots over many tensors.
//! * [`program`]: the root of a program, and its trees.
//! * [`keccak`]: the hash function, in batches: four or eight messages side by side in vector registers, see [`isa`].
//!
//! Nothing here copies a tensor: hashing reads the bytes where they lie, on all threads, or takes them in pieces as they come.
//! A [`TensorTree`] whose tensor changed in few chunks is brought up to date by [`TensorTree::update`].
//!
//! ```
//! use lockstep_commit::{TensorTree, roots, tensor, tree};
//! use lockstep_ir::tensor::Tensor;
//!
//! let weights = Tensor::from_f32(&[20, 30], &[0.5; 600])?;
//! let bias = Tensor::from_f32(&[30], &[0.0; 30])?;
//! let state_root = roots::root_of_tensors([&weights, &bias]);
//!
//! // Prove the second kilobyte of `weights` to someone who knows the state root and the declarations.
//! let hashes = TensorTree::new(&weights);
//! let chunk = tensor::chunk(weights.bytes(), 1).ok_or("no such chunk")?;
//! let proof = hashes.tree().prove(1)?;
//! let root_proof = roots::tree_of_tensors([&weights, &bias]).prove(0)?;
//!
//! tensor::verify_chunk(hashes.merkle_root(), 2400, 1, chunk, &proof)?;
//! let root = tensor::tensor_root(weights.decl(), hashes.merkle_root());
//! tree::verify(state_root, 2, 0, root, &root_proof)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
pub mod isa;
pub mod keccak;
mod parallel;
pub mod program;
pub mod roots;
pub mod stream;
pub mod tensor;
pub mod tree;

pub use alloy_primitives::B256;
pub use error::Error;
pub use isa::Isa;
pub use program::ProgramTree;
pub use tensor::{TensorTree, tensor_root};
pub use tree::Tree;

/// Bytes of a chunk, the unit that is hashed and proven.
pub const CHUNK_BYTES: usize = 1024;
