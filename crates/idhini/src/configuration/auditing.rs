//! Where does the audit trail go? Nowhere, unless a sink is named.

use std::path::PathBuf;

use idhini_audit::{CHECKPOINT_SECONDS_MAX, CheckpointsTo, FileOptions, Options, SyslogAddress};

use super::table::{Kind, Of, Setting, Unit, assign};
use super::values::count;

const AUDIT: &str = "Audit trail";
/// All files are kept.
const ALL: &str = "all";
const ADDRESS_REMEDY: &str = "write unix:/dev/log, tcp:127.0.0.1:601 or udp:127.0.0.1:514";

/// What is said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Auditing {
    dir: Option<PathBuf>,
    rotate_bytes: u64,
    keep_files: Option<usize>,
    syslog: Option<SyslogAddress>,
    stdout: bool,
    checkpoints_to: Option<CheckpointsTo>,
    numbers: Options,
}

impl Default for Auditing {
    fn default() -> Auditing {
        let FileOptions { rotate_bytes, keep_files, .. } = FileOptions::new(PathBuf::new());
        let (dir, syslog, checkpoints_to) = (None, None, None);
        let numbers = Options::default();
        Auditing { dir, rotate_bytes, keep_files, syslog, stdout: false, checkpoints_to, numbers }
    }
}

impl Auditing {
    /// What the trail is to be, if there is to be one.
    pub(crate) fn options(&self) -> Option<Options> {
        let Auditing { dir, rotate_bytes, keep_files, syslog, stdout, checkpoints_to, numbers } = self;
        if dir.is_none() && syslog.is_none() && !stdout {
            return None;
        }
        let file = dir.clone().map(|directory| FileOptions {
            directory,
            rotate_bytes: *rotate_bytes,
            keep_files: *keep_files,
        });
        let (syslog, stdout, checkpoints) = (syslog.clone(), *stdout, checkpoints_to.clone());
        Some(Options { file, syslog, stdout, checkpoints, ..numbers.clone() })
    }
}

fn address(text: &str) -> Result<SyslogAddress, String> {
    text.parse().map_err(|error: idhini_audit::SyslogAddressError| error.to_string())
}

