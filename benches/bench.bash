# What every bench begins and ends with. Sourced from the top of the repository; needs scripts/site.bash.
#
#   bench NAME SITE... -- [OPTION]... [PROGRAM]
#       runs benches/NAME.py with the options, on one simulator and one configuration a SITE, and ends with its
#       exit code: 0 all goals met, 3 a goal missed, else the bench itself failed
#
# Without PROGRAM the program is built for release first. BENCH_RESULTS names a file that gets the rows of the
# table as well.
. scripts/site.bash

bench() {
    local name=$1 site sites=() options=()
    shift
    while [ "$1" != -- ]; do
        sites+=("$1")
        shift
    done
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        -h | --help) exec python3 -B "benches/$name.py" --help ;;
        --quick) options+=("$1") && shift ;;
        --*) options+=("$1" "${2?$1 wants a value}") && shift 2 ;;
        *) break ;;
        esac
    done
    if [ $# -eq 0 ]; then
        cargo build --locked --release
        set -- "$(cargo metadata --locked --no-deps --format-version 1 |
            sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release/origo-adapter"
    fi
    need_program "$1"

    # A disk, not memory: fsync is what a write waits for.
    mkdir -p target
    scratch=$PWD/$(mktemp -d -p target)
    trap 'site_stop; rm -rf "$scratch"' EXIT
    trap 'exit 1' INT TERM
    for site in "${sites[@]}"; do
        site_prepare "$scratch/$site"
        # The benches play the phones themselves, so that a program of before sandbox phones can be measured.
        sed -i '/^control_url = /d' "$scratch/$site/config.toml"
        printf 'hid=%s\nkey=%s\n' "$hid" "$key" >"$scratch/$site/site"
    done
    # In the background and waited for, so that a signal to this script is acted upon at once.
    python3 -B "benches/$name.py" --program "$adapter" --scratch "$scratch" ${options[@]+"${options[@]}"} &
    running+=($!)
    wait $!
}
