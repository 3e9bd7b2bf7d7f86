#compdef condensed
# Flags are those that the program itself lists.

_condensed() {
  local -a found
  case ${words[CURRENT - 1]} in
    --config | --socket) _files ;;
    --model) _files -/ ;;
    *)
      found=(${(f)"$(condensed --help 2>/dev/null | sed -n 's/^  \(-[a-z],\)\{0,1\}\(--[a-z][a-z-]*\).*/\2/p')"})
      compadd -a found
      ;;
  esac
}

_condensed "$@"
