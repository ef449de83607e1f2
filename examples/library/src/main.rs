//! An application that links Idhini. It keeps who may do what in a directory of its own, asks, looks up, and follows what
//! changes, without a server and without an async runtime.
//!
//! `cargo run -p idhini-example-library -- DIRECTORY`

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use idhini::{
    Context, EntryKind, Filter, Idhini, Permissionship, Precondition, Relationship, ResourceRef, SubjectRef,
    Update, Write as Updates,
};

const SCHEMA: &str = "
caveat office_hours(hour int) { hour >= 9 && hour < 17 }
definition user {}
definition group {
    relation member: user | group#member
}
definition document {
    relation owner: user
    relation viewer: user | group#member | user with office_hours
    permission edit = owner
    permission view = viewer + edit
}
";

/// How many entries of the log the follower waits for.
const FOLLOWED: usize = 2;

fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let Some(directory) = std::env::args_os().nth(1) else {
        let _ = writeln!(io::stderr(), "usage: library DIRECTORY");
        return ExitCode::FAILURE;
    };
    match run(Path::new(&directory), &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &Path, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let idhini = Idhini::open(directory)?;
    if idhini.snapshot().schema().is_none() {
        idhini.write_schema(SCHEMA)?;
    }
    writeln!(out, "opened at revision {}", idhini.snapshot().revision())?;

    let watch = idhini.watch(idhini.snapshot().revision())?;
    // Somebody who follows on a thread of his own; the iterator waits for what comes.
    let following = thread::spawn(move || watch.take(FOLLOWED).collect::<Result<Vec<_>, _>>());

    let texts = [
        "group:eng#member@user:ann",
        "document:readme#viewer@group:eng#member",
        "document:readme#viewer@user:cleo[office_hours]",
        "document:readme#owner@user:bob",
    ];
    let updates = texts.iter().map(|text| Ok(Update::touch(text.parse()?)));
    let written = idhini.write(updates.collect::<Result<Vec<_>, idhini::ParseError>>()?)?;
    checks(&idhini, out)?;
    lookups(&idhini, out)?;

    // From bob to ann, unless somebody else was faster.
    let old: Relationship = "document:readme#owner@user:bob".parse()?;
    let new: Relationship = "document:readme#owner@user:ann".parse()?;
    let preconditions = vec![Precondition::MustMatch(Filter::of(&old))];
    let updates = vec![Update::delete(old), Update::touch(new)];
    idhini.write(Updates { updates, preconditions, ..Updates::default() })?;
    let (readme, bob): (ResourceRef, SubjectRef) = ("document:readme".parse()?, "user:bob".parse()?);
    let [now, before] = [idhini.snapshot(), idhini.at(written)?];
    writeln!(out, "bob edits: {}", now.check(&readme, "edit", &bob)?.has())?;
    writeln!(out, "bob edited before: {}", before.check(&readme, "edit", &bob)?.has())?;

    for part in following.join().map_err(|_| "the follower failed")?? {
        let EntryKind::Relationships(changes) = part.kind else { continue };
        writeln!(out, "followed {}: {} changes", part.revision, changes.len())?;
    }
    // As another run finds it: touching what is there already would change nothing.
    let all = Filter::default();
    let deletes: Vec<Update> = now.read(&all)?.map(Update::delete).collect();
    idhini.write(deletes)?;
    Ok(())
}

fn checks(idhini: &Idhini, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    // Names are parsed once; a check itself clones nothing.
    let readme: ResourceRef = "document:readme".parse()?;
    let snapshot = idhini.snapshot();
    for name in ["ann", "cleo", "zoe"] {
        let checked = snapshot.check(&readme, "view", &SubjectRef::object("user", name))?;
        let said = match checked.permissionship {
            Permissionship::Has => "has",
            Permissionship::No => "no",
            Permissionship::Conditional => "conditional",
        };
        let missing: Vec<String> = checked.missing.into_iter().collect();
        writeln!(out, "{name} views: {said} {missing:?}")?;
    }
    let noon = Context::from_json("{\"hour\": 12}")?;
    let cleo = SubjectRef::object("user", "cleo");
    writeln!(out, "cleo views at noon: {}", snapshot.check_with(&readme, "view", &cleo, &noon)?.has())?;
    Ok(())
}

fn lookups(idhini: &Idhini, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let snapshot = idhini.snapshot();
    let ann = SubjectRef::object("user", "ann");
    for found in snapshot.lookup_resources("document", "view", &ann)? {
        writeln!(out, "ann views {}", found?.object_id)?;
    }
    let readme: ResourceRef = "document:readme".parse()?;
    let mut found = Vec::new();
    for subject in snapshot.lookup_subjects(&readme, "view", "user", None)? {
        found.push(subject?.object_id);
    }
    found.sort();
    writeln!(out, "readme is viewed by {}", found.join(", "))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::run;

    /// Twice in the same directory: what one run left the next one finds.
    #[test]
    fn it_runs_and_runs_again() {
        let directory = std::env::temp_dir().join(format!("idhini-example-library-{}", std::process::id()));
        for first in [1, 4] {
            let mut out = Vec::new();
            run(&directory, &mut out).unwrap();
            let expected = format!(
                "opened at revision {first}
ann views: has []
cleo views: conditional [\"hour\"]
zoe views: no []
cleo views at noon: true
ann views readme
readme is viewed by ann, bob, cleo
bob edits: false
bob edited before: true
followed {}: 4 changes
followed {}: 2 changes
",
                first + 1,
                first + 2
            );
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        std::fs::remove_dir_all(directory).unwrap();
    }
}
