//! Who may call a server that was given no keys? Whoever has its root token, which is made at its first start.
//!
//! # Invariants
//! * A token counts only after its hash is stored, and its hash is stored only after it was written to the client file or
//!   shown on a terminal: a start that ends in between leaves a token that never counted, and the next start makes another.
//! * It is shown once, and only where a person looks on; it is in no log.
//! * Where there are preshared keys, they alone count.

use std::io::IsTerminal as _;

use clap::Args;
use idhini_changelog::FileDisk;
use idhini_changelog::disk::Disk;
use idhini_replica::{Identity, RootToken, RootTokenError};
use idhini_server::Keys;
use serde_json::json;

use crate::arguments::Security;
use crate::audit;
use crate::client_file::{ClientFile, ClientFileError, Entry, Place, vacate};
use crate::clock::now;
use crate::entropy::random;
use crate::failure::Failure;
use crate::output::{self, Style};

/// Says what it is wherever it turns up.
pub(crate) const PREFIX: &str = "idhini_root_";
/// Characters behind the prefix: more than 142 bits.
const LENGTH: usize = 24;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whose token.
#[derive(Debug, Args)]
pub(crate) struct Reset {
    /// The data directory
    #[arg(long, env = "IDHINI_DATA_DIR", default_value = "./idhini.data", value_name = "DIR")]
    data_dir: std::path::PathBuf,
}

/// The keys of a server that has a data directory.
pub(crate) fn of_directory(disk: &dyn Disk, place: Place<'_>, style: Style) -> Result<Keys, Failure> {
    let keys = |token: RootToken| Keys::default().or_root_token(token.hash);
    if let Some(token) = RootToken::read(disk)? {
        let found = ClientFile::of_user().and_then(|file| {
            // Most starts find everything in order, and need no lock.
            if file.read()?.is_empty() { Ok(()) } else { file.change(|all| moved(all, token, place)) }
        });
        warn(found);
        return Ok(keys(token));
    }
    let text = draw()?;
    introduce(&text, place, false, style)?;
    let token = RootToken::of(&text);
    token.write(disk)?;
    Ok(keys(token))
}

/// The keys of a server that keeps nothing, and the token, which is to be [`forget`]-ed with it.
pub(crate) fn of_run(place: Place<'_>, style: Style) -> Result<(Keys, String), Failure> {
    let token = draw()?;
    introduce(&token, place, true, style)?;
    Ok((Keys::default().or_root_token(RootToken::of(&token).hash), token))
}

/// Takes the token of a server that ends out of the client file.
pub(crate) fn forget(token: &str) {
    let forgotten = |entries: &mut Vec<Entry>| {
        let before = entries.len();
        entries.retain(|entry| entry.token != token);
        entries.len() < before
    };
    // Otherwise the next server at the address does it.
    let _ = ClientFile::of_user().and_then(|file| file.change(forgotten));
}

/// A server with keys of its own took an address: whoever was there before is there no more.
pub(crate) fn replace_at(address: &str) {
    let vacated = ClientFile::of_user().and_then(|file| {
        if file.entry(address)?.is_none() { Ok(()) } else { file.change(|entries| vacate(entries, address)) }
    });
    warn(vacated);
}

/// Makes another root token for a directory.
pub(crate) fn reset(Reset { data_dir }: &Reset, is_json: bool, style: Style) -> Result<(), Failure> {
    if !data_dir.is_dir() {
        return Err(Failure::NoDirectory { path: data_dir.clone() });
    }
    let disk = FileDisk::open(data_dir)?;
    if Identity::read(&disk)?.is_none() {
        return Err(Failure::NoData { path: data_dir.clone() });
    }
    let before = match RootToken::read(&disk) {
        // This is how it is mended.
        Err(RootTokenError::Damaged { .. }) => None,
        read => read?,
    };
    let token = draw()?;
    let kept = ClientFile::of_user().and_then(|file| {
        file.change(|entries| {
            match entries.iter_mut().find(|entry| Some(RootToken::of(&entry.token)) == before) {
                Some(entry) => entry.token.clone_from(&token),
                // Its next start says where it listens.
                None => entries.push(Entry {
                    address: None,
                    token: token.clone(),
                    is_ephemeral: false,
                    namespace: None,
                    security: Security::default(),
                }),
            }
            true
        })
    });
    if let Some(complaint) = complaint(kept) {
        output::notice(&complaint, style);
    }
    // Who runs this asks for the token, be it into a pipe.
    match is_json {
        true => output::said(&format!("{:#}", json!({ "token": token }))),
        false => output::said(&token),
    }
    let token = RootToken::of(&token);
    audit::note_reset(data_dir, token, now())?;
    Ok(token.write(&disk)?)
}

