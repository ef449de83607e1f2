//! A server, reached: its channel, and what every call to it carries.

mod secure;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use idhini_model::Timestamp;
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::authzed::api::v1::schema_service_client::SchemaServiceClient;
use idhini_wire::authzed::api::v1::watch_service_client::WatchServiceClient;
use idhini_wire::idhini::admin::v1::admin_service_client::AdminServiceClient;
use idhini_wire::idhini::v1::access_service_client::AccessServiceClient;
use idhini_wire::idhini::v1::namespace_service_client::NamespaceServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

pub(crate) use self::secure::tls_error;
use crate::arguments::{self, Connection, Consistency, Security};
use crate::client_file::{ClientFile, ClientFileError};
use crate::failure::Failure;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a call may take until it begins to answer.
const CALL_MAX: Duration = Duration::from_secs(60);
/// Silence after which the other side is asked whether it is still there, and how long it may take to say so.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Longest message taken from the server: a schema of the longest kind and what is around it.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Request metadata that asks about a moment in the past.
const AS_OF: &str = "idhini-as-of";
/// Request metadata that names the namespace that is asked about.
const NAMESPACE: &str = "x-idhini-namespace";

/// How long a call may take before it answers anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not for ever.
    Limited,
    /// As long as the other side is there: imports, and what follows changes.
    Endless,
}

/// A server, reached.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
    as_of: Option<MetadataValue<Ascii>>,
    namespace: Option<MetadataValue<Ascii>>,
}

/// What a server is asked with.
pub(crate) struct Means {
    /// Empty if there is none.
    pub(crate) token: String,
    /// Empty for the token's home.
    pub(crate) namespace: String,
    pub(crate) security: Security,
}

impl Server {
    pub(crate) async fn connect(connection: &Connection) -> Result<Server, Failure> {
        let Means { token, namespace, security } = means(connection)?;
        let server = Server::reach((&connection.addr, &security), Some(&token), Patience::Limited).await?;
        Ok(server.about(&namespace))
    }

    pub(crate) async fn connect_patiently(connection: &Connection) -> Result<Server, Failure> {
        let Means { token, namespace, security } = means(connection)?;
        let server = Server::reach((&connection.addr, &security), Some(&token), Patience::Endless).await?;
        Ok(server.about(&namespace))
    }

