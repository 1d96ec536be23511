//! `unhalted lab`: runs a scenario of host and guests and shows who counted what.

use super::Failure;
use crate::lab::{self, Along, File, SHIPPED};
use clap::ValueEnum;
use pmu_model::host::scenario;
use std::path::{Path, PathBuf};

/// Run a scenario of a host with guests: who owned which counter when, and what everybody counted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A scenario's file, or the name of one that ships; without one, those that ship are listed
    scenario: Option<PathBuf>,
    /// Run it under several policies, modes or designs, in one table
    #[arg(long, value_name = "ALONG")]
    compare: Option<Along>,
    /// What to print
    #[arg(long, value_name = "FORM", default_value = "text")]
    format: Format,
    /// Write to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the scenario's file instead of running it: to begin one's own with
    #[arg(long)]
    show: bool,
    /// Write the pages of the documentation, one for each scenario that ships, to this folder
    #[arg(long, value_name = "FOLDER")]
    docs: Option<PathBuf>,
    /// List the scenarios that ship
    #[arg(long)]
    list: bool,
}

/// A form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables
    Text,
    /// JSON, with each span of ownership
    Json,
    /// A trace for ui.perfetto.dev: a track for each counter
    Perfetto,
    /// One page with the timeline drawn
    Html,
    /// The timeline alone
    Svg,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read or written, a scenario that makes no sense.
pub fn run(args: &Args) -> Result<u8, Failure> {
    if let Some(folder) = &args.docs {
        return docs(folder);
    }
    let text = match &args.scenario {
        Some(path) if !args.list => shown(args, path)?,
        _ => list(),
    };
    match &args.output {
        Some(path) => std::fs::write(path, text).map_err(|source| Failure::Write {
            what: "result",
            path: path.clone(),
            source,
        })?,
        None => print!("{text}"),
    }
    Ok(0)
}

fn docs(folder: &Path) -> Result<u8, Failure> {
    for shipped in SHIPPED {
        let page = lab::document(shipped)?;
        for (ending, text) in [("md", page.text), ("svg", page.picture)] {
            let path = folder.join(shipped.name).with_extension(ending);
            let written = std::fs::write(&path, text);
            written.map_err(|source| Failure::Write { what: "a page", path, source })?;
        }
    }
    Ok(0)
}

fn list() -> String {
    let title = |text: &str| text.lines().next().unwrap_or_default().replace("title = ", "").replace('"', "");
    let line = |shipped: &lab::Shipped| format!("{:<16} {}\n", shipped.name, title(shipped.text));
    SHIPPED.iter().map(line).collect()
}

fn shown(args: &Args, path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    let text = match lab::shipped(&name) {
        Some(shipped) => shipped.text.to_owned(),
        None => std::fs::read_to_string(path).map_err(|source| Failure::Read {
            what: "scenario",
            path: path.to_owned(),
            source,
        })?,
    };
    if args.show {
        return Ok(text);
    }
    let file = File::read(&name, &text)?;
    let built = lab::build(&file, &name, &text)?;
    if let Some(along) = args.compare {
        let machines = || lab::machines(&file, &name, &text, path.parent().unwrap_or(Path::new("")));
        return Ok(format!("{}\n\n{}\n", file.title, lab::compare(&built, along, &machines)?));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let report = scenario::run_with(&built, lab::machines(&file, &name, &text, folder)?);
    Ok(match args.format {
        Format::Text => lab::table(&file, &built, &report),
        Format::Json => lab::json(&file, &built, &report),
        Format::Perfetto => lab::trace(&built, &report),
        Format::Html => lab::page(&file, &built, &report),
        Format::Svg => lab::picture(&built, &report),
    })
}
