#!/usr/bin/env bash
# Removes what install.sh has put on this node. Configuration and checkpoints
# stay, and their places are told. Settings: PREFIX and DESTDIR, as there.
#   FORCE    when set, also while pods run on the rekindle handler
set -euo pipefail

: "${PREFIX:=/usr/local}" "${DESTDIR:=}"
files=(
  "$PREFIX"/bin/{rekindled,containerd-shim-rekindle-v2,rekindle-runc,rekindle,kubectl-rekindle}
  "$PREFIX/lib/systemd/system/rekindled.service"
  "$PREFIX"/share/rekindle/{runtimeclass.yaml,clusterrole.yaml,rekindle.toml}
  /etc/containerd/conf.d/rekindle.toml
)

die() {
  printf 'uninstall: %s\n' "$*" >&2
  exit 1
}

[[ -n $DESTDIR || $(id -u) == 0 ]] || die 'run it as root, or set DESTDIR'

# containerd calls the shim's program again to clean up after each pod.
if [[ -z $DESTDIR && -z ${FORCE:-} ]]; then
  pods=$(find /proc/[0-9]*/exe -maxdepth 0 -lname "*/containerd-shim-rekindle-v2*" 2>/dev/null | wc -l)
  ((pods == 0)) ||
    die "$pods pods run on the rekindle handler: delete or drain them first, or set FORCE=1"
fi
if [[ -z $DESTDIR ]] && command -v systemctl >/dev/null; then
  systemctl disable --now rekindled 2>/dev/null || true
fi
for file in "${files[@]}"; do
  [[ -e $DESTDIR$file || -L $DESTDIR$file ]] || continue
  rm -f "$DESTDIR$file"
  printf '  removed    %s\n' "$DESTDIR$file"
done
rmdir "$DESTDIR$PREFIX/share/rekindle" 2>/dev/null || true

for left in /etc/rekindle /var/lib/rekindle; do
  [[ ! -e $DESTDIR$left ]] || printf '  left       %s\n' "$DESTDIR$left"
done
[[ -n $DESTDIR ]] || cat <<'END'

Now:
  1. systemctl daemon-reload && systemctl restart containerd
  2. kubectl delete runtimeclass rekindle   (once no node has the handler)
  3. rm -r /var/lib/rekindle                (the memory of workloads is in it)
END
