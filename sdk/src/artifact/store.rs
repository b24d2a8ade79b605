//! Artifacts on disk.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lockstep_commit::{B256, ProgramTree, roots::root_of_tensors};
use lockstep_ir::abi::{DecodeError, MAX_ENCODED_BYTES};
use lockstep_ir::program::{Program, TensorDecl};
use lockstep_ir::tensor::Tensor;

use super::error::ArtifactError;
use super::item::{Check, Item, Kind, Unrooted};

/// Half-written files live here, out of sight of the server and on the same file system.
const UNFINISHED: &str = "unfinished";
/// What nobody has written to for so long is left over from a crash.
const LEFTOVER_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A folder of artifacts. Cheap to clone; several processes may use the same folder.
///
/// All calls block on the disk: call them in `spawn_blocking` where that matters.
#[derive(Clone, Debug)]
pub struct Store {
    dir: Arc<Path>,
}

impl Store {
    /// Opens the store in `dir`, or makes one there. Removes what crashed transfers left behind more than a week ago.
    ///
    /// # Errors
    /// `Disk`.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ArtifactError> {
        let store = Self { dir: dir.as_ref().into() };
        for folder in Kind::ALL.map(Kind::as_str).into_iter().chain([UNFINISHED]) {
            let path = store.dir.join(folder);
            fs::create_dir_all(&path).map_err(|e| disk("create the folder", &path, e))?;
        }
        store.remove_leftovers();
        Ok(store)
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where an artifact lies, or would.
    #[must_use]
    pub fn path(&self, kind: Kind, root: B256) -> PathBuf {
        self.dir.join(kind.as_str()).join(root.to_string())
    }

    /// Whether an artifact is there. What is there was right when it was written; reading checks it again.
    #[must_use]
    pub fn has(&self, kind: Kind, root: B256) -> bool {
        self.path(kind, root).is_file()
    }

    /// Keeps a program; returns its root. Nothing happens if it is there already.
    ///
    /// # Errors
    /// `Unreadable`, `Disk`.
    pub fn put_program(&self, program: &Program) -> Result<B256, ArtifactError> {
        let bytes = program.encode();
        if bytes.len() > MAX_ENCODED_BYTES {
            return Err(ArtifactError::Unreadable(DecodeError::TooLong(bytes.len())));
        }
        let root = ProgramTree::new(program).root();
        self.put(Kind::Program, root, &[&bytes])?;
        Ok(root)
    }

    /// Keeps a state; returns its root. Nothing happens if it is there already.
    ///
    /// # Errors
    /// `Disk`.
    pub fn put_state(&self, tensors: &[Tensor]) -> Result<B256, ArtifactError> {
        self.put_tensors(Kind::State, tensors)
    }

    /// Keeps the data of a job; returns its root. Nothing happens if it is there already.
    ///
    /// # Errors
    /// `Disk`.
    pub fn put_data(&self, tensors: &[Tensor]) -> Result<B256, ArtifactError> {
        self.put_tensors(Kind::Data, tensors)
    }

    /// Reads a program and checks its root.
    ///
    /// # Errors
    /// `Missing`, `Corrupt`, `Disk`.
    pub fn program(&self, root: B256) -> Result<Program, ArtifactError> {
        let item = Item::program(root);
        let mut file = self.open_item(&item)?;
        let path = self.path(item.kind, root);
        let mut bytes = vec![];
        file.read_to_end(&mut bytes).map_err(|e| disk("read", &path, e))?;
        let program = Program::decode(&bytes).map_err(|e| self.corrupt(&item, e.to_string()))?;
        self.expect_root(&item, ProgramTree::new(&program).root())?;
        Ok(program)
    }

    /// Reads the tensors of a state or of data, of the given types and shapes, and checks their root.
    ///
    /// # Errors
    /// `Missing`, `Corrupt`, `Disk`, `NotTensors`, `Declaration`.
    pub fn tensors(&self, kind: Kind, root: B256, decls: &[TensorDecl]) -> Result<Vec<Tensor>, ArtifactError> {
        let item = Item::tensors(kind, root, decls)?;
        // The length is right once this is past, so that no more is allocated below than lies on the disk.
        let mut file = self.open_item(&item)?;
        let path = self.path(kind, root);
        let mut tensors = Vec::with_capacity(decls.len());
        for decl in item.decls() {
            let refused = |source| ArtifactError::Declaration { kind, root, source };
            let mut bytes = vec![0; lockstep_commit::tensor::byte_count(decl).map_err(refused)? as usize];
            file.read_exact(&mut bytes).map_err(|e| disk("read", &path, e))?;
            tensors.push(Tensor::from_bytes(decl.clone(), bytes).map_err(|e| self.corrupt(&item, e.to_string()))?);
        }
        self.expect_root(&item, root_of_tensors(&tensors))?;
        Ok(tensors)
    }

