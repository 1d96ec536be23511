//! The program `unhalted`: everything that touches the host.
//!
//! `pc` is the board, `load` brings kernels and ROMs into it, `cli` is what the user types.

pub mod image;
pub mod load;
