//! Schemas in several files.

use std::collections::BTreeMap;

use idhini_schema::{ImportError, Schema};

/// Parses `files["main.zed"]` with the others; also answers which files were loaded, in order.
fn parse(files: &[(&str, &str)]) -> (Result<Schema, ImportError>, Vec<String>) {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let mut loaded = Vec::new();
    let outcome = Schema::parse_with_imports("some/where/main.zed", files["main.zed"], &mut |path| {
        loaded.push(path.to_owned());
        files.get(path).map(|text| (*text).to_owned()).ok_or_else(|| "no such file".to_owned())
    });
    (outcome, loaded)
}

#[test]
fn files_are_found_from_the_folder_of_the_file_that_names_them_and_loaded_once() {
    let (schema, loaded) = parse(&[
        (
            "main.zed",
            "use import\nimport \"sub/a.zed\"\nimport './b.zed'\ndefinition doc { relation aaa: user }",
        ),
        ("sub/a.zed", "use import\nimport \"../b.zed\"\nimport \"c.zed\"\ncaveat cav(abc int) { abc == 1 }"),
        ("sub/c.zed", "use self\ndefinition ccc { permission ppp = self }"),
        ("b.zed", "definition user {}"),
    ]);
    let schema = schema.unwrap();
    assert_eq!(loaded, ["sub/a.zed", "b.zed", "sub/c.zed"]);
    assert_eq!(schema.definitions().len(), 3);
    assert_eq!(Schema::parse(&schema.canonical_text()).unwrap(), schema);
}

#[test]
fn no_path_leaves_the_folder() {
    for path in [
        "../a.zed",
        "sub/../../a.zed",
        "/etc/passwd",
        "..",
        "sub/..",
        "",
        "sub/",
        ".",
        "..\\a.zed",
        "c:a.zed",
        "a\0b",
        "//a",
    ] {
        let main = format!("use import\nimport \"{path}\"");
        let (outcome, loaded) = parse(&[("main.zed", &main)]);
        assert!(outcome.unwrap_err().error.message.contains("below the first file's folder"), "{path}");
        assert!(loaded.is_empty(), "{path}");
    }
    let (outcome, loaded) = parse(&[
        ("main.zed", "use import\nimport \"sub/a.zed\""),
        ("sub/a.zed", "use import\n\nimport \"../../b.zed\""),
    ]);
    let e = outcome.unwrap_err();
    assert_eq!((e.path.as_str(), e.error.line, loaded.len()), ("sub/a.zed", 3, 1));
}

#[test]
fn cycles_are_refused() {
    let (outcome, _) = parse(&[
        ("main.zed", "use import\nimport \"a.zed\""),
        ("a.zed", "use import\nimport \"b.zed\""),
        ("b.zed", "use import\nimport \"a.zed\""),
    ]);
    let e = outcome.unwrap_err();
    assert_eq!((e.path.as_str(), e.error.line), ("b.zed", 2));
    assert!(e.error.message.contains("imports itself"));
    let (outcome, loaded) = parse(&[("main.zed", "use import\nimport \"main.zed\"")]);
    assert!(outcome.unwrap_err().error.message.contains("imports itself") && loaded.is_empty());
}

#[test]
fn mistakes_name_their_file() {
    let main = "use import\nimport \"a.zed\"\ndefinition user {}";
    for (other, shown) in [
        ("definition doc {\n relation ?\n}", "a.zed:2:11: `?`"),
        ("definition doc {\n relation aaa: nope\n}", "a.zed:2:16: there is no definition `nope`"),
        ("\ndefinition user {}", "a.zed:2:12: the name `user` is already taken"),
        ("use self\ndefinition doc {\n relation aaa: nope\n}", "a.zed:3:16: there is no definition"),
    ] {
        let shown_in_full = parse(&[("main.zed", main), ("a.zed", other)]).0.unwrap_err().to_string();
        assert!(shown_in_full.starts_with(shown), "{shown_in_full}");
    }
    let missing = parse(&[("main.zed", main)]).0.unwrap_err().to_string();
    assert_eq!(missing, "some/where/main.zed:2:1: `a.zed` cannot be read: no such file");
}

#[test]
fn a_name_in_one_file_that_is_a_keyword_in_another_is_refused() {
    let main = "use import\nuse self\nimport \"a.zed\"\ndefinition doc { permission aaa = self }";
    let e = parse(&[("main.zed", main), ("a.zed", "definition self {}")]).0.unwrap_err();
    assert!(e.to_string().starts_with("a.zed:1:12: `self` is a keyword"), "{e}");
}

#[test]
fn files_are_bounded_in_number_and_size() {
    let mut count = 0;
    let e = Schema::parse_with_imports("main.zed", "use import\nimport \"f0\"", &mut |_| {
        count += 1;
        Ok(format!("use import\nimport \"f{count}\""))
    });
    assert!(e.unwrap_err().error.message.contains("at most 1000 files"));
    let big = "use import\nimport \"a\"\nimport \"b\"\nimport \"c\"";
    let e = Schema::parse_with_imports("main.zed", big, &mut |_| Ok(" ".repeat(2_000_000)));
    assert!(e.unwrap_err().error.message.contains("longer than"));
}
