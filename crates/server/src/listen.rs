//! Where does the server listen, and when does it stop?
//!
//! # Invariants
//! * An address beyond loopback is refused: this version has no TLS.
//! * A namespace is served to nobody without a key, a token's store to nobody without that token.
//! * Calls under way when the server is told to stop are finished, within `drain_max`; watches are ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use idhini_wire::FILE_DESCRIPTOR_SET;
use idhini_wire::authzed::api::v1::experimental_service_server::ExperimentalServiceServer;
use idhini_wire::authzed::api::v1::permissions_service_server::PermissionsServiceServer;
use idhini_wire::authzed::api::v1::schema_service_server::SchemaServiceServer;
use idhini_wire::authzed::api::v1::watch_service_server::WatchServiceServer;
use idhini_wire::idhini::admin::v1::admin_service_server::AdminServiceServer;
use idhini_wire::idhini::v1::history_service_server::HistoryServiceServer;
use idhini_wire::idhini::v1::permissions_service_server as own_permissions;
use tokio::net::TcpListener;
use tonic::server::NamedService as _;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Status};
use tonic_health::ServingStatus;
use tower::Layer as _;

use crate::admin::Admin;
use crate::auth::{Keys, bearer};
use crate::experimental::Experimental;
use crate::gateway::GatewayLayer;
use crate::lookups::Carrier;
use crate::meta::MetaLayer;
use crate::options::{MESSAGE_BYTES_MAX, Options};
use crate::own;
use crate::service::{Permissions, Schemas, Watches};
use crate::tenants::{Offer, Tenants};

/// Calls under way on one connection.
const STREAMS_MAX: u32 = 1_000;
/// Silence after which a connection is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What can be asked for its health; the empty name is the server as a whole.
const SERVICES: [&str; 7] = [
    "",
    PermissionsServiceServer::<Permissions>::NAME,
    SchemaServiceServer::<Schemas>::NAME,
    WatchServiceServer::<Watches>::NAME,
    ExperimentalServiceServer::<Experimental>::NAME,
    own_permissions::PermissionsServiceServer::<own::Permissions>::NAME,
    HistoryServiceServer::<own::History>::NAME,
];

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
    #[error("no key is set, and there is no root token: nobody could call")]
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
        let (listener, address) = bind_loopback(address).await?;
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
        offer: &Offer,
        options: &Options,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ListenError> {
        let (keys, admin) = match offer {
            Offer::Namespace(..) if options.keys.is_empty() => return Err(ListenError::NeedsKey),
            Offer::Namespace(node, namespace) => {
                let admin = Admin::new((Arc::clone(node), Arc::clone(namespace)), options);
                (Some(options.keys.clone()), Some(admin))
            }
            Offer::StorePerToken { .. } => (None, None),
        };
        let tenants = Tenants::new(offer, options);
        let guard = InterceptorLayer::new(guard(keys));
        let permissions = PermissionsServiceServer::new(Permissions(tenants.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let permissions = Carrier(permissions);
        let schemas =
            SchemaServiceServer::new(Schemas(tenants.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let experimental = ExperimentalServiceServer::new(Experimental(tenants.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (stopping_watches, stopping) = tokio::sync::watch::channel(false);
        let own_permissions = own_permissions::PermissionsServiceServer::new(own::Permissions(
            tenants.clone(),
            stopping.clone(),
        ))
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let history = HistoryServiceServer::new(own::History(tenants.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let watches =
            WatchServiceServer::new(Watches(tenants, stopping)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        // Clients of this one are ours and take what an entry needs.
        let admin = admin.map(|admin| guard.layer(AdminServiceServer::new(admin)));
        let (reporter, health) = tonic_health::server::health_reporter();
        for service in SERVICES {
            reporter.set_service_status(service, ServingStatus::Serving).await;
        }
        let mut ending = reporter.clone();
        let telemetry = Arc::clone(&options.telemetry);
        telemetry.readiness.serve();
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let stop = async move {
            stop.await;
            // Whoever sends calls here is told first to send them elsewhere.
            telemetry.stopping();
            for service in SERVICES {
                reporter.set_service_status(service, ServingStatus::NotServing).await;
            }
            // A watch would never end by itself, nor would a stream of checks.
            stopping_watches.send_replace(true);
            // Nobody listens only when serving has already ended.
            let _ = stopping.send(());
        };
        let drain_max = options.drain_max;
        // Small answers must not wait for acknowledgements of earlier ones.
        let connections = TcpIncoming::from(self.listener).with_nodelay(Some(true));
        let serving = Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            // Besides gRPC, the calls as JSON.
            .accept_http1(true)
            .layer(GatewayLayer)
            .layer(MetaLayer::new(options.seal.key_id, &options.telemetry))
            .add_service(guard.layer(permissions))
            .add_service(guard.layer(schemas))
            .add_service(guard.layer(watches))
            .add_service(guard.layer(experimental))
            .add_service(guard.layer(own_permissions))
            .add_service(guard.layer(history))
            .add_optional_service(admin)
            .add_service(health)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .serve_with_incoming_shutdown(connections, stop);
        tokio::select! {
            served = serving => Ok(served?),
            () = async {
                if stopped.await.is_err() {
                    return std::future::pending().await;
                }
                // Whoever watches our health has been told, and would watch on.
                for service in SERVICES {
                    ending.clear_service_status(service).await;
                }
                tokio::time::sleep(drain_max).await;
            } => Ok(()),
        }
    }
}

/// A loopback address and where it is; anything else is refused.
pub(crate) async fn bind_loopback(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    if !address.ip().is_loopback() {
        return Err(ListenError::NeedsTls { address });
    }
    let bound = |source| ListenError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(bound)?;
    let address = listener.local_addr().map_err(bound)?;
    Ok((listener, address))
}

/// Lets a call to a guarded service pass, or refuses it before its message is read. Without keys any token passes, but none
/// does not.
fn guard(
    keys: Option<Keys>,
) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + Send + Sync + 'static {
    move |request| {
        match &keys {
            Some(keys) => keys.check(request.metadata())?,
            None => drop(bearer(request.metadata())?),
        }
        Ok(request)
    }
}
