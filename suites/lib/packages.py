"""Debian packages through the host's own apt, with a state of our own: nothing is installed, nothing of the host changes.

Packages are unpacked without their maintainer scripts into trees under the cache; a tree that is there is used again.
Source: apt-get(8), apt.conf(5).
"""
import os
import re
import shutil
import subprocess
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
CONFIGURATION = """Dir "{at}/"; Dir::State "state"; Dir::State::status "{at}/status"; Dir::Cache "cache"; Dir::Etc "etc";
Dir::Etc::sourcelist "sources.list"; Dir::Etc::sourceparts "-"; Dir::Etc::trustedparts "/etc/apt/trusted.gpg.d";
APT::Architecture "amd64"; APT::Architectures {{ "amd64"; }}; APT::Install-Recommends "0"; APT::Sandbox::User "";
Acquire::Languages "none"; Acquire::Retries "2"; quiet "1"; Debug::NoLocking "1";
"""
# Kernels by the name used here: the package that stands for the newest of it.
KERNELS = {
    "6.1-cloud": "linux-image-cloud-amd64",
    "6.1": "linux-image-amd64",
    "6.12-cloud": "linux-image-6.12-cloud-amd64",
    "6.12": "linux-image-6.12-amd64",
}


class Unavailable(Exception):
    """Packages cannot be had: no mirror, no network."""


class Packages:
    """The archive of one Debian release, and what of it is unpacked under `cache`."""

    def __init__(self, cache: Path, release: str = "bookworm"):
        self.cache = cache
        self.release = release
        self.state = cache / "apt" / release
        self.environment = {**os.environ, "APT_CONFIG": str(self.state / "apt.conf"), "LC_ALL": "C"}
        self.read_lists = False

    def tree(self, name: str, packages: list[str]) -> Path:
        """`packages` with everything they depend on, unpacked under `name`."""
        return self._make("trees/" + name, "\n".join(packages), lambda at: self._tree(at, packages))

    def alone(self, package: str) -> Path:
        """One package without what it depends on, unpacked."""
        return self._make("alone/" + package, package, lambda at: self._alone(at, package))

    def source(self, package: str) -> Path:
        """A folder with the files of a source package (tar archives and patches, not unpacked)."""
        return self._make("sources/" + package, package, lambda at: self._source(at, package))

    def kernel(self, name: str) -> Path:
        """A kernel package, unpacked: `boot/vmlinuz-*`, `lib/modules/*`."""
        return self._make("kernels/" + name, KERNELS[name], lambda at: self._alone(at, self._newest(KERNELS[name])))

    def _newest(self, meta: str) -> str:
        said = self._run(["apt-cache", "depends", meta])
        found = re.search(r"^ *Depends: (linux-image-\d\S*)$", said, re.MULTILINE)
        return found[1] if found else meta

    def _make(self, where: str, recipe: str, fill) -> Path:
        at = self.cache / where
        made = at.parent / (at.name + ".recipe")
        if at.is_dir() and made.exists() and made.read_text() == recipe:
            return at
        self._lists()
        print(f"fetching {where}", flush=True)
        partial = at.parent / (at.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(at, ignore_errors=True)
        partial.mkdir(parents=True)
        fill(partial)
        partial.rename(at)
        made.write_text(recipe)
        return at

    def _tree(self, at: Path, packages: list[str]) -> None:
        debs = at.parent / (at.name + ".debs")
        shutil.rmtree(debs, ignore_errors=True)
        (debs / "partial").mkdir(parents=True)
        self._run(["apt-get", "-o", f"Dir::Cache::archives={debs}", "--download-only", "-y", "install", *packages])
        for folder in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            (at / "usr" / folder).mkdir(parents=True)
            (at / folder).symlink_to("usr/" + folder)
        for deb in sorted(debs.glob("*.deb")):
            unpack(deb, at)
        for folder in ("proc", "sys", "dev", "tmp", "work", "root"):
            (at / folder).mkdir(exist_ok=True)
        shutil.rmtree(debs)

    def _alone(self, at: Path, package: str) -> None:
        self._run(["apt-get", "download", package], at)
        for deb in at.glob("*.deb"):
            unpack(deb, at)
            deb.unlink()

    def _source(self, at: Path, package: str) -> None:
        self._run(["apt-get", "--download-only", "source", package], at)

    def _lists(self) -> None:
        if self.read_lists:
            return
        self.read_lists = True
        for part in ("etc/preferences.d", "etc/apt.conf.d", "state/lists/partial", "cache/archives/partial"):
            (self.state / part).mkdir(parents=True, exist_ok=True)
        (self.state / "status").write_text("")
        (self.state / "etc/sources.list").write_text(self._sources())
        (self.state / "apt.conf").write_text(CONFIGURATION.format(at=self.state))
        self._run(["apt-get", "update"])

    def _sources(self) -> str:
        """The archives that the host's own apt is set up for."""
        command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        debian = [uri for uri in said if "/debian" in uri]
        main = [uri for uri in debian if "security" not in uri][0]
        signed = f"[signed-by={KEYRING}] " if os.path.exists(KEYRING) else ""
        lines = [f"deb {signed}{main} {self.release} main", f"deb-src {signed}{main} {self.release} main"]
        lines += [f"deb {signed}{uri} {self.release}-security main" for uri in debian if "security" in uri][:1]
        return "\n".join(lines) + "\n"

    def _run(self, command: list[str], folder: Path | None = None) -> str:
        done = subprocess.run(command, cwd=folder, env=self.environment, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise Unavailable(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
        return done.stdout


def unpack(deb: Path, into: Path) -> None:
    """Unpacks a package file; its links of folders that were merged stay."""
    tar = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-C", into, "-x", "--keep-directory-symlink", "--no-same-owner"], stdin=tar.stdout, check=True)
    if tar.wait() != 0:
        raise SystemExit(f"{deb} is damaged")
