//! What is a sink to the thread that writes to it?
//!
//! An outlet may block for as long as it likes: it has a thread of its own, and somebody else looks at the clock.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use crate::line::{Chain, Fact};

/// Where lines go.
pub(crate) trait Outlet: Send + fmt::Debug {
    /// Finds out where its chain stands; again whenever it has failed. What was written and not synced may be gone then.
    fn open(&mut self) -> io::Result<Opened>;

    /// Sees to it that so many bytes more can be written without a disk being found full.
    ///
    /// # Errors
    /// If there is no such room: what was reserved before still is.
    fn reserve(&mut self, bytes: u64) -> io::Result<()>;

    /// Writes whole lines.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;

    /// Makes what was written durable, as far as this kind of sink can.
    fn sync(&mut self) -> io::Result<()>;

    /// Whether a new file is due. What is written into it begins with a checkpoint.
    fn wants_rotation(&self) -> bool {
        false
    }

    /// Begins a new file with room for so many bytes; on failure the old one stays.
    fn rotate(&mut self, _bytes: u64) -> io::Result<()> {
        Ok(())
    }

    /// How many files there are too many, and the last record in them, if any are to go.
    fn surplus(&self) -> Option<Surplus> {
        None
    }

    /// Removes them.
    fn remove(&mut self, _surplus: &Surplus) -> io::Result<()> {
        Ok(())
    }

    /// Gives back what was reserved.
    fn close(&mut self) {}
}

/// Where a chain stands.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Its name.
    pub(crate) chain: String,
    pub(crate) at: Chain,
    /// Whether the next record is the first of a file.
    pub(crate) is_new: bool,
    /// What was found to be an unfinished record and taken out.
    pub(crate) cut: Vec<(&'static str, Fact)>,
    /// What was found to be no record, and stays where it is.
    pub(crate) strange: Vec<(&'static str, Fact)>,
}

impl Opened {
    /// A chain without records.
    pub(crate) fn new(chain: String) -> Opened {
        Opened { chain, at: Chain::EMPTY, is_new: true, cut: Vec::new(), strange: Vec::new() }
    }
}

/// Files that are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Surplus {
    pub(crate) files: Vec<String>,
    /// The number of the last record in them.
    pub(crate) last: u64,
}

/// A stream that keeps nothing: each opening begins a chain of its own.
pub(crate) struct Stream<W> {
    name: &'static str,
    run: String,
    opened: u64,
    /// Whether a line may have been left unfinished.
    is_torn: bool,
    connect: Box<dyn FnMut() -> io::Result<W> + Send>,
    to: Option<W>,
}

impl<W> Stream<W> {
    pub(crate) fn new(
        name: &'static str,
        run: &str,
        connect: impl FnMut() -> io::Result<W> + Send + 'static,
    ) -> Stream<W> {
        let connect = Box::new(connect);
        Stream { name, run: run.to_owned(), opened: 0, is_torn: false, connect, to: None }
    }
}

impl<W> fmt::Debug for Stream<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What takes lines.
pub(crate) trait Take: Send {
    /// All of them, whole.
    fn take(&mut self, lines: &[u8]) -> io::Result<()>;

    /// Ends a line that may have been left unfinished.
    fn mend(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Take> Outlet for Stream<W> {
    fn open(&mut self) -> io::Result<Opened> {
        self.to = None;
        let mut to = (self.connect)()?;
        if self.is_torn {
            to.mend()?;
            self.is_torn = false;
        }
        self.to = Some(to);
        self.opened += 1;
        let chain = format!("{}-{}-{}", self.name, self.run, self.opened);
        Ok(Opened::new(chain))
    }

    fn reserve(&mut self, _bytes: u64) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.is_torn = true;
        self.to.as_mut().ok_or(io::ErrorKind::NotConnected)?.take(lines)?;
        self.is_torn = false;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output, without the lock that others write under: whoever reads it slowly holds up nobody else.
#[derive(Debug)]
pub(crate) struct Stdout(File);

impl Stdout {
    pub(crate) fn connect() -> io::Result<Stdout> {
        Ok(Stdout(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }
}

impl Take for Stdout {
    fn take(&mut self, lines: &[u8]) -> io::Result<()> {
        self.0.write_all(lines)
    }

    fn mend(&mut self) -> io::Result<()> {
        self.take(b"\n")
    }
}
