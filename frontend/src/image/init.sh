#!/usr/bin/busybox sh
# First process of the guest that `unhalted image debian` packs.  The kernel hands words NAME=VALUE of its command
# line that it does not know to this script's environment:
#   run="COMMAND"    run COMMAND with sh instead of giving a shell, then end
#   end=off|reset    how to end: ACPI power off (default), or reset
# Lines for those who watch the console: "@@ UP seconds release" when all is ready, "@@ DONE status" after COMMAND.
b=/usr/bin/busybox
export PATH=/usr/sbin:/usr/bin:/bb HOME=/root TERM="${TERM:-linux}" PAGER=cat
$b mkdir -p /proc /sys /dev /tmp /run /root /bb /mnt
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev 2> /dev/null
exec < /dev/console > /dev/console 2>&1
$b --install -s /bb
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts; mount -t tmpfs tmp /tmp; mount -t tmpfs run /run; mount -t tmpfs shm /dev/shm
mount -t tracefs t /sys/kernel/tracing 2> /dev/null; mount -t debugfs d /sys/kernel/debug 2> /dev/null
for m in $(cat /etc/modules); do modprobe -q "$m"; done
hostname unhalted
ip link set lo up
echo -1 > /proc/sys/kernel/perf_event_paranoid
echo 0 > /proc/sys/kernel/kptr_restrict
ulimit -c 0
cd /root || exit
read -r up _ < /proc/uptime
echo "@@ UP $up $(uname -r)"
if [ -n "$run" ]; then
	command=$run; unset run
	sh -c "$command" < /dev/null
	echo "@@ DONE $?"
else
	PS1='\w \$ ' setsid cttyhack sh
fi
sync
[ "$end" = reset ] && reboot -f
poweroff -f
