//! The scenarios that ship, one for each argument.

/// A scenario inside the program.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal,)*) => {
        /// All of them, in the order of the discussions.
        pub const SHIPPED: &[Shipped] =
            &[$(Shipped { name: $name, text: include_str!(concat!("scenarios/", $name, ".toml")) },)*];
    };
}

shipped! {
    "modes",
    "s0-baseline",
    "s0-never",
    "s0-rarely",
    "s0-boundary",
    "s0-stale",
    "s0-bitmap",
    "s1-perf-based",
    "s1-mediated",
    "s2-pinned",
    "s2-multiplexing",
    "s2-exclude",
    "s2-refused",
    "s3-silent",
    "s3-selected",
    "s4-steal",
    "s4-halt",
    "s4-scaled",
    "filter",
    "sampling",
}

/// The scenario of that name.
pub fn shipped(name: &str) -> Option<Shipped> {
    SHIPPED.iter().copied().find(|shipped| shipped.name == name)
}
