//! Jobs that a solver must not take, and a solver that cannot take any. The next good job is taken all the same.

use std::{fs, net::SocketAddr};

use alloy_primitives::Address;
use lockstep_commit::{ProgramTree, roots};
use lockstep_contracts::Referee;
use lockstep_ir::{
    DType, Order, Tensor,
    build::{BuildError, NodeBuilder, ProgramBuilder, k, o},
    expr::{acc, f, load},
    program::Program,
};
use lockstep_sdk::{
    artifact::{Kind, Server, Store, serve},
    client::{Client, JobSpec},
};
use lockstep_train::{JobFile, TrainingJob};

use crate::world::{REQUESTER, SOLVER, TERMS, World};

/// A requester through the SDK: its store, its server, its terms.
struct Requester<'w> {
    world: &'w World,
    client: Client,
    store: Store,
    server: Option<Server>,
    job: TrainingJob,
}

impl<'w> Requester<'w> {
    fn new(world: &'w World) -> Self {
        let store = Store::open(world.path("bad-requester")).unwrap();
        let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let server = world.wait(serve(store.clone(), listen)).unwrap();
        let text = "model = \"mlp\"\ndataset = \"digits\"\nhidden = []\nbatch = 4\nlearning_rate = 0.05\nmomentum = 0.9\nsteps = 8\nseed = 1";
        let job = TrainingJob::new(&JobFile::parse(text).unwrap()).unwrap();
        Self { world, client: world.client(REQUESTER), store, server: Some(server), job }
    }

    /// A small job, right in every way and served.
    fn good(&self) -> JobSpec {
        self.store.put_program(&self.job.program).unwrap();
        self.store.put_state(&self.job.state).unwrap();
        self.store.put_data(&self.job.data).unwrap();
        JobSpec {
            programRoot: ProgramTree::new(&self.job.program).root(),
            initialStateRoot: roots::root_of_tensors(&self.job.state),
            dataRoot: roots::root_of_tensors(&self.job.data),
            referee: self.client.deployment().referee,
            steps: u64::from(self.job.steps),
            stepsPerCheckpoint: 4,
            checkpointsPerMilestone: 2,
            startPriceWei: 1_000_000,
            endPriceWei: 1_000_000,
            auctionS: 0,
            stakeWei: 3_000_000,
            bondWei: 100_000,
            tipWei: 10_000,
            hardwareClass: 0,
            standingClaims: 1,
            verifiers: 0,
            verifierFeeWei: 0,
            verifyS: 0,
            holdbackBps: 0,
            receiptS: 0,
            takeTimeoutS: 3600,
            claimTimeoutS: 3600,
            windowS: 1,
            clockS: 60,
            graceS: 10,
            callback: Address::ZERO,
            uri: self.server.as_ref().unwrap().url(),
        }
    }

    fn post(&self, spec: JobSpec) -> u64 {
        self.world.wait(self.client.post(spec)).unwrap().0
    }
}

impl Drop for Requester<'_> {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            // A test that fails already must not fail a second time here.
            let _ = self.world.wait(server.shutdown());
        }
    }
}

/// A program that is right but for one thing: its fold reads a column, every value of it in another chunk.
fn not_judgeable() -> Program {
    let node = |transposed: bool| -> Result<Program, BuildError> {
        let mut p = ProgramBuilder::new();
        let w = p.state(DType::F32, &[256]);
        let a = p.data(DType::F32, &[256, 256]);
        let index = if transposed { [k(0), o(0)] } else { [o(0), k(0)] };
        let y = NodeBuilder::new(DType::F32, &[256])
            .operand(a.at(index))
            .operand(w.at([k(0)]))
            .fold(&[256], Order::Chain, f(0.0), load(0).fma(&load(1), &acc()))
            .finish(acc());
        let y = p.node(y)?;
        p.set(&w, &y);
        p.build()
    };
    assert!(node(true).is_err(), "the builder refuses it, too");
    // In the access matrix of the first operand, rows for its two coordinates: the transposed one has them swapped.
    let mut program = node(false).unwrap();
    let access = &mut program.nodes[0].operands[0].access;
    let width = access.len() / 2;
    let (first, second) = access.split_at_mut(width);
    first.swap_with_slice(second);
    program
}

