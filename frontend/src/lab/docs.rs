//! The pages of the documentation, one for each scenario that ships: what it shows, the picture, the tables, its file.

use super::table::tables;
use super::{File, LabError, Shipped, build, compare, machines, picture};
use pmu_model::host::scenario::run_with;
use std::path::Path;

/// A page of the documentation and its picture, as files of one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// `NAME.md`.
    pub text: String,
    /// `NAME.svg`.
    pub picture: String,
}

/// The page of a scenario that ships.
///
/// # Errors
/// The scenario makes no sense.
pub fn document(shipped: &Shipped) -> Result<Page, Box<LabError>> {
    let (name, text) = (shipped.name, shipped.text);
    let file = File::read(name, text)?;
    let scenario = build(&file, name, text)?;
    let machines = || machines(&file, name, text, Path::new(""));
    let report = run_with(&scenario, machines()?);
    let tables = tables(&scenario, &report);
    let compared = match shipped.along {
        Some(along) => format!(
            "\n## Compared\n\n`unhalted lab {name} --compare {}`\n\n```text\n{}\n```\n",
            along.word(),
            compare(&scenario, along, &machines)?
        ),
        None => String::new(),
    };
    let text = format!(
        "# {title}\n\n{about}\n\n![Who owned which counter when, in milliseconds]({name}.svg)\n\n\
         `unhalted lab {name}`\n\n```text\n{tables}\n```\n{compared}\n## The scenario\n\n```toml\n{toml}\n```\n\n\
         [All scenarios](README.md)\n",
        title = file.title,
        about = file.about.trim(),
        tables = tables.trim(),
        toml = text.trim(),
    );
    Ok(Page { text, picture: picture(&scenario, &report) })
}
