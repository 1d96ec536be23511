//! What a machine is: addresses, guest memory, devices and their doors, virtual time, and numbers that follow from a seed.
//!
//! Knows no x86, no counter, and no file beyond mapping one. Read `addr`, then `ram`, then `device`.

mod addr;
mod device;
mod map;
mod ram;
mod random;
mod time;

pub use addr::{Gpa, Laddr, Line, Port};
pub use device::{Cx, Device, Effect, Place, Region, Request, Space};
pub use map::{AddressMap, Overlap};
pub use ram::{Ram, RamError, Slot};
pub use random::Random;
pub use time::Time;
