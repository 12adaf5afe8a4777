# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# What check.sh, quickstart.sh, ci/*.sh and the system tests share. Source it; it runs nothing by itself. Everything is
# prefixed cb_; messages go to standard error.

# What building needs, and what the tests need besides (Debian 12 names).
CB_BUILD_PACKAGES='gcc libc6-dev make autoconf automake pkg-config libcurl4-openssl-dev libssl-dev
libjansson-dev libarchive-dev libzstd-dev libdeflate-dev libisal-dev zlib1g-dev libsqlite3-dev libseccomp-dev libyaml-dev
uidmap passt git scdoc ca-certificates'
CB_TEST_PACKAGES='clang libclang-rt-14-dev mold libcmocka-dev bats docker-registry nginx skopeo umoci runc mmdebstrap
busybox-static universal-ctags shellcheck jq curl python3 strace procps iproute2 util-linux perl-base qemu-user tmux
xz-utils bzip2 openssl openssh-client python3-pip zsh fish'
export CB_BUILD_PACKAGES CB_TEST_PACKAGES

cb_say()
{
    printf '%s\n' "$*" >&2
}

cb_die()
{
    cb_say "${0##*/}: $*"
    exit 1
}

# cb_quietly WHAT COMMAND...: runs it with its output in a file; on failure says WHAT and shows the output's end.
cb_quietly()
{
    cb_what=$1
    shift
    cb_log=$(mktemp) || return 1
    if "$@" >"$cb_log" 2>&1 </dev/null; then
        rm -f "$cb_log"
        return 0
    fi
    cb_say "$cb_what failed: $*"
    tail -n 200 "$cb_log" >&2
    rm -f "$cb_log"
    return 1
}

# cb_as_root COMMAND...: through sudo unless root already.
cb_as_root()
{
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        cb_say "neither root nor sudo: cannot run $*"
        return 1
    fi
}

# cb_missing_packages PACKAGE...: those that are not installed, in one line.
cb_missing_packages()
{
    cb_missing=
    for cb_package; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$cb_package" 2>/dev/null) in
            installed) ;;
            *) cb_missing="$cb_missing $cb_package" ;;
        esac
    done
    printf '%s\n' "${cb_missing# }"
}

# shellcheck disable=SC2086 # a list of packages
cb_apt_install()
{
    cb_as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
        apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 $1
}

# cb_need_packages PACKAGE...: installs those that are missing, after one apt-get update if apt does not find them.
cb_need_packages()
{
    command -v dpkg-query >/dev/null 2>&1 || {
        cb_say "this is no Debian; install what $* stand for, by your own package manager"
        return 1
    }
    cb_missing=$(cb_missing_packages "$@")
    [ -n "$cb_missing" ] || return 0
    cb_say "installing: $cb_missing"
    cb_apt_log=$(mktemp) || return 1
    if ! cb_apt_install "$cb_missing" >"$cb_apt_log" 2>&1 </dev/null; then
        cb_quietly 'the package update' cb_as_root apt-get update -q -o DPkg::Lock::Timeout=300 || :
        cb_quietly 'the installation' cb_apt_install "$cb_missing" || {
            rm -f "$cb_apt_log"
            return 1
        }
    fi
    rm -f "$cb_apt_log"
    # Debian starts a registry on port 5000 and nginx on port 80 on machines with systemd; the tests start their own.
    for cb_service in docker-registry nginx; do
        case " $cb_missing " in
            *" $cb_service "*) ;;
            *) continue ;;
        esac
        if systemctl is-active --quiet "$cb_service" 2>/dev/null; then
            cb_as_root systemctl disable --now --quiet "$cb_service" || :
        fi
    done
}

# The root of the source tree: CB_TOP if set, else found from the script that sources this.
cb_top()
{
    if [ -n "${CB_TOP-}" ]; then
        printf '%s\n' "$CB_TOP"
        return
    fi
    cb_dir=$(cd "$(dirname "$0")" && pwd) || return 1
    while [ "$cb_dir" != / ] && [ ! -f "$cb_dir/configure.ac" ]; do
        cb_dir=$(dirname "$cb_dir")
    done
    [ "$cb_dir" != / ] || { cb_say "$0 is not in the cbpush source tree"; return 1; }
    printf '%s\n' "$cb_dir"
}

cb_jobs()
{
    nproc 2>/dev/null || echo 1
}

# Makes ./configure if it is missing or older than what it is made from.
cb_autogen()
{
    (
        cd "$1" || exit 1
        [ ! -f config.status ] || { cb_say "$1 is configured in place: make distclean there first"; exit 1; }
        if [ -f configure ] && [ -f Makefile.in ] && [ -z "$(find configure.ac Makefile.am autogen.sh \
            src registry auth tests/unit doc -name '.*' -prune -o \
            \( -name '*.inc' -o -name configure.ac -o -name Makefile.am \) -newer Makefile.in -print 2>/dev/null)" ]; then
            exit 0
        fi
        cb_quietly autogen.sh ./autogen.sh
    )
}

# cb_build DIR [CONFIGURE-ARGUMENT...]: builds the program and the library in DIR, outside the sources, with warnings as
# errors, by $CC if set. A DIR that was configured otherwise is made anew. DIR is relative to the source tree.
cb_build()
{
    cb_source=$(cb_top) || return 1
    case $1 in
        /*) cb_target=$1 ;;
        *) cb_target=$cb_source/$1 ;;
    esac
    shift
    unset MAKEFLAGS MFLAGS MAKELEVEL
    cb_autogen "$cb_source" || return 1
    mkdir -p "$cb_target" || return 1
    cb_wanted="CC=${CC-} CFLAGS=${CFLAGS-} LDFLAGS=${LDFLAGS-} --enable-werror $*"
    if [ "$(cat "$cb_target/.cb-configured" 2>/dev/null)" != "$cb_wanted" ] || [ ! -f "$cb_target/Makefile" ]; then
        chmod -R u+w "$cb_target" # a broken distcheck leaves what cannot be written
        rm -rf "$cb_target"
        mkdir -p "$cb_target" || return 1
        (cd "$cb_target" && cb_quietly configure "$cb_source/configure" --enable-werror "$@") || return 1
        printf '%s\n' "$cb_wanted" >"$cb_target/.cb-configured"
    fi
    cb_quietly make make -C "$cb_target" -j"$(cb_jobs)"
}

# Prints a TCP port of 127.0.0.1 that nobody listens on, below the range that the kernel hands out by itself.
cb_free_port()
{
    cb_tries=0
    while [ "$cb_tries" -lt 100 ]; do
        cb_port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000))
        if [ -z "$(ss -Htln "sport = :$cb_port")" ]; then
            printf '%s\n' "$cb_port"
            return 0
        fi
        cb_tries=$((cb_tries + 1))
    done
    cb_say 'no free port found'
    return 1
}
