//! A read-only HTTP server over a store.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header::CACHE_CONTROL};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lockstep_commit::B256;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_http::services::ServeFile;

use super::connection::LimitedListener;
use super::error::ArtifactError;
use super::item::Kind;
use super::store::Store;

/// How long transfers may go on after the server was told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server. Stops taking connections when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

/// Serves the artifacts of a store under `/<kind>/<0xroot>`, whole or in ranges, and `/health`. Nothing else in the
/// store's folder can be reached. Port 0 lets the system choose one.
///
/// # Errors
/// `Listen`.
pub async fn serve(store: Store, listen: SocketAddr) -> Result<Server, ArtifactError> {
    let failed = |source| ArtifactError::Listen { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(LimitedListener::new(listener), router(store)).with_graceful_shutdown(async move {
        // An error means that the handle was dropped: stop as well.
        let _ = stopped.await;
    });
    let task = tokio::spawn(async move { serving.await });
    tracing::info!(%address, "serving artifacts");
    Ok(Server { address, stop, task })
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Mirror URL for this machine. Others need a name or address under which they reach it.
    #[must_use]
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            let loopback = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
            address.set_ip(loopback);
        }
        format!("http://{address}")
    }

    /// Stops: takes no more connections, gives running transfers ten seconds.
    ///
    /// # Errors
    /// `Task`, `Listen` if the server had failed.
    pub async fn shutdown(self) -> Result<(), ArtifactError> {
        // Fails only if the server has stopped by itself; the result below says why.
        let _ = self.stop.send(());
        let abort = self.task.abort_handle();
        match tokio::time::timeout(DRAIN_TIMEOUT, self.task).await {
            Ok(result) => result?.map_err(|source| ArtifactError::Listen { address: self.address, source }),
            Err(_) => {
                abort.abort();
                Ok(())
            }
        }
    }
}

fn router(store: Store) -> Router {
    Router::new().route("/health", get(health)).route("/{kind}/{root}", get(artifact)).with_state(store)
}

async fn health(State(store): State<Store>) -> Response {
    match tokio::fs::read_dir(store.dir()).await {
        Ok(_) => "ok\n".into_response(),
        Err(e) => {
            tracing::error!(dir = %store.dir().display(), error = %e, "the store cannot be read");
            (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read\n").into_response()
        }
    }
}

async fn artifact(
    State(store): State<Store>,
    Path((kind, root)): Path<(String, String)>,
    request: Request,
) -> Response {
    // The path on disk is made from the parsed name only.
    let Some((kind, root)) = Kind::from_name(&kind).zip(parse_root(&root)) else {
        return (StatusCode::NOT_FOUND, "artifacts are at /program, /state or /data, then /0x and 64 digits\n")
            .into_response();
    };
    match ServeFile::new(store.path(kind, root)).try_call(request).await {
        Ok(response) => {
            let mut response = response.map(Body::new);
            if response.status().is_success() {
                // What has a root for a name never changes.
                let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
                response.headers_mut().insert(CACHE_CONTROL, forever);
            }
            response
        }
        Err(e) => {
            tracing::error!(%kind, %root, error = %e, "an artifact cannot be read");
            (StatusCode::INTERNAL_SERVER_ERROR, "the artifact cannot be read\n").into_response()
        }
    }
}

/// The root with exactly this name: `0x` and 64 lower-case digits.
fn parse_root(name: &str) -> Option<B256> {
    name.parse::<B256>().ok().filter(|root| root.to_string() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_full_lower_case_name_is_a_root() {
        let name = format!("0x{}", "0123456789abcdef".repeat(4));
        assert_eq!(parse_root(&name).unwrap().to_string(), name);
        assert_eq!(parse_root(&name[2..]), None);
        assert_eq!(parse_root(&name.to_uppercase()), None);
        assert_eq!(parse_root(&name[..64]), None);
        assert_eq!(parse_root("../../../etc/passwd"), None);
    }
}
