//! What does the kernel say? Asks `faccessat` in a child process that runs as the account.
//!
//! The child is this same program: it drops to the account's user id, group id and supplementary groups, checks that
//! it did, and answers questions from its standard input until that ends.
//!
//! Question: a digit (the `access` mode, 0 to 7), the path, a zero byte. Reply: eight bytes of effective
//! capabilities, then one byte for each question: the error number, 0 for *yes*.
//!
//! # Invariants
//! * Real, effective and saved ids are set alike, so it makes no difference which of them `faccessat` uses.
//! * The child has one thread: Linux keeps ids by thread.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufWriter, Read, Write};
use std::process::{Command, Stdio};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::process::{getegid, geteuid, getgid, getgroups, getuid};
use rustix::thread::{CapabilitySet, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use rustix::{fs::Gid, fs::Uid};

use crate::accounts::Account;
use crate::relationships::Capabilities;

/// The hidden subcommand that makes this program the child.
pub const SUBCOMMAND: &str = "__probe";

const PATH_BYTES_MAX: u64 = 4_096;
const CAPABILITY_BYTES: usize = 8;

/// What the kernel answered, in the order of the questions.
pub struct Answers {
    /// What the child may override.
    pub capabilities: Capabilities,
    /// Error numbers: 0 is *yes*.
    pub errors: Vec<u8>,
}

/// Asks, as `account`, whether each path may be accessed with its mode.
///
/// # Errors
/// If the child cannot be started, cannot become the account, or answers too little.
pub fn ask<'a>(
    account: &Account,
    questions: impl Iterator<Item = (u8, &'a [u8])> + Send,
) -> io::Result<Answers> {
    let mut groups = String::new();
    for gid in &account.supplementary {
        let _ = write!(groups, "{}{gid}", if groups.is_empty() { "" } else { "," });
    }
    let mut child = Command::new(std::env::current_exe()?)
        .arg(SUBCOMMAND)
        .args(["--uid", &account.uid.to_string(), "--gid", &account.gid.to_string(), "--groups", &groups])
        .current_dir("/")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (Some(input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("the child has no standard streams"));
    };
    let mut reply = Vec::new();
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let mut input = BufWriter::new(input);
            let mut sent = 0_usize;
            for (mode, path) in questions {
                input.write_all(&[b'0' + mode])?;
                input.write_all(path)?;
                input.write_all(&[0])?;
                sent += 1;
            }
            input.flush().map(|()| sent)
        });
        let read = output.read_to_end(&mut reply);
        let sent = sender.join().unwrap_or_else(|_| Err(io::Error::other("the sending thread failed")));
        read.and(sent)
    });
    let ended = child.wait_with_output()?;
    let failed = |what: String| {
        let said = String::from_utf8_lossy(&ended.stderr);
        io::Error::other(format!("the child that runs as {} {what}: {}", account.name, said.trim()))
    };
    if !ended.status.success() {
        return Err(failed(format!("ended with {}", ended.status)));
    }
    let (capabilities, errors) = reply
        .split_first_chunk::<CAPABILITY_BYTES>()
        .filter(|(_, errors)| sent.as_ref().is_ok_and(|sent| errors.len() == *sent))
        .ok_or_else(|| failed("did not answer every question".to_owned()))?;
    let held = CapabilitySet::from_bits_retain(u64::from_le_bytes(*capabilities));
    let capabilities = Capabilities {
        dac_override: held.contains(CapabilitySet::DAC_OVERRIDE),
        dac_read_search: held.contains(CapabilitySet::DAC_READ_SEARCH),
    };
    Ok(Answers { capabilities, errors: errors.to_vec() })
}

/// The child: becomes the account, and answers what it is asked.
///
/// # Errors
/// If it cannot become the account, or its streams fail.
pub fn answer(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    become_account(uid, gid, groups)?;
    let capabilities = rustix::thread::capabilities(None)?.effective;
    let (mut input, mut output) = (io::stdin().lock(), BufWriter::new(io::stdout().lock()));
    output.write_all(&capabilities.bits().to_le_bytes())?;
    let mut question = Vec::new();
    loop {
        question.clear();
        let length = input.by_ref().take(PATH_BYTES_MAX + 2).read_until(0, &mut question)?;
        if length == 0 {
            return output.flush();
        }
        let Some((&mode, path)) = question.split_first().filter(|_| question.ends_with(&[0])) else {
            return Err(io::Error::other("a question is cut short or too long"));
        };
        let access = Access::from_bits_truncate(u32::from(mode & 7));
        let path = path.strip_suffix(&[0]).unwrap_or(path);
        let reply = match rustix::fs::accessat(CWD, path, access, AtFlags::empty()) {
            Ok(()) => 0,
            Err(errno) => u8::try_from(errno.raw_os_error()).unwrap_or(u8::MAX),
        };
        output.write_all(&[reply])?;
    }
}

fn become_account(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let set = set_thread_groups(&groups)
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid));
    set.map_err(|errno| {
        io::Error::other(format!("{errno}; it takes CAP_SETUID and CAP_SETGID to become others"))
    })?;
    let mut held = getgroups()?;
    let mut wanted = groups;
    held.sort_unstable_by_key(|gid| gid.as_raw());
    wanted.sort_unstable_by_key(|gid| gid.as_raw());
    let became = getuid() == uid && geteuid() == uid && getgid() == gid && getegid() == gid && held == wanted;
    if became { Ok(()) } else { Err(io::Error::other("the ids did not take effect")) }
}
