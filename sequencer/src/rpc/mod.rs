//! JSON-RPC over HTTP and WebSocket, on one port.
//!
//! Whatever touches the disk or the EVM runs on threads that may block; every request sees one head throughout.

mod api;
mod batch;
mod blocks;
mod debug;
mod error;
mod fees;
mod filters;
mod handlers;
mod logs;
mod optimism;
mod proof;
mod simulate;
mod subscribe;
mod txpool;
mod types;

use std::{net::SocketAddr, sync::Arc};

use axum::http::{Method, header::CONTENT_TYPE};
use jsonrpsee::{
    RpcModule,
    core::traits::IdProvider,
    server::{
        BatchRequestConfig, PingConfig, RandomIntegerIdProvider, Server, ServerConfig, ServerHandle,
        middleware::{http::HostFilterLayer, rpc::RpcServiceBuilder},
    },
    types::SubscriptionId,
};
use tokio::sync::Semaphore;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{chain::Chain, config::NodeConfig, error::NodeError};
use api::{DevApiServer, EthApiServer, InfoApiServer};
use debug::DebugApiServer;
use filters::Filters;
use optimism::OptimismApiServer;
use proof::ProofApiServer;
use subscribe::PubSubApiServer;
use txpool::TxpoolApiServer;

/// What answers requests.
#[derive(Clone)]
pub(crate) struct Rpc {
    chain: Arc<Chain>,
    filters: Arc<Filters>,
    /// Room for calls and estimates that run at the same time.
    calls: Arc<Semaphore>,
}

/// Starts the server. Returns the address it listens on and the handle that stops it.
pub(crate) async fn start(chain: Arc<Chain>) -> Result<(SocketAddr, ServerHandle), NodeError> {
    let limits = chain.config.rpc;
    let address = chain.config.listen;
    let failed = |error: std::io::Error| NodeError::Listen { address, cause: error.to_string() };
    let config = ServerConfig::builder()
        .max_request_body_size(limits.request_bytes)
        .max_response_body_size(limits.response_bytes)
        .max_connections(limits.connections)
        .max_subscriptions_per_connection(limits.subscriptions)
        .set_batch_request_config(BatchRequestConfig::Limit(limits.batch))
        .enable_ws_ping(PingConfig::new())
        .set_id_provider(HexIds)
        .set_tcp_no_delay(true)
        .build();
    let guard = tower::ServiceBuilder::new().option_layer(hosts(&chain.config)?).option_layer(cors(&chain.config)?);
    let sends = RpcServiceBuilder::new().layer_fn({
        let chain = chain.clone();
        move |inner| batch::Sends { inner, chain: chain.clone(), response_bytes: limits.response_bytes as usize }
    });
    let server = Server::builder().set_config(config).set_http_middleware(guard).set_rpc_middleware(sends);
    let server = server.build(address).await.map_err(failed)?;
    let bound = server.local_addr().map_err(failed)?;
    Ok((bound, server.start(methods(chain)?)))
}

/// Lets in only requests for the named hosts, so that a web page cannot reach a node behind a name of its own.
fn hosts(config: &NodeConfig) -> Result<Option<HostFilterLayer>, NodeError> {
    if config.allowed_hosts.is_empty() {
        return Ok(None);
    }
    let layer = HostFilterLayer::new(config.allowed_hosts.iter().map(String::as_str));
    layer.map(Some).map_err(|error| NodeError::Config(format!("allowed_hosts {:?}: {error}", config.allowed_hosts)))
}

/// Tells browsers which web pages may ask. Without origins, none.
fn cors(config: &NodeConfig) -> Result<Option<CorsLayer>, NodeError> {
    let origins = match config.cors_origins.as_slice() {
        [] => return Ok(None),
        [all] if all == "*" => AllowOrigin::any(),
        some => {
            let parse = |origin: &String| {
                origin.parse().map_err(|error| NodeError::Config(format!("cors_origins {origin}: {error}")))
            };
            AllowOrigin::list(some.iter().map(parse).collect::<Result<Vec<_>, _>>()?)
        }
    };
    Ok(Some(CorsLayer::new().allow_origin(origins).allow_methods([Method::POST]).allow_headers([CONTENT_TYPE])))
}

fn methods(chain: Arc<Chain>) -> Result<RpcModule<()>, NodeError> {
    let dev = chain.config.dev_methods;
    let rpc = Rpc {
        filters: Arc::new(Filters::new(chain.config.rpc.filters)),
        calls: Arc::new(Semaphore::new(chain.config.rpc.calls_at_once)),
        chain,
    };
    let mut module = RpcModule::new(());
    let mut add = |methods: jsonrpsee::Methods| {
        module.merge(methods).map_err(|error| NodeError::Config(format!("RPC methods clash: {error}")))
    };
    add(EthApiServer::into_rpc(rpc.clone()).into())?;
    add(InfoApiServer::into_rpc(rpc.clone()).into())?;
    add(OptimismApiServer::into_rpc(rpc.clone()).into())?;
    add(DebugApiServer::into_rpc(rpc.clone()).into())?;
    add(ProofApiServer::into_rpc(rpc.clone()).into())?;
    add(TxpoolApiServer::into_rpc(rpc.clone()).into())?;
    add(PubSubApiServer::into_rpc(rpc.clone()).into())?;
    if dev {
        add(DevApiServer::into_rpc(rpc).into())?;
    }
    Ok(module)
}

/// Subscription ids in the form that Ethereum clients expect.
#[derive(Debug)]
struct HexIds;

impl IdProvider for HexIds {
    fn next_id(&self) -> SubscriptionId<'static> {
        match RandomIntegerIdProvider.next_id() {
            SubscriptionId::Num(id) => SubscriptionId::Str(format!("{id:#x}").into()),
            other => other,
        }
    }
}
