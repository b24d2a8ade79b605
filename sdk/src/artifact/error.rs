//! What can go wrong with artifacts, and what to do about it.

use std::io;
use std::path::PathBuf;

use lockstep_commit::B256;
use lockstep_ir::abi::DecodeError;

use super::item::Kind;
use crate::error::Class;

/// Why an artifact could not be kept, read, served or fetched. [`ArtifactError::class`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// A file or folder of the store could not be read or written: full disk, missing rights, another file in its place.
    /// Fix that, then try again.
    #[error("cannot {action} {}: {source}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The store does not have it. Fetch or put it first.
    #[error("the store at {} has no {kind} {root}; fetch it first", dir.display())]
    Missing {
        /// Kind asked for.
        kind: Kind,
        /// Root asked for.
        root: B256,
        /// Folder of the store.
        dir: PathBuf,
    },
    /// The file in the store is not what its name says: the disk or someone else changed it. Remove the file and fetch it
    /// again ([`super::Fetcher`] does).
    #[error("{} is not {kind} {root}: {reason}; remove the file and fetch it again", path.display())]
    Corrupt {
        /// Kind asked for.
        kind: Kind,
        /// Root asked for.
        root: B256,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The artifact is a program, which has no tensors. Fix the call.
    #[error("{root} was asked for as the tensors of a program; tensors are of kind state or data")]
    NotTensors {
        /// Root asked for.
        root: B256,
    },
    /// A declaration is not a tensor's. Fix the program.
    #[error("{kind} {root} is declared with a tensor that cannot be: {source}")]
    Declaration {
        /// Kind asked for.
        kind: Kind,
        /// Root asked for.
        root: B256,
        /// What is wrong with the declaration.
        source: lockstep_commit::Error,
    },
    /// A program to be put cannot be read back: its encoding is too long. Fix the program.
    #[error("the program cannot be stored: {0}")]
    Unreadable(#[source] DecodeError),
    /// The declarations allow more bytes than this party is ready to fetch. Raise the limit or leave the job.
    #[error("{kind} {root} has {bytes} bytes, more than the limit of {limit_bytes}; raise the limit or leave the job")]
    OverLimit {
        /// Kind asked for.
        kind: Kind,
        /// Root asked for.
        root: B256,
        /// Bytes declared.
        bytes: u64,
        /// `FetchLimits::max_artifact_bytes`.
        limit_bytes: u64,
    },
    /// No mirror was named. Name one.
    #[error("there is no mirror to fetch {kind} {root} from; name one such as http://127.0.0.1:8600")]
    NoMirror {
        /// Kind asked for.
        kind: Kind,
        /// Root asked for.
        root: B256,
    },
    /// No mirror delivered.
    #[error("{kind} {root} could not be fetched: {}", list(failures))]
    Mirrors {
        /// Kind asked for.
        kind: Kind,
        /// Root asked for.
        root: B256,
        /// One per mirror, in the order they were tried.
        failures: Vec<MirrorError>,
    },
    /// The HTTP client cannot start, for example because the machine has no root certificates (`ca-certificates`).
    #[error("the HTTP client cannot start: {0}; are root certificates (ca-certificates) installed?")]
    Client(#[source] reqwest::Error),
    /// The address cannot be listened on: in use, or not this machine's. Choose another.
    #[error("cannot listen on {address}: {source}; choose another address or port")]
    Listen {
        /// Address asked for.
        address: std::net::SocketAddr,
        /// The system's words.
        source: io::Error,
    },
    /// A background task was cancelled or panicked. Try again once.
    #[error("a background task of the artifact store stopped: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl ArtifactError {
    /// What the caller should do.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Task(_) | Self::Missing { .. } | Self::Corrupt { .. } => Class::Retry,
            Self::Mirrors { failures, .. } => {
                if failures.iter().any(|failure| failure.fault.class() == Class::Retry) {
                    Class::Retry
                } else if failures.iter().any(|failure| failure.fault.class() == Class::FixInput) {
                    Class::FixInput
                } else {
                    Class::GiveUp
                }
            }
            Self::Disk { .. }
            | Self::NotTensors { .. }
            | Self::Declaration { .. }
            | Self::Unreadable(_)
            | Self::OverLimit { .. }
            | Self::NoMirror { .. }
            | Self::Client(_)
            | Self::Listen { .. } => Class::FixInput,
        }
    }
}

