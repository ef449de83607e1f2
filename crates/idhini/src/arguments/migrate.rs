//! What can be said to `migrate`?

use std::path::PathBuf;

use clap::Args;

/// From where, and until when.
///
/// The server to fill is named as for every command, by --addr or IDHINI_ADDR, and its key is set as IDHINI_TOKEN:
/// --token is the SpiceDB's key here.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Where the SpiceDB listens
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) from: String,
    /// Speak TLS to the SpiceDB; --tls is for the server to fill
    #[arg(long)]
    pub(crate) from_tls: bool,
    /// The authorities that certify the SpiceDB, as PEM, instead of those of this machine
    #[arg(long, value_name = "FILE")]
    pub(crate) from_ca_file: Option<PathBuf>,
    /// The SpiceDB's preshared key, if not given as --token; better set as SPICEDB_TOKEN, where other users of the
    /// machine do not see it
    #[arg(long, env = "SPICEDB_TOKEN", hide_env_values = true, value_name = "KEY")]
    pub(crate) from_token: Option<String>,
    /// Go on with a migration that was interrupted: what is there and not in the SpiceDB is deleted
    #[arg(long)]
    pub(crate) resume: bool,
    /// Do not wait for an interrupt: cut over as soon as everything was told that the SpiceDB had
    #[arg(long)]
    pub(crate) until_caught_up: bool,
    /// How many questions are put to both at the end; their answers must be equal
    #[arg(long, default_value_t = 10_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub(crate) sample_checks: u32,
    /// Which questions these are: the same number draws the same ones of the same relationships
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub(crate) sample_seed: u64,
}
