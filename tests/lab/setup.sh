#!/usr/bin/env bash
# Everything that the lab and the tests need: Debian packages, the virtual environment in .venv.
#
#   tests/lab/setup.sh         all of it (make setup)
#   tests/lab/setup.sh venv    only the virtual environment (make lint)
#
# Doing it twice is quick: packages are asked of dpkg, the environment carries a hash of what it was
# made from. PYTHON names the interpreter (default: python3 on PATH, 3.11 or newer).
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=(
  qemu-system-x86      # the machine
  linux-image-amd64    # the kernel, with device-mapper's modules
  busybox-static       # virtme-ng's initramfs
  udev                 # gives the guest its serial ports by name
  iproute2 kmod        # the guest's init; modprobe, depmod
  systemd              # runs the daemon in the guest; systemd-analyze
  dmsetup              # the second witness of the kernel tests
  lvm2 dmeventd thin-provisioning-tools multipath-tools cryptsetup-bin
  python3-venv
)
tools=(python pytest ruff mypy lint-imports vng dmwatch)
stamp=.venv/.dmwatch-setup
log=.lab/setup.log
policy=/usr/sbin/policy-rc.d

say() { printf 'setup: %s\n' "$*"; }

fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

show_log() {
  printf '%s\n' "---- the end of $log" >&2
  tail -n 15 "$log" >&2
  printf '%s\n' "----" >&2
}

network_trouble() {
  grep -qiE 'resolv|could not connect|unable to connect|connection (failed|refused|reset|timed out)|unreachable|timed out|failed to establish|max retries|no matching distribution' "$log"
}

check_machine() {
  if [ "$(uname -s)" != Linux ] || [ "$(uname -m)" != x86_64 ]; then
    fail "this is $(uname -s) on $(uname -m), the lab needs Linux on x86_64: try it on such a machine or in a container."
  fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    fail "there is no apt-get here, the lab is made of Debian packages: try Debian 12 or a container of it."
  fi
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    installed "$package" || printf '%s\n' "$package"
  done
}

start_no_services() {
  [ -e "$policy" ] && return
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
}

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -y -q -o Dpkg::Use-Pty=0 "$@" >>"$log" 2>&1 </dev/null
}

apt_failed() {
  show_log
  if network_trouble; then
    fail "apt-get could not $1, most likely because the mirrors cannot be reached: check the network and /etc/apt, then run make setup again."
  elif grep -qi 'could not get lock' "$log"; then
    fail "apt-get could not $1 because another apt or dpkg is running: wait for it, then run make setup again."
  fi
  fail "apt-get could not $1, see $log: try 'apt-get -f install', then make setup again."
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  if [ "${#missing[@]}" -eq 0 ]; then
    say "Debian packages: all ${#packages[@]} are here"
    return
  fi
  say "Debian packages to install (without recommends, no service is started): ${missing[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    fail "packages are missing and only root can install them: run 'sudo apt-get install --no-install-recommends ${missing[*]}' or run make setup as root."
  fi
  start_no_services
  say "fetching the package lists (up to a minute)"
  apt update || apt_failed "fetch the package lists"
  say "installing ${#missing[@]} packages and what they depend on (1 to 5 minutes)"
  apt install --no-install-recommends "${missing[@]}" || apt_failed "install the packages"
}

wanted() {
  { sha256sum pyproject.toml tests/lab/setup.sh && pwd && "$1" --version; } | sha256sum | cut -d' ' -f1
}

tools_here() {
  local tool
  for tool in "${tools[@]}"; do
    [ -x ".venv/bin/$tool" ] || return 1
  done
  .venv/bin/python -c 'import dmwatch' 2>/dev/null
}

check_python() {
  command -v "$python" >/dev/null ||
    fail "$python is not on PATH: install Python 3.11 or newer, or name one as in 'make setup PYTHON=python3.12'."
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is $("$python" --version 2>&1), dmwatch needs 3.11 or newer: name one as in 'make setup PYTHON=python3.12'."
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python cannot make virtual environments, its venv module is missing: install python3-venv, or name another as in 'make setup PYTHON=/usr/bin/python3'."
}

make_venv() {
  if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    say "making .venv with $("$python" --version) (10 seconds)"
    "$python" -m venv --clear .venv >>"$log" 2>&1 || { show_log; fail "$python could not make .venv, see $log: is the disk full?"; }
  fi
  say "installing dmwatch and its tools into .venv (up to 2 minutes)"
  .venv/bin/python -m pip install --disable-pip-version-check -e '.[dev]' >>"$log" 2>&1 || pip_failed
  tools_here || fail "pip ended well but .venv lacks a tool (${tools[*]}), see $log: remove .venv and run make setup again."
}

pip_failed() {
  show_log
  if network_trouble; then
    fail "pip could not fetch the packages of pyproject.toml, most likely because the package index cannot be reached: check the network and pip's configuration, then run make setup again."
  fi
  fail "pip could not install the packages of pyproject.toml, see $log: remove .venv and run make setup again."
}

setup_venv() {
  python=${PYTHON:-python3}
  if [ -x .venv/bin/python ] && tools_here && [ "$(cat "$stamp" 2>/dev/null)" = "$(wanted .venv/bin/python)" ]; then
    say "virtual environment: .venv is up to date"
    return
  fi
  check_python
  make_venv
  wanted .venv/bin/python >"$stamp"
}

mkdir -p .lab 2>/dev/null || fail "this directory cannot be written to ($(pwd)): clone into one that you own."
exec 9>.lab/setup.lock
flock -n 9 || { say "waiting for another make setup"; flock 9; }
: >"$log"
[ "${1:-all}" = venv ] || { check_machine; install_packages; }
setup_venv
say "ready"
