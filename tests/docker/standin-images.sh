#!/usr/bin/env bash
# Sees to the two base images that the Dockerfile names. One that is there is kept, one that can be pulled
# is pulled. Where neither is so, on a machine with an engine and no registry, this makes a stand-in from
# Debian's packages and this machine's Go, with the modules that the server links as an offline module
# proxy, so that `docker build` needs no network. A stand-in is made anew when go.mod or go.sum changed.
# To make one needs root, Debian's mmdebstrap, and modules that are there or can be downloaded.
set -euo pipefail
cd "$(dirname "$0")/../.."
runtime=debian:bookworm-slim
build=golang:1.26-bookworm
suite=bookworm
pull_seconds_max=900
modules=$(cat go.mod go.sum | sha256sum | cut -c1-16)

# stale tells whether an image is a stand-in for other modules than today's.
stale() {
	local of
	of=$(docker image inspect --format '{{index .Config.Labels "raftmetrics.standin"}}' "$1")
	[ -n "$of" ] && [ "$of" != "$modules" ]
}

# there tells whether an image is there, after pulling it if need be.
there() {
	docker image inspect "$1" >/dev/null 2>&1 || timeout "$pull_seconds_max" docker pull --quiet "$1"
}

need_runtime= need_build=
there "$runtime" || need_runtime=1
if ! there "$build" || stale "$build"; then need_build=1; fi
if [ -z "$need_runtime$need_build" ]; then exit; fi

command -v mmdebstrap >/dev/null || {
	echo "no base image and no registry: stand-ins need mmdebstrap (apt-get install mmdebstrap)" >&2
	exit 1
}
apt_list=$(find /etc/apt/sources.list.d -name '*.sources' 2>/dev/null | sort | head -n 1)
if [ -n "$apt_list" ]; then
	mirror=$(awk '/^URIs:/ {print $2; exit}' "$apt_list")
else
	mirror=$(awk '/^deb / {print $2; exit}' /etc/apt/sources.list)
fi
scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch" && rm -rf "$scratch"' EXIT
bootstrap=(mmdebstrap --quiet --mode=root --variant=minbase
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*')

if [ -n "$need_runtime" ]; then
	echo "making a stand-in for $runtime"
	"${bootstrap[@]}" "$suite" "$scratch/runtime.tar" "$mirror"
	docker import --change 'CMD ["bash"]' --change "LABEL raftmetrics.standin=runtime" "$scratch/runtime.tar" "$runtime"
	rm "$scratch/runtime.tar"
fi

if [ -n "$need_build" ]; then
	echo "making a stand-in for $build"
	# Listing what the server links downloads just that; `go mod download` would fetch DuckDB for five
	# platforms.
	GOMODCACHE="$scratch/modules" go list -deps . >/dev/null
	mkdir "$scratch/copied"
	mv "$scratch/modules/cache/download" "$scratch/copied/gomodproxy"
	"${bootstrap[@]}" --include=ca-certificates,g++,gcc,libc6-dev,make,git,pkg-config \
		--customize-hook="copy-in $(go env GOROOT) /usr/local" --customize-hook="copy-in $scratch/copied/gomodproxy /" \
		"$suite" "$scratch/build.tar" "$mirror"
	docker import \
		--change 'ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
		--change 'ENV GOPATH=/go' --change 'ENV GOTOOLCHAIN=local' --change 'ENV GOPROXY=file:///gomodproxy' \
		--change 'ENV GOSUMDB=off' --change 'WORKDIR /go' --change "LABEL raftmetrics.standin=$modules" \
		"$scratch/build.tar" "$build"
fi
