# Completion of `puzzle` for bash. The program itself says what a word may become, from the tables
# that it parses command lines with (apps/shell/complete.h); where it says nothing, files are offered.
_puzzle() {
  local line=${COMP_LINE:0:COMP_POINT} words current candidate
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  current=${words[-1]#[\"\']}
  # bash completes what stands behind the last of its own separators (":", "="): the rest is typed.
  local typed=${current%"${COMP_WORDS[COMP_CWORD]#[\"\']}"}
  [[ ${COMP_WORDS[COMP_CWORD]} == [:=] ]] && typed=$current
  COMPREPLY=()
  while IFS= read -r candidate; do
    COMPREPLY+=("${candidate#"$typed"}")
  done < <("${words[0]}" complete "${words[@]:1:${#words[@]}-2}" "$current" 2> /dev/null)
  if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi
}
complete -o default -F _puzzle puzzle
