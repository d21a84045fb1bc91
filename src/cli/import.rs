//! `roster import`: a CSV file into the users table.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use serde_json::json;
use tokio_postgres::Transaction;

use super::{Exit, bar::Bar, failure::Usage, output, session};
use crate::{
    config::Config,
    db::import::{Import, Verdict, Verdicts},
    import::{Lines, Options},
};

/// Lines that are told at a time.
const PAGE: i64 = 1_000;
/// Bad lines that are told where no file was named for them.
const TOLD: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file, its first line the header; - reads stdin
    file: PathBuf,
    /// Say what each line would do, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave bad lines out; without it one bad line keeps all from being written
    #[arg(long)]
    skip_bad: bool,
    /// Write the bad lines to this CSV file, each with its reason; mended, it can be imported
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    /// The table's column that a column of the file is, such as "E-Mail=email"
    #[arg(long, value_name = "HEADER=COLUMN", value_parser = pair)]
    map: Vec<(String, String)>,
    /// A column of the file to leave out
    #[arg(long, value_name = "HEADER")]
    ignore: Vec<String>,
    /// What separates cells; else it is told from the header
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// Why, for those who read the history
    #[arg(long)]
    reason: Option<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (header, column) = text
        .rsplit_once('=')
        .ok_or("it is HEADER=COLUMN, such as \"E-Mail=email\"")?;
    Ok((header.to_owned(), column.to_owned()))
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err("one ASCII character, or \\t".to_owned()),
    }
}

pub(super) async fn import(config: &Config, args: Args, json: bool) -> anyhow::Result<Exit> {
    let (input, bytes) = open(&args.file)?;
    let options = Options {
        delimiter: args.delimiter,
        ignore: args.ignore.clone(),
    };
    // Before the database is asked for anything.
    let mut lines = Lines::new(input, &options)?;
    let header: Vec<String> = lines.header().into_iter().map(str::to_owned).collect();
    let columns: BTreeMap<String, String> = args.map.iter().cloned().collect();

    let mut client = session(config).await?;
    let bar = Bar::new();
    let transaction = client.transaction().await?;
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let reason = args.reason.clone();
    let reason = reason.unwrap_or_else(|| format!("import of {name}"));
    let import = Import::read(&transaction, &name, &reason, &mut lines, &columns, |read| {
        bar.show("bytes read", read, bytes);
    })
    .await?;
    import
        .write(&transaction, |done, of| {
            bar.show("batches written", done as u64, Some(of as u64));
        })
        .await?;
    drop(bar);
    let verdicts = import.verdicts(&transaction).await?;
    if let (Some(file), true) = (&args.errors, verdicts.bad > 0) {
        write_errors(&transaction, &import, &header, file).await?;
    }
    let is_written = !args.dry_run && (verdicts.bad == 0 || args.skip_bad);
    if is_written {
        let bad = import.lines(&transaction, true, 0, TOLD as i64).await?;
        import.finish(&transaction, args.skip_bad).await?;
        transaction.commit().await?;
        tell(&verdicts, &bad, &args, json)?;
    } else if args.dry_run {
        import.as_if_committed(&transaction).await?;
        let all = told(&transaction, &import, json).await?;
        transaction.rollback().await?;
        tell(&verdicts, &all, &args, json)?;
    } else {
        let bad = import.lines(&transaction, true, 0, TOLD as i64).await?;
        transaction.rollback().await?;
        tell(&verdicts, &bad, &args, json)?;
    }
    Ok(match (is_written, verdicts) {
        (true, Verdicts { bad: 0, .. }) => Exit::Done,
        (false, Verdicts { bad, .. }) if bad > 0 && !args.skip_bad => Exit::Failed,
        (
            false,
            Verdicts {
                new: 0,
                changed: 0,
                bad: 0,
                ..
            },
        ) => Exit::Done,
        _ => Exit::Differences,
    })
}

