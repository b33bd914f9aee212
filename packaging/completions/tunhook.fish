# fish completion for tunhook(1)

# Values of a key ("route", "address") of the tunnels that there are; with --all, of those in the configuration, too.
function __tunhook_running
    tunhook status --json $argv[2..] 2>/dev/null | string match --regex --groups-only '^ *"'$argv[1]'": "(.*)",?$'
end

# Routes: those of the configuration, those that there are, and those that a gateway has listed. Nothing but tunhook is run for them.
function __tunhook_routes
    __tunhook_running route --all
    tunhook routes --cached 2>/dev/null | tail -n +2 | string match --regex --groups-only '^(\S+)'
end

# Names of the Remmina profiles.
function __tunhook_profiles
    tunhook remmina list 2>/dev/null | string match --regex --groups-only '^(.*[^ ])  +[^ ]+  +(?:yes|no)  '
end

# The command and the positional arguments before the cursor, one a line.
function __tunhook_words
    set -l value no
    for word in (commandline --tokenize --cut-at-cursor --current-process)[2..]
        if test $value = yes
            set value no
        else if contains -- $word --timeout --grace --listen --ready --end-with --idle-stop --linger --notify --route --by --config
            set value yes
        else if not string match --quiet -- '-*' $word
            echo $word
        end
    end
end

function __tunhook_dashes
    contains -- -- (commandline --tokenize --cut-at-cursor --current-process)
end

# Completes the client of run with its arguments, which stand behind "--".
function __tunhook_client
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l dashes (contains --index -- -- $words)
    complete --do-complete (string join ' ' -- (string escape -- $words[(math $dashes + 1)..]) (commandline --current-token --cut-at-cursor))
end

# True where the command is one of the arguments and so many positional arguments follow it.
function __tunhook_at
    set -l words (__tunhook_words)
    not __tunhook_dashes; and test (count $words) -eq (math $argv[1] + 1); and contains -- $words[1] $argv[2..]
end

# True where the command is one of the arguments.
function __tunhook_in
    set -l words (__tunhook_words)
    not __tunhook_dashes; and set -q words[1]; and contains -- $words[1] $argv
end

# True where the name or file of a Remmina profile stands.
function __tunhook_at_profile
    set -l words (__tunhook_words)
    __tunhook_at 1 remmina; and contains -- $words[2] enable disable show
end

# True behind "remmina enable".
function __tunhook_enable
    set -l words (__tunhook_words)
    __tunhook_in remmina; and test "$words[2]" = enable
end

# True behind the "--" of run.
function __tunhook_at_client
    set -l words (__tunhook_words)
    __tunhook_dashes; and test "$words[1]" = run
end

set -l all start stop run listen enable disable status wait logs

complete -c tunhook -n 'not __tunhook_dashes' -f
complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -l version -s v -d 'Print the version'
complete -c tunhook -n 'not __tunhook_dashes' -l help -s h -d 'Show help'

complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a start -d 'Start a tunnel, or find it running'
complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a stop -d 'End a tunnel'
complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a run -d 'Run a client over a tunnel'
complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a listen -d 'Wait for connections, which start the tunnel'
complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a enable -d 'Listen at every login'
complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a disable -d 'Take an enable back'
complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a status -d 'Show the tunnels and their clients'
complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a wait -d 'Wait until a tunnel is ready'
complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a logs -d 'Show what a tunnel program has logged'

complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a routes -d 'List the routes that a gateway has'
complete -c tunhook -n '__tunhook_at 0 routes' -a '(tunhook names --lists 2>/dev/null)' -d Provider
complete -c tunhook -n '__tunhook_in routes' -l cached -d 'Those that were listed last'
complete -c tunhook -n '__tunhook_in routes' -l timeout -x -d 'Give up after this time'
complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a config -d 'Show what the configuration comes to'
complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a remmina -d 'Make Remmina profiles use a tunnel'

complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a doctor -d 'Say what keeps tunnels from working here'

complete -c tunhook -n "__tunhook_at 0 $all doctor" -a '(__tunhook_routes)' -d Route
complete -c tunhook -n '__tunhook_at 0 config' -a '(tunhook names 2>/dev/null)' -d 'Tunnel or provider'
complete -c tunhook -n "__tunhook_at 1 $all" -a stable -d 'An address of its own for every route'
complete -c tunhook -n '__tunhook_at 1 stop disable status wait logs' -a '(__tunhook_running address (__tunhook_words)[2])' -d Running