    /// Connects; with `None`, without a key.
    pub(crate) async fn reach(
        (address, security): (&str, &Security),
        token: Option<&str>,
        patience: Patience,
    ) -> Result<Server, Failure> {
        let address = address.to_owned();
        let is_tls = security.is_on();
        if !is_loopback(&address)? && !is_tls {
            return Err(Failure::Plaintext { address });
        }
        let bearer = token
            .filter(|token| !token.is_empty() || security.client_cert.is_none())
            .map(|token| format!("Bearer {token}").parse());
        let bearer = bearer.transpose().map_err(|_| Failure::MalformedToken)?;
        let scheme = if is_tls { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(|_| Failure::Address { address: address.clone() })?
            .connect_timeout(CONNECT_MAX);
        let endpoint = match patience {
            Patience::Limited => endpoint.timeout(CALL_MAX),
            Patience::Endless => endpoint.http2_keep_alive_interval(KEEPALIVE).keep_alive_timeout(KEEPALIVE),
        };
        let connected = match is_tls {
            true => secure::connect(&endpoint, security).await?,
            false => endpoint.connect().await,
        };
        let channel = connected.map_err(|source| Failure::Connect { address, is_tls, source })?;
        // A server that is not there is what is to be said first. A certificate may do instead of a token.
        if token == Some("") && security.client_cert.is_none() {
            return Err(Failure::NoToken);
        }
        Ok(Server { channel, token: bearer, as_of: None, namespace: None })
    }

    /// The same server, asked about this namespace; the empty one is the token's home.
    pub(crate) fn about(mut self, namespace: &str) -> Server {
        // Paths are checked where they are read, and what is none is refused by the server.
        self.namespace = Some(namespace).filter(|path| !path.is_empty()).and_then(|path| path.parse().ok());
        self
    }

    /// The same server, asked about all namespaces together.
    pub(crate) fn about_all(self) -> Server {
        self.about("")
    }

    /// The same server, asked as of when the arguments say; and what the request says of it.
    pub(crate) fn asked(mut self, of: &Consistency) -> (Server, Option<v1::Consistency>) {
        self.as_of = of.as_of.and_then(|moment: Timestamp| moment.to_string().parse().ok());
        let consistency = if self.as_of.is_some() { None } else { Some(consistency(of)) };
        (self, consistency)
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        if let Some(moment) = &self.as_of {
            request.metadata_mut().insert(AS_OF, moment.clone());
        }
        if let Some(namespace) = &self.namespace {
            request.metadata_mut().insert(NAMESPACE, namespace.clone());
        }
        request
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn namespaces(&self) -> NamespaceServiceClient<Channel> {
        NamespaceServiceClient::new(self.channel()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn access(&self) -> AccessServiceClient<Channel> {
        AccessServiceClient::new(self.channel()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn permissions(&self) -> PermissionsServiceClient<Channel> {
        PermissionsServiceClient::new(self.channel()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn schemas(&self) -> SchemaServiceClient<Channel> {
        SchemaServiceClient::new(self.channel()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn watches(&self) -> WatchServiceClient<Channel> {
        WatchServiceClient::new(self.channel()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The schema's text and the token that it was read at; nothing if there is no schema yet.
    pub(crate) async fn schema(&self) -> Result<Option<v1::ReadSchemaResponse>, Status> {
        match self.schemas().read_schema(self.request(v1::ReadSchemaRequest {})).await {
            Ok(answer) => Ok(Some(answer.into_inner())),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }
}

/// Without a wish, the newest: a person who asks wants to see what was just written.
fn consistency(of: &Consistency) -> v1::Consistency {
    let token = |token: &String| v1::ZedToken { token: token.clone() };
    let requirement = match of {
        Consistency { consistency_at_exactly: Some(at), .. } => Requirement::AtExactSnapshot(token(at)),
        Consistency { consistency_at_least: Some(at), .. } => Requirement::AtLeastAsFresh(token(at)),
        Consistency { consistency_min_latency: true, .. } => Requirement::MinimizeLatency(true),
        _ => Requirement::FullyConsistent(true),
    };
    v1::Consistency { requirement: Some(requirement) }
}

/// What was given; what was not, as the client file has it for this server: the namespace if the token is, and how to reach it.
pub(crate) fn means(connection: &Connection) -> Result<Means, Failure> {
    let Connection { addr, token, namespace, security, .. } = connection;
    let mut means = Means { token: token.clone(), namespace: namespace.clone(), security: security.clone() };
    // Nothing there could count: a file that cannot be used is no hindrance.
    if !means.token.is_empty() && means.security.is_on() {
        return Ok(means);
    }
    let found = match ClientFile::of_user().and_then(|file| file.entry(addr)) {
        Ok(entry) => entry,
        // Who has no home has no tokens there.
        Err(ClientFileError::Nowhere) => None,
        // Whoever brings a token may have nothing to do with the file.
        Err(_) if !means.token.is_empty() => None,
        Err(error) => return Err(error.into()),
    };
    let Some(entry) = found else { return Ok(means) };
    // Whoever says which certificate to show wants to be known by it.
    if means.token.is_empty() && means.security.client_cert.is_none() {
        means.token = entry.token;
        if means.namespace.is_empty() {
            means.namespace = namespace_of(entry.namespace)?;
        }
    }
    means.security = means.security.or(entry.security);
    Ok(means)
}

fn namespace_of(written: Option<String>) -> Result<String, Failure> {
    let Some(text) = written else { return Ok(String::new()) };
    arguments::path(&text).map_err(|why| Failure::ClientNamespace { why })
}

fn is_loopback(address: &str) -> Result<bool, Failure> {
    let malformed = || Failure::Address { address: address.to_owned() };
    if let Ok(address) = address.parse::<SocketAddr>() {
        return Ok(address.ip().is_loopback());
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    port.parse::<u16>().map_err(|_| malformed())?;
    // A URL is not an address either.
    if host.is_empty() || host.contains('/') {
        return Err(malformed());
    }
    Ok(host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}
