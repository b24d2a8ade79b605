//! The contracts' build: Foundry in, checked-in artifacts out, so that `cargo build` needs no Node.
//!
//! ```text
//! contracts/src, ir/sol ──forge──► contracts/out ──this──► contracts/artifacts/<Name>.json, manifest.json
//! ```

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::mutate;

/// What is checked in: contract, directory of its source under `contracts/`, whether it is deployed (and so bound in size).
const ARTIFACTS: &[(&str, &str, bool)] = &[
    ("Referee", "src", true),
    ("Disputes", "src", true),
    ("JobMarket", "src", true),
    ("Docket", "src", true),
    ("Stakes", "src", true),
    ("Parameters", "src", true),
    ("Timelock", "src", true),
    ("VerifierDraw", "src", true),
    ("Deliveries", "src", true),
    ("DevL1Block", "src", true),
    ("DevToken", "src", true),
    ("Float32Harness", "test/harness", false),
    ("ScalarVmHarness", "test/harness", false),
];

/// Largest contract that may be deployed (EIP-170), in bytes.
const MAX_CONTRACT_BYTES: usize = 24_576;

/// Files besides the sources that decide the bytecode.
const SETTINGS: &[&str] = &["contracts/foundry.toml", "contracts/package-lock.json", "contracts/tools/solc"];

/// `cargo xtask contracts [build | test | check | mutate]`; `build` is the default. More words after `test` go to `forge test`; after
/// `mutate` they choose mutations by their names.
///
/// # Errors
/// In words: which tool or file failed, and what to do.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let root = workspace_root();
    match args.first().map(String::as_str) {
        None | Some("build") => build(&root),
        Some("test") => {
            install_tools(&root)?;
            forge(&root, &["test"], &args[1..])
        }
        Some("check") => check(&root),
        Some("mutate") => {
            install_tools(&root)?;
            mutate::run(&args[1..])
        }
        Some(other) => Err(format!("unknown command `contracts {other}`; there are build, test, check and mutate")),
    }
}

/// The directory of the workspace's `Cargo.toml`.
#[must_use]
pub(crate) fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// SHA-256 of every source file and setting that decides the bytecode, by path from the workspace root.
///
/// # Errors
/// A file or directory that cannot be read.
pub(crate) fn source_hashes(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut paths: Vec<PathBuf> = SETTINGS.iter().map(|path| root.join(path)).collect();
    for directory in ["contracts/src", "contracts/test/harness", "ir/sol"] {
        solidity_files(&root.join(directory), &mut paths)?;
    }
    let mut hashes = BTreeMap::new();
    for path in paths {
        let bytes = fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        hashes.insert(name, format!("{:x}", Sha256::digest(&bytes)));
    }
    Ok(hashes)
}

fn solidity_files(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(directory).map_err(|error| format!("cannot list {}: {error}", directory.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| format!("cannot list {}: {error}", directory.display()))?.path();
        if path.is_dir() {
            solidity_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "sol") {
            found.push(path);
        }
    }
    Ok(())
}

fn build(root: &Path) -> Result<(), String> {
    let directory = root.join("contracts/artifacts");
    fs::create_dir_all(&directory).map_err(|error| format!("cannot create {}: {error}", directory.display()))?;
    for (name, text) in compile(root)? {
        let path = directory.join(&name);
        fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        println!("wrote contracts/artifacts/{name}");
    }
    Ok(())
}

fn check(root: &Path) -> Result<(), String> {
    for (name, text) in compile(root)? {
        let path = root.join("contracts/artifacts").join(&name);
        let kept = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        if kept != text {
            return Err(format!("contracts/artifacts/{name} differs from a fresh build: run `cargo xtask contracts`"));
        }
    }
    println!("artifacts are what the sources give");
    Ok(())
}

/// The text of every file in `contracts/artifacts`, from a fresh build.
fn compile(root: &Path) -> Result<BTreeMap<String, String>, String> {
    install_tools(root)?;
    // hashes first: a source that changes while we build must show as a difference
    let sources = source_hashes(root)?;
    forge(root, &["build", "--quiet"], &[])?;
    let mut files = BTreeMap::new();
    let mut settings = Value::Null;
    for (name, directory, deployed) in ARTIFACTS {
        let built = read_json(&root.join(format!("contracts/out/{name}.sol/{name}.json")))?;
        let code = |field: &str| {
            built[field]["object"].as_str().filter(|hex| hex.len() > 2 && !hex.contains('_')).map(str::to_owned).ok_or_else(
                || format!("{directory}/{name}.sol: `{field}` is missing or not linked in contracts/out; delete it and run again"),
            )
        };
        let (bytecode, runtime) = (code("bytecode")?, code("deployedBytecode")?);
        let bytes = (runtime.len() - 2) / 2;
        if *deployed && bytes > MAX_CONTRACT_BYTES {
            return Err(format!(
                "{name} has {bytes} bytes of code, more than the {MAX_CONTRACT_BYTES} that can be deployed"
            ));
        }
        let metadata = &built["metadata"];
        let wanted = &metadata["settings"];
        settings = json!({
            "solc": metadata["compiler"]["version"],
            "evmVersion": wanted["evmVersion"],
            "optimizer": wanted["optimizer"],
            "viaIR": wanted["viaIR"].as_bool().unwrap_or(false),
        });
        let artifact = json!({ "abi": built["abi"], "bytecode": bytecode, "deployedBytecode": runtime });
        files.insert(format!("{name}.json"), pretty(&artifact)?);
    }
    files.insert("manifest.json".to_owned(), pretty(&json!({ "settings": settings, "sources": sources }))?);
    Ok(files)
}

