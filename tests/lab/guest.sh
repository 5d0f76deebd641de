#!/bin/bash
# What the guest does before and after the job. The host's lab.py put this file, job.env and job.sh into
# the shared directory /run/lab and waits for /run/lab/status.
#
# virtme-ng's root is 9p without a cache: every import asks the host for every file. So the trees that
# the job reads most (LAB_TREES) come from a second, caching 9p export of the same root; imports
# take a third of the time.
lab=/run/lab
root=/run/lab-root

fail() {
  echo "lab: in the guest: $*" >&2
  echo 125 >"$lab/status"
  exit 125
}

cached_trees() {
  local release modules tree
  release=$(uname -r)
  modules=$(readlink -f "/lib/modules/$release")
  mkdir -p "$root"
  mount -t 9p -o ro,version=9p2000.L,trans=virtio,cache=loose,msize=512000 lab-root "$root" ||
    fail "the host's root cannot be mounted a second time"
  while read -r tree; do
    mkdir -p "$tree" 2>/dev/null
    mount --bind "$root$tree" "$tree" || fail "$tree of the host cannot be seen"
  done <"$lab/trees"
  if [ ! -e "/lib/modules/$release/modules.dep" ]; then
    mount -t tmpfs lab-modules /lib/modules && ln -s "$root$modules" "/lib/modules/$release"
  fi
}

device_mapper() {
  modprobe -a dm-mod loop || fail "this kernel cannot load dm-mod and loop"
  [ -c /dev/mapper/control ] || fail "device-mapper is loaded but there is no /dev/mapper/control"
}

# udev has named the serial ports; from here on nothing but the job opens block devices.
udevadm control --exit 2>/dev/null
cached_trees
device_mapper
. "$lab/job.env"
cd "$LAB_CHECKOUT" || fail "$LAB_CHECKOUT is not there"
bash "$lab/job.sh" </dev/null
status=$?
dmesg >"$lab/dmesg" 2>/dev/null
echo "$status" >"$lab/status"
exit "$status"
