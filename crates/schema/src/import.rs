//! What do several files say together? `import "path"`, for the command line; a server never reads files.
//!
//! # Invariants
//! * No path leaves the folder of the first file: `..` is resolved on the text of the path before anything is loaded.
//! * Each file is loaded once; files that import each other are refused.
//! * At most [`IMPORTS_MAX`] files, together at most [`SCHEMA_BYTES_MAX`] bytes.

use std::collections::HashMap;

use crate::mistake::{Mistake, quoted};
use crate::parser::{self, SCHEMA_BYTES_MAX};
use crate::syntax::{Name, SyntaxFile};
use crate::{Schema, SchemaError, check};

/// Most files that a schema may consist of.
pub const IMPORTS_MAX: usize = 1000;

/// A mistake in one of a schema's files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}:{error}")]
pub struct ImportError {
    /// The file, as it was named to the loader; the first one as the caller named it.
    pub path: String,
    /// The mistake.
    #[source]
    pub error: SchemaError,
}

impl Schema {
    /// Parses and checks a file and everything that it imports.
    ///
    /// `path` names the first file in errors. `loader` is given paths that are relative to that file's folder, with
    /// `/` and without `.` or `..`; it must not follow links out of that folder.
    ///
    /// # Errors
    /// [`ImportError`] with the file and place of the first mistake; what the loader says stands at the `import`.
    pub fn parse_with_imports(
        path: &str,
        text: &str,
        loader: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Schema, ImportError> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let mut files =
            Files { names: vec![name.to_owned()], texts: vec![text.to_owned()], parsed: Vec::new() };
        let outcome = files.read(loader).and_then(|()| check::check(&files.parsed));
        outcome.map_err(|mistake| {
            let file = mistake.place.file as usize;
            let path = if file == 0 { path.to_owned() } else { files.names[file].clone() };
            ImportError { path, error: mistake.at(&files.texts[file]) }
        })
    }
}

struct Files {
    /// Relative to the first file's folder.
    names: Vec<String>,
    texts: Vec<String>,
    parsed: Vec<SyntaxFile>,
}

impl Files {
    /// Reads depth first, so that the files that are open lead from the first to the current one.
    fn read(&mut self, loader: &mut dyn FnMut(&str) -> Result<String, String>) -> Result<(), Mistake> {
        let mut known: HashMap<String, usize> = HashMap::from([(self.names[0].clone(), 0)]);
        let mut bytes_left = SCHEMA_BYTES_MAX.saturating_sub(self.texts[0].len());
        self.parsed.push(parser::parse_file(&self.texts[0], 0)?);
        // A file, and the next of its imports.
        let mut open: Vec<(usize, usize)> = vec![(0, 0)];
        while let Some((file, next)) = open.last_mut() {
            let file = *file;
            let Some(import) = self.parsed[file].imports.get(*next).cloned() else {
                open.pop();
                continue;
            };
            *next += 1;
            let path = resolve(&self.names[file], &import)?;
            if let Some(found) = known.get(&path) {
                if open.iter().any(|(file, _)| file == found) {
                    let message =
                        format!("{} imports itself by way of this import: remove the cycle", quoted(&path));
                    return Err(Mistake::syntax(import.place, message));
                }
                continue;
            }
            if self.parsed.len() >= IMPORTS_MAX {
                let message = format!("a schema has at most {IMPORTS_MAX} files: put some together");
                return Err(Mistake::syntax(import.place, message));
            }
            let text = loader(&path).map_err(|reason| {
                Mistake::syntax(import.place, format!("{} cannot be read: {reason}", quoted(&path)))
            })?;
            bytes_left = bytes_left.checked_sub(text.len()).ok_or_else(|| {
                let message =
                    format!("with {} the schema is longer than {SCHEMA_BYTES_MAX} bytes", quoted(&path));
                Mistake::syntax(import.place, message)
            })?;
            let number = self.parsed.len();
            known.insert(path.clone(), number);
            self.names.push(path);
            self.texts.push(text);
            // INVARIANT: fewer than `IMPORTS_MAX`.
            let file = u32::try_from(number).unwrap_or(u32::MAX);
            self.parsed.push(parser::parse_file(&self.texts[number], file)?);
            open.push((number, 0));
        }
        Ok(())
    }
}

/// The path that an import means, relative to the first file's folder.
fn resolve(importer: &str, import: &Name) -> Result<String, Mistake> {
    let refused = |why: &str| {
        let message = format!("{} {why}: write a path below the first file's folder", quoted(&import.text));
        Err(Mistake::syntax(import.place, message))
    };
    let path = import.text.as_str();
    if path.is_empty() || path.ends_with('/') {
        return refused("names no file");
    }
    if path.starts_with('/') {
        return refused("is an absolute path");
    }
    // Backslashes and colons mean other folders or drives to some systems.
    if path.contains(['\\', ':', '\0']) {
        return refused("holds a character that is not allowed in a path");
    }
    let mut segments: Vec<&str> = importer.split('/').collect();
    segments.pop();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                if segments.pop().is_none() {
                    return refused("leaves the folder of the schema");
                }
            }
            name => segments.push(name),
        }
    }
    match segments.last() {
        None => refused("names no file"),
        Some(_) => Ok(segments.join("/")),
    }
}
