//! ACPI: the power management registers ([`pm`]), and the tables that describe the board ([`tables`]).

pub mod pm;
