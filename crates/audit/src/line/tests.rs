use super::{Chain, Envelope, Fact, Hash, Head, LineFault, Told, read};
use idhini_model::Timestamp;

fn line() -> Vec<u8> {
    let mut lines = Vec::new();
    let facts = [("last", Fact::Number(u64::MAX)), ("why", Fact::Text("\"\\".to_owned()))];
    let at = Timestamp::from_seconds(0);
    Chain { records: 41, head: Hash([9; 32]) }
        .push(&mut lines, &Told::Own { kind: "able", at, facts: &facts });
    lines
}

#[test]
fn a_line_is_read_as_it_was_written_and_is_json() {
    let line = line();
    let line = line.strip_suffix(b"\n").unwrap();
    let Envelope { seq, prev, hash } = read(line).unwrap();
    assert_eq!((seq, prev), (42, Hash([9; 32])));
    let value: serde_json::Value = serde_json::from_slice(line).unwrap();
    assert_eq!(value["seq"], 42);
    assert_eq!(value["hash"], hash.to_string());
    assert_eq!(value["why"], "\"\\");
    assert_eq!(value["last"], u64::MAX);
    let head = Head::of(line).unwrap();
    assert_eq!((head.at, head.kind, head.intent), ("1970-01-01T00:00:00Z", "able", None));
}

#[test]
fn a_number_that_is_written_otherwise_is_malformed() {
    let good = String::from_utf8(line()).unwrap();
    for (from, to) in [
        ("\"seq\":42", "\"seq\":042"),
        ("\"seq\":42", "\"seq\":"),
        ("{\"seq", "{ \"seq"),
        ("\"prev\":\"0", "\"prev\":\"G"),
    ] {
        assert_eq!(read(good.trim_end().replace(from, to).as_bytes()), Err(LineFault::Malformed), "{to}");
    }
    assert_eq!(read(good.trim_end().replace("able", "abel").as_bytes()), Err(LineFault::Hash));
    assert_eq!(read(b""), Err(LineFault::Malformed));
}