/// Its settings.
pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        name: "audit-dir",
        heading: AUDIT,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Path {
            shape: "DIR",
            get: |settings| settings.auditing.dir.as_deref(),
            set: |settings, path| settings.auditing.dir = Some(path),
        },
        doc: "Put what is changed and refused, and decisions where a namespace asks for them, on record in files of this directory, which holds nothing else; no change is made without",
    },
    Setting {
        name: "audit-rotate-bytes",
        heading: AUDIT,
        of: Of::Serve,
        is_detail: true,
        kind: Kind::Number {
            unit: Unit::Bytes,
            min: 1 << 20,
            max: 1 << 40,
            get: |settings| settings.auditing.rotate_bytes,
            set: |settings, bytes| settings.auditing.rotate_bytes = bytes,
        },
        doc: "A new audit file begins when one has so many bytes",
    },
    Setting {
        name: "audit-keep-files",
        heading: AUDIT,
        of: Of::Serve,
        is_detail: true,
        kind: Kind::Text {
            shape: "COUNT",
            remedy: "write a number from 2 on, or all",
            get: |settings| {
                Some(settings.auditing.keep_files.map_or(ALL.to_owned(), |count| count.to_string()))
            },
            set: |settings, text| {
                let files =
                    count(text).and_then(|count| usize::try_from(count).ok()).filter(|count| *count >= 2);
                match (text, files) {
                    (ALL, _) => settings.auditing.keep_files = None,
                    (_, Some(files)) => settings.auditing.keep_files = Some(files),
                    _ => return Err(format!("`{text}` is no number of files")),
                }
                Ok(())
            },
        },
        doc: "Audit files that are kept; what is removed is on record, and `all` removes none",
    },
    Setting {
        name: "audit-syslog",
        heading: AUDIT,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Text {
            shape: "ADDRESS",
            remedy: ADDRESS_REMEDY,
            get: |settings| settings.auditing.syslog.as_ref().map(ToString::to_string),
            set: |settings, text| {
                settings.auditing.syslog = Some(address(text)?);
                Ok(())
            },
        },
        doc: "Send audit records to a syslog of this machine: unix:/dev/log, tcp:127.0.0.1:601 or udp:127.0.0.1:514",
    },
    Setting {
        name: "audit-stdout",
        heading: AUDIT,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Switch { field: |settings| &mut settings.auditing.stdout },
        doc: "Write audit records to standard output, a line of JSON each",
    },
    Setting {
        name: "audit-checkpoints-to",
        heading: AUDIT,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Text {
            shape: "FILE|syslog:ADDRESS",
            remedy: "name a file elsewhere, or write syslog: and an address such as tcp:127.0.0.1:601",
            get: |settings| {
                settings.auditing.checkpoints_to.as_ref().map(|to| match to {
                    CheckpointsTo::File(path) => path.display().to_string(),
                    CheckpointsTo::Syslog(address) => format!("syslog:{address}"),
                })
            },
            set: |settings, text| {
                let to = text.parse().map_err(|error: idhini_audit::SyslogAddressError| error.to_string())?;
                settings.auditing.checkpoints_to = Some(to);
                Ok(())
            },
        },
        doc: "Send signed checkpoints of the audit trail elsewhere, so that what is cut from its end shows",
    },
    Setting {
        name: "audit-checkpoint-seconds",
        heading: AUDIT,
        of: Of::Serve,
        is_detail: true,
        kind: Kind::Number {
            unit: Unit::Count("seconds"),
            min: 1,
            max: CHECKPOINT_SECONDS_MAX,
            get: |settings| settings.auditing.numbers.checkpoint_seconds,
            set: |settings, seconds| settings.auditing.numbers.checkpoint_seconds = seconds,
        },
        doc: "A checkpoint is signed so often while there are new records",
    },
    Setting {
        name: "audit-loss-ms-max",
        heading: AUDIT,
        of: Of::Serve,
        is_detail: true,
        kind: Kind::Number {
            unit: Unit::Count("milliseconds"),
            min: 2,
            max: 60_000,
            get: |settings| settings.auditing.numbers.loss_ms_max,
            set: |settings, milliseconds| settings.auditing.numbers.loss_ms_max = milliseconds,
        },
        doc: "Decisions and refusals of the last so long may be lost in a crash; changes never are",
    },
    Setting {
        name: "audit-hang-ms-max",
        heading: AUDIT,
        of: Of::Serve,
        is_detail: true,
        kind: Kind::Number {
            unit: Unit::Count("milliseconds"),
            min: 10,
            max: 600_000,
            get: |settings| settings.auditing.numbers.hang_ms_max,
            set: |settings, milliseconds| settings.auditing.numbers.hang_ms_max = milliseconds,
        },
        doc: "An audit sink that does not answer for so long takes no part until it does",
    },
    Setting {
        name: "audit-refusals-max",
        heading: AUDIT,
        of: Of::Serve,
        is_detail: true,
        kind: Kind::Number {
            unit: Unit::Count("refusals a second"),
            min: 0,
            max: 1 << 20,
            get: |settings| settings.auditing.numbers.refusals_per_second_max.into(),
            set: |settings, count| assign(&mut settings.auditing.numbers.refusals_per_second_max, count),
        },
        doc: "Refused calls of one actor are put on record each by itself up to so many, and counted beyond",
    },
    Setting {
        name: "audit-queue-max",
        heading: AUDIT,
        of: Of::Serve,
        is_detail: true,
        kind: Kind::Number {
            unit: Unit::Count("records"),
            min: 1,
            max: 1 << 24,
            get: |settings| settings.auditing.numbers.queue_records_max.try_into().unwrap_or(u64::MAX),
            set: |settings, count| assign(&mut settings.auditing.numbers.queue_records_max, count),
        },
        doc: "Audit records that wait for one sink; decisions beyond are dropped and counted, in the trail itself",
    },
];
