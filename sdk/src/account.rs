//! A party's tokens: in its wallet, and with the market as stake and balance.

use alloy::primitives::{Address, U256};
use lockstep_contracts::{DevToken, Stakes};

use crate::{chain::Outcome, client::Client, error::Error};

const STAKES: &str = "Stakes";
const TOKEN: &str = "the payment token";

/// What a party has with the market, in the payment token's smallest unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Free to withdraw: pay, refunds, bonds that came back.
    pub balance_wei: u128,
    /// At stake, all of it.
    pub stake_wei: u128,
    /// Part of the stake that jobs hold.
    pub locked_wei: u128,
    /// Part of the stake on its way out.
    pub unbonding_wei: u128,
    /// When that may leave, in seconds since 1970.
    pub unbonded_at_s: u64,
}

impl Account {
    /// Stake that nothing holds and that is not on its way out.
    #[must_use]
    pub fn free_stake_wei(&self) -> u128 {
        self.stake_wei.saturating_sub(self.locked_wei).saturating_sub(self.unbonding_wei)
    }
}

impl Client {
    /// Balance of the payment token in a wallet.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn balance_wei(&self, of: Address) -> Result<u128, Error> {
        let call = DevToken::balanceOfCall { account: of };
        Ok(self.chain().call(TOKEN, self.deployment().token, call).await?.saturating_to())
    }

    /// What a party has with the market.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn account(&self, of: Address) -> Result<Account, Error> {
        let a = self.chain().call(STAKES, self.deployment().stakes, Stakes::accountCall { who: of }).await?;
        Ok(Account {
            balance_wei: a.balanceWei,
            stake_wei: a.stakeWei,
            locked_wei: a.lockedWei,
            unbonding_wei: a.unbondingWei,
            unbonded_at_s: a.unbondedAtS,
        })
    }

    /// All that a party owns: wallet, balance and stake.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn wealth_wei(&self, of: Address) -> Result<u128, Error> {
        let account = self.account(of).await?;
        let wallet_wei = self.balance_wei(of).await?;
        Ok(wallet_wei.saturating_add(account.balance_wei).saturating_add(account.stake_wei))
    }

    /// Sends payment tokens from the wallet.
    ///
    /// # Errors
    /// No wallet, or too few tokens.
    pub async fn transfer(&self, to: Address, amount_wei: u128) -> Result<Outcome, Error> {
        let call = DevToken::transferCall { to, value: U256::from(amount_wei) };
        self.chain().send(TOKEN, self.deployment().token, call).await
    }

    /// Lets the market draw `amount_wei` from the wallet, after checking that it is there.
    pub(crate) async fn allow(&self, amount_wei: u128, purpose: &'static str) -> Result<(), Error> {
        let holder = self.chain().address()?;
        let have_wei = self.balance_wei(holder).await?;
        if have_wei < amount_wei {
            return Err(Error::Balance { holder, have_wei, need_wei: amount_wei, purpose });
        }
        let call = DevToken::approveCall { spender: self.deployment().stakes, value: U256::from(amount_wei) };
        self.chain().send(TOKEN, self.deployment().token, call).await.map(|_| ())
    }

    /// Adds to the stake.
    ///
    /// # Errors
    /// The wallet does not cover it.
    pub async fn deposit(&self, amount_wei: u128, purpose: &'static str) -> Result<Outcome, Error> {
        self.allow(amount_wei, purpose).await?;
        let call = Stakes::depositCall { amountWei: amount_wei };
        self.chain().send(STAKES, self.deployment().stakes, call).await
    }

    /// Adds what is missing for a free stake of `need_wei`.
    ///
    /// # Errors
    /// The wallet does not cover it.
    pub async fn put_up(&self, need_wei: u128, purpose: &'static str) -> Result<(), Error> {
        let free_wei = self.account(self.chain().address()?).await?.free_stake_wei();
        match need_wei.checked_sub(free_wei) {
            None | Some(0) => Ok(()),
            Some(missing_wei) => self.deposit(missing_wei, purpose).await.map(|_| ()),
        }
    }

    /// Registers as a solver with hardware of this class, unless it is.
    ///
    /// # Errors
    /// No wallet, or the node does not answer.
    pub async fn be_solver(&self, hardware_class: u32) -> Result<(), Error> {
        let call = Stakes::isSolverCall { who: self.chain().address()?, hardwareClass: hardware_class };
        if self.chain().call(STAKES, self.deployment().stakes, call).await? {
            return Ok(());
        }
        let call = Stakes::registerSolverCall { hardwareClass: hardware_class, registered: true };
        self.chain().send(STAKES, self.deployment().stakes, call).await.map(|_| ())
    }

    /// Starts the way out of part of the free stake.
    ///
    /// # Errors
    /// So much is not free.
    pub async fn unbond(&self, amount_wei: u128) -> Result<Outcome, Error> {
        let call = Stakes::unbondCall { amountWei: amount_wei };
        self.chain().send(STAKES, self.deployment().stakes, call).await
    }

    /// Turns what has finished its way out into balance.
    ///
    /// # Errors
    /// Nothing is on its way, or it is not there yet.
    pub async fn finish_unbonding(&self) -> Result<Outcome, Error> {
        self.chain().send(STAKES, self.deployment().stakes, Stakes::finishUnbondingCall {}).await
    }

    /// Sends the whole balance to the wallet; `None` if there is none.
    ///
    /// # Errors
    /// No wallet, or the node does not answer.
    pub async fn withdraw(&self) -> Result<Option<Outcome>, Error> {
        let to = self.chain().address()?;
        let amount_wei = self.account(to).await?.balance_wei;
        if amount_wei == 0 {
            return Ok(None);
        }
        let call = Stakes::withdrawCall { to, amountWei: amount_wei };
        self.chain().send(STAKES, self.deployment().stakes, call).await.map(Some)
    }
}
