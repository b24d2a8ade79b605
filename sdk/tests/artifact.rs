//! Artifacts: kept on disk, served, fetched from mirrors that break and lie.

#![allow(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

#[path = "artifact/mirror.rs"]
mod mirror;

use std::fs;
use std::path::Path;
use std::time::Duration;

use lockstep_ir::program::{Program, Source, StateDecl, TensorDecl};
use lockstep_ir::tensor::Tensor;
use lockstep_ir::types::DType;
use lockstep_sdk::artifact::{ArtifactError, FetchLimits, Fetcher, Kind, MirrorFault, Store, serve};
use lockstep_sdk::error::Class;
use mirror::{Act, Mirror};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn program() -> Program {
    let decl = TensorDecl { dtype: DType::F32, shape: vec![2, 3] };
    Program { state: vec![StateDecl { decl: decl.clone(), next: Source::State(0) }], data: vec![decl], nodes: vec![] }
}

/// Tensors of all types whose ends lie at odd places; 3.4 MB.
fn tensors() -> Vec<Tensor> {
    let shapes: [(DType, &[u32]); 6] = [
        (DType::F32, &[700, 1000]),
        (DType::I8, &[1]),
        (DType::Bf16, &[333]),
        (DType::I8, &[100_001]),
        (DType::U32, &[]),
        (DType::I32, &[255, 511]),
    ];
    let tensor = |(dtype, shape): (DType, &[u32])| {
        let decl = TensorDecl { dtype, shape: shape.to_vec() };
        let len = lockstep_commit::tensor::byte_count(&decl).unwrap();
        Tensor::from_bytes(decl, (0..len).map(|at| (at * 31 % 251) as u8).collect()).unwrap()
    };
    shapes.map(tensor).into()
}

fn decls(tensors: &[Tensor]) -> Vec<TensorDecl> {
    tensors.iter().map(|tensor| tensor.decl().clone()).collect()
}

/// A state, its bytes, and an empty store to fetch it into.
struct Setup {
    tensors: Vec<Tensor>,
    decls: Vec<TensorDecl>,
    bytes: Vec<u8>,
    root: lockstep_commit::B256,
    dir: TempDir,
}

impl Setup {
    fn new() -> Self {
        let tensors = tensors();
        let root = lockstep_commit::roots::root_of_tensors(&tensors);
        let bytes = tensors.iter().flat_map(Tensor::bytes).copied().collect();
        Self { decls: decls(&tensors), bytes, root, tensors, dir: tempfile::tempdir().unwrap() }
    }

    fn fetcher(&self) -> Fetcher {
        self.fetcher_with(FetchLimits { pause: Duration::from_millis(5), attempts: 3, ..FetchLimits::default() })
    }

    fn fetcher_with(&self, limits: FetchLimits) -> Fetcher {
        Fetcher::with_limits(Store::open(self.dir.path()).unwrap(), limits).unwrap()
    }

    async fn fetch(&self, mirrors: &[&Mirror]) -> Result<Vec<Tensor>, ArtifactError> {
        let urls: Vec<String> = mirrors.iter().map(|mirror| mirror.url()).collect();
        self.fetcher().fetch_tensors(&urls, Kind::State, self.root, &self.decls).await
    }

    fn wrong_bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[1_000_000] ^= 1;
        bytes
    }

    /// Half-fetched files.
    fn parts(&self) -> usize {
        files(&self.dir.path().join("unfinished"))
    }
}

