//! Who signs: an encrypted keystore file, or one of the well-known accounts of development chains.
//!
//! A key is made in memory, encrypted under a password, and only then written; it never appears in a log, an error or
//! a config. Keystores are of version 3, which other wallets read too.
//!
//! ```
//! use lockstep_sdk::wallet::Wallet;
//!
//! let dir = tempfile::tempdir()?;
//! let created = Wallet::create(dir.path().join("solver.json"), "a long password")?;
//! created.backup(dir.path().join("solver-backup.json"))?;
//! let opened = Wallet::open(dir.path().join("solver-backup.json"), "a long password")?;
//! assert_eq!(opened.address(), created.address());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use alloy::primitives::{Address, hex};
use alloy::signers::k256::elliptic_curve::rand_core::OsRng;
use alloy::signers::local::{LocalSignerError, MnemonicBuilder, PrivateKeySigner, coins_bip39::English};
use serde_json::Value;

/// The mnemonic that every development chain gives money to. Everyone knows its keys.
pub const DEV_MNEMONIC: &str = "test test test test test test test test test test test junk";
/// Accounts of [`DEV_MNEMONIC`] that development chains give money to.
pub const DEV_ACCOUNTS: u32 = 10;
/// A keystore is under 1 KiB; what is longer is another file.
const MAX_KEYSTORE_BYTES: u64 = 16 << 10;
/// Most memory that deriving the key may take, in bytes: 128 × n × r of scrypt.
const MAX_KDF_BYTES: u64 = 1 << 30;
/// Most rounds of PBKDF2.
const MAX_KDF_ROUNDS: u64 = 50_000_000;

/// Why a wallet could not be made, opened or saved. None goes away by trying again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// There is a file already, and wallets are never overwritten. Choose another path.
    #[error("{} exists and is not overwritten; choose another path", .0.display())]
    Exists(PathBuf),
    /// The file cannot be read or written. Check the path and the rights.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A new wallet needs a password. Give one.
    #[error("the password is empty; a wallet needs one")]
    EmptyPassword,
    /// The password does not decrypt the file. Give the right one.
    #[error("the password does not open {}", .0.display())]
    WrongPassword(PathBuf),
    /// The file is no keystore of version 3, or damaged. Give another file, or restore a backup.
    #[error("{} is not a keystore of version 3: {reason}; give another file or restore a backup", path.display())]
    NotAKeystore {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Development accounts have the numbers 0 to 9. Choose one of them.
    #[error("there is no development account {0}; they are numbered 0 to 9")]
    NoSuchDevAccount(u32),
    /// A development account has no keystore to back up: its mnemonic is public.
    #[error("{0} is a development account; it has no keystore to back up")]
    NothingToBackUp(Address),
    /// Making or encrypting a key failed. Give up: report it.
    #[error("cannot make a key: {0}")]
    Key(#[source] LocalSignerError),
}

/// An account that signs.
#[derive(Clone)]
pub struct Wallet {
    signer: PrivateKeySigner,
    /// The encrypted key, as in the file that was opened.
    keystore: Option<Vec<u8>>,
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wallet").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Wallet {
    /// Account `index`, 0 to 9, of development chains. Its key is public: never send it anything of value.
    ///
    /// # Errors
    /// `NoSuchDevAccount`, `Key`.
    pub fn dev(index: u32) -> Result<Self, WalletError> {
        if index >= DEV_ACCOUNTS {
            return Err(WalletError::NoSuchDevAccount(index));
        }
        let signer = MnemonicBuilder::<English>::try_from_phrase_nth(DEV_MNEMONIC, index).map_err(WalletError::Key)?;
        Ok(Self { signer, keystore: None })
    }

    /// Makes a key and writes it, encrypted, to a new file that only its owner may read.
    ///
    /// # Errors
    /// `Exists`, `File`, `EmptyPassword`, `Key`.
    pub fn create(path: impl AsRef<Path>, password: &str) -> Result<Self, WalletError> {
        let path = path.as_ref();
        if password.is_empty() {
            return Err(WalletError::EmptyPassword);
        }
        // Checked again when the file gets its name; here only to save the work.
        if path.symlink_metadata().is_ok() {
            return Err(WalletError::Exists(path.to_path_buf()));
        }
        let signer = PrivateKeySigner::random();
        let keystore = encrypt(&signer, password, path)?;
        write_new(path, &keystore)?;
        Ok(Self { signer, keystore: Some(keystore) })
    }

    /// Opens a keystore file.
    ///
    /// # Errors
    /// `File`, `NotAKeystore`, `WrongPassword`.
    pub fn open(path: impl AsRef<Path>, password: &str) -> Result<Self, WalletError> {
        let path = path.as_ref();
        let keystore = read(path)?;
        let refused = |reason| WalletError::NotAKeystore { path: path.to_path_buf(), reason };
        let named = check(&keystore).map_err(refused)?;
        let signer = decrypt(&keystore, password, path)?;
        match named {
            Some(address) if address != signer.address() => {
                Err(refused(format!("it names {address} but holds the key of {}", signer.address())))
            }
            _ => Ok(Self { signer, keystore: Some(keystore) }),
        }
    }

    /// Writes the keystore, under the same password, to a second, new file.
    ///
    /// # Errors
    /// `Exists`, `File`, `NothingToBackUp`.
    pub fn backup(&self, path_to: impl AsRef<Path>) -> Result<(), WalletError> {
        let keystore = self.keystore.as_ref().ok_or_else(|| WalletError::NothingToBackUp(self.address()))?;
        write_new(path_to.as_ref(), keystore)
    }

    /// The account's address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.signer.address()
    }

    /// What signs. It holds the key; its `Debug` does not show it.
    #[must_use]
    pub fn signer(&self) -> &PrivateKeySigner {
        &self.signer
    }
}

