//! One error type, classed by what the caller should do.

use alloy::primitives::{Address, B256};

/// What the caller of a failed operation should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The same call may succeed later: a connection, a race, a transaction that is not in yet.
    Retry,
    /// The call is wrong as it stands.
    FixInput,
    /// Nothing will make it succeed.
    GiveUp,
}

/// What can go wrong between a party and the chain.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node does not answer, or not as a node does.
    #[error("the chain at {url} cannot be reached: {reason}; start it with `lockstep node`, or check the address")]
    Unreachable {
        /// Endpoint.
        url: String,
        /// The transport's words.
        reason: String,
    },
    /// The address of a node or mirror is not a URL.
    #[error("`{0}` is not a URL such as http://127.0.0.1:8545")]
    Url(String),
    /// A node answers, but of another chain.
    #[error(
        "the node at {url} has chain {got}, the deployment file is for chain {expected}; give the file and the node of one chain"
    )]
    OtherChain {
        /// Endpoint.
        url: String,
        /// Chain of the deployment file.
        expected: u64,
        /// Chain of the node.
        got: u64,
    },
    /// Too little of the chain's own currency. The same call succeeds once there is more.
    #[error("{holder} cannot pay for gas: send it some of the currency of the chain at {url}")]
    Gas {
        /// Whose balance.
        holder: Address,
        /// Endpoint.
        url: String,
    },
    /// The node refused a request for another reason than a revert.
    #[error("the node refused {what}: {reason}")]
    Refused {
        /// Which request.
        what: String,
        /// The node's words.
        reason: String,
    },
    /// A contract refused the call.
    #[error("{contract} refused `{call}`: {reason}")]
    Reverted {
        /// Which contract.
        contract: &'static str,
        /// Which call.
        call: &'static str,
        /// The named error in words.
        reason: String,
    },
    /// A contract's answer does not decode: the deployment is of another version.
    #[error(
        "the answer of {contract} at {address} to `{call}` does not decode ({reason}); is the deployment file of this chain and version?"
    )]
    Answer {
        /// Which contract.
        contract: &'static str,
        /// Its address.
        address: Address,
        /// Which call.
        call: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// A transaction was sent but did not get into a block in time.
    #[error(
        "transaction {hash} is not in a block after {waited_s} s; it may still get in: look again before sending another"
    )]
    Pending {
        /// The transaction.
        hash: B256,
        /// How long was waited.
        waited_s: u64,
    },
    /// A transaction got in but reverted; the state changed between estimate and block.
    #[error(
        "transaction {hash} (`{call}`) reverted in its block: the state changed before it got in; look again and decide anew"
    )]
    Lost {
        /// The transaction.
        hash: B256,
        /// Which call.
        call: &'static str,
    },
    /// No wallet was given, but the call changes state.
    #[error("`{0}` changes state, but this client has no wallet")]
    NoWallet(&'static str),
    /// The job does not exist.
    #[error("there is no job {job_id}: the market at {market} has {count}")]
    UnknownJob {
        /// The number asked for.
        job_id: u64,
        /// Which market.
        market: Address,
        /// How many jobs it has.
        count: u64,
    },
    /// The dispute does not exist.
    #[error("there is no dispute {0}")]
    UnknownDispute(u64),
    /// The dispute waits for its place, or for its claim to be decided without it.
    #[error("dispute {0} is not played yet")]
    NotPlayed(u64),
    /// The job waits for something else.
    #[error("job {job_id} is {status}: {hint}")]
    WrongStatus {
        /// Which job.
        job_id: u64,
        /// Its status in words.
        status: String,
        /// What to do.
        hint: &'static str,
    },
    /// Too few tokens.
    #[error(
        "{holder} holds {have_wei} of the payment token, {need_wei} are needed for {purpose}; get more, then try again"
    )]
    Balance {
        /// Whose balance.
        holder: Address,
        /// What it has, in the token's smallest unit.
        have_wei: u128,
        /// What is needed.
        need_wei: u128,
        /// What for.
        purpose: &'static str,
    },
    /// A job's program, state or data is not what the job says.
    #[error(
        "job {job_id}: {what} has root {got}, the job names {expected}; its requester serves something else: leave the job"
    )]
    WrongRoot {
        /// Which job.
        job_id: u64,
        /// Program, state or data.
        what: &'static str,
        /// Root in the job.
        expected: B256,
        /// Root of what was served.
        got: B256,
    },
    /// A job's terms or tensors are such that no party should touch it.
    #[error("job {job_id}: {reason}; leave the job")]
    Unfit {
        /// Which job.
        job_id: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The program is not valid or not judgeable.
    #[error("the program is refused: {0}")]
    Program(#[from] lockstep_ir::validate::Invalid),
    /// The program's encoding is malformed.
    #[error("the program cannot be read: {0}")]
    Decode(#[from] lockstep_ir::abi::DecodeError),
    /// Running the program failed.
    #[error("running the program failed: {0}")]
    Run(#[from] crate::run::RunError),
    /// Artifacts could not be had or kept.
    #[error(transparent)]
    Artifact(#[from] crate::artifact::ArtifactError),
    /// The wallet could not be used.
    #[error(transparent)]
    Wallet(#[from] crate::wallet::WalletError),
    /// A file could not be read or written.
    #[error("{path}: {reason}")]
    File {
        /// Which file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The dispute's rules, as this build knows them, are broken: the contract is of another version.
    #[error("dispute {dispute_id}: {reason}")]
    Game {
        /// Which dispute.
        dispute_id: u64,
        /// What does not fit.
        reason: String,
    },
    /// A background task stopped.
    #[error("a background task stopped: {0}")]
    Task(String),
}

impl Error {
    /// What the caller should do.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Unreachable { .. }
            | Self::Gas { .. }
            | Self::Refused { .. }
            | Self::Pending { .. }
            | Self::Lost { .. }
            | Self::NotPlayed(_)
            | Self::Task(_) => Class::Retry,
            Self::Url(_)
            | Self::OtherChain { .. }
            | Self::Reverted { .. }
            | Self::Answer { .. }
            | Self::NoWallet(_)
            | Self::UnknownJob { .. }
            | Self::UnknownDispute(_)
            | Self::WrongStatus { .. }
            | Self::Balance { .. }
            | Self::File { .. }
            | Self::Wallet(_) => Class::FixInput,
            Self::WrongRoot { .. }
            | Self::Unfit { .. }
            | Self::Program(_)
            | Self::Decode(_)
            | Self::Run(_)
            | Self::Game { .. } => Class::GiveUp,
            Self::Artifact(e) => e.class(),
        }
    }
}
