//! Which settings do not go together?

use super::{Configuration, Mistake, Origin, SETTINGS};

/// Finds all of them.
pub(super) fn find(configuration: &Configuration) -> Vec<Mistake> {
    let settings = &configuration.settings;
    let mut found = Vec::new();
    let is_said = |name: &str| *configuration.origin(name) != Origin::Default;
    if settings.ephemeral && is_said("data-dir") {
        found.push(Mistake::new(
            both(configuration, "ephemeral", "data-dir"),
            "an ephemeral server keeps nothing, and here is a directory to keep it in",
            "leave one of the two out",
        ));
    }
    if is_said("relationships") && !is_said("schema") {
        found.push(Mistake::new(
            place(configuration, "relationships"),
            "relationships cannot be loaded without the schema that admits them",
            "name a schema with --schema FILE",
        ));
    }
    found
}

fn place(configuration: &Configuration, name: &str) -> String {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    setting.map(|setting| configuration.origin(name).place(setting)).unwrap_or_default()
}

fn both(configuration: &Configuration, one: &str, other: &str) -> String {
    format!("{} and {}", place(configuration, one), place(configuration, other))
}