fn files(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

fn faults(error: ArtifactError) -> Vec<MirrorFault> {
    match error {
        ArtifactError::Mirrors { failures, .. } => failures.into_iter().map(|failure| failure.fault).collect(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_is_put_is_what_is_fetched() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, tensors) = (Store::open(from.path()).unwrap(), tensors());
    let program_root = store.put_program(&program()).unwrap();
    let state_root = store.put_state(&tensors).unwrap();
    let data_root = store.put_data(&tensors[1..3]).unwrap();
    assert!(from.path().join("state").join(format!("{state_root}")).is_file());
    let server = serve(store, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mirrors = [format!("{}/", server.url())];

    let fetcher = Fetcher::new(Store::open(to.path()).unwrap()).unwrap();
    assert_eq!(fetcher.fetch_program(&mirrors, program_root).await.unwrap(), program());
    let state = fetcher.fetch_tensors(&mirrors, Kind::State, state_root, &decls(&tensors)).await.unwrap();
    assert_eq!(state, tensors);
    fetcher.mirror_tensors(&mirrors, Kind::Data, data_root, &decls(&tensors[1..3])).await.unwrap();
    server.shutdown().await.unwrap();

    // From now on without a mirror.
    let store = Store::open(to.path()).unwrap();
    assert!(store.has(Kind::Data, data_root) && !store.has(Kind::State, data_root));
    assert_eq!(store.tensors(Kind::Data, data_root, &decls(&tensors[1..3])).unwrap(), &tensors[1..3]);
    assert_eq!(fetcher.fetch_program(&mirrors, program_root).await.unwrap(), program());
    assert_eq!(files(&to.path().join("unfinished")), 0);
}

#[tokio::test]
async fn no_data_needs_no_mirror() {
    let setup = Setup::new();
    let none: [&str; 0] = [];
    let root = lockstep_commit::roots::root_of_tensors([]);
    assert_eq!(setup.fetcher().fetch_tensors(&none, Kind::Data, root, &[]).await.unwrap(), []);
    let refused = setup.fetcher().fetch_tensors(&none, Kind::Data, setup.root, &setup.decls).await.unwrap_err();
    assert!(matches!(refused, ArtifactError::NoMirror { .. }), "{refused}");
    assert_eq!(refused.class(), Class::FixInput);
}

#[tokio::test]
async fn broken_transfers_go_on_where_they_ended() {
    let setup = Setup::new();
    let acts = [Act::Cut(1_300_000), Act::Status(503), Act::Cut(1_300_001), Act::Cut(0), Act::Whole];
    let mirror = Mirror::start(setup.bytes.clone(), acts).await;
    assert_eq!(setup.fetch(&[&mirror]).await.unwrap(), setup.tensors);
    let starts = mirror.starts();
    assert_eq!(starts.len(), 5, "{starts:?}");
    assert!(starts[0] == 0 && starts[1] == 1_300_000 && starts[4] == 2_600_001, "{starts:?}");
    assert_eq!(setup.parts(), 0);
}

#[tokio::test]
async fn interrupted_fetch_goes_on_in_the_next_process_and_at_the_next_mirror() {
    let setup = Setup::new();
    let dying = Mirror::start(setup.bytes.clone(), [Act::Cut(2_000_000), Act::Cut(0), Act::Cut(0), Act::Cut(0)]).await;
    let error = setup.fetch(&[&dying]).await.unwrap_err();
    assert_eq!(error.class(), Class::Retry, "{error}");
    assert_eq!(setup.parts(), 1);
    let other = Mirror::start(setup.bytes.clone(), [Act::Whole]).await;
    assert_eq!(setup.fetch(&[&other]).await.unwrap(), setup.tensors);
    assert!(other.starts()[0] >= 1_000_000, "{:?}", other.starts());
}

#[tokio::test]
async fn mirror_that_knows_no_ranges_sends_all_again() {
    let setup = Setup::new();
    let mirror = Mirror::start(setup.bytes.clone(), [Act::Cut(1_200_000), Act::WholeWithoutRange]).await;
    assert_eq!(setup.fetch(&[&mirror]).await.unwrap(), setup.tensors);
}

#[tokio::test]
async fn wrong_byte_is_refused_and_the_next_mirror_used() {
    let setup = Setup::new();
    let liar = Mirror::start(setup.wrong_bytes(), [Act::Whole, Act::Whole]).await;
    let error = setup.fetch(&[&liar]).await.unwrap_err();
    assert_eq!(error.class(), Class::GiveUp);
    let text = error.to_string();
    assert!(text.contains(&liar.url()) && text.contains(&format!("expected root {}", setup.root)), "{text}");
    assert!(
        matches!(faults(error)[..], [MirrorFault::WrongRoot { expected, got }] if expected == setup.root && got != expected)
    );
    assert_eq!((setup.parts(), files(&setup.dir.path().join("state"))), (0, 0));

    let honest = Mirror::start(setup.bytes.clone(), [Act::Whole]).await;
    assert_eq!(setup.fetch(&[&liar, &honest]).await.unwrap(), setup.tensors);
    assert_eq!((liar.starts(), honest.starts()), (vec![0, 0], vec![0]));
}

#[tokio::test]
async fn honest_mirror_is_not_blamed_for_what_another_sent() {
    let setup = Setup::new();
    let liar = Mirror::start(setup.wrong_bytes(), [Act::Cut(2_000_000), Act::Cut(0), Act::Cut(0), Act::Cut(0)]).await;
    let honest = Mirror::start(setup.bytes.clone(), [Act::Whole, Act::Whole]).await;
    assert_eq!(setup.fetch(&[&liar, &honest]).await.unwrap(), setup.tensors);
    let starts = honest.starts();
    assert!(starts.len() == 2 && starts[0] > 1_000_000 && starts[1] == 0, "{starts:?}");
}

#[tokio::test]
async fn garbage_left_by_a_crash_does_no_harm() {
    let setup = Setup::new();
    let path = setup.fetcher().store().dir().join("unfinished").join(format!("state-{}.part", setup.root));
    for len in [1000, setup.bytes.len(), setup.bytes.len() + 1] {
        fs::write(&path, vec![7; len]).unwrap();
        let mirror = Mirror::start(setup.bytes.clone(), [Act::Whole, Act::Whole]).await;
        assert_eq!(setup.fetch(&[&mirror]).await.unwrap(), setup.tensors);
        setup.fetcher().store().remove(Kind::State, setup.root).unwrap();
    }
}

#[tokio::test]
async fn not_one_byte_too_many_is_taken() {
    let setup = Setup::new();
    let long = [&setup.bytes[..], &[0]].concat();
    let announced = Mirror::start(long, [Act::Whole]).await;
    let fault = faults(setup.fetch(&[&announced]).await.unwrap_err());
    let len = setup.bytes.len() as u64;
    assert!(
        matches!(fault[..], [MirrorFault::TooLong { max_bytes, actual_bytes }] if (max_bytes, actual_bytes) == (len, len + 1)),
        "{fault:?}"
    );

    // A program has no declared length: what comes without a length is cut off at the limit.
    let endless = Mirror::start(vec![0; 1 << 20], [Act::Endless]).await;
    let refused = setup.fetcher().fetch_program(&[endless.url()], setup.root).await.unwrap_err();
    assert_eq!(refused.class(), Class::GiveUp);
    let fault = faults(refused);
    let limit = lockstep_ir::abi::MAX_ENCODED_BYTES as u64;
    assert!(matches!(fault[..], [MirrorFault::TooLong { max_bytes, .. }] if max_bytes == limit), "{fault:?}");

    let short = Mirror::start(setup.bytes[..1000].to_vec(), [Act::Whole]).await;
    let fault = faults(setup.fetch(&[&short]).await.unwrap_err());
    assert!(matches!(fault[..], [MirrorFault::TooShort { actual_bytes: 1000, .. }]), "{fault:?}");

    let limits = FetchLimits { max_artifact_bytes: len - 1, ..FetchLimits::default() };
    let refused = setup.fetcher_with(limits).fetch_tensors(&[short.url()], Kind::State, setup.root, &setup.decls).await;
    assert!(matches!(refused, Err(ArtifactError::OverLimit { bytes, .. }) if bytes == len));
    assert_eq!(setup.parts(), 0);
}

#[tokio::test]
async fn what_is_no_program_is_refused() {
    let setup = Setup::new();
    let mirror = Mirror::start(vec![1; 1000], [Act::Whole]).await;
    let fault = faults(setup.fetcher().fetch_program(&[mirror.url()], setup.root).await.unwrap_err());
    assert!(matches!(fault[..], [MirrorFault::NotAProgram(_)]), "{fault:?}");
    let other = Mirror::start(program().encode(), [Act::Whole]).await;
    let fault = faults(setup.fetcher().fetch_program(&[other.url()], setup.root).await.unwrap_err());
    assert!(matches!(fault[..], [MirrorFault::WrongRoot { .. }]), "{fault:?}");
}

#[tokio::test]
async fn silent_and_trickling_mirrors_are_left() {
    let setup = Setup::new();
    let silent = Mirror::start(setup.bytes.clone(), [Act::Silent]).await;
    let stalled = Mirror::start(setup.bytes.clone(), [Act::Stall(100_000)]).await;
    let trickling = Mirror::start(setup.bytes.clone(), [Act::Trickle]).await;
    let honest = Mirror::start(setup.bytes.clone(), [Act::Whole]).await;
    let limits = FetchLimits { stall_window: Duration::from_millis(400), attempts: 1, ..FetchLimits::default() };
    let fetcher = setup.fetcher_with(limits);
    for mirror in [&silent, &trickling, &stalled] {
        let error = fetcher.fetch_tensors(&[mirror.url()], Kind::State, setup.root, &setup.decls).await.unwrap_err();
        assert_eq!(error.class(), Class::Retry, "{error}");
        let fault = faults(error);
        assert!(matches!(fault[..], [MirrorFault::Stalled { .. }]), "{fault:?}");
    }
    let mirrors = [silent.url(), honest.url()];
    assert_eq!(fetcher.fetch_tensors(&mirrors, Kind::State, setup.root, &setup.decls).await.unwrap(), setup.tensors);
}

#[tokio::test]
async fn odd_answers_and_addresses_are_named() {
    let setup = Setup::new();
    let absent = Mirror::start(vec![], [Act::Status(404)]).await;
    let forbidden = Mirror::start(vec![], [Act::Status(403)]).await;
    let shifted = Mirror::start(setup.bytes.clone(), [Act::WrongRange]).await;
    let gone = Mirror::start(vec![], []).await;
    let mirrors = [
        absent.url(),
        forbidden.url(),
        shifted.url(),
        "file:///etc".to_owned(),
        "nonsense".to_owned(),
        gone.url().replace("http://", "http://user:secret@"),
    ];
    drop(gone);
    let error = setup.fetcher().fetch_tensors(&mirrors, Kind::State, setup.root, &setup.decls).await.unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    let faults = faults(error);
    assert!(
        matches!(
            faults[..],
            [
                MirrorFault::Status { status: 404 },
                MirrorFault::Status { status: 403 },
                MirrorFault::Range { .. },
                MirrorFault::Url(_),
                MirrorFault::Url(_),
                MirrorFault::Connection { attempts: 3, .. }
            ]
        ),
        "{faults:?}"
    );
    assert_eq!(faults[0].class(), Class::Retry);
    assert_eq!(faults[1].class(), Class::GiveUp);
}

#[tokio::test]
async fn fetches_of_the_same_artifact_share_one_transfer() {
    let setup = Setup::new();
    let mirror = Mirror::start(setup.bytes.clone(), [Act::Cut(1_500_000), Act::Whole]).await;
    let mirrors = [mirror.url()];
    let one = || async {
        let fetcher = setup.fetcher();
        fetcher.fetch_tensors(&mirrors, Kind::State, setup.root, &setup.decls).await.unwrap()
    };
    let (a, b, c) = tokio::join!(one(), one(), one());
    assert!(a == setup.tensors && b == a && c == a);
    assert_eq!(mirror.starts().len(), 2);
    assert_eq!(setup.parts(), 0);
}

#[tokio::test]
async fn damaged_file_is_noticed_and_fetched_again() {
    let setup = Setup::new();
    let store = Store::open(setup.dir.path()).unwrap();
    store.put_state(&setup.tensors).unwrap();
    let path = store.path(Kind::State, setup.root);
    for damaged in [setup.wrong_bytes(), setup.bytes[1..].to_vec(), [&setup.bytes[..], &[0]].concat()] {
        fs::write(&path, damaged).unwrap();
        let error = store.tensors(Kind::State, setup.root, &setup.decls).unwrap_err();
        assert!(matches!(error, ArtifactError::Corrupt { .. }), "{error}");
        let mirror = Mirror::start(setup.bytes.clone(), [Act::Whole]).await;
        assert_eq!(setup.fetch(&[&mirror]).await.unwrap(), setup.tensors);
    }
    // Putting heals as well.
    fs::write(&path, setup.wrong_bytes()).unwrap();
    store.put_state(&setup.tensors).unwrap();
    assert_eq!(store.tensors(Kind::State, setup.root, &setup.decls).unwrap(), setup.tensors);
}

#[test]
fn same_artifact_put_at_once_by_many() {
    let setup = Setup::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = Store::open(setup.dir.path()).unwrap();
                assert_eq!(store.put_state(&setup.tensors).unwrap(), setup.root);
                assert_eq!(store.tensors(Kind::State, setup.root, &setup.decls).unwrap(), setup.tensors);
            });
        }
    });
    assert_eq!((files(&setup.dir.path().join("state")), setup.parts()), (1, 0));
}

