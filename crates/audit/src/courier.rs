//! Who brings checkpoints to another place? A thread of its own: a place that hangs holds up no record.
//!
//! One that cannot be brought is dropped and reported: the next one says all that it said, and more.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::checkpoint::Checkpoint;
use crate::options::CheckpointsTo;
use crate::outlet::Take as _;
use crate::syslog::Syslog;
use crate::trail::Report;

/// Checkpoints that wait to be brought.
const WAITING_MAX: usize = 16;
const FILE_MODE: u32 = 0o600;

/// The way to it.
#[derive(Debug, Clone)]
pub(crate) struct Courier(SyncSender<String>);

impl Courier {
    pub(crate) fn start(to: CheckpointsTo, report: Report) -> io::Result<Courier> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        std::thread::Builder::new()
            .name("audit-courier".to_owned())
            .spawn(move || run(&to, &receiver, &report))?;
        Ok(Courier(sender))
    }

    pub(crate) fn send(&self, checkpoint: &Checkpoint) {
        // A place that hangs gets the next one.
        let _ = self.0.try_send(format!("{checkpoint}\n"));
    }
}

fn run(to: &CheckpointsTo, receiver: &Receiver<String>, report: &Report) {
    let mut is_well = true;
    while let Ok(line) = receiver.recv() {
        let brought = bring(to, &line);
        if let (Err(error), true) = (&brought, is_well) {
            report(&format!("audit checkpoints cannot be sent: {error}"));
        }
        is_well = brought.is_ok();
    }
}

fn bring(to: &CheckpointsTo, line: &str) -> io::Result<()> {
    match to {
        CheckpointsTo::File(path) => {
            let mut file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        }
        CheckpointsTo::Syslog(address) => Syslog::connect(address)?.take(line.as_bytes()),
    }
}
