-- name: the name of an uploaded file, and the media type that it stands for. Has no access to the connection.

local ascii = require "xmpp.ascii"
local core = require "xmpp.load"

local M = {}

local TYPES = {}
for ending, kind in ([[aac=audio/aac avi=video/x-msvideo bmp=image/bmp bz2=application/x-bzip2 csv=text/csv
  flac=audio/flac gif=image/gif gz=application/gzip htm=text/html html=text/html ics=text/calendar jpeg=image/jpeg
  jpg=image/jpeg json=application/json log=text/plain m4a=audio/mp4 md=text/markdown mkv=video/x-matroska
  mov=video/quicktime mp3=audio/mpeg mp4=video/mp4 oga=audio/ogg ogg=audio/ogg opus=audio/ogg pdf=application/pdf
  png=image/png svg=image/svg+xml tar=application/x-tar txt=text/plain vcf=text/vcard wav=audio/wav webm=video/webm
  webp=image/webp xml=application/xml zip=application/zip]]):gmatch "(%w+)=(%S+)" do TYPES[ending] = kind end

-- "photo.JPG" -> ".JPG", "x.tar.gz" -> ".tar.gz", ".profile" -> ""
local function ending_of(name)
  local tar = name:match ".(%.tar%.%w+)$"
  if tar and #tar <= 10 then return tar end
  local ending = name:match ".(%.%w+)$"
  return ending and #ending <= 11 and ending or ""
end

--- The name without its folders.
---@param path string
---@return string
function M.base(path)
  return path:match "([^/\\]*)[/\\]*$"
end

--- A random name, which reveals only the kind of file.
---@param name string
---@return string
function M.random(name)
  return core.id() .. ending_of(name)
end

--- The media type for a name; unknown ones are application/octet-stream (RFC 2046 4.5.1).
---@param name string
---@return string
function M.type_of(name)
  return TYPES[ascii.lower(name:match "%.(%w+)$" or "")] or "application/octet-stream"
end

--- May this name be sent to a service? It must not have control characters or lead to another folder.
---@param name string
---@return boolean
function M.is_fine(name)
  return #name > 0 and #name <= 255 and not name:find "[%z\1-\31\127/\\]" and name ~= "." and name ~= ".."
end

return M
