#!/usr/bin/env bash
# Install the daemon, or take it away again: make install, make uninstall.
#
#   PREFIX   the virtual environment (default /opt/dmwatch)
#   DESTDIR  put before every path that is written: for packagers
#   PYTHON   the interpreter: 3.11 or newer, not below /home or /root (default: the first such
#            python3 on PATH)
#   EXTRAS   optional parts, as in EXTRAS=webhook
#
# pip fetches what dmwatch needs; its own variables (PIP_NO_INDEX, PIP_FIND_LINKS) are obeyed.
set -euo pipefail

# a path without slashes too many: it is looked for in what venv writes
plain() { [ -z "$1" ] || realpath -ms -- "$1"; }

prefix=${PREFIX:-/opt/dmwatch}
case $prefix in /*) prefix=$(plain "$prefix") ;; esac
destdir=$(plain "${DESTDIR:-}")
destdir=${destdir%/}
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
target=$destdir$prefix
unit=/etc/systemd/system/dmwatch.service
example=/etc/dmwatch/config.example.toml
program=/usr/local/bin/dmwatch
completions=(
  bash:/usr/local/share/bash-completion/completions/dmwatch
  zsh:/usr/local/share/zsh/site-functions/_dmwatch
  fish:/usr/local/share/fish/vendor_completions.d/dmwatch.fish
)

say() { printf '%s: %s\n' "$command" "$*"; }

fail() {
  printf '%s: %s\n' "$command" "$*" >&2
  exit 1
}

check_prefix() {
  case $prefix in
    /?*) ;;
    *) fail "PREFIX is ${prefix:-empty}, it must be an absolute path: leave it away for /opt/dmwatch." ;;
  esac
  case $prefix$destdir in
    *[\&\|\\%\$\"\'\`\;\*\?\[\]\^\#]*) fail "a path with one of & | \\ % \$ \" ' \` ; * ? [ ] ^ # cannot stand in the unit: choose another PREFIX or DESTDIR." ;;
    *[[:space:]]*) fail "a path with spaces cannot stand in a program's first line: choose another PREFIX or DESTDIR." ;;
  esac
}

ours() { [ -f "$target/pyvenv.cfg" ] && [ -e "$target/share/dmwatch" ]; }

empty() { [ ! -e "$1" ] || [ -z "$(ls -A "$1")" ]; }

# Installing

in_a_home() {
  case $("$1" -c 'import os, sys; print(os.path.realpath(sys.executable))') in
    /home/* | /root/* | /run/user/*) ;;
    *) return 1 ;;
  esac
}

suits() {
  "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && ! in_a_home "$1"
}

# The first python3 on PATH may be one that somebody keeps at home.
choose_python() {
  [ -z "${PYTHON:-}" ] || return 0
  local found
  while read -r found; do
    if suits "$found"; then
      python=$found
      return
    fi
  done < <(type -aP python3 python3.13 python3.12 python3.11)
}

check_python() {
  choose_python
  command -v "$python" >/dev/null ||
    fail "$python is not on PATH: install Python 3.11 or newer, or name one, as in 'make install PYTHON=python3.12'."
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is $("$python" --version 2>&1), dmwatch needs 3.11 or newer: name one, as in 'make install PYTHON=python3.12'."
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python cannot make virtual environments, its venv module is missing: install python3-venv."
  ! in_a_home "$python" ||
    fail "$python is in somebody's home, which the daemon does not see (ProtectHome=): name the system's, as in 'make install PYTHON=/usr/bin/python3'."
}

# Said, not refused: without the unit it is of use there.
warn_of_prefix() {
  case $prefix in
    /home/* | /root/* | /run/user/* | /tmp/* | /var/tmp/*)
      say "the daemon does not see $prefix (ProtectHome=, PrivateTmp=): the unit cannot start from there"
      ;;
  esac
}

check_target() {
  empty "$target" || ours ||
    fail "$target is there already and is no installation of dmwatch: choose another PREFIX."
  mkdir -p "$target" 2>/dev/null && [ -w "$target" ] ||
    fail "$target cannot be written to: run it as root, or give PREFIX or DESTDIR."
}

make_environment() {
  say "making the virtual environment $target ($("$python" --version))"
  # first: what is broken off must be known as ours, to be mended or taken away
  mkdir -p "$target/share/dmwatch"
  "$python" -m venv "$target"
  say "installing dmwatch and what it needs"
  "$target/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade \
    ".${EXTRAS:+[$EXTRAS]}" ||
    fail "pip could not install dmwatch, most likely because the package index cannot be reached: see above; PIP_FIND_LINKS can name a directory with the packages."
  [ -z "$destdir" ] || relocate
}

# what was made below DESTDIR will run without it
relocate() {
  grep -rlIF "$target" "$target/bin" "$target/pyvenv.cfg" | xargs -r sed -i "s|$target|$prefix|g"
  "$target/bin/python" -m compileall -q -f -s "$destdir" -p / "$target/lib" || true # pip did it once
}

install_files() {
  sed "s|/opt/dmwatch|$prefix|" systemd/dmwatch.service | put "$unit" 644
  put "$example" 644 <config.example.toml
  mkdir -p "$destdir${program%/*}"
  ln -sfn "$prefix/bin/dmwatch" "$destdir$program"
  local pair
  for pair in "${completions[@]}"; do
    _DMWATCH_COMPLETE=${pair%%:*}_source "$target/bin/python" -m dmwatch | put "${pair#*:}" 644
  done
}

put() {
  install -D -m "$2" /dev/stdin "$destdir$1"
}

reload_manager() {
  if [ -z "$destdir" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
  fi
}

install_all() {
  check_prefix
  check_python
  umask 022
  check_target
  make_environment
  install_files
  reload_manager
  warn_of_prefix
  say "installed: $prefix, $unit, $example, $program, shell completion"
  say "next: cp $example /etc/dmwatch/config.toml, edit it, dmwatch check-config, systemctl enable --now dmwatch"
}

# Taking it away

stop_daemon() {
  if [ -z "$destdir" ] && [ -d /run/systemd/system ] && [ -e "$unit" ]; then
    systemctl disable --now dmwatch.service || fail "dmwatch.service cannot be stopped: see systemctl status dmwatch."
  fi
}

uninstall_all() {
  check_prefix
  [ -e "$target" ] || [ -e "$destdir$unit" ] || fail "there is no installation of dmwatch in $target."
  [ ! -e "$target" ] || ours || fail "$target is no installation of dmwatch: nothing is removed."
  stop_daemon
  rm -rf "$target"
  rm -f "$destdir$unit" "$destdir$example" "${completions[@]/#*:/$destdir}"
  [ "$(readlink "$destdir$program")" != "$prefix/bin/dmwatch" ] || rm -f "$destdir$program"
  rmdir --ignore-fail-on-non-empty "$destdir/etc/dmwatch" 2>/dev/null || true
  reload_manager
  say "removed; yours and still there, where they were: /etc/dmwatch/config.toml, /etc/systemd/system/dmwatch.service.d, /var/lib/dmwatch (the journal)"
}

command=${1:-}
case $command in
  install) install_all ;;
  uninstall) uninstall_all ;;
  *)
    command=systemd/install.sh
    fail "say install or uninstall."
    ;;
esac
