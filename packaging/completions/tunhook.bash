# bash completion for tunhook(1)

# Values of a key ("route", "address") of the tunnels that there are; with --all, of those in the configuration, too.
_tunhook_running() {
    tunhook status --json "${@:2}" 2>/dev/null | sed -n 's/^ *"'"$1"'": "\(.*\)",\{0,1\}$/\1/p'
}

# Routes: those of the configuration, those that there are, and those that a gateway has listed. Nothing but tunhook is run for them.
_tunhook_routes() {
    _tunhook_running route --all
    tunhook routes --cached 2>/dev/null | sed -n '2,$s/ .*//p'
}

# Names of the Remmina profiles.
_tunhook_profiles() {
    tunhook remmina list 2>/dev/null | sed -nE 's/^(.*[^ ])  +[^ ]+  +(yes|no)  .*$/\1/p'
}

_tunhook() {
    # The words as the shell passes them on. COMP_WORDS has a route in pieces, cut at each ':'.
    local line=${COMP_LINE:0:COMP_POINT} cur='' command='' route='' choices='' word i
    COMPREPLY=()
    local -a words
    read -ra words <<<"$line"
    if [[ $line != *[[:space:]] ]]; then
        cur=${words[-1]}
        unset 'words[-1]'
    fi

    local commands='start stop run listen enable disable status wait logs remmina config routes doctor'
    local count=0 flag='' flags='--help'
    for ((i = 1; i < ${#words[@]}; i++)); do
        word=${words[i]}
        if [[ -n $flag ]]; then
            flag=''
        elif [[ $word == -- ]]; then
            _tunhook_after_dashes "$command" "$cur" $((${#words[@]} - i - 1))
            return
        elif [[ $word == --@(timeout|grace|listen|ready|end-with|idle-stop|linger|notify|route|by|config) ]]; then
            flag=$word
        elif [[ $word == -* ]]; then
            :
        elif [[ -z $command ]]; then
            command=$word
        elif ((count++ == 0)); then
            route=$word
        fi
    done

    case $command in
    start | run) flags+=' --ready --timeout --end-with --idle-stop --keep-alive --notify --reuse' ;;
    stop) flags+=' --now --wait --grace --all' ;;
    listen | enable) flags+=' --ready --linger --timeout --notify' ;;
    disable) flags+=' --now --all' ;;
    status) flags+=' --all --json --watch' ;;
    routes) flags+=' --cached --timeout' ;;
    wait) flags+=' --timeout --listen' ;;
    logs) flags+=' --follow' ;;
    remmina) [[ $route == enable ]] && flags+=' --by --route --listen --ready --force --all --dry-run' ;;
    doctor) flags+=' --fix --try --config --json' ;;
    '') flags+=' --version' ;;
    esac

    # A flag may have its value behind a "=" of its own.
    local given=''
    if [[ -z $flag && $cur == --*=* ]]; then
        flag=${cur%%=*} given=${cur%%=*}=
    fi

    if [[ $flag == --config ]]; then
        compopt -o default
        return
    elif [[ -n $flag ]]; then
        choices=$(_tunhook_values "$command" "$flag")
    elif [[ $cur == -* ]]; then
        choices=$flags
    elif [[ -z $command ]]; then
        choices="$commands help version"
    elif [[ "$command $count" == 'help 0' ]]; then
        choices=$commands
    elif [[ "$command $count" == 'remmina 0' || "$command $route $count" == 'help remmina 1' ]]; then
        choices='enable disable show list'
    elif [[ " $commands " != *" $command "* ]]; then
        return
    elif [[ $command == remmina ]]; then
        [[ $route == list ]] || _tunhook_profile "${COMP_WORDS[COMP_CWORD]}"
        return
    elif [[ $command == routes ]]; then
        ((count > 0)) || choices=$(tunhook names --lists 2>/dev/null)
    elif [[ $command == config ]]; then
        ((count > 0)) || choices=$(tunhook names 2>/dev/null)
    elif [[ $command == doctor ]] && ((count > 0)); then
        return
    elif ((count == 0)); then
        [[ $command != doctor ]] || _tunhook_profile "${COMP_WORDS[COMP_CWORD]}"
        choices=$(_tunhook_routes)
    elif ((count == 1)); then
        choices=stable
        [[ $command == @(start|run|listen|enable) ]] || choices+=" $(_tunhook_running address "$route")"
    fi
    _tunhook_offer "$choices" "${cur//\\/}" "$given"
}

# Offers those of the words $1, each behind $3, that begin with $2. Names come from files: compgen -W would expand
# them, and run a $(command) in them; quoted they also stay what they are on the command line.
_tunhook_offer() {
    # What readline replaces is only what stands behind the last break character.
    local breaks=${COMP_WORDBREAKS//[[:space:]]/} word
    local kept=${2%"${2##*["$breaks"]}"}
    while read -r word; do
        [[ -n $word ]] && word=$3$word
        [[ -n $word && $word == "$2"* ]] && COMPREPLY+=("$(printf %q "${word#"$kept"}")")
    done < <(printf '%s\n' "$1" | tr -s '[:blank:]' '\n' | sort -u)
}

# Prints the values of a command's flag.
_tunhook_values() {
    case $2 in
    --ready) echo listen rdp vnc ssh ;;
    --end-with) echo parent ;;
    --notify) echo auto always never ;;
    --route) _tunhook_routes ;;
    --listen) [[ $1 == remmina ]] && echo stable ;;
    --by) echo connection hook ;;
    esac
}

# Completes the name of a Remmina profile, which may have spaces, or its file.
_tunhook_profile() {
    local typed=${1#[\"\']} name
    typed=${typed//\\/}
    compopt -o default
    # Behind a quote readline quotes the rest, but for what is expanded within quotes, too: nothing can be done for that.
    [[ $1 != [\"\']* ]] || compopt -o filenames
    while read -r name; do
        if [[ $name != "$typed"* ]]; then
            :
        elif [[ $1 != [\"\']* ]]; then
            COMPREPLY+=("$(printf %q "$name")")
        elif [[ $name != *[\$\`\"\!\\]* ]]; then
            COMPREPLY+=("$name")
        fi
    done < <(_tunhook_profiles)
}

# Completes what another program gets: the client of run, with its arguments.
_tunhook_after_dashes() {
    if [[ $1 == run && $3 -eq 0 ]]; then
        mapfile -t COMPREPLY < <(compgen -c -- "$2" | sort -u)
    else
        compopt -o default
    fi
}

complete -F _tunhook tunhook
