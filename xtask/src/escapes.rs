//! Renders docs/escapes.md from the rows that the escape suite left for each kernel.
//!
//! A kernel whose rows are not there keeps the section that the committed file has of it, so that the file can be
//! made current on one kernel at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::place::{root, target};

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only compare: fail if what the committed file says of a kernel differs from the rows that are there.
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
| closed | gets out outside, does not inside; the control that closes it is named |
| open | gets out inside; the reason is named, and the suite fails for any that is not expected |
| no way | this user gets nothing out outside, either; counted, not listed |
| not testable | this kernel or machine lacks what the technique needs; counted as skipped, never as closed |

Made by `cargo xtask escapes` from what the suite found; edit neither by hand.
";

/// The control of everything that is tried in a user namespace where there is none.
const NO_USER_NAMESPACE: &str = "user namespaces refused";

/// In the order of a table.
const USERS: [&str; 3] = ["user", "userns", "root"];

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
        // Another machine's kernel need not be in the committed file.
        if !arguments.check || sections.contains_key(&kernel) {
            sections.insert(kernel, section(&rows));
        }
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
        let mut rows = rows.with_context(|| path.display().to_string())?;
        // Each user's test writes its rows when it ends.
        rows.sort_by_key(|row| row["user"].as_str().map(str::to_owned));
        kernels.insert(name, rows);
    }
    Ok(kernels)
}

/// The tables of one kernel: what is open, what is closed by family, what could not be tried.
fn section(rows: &[Value]) -> String {
    let count = |outcome: &str| rows.iter().filter(|row| row["outcome"] == outcome).count();
    let mut text = format!(
        "\n{} rows: {} closed, {} open, {} no way, {} not testable.\n",
        rows.len(),
        count("closed"),
        count("open"),
        count("no-way"),
        count("not-testable"),
    );
    let refused = |row: &&Value| row["control"] == NO_USER_NAMESPACE;
    let few = rows.iter().filter(refused).count();
    if few > 0 {
        let _ = writeln!(
            text,
            "{few} of the closed are not listed: in `guard run` user namespaces are refused, so nothing is tried in one."
        );
    }
    text.push_str("\n### Open\n");
    table(
        &mut text,
        "reason",
        rows.iter().filter(|row| row["outcome"] == "open"),
    );
    let mut families: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["family"].as_str())
        .collect();
    let mut seen = BTreeSet::new();
    families.retain(|family| seen.insert(*family));
    for family in families {
        let closed =
            |row: &&Value| row["outcome"] == "closed" && row["family"] == family && !refused(row);
        if rows.iter().any(|row| closed(&row)) {
            let _ = write!(text, "\n### Closed: {family}\n");
            table(&mut text, "closed by", rows.iter().filter(closed));
        }
    }
    text.push_str("\n### Not testable\n");
    table(
        &mut text,
        "reason",
        rows.iter().filter(|row| row["outcome"] == "not-testable"),
    );
    text
}

/// Modes, each with its users.
type Modes<'a> = Vec<(&'a str, Vec<&'a str>)>;

/// A table of some rows, one line for all users and modes of a technique that share a control.
fn table<'a>(text: &mut String, why: &str, rows: impl Iterator<Item = &'a Value>) {
    let mut lines: Vec<(&Value, Modes<'_>)> = Vec::new();
    for row in rows {
        let place = row["place"].as_str().unwrap_or_default();
        let user = match row["user"].as_str() {
            Some("ordinary") => "user",
            other => other.unwrap_or_default(),
        };
        let same = |(line, _): &(&Value, Modes<'_>)| {
            line["technique"] == row["technique"] && line["control"] == row["control"]
        };
        let at = lines.iter().position(same).unwrap_or(lines.len());
        if at == lines.len() {
            lines.push((row, Vec::new()));
        }
        let places = &mut lines[at].1;
        match places.iter_mut().find(|(other, _)| *other == place) {
            Some((_, users)) => users.push(user),
            None => places.push((place, vec![user])),
        }
    }
    if lines.is_empty() {
        text.push_str("\nNothing.\n");
        return;
    }
    let _ = write!(
        text,
        "\n| technique | mode: user | {why} |\n|---|---|---|\n"
    );
    for (row, places) in &mut lines {
        places.sort_by_key(|(place, _)| *place != "run");
        let each: Vec<String> = places
            .iter_mut()
            .map(|(place, users)| {
                users.sort_by_key(|user| USERS.iter().position(|known| known == user));
                format!("{place}: {}", users.join(", "))
            })
            .collect();
        let title = format!(
            "`{}` {}",
            row["technique"].as_str().unwrap_or_default(),
            row["title"].as_str().unwrap_or_default()
        );
        let control = row["control"].as_str().unwrap_or_default();
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            cell(&title),
            each.join("; "),
            cell(control)
        );
    }
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
    fn what_shares_a_control_shares_a_line() {
        let row = |place: &str, user: &str, outcome: &str, control: &str| {
            json!({"family": "UDP", "technique": "udp", "title": "a|b", "place": place, "user": user,
                "outcome": outcome, "control": control, "said": ""})
        };
        let text = section(&[
            row("run", "root", "closed", "sendmsg4/6"),
            row("attach", "ordinary", "closed", "sendmsg4/6"),
            row("run", "ordinary", "closed", "sendmsg4/6"),
            row("run", "userns", "closed", super::NO_USER_NAMESPACE),
            row("attach", "root", "open", "why"),
        ]);
        for expected in [
            "5 rows: 4 closed, 1 open, 0 no way, 0 not testable.\n1 of the closed",
            "### Open\n\n| technique | mode: user | reason |\n|---|---|---|\n| `udp` a\\|b | attach: root | why |\n",
            "### Closed: UDP\n",
            "| `udp` a\\|b | run: user, root; attach: user | sendmsg4/6 |\n",
            "### Not testable\n\nNothing.\n",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }
}
