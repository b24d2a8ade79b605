//! `lockstep job`: posts, watches, downloads and withdraws jobs.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use alloy::primitives::Address;
use lockstep_commit::{ProgramTree, roots};
use lockstep_ir::Tensor;
use lockstep_sdk::{
    artifact::{Fetcher, Kind, Store, serve},
    client::{Client, Job, JobSpec, JobStatus, Schedule},
    error::Error,
    prepare::{Prepared, state_decls},
    report::Reporter,
    work::{Trouble, retriable},
};
use lockstep_train::{JobFile, TrainingJob};

use crate::{
    failure::Failure,
    output::{Output, tokens},
    party::{ChainArgs, KeyArgs},
};

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Posts a job, serves what it names, and waits for the result.
    Submit(Box<SubmitArgs>),
    /// Shows where a job stands, and what it waits for until when.
    Status(JobArgs),
    /// All jobs, a line each.
    List(ChainArgs),
    /// Fetches a job's last final state, checks it against the chain, and writes it.
    Download {
        #[command(flatten)]
        job: JobArgs,
        /// Directory to write the tensors to.
        #[arg(long)]
        out: PathBuf,
    },
    /// Withdraws a job that nobody has taken, or whose solver was convicted.
    Cancel {
        #[command(flatten)]
        job: JobArgs,
        #[command(flatten)]
        key: KeyArgs,
    },
}

#[derive(clap::Args, Debug)]
pub(crate) struct JobArgs {
    /// Number of the job.
    job_id: u64,
    #[command(flatten)]
    chain: ChainArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct SubmitArgs {
    /// Description of the job; train/examples/mlp-digits.toml is an annotated one.
    file: PathBuf,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    terms: Terms,
    /// Directory of the artifacts that are served.
    #[arg(long, default_value = "artifacts")]
    store: PathBuf,
    /// Address they are served on.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The same address as others reach it; by default the one it listens on.
    #[arg(long)]
    public_url: Option<String>,
    /// Milliseconds between looks at the chain while waiting.
    #[arg(long, default_value_t = 500)]
    poll_ms: u64,
}

/// The terms of a job that its description does not hold.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Terms {
    /// Steps per checkpoint.
    #[arg(long, default_value_t = 125)]
    pub(crate) steps_per_checkpoint: u64,
    /// Checkpoints per milestone, 1 to 256.
    #[arg(long, default_value_t = 4)]
    pub(crate) checkpoints_per_milestone: u32,
    /// Paid for each milestone at most, in the payment token's smallest unit.
    #[arg(long, default_value_t = 10_000_000_000_000_000_000)]
    pub(crate) price_wei: u128,
    /// What the price starts at; without it, at `--price-wei`.
    #[arg(long)]
    pub(crate) start_price_wei: Option<u128>,
    /// Seconds in which the price rises to `--price-wei`.
    #[arg(long, default_value_t = 0)]
    pub(crate) auction_s: u32,
    /// Class of hardware that solvers must have registered for.
    #[arg(long, default_value_t = 0)]
    pub(crate) hardware_class: u32,
    /// Stake of the solver.
    #[arg(long, default_value_t = 100_000_000_000_000_000_000)]
    pub(crate) stake_wei: u128,
    /// Bond of a challenger.
    #[arg(long, default_value_t = 20_000_000_000_000_000_000)]
    pub(crate) bond_wei: u128,
    /// What whoever judges a dispute gets out of what the loser loses.
    #[arg(long, default_value_t = 1_000_000_000_000_000_000)]
    pub(crate) tip_wei: u128,
    /// Seconds until it must be taken.
    #[arg(long, default_value_t = 3600)]
    pub(crate) take_timeout_s: u32,
    /// Seconds until each milestone must be claimed.
    #[arg(long, default_value_t = 3600)]
    pub(crate) claim_timeout_s: u32,
    /// Seconds that each claim can be challenged.
    #[arg(long, default_value_t = 60)]
    pub(crate) window_s: u32,
    /// Chess clock of each side of a dispute, in seconds.
    #[arg(long, default_value_t = 300)]
    pub(crate) clock_s: u32,
    /// What an accepted move leaves the other side at least, in seconds.
    #[arg(long, default_value_t = 30)]
    pub(crate) grace_s: u32,
}

