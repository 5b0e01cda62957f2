#!/usr/bin/env bash
# Installs what "make build" has built on this node, and says what is left to do:
#   install.sh
# Run again, it replaces the programs and leaves configuration as it is.
#   PREFIX   for the programs and the unit (/usr/local)
#   DESTDIR  put before every path, for making a package; then nothing of this
#            machine is looked at
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

: "${PREFIX:=/usr/local}" "${DESTDIR:=}"
programs=(rekindled containerd-shim-rekindle-v2 rekindle-runc rekindle)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() {
  printf 'install: %s\n' "$*" >&2
  exit 1
}
did() { printf '  %-10s %s\n' "$1" "$2"; }

[[ $PREFIX == /* ]] || die "PREFIX=$PREFIX is not an absolute path"
[[ -n $DESTDIR || $(id -u) == 0 ]] || die 'run it as root, or set DESTDIR'
for program in "${programs[@]}"; do
  [[ -x bin/$program ]] || die "bin/$program is not built: run 'make build'"
done

# put MODE SOURCE TARGET: replaced by a rename, because programs may be running.
put() {
  local mode=$1 source=$2 target=$DESTDIR$3
  if cmp -s "$source" "$target"; then
    did unchanged "$target"
    return
  fi
  mkdir -p "${target%/*}"
  install -m "$mode" "$source" "$target.new"
  mv "$target.new" "$target"
  did installed "$target"
}

# keep MODE SOURCE TARGET: what an administrator may have changed stays.
keep() {
  if [[ -e $DESTDIR$3 ]] && ! cmp -s "$2" "$DESTDIR$3"; then
    did kept "$DESTDIR$3 (it differs from the one of this version)"
  else
    put "$@"
  fi
}

# The handler has to use the same cgroup driver as runc's.
systemd_cgroup() {
  [[ -z $DESTDIR ]] && command -v containerd >/dev/null || return 0
  # The one of the handler runc, which comes first or alone.
  containerd config dump 2>/dev/null | awk '
    /\.runtimes\.runc\.options.?\]/ { inside = 1; next }
    /^ *\[/ { inside = 0 }
    inside && $1 == "SystemdCgroup" { print $3; exit }'
}

cgroup=$(systemd_cgroup)
sed -e "s|/usr/local/bin|$PREFIX/bin|" -e "s|SystemdCgroup = true|SystemdCgroup = ${cgroup:-true}|" \
  conf/containerd/rekindle.toml >"$work/rekindle.toml"
sed "s|/usr/local/bin|$PREFIX/bin|" conf/systemd/rekindled.service >"$work/rekindled.service"

for program in "${programs[@]}"; do
  put 755 "bin/$program" "$PREFIX/bin/$program"
done
ln -sfn rekindle "$DESTDIR$PREFIX/bin/kubectl-rekindle"
did linked "$DESTDIR$PREFIX/bin/kubectl-rekindle"
put 644 "$work/rekindled.service" "$PREFIX/lib/systemd/system/rekindled.service"
put 644 conf/kubernetes/runtimeclass.yaml "$PREFIX/share/rekindle/runtimeclass.yaml"
put 644 conf/kubernetes/rbac/clusterrole.yaml "$PREFIX/share/rekindle/clusterrole.yaml"
put 644 conf/rekindle.toml "$PREFIX/share/rekindle/rekindle.toml"
keep 600 conf/rekindle.toml /etc/rekindle/rekindle.toml
keep 644 "$work/rekindle.toml" /etc/containerd/conf.d/rekindle.toml

[[ -z $DESTDIR ]] || exit 0

# What this script does not do, because it touches what runs.
number=0
todo() { printf '  %d. %s\n' $((++number)) "$*"; }
echo
echo 'Now:'
if ! containerd config dump 2>/dev/null | grep -q "$PREFIX/bin/containerd-shim-rekindle-v2"; then
  todo 'put this at the top of /etc/containerd/config.toml, which does not import the handler yet:'
  [[ -e /etc/containerd/config.toml ]] || echo '       version = 3'
  echo '       imports = ["/etc/containerd/conf.d/*.toml"]'
fi
if [[ -z $cgroup ]]; then
  todo 'see that SystemdCgroup in /etc/containerd/conf.d/rekindle.toml is as in your other handlers'
fi
todo 'systemctl restart containerd        (running containers go on)'
todo 'systemctl daemon-reload && systemctl enable rekindled && systemctl restart rekindled'
todo "kubectl apply -f $PREFIX/share/rekindle/runtimeclass.yaml   (once a cluster)"
todo 'rekindle check                      (tells what is still missing on this node)'