#[test]
fn calls_that_make_no_sense_are_refused() {
    let setup = Setup::new();
    let store = Store::open(setup.dir.path()).unwrap();
    let missing = store.tensors(Kind::State, setup.root, &setup.decls).unwrap_err();
    assert!(matches!(missing, ArtifactError::Missing { .. }), "{missing}");
    assert!(matches!(store.program(setup.root), Err(ArtifactError::Missing { .. })));
    let refused = store.tensors(Kind::Program, setup.root, &setup.decls);
    assert!(matches!(refused, Err(ArtifactError::NotTensors { .. })));
    let bad = TensorDecl { dtype: DType::F32, shape: vec![0] };
    assert!(matches!(store.tensors(Kind::Data, setup.root, &[bad]), Err(ArtifactError::Declaration { .. })));
    let file = setup.dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Store::open(&file), Err(ArtifactError::Disk { .. })));
}

const CRASH_DIR: &str = "LOCKSTEP_TEST_CRASH_DIR";

/// Not a test of its own.
#[test]
#[ignore = "the process that the next test kills while it writes"]
fn put_again_and_again_when_told() {
    let Ok(dir) = std::env::var(CRASH_DIR) else { return };
    let (store, tensors) = (Store::open(dir).unwrap(), tensors());
    loop {
        let root = store.put_state(&tensors).unwrap();
        store.remove(Kind::State, root).unwrap();
    }
}

