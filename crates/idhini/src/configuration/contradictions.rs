//! Which settings do not go together?

use idhini_server::ClientAuth;

use super::{Configuration, ListenAddress, Mistake, Origin, Server, Settings, table};

/// Shortest life of a certificate that the server issues to itself, in seconds.
const LIFETIME_SECONDS_MIN: u64 = 3;

/// Finds all of them.
pub(super) fn find(server: Server, configuration: &Configuration) -> Vec<Mistake> {
    let settings = &configuration.settings;
    let mut found = Vec::new();
    let is_said = |name: &str| *configuration.origin(name) != Origin::Default;
    match server {
        Server::Serve => transport(configuration, &mut found),
        Server::ServeTesting if !settings.grpc_addr.ip().is_loopback() => found.push(Mistake::new(
            place(configuration, "grpc-addr"),
            format!(
                "{} is not a loopback address, and serving beyond loopback needs authentication: this command takes any token",
                settings.grpc_addr
            ),
            "listen on 127.0.0.1 or [::1]",
        )),
        Server::ServeTesting => {}
    }
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

/// What is missing for TLS, or said for nothing.
fn transport(configuration: &Configuration, found: &mut Vec<Mistake>) {
    let (settings, transport) = (&configuration.settings, &configuration.settings.transport);
    let is_said = |name: &str| *configuration.origin(name) != Origin::Default;
    let mut add = |name: &str, what: String, remedy: &str| {
        found.push(Mistake::new(place(configuration, name), what, remedy));
    };
    let (cert, key, own) = ("tls-cert-file", "tls-key-file", "tls-ca-dir");
    let http_addr = match settings.http_addr {
        Some(ListenAddress::At(address)) => Some(("http-addr", address)),
        Some(ListenAddress::Off) | None => None,
    };
    for (name, address) in std::iter::once(("grpc-addr", settings.grpc_addr)).chain(http_addr) {
        if !address.ip().is_loopback() && ![cert, key, own].into_iter().any(is_said) {
            add(
                name,
                format!(
                    "{address} is not a loopback address, and serving beyond loopback needs TLS, for which there is no certificate"
                ),
                "set --tls-cert-file and --tls-key-file, or make an authority with `idhini ca init DIR` and set --tls-ca-dir",
            );
        }
    }
    match (is_said(cert), is_said(key)) {
        (true, false) => {
            add(cert, "a certificate is of no use without its key".to_owned(), "set --tls-key-file");
        }
        (false, true) => {
            add(key, "a key is of no use without its certificate".to_owned(), "set --tls-cert-file");
        }
        _ => {}
    }
    let is_given = is_said(cert) || is_said(key);
    let defaults = Settings::default();
    // What is as it is anyway asks for nothing.
    let is_changed = |name: &str| {
        let setting = table::settings().find(|setting| setting.name == name);
        setting.is_some_and(|setting| setting.kind.show(settings) != setting.kind.show(&defaults))
    };
    let of_own = ["tls-names", "tls-lifetime"];
    for name in of_own.into_iter().filter(|name| is_changed(name) && !is_said(own)) {
        let what =
            "it is for certificates that the server issues to itself, and it has no authority to do so";
        add(name, what.to_owned(), "set --tls-ca-dir, or leave it out");
    }
    if transport.lifetime_seconds < LIFETIME_SECONDS_MIN {
        add("tls-lifetime", "nothing could be renewed so fast".to_owned(), "write a time such as 24h");
    }
    let (is_secured, auth) = (is_given || is_said(own), transport.client_auth());
    let of_tls = ["tls-client-ca-file", "tls-client-auth", "tls-peer-pins", "tls-min-version"];
    for name in of_tls.into_iter().filter(|name| is_changed(name) && !is_secured) {
        if name == "tls-client-auth" && auth == ClientAuth::Off {
            continue;
        }
        let (what, remedy) = (
            "it is of no use without TLS",
            "set --tls-cert-file and --tls-key-file, or --tls-ca-dir; or leave it out",
        );
        add(name, what.to_owned(), remedy);
    }
    if is_secured
        && is_said("tls-client-auth")
        && auth != ClientAuth::Off
        && !is_said("tls-client-ca-file")
        && !is_said(own)
    {
        let what = "clients' certificates are asked for, and no authority of theirs is known";
        add("tls-client-auth", what.to_owned(), "set --tls-client-ca-file");
    }
    for name in ["tls-client-ca-file", "tls-peer-pins"] {
        if is_said(name) && is_secured && auth == ClientAuth::Off {
            let what = "it is about clients' certificates, and none are asked for";
            add(name, what.to_owned(), "set --tls-client-auth to optional or required, or leave it out");
        }
    }
    if is_given && is_said(own) {
        let given = if is_said(cert) { cert } else { key };
        found.push(Mistake::new(
            both(configuration, own, given),
            "the server has a certificate, and an authority to issue it another",
            "leave one of the two out",
        ));
    }
}

fn place(configuration: &Configuration, name: &str) -> String {
    let setting = table::settings().find(|setting| setting.name == name);
    setting.map(|setting| configuration.origin(name).place(setting)).unwrap_or_default()
}

fn both(configuration: &Configuration, one: &str, other: &str) -> String {
    format!("{} and {}", place(configuration, one), place(configuration, other))
}
