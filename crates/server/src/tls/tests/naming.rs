//! Whom certificates name, and which are pinned.

use proptest::prelude::*;

use super::*;

fn facts(names: &[SanType], common: Option<&str>) -> CertificateFacts {
    let key = KeyPair::generate().unwrap();
    let made = params(names, common, NOW - HOUR, NOW + HOUR).self_signed(&key).unwrap();
    certificate_facts(made.der()).unwrap()
}

fn identity(names: &[SanType], common: Option<&str>) -> Option<String> {
    facts(names, common).identity().map(str::to_owned)
}

#[test]
fn a_spiffe_id_comes_before_a_dns_name_and_that_before_a_common_name() {
    let (id, first, second) = (uri("spiffe://example.org/billing"), dns("billing.example"), dns("b.example"));
    let all = [first.clone(), second.clone(), id.clone()];
    assert_eq!(identity(&all, Some("common")).as_deref(), Some("spiffe://example.org/billing"));
    assert_eq!(identity(&[first.clone(), second], Some("common")).as_deref(), Some("billing.example"));
    assert_eq!(identity(&[], Some("common")).as_deref(), Some("common"));
    assert_eq!(identity(&[], None), None);
    // Another URI is none, and an address names nobody.
    assert_eq!(identity(&[uri("https://example.org"), first], None).as_deref(), Some("billing.example"));
    let address = SanType::IpAddress("10.0.0.1".parse().unwrap());
    assert_eq!(identity(&[address], None), None);
    assert_eq!(
        identity(&[id.clone(), uri("spiffe://example.org/other")], Some("common")),
        None,
        "which of them is it?"
    );
    assert_eq!(identity(&[id.clone(), id], None), None);
}

#[test]
fn no_name_is_taken_for_one_of_a_better_kind_or_for_everybody() {
    for common in ["spiffe://example.org/billing", "a/b", "a:b", "*", "*.example", "two words", "é", ""] {
        assert_eq!(identity(&[], Some(common)), None, "{common}");
    }
    for name in ["spiffe://example.org/billing", "*.example", "a b"] {
        assert_eq!(identity(&[dns(name)], Some("common")), None, "{name}");
    }
    for id in ["spiffe://example.org/*", "spiffe://example.org/a b"] {
        assert_eq!(identity(&[uri(id), dns("a.example")], Some("common")), None, "{id}");
    }
    assert_eq!(identity(&[dns(&"a".repeat(1_025))], None), None);
    assert_eq!(identity(&[], Some("Case.Stays")).as_deref(), Some("Case.Stays"));
}

#[test]
fn a_server_is_any_of_its_names() {
    let facts = facts(&[dns("a.example"), dns("b.example"), uri("spiffe://example.org/a")], Some("common"));
    for (name, is_one) in [
        ("a.example", true),
        ("b.example", true),
        ("spiffe://example.org/a", true),
        ("common", false),
        ("example", false),
        ("", false),
    ] {
        assert_eq!(facts.is_named(name), is_one, "{name}");
    }
    assert_eq!(
        (facts.from, facts.until),
        (Timestamp::from_seconds(NOW - HOUR), Timestamp::from_seconds(NOW + HOUR))
    );
}

#[test]
fn pins_are_fingerprints_or_names() {
    let digits = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let colons: Vec<String> =
        digits.as_bytes().chunks(2).map(|two| String::from_utf8_lossy(two).to_uppercase()).collect();
    let pin: Pin = format!("sha256:{digits}").parse().unwrap();
    assert_eq!(pin.to_string(), format!("sha256:{digits}"));
    assert_eq!(format!("SHA256:{}", colons.join(":")).parse(), Ok(pin));
    for bad in [
        digits,
        &colons.join(":"),
        "sha256:",
        "sha256:00",
        &format!("sha256:{digits}00"),
        &format!("sha256:{}g", &digits[1..]),
    ] {
        assert_eq!(bad.parse::<Pin>(), Err(PinError::Fingerprint), "{bad}");
    }
    for bad in ["", "a b", "a,b", "*.example", "é"] {
        assert_eq!(bad.parse::<Pin>(), Err(PinError::Name), "{bad}");
    }
    assert_eq!("spiffe://example.org/a".parse(), Ok(Pin::Name("spiffe://example.org/a".to_owned())));
}

#[test]
fn a_fingerprint_is_what_openssl_prints() {
    // SHA-256 of nothing.
    let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(
        Fingerprint::of(&CertificateDer::from(Vec::new())).to_string(),
        format!("sha256:{of_nothing}")
    );
}

proptest! {
    #[test]
    fn no_bytes_are_read_with_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let _ = certificate_facts(&CertificateDer::from(bytes.clone()));
        let _ = TlsMaterial::of_pem(&bytes, &bytes, Some(&bytes));
        let _ = String::from_utf8_lossy(&bytes).parse::<Pin>();
        // And a certificate with a byte that is wrong.
        bytes = real().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = certificate_facts(&CertificateDer::from(bytes)).map(|facts| facts.identity().map(str::to_owned));
    }
}

fn real() -> CertificateDer<'static> {
    static REAL: std::sync::OnceLock<CertificateDer<'static>> = std::sync::OnceLock::new();
    REAL.get_or_init(|| Authority::new("one").client("billing.example").0).clone()
}
