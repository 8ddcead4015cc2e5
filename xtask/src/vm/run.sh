# Process 1 of a guest, in its final root: makes the system whole, runs the commands, reports, and ends it.
own=/run/guest/busybox
mount() { $own mount "$@"; }
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t bpf -o mode=700 bpf /sys/fs/bpf
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
ln -sfn /proc/self/fd /dev/fd
ln -sfn fd/0 /dev/stdin
ln -sfn fd/1 /dev/stdout
ln -sfn fd/2 /dev/stderr

for port in /sys/class/virtio-ports/*; do
    case $(cat "$port/name") in
    output) output=/dev/${port##*/} ;;
    report) report=/dev/${port##*/} ;;
    esac
done
exec 3>"$report" 4>"$output"

# As under systemd: the controllers are on, and nothing but the kernel is in the root of the hierarchy.
echo '+cpu +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/guest
echo 1 >/sys/fs/cgroup/guest/cgroup.procs

for module in tun veth dummy vsock vsock_loopback tls sctp inet_diag tcp_diag udp_diag unix_diag \
    netlink_diag packet_diag af_key nf_tables; do
    modprobe -q "$module"
done
$own ip link set lo up
$own hostname guest

. /run/guest/environment
export HOME=/root TERM=dumb GUARD_TEST_SKIPS=/run/guest/skips \
    GUARD_ESCAPES=/run/guest/escapes.jsonl
cd "$GUARD_VM_DIRECTORY" || cd /
uptime() { read -r up rest </proc/uptime; echo "$up"; }
echo "booted $(uptime) $(uname -r) $(cat /sys/kernel/security/lsm)" >&3

number=0
while [ -e "/run/guest/command.$number" ]; do
    # A pipe, as for any program whose output is kept; the device itself can be opened but once.
    mkfifo "/run/guest/pipe.$number"
    cat <"/run/guest/pipe.$number" >&4 &
    copier=$!
    started=$(uptime)
    /bin/sh "/run/guest/command.$number" </dev/null >"/run/guest/pipe.$number" 2>&1 3>&- 4>&-
    echo "exit $number $? $started $(uptime)" >&3
    # Whatever the command left running may hold the pipe for good.
    left=50
    while kill -0 "$copier" 2>/dev/null && [ "$left" -gt 0 ]; do
        sleep 0.1
        left=$((left - 1))
    done
    number=$((number + 1))
done
[ ! -e "$GUARD_TEST_SKIPS" ] || sed 's/^/skip /' "$GUARD_TEST_SKIPS" >&3
[ ! -e "$GUARD_ESCAPES" ] || sed 's/^/row /' "$GUARD_ESCAPES" >&3
echo end >&3
exec 3>&- 4>&-
$own reboot -f
