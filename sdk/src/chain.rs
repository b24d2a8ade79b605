//! Calls and transactions, with every revert decoded into words.

use std::time::{Duration, Instant};

use alloy::{
    eips::Encodable2718,
    network::{Ethereum, EthereumWallet, NetworkTransactionBuilder, TransactionBuilder},
    primitives::{Address, B256, Bytes, Log, keccak256},
    providers::{Provider, RootProvider},
    rpc::types::{Filter, TransactionReceipt, TransactionRequest},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{SolCall, SolInterface},
    transports::{RpcError, TransportErrorKind},
};
use lockstep_contracts::{
    Deliveries, DevToken, Disputes, Docket, JobMarket, Parameters, Referee, Stakes, VerifierDraw,
};

use crate::error::Error;

/// How long a transaction may take to get into a block.
const INCLUSION_S: u64 = 60;
const POLL: Duration = Duration::from_millis(50);
/// Blocks per log query.
const LOG_RANGE: u64 = 5_000;

/// A connection to a node, with the wallet that signs its transactions, if there is one.
#[derive(Clone)]
pub struct Chain {
    provider: RootProvider<Ethereum>,
    url: String,
    chain_id: u64,
    wallet: Option<(Address, EthereumWallet)>,
    signer: Option<PrivateKeySigner>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = self.wallet.as_ref().map(|(address, _)| address);
        f.debug_struct("Chain").field("url", &self.url).field("address", &address).finish_non_exhaustive()
    }
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its hash.
    pub hash: B256,
    /// Block it got into.
    pub block: u64,
    /// Gas used.
    pub gas: u64,
    /// Bytes of calldata.
    pub calldata_bytes: usize,
    /// Its logs.
    pub logs: Vec<Log>,
    /// Contract it created.
    pub created: Option<Address>,
}

impl Chain {
    /// Connects, which asks the node for its chain id.
    ///
    /// # Errors
    /// The URL is malformed, or no node answers there.
    pub async fn connect(url: &str, wallet: Option<crate::wallet::Wallet>) -> Result<Self, Error> {
        let parsed = url.parse().map_err(|_| Error::Url(url.into()))?;
        let provider = RootProvider::new_http(parsed);
        let signer = wallet.as_ref().map(|w| w.signer().clone());
        let wallet = wallet.map(|w| (w.address(), EthereumWallet::from(w.signer().clone())));
        let mut chain = Self { provider, url: url.into(), chain_id: 0, wallet, signer };
        chain.chain_id = chain.provider.get_chain_id().await.map_err(|e| chain.failed("eth_chainId", &e))?;
        Ok(chain)
    }

    /// Endpoint.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The chain's number.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The wallet's address.
    ///
    /// # Errors
    /// There is no wallet.
    pub fn address(&self) -> Result<Address, Error> {
        self.wallet.as_ref().map(|(address, _)| *address).ok_or(Error::NoWallet("this"))
    }

    /// A number that only this wallet can compute, always the same for `label`: a salt that need not be kept.
    ///
    /// # Errors
    /// There is no wallet, or it cannot sign.
    pub fn secret(&self, label: &[u8]) -> Result<B256, Error> {
        let signer = self.signer.as_ref().ok_or(Error::NoWallet("a secret"))?;
        let message = keccak256([b"lockstep secret".as_slice(), &self.chain_id.to_be_bytes(), label].concat());
        let refused = |reason: String| Error::Refused { what: "a secret".into(), reason };
        let signature = signer.sign_hash_sync(&message).map_err(|e| refused(e.to_string()))?;
        Ok(keccak256(signature.as_bytes()))
    }

    /// Waits until a block is later than the latest one is now.
    ///
    /// # Errors
    /// The node does not answer, or makes no such block.
    pub async fn next_second(&self) -> Result<(), Error> {
        let (seen_s, start) = (self.now_s().await?, Instant::now());
        while self.now_s().await? <= seen_s {
            if start.elapsed().as_secs() >= INCLUSION_S {
                let reason = format!("no block later than {seen_s} in {INCLUSION_S} s");
                return Err(Error::Refused { what: "waiting for a block".into(), reason });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Number of the latest block.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn block_number(&self) -> Result<u64, Error> {
        self.provider.get_block_number().await.map_err(|e| self.failed("eth_blockNumber", &e))
    }

    /// Timestamp of the latest block, in seconds: what contracts take for now.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn now_s(&self) -> Result<u64, Error> {
        let block = self.provider.get_block(alloy::eips::BlockId::latest()).await;
        let block = block.map_err(|e| self.failed("eth_getBlockByNumber", &e))?;
        let missing = || Error::Refused { what: "the latest block".into(), reason: "the node has none".into() };
        Ok(block.ok_or_else(missing)?.header.timestamp)
    }

    /// Balance in wei of the chain's own currency, which pays for gas.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn gas_balance_wei(&self, of: Address) -> Result<alloy::primitives::U256, Error> {
        self.provider.get_balance(of).await.map_err(|e| self.failed("eth_getBalance", &e))
    }

    /// Whether there is a contract at an address.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn has_code(&self, at: Address) -> Result<bool, Error> {
        let code = self.provider.get_code_at(at).await.map_err(|e| self.failed("eth_getCode", &e))?;
        Ok(!code.is_empty())
    }

