//! `lockstep wallet`: keys are encrypted on disk, never printed, never overwritten.

use std::path::PathBuf;

use lockstep_sdk::wallet::Wallet;

use crate::{failure::Failure, output::Output, party::password};

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Makes a new key in an encrypted file.
    New(FileArgs),
    /// Shows the address of a key.
    Show(FileArgs),
    /// Copies the encrypted file; never overwrites.
    Backup {
        #[command(flatten)]
        file: FileArgs,
        /// Where to.
        to: PathBuf,
    },
}

#[derive(clap::Args, Debug)]
pub(crate) struct FileArgs {
    /// Keystore file.
    path: PathBuf,
    /// File that holds the password; without it, LOCKSTEP_PASSWORD.
    #[arg(long)]
    password_file: Option<PathBuf>,
}

pub(crate) fn run(command: Command, output: &Output) -> Result<(), Failure> {
    let (wallet, path, done) = match &command {
        Command::New(f) => (Wallet::create(&f.path, &password(f.password_file.as_ref())?)?, &f.path, "made"),
        Command::Show(f) => (Wallet::open(&f.path, &password(f.password_file.as_ref())?)?, &f.path, "opened"),
        Command::Backup { file: f, to } => {
            let wallet = Wallet::open(&f.path, &password(f.password_file.as_ref())?)?;
            wallet.backup(to)?;
            (wallet, to, "copied")
        }
    };
    let address = wallet.address();
    output.result(
        format!("{address} {done}: {}", path.display()),
        &serde_json::json!({ "what": done, "address": address, "path": path }),
    );
    Ok(())
}
