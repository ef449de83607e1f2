//! One run, from reading the accounts to the report.
//!
//! The kernel is asked right after the trees are read, so that little can change in between; the server afterwards,
//! about the metadata that were read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use crate::accounts::{self, Account, Cast, IdMap, MachineAccounts};
use crate::compare;
use crate::made::{MadeTree, Size};
use crate::options::{Only, Options};
use crate::probe;
use crate::questions::{self, Accounts, PERMISSIONS, Question};
use crate::relationships::{self, Capabilities, Fact, SCHEMA};
use crate::report::Report;
use crate::rng::Rng;
use crate::server::{Asked, OwnServer, Server};
use crate::tree::{Area, Kind, Tree};

type Failure = Box<dyn std::error::Error>;

const FULL: Size = Size { mode_step: 1, random_inodes: 2_500 };
const SMALL: Size = Size { mode_step: 37, random_inodes: 60 };
const KEY_BYTES: usize = 16;
const PROGRESS_EVERY: u64 = 512;

/// Makes, reads, asks and compares. `now_ms` is the clock.
pub fn run(options: &Options, now_ms: fn() -> u64) -> Result<Report, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root can become every user: run this with sudo, or in a container as root".into());
    }
    let mut report = Report { seed: options.seed, wanted: options.questions, ..Default::default() };
    let (maps, machine) = machine_accounts()?;
    let cast = Cast::beside(&machine);
    let mut accounts = mapped(&maps, &machine.accounts, &mut report);
    let machine_count = accounts.len();

    let made = if options.only == Some(Only::Roots) {
        None
    } else {
        let cast_mapped = mapped(&maps, &cast.accounts, &mut report);
        if cast_mapped.len() < cast.accounts.len() {
            return Err("this user namespace maps too few ids for the made tree: --only roots".into());
        }
        accounts.extend(cast_mapped);
        let size = if options.small { SMALL } else { FULL };
        Some(MadeTree::make(&options.tree, &cast, size, options.seed, options.keep)?)
    };

    let started = now_ms();
    let top = made.as_ref().map(|made| made.top.as_path());
    let tree = read_trees(options, &maps, top)?;
    report.took_ms.push(("reading the trees", now_ms() - started));

    let root = accounts.iter().position(|account| account.uid == 0);
    let count = Accounts { machine: machine_count, all: accounts.len(), root };
    let asked = questions::draw(&tree, count, options.questions, top, &mut Rng::new(options.seed));
    let started = now_ms();
    let kernel = ask_kernel(&tree, &accounts, &asked)?;
    report.took_ms.push(("asking the kernel", now_ms() - started));

    let facts = relationships::all(&tree, &accounts, &kernel.capabilities);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let for_server = server_questions(&tree, &accounts, &asked);
    let answers = runtime.block_on(async {
        tokio::select! {
            answers = ask_server(options, &facts, &for_server, now_ms, &mut report) => answers,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        }
    })?;

    describe(&mut report, &tree, &machine, &accounts, &kernel.capabilities, facts.len());
    compare::compare(&mut report, &tree, &accounts, &asked, &kernel.errors, &answers, top);
    Ok(report)
}

/// The id maps of this user namespace.
struct Maps {
    uids: IdMap,
    gids: IdMap,
}

fn machine_accounts() -> Result<(Maps, MachineAccounts), Failure> {
    let text = |path: &str| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let maps = Maps {
        uids: IdMap::read(&text("/proc/self/uid_map")?),
        gids: IdMap::read(&text("/proc/self/gid_map")?),
    };
    Ok((maps, accounts::read(&text("/etc/passwd")?, &text("/etc/group")?)))
}

/// The accounts that a process in this user namespace can become.
fn mapped(maps: &Maps, accounts: &[Account], report: &mut Report) -> Vec<Account> {
    let is_mapped = |account: &&Account| {
        maps.uids.contains(account.uid) && account.groups().iter().all(|gid| maps.gids.contains(*gid))
    };
    let mapped: Vec<Account> = accounts.iter().filter(is_mapped).cloned().collect();
    if mapped.len() < accounts.len() {
        report
            .excluded
            .push(("accounts with ids outside this user namespace", number(accounts.len() - mapped.len())));
    }
    mapped
}

fn read_trees(options: &Options, maps: &Maps, made: Option<&Path>) -> Result<Tree, Failure> {
    let progress = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("reading trees  {human_pos} inodes")?);
    let seen = |count: u64| {
        if count.is_multiple_of(PROGRESS_EVERY) {
            progress.set_position(count);
        }
    };
    let mut tree = Tree::new(&maps.uids, &maps.gids);
    if options.only != Some(Only::Made) {
        for root in &options.roots {
            tree.read(root, Area::Roots, made, seen)?;
        }
    }
    if let Some(made) = made {
        tree.read(made, Area::Made, None, seen)?;
    }
    tree.resolve_links();
    tree.count_limits();
    progress.finish_and_clear();
    Ok(tree)
}

/// What the kernel said, and who may override what.
struct KernelAnswers {
    errors: Vec<u8>,
    capabilities: Vec<Capabilities>,
}

