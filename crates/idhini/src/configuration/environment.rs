//! What the environment says: every variable whose name begins with `IDHINI_`.
//!
//! # Invariants
//! * Such a variable is a setting, or known to be somebody else's, or a mistake. Somebody else's are those of the command
//!   line, those by which a test chooses a wrong store, and those that Kubernetes sets in every container beside a service
//!   whose name begins with `idhini`.
//! * A setting of another kind of server is not a mistake: an environment is shared.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::mistake::suggestion;
use super::table::{self, Kind, Setting};
use super::{Layer, Mistake, Origin, Said, Server};

/// What all names begin with.
pub(super) const PREFIX: &str = "IDHINI_";
/// The file with settings.
const CONFIG: &str = "IDHINI_CONFIG";
/// Of the command line, and of tests of stores that are wrong on purpose.
const OTHERS: [&str; 11] = [
    "IDHINI_ADDR",
    "IDHINI_TOKEN",
    "IDHINI_NAMESPACE",
    "IDHINI_UNLOCK_KEY",
    "IDHINI_TLS",
    "IDHINI_CA_FILE",
    "IDHINI_CLIENT_CERT",
    "IDHINI_CLIENT_KEY",
    "IDHINI_TLS_PIN",
    "IDHINI_CLIENT_FILE",
    "IDHINI_BROKEN_LOG",
];
/// Between several keys.
const KEY_SEPARATOR: char = ',';

/// What it says.
#[derive(Default)]
pub(super) struct Environment {
    pub(super) config: Option<PathBuf>,
    pub(super) layer: Layer,
}

/// Reads the variables, sorted, so that mistakes are told in the same order every time.
pub(super) fn read(
    server: Server,
    variables: impl Iterator<Item = (OsString, OsString)>,
    mistakes: &mut Vec<Mistake>,
) -> Environment {
    let mut environment = Environment::default();
    let mut variables: Vec<(String, OsString)> = variables
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    variables.sort_unstable();
    for (name, value) in variables {
        if let Some(setting) = table::settings().find(|setting| setting.variable() == name) {
            if setting.is_of(server) {
                let values = values(setting, value);
                environment.layer.push((setting, Said { values, origin: Origin::Environment }));
            }
        } else if name == CONFIG {
            if value.is_empty() {
                mistakes.push(Mistake::new(name, "it is empty", "name a file, or unset it"));
            } else {
                environment.config = Some(PathBuf::from(value));
            }
        } else if !OTHERS.contains(&name.as_str()) && !is_service_link(&name, &value) {
            let known = table::of(server).map(Setting::variable).chain([CONFIG.to_owned()]);
            let remedy = match suggestion(&name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "unset it; `idhini config print` shows what there is".to_owned(),
            };
            mistakes.push(Mistake::new(name, "there is no such setting", remedy));
        }
    }
    environment
}

fn values(setting: &Setting, value: OsString) -> Vec<OsString> {
    match (&setting.kind, value.to_str()) {
        (Kind::Keys { .. }, Some(keys)) => keys.split(KEY_SEPARATOR).map(OsString::from).collect(),
        _ => vec![value],
    }
}

/// Such as `IDHINI_SERVICE_HOST`, `IDHINI_READER_SERVICE_PORT_GRPC`, `IDHINI_PORT_50051_TCP_ADDR`, and `IDHINI_PORT` with
/// `tcp://10.0.0.1:50051`.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    let of_port = |at: usize| name[at..].starts_with(|c: char| c.is_ascii_digit());
    name.ends_with("SERVICE_HOST")
        || name.ends_with("SERVICE_PORT")
        || name.contains("SERVICE_PORT_")
        || name.match_indices("PORT_").any(|(at, found)| of_port(at + found.len()))
        || name.ends_with("PORT") && value.to_str().is_some_and(|value| value.contains("://"))
}
