//! Settings from files: the node's TOML and the chain's `genesis.json`.

mod genesis;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    config::{NodeConfig, PoolLimits, RpcLimits},
    error::NodeError,
};

/// The file as it is written. What is left out keeps its default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    dev: Option<bool>,
    genesis: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    listen: Option<SocketAddr>,
    metrics_listen: Option<SocketAddr>,
    allowed_hosts: Option<Vec<String>>,
    cors_origins: Option<Vec<String>>,
    block_time_ms: Option<u64>,
    mine_empty: Option<bool>,
    history_blocks: Option<u64>,
    archive: Option<bool>,
    page_cache_bytes: Option<usize>,
    dev_methods: Option<bool>,
    #[serde(default)]
    pool: PoolLimits,
    #[serde(default)]
    rpc: RpcLimits,
}

impl NodeConfig {
    /// Reads a configuration file. `docs/node.example.toml` in the repository says what can be in one.
    ///
    /// # Errors
    /// [`NodeError::Config`] with the file, and the line where there is one: fix it.
    pub fn read(path: &Path) -> Result<Self, NodeError> {
        let wrong = |error: String| NodeError::Config(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::from_toml(&text, folder).map_err(|error| match error {
            NodeError::Config(error) => wrong(error),
            other => other,
        })
    }

    /// Reads the text of a configuration file; relative paths in it start at `folder`.
    ///
    /// # Errors
    /// [`NodeError::Config`]: an unknown or malformed setting, or a genesis file that cannot be used.
    pub fn from_toml(text: &str, folder: &Path) -> Result<Self, NodeError> {
        let file: File = toml::from_str(text).map_err(|error| NodeError::Config(error.to_string()))?;
        let mut config = match file.dev {
            Some(true) => Self::dev()?,
            _ => Self::default(),
        };
        if let Some(path) = file.genesis {
            let path = folder.join(path);
            let text = std::fs::read_to_string(&path)
                .map_err(|error| NodeError::Config(format!("genesis {}: {error}", path.display())))?;
            config.set_genesis(&text)?;
        }
        config.data_dir = file.data_dir.map(|dir| folder.join(dir)).or(config.data_dir);
        config.metrics_listen = file.metrics_listen;
        set(&mut config.listen, file.listen);
        set(&mut config.allowed_hosts, file.allowed_hosts);
        set(&mut config.cors_origins, file.cors_origins);
        set(&mut config.block_time_ms, file.block_time_ms);
        set(&mut config.mine_empty, file.mine_empty);
        set(&mut config.history_blocks, file.history_blocks);
        set(&mut config.archive, file.archive);
        set(&mut config.page_cache_bytes, file.page_cache_bytes);
        set(&mut config.dev_methods, file.dev_methods);
        (config.pool, config.rpc) = (file.pool, file.rpc);
        config.check()?;
        Ok(config)
    }
}

fn set<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../docs/node.example.toml");

    #[test]
    fn the_annotated_example_is_the_default() {
        let example = NodeConfig::from_toml(EXAMPLE, Path::new("/etc/lockstep")).unwrap();
        let empty = NodeConfig::from_toml("dev = true", Path::new(".")).unwrap();
        assert_eq!(example.data_dir.as_deref(), Some(Path::new("/etc/lockstep/node")));
        assert_eq!(example.listen.port(), 8545);
        let example = NodeConfig {
            data_dir: None,
            listen: empty.listen,
            metrics_listen: None,
            allowed_hosts: Vec::new(),
            ..example
        };
        assert_eq!(format!("{example:?}"), format!("{empty:?}"));
    }

    #[test]
    fn unknown_and_impossible_settings_are_named() {
        let error = |text| NodeConfig::from_toml(text, Path::new(".")).unwrap_err().to_string();
        assert!(error("blok_time_ms = 5").contains("blok_time_ms"), "{}", error("blok_time_ms = 5"));
        assert!(error("[pool]\nsize = 5").contains("size"));
        assert!(error("block_time_ms = 5").contains("not within 10"));
        assert!(error("genesis = \"nowhere.json\"").contains("nowhere.json"));
        assert!(error("listen = \"here\"").contains("listen"));
        let error = NodeConfig::read(Path::new("/nowhere/node.toml")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/node.toml"));
    }
}
