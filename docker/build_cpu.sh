#!/usr/bin/env bash
# Builds docker/cpu.Dockerfile where there is no Docker engine and no registry, and runs what it made:
#
#   docker/build_cpu.sh MODEL.onnx
#
# It takes root and Debian's packages buildah and debootstrap. The base image is a Debian 12 that debootstrap makes
# from Debian's archive (MIRROR names another); CACHE keeps it, with buildah's storage. pip inside uses the pip
# configuration and the certificates of this machine, where it has any; the image does not keep them.
# The image is removed afterwards unless KEEP=1.
set -euo pipefail

model=$(realpath -- "${1:?usage: docker/build_cpu.sh MODEL.onnx}")
cd "$(dirname "$0")/.."
CACHE=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/edgecnn/docker}
image=localhost/edgecnn:cpu
base=localhost/debian:bookworm-minbase

[ "$(id -u)" = 0 ] || { echo "docker/build_cpu.sh: needs root (debootstrap and chroot do)" >&2; exit 1; }
for tool in buildah debootstrap; do
    command -v "$tool" > /dev/null || { echo "docker/build_cpu.sh: no $tool; apt-get install $tool" >&2; exit 1; }
done
mkdir -p "$CACHE"

# vfs and chroot ask next to nothing of the kernel, so this works inside a container too.
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --storage-driver vfs --root "$CACHE/storage" --runroot "$CACHE/run" "$@"; }

container=
clean_up() {
    [ -z "$container" ] || buildah rm "$container" > /dev/null
    [ -n "${KEEP:-}" ] || ! buildah inspect --type image "$image" > /dev/null 2>&1 || buildah rmi "$image" > /dev/null
}
trap clean_up EXIT

make_base() {
    local root=$CACHE/base
    rm -rf "$root"
    # As in Debian's own slim image: no documentation or translations, and apt keeps nothing that it can make again.
    mkdir -p "$root/etc/dpkg/dpkg.cfg.d" "$root/etc/apt/apt.conf.d"
    printf 'path-exclude=/usr/share/%s/*\n' doc man info locale > "$root/etc/dpkg/dpkg.cfg.d/slim"
    printf '%s;\n' 'Dir::Cache::pkgcache ""' 'Dir::Cache::srcpkgcache ""' 'APT::Keep-Downloaded-Packages "false"' \
        > "$root/etc/apt/apt.conf.d/slim"
    debootstrap --variant=minbase bookworm "$root" ${MIRROR:+"$MIRROR"}
    rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/* "$root"/usr/share/{doc,man,info,locale}/*
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$root" / > /dev/null
    buildah commit --quiet "$container" "$base" > /dev/null
    buildah rm "$container" > /dev/null
    container=
    rm -rf "$root"
}

# Options that mount the first file of "$@" that exists (the last word is where).
mount_first() {
    local target=${*: -1} file
    for file in "${@:1:$#-1}"; do
        [ ! -f "$file" ] || { mounts+=(--volume "$(realpath -- "$file"):$target:ro"); return; }
    done
}

buildah inspect --type image "$base" > /dev/null 2>&1 || make_base

mounts=()
mount_first /etc/pip.conf /etc/pip.conf
mount_first "${PIP_CONFIG_FILE:-}" "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" /root/.config/pip/pip.conf
# From there Debian's ca-certificates, which python3-venv needs, takes it up when it is installed.
mount_first "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /usr/local/share/ca-certificates/host.crt
buildah bud --network host --build-arg BASE="$base" "${mounts[@]}" --tag "$image" --file docker/cpu.Dockerfile .

container=$(buildah from "$image")
run() {
    echo "\$ $*"
    buildah run --network host --volume "$model:/models/model.onnx:ro" "$container" -- "$@"
}
run id -u
run edgecnn doctor
photo=$(buildah run "$container" -- sh -c 'echo /opt/edgecnn/lib/python3*/site-packages/edgecnn/runtime/espresso.jpg')
run edgecnn predict /models/model.onnx "$photo" --top 1
run edgecnn profile /models/model.onnx --seconds 1 --json
echo "size of $image: $(buildah images --format '{{.Size}}' "$image")"
