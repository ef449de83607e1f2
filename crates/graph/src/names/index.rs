//! From an id's hash to the numbers it may have: a hash table whose buckets are pages of cache lines.
//!
//! Which page an id is in follows from its hash by linear hashing (Litwin 1980): there is one page more for each so
//! many ids, so the table grows by one page at a time, and shrinking is the exact way back. In which line of its page
//! an id is follows from its *tag*, 16 more bits of the hash that are kept: a page is laid out anew without a look at
//! any id.
//!
//! # Invariants
//! * Every number is in exactly the page that its id's hash names for the current number of pages.
//! * An entry lies in the line of its tag or, if that was full, in the first after it that was not, the last line being
//!   followed by the first.
//!
//! Cost: a lookup reads one cache line of a page, rarely two; one more id copies a page of 1 KiB if others hold it.

use std::sync::Arc;

use crate::vector::Vector;

/// Numbers in a line. (Unit tests make lines short and full, so that few ids overflow them.)
const SLOTS: usize = if cfg!(test) { 2 } else { 10 };
/// Average numbers of a page; up to twice as many before it is split.
pub(crate) const PAGE_FILL: usize = if cfg!(test) { 8 } else { 96 };
/// Average numbers of a line when its page is laid out, and those from which on it is laid out anew.
const LINE_FILL: usize = if cfg!(test) { 1 } else { 7 };
const LINE_FILL_MAX: usize = if cfg!(test) { 2 } else { 9 };

/// 64 bytes, a cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Line {
    tags: [u16; SLOTS],
    /// The first so many slots are taken.
    used: u16,
    numbers: [u32; SLOTS],
}

const _: () = assert!(size_of::<Line>() == 64);
// There is always room for one more.
const _: () = assert!(LINE_FILL < LINE_FILL_MAX && LINE_FILL_MAX <= SLOTS);

type Page = Arc<[Line]>;

/// Numbers by the hash of their ids.
#[derive(Debug, Clone)]
pub(super) struct Index {
    pages: Vector<Page>,
}

impl Index {
    pub(super) fn new() -> Index {
        Index { pages: Vector::new() }
    }

    /// The number with this hash that `is_it`.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        find(self.pages.item(page_of(hash, self.pages.len()))?, tag_of(hash), is_it)
    }

    /// The first number with this hash in the line where it would be.
    #[inline]
    pub(super) fn likely(&self, hash: u64) -> Option<u32> {
        let page = self.pages.item(page_of(hash, self.pages.len()))?;
        let line = page.get(line_of(tag_of(hash), page.len()))?;
        let same = line.same(tag_of(hash));
        (same != 0).then(|| line.numbers[same.trailing_zeros() as usize % SLOTS])
    }

    /// Adds the number `count`; all below it are there. `hash_of` tells the hash of any of them.
    pub(super) fn insert(&mut self, hash: u64, count: u32, hash_of: impl Fn(u32) -> u64) {
        if count as usize >= self.pages.len() * PAGE_FILL {
            self.split_page(hash_of);
        }
        let Some(page) = self.pages.item_mut(page_of(hash, self.pages.len())) else { return };
        let entries = page.iter().map(|line| usize::from(line.used)).sum::<usize>() + 1;
        if entries > page.len() * LINE_FILL_MAX {
            *page = laid_out(entries, self::entries(page).chain([(tag_of(hash), count)]));
        } else {
            place(Arc::make_mut(page), tag_of(hash), count);
        }
    }

    /// Takes the number `last` away, the highest there is. `hash` is that of its id.
    pub(super) fn remove(&mut self, hash: u64, last: u32) {
        if let Some(page) = self.pages.item_mut(page_of(hash, self.pages.len())) {
            let rest = entries(page).filter(|(_, number)| *number != last);
            *page = laid_out(rest.clone().count(), rest);
        }
        if last as usize <= (self.pages.len() - 1) * PAGE_FILL {
            self.join_page();
        }
    }

    /// Adds a page, with what the page it splits from no longer holds.
    fn split_page(&mut self, hash_of: impl Fn(u32) -> u64) {
        let new = self.pages.len();
        if new == 0 {
            self.pages.push(Arc::from([]));
            return;
        }
        let source = split_source(new);
        let Some(page) = self.pages.item_mut(source) else { return };
        let moves = |(_, number): &(u16, u32)| page_of(hash_of(*number), new + 1) == new;
        let (moved, stay): (Vec<_>, Vec<_>) = entries(page).partition(moves);
        *page = laid_out(stay.len(), stay);
        self.pages.push(laid_out(moved.len(), moved));
    }

    /// Takes the last page away: the inverse of [`Index::split_page`].
    fn join_page(&mut self) {
        let Some(last) = self.pages.pop() else { return };
        if self.pages.len() == 0 {
            return;
        }
        if let Some(page) = self.pages.item_mut(split_source(self.pages.len())) {
            let both = entries(page).chain(entries(&last));
            *page = laid_out(both.clone().count(), both);
        }
    }

    /// All numbers, by the hashes of their ids in the order of the numbers; `Err` if two are `same`.
    pub(super) fn of_hashes(hashes: &[u64], same: impl Fn(u32, u32) -> bool) -> Result<Index, Twice> {
        let pages = hashes.len().div_ceil(PAGE_FILL);
        // Numbers sorted by page, counting: where each page's start first, then where it ends.
        let mut ends = vec![0u32; pages + 1];
        let places: Vec<u32> = hashes.iter().map(|hash| page_of(*hash, pages) as u32).collect();
        places.iter().for_each(|place| ends[*place as usize + 1] += 1);
        for at in 1..ends.len() {
            ends[at] += ends[at - 1];
        }
        let mut sorted = vec![0u32; hashes.len()];
        for (place, number) in places.iter().zip(0u32..) {
            let end = &mut ends[*place as usize];
            sorted[*end as usize] = number;
            *end += 1;
        }
        let mut start = 0;
        let page = |end: &u32| {
            let numbers = &sorted[start..*end as usize];
            start = *end as usize;
            let mut lines = vec![Line::default(); lines_for(numbers.len())];
            for number in numbers {
                let tag = tag_of(hashes[*number as usize]);
                if find(&lines, tag, |have| same(have, *number)).is_some() {
                    return Err(Twice);
                }
                place(&mut lines, tag, *number);
            }
            Ok(Arc::from(lines))
        };
        let pages = ends.iter().take(pages).map(page).collect::<Result<Vec<Page>, Twice>>()?;
        Ok(Index { pages: pages.into_iter().collect() })
    }

    /// Bytes that `base` does not share.
    pub(super) fn bytes(&self, base: Option<&Index>) -> u64 {
        let of_page = |own: &Page, base: Option<&Page>| match base {
            Some(base) if Arc::ptr_eq(own, base) => 0,
            // The counts in front of the lines have a line of their own.
            _ => ((own.len() + 1) * size_of::<Line>()) as u64,
        };
        self.pages.bytes(base.map(|base| &base.pages), &of_page)
    }

    #[cfg(test)]
    pub(super) fn pages_len(&self) -> usize {
        self.pages.len()
    }
}

