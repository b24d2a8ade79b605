//! Fetching from mirrors.

use std::time::Duration;

use lockstep_commit::B256;
use lockstep_ir::program::{Program, TensorDecl};
use lockstep_ir::tensor::Tensor;
use reqwest::{Client, Url};

use super::error::{ArtifactError, MirrorError, MirrorFault};
use super::item::{Item, Kind};
use super::part::{Part, Untaken};
use super::store::Store;
use super::transfer::{Broken, Stop, transfer};

/// Progress that makes earlier failures of a mirror forgotten, in bytes.
const PROGRESS_BYTES: u64 = 1 << 20;
/// Longest pause before another try at the same mirror.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// How often to look whether someone else has finished with the same artifact.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// What a fetcher puts up with.
#[derive(Clone, Debug)]
pub struct FetchLimits {
    /// Until a connection is made.
    pub connect_timeout: Duration,
    /// In every window of this length …
    pub stall_window: Duration,
    /// … so many bytes have to come.
    pub stall_bytes: u64,
    /// Tries at one mirror without much progress (1 MiB) in between.
    pub attempts: u32,
    /// Before the second try; doubles with every further one, up to 10 s.
    pub pause: Duration,
    /// Artifacts that are declared larger are not fetched.
    pub max_artifact_bytes: u64,
}

impl Default for FetchLimits {
    /// 10 s to connect, 16 KiB in 30 s, 5 tries from 0.25 s on, 64 GiB.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            stall_window: Duration::from_secs(30),
            stall_bytes: 16 << 10,
            attempts: 5,
            pause: Duration::from_millis(250),
            max_artifact_bytes: 64 << 30,
        }
    }
}

/// Fetches artifacts into a [`Store`]. Cheap to clone.
///
/// A mirror is the URL under which a [`super::Server`], or any file server with the same paths, has `<kind>/<0xroot>`.
/// Mirrors are tried in order; what one of them began, the next one ends. A fetch that was broken off, even by a crash,
/// goes on from there when it is called again. Fetches of the same artifact wait for each other.
#[derive(Clone, Debug)]
pub struct Fetcher {
    store: Store,
    client: Client,
    limits: FetchLimits,
}

impl Fetcher {
    /// With the default limits.
    ///
    /// # Errors
    /// `Client`.
    pub fn new(store: Store) -> Result<Self, ArtifactError> {
        Self::with_limits(store, FetchLimits::default())
    }

    /// With limits of one's own.
    ///
    /// # Errors
    /// `Client`.
    pub fn with_limits(store: Store, limits: FetchLimits) -> Result<Self, ArtifactError> {
        let client = Client::builder()
            .connect_timeout(limits.connect_timeout)
            .redirect(reqwest::redirect::Policy::limited(4))
            .referer(false)
            .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(ArtifactError::Client)?;
        Ok(Self { store, client, limits })
    }

    /// Where it puts what it fetches.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A program, from the store or else from the first mirror that delivers it.
    ///
    /// # Errors
    /// `Mirrors`, `NoMirror`, `Disk`.
    pub async fn fetch_program(&self, mirrors: &[impl AsRef<str>], root: B256) -> Result<Program, ArtifactError> {
        self.fetch(mirrors, Item::program(root), move |store| store.program(root)).await
    }

    /// The tensors of a state or of data, from the store or else from the first mirror that delivers them.
    ///
    /// # Errors
    /// `Mirrors`, `NoMirror`, `Disk`, `OverLimit`, `NotTensors`, `Declaration`.
    pub async fn fetch_tensors(
        &self,
        mirrors: &[impl AsRef<str>],
        kind: Kind,
        root: B256,
        decls: &[TensorDecl],
    ) -> Result<Vec<Tensor>, ArtifactError> {
        let item = Item::tensors(kind, root, decls)?;
        let decls = decls.to_vec();
        self.fetch(mirrors, item, move |store| store.tensors(kind, root, &decls)).await
    }

    /// Like [`Self::fetch_tensors`], but leaves them on the disk: for who serves them on.
    ///
    /// # Errors
    /// As [`Self::fetch_tensors`].
    pub async fn mirror_tensors(
        &self,
        mirrors: &[impl AsRef<str>],
        kind: Kind,
        root: B256,
        decls: &[TensorDecl],
    ) -> Result<(), ArtifactError> {
        let item = Item::tensors(kind, root, decls)?;
        let checked = item.clone();
        self.fetch(mirrors, item, move |store| store.check(&checked)).await
    }

    /// Reads from the store; fetches first if it is not there, or not what it should be.
    async fn fetch<T, R>(&self, mirrors: &[impl AsRef<str>], item: Item, read: R) -> Result<T, ArtifactError>
    where
        T: Send + 'static,
        R: Fn(&Store) -> Result<T, ArtifactError> + Send + Sync + Clone + 'static,
    {
        match self.read(read.clone()).await {
            Err(ArtifactError::Missing { .. }) => {}
            Err(error @ ArtifactError::Corrupt { .. }) => {
                tracing::warn!(%error, "removing a damaged artifact");
                self.store.remove(item.kind, item.root)?;
            }
            done => return done,
        }
        self.obtain(mirrors, &item).await?;
        self.read(read).await
    }

