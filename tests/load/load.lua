-- Sends one line of a file per request: header, method, path and body, separated by tabs; from line `first` on in
-- order, or at random if `first` is 0. Each comes from an address of its own. After an
-- answer a connection pauses for so many milliseconds. Run by wrk.
local lines, at, sent = {}, 0, 0

function init(args)
  local file, first = args[1], tonumber(args[2])
  at = first
  local number = 0
  for line in io.lines(file) do
    number = number + 1
    if first == 0 or number >= first then lines[#lines + 1] = line end
  end
  math.randomseed(tonumber(args[3]))
  local pause = tonumber(args[4])
  if pause > 0 then function delay() return pause end end
end

local function line()
  if at == 0 then return lines[math.random(#lines)] end
  sent = sent + 1
  if not lines[sent] then io.stderr:write("all were sent\n") os.exit(1) end
  return lines[sent]
end

function request()
  local authorization, method, path, body = line():match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$")
  local number = math.random(1, 16777215)
  local headers = {
    ["X-Forwarded-For"] = string.format("10.%d.%d.%d", number / 65536, number / 256 % 256, number % 256),
    ["X-Original-Method"] = "GET", ["X-Original-URI"] = "/api/v2/tickets/1",
  }
  if authorization ~= "" then headers["Authorization"] = authorization end
  if body ~= "" then headers["Content-Type"] = "application/x-www-form-urlencoded" end
  return wrk.format(method, path, headers, body)
end