/// The keystore of a key, with its address, which is what other tools show without a password.
fn encrypt(signer: &PrivateKeySigner, password: &str, path: &Path) -> Result<Vec<u8>, WalletError> {
    // The encryption writes to a file: into a folder of its own, which nobody else may enter.
    let failed = |source| file_error("write a temporary file for", path, source);
    let dir = tempfile::tempdir_in(folder(path)?).map_err(failed)?;
    let key = signer.to_field_bytes();
    PrivateKeySigner::encrypt_keystore(dir.path(), &mut OsRng, key, password, Some("key")).map_err(WalletError::Key)?;
    let bytes = fs::read(dir.path().join("key")).map_err(failed)?;
    let not_json = |e| failed(io::Error::other(e));
    let mut keystore: Value = serde_json::from_slice(&bytes).map_err(not_json)?;
    keystore["address"] = hex::encode(signer.address()).into();
    let bytes = serde_json::to_vec(&keystore).map_err(not_json)?;
    // A wallet that cannot be opened again must not get its first coin.
    let opened = decrypt(&bytes, password, path)?;
    if opened.address() == signer.address() { Ok(bytes) } else { Err(WalletError::WrongPassword(path.to_path_buf())) }
}

/// Decrypts exactly these bytes, which are those that were checked and that a backup writes.
fn decrypt(keystore: &[u8], password: &str, path: &Path) -> Result<PrivateKeySigner, WalletError> {
    let failed = |source| file_error("write a temporary file for", path, source);
    let mut copy = tempfile::NamedTempFile::new().map_err(failed)?;
    copy.write_all(keystore).and_then(|()| copy.flush()).map_err(failed)?;
    PrivateKeySigner::decrypt_keystore(copy.path(), password).map_err(|e| {
        // Of what passed the check, only the password can be wrong, or the ciphertext damaged: the MAC tells no more.
        tracing::debug!(path = %path.display(), error = %e, "keystore not decrypted");
        WalletError::WrongPassword(path.to_path_buf())
    })
}

