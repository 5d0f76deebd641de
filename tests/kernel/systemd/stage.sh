#!/usr/bin/env bash
# make staged: install the daemon below .lab/staged, as a packager does with DESTDIR. The kernel test
# of the daemon under systemd lays it over the guest's root, where there is no network to install
# from. The system's own Python: the daemon's sandbox hides everybody's home.
set -euo pipefail
cd "$(dirname "$0")/../../.."
staged=$PWD/.lab/staged
stamp=$staged.stamp

fingerprint() {
  {
    /usr/bin/python3 --version
    find dmwatch systemd tests/kernel/systemd/stage.sh pyproject.toml config.example.toml -type f -not -name '*.pyc' -print0 |
      sort -z | xargs -0 sha256sum
  } | sha256sum | cut -d' ' -f1
}

mkdir -p .lab
exec 9>.lab/staged.lock
flock 9
if [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint)" ]; then
  echo "staged: .lab/staged is up to date"
  exit
fi
rm -f "$stamp"
DESTDIR=$staged PREFIX='' EXTRAS=webhook PYTHON=/usr/bin/python3 systemd/install.sh install
fingerprint >"$stamp"
