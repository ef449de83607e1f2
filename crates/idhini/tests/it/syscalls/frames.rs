//! HTTP/2 as it went over one connection: which call asked for what, and which system call began to answer it.

use std::collections::HashMap;

use super::trace::Call;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PADDED: u8 = 8;

/// The calls that were made over one connection, by their streams.
#[derive(Debug, Default)]
pub struct Connection {
    /// What each call sent.
    pub asked: HashMap<u32, Vec<u8>>,
    /// Where the first system call began that carried something of the answer: neither what settles the connection
    /// nor what opens windows.
    pub answered: HashMap<u32, usize>,
}

/// Bytes of one direction, and which system call carried each of them.
#[derive(Default)]
struct Flow {
    bytes: Vec<u8>,
    /// Where what a call carried ends, and where the call began.
    carried: Vec<(usize, usize)>,
}

struct Frame<'f> {
    kind: u8,
    stream: u32,
    payload: &'f [u8],
    /// Where the system call began that carried its first byte.
    began: usize,
}

impl Flow {
    fn add(&mut self, call: &Call) {
        self.bytes.extend(call.bytes());
        self.carried.push((self.bytes.len(), call.began));
    }

    /// The frames behind `at`, as far as they are whole.
    fn frames(&self, mut at: usize) -> Vec<Frame<'_>> {
        let mut frames = Vec::new();
        while let Some([a, b, c, kind, flags, s0, s1, s2, s3]) =
            self.bytes.get(at..).and_then(|rest| rest.first_chunk::<HEAD_BYTES>())
        {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            let Some(payload) = self.bytes.get(at + HEAD_BYTES..at + HEAD_BYTES + length) else { break };
            assert!(*kind != DATA || flags & PADDED == 0, "padding is not looked through");
            let carried = self.carried.partition_point(|(end, _)| *end <= at);
            let stream = u32::from_be_bytes([*s0, *s1, *s2, *s3]) & 0x7fff_ffff;
            frames.push(Frame { kind: *kind, stream, payload, began: self.carried[carried].1 });
            at += HEAD_BYTES + length;
        }
        frames
    }
}

/// All connections of clients.
pub fn connections(calls: &[Call]) -> Vec<Connection> {
    let mut flows: HashMap<&str, [Flow; 2]> = HashMap::new();
    // The last answer may have gone out although the process was killed before the call returned.
    let is_done = |call: &&Call| call.has_succeeded() || call.ended.is_none();
    for call in calls.iter().filter(|call| call.of.starts_with("TCP")).filter(is_done) {
        let [from_client, to_client] = flows.entry(&call.of).or_default();
        match call.name.as_str() {
            "read" | "readv" | "recvfrom" | "recvmsg" => from_client.add(call),
            "write" | "writev" | "sendto" | "sendmsg" => to_client.add(call),
            _ => {}
        }
    }
    flows
        .values()
        .filter(|[from_client, _]| from_client.bytes.starts_with(PREFACE))
        .map(|[from_client, to_client]| {
            let mut connection = Connection::default();
            for frame in from_client.frames(PREFACE.len()).iter().filter(|frame| frame.kind == DATA) {
                connection.asked.entry(frame.stream).or_default().extend(frame.payload);
            }
            for frame in to_client.frames(0).iter().filter(|frame| [DATA, HEADERS].contains(&frame.kind)) {
                connection.answered.entry(frame.stream).or_insert(frame.began);
            }
            connection
        })
        .collect()
}

#[test]
fn what_settles_a_connection_is_not_taken_for_an_answer() {
    let frame = |kind: u8, stream: u8, payload: &[u8]| {
        [&[0, 0, payload.len() as u8, kind, 0, 0, 0, 0, stream], payload].concat()
    };
    let carried = |name: &str, began: usize, bytes: Vec<u8>| Call {
        name: name.to_owned(),
        began,
        ended: Some(began),
        result: Some(bytes.len() as i64),
        of: "TCP:[a->b".to_owned(),
        strings: vec![bytes],
    };
    let asked = [PREFACE.to_vec(), frame(4, 0, b""), frame(HEADERS, 1, b"h"), frame(DATA, 1, b"as")].concat();
    let (first, second) = asked.split_at(40);
    let answer = frame(HEADERS, 1, b"answer");
    let calls = [
        carried("recvfrom", 1, first.to_vec()),
        carried("recvfrom", 2, [second, &frame(DATA, 1, b"ked")].concat()),
        // Settings, a ping's answer, a window of the very stream.
        carried("writev", 3, [frame(4, 0, b""), frame(6, 0, &[0; 8])].concat()),
        carried("writev", 4, [frame(8, 1, &[0; 4]), answer[..3].to_vec()].concat()),
        carried("writev", 5, answer[3..].to_vec()),
    ];
    let connections = connections(&calls);
    let [connection] = connections.as_slice() else { panic!("{connections:?}") };
    assert_eq!(connection.asked.get(&1).map(Vec::as_slice), Some(b"asked".as_slice()));
    assert_eq!(connection.answered.get(&1), Some(&4));
}
