//! Renders docs/escapes.md from the rows that the escape suite left for each kernel.
//!
//! A kernel whose rows are not there keeps the section that the committed file has of it, so that the file can be
//! made current on one kernel at a time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::place::{root, target};

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only compare: fail if the committed file differs for a kernel whose rows are there.
    #[arg(long)]
    check: bool,
}

/// What stands before the sections.
const HEAD: &str = "\
# Escapes

Every technique of the escape suite (`tests/tests/escape/`), and what came of it. Each is tried first outside, where it
must get a packet (or a descriptor that leads to one) out, then in a session of `guard run`, and in a tree that
`guard attach` confines in the host's own network namespace: as the ordinary user (`user`), as that user as root of a user
namespace of its own (`userns`), and as root (`root`). It counts as closed only if nothing reached the network namespace
that plays the internet.

| outcome | means |
|---|---|
| closed | gets out outside, does not inside; the control is named |
| **open** | gets out inside; the reason is named |
| no way | this user gets nothing out outside, either |
| not testable | this kernel or machine lacks what the technique needs; counted as skipped, never as closed |

Made by `cargo xtask escapes` from what the suite found; edit neither by hand.
";

/// Before the name of a kernel.
const SECTION: &str = "\n## Linux ";

/// Runs it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let file = root().join("docs/escapes.md");
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    let mut sections: BTreeMap<String, String> = committed
        .split(SECTION)
        .skip(1)
        .filter_map(|section| {
            let (kernel, text) = section.split_once('\n')?;
            Some((kernel.to_owned(), text.to_owned()))
        })
        .collect();
    let mut found = false;
    for (kernel, rows) in files()? {
        found = true;
        sections.insert(kernel, section(&rows));
    }
    if !found {
        bail!("no rows are there; run: cargo test -p guard-tests --test escape");
    }
    let mut text = HEAD.to_owned();
    for (kernel, section) in &sections {
        let _ = write!(text, "{SECTION}{kernel}\n{section}");
    }
    if arguments.check {
        if text != committed {
            bail!(
                "docs/escapes.md does not say what the escape suite found; run: cargo xtask escapes"
            );
        }
        return Ok(());
    }
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The kernels' names and their rows.
fn files() -> anyhow::Result<BTreeMap<String, Vec<Value>>> {
    let directory: PathBuf = target().join("escapes");
    let mut kernels = BTreeMap::new();
    for entry in std::fs::read_dir(&directory).into_iter().flatten() {
        let path = entry?.path();
        if path
            .extension()
            .is_none_or(|extension| extension != "jsonl")
        {
            continue;
        }
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&path)?;
        let rows: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        kernels.insert(name, rows.with_context(|| path.display().to_string())?);
    }
    Ok(kernels)
}

/// One technique in one place: what came of it, by user.
type Outcomes<'a> = BTreeMap<&'a str, &'a Value>;

/// The table of one kernel.
fn section(rows: &[Value]) -> String {
    let field = |row: &'_ Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let count = |outcome: &str| rows.iter().filter(|row| row["outcome"] == outcome).count();
    let mut text = format!(
        "\n{} rows: {} closed, {} open, {} no way, {} not testable.\n",
        rows.len(),
        count("closed"),
        count("open"),
        count("no-way"),
        count("not-testable"),
    );
    // In the order of the suite.
    let mut order: Vec<String> = Vec::new();
    let mut techniques: BTreeMap<(String, String), Outcomes<'_>> = BTreeMap::new();
    for row in rows {
        let technique = field(row, "technique");
        if !order.contains(&technique) {
            order.push(technique.clone());
        }
        let user = row["user"].as_str().unwrap_or_default();
        techniques
            .entry((technique, field(row, "place")))
            .or_default()
            .insert(user, row);
    }
    let mut family = String::new();
    for technique in order {
        for place in ["run", "attach"] {
            let Some(users) = techniques.get(&(technique.clone(), place.to_owned())) else {
                continue;
            };
            let Some(first) = users.values().next() else {
                continue;
            };
            let own = field(first, "family");
            if own != family {
                let _ = write!(
                    text,
                    "\n### {own}\n\n| technique | mode | user | outcome | control or reason |\n|---|---|---|---|---|\n"
                );
                family = own;
            }
            for (users, outcome, control) in groups(users) {
                let title = format!("`{technique}`: {}", field(first, "title"));
                let _ = writeln!(
                    text,
                    "| {} | {place} | {users} | {outcome} | {} |",
                    cell(&title),
                    cell(&control)
                );
            }
        }
    }
    text
}

/// Users with the same outcome, together.
fn groups(users: &Outcomes<'_>) -> Vec<(String, &'static str, String)> {
    let mut groups: Vec<(String, &'static str, String)> = Vec::new();
    for (key, name) in [("ordinary", "user"), ("userns", "userns"), ("root", "root")] {
        let Some(row) = users.get(key) else { continue };
        let outcome = match row["outcome"].as_str() {
            Some("closed") => "closed",
            Some("open") => "**open**",
            Some("no-way") => "no way",
            _ => "not testable",
        };
        let control = row["control"].as_str().unwrap_or_default();
        match groups
            .iter_mut()
            .find(|(_, other, by)| *other == outcome && by == control)
        {
            Some((names, ..)) => {
                names.push_str(", ");
                names.push_str(name);
            }
            None => groups.push((name.to_owned(), outcome, control.to_owned())),
        }
    }
    groups
}

/// Text that stays in its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::section;

    #[test]
    fn users_with_the_same_outcome_share_a_row() {
        let row = |user: &str, outcome: &str, control: &str| {
            json!({"family": "UDP", "technique": "udp", "title": "a|b", "place": "run", "user": user,
                "outcome": outcome, "control": control, "said": ""})
        };
        let text = section(&[
            row("ordinary", "closed", "sendmsg4/6"),
            row("userns", "closed", "sendmsg4/6"),
            row("root", "open", "why"),
        ]);
        assert!(text.contains("3 rows: 2 closed, 1 open"), "{text}");
        assert!(text.contains("### UDP"), "{text}");
        assert!(
            text.contains("| `udp`: a\\|b | run | user, userns | closed | sendmsg4/6 |"),
            "{text}"
        );
        assert!(
            text.contains("| `udp`: a\\|b | run | root | **open** | why |"),
            "{text}"
        );
    }
}