    /// Removes an artifact, if it is there.
    ///
    /// # Errors
    /// `Disk`.
    pub fn remove(&self, kind: Kind, root: B256) -> Result<(), ArtifactError> {
        let path = self.path(kind, root);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(disk("remove", &path, e)),
            _ => Ok(()),
        }
    }

    fn put_tensors(&self, kind: Kind, tensors: &[Tensor]) -> Result<B256, ArtifactError> {
        let root = root_of_tensors(tensors);
        let bytes: Vec<&[u8]> = tensors.iter().map(Tensor::bytes).collect();
        self.put(kind, root, &bytes)?;
        Ok(root)
    }

    /// Writes `pieces` under their name, all or nothing. A file with that name is trusted only if it holds the same bytes.
    fn put(&self, kind: Kind, root: B256, pieces: &[&[u8]]) -> Result<(), ArtifactError> {
        let path = self.path(kind, root);
        if holds(&path, pieces) {
            return Ok(());
        }
        let unfinished = self.dir.join(UNFINISHED);
        let mut builder = tempfile::Builder::new();
        builder.prefix("put-");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let mut file = builder.tempfile_in(&unfinished).map_err(|e| disk("create a file in", &unfinished, e))?;
        for piece in pieces {
            file.write_all(piece).map_err(|e| disk("write", file.path(), e))?;
        }
        file.as_file().sync_all().map_err(|e| disk("write", file.path(), e))?;
        file.persist(&path).map_err(|e| disk("move a file to", &path, e.error))?;
        sync_dir_of(&path)
    }

    /// Where the bytes of an artifact collect while it is fetched.
    pub(super) fn part_path(&self, item: &Item) -> PathBuf {
        self.dir.join(UNFINISHED).join(format!("{}-{}.part", item.kind, item.root))
    }

    /// Takes a file whose root is right into the store.
    pub(super) fn adopt(&self, part: &Path, item: &Item) -> Result<(), ArtifactError> {
        let path = self.path(item.kind, item.root);
        fs::rename(part, &path).map_err(|e| disk("move a file to", &path, e))?;
        sync_dir_of(&path)
    }

    /// Opens the file of an artifact after a look at its length.
    fn open_item(&self, item: &Item) -> Result<File, ArtifactError> {
        let path = self.path(item.kind, item.root);
        let file = File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                ArtifactError::Missing { kind: item.kind, root: item.root, dir: self.dir.to_path_buf() }
            }
            _ => disk("open", &path, e),
        })?;
        let bytes = file.metadata().map_err(|e| disk("look at", &path, e))?.len();
        let right = item.exact_bytes().map_or(bytes <= item.max_bytes(), |exact| bytes == exact);
        if right {
            Ok(file)
        } else {
            Err(self.corrupt(item, format!("it has {bytes} bytes, not {}", item.max_bytes())))
        }
    }

    fn expect_root(&self, item: &Item, got: B256) -> Result<(), ArtifactError> {
        if got == item.root { Ok(()) } else { Err(self.corrupt(item, format!("its root is {got}"))) }
    }

    fn corrupt(&self, item: &Item, reason: String) -> ArtifactError {
        let (kind, root) = (item.kind, item.root);
        ArtifactError::Corrupt { kind, root, path: self.path(kind, root), reason }
    }

    /// Best effort: what cannot be removed now is removed another time.
    fn remove_leftovers(&self) {
        let Ok(entries) = fs::read_dir(self.dir.join(UNFINISHED)) else { return };
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            if age.is_some_and(|age| age > LEFTOVER_AGE) && fs::remove_file(entry.path()).is_ok() {
                tracing::info!(path = %entry.path().display(), "removed what a transfer left behind");
            }
        }
    }

    /// Checks the file of an artifact without keeping it in memory.
    pub(super) fn check(&self, item: &Item) -> Result<(), ArtifactError> {
        let mut file = self.open_item(item)?;
        let mut check = Check::new(item);
        let path = self.path(item.kind, item.root);
        let root = feed(&mut file, &mut check).map_err(|e| disk("read", &path, e))?.and_then(|()| check.finish());
        match root {
            Ok(root) => self.expect_root(item, root),
            Err(Unrooted::ByteCount(e)) => Err(self.corrupt(item, e.to_string())),
            Err(Unrooted::Program(e)) => Err(self.corrupt(item, e.to_string())),
        }
    }
}

/// Reads a file from where it stands to its end into a check.
pub(super) fn feed(file: &mut File, check: &mut Check) -> io::Result<Result<(), Unrooted>> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Ok(())),
            len => {
                if let Err(e) = check.push(&buffer[..len]) {
                    return Ok(Err(e));
                }
            }
        }
    }
}

/// Whether the file has exactly these bytes; false if it cannot be read, for it is then written anew.
fn holds(path: &Path, pieces: &[&[u8]]) -> bool {
    let same = || -> io::Result<bool> {
        let mut file = File::open(path)?;
        let expected: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if file.metadata()?.len() != expected {
            return Ok(false);
        }
        let mut buffer = vec![0; 1 << 20];
        for part in pieces.iter().flat_map(|piece| piece.chunks(1 << 20)) {
            let read = &mut buffer[..part.len()];
            file.read_exact(read)?;
            if read != part {
                return Ok(false);
            }
        }
        Ok(true)
    };
    same().unwrap_or(false)
}

/// Makes a rename last: the folder's entry has to reach the disk too.
fn sync_dir_of(path: &Path) -> Result<(), ArtifactError> {
    let Some(dir) = path.parent() else { return Ok(()) };
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| disk("write the folder", dir, e))
}

pub(super) fn disk(action: &'static str, path: &Path, source: io::Error) -> ArtifactError {
    ArtifactError::Disk { action, path: path.to_path_buf(), source }
}
