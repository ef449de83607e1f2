//! What does a tenant notice of a neighbour at its worst?
//!
//! ```text
//! noisy --server target/release/idhini [--secs 10] [--rate 400] [--only lookups,bulk]
//! ```
//!
//! Starts a server with two tenants. The quiet one checks, looks up, checks in bulk and writes on fixed schedules, however
//! slowly it is answered; a latency counts from the moment that the schedule says. The noisy one, a process of its own with
//! the lowest priority that there is (nice 19: it is to disturb by what it asks of the server, not of the machine), does
//! one thing after the other as hard as it can, and then all at once. Before and after each, the quiet one is measured
//! alone, so that what the machine itself does is in both. Prints Markdown.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

mod calling;
mod neighbour;
mod quiet;
mod world;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;

use self::neighbour::Behaviour;
use self::quiet::{Kind, Latencies};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(crate) const KEY: &str = "a key of this measurement";

/// Measures a quiet tenant beside a noisy one.
#[derive(Parser)]
struct Arguments {
    /// The server's binary.
    #[arg(long, default_value = "target/release/idhini")]
    server: PathBuf,
    /// Seconds of each window.
    #[arg(long, default_value_t = 10.0)]
    secs: f64,
    /// The quiet tenant's checks a second; lookups and writes are an eighth of them, bulk checks a sixteenth.
    #[arg(long, default_value_t = 400.0)]
    rate: f64,
    /// Calls that the neighbour has under way, of each behaviour.
    #[arg(long, default_value_t = 8)]
    callers: usize,
    /// Behaviours, all if none is named; each alone, and together at the end.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Behaviour>,
    /// Windows of each; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Threads of the server that answer.
    #[arg(long, default_value_t = 2)]
    worker_threads: usize,
    /// Is the neighbour: behaves like this against this address until it is ended.
    #[arg(long, hide = true)]
    neighbour_of: Option<String>,
    /// Where the world is described.
    #[arg(long, hide = true)]
    world: Option<PathBuf>,
}

/// Ended when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ran = match &arguments.neighbour_of {
        Some(address) => {
            neighbour::run(address, &arguments.only, arguments.callers, arguments.world.as_deref())
        }
        None => measure(&arguments),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("idhini-noisy-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (server, address) = served(arguments, &folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let world = folder.join("world.json");
    runtime.block_on(world::make(&address, &world))?;
    let behaviours = if arguments.only.is_empty() { Behaviour::ALL.to_vec() } else { arguments.only.clone() };
    println!(
        "| the neighbour | answered, refused a second | the quiet one's | p50, ms | p99, ms | alone: p50 | p99 | p99, times | errors |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for behaviour in &behaviours {
        row(arguments, (&runtime, &address, &world), &format!("{behaviour:?}"), &[*behaviour])?;
    }
    if behaviours.len() > 1 {
        row(arguments, (&runtime, &address, &world), "all at once", &behaviours)?;
    }
    drop(server);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn served(arguments: &Arguments, folder: &std::path::Path) -> Result<(Process, String), Failure> {
    let mut command = Command::new(&arguments.server);
    command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY, "--metrics-addr", "off"]);
    command.arg("--data-dir").arg(folder.join("data"));
    command.args(["--worker-threads", &arguments.worker_threads.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or("the server has no output")?;
    let mut server = Process(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.strip_prefix("listening on ").and_then(|rest| rest.split(' ').next());
    let Some(address) = address else {
        let _ = server.0.kill();
        return Err(format!("the server said `{line}`").into());
    };
    Ok((server, address.to_owned()))
}

/// What one round found of one kind of the quiet one's calls.
struct Round {
    times: f64,
    beside: Latencies,
    alone: Latencies,
}

/// Alone, beside, alone; the median round of each kind.
fn row(
    arguments: &Arguments,
    (runtime, address, world): (&tokio::runtime::Runtime, &str, &std::path::Path),
    name: &str,
    behaviours: &[Behaviour],
) -> Result<(), Failure> {
    let window = Duration::from_secs_f64(arguments.secs);
    let quiet = || runtime.block_on(quiet::measure(address, arguments.rate, window));
    let mut rounds: [Vec<Round>; Kind::ALL.len()] = Default::default();
    let mut told = (0.0, 0.0);
    for _ in 0..arguments.rounds.max(1) {
        let before = quiet()?;
        let (beside, did) = {
            let neighbour = Neighbour::start(arguments, address, world, behaviours)?;
            // Until it is at it.
            std::thread::sleep(Duration::from_secs(2));
            (quiet()?, neighbour.end())
        };
        told = (told.0 + did.0, told.1 + did.1);
        // What it left under way ends.
        std::thread::sleep(Duration::from_secs(1));
        let alone = before.into_iter().zip(quiet()?).map(|(before, after)| before.with(after));
        for (rounds, (beside, alone)) in rounds.iter_mut().zip(beside.into_iter().zip(alone)) {
            let times = beside.quantile_ms(0.99) / alone.quantile_ms(0.99);
            rounds.push(Round { times, beside, alone });
        }
    }
    let told = [told.0, told.1].map(|sum: f64| sum / arguments.rounds.max(1) as f64);
    for (kind, mut rounds) in Kind::ALL.into_iter().zip(rounds) {
        rounds.sort_by(|one, other| one.times.total_cmp(&other.times));
        let Round { times, beside, alone } = &rounds[rounds.len() / 2];
        println!(
            "| {name} | {:.0}, {:.0} | {kind:?} | {:.2} | {:.2} | {:.2} | {:.2} | {times:.2} | {} |",
            told[0],
            told[1],
            beside.quantile_ms(0.5),
            beside.quantile_ms(0.99),
            alone.quantile_ms(0.5),
            alone.quantile_ms(0.99),
            beside.errors + alone.errors,
        );
    }
    Ok(())
}

/// The noisy tenant, at it until it is ended.
struct Neighbour {
    process: Process,
    began: Instant,
    /// What it said last.
    told: Arc<Mutex<String>>,
}

impl Neighbour {
    fn start(
        arguments: &Arguments,
        address: &str,
        world: &std::path::Path,
        behaviours: &[Behaviour],
    ) -> Result<Neighbour, Failure> {
        let names: Vec<String> = behaviours.iter().map(|behaviour| behaviour.name()).collect();
        // It is to disturb by what it asks, not by what it takes of a machine that is not its own: it gives way.
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(std::env::current_exe()?);
        command.args(["--neighbour-of", address, "--only", &names.join(",")]);
        command.args(["--callers", &arguments.callers.to_string()]).arg("--world").arg(world);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let lines = child.stdout.take().map(BufReader::new).ok_or("the neighbour has no output")?;
        let (process, told) = (Process(child), Arc::<Mutex<String>>::default());
        let last = Arc::clone(&told);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = line;
            }
        });
        Ok(Neighbour { process, began: Instant::now(), told })
    }

    /// How many of its calls were answered, and how many refused, a second.
    fn end(self) -> (f64, f64) {
        let Neighbour { process, began, told } = self;
        let seconds = began.elapsed().as_secs_f64();
        drop(process);
        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = told.split(' ').map(|count| count.parse::<f64>().unwrap_or(f64::NAN) / seconds);
        (counts.next().unwrap_or(f64::NAN), counts.next().unwrap_or(f64::NAN))
    }
}
