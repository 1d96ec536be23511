//! The scenarios that ship, one for each argument.

use super::Along;

/// A scenario inside the program.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
    /// What it is compared along, where that is its point.
    pub along: Option<Along>,
}

macro_rules! along {
    () => {
        None
    };
    ($along:ident) => {
        Some(Along::$along)
    };
}

macro_rules! shipped {
    ($($name:literal $($along:ident)?,)*) => {
        /// All of them, in the order of the discussions.
        pub const SHIPPED: &[Shipped] =
            &[$(Shipped {
                name: $name,
                text: include_str!(concat!("scenarios/", $name, ".toml")),
                along: along!($($along)?),
            },)*];
    };
}

shipped! {
    "mode-none",
    "mode-perf-based",
    "mode-mediated",
    "mode-pass-through",
    "modes" Modes,
    "executed",
    "executed-pinned",
    "s0-baseline" Policies,
    "s0-never" Policies,
    "s0-rarely" Policies,
    "s0-boundary" Policies,
    "s0-stale" Policies,
    "s0-bitmap" Policies,
    "s1-perf-based",
    "s1-mediated",
    "s2-pinned",
    "s2-multiplexing",
    "s2-exclude",
    "s2-refused",
    "s3-silent",
    "s3-selected",
    "s4-steal" Aperf,
    "s4-halt",
    "s4-scaled" Aperf,
    "filter",
    "sampling",
}

/// The scenario of that name.
pub fn shipped(name: &str) -> Option<Shipped> {
    SHIPPED.iter().copied().find(|shipped| shipped.name == name)
}
