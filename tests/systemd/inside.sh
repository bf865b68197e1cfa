#!/bin/bash
# Become systemd in a machine that is nothing but namespaces: inside.sh DIR. Called by boot.py, already in new mount, pid,
# uts, ipc, net and cgroup namespaces. The root file system is seen through an overlay whose changes stay in memory; DIR
# is the way in and out, seen inside as /host.
set -euo pipefail
DIR=$1

mount --make-rprivate /
mkdir -p "$DIR/ov"
mount -t tmpfs -o size=6g tmpfs "$DIR/ov"
mkdir "$DIR/ov/up" "$DIR/ov/work" "$DIR/ov/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$DIR/ov/up,workdir=$DIR/ov/work" "$DIR/ov/root"
cd "$DIR/ov/root"

mount -t proc proc proc
# Read-only, or systemd-sysctl would change what belongs to the whole machine.
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
# A host's full /tmp would be cleaned through the overlay, which takes seconds.
mount -t tmpfs -o mode=1777 tmpfs tmp

mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for number in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${number%:*}" "dev/${number#*:}"; done

mkdir -p host
mount --bind "$DIR" host

# What a machine of namespaces cannot do, or what would take its time.
for unit in systemd-modules-load.service systemd-remount-fs.service systemd-update-utmp.service \
  systemd-journal-flush.service systemd-tmpfiles-clean.timer apt-daily.timer apt-daily-upgrade.timer \
  e2scrub_all.timer man-db.timer dpkg-db-backup.timer sys-kernel-debug.mount sys-kernel-tracing.mount \
  sys-fs-fuse-connections.mount dev-hugepages.mount systemd-journald-audit.socket; do
  ln -sf /dev/null "etc/systemd/system/$unit"
done
ip link set lo up

mkdir .old
pivot_root . .old
umount -l /.old
rmdir /.old
# In a container systemd leaves this to whoever made it; credentials reach a service by mounts that propagate.
mount --make-rshared /
exec env -i container=indexttsd-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=basic.target --show-status=0
