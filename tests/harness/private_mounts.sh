#!/bin/bash
# private_mounts.sh PROVIDER_DIR COMMAND...: in a mount namespace of its own (unshare --mount), gives
# COMMAND a /dev to which entries can be added, and a libibverbs that knows the provider without
# any environment variable; then becomes COMMAND. Nothing reaches the machine.
set -eu
provider=$1
shift
mount -t tmpfs -o mode=755 private-dev /mnt
for entry in /dev/*; do
    name=${entry##*/}
    if [ "$name" = infiniband ]; then
        continue
    elif [ -L "$entry" ]; then
        cp -P "$entry" "/mnt/$name"
    elif [ -d "$entry" ]; then
        mkdir "/mnt/$name"
        mount --rbind "$entry" "/mnt/$name"
    else
        : >"/mnt/$name"
        mount --bind "$entry" "/mnt/$name"
    fi
done
mount --move /mnt /dev

mkdir -p /etc/libibverbs.d 2>/dev/null || true
drivers=$(cd /etc/libibverbs.d && for file in *.driver; do [ ! -e "$file" ] || cat "$file"; done)
mount -t tmpfs -o mode=755 private-drivers /etc/libibverbs.d
printf '%s\n' "$drivers" | grep -v vrdma >/etc/libibverbs.d/others.driver || true
printf 'driver %s/libvrdma\n' "$provider" >/etc/libibverbs.d/vrdma.driver
exec "$@"
