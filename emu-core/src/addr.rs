//! Addresses are types: a guest-physical address is never mistaken for a linear one.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($of:ty), $width:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $of);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:#0", $width, "x}"), self.0)
            }
        }
    };
}

number!(
    /// A guest-physical address, in bytes.
    Gpa(u64), 14
);
number!(
    /// A linear address: after segmentation, before paging.
    Laddr(u64), 18
);
number!(
    /// An I/O port, 0 to FFFFh.
    Port(u16), 6
);
number!(
    /// A global interrupt line as the board numbers it: 0 to 15 are the ISA interrupts, higher ones IOAPIC pins.
    Line(u8), 4
);