fn list(failures: &[MirrorError]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What became of one mirror.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {fault}")]
pub struct MirrorError {
    /// What was asked for there, without user name and password.
    pub url: String,
    /// Why it did not deliver.
    pub fault: MirrorFault,
}

/// Why a mirror did not deliver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorFault {
    /// What it sent has another root. Give up on this mirror: it is broken or lies.
    #[error("sent something else: expected root {expected}, got {got}")]
    WrongRoot {
        /// Root asked for.
        expected: B256,
        /// Root of what came.
        got: B256,
    },
    /// It has a file of another length than declared, or longer than any program. Give up on this mirror.
    #[error("offers {actual_bytes} bytes where at most {max_bytes} are allowed")]
    TooLong {
        /// Bytes that the declarations allow.
        max_bytes: u64,
        /// Bytes that came or were announced, at least.
        actual_bytes: u64,
    },
    /// It has a file that is shorter than declared. Give up on this mirror.
    #[error("offers {actual_bytes} bytes where {expected_bytes} are declared")]
    TooShort {
        /// Bytes declared.
        expected_bytes: u64,
        /// Bytes announced.
        actual_bytes: u64,
    },
    /// What it sent cannot be hashed as declared. Give up on this mirror.
    #[error("sent something that does not fit the declarations: {0}")]
    Content(#[source] lockstep_commit::Error),
    /// What it sent is no program. Give up on this mirror.
    #[error("sent something that is no program: {0}")]
    NotAProgram(#[source] DecodeError),
    /// Its URL is none, or not of http or https. Fix it.
    #[error("is not a URL of a mirror: {0}")]
    Url(String),
    /// It answered with a status that says no: 404 if it does not have the artifact.
    #[error("answered with HTTP status {status}")]
    Status {
        /// HTTP status.
        status: u16,
    },
    /// It answered a request for a part with another part. Give up on this mirror.
    #[error("answered a request for the bytes from {from_byte} on with `{content_range}`")]
    Range {
        /// First byte asked for.
        from_byte: u64,
        /// What it says it sent.
        content_range: String,
    },
    /// The connection could not be made or broke, also after trying again. Try again later.
    #[error("connection failed {attempts} times, last with: {}", chain(source))]
    Connection {
        /// Attempts without progress worth the name.
        attempts: u32,
        /// The last failure.
        source: reqwest::Error,
    },
    /// It ended the answer early, also after trying again. Try again later.
    #[error("ended the answer early, {attempts} times; {received_bytes} bytes arrived")]
    Ended {
        /// Attempts without progress worth the name.
        attempts: u32,
        /// Bytes of the artifact so far.
        received_bytes: u64,
    },
    /// It sent too little for too long, also after trying again. Try again later.
    #[error("sent less than {min_bytes} bytes in {window_s} s, {attempts} times")]
    Stalled {
        /// Attempts without progress worth the name.
        attempts: u32,
        /// Bytes that are expected in a window.
        min_bytes: u64,
        /// Length of the window.
        window_s: u64,
    },
}

impl MirrorFault {
    /// What to do about this mirror.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Connection { .. } | Self::Ended { .. } | Self::Stalled { .. } => Class::Retry,
            // Not there yet, or busy: a requester may post a job before its mirror has all of it.
            Self::Status { status: 404 | 408 | 429 | 500.. } => Class::Retry,
            Self::Url(_) => Class::FixInput,
            Self::Status { .. }
            | Self::WrongRoot { .. }
            | Self::TooLong { .. }
            | Self::TooShort { .. }
            | Self::Content(_)
            | Self::NotAProgram(_)
            | Self::Range { .. } => Class::GiveUp,
        }
    }
}

/// `reqwest` says little in its own message and the rest in its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
