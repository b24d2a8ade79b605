//! Small files that a crash leaves whole: the old content or the new.

use std::{io::Write, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use crate::error::L1Error;

/// An error about a file.
pub(crate) fn failed(path: &Path) -> impl Fn(String) -> L1Error {
    let path = path.to_path_buf();
    move |cause| L1Error::Journal { path: path.clone(), cause }
}

/// What a file holds; `None` if there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, L1Error> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(path)(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error.to_string())),
    }
}

/// Replaces what a file holds.
pub(crate) fn write<T: Serialize>(path: &Path, content: &T) -> Result<(), L1Error> {
    let failed = failed(path);
    let new = path.with_extension("new");
    let bytes = serde_json::to_vec(content).map_err(|error| failed(error.to_string()))?;
    let written = std::fs::File::create(&new).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&new, path)).map_err(|error| failed(error.to_string()))
}
