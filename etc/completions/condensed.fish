# Completion of condensed for fish. Flags are those that the program itself lists.

function __condensed_flags
    condensed --help 2>/dev/null | string replace -rf '^  (?:-[a-z],)?(--[a-z][a-z-]*).*' '$1'
end

complete -c condensed -f
complete -c condensed -a '(__condensed_flags)'
complete -c condensed -l config -rF
complete -c condensed -l socket -rF
complete -c condensed -l model -x -a '(__fish_complete_directories)'
