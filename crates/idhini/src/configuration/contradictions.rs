//! Which settings do not go together?

use super::{Configuration, Mistake, Origin, table};

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
    if let Some(options) = settings.auditing.options() {
        if settings.ephemeral {
            found.push(Mistake::new(
                place(configuration, "ephemeral"),
                "an audit trail is signed with a key of the data directory, and an ephemeral server has none",
                "leave the audit settings out, or name a data directory with --data-dir DIR",
            ));
        }
        if let Err(error) = options.check() {
            let remedy = "name a directory for its files with --audit-dir DIR";
            found.push(Mistake::new(place(configuration, "audit-syslog"), error.to_string(), remedy));
        }
    } else if is_said("audit-checkpoints-to") {
        found.push(Mistake::new(
            place(configuration, "audit-checkpoints-to"),
            "there is no audit trail to send checkpoints of",
            "name a directory for its files with --audit-dir DIR",
        ));
    }
    found
}

fn place(configuration: &Configuration, name: &str) -> String {
    let setting = table::settings().find(|setting| setting.name == name);
    setting.map(|setting| configuration.origin(name).place(setting)).unwrap_or_default()
}

fn both(configuration: &Configuration, one: &str, other: &str) -> String {
    format!("{} and {}", place(configuration, one), place(configuration, other))
}