/// One child for each account, which gets all questions about it.
fn ask_kernel(tree: &Tree, accounts: &[Account], asked: &[Question]) -> Result<KernelAnswers, Failure> {
    let progress = bar("asking the kernel", asked.len())?;
    let (mut errors, mut capabilities) = (Vec::with_capacity(asked.len()), Vec::new());
    let mut rest = asked;
    for (place, account) in accounts.iter().enumerate() {
        let (own, others) = rest.split_at(rest.partition_point(|question| question.account <= place));
        rest = others;
        let questions = own.iter().map(|question| {
            let path = tree.inodes.get(question.inode).map_or(Path::new("/"), |inode| inode.path.as_path());
            (question.mode, path.as_os_str().as_bytes())
        });
        let answers = probe::ask(account, questions)?;
        progress.inc(number(answers.errors.len()));
        errors.extend(answers.errors);
        capabilities.push(answers.capabilities);
    }
    progress.finish_and_clear();
    Ok(KernelAnswers { errors, capabilities })
}

fn server_questions(tree: &Tree, accounts: &[Account], asked: &[Question]) -> Vec<Asked> {
    let mut objects: Vec<Option<(&'static str, Arc<str>)>> = vec![None; tree.inodes.len()];
    let questions = asked.iter().filter_map(|question| {
        let object = objects.get_mut(question.inode)?;
        if object.is_none() {
            *object = tree
                .inodes
                .get(question.inode)
                .and_then(relationships::object)
                .map(|(kind, id)| (kind, id.into()));
        }
        let permission = PERMISSIONS.get(usize::from(question.mode))?;
        Some(Asked { resource: object.clone()?, permission, user: accounts.get(question.account)?.uid })
    });
    questions.collect()
}

async fn ask_server(
    options: &Options,
    facts: &[Fact],
    questions: &[Asked],
    now_ms: fn() -> u64,
    report: &mut Report,
) -> Result<Vec<bool>, Failure> {
    let own = match &options.addr {
        Some(_) => None,
        None => Some(OwnServer::start(&server_program(options)?, random_key()?)?),
    };
    let (addr, token) = match (&own, &options.addr) {
        (Some(own), _) => (own.addr.as_str(), own.token.as_str()),
        (None, addr) => (addr.as_deref().unwrap_or_default(), options.token.as_str()),
    };
    let mut server = Server::connect(addr, token).await?;
    let schema = options.schema.as_ref().map(fs::read_to_string).transpose()?;
    server.write_schema(schema.as_deref().unwrap_or(SCHEMA)).await?;
    let progress = bar("writing relationships", facts.len())?;
    let started = now_ms();
    server.write(facts, |count| progress.inc(number(count))).await?;
    progress.finish_and_clear();
    report.took_ms.push(("writing the relationships", now_ms() - started));
    let progress = bar("asking the server", questions.len())?;
    let started = now_ms();
    let answers = server.ask(questions, |count| progress.inc(number(count))).await?;
    progress.finish_and_clear();
    report.took_ms.push(("asking the server", now_ms() - started));
    Ok(answers)
}

fn server_program(options: &Options) -> io::Result<PathBuf> {
    match &options.serve {
        Some(program) => Ok(program.clone()),
        None => Ok(std::env::current_exe()?.with_file_name("idhini")),
    }
}

fn random_key() -> io::Result<String> {
    let mut bytes = [0_u8; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn describe(
    report: &mut Report,
    tree: &Tree,
    machine: &MachineAccounts,
    accounts: &[Account],
    capabilities: &[Capabilities],
    facts: usize,
) {
    let count =
        |wanted: fn(&Kind) -> bool| number(tree.inodes.iter().filter(|inode| wanted(&inode.kind)).count());
    let with_acl = tree.inodes.iter().filter(|inode| inode.facts.acl.is_some()).count();
    report.read = vec![
        ("accounts", number(accounts.len())),
        ("directories", count(|kind| *kind == Kind::Directory)),
        ("files", count(|kind| *kind == Kind::File)),
        ("symbolic links", count(|kind| matches!(kind, Kind::Link { .. }))),
        ("of all these with an ACL", number(with_acl)),
        ("relationships", number(facts)),
    ];
    report.excluded.extend(tree.excluded.iter().map(|(why, count)| (why.label(), *count)));
    for (label, count) in [
        ("account names that share a user id", machine.sharing_a_uid),
        ("malformed lines of /etc/passwd and /etc/group", machine.malformed_lines),
    ] {
        if count > 0 {
            report.excluded.push((label, number(count)));
        }
    }
    let holders = |held: fn(&Capabilities) -> bool| {
        let names = accounts.iter().zip(capabilities).filter(|(_, capabilities)| held(capabilities));
        let names: Vec<&str> = names.map(|(account, _)| account.name.as_str()).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    };
    let (override_all, read_search) =
        (holders(|held| held.dac_override), holders(|held| held.dac_read_search));
    report.capabilities = format!("CAP_DAC_OVERRIDE: {override_all}; CAP_DAC_READ_SEARCH: {read_search}");
}

fn bar(what: &'static str, length: usize) -> Result<ProgressBar, Failure> {
    let style = ProgressStyle::with_template("{msg}  {wide_bar} {human_pos} of {human_len}  {eta}")?;
    Ok(ProgressBar::new(number(length)).with_style(style).with_message(what))
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
