//! What every lesson's 64-bit program needs: tables, MSR access, printing, reporting, the end.
//!
//! R15 is 0 until a result differs from what is expected; it is what the machine exits with. The subroutines keep RBX,
//! RBP, RSI (but for the reporting ones) and R12 to R15.

use super::BASE;
use super::boot::{
    GDT_BYTES, GDT_IN_RAM, GDT_IN_ROM, IDT, KERNEL_CODE, KERNEL_STACK, TASK, TSS, USER_CODE, USER_DATA, USER_STACK,
};
use iced_x86::code_asm::*;

const COM1: u32 = 0x3f8;
const EXIT_PORT: u32 = 0xf4;

/// A lesson being assembled.
pub struct Program {
    pub a: CodeAssembler,
    puts: CodeLabel,
    report: CodeLabel,
    texts: Vec<(CodeLabel, String)>,
}

/// Assembles the lesson that `write` writes; it begins at [`BASE`].
pub fn assemble(write: fn(&mut Program)) -> Vec<u8> {
    assemble_at(BASE, GDT_IN_ROM, write)
}

/// Assembles what `write` writes, to begin at `base` in an image with the descriptor table at `gdt`.
pub fn assemble_at(base: u64, gdt: u32, write: fn(&mut Program)) -> Vec<u8> {
    let mut a = CodeAssembler::new(64).expect("64 is a bitness");
    let (puts, report) = (a.create_label(), a.create_label());
    let mut p = Program { a, puts, report, texts: Vec::new() };
    p.begin(gdt).expect("it assembles");
    write(&mut p);
    p.subroutines().expect("it assembles");
    p.a.assemble(base).expect("it assembles")
}

impl Program {
    /// Descriptor table and task register in RAM, interrupt table, COM1 at 115200 8N1.
    fn begin(&mut self, gdt: u32) -> Result<(), IcedError> {
        let a = &mut self.a;
        a.mov(esp, KERNEL_STACK)?;
        a.xor(r15d, r15d)?;
        a.mov(edi, GDT_IN_RAM)?;
        a.mov(esi, gdt)?;
        a.mov(ecx, GDT_BYTES)?;
        a.rep().movsb()?;
        a.sub(rsp, 16)?;
        a.mov(word_ptr(rsp), GDT_BYTES - 1)?;
        a.mov(eax, GDT_IN_RAM)?;
        a.mov(qword_ptr(rsp + 2), rax)?;
        a.lgdt(ptr(rsp))?;
        a.mov(word_ptr(rsp), 0xfff)?;
        a.mov(eax, IDT)?;
        a.mov(qword_ptr(rsp + 2), rax)?;
        a.lidt(ptr(rsp))?;
        a.add(rsp, 16)?;
        a.mov(dword_ptr(TSS + 4), KERNEL_STACK)?;
        a.mov(word_ptr(TSS + 0x66), 0x68)?;
        a.mov(eax, u32::from(TASK))?;
        a.ltr(ax)?;
        for (register, v) in [(3, 0x80), (0, 1), (1, 0), (3, 3)] {
            self.out(COM1 + register, v)?;
        }
        Ok(())
    }

    /// OUT of a byte.
    pub fn out(&mut self, port: u32, v: u32) -> Result<(), IcedError> {
        self.a.mov(edx, port)?;
        self.a.mov(eax, v)?;
        self.a.out(dx, al)
    }

    /// WRMSR of a constant.
    pub fn wrmsr(&mut self, msr: u32, v: u64) -> Result<(), IcedError> {
        self.load_msr(msr, v)?;
        self.a.wrmsr()
    }

    /// Loads ECX and EDX:EAX for a WRMSR of a constant: three instructions.
    pub fn load_msr(&mut self, msr: u32, v: u64) -> Result<(), IcedError> {
        self.a.mov(ecx, msr)?;
        self.a.mov(eax, v as u32)?;
        self.a.mov(edx, (v >> 32) as u32)
    }

    /// WRMSR of the address of `to`.
    pub fn wrmsr_address(&mut self, msr: u32, to: CodeLabel) -> Result<(), IcedError> {
        self.a.lea(rax, ptr(to))?;
        self.a.mov(rdx, rax)?;
        self.a.shr(rdx, 32)?;
        self.a.mov(ecx, msr)?;
        self.a.wrmsr()
    }

    /// Interrupt gate `vector` leads to `to`.
    pub fn set_gate(&mut self, vector: u32, to: CodeLabel) -> Result<(), IcedError> {
        let gate = IDT + 16 * vector;
        self.a.lea(rax, ptr(to))?;
        self.a.mov(word_ptr(gate), ax)?;
        self.a.mov(word_ptr(gate + 2), u32::from(KERNEL_CODE))?;
        self.a.mov(word_ptr(gate + 4), 0x8e00)?;
        self.a.shr(rax, 16)?;
        self.a.mov(word_ptr(gate + 6), ax)?;
        self.a.shr(rax, 16)?;
        self.a.mov(dword_ptr(gate + 8), eax)
    }

