use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use super::*;
use crate::configuration::Transport;

const DAY: i64 = 86_400;
const BEGAN: i64 = 1_800_000_000;

/// A directory that goes with the test, a clock that only the test moves, and a keeper.
struct World {
    folder: PathBuf,
    clock: Arc<AtomicI64>,
    telemetry: Telemetry,
    keeper: Mutex<Option<Keeper>>,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl World {
    fn new() -> World {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("idhini-tls-{}-{number}", std::process::id()));
        authority::make_directory(&folder).unwrap();
        let world = World {
            folder,
            clock: Arc::new(AtomicI64::new(BEGAN)),
            telemetry: Telemetry::new(None),
            keeper: Mutex::default(),
        };
        world.authority(100 * DAY);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.clock.load(Ordering::Relaxed))
    }

    fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Another authority in place of what there is.
    fn authority(&self, seconds: i64) {
        let made = Authority::make("ours", seconds.unsigned_abs(), self.now()).unwrap();
        authority::write(&made, &self.path(authority::CERTIFICATE), &self.path(authority::KEY)).unwrap();
    }

    /// A certificate of it, as files.
    fn issue(&self, seconds: i64) {
        let read = |name: &str| std::fs::read(self.path(name)).unwrap();
        let authority = Authority::of_pem(&read(authority::CERTIFICATE), &read(authority::KEY)).unwrap();
        let names = [Name::dns("localhost").unwrap()];
        let issued = authority.issue(&names, Usage::Server, seconds.unsigned_abs(), self.now()).unwrap();
        authority::write(&issued, &self.path("a.pem"), &self.path("a-key.pem")).unwrap();
    }

    fn begin(&self, transport: &Transport) -> Result<(), TlsFailure> {
        let clock = Arc::clone(&self.clock);
        let now: Clock = Arc::new(move || Timestamp::from_seconds(clock.load(Ordering::Relaxed)));
        let settings = Settings { transport: transport.clone(), ..Settings::default() };
        *self.keeper.lock().unwrap() = Keeper::begin(&settings, &self.telemetry, now)?;
        Ok(())
    }

    fn own(&self, lifetime: i64) -> Transport {
        let lifetime_seconds = lifetime.unsigned_abs();
        Transport { ca_dir: Some(self.folder.clone()), lifetime_seconds, ..Transport::default() }
    }

    fn given(&self) -> Transport {
        let (cert_file, key_file) = (Some(self.path("a.pem")), Some(self.path("a-key.pem")));
        Transport { cert_file, key_file, ..Transport::default() }
    }

    /// What is shown after so many rounds, and until when, in seconds after the beginning.
    fn after_rounds(&self, rounds: usize) -> (String, i64) {
        let mut keeper = self.keeper.lock().unwrap();
        let keeper = keeper.as_mut().unwrap();
        (0..rounds).for_each(|_| keeper.round());
        let (fingerprint, until) = keeper.tls().shown();
        (fingerprint.to_string(), until.seconds() - BEGAN)
    }

    fn is_failing(&self) -> bool {
        self.keeper.lock().unwrap().as_ref().unwrap().failed.is_some()
    }
}

#[test]
fn a_certificate_of_our_own_is_renewed_after_two_thirds_of_its_life() {
    let world = World::new();
    world.begin(&world.own(DAY)).unwrap();
    let first = world.after_rounds(3);
    assert_eq!(first.1, DAY);
    world.pass(DAY / 3 * 2 - 1);
    assert_eq!(world.after_rounds(3), first);
    world.pass(1);
    let second = world.after_rounds(1);
    assert_ne!(second.0, first.0);
    assert_eq!(second.1, DAY / 3 * 2 + DAY);
    assert_eq!(world.after_rounds(5), second, "once is enough");
    world.pass(DAY / 3 * 2);
    assert_eq!(world.after_rounds(1).1, DAY / 3 * 4 + DAY);
}

#[test]
fn every_certificate_of_a_year_follows_another_before_that_has_ended() {
    let world = World::new();
    world.authority(400 * DAY);
    world.begin(&world.own(DAY)).unwrap();
    let mut taken = 1;
    let mut shown = world.after_rounds(1);
    for minute in (0..365 * 24 * 60).step_by(10) {
        world.clock.store(BEGAN + minute * 60, Ordering::Relaxed);
        let next = world.after_rounds(1);
        assert!(next.1 > minute * 60 + DAY / 3 - 600, "at minute {minute} until {}", next.1);
        taken += i64::from(next.0 != shown.0);
        shown = next;
    }
    assert!((540..=548).contains(&taken), "{taken}");
}

#[test]
fn what_cannot_be_renewed_is_tried_again_until_it_can() {
    let world = World::new();
    world.begin(&world.own(DAY)).unwrap();
    let first = world.after_rounds(1);
    let key = std::fs::read(world.path(authority::KEY)).unwrap();
    std::fs::remove_file(world.path(authority::KEY)).unwrap();
    // Told of before it is due.
    assert_eq!(world.after_rounds(2), first);
    assert!(world.is_failing());
    world.pass(DAY);
    assert_eq!(world.after_rounds(3), first);
    std::fs::write(world.path(authority::KEY), key).unwrap();
    let renewed = world.after_rounds(2);
    assert_ne!(renewed, first);
    assert!(!world.is_failing());
}

