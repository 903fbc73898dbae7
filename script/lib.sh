# Shared by script/up and script/test: messages, and what the machine lacks.
# Sourced, never run. Installs from Debian's packages only, and asks for root only
# when something is missing.
# shellcheck shell=bash

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
SCRIPT=script/$(basename "$0")

# Colour only where a person reads it (no-color.org).
if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    # shellcheck disable=SC2034 # script/test dims
    BOLD=$'\e[1m' RED=$'\e[31m' DIM=$'\e[2m' PLAIN=$'\e[0m'
else
    # shellcheck disable=SC2034
    BOLD='' RED='' DIM='' PLAIN=''
fi

say() { printf '%s\n' "$*" >&2; }
step() { printf '%s==>%s %s\n' "$BOLD" "$PLAIN" "$*" >&2; }

# fail WHAT HINT: one error, its remedy, and the end.
fail() {
    printf '%serror:%s %s\n' "$RED" "$PLAIN" "$1" >&2
    [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

# Runs a command as root: as it is, or through sudo (which may ask for a password
# where there is a terminal, and is told not to where there is none).
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        if [ -t 0 ]; then sudo -- "$@"; else sudo -n -- "$@"; fi
    else
        return 127
    fi
}

# without_services COMMAND…: what it installs starts no service. Debian asks this
# file (invoke-rc.d(8)); 101 forbids.
without_services() {
    local policy=/usr/sbin/policy-rc.d result=0
    if [ -e $policy ]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod +x $policy
    "$@" || result=$?
    as_root rm -f $policy
    return $result
}

# install_packages WHY PACKAGE…: from Debian, without a question.
install_packages() {
    local why=$1
    shift
    command -v apt-get >/dev/null || fail "\`$*\` missing ($why), and there is no \`apt-get\`" \
        "install the like of these Debian packages with your system's own tool: $*"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "\`$*\` missing ($why), and neither root nor sudo to install it" \
            "run as root, once: apt-get update && apt-get install --no-install-recommends $*"
        say "root is needed to install: $* ($why)"
    fi
    step "installing $* ($why)"
    if [ -z "${APT_UPDATED:-}" ]; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update >"$APT_LOG" 2>&1 ||
            { tail -n 20 "$APT_LOG" >&2; fail "\`apt-get update\` failed" "see the lines above; is the network there, and may you use sudo?"; }
        APT_UPDATED=1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends \
        -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$APT_LOG" 2>&1 ||
        { tail -n 20 "$APT_LOG" >&2; fail "\`apt-get install $*\` failed" "see the lines above"; }
}
APT_LOG=$(mktemp)
trap 'rm -f "$APT_LOG"' EXIT

have() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }
# Whether a file fits one of the patterns given.
any() { compgen -G "$1" >/dev/null || { [ $# -gt 1 ] && shift && any "$@"; }; }

# What building needs besides Rust.
need_build_tools() {
    command -v cargo >/dev/null || [ ! -x "$HOME/.cargo/bin/cargo" ] || PATH=$HOME/.cargo/bin:$PATH
    command -v cargo >/dev/null || fail "\`cargo\` was not found" \
        "install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer and run $SCRIPT again"
    # The linker, and the C of aws-lc, libpg_query and zstd.
    have cc || install_packages "a C compiler, to build and link" gcc libc6-dev
    # bindgen reads pg_query.h through libclang, which needs its own headers too.
    if [ -z "${LIBCLANG_PATH:-}" ]; then
        if ! any '/usr/lib/*/libclang*.so*' '/usr/lib/llvm-*/lib/libclang*.so*' '/usr/lib*/libclang*.so*' ||
            ! any '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' '/usr/lib*/clang/*/include/stddef.h'; then
            install_packages "libclang, to build the SQL parser" libclang-dev
        fi
    fi
}

# What running needs: PostgreSQL's server programs and nft; and the rules of the WAF,
# without which the shop has its own.
need_runtime() {
    if ! any '/usr/lib/postgresql/*/bin/postgres' && ! have postgres; then
        # The package would make and start a cluster of its own; we want programs only.
        # The setting has to stand before the server package is installed, and the
        # file comes with this package: so two steps, and one line changed.
        dpkg -s postgresql-common >/dev/null 2>&1 ||
            install_packages "PostgreSQL's common files" postgresql-common
        no_main_cluster /etc/postgresql-common/createcluster.conf
        install_packages "PostgreSQL's server programs" postgresql
    fi
    have nft || install_packages "the kernel's firewall is set through it" nftables
    need_core_rule_set
}

# The OWASP Core Rule Set where Debian has it. Not having it stops nothing: a site
# names a copy of its own with `crs = "FOLDER"`, and the shop falls back to its rules.
need_core_rule_set() {
    [ ! -d /usr/share/modsecurity-crs/rules ] || return 0
    if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }; then
        (install_packages "the OWASP Core Rule Set, the WAF's rules" modsecurity-crs) && return 0
    fi
    say "note: no OWASP Core Rule Set here: the shop's WAF runs the shop's own rules"
    say "hint: install Debian's \`modsecurity-crs\`, or name a copy in examples/shop/bastide.toml: crs = \"FOLDER\""
}

# Sets `create_main_cluster = false` in FILE and leaves every other line as it is.
no_main_cluster() {
    local file=$1 line='create_main_cluster = false'
    if grep -Eq '^[[:space:]]*create_main_cluster[[:space:]]*=?[[:space:]]*'"'?"'(false|off|no|0)' "$file" 2>/dev/null; then
        return
    fi
    if grep -Eq '^[[:space:]]*create_main_cluster\b' "$file" 2>/dev/null; then
        as_root sed -i -E "s/^[[:space:]]*create_main_cluster\b.*/$line/" "$file"
    else
        printf '%s\n' "$line" | as_root tee -a "$file" >/dev/null
    fi
}