    /// Nonce of the wallet's next transaction.
    ///
    /// # Errors
    /// There is no wallet, or the node does not answer.
    pub async fn nonce(&self) -> Result<u64, Error> {
        let address = self.address()?;
        let count = self.provider.get_transaction_count(address).pending().await;
        count.map_err(|e| self.failed("eth_getTransactionCount", &e))
    }

    /// Calls a view function.
    ///
    /// # Errors
    /// The node does not answer, the contract reverts, or its answer does not decode.
    pub async fn call<C: SolCall>(&self, contract: &'static str, to: Address, call: C) -> Result<C::Return, Error> {
        let mut request = TransactionRequest::default().with_to(to).with_input(call.abi_encode());
        request.from = self.wallet.as_ref().map(|(address, _)| *address);
        let bytes = self.provider.call(request).await.map_err(|e| self.explain(contract, name::<C>(), &e))?;
        C::abi_decode_returns(&bytes).map_err(|e| Error::Answer {
            contract,
            address: to,
            call: name::<C>(),
            reason: e.to_string(),
        })
    }

    /// Sends a transaction and waits until it is in a block.
    ///
    /// # Errors
    /// No wallet, the contract reverts (before sending: nothing is spent), the node does not answer, or it does not get in.
    pub async fn send<C: SolCall>(&self, contract: &'static str, to: Address, call: C) -> Result<Outcome, Error> {
        self.send_raw(contract, to, name::<C>(), call.abi_encode()).await
    }

    /// The same for a call that is encoded already; `call` is its name.
    ///
    /// # Errors
    /// As for [`Self::send`].
    pub async fn send_raw(
        &self,
        contract: &'static str,
        to: Address,
        call: &'static str,
        calldata: Vec<u8>,
    ) -> Result<Outcome, Error> {
        let request = TransactionRequest::default().with_to(to).with_input(calldata);
        self.submit(request, call, |chain, e| chain.explain(contract, call, e)).await
    }

    /// Creates a contract and waits until it is in a block.
    ///
    /// # Errors
    /// As for [`Self::send`].
    pub async fn create(&self, contract: &'static str, code: Bytes) -> Result<Address, Error> {
        let request = TransactionRequest::default().with_deploy_code(code);
        let outcome = self.submit(request, "constructor", |chain, e| chain.failed(contract, e)).await?;
        let missing = || Error::Refused { what: contract.into(), reason: "the receipt names no contract".into() };
        outcome.created.ok_or_else(missing)
    }

    async fn submit(
        &self,
        request: TransactionRequest,
        call: &'static str,
        explain: impl Fn(&Self, &RpcError<TransportErrorKind>) -> Error,
    ) -> Result<Outcome, Error> {
        let (address, wallet) = self.wallet.as_ref().ok_or(Error::NoWallet(call))?;
        let request = request.with_from(*address).with_chain_id(self.chain_id);
        let gas = self.provider.estimate_gas(request.clone()).await.map_err(|e| explain(self, &e))?;
        let fees = self.provider.estimate_eip1559_fees().await.map_err(|e| self.failed("eth_feeHistory", &e))?;
        let calldata_bytes = request.input.input().map_or(0, |input| input.len());
        // A quarter more than estimated: what other transactions change meanwhile may make this one dearer.
        let request = request
            .with_nonce(self.nonce().await?)
            .with_gas_limit(gas + gas / 4)
            .with_max_fee_per_gas(fees.max_fee_per_gas)
            .with_max_priority_fee_per_gas(fees.max_priority_fee_per_gas);
        let refused = |reason: String| Error::Refused { what: format!("signing `{call}`"), reason };
        let envelope = request.build(wallet).await.map_err(|e| refused(e.to_string()))?;
        let hash = *envelope.tx_hash();
        let sent = self.provider.send_raw_transaction(&envelope.encoded_2718()).await;
        drop(sent.map_err(|e| explain(self, &e))?);
        let receipt = self.included(hash).await?;
        if !receipt.inner.status() {
            return Err(Error::Lost { hash, call });
        }
        let logs = receipt.inner.logs().iter().map(|log| log.inner.clone()).collect();
        let (block, gas) = (receipt.block_number.unwrap_or_default(), receipt.gas_used);
        Ok(Outcome { hash, block, gas, calldata_bytes, logs, created: receipt.contract_address })
    }