impl Terms {
    /// The terms of `job`, after its artifacts are put into `store`, from where `uri` serves them.
    pub(crate) fn spec(
        &self,
        job: &TrainingJob,
        client: &Client,
        store: &Store,
        uri: String,
    ) -> Result<JobSpec, Failure> {
        store.put_program(&job.program)?;
        store.put_state(&job.state)?;
        store.put_data(&job.data)?;
        Ok(JobSpec {
            programRoot: ProgramTree::new(&job.program).root(),
            initialStateRoot: roots::root_of_tensors(&job.state),
            dataRoot: roots::root_of_tensors(&job.data),
            referee: client.deployment().referee,
            steps: u64::from(job.steps),
            stepsPerCheckpoint: self.steps_per_checkpoint,
            checkpointsPerMilestone: self.checkpoints_per_milestone,
            startPriceWei: self.start_price_wei.unwrap_or(self.price_wei),
            endPriceWei: self.price_wei,
            auctionS: self.auction_s,
            stakeWei: self.stake_wei,
            bondWei: self.bond_wei,
            tipWei: self.tip_wei,
            hardwareClass: self.hardware_class,
            standingClaims: 1,
            verifiers: 0,
            verifierFeeWei: 0,
            verifyS: 0,
            holdbackBps: 0,
            receiptS: 0,
            takeTimeoutS: self.take_timeout_s,
            claimTimeoutS: self.claim_timeout_s,
            windowS: self.window_s,
            clockS: self.clock_s,
            graceS: self.grace_s,
            callback: Address::ZERO,
            uri,
        })
    }
}

pub(crate) async fn run(command: Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Submit(args) => submit(*args, output).await,
        Command::Status(args) => {
            let client = args.chain.client(None).await?;
            status(&client, args.job_id, output).await
        }
        Command::List(chain) => {
            let client = chain.client(None).await?;
            for job_id in 1..=client.job_count().await? {
                status(&client, job_id, output).await?;
            }
            Ok(())
        }
        Command::Download { job, out } => {
            let client = job.chain.client(None).await?;
            let fetcher = Fetcher::new(Store::open(&out)?)?;
            let state = download(&client, &fetcher, job.job_id).await?;
            let root = roots::root_of_tensors(&state);
            let path = fetcher.store().path(Kind::State, root);
            let done =
                serde_json::json!({ "what": "downloaded", "job_id": job.job_id, "state_root": root, "path": path });
            output.result(format!("state {root} checked and written to {}", path.display()), &done);
            Ok(())
        }
        Command::Cancel { job, key } => {
            let client = job.chain.client(Some(&key)).await?;
            let known = client.job(job.job_id).await?;
            if !matches!(known.status, JobStatus::Open | JobStatus::Convicted) {
                let words = format!("job {} is {}: only an open job can be withdrawn", job.job_id, known.status);
                return Err(Failure::new(words));
            }
            let outcome = client.withdraw_job(job.job_id).await?;
            client.withdraw().await?;
            let done = serde_json::json!({ "what": "cancelled", "job_id": job.job_id, "gas": outcome.gas });
            output.result(format!("job {} withdrawn, the escrow is back", job.job_id), &done);
            Ok(())
        }
    }
}

async fn status(client: &Client, job_id: u64, output: &Output) -> Result<(), Failure> {
    let (job, spec) = (client.job(job_id).await?, client.spec(job_id).await?);
    let schedule = Schedule::of(&spec);
    let waiting = waiting_for(&job);
    let milestones = schedule.milestones();
    let price_wei = if job.price_wei == 0 { spec.endPriceWei } else { job.price_wei };
    let price = tokens(price_wei as i128);
    output.result(
        format!(
            "job {job_id}: {}, {} of {milestones} milestones final, {price} tokens each; {waiting}",
            job.status, job.final_milestones
        ),
        &serde_json::json!({
            "what": "job", "job_id": job_id, "status": job.status.to_string(), "requester": job.requester,
            "solver": job.solver, "final_milestones": job.final_milestones, "milestones": milestones,
            "steps": spec.steps, "milestone_price_wei": price_wei.to_string(),
            "state_root": job.state_root, "claim_root": job.claim_root, "disputes": job.disputes,
            "deadline_s": job.deadline_s, "window_end_s": job.window_end_s, "waiting_for": waiting,
        }),
    );
    Ok(())
}

