//! What was done to a data directory while no server held it, and is to be told by the next one.
//!
//! ```text
//! audit-untold   reset-root-token MOMENT HASH UID    a line for each reset; HASH as the file `root-token` has it
//! ```
//! Such a command has no sink of its own: it notes what it is about to do beside the key, where a trail is kept.
//!
//! # Invariants
//! * It is noted before it is done. Only what the directory shows to be done is told as done; the rest, such as a reset that
//!   another one followed, as not known.
//! * What is noted goes away only when a sink has it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use idhini_audit::{Actor, Detail, Event, Outcome, Settled, Trail};
use idhini_graph::Digest;
use idhini_model::Timestamp;
use idhini_replica::RootToken;

use super::{NO_REQUEST, key_file, root_token_hash};
use crate::failure::Failure;

const FILE: &str = "audit-untold";
const FILE_MODE: u32 = 0o600;
/// Resets of one directory that are noted at one time.
const BYTES_MAX: u64 = 64 << 10;
const RESET: &str = "reset-root-token";

/// A reset that was noted.
#[derive(Debug, PartialEq, Eq)]
struct Reset {
    at: Timestamp,
    token: RootToken,
    uid: u64,
}

/// Notes that the root token of a directory is about to be replaced by this one; durable on return. Nothing where no trail was
/// ever kept.
pub(crate) fn note_reset(data_dir: &Path, token: RootToken, at: Timestamp) -> Result<(), Failure> {
    if !key_file(data_dir).exists() {
        return Ok(());
    }
    let path = data_dir.join(FILE);
    let failed = |source| Failure::File { path: path.clone(), source };
    let uid = u64::from(rustix::process::getuid().as_raw());
    let line = format!("{RESET} {at} {} {uid}\n", Digest(token.hash));
    let noted = || {
        let mut file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(&path)?;
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        File::open(data_dir)?.sync_all()
    };
    noted().map_err(failed)
}

/// Puts on record what was noted, and takes it away when it is there.
pub(super) async fn tell(trail: &Trail, data_dir: &Path, now: Option<RootToken>) -> Result<(), Failure> {
    let path = data_dir.join(FILE);
    let failed = |source| Failure::File { path: path.clone(), source };
    let Some(text) = read(&path).map_err(failed)? else { return Ok(()) };
    for reset in text.lines().map(Reset::of) {
        let (event, outcome) = match reset {
            Some(reset) if now == Some(reset.token) => (reset.event(trail), Outcome::done(None)),
            Some(reset) => (reset.event(trail), not_known("the directory has another token now")),
            None => (event(Timestamp::from_seconds(0)), not_known("what was noted of it cannot be read")),
        };
        if trail.intent(event).await?.settle(outcome).await != Settled::Recorded {
            // It is told again by the next start.
            return Ok(());
        }
    }
    fs::remove_file(&path).map_err(failed)
}

fn not_known(why: &'static str) -> Outcome {
    Outcome::Unknown { why: why.into() }
}

fn event(at: Timestamp) -> Event {
    let actor = Actor { accessor: Some("command line".into()), ..Actor::default() };
    Event::new(at, NO_REQUEST.into(), Arc::new(actor), "ResetRootToken")
}

impl Reset {
    fn of(line: &str) -> Option<Reset> {
        let words: Vec<&str> = line.split(' ').collect();
        let [RESET, at, hash, uid] = words.as_slice() else { return None };
        let Digest(hash) = hash.parse().ok()?;
        Some(Reset { at: at.parse().ok()?, token: RootToken { hash }, uid: uid.parse().ok()? })
    }

    fn event(&self, trail: &Trail) -> Event {
        let details = vec![
            ("at".into(), Detail::Text(self.at.to_string().into())),
            ("root_token".into(), Detail::Secret(root_token_hash(trail, self.token))),
            ("uid".into(), Detail::Number(self.uid)),
        ];
        Event { details, ..event(self.at) }
    }
}

fn read(path: &PathBuf) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use idhini_graph::Digest;
    use idhini_model::Timestamp;
    use idhini_replica::RootToken;

    use super::Reset;

    #[test]
    fn what_is_noted_is_read_back_and_anything_else_is_none() {
        let token = RootToken::of("idhini_root_x");
        let hash = Digest(token.hash);
        let line = format!("reset-root-token 2027-01-15T08:00:00Z {hash} 1000");
        let at = Timestamp::from_seconds(1_800_000_000);
        assert_eq!(Reset::of(&line), Some(Reset { at, token, uid: 1000 }));
        let late = line.replace("2027-01-15T08:00:00Z", "yesterday");
        for bad in ["", "reset-root-token", &line[..line.len() - 5], &format!("{line} x"), &late] {
            assert_eq!(Reset::of(bad), None, "{bad}");
        }
    }
}
