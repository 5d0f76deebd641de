"""Which kernel the lab boots: the installed one, or one fetched from Debian into .lab/kernels.

What Debian 12 does not install comes from another suite of the mirror that /etc/apt names, with an
apt of its own: sources, lists, cache and state lie under .lab/apt, the host's stay as they are. The
packages are unpacked beside, nothing is installed, so that root is not needed. virtme-ng finds
lib/modules beside boot.
"""

from __future__ import annotations

import fcntl
import lzma
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LAB = Path(__file__).resolve().parents[2] / ".lab"
KERNELS = LAB / "kernels"
DEFAULT = "6.1"
# Series -> the suites that have it: None is what make setup installs.
MATRIX: dict[str, Sequence[str] | None] = {
    "5.10": ("bullseye", "bullseye-security"),
    "6.1": None,
    "6.12": ("bookworm-backports",),
    "7": ("trixie-backports",),
}
META_PACKAGE = "linux-image-amd64"
PARTS = re.compile(r"linux-(image|binary|modules|base)-\S+")
# No emulated machine has such hardware.
UNWANTED = (
    "sound",
    "drivers/gpu",
    "drivers/infiniband",
    "drivers/media",
    "drivers/net/ethernet",
    "drivers/net/wireless",
    "drivers/staging",
)
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class KernelError(Exception):
    """No such kernel; the message is for people."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A bootable image; virtme-ng finds its modules in ../lib/modules/RELEASE."""

    image: Path
    release: str


def find(name: str) -> Kernel:
    """A kernel by its series (6.1) or by the path of its vmlinuz; fetched where it must be."""
    if "/" in name:
        return _from_path(Path(name).resolve())
    if name not in MATRIX:
        raise KernelError(f"no kernel {name!r}: try {', '.join(MATRIX)}, or the path of a vmlinuz")
    suites = MATRIX[name]
    if suites is None:
        return _newest(Path("/boot"), name, "is not installed: run make setup")
    with _locked():
        if not (KERNELS / name).is_dir():
            _fetch(name, suites)
    return _newest(KERNELS / name / "boot", name, f"is broken: remove {KERNELS / name}, try again")


def _from_path(image: Path) -> Kernel:
    if not image.is_file():
        raise KernelError(f"there is no kernel {image}")
    return Kernel(image, image.name.removeprefix("vmlinuz-"))


def _newest(boot: Path, series: str, otherwise: str) -> Kernel:
    newest = max(boot.glob(f"vmlinuz-{series}.*-amd64"), key=_version, default=None)
    if newest is None:
        raise KernelError(f"kernel {series} {otherwise}")
    return _from_path(newest)


def _version(image: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", image.name)]


@contextmanager
def _locked() -> Iterator[None]:
    """One fetch at a time: the matrix boots several kernels at once."""
    LAB.mkdir(exist_ok=True)
    with (LAB / "kernels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# Fetching


def _fetch(series: str, suites: Sequence[str]) -> None:
    print(
        f"lab: fetching Linux {series} from Debian {suites[0]}, this once (100 MB, 1 to 3 minutes)",
        file=sys.stderr,
    )
    unpacked = KERNELS / f"{series}.part"
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir(parents=True)
    for package in _download(series, suites):
        _run(["dpkg-deb", "-x", str(package), str(unpacked)], {}, unpacked)
        package.unlink()
    _arrange(unpacked)
    unpacked.rename(KERNELS / series)


def _download(series: str, suites: Sequence[str]) -> list[Path]:
    """The packages that make up the newest kernel of these suites."""
    apt = LAB / "apt" / series
    environment = {"APT_CONFIG": str(_configure(apt, suites)), "LC_ALL": "C"}
    _run(["apt-get", "-q", "update"], environment, apt)
    known = _run(
        ["apt-cache", "depends", "--recurse", "--important", META_PACKAGE], environment, apt
    )
    parts = [line for line in known.splitlines() if PARTS.fullmatch(line) and line != META_PACKAGE]
    _run(["apt-get", "-q", "download", *parts], environment, apt)
    return list(apt.glob("*.deb"))


def _run(command: list[str], environment: dict[str, str], directory: Path) -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise KernelError(
            f"{' '.join(command[:3])} failed ({last}), most likely because the Debian mirror cannot"
            " be reached or no longer has this suite: check the network and /etc/apt, try again"
        )
    return done.stdout


def _configure(apt: Path, suites: Sequence[str]) -> Path:
    """An apt.conf for directories of our own: the host's settings (proxy) without its hooks."""
    for directory in ("state/lists/partial", "cache/archives/partial"):
        (apt / directory).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text("".join(_sources(suites)))
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    kept = [line for line in dump.splitlines() if not re.match(r"Dir\b|.*Invoke|DPkg", line)]
    ours = {
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "Dir::Etc::sourcelist": str(apt / "sources.list"),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": str(apt / "state"),
        "Dir::State::status": str(apt / "status"),
        "Dir::Cache": str(apt / "cache"),
        "APT::Sandbox::User": "root",
        "Acquire::Check-Valid-Until": "false",
    }
    configuration = apt / "apt.conf"
    lines = [*kept, *(f'{key} "{value}";' for key, value in ours.items())]
    configuration.write_text("".join(f"{line}\n" for line in lines))
    return configuration


def _sources(suites: Sequence[str]) -> Iterator[str]:
    signed = f" signed-by={KEYRING}" if KEYRING.exists() else ""
    main, security = _mirrors()
    for suite in suites:
        uri = security if suite.endswith("-security") else main
        yield f"deb [arch=amd64{signed}] {uri} {suite} main\n"


def _mirrors() -> tuple[str, str]:
    """Debian's archive and its security archive, as /etc/apt names them."""
    etc = Path("/etc/apt")
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.[ls][io][su]*"))]
    text = "\n".join(
        file.read_text()
        for file in files
        if file.suffix in {".list", ".sources"} and file.is_file()
    )
    lines = [line for line in text.splitlines() if re.match(r"deb\s|URIs:", line)]
    found = [uri.rstrip("/") for line in lines for uri in re.findall(r"[a-z+]+:/\S+", line)]
    main = next((uri for uri in found if uri.endswith("/debian")), None)
    if main is None:
        raise KernelError("/etc/apt names no Debian archive (.../debian) to fetch a kernel from")
    security = next((uri for uri in found if uri.endswith("/debian-security")), f"{main}-security")
    return main, security


# Unpacked: as virtme-ng wants it


def _arrange(root: Path) -> None:
    if not (root / "lib/modules").is_dir():
        (root / "lib").mkdir(exist_ok=True)
        (root / "lib/modules").symlink_to("../usr/lib/modules")
    [modules] = (root / "lib/modules").iterdir()
    image = root / "boot" / f"vmlinuz-{modules.name}"
    if not image.exists():
        image.parent.mkdir(exist_ok=True)
        shutil.copy(modules / "vmlinuz", image)
    for directory in UNWANTED:
        shutil.rmtree(modules / "kernel" / directory, ignore_errors=True)
    for module in modules.rglob("*.ko.xz"):  # busybox, which loads the first ones, may not read it
        module.with_suffix("").write_bytes(lzma.decompress(module.read_bytes()))
        module.unlink()
    depmod = shutil.which("depmod", path="/usr/sbin:/sbin:/usr/bin") or "depmod"
    _run([depmod, "-b", str(root), modules.name], {}, root)


def main(names: Sequence[str]) -> int:
    """Have these kernels, fetched where they must be."""
    try:
        for name in names:
            print(find(name).image)
    except KernelError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
