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
    ("idhini-audit", &["idhini-model"]),
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
            "idhini-audit",
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
            "idhini-audit",
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
const TESTS_ONLY: &[&str] = &[
    "idhini-testkit",
    "idhini-bench",
    "idhini-differential",
    "idhini-example-posix",
    "idhini-example-library",
];

/// What the pure core must not reach, not even through others.
const IMPURE: &[&str] = &["tokio", "tonic", "prost", "hyper", "rand", "getrandom", "tracing"];
/// What whoever links the library must not get with it: servers, clients, command lines, network.
const OF_THE_SERVER: &[&str] = &[
    "tonic",
    "prost",
    "hyper",
    "axum",
    "tower",
    "http",
    "h2",
    "clap",
    "indicatif",
    "opentelemetry",
    "pprof",
    "mimalloc",
    "tracing-subscriber",
    "mio",
    "socket2",
    "idhini-server",
    "idhini-wire",
];
const PURE: &[&str] = &["idhini-model", "idhini-caveat", "idhini-schema", "idhini-graph", "idhini-engine"];

fn dependencies(package: &serde_json::Value) -> BTreeSet<String> {
    let listed = package["dependencies"].as_array().unwrap();
    listed
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

/// All that a package reaches with these features, outside tests.
fn reached(package: &str, features: &[&str]) -> BTreeSet<String> {
    let arguments = [
        "tree",
        "--package",
        package,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--offline",
        "--format",
        "{p}",
    ];
    let tree = cargo(&[&arguments, features].concat());
    let reached: BTreeSet<String> =
        tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(reached.contains(package), "{tree}");
    reached
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
        let reached = reached(pure, &[]);
        for impure in IMPURE {
            assert!(!reached.contains(*impure), "`{pure}` reaches `{impure}`");
        }
    }
}

#[test]
fn the_library_brings_nothing_of_the_server() {
    // As the binary has all of it, no name here is one that is never found.
    let binary = reached("idhini", &[]);
    for of_the_server in OF_THE_SERVER {
        assert!(binary.contains(*of_the_server), "the binary does not reach `{of_the_server}`");
    }
    for (package, features) in [("idhini", &["--no-default-features"][..]), ("idhini-example-library", &[])] {
        let library = reached(package, features);
        assert!(library.contains("idhini-replica"), "{library:?}");
        for of_the_server in OF_THE_SERVER {
            assert!(
                !library.contains(*of_the_server),
                "`{package}` reaches `{of_the_server}` without the server"
            );
        }
    }
}
