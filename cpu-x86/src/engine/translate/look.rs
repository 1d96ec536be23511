//! What an instruction looks like to the translator: its operands, what it does to the flags, how it transfers.

use super::super::body::alu_op;
use super::Mode;
use crate::alu::Width;
use crate::operand::is_high_byte;
use iced_x86::{ConditionCode, EncodingKind, FlowControl, Instruction, Mnemonic, OpKind, Register};

/// The flag writer before a condition is not known.
pub(super) const ANY: usize = 8;

/// Does `i`, a conditional branch, lead to the next instruction, taken or not? A monitor must be told which: its meaning
/// does that, a fast form does not.
pub(super) fn leads_to_next(i: &Instruction) -> bool {
    is_conditional(i) && i.near_branch_target() == i.next_ip()
}

/// Does `i` end its block by its nature?
pub(super) fn transfers(i: &Instruction) -> bool {
    i.flow_control() != FlowControl::Next
}

/// May `i` fault, so that flags before it must be exact? All may but those that only compute in general registers.
pub(super) fn may_fault(i: &Instruction) -> bool {
    use Mnemonic::*;
    if matches!(i.mnemonic(), Lea | Nop | Endbr64 | Endbr32) {
        return false;
    }
    let reaches = (0..i.op_count()).any(|k| i.op_kind(k) == OpKind::Memory) || i.is_stack_instruction();
    let plain = matches!(
        i.mnemonic(),
        Cdqe | Cdq
            | Cqo
            | Cwde
            | Cbw
            | Cwd
            | Clc
            | Stc
            | Cmc
            | Lahf
            | Sahf
            | Rcl
            | Rcr
            | Shld
            | Shrd
            | Bsf
            | Bsr
            | Tzcnt
            | Lzcnt
            | Popcnt
            | Bt
            | Bts
            | Btr
            | Btc
            | Adcx
            | Adox
    );
    let segment = |k| i.op_kind(k) == OpKind::Register && !i.op_register(k).is_gpr();
    reaches || matches!(i.mnemonic(), Div | Idiv) || !plain && !is_simple(i) || (0..i.op_count()).any(segment)
}

/// A shift or rotate by CL leaves all flags when the count is 0.
pub(super) fn may_keep_flags(i: &Instruction) -> bool {
    use Mnemonic::*;
    let shift = matches!(i.mnemonic(), Shl | Sal | Shr | Sar | Rol | Ror | Rcl | Rcr | Shld | Shrd);
    shift && i.op_register(i.op_count() - 1) == Register::CL || i.is_string_instruction()
}

/// Number of a general register as the ops have it.
pub(super) fn number(r: Register) -> u8 {
    r.full_register().number() as u8
}

/// A near relative branch of the mode's own width?
pub(super) fn is_direct(i: &Instruction, mode: Mode) -> bool {
    match i.op0_kind() {
        OpKind::NearBranch64 => mode.long(),
        OpKind::NearBranch32 => mode.bits() == 32,
        _ => false,
    }
}

pub(super) fn condition_number(c: ConditionCode) -> Option<usize> {
    use ConditionCode::*;
    Some(match c {
        o => 0,
        no => 1,
        b => 2,
        ae => 3,
        e => 4,
        ne => 5,
        be => 6,
        a => 7,
        s => 8,
        ns => 9,
        p => 10,
        np => 11,
        l => 12,
        ge => 13,
        le => 14,
        g => 15,
        None => return Option::None,
    })
}

/// Might `i` have a fast form? General registers and memory of 1, 2, 4 or 8 bytes, and a mnemonic that `fast` knows.
pub(super) fn is_simple(i: &Instruction) -> bool {
    use Mnemonic::*;
    let known =
        matches!(
            i.mnemonic(),
            Add | Or
                | Adc
                | Sbb
                | And
                | Sub
                | Xor
                | Cmp
                | Test
                | Mov
                | Movzx
                | Movsx
                | Movsxd
                | Lea
                | Shl
                | Sal
                | Shr
                | Sar
                | Rol
                | Ror
                | Inc
                | Dec
                | Neg
                | Not
                | Imul
                | Mul
                | Cdqe
                | Cwde
                | Cdq
                | Cqo
                | Bswap
                | Push
                | Pop
                | Leave
                | Nop
                | Endbr64
                | Endbr32
                | Pause
                | Prefetcht0
                | Prefetcht1
                | Prefetcht2
                | Prefetchnta
                | Prefetchw
                | Xchg
                | Cmpxchg
                | Xadd
                | Bt
                | Shlx
                | Shrx
                | Sarx
                | Rorx
                | Andn
                | Mulx
                | Shld
                | Shrd
        ) || i.condition_code() != ConditionCode::None && !is_conditional(i) && i.encoding() == EncodingKind::Legacy;
    known
        && (0..i.op_count()).all(|k| match i.op_kind(k) {
            OpKind::Register => i.op_register(k).is_gpr(),
            _ => true,
        })
}

/// What conditions after `i` may assume: see `Body` parameter `P`.
pub(super) fn flag_writer(i: &Instruction) -> usize {
    use Mnemonic::*;
    let bytes = match i.op0_kind() {
        OpKind::Register => i.op0_register().size(),
        _ => i.memory_size().size(),
    };
    let Some(w) = Width::of_bytes(bytes) else { return ANY };
    match i.mnemonic() {
        Cmp | Sub | Neg | Cmpxchg => w as usize,
        Test | And | Or | Xor => 4 + w as usize,
        _ => ANY,
    }
}

pub(super) fn alu_number(m: Mnemonic) -> Option<usize> {
    use Mnemonic::*;
    Some(match m {
        Add => alu_op::ADD,
        Or => alu_op::OR,
        Adc => alu_op::ADC,
        Sbb => alu_op::SBB,
        And => alu_op::AND,
        Sub => alu_op::SUB,
        Xor => alu_op::XOR,
        Cmp => alu_op::CMP,
        Test => alu_op::TEST,
        _ => return None,
    })
}

/// The immediate operand `n`, sign-extended from the operation's width.
pub(super) fn immediate(i: &Instruction, n: u32, w: Width) -> i64 {
    w.sx(i.immediate(n)) as i64
}

pub(super) fn is_register(i: &Instruction, n: u32) -> bool {
    i.op_count() > n && i.op_kind(n) == OpKind::Register
}

pub(super) fn is_memory(i: &Instruction, n: u32) -> bool {
    i.op_count() > n && i.op_kind(n) == OpKind::Memory
}

pub(super) fn has_high_byte(i: &Instruction) -> bool {
    (0..i.op_count()).any(|k| i.op_kind(k) == OpKind::Register && is_high_byte(i.op_register(k)))
}

pub(super) fn width_of(i: &Instruction, n: u32) -> Option<Width> {
    Width::of_bytes(match i.op_kind(n) {
        OpKind::Register => i.op_register(n).size(),
        _ => i.memory_size().size(),
    })
}

/// Is `i` a branch, as the PMU counts branches?
pub(crate) fn is_branch(i: &Instruction) -> bool {
    !matches!(i.flow_control(), FlowControl::Next | FlowControl::Exception | FlowControl::XbeginXabortXend)
}

/// Is `i` a conditional branch?
pub(crate) fn is_conditional(i: &Instruction) -> bool {
    i.flow_control() == FlowControl::ConditionalBranch
}
