"""The lab: boot a real kernel in an emulated machine and run one command in it.

    .venv/bin/python tests/lab/lab.py [--kernel 6.1] [--memory 2G] [--timeout 1200] -- COMMAND...

The guest sees this machine's file system: its root read-only, /etc /usr /opt /var /tmp as
overlays that vanish with it, and one shared scratch directory, `$DMWATCH_SCRATCH`. The command
runs as the guest's root with this checkout as its working directory and `.venv/bin` first on PATH;
output streams through, its exit status is the lab's. 124: out of time. 125: the lab or its kernel
failed, not the command.

Nothing outlives the lab. The machine runs in a session of its own that is killed on every way out;
a guard process waits on a pipe that only the lab holds open, so even SIGKILL of the lab ends the
machine and removes the scratch directory.
"""

from __future__ import annotations

import argparse
import compileall
import ctypes
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import kernels

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
GUEST_LAB = "/run/lab"
GUEST_SCRATCH = f"{GUEST_LAB}/scratch"
PASSED_THROUGH = ("CI", "PYTEST_ADDOPTS", "NO_COLOR")
GUEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What a kernel does for safety costs most of the time under emulation: zeroed pages (5.10 takes two
# of 512 KiB for each 9p request), retpolines, a clock that is read from a device.
BOOT = (
    "init_on_alloc=0 mitigations=off nokaslr tsc=reliable lsm= audit=0 nowatchdog"
    " cryptomgr.notests=1"
)
# Drivers of the emulated machine that no test needs: udev would load them, 2 s each.
UNUSED = (
    *("kvm", "kvm_amd", "ahci", "sr_mod", "cdrom", "sg", "i2c_i801", "lpc_ich", "iTCO_wdt"),
    *("i6300esb", "pcspkr", "psmouse", "joydev", "evdev", "button", "powernow_k8", "aesni_intel"),
)
# The emulator repeats `rep movsb` a byte at a time, kernels with erms use it for pages.
CPU = "max,-erms,-smap,-smep,-umip,-la57,-svm,-avx2,-avx,-pku,-pks,-fsgsbase"
OUT_OF_TIME = 124
LAB_FAILED = 125
PR_SET_PDEATHSIG = 1


class LabError(Exception):
    """The lab cannot do its work; the message is for people."""


@dataclass(frozen=True, slots=True)
class Job:
    """One command for one boot."""

    command: Sequence[str]
    kernel: kernels.Kernel
    memory: str = "2G"
    timeout: float = 1200.0


def run(job: Job) -> int:
    """Boot, run the command, give its exit status."""
    with _signals_raise(), _scratch() as scratch:
        _write_job(job, scratch)
        with _machine(_vng(job, scratch), scratch) as vng:
            in_time = _stream(vng, time.monotonic() + job.timeout)
        if not in_time:
            print(f"lab: stopped after {job.timeout:.0f} s, the time limit", file=sys.stderr)
            return OUT_OF_TIME
        return _status(scratch, job)


# What the guest finds


def _write_job(job: Job, scratch: Path) -> None:
    shutil.copy(HERE / "guest.sh", scratch)
    (scratch / "trees").write_text("".join(f"{tree}\n" for tree in _trees()))
    (scratch / "job.sh").write_text(f"exec {shlex.join(job.command)}\n")
    exports = (f"export {k}={shlex.quote(v)}\n" for k, v in _environment(job).items())
    (scratch / "job.env").write_text("".join(exports))


def _trees() -> list[str]:
    """The directories that the job reads most, none inside another."""
    found = [str(CHECKOUT), "/usr", os.path.realpath(sys.base_prefix)]
    return [a for a in dict.fromkeys(found) if not any(_inside(a, b) for b in found)]


def _inside(path: str, other: str) -> bool:
    return path != other and Path(path).is_relative_to(other)


def _environment(job: Job) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k in PASSED_THROUGH or k.startswith("DMWATCH_")}
    kept["PYTEST_ADDOPTS"] = f"-p no:cacheprovider {kept.get('PYTEST_ADDOPTS', '')}".strip()
    return kept | {
        "DMWATCH_LAB": "1",
        "DMWATCH_KERNEL": job.kernel.release,
        "DMWATCH_SCRATCH": GUEST_SCRATCH,
        "DM_DISABLE_UDEV": "1",
        "HOME": "/root",
        "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",
        "LAB_CHECKOUT": str(CHECKOUT),
        "LANG": "C.UTF-8",
        "PATH": f"{CHECKOUT}/.venv/bin:{GUEST_PATH}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def _scratch() -> Iterator[Path]:
    scratch = CHECKOUT / ".lab" / f"scratch-{os.getpid()}"
    (scratch / "scratch").mkdir(parents=True)
    try:
        yield scratch
    finally:
        _keep_dmesg(scratch)
        shutil.rmtree(scratch, ignore_errors=True)


def _keep_dmesg(scratch: Path) -> None:
    with suppress(OSError):
        (scratch / "dmesg").replace(CHECKOUT / ".lab" / "dmesg.log")


# The machine


def _vng(job: Job, scratch: Path) -> list[str]:
    vng = os.environ.get("LAB_VNG") or str(CHECKOUT / ".venv/bin/vng")
    if not Path(vng).exists():
        raise LabError(".venv/bin/vng is missing: run make setup")
    export = "local,path=/,mount_tag=lab-root,security_model=none,readonly=on,multidevs=remap"
    kvm = os.environ.get("LAB_KVM") == "1"
    return [
        vng,
        *("--run", str(job.kernel.image), "--force-9p", "--user", "root", "--cwd", "/"),
        *([] if kvm else ["--disable-kvm"]),
        *(["--verbose"] if os.environ.get("LAB_VERBOSE") == "1" else []),
        *("--memory", job.memory, "--cpus", "2", f"--rwdir={GUEST_LAB}={scratch}"),
        f"--append={BOOT} modprobe.blacklist={','.join(UNUSED)}",
        f"--qemu-opts=-virtfs {export}{'' if kvm else f' -cpu {CPU}'}",
        "--",
        f"bash {GUEST_LAB}/guest.sh",
    ]


@contextmanager
def _machine(command: list[str], scratch: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The running vng: killed with all that it started when the block is left, however that is."""
    # Files must not stand in for stdout and stderr: qemu opens them anew and truncates.
    vng = subprocess.Popen(
        command,
        cwd="/",
        env=_host_environment(scratch),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread runs here
    )
    try:
        with _guard(vng.pid, scratch):
            yield vng
    finally:
        _kill_group(vng.pid)
        vng.wait()


def _host_environment(scratch: Path) -> dict[str, str]:
    path = f"{CHECKOUT / '.venv/bin'}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return os.environ | {"PATH": path, "TMPDIR": str(scratch)}


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


@contextmanager
def _guard(group: int, scratch: Path) -> Iterator[None]:
    """A process that outlives the lab just long enough to clean up after it."""
    ours, theirs = os.pipe()
    guard = os.fork()
    if guard == 0:
        _be_the_guard(ours, theirs, group, scratch)
    os.close(ours)
    try:
        yield
    finally:
        os.kill(guard, signal.SIGKILL)
        os.waitpid(guard, 0)
        os.close(theirs)


def _be_the_guard(ours: int, theirs: int, group: int, scratch: Path) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.close(theirs)
    os.read(ours, 1)  # returns when the lab is gone
    _kill_group(group)
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


# Its output and its end


def _stream(vng: subprocess.Popen[bytes], deadline: float) -> bool:
    """Pass the output on as it comes; False when time ran out first."""
    assert vng.stdout is not None
    assert vng.stderr is not None
    ended = os.pidfd_open(vng.pid)
    targets = {vng.stdout.fileno(): 1, vng.stderr.fileno(): 2}
    with selectors.DefaultSelector() as selector:
        for descriptor in (ended, *targets):
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in selector.select(left):
                if key.fd == ended:
                    _kill_group(vng.pid)  # what it left running would hold the pipes open
                if key.fd == ended or not _pass_on(key.fd, targets[key.fd]):
                    selector.unregister(key.fd)
    os.close(ended)
    return True


def _pass_on(source: int, target: int) -> bool:
    """Whether there was anything; waits for a slow reader."""
    data = os.read(source, 65536)
    rest = data
    while rest:
        rest = rest[os.write(target, rest) :]
    return bool(data)


def _status(scratch: Path, job: Job) -> int:
    try:
        return int((scratch / "status").read_text())
    except (OSError, ValueError):
        print(
            f"lab: the guest with kernel {job.kernel.release} ended without an exit status,"
            " most likely its kernel died or never came up:"
            " try again with LAB_VERBOSE=1 to see its console",
            file=sys.stderr,
        )
        return LAB_FAILED


@contextmanager
def _signals_raise() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


# The command line


def _compile(command: Sequence[str]) -> None:
    """Byte code made here saves the guest, which cannot write it, half of its imports."""
    for directory in ("dmwatch", "tests"):
        compileall.compile_dir(CHECKOUT / directory, quiet=2)
    if "pytest" in command:  # its tests have byte code of their own, made when they are collected
        _collect(command[command.index("pytest") + 1 :])


def _collect(arguments: Sequence[str]) -> None:
    writing = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-qq", *arguments],
        cwd=CHECKOUT,
        env=writing,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,  # what is wrong the guest will say
    )


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run one command under a kernel of its own.")
    parser.add_argument(
        "--kernel",
        default=os.environ.get("KERNEL") or kernels.DEFAULT,
        help=f"{', '.join(kernels.MATRIX)} or the path of a vmlinuz (default: $KERNEL or 6.1)",
    )
    parser.add_argument("--memory", default="2G", help="of the guest (default: 2G)")
    parser.add_argument("--timeout", type=float, default=1200.0, help="seconds (default: 1200)")
    parser.add_argument("command", nargs="+", help="what to run in the guest, after --")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, turn the lab's own troubles into one sentence."""
    given = _arguments(arguments)
    try:
        kernel = kernels.find(given.kernel)
        print(f"lab: booting {kernel.release} under emulation (10 to 20 s)", file=sys.stderr)
        _compile(given.command)
        return run(Job(given.command, kernel, given.memory, given.timeout))
    except (LabError, kernels.KernelError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return LAB_FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