/// Two numbers have the same id.
#[derive(Debug)]
pub(super) struct Twice;

impl Line {
    /// A bit for each slot that has this tag. No branch depends on what is in the line.
    #[inline]
    fn same(&self, tag: u16) -> u32 {
        let tags = self.tags.iter().enumerate();
        let same = tags.fold(0, |same, (slot, have)| same | u32::from(*have == tag) << slot);
        same & ((1 << self.used) - 1)
    }
}

#[inline]
fn find(lines: &[Line], tag: u16, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
    let home = line_of(tag, lines.len());
    for at in (home..lines.len()).chain(0..home) {
        let line = &lines[at];
        let mut same = line.same(tag);
        while same != 0 {
            let number = line.numbers[same.trailing_zeros() as usize % SLOTS];
            if is_it(number) {
                return Some(number);
            }
            same &= same - 1;
        }
        if usize::from(line.used) < SLOTS {
            return None;
        }
    }
    None
}

fn entries(lines: &[Line]) -> impl Iterator<Item = (u16, u32)> + Clone {
    let of_line = |line: &Line| {
        let Line { tags, used, numbers } = *line;
        tags.into_iter().zip(numbers).take(usize::from(used))
    };
    lines.iter().flat_map(of_line)
}

fn lines_for(entries: usize) -> usize {
    entries.div_ceil(LINE_FILL)
}

/// A page of so many entries.
fn laid_out(count: usize, entries: impl IntoIterator<Item = (u16, u32)>) -> Page {
    let mut lines = vec![Line::default(); lines_for(count)];
    entries.into_iter().for_each(|(tag, number)| place(&mut lines, tag, number));
    Arc::from(lines)
}

/// Puts an entry where there is room for it: there is.
fn place(lines: &mut [Line], tag: u16, number: u32) {
    let home = line_of(tag, lines.len());
    let mut places = (home..lines.len()).chain(0..home);
    let free = places.find(|at| usize::from(lines[*at].used) < SLOTS);
    debug_assert!(free.is_some());
    if let Some(at) = free {
        let line = &mut lines[at];
        let slot = usize::from(line.used);
        (line.tags[slot], line.numbers[slot]) = (tag, number);
        line.used += 1;
    }
}

/// The page of a hash among `pages`: linear hashing's address.
#[inline]
fn page_of(hash: u64, pages: usize) -> usize {
    let pages = pages.max(1);
    let wide = pages.next_power_of_two();
    let at = hash as usize & (wide - 1);
    if at < pages { at } else { at & (wide / 2 - 1) }
}

/// The page that page `new` is split from: `new` without its highest bit.
fn split_source(new: usize) -> usize {
    new & !(1 << new.ilog2())
}

/// The high bits, which do not choose the page.
#[inline]
fn tag_of(hash: u64) -> u16 {
    (hash >> 48) as u16
}

#[inline]
fn line_of(tag: u16, lines: usize) -> usize {
    (usize::from(tag) * lines) >> 16
}
