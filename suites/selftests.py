"""The kernel's own selftests/x86: system calls, segments, LDT, FS and GS base, vm86, signals, single steps, as user space sees.

What they say with [OK], [FAIL], [SKIP] and [RUN] is compared. They need a generic kernel (16-bit segments). Source: Linux 6.1,
tools/testing/selftests/x86/Makefile (which program needs what).
"""
import subprocess
from pathlib import Path

from programs import Program, built, compare
from report import Context, Report

BUILD = r"""
set -e
one() { # bits, programs
	bits=$1; shift
	for name; do
		more=
		case ${name}_$bits in
		sysret_ss_attrs_64) more=thunks.S ;;
		ptrace_syscall_32) more=raw_syscall_helper_32.S ;;
		test_syscall_vdso_32) more=thunks_32.S ;;
		check_initial_reg_state_*) more='-Wl,-ereal_start -static' ;;
		esac
		gcc -m$bits -o /work/${name}_$bits -O2 -g -std=gnu99 -pthread -w -no-pie -DCAN_BUILD_32 -DCAN_BUILD_64 \
			$name.c $more -lrt -ldl -lm
	done
}
cd src/tools/testing/selftests/x86
both='single_step_syscall sysret_ss_attrs syscall_nt test_mremap_vdso check_initial_reg_state sigreturn iopl ioperm test_vsyscall
	mov_ss_trap sigtrap_loop syscall_arg_fault fsgsbase_restore sigaltstack ldt_gdt ptrace_syscall'
one 32 $both entry_from_vm86 test_syscall_vdso unwind_vdso test_FCMOV test_FCOMI test_FISTTP vdso_restorer
one 64 $both fsgsbase sysret_rip syscall_numbering corrupt_xstate_header amx
"""
# Numbers that depend on addresses, process numbers and speed say nothing.
RUN = "./{} > /tmp/out 2>&1; s=$?; grep '^.\\[[A-Z]*\\]\\|^\\[' /tmp/out | sed 's/0x[0-9a-f]*/N/g; s/[0-9][0-9]*/N/g'; exit $s"


def sources(context: Context):
    def prepare(work: Path) -> None:
        tar = next((context.packages.alone("linux-source-6.1") / "usr/src").glob("*.tar.xz"))
        (work / "src").mkdir()
        command = ["tar", "-C", work / "src", "--strip-components=1", "--wildcards", "-xf", tar]
        subprocess.run([*command, "*/tools/testing/selftests/x86", "*/tools/testing/selftests/kselftest.h", "*/tools/include",
                        "*/arch/x86/include/asm"],
                       check=True)

    return prepare


def run(context: Context) -> Report:
    report = Report("selftests")
    work = built(context, "selftests", BUILD, sources(context))
    names = sorted(path.name for path in work.iterdir() if path.name.endswith(("_32", "_64")))
    programs = [Program(name, RUN.format(name)) for name in names if not context.only or name.startswith(context.only)]
    for kernel in context.kernels or ["6.1"]:
        compare(context, report, work, programs, names, f"selftests-{kernel}", kernel, cpus=2,
                append="vsyscall=xonly", keep=("mov_ss_trap_32", "mov_ss_trap_64"))
    return report
