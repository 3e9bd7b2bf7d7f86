# Completion of condensed for bash. Flags are those that the program itself lists.

_condensed() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} flags
  COMPREPLY=()
  case $previous in
    --config | --socket)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
    --model)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      ;;
    *)
      flags=$(condensed --help 2>/dev/null | sed -n 's/^  \(-[a-z],\)\{0,1\}\(--[a-z][a-z-]*\).*/\2/p')
      mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
      ;;
  esac
}

complete -F _condensed condensed
