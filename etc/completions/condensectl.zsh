#compdef condensectl
# Commands and flags are those that the program itself lists; sessions are those of the daemon that the command line
# names.

_condensectl_flags() {
  condensectl "$@" --help 2>/dev/null | sed -n 's/^  \(-[a-z],\)\{0,1\}\(--[a-z][a-z-]*\).*/\2/p'
}

_condensectl_sessions() {
  timeout 1 condensectl "$@" sessions </dev/null 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_condensectl() {
  local -a command daemon found
  local i
  for ((i = 2; i < CURRENT; i++)); do
    case ${words[i]} in
      --socket | --user) daemon+=("${words[i]}" "${words[++i]}") ;;
      -*) ;;
      *) [[ -z "$command" || "$command" == bench ]] && command+=("${words[i]}") ;;
    esac
  done
  if [[ ${words[CURRENT - 1]} == --socket ]]; then
    _files
  elif [[ ${words[CURRENT - 1]} == --user ]]; then
    _users
  elif [[ ${command[1]} == bench && ${words[CURRENT - 1]} == --(json|csv|hgrm|html|turns-file|trace) ]]; then
    _files
  elif [[ ${words[CURRENT - 1]} == --session ]]; then
    found=(${(f)"$(_condensectl_sessions "${daemon[@]}")"})
    compadd -a found
  elif [[ ${words[CURRENT]} == -* ]]; then
    found=(${(f)"$(_condensectl_flags; _condensectl_flags "${command[@]}")"})
    compadd -a found
  elif [[ -z "$command" || "$command" == bench ]]; then
    found=(${(f)"$(condensectl $command --help 2>/dev/null | sed -n '/^Subcommands:/,$ s/^  \([a-z][a-z-]*\).*/\1/p')"})
    compadd -a found
  elif [[ "$command" == "bench compare" ]]; then
    _files
  elif [[ ${command[1]} != bench ]]; then
    found=(${(f)"$(_condensectl_sessions "${daemon[@]}")"})
    compadd -a found
  fi
}

_condensectl "$@"
