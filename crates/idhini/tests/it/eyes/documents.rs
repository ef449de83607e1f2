//! What is written about metrics: the page for operators, the dashboard and the alerts name what there is.

use std::collections::BTreeSet;
use std::path::Path;

use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;

use super::{Seen, until};
use crate::process::{touch, with_key};
use crate::secured::Authority;

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names that a page of metrics describes, as Prometheus knows them.
fn exported(page: &str) -> BTreeSet<String> {
    let described = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    described
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect()
}

/// Names of metrics in a text, as they are asked for there.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("idhini_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

/// A server that has everything of which there are metrics: an image, an audit trail, TLS.
async fn with_all_metrics() -> (Authority, Seen) {
    let authority = Authority::new();
    let trail = authority.path("trail");
    let seen = authority.serve_own(&["--image-changes", "1", "--audit-dir", &trail]);
    let channel = authority.channel(&seen.server, None).await.unwrap();
    let mut permissions = PermissionsServiceClient::with_interceptor(channel, with_key);
    permissions.write_relationships(touch(&["document:a#viewer@user:a"])).await.unwrap();
    until("there is an image", || seen.metric("idhini_image_revision").is_some()).await;
    (authority, seen)
}

#[tokio::test]
async fn every_metric_is_in_the_documentation_and_nothing_else() {
    let (_authority, seen) = with_all_metrics().await;
    let exported = exported(&seen.text());
    let page = file("docs/operate.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<String> = rows
        .map(|(cell, _)| cell.split('{').next().unwrap().to_owned())
        .filter(|name| name.starts_with("idhini_") || name.starts_with("process_"))
        .collect();
    assert!(exported.len() > 25, "{exported:?}");
    assert_eq!(exported.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "not documented");
    assert_eq!(documented.difference(&exported).collect::<Vec<_>>(), Vec::<&String>::new(), "not there");
}

#[tokio::test]
async fn every_part_of_memory_is_in_the_documentation_and_nothing_else() {
    let seen = Seen::start(&[]);
    let text = seen.text();
    let parts =
        text.lines().filter_map(|line| line.strip_prefix("idhini_memory_bytes{part=\"")?.split_once('"'));
    let parts: BTreeSet<&str> = parts.map(|(part, _)| part).collect();
    let page = file("docs/operate.md");
    let row = page.lines().find_map(|line| line.strip_prefix("| `idhini_memory_bytes{part}`")).unwrap();
    let documented: BTreeSet<&str> = row.split('`').skip(1).step_by(2).collect();
    assert_eq!(documented, parts);
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_what_there_is() {
    let (_authority, seen) = with_all_metrics().await;
    let exported = exported(&seen.text());
    for path in ["deploy/grafana/idhini.json", "deploy/prometheus/alerts.yml"] {
        let asked = named(&file(path));
        assert!(!asked.is_empty(), "{path}");
        for name in asked {
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
            let is_there =
                exported.contains(&name) || of_histogram.is_some_and(|name| exported.contains(name));
            assert!(is_there, "{path} asks for `{name}`");
        }
    }
}

#[test]
fn the_flags_of_telemetry_are_in_the_documentation_and_in_the_help() {
    let help = crate::process::run(&["serve", "--help"], &[], "").stdout;
    let page = file("docs/operate.md");
    for flag in
        ["--log-format", "--log-level", "--otlp-endpoint", "--otlp-sampling", "--metrics-addr", "--profiling"]
    {
        assert!(help.contains(flag), "{flag} in {help}");
        assert!(page.contains(flag), "{flag} in docs/operate.md");
    }
}

#[test]
fn every_alert_is_in_the_documentation_and_tested() {
    let alerts = file("deploy/prometheus/alerts.yml");
    let raised: BTreeSet<&str> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(raised.len() > 5, "{raised:?}");
    let page = file("docs/operate.md");
    let documented = page.lines().filter_map(|line| Some(line.strip_prefix("| `Idhini")?.split_once('`')?.0));
    let documented: BTreeSet<String> = documented.map(|name| format!("Idhini{name}")).collect();
    assert_eq!(documented.iter().map(String::as_str).collect::<BTreeSet<_>>(), raised);
    let tests = file("deploy/prometheus/alerts_test.yml");
    for alert in raised {
        let named = tests.matches(&format!("alertname: {alert}")).count();
        assert_eq!(named, 2, "{alert} is raised by one test and not by another");
    }
}
