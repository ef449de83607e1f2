use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const BEGAN: i64 = 1_800_000_000;
const DAY: u64 = 86_400;

fn after(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(BEGAN + seconds)
}

fn authority() -> Authority {
    let (certificate, key) = Authority::make("ours", 10 * DAY, after(0)).unwrap().as_pem();
    Authority::of_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
}

fn issue(authority: &Authority, names: &[&str], seconds: u64, now: Timestamp) -> Issued {
    let names: Vec<Name> = names.iter().map(|name| Name::read(name).unwrap()).collect();
    authority.issue(&names, Usage::Both, seconds, now).unwrap()
}

#[test]
fn what_is_certified_names_whom_it_is_for_and_lasts_as_long_as_was_asked() {
    let authority = authority();
    let issued = issue(&authority, &["b.example", "a.example", "10.0.0.1"], DAY, after(0));
    let facts = certificate_facts(&issued.certificate).unwrap();
    assert_eq!((facts.from, facts.until), (after(-BACKDATED_SECONDS), after(DAY as i64)));
    assert_eq!(issued.until, facts.until);
    assert_eq!(facts.identity(), Some("b.example"));
    let with_id = issue(&authority, &["a.example", "spiffe://example.org/x"], DAY, after(0));
    assert_eq!(certificate_facts(&with_id.certificate).unwrap().identity(), Some("spiffe://example.org/x"));
    let address = issue(&authority, &["::1"], DAY, after(0));
    assert_eq!(certificate_facts(&address.certificate).unwrap().identity(), None);
    assert_ne!(issued.key.secret_der(), with_id.key.secret_der());
}

#[test]
fn nothing_outlasts_its_authority() {
    let authority = authority();
    let end = after(10 * DAY as i64);
    assert_eq!(issue(&authority, &["a.example"], 100 * DAY, after(0)).until, end);
    assert_eq!(issue(&authority, &["a.example"], u64::MAX, after(0)).until, end);
    assert_eq!(issue(&authority, &["a.example"], DAY, after(10 * DAY as i64 - 5)).until, end);
    let refused = authority.issue(&[], Usage::Both, DAY, end).map(|issued| issued.until);
    assert!(matches!(refused, Err(AuthorityError::Ended { until }) if until == end));
    let endless = Authority::make("ours", u64::MAX, after(0)).unwrap();
    assert_eq!(endless.until.to_string(), "9999-12-30T22:00:00Z");
}

#[test]
fn files_that_are_no_authority_are_named() {
    let (certificate, key) = Authority::make("ours", DAY, after(0)).unwrap().as_pem();
    let other = Authority::make("ours", DAY, after(0)).unwrap().as_pem().1;
    let read =
        |certificate: &str, key: &str| Authority::of_pem(certificate.as_bytes(), key.as_bytes()).map(drop);
    assert!(read(&certificate, &key).is_ok());
    assert!(matches!(read(&certificate, &other), Err(AuthorityError::OtherKey)));
    assert!(matches!(read("", &key), Err(AuthorityError::Certificate)));
    assert!(matches!(read(&key, &key), Err(AuthorityError::Certificate)));
    assert!(matches!(read(&certificate, &certificate), Err(AuthorityError::Key)));
    let broken = "-----BEGIN PRIVATE KEY-----\nMAMBAgM=\n-----END PRIVATE KEY-----\n";
    assert!(matches!(read(&certificate, broken), Err(AuthorityError::Key)));
    for error in [read(&certificate, &other), read("", &key), read(&certificate, broken)] {
        let text = format!("{:?} {}", error, error.as_ref().unwrap_err());
        assert!(!text.contains(key.lines().nth(1).unwrap()));
    }
}

#[test]
fn keys_are_their_owners_alone_and_files_are_replaced_as_a_whole() {
    static FOLDERS: AtomicU32 = AtomicU32::new(0);
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("idhini-authority-{}-{number}", std::process::id()));
    make_directory(&folder).unwrap();
    let (certificate, key) = (folder.join("a.pem"), folder.join("a-key.pem"));
    // What somebody has left there, for all to read.
    std::fs::write(&key, "old").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o666)).unwrap();
    std::fs::write(key.with_added_extension("unfinished"), "older").unwrap();
    let authority = authority();
    let issued = issue(&authority, &["a.example"], DAY, after(0));
    write(&issued, &certificate, &key).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&key), mode(&certificate)), (0o700, 0o600, 0o644));
    let (certificate_text, key_text) = issued.as_pem();
    assert_eq!(std::fs::read_to_string(&certificate).unwrap(), certificate_text);
    assert_eq!(std::fs::read_to_string(&key).unwrap(), key_text);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    let (path, _) = write(&issued, &folder.join("not/there.pem"), &folder.join("not/key.pem")).unwrap_err();
    assert_eq!(path, folder.join("not/key.pem"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn names_are_hosts_addresses_or_spiffe_ids() {
    let dns = |text: &str| Ok(Name::Dns(text.to_owned()));
    let spiffe = |text: &str| Ok(Name::Spiffe(text.to_owned()));
    assert_eq!(Name::read("localhost"), dns("localhost"));
    assert_eq!(Name::read("a-b_c.example"), dns("a-b_c.example"));
    assert_eq!(Name::read("10.0.0.1"), Ok(Name::Ip("10.0.0.1".parse().unwrap())));
    assert_eq!(Name::read("::1").map(|name| name.to_string()), Ok("::1".to_owned()));
    assert_eq!(Name::read("spiffe://example.org/a/b"), spiffe("spiffe://example.org/a/b"));
    assert_eq!(Name::read("spiffe://example.org"), spiffe("spiffe://example.org"));
    let long = "a".repeat(64);
    let longer = format!("spiffe://example.org/{}", "a".repeat(1_024));
    for bad in [
        "",
        ".",
        "a..b",
        "a.",
        "*.example",
        "a b",
        "é",
        "a,b",
        "a/b",
        &*long,
        "spiffe://",
        "spiffe:///a",
        "spiffe://Example.org/a",
        "spiffe://example.org/",
        "spiffe://example.org//a",
        "spiffe://example.org/../a",
        "spiffe://example.org/a?b",
        "spiffe://example.org/é",
        "spiffe://a:1/b",
        &*longer,
    ] {
        assert!(Name::read(bad).is_err(), "{bad}");
    }
}
