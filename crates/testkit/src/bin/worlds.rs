//! Prints generated worlds with the reference's answers as JSON lines:
//! `worlds --seed S --count N [--spicedb] [--acyclic] [--text]`.

use std::io::{self, Write};

use idhini_schema::Schema;
use idhini_testkit::export;
use idhini_testkit::generate::{Options, world};
use idhini_testkit::reference::Tables;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| arguments.iter().any(|a| a == name);
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|a| a == name);
        at.and_then(|i| arguments.get(i + 1)).and_then(|v| v.parse().ok()).unwrap_or(default)
    };
    let options = Options { acyclic: flag("--acyclic"), spicedb: flag("--spicedb") };
    let (seed, count) = (number("--seed", 1), number("--count", 10));
    let mut out = io::stdout().lock();
    for seed in seed..seed + count {
        let world = world(seed, &options);
        if flag("--text") {
            let text = serde_json::json!({
                "seed": seed,
                "schema": world.sketch.text(),
                "relationships": world.relationships.iter().map(ToString::to_string).collect::<Vec<_>>(),
            });
            writeln!(out, "{text}")?;
            continue;
        }
        let text = world.sketch.text();
        let schema =
            Schema::parse(&text).map_err(|e| io::Error::other(format!("seed {seed}: {e}\n{text}")))?;
        let tables = Tables::new(&schema, &world.relationships)
            .map_err(|e| io::Error::other(format!("seed {seed}: {e:?}")))?;
        let views: Vec<Vec<_>> = world
            .contexts
            .iter()
            .map(|context| world.instants.iter().map(|at| tables.view(context, *at)).collect())
            .collect();
        writeln!(out, "{}", export::world(&world, &views))?;
    }
    Ok(())
}