    /// Pushes the frame with which IRETQ goes to `to` in ring 3.
    pub fn push_user_frame(&mut self, to: CodeLabel, flags: i32) -> Result<(), IcedError> {
        self.a.push(i32::from(USER_DATA))?;
        self.a.push(USER_STACK as i32)?;
        self.a.push(flags)?;
        self.a.push(i32::from(USER_CODE))?;
        self.a.lea(rax, ptr(to))?;
        self.a.push(rax)
    }

    /// Prints `text`.
    pub fn print(&mut self, text: &str) -> Result<(), IcedError> {
        self.text(text)?;
        self.a.call(self.puts)
    }

    /// Prints the text at RSI.
    pub fn print_rsi(&mut self) -> Result<(), IcedError> {
        self.a.call(self.puts)
    }

    /// Reports the counter that RDPMC selects with `selector`.
    pub fn report_counter(&mut self, name: &str, expected: u64, selector: u32) -> Result<(), IcedError> {
        self.a.mov(ecx, selector)?;
        self.a.rdpmc()?;
        self.report_pair(name, expected)
    }

    /// Reports the value of an MSR.
    pub fn report_msr(&mut self, name: &str, expected: u64, msr: u32) -> Result<(), IcedError> {
        self.a.mov(ecx, msr)?;
        self.a.rdmsr()?;
        self.report_pair(name, expected)
    }

    fn report_pair(&mut self, name: &str, expected: u64) -> Result<(), IcedError> {
        self.a.shl(rdx, 32)?;
        self.a.or(rax, rdx)?;
        self.a.mov(r12, rax)?;
        self.report_r12(name, expected)
    }

    /// Reports R12.
    pub fn report_r12(&mut self, name: &str, expected: u64) -> Result<(), IcedError> {
        self.a.mov(r13, expected)?;
        self.text(&format!("@@ what={name} expected={expected} counted="))?;
        self.a.call(self.report)
    }

    /// Ends the machine with status R15.
    pub fn end(&mut self) -> Result<(), IcedError> {
        let mut halt = self.a.create_label();
        self.a.mov(eax, r15d)?;
        self.a.mov(edx, EXIT_PORT)?;
        self.a.out(dx, al)?;
        self.a.cli()?;
        self.a.set_label(&mut halt)?;
        self.a.hlt()?;
        self.a.jmp(halt)
    }

    /// RSI := address of `text`, which goes behind the code.
    pub fn text(&mut self, text: &str) -> Result<(), IcedError> {
        let label = self.a.create_label();
        self.a.lea(rsi, ptr(label))?;
        self.texts.push((label, format!("{text}\0")));
        Ok(())
    }

    fn subroutines(&mut self) -> Result<(), IcedError> {
        let mut putc = self.a.create_label();
        self.a.set_label(&mut putc)?;
        self.put_character()?;
        self.put_string(putc)?;
        self.put_report(putc)?;
        for (mut label, text) in std::mem::take(&mut self.texts) {
            self.a.set_label(&mut label)?;
            self.a.db(text.as_bytes())?;
        }
        Ok(())
    }

    /// Sends R10B when the transmitter is free.
    fn put_character(&mut self) -> Result<(), IcedError> {
        let a = &mut self.a;
        let mut wait = a.create_label();
        a.mov(edx, COM1 + 5)?;
        a.set_label(&mut wait)?;
        a.in_(al, dx)?;
        a.test(al, 0x20)?;
        a.jz(wait)?;
        a.mov(eax, r10d)?;
        a.mov(edx, COM1)?;
        a.out(dx, al)?;
        a.ret()
    }

    /// Prints the text at RSI.
    fn put_string(&mut self, putc: CodeLabel) -> Result<(), IcedError> {
        let a = &mut self.a;
        let mut done = a.create_label();
        a.set_label(&mut self.puts)?;
        a.movzx(r10d, byte_ptr(rsi))?;
        a.test(r10d, r10d)?;
        a.jz(done)?;
        a.call(putc)?;
        a.inc(rsi)?;
        a.jmp(self.puts)?;
        a.set_label(&mut done)?;
        a.ret()
    }

    /// Prints the text at RSI, then R12 in decimal, and compares it with R13.
    fn put_report(&mut self, putc: CodeLabel) -> Result<(), IcedError> {
        let a = &mut self.a;
        let (mut divide, mut digit) = (a.create_label(), a.create_label());
        a.set_label(&mut self.report)?;
        a.call(self.puts)?;
        a.mov(rax, r12)?;
        a.mov(r9d, 10)?;
        a.xor(ecx, ecx)?;
        a.set_label(&mut divide)?;
        a.xor(edx, edx)?;
        a.div(r9)?;
        a.push(rdx)?;
        a.inc(ecx)?;
        a.test(rax, rax)?;
        a.jnz(divide)?;
        a.set_label(&mut digit)?;
        a.pop(r10)?;
        a.add(r10d, i32::from(b'0'))?;
        a.call(putc)?;
        a.dec(ecx)?;
        a.jnz(digit)?;
        a.mov(r10d, u32::from(b'\n'))?;
        a.call(putc)?;
        a.xor(eax, eax)?;
        a.cmp(r12, r13)?;
        a.setne(al)?;
        a.or(r15d, eax)?;
        a.ret()
    }
}