fn read(path: &Path) -> Result<Vec<u8>, WalletError> {
    let failed = |source| file_error("read", path, source);
    let mut bytes = vec![];
    File::open(path).map_err(failed)?.take(MAX_KEYSTORE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_KEYSTORE_BYTES {
        let reason = format!("it is longer than {MAX_KEYSTORE_BYTES} bytes");
        return Err(WalletError::NotAKeystore { path: path.to_path_buf(), reason });
    }
    Ok(bytes)
}

/// Looks at everything that decryption takes on trust: lengths, and how much work the file asks for. Returns the address
/// that the file names, if it does.
fn check(keystore: &[u8]) -> Result<Option<Address>, String> {
    let json: Value = serde_json::from_slice(keystore).map_err(|e| e.to_string())?;
    let crypto = &json["crypto"];
    let kdf = &crypto["kdfparams"];
    let number = |value: &Value, name: &str| value.as_u64().ok_or_else(|| format!("`{name}` is not a number"));
    let length = |value: &Value, name: &str| {
        let bytes = value.as_str().and_then(|text| hex::decode(text).ok());
        bytes.map(|bytes| bytes.len()).ok_or_else(|| format!("`{name}` is not hexadecimal"))
    };
    let expect = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    expect(json["version"] == 3, "`version` is not 3")?;
    expect(crypto["cipher"] == "aes-128-ctr", "`cipher` is not aes-128-ctr")?;
    expect(length(&crypto["cipherparams"]["iv"], "iv")? == 16, "`iv` has not 16 bytes")?;
    expect(length(&crypto["ciphertext"], "ciphertext")? == 32, "`ciphertext` has not 32 bytes")?;
    expect(number(&kdf["dklen"], "dklen")? == 32, "`dklen` is not 32")?;
    match crypto["kdf"].as_str() {
        Some("scrypt") => {
            let (n, r, p) = (number(&kdf["n"], "n")?, number(&kdf["r"], "r")?, number(&kdf["p"], "p")?);
            let memory = n.checked_mul(r).and_then(|nr| nr.checked_mul(128));
            expect(n.is_power_of_two() && n > 1, "`n` is not a power of two")?;
            expect(memory.is_some_and(|bytes| bytes <= MAX_KDF_BYTES), "`n` and `r` ask for too much memory")?;
            expect((1..=16).contains(&p) && r >= 1, "`p` or `r` is out of range")?;
        }
        Some("pbkdf2") => {
            let rounds = number(&kdf["c"], "c")?;
            expect((1..=MAX_KDF_ROUNDS).contains(&rounds), "`c` is out of range")?;
            expect(kdf["prf"] == "hmac-sha256", "`prf` is not hmac-sha256")?;
        }
        _ => return Err("`kdf` is neither scrypt nor pbkdf2".to_owned()),
    }
    match &json["address"] {
        Value::Null => Ok(None),
        address => address.as_str().and_then(|text| text.parse().ok()).map(Some).ok_or("`address` is none".to_owned()),
    }
}

/// Writes a new file, whole or not at all, for its owner's eyes only.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), WalletError> {
    let failed = |source| file_error("write", path, source);
    let dir = folder(path)?;
    let owner_only = fs::Permissions::from_mode(0o600);
    let mut file = tempfile::Builder::new().permissions(owner_only).tempfile_in(dir).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path).map_err(|e| match e.error.kind() {
        io::ErrorKind::AlreadyExists => WalletError::Exists(path.to_path_buf()),
        _ => failed(e.error),
    })?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

/// The folder that a file goes into. One that is not there yet is made, for its owner's eyes only.
fn folder(path: &Path) -> Result<&Path, WalletError> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| file_error("make the folder of", path, source))?;
    Ok(dir)
}

fn file_error(action: &'static str, path: &Path, source: io::Error) -> WalletError {
    WalletError::File { action, path: path.to_path_buf(), source }
}
