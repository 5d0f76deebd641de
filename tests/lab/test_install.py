"""make install and uninstall with DESTDIR, as packagers do. Nothing of this machine is touched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
STAGED = CHECKOUT / ".lab" / "staged"
SCRIPT = CHECKOUT / "systemd" / "install.sh"
UNIT = "etc/systemd/system/dmwatch.service"


def run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), command],
        env=os.environ | {"PYTHON": "/usr/bin/python3", "PREFIX": "", "DESTDIR": ""} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def staged() -> Path:
    """What `make staged` has installed; it is made here where it is old or missing."""
    done = subprocess.run(
        ["make", "--no-print-directory", "staged"],
        cwd=CHECKOUT,
        env={key: held for key, held in os.environ.items() if not key.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return STAGED


@pytest.fixture
def installed(staged: Path, tmp_path: Path) -> Path:
    """A copy that can be taken apart, of links to the same files."""
    root = tmp_path / "root"
    subprocess.run(["cp", "-al", str(staged), str(root)], check=True)
    return root


pytestmark = pytest.mark.timeout(300)


def files(root: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if not path.is_dir() and not path.is_relative_to(root / "opt")
    }


def test_everything_is_where_the_page_says(staged: Path) -> None:
    assert files(staged) == {
        UNIT,
        "etc/dmwatch/config.example.toml",
        "usr/local/bin/dmwatch",
        "usr/local/share/bash-completion/completions/dmwatch",
        "usr/local/share/fish/vendor_completions.d/dmwatch.fish",
        "usr/local/share/zsh/site-functions/_dmwatch",
    }
    assert (staged / "usr/local/bin/dmwatch").readlink() == Path("/opt/dmwatch/bin/dmwatch")
    assert (
        "_DMWATCH_COMPLETE=bash_complete"
        in (staged / "usr/local/share/bash-completion/completions/dmwatch").read_text()
    )
    assert (staged / UNIT).read_text() == (CHECKOUT / "systemd/dmwatch.service").read_text()


def test_nothing_that_runs_knows_the_directory_it_was_made_in(staged: Path) -> None:
    binaries = staged / "opt/dmwatch/bin"
    found = subprocess.run(
        ["grep", "-rlF", str(STAGED), str(binaries)], stdout=subprocess.PIPE, check=False
    )
    assert found.stdout == b""
    assert (binaries / "dmwatch").read_text().startswith("#!/opt/dmwatch/bin/python\n")


def test_what_is_installed_tells_where_its_files_lie(staged: Path) -> None:
    python = staged / "opt/dmwatch/bin/python"
    told = subprocess.run(
        [str(python), "-m", "dmwatch", "--paths"],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(line.split(maxsplit=1) for line in told.stdout.splitlines())
    shared = staged / "opt/dmwatch/share/dmwatch"
    assert found["unit"] == str(shared / "systemd/dmwatch.service")
    assert found["example"] == str(shared / "config.example.toml")
    assert sorted(path.name for path in Path(found["drop-ins"]).iterdir()) == [
        "exec.conf",
        "webhook.conf",
    ]


def test_uninstalling_leaves_what_is_the_operators(installed: Path) -> None:
    mine = {
        "etc/dmwatch/config.toml",
        "var/lib/dmwatch/events.db",
        "etc/systemd/system/dmwatch.service.d/webhook.conf",
    }
    for name in mine:
        (installed / name).parent.mkdir(parents=True, exist_ok=True)
        (installed / name).write_text("mine")
    done = run("uninstall", DESTDIR=str(installed))
    assert (done.returncode, done.stderr) == (0, "")
    assert "yours and still there" in done.stdout
    assert files(installed) == mine
    assert not (installed / "opt/dmwatch").exists()


def test_slashes_too_many_are_none(tmp_path: Path) -> None:
    root = tmp_path / "root"
    paths = {"DESTDIR": f"{root}//", "PREFIX": "/opt//dmwatch/"}
    done = run("install", **paths)
    assert done.returncode == 0, done.stderr
    program = root / "opt/dmwatch/bin/dmwatch"
    assert program.read_text().startswith("#!/opt/dmwatch/bin/python\n")
    assert "ExecStart=/opt/dmwatch/bin/dmwatch run\n" in (root / UNIT).read_text()
    assert run("uninstall", DESTDIR=str(root)).returncode == 0
    assert files(root) == set()


def test_what_was_broken_off_can_be_taken_away(tmp_path: Path) -> None:
    python = tmp_path / "python"
    # makes the environment, but not to its end
    python.write_text(
        '#!/bin/sh\ncase "$2" in venv) mkdir -p "$3/bin"; touch "$3/pyvenv.cfg"; exit 1 ;; esac\n'
    )
    python.chmod(0o755)
    root = str(tmp_path / "root")
    assert run("install", DESTDIR=root, PYTHON=str(python)).returncode == 1
    done = run("uninstall", DESTDIR=root)
    assert (done.returncode, done.stderr) == (0, "")
    assert not Path(root, "opt/dmwatch").exists()


def test_uninstalling_without_a_configuration_leaves_no_file(installed: Path) -> None:
    assert run("uninstall", DESTDIR=str(installed)).returncode == 0
    assert files(installed) == set()
    assert not (installed / "etc/dmwatch").exists()
    again = run("uninstall", DESTDIR=str(installed))
    assert again.returncode == 1
    assert "there is no installation of dmwatch" in again.stderr


def test_a_prefix_that_is_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "opt/dmwatch").mkdir(parents=True)
    (tmp_path / "opt/dmwatch/precious").touch()
    for command in ("install", "uninstall"):
        done = run(command, DESTDIR=str(tmp_path))
        assert done.returncode == 1
        assert "is no installation of dmwatch" in done.stderr
    assert (tmp_path / "opt/dmwatch/precious").exists()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PREFIX": "opt/x"}, "it must be an absolute path"),
        ({"PREFIX": "/"}, "it must be an absolute path"),
        ({"PREFIX": "//"}, "it must be an absolute path"),
        ({"PREFIX": "/opt/a b"}, "a path with spaces"),
        ({"PREFIX": "/opt/a&b"}, "cannot stand in the unit"),
        ({"PREFIX": "/opt/a%b"}, "cannot stand in the unit"),
        ({"PREFIX": "/opt/a|b"}, "cannot stand in the unit"),
        ({"PYTHON": "nopython"}, "nopython is not on PATH"),
        ({"PYTHON": "/bin/false"}, "dmwatch needs 3.11 or newer"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    done = run("install", **({"DESTDIR": str(tmp_path)} | environment))
    assert done.returncode == 1
    assert done.stderr.startswith("install: ")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_interpreter_in_somebodys_home_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$2" in *realpath*) echo /home/me/bin/python3.11 ;; esac\n')
    python.chmod(0o755)
    done = run("install", DESTDIR=str(tmp_path / "root"), PYTHON=str(python))
    assert done.returncode == 1
    assert "which the daemon does not see" in done.stderr
