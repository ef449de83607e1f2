//! Where does the server listen, and when does it stop?
//!
//! # Invariants
//! * An address beyond loopback is refused: this version has no TLS.
//! * Without a key nothing is served.
//! * Calls under way when the server is told to stop are finished, within [`DRAIN_MAX`]; watches are ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use idhini_replica::{Namespace, Node};
use idhini_wire::FILE_DESCRIPTOR_SET;
use idhini_wire::authzed::api::v1::permissions_service_server::PermissionsServiceServer;
use idhini_wire::authzed::api::v1::schema_service_server::SchemaServiceServer;
use idhini_wire::authzed::api::v1::watch_service_server::WatchServiceServer;
use idhini_wire::idhini::admin::v1::admin_service_server::AdminServiceServer;
use idhini_wire::idhini::v1::history_service_server::HistoryServiceServer;
use idhini_wire::idhini::v1::permissions_service_server as own_permissions;
use tokio::net::TcpListener;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Status};
use tower::Layer as _;

use crate::admin::Admin;
use crate::auth::Keys;
use crate::meta::MetaLayer;
use crate::options::{MESSAGE_BYTES_MAX, Options};
use crate::own;
use crate::pin::Shared;
use crate::service::{Permissions, Schemas, Watches};

/// How long calls under way may take after the server was told to stop.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Calls under way on one connection.
const STREAMS_MAX: u32 = 1_000;
/// Silence after which a connection is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A bound address, not yet serving.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Beyond loopback everything would be readable on the way.
    #[error(
        "{address} is not a loopback address, and serving beyond loopback needs a TLS certificate and its key, which this version cannot load yet; listen on 127.0.0.1 or [::1]"
    )]
    NeedsTls {
        /// As asked.
        address: SocketAddr,
    },
    /// Nobody could call.
    #[error("no preshared key is set; choose one, and give it to the server and to its clients")]
    NeedsKey,
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}; is another server running there?")]
    Bind {
        /// As asked.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The transport failed.
    #[error("serving failed")]
    Serve(#[from] tonic::transport::Error),
    /// The embedded descriptors do not decode.
    #[error("server reflection cannot be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl Listener {
    /// Binds a loopback address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ListenError::NeedsTls`], [`ListenError::Bind`].
    pub async fn bind(address: SocketAddr) -> Result<Listener, ListenError> {
        if !address.ip().is_loopback() {
            return Err(ListenError::NeedsTls { address });
        }
        let bound = |source| ListenError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bound)?;
        let address = listener.local_addr().map_err(bound)?;
        Ok(Listener { listener, address })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is done, and then what is under way.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn serve(
        self,
        (node, namespace): (Arc<Node>, Arc<Namespace>),
        options: &Options,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ListenError> {
        if options.keys.is_empty() {
            return Err(ListenError::NeedsKey);
        }
        let admin = Admin::new((node, Arc::clone(&namespace)), &options.seal);
        let shared = Shared::new(namespace, options);
        let guard = InterceptorLayer::new(guard(options.keys.clone()));
        let permissions = PermissionsServiceServer::new(Permissions(shared.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let schemas =
            SchemaServiceServer::new(Schemas(shared.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (stopping_watches, stopping) = tokio::sync::watch::channel(false);
        let own_permissions = own_permissions::PermissionsServiceServer::new(own::Permissions(
            shared.clone(),
            stopping.clone(),
        ))
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let history = HistoryServiceServer::new(own::History(shared.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let watches =
            WatchServiceServer::new(Watches(shared, stopping)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        // Clients of this one are ours and take what an entry needs.
        let admin = AdminServiceServer::new(admin);
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<PermissionsServiceServer<Permissions>>().await;
        reporter.set_serving::<SchemaServiceServer<Schemas>>().await;
        reporter.set_serving::<WatchServiceServer<Watches>>().await;
        reporter.set_serving::<own_permissions::PermissionsServiceServer<own::Permissions>>().await;
        reporter.set_serving::<HistoryServiceServer<own::History>>().await;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let stop = async move {
            stop.await;
            // A watch would never end by itself, nor would a stream of checks.
            stopping_watches.send_replace(true);
            // Nobody listens only when serving has already ended.
            let _ = stopping.send(());
        };
        // Small answers must not wait for acknowledgements of earlier ones.
        let connections = TcpIncoming::from(self.listener).with_nodelay(Some(true));
        let serving = Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .layer(MetaLayer::new(options.seal.key_id))
            .add_service(guard.layer(permissions))
            .add_service(guard.layer(schemas))
            .add_service(guard.layer(watches))
            .add_service(guard.layer(own_permissions))
            .add_service(guard.layer(history))
            .add_service(guard.layer(admin))
            .add_service(health)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .serve_with_incoming_shutdown(connections, stop);
        tokio::select! {
            served = serving => Ok(served?),
            () = async { if stopped.await.is_ok() { tokio::time::sleep(DRAIN_MAX).await } else { std::future::pending().await } } => Ok(()),
        }
    }
}

/// Lets a call to a guarded service pass, or refuses it before its message is read.
fn guard(keys: Keys) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + Send + Sync + 'static {
    move |request| {
        keys.check(request.metadata())?;
        Ok(request)
    }
}
