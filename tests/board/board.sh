#!/usr/bin/env bash
# An emulated arm64 board for the tests: a Debian in a folder, whose programs qemu runs, behind an sshd of its own.
# It prints what a Jetson Orin Nano printed (tests/measure/recorded), has no GPU, no pip and no name server, and is
# slow: its times say nothing of a board.
#
#   tests/board/board.sh begin FOLDER    makes the board if it is not there yet (minutes), and starts its sshd
#   tests/board/board.sh end FOLDER      ends all that runs on it; the folder stays for the next time
#
# After `begin`, `ssh -F FOLDER/ssh_config board` is a shell on it, as user nvidia; for edgecnn that is
# EDGECNN_SSH="ssh -F FOLDER/ssh_config". It takes root, and Debian's packages debootstrap and qemu-user-static.
# MIRROR names another archive than Debian's own.
set -euo pipefail

action=${1:-} folder=$(realpath -- "${2:-.}")
[[ $# = 2 && $action =~ ^(begin|end)$ ]] || { echo "usage: board.sh begin|end FOLDER" >&2; exit 2; }
root=$folder/root
recorded=$(realpath -- "$(dirname -- "$0")/../measure/recorded/orin_nano_jp7")

fail() { echo "board.sh: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "needs root (debootstrap and chroot do)"

# The process that all others of the board end with; nothing if it does not run. A number may have been given away.
running() {
    local pid
    pid=$(cat "$folder/pid" 2> /dev/null) && grep -qz -- "--root=$root" "/proc/$pid/cmdline" 2> /dev/null && echo "$pid"
}

# arm64 programs run by themselves; a kernel that knows no other architecture yet is told.
emulate() {
    command -v qemu-aarch64-static > /dev/null || fail "no qemu; apt-get install qemu-user-static"
    local registry=/proc/sys/fs/binfmt_misc
    [ -e $registry/register ] || mount -t binfmt_misc binfmt_misc $registry
    [ -e $registry/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64 ||
        fail "the kernel knows no qemu-aarch64; apt-get install binfmt-support"
    # F: qemu was opened beforehand, so the board needs no copy of it.
    grep -q '^flags:.*F' $registry/qemu-aarch64 || fail "qemu-aarch64 is not registered to work in a chroot (flag F)"
}

make() {
    command -v debootstrap > /dev/null || fail "no debootstrap; apt-get install debootstrap"
    rm -rf "$folder/making"
    mkdir -p "$folder/packages" "$folder/making"
    # Like the system of a flashed board: Python without pip, ensurepip or a compiler. In a namespace of its own, what
    # debootstrap mounts is gone however it ends, and never in the way of the rm above.
    unshare --mount debootstrap --arch=arm64 --variant=minbase --include=python3,openssh-server,ca-certificates \
        --cache-dir="$folder/packages" bookworm "$folder/making" ${MIRROR:+"$MIRROR"}
    rm -f "$folder/making/etc/resolv.conf" "$folder"/making/var/cache/apt/archives/*.deb
    chroot "$folder/making" useradd --create-home --shell /bin/bash --password '*' nvidia
    mv "$folder/making" "$root"
}

# Installs a program on the board: its name, and its text from the standard input.
program() { install -m 755 /dev/stdin "$root/usr/sbin/$1"; }

dress() {
    install -D -m 644 -t "$root/usr/share/recorded" "$recorded"/*
    cp "$recorded/nv_tegra_release" "$recorded/nvpmodel.conf" "$root/etc/"
    # The names of NVIDIA's tools. What they print is recorded; what they refuse, they refuse to all but root.
    program tegrastats <<< $'#!/bin/sh\ncat /usr/share/recorded/tegrastats\nexec sleep infinity'
    program nvpmodel <<'END'
#!/bin/sh
[ "$1" = -q ] && exec cat /usr/share/recorded/nvpmodel_q
echo "NVPM ERROR: not on an emulated board" && exit 1
END
    program jetson_clocks <<'END'
#!/bin/sh
[ "$(id -u)" = 0 ] || { echo "Error: Please run this script($0) as a root user"; exit 1; }
[ "$1" = --show ] && exec cat /usr/share/recorded/jetson_clocks_show
echo "not on an emulated board" && exit 1
END
    # Files instead of a kernel's: the device tree's name of the board, and the cores.
    install -d "$root/sys/firmware/devicetree/base" "$root/sys/devices/system/cpu"
    sed -n 's/.*Machine:\(.*\)/\1/p' "$recorded/jetson_clocks_show" > "$root/sys/firmware/devicetree/base/model"
    for list in possible present online; do
        cp "/sys/devices/system/cpu/$list" "$root/sys/devices/system/cpu/$list"
    done
}

keys() {
    [ -e "$folder/key" ] || ssh-keygen -q -t ed25519 -N '' -C 'tests/board' -f "$folder/key"
    install -d -o 1000 -g 1000 -m 700 "$root/home/nvidia/.ssh"
    install -o 1000 -g 1000 -m 600 "$folder/key.pub" "$root/home/nvidia/.ssh/authorized_keys"
}

client() {
    local port=$1
    echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$root/etc/ssh/ssh_host_ed25519_key.pub")" > "$folder/known_hosts"
    cat > "$folder/ssh_config" <<END
Host board 127.0.0.1
    HostName 127.0.0.1
    Port $port
    User nvidia
    IdentityFile $folder/key
    IdentitiesOnly yes
    UserKnownHostsFile $folder/known_hosts
END
}

start() {
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    client "$port"
    mkdir -p "$root/run/sshd"
    # In namespaces of its own: what is mounted and what runs there ends with this one process. PATH is Ubuntu's.
    setsid unshare --mount --pid --fork --kill-child --root="$root" --mount-proc=/proc \
        /usr/sbin/sshd -D -e -p "$port" -o ListenAddress=127.0.0.1 -o UsePAM=no -o PasswordAuthentication=no \
        -o SetEnv=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        < /dev/null > "$folder/sshd.log" 2>&1 &
    echo $! > "$folder/pid"
    for _ in {1..60}; do
        ssh -F "$folder/ssh_config" -o BatchMode=yes board true 2> "$folder/ssh.log" && return
        running > /dev/null || fail "sshd ended: $(tail -n 1 "$folder/sshd.log")"
        sleep 1
    done
    fail "sshd does not answer: $(tail -n 1 "$folder/ssh.log")"
}

if [ "$action" = begin ]; then
    ! running > /dev/null || exit 0
    emulate
    [ -d "$root" ] || make
    dress
    keys
    start
elif pid=$(running); then
    # unshare lets no gentler signal through, and ends after the last process of the board.
    kill -KILL "$(tr -d ' ' < "/proc/$pid/task/$pid/children")"
    while running > /dev/null; do sleep 0.1; done
fi
