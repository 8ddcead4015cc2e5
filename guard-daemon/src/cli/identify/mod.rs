//! `guard identify`: tells what AWS requests ask for, by the code that decides on them. No daemon is needed.
//!
//! One thread reads, one per core identifies, this one writes: batches in the order of the input, a bounded
//! number of them at once.

mod answer;
mod input;
mod request;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Context as _;

pub(super) use self::answer::call;

use self::answer::Identifier;
use self::input::{Batch, Batches};

/// Exit code where a request was malformed or refused.
const BAD_REQUESTS: u8 = 5;

/// Batches per thread that wait or are worked on.
const AHEAD: usize = 3;

/// Tell what AWS requests ask for.
///
/// Reads one request per line, a JSON object with `method`, `url`, `headers` (an object whose values are a text or a
/// list of texts) and `body` (base64), or a HAR file. Writes one line for each, in order: a JSON object with `service`,
/// `operation` (null if unknown), `candidates`, `actions`, `resources` (null for one that the request does not tell, "*"
/// where the action takes none) and `confidence` (exact, partial, unknown). Requests that guard refuses, and lines that
/// are none, have an `error`; the exit code is 5 then. Blank lines are passed over.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Account that resources without one are of [default: unknown]
    #[arg(long, value_name = "ID", value_parser = account)]
    account: Option<String>,
    /// JSON lines or HAR [default: standard input]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|it| it.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("an account is 12 digits".to_owned())
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (input, name): (Box<dyn Read + Send>, _) = match &arguments.file {
        Some(path) => {
            let name = path.display().to_string();
            let file = std::fs::File::open(path).with_context(|| format!("cannot open {name}"))?;
            (Box::new(file), name)
        }
        None => (Box::new(io::stdin()), "standard input".to_owned()),
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let pass = Pass::start(input, arguments.account.as_ref(), threads);
    match pass.write(&mut io::stdout().lock()) {
        Ok(0) => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::from(BAD_REQUESTS)),
        // `guard identify | head`: the reader has seen enough.
        Err(Stopped::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        Err(Stopped::Output(error)) => Err(error).context("cannot write the answers"),
        Err(Stopped::Input(error)) => Err(error).with_context(|| format!("cannot read {name}")),
    }
}

/// What a batch became.
struct Answers {
    lines: Vec<u8>,
    /// How many of them have an error.
    bad: u64,
}

/// One pass over the input. Its threads end with the input, or with the process.
struct Pass {
    answers: Receiver<Receiver<Answers>>,
    /// How reading ended; sent last.
    end: Receiver<io::Result<()>>,
}

#[derive(Debug)]
enum Stopped {
    Input(io::Error),
    Output(io::Error),
}

type Job = (Batch, SyncSender<Answers>);

impl Pass {
    fn start(input: Box<dyn Read + Send>, account: Option<&String>, threads: usize) -> Self {
        let (jobs, work) = sync_channel::<Job>(threads * AHEAD);
        let (order, answers) = sync_channel(threads * AHEAD);
        let (ended, end) = sync_channel(1);
        thread::spawn(move || {
            let read = Batches::new(input).each(|batch| {
                let (done, answer) = sync_channel(1);
                // Whoever takes the answers may have gone away.
                order.send(answer).is_ok() && jobs.send((batch, done)).is_ok()
            });
            let _ = ended.send(read);
        });
        let work = Arc::new(Mutex::new(work));
        for _ in 0..threads {
            let work = Arc::clone(&work);
            let mut identifier = Identifier::new(account.cloned());
            thread::spawn(move || {
                loop {
                    // A thread that panicked holds nothing half done.
                    let job = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((batch, done)) = job else { break };
                    let _ = done.send(identifier.answer(&batch));
                }
            });
        }
        Self { answers, end }
    }

    /// Writes all answers; gives how many have an error.
    fn write(&self, out: &mut impl Write) -> Result<u64, Stopped> {
        let mut bad = 0;
        for answer in &self.answers {
            let lost = || io::Error::other("a thread of guard's ended early; please report this");
            let answers = answer.recv().map_err(|_gone| Stopped::Input(lost()))?;
            bad += answers.bad;
            out.write_all(&answers.lines).map_err(Stopped::Output)?;
            out.flush().map_err(Stopped::Output)?;
        }
        match self.end.recv() {
            Ok(Err(error)) => Err(Stopped::Input(error)),
            _ => Ok(bad),
        }
    }
}

#[cfg(test)]
mod tests;
