//! The laboratory: who counts what, on a host with guests, from a file to a table or a picture.
//!
//! A scenario is written in TOML (`file` reads it, `build` makes a `pmu_model::host::scenario::Scenario` of it and says
//! by line what is wrong). Its run is plain data, shown as tables (`table`), beside other policies or modes (`compare`),
//! as JSON (`json`), as a trace that Perfetto opens (`trace`), drawn (`picture`), as one page (`page`) or as one of the
//! documentation (`docs`). The
//! same for a real run is `real`. The scenarios that ship (`shipped`) are each an argument of the discussions S0 to S4.

mod build;
mod check;
mod compare;
mod docs;
mod error;
mod execution;
mod file;
mod json;
mod page;
mod picture;
pub mod real;
mod shipped;
mod table;
mod trace;
mod words;

pub use build::build;
pub use compare::{Along, compare};
pub use docs::{Page, document};
pub use error::LabError;
pub use execution::machines;
pub use file::File;
pub use json::json;
pub use page::page;
pub use picture::picture;
pub use shipped::{SHIPPED, Shipped, shipped};
pub use table::table;
pub use trace::trace;
pub use words::{CYCLES_PER_SECOND, counters, time};

use pmu_model::host::owners::Owner;
use pmu_model::host::scenario::Scenario;

/// What tables and pictures call an owner.
fn owner_name(scenario: &Scenario, owner: Owner) -> String {
    match owner {
        Owner::Event(n) => scenario.events.get(n).map_or_else(|| format!("event {n}"), |event| event.name.clone()),
        Owner::Guest(g, counter) => {
            let name = scenario.guests.get(g).map_or("guest", |guest| guest.name.as_str());
            format!("{name} {}", pmu_model::host::constraint::Counter(counter))
        }
    }
}
