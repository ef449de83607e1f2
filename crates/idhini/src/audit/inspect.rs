//! `idhini audit`: is a trail whole, and what is in it?

use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};

use idhini_audit::query::{Filter, query};
use idhini_audit::verify::{Against, Cut, Verified, bytes, verify};
use idhini_audit::{Keys, PublicKey};
use idhini_replica::RootToken;
use serde_json::{Value, json};

use super::key_file;
use crate::arguments::{AuditCommand, Query, Trail};
use crate::failure::Failure;
use crate::files::read_text;
use crate::output::{self, Style};
use crate::progress::bar;

/// A trail that is not whole: the exit status of a test that fails.
const STATUS_FAULT: u8 = 1;
/// Longest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Answers the exit status.
pub(crate) fn run(command: &AuditCommand, is_json: bool, style: Style) -> Result<u8, Failure> {
    match command {
        AuditCommand::Verify { trail, kept, accept_cuts } => {
            verified(trail, kept, *accept_cuts, is_json, style)
        }
        AuditCommand::Checkpoint { trail } => checkpoint(trail, is_json, style),
        AuditCommand::Query(asked) => queried(asked, is_json, style).map(|()| 0),
        AuditCommand::Hash { data_dir } => hash(data_dir, is_json).map(|()| 0),
    }
}

fn keys(data_dir: &Path) -> Result<Keys, Failure> {
    let path = key_file(data_dir);
    Keys::read(&path)?.ok_or(Failure::NoAuditKey { path })
}

fn public(trail: &Trail) -> Result<PublicKey, Failure> {
    trail.key.map_or_else(|| keys(&trail.data_dir).map(|keys| keys.public()), Ok)
}

/// Goes through all records.
fn read(trail: &Trail, against: Against<'_>, style: Style) -> Result<(PublicKey, Verified), Failure> {
    let key = public(trail)?;
    let bar = bar(bytes(&trail.directory)?, style);
    let verified = verify(&trail.directory, &key, against, &mut |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    Ok((key, verified?))
}

fn verified(
    trail: &Trail,
    kept: &[PathBuf],
    accepts_cuts: bool,
    is_json: bool,
    style: Style,
) -> Result<u8, Failure> {
    let mut checkpoints = Vec::new();
    for path in kept {
        for (at, line) in read_text(path)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let checkpoint = line.parse();
            checkpoints
                .push(checkpoint.map_err(|_| Failure::NoCheckpoint { path: path.clone(), line: at + 1 })?);
        }
    }
    let (_, verified) = read(trail, Against { kept: &checkpoints, accepts_cuts }, style)?;
    let status = if verified.fault.is_some() { STATUS_FAULT } else { 0 };
    if is_json {
        output::json(&as_json(&verified));
        return Ok(status);
    }
    let Verified { records, first, last, checkpoints, unsigned, open, too_old, cuts, .. } = &verified;
    match &verified.fault {
        Some(finding) => output::line_of("failed", &finding.to_string(), style),
        None => output::line_of(
            "passed",
            &format!("{records} records, {first} to {last}, are as they were written"),
            style,
        ),
    }
    let signed = verified.signed_at.map_or_else(|| "none".to_owned(), |at| format!("the last of {at}"));
    output::part(
        "checkpoints",
        &format!("{checkpoints}, {signed}; {unsigned} records stand behind it"),
        style,
    );
    if *too_old > 0 {
        output::part(
            "kept",
            &format!("{too_old} checkpoints are about records that are no longer kept"),
            style,
        );
    }
    for Cut { file, bytes, is_unfinished, .. } in cuts {
        let what = match is_unfinished {
            Some(true) => "a record that a crash left unfinished; nobody was told that it was written",
            Some(false) => "no unfinished record: it may be records",
            None => "not looked at, as a fault comes before it",
        };
        output::part("cut off", &format!("{file}, {bytes} bytes: {what}"), style);
    }
    if *open > 0 {
        output::part(
            "open",
            &format!("{open} calls have no end on record: they go on, or a crash ended them"),
            style,
        );
    }
    for intent in &verified.open_named {
        output::part(
            "",
            &format!("record {} of {}, line {}, {}", intent.seq, intent.file, intent.line, intent.at),
            style,
        );
    }
    Ok(status)
}

