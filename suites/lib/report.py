"""What a suite found: figures, failures, and differences that a list of known ones explains."""
import re
from dataclasses import dataclass, field
from pathlib import Path

from guest import Boot, Machine
from packages import Packages

KNOWN = Path(__file__).parent.parent / "known"


@dataclass
class Context:
    """What a suite is given."""

    packages: Packages
    machine: Machine
    cache: Path
    kernels: list[str]
    cpus: list[int]
    times: int
    only: str | None


@dataclass
class Report:
    """A suite's result. `failed` empty: it holds."""

    suite: str
    passed: int = 0
    lines: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    explained: dict[str, int] = field(default_factory=dict)
    figures: list[str] = field(default_factory=list)

    def known(self) -> "Known":
        return Known(self.suite)

    def unbuilt(self, work: Path, wanted: re.Pattern) -> None:
        """Reads which programs a recipe could not build (`.failed` in `work`): known, or failures."""
        known, list_of = self.known(), work / ".failed"
        for name in list_of.read_text().split() if list_of.exists() else []:
            if wanted.match(name) and known.skip(name):
                self.skipped.append(f"{name}: {known.skip(name)}")
            elif wanted.match(name):
                self.failed.append(f"{name}: does not build")

    def show(self) -> None:
        for name in self.skipped:
            print(f"  skipped: {name}")
        for reason, count in sorted(self.explained.items()):
            print(f"  {count} lines differ as they may: {reason}")
        for text in self.failed:
            print(f"  FAILED: {text}")
        for text in self.figures:
            print(f"  {text}")

    def line(self, spent_s: float) -> str:
        """The suite in one line of figures."""
        verdict = "FAILED" if self.failed or not self.passed else "ok"
        return (f"{self.suite:10} {verdict:6} {self.passed:5} passed {len(self.failed):3} failed {len(self.skipped):3} skipped "
                f"{sum(self.explained.values()):5} lines explained {self.lines:7} compared {spent_s:6.0f} s")


class Known:
    """The differences that are expected, each with its reason: known/SUITE.txt, "PROGRAM<TAB>REGEX<TAB>REASON".

    PROGRAM is a regular expression too; both must match whole. `*skip*` as REGEX: the program may be left out.
    """

    def __init__(self, suite: str):
        path = KNOWN / f"{suite}.txt"
        text = path.read_text() if path.exists() else ""
        rows = [line.split("\t") for line in text.splitlines() if line.strip() and not line.startswith("#")]
        self.rows = [(re.compile(program), line, reason) for program, line, reason in rows]

    def reason(self, program: str, line: str) -> str | None:
        for names, lines, reason in self.rows:
            if lines != "*skip*" and names.fullmatch(program) and re.fullmatch(lines, line):
                return reason
        return None

    def skip(self, program: str) -> str | None:
        return next((reason for names, lines, reason in self.rows if lines == "*skip*" and names.fullmatch(program)), None)


def compared(run: Boot, report: Report, expected: list[str]) -> None:
    """Reads what guest/compare.sh printed of the programs `expected` into `report`."""
    known, seen, open_name, differences = Known(report.suite), set(), None, []
    for line in run.lines:
        words = re.match(r"([=!]) (\S+) (\d+) (\d+)$", line)
        if open_name is None and words:
            seen.add(words[2])
            report.lines += int(words[4])
            report.passed += words[1] == "="
            open_name = words[2] if words[1] == "!" else None
            differences = []
        elif open_name is not None and line == "!!":
            judge(report, known, open_name, differences)
            open_name = None
        elif open_name is not None and line.startswith("! "):
            differences.append(line[2:])
    report.failed += [f"{name}: not run" for name in expected if name not in seen]
    trouble = run.trouble()
    report.failed += [trouble] if trouble else []


def judge(report: Report, known: Known, name: str, differences: list[str]) -> None:
    """A program that differs: explained by known lines, or failed."""
    left = []
    for line in differences:
        reason = known.reason(name, line[1:])
        if reason:
            report.explained[reason] = report.explained.get(reason, 0) + 1
        else:
            left.append(line)
    if left or not differences:
        shown = "".join(f"\n      {line}" for line in left[:12])
        report.failed.append(f"{name}: {len(left)} differing lines (- native, + guest){shown}")
    else:
        report.passed += 1
