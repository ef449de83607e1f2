//! Who used the processors? Times since boot, in seconds.

use crate::Failure;

/// What was used up to one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    pub(crate) server: f64,
    pub(crate) client: f64,
    pub(crate) machine: f64,
}

impl Used {
    pub(crate) fn now(server: Option<u32>) -> Result<Used, Failure> {
        Ok(Used {
            server: server.map_or(Ok(0.0), |pid| process(&pid.to_string()))?,
            client: process("self")?,
            machine: machine()?,
        })
    }

    pub(crate) fn since(self, earlier: Used) -> Used {
        Used {
            server: self.server - earlier.server,
            client: self.client - earlier.client,
            machine: self.machine - earlier.machine,
        }
    }

    /// What neither the server nor this client used.
    pub(crate) fn other(self) -> f64 {
        (self.machine - self.server - self.client).max(0.0)
    }
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

fn process(pid: &str) -> Result<f64, Failure> {
    /// Of what follows the name of the command: user and system time.
    const TIMES: std::ops::Range<usize> = 11..13;
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let (_, fields) = text.rsplit_once(") ").ok_or("cannot read /proc")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let times = fields.get(TIMES).ok_or("cannot read /proc")?;
    Ok(seconds(times.iter().map(|time| time.parse::<u64>()).sum::<Result<u64, _>>()?))
}

fn machine() -> Result<f64, Failure> {
    /// User, nice, system, interrupts; what is idle, waits or was taken by the host is left out.
    const BUSY: [usize; 5] = [1, 2, 3, 6, 7];
    let text = std::fs::read_to_string("/proc/stat")?;
    let fields: Vec<&str> = text.lines().next().unwrap_or_default().split_whitespace().collect();
    let ticks = BUSY.iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum();
    Ok(seconds(ticks))
}
