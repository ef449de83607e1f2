//! What can be said to `ca`?

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use crate::authority::{Name, Usage};
use crate::configuration::seconds;

#[derive(Debug, Subcommand)]
pub(crate) enum AuthorityCommand {
    /// Make an authority: a certificate, and the key by which it certifies others
    Init(InitAuthority),
    /// Certify a server or a client: a certificate, and a key that is made for it
    Issue(Issue),
}

/// Which authority.
#[derive(Debug, Args)]
pub(crate) struct InitAuthority {
    /// The directory to put it in; made if it is not there
    pub(crate) directory: PathBuf,
    /// What the authority is called; `Idhini CA` and a number of its own unless said
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// How long it lasts, and with it everything that it certifies
    #[arg(long, default_value = "3650d", value_name = "TIME", value_parser = lifetime)]
    pub(crate) lifetime: u64,
}

/// Whom, and where to put it.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whom").required(true).multiple(true))]
pub(crate) struct Issue {
    /// The authority's directory, which `idhini ca init` made
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// A DNS name; repeat it for more, the first is what a client is known by
    #[arg(long, group = "whom", value_name = "NAME", value_parser = Name::dns)]
    pub(crate) name: Vec<Name>,
    /// An address; repeat it for more
    #[arg(long, group = "whom", value_name = "IP")]
    pub(crate) ip: Vec<IpAddr>,
    /// A SPIFFE id, by which a client is known rather than by its names, such as spiffe://example.org/billing
    #[arg(long, group = "whom", value_name = "ID", value_parser = Name::spiffe)]
    pub(crate) spiffe_id: Option<Name>,
    /// What it is good for
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) usage: Usage,
    /// How long it lasts, but never longer than the authority
    #[arg(long, default_value = "90d", value_name = "TIME", value_parser = lifetime)]
    pub(crate) lifetime: u64,
    /// Where to put both: OUT.pem and OUT-key.pem, in place of what is there
    #[arg(long, value_name = "OUT")]
    pub(crate) out: PathBuf,
}

impl Issue {
    /// All of them.
    pub(crate) fn names(&self) -> Vec<Name> {
        let addresses = self.ip.iter().copied().map(Name::Ip);
        self.spiffe_id.iter().chain(&self.name).cloned().chain(addresses).collect()
    }
}

fn lifetime(text: &str) -> Result<u64, String> {
    let given = seconds(text).filter(|seconds| *seconds > 0);
    given.ok_or_else(|| "a time is written as 12h or 90d".to_owned())
}
