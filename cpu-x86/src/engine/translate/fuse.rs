//! A flag writer and the Jcc behind it as one op.

use super::*;
use Mnemonic::*;

impl<Eye: Watch> Translator<Eye> {
    /// Emits instruction `k`, the last but one, together with the Jcc that ends the block.
    pub(super) fn fuse(&mut self, i: &Instruction, k: usize) -> Option<()> {
        let last = self.code[k + 1];
        if !self.mode.flat() || !is_simple(i) || has_high_byte(i) || i.op_count() == 0 || !is_direct(&last, self.mode) {
            return None;
        }
        // LOOPE and LOOPNE have condition codes too.
        if !last.is_jcc_short_or_near() || Eye::ON && leads_to_next(&last) {
            return None;
        }
        let cc = condition_number(last.condition_code())?;
        let (to, fall) = (last.near_branch_target() as i64, last.next_ip() as i64);
        let taken = i32::try_from(to).ok()?;
        let cross = self.cross(&[to, fall]);
        let slots = self.slots.len();
        if self.fused_op(i, cc, cross).is_none() {
            self.slots.truncate(slots);
            self.ops.retain(|at| (*at as usize) < slots);
            self.owner.truncate(slots);
            return None;
        }
        (self.taken, self.fall) = (taken, fall as i32);
        self.link(to);
        self.link(fall);
        Some(())
    }

    fn fused_op(&mut self, i: &Instruction, cc: usize, cross: usize) -> Option<()> {
        let w = width_of(i, 0)?;
        let wu = w as usize;
        let m = i.mnemonic();
        if m == Dec && is_register(i, 0) {
            self.put(select::dec_jcc::<Eye>(cc, wu, cross)?, number(i.op0_register()), 0, 0, 0, 0);
            return Some(());
        }
        if i.op_count() != 2 || !matches!(m, Cmp | Test | Sub | Add | And) {
            return None;
        }
        if is_register(i, 0) {
            let a = number(i.op0_register());
            if is_register(i, 1) {
                let h = match m {
                    Cmp => select::cmp_jcc_rr::<Eye>(cc, wu, cross)?,
                    Test => select::test_jcc_rr::<Eye>(cc, wu, cross)?,
                    Sub => select::sub_jcc_rr::<Eye>(cc, wu, cross)?,
                    _ => return None,
                };
                self.put(h, a, number(i.op1_register()), 0, 0, 0);
            } else if is_memory(i, 1) {
                let h = if m == Cmp { select::cmp_jcc_rm::<Eye>(cc, wu, cross)? } else { return None };
                let memory = self.address(i)?.general();
                self.memory(h, a, 0, memory);
            } else {
                let h = match m {
                    Cmp => select::cmp_jcc_ri::<Eye>(cc, wu, cross)?,
                    Test => select::test_jcc_ri::<Eye>(cc, wu, cross)?,
                    Sub => select::sub_jcc_ri::<Eye>(cc, wu, cross)?,
                    Add => select::add_jcc_ri::<Eye>(cc, wu, cross)?,
                    _ => select::and_jcc_ri::<Eye>(cc, wu, cross)?,
                };
                self.put(h, a, 0, 0, 0, i32::try_from(immediate(i, 1, w)).ok()?);
            }
            return Some(());
        }
        if is_register(i, 1) {
            return None;
        }
        let v = i8::try_from(immediate(i, 1, w)).ok()?;
        let h = match m {
            Cmp => select::cmp_jcc_mi::<Eye>(cc, wu, cross)?,
            Test => select::test_jcc_mi::<Eye>(cc, wu, cross)?,
            _ => return None,
        };
        let memory = self.address(i)?.general();
        self.memory(h, 0, v as u8, memory);
        Some(())
    }
}
