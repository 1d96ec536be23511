"""The ACPI tables that Linux finds, read back out of the guest: iasl disassembles all of them and compiles the code again.

Source: ACPICA, iasl(1); Linux, Documentation/ABI/testing/sysfs-firmware-acpi.
"""
import base64
import re
import shutil

import native
from guest import boot, suite_image
from report import Context, Report

PACKAGES = ["acpica-tools", "dash", "coreutils"]
MAIN = r"""
cd /sys/firmware/acpi/tables
for table in *; do [ -f $table ] && echo "table $table $(base64 -w 0 < $table)"; done
dmesg | sed -n 's/^\[[^]]*\] /log /; /ACPI.*\(rror\|arning\|BIOS\|Invalid\|ncorrect\)/p'
"""
# Disassembles each table; what has code (DSDT, SSDT) is compiled again, the others from their listings as data tables.
CHECK = r"""
for table in *.dat; do
	name=${table%.dat}
	iasl -d $table > $name.out 2>&1 || echo "failed $name: disassembly"
	iasl -ve -p $name.again $name.dsl >> $name.out 2>&1 || echo "failed $name: compilation"
	grep -i 'error\|invalid checksum\|incorrect' $name.out | grep -v ' 0 Errors' | sed "s/^/failed $name: /"
	echo "checked $name $(wc -c < $table) bytes"
done
"""


def run(context: Context) -> Report:
    report = Report("acpi")
    for cpus in context.cpus or [1, 4]:
        one(context, report, cpus)
    return report


def one(context: Context, report: Report, cpus: int) -> None:
    kernel = (context.kernels or ["6.12-cloud"])[0]
    image = suite_image(context.packages, MAIN)
    result = boot(context.machine, context.packages, kernel, image.bytes(), f"acpi-{cpus}", mem=512, cpus=cpus)
    work = context.cache / "built" / f"acpi-{cpus}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name, content in re.findall(r"^table (\S+) (\S+)$", "\n".join(result.lines), re.MULTILINE):
        (work / f"{name}.dat").write_bytes(base64.b64decode(content))
    said, _ = native.run(context.packages.tree("acpi", [*PACKAGES, "grep", "sed"]), work, CHECK)
    lines = said.decode(errors="replace").splitlines()
    checked = [line.split()[1] for line in lines if line.startswith("checked ")]
    report.passed += len(checked)
    report.lines += len(lines)
    report.failed += [f"{cpus} processors: {line}" for line in lines if not line.startswith("checked ")]
    report.failed += [f"{cpus} processors: Linux says: {line[4:]}" for line in result.lines if line.startswith("log ")]
    report.failed += [f"{cpus} processors: no {name}" for name in ("DSDT", "FACP", "APIC") if name not in checked]
    report.failed += [f"{cpus} processors: {problem}" for problem in [result.trouble()] if problem]
    report.figures.append(f"{cpus} processors, {kernel}: {', '.join(checked)}")
