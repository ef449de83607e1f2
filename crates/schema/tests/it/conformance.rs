//! The schemas of the conformance cases, where they lie beside the workspace.

use std::path::Path;

use idhini_schema::Schema;

/// How many cases there are, so that none is lost silently.
const CASES: usize = 49;

#[test]
fn every_conformance_schema_parses_and_its_canonical_text_is_a_fixpoint() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/cases");
    let Ok(files) = std::fs::read_dir(&folder) else { return };
    let mut count = 0;
    for path in
        files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "yaml"))
    {
        let text = schema_of(&std::fs::read_to_string(&path).unwrap());
        let schema = Schema::parse(&text).unwrap_or_else(|e| panic!("{}: {e}\n{text}", path.display()));
        assert!(!schema.definitions().is_empty(), "{}", path.display());
        let canonical = schema.canonical_text();
        let again =
            Schema::parse(&canonical).unwrap_or_else(|e| panic!("{}: {e}\n{canonical}", path.display()));
        assert_eq!(schema, again);
        assert_eq!(canonical, again.canonical_text());
        count += 1;
    }
    assert_eq!(count, CASES);
}

/// The block scalar `schema:` of a case; `|` keeps its lines, `>` folds those that are not indented deeper.
fn schema_of(case: &str) -> String {
    let mut lines = case.lines().skip_while(|line| !line.starts_with("schema: "));
    let is_folded = lines.next().unwrap().starts_with("schema: >");
    let block: Vec<&str> = lines.take_while(|line| line.is_empty() || line.starts_with(' ')).collect();
    let body: Vec<&str> = block.iter().map(|line| line.get(2..).unwrap_or("")).collect();
    if !is_folded {
        return body.join("\n");
    }
    let mut out = String::new();
    for pair in body.windows(2) {
        out.push_str(pair[0]);
        let is_plain = |line: &str| !line.is_empty() && !line.starts_with([' ', '\t']);
        out.push(if is_plain(pair[0]) && is_plain(pair[1]) { ' ' } else { '\n' });
    }
    out + body.last().unwrap()
}
