//! A report as one page that needs nothing else: the timeline drawn, the tables below.

use super::file::File;
use super::picture::{escaped, picture};
use super::table;
use pmu_model::host::scenario::{Report, Scenario};

/// The page.
pub fn page(file: &File, scenario: &Scenario, report: &Report) -> String {
    let text = escaped(&table::table(file, scenario, report));
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n<style>\n\
         body {{ font: 14px sans-serif; margin: 2em; max-width: 1150px }}\n\
         pre {{ font: 12px monospace; overflow-x: auto }}\n\
         </style>\n<h1>{title}</h1>\n<p>Who owned which counter; time in milliseconds.</p>\n\
         {svg}<pre>{text}</pre>\n</html>\n",
        title = escaped(&file.title),
        svg = picture(scenario, report),
    )
}
