use std::sync::Mutex;
use std::task::{Context, Waker};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, SanType, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::{DuplexStream, duplex};
use tokio_rustls::TlsConnector;

use super::*;

mod naming;

/// In the middle of the certificates' life.
const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3_600;

struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

type Pair = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = params(&[], Some(name), NOW - HOUR, NOW + 100 * HOUR);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, mut params: CertificateParams) -> Pair {
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        (certificate, PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    fn server(&self) -> Pair {
        self.issue(params(&[dns("localhost")], None, NOW - HOUR, NOW + HOUR))
    }

    fn client(&self, name: &str) -> Pair {
        self.issue(params(&[dns(name)], None, NOW - HOUR, NOW + HOUR))
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn params(names: &[SanType], common: Option<&str>, from: i64, until: i64) -> CertificateParams {
    let at = |seconds: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.unsigned_abs());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(common) = common {
        params.distinguished_name.push(DnType::CommonName, common);
    }
    params.subject_alt_names = names.to_vec();
    (params.not_before, params.not_after) = (at(from), at(until));
    params
}

fn material((certificate, key): &Pair, authorities: &[&Authority]) -> TlsMaterial {
    let authorities = authorities.iter().map(|authority| authority.certificate.clone());
    TlsMaterial::new(vec![certificate.clone()], key.clone_key(), authorities.collect())
}

/// A listener's TLS, and how handshakes go.
struct World {
    authority: Authority,
    tls: Tls,
    telemetry: Telemetry,
    now: Arc<Mutex<i64>>,
}

impl World {
    fn new(client_auth: ClientAuth, pins: &[&str]) -> World {
        World::with(client_auth, pins, false)
    }

    fn with(client_auth: ClientAuth, pins: &[&str], is_tls12_allowed: bool) -> World {
        let (authority, telemetry) = (Authority::new("one"), Telemetry::new(None));
        let now = Arc::new(Mutex::new(NOW));
        let clock = Arc::clone(&now);
        let options = TlsOptions {
            client_auth,
            peer_pins: pins.iter().map(|pin| pin.parse().unwrap()).collect(),
            is_tls12_allowed,
            clock: Arc::new(move || Timestamp::from_seconds(*clock.lock().unwrap())),
        };
        let tls = Tls::new(options, &material(&authority.server(), &[&authority]), &telemetry).unwrap();
        World { authority, tls, telemetry, now }
    }

    fn client(&self, shown: Option<Pair>) -> Arc<ClientConfig> {
        client(&self.authority, shown)
    }

    /// What the server has of a client after the handshake, and how that was.
    async fn meet(&self, client: &Arc<ClientConfig>) -> Option<(Option<Peer>, HandshakeKind)> {
        let (ours, theirs) = duplex(1 << 16);
        let handshakes = Handshakes::new();
        let serving = async {
            let (mut stream, peer) = self.tls.accept(ours, &handshakes).await?;
            let kind = stream.get_ref().1.handshake_kind().unwrap();
            // Whoever read so far has everything that the handshake left behind.
            stream.write_all(b"there").await.ok()?;
            stream.shutdown().await.ok()?;
            Some((peer, kind))
        };
        tokio::join!(serving, talk(client, theirs)).0
    }

    fn failures(&self) -> Vec<(&'static str, u64)> {
        let all = self.telemetry.tls.counted().unwrap().failures;
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn is_old(&self) -> bool {
        self.telemetry.tls.counted().unwrap().is_old
    }
}

fn client(authority: &Authority, shown: Option<Pair>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).unwrap();
    // Its clock is the real one: what servers show is none of these tests' business here.
    let builder = ClientConfig::builder_with_details(
        Arc::new(aws_lc_rs::default_provider()),
        Arc::new(Time(Arc::new(|| Timestamp::from_seconds(NOW)))),
    );
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
    };
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

/// Shakes hands, and reads until the other side closes.
async fn talk(client: &Arc<ClientConfig>, socket: DuplexStream) {
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::clone(client));
    if let Ok(mut stream) = connector.connect(name, socket).await {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

fn names(met: Option<(Option<Peer>, HandshakeKind)>) -> Option<Option<String>> {
    met.map(|(peer, _)| peer.map(|peer| peer.subject.to_string()))
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate_and_without_one_by_nothing() {
    let world = World::new(ClientAuth::Optional, &[]);
    let shown = world.authority.client("billing.example");
    let met = world.meet(&world.client(Some(shown))).await.unwrap().0.unwrap();
    assert_eq!(met.subject, SubjectRef::object("certificate", "billing.example"));
    assert_eq!(met.until, Timestamp::from_seconds(NOW + HOUR));
    assert_eq!(names(world.meet(&world.client(None)).await), Some(None));
    let world = World::new(ClientAuth::Off, &[]);
    let shown = world.authority.client("billing.example");
    assert_eq!(names(world.meet(&world.client(Some(shown))).await), Some(None), "none was asked for");
}

#[tokio::test]
async fn a_bad_certificate_is_refused_also_where_none_is_needed() {
    for auth in [ClientAuth::Optional, ClientAuth::Required] {
        let world = World::new(auth, &[]);
        let other = Authority::new("one");
        let until = |until| params(&[dns("billing.example")], None, NOW - 10 * HOUR, until);
        let bad = [
            other.client("billing.example"),
            world.authority.issue(until(NOW - 1)),
            world.authority.issue(params(&[dns("billing.example")], None, NOW + 1, NOW + HOUR)),
        ];
        for (count, shown) in (1..).zip(bad) {
            assert_eq!(names(world.meet(&world.client(Some(shown))).await), None);
            assert_eq!(world.failures(), [("client_certificate", count)]);
        }
    }
}

#[tokio::test]
async fn where_a_certificate_is_required_nobody_comes_in_without_one() {
    let world = World::new(ClientAuth::Required, &[]);
    assert_eq!(names(world.meet(&world.client(None)).await), None);
    assert_eq!(world.failures(), [("client_certificate", 1)]);
}

#[tokio::test]
async fn of_verified_certificates_only_those_that_are_pinned_are_taken() {
    let world = World::new(ClientAuth::Required, &["billing.example", "spiffe://example.org/a"]);
    for (name, is_taken) in [(dns("billing.example"), true), (dns("other.example"), false)] {
        let shown = world.authority.issue(params(&[name], None, NOW - HOUR, NOW + HOUR));
        assert_eq!(world.meet(&world.client(Some(shown))).await.is_some(), is_taken);
    }
    // What it is known by counts, not what else stands in it.
    let both = [uri("spiffe://example.org/b"), dns("billing.example")];
    let shown = world.authority.issue(params(&both, None, NOW - HOUR, NOW + HOUR));
    assert!(world.meet(&world.client(Some(shown))).await.is_none());
    let forged = Authority::new("one").client("billing.example");
    assert!(world.meet(&world.client(Some(forged))).await.is_none(), "a pin does not verify");

    let (authority, telemetry) = (Authority::new("one"), Telemetry::new(None));
    let (pinned, other) = (authority.client("same.example"), authority.client("same.example"));
    let pin = Pin::Fingerprint(Fingerprint::of(&pinned.0));
    let options = TlsOptions {
        client_auth: ClientAuth::Required,
        peer_pins: vec![pin.to_string().parse().unwrap()],
        is_tls12_allowed: false,
        clock: Arc::new(|| Timestamp::from_seconds(NOW)),
    };
    let tls = Tls::new(options, &material(&authority.server(), &[&authority]), &telemetry).unwrap();
    let world = World { authority, tls, telemetry, now: Arc::default() };
    assert!(world.meet(&world.client(Some(pinned))).await.is_some());
    assert!(world.meet(&world.client(Some(other))).await.is_none());
}

#[tokio::test]
async fn sessions_are_resumed_only_where_no_certificate_of_a_client_would_be_passed_over() {
    for (auth, again) in [
        (ClientAuth::Off, HandshakeKind::Resumed),
        (ClientAuth::Optional, HandshakeKind::Full),
        (ClientAuth::Required, HandshakeKind::Full),
    ] {
        let world = World::new(auth, &[]);
        let client = world.client(Some(world.authority.client("billing.example")));
        let first = world.meet(&client).await.unwrap().1;
        assert!(matches!(first, HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest), "{first:?}");
        assert_eq!(world.meet(&client).await.unwrap().1, again, "{auth:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_ends_ends_what_it_opens() {
    let world = World::new(ClientAuth::Required, &[]);
    let client = world.client(Some(world.authority.client("billing.example")));
    assert!(world.meet(&client).await.is_some());
    *world.now.lock().unwrap() = NOW + HOUR + 1;
    assert!(world.meet(&client).await.is_none());
}

#[tokio::test]
async fn tls_1_2_is_spoken_only_if_that_is_allowed() {
    for is_allowed in [false, true] {
        let world = World::with(ClientAuth::Off, &[], is_allowed);
        let mut roots = RootCertStore::empty();
        roots.add(world.authority.certificate.clone()).unwrap();
        let old = ClientConfig::builder_with_details(
            Arc::new(aws_lc_rs::default_provider()),
            Arc::new(Time(Arc::new(|| Timestamp::from_seconds(NOW)))),
        );
        let old = old.with_protocol_versions(&[&TLS12]).unwrap().with_root_certificates(roots);
        assert_eq!(world.meet(&Arc::new(old.with_no_client_auth())).await.is_some(), is_allowed);
        assert!(world.meet(&world.client(None)).await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_is_not_waited_for() {
    let world = World::new(ClientAuth::Off, &[]);
    let (ours, _theirs) = duplex(1 << 16);
    let began = tokio::time::Instant::now();
    assert!(world.tls.accept(ours, &Handshakes::new()).await.is_none());
    assert!((HANDSHAKE_MAX..HANDSHAKE_MAX * 2).contains(&began.elapsed()));
    assert_eq!(world.failures(), [("timeout", 1)]);
}

#[tokio::test]
async fn there_is_room_for_so_many_handshakes_and_for_more_when_some_end() {
    let (world, handshakes) = (World::new(ClientAuth::Off, &[]), Handshakes::new());
    let mut silent = Vec::new();
    let mut shaking = Vec::new();
    for _ in 0..HANDSHAKES_MAX {
        let (ours, theirs) = duplex(64);
        silent.push(theirs);
        let mut accepting = Box::pin(world.tls.accept(ours, &handshakes));
        let mut context = Context::from_waker(Waker::noop());
        assert!(accepting.as_mut().poll(&mut context).is_pending());
        shaking.push(accepting);
    }
    assert!(world.tls.accept(duplex(64).0, &handshakes).await.is_none());
    assert_eq!(world.failures(), [("too_many", 1)]);
    // One leaves.
    silent.pop();
    assert!(shaking.pop().unwrap().await.is_none());
    assert_eq!(world.failures(), [("too_many", 1), ("closed", 1)]);
    let (ours, theirs) = duplex(1 << 16);
    let client = world.client(None);
    let serving = async { world.tls.accept(ours, &handshakes).await.is_some() };
    assert!(tokio::join!(serving, talk(&client, theirs)).0);
}

#[tokio::test]
async fn what_is_no_tls_is_counted_as_such() {
    let world = World::new(ClientAuth::Off, &[]);
    let (ours, mut theirs) = duplex(1 << 16);
    theirs.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert!(world.tls.accept(ours, &Handshakes::new()).await.is_none());
    let stranger = client(&Authority::new("other"), None);
    assert!(world.meet(&stranger).await.is_none());
    assert_eq!(world.failures(), [("refused_by_client", 1), ("protocol", 1)]);
}

#[tokio::test]
async fn what_is_replaced_is_shown_from_the_next_handshake_on() {
    let world = World::new(ClientAuth::Required, &[]);
    let (before, counted) = (world.tls.shown(), world.telemetry.tls.counted().unwrap());
    assert_eq!((counted.reloads, counted.ends_at), (0, NOW + HOUR));
    let other = Authority::new("other");
    let (old, new) = (world.authority.client("a.example"), other.client("a.example"));
    let next = world.authority.issue(params(&[dns("localhost")], None, NOW - HOUR, NOW + 9 * HOUR));
    world.tls.replace(&material(&next, &[&other])).unwrap();
    assert_ne!(world.tls.shown(), before);
    let counted = world.telemetry.tls.counted().unwrap();
    assert_eq!((counted.reloads, counted.ends_at, counted.is_old), (1, NOW + 9 * HOUR, false));
    // And so are whose certificates are taken.
    assert!(world.meet(&world.client(Some(old))).await.is_none());
    assert!(world.meet(&world.client(Some(new))).await.is_some());
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing_but_a_metric() {
    let world = World::new(ClientAuth::Required, &[]);
    let (shown, (own, key)) = (world.tls.shown(), world.authority.server());
    let of = |from, until| world.authority.issue(params(&[dns("localhost")], None, from, until));
    let authorities = || vec![world.authority.certificate.clone()];
    let garbage = || CertificateDer::from(vec![0x30, 3, 1, 2, 3]);
    let bad = [
        (TlsMaterial::new(vec![own.clone()], world.authority.server().1, authorities()), TlsPart::Key),
        (material(&of(NOW - 2 * HOUR, NOW - 1), &[&world.authority]), TlsPart::Certificate),
        (material(&of(NOW + 1, NOW + HOUR), &[&world.authority]), TlsPart::Certificate),
        (TlsMaterial::new(vec![garbage()], key.clone_key(), authorities()), TlsPart::Certificate),
        (TlsMaterial::new(Vec::new(), key.clone_key(), authorities()), TlsPart::Certificate),
        (TlsMaterial::new(vec![own.clone()], key.clone_key(), Vec::new()), TlsPart::ClientAuthorities),
        (TlsMaterial::new(vec![own.clone()], key.clone_key(), vec![garbage()]), TlsPart::ClientAuthorities),
    ];
    let client = world.client(Some(world.authority.client("a.example")));
    for (count, (material, part)) in (1..).zip(bad) {
        let error = world.tls.replace(&material).unwrap_err();
        assert_eq!(error.part(), part, "{error}");
        let counted = world.telemetry.tls.counted().unwrap();
        assert_eq!((counted.is_old, counted.reload_failures, counted.reloads), (true, count, 0));
        assert_eq!(world.tls.shown(), shown);
        assert!(world.meet(&client).await.is_some());
    }
    world.tls.replace(&material(&(own, key), &[&world.authority])).unwrap();
    assert!(!world.is_old());
    world.tls.keep();
    assert!(world.is_old());
    world.tls.restore();
    assert!(!world.is_old());
}

#[test]
fn a_key_is_in_nothing_that_is_printed() {
    let authority = Authority::new("one");
    let (certificate, key) = authority.server();
    let secret = format!("{:?}", key.secret_der());
    let material = TlsMaterial::new(vec![certificate], key, Vec::new());
    let middle = &secret[secret.len() / 2..secret.len() / 2 + 20];
    assert!(!format!("{material:?}").contains(middle));
    let world = World::new(ClientAuth::Off, &[]);
    assert!(format!("{:?} {:?}", world.tls, world.tls.options).len() < 300);
}

#[test]
fn what_files_hold_is_read_or_named() {
    let pem = |label: &str, text: &str| format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n");
    let certificate = pem("CERTIFICATE", "MAMBAgM=");
    let key = pem("PRIVATE KEY", "MAMBAgM=");
    let read = |certificate: &str, key: &str, authorities: Option<&str>| {
        TlsMaterial::of_pem(certificate.as_bytes(), key.as_bytes(), authorities.map(str::as_bytes))
    };
    let two = certificate.repeat(2);
    let material = read(&two, &key, Some(&certificate)).unwrap();
    assert_eq!((material.certificates.len(), material.client_authorities.len()), (2, 1));
    let encrypted = pem("ENCRYPTED PRIVATE KEY", "MAMBAgM=");
    for (certificate, key, authorities, part) in [
        ("", &*key, None, TlsPart::Certificate),
        (&*key, &*key, None, TlsPart::Certificate),
        (&*certificate, "", None, TlsPart::Key),
        (&*certificate, &*encrypted, None, TlsPart::Key),
        (&*certificate, &*key, Some(""), TlsPart::ClientAuthorities),
        ("-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n", &*key, None, TlsPart::Certificate),
        ("-----BEGIN CERTIFICATE-----\nMAMB", &*key, None, TlsPart::Certificate),
    ] {
        let error = read(certificate, key, authorities).unwrap_err();
        assert_eq!(error.part(), part, "{error}");
    }
}
