//! Where does the server listen, and when does it stop?
//!
//! # Invariants
//! * An address beyond loopback is refused without TLS, and where whoever comes is given something.
//! * A namespace is served to nobody without a key, a token's store to nobody without that token.
//! * Calls under way when the server is told to stop are finished, within `drain_max`; watches are ended.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use idhini_wire::FILE_DESCRIPTOR_SET;
use idhini_wire::authzed::api::v1::experimental_service_server::ExperimentalServiceServer;
use idhini_wire::authzed::api::v1::permissions_service_server::PermissionsServiceServer;
use idhini_wire::authzed::api::v1::schema_service_server::SchemaServiceServer;
use idhini_wire::authzed::api::v1::watch_service_server::WatchServiceServer;
use idhini_wire::idhini::admin::v1::admin_service_server::AdminServiceServer;
use idhini_wire::idhini::v1::access_service_server::AccessServiceServer;
use idhini_wire::idhini::v1::history_service_server::HistoryServiceServer;
use idhini_wire::idhini::v1::namespace_service_server::NamespaceServiceServer;
use idhini_wire::idhini::v1::permissions_service_server as own_permissions;
use tokio::net::TcpListener;
use tonic::server::NamedService as _;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use crate::admin::Admin;
use crate::admission::{Admission, Gate};
use crate::experimental::Experimental;
use crate::lane::Lane;
use crate::lookups::Carrier;
use crate::meta::{Meta, Place};
use crate::options::{MESSAGE_BYTES_MAX, Options};
use crate::own;
use crate::pipeline::Pipeline;
use crate::quotas::Meters;
use crate::service::{Permissions, Schemas, Watches};
use crate::telemetry::{Recorder, Telemetry};
use crate::tenants::{Offer, Offered};
use crate::tls::Tls;
use crate::watch::Stopping;
use crate::workers::Workers;

/// How long nothing is accepted after the system refused to: as a rule it has no files left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What can be asked for its health; the empty name is the server as a whole.
const SERVICES: [&str; 9] = [
    "",
    PermissionsServiceServer::<Permissions>::NAME,
    SchemaServiceServer::<Schemas>::NAME,
    WatchServiceServer::<Watches>::NAME,
    ExperimentalServiceServer::<Experimental>::NAME,
    own_permissions::PermissionsServiceServer::<own::Permissions>::NAME,
    HistoryServiceServer::<own::History>::NAME,
    NamespaceServiceServer::<own::Namespaces>::NAME,
    AccessServiceServer::<own::Access>::NAME,
];

