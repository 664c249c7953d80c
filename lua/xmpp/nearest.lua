-- nearest: the word that a misspelled one was probably meant to be, for error texts.

-- Levenshtein distance, with two rows
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
    end
  end
  return row[#b]
end

--- Of the words, which are keys, the one that is most similar to `word`.
return function(word, words)
  local best, least
  for option in pairs(words) do
    local d = distance(word, option)
    if not least or d < least or (d == least and option < best) then best, least = option, d end
  end
  return best
end
