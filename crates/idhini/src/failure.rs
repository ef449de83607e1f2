//! Why did the command not do its work, and what helps?
//!
//! # Invariants
//! * Every failure names the next step.
//! * No failure has the exit status of an answer.

use std::path::PathBuf;

use idhini_changelog::{AppendError, DirectoryError, LogError};
use idhini_model::{Relationship, Revision, Timestamp};
use idhini_replica::{BackupError, IdentityError, ImageFileError, OpenError, ReplicaError, RootTokenError};
use idhini_server::ListenError;
use idhini_wire::google;
use prost::Message as _;
use tonic::{Code, Status};

use crate::authority::AuthorityError;
use crate::client::tls_error;
use crate::client_file::ClientFileError;
use crate::configuration::Mistakes;
use crate::serve::TlsFailure;

/// The request is malformed.
pub(crate) const STATUS_MALFORMED: u8 = 3;
/// The server refused it.
pub(crate) const STATUS_REFUSED: u8 = 4;
/// The server cannot be reached, or does not answer in time.
pub(crate) const STATUS_UNREACHABLE: u8 = 5;
/// The server cannot start.
pub(crate) const STATUS_NOT_SERVING: u8 = 6;
/// Somebody interrupted it a second time: what shells say of a program that SIGINT ended.
pub(crate) const STATUS_INTERRUPTED: u8 = 130;
/// Whoever read standard output has left: what shells say of a program that SIGPIPE ended.
pub(crate) const STATUS_UNHEARD: u8 = 141;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// A file is not a schema.
    #[error("{0}")]
    Schema(#[from] idhini_schema::ImportError),
    /// A line of a file is not a relationship.
    #[error("`{}`, line {line}: {source}", path.display())]
    Line { path: PathBuf, line: usize, source: idhini_model::ParseError },
    /// An argument is not a relationship.
    #[error("the arguments are not a relationship: {0}")]
    Relationship(#[from] idhini_model::ParseError),
    /// A line of a file is a relationship that its schema does not admit.
    #[error("`{}`, line {line}: {source}", path.display())]
    Inadmissible { path: PathBuf, line: usize, source: idhini_schema::RelationshipError },
    /// A line of a file says what an earlier one said.
    #[error("`{}`, line {line}: `{relationship}` exists already, in line {first}", path.display())]
    Twice { path: PathBuf, line: usize, first: usize, relationship: Box<Relationship> },
    /// What the server was to start with does not fit.
    #[error("`{}`: {source}", path.display())]
    Bootstrap { path: PathBuf, source: ReplicaError },
    /// Who may do what cannot be read.
    #[error("the control plane cannot be opened: {0}")]
    ControlPlane(ReplicaError),
    /// The address is not one.
    #[error("`{address}` is not an address such as 127.0.0.1:50051")]
    Address { address: String },
    /// The token would travel readable.
    #[error("`{address}` is beyond this machine, and without TLS the token could be read on the way")]
    Plaintext { address: String },
    /// A file with certificates or a key is none.
    #[error("`{}`: {what}", path.display())]
    TlsFile { path: PathBuf, what: String },
    /// An authority that certified others would be lost.
    #[error("`{}` is there already", path.display())]
    AuthorityThere { path: PathBuf },
    /// An authority cannot certify.
    #[error("the authority in `{}`: {source}", path.display())]
    Authority { path: PathBuf, source: AuthorityError },
    /// The server has nothing to speak TLS with.
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    /// Nothing would be logged or traced.
    #[error("log lines and traces cannot be sent: {what}")]
    Telemetry { what: String },
    /// Where HTTP would be served.
    #[error("HTTP cannot be served: {0}")]
    Http(ListenError),
    /// Where metrics would be served.
    #[error("metrics cannot be served: {0}")]
    Metrics(ListenError),
    /// No token.
    #[error("no token: none was given, and the client file has none for this server")]
    NoToken,
    /// No token at all.
    #[error("the token has characters that no token has")]
    MalformedToken,
    /// The client file names a namespace that cannot be one.
    #[error("the namespace that the client file names for this server is none: {why}")]
    ClientNamespace { why: String },
    /// The client file cannot be used.
    #[error("{0}")]
    ClientFile(#[from] ClientFileError),
    /// What the server is to be is not clear.
    #[error("{0}")]
    Configuration(#[from] Mistakes),
    /// A root token that nobody would ever know.
    #[error(
        "the root token of this server cannot be kept for the command line: {source}; nor is there a terminal to show it on"
    )]
    TokenNowhere { source: ClientFileError },
    /// Whoever could call would lack the right to grant any.
    #[error(
        "nobody would administrate this server: its root token is not to count, there is no preshared key, and `admin` of `root` was granted to nobody"
    )]
    NobodyAdministrates,
    /// The root token cannot be read or kept.
    #[error(transparent)]
    RootToken(#[from] RootTokenError),
    /// A directory without a server's data.
    #[error("{} has no data of a server", path.display())]
    NoData { path: PathBuf },
    /// The server is not there.
    #[error("cannot reach a server at {address}: {}", innermost(source))]
    Connect { address: String, is_tls: bool, source: tonic::transport::Error },
    /// The server does not take what was shown to it.
    #[error("the server ended the connection: {source}")]
    ShutOut { source: rustls::Error },
    /// The server refused the call.
    #[error("{}", refused(.0))]
    Refused(#[from] Status),
    /// A message cannot be printed.
    #[error(transparent)]
    Print(#[from] idhini_wire::PrintError),
    /// A moment was named twice.
    #[error("`as-of` says of when the question is, and so does a flag of the command behind it")]
    TwoMoments,
    /// Neither of two arguments is an object.
    #[error("neither `{first}` nor `{second}` is an object such as document:readme")]
    NoObject { first: String, second: String },
    /// A watch ended, and can be gone on with.
    #[error("the watch ended behind {token}: {}", .status.message())]
    WatchEnded { token: String, status: Status },
    /// A validation file is not one.
    #[error("{path}:{line}:{} {message}", column.map(|column| format!("{column}:")).unwrap_or_default())]
    Validation { path: String, line: usize, column: Option<usize>, message: String },
    /// The server refused a relationship of a file.
    #[error("`{}`, line {line}: {}", path.display(), refused(.status))]
    RefusedLine { path: PathBuf, line: usize, status: Status },
    /// A line of a file says what an earlier one says, and is to be created twice.
    #[error("`{}`, line {line}: this relationship stands in line {first} already", path.display())]
    Repeated { path: PathBuf, line: usize, first: usize },
    /// A file cannot be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    /// Standard output is full.
    #[error("cannot write to standard output: {source}")]
    Output { source: std::io::Error },
    /// A server says what its schema was at a moment, not at a token.
    #[error("a validation file has the schema of its moment, and cannot be exported of a token")]
    SchemaOfPast,
    /// A migration cannot go on.
    #[error(transparent)]
    Migrate(#[from] crate::commands::MigrateError),
    /// The server answered something that this version does not know.
    #[error("the server's answer has no {missing}")]
    Answer { missing: &'static str },
    /// The server cannot start.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// What is stored cannot be opened.
    #[error("what is stored cannot be opened: {0}")]
    Open(#[from] OpenError),
    /// Nor can the logs.
    #[error("what is stored cannot be opened: {0}")]
    Log(#[from] idhini_changelog::OpenError),
    /// The data directory belongs to another process, or to nobody.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The data directory is not one of this release.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A directory cannot be read or written.
    #[error("{}: {source}", path.display())]
    Backup { path: PathBuf, source: std::io::Error },
    /// A directory that is not there.
    #[error("{} is not a directory", path.display())]
    NoDirectory { path: PathBuf },
    /// A directory that holds something else.
    #[error("{} is not a backup", path.display())]
    NoBackup { path: PathBuf },
    /// A backup of another store, or of a history that a restore ended.
    #[error("{} is a backup of another store, or of a history of this one that a restore ended", path.display())]
    OtherBackup { path: PathBuf },
    /// A backup that cannot be continued.
    #[error("{} ends at revision {has}, and the server has nothing before revision {oldest} any more", path.display())]
    BackupTooOld { path: PathBuf, has: Revision, oldest: Revision },
    /// A backup with more than the server has.
    #[error(
        "{} is a backup of another history: it ends at revision {has}, and the server at revision {head}",
        path.display()
    )]
    BackupAhead { path: PathBuf, has: Revision, head: Revision },
    /// A backup of the same store and timeline, but of other entries.
    #[error("{} is a backup of another history: the server has another entry at revision {at}", path.display())]
    OtherHistory { path: PathBuf, at: Revision },
    /// A backup with something in it that is not good.
    #[error("{} is not good: {first}{}", path.display(), more_faults(*more))]
    Faulty { path: PathBuf, first: String, more: usize },
    /// A backup that has lost its end.
    #[error("{}: log {log} ends at revision {has}, but the backup was made up to revision {had}", path.display())]
    CutShort { path: PathBuf, log: u64, has: Revision, had: Revision },
    /// A moment that the backup knows nothing of.
    #[error("{} reaches to {taken}; {asked} is after it", path.display())]
    AfterBackup { path: PathBuf, asked: Timestamp, taken: Timestamp },
    /// A directory with something in it.
    #[error("{} is not empty", path.display())]
    NotEmpty { path: PathBuf },
    /// A revision means something in one log only.
    #[error("the backup has {logs} logs, each with revisions of its own")]
    RevisionOfMany { logs: usize },
    /// A backup is not good, or cannot be restored.
    #[error(transparent)]
    NotGood(#[from] BackupError),
    /// Images that are not good, named already.
    #[error("{} has {count} images that are not good", path.display())]
    DamagedImages { path: PathBuf, count: usize },
    /// An image is not good.
    #[error(transparent)]
    Image(#[from] ImageFileError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(LogError),
    /// The log cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The audit trail takes no records.
    #[error(transparent)]
    Audit(#[from] idhini_audit::OpenError),
    /// The same, as the server starts.
    #[error(transparent)]
    AuditUnavailable(#[from] idhini_audit::Unavailable),
    /// The key of the audit trail cannot be used.
    #[error(transparent)]
    AuditKey(#[from] idhini_audit::KeyError),
    /// There is none.
    #[error("there is no audit key at {}", path.display())]
    NoAuditKey { path: PathBuf },
    /// The files of an audit trail cannot be read.
    #[error(transparent)]
    AuditRead(#[from] idhini_audit::ReadError),
    /// A line is no checkpoint.
    #[error("`{}`, line {line}: {}", path.display(), idhini_audit::CheckpointError)]
    NoCheckpoint { path: PathBuf, line: usize },
    /// A trail that is not whole.
    #[error("the audit trail is not whole: {finding}")]
    AuditFault { finding: idhini_audit::verify::Finding },
    /// No checkpoint yet.
    #[error("the audit trail in {} has no signed checkpoint", path.display())]
    NothingSigned { path: PathBuf },
    /// The system refuses randomness, threads or signals.
    #[error("the system refuses {what}: {source}")]
    System { what: &'static str, source: std::io::Error },
}

impl Failure {
    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Failure::File { .. }
            | Failure::Schema(_)
            | Failure::Line { .. }
            | Failure::Relationship(_)
            | Failure::TwoMoments
            | Failure::SchemaOfPast
            | Failure::NoObject { .. }
            | Failure::Validation { .. }
            | Failure::Write { .. }
            | Failure::Output { .. }
            | Failure::Address { .. } => STATUS_MALFORMED,
            Failure::Migrate(error) => error.status(),
            Failure::Repeated { .. } => STATUS_REFUSED,
            Failure::WatchEnded { .. } | Failure::Print(_) => STATUS_UNREACHABLE,
            Failure::Refused(status) | Failure::RefusedLine { status, .. } if is_not_understood(status) => {
                STATUS_UNREACHABLE
            }
            Failure::Refused(status) | Failure::RefusedLine { status, .. } => match status.code() {
                Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
                    STATUS_UNREACHABLE
                }
                _ => STATUS_REFUSED,
            },
            Failure::NoToken
            | Failure::MalformedToken
            | Failure::ClientFile(_)
            | Failure::ClientNamespace { .. }
            | Failure::Configuration(_)
            | Failure::NoData { .. }
            | Failure::Plaintext { .. }
            | Failure::TlsFile { .. }
            | Failure::AuthorityThere { .. }
            | Failure::Authority { .. }
            | Failure::NoDirectory { .. }
            | Failure::NoAuditKey { .. }
            | Failure::AuditRead(_)
            | Failure::NoCheckpoint { .. }
            | Failure::NothingSigned { .. }
            | Failure::NoBackup { .. }
            | Failure::OtherBackup { .. }
            | Failure::BackupTooOld { .. }
            | Failure::BackupAhead { .. }
            | Failure::OtherHistory { .. }
            | Failure::AfterBackup { .. }
            | Failure::NotEmpty { .. }
            | Failure::RevisionOfMany { .. } => STATUS_MALFORMED,
            Failure::Connect { .. } | Failure::ShutOut { .. } | Failure::Answer { .. } => STATUS_UNREACHABLE,
            Failure::TokenNowhere { .. }
            | Failure::NobodyAdministrates
            | Failure::RootToken(_)
            | Failure::Bootstrap { .. }
            | Failure::Inadmissible { .. }
            | Failure::Twice { .. }
            | Failure::Listen(_)
            | Failure::Tls(_)
            | Failure::Telemetry { .. }
            | Failure::Http(_)
            | Failure::Metrics(_)
            | Failure::Open(_)
            | Failure::ControlPlane(_)
            | Failure::Log(_)
            | Failure::Directory(_)
            | Failure::Identity(_)
            | Failure::Backup { .. }
            | Failure::NotGood(_)
            | Failure::Faulty { .. }
            | Failure::CutShort { .. }
            | Failure::DamagedImages { .. }
            | Failure::Image(_)
            | Failure::Read(_)
            | Failure::Append(_)
            | Failure::Audit(_)
            | Failure::AuditUnavailable(_)
            | Failure::AuditKey(_)
            | Failure::AuditFault { .. }
            | Failure::System { .. } => STATUS_NOT_SERVING,
        }
    }

    /// What helps.
    pub(crate) fn next_step(&self) -> String {
        match self {
            Failure::File { source, .. } if source.kind() == std::io::ErrorKind::InvalidData => {
                "save the file as UTF-8".to_owned()
            }
            Failure::File { .. } => "name a file that exists and that you may read".to_owned(),
            Failure::Schema(_) => "correct the place that the message names".to_owned(),
            Failure::Print(_) => "leave --json out, or use the command line of the server's own version".to_owned(),
            Failure::TwoMoments => "leave the flag out".to_owned(),
            Failure::SchemaOfPast => "name the moment with --as-of TIME, or add --format lines".to_owned(),
            Failure::NoObject { .. } => "idhini expand view document:readme".to_owned(),
            Failure::WatchEnded { token, .. } => format!("go on with `idhini watch --from {token}`"),
            Failure::Repeated { .. } => "take one of the two lines out; nothing was imported".to_owned(),
            Failure::Validation { .. } => "correct the line that the message names".to_owned(),
            Failure::Write { .. } => "name a file that you may write".to_owned(),
            Failure::Output { .. } => "see whether the disk is full".to_owned(),
            Failure::Migrate(error) => error.next_step().to_owned(),
            Failure::Line { .. } => {
                "write relationships as document:readme#viewer@user:tom, one a line".to_owned()
            }
            Failure::Relationship(_) => {
                "idhini relationship create document:readme viewer user:tom".to_owned()
            }
            Failure::Bootstrap { .. } | Failure::Inadmissible { .. } | Failure::Twice { .. } => "correct the file and start again".to_owned(),
            Failure::Address { .. } => "set --addr or IDHINI_ADDR to HOST:PORT".to_owned(),
            Failure::Plaintext { .. } => {
                "add --tls, or --from-tls for what is migrated; name the authority of the server's certificate, if this machine does not know it, with --ca-file or --from-ca-file"
                    .to_owned()
            }
            Failure::TlsFile { .. } => {
                "name PEM files with --ca-file, or with --client-cert and --client-key, which go together".to_owned()
            }
            Failure::AuthorityThere { .. } => {
                "choose another directory; whoever trusts this authority would trust nobody that a new one certifies"
                    .to_owned()
            }
            Failure::Authority { source: AuthorityError::Ended { .. }, .. } => {
                "make a new authority with `idhini ca init DIR`, and let everybody trust its ca.pem".to_owned()
            }
            Failure::Authority { .. } => "name a directory that `idhini ca init` made".to_owned(),
            Failure::Tls(failure) => failure.remedy().to_owned(),
            Failure::NoToken => {
                "set IDHINI_TOKEN to the server's root token or preshared key, or run this as who started it".to_owned()
            }
            Failure::MalformedToken => "set IDHINI_TOKEN to the key as it was given: printable ASCII".to_owned(),
            Failure::ClientFile(error) => error.remedy(),
            Failure::ClientNamespace { .. } => {
                "correct `namespace` in the client file, or name another one with --namespace".to_owned()
            }
            Failure::Configuration(_) => "see each setting, and who said it, with `idhini config print`".to_owned(),
            Failure::TokenNowhere { source } => {
                format!("{}; or give keys with IDHINI_PRESHARED_KEY", source.remedy())
            }
            Failure::NobodyAdministrates => {
                "start without --no-root-token, make an administrator, such as by `idhini token create --role admin`, and start with it again".to_owned()
            }
            Failure::RootToken(RootTokenError::Damaged { .. }) => {
                "make a new one with `idhini token reset --data-dir DIR`".to_owned()
            }
            Failure::RootToken(RootTokenError::NewerFormat { .. }) => {
                "run the release that made the directory, or a later one".to_owned()
            }
            Failure::RootToken(_) => "see whether the disk is full or may not be written".to_owned(),
            Failure::Connect { source, is_tls, .. } => match tls_error(source) {
                Some(error) => untrusted_next_step(error).to_owned(),
                None if *is_tls => {
                    "start one with `idhini serve`, or set --addr or IDHINI_ADDR; if it speaks no TLS, leave --tls out"
                        .to_owned()
                }
                None => "start one with `idhini serve`, or set --addr or IDHINI_ADDR; if it speaks TLS, add --tls"
                    .to_owned(),
            },
            Failure::ShutOut { source } => untrusted_next_step(source).to_owned(),
            Failure::Refused(status) | Failure::RefusedLine { status, .. } => refused_next_step(status).to_owned(),
            Failure::Answer { .. } => "use the command line of the server's own version".to_owned(),
            Failure::Listen(ListenError::Bind { .. }) => {
                "choose another port with --grpc-addr 127.0.0.1:PORT; one from 32768 to 60999 may also be that of an outgoing \
                 connection, for up to a minute after its end"
                    .to_owned()
            }
            Failure::Listen(ListenError::Threads(_)) => {
                "start with fewer --worker-threads, or let the process have more threads and files".to_owned()
            }
            Failure::Listen(ListenError::NeedsTls { .. }) => {
                "set --tls-cert-file and --tls-key-file, or --tls-ca-dir".to_owned()
            }
            Failure::Listen(_) => "leave --grpc-addr out, or choose a loopback address".to_owned(),
            Failure::Telemetry { .. } => "correct --otlp-endpoint, or leave it out".to_owned(),
            Failure::Http(ListenError::NeedsTls { .. }) => {
                "set --tls-cert-file and --tls-key-file, or --tls-ca-dir; or choose a loopback address with --http-addr"
                    .to_owned()
            }
            Failure::Http(_) => "choose another port with --http-addr 127.0.0.1:PORT, or `off`".to_owned(),
            Failure::Metrics(ListenError::LoopbackOnly { .. }) => {
                "choose a loopback address with --metrics-addr, or `off`".to_owned()
            }
            Failure::Metrics(_) => "choose another port with --metrics-addr 127.0.0.1:PORT, or `off`".to_owned(),
            Failure::Directory(DirectoryError::Held { .. }) => {
                "stop that process, or choose another directory with --data-dir DIR".to_owned()
            }
            Failure::Directory(_) => {
                "choose a directory that you may write, with --data-dir DIR, or add --ephemeral".to_owned()
            }
            Failure::Identity(IdentityError::NewerFormat { .. }) => {
                "run the release that made the directory, or a later one".to_owned()
            }
            Failure::Backup { source, .. } if source.kind() == std::io::ErrorKind::InvalidData => {
                "use another copy of the backup, or take a new one to an empty directory".to_owned()
            }
            Failure::Backup { .. } => "see whether the disk is full or may not be written".to_owned(),
            Failure::NoDirectory { .. } | Failure::NoData { .. } => "name the data directory with --data-dir DIR".to_owned(),
            Failure::NoBackup { .. } => "name a directory that `idhini backup DIR` made".to_owned(),
            Failure::OtherBackup { .. } | Failure::BackupTooOld { .. } => {
                "take the backup to an empty directory".to_owned()
            }
            Failure::BackupAhead { .. } | Failure::OtherHistory { .. } => {
                "take the backup to an empty directory, and keep this one as long as its history may be wanted"
                    .to_owned()
            }
            Failure::AfterBackup { .. } => {
                "name an earlier moment, or leave --to out for the newest there is".to_owned()
            }
            Failure::CutShort { .. } => {
                "use another copy of the backup, or go back to what is left with --to REVISION".to_owned()
            }
            Failure::DamagedImages { .. } => {
                "keep a copy of the directory; what is damaged is not used while one before it is good".to_owned()
            }
            Failure::NotEmpty { .. } => "name a directory that is empty or not there".to_owned(),
            Failure::RevisionOfMany { .. } => "name a moment, such as --to 2026-01-31T12:00:00Z".to_owned(),
            Failure::NotGood(BackupError::NotThere(_)) => {
                "see what it has with `idhini backup verify DIR`".to_owned()
            }
            Failure::NotGood(_) | Failure::Faulty { .. } | Failure::Image(_) | Failure::Read(_) => {
                "use another copy of the backup, or take it again to an empty directory".to_owned()
            }
            Failure::Append(_) => "see whether the disk is full; then run the command again".to_owned(),
            Failure::Open(_) | Failure::ControlPlane(_) | Failure::Log(_) | Failure::Identity(_) => {
                "keep a copy of the data directory, then restore the newest backup".to_owned()
            }
            Failure::Audit(_) | Failure::AuditUnavailable(_) => {
                "mend the sink that the message names, or name another with --audit-dir DIR".to_owned()
            }
            Failure::AuditKey(_) => "restore the key from a copy of the data directory".to_owned(),
            Failure::NoAuditKey { .. } => {
                "name the server's data directory with --data-dir DIR, or the public key with --key KEY".to_owned()
            }
            Failure::AuditRead(_) => "name the directory of the server's --audit-dir".to_owned(),
            Failure::NoCheckpoint { .. } => "name a file that has checkpoints only, a line each".to_owned(),
            Failure::AuditFault { .. } => "see what is left with `idhini audit verify DIR`; compare with a copy".to_owned(),
            Failure::NothingSigned { .. } => "name the directory of the server's --audit-dir, or wait a minute".to_owned(),
            Failure::System { .. } => "look at the machine's limits and logs".to_owned(),
        }
    }
}

/// What lies at the bottom of an error: who is above only says that something went wrong.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// What helps where two do not trust each other.
fn untrusted_next_step(error: &rustls::Error) -> &'static str {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error};
    match error {
        Error::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => {
            "name the authority of the server's certificate with --ca-file, such as the ca.pem of `idhini ca init`"
        }
        Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => "use an address that the certificate is for, or say which it is with --tls-pin NAME",
        Error::InvalidCertificate(Certificate::ApplicationVerificationFailure) => {
            "compare --tls-pin with what `openssl x509 -noout -fingerprint -sha256` says of the server's certificate"
        }
        Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "let the server have a new certificate, and see whether this machine's clock is right"
        }
        Error::InvalidMessage(_) => "leave --tls out: whoever listens there speaks none",
        Error::AlertReceived(Alert::ProtocolVersion) => "use a command line and a server of one version",
        Error::AlertReceived(_) => {
            "show a certificate that the server takes and that has not ended, with --client-cert and --client-key"
        }
        _ => "see whether the server's certificate is as it should be",
    }
}

fn more_faults(more: usize) -> String {
    if more == 0 { String::new() } else { format!(", and {more} more") }
}

/// Whether no server said so: what came over the connection was no answer.
fn is_not_understood(status: &Status) -> bool {
    use std::error::Error as _;
    status.source().is_some() && matches!(status.code(), Code::Internal | Code::Unknown | Code::Cancelled)
}

fn refused_next_step(status: &Status) -> &'static str {
    if is_not_understood(status) {
        return "see whether the server runs, and whether it speaks TLS (--tls); read what is stored before repeating a write";
    }
    let reason = reason(status);
    if let Some(step) = reason.as_deref().and_then(own_next_step) {
        return step;
    }
    match (status.code(), reason.as_deref()) {
        (Code::Unauthenticated | Code::PermissionDenied, _) => {
            "set IDHINI_TOKEN to the server's root token or preshared key"
        }
        (Code::Unknown, _) => "see whether the server runs; read what is stored before repeating a write",
        (Code::Unavailable | Code::DeadlineExceeded, _) => "see whether the server runs; then try again",
        (Code::NotFound, _) => "write a schema with `idhini schema write FILE`",
        (Code::AlreadyExists, _) => "use `idhini relationship touch` to replace it",
        (_, Some("ERROR_REASON_SCHEMA_PARSE_ERROR" | "ERROR_REASON_SCHEMA_TYPE_ERROR")) => {
            "correct the schema and write it again"
        }
        (
            Code::FailedPrecondition,
            Some("ERROR_REASON_UNKNOWN_DEFINITION" | "ERROR_REASON_UNKNOWN_RELATION_OR_PERMISSION"),
        ) => "compare the name with `idhini schema read`",
        (Code::InvalidArgument, _) => {
            "correct the argument that the message names; `idhini schema read` shows what fits"
        }
        (Code::Unimplemented, _) => "ask a server that has this call",
        _ => "read the message; the server's documentation explains each reason",
    }
}

/// What helps where the reason is one of ours.
fn own_next_step(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "NOT_PERMITTED" => {
            "see what you may do with `idhini auth can-i`; whoever administers the namespace grants more with `idhini auth grant`"
        }
        "NAMESPACE_NOT_FOUND" => "see which there are with `idhini namespace tree`",
        "NAMESPACE_PATH_INVALID" => "write names separated by single `/`, such as team_a/subteam_b",
        "NAMESPACE_IS_ROOT" => "name a namespace below root",
        "NAMESPACE_EXISTS" => "look at it with `idhini namespace show PATH`",
        "NAMESPACE_HAS_CHILDREN" => "see them with `idhini namespace tree PATH`, and delete them first",
        "NAMESPACE_BEING_DELETED" => "ask again to delete it, with `idhini namespace delete PATH`",
        "NAMESPACE_LOCKED" => {
            "see who locked it, and until when, with `idhini namespace status PATH`; whoever has the key opens it with `idhini namespace unlock PATH`"
        }
        "NAMESPACE_ALREADY_LOCKED" | "NAMESPACE_NOT_LOCKED" => {
            "see what it is locked by with `idhini namespace status PATH`"
        }
        "UNLOCK_KEY_WRONG" => {
            "set IDHINI_UNLOCK_KEY to the key that locking answered, or have an administrator unlock it without one"
        }
        "UNLOCK_KEY_THROTTLED" => {
            "wait for as long as the message says, or have an administrator unlock it without a key"
        }
        "LOCK_EXPIRATION_INVALID" => "name a moment that is yet to come with --until, or a time with --for",
        "TOKEN_NOT_FOUND" => "see which there are with `idhini token list`",
        "TOKEN_LIFETIME_INVALID" => "name a time such as 90m or 30d, or leave it out",
        "ROLE_UNKNOWN" | "RIGHT_UNKNOWN" | "SUBJECT_INVALID" => "write one of those that the message names",
        "ALREADY_GRANTED" | "NOT_GRANTED" => "see what was granted with `idhini auth grants PATH`",
        "CUSTOM_METADATA_INVALID" | "REMARK_TOO_LONG" => "write less",
        "QUOTA_EXCEEDED" => {
            "ask again when the message says; whoever administers the namespace above raises it with `idhini namespace set PATH --metadata KEY=VALUE`"
        }
        "OVERLOADED" => "ask again when the message says",
        "AUDIT_UNAVAILABLE" => {
            "see why the sinks of --audit-dir and the like take no records; then repeat the command"
        }
        "CONTROL_PLANE_UNREADABLE" => "see whether the server's disk can be read; then try again",
        _ => return None,
    })
}

fn refused(status: &Status) -> String {
    let reason = reason(status).map(|reason| format!(", {reason}")).unwrap_or_default();
    format!("{} ({:?}{reason})", status.message(), status.code())
}

/// The contract's reason, if the server sent one.
pub(crate) fn reason(status: &Status) -> Option<String> {
    let details = google::rpc::Status::decode(status.details()).ok()?.details;
    details
        .iter()
        .find_map(|d| google::rpc::ErrorInfo::decode(d.value.as_slice()).ok())
        .map(|info| info.reason)
}
