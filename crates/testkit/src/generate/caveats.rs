//! A handful of caveats that between them are true, false, short of one or more parameters, or failing.

use idhini_model::{Context, ContextValue};

use crate::rng::Rng;
use crate::sketch::CaveatSketch;

/// How a parameter's value is meant to turn the caveat out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    True,
    False,
    Fails,
    IllTyped,
}

struct Shape {
    name: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    body: &'static str,
}

/// Parameters of one name have one meaning in all shapes, so that one context serves them all.
const SHAPES: &[Shape] = &[
    Shape { name: "flagged", parameters: &[("flag", "bool")], body: "flag" },
    Shape { name: "either", parameters: &[("flag", "bool"), ("level", "int")], body: "flag || level > 5" },
    Shape { name: "both", parameters: &[("flag", "bool"), ("level", "int")], body: "flag && level > 5" },
    Shape {
        name: "listed",
        parameters: &[("region", "string"), ("regions", "list<string>")],
        body: "region in regions",
    },
    Shape { name: "divided", parameters: &[("share", "int")], body: "100 / share > 10" },
    Shape { name: "keyed", parameters: &[("attrs", "map<string>")], body: "attrs[\"rank\"] == \"high\"" },
    Shape {
        name: "ranged",
        parameters: &[("level", "int"), ("least", "int"), ("most", "int")],
        body: "level >= least && level <= most",
    },
    Shape {
        name: "addressed",
        parameters: &[("address", "ipaddress")],
        body: "address.in_cidr(\"10.0.0.0/8\")",
    },
    Shape { name: "refused", parameters: &[("stopped", "bool")], body: "!stopped" },
    Shape {
        name: "chosen",
        parameters: &[("flag", "bool"), ("region", "string"), ("stopped", "bool")],
        body: "flag ? region == \"eu\" : !stopped",
    },
];

/// The names that contexts may give values to.
const PARAMETERS: &[&str] =
    &["flag", "level", "region", "regions", "share", "attrs", "least", "most", "address", "stopped"];

/// A few different caveats.
pub(super) fn some_caveats(rng: &mut Rng, count: usize) -> Vec<CaveatSketch> {
    let mut shapes: Vec<&Shape> = SHAPES.iter().collect();
    rng.shuffle(&mut shapes);
    shapes[..count.min(shapes.len())]
        .iter()
        .map(|shape| CaveatSketch {
            name: shape.name.into(),
            parameters: shape.parameters.iter().map(|(n, t)| ((*n).into(), (*t).into())).collect(),
            body: shape.body.into(),
        })
        .collect()
}

/// What a relationship stores for this caveat: nothing, some of it, or all.
pub(super) fn stored_context(rng: &mut Rng, caveat: &CaveatSketch) -> Context {
    let share = *rng.pick(&[0, 0, 25, 50, 100]);
    let mut context = Context::default();
    for (name, _) in &caveat.parameters {
        if rng.chance(share) {
            let aim = [Aim::True, Aim::False, Aim::Fails][rng.weighted(&[60, 36, 4])];
            context.0.insert(name.clone(), value(name, aim));
        }
    }
    context
}

/// A request's context. The first is empty; others name all, some or none of the parameters.
pub(super) fn request_contexts(rng: &mut Rng, count: usize, ill_typed: bool) -> Vec<Context> {
    let mut contexts = vec![Context::default()];
    while contexts.len() < count {
        let share = *rng.pick(&[15, 35, 60, 100]);
        let good = *rng.pick(&[30, 60, 90]);
        let fails = if rng.chance(25) { 15 } else { 0 };
        let wrong = if ill_typed && rng.chance(5) { 20 } else { 0 };
        let mut context = Context::default();
        for name in PARAMETERS {
            if rng.chance(share) {
                let aim = [Aim::True, Aim::False, Aim::Fails, Aim::IllTyped]
                    [rng.weighted(&[good, 100 - good, fails, wrong])];
                context.0.insert((*name).into(), value(name, aim));
            }
        }
        if rng.chance(20) {
            context.0.insert("unheard_of".into(), ContextValue::Bool(true));
        }
        contexts.push(context);
    }
    contexts
}

/// The same context with a value for every parameter that it leaves open.
pub(super) fn completed(rng: &mut Rng, context: &Context) -> Context {
    let mut context = context.clone();
    for name in PARAMETERS {
        let aim = if rng.chance(50) { Aim::True } else { Aim::False };
        context.0.entry((*name).to_owned()).or_insert_with(|| value(name, aim));
    }
    context
}

fn value(name: &str, aim: Aim) -> ContextValue {
    let text = |t: &str| ContextValue::String(t.into());
    let map = |key: &str, v: &str| ContextValue::Map([(key.to_owned(), text(v))].into());
    let good = aim == Aim::True;
    match (name, aim) {
        (_, Aim::IllTyped) => ContextValue::List(vec![ContextValue::Map([].into())]),
        ("flag", _) => ContextValue::Bool(good),
        ("stopped", _) => ContextValue::Bool(!good),
        ("level", _) => ContextValue::Number(if good { 7.0 } else { 3.0 }),
        ("least", _) => ContextValue::Number(if good { 2.0 } else { 5.0 }),
        ("most", _) => ContextValue::Number(if good { 9.0 } else { 6.0 }),
        ("share", Aim::Fails) => ContextValue::Number(0.0),
        ("share", _) => ContextValue::Number(if good { 4.0 } else { 50.0 }),
        ("region", _) => text(if good { "eu" } else { "us" }),
        ("regions", _) => {
            ContextValue::List(if good { vec![text("eu"), text("uk")] } else { vec![text("uk")] })
        }
        ("attrs", Aim::Fails) => map("other", "high"),
        ("attrs", _) => map("rank", if good { "high" } else { "low" }),
        (_, _) => text(if good { "10.1.2.3" } else { "192.168.0.1" }),
    }
}