#[test]
fn killed_process_leaves_whole_files_only() {
    let setup = Setup::new();
    let store = Store::open(setup.dir.path()).unwrap();
    let mut writes_cut = 0;
    for round in 0..20 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "put_again_and_again_when_told"])
            .env(CRASH_DIR, setup.dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(200 + 7 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        writes_cut += setup.parts();
        match store.tensors(Kind::State, setup.root, &setup.decls) {
            Ok(tensors) => assert_eq!(tensors, setup.tensors),
            Err(ArtifactError::Missing { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(writes_cut > 0, "no write was ever interrupted, so nothing was tested");
}

/// The answer to a request as it is, so that no client tidies up the path.
async fn raw(address: std::net::SocketAddr, request_line: &str, headers: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request_line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![];
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

fn status(answer: &[u8]) -> String {
    String::from_utf8_lossy(&answer[9..12]).into_owned()
}

#[tokio::test]
async fn nothing_but_artifacts_is_served() {
    let setup = Setup::new();
    let store = Store::open(setup.dir.path()).unwrap();
    store.put_state(&setup.tensors).unwrap();
    fs::write(setup.dir.path().join("secret"), "secret").unwrap();
    fs::write(setup.dir.path().join("unfinished").join(setup.root.to_string()), "secret").unwrap();
    fs::write(setup.dir.path().join("state").join("secret"), "secret").unwrap();
    let server = serve(store, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let root = setup.root;
    let upper = root.to_string().to_uppercase().replace("0X", "0x");
    for path in [
        "/".to_owned(),
        "/state".to_owned(),
        "/state/".to_owned(),
        "/secret".to_owned(),
        "/state/secret".to_owned(),
        "/state/../secret".to_owned(),
        "/state/..%2fsecret".to_owned(),
        "/state/%2e%2e%2fsecret".to_owned(),
        "/../secret".to_owned(),
        "/%2e%2e/secret".to_owned(),
        "//secret".to_owned(),
        format!("/unfinished/{root}"),
        format!("/data/../state/{root}"),
        format!("/data/{root}"),
        format!("/state/{upper}"),
        format!("/state/{}", &root.to_string()[2..]),
        format!("/state/{root}%00"),
        format!("/state/{root}/"),
        format!("/state/{root}/../secret"),
    ] {
        let answer = raw(server.address(), &format!("GET {path}"), "").await;
        assert_eq!(status(&answer), "404", "{path}");
        assert!(!String::from_utf8_lossy(&answer).contains("secret"), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = raw(server.address(), &format!("{method} /state/{root}"), "content-length: 0\r\n").await;
        assert_eq!(status(&answer), "405", "{method}");
    }
    assert_eq!(status(&raw(server.address(), "GET /health", "").await), "200");
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn ranges_are_served() {
    let setup = Setup::new();
    let store = Store::open(setup.dir.path()).unwrap();
    store.put_state(&setup.tensors).unwrap();
    let server = serve(store, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let line = format!("GET /state/{}", setup.root);
    let answer = raw(server.address(), &line, "range: bytes=1000-1009\r\n").await;
    assert_eq!(status(&answer), "206");
    assert!(answer.ends_with(&setup.bytes[1000..1010]));
    let answer = raw(server.address(), &line, &format!("range: bytes={}-\r\n", setup.bytes.len())).await;
    assert_eq!(status(&answer), "416");
    let answer = raw(server.address(), &line, "").await;
    assert_eq!(status(&answer), "200");
    assert!(answer.ends_with(&setup.bytes[..]));
    let head = raw(server.address(), &line.replace("GET", "HEAD"), "").await;
    assert!(String::from_utf8(head).unwrap().contains(&format!("content-length: {}", setup.bytes.len())));
    let (address, url) = (server.address(), server.url());
    assert_eq!(url, format!("http://{address}"));
    server.shutdown().await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
