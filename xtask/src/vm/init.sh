#!/bin/busybox sh
# Process 1 of a guest's initramfs: puts a writable layer over the host's file system and goes there.
/bin/busybox mkdir -p /proc /sys /dev /host /layer /overlay /root
/bin/busybox --install -s /bin
export PATH=/bin
die() { echo "guard-vm: $*" >/dev/kmsg; sleep 1; reboot -f; }

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/modules/$module" || die "module $module does not load"
done </modules/order

mount -t virtiofs -o ro host /host || die 'the host file system does not mount'
mount -t tmpfs -o size=75%,mode=755 layer /layer && mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work overlay /overlay ||
    die 'the overlay does not mount'
mount --bind /overlay /root

# Fresh, as after a boot; what the tests need of the host's stays visible in them.
for place in /tmp /var/tmp /run; do
    mkdir -p "/root$place"
    mount -t tmpfs -o size=50% tmpfs "/root$place"
done
chmod 1777 /root/tmp /root/var/tmp
chmod 755 /root/run
while read -r place; do
    case $place in
    /tmp/* | /var/tmp/* | /run/*)
        mkdir -p "/root$place"
        mount --bind "/overlay$place" "/root$place" || die "$place is not there"
        ;;
    esac
done </guest/places

mkdir -p /root/run/guest /root/lib/modules
cp -a /guest/. /bin/busybox /root/run/guest/
release=$(uname -r)
[ -e "/root/lib/modules/$release" ] || ln -s "$(cat /guest/modules)" "/root/lib/modules/$release"
umount /proc /sys
mount --move /dev /root/dev
exec switch_root /root /run/guest/busybox sh /run/guest/run.sh
