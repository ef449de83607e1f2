//! How is a server reached so that nobody can read on the way?

use std::path::PathBuf;

use clap::Args;
use idhini_server::Pin;

/// What is trusted, and what is shown. What is not said here, the client file may say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Security {
    /// Speak TLS; any of the following says so too
    #[arg(
        id = "speak-tls",
        long = "tls",
        global = true,
        env = "IDHINI_TLS",
        help_heading = "TLS of the command line"
    )]
    pub(crate) is_tls: bool,
    /// The authorities that certify servers, as PEM, instead of those of this machine
    #[arg(
        long,
        global = true,
        env = "IDHINI_CA_FILE",
        value_name = "FILE",
        help_heading = "TLS of the command line"
    )]
    pub(crate) ca_file: Option<PathBuf>,
    /// A certificate to show, as PEM
    #[arg(
        long,
        global = true,
        env = "IDHINI_CLIENT_CERT",
        value_name = "FILE",
        help_heading = "TLS of the command line"
    )]
    pub(crate) client_cert: Option<PathBuf>,
    /// Its private key, as PEM
    #[arg(
        long,
        global = true,
        env = "IDHINI_CLIENT_KEY",
        value_name = "FILE",
        help_heading = "TLS of the command line"
    )]
    pub(crate) client_key: Option<PathBuf>,
    /// Take no server's certificate but this: sha256:HEX, or one of this name, whatever --addr says; with commas between
    /// several. A fingerprint needs no authority
    #[arg(
        long,
        global = true,
        env = "IDHINI_TLS_PIN",
        value_name = "PIN",
        value_delimiter = ',',
        help_heading = "TLS of the command line"
    )]
    pub(crate) tls_pin: Vec<Pin>,
}

impl Security {
    /// Whether TLS is spoken.
    pub(crate) fn is_on(&self) -> bool {
        let Security { is_tls, ca_file, client_cert, client_key, tls_pin } = self;
        *is_tls || ca_file.is_some() || client_cert.is_some() || client_key.is_some() || !tls_pin.is_empty()
    }

    /// What is not said here, as it is said there.
    pub(crate) fn or(self, other: Security) -> Security {
        // A certificate goes with its key.
        let (client_cert, client_key) = match (self.client_cert, self.client_key) {
            (None, None) => (other.client_cert, other.client_key),
            said => said,
        };
        Security {
            is_tls: self.is_tls || other.is_tls,
            ca_file: self.ca_file.or(other.ca_file),
            client_cert,
            client_key,
            tls_pin: if self.tls_pin.is_empty() { other.tls_pin } else { self.tls_pin },
        }
    }
}