fn pretty(value: &Value) -> Result<String, String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| format!("cannot write JSON: {error}"))
}

/// A file of JSON.
///
/// # Errors
/// It is not there or holds something else.
pub(crate) fn read_json(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is not JSON: {error}", path.display()))
}

/// The program anvil, installed if it was not there.
///
/// # Errors
/// As [`tools`].
pub(crate) fn anvil() -> Result<PathBuf, String> {
    Ok(tools()?.join("anvil"))
}

/// A directory with the programs anvil and cast, installed if they were not there. Not the wrappers that npm puts on the path: a
/// wrapper that is killed leaves its program running.
///
/// # Errors
/// npm is missing or failed, or has no such program for this system.
pub(crate) fn tools() -> Result<PathBuf, String> {
    let root = workspace_root();
    install_tools(&root)?;
    let packages = root.join("contracts/node_modules/@foundry-rs");
    let folder = root.join("target/foundry");
    fs::create_dir_all(&folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    for name in ["anvil", "cast"] {
        let entries =
            fs::read_dir(&packages).map_err(|error| format!("cannot list {}: {error}", packages.display()))?;
        let prefix = format!("{name}-");
        let found = entries.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
        let program =
            found.ok_or_else(|| format!("npm installed no {name} for this system"))?.path().join("bin").join(name);
        let link = folder.join(name);
        // A link of an earlier installation may lead nowhere.
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&program, &link)
            .map_err(|error| format!("cannot link {}: {error}", link.display()))?;
    }
    Ok(folder)
}

/// Installs what the lockfile of a folder pins, unless `program` is there. No script of a package runs.
///
/// # Errors
/// npm is missing or failed.
pub(crate) fn install(folder: &Path, program: &str) -> Result<(), String> {
    if folder.join("node_modules").join(program).exists() {
        return Ok(());
    }
    // Not `npm ci`: it refuses a lockfile that lacks the programs of other systems.
    let words = ["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"];
    execute(Command::new("npm").args(words).current_dir(folder))
}

/// Installs the Solidity tools.
fn install_tools(root: &Path) -> Result<(), String> {
    install(&root.join("contracts"), ".bin/forge")
}

fn forge(root: &Path, fixed: &[&str], more: &[String]) -> Result<(), String> {
    let contracts = root.join("contracts");
    let forge = contracts.join("node_modules/.bin/forge");
    execute(Command::new(forge).args(fixed).args(more).current_dir(&contracts))
}

fn execute(command: &mut Command) -> Result<(), String> {
    let status =
        command.status().map_err(|error| format!("cannot start {command:?}: {error} (Node 20 or newer is needed)"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checked_in_artifacts_belong_to_the_sources() {
        let root = workspace_root();
        let manifest = read_json(&root.join("contracts/artifacts/manifest.json")).unwrap();
        let kept: BTreeMap<String, String> = serde_json::from_value(manifest["sources"].clone()).unwrap();
        let now = source_hashes(&root).unwrap();
        assert_eq!(kept, now, "sources changed since the artifacts were built: run `cargo xtask contracts`");
    }

    #[test]
    fn every_artifact_is_there_with_code_and_abi() {
        for (name, _, deployed) in ARTIFACTS {
            let path = workspace_root().join(format!("contracts/artifacts/{name}.json"));
            let artifact = read_json(&path).unwrap();
            assert!(artifact["abi"].as_array().is_some_and(|abi| !abi.is_empty()), "{name} has no ABI");
            let runtime = artifact["deployedBytecode"].as_str().unwrap();
            assert!(runtime.starts_with("0x") && runtime.len() > 100, "{name} has no code");
            assert!(!deployed || (runtime.len() - 2) / 2 <= MAX_CONTRACT_BYTES, "{name} is too large to deploy");
        }
    }

    #[test]
    fn unknown_commands_are_refused() {
        assert!(run(&["deploy".to_owned()]).unwrap_err().contains("build, test, check and mutate"));
    }
}
