//! The smallest parts of images: numbers, texts, moments and contexts as bytes.
//!
//! `v` is a varint (7 bits a byte, low ones first, no longer than needed), `z` a zigzag varint, `s` a varint length
//! and UTF-8.
//!
//! # Invariants
//! * What is read allocates in proportion to the bytes that say it.
//! * There is one way to write each value, so that equal content has equal digests.

use std::collections::BTreeMap;

use idhini_model::{CaveatUse, Context, ContextValue, Timestamp, VALUE_DEPTH_MAX};

/// What is wrong with bytes, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) offset: usize,
    pub(super) what: &'static str,
}

pub(super) type Decoded<T> = Result<T, Malformed>;

pub(super) fn put_varint(out: &mut Vec<u8>, value: u64) {
    put_wide_varint(out, u128::from(value));
}

pub(super) fn put_wide_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, (value << 1 ^ value >> 63) as u64);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_moment(out: &mut Vec<u8>, at: Timestamp) {
    put_zigzag(out, at.seconds());
    put_varint(out, u64::from(at.nanos()));
}

pub(super) fn put_words(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

pub(super) fn put_caveat(out: &mut Vec<u8>, caveat: &CaveatUse) {
    put_text(out, &caveat.name);
    put_values(out, &caveat.context.0);
}

fn put_values(out: &mut Vec<u8>, values: &BTreeMap<String, ContextValue>) {
    put_varint(out, values.len() as u64);
    for (name, value) in values {
        put_text(out, name);
        put_value(out, value);
    }
}

/// Recursion follows a value's nesting, which the model bounds.
fn put_value(out: &mut Vec<u8>, value: &ContextValue) {
    match value {
        ContextValue::Null => out.push(0),
        ContextValue::Bool(flag) => out.push(1 + u8::from(*flag)),
        ContextValue::Number(number) => {
            out.push(3);
            out.extend_from_slice(&number.to_le_bytes());
        }
        ContextValue::String(text) => {
            out.push(4);
            put_text(out, text);
        }
        ContextValue::List(items) => {
            out.push(5);
            put_varint(out, items.len() as u64);
            items.iter().for_each(|item| put_value(out, item));
        }
        ContextValue::Map(values) => {
            out.push(6);
            put_values(out, values);
        }
    }
}

/// Bytes being read.
#[derive(Debug, Clone)]
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { bytes, at: 0 }
    }

    pub(super) fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { offset: self.at, what }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn expect_end(&self) -> Decoded<()> {
        if self.is_at_end() { Ok(()) } else { Err(self.malformed("nothing should follow here")) }
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn byte(&mut self) -> Decoded<u8> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.malformed("ends too early"))?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn take(&mut self, count: usize) -> Decoded<&'b [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or_else(|| self.malformed("ends too early"))?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn varint(&mut self) -> Decoded<u64> {
        let byte = self.byte()?;
        if byte < 0x80 {
            return Ok(u64::from(byte));
        }
        self.at -= 1;
        let wide = self.wide_varint()?;
        u64::try_from(wide).map_err(|_| self.malformed("a number is too large"))
    }

    pub(super) fn wide_varint(&mut self) -> Decoded<u128> {
        let mut value = 0u128;
        for shift in (0..u128::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return Ok(value);
            }
        }
        Err(self.malformed("a number is not written as numbers are"))
    }

    pub(super) fn narrow(&mut self) -> Decoded<u32> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.malformed("a number is too large"))
    }

    pub(super) fn zigzag(&mut self) -> Decoded<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// How many items follow, each of at least `item_bytes_min`.
    pub(super) fn count(&mut self, item_bytes_min: usize) -> Decoded<usize> {
        let count = usize::try_from(self.varint()?).ok();
        let room = self.remaining() / item_bytes_min.max(1);
        let count = count.filter(|count| *count <= room);
        count.ok_or_else(|| self.malformed("a count exceeds the bytes there are"))
    }

    pub(super) fn text(&mut self) -> Decoded<&'b str> {
        let count = self.count(1)?;
        std::str::from_utf8(self.take(count)?).map_err(|_| self.malformed("a text is not UTF-8"))
    }

    pub(super) fn moment(&mut self) -> Decoded<Timestamp> {
        let seconds = self.zigzag()?;
        let nanos = i64::try_from(self.varint()?).unwrap_or(i64::MAX);
        Timestamp::new(seconds, nanos).map_err(|_| self.malformed("a moment is out of range"))
    }

    /// `count` words of four bytes.
    pub(super) fn words<C: FromIterator<u32>>(&mut self, count: usize) -> Decoded<C> {
        let bytes = count.checked_mul(4).ok_or_else(|| self.malformed("ends too early"))?;
        Ok(self.take(bytes)?.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    pub(super) fn caveat(&mut self) -> Decoded<CaveatUse> {
        let name = self.text()?.to_owned();
        Ok(CaveatUse { name, context: Context(self.values(0)?) })
    }

    fn values(&mut self, depth: usize) -> Decoded<BTreeMap<String, ContextValue>> {
        let mut values = BTreeMap::new();
        for _ in 0..self.count(2)? {
            let name = self.text()?.to_owned();
            if values.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(self.malformed("names of a context are out of order"));
            }
            let value = self.value(depth)?;
            values.insert(name, value);
        }
        Ok(values)
    }

    /// Recursion is bounded by [`VALUE_DEPTH_MAX`].
    fn value(&mut self, depth: usize) -> Decoded<ContextValue> {
        if depth > VALUE_DEPTH_MAX {
            return Err(self.malformed("a context is nested too deeply"));
        }
        Ok(match self.byte()? {
            0 => ContextValue::Null,
            flag @ (1 | 2) => ContextValue::Bool(flag == 2),
            3 => {
                let number = f64::from_le_bytes(self.take(8)?.try_into().unwrap_or_default());
                if !number.is_finite() {
                    return Err(self.malformed("a number of a context is not finite"));
                }
                ContextValue::Number(number)
            }
            4 => ContextValue::String(self.text()?.to_owned()),
            5 => {
                let count = self.count(1)?;
                let items: Decoded<Vec<ContextValue>> = (0..count).map(|_| self.value(depth + 1)).collect();
                ContextValue::List(items?)
            }
            6 => ContextValue::Map(self.values(depth + 1)?),
            _ => return Err(self.malformed("a value of a context is of no known kind")),
        })
    }
}