/// The file and its size, or stdin.
fn open(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), Usage> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let unusable = |error| Usage(format!("{} cannot be read", path.display()), error);
    let file = File::open(path).map_err(unusable)?;
    let about = file.metadata().map_err(unusable)?;
    if about.is_dir() {
        return Err(unusable(io::ErrorKind::IsADirectory.into()));
    }
    Ok((Box::new(file), about.is_file().then_some(about.len())))
}

/// A line a line, as they come; for JSON all of them.
async fn told(
    transaction: &Transaction<'_>,
    import: &Import,
    json: bool,
) -> anyhow::Result<Vec<Verdict>> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = import.lines(transaction, false, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(all);
        };
        after = last.line;
        if json {
            all.extend(page);
            continue;
        }
        for line in page {
            let why = line.why.map(|why| format!(": {why}")).unwrap_or_default();
            output::say!("line {}: {}{why}", line.line, line.verdict);
        }
    }
}

fn tell(verdicts: &Verdicts, lines: &[Verdict], args: &Args, json: bool) -> anyhow::Result<()> {
    if json {
        let lines: Vec<_> = lines
            .iter()
            .map(|line| json!({"line": line.line, "verdict": line.verdict, "why": line.why}))
            .collect();
        return output::json(&json!({
            "new": verdicts.new, "changed": verdicts.changed, "same": verdicts.same, "bad": verdicts.bad, "lines": lines,
        }));
    }
    for line in lines {
        let why = line.why.as_deref().unwrap_or_default();
        eprintln!("line {}: bad: {why}", line.line);
    }
    let more = verdicts.bad - lines.len() as i64;
    if more > 0 && !args.dry_run {
        eprintln!(
            "… and {} more; --errors FILE has them all",
            output::count(more, "line")
        );
    }
    output::say!(
        "{} new, {} changed, {} same, {} bad",
        verdicts.new,
        verdicts.changed,
        verdicts.same,
        verdicts.bad
    );
    if args.dry_run {
        output::say!("Nothing was written.");
    } else if verdicts.bad > 0 && !args.skip_bad {
        eprintln!(
            "error: {} bad, so nothing was written",
            output::count(verdicts.bad, "line")
        );
        eprintln!(
            "  next: mend them, or leave them out with --skip-bad; --errors FILE writes them to a file"
        );
    } else if verdicts.new > 0 {
        output::say!(
            "Their accounts follow at Auth0's pace: see roster status. Invitations of more than 200 new rows are staged: see roster.invitations."
        );
    }
    Ok(())
}

/// The bad lines as a file that can be mended and imported. It is there whole or not at all.
async fn write_errors(
    transaction: &Transaction<'_>,
    import: &Import,
    header: &[String],
    path: &Path,
) -> anyhow::Result<()> {
    let unusable = |error| Usage(format!("{} cannot be written", path.display()), error);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let file =
        tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(unusable)?;
    let mut writer = csv::Writer::from_writer(io::BufWriter::new(file));
    let names = ["roster_line", "roster_why"].into_iter();
    writer.write_record(names.chain(header.iter().map(String::as_str)))?;
    let mut after = 0;
    loop {
        let page = import.lines(transaction, true, after, PAGE).await?;
        let Some(last) = page.last() else {
            break;
        };
        after = last.line;
        for line in page {
            let cells = header.iter().map(|name| {
                let cell = line.cells.get(name);
                cell.map(output::plain).unwrap_or_default()
            });
            let about = [line.line.to_string(), line.why.unwrap_or_default()];
            writer.write_record(about.into_iter().chain(cells))?;
        }
    }
    let mut buffer = writer
        .into_inner()
        .map_err(|error| unusable(io::Error::other(error.to_string())))?;
    buffer.flush().map_err(unusable)?;
    let file = buffer
        .into_inner()
        .map_err(|error| unusable(error.into_error()))?;
    file.persist(path).map_err(|error| unusable(error.error))?;
    Ok(())
}
