//! The stage: a chain with contracts, a requester that serves its job, and the parties.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy::primitives::Address;
use lockstep_arbiter::Arbiter;
use lockstep_sdk::{
    artifact::{Fetcher, Server, Store, serve},
    client::{Client, JobSpec},
    error::Error,
    report::{Event, Reporter},
    run::Fault,
    wallet::Wallet,
    work::{Stop, stop_channel},
};
use lockstep_sequencer::{Node, NodeConfig, NodeHandle};
use lockstep_solver::Solver;
use lockstep_train::{JobFile, TrainingJob};
use lockstep_verifier::Verifier;
use tokio::{sync::watch, task::JoinHandle};

use crate::{failure::Failure, job::Terms, node, output::Output};

const BLOCK_TIME_MS: u64 = 200;
const POLL_MS: u64 = 50;
const TOKEN_WEI: u128 = 1_000_000_000_000_000_000;

/// Who plays, by development account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Treasury = 0,
    Requester = 1,
    Solver = 2,
    Cheat = 3,
    Verifier = 4,
    FalseChallenger = 5,
    Arbiter = 6,
}

impl Party {
    pub(crate) const ALL: [Self; 7] = [
        Self::Requester,
        Self::Solver,
        Self::Cheat,
        Self::Verifier,
        Self::FalseChallenger,
        Self::Arbiter,
        Self::Treasury,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Treasury => "treasury",
            Self::Requester => "requester",
            Self::Solver => "solver",
            Self::Cheat => "cheat",
            Self::Verifier => "verifier",
            Self::FalseChallenger => "accuser",
            Self::Arbiter => "arbiter",
        }
    }

    fn wallet(self) -> Result<Wallet, Failure> {
        Ok(Wallet::dev(self as u32)?)
    }

    pub(crate) fn address(self) -> Result<Address, Failure> {
        Ok(self.wallet()?.address())
    }
}

/// A daemon at work, with its artifact server if it has one.
pub(crate) struct Daemon {
    tell: watch::Sender<bool>,
    task: JoinHandle<Result<(), Error>>,
    server: Option<Server>,
}

impl Daemon {
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        // A daemon that ended by itself does not listen any more; its result tells why.
        let _ = self.tell.send(true);
        self.task.await??;
        if let Some(server) = self.server {
            server.shutdown().await?;
        }
        Ok(())
    }
}

/// The stage.
pub(crate) struct World {
    node: NodeHandle,
    dir: tempfile::TempDir,
    requester: Client,
    served: (Fetcher, Server),
    pub(crate) job: TrainingJob,
    pub(crate) seed: u64,
    events: Arc<Mutex<Vec<Event>>>,
}

impl World {
    pub(crate) async fn start(seed: u64, output: &Output) -> Result<Self, Failure> {
        let config = NodeConfig { block_time_ms: BLOCK_TIME_MS, ..NodeConfig::dev()? };
        let node = Node::start(config).await?;
        let deployment = node::prepare(&node.http_url()).await?.deployment().clone();
        let requester = Client::connect(&node.http_url(), deployment, Some(Party::Requester.wallet()?)).await?;
        let dir = tempfile::tempdir()?;
        let store = Store::open(dir.path().join("requester"))?;
        let server = serve(store.clone(), ([127, 0, 0, 1], 0).into()).await?;
        output.text(format!("Node at {}; the job's data is served at {}.", node.http_url(), server.url()));
        let job = TrainingJob::new(&JobFile::default())?;
        let served = (Fetcher::new(store)?, server);
        Ok(Self { node, dir, requester, served, job, seed, events: Arc::default() })
    }

    /// The client of the requester, which also looks for the demo.
    pub(crate) fn requester(&self) -> &Client {
        &self.requester
    }

    pub(crate) fn fetcher(&self) -> &Fetcher {
        &self.served.0
    }