/// A bound address, not yet serving.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    /// Another one, with the same calls.
    beside: Option<Box<Listener>>,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Beyond loopback everything would be readable on the way.
    #[error(
        "{address} is not a loopback address, and serving beyond loopback needs TLS, so that nobody can read on the way"
    )]
    NeedsTls {
        /// As asked.
        address: SocketAddr,
    },
    /// Beyond loopback whoever comes would be served.
    #[error(
        "{address} is not a loopback address, and serving beyond loopback needs authentication: here any token is taken"
    )]
    NeedsAuthentication {
        /// As asked.
        address: SocketAddr,
    },
    /// What is served here knows neither TLS nor tokens.
    #[error("{address} is not a loopback address, and nothing else is possible here")]
    LoopbackOnly {
        /// As asked.
        address: SocketAddr,
    },
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}; is another server running there?")]
    Bind {
        /// As asked.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system gives no more threads, or no more files for them.
    #[error("a thread that answers calls cannot be started")]
    Threads(#[source] std::io::Error),
    /// The embedded descriptors do not decode.
    #[error("server reflection cannot be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl Listener {
    /// Binds an address, for TLS or for plaintext; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ListenError::NeedsTls`], [`ListenError::Bind`].
    pub async fn bind(address: SocketAddr, tls: Option<Arc<Tls>>) -> Result<Listener, ListenError> {
        if !address.ip().is_loopback() && tls.is_none() {
            return Err(ListenError::NeedsTls { address });
        }
        let (listener, address) = bind(address).await?;
        Ok(Listener { listener, address, tls, beside: None })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers what comes to another address as well; it is the same whatever comes where.
    #[must_use]
    pub fn beside(mut self, other: Listener) -> Listener {
        self.beside = Some(Box::new(other));
        self
    }

    /// Answers until `stop` is done, and then what is under way.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn serve(
        mut self,
        offer: &Offer,
        options: &Options,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ListenError> {
        let mut listened = std::iter::once(&self).chain(self.beside.as_deref()).map(|one| one.address);
        let beyond = listened.find(|address| !address.ip().is_loopback());
        if let (Offer::StorePerToken { .. }, Some(address)) = (offer, beyond) {
            return Err(ListenError::NeedsAuthentication { address });
        }
        let (tree, admin) = match offer {
            Offer::Tree(tree) => {
                (Some(tree), Some(Admin::new((Arc::clone(&tree.node), Arc::clone(&tree.root)), options)))
            }
            Offer::StorePerToken { .. } => (None, None),
        };
        let control = tree.map(|tree| Arc::new(own::Control::new(&tree.plane, &tree.node, options)));
        let looking_after = tree.map(|tree| tokio::spawn(own::look_after_tokens(Arc::clone(&tree.plane))));
        let tenants = Offered::new(offer, options);
        let (stopping_watches, stopping) = tokio::sync::watch::channel(false);
        let (reporter, health) = tonic_health::server::health_reporter();
        for service in SERVICES {
            reporter.set_service_status(service, ServingStatus::Serving).await;
        }
        let meters: Arc<Meters> = Arc::default();
        let lane = Lane::start(lane_turns(options.worker_threads), options.give_way)
            .map_err(ListenError::Threads)?;
        let services = Services { admin, control, stopping };
        let workers = options.worker_threads.get();
        let pipelines = (0..workers).map(|index| {
            let recorder = Recorder::new(&options.telemetry);
            let meta = Meta::new(options.seal.key_id, Place { index, of: workers }, recorder);
            // A worker's own, so that no call touches what other cores count.
            let gate = tree.map(|tree| {
                let (plane, keys) = (Arc::clone(&tree.plane), options.keys.clone());
                Arc::new(Gate::new(plane, keys, options.trail.clone(), Arc::clone(&meters)))
            });
            let admission = Admission::new(gate, &options.telemetry, tenants.of_worker());
            let lane = Some(Arc::clone(&lane));
            Ok(Arc::new(Pipeline::new(meta, admission, services.routes(&health)?, lane)))
        });
        let pipelines = pipelines.collect::<Result<Vec<_>, ListenError>>()?;
        let workers = Workers::start(pipelines).map_err(ListenError::Threads)?;
        let telemetry = Arc::clone(&options.telemetry);
        telemetry.readiness.serve();
        let beside = self.beside.take();
        tokio::select! {
            () = stop => {}
            () = accept(self, &workers) => {}
            () = accept_beside(beside, &workers) => {}
        }
        // Whoever sends calls here is told first to send them elsewhere.
        end(&telemetry, &reporter).await;
        // A watch would never end by itself, nor would a stream of checks.
        stopping_watches.send_replace(true);
        tokio::select! {
            () = workers.drain() => {}
            () = async {
                // Whoever watches our health has been told, and would watch on.
                for service in SERVICES {
                    reporter.clone().clear_service_status(service).await;
                }
                tokio::time::sleep(options.drain_max).await;
            } => {}
        }
        if let (Some(looking_after), Some(tree)) = (looking_after, tree) {
            looking_after.abort();
            own::record_last_uses(&tree.plane).await;
        }
        Ok(())
    }
}

/// One less than there are workers: whatever is done on the lane, a worker that has something to answer finds one free.
fn lane_turns(workers: NonZeroUsize) -> usize {
    workers.get().saturating_sub(1).max(1)
}

/// Hands what connects to the workers, for as long as it is polled; then the address is free.
async fn accept(Listener { listener, tls, .. }: Listener, workers: &Workers) {
    loop {
        match listener.accept().await {
            Ok((socket, from)) => {
                if let Err(error) = workers.take(socket, from, tls.clone()) {
                    tracing::debug!(%error, "a connection cannot be used");
                }
            }
            Err(error) => {
                tracing::debug!(%error, "nothing can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept_beside(listener: Option<Box<Listener>>, workers: &Workers) {
    match listener {
        Some(listener) => accept(*listener, workers).await,
        None => std::future::pending().await,
    }
}

async fn end(telemetry: &Telemetry, reporter: &HealthReporter) {
    telemetry.stopping();
    for service in SERVICES {
        reporter.set_service_status(service, ServingStatus::NotServing).await;
    }
}

/// What the services need.
struct Services {
    admin: Option<Admin>,
    control: Option<Arc<own::Control>>,
    stopping: Stopping,
}

impl Services {
    /// All services, for one worker.
    fn routes(&self, health: &HealthServer<impl Health>) -> Result<Routes, ListenError> {
        let stopping = || self.stopping.clone();
        let permissions =
            Carrier(PermissionsServiceServer::new(Permissions).max_decoding_message_size(MESSAGE_BYTES_MAX));
        let schemas = SchemaServiceServer::new(Schemas).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let experimental =
            ExperimentalServiceServer::new(Experimental).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let own_permissions = Carrier(
            own_permissions::PermissionsServiceServer::new(own::Permissions(stopping()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
        );
        let history = HistoryServiceServer::new(own::History).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let watches =
            WatchServiceServer::new(Watches(stopping())).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let routes = Routes::new(permissions)
            .add_service(schemas)
            .add_service(watches)
            .add_service(experimental)
            .add_service(own_permissions)
            .add_service(history)
            .add_service(health.clone())
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        let routes = match self.control.clone() {
            Some(control) => routes
                .add_service(NamespaceServiceServer::new(own::Namespaces(Arc::clone(&control))))
                .add_service(AccessServiceServer::new(own::Access(control))),
            None => routes,
        };
        // Clients of this one are ours and take what an entry needs.
        Ok(match self.admin.clone() {
            Some(admin) => routes.add_service(AdminServiceServer::new(admin)),
            None => routes,
        })
    }
}

/// A loopback address and where it is; anything else is refused.
pub(crate) async fn bind_loopback(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    if !address.ip().is_loopback() {
        return Err(ListenError::LoopbackOnly { address });
    }
    bind(address).await
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let bound = |source| ListenError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(bound)?;
    let address = listener.local_addr().map_err(bound)?;
    Ok((listener, address))
}
