# Completion of condensectl for fish. Commands and flags are those that the program itself lists.

function __condensectl_commands
    condensectl --help 2>/dev/null | string replace -rf '^  ([a-z][a-z-]*)  +(.*)' '$1\t$2'
end

function __condensectl_flags
    set -l command (commandline -opc | string match -v -- '-*')[2]
    condensectl --help 2>/dev/null | string replace -rf '^  (?:-[a-z],)?(--[a-z][a-z-]*).*' '$1'
    test -n "$command"; and condensectl $command --help 2>/dev/null | string replace -rf '^  (?:-[a-z],)?(--[a-z][a-z-]*).*' '$1'
end

function __condensectl_sessions
    timeout 1 condensectl sessions </dev/null 2>/dev/null | tail -n +2 | string replace -r ' .*' ''
end

function __condensectl_needs_command
    test (count (commandline -opc | string match -v -- '-*')) -lt 2
end

complete -c condensectl -f
complete -c condensectl -n __condensectl_needs_command -a '(__condensectl_commands)'
complete -c condensectl -n 'not __condensectl_needs_command' -a '(__condensectl_sessions)'
complete -c condensectl -n 'string match -q -- "-*" (commandline -ct)' -a '(__condensectl_flags)'
complete -c condensectl -l socket -rF
complete -c condensectl -l user -x -a '(__fish_complete_users)'
complete -c condensectl -n '__condensectl_flags | string match -q -- --session' -l session -x -a '(__condensectl_sessions)'
