//! The program `unhalted`: everything that touches the host.
//!
//! `pc` is the board and the loop that runs it, `load` brings kernels and ROMs into it, `console` is the terminal,
//! `image` makes guests out of packages, `lab` shows the split between host and guests, `report` turns figures into text, `cli` is what the user types.

pub mod cli;
pub mod console;
pub mod image;
pub mod lab;
pub mod load;
pub mod pc;
pub mod report;
