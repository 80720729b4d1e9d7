# A site to try things on: the simulator of HID and the daemon, configured from config/example.toml, on free
# ports of the loopback. Sourced by other scripts, from the top of the repository.
#
#   need_program [PROGRAM]       sets $adapter; builds it where none is named
#   site_start FOLDER [SETTINGS] [TOML]
#                                sets $hid, $api (addresses) and $key; SETTINGS: lines for the simulator,
#                                TOML: lines for the daemon's configuration
#   site_prepare FOLDER [SETTINGS] [TOML]
#                                the same, without the daemon: sets $hid and $key, writes FOLDER/config.toml
#   site_stop                    ends both

running=()

need_program() {
    if [ $# -gt 0 ]; then
        adapter=$1
    else
        cargo build --locked
        adapter=$(cargo metadata --locked --no-deps --format-version 1 |
            sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/debug/origo-adapter
    fi
}

# site_address LOG EVENT: where a process listens, once it says so.
site_address() {
    local found
    for _ in $(seq 300); do
        found=$(sed -n "/\"event\":\"$2\"/s/.*\"address\":\"\\([^\"]*\\)\".*/\\1/p" "$1" 2>/dev/null | head -n 1)
        [ -n "$found" ] && echo "$found" && return
        sleep 0.1
    done
    printf 'FAILED: %s was not told\n' "$2" >&2
    tail -n 20 "$1" >&2
    return 1
}

site_start() {
    site_prepare "$@"
    "$adapter" --config "$1/config.toml" run >"$1/daemon.log" 2>&1 &
    running+=($!)
    api=$(site_address "$1/daemon.log" daemon.ready)
}

site_prepare() {
    local folder=$1 made
    mkdir -p "$folder"
    # HID, but its phones and background work are quick.
    printf '%s\n' 'container_ready_ms = 30' 'issuing_delay_ms = 20' 'issue_confirm_ms = 50' \
        'revoking_delay_ms = 20' 'revoke_confirm_ms = 50' 'cancel_delay_ms = 20' ${2:+"$2"} \
        >"$folder/simulator.toml"
    "$adapter" simulate --listen 127.0.0.1:0 --settings "$folder/simulator.toml" \
        >"$folder/simulator.log" 2>&1 &
    running+=($!)
    hid=$(site_address "$folder/simulator.log" simulator.listening)

    made=$("$adapter" api-key new --name ops --scope write)
    key=$(head -n 1 <<<"$made")
    printf 'simulator-secret\n' >"$folder/secret"
    sed -e 's|^environment = "production"|environment = "simulator"\
token_url = "http://'"$hid"'"\
mobile_identities_url = "http://'"$hid"'/credential-management"\
events_url = "http://'"$hid"'"|' \
        -e 's|/run/credentials/origo-adapter.service/origo-secret|'"$folder"'/secret|' \
        -e "s|^hash = .*|$(grep '^hash' <<<"$made")|" \
        config/example.toml >"$folder/config.toml"
    cat >>"$folder/config.toml" <<END
[api]
listen = "127.0.0.1:0"
[store]
url = "sqlite://$folder/state.db"
[webhooks]
allow_private = true
[credential_managers.hq.polling]
interval = "1s"
[issuance]
retry_schedule = ["200ms", "1s"]
settle_delay = "400ms"
late_effect_bound = "1500ms"
${3:-}
END
    # Sandbox phones, in a program that has them.
    if grep -q control_url config/default.toml; then
        sed -i 's|^environment = "simulator"|&\ncontrol_url = "http://'"$hid"'"|' "$folder/config.toml"
    fi
}

site_stop() {
    local process
    for process in ${running[@]+"${running[@]}"}; do
        kill "$process" 2>/dev/null && wait "$process" || true
    done
    running=()
}