/// Writes a new token to the client file and shows it.
fn introduce(token: &str, place: Place<'_>, is_ephemeral: bool, style: Style) -> Result<(), Failure> {
    let kept = ClientFile::of_user().and_then(|file| {
        file.change(|entries| {
            vacate(entries, place.address);
            entries.push(Entry {
                address: Some(place.address.to_owned()),
                token: token.to_owned(),
                is_ephemeral,
                namespace: None,
                security: place.security.clone(),
            });
            true
        })?;
        Ok(file.path().display().to_string())
    });
    let is_watched = std::io::stderr().is_terminal();
    let text = match (kept, is_watched) {
        (Ok(path), true) => {
            format!(
                "root token, shown only now: {token}\n       the command line on this machine finds it in {path}"
            )
        }
        (Ok(path), false) => {
            tracing::info!("a root token was made; the command line on this machine finds it in {path}");
            return Ok(());
        }
        (Err(error), true) => format!(
            "root token, shown only now: {token}\n       the command line will not find it: {error}; {}",
            error.remedy()
        ),
        (Err(source), false) => return Err(Failure::TokenNowhere { source }),
    };
    output::notice(&text, style);
    Ok(())
}

/// A server that has been there before listens here.
fn moved(entries: &mut Vec<Entry>, token: RootToken, place: Place<'_>) -> bool {
    let found = |entries: &[Entry]| entries.iter().position(|entry| RootToken::of(&entry.token) == token);
    if let Some(at) = found(entries)
        && entries[at].address.as_deref() == Some(place.address)
    {
        return entries[at].put(place);
    }
    let vacated = vacate(entries, place.address);
    match found(entries) {
        Some(at) => entries[at].put(place),
        None => vacated,
    }
}

/// What to say if the client file is not as it should be; that is no reason to stop.
fn complaint(outcome: Result<(), ClientFileError>) -> Option<String> {
    match outcome {
        // Who has no file needs none.
        Ok(()) | Err(ClientFileError::Nowhere) => None,
        Err(error) => {
            Some(format!("the command line may not find the server's token: {error}; {}", error.remedy()))
        }
    }
}

fn warn(outcome: Result<(), ClientFileError>) {
    if let Some(complaint) = complaint(outcome) {
        tracing::warn!("{complaint}");
    }
}

/// A new token: each of its characters is any of the 62, with the same chance.
fn draw() -> Result<String, Failure> {
    /// The largest multiple of 62 that a byte counts to; what is above would favour some characters.
    const FAIR: u8 = (256 / ALPHABET.len() * ALPHABET.len()) as u8;
    let mut token = PREFIX.to_owned();
    // Ends: a byte is fair with a chance of 248 in 256.
    while token.len() < PREFIX.len() + LENGTH {
        let fair = random::<LENGTH>()?.into_iter().filter(|byte| *byte < FAIR);
        let missing = PREFIX.len() + LENGTH - token.len();
        token.extend(fair.take(missing).map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{LENGTH, PREFIX, draw};

    #[test]
    fn a_token_is_a_prefix_and_24_characters_each_as_likely_as_any_other() {
        const TOKENS: usize = 4_000;
        let mut counts: HashMap<char, usize> = HashMap::new();
        for _ in 0..TOKENS {
            let token = draw().unwrap();
            let drawn = token.strip_prefix(PREFIX).unwrap();
            assert!(drawn.len() == LENGTH && drawn.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            drawn.chars().for_each(|c| *counts.entry(c).or_default() += 1);
        }
        // 1548 each, with a deviation of 39; a byte taken modulo 62 would give the first eight a quarter more.
        assert_eq!(counts.len(), 62);
        let mean = TOKENS * LENGTH / 62;
        assert!(counts.values().all(|count| count.abs_diff(mean) < 250), "{counts:?}");
    }
}