fn as_json(verified: &Verified) -> Value {
    let finding = verified.fault.as_ref().map(|finding| {
        json!({
            "file": finding.file, "line": finding.line, "record": finding.seq, "message": finding.to_string(),
        })
    });
    let open: Vec<Value> = verified
        .open_named
        .iter()
        .map(|open| json!({"intent": open.intent, "file": open.file, "line": open.line, "record": open.seq, "at": open.at}))
        .collect();
    let cuts: Vec<Value> = verified
        .cuts
        .iter()
        .map(|cut| json!({"file": cut.file, "bytes": cut.bytes, "behind": cut.behind, "isUnfinished": cut.is_unfinished}))
        .collect();
    json!({
        "isWhole": verified.fault.is_none(), "fault": finding,
        "records": verified.records, "first": verified.first, "last": verified.last,
        "head": verified.head.to_string(), "checkpoints": verified.checkpoints, "unsigned": verified.unsigned,
        "signedAt": verified.signed_at.map(|at| at.to_string()),
        "openCount": verified.open, "open": open, "keptTooOld": verified.too_old,
        "cuts": cuts,
    })
}

fn checkpoint(trail: &Trail, is_json: bool, style: Style) -> Result<u8, Failure> {
    let (key, verified) = read(trail, Against::default(), style)?;
    if let Some(finding) = verified.fault {
        return Err(Failure::AuditFault { finding });
    }
    let checkpoint = verified.checkpoint.ok_or(Failure::NothingSigned { path: trail.directory.clone() })?;
    if is_json {
        output::json(&json!({"checkpoint": checkpoint.to_string(), "key": key.to_string()}));
    } else {
        output::line(&checkpoint.to_string());
        output::aside(&format!("verify with --key {key}"));
    }
    Ok(0)
}

fn queried(asked: &Query, is_json: bool, style: Style) -> Result<(), Failure> {
    let Query { directory, actor, namespace, resource, call, outcome, request, since, until, limit } = asked;
    let filter = Filter {
        actor: actor.clone(),
        namespace: namespace.clone(),
        resource: resource.clone(),
        call: call.clone(),
        outcome: outcome.clone(),
        request: request.clone(),
        from: *since,
        until: *until,
    };
    let mut left = limit.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(());
    }
    let asked = query(directory, &filter, &mut |row| {
        if is_json {
            output::json_line(row.record);
        } else {
            told(row.record, row.is_open, style);
        }
        left -= 1;
        left > 0
    })?;
    if asked.bad > 0 {
        output::notice(&format!("{} lines are no records: see `idhini audit verify`", asked.bad), style);
    }
    Ok(())
}

/// A record in a line: how it ended, when, who, what, on what.
fn told(record: &Value, is_open: bool, style: Style) {
    let text = |name: &str| record[name].as_str().unwrap_or_default();
    let (kind, outcome) = (text("kind"), text("outcome"));
    let word = match (is_open, outcome) {
        (true, _) => "unended",
        (false, "") => kind,
        (false, outcome) => outcome,
    };
    let who =
        ["accessor", "certificate", "address", "actor"].into_iter().map(text).find(|name| !name.is_empty());
    let mut line = format!("{}  {:<24}  {}", text("at"), text("call"), who.unwrap_or("nobody known"));
    for (name, what) in
        [("namespace", "on "), ("resource", ""), ("answer", "answer "), ("code", ""), ("why", "")]
    {
        if !text(name).is_empty() {
            line.push_str(&format!("  {what}{}", text(name)));
        }
    }
    if let Some(revision) = record["revision"].as_u64() {
        line.push_str(&format!("  at revision {revision}"));
    }
    if let Some(count) = record["withheld"].as_u64() {
        line.push_str(&format!("  {count} refusals were not recorded"));
    }
    output::line_of(word, &line, style);
    if let Some(details) = record["details"].as_object() {
        for (name, value) in details {
            for value in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
                let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                output::part(name, plain.lines().next().unwrap_or_default(), style);
            }
        }
    }
}

fn hash(data_dir: &Path, is_json: bool) -> Result<(), Failure> {
    let keys = keys(data_dir)?;
    let unreadable = |source| Failure::File { path: PathBuf::from("-"), source };
    let mut secret = String::new();
    std::io::stdin().lock().take(SECRET_BYTES_MAX).read_line(&mut secret).map_err(unreadable)?;
    let secret = secret.trim_end_matches(['\r', '\n']);
    let hash = keys.secret_hash(secret.as_bytes()).to_string();
    // Of a root token a server has the hash only.
    let of_root = secret.starts_with(crate::root_token::PREFIX);
    let of_root = of_root.then(|| keys.secret_hash(&RootToken::of(secret).hash).to_string());
    if is_json {
        output::json(&json!({ "hash": hash, "rootTokenHash": of_root }));
        return Ok(());
    }
    output::line(&hash);
    if let Some(hash) = of_root {
        output::line(&format!("{hash} as `root_token`"));
    }
    Ok(())
}
