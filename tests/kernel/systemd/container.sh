#!/bin/bash
# A system manager of its own inside the guest, for the daemon alone:
#
#   unshare --pid --fork --mount --uts container.sh CHECKOUT
#
# Only what the daemon needs is started: the journal, and the targets that its unit names.
set -e
checkout=$1
staged=$checkout/.lab/staged
units=/usr/lib/systemd/system
wanted=(
  basic.target final.target multi-user.target paths.target shutdown.target slices.target sockets.target
  sysinit.target timers.target umount.target
  systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket
)

mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=755 etc-systemd /etc/systemd
mount -t tmpfs -o mode=755 var-lib /var/lib
mountpoint -q /sys/fs/cgroup && umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup

mkdir /run/units /run/lab-old
mount --bind "$units" /run/lab-old
for unit in "${wanted[@]}"; do cp "/run/lab-old/$unit" /run/units; done
mount -t tmpfs -o mode=755 units "$units"
cp /run/units/* "$units"
umount /run/lab-old

# laid over the root as a package would be
mkdir -p /opt/dmwatch /etc/systemd/system /etc/dmwatch
mount --bind "$staged/opt/dmwatch" /opt/dmwatch
cp -r "$staged/etc/." /etc
cp -r "$staged/usr/local/." /usr/local 2>/dev/null || true

mkdir -p /run/systemd/system
cat >/run/systemd/system/lab.target <<'UNIT'
[Unit]
Requires=sysinit.target basic.target systemd-journald.socket systemd-journald.service
After=sysinit.target basic.target systemd-journald.service
AllowIsolate=yes
UNIT
cat >/etc/systemd/journald.conf <<'UNIT'
[Journal]
Storage=volatile
RateLimitIntervalSec=0
UNIT
: >/etc/machine-id || true
echo 0123456789abcdef0123456789abcdef >/run/machine-id
mount --bind /run/machine-id /etc/machine-id
export container=other
exec /lib/systemd/systemd --system --unit=lab.target --log-target=journal-or-kmsg
