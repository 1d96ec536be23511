//! Why an instruction did not complete.
//!
//! Three kinds, never mixed: an [`Exception`] is the guest's business, `Unimplemented` is ours, and `Again` is a
//! repeated instruction that made progress and has not retired.

/// Vectors of the architectural exceptions. Source: SDM vol. 3A, table 6-1.
pub mod vector {
    #![allow(missing_docs, reason = "the mnemonics are the SDM's")]
    pub const DE: u8 = 0;
    pub const DB: u8 = 1;
    pub const NMI: u8 = 2;
    pub const BP: u8 = 3;
    pub const OF: u8 = 4;
    pub const BR: u8 = 5;
    pub const UD: u8 = 6;
    pub const NM: u8 = 7;
    pub const DF: u8 = 8;
    pub const TS: u8 = 10;
    pub const NP: u8 = 11;
    pub const SS: u8 = 12;
    pub const GP: u8 = 13;
    pub const PF: u8 = 14;
    pub const MF: u8 = 16;
    pub const AC: u8 = 17;
    pub const MC: u8 = 18;
    pub const XM: u8 = 19;
    pub const CP: u8 = 21;
}

/// A fault or trap to be delivered to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Vector, 0 to 31 (see [`vector`]).
    pub vector: u8,
    /// Error code, for the vectors that push one.
    pub error: Option<u32>,
    /// For #PF: the linear address, loaded into CR2 on delivery.
    pub cr2: Option<u64>,
}

/// Why an instruction did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Deliver this to the guest; no architectural state was changed by the instruction (unless it is a trap, or the
    /// SDM says so for a repeated string instruction).
    Exception(Exception),
    /// An instruction or form that this program lacks: ends the run with its name, address and bytes.
    Unimplemented,
    /// A repeated instruction did part of its work, its registers are up to date, and it is to be resumed at the same
    /// address; it has not retired.
    Again,
}

/// What executing returns.
pub type Done = Result<(), Stop>;

impl Exception {
    /// An exception without error code.
    pub const fn plain(vector: u8) -> Exception {
        Exception { vector, error: None, cr2: None }
    }
    /// An exception with error code.
    pub const fn with(vector: u8, error: u32) -> Exception {
        Exception { vector, error: Some(error), cr2: None }
    }
    /// #PF at linear address `at` with error code `error` (P, W, U, RSVD, I, PK bits).
    pub const fn page(at: u64, error: u32) -> Exception {
        Exception { vector: vector::PF, error: Some(error), cr2: Some(at) }
    }
}

impl Stop {
    /// #UD.
    pub const UD: Stop = Stop::Exception(Exception::plain(vector::UD));
    /// #NM.
    pub const NM: Stop = Stop::Exception(Exception::plain(vector::NM));
    /// #DE.
    pub const DE: Stop = Stop::Exception(Exception::plain(vector::DE));
    /// #MF.
    pub const MF: Stop = Stop::Exception(Exception::plain(vector::MF));
    /// #XM.
    pub const XM: Stop = Stop::Exception(Exception::plain(vector::XM));
    /// #AC(0).
    pub const AC: Stop = Stop::Exception(Exception::with(vector::AC, 0));

    /// #GP(`error`).
    pub const fn gp(error: u32) -> Stop {
        Stop::Exception(Exception::with(vector::GP, error))
    }
    /// #SS(`error`).
    pub const fn ss(error: u32) -> Stop {
        Stop::Exception(Exception::with(vector::SS, error))
    }
    /// #NP(`error`).
    pub const fn np(error: u32) -> Stop {
        Stop::Exception(Exception::with(vector::NP, error))
    }
    /// #TS(`error`).
    pub const fn ts(error: u32) -> Stop {
        Stop::Exception(Exception::with(vector::TS, error))
    }
}
