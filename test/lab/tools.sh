#!/usr/bin/env bash
# Builds the lab's tools from the module proxy, at the versions that the
# modules under tools/ pin, and prints where each one is:
#   tools.sh [node|cluster|lint|compat]...
# node is what one kubelet needs, cluster adds the control plane, compat is
# the older containerd, lint is what checks the sources. Each result is kept
# under a key of everything that went into it, so a second run builds nothing.
set -euo pipefail
# shellcheck source=test/lab/base.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/base.sh"

# One module a tool: a shared one would resolve everybody's dependencies to
# versions that nobody has tested.
kubernetes=k8s.io/kubernetes/cmd
containerd=github.com/containerd/containerd/v2
plugins=github.com/containernetworking/plugins

command -v go >/dev/null ||
  die "go is not on the PATH: install Go 1.26 or later (https://go.dev/dl) and run again"

# Settings of the caller's Go that would change what is built.
export GOFLAGS=-mod=readonly GOWORK=off
jobs=()
command -v nice >/dev/null && jobs=(nice -n 5)

# version MODULE, in the module of the current folder.
version() { go list -m -f '{{.Version}}' "$1"; }

# key: what decides the result besides the recipe in this file.
key() {
  {
    cat ./*.go go.mod go.sum 2>/dev/null
    go env GOVERSION GOARCH
    printf '%s\n' "$@"
  } | sha256sum | cut -c 1-16
}

# build TOOL TIME CGO TAGS LDFLAGS PACKAGE...: says how long it will take
# before it starts, for the long ones take minutes.
build() {
  local tool=$1 time=$2 cgo=$3 tags=$4 ldflags=$5 folder package
  local missing=()
  shift 5
  folder=$REKINDLE_CACHE/tools/$tool-$(key "$cgo" "$tags" "$ldflags")
  mkdir -p "$folder"
  for package in "$@"; do
    [[ -x $folder/$(name "$tool" "$package") ]] || missing+=("$package")
  done
  if ((${#missing[@]} > 0)); then
    if ((cgo)); then
      "$lab_source/host-packages.sh" build
    fi
    step "building $tool: $(for package in "${missing[@]}"; do name "$tool" "$package"; done | paste -sd' ') ($time on two cores)"
    local out
    out=$(mktemp -d "$folder/.building.XXXXXX")
    # A compiler that collects its garbage less often takes a fifth less time.
    GOGC=400 CGO_ENABLED=$cgo "${jobs[@]}" go build -buildvcs=false -trimpath -tags "$tags" -ldflags "-s -w $ldflags" \
      -o "$out/" "${missing[@]}" ||
      die "$tool could not be built (see above): the module is $PWD"
    mv "$out"/* "$folder/"
    rmdir "$out"
  fi
  for package in "$@"; do
    printf '%s\n' "$folder/$(name "$tool" "$package")"
  done
}

name() {
  local tool=$1 package=${2##*/}
  [[ $2 == . ]] && package=$tool
  printf '%s\n' "$package"
}

build_kubernetes() {
  local tag ldflags symbols=k8s.io/component-base/version
  tag=$(version k8s.io/kubernetes)
  ldflags="-X $symbols.gitVersion=$tag -X $symbols.gitMajor=1 -X $symbols.gitMinor=$(cut -d. -f2 <<<"$tag") -X $symbols.gitTreeState=clean"
  build kubernetes "$1" 0 '' "$ldflags" "${@:2}"
}

build_containerd() {
  build "$1" 'about 3 min' 0 'no_btrfs no_devmapper no_zfs' \
    "-X $containerd/version.Version=$(version "$containerd")" \
    "$containerd"/cmd/{containerd,containerd-shim-runc-v2,ctr}
}

build_tool() {
  # The kubelet alone is quicker than all of its module.
  cd "$lab_source/tools/${1/#kubelet/kubernetes}"
  case $1 in
    # Without cgo there is no seccomp, and without seccomp no default profile.
    runc) build runc 'about 20 s' 1 seccomp '' github.com/opencontainers/runc ;;
    containerd-*) build_containerd "$1" ;;
    cni)
      build cni 'about 20 s' 0 '' "-X $plugins/pkg/utils/buildversion.BuildVersion=$(version "$plugins")" \
        "$plugins"/plugins/{ipam/host-local,main/bridge,main/loopback}
      ;;
    checkpointctl) build checkpointctl 'about 20 s' 0 '' '' github.com/checkpoint-restore/checkpointctl ;;
    etcd) build etcd 'about 1 min' 0 '' '' . ;;
    kubelet) build_kubernetes 'about 5 min' "$kubernetes/kubelet" ;;
    kubernetes)
      build_kubernetes 'about 8 min' "$kubernetes"/{kube-apiserver,kube-controller-manager,kube-scheduler,kubectl,kubelet}
      ;;
    lint)
      build lint 'about 3 min' 0 '' "-X main.version=$(version github.com/golangci/golangci-lint/v2)" \
        github.com/golangci/golangci-lint/v2/cmd/golangci-lint mvdan.cc/sh/v3/cmd/shfmt
      ;;
  esac
}

sets=("$@")
((${#sets[@]} > 0)) || sets=(cluster)
for set in "${sets[@]}"; do
  case $set in
    node) tools=(runc cni containerd-2.4 kubelet) ;;
    cluster) tools=(runc cni containerd-2.4 etcd checkpointctl kubernetes) ;;
    compat) tools=(containerd-2.2) ;;
    lint) tools=(lint) ;;
    *) die "there is no set of tools named '$set': node, cluster, compat, lint" ;;
  esac
  for tool in "${tools[@]}"; do
    with_lock "tool-${tool/#kubelet/kubernetes}" build_tool "$tool"
  done
done