    /// Terms as short as a demonstration wants them.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            steps_per_checkpoint: 125,
            checkpoints_per_milestone: 4,
            price_wei: 50 * TOKEN_WEI,
            start_price_wei: None,
            auction_s: 0,
            hardware_class: 0,
            stake_wei: 500 * TOKEN_WEI,
            bond_wei: 100 * TOKEN_WEI,
            tip_wei: 5 * TOKEN_WEI,
            take_timeout_s: 120,
            claim_timeout_s: 120,
            window_s: 3,
            clock_s: 60,
            grace_s: 10,
        }
    }

    pub(crate) fn spec(&self) -> Result<JobSpec, Failure> {
        self.terms().spec(&self.job, &self.requester, self.fetcher().store(), self.served.1.url())
    }

    /// What all parties own: wallet, balance and stake.
    pub(crate) async fn balances_wei(&self) -> Result<Vec<i128>, Failure> {
        let mut balances = Vec::new();
        for party in Party::ALL {
            balances.push(self.requester.wealth_wei(party.address()?).await? as i128);
        }
        Ok(balances)
    }

    /// Events since the last call.
    pub(crate) fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Prints events as they happen, and keeps them for the table.
    pub(crate) fn reporter(&self, party: Party, output: &Output) -> Reporter {
        let (events, output) = (self.events.clone(), output.clone());
        Reporter::new(party.name(), move |event| {
            output.event(&event);
            events.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event);
        })
    }

    async fn daemon(&self, party: Party) -> Result<(Client, Fetcher, PathBuf), Failure> {
        let url = self.node.http_url();
        let client = Client::connect(&url, self.requester.deployment().clone(), Some(party.wallet()?)).await?;
        let dir = self.dir.path().join(party.name());
        Ok((client, Fetcher::new(Store::open(&dir)?)?, dir))
    }

    pub(crate) async fn solver(&self, party: Party, fault: Option<Fault>, output: &Output) -> Result<Daemon, Failure> {
        let (client, fetcher, _) = self.daemon(party).await?;
        let server = serve(fetcher.store().clone(), ([127, 0, 0, 1], 0).into()).await?;
        let config = lockstep_solver::Config {
            poll_ms: POLL_MS,
            uri: server.url(),
            fault,
            ..lockstep_solver::Config::default()
        };
        let solver = Solver::new(client, fetcher, config, self.reporter(party, output));
        Ok(spawn(Some(server), |stop| solver.run(stop)))
    }

    pub(crate) async fn verifier(
        &self,
        party: Party,
        fault: Option<Fault>,
        output: &Output,
    ) -> Result<Daemon, Failure> {
        let (client, fetcher, _) = self.daemon(party).await?;
        // An accuser knows that its accusation is false and does not bring it before the referee.
        let judge_after_s = if fault.is_some() { u64::MAX } else { 5 };
        let config = lockstep_verifier::Config { poll_ms: POLL_MS, judge_after_s, fault };
        let verifier = Verifier::new(client, fetcher, config, self.reporter(party, output));
        Ok(spawn(None, |stop| verifier.run(stop)))
    }

    pub(crate) async fn arbiter(&self, output: &Output) -> Result<Daemon, Failure> {
        let (client, fetcher, _) = self.daemon(Party::Arbiter).await?;
        let config = lockstep_arbiter::Config { poll_ms: POLL_MS };
        let arbiter = Arbiter::new(client, fetcher, config, self.reporter(Party::Arbiter, output));
        Ok(spawn(None, |stop| arbiter.run(stop)))
    }

    /// Looks again after a moment.
    pub(crate) async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
    }

    pub(crate) async fn stop(self) -> Result<(), Failure> {
        self.served.1.shutdown().await?;
        Ok(self.node.shutdown().await?)
    }
}

fn spawn<F>(server: Option<Server>, run: impl FnOnce(Stop) -> F) -> Daemon
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (tell, stop) = stop_channel();
    Daemon { tell, task: tokio::spawn(run(stop)), server }
}
