//! The crates' arrows, as ARCHITECTURE.md draws them: who may depend on whom, and what the pure core may not touch.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each crate with all of our crates that it may depend on outside its tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("idhini-model", &[]),
    ("idhini-caveat", &["idhini-model"]),
    ("idhini-schema", &["idhini-caveat", "idhini-model"]),
    ("idhini-graph", &["idhini-caveat", "idhini-model", "idhini-schema"]),
    ("idhini-engine", &["idhini-caveat", "idhini-graph", "idhini-model", "idhini-schema"]),
    ("idhini-wire", &["idhini-model"]),
    ("idhini-changelog", &["idhini-model"]),
    (
        "idhini-replica",
        &[
            "idhini-caveat",
            "idhini-changelog",
            "idhini-engine",
            "idhini-graph",
            "idhini-model",
            "idhini-schema",
        ],
    ),
    (
        "idhini-server",
        &[
            "idhini-caveat",
            "idhini-changelog",
            "idhini-engine",
            "idhini-graph",
            "idhini-model",
            "idhini-replica",
            "idhini-schema",
            "idhini-wire",
        ],
    ),
    (
        "idhini",
        &[
            "idhini-changelog",
            "idhini-engine",
            "idhini-graph",
            "idhini-model",
            "idhini-replica",
            "idhini-schema",
            "idhini-server",
            "idhini-wire",
        ],
    ),
];

/// Crates that nothing shipped may depend on; they may depend on anything.
const TESTS_ONLY: &[&str] =
    &["idhini-testkit", "idhini-bench", "idhini-differential", "idhini-example-posix"];

/// What the pure core must not reach, not even through others.
const IMPURE: &[&str] = &["tokio", "tonic", "prost", "hyper", "rand", "getrandom", "tracing"];
const PURE: &[&str] = &["idhini-model", "idhini-caveat", "idhini-schema", "idhini-graph", "idhini-engine"];

fn dependencies(package: &serde_json::Value) -> BTreeSet<String> {
    let listed = package["dependencies"].as_array().unwrap();
    listed
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_crate_depends_only_on_what_the_map_allows() {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        seen.insert(name.to_owned());
        if TESTS_ONLY.contains(&name) {
            continue;
        }
        let allowed =
            arrows.get(name).unwrap_or_else(|| panic!("`{name}` is not on the map: add it to ARROWS"));
        for dependency in dependencies(package).iter().filter(|d| d.starts_with("idhini")) {
            assert!(allowed.contains(&dependency.as_str()), "`{name}` must not depend on `{dependency}`");
        }
    }
    for (name, _) in ARROWS {
        assert!(seen.contains(*name), "`{name}` is on the map but not in the workspace");
    }
}

#[test]
fn the_pure_core_reaches_no_runtime_and_no_protobuf() {
    for pure in PURE {
        let tree = cargo(&["tree", "--package", pure, "--edges", "normal", "--prefix", "none", "--offline"]);
        let reached: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(reached.contains(pure), "{tree}");
        for impure in IMPURE {
            assert!(!reached.contains(impure), "`{pure}` reaches `{impure}`");
        }
    }
}