#[test]
fn a_certificate_ends_with_its_authority_and_another_authority_is_taken_at_once() {
    let world = World::new();
    world.authority(3 * DAY / 2);
    world.begin(&world.own(DAY)).unwrap();
    world.pass(DAY);
    assert_eq!(world.after_rounds(2).1, 3 * DAY / 2);
    world.pass(DAY);
    let last = world.after_rounds(3);
    assert_eq!(last.1, 3 * DAY / 2);
    assert!(world.is_failing());
    world.authority(100 * DAY);
    assert_eq!(world.after_rounds(2).1, 3 * DAY);
    assert!(!world.is_failing());
}

#[test]
fn a_clock_that_is_set_back_leaves_no_certificate_that_does_not_count_yet() {
    let world = World::new();
    world.authority(100 * DAY);
    world.pass(50 * DAY);
    world.begin(&world.own(DAY)).unwrap();
    world.clock.store(BEGAN + 2 * DAY, Ordering::Relaxed);
    assert_eq!(world.after_rounds(2).1, 3 * DAY);
}

#[test]
fn files_that_change_are_taken_when_they_have_stayed_so_for_a_round() {
    let world = World::new();
    world.issue(DAY);
    world.begin(&world.given()).unwrap();
    let first = world.after_rounds(5);
    world.issue(2 * DAY);
    assert_eq!(world.after_rounds(1), first);
    assert_eq!(world.after_rounds(1).1, 2 * DAY);
    // A key that is not that of the certificate, for a moment: nobody is alarmed.
    let key = std::fs::read(world.path("a-key.pem")).unwrap();
    world.issue(3 * DAY);
    let new_key = std::fs::read(world.path("a-key.pem")).unwrap();
    std::fs::write(world.path("a-key.pem"), key).unwrap();
    world.after_rounds(1);
    std::fs::write(world.path("a-key.pem"), new_key).unwrap();
    world.after_rounds(1);
    assert!(!world.is_failing());
    assert_eq!(world.after_rounds(1).1, 3 * DAY);
}

#[test]
fn files_that_are_bad_keep_what_is_shown_until_they_are_good_or_as_before() {
    let world = World::new();
    world.issue(DAY);
    world.begin(&world.given()).unwrap();
    let first = world.after_rounds(1);
    let good = std::fs::read(world.path("a.pem")).unwrap();
    for bad in [&b"nothing"[..], b"", b"-----BEGIN CERTIFICATE-----\nMAMBAgM=\n-----END CERTIFICATE-----\n"] {
        std::fs::write(world.path("a.pem"), bad).unwrap();
        assert_eq!(world.after_rounds(3), first);
        assert!(world.is_failing());
    }
    std::fs::write(world.path("a.pem"), &good).unwrap();
    assert_eq!(world.after_rounds(2), first);
    assert!(!world.is_failing(), "as before");
    // One that counts only later is taken when it does, though the file stays as it is.
    world.pass(1_000);
    world.issue(DAY);
    world.pass(-1_000);
    assert_eq!(world.after_rounds(3), first);
    assert!(world.is_failing());
    world.pass(1_000);
    assert_eq!(world.after_rounds(1).1, 1_000 + DAY);
}

#[test]
fn a_start_names_what_it_cannot_use() {
    let world = World::new();
    let told =
        |transport: Transport| world.begin(&transport).map_err(|failure| failure.to_string()).unwrap_err();
    assert!(told(world.given()).contains("a.pem"));
    world.issue(DAY);
    std::fs::write(world.path("a-key.pem"), "nothing").unwrap();
    assert!(told(world.given()).contains("a-key.pem"));
    world.issue(DAY);
    world.pass(2 * DAY);
    assert!(told(world.given()).contains("has ended"));
    let none = Transport { client_ca_file: Some(world.path("none.pem")), ..world.own(DAY) };
    assert!(told(none).contains("none.pem"));
    std::fs::write(world.path("none.pem"), "").unwrap();
    let empty = Transport { client_ca_file: Some(world.path("none.pem")), ..world.own(DAY) };
    assert!(told(empty).contains("none.pem"));
    std::fs::write(world.path(authority::KEY), "nothing").unwrap();
    assert!(told(world.own(DAY)).contains("the authority in"));
    assert!(world.begin(&Transport::default()).is_ok(), "nothing is set");
    assert!(world.keeper.lock().unwrap().is_none());
}

#[test]
fn a_certificate_is_for_what_is_set_and_otherwise_for_where_it_is_shown() {
    let named =
        Transport { names: vec!["a.example".to_owned(), "10.0.0.1".to_owned()], ..Transport::default() };
    let of = |transport: &Transport, address: &str| -> Vec<String> {
        let (transport, grpc_addr) = (transport.clone(), address.parse().unwrap());
        let http_addr = Some(ListenAddress::At("10.4.5.6:1".parse().unwrap()));
        let settings = Settings { transport, grpc_addr, http_addr, ..Settings::default() };
        names(&settings).iter().map(Name::to_string).collect()
    };
    assert_eq!(of(&named, "0.0.0.0:1"), ["a.example", "10.0.0.1"]);
    let by_itself = of(&Transport::default(), "10.1.2.3:1");
    assert!(
        ["localhost", "127.0.0.1", "::1", "10.1.2.3", "10.4.5.6"]
            .iter()
            .all(|name| by_itself.contains(&(*name).to_owned()))
    );
    assert!(!of(&Transport::default(), "0.0.0.0:1").contains(&"0.0.0.0".to_owned()));
}
