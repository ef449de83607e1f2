use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        Folder(std::env::temp_dir().join(format!("idhini-client-{}-{number}", std::process::id())))
    }

    fn file(&self) -> ClientFile {
        ClientFile { path: self.0.join("below/client.toml") }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn entry(address: &str, token: &str) -> Entry {
    Entry {
        address: Some(address.to_owned()),
        token: token.to_owned(),
        is_ephemeral: false,
        namespace: None,
        security: Security::default(),
    }
}

fn token(file: &ClientFile, address: &str) -> Option<String> {
    file.entry(address).unwrap().map(|entry| entry.token)
}

fn add(file: &ClientFile, entry: Entry) -> Result<(), ClientFileError> {
    file.change(|entries| {
        entries.push(entry);
        true
    })
}

#[test]
fn servers_stand_side_by_side_and_are_found_by_address() {
    let folder = Folder::new();
    let file = folder.file();
    assert_eq!(token(&file, "127.0.0.1:1"), None);
    add(&file, entry("127.0.0.1:1", "one")).unwrap();
    add(&file, entry("[::1]:2", "t\"w\\o")).unwrap();
    let third = Entry { address: None, is_ephemeral: true, ..entry("", "three") };
    add(&file, third).unwrap();
    let found = ["127.0.0.1:1", "[::1]:2", "localhost:1", "localhost:2", "127.0.0.1:2", "localhost:3"]
        .map(|address| token(&file, address));
    let expected = [Some("one"), Some("t\"w\\o"), Some("one"), Some("t\"w\\o"), None, None];
    assert_eq!(found, expected.map(|token| token.map(str::to_owned)));
    assert!(file.read().unwrap()[2].is_ephemeral);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file.path), mode(file.path.parent().unwrap())), (MODE, DIRECTORY_MODE));
}

#[test]
fn a_file_that_others_may_use_is_neither_believed_nor_written() {
    let folder = Folder::new();
    let file = folder.file();
    add(&file, entry("127.0.0.1:1", "one")).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o601, 0o666] {
        std::fs::set_permissions(&file.path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = file.entry("127.0.0.1:1").map(drop).unwrap_err();
        assert!(matches!(error, ClientFileError::Loose { mode: found, .. } if found == mode), "{error}");
        assert!(error.remedy().starts_with("chmod 600 "), "{}", error.remedy());
        assert!(add(&file, entry("127.0.0.1:2", "two")).is_err());
    }
    std::fs::set_permissions(&file.path, std::fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(file.read().unwrap().len(), 1);
}

#[test]
fn what_is_no_client_file_is_refused_without_its_values() {
    let folder = Folder::new();
    let file = folder.file();
    add(&file, entry("127.0.0.1:1", "one")).unwrap();
    for bad in [
        "[[server]]\ntoken = s3cret",
        "[[server]]\naddress = \"s3cret\"",
        "server = \"s3cret\"",
        "server = [\"s3cret\"]",
        "token = \"s3cret\"",
        "[[server]]\ntoken = [\"s3cret\"]",
    ] {
        std::fs::write(&file.path, bad).unwrap();
        let error = file.read().err().unwrap();
        assert!(matches!(error, ClientFileError::Damaged { .. }), "{bad}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        // And not overwritten.
        assert!(add(&file, entry("127.0.0.1:2", "two")).is_err());
        assert_eq!(std::fs::read_to_string(&file.path).unwrap(), bad);
    }
}

#[test]
fn many_servers_that_start_at_once_all_find_their_place() {
    let folder = Folder::new();
    let threads: Vec<_> = (0..16)
        .map(|n| {
            let file = folder.file();
            std::thread::spawn(move || add(&file, entry(&format!("127.0.0.1:{n}"), &n.to_string())).unwrap())
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(folder.file().read().unwrap().len(), 16);
}

#[test]
fn who_loses_an_address_stays_unless_nothing_brings_it_back() {
    let ephemeral = Entry { is_ephemeral: true, ..entry("a:2", "two") };
    let mut entries = vec![entry("a:1", "one"), ephemeral, entry("a:3", "three")];
    assert!(vacate(&mut entries, "a:1") && vacate(&mut entries, "a:2") && !vacate(&mut entries, "a:2"));
    let left: Vec<_> = entries.iter().map(|entry| (entry.token.as_str(), entry.address.as_deref())).collect();
    assert_eq!(left, [("one", None), ("three", Some("a:3"))]);
}

#[test]
fn a_full_file_forgets_what_was_ephemeral_and_else_takes_no_more() {
    let folder = Folder::new();
    let file = folder.file();
    let fill = |entries: &mut Vec<Entry>| {
        entries.extend((1..ENTRIES_MAX).map(|n| entry(&format!("a:{n}"), "t")));
        entries.push(Entry { is_ephemeral: true, ..entry("a:0", "gone") });
        true
    };
    file.change(fill).unwrap();
    add(&file, entry("b:1", "one")).unwrap();
    assert_eq!((token(&file, "a:0"), token(&file, "b:1")), (None, Some("one".to_owned())));
    assert!(matches!(add(&file, entry("b:2", "two")), Err(ClientFileError::Full { .. })));
}

#[test]
fn how_a_server_is_reached_over_tls_is_read_back_and_what_a_person_said_stays() {
    let folder = Folder::new();
    let file = folder.file();
    let pins = vec!["a.example".parse().unwrap(), format!("sha256:{}", "ab".repeat(32)).parse().unwrap()];
    let security = Security {
        is_tls: true,
        ca_file: Some("/ca \"1\".pem".into()),
        client_cert: Some("/me.pem".into()),
        client_key: Some("/me-key.pem".into()),
        tls_pin: pins,
    };
    add(&file, Entry { security: security.clone(), ..entry("127.0.0.1:1", "one") }).unwrap();
    let mut found = file.entry("127.0.0.1:1").unwrap().unwrap();
    assert_eq!(found.security, security);
    // The server comes back with another authority, and somewhere else.
    let now = Security { is_tls: true, ca_file: Some("/new.pem".into()), ..Security::default() };
    assert!(found.put(Place { address: "127.0.0.1:2", security: &now }));
    assert!(!found.put(Place { address: "127.0.0.1:2", security: &now }));
    assert_eq!(found.security, Security { ca_file: Some("/new.pem".into()), ..security });
    // And then without TLS.
    assert!(found.put(Place { address: "127.0.0.1:2", security: &Security::default() }));
    assert_eq!(found.security, Security::default());
}

#[test]
fn a_server_that_listens_everywhere_is_found_here() {
    let folder = Folder::new();
    let file = folder.file();
    add(&file, entry("0.0.0.0:1", "one")).unwrap();
    add(&file, entry("[::]:2", "two")).unwrap();
    let found = ["127.0.0.1:1", "localhost:1", "[::1]:2", "[::1]:1", "10.0.0.1:1"];
    let found = found.map(|address| token(&file, address));
    let expected = [Some("one"), Some("one"), Some("two"), None, None];
    assert_eq!(found, expected.map(|token| token.map(str::to_owned)));
}

#[test]
fn a_pin_that_is_none_makes_the_file_no_file() {
    assert!(parse("[[server]]\ntoken = \"t\"\ntls-pin = \"sha256:00\"\n").is_err());
    assert!(parse("[[server]]\ntoken = \"t\"\ntls-pin = \"a.example, b.example\"\n").is_ok());
}
