//! Golden files: worlds with the answers that people have looked at, run through the reference and the engine.

use std::fs;
use std::path::Path;

use idhini_schema::Schema;
use idhini_testkit::compare::{compare_text, wanted_answer};
use idhini_testkit::golden::{Golden, parse, wanted_text};
use idhini_testkit::reference::Tables;
use idhini_testkit::tally::Tally;

/// How many ways of writing each file's relationships are tried.
const WRITINGS: u64 = 5;

fn files() -> Vec<(String, Golden)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let golden = parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(!golden.questions.is_empty(), "{name} asks nothing");
            (name, golden)
        })
        .collect()
}

#[test]
fn the_reference_gives_the_answers_of_every_golden_file() {
    let mut wrong = Vec::new();
    for (name, golden) in files() {
        let schema = Schema::parse(&golden.schema).unwrap_or_else(|e| panic!("{name}: {e}"));
        let tables = Tables::new(&schema, &golden.relationships).unwrap();
        for (question, wanted) in &golden.questions {
            let view = tables.view(&golden.contexts[question.context], golden.instants[question.instant]);
            let answer = wanted_text(&wanted_answer(&view, &question.ask));
            if answer != *wanted {
                wrong.push(format!("{name}: {question:?}\n  file      {wanted}\n  reference {answer}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_engine_agrees_with_the_reference_on_every_golden_file() {
    for (name, golden) in files() {
        for seed in 0..WRITINGS {
            let world = golden.world(seed);
            if let Err(difference) = compare_text(&golden.schema, &world, &mut Tally::default()) {
                panic!("{name}: {difference}");
            }
        }
    }
}
