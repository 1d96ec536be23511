//! Structures.
