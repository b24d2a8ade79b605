//! What a job consists of besides its terms: programs, states and data, named by their roots.
//!
//! ```text
//!  put_program, put_state, put_data ──▶ Store ──serve──▶ http://host/<kind>/<root>
//!                                         ▲                      │ Range
//!                                         │ root is right        ▼
//!                                         └──────────────── Fetcher ◀── mirrors, tried in order
//! ```
//!
//! * An artifact is bytes: a program's encoding, or the stored bytes of all tensors of a state or of the data, one after
//!   the other. Types and shapes come from the program's declarations, never from the file, and nothing in a file is run.
//! * Its name is its root (docs/protocol.md, section 3), so it does not matter whom it comes from: [`Fetcher`] hashes what
//!   arrives while it arrives, takes no byte more than the declarations allow, and refuses what has another root.
//! * [`Store`] keeps artifacts on disk as `<dir>/<kind>/<0xroot>`. A file is there whole or not at all, also after a crash.
//!
//! ```
//! use lockstep_ir::{program::{Program, Source, StateDecl, TensorDecl}, tensor::Tensor, types::DType};
//! use lockstep_sdk::artifact::{Fetcher, Kind, Store, serve};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let decl = TensorDecl { dtype: DType::F32, shape: vec![3] };
//! let program = Program { state: vec![StateDecl { decl: decl.clone(), next: Source::State(0) }], data: vec![], nodes: vec![] };
//! let state = Tensor::from_f32(&[3], &[1.0, 2.0, 3.0])?;
//!
//! // The requester keeps and serves what its job is made of.
//! let (dir, other_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
//! let store = Store::open(dir.path())?;
//! let (program_root, state_root) = (store.put_program(&program)?, store.put_state(std::slice::from_ref(&state))?);
//! let server = serve(store, "127.0.0.1:0".parse()?).await?;
//!
//! // A solver knows the roots from the chain and fetches what they stand for.
//! let fetcher = Fetcher::new(Store::open(other_dir.path())?)?;
//! let mirrors = [server.url()];
//! assert_eq!(fetcher.fetch_program(&mirrors, program_root).await?, program);
//! assert_eq!(fetcher.fetch_tensors(&mirrors, Kind::State, state_root, &[decl]).await?, [state]);
//! server.shutdown().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connection;
mod error;
mod fetch;
mod item;
mod part;
mod serve;
mod store;
mod transfer;

pub use error::{ArtifactError, MirrorError, MirrorFault};
pub use fetch::{FetchLimits, Fetcher};
pub use item::Kind;
pub use serve::{Server, serve};
pub use store::Store;
