//! What stands in the segment files, frame by frame, for people? Looks without opening the store, and changes nothing.

use std::io;
use std::sync::Arc;

use super::begin::{DIRECTORY, segment_number, segment_path};
use super::format::{Facts, HEADER_BYTES, Place};
use super::open::{OpenError, place_of};
use super::scan::{Scan, Step};
use crate::disk::{Disk, DiskFile};

/// A segment file.
#[derive(Debug)]
pub struct ListedSegment {
    /// Its number.
    pub number: u32,
    /// The store it belongs to.
    pub store: u64,
    /// Of the file.
    pub bytes: u64,
    place: Place,
    file: Arc<dyn DiskFile>,
}

/// What stands in a segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// A valid frame.
    Frame {
        /// Where it begins.
        offset: u64,
        /// What it says.
        facts: Facts,
        /// Bytes of its payload.
        payload_bytes: usize,
    },
    /// The last: what follows is no frame. Zeros are what room ahead of a log looks like, and a last group that was
    /// never acknowledged may be torn.
    Rest {
        /// Where it begins.
        offset: u64,
        /// Until the end of the file.
        bytes: u64,
        /// Why it is no frame.
        reason: String,
    },
}

/// All segment files of a disk, ascending; of a file that is no segment, why it is none.
///
/// # Errors
/// Whatever the disk says.
pub fn list(disk: &dyn Disk) -> io::Result<Vec<Result<ListedSegment, OpenError>>> {
    let mut numbers: Vec<u32> =
        disk.list(DIRECTORY)?.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    let listed = numbers.into_iter().map(|number| {
        let file = disk.open(&segment_path(number))?;
        let place = place_of(&*file, number, None)?;
        let bytes = file.bytes_len()?;
        Ok(ListedSegment { number, store: place.store, bytes, place, file })
    });
    Ok(listed.collect())
}

impl ListedSegment {
    /// Calls `each` with everything that stands in the file, until it returns false.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn each(&self, mut each: impl FnMut(Listed) -> bool) -> io::Result<()> {
        let mut scan = Scan::new(Arc::clone(&self.file), self.place, HEADER_BYTES as u64, self.bytes);
        loop {
            let offset = scan.at();
            let (listed, is_last) = match scan.step()? {
                Step::End => return Ok(()),
                Step::Flawed { flaw } => {
                    let bytes = self.bytes.saturating_sub(offset);
                    (Listed::Rest { offset, bytes, reason: flaw.to_string() }, true)
                }
                Step::Frame { offset, frame } => {
                    let payload_bytes = frame.payload.len();
                    (Listed::Frame { offset, facts: frame.facts, payload_bytes }, false)
                }
            };
            if !each(listed) || is_last {
                return Ok(());
            }
        }
    }
}
