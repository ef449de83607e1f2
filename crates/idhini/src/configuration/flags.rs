//! What the command line says: a flag for each row of the table, its text taken as it is and judged later with the rest.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::table::{self, Kind, Setting};
use super::{Layer, Origin, Said, Server};

/// The file's own flag.
const CONFIG: &str = "config";

/// What was said on the command line.
#[derive(Clone, Default)]
pub(crate) struct Flags {
    pub(super) config: Option<PathBuf>,
    given: Vec<(&'static Setting, Vec<OsString>)>,
}

/// Keys stay secret.
impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.given.iter().map(|(setting, _)| setting.name).collect();
        f.debug_struct("Flags").field("config", &self.config).field("given", &names).finish()
    }
}

/// Those of `idhini serve`.
#[derive(Debug, Clone)]
pub(crate) struct ServeFlags(pub(crate) Flags);

/// Those of `idhini serve-testing`.
#[derive(Debug, Clone)]
pub(crate) struct ServeTestingFlags(pub(crate) Flags);

impl Flags {
    pub(super) fn layer(&self) -> Layer {
        let said = |values: &Vec<OsString>| Said { values: values.clone(), origin: Origin::Flag };
        self.given.iter().map(|(setting, values)| (*setting, said(values))).collect()
    }

    fn augment(command: Command, server: Server) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("A TOML file with settings, named as their flags are [env: IDHINI_CONFIG]");
        table::of(server).fold(command.arg(config), |command, setting| command.arg(arg(setting)))
    }

    fn of(matches: &ArgMatches, server: Server) -> Flags {
        let values = |setting: &Setting| matches.get_many::<OsString>(setting.name);
        let given = table::of(server)
            .filter_map(|setting| Some((setting, values(setting)?.cloned().collect())))
            .collect();
        Flags { config: matches.get_one(CONFIG).cloned(), given }
    }
}

fn arg(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.kind.shape())
        .value_parser(value_parser!(OsString))
        .help_heading(setting.heading)
        .hide_short_help(setting.is_detail);
    let mut help = setting.doc.to_owned();
    if let Some(default) = setting.default() {
        help.push_str(&format!(" [default: {default}]"));
    }
    help.push_str(&format!(" [env: {}]", setting.variable()));
    match setting.kind {
        Kind::Switch { .. } => {
            arg.num_args(0..=1).require_equals(true).default_missing_value("true").help(help)
        }
        Kind::Keys { .. } => arg.action(ArgAction::Append).help(help),
        _ => arg.help(help),
    }
}

/// Neither is used to change flags that were read before.
macro_rules! flags_of {
    ($flags:ident, $server:expr) => {
        impl FromArgMatches for $flags {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok($flags(Flags::of(matches, $server)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }

        impl Args for $flags {
            fn augment_args(command: Command) -> Command {
                Flags::augment(command, $server)
            }

            fn augment_args_for_update(command: Command) -> Command {
                Flags::augment(command, $server)
            }
        }
    };
}

flags_of!(ServeFlags, Server::Serve);
flags_of!(ServeTestingFlags, Server::ServeTesting);
