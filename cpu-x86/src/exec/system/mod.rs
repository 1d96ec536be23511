//! System instructions: segments, far transfers, interrupts, flags, control and debug registers.

mod far;
mod flags;
mod gate;
mod int;
mod iret;
mod register;
mod segment;
mod syscall;
mod table;

use super::Meaning;
use iced_x86::{Code, Instruction, Mnemonic};

/// The meaning of `i`, if it belongs to this group. MOV, PUSH, POP, JMP and CALL belong to it only in the forms with
/// segment, control or debug registers or far pointers.
pub fn lookup(i: &Instruction) -> Option<Meaning> {
    use Mnemonic as M;
    match i.mnemonic() {
        M::Mov => mov(i.code()),
        M::Push => push(i.code()),
        M::Pop => pop(i.code()),
        M::Jmp if i.is_jmp_far() || i.is_jmp_far_indirect() => Meaning::ends(far::jmp),
        M::Call if i.is_call_far() || i.is_call_far_indirect() => Meaning::ends(far::call),
        M::Retf => Meaning::ends(far::ret),
        M::Iret | M::Iretd | M::Iretq => Meaning::ends(iret::iret),
        M::Int => Meaning::ends(int::int),
        M::Int3 => Meaning::ends(int::int3),
        M::Int1 => Meaning::ends(int::int1),
        M::Into => Meaning::ends(int::into),
        M::Lds | M::Les | M::Lfs | M::Lgs | M::Lss => Meaning::ends(segment::load_far_pointer),
        M::Pushf | M::Pushfd | M::Pushfq => Meaning::plain(flags::pushf),
        M::Popf | M::Popfd | M::Popfq => Meaning::ends(flags::popf),
        M::Cli => Meaning::ends(flags::cli),
        M::Sti => Meaning::ends(flags::sti),
        M::Syscall => Meaning::ends(syscall::syscall),
        M::Sysret | M::Sysretq => Meaning::ends(syscall::sysret),
        M::Sysenter => Meaning::ends(syscall::sysenter),
        M::Sysexit | M::Sysexitq => Meaning::ends(syscall::sysexit),
        M::Swapgs => Meaning::plain(syscall::swapgs),
        M::Rdfsbase | M::Rdgsbase => Meaning::plain(syscall::rdbase),
        M::Wrfsbase | M::Wrgsbase => Meaning::ends(syscall::wrbase),
        _ => tables(i.mnemonic()),
    }
}

fn tables(m: Mnemonic) -> Option<Meaning> {
    use Mnemonic as M;
    match m {
        M::Lgdt | M::Lidt => Meaning::ends(table::load),
        M::Sgdt | M::Sidt => Meaning::plain(table::store),
        M::Lldt => Meaning::ends(table::lldt),
        M::Ltr => Meaning::ends(table::ltr),
        M::Sldt | M::Str => Meaning::plain(table::store_selector),
        M::Lmsw => Meaning::ends(register::lmsw),
        M::Smsw => Meaning::plain(register::smsw),
        M::Clts => Meaning::ends(register::clts),
        M::Lar => Meaning::plain(table::lar),
        M::Lsl => Meaning::plain(table::lsl),
        M::Verr => Meaning::plain(table::verr),
        M::Verw => Meaning::plain(table::verw),
        M::Arpl => Meaning::plain(table::arpl),
        _ => None,
    }
}

fn mov(code: Code) -> Option<Meaning> {
    match code {
        Code::Mov_rm16_Sreg | Code::Mov_r32m16_Sreg | Code::Mov_r64m16_Sreg => Meaning::plain(segment::mov_from),
        Code::Mov_Sreg_rm16 | Code::Mov_Sreg_r32m16 | Code::Mov_Sreg_r64m16 => Meaning::ends(segment::mov_to),
        Code::Mov_r32_cr | Code::Mov_r64_cr => Meaning::ends(register::mov_from_cr),
        Code::Mov_cr_r32 | Code::Mov_cr_r64 => Meaning::ends(register::mov_to_cr),
        Code::Mov_r32_dr | Code::Mov_r64_dr => Meaning::ends(register::mov_from_dr),
        Code::Mov_dr_r32 | Code::Mov_dr_r64 => Meaning::ends(register::mov_to_dr),
        _ => None,
    }
}

fn push(code: Code) -> Option<Meaning> {
    use Code as C;
    match code {
        C::Pushw_ES | C::Pushw_CS | C::Pushw_SS | C::Pushw_DS | C::Pushw_FS | C::Pushw_GS => {
            Meaning::plain(segment::push16)
        }
        C::Pushd_ES | C::Pushd_CS | C::Pushd_SS | C::Pushd_DS | C::Pushd_FS | C::Pushd_GS => {
            Meaning::plain(segment::push32)
        }
        C::Pushq_FS | C::Pushq_GS => Meaning::plain(segment::push64),
        _ => None,
    }
}

fn pop(code: Code) -> Option<Meaning> {
    use Code as C;
    match code {
        C::Popw_ES | C::Popw_SS | C::Popw_DS | C::Popw_FS | C::Popw_GS => Meaning::ends(segment::pop16),
        C::Popd_ES | C::Popd_SS | C::Popd_DS | C::Popd_FS | C::Popd_GS => Meaning::ends(segment::pop32),
        C::Popq_FS | C::Popq_GS => Meaning::ends(segment::pop64),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
