"""The initramfs of a suite's guest: parts of package trees, kernel modules, the suite's files, our init.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst (newc); kmod's modules.dep(5).
"""
import lzma
import os
import re
import stat
from pathlib import Path

LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian")
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


class Image:
    """Files by path; same files, same bytes."""

    def __init__(self):
        self.entries: dict[str, tuple[int, bytes]] = {}
        for name in MERGED:
            self.link(name, "usr/" + name)
            self.folder("usr/" + name)

    def file(self, path: str, content: bytes | str, mode: int = 0o755) -> None:
        self._parents(path)
        content = content.encode() if isinstance(content, str) else content
        self.entries[path] = (stat.S_IFREG | mode, content)

    def link(self, path: str, target: str) -> None:
        self._parents(path)
        self.entries[path] = (stat.S_IFLNK | 0o777, target.encode())

    def folder(self, path: str) -> None:
        self._parents(path)
        self.entries.setdefault(path, (stat.S_IFDIR | 0o755, b""))

    def tree(self, root: Path, at: str = "", skip: tuple[str, ...] = LEFT_OUT) -> None:
        """Everything below `root`, but what begins with one of `skip`."""
        for folder, folders, files in os.walk(root):
            inside = os.path.relpath(folder, root)
            inside = "" if inside == "." else inside + "/"
            folders[:] = sorted(f for f in folders if not (inside + f).startswith(skip))
            for name in sorted(files) + [f for f in folders if os.path.islink(os.path.join(folder, f))]:
                if not (inside + name).startswith(skip) and not (not at and not inside and name in MERGED):
                    self._copy(Path(folder) / name, os.path.join(at, inside + name))
            for name in folders:
                if not os.path.islink(os.path.join(folder, name)):
                    self.folder(os.path.join(at, inside + name))

    def _copy(self, source: Path, path: str) -> None:
        status = source.lstat()
        if stat.S_ISLNK(status.st_mode):
            self.link(path, os.readlink(source))
        elif stat.S_ISREG(status.st_mode):
            self.file(path, source.read_bytes(), status.st_mode & 0o7777)

    def _parents(self, path: str) -> None:
        parent = os.path.dirname(path)
        while parent and parent not in self.entries:
            self.entries[parent] = (stat.S_IFDIR | 0o755, b"")
            parent = os.path.dirname(parent)

    def modules(self, kernel: Path, wanted) -> list[str]:
        """The modules of the kernel package for whose path `wanted` holds, and those they need; gives their names."""
        modules = Modules(kernel)
        chosen = sorted(name for name, path in modules.paths.items() if wanted(path))
        for name in modules.closure(chosen):
            self.file(modules.inside(name), modules.content(name), 0o644)
        self.file(f"usr/lib/modules/{modules.release}/modules.dep", modules.dependencies(), 0o644)
        self.file(f"usr/lib/modules/{modules.release}/modules.alias", modules.aliases(), 0o644)
        return chosen

    def bytes(self) -> bytes:
        """The archive, uncompressed."""
        records = [(path, *self.entries[path]) for path in sorted(self.entries)]
        made = bytearray()
        for number, (path, mode, content) in enumerate([*records, ("TRAILER!!!", 0, b"")]):
            fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path.encode()) + 1, 0)
            made += b"070701" + b"".join(b"%08X" % field for field in fields) + path.encode() + b"\0"
            made += bytes(-len(made) % 4)
            made += content
            made += bytes(-len(made) % 4)
        return bytes(made)


class Modules:
    """The modules of an unpacked kernel package, by name."""

    def __init__(self, kernel: Path):
        top = next(path for at in ("usr/lib/modules", "lib/modules") for path in kernel.glob(at + "/*"))
        self.release = top.name
        self.top = top
        self.paths: dict[str, str] = {}
        self.opened: dict[str, tuple[bytes, list[str]]] = {}
        for path in sorted(top.rglob("*.ko*")):
            found = re.match(r"(.+)\.ko(\.xz)?$", path.name)
            if found:
                self.paths[found[1].replace("-", "_")] = str(path.relative_to(top))

    def content(self, name: str) -> bytes:
        return self._open(name)[0]

    def inside(self, name: str) -> str:
        return f"usr/lib/modules/{self.release}/" + self.paths[name].removesuffix(".xz")

    def closure(self, names: list[str]) -> list[str]:
        """`names` and all that they need."""
        found, left = {}, list(names)
        while left:
            name = left.pop()
            if name in self.paths and name not in found:
                found[name] = None
                left += self._open(name)[1]
        return sorted(found)

    def dependencies(self) -> str:
        """`modules.dep` over what was opened."""
        short = lambda name: self.paths[name].removesuffix(".xz")
        line = lambda name: " ".join([short(name) + ":", *(short(need) for need in self._order(name))])
        return "".join(line(name) + "\n" for name in sorted(self.opened))

    def aliases(self) -> str:
        """`modules.alias` over what was opened: by these names the kernel asks for modules."""
        found = [(alias.decode(), name) for name in sorted(self.opened)
                 for alias in re.findall(rb"\0alias=([^\0]*)", self.opened[name][0])]
        return "".join(f"alias {alias} {name}\n" for alias, name in found)

    def _order(self, name: str) -> list[str]:
        """What `name` needs, each before what it needs itself: modprobe loads from right to left."""
        order: list[str] = []

        def visit(one: str) -> None:
            for need in self._open(one)[1]:
                if need in self.paths and need not in order:
                    visit(need)
                    order.append(need)

        visit(name)
        return order[::-1]

    def _open(self, name: str) -> tuple[bytes, list[str]]:
        if name not in self.opened:
            raw = (self.top / self.paths[name]).read_bytes()
            raw = lzma.decompress(raw) if self.paths[name].endswith(".xz") else raw
            depends = b",".join(re.findall(rb"(?:^|\0)depends=([^\0]*)", raw)).decode().split(",")
            softly = b" ".join(re.findall(rb"(?:^|\0)softdep=pre: ([^\0]*?)(?:post:[^\0]*)?\0", raw)).decode().split()
            self.opened[name] = (raw, [need.replace("-", "_") for need in [*depends, *softly] if need])
        return self.opened[name]
