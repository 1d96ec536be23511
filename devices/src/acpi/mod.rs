//! ACPI: the power management registers ([`pm`]), and the tables that describe the board ([`tables`]).

mod dsdt;
pub mod pm;
pub mod tables;