    async fn included(&self, hash: B256) -> Result<TransactionReceipt, Error> {
        let start = Instant::now();
        while start.elapsed().as_secs() < INCLUSION_S {
            let receipt = self.provider.get_transaction_receipt(hash).await;
            // A node that does not answer for a moment must not lose sight of a transaction that is on its way.
            match receipt {
                Ok(Some(receipt)) => return Ok(receipt),
                Ok(None) => {}
                Err(e) => tracing::debug!(%hash, "waiting for a receipt: {e}"),
            }
            tokio::time::sleep(POLL).await;
        }
        Err(Error::Pending { hash, waited_s: INCLUSION_S })
    }

    /// Logs of one contract from `from_block` on whose topics match.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn logs(&self, filter: Filter, from_block: u64) -> Result<Vec<alloy::rpc::types::Log>, Error> {
        let head = self.block_number().await?;
        let mut logs = Vec::new();
        let mut start = from_block;
        while start <= head {
            let end = head.min(start + LOG_RANGE - 1);
            let range = filter.clone().from_block(start).to_block(end);
            logs.extend(self.provider.get_logs(&range).await.map_err(|e| self.failed("eth_getLogs", &e))?);
            start = end + 1;
        }
        Ok(logs)
    }

    fn failed(&self, what: &str, e: &RpcError<TransportErrorKind>) -> Error {
        match e {
            RpcError::ErrorResp(response) => match self.short_of_gas(&response.message) {
                Some(holder) => Error::Gas { holder, url: self.url.clone() },
                None => Error::Refused { what: what.into(), reason: response.message.clone().into() },
            },
            _ => Error::Unreachable { url: self.url.clone(), reason: innermost(e) },
        }
    }

    /// Whose balance does not cover the gas, if these words of a node say so. Nodes have no code for it, but the same words.
    fn short_of_gas(&self, message: &str) -> Option<Address> {
        let short = message.contains("insufficient funds") || message.contains("lack of funds");
        self.wallet.as_ref().filter(|_| short).map(|(address, _)| *address)
    }

    fn explain(&self, contract: &'static str, call: &'static str, e: &RpcError<TransportErrorKind>) -> Error {
        match e.as_error_resp().and_then(|response| response.as_revert_data()) {
            Some(data) => Error::Reverted { contract, call, reason: revert_words(&data) },
            None => self.failed(call, e),
        }
    }
}

/// A function's name, without its arguments.
fn name<C: SolCall>() -> &'static str {
    C::SIGNATURE.split('(').next().unwrap_or(C::SIGNATURE)
}

/// The cause at the bottom of a transport error: "connection refused" rather than "error sending request".
fn innermost(e: &RpcError<TransportErrorKind>) -> String {
    let mut cause: &dyn std::error::Error = e;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// `Name { … }` of `Name(Name { … })`, which is how an error shows that is one of several.
fn inner(shown: &str) -> String {
    let inside = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(shown).to_owned()
}

/// The named error of one contract, if `data` is one.
fn named<E: SolInterface + std::fmt::Debug>(data: &[u8]) -> Option<String> {
    E::abi_decode(data).ok().map(|e| inner(&format!("{e:?}")))
}

/// A revert in words: the named error with its values.
#[must_use]
pub fn revert_words(data: &[u8]) -> String {
    if data.is_empty() {
        return "it reverted without a reason".into();
    }
    let words = named::<JobMarket::JobMarketErrors>(data)
        .or_else(|| named::<Docket::DocketErrors>(data))
        .or_else(|| named::<Disputes::DisputesErrors>(data))
        .or_else(|| named::<Referee::RefereeErrors>(data))
        .or_else(|| named::<VerifierDraw::VerifierDrawErrors>(data))
        .or_else(|| named::<Deliveries::DeliveriesErrors>(data))
        .or_else(|| named::<Stakes::StakesErrors>(data))
        .or_else(|| named::<Parameters::ParametersErrors>(data))
        .or_else(|| named::<DevToken::DevTokenErrors>(data));
    if let Some(words) = words {
        return words;
    }
    match alloy::sol_types::decode_revert_reason(data) {
        Some(reason) => reason,
        None => format!("an unknown error, {}", Bytes::copy_from_slice(data)),
    }
}
