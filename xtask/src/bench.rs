//! What a decision costs: runs `tests/bench` and puts its medians and allocations side by side.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, bail};

use crate::place::cargo;

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only benchmarks whose names contain this.
    filter: Option<String>,
}

/// Runs it.
pub(crate) fn run_task(arguments: &Arguments) -> anyhow::Result<()> {
    let mut child = cargo()
        .args(["bench", "--package", "guard-bench", "--bench", "decision"])
        .arg("--")
        .args(&arguments.filter)
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo bench did not start")?;
    let output = child.stdout.take().context("the output is piped")?;
    let mut rows = Rows::default();
    for line in BufReader::new(output).lines() {
        let line = line.context("the output is not text")?;
        say(&line);
        rows.read(&line);
    }
    if !child.wait()?.success() {
        bail!("cargo bench failed");
    }
    rows.print();
    Ok(())
}

/// The medians of divan's table.
#[derive(Default)]
struct Rows {
    group: String,
    all: Vec<Row>,
    /// The next line has the number of allocations.
    counting: bool,
}

struct Row {
    group: String,
    name: String,
    nanoseconds: f64,
    allocations: f64,
}

impl Rows {
    /// Takes a line into account: a benchmark with its times, or what it allocates below it.
    fn read(&mut self, line: &str) {
        let tree = |it: char| it.is_whitespace() || "│├╰─".contains(it);
        let cells: Vec<&str> = line.rsplit('│').map(str::trim).collect();
        let text = line.trim_start_matches(tree);
        if std::mem::take(&mut self.counting) {
            // Without the columns of samples and iterations: fastest, slowest, median, mean.
            let all: Vec<f64> = text
                .split('│')
                .filter_map(|cell| cell.trim().parse().ok())
                .collect();
            if let (Some(row), Some(median)) = (self.all.last_mut(), all.get(2)) {
                row.allocations = *median;
            }
        }
        if text.starts_with("alloc:") {
            self.counting = true;
            return;
        }
        let name = text.split_whitespace().next().unwrap_or_default();
        let Some(nanoseconds) = cells.get(3).and_then(|median| nanoseconds(median)) else {
            if line.starts_with(['├', '╰']) {
                name.clone_into(&mut self.group);
            }
            return;
        };
        let top = line.starts_with(['├', '╰']);
        self.all.push(Row {
            group: if top {
                name.to_owned()
            } else {
                self.group.clone()
            },
            name: if top { String::new() } else { name.to_owned() },
            nanoseconds,
            allocations: 0.0,
        });
    }

    /// Each median, and how it compares with the first of its group.
    fn print(&self) {
        say("");
        say(&format!(
            "{:<28} {:>14} {:>8} {:>12}",
            "benchmark", "ns (median)", "ratio", "allocations"
        ));
        for row in &self.all {
            let first = self.all.iter().find(|other| other.group == row.group);
            let ratio = first.map_or(1.0, |first| row.nanoseconds / first.nanoseconds);
            say(&format!(
                "{:<28} {:>14.1} {:>8.2} {:>12}",
                format!("{} {}", row.group, row.name),
                row.nanoseconds,
                ratio,
                row.allocations
            ));
        }
    }
}

/// Reads a time as divan writes it (`1.234 µs`).
fn nanoseconds(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once(' ')?;
    let factor = match unit {
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[expect(clippy::print_stdout, reason = "the task's report")]
fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::Rows;

    #[test]
    fn medians_and_allocations_are_read_from_the_table() {
        let mut rows = Rows::default();
        let table = "\
decision          fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ catalog        9.5 ns        │ 11 ns         │ 10 ns         │ 10 ns         │ 100     │ 100
╰─ decide                       │               │               │               │         │
   ├─ 1           80 ns         │ 90 ns         │ 85.5 ns       │ 86 ns         │ 100     │ 6400
   │              alloc:        │               │               │               │         │
   │                2           │ 2             │ 2             │ 2             │         │
   │                64 B        │ 64 B          │ 64 B          │ 64 B          │         │
   ╰─ 100         1 µs          │ 2 µs          │ 1.5 µs        │ 1.6 µs        │ 100     │ 100
";
        table.lines().for_each(|line| rows.read(line));
        let read: Vec<_> = rows
            .all
            .iter()
            .map(|row| (&*row.group, &*row.name, row.nanoseconds, row.allocations))
            .collect();
        assert_eq!(
            read,
            [
                ("catalog", "", 10.0, 0.0),
                ("decide", "1", 85.5, 2.0),
                ("decide", "100", 1500.0, 0.0),
            ]
        );
    }
}