complete -c tunhook -n '__tunhook_in start run' -l ready -x -a 'listen rdp vnc ssh' -d 'What ready means'
complete -c tunhook -n '__tunhook_in start run wait' -l timeout -x -d 'Give up after this time'
complete -c tunhook -n '__tunhook_in start run' -l end-with -x -a 'parent (__fish_complete_pids)' -d 'End the tunnel when this process is gone'
complete -c tunhook -n '__tunhook_in start run' -l idle-stop -x -d 'End the tunnel when nobody was connected for this time'
complete -c tunhook -n '__tunhook_in start run' -l keep-alive -d 'Start the tunnel program again when it dies'
complete -c tunhook -n '__tunhook_in start run' -l notify -x -a 'auto always never' -d 'When to tell the desktop'
complete -c tunhook -n '__tunhook_in start run' -l reuse -d 'Take what serves the address already as it is'
complete -c tunhook -n '__tunhook_in stop' -l now -d 'End it also where clients are connected'
complete -c tunhook -n '__tunhook_in stop' -l wait -d 'Return only when the last client has left'
complete -c tunhook -n '__tunhook_in stop' -l grace -x -d 'Kill the tunnel program after this time'
complete -c tunhook -n '__tunhook_in stop' -l all -d 'End every tunnel'
complete -c tunhook -n '__tunhook_in listen enable' -l ready -x -a 'listen rdp vnc ssh' -d 'What the clients speak'
complete -c tunhook -n '__tunhook_in listen enable' -l linger -x -d 'End the tunnel so long after the last connection'
complete -c tunhook -n '__tunhook_in listen enable' -l timeout -x -d 'Close a connection whose tunnel is not ready in time'
complete -c tunhook -n '__tunhook_in listen enable' -l notify -x -a 'auto always never' -d 'When to tell the desktop'
complete -c tunhook -n '__tunhook_in disable' -l now -d 'Also where clients are connected'
complete -c tunhook -n '__tunhook_in disable' -l all -d 'Disable all that is enabled'
complete -c tunhook -n '__tunhook_in status' -l all -d 'Also those in the configuration that do not run'
complete -c tunhook -n '__tunhook_in status' -l json -d 'Print JSON'
complete -c tunhook -n '__tunhook_in status' -s w -l watch -d 'Show each change'
complete -c tunhook -n '__tunhook_in doctor' -l fix -d 'Do what is safe about it'
complete -c tunhook -n '__tunhook_in doctor' -l try -d 'Have Remmina open a profile for a moment'
complete -c tunhook -n '__tunhook_in doctor' -l json -d 'Print JSON'
complete -c tunhook -n '__tunhook_in doctor' -l config -r -F -d 'Look at one configuration file only'
complete -c tunhook -n '__tunhook_at 0 doctor' -a '(__tunhook_profiles)' -d Profile
complete -c tunhook -n '__tunhook_in wait' -l listen -x -d 'Wait until anything listens there'
complete -c tunhook -n '__tunhook_in logs' -l follow -s f -d 'Go on until the tunnel ends'

complete -c tunhook -n '__tunhook_at 0 remmina' -a enable -d 'Make a profile use a tunnel'
complete -c tunhook -n '__tunhook_at 0 remmina' -a disable -d 'Give a profile back as it was'
complete -c tunhook -n '__tunhook_at 0 remmina' -a show -d 'Show what a profile connects to and runs'
complete -c tunhook -n '__tunhook_at 0 remmina' -a list -d 'Show all profiles'
complete -c tunhook -n __tunhook_at_profile -F -a '(__tunhook_profiles)' -d Profile
complete -c tunhook -n __tunhook_enable -l by -x -a 'connection hook' -d 'What starts the tunnel'
complete -c tunhook -n __tunhook_enable -l route -x -a '(__tunhook_routes)' -d 'Where the tunnel leads'
complete -c tunhook -n __tunhook_enable -l listen -x -a stable -d 'Where Remmina connects to'
complete -c tunhook -n __tunhook_enable -l ready -x -a 'listen rdp vnc ssh' -d 'What the server speaks'
complete -c tunhook -n __tunhook_enable -l all -d 'Every profile whose own command starts a tunnel'
complete -c tunhook -n __tunhook_enable -l dry-run -d 'Only show what would change'
complete -c tunhook -n __tunhook_enable -l force -d 'Set commands of your own aside, until disable'

complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a help -d 'Tell more of a command'
complete -c tunhook -n 'test (count (__tunhook_words)) -eq 0' -a version -d 'Print the version'
complete -c tunhook -n '__tunhook_at 0 help' -a "$all remmina config routes doctor" -d Command
complete -c tunhook -n '__tunhook_at 1 help; and contains -- remmina (__tunhook_words)' -a 'enable disable show list' -d Command

complete -c tunhook -n __tunhook_at_client -a '(__tunhook_client)'