/// What a job waits for, and until when.
fn waiting_for(job: &Job) -> String {
    match (job.status, job.disputes, job.claim_root) {
        (JobStatus::Open, ..) => format!("waits for a solver until {}", job.deadline_s),
        (JobStatus::Convicted, ..) => "the solver was convicted: waits to be reopened or withdrawn".into(),
        (JobStatus::Taken, disputes @ 1.., _) => format!("waits for {disputes} dispute(s)"),
        (JobStatus::Taken, 0, Some(_)) => {
            format!("milestone {} can be challenged until {}", job.final_milestones, job.window_end_s)
        }
        (JobStatus::Taken, 0, None) => {
            format!("milestone {} must be claimed until {}", job.final_milestones, job.deadline_s)
        }
        _ => "nothing more will happen".into(),
    }
}

/// The last final state of a job, from its solver or its requester, checked against the root on the chain.
pub(crate) async fn download(client: &Client, fetcher: &Fetcher, job_id: u64) -> Result<Vec<Tensor>, Failure> {
    let job = client.job(job_id).await?;
    let mirrors: Vec<String> = client.claims(job_id).await?.into_iter().rev().map(|c| c.uri).collect();
    let prepared = Prepared::fetch(client, fetcher, job_id, &mirrors).await?;
    let urls = [mirrors, vec![prepared.spec.uri.clone()]].concat();
    Ok(fetcher.fetch_tensors(&urls, Kind::State, job.state_root, &state_decls(&prepared.program)).await?)
}

async fn submit(args: SubmitArgs, output: &Output) -> Result<(), Failure> {
    let at = args.file.display();
    let text = std::fs::read_to_string(&args.file).map_err(|e| Failure::new(format!("{at}: {e}")))?;
    let file = JobFile::parse(&text).map_err(|e| Failure::new(format!("{at}: {e}")))?;
    let job = TrainingJob::new(&file).map_err(|e| Failure::new(format!("{at}: {e}")))?;
    let client = args.chain.client(Some(&args.key)).await?;
    let fetcher = Fetcher::new(Store::open(&args.store)?)?;
    let server = serve(fetcher.store().clone(), args.listen).await?;
    let uri = args.public_url.clone().unwrap_or_else(|| server.url());
    let spec = args.terms.spec(&job, &client, fetcher.store(), uri.clone())?;
    let (job_id, outcome) = client.post(spec).await?;
    let report = output.reporter("requester");
    report.sent(
        job_id,
        "posted",
        format!("{} steps, artifacts served at {uri}; keep this running", job.steps),
        &outcome,
    );
    let done = wait(&client, job_id, Duration::from_millis(args.poll_ms), output).await?;
    if done.status != JobStatus::Done {
        let hint = "unpaid milestones are refunded; post it again";
        return Err(Failure::new(format!("job {job_id} is {}: {hint}", done.status)));
    }
    let state = download(&client, &fetcher, job_id).await?;
    let accuracy = job.accuracy(&state)?;
    let path = fetcher.store().path(Kind::State, done.state_root);
    output.result(
        format!("job {job_id} is done: {accuracy} on held-out examples; model checked, in {}", path.display()),
        &serde_json::json!({
            "what": "done", "job_id": job_id, "state_root": done.state_root, "path": path,
            "correct": accuracy.correct, "total": accuracy.total,
        }),
    );
    Ok(server.shutdown().await?)
}

/// Watches a job until it is over, telling every change once. An open job whose deadline passes is ended.
async fn wait(client: &Client, job_id: u64, poll: Duration, output: &Output) -> Result<Job, Failure> {
    let report = output.reporter("requester");
    let mut told = String::new();
    let mut trouble = Trouble::new("watching the job");
    loop {
        match look(client, job_id, &report, &mut told).await {
            Ok(job) if job.status.is_over() => return Ok(job),
            Ok(_) => trouble.over(),
            Err(e) if retriable(&e) => trouble.failed(&e),
            Err(e) => return Err(e.into()),
        }
        tokio::time::sleep(poll).await;
    }
}

async fn look(client: &Client, job_id: u64, report: &Reporter, told: &mut String) -> Result<Job, Error> {
    let job = client.job(job_id).await?;
    if job.status.is_over() {
        return Ok(job);
    }
    let waiting = waiting_for(&job);
    if waiting != *told {
        report.tell(job_id, "waiting", &waiting);
        *told = waiting;
    }
    if job.status == JobStatus::Convicted {
        let outcome = client.reopen(job_id).await?;
        report.sent(job_id, "reopened", "its solver was convicted; another may take it", &outcome);
    } else if job.claim_root.is_none() && client.chain().now_s().await? > job.deadline_s {
        let outcome = client.expire(job_id).await?;
        report.sent(job_id, "expired", "the deadline passed", &outcome);
    }
    Ok(job)
}
