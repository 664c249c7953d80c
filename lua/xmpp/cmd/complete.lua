-- complete: completion scripts for three shells, made from the table in spec.lua. The kind of an option's value
-- decides what is completed: files, the words of a choice, the accounts (`xmpp account list`), addresses (`xmpp
-- contacts`, see contacts.lua).

local M = {}

local function names(list, at)
  local out = {}
  for i, entry in ipairs(list) do out[i] = entry[at] end
  return out
end

local function flags(options)
  local out = {}
  for _, option in ipairs(options) do
    if option[2] then out[#out + 1] = "-" .. option[2] end
    out[#out + 1] = "--" .. option[1]
  end
  return table.concat(out, " ")
end

local function words_of(command, spec)
  if command.words then return table.concat(names(command.words, 1), " ") end
  if command.kinds and command.kinds[1] == "command" then return table.concat(names(spec.commands, "name"), " ") end
  return ""
end

local CONTACTS = "xmpp contacts 2>/dev/null"

local function takes_jids(command) return command.kinds ~= nil and command.kinds[1] == "jid" end

local ACCOUNTS = "$(xmpp account list 2>/dev/null | cut -d' ' -f1)"

-- bash

local function bash_value(option)
  local pattern = (option[2] and "-" .. option[2] .. "|" or "") .. "--" .. option[1]
  if option.choices then return pattern, ('COMPREPLY=($(compgen -W "%s" -- "$cur"))'):format(
    table.concat(option.choices, " ")) end
  if option.kind == "file" then return pattern, 'COMPREPLY=($(compgen -f -- "$cur"))' end
  if option.kind == "account" then return pattern, ('COMPREPLY=($(compgen -W "%s" -- "$cur"))'):format(ACCOUNTS) end
  if option.kind == "jid" then return pattern, "_xmpp_jids" end
  return pattern, "COMPREPLY=()"
end

local function bash_values(options, out, indent)
  for _, option in ipairs(options) do
    if option[3] then
      local pattern, reply = bash_value(option)
      out[#out + 1] = ("%s%s) %s; return ;;"):format(indent, pattern, reply)
    end
  end
end

-- bash takes the @ of an address for a word break (COMP_WORDBREAKS), and expects only what follows it.
local BASH_JIDS = { "_xmpp_jids() {", "  local all=${COMP_LINE:0:COMP_POINT} before=", "  all=${all##*[[:space:]]}",
  "  [[ $COMP_WORDBREAKS == *@* ]] && before=${all%\"${all##*@}\"}",
  '  COMPREPLY=($(compgen -W "$1 $(' .. CONTACTS .. ')" -- "$all"))', '  COMPREPLY=("${COMPREPLY[@]#"$before"}")', "}" }

-- What an argument is completed with.
local function bash_arguments(command, spec)
  if command.kinds and command.kinds[1] == "file" then return 'COMPREPLY=($(compgen -f -- "$cur"))' end
  if takes_jids(command) then return ('_xmpp_jids "%s"'):format(words_of(command, spec)) end
  return ('COMPREPLY=($(compgen -W "%s" -- "$cur"))'):format(words_of(command, spec))
end

function M.bash(spec)
  local out = { "# bash completion of xmpp, made by `xmpp completion bash`" }
  for _, line in ipairs(BASH_JIDS) do out[#out + 1] = line end
  for _, line in ipairs { "_xmpp() {",
    "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} sub= i",
    "  for ((i = 1; i < COMP_CWORD; i++)); do",
    "    case ${COMP_WORDS[i]} in -*) ;; *) [[ -n $sub ]] || sub=${COMP_WORDS[i]} ;; esac", "  done",
    "  case $prev in" } do out[#out + 1] = line end
  bash_values(spec.common, out, "    ")
  out[#out + 1] = "  esac"
  out[#out + 1] = "  case $sub in"
  for _, command in ipairs(spec.commands) do
    out[#out + 1] = ("    %s)"):format(command.name)
    out[#out + 1] = "      case $prev in"
    bash_values(command.options, out, "        ")
    out[#out + 1] = "      esac"
    out[#out + 1] = ('      if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W "%s" -- "$cur"))'):format(
      flags(spec.options(command)))
    out[#out + 1] = ("      else %s; fi ;;"):format(bash_arguments(command, spec))
  end
  out[#out + 1] = ('    *) COMPREPLY=($(compgen -W "%s --version --help" -- "$cur")) ;;'):format(
    table.concat(names(spec.commands, "name"), " "))
  for _, line in ipairs { "  esac", "}", "complete -F _xmpp xmpp" } do out[#out + 1] = line end
  return table.concat(out, "\n") .. "\n"
end

-- zsh

local function zsh_text(text) return (text:gsub("'", "'\\''"):gsub("[%[%]:]", "\\%0")) end

local function zsh_value(option)
  if not option[3] then return "" end
  local action = ""
  if option.choices then action = "(" .. table.concat(option.choices, " ") .. ")" end
  if option.kind == "file" then action = "_files" end
  if option.kind == "jid" then action = "($(" .. CONTACTS .. "))" end
  if option.kind == "account" then action = "($(xmpp account list 2>/dev/null | cut -d\" \" -f1))" end
  return (":%s:%s"):format(option[3], action)
end

local function zsh_options(options, out)
  for _, option in ipairs(options) do
    local rest = ("[%s]%s'"):format(zsh_text(option[4]), zsh_value(option))
    if option[2] then
      out[#out + 1] = ("      '(-%s --%s)'{-%s,--%s}'%s \\"):format(option[2], option[1], option[2], option[1], rest)
    else
      out[#out + 1] = ("      '--%s%s \\"):format(option[1], rest)
    end
  end
end

function M.zsh(spec)
  local out = { "#compdef xmpp", "# zsh completion of xmpp, made by `xmpp completion zsh`", "_xmpp() {",
    "  local -a subcommands", "  subcommands=(" }
  for _, command in ipairs(spec.commands) do
    out[#out + 1] = ("    '%s:%s'"):format(command.name, zsh_text(command.summary))
  end
  for _, line in ipairs { "  )", "  if (( CURRENT == 2 )); then _describe subcommand subcommands; return; fi",
    "  local sub=$words[2]", "  shift words", "  (( CURRENT-- ))", "  case $sub in" } do out[#out + 1] = line end
  for _, command in ipairs(spec.commands) do
    out[#out + 1] = ("    %s) _arguments \\"):format(command.name)
    zsh_options(spec.options(command), out)
    local words = words_of(command, spec)
    if takes_jids(command) then words = (words .. " $(" .. CONTACTS .. ")"):gsub("^ ", "") end
    local action = words ~= "" and ("(%s)"):format(words) or command.kinds and command.kinds[1] == "file" and "_files"
      or ""
    out[#out + 1] = ("      '*:argument:%s' ;;"):format(action)
  end
  for _, line in ipairs { "  esac", "}", 'if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _xmpp "$@"',
    "else compdef _xmpp xmpp; fi" } do out[#out + 1] = line end
  return table.concat(out, "\n") .. "\n"
end

-- fish

local function fish_text(text) return "'" .. text:gsub("\\", "\\\\"):gsub("'", "\\'") .. "'" end

local function fish_option(option, condition)
  local line = ("complete -c xmpp -n %s -l %s"):format(fish_text(condition), option[1])
  if option[2] then line = line .. " -s " .. option[2] end
  if option[3] then
    line = line .. (option.kind == "file" and " -r -F" or " -x")
    if option.choices then line = line .. " -a " .. fish_text(table.concat(option.choices, " ")) end
    if option.kind == "jid" then line = line .. " -a " .. fish_text("(" .. CONTACTS .. ")") end
    if option.kind == "account" then line = line .. " -a "
      .. fish_text "(xmpp account list 2>/dev/null | cut -d' ' -f1)" end
  end
  return line .. " -d " .. fish_text(option[4])
end

function M.fish(spec)
  local out = { "# fish completion of xmpp, made by `xmpp completion fish`", "complete -c xmpp -f" }
  for _, command in ipairs(spec.commands) do
    out[#out + 1] = ("complete -c xmpp -n __fish_use_subcommand -a %s -d %s"):format(command.name,
      fish_text(command.summary))
  end
  for _, command in ipairs(spec.commands) do
    local condition = "__fish_seen_subcommand_from " .. command.name
    for _, option in ipairs(spec.options(command)) do out[#out + 1] = fish_option(option, condition) end
    local words = words_of(command, spec)
    if takes_jids(command) then words = (words .. " (" .. CONTACTS .. ")"):gsub("^ ", "") end
    if words ~= "" then
      out[#out + 1] = ("complete -c xmpp -n %s -a %s"):format(fish_text(condition), fish_text(words))
    elseif command.kinds and command.kinds[1] == "file" then
      out[#out + 1] = ("complete -c xmpp -n %s -F"):format(fish_text(condition))
    end
  end
  return table.concat(out, "\n") .. "\n"
end

return M
