//! Wallets: development accounts, keystore files, backups.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use alloy::primitives::{B256, address};
use alloy::signers::SignerSync;
use lockstep_sdk::wallet::{Wallet, WalletError};

const PASSWORD: &str = "correct horse";

#[test]
fn development_accounts_are_the_usual_ones() {
    assert_eq!(Wallet::dev(0).unwrap().address(), address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
    assert_eq!(Wallet::dev(9).unwrap().address(), address!("a0Ee7A142d267C1f36714E4a8F75612F20a79720"));
    assert!(matches!(Wallet::dev(10), Err(WalletError::NoSuchDevAccount(10))));
    let dir = tempfile::tempdir().unwrap();
    let backup = Wallet::dev(1).unwrap().backup(dir.path().join("backup"));
    assert!(matches!(backup, Err(WalletError::NothingToBackUp(_))));
}

#[test]
fn created_wallet_opens_with_its_password_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.json");
    let created = Wallet::create(&path, PASSWORD).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let opened = Wallet::open(&path, PASSWORD).unwrap();
    assert_eq!(opened.address(), created.address());
    let hash = B256::repeat_byte(7);
    let signature = opened.signer().sign_hash_sync(&hash).unwrap();
    assert_eq!(signature.recover_address_from_prehash(&hash).unwrap(), created.address());

    assert!(matches!(Wallet::open(&path, "wrong"), Err(WalletError::WrongPassword(at)) if at == path));
    assert!(matches!(Wallet::open(dir.path().join("none"), PASSWORD), Err(WalletError::File { .. })));
    // Nothing else is left in the folder.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.json");
    fs::write(&path, "precious").unwrap();
    assert!(matches!(Wallet::create(&path, PASSWORD), Err(WalletError::Exists(_))));
    let other = Wallet::create(dir.path().join("other.json"), PASSWORD).unwrap();
    assert!(matches!(other.backup(&path), Err(WalletError::Exists(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    // Not even where a link leads nowhere yet.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("target"), &link).unwrap();
    assert!(matches!(Wallet::create(&link, PASSWORD), Err(WalletError::Exists(_))));
    assert!(matches!(other.backup(&link), Err(WalletError::Exists(_))));
    assert!(!dir.path().join("target").exists());
}

#[test]
fn backup_opens_and_outlives_the_original() {
    let dir = tempfile::tempdir().unwrap();
    let (path, backup) = (dir.path().join("wallet.json"), dir.path().join("backup.json"));
    let created = Wallet::create(&path, PASSWORD).unwrap();
    let opened = Wallet::open(&path, PASSWORD).unwrap();
    fs::remove_file(&path).unwrap();
    opened.backup(&backup).unwrap();
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Wallet::open(&backup, PASSWORD).unwrap().address(), created.address());
}

#[test]
fn keys_do_not_show() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.json");
    let wallet = Wallet::create(&path, PASSWORD).unwrap();
    let key = alloy::primitives::hex::encode(wallet.signer().to_bytes());
    let shown = format!("{wallet:?} {wallet:#?} {:?}", wallet.signer());
    assert!(shown.contains(&format!("{:?}", wallet.address())), "{shown}");
    let file = fs::read_to_string(&path).unwrap();
    for text in [shown, file, format!("{:?}", Wallet::open(&path, "wrong").unwrap_err())] {
        assert!(!text.to_lowercase().contains(&key), "{text}");
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

#[test]
fn passwords_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.json");
    assert!(matches!(Wallet::create(&path, ""), Err(WalletError::EmptyPassword)));
    assert!(!path.exists());
}

/// A test vector of the keystore format's definition (version 3, PBKDF2), which names no address.
const PBKDF2_KEYSTORE: &str = r#"{
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": { "iv": "6087dab2f9fdbbfaddc31a909735c1e6" },
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144,
            "dklen": 32,
            "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3
}"#;

#[test]
fn keystores_of_other_wallets_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.json");
    fs::write(&path, PBKDF2_KEYSTORE).unwrap();
    let wallet = Wallet::open(&path, "testpassword").unwrap();
    let key = alloy::primitives::hex::encode(wallet.signer().to_bytes());
    assert_eq!(key, "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d");
}

#[test]
fn hostile_files_are_refused_before_decryption() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.json");
    let written = dir.path().join("written.json");
    Wallet::create(&written, PASSWORD).unwrap();
    let scrypt = fs::read_to_string(&written).unwrap();
    assert!(scrypt.contains("\"n\":8192"), "{scrypt}");
    let changes = [
        (PBKDF2_KEYSTORE, "\"dklen\": 32", "\"dklen\": 8"),
        (PBKDF2_KEYSTORE, "6087dab2", ""),
        (PBKDF2_KEYSTORE, "262144", "4000000000"),
        (PBKDF2_KEYSTORE, "hmac-sha256", "md5"),
        (PBKDF2_KEYSTORE, "\"version\": 3", "\"version\": 1"),
        (PBKDF2_KEYSTORE, "5318b4d5", "zz"),
        (PBKDF2_KEYSTORE, "{", "["),
        (&scrypt, "\"n\":8192", "\"n\":1073741824"),
        (&scrypt, "\"n\":8192", "\"n\":0"),
        (&scrypt, "\"n\":8192", "\"n\":8191"),
        (&scrypt, "\"kdf\":\"scrypt\"", "\"kdf\":\"none\""),
    ];
    for (file, from, to) in changes {
        fs::write(&path, file.replacen(from, to, 1)).unwrap();
        let refused = Wallet::open(&path, PASSWORD).unwrap_err();
        assert!(matches!(refused, WalletError::NotAKeystore { .. }), "{from} → {to}: {refused}");
    }
    fs::write(&path, vec![b' '; 1 << 20]).unwrap();
    assert!(matches!(Wallet::open(&path, PASSWORD), Err(WalletError::NotAKeystore { .. })));
}

#[test]
fn keystore_of_another_account_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.json");
    let wallet = Wallet::create(&path, PASSWORD).unwrap();
    let (own, other) = (wallet.address(), Wallet::dev(0).unwrap().address());
    let file = fs::read_to_string(&path).unwrap();
    fs::write(&path, file.replace(&alloy::primitives::hex::encode(own), &alloy::hex::encode(other))).unwrap();
    let refused = Wallet::open(&path, PASSWORD).unwrap_err();
    assert!(refused.to_string().contains(&own.to_string()), "{refused}");
}
