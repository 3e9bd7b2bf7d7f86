# Completion of condensectl for bash. Commands and flags are those that the program itself lists; sessions are those
# of the daemon that the command line names.

# Commands, or those of a command that has some.
_condensectl_commands() {
  condensectl "$@" --help 2>/dev/null | sed -n '/^Subcommands:/,$ s/^  \([a-z][a-z-]*\).*/\1/p'
}

# Flags of a command, or those before any.
_condensectl_flags() {
  condensectl "$@" --help 2>/dev/null | sed -n 's/^  \(-[a-z],\)\{0,1\}\(--[a-z][a-z-]*\).*/\2/p'
}

_condensectl_sessions() {
  timeout 1 condensectl "$@" sessions </dev/null 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_condensectl() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words i
  local command=() daemon=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      --socket)
        i=$((i + 1))
        daemon+=(--socket "${COMP_WORDS[i]}")
        ;;
      --user)
        i=$((i + 1))
        daemon+=(--user "${COMP_WORDS[i]}")
        ;;
      -*) ;;
      *) case "${command[*]}" in "" | bench) command+=("${COMP_WORDS[i]}") ;; esac ;;
    esac
  done
  if [ "$previous" = --socket ]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    return
  fi
  if [ "$previous" = --user ]; then
    mapfile -t COMPREPLY < <(compgen -u -- "$current")
    return
  fi
  case "${command[0]}$previous" in
    bench--json | bench--csv | bench--hgrm | bench--html | bench--turns-file | bench--trace)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
  esac
  case "$previous,$current" in
    --session,*) words=$(_condensectl_sessions "${daemon[@]}") ;;
    *,-*) words=$(_condensectl_flags && _condensectl_flags "${command[@]}") ;;
    *)
      case "${command[*]}" in
        "" | bench) words=$(_condensectl_commands "${command[@]}") ;;
        bench\ compare)
          compopt -o filenames 2>/dev/null
          mapfile -t COMPREPLY < <(compgen -f -- "$current")
          return
          ;;
        bench\ *) words= ;;
        *) words=$(_condensectl_sessions "${daemon[@]}") ;;
      esac
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _condensectl condensectl
