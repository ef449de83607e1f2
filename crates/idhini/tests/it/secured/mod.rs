//! TLS: where it is needed, what is shown, what is taken, and what becomes of connections meanwhile.

mod authority;
mod clients;
mod command_line;
mod openssl;
mod refused;
mod reload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::eyes::Seen;
use crate::process::{KEY, Server, binary, folder, run};

/// An authority, in a folder of its own.
pub struct Authority {
    pub folder: PathBuf,
}

/// A client's certificate.
pub type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    pub fn new() -> Authority {
        let authority = Authority { folder: folder(&[]) };
        let made = run(&["ca", "init", &authority.path("ca")], &[], "");
        assert_eq!(made.status, 0, "{}", made.stderr);
        authority
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    pub fn ca_file(&self) -> String {
        self.path("ca/ca.pem")
    }

    /// Certifies; `NAME.pem` and `NAME-key.pem` are the files.
    pub fn issue(&self, name: &str, arguments: &[&str]) {
        let (directory, out) = (self.path("ca"), self.path(name));
        let issued =
            run(&[&["ca", "issue", "--dir", &directory, "--out", &out], arguments].concat(), &[], "");
        assert_eq!(issued.status, 0, "{}", issued.stderr);
    }

    pub fn shown(&self, name: &str) -> Shown {
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}-key.pem")));
        let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
        (chain, PrivateKeyDer::from_pem_file(key).unwrap())
    }

    /// A certificate for a server on this machine.
    pub fn server(&self, arguments: &[&str]) {
        self.issue("server", &[&["--name", "localhost", "--ip", "127.0.0.1"], arguments].concat());
    }

    /// A server with this authority's certificate, and its metrics.
    pub fn serve(&self, arguments: &[&str]) -> Seen {
        self.server(&[]);
        self.serve_given(arguments)
    }

    /// With the certificate that is there.
    pub fn serve_given(&self, arguments: &[&str]) -> Seen {
        let (certificate, key) = (self.path("server.pem"), self.path("server-key.pem"));
        let given = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
        Seen::of(binary(), &[&given, arguments].concat())
    }

    /// A server that issues certificates to itself.
    pub fn serve_own(&self, arguments: &[&str]) -> Seen {
        let directory = self.path("ca");
        Seen::of(binary(), &[&["--tls-ca-dir", &directory], arguments].concat())
    }

    pub fn client(&self, shown: Option<Shown>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca_file()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    /// A channel to a server, opened with this certificate or without one.
    pub async fn channel(
        &self,
        server: &Server,
        shown: Option<Shown>,
    ) -> Result<Channel, tonic::transport::Error> {
        let connector = self.client(shown);
        let address = server.address.clone();
        let connect = tower::service_fn(move |_| {
            let (connector, address) = (connector.clone(), address.clone());
            async move { secured(&connector, &address).await.map(TokioIo::new) }
        });
        Endpoint::from_static("https://localhost").connect_with_connector(connect).await
    }

    /// SHA-256 of what a server shows now.
    pub async fn fingerprint(&self, server: &Server) -> Option<String> {
        let stream = secured(&self.client(None), &server.address).await.ok()?;
        let shown = stream.get_ref().1.peer_certificates()?.first()?.clone();
        Some(idhini_server::Fingerprint::of(&shown).to_string())
    }
}

/// A server on every address of the machine is reached on this one.
pub fn here(address: &str) -> String {
    address.replace("0.0.0.0", "127.0.0.1")
}

async fn secured(connector: &TlsConnector, address: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(here(address)).await?;
    connector.connect(ServerName::try_from("localhost").unwrap(), socket).await
}

/// Of a command that is told the key of the tests.
pub fn with_key(arguments: &[&str], environment: &[(&str, &str)]) -> crate::process::Outcome {
    run(arguments, &[&[("IDHINI_TOKEN", KEY)], environment].concat(), "")
}

pub fn fingerprint_of(path: &Path) -> String {
    idhini_server::Fingerprint::of(&CertificateDer::from_pem_file(path).unwrap()).to_string()
}
