//! What every command that talks to the chain needs: node, deployment, key.

use std::path::PathBuf;

use lockstep_sdk::{client::Client, deploy::Deployment, wallet::Wallet};

use crate::failure::Failure;

/// Environment variable that a keystore's password is read from.
const PASSWORD: &str = "LOCKSTEP_PASSWORD";

/// Which chain.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ChainArgs {
    /// JSON-RPC endpoint of a node.
    #[arg(long, env = "LOCKSTEP_RPC", default_value = "http://127.0.0.1:8545")]
    pub(crate) rpc: String,
    /// File with the contracts' addresses, as `lockstep node` writes it.
    #[arg(long, env = "LOCKSTEP_DEPLOYMENT", default_value = "deployment.json")]
    pub(crate) deployment: PathBuf,
}

/// Which key signs.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct KeyArgs {
    /// Encrypted keystore file; the password comes from LOCKSTEP_PASSWORD or `--password-file`.
    #[arg(long, env = "LOCKSTEP_KEYSTORE", conflicts_with = "dev_account")]
    pub(crate) keystore: Option<PathBuf>,
    /// File that holds the keystore's password.
    #[arg(long, requires = "keystore")]
    pub(crate) password_file: Option<PathBuf>,
    /// Account 0 to 9 of the public development mnemonic. Worth nothing anywhere else.
    #[arg(long)]
    pub(crate) dev_account: Option<u32>,
}

/// The password of a keystore: from a file without its last line break, or from the environment.
pub(crate) fn password(file: Option<&PathBuf>) -> Result<String, Failure> {
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    let missing = || Failure::new(format!("no password: set {PASSWORD}, or give --password-file"));
    std::env::var(PASSWORD).map_err(|_| missing())
}

impl KeyArgs {
    pub(crate) fn wallet(&self) -> Result<Wallet, Failure> {
        match (&self.keystore, self.dev_account) {
            (Some(path), _) => Ok(Wallet::open(path, &password(self.password_file.as_ref())?)?),
            (None, Some(index)) => Ok(Wallet::dev(index)?),
            (None, None) => Err(Failure::new(
                "no key: give --keystore FILE (make one with `lockstep wallet new FILE`), or --dev-account N on a development chain",
            )),
        }
    }
}

impl ChainArgs {
    /// A client that signs, or one that only looks.
    pub(crate) async fn client(&self, key: Option<&KeyArgs>) -> Result<Client, Failure> {
        let deployment = Deployment::read(&self.deployment)?;
        let wallet = key.map(KeyArgs::wallet).transpose()?;
        Ok(Client::connect(&self.rpc, deployment, wallet).await?)
    }
}
