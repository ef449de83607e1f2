//! What was asked for on the command line?

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Questions asked by default, and the fewest that a default run is content with.
pub const QUESTIONS_DEFAULT: usize = 300_000;
/// A run of the default size that asks fewer than these has shown too little.
pub const QUESTIONS_MIN: usize = 100_000;

/// Does Idhini decide about a directory tree as the Linux kernel does? Reads one, asks both, compares.
///
/// Exit status: 0 if they agree on every question, and at least a fifth of the answers are yes and a fifth no;
/// 1 if not; 2 if the run could not be made.
#[derive(Debug, Parser)]
#[command(version, name = "posix", args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    #[command(subcommand)]
    pub hidden: Option<Hidden>,
    #[command(flatten)]
    pub options: Options,
}

#[derive(Debug, Subcommand)]
pub enum Hidden {
    /// The child process that becomes an account and asks the kernel.
    #[command(name = crate::probe::SUBCOMMAND, hide = true)]
    Probe {
        #[arg(long)]
        uid: u32,
        #[arg(long)]
        gid: u32,
        #[arg(long, value_delimiter = ',')]
        groups: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub struct Options {
    /// The trees to read.
    #[arg(long, value_name = "DIR,…", value_delimiter = ',', default_value = "/usr,/etc,/var")]
    pub roots: Vec<PathBuf>,

    /// Where to make the tree of hard cases: a directory on a file system with POSIX ACLs.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub tree: PathBuf,

    /// Ask about only one of the two.
    #[arg(long)]
    pub only: Option<Only>,

    /// How many questions to ask.
    #[arg(long, value_name = "N", default_value_t = QUESTIONS_DEFAULT)]
    pub questions: usize,

    /// Decides which questions are drawn and what the random part of the made tree is.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Make a small tree of hard cases: every 37th mode, few random inodes.
    #[arg(long)]
    pub small: bool,

    /// Leave the made tree on disk.
    #[arg(long)]
    pub keep: bool,

    /// A server that speaks authzed.api.v1 and holds nothing else. Without it, one is started.
    #[arg(long, env = "IDHINI_ADDR", value_name = "HOST:PORT")]
    pub addr: Option<String>,

    /// The server's preshared key.
    #[arg(long, env = "IDHINI_TOKEN", default_value = "", hide_env_values = true, hide_default_value = true)]
    pub token: String,

    /// The server's program, to be started for this run [default: `idhini` beside this program].
    #[arg(long, value_name = "PATH", conflicts_with = "addr")]
    pub serve: Option<PathBuf>,

    /// Another schema instead of `schema.zed`, to see what a wrong one gets wrong.
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,

    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// The trees that the machine has.
    Roots,
    /// The tree of hard cases.
    Made,
}