#[test]
fn bad_jobs_are_refused_with_a_reason_and_the_next_good_one_is_done() {
    let world = World::start();
    let requester = Requester::new(&world);
    let good = requester.good();
    let mut solver = world.daemon("solver", SOLVER, &["--min-price-wei", "1000"]);

    // Not judgeable.
    let program = not_judgeable();
    let state = [Tensor::from_f32(&[256], &[0.5; 256]).unwrap()];
    let data = [Tensor::from_f32(&[256, 256], &vec![0.25; 256 * 256]).unwrap()];
    let spec = JobSpec {
        programRoot: requester.store.put_program(&program).unwrap(),
        initialStateRoot: requester.store.put_state(&state).unwrap(),
        dataRoot: requester.store.put_data(&data).unwrap(),
        ..good.clone()
    };
    let unjudgeable = requester.post(spec);

    // Other bytes than the job names, under the name of what it names.
    let other = roots::root_of_tensors(&state);
    let lie = |kind: Kind, honest| {
        let path = requester.store.path(kind, other);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(requester.store.path(kind, honest), path).unwrap();
    };
    lie(Kind::Program, good.programRoot);
    let wrong_program = requester.post(JobSpec { programRoot: other, ..good.clone() });
    lie(Kind::Data, good.dataRoot);
    let wrong_data = requester.post(JobSpec { dataRoot: other, ..good.clone() });

    // A judge that this deployment does not know; too little pay; too little time; nobody there.
    let stranger = world.client(3);
    let referee = world.wait(stranger.chain().create("Referee", Referee::BYTECODE.clone())).unwrap();
    let bribed = requester.post(JobSpec { referee, ..good.clone() });
    let poor = requester.post(JobSpec { startPriceWei: 999, endPriceWei: 999, ..good.clone() });
    let unserved = requester.post(JobSpec { uri: "http://127.0.0.1:1".into(), programRoot: good.dataRoot, ..good });
    let fine = requester.post(good);

    let mut says = |job_id, what: &str, words: &[&str]| {
        let event = solver.event(job_id, what);
        for word in words {
            assert!(event["detail"].as_str().unwrap().contains(word), "`{word}` is not in {event}");
        }
    };
    says(unjudgeable, "gave up", &["the program is refused", "node 0", "not judgeable", "chunks"]);
    says(wrong_program, "gave up", &[&other.to_string(), "sent something else", "http://127.0.0.1:"]);
    says(wrong_data, "gave up", &[&other.to_string(), "sent something else"]);
    says(bribed, "gave up", &["referee", "leave"]);
    says(poor, "refused", &["a milestone pays 999", "at least 1000"]);
    says(fine, "taken", &["checked", "stake locked"]);
    says(fine, "over", &["done"]);
    solver.complains("http://127.0.0.1:1/");
    let open = |job_id| world.wait(requester.client.job(job_id)).unwrap().status.to_string();
    for job_id in [unjudgeable, wrong_program, wrong_data, bribed, poor, unserved] {
        assert_eq!(open(job_id), "open", "job {job_id} was taken");
    }
}

#[test]
fn a_solver_without_tokens_or_gas_says_so_and_lives_on() {
    let world = World::start();
    fs::write(world.path("password"), "a password").unwrap();
    let made = world.run(&["wallet", "new", "poor.json", "--password-file", "password"]).event("made");
    let address = made["address"].as_str().unwrap().parse().unwrap();
    let with_key = |store| {
        ["solver", "--keystore", "poor.json", "--password-file", "password", "--store", store, "--poll-ms", "100"]
    };
    let mut poor = world.spawn(&with_key("poor"));
    let mut submit = world.submit(&TERMS);
    submit.event(1, "posted");
    let refusal = poor.event(1, "waiting");
    for word in ["holds 0 of the payment token", "the solver's stake", "get more"] {
        assert!(refusal["detail"].as_str().unwrap().contains(word), "`{word}` is not in {refusal}");
    }
    assert!(
        refusal["detail"].as_str().unwrap().to_lowercase().contains(&made["address"].as_str().unwrap().to_lowercase())
    );

    // Tokens, but nothing to pay gas with.
    world.wait(world.client(3).transfer(address, 1_000_000_000_000_000_000_000)).unwrap();
    let poor_again = world.spawn(&with_key("poor-again"));
    poor_again.complains("cannot pay for gas");

    // Both still look at the chain, and somebody with tokens does the job.
    let _solver = world.daemon("solver", SOLVER, &[]);
    crate::world::assert_done(&submit.finish());
}
