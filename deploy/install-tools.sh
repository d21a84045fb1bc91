#!/usr/bin/env bash
# Installs what Roster's demo, tests and benches need and this machine lacks, with the system's package manager, and says so.
#
# Needed: a PostgreSQL server (14 or later; it is only run privately, in a temporary directory), a C compiler, curl.
# --tests: also Python (3.10 or later) with venv, for Auth0's own clients that the tests try on the emulator, for Schemathesis, which
# tries the server, and for the servers that the benches compare with; PgBouncer, to stand between Roster and its database;
# libfaketime, for clocks that jump; nginx, Caddy and HAProxy (with Lua), to ask Roster whom to let through; Chromium with its
# driver and a font, to use the console as people do. The tests run these privately; the services that come with their packages are
# switched off again. Python's packages are no tools of these: the tests fetch them from PyPI below target/, and say so where that
# cannot be reached; so they do with the accessibility checker, from npm's registry. Nor is Node.js: where there is none or an old
# one, they fetch one too.
# Rust is not installed, only asked for. What is there is left alone. Needs root or sudo when something is missing.
# --check installs nothing: it lists what is missing and fails if anything is.
set -euo pipefail

oldest_postgres=14
say() { printf 'tools: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# The major version of the server in a directory, or nothing.
server_version() {
    [ -x "$1/postgres" ] && [ -x "$1/initdb" ] || return 0
    "$1/postgres" --version 2>/dev/null | sed -n 's/.*(PostgreSQL) \([0-9][0-9]*\).*/\1/p'
}

# The places that src/demo/cluster/binaries.rs looks into.
have_postgres() {
    local directory version
    local -a directories=()
    if [ -n "${ROSTER_PG_BIN:-}" ]; then
        directories=("$ROSTER_PG_BIN")
    else
        IFS=: read -r -a directories <<<"$PATH"
        if have pg_config; then
            directories+=("$(pg_config --bindir)")
        fi
        for directory in /usr/lib/postgresql/*/bin /usr/libexec/postgresql* /usr/pgsql-*/bin \
            /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
            /home/linuxbrew/.linuxbrew/opt/postgresql*/bin \
            /Applications/Postgres.app/Contents/Versions/*/bin \
            /opt/local/lib/postgresql*/bin /usr/local/pgsql/bin; do
            directories+=("$directory")
        done
    fi
    for directory in "${directories[@]}"; do
        version=$(server_version "$directory")
        if [ -n "$version" ] && [ "$version" -ge "$oldest_postgres" ]; then
            return 0
        fi
    done
    return 1
}

have_compiler() { have cc || have gcc || have clang; }

# Debian keeps venv in a package of its own.
have_python() {
    have python3 && python3 -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 10)' 2>/dev/null
}

have_pgbouncer() { have pgbouncer || [ -x /usr/sbin/pgbouncer ]; }

have_nginx() { have nginx || [ -x /usr/sbin/nginx ]; }

have_haproxy() { have haproxy || [ -x /usr/sbin/haproxy ]; }

# The places that tests/it/support/clock.rs looks into.
have_faketime() {
    local library
    for library in /usr/lib/{x86_64-linux-gnu/,aarch64-linux-gnu/,}faketime/libfaketimeMT.so.1 \
        /usr/lib64/faketime/libfaketimeMT.so.1 /usr/local/lib/faketime/libfaketimeMT.so.1; do
        [ ! -e "$library" ] || return 0
    done
    return 1
}

# The driver, and a browser that it finds by itself.
have_chromium() {
    local browser
    have chromedriver || return 1
    for browser in chromium chromium-browser google-chrome; do
        have "$browser" && return 0
    done
    [ -d "/Applications/Google Chrome.app" ]
}

check=no tests=no
for option in "$@"; do
    case $option in
    --check) check=yes ;;
    --tests) tests=yes ;;
    *)
        say "unknown option: $option"
        exit 1
        ;;
    esac
done

missing=()
have_postgres || missing+=(postgres)
have_compiler || missing+=(compiler)
have curl || missing+=(curl)
[ $tests = no ] || have_python || missing+=(python)
[ $tests = no ] || have_pgbouncer || missing+=(pgbouncer)
[ $tests = no ] || have_faketime || missing+=(faketime)
[ $tests = no ] || have_nginx || missing+=(nginx)
[ $tests = no ] || have caddy || missing+=(caddy)
[ $tests = no ] || have_haproxy || missing+=(haproxy)
[ $tests = no ] || have_chromium || missing+=(chromium)

if [ $check = yes ]; then
    have cargo || missing+=(cargo)
    [ ${#missing[@]} -eq 0 ] && exit 0
    say "missing: ${missing[*]}"
    exit 1
fi

if ! have cargo; then
    say "cargo is missing. Install Rust from https://rustup.rs and run this again."
    exit 1
fi
[ ${#missing[@]} -eq 0 ] && exit 0

# package NAME: what the package manager found below calls it.
if have apt-get; then
    manager=apt-get
    package() {
        case $1 in
        postgres) echo postgresql ;;
        compiler) echo "gcc libc6-dev" ;;
        python) echo python3-venv ;;
        faketime) echo libfaketime ;;
        chromium) echo "chromium chromium-driver fonts-dejavu-core" ;;
        *) echo "$1" ;;
        esac
    }
    install() {
        as_root apt-get update -q
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
    }
elif have dnf; then
    manager=dnf
    package() {
        case $1 in
        postgres) echo postgresql-server ;;
        compiler) echo gcc ;;
        python) echo python3 ;;
        faketime) echo libfaketime ;;
        chromium) echo "chromium chromedriver dejavu-sans-fonts" ;;
        *) echo "$1" ;;
        esac
    }
    install() { as_root dnf install -q -y "$@"; }
elif have apk; then
    manager=apk
    package() {
        case $1 in
        postgres) echo postgresql ;;
        compiler) echo "gcc musl-dev" ;;
        python) echo python3 ;;
        faketime) echo libfaketime ;;
        chromium) echo "chromium chromium-chromedriver font-dejavu" ;;
        *) echo "$1" ;;
        esac
    }
    install() { as_root apk add --quiet "$@"; }
elif have brew; then
    manager=brew
    package() {
        case $1 in
        postgres) echo postgresql@17 ;;
        compiler) echo gcc ;;
        python) echo python ;;
        faketime) echo libfaketime ;;
        chromium) echo "google-chrome chromedriver" ;;
        *) echo "$1" ;;
        esac
    }
    install() { brew install --quiet "$@"; }
else
    say "missing: ${missing[*]}; none of apt-get, dnf, apk and brew is here to install them with."
    exit 1
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        say "root is needed for: $*"
        exit 1
    fi
}

packages=()
for tool in "${missing[@]}"; do
    read -r -a names <<<"$(package "$tool")"
    packages+=("${names[@]}")
done
say "installing with $manager: ${packages[*]}"
install "${packages[@]}" >&2

# Debian starts what it installs.
for tool in "${missing[@]}"; do
    case $tool in
    nginx | caddy | haproxy)
        if have systemctl && systemctl is-active --quiet "$tool"; then
            as_root systemctl disable --now --quiet "$tool"
        fi
        ;;
    esac
done

if ! have_postgres; then
    say "the PostgreSQL that $manager installs is older than $oldest_postgres."
    say "Newer ones for every system: https://www.postgresql.org/download/ (or set ROSTER_PG_BIN to one)."
    exit 1
fi

if [ $tests = yes ] && ! have_python; then
    say "the Python that $manager installs is older than 3.10 or lacks venv; Auth0's client needs a newer one as python3."
    exit 1
fi
