# Completion of condensectl for fish. Commands and flags are those that the program itself lists.

# The command so far, with that of `bench`.
function __condensectl_command
    set -l words (commandline -opc | string match -v -- '-*')[2..]
    if test "$words[1]" = bench
        string join \n -- $words[1..2]
    else
        string join \n -- $words[1]
    end
end

function __condensectl_commands
    condensectl (__condensectl_command) --help 2>/dev/null | string replace -rf '^  ([a-z][a-z-]*)  +(.*)' '$1\t$2'
end

function __condensectl_flags
    set -l command (__condensectl_command)
    condensectl --help 2>/dev/null | string replace -rf '^  (?:-[a-z],)?(--[a-z][a-z-]*).*' '$1'
    test -n "$command"; and condensectl $command --help 2>/dev/null | string replace -rf '^  (?:-[a-z],)?(--[a-z][a-z-]*).*' '$1'
end

function __condensectl_sessions
    timeout 1 condensectl sessions </dev/null 2>/dev/null | tail -n +2 | string replace -r ' .*' ''
end

function __condensectl_needs_command
    set -l command (__condensectl_command)
    test -z "$command" -o "$command" = bench
end

function __condensectl_needs_session
    not __condensectl_needs_command; and test (__condensectl_command)[1] != bench
end

complete -c condensectl -f
complete -c condensectl -n __condensectl_needs_command -a '(__condensectl_commands)'
complete -c condensectl -n __condensectl_needs_session -a '(__condensectl_sessions)'
complete -c condensectl -n 'string match -q -- "-*" (commandline -ct)' -a '(__condensectl_flags)'
complete -c condensectl -l socket -rF
complete -c condensectl -l user -x -a '(__fish_complete_users)'
complete -c condensectl -n '__condensectl_flags | string match -q -- --session' -l session -x -a '(__condensectl_sessions)'
complete -c condensectl -n '__condensectl_flags | string match -q -- --csv' -l csv -rF
complete -c condensectl -n '__condensectl_flags | string match -q -- --hgrm' -l hgrm -rF
complete -c condensectl -n '__condensectl_flags | string match -q -- --html' -l html -rF
complete -c condensectl -n '__condensectl_flags | string match -q -- --turns-file' -l turns-file -rF
complete -c condensectl -n '__condensectl_flags | string match -q -- --trace' -l trace -rF
complete -c condensectl -n 'test (__condensectl_command)[2] = compare' -F