    async fn read<T, R>(&self, read: R) -> Result<T, ArtifactError>
    where
        T: Send + 'static,
        R: FnOnce(&Store) -> Result<T, ArtifactError> + Send + 'static,
    {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || read(&store)).await?
    }

    async fn obtain(&self, mirrors: &[impl AsRef<str>], item: &Item) -> Result<(), ArtifactError> {
        let (kind, root) = (item.kind, item.root);
        let limit_bytes = self.limits.max_artifact_bytes;
        if let Some(bytes) = item.exact_bytes().filter(|&bytes| bytes > limit_bytes) {
            return Err(ArtifactError::OverLimit { kind, root, bytes, limit_bytes });
        }
        let mut part = self.part(item).await?;
        // Someone else may have fetched it while this waited.
        if self.store.has(kind, root) {
            return Ok(());
        }
        if part.is_complete() {
            // All bytes came before the last run ended, or there are none to come.
            let (returned, concluded) = conclude(part).await?;
            match concluded {
                Ok(()) => return Ok(()),
                Err(Untaken::Local(error)) => return Err(error),
                Err(Untaken::Mirror(_)) => part = returned,
            }
        }
        let mut failures = vec![];
        for mirror in mirrors {
            part.next_source();
            let (returned, outcome) = self.try_mirror(mirror.as_ref(), part).await?;
            part = returned;
            match outcome {
                None => return Ok(()),
                Some(failure) => {
                    tracing::warn!(%kind, %root, %failure, "mirror did not deliver");
                    failures.push(failure);
                }
            }
        }
        if failures.is_empty() {
            return Err(ArtifactError::NoMirror { kind, root });
        }
        Err(ArtifactError::Mirrors { kind, root, failures })
    }

    /// The part file, once nobody else writes it.
    async fn part(&self, item: &Item) -> Result<Part, ArtifactError> {
        loop {
            let item = item.clone();
            if let Some(part) = self.read(move |store| Part::open(store, &item)).await? {
                return Ok(part);
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
    }

    /// Tries one mirror until the artifact is in the store or the mirror has failed for good.
    async fn try_mirror(&self, mirror: &str, mut part: Part) -> Result<(Part, Option<MirrorError>), ArtifactError> {
        let url = match artifact_url(mirror, part.item()) {
            Ok(url) => url,
            Err(fault) => return Ok((part, Some(MirrorError { url: quoted(mirror), fault }))),
        };
        let failed = |fault| Some(MirrorError { url: public(&url), fault });
        let mut attempts = 0;
        loop {
            let before = part.len();
            let result = if part.is_complete() { Ok(()) } else { self.attempt(&url, &mut part).await };
            match result {
                Ok(()) => {
                    let mixed = part.is_mixed();
                    let concluded;
                    (part, concluded) = conclude(part).await?;
                    match concluded {
                        Ok(()) => return Ok((part, None)),
                        // The wrong bytes may be another mirror's: once more, with bytes of this one only.
                        Err(Untaken::Mirror(_)) if mixed => continue,
                        Err(Untaken::Mirror(fault)) => return Ok((part, failed(fault))),
                        Err(Untaken::Local(error)) => return Err(error),
                    }
                }
                Err(Stop::Local(error)) => return Err(error),
                Err(Stop::Refused(fault)) => return Ok((part, failed(fault))),
                Err(Stop::Broken(broken)) => {
                    if part.len() >= before + PROGRESS_BYTES {
                        attempts = 0;
                    }
                    attempts += 1;
                    tracing::debug!(url = public(&url), ?broken, attempts, bytes = part.len(), "transfer broke");
                    if attempts >= self.limits.attempts {
                        let fault = self.fault(broken, attempts, part.len());
                        return Ok((part, failed(fault)));
                    }
                    tokio::time::sleep(self.pause(attempts)).await;
                }
            }
        }
    }

    async fn attempt(&self, url: &Url, part: &mut Part) -> Result<(), Stop> {
        transfer(&self.client, &self.limits, url, part).await
    }

    fn pause(&self, attempts: u32) -> Duration {
        self.limits.pause.saturating_mul(1 << (attempts - 1).min(16)).min(MAX_PAUSE)
    }

    fn fault(&self, broken: Broken, attempts: u32, received_bytes: u64) -> MirrorFault {
        match broken {
            Broken::Connection(source) => MirrorFault::Connection { attempts, source: source.without_url() },
            Broken::Status(status) => MirrorFault::Status { status: status.as_u16() },
            Broken::Ended => MirrorFault::Ended { attempts, received_bytes },
            Broken::Stalled => MirrorFault::Stalled {
                attempts,
                min_bytes: self.limits.stall_bytes,
                window_s: self.limits.stall_window.as_secs(),
            },
        }
    }
}

/// Checks and keeps what came, off the async threads.
async fn conclude(mut part: Part) -> Result<(Part, Result<(), Untaken>), ArtifactError> {
    let done = tokio::task::spawn_blocking(move || {
        let result = part.conclude();
        (part, result)
    });
    Ok(done.await?)
}

fn artifact_url(mirror: &str, item: &Item) -> Result<Url, MirrorFault> {
    let mut url = Url::parse(mirror).map_err(|e| MirrorFault::Url(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(MirrorFault::Url(format!("its scheme is `{}`, not http or https", url.scheme())));
    }
    let mut path = url.path_segments_mut().map_err(|()| MirrorFault::Url("it has no path".to_owned()))?;
    path.pop_if_empty().extend([item.kind.as_str(), &item.root.to_string()]);
    drop(path);
    Ok(url)
}

/// What is no URL, for a message: it may come from the chain, so it may be long or hold control characters.
fn quoted(text: &str) -> String {
    format!("`{}`", text.chars().take(200).collect::<String>().escape_debug())
}

/// The URL without what may be secret in it: user name, password and query.
fn public(url: &Url) -> String {
    let mut url = url.clone();
    // These cannot fail for a URL with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}
