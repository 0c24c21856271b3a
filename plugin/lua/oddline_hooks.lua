-- Oddline for Vector's lua transform (version 2): loads oddline.so, which lies beside this file, and gives the hooks.
--
--   source: oddline = require("oddline_hooks").start { advice_dir = "/var/lib/oddline/advice" }
--   hooks:  {process: oddline.process, shutdown: oddline.shutdown}
--   timers: [{interval_seconds: 1, handler: oddline.timer}]
--
-- The options are those of every other shell. Two are of this script: `module`, the library's path, and `log`, a
-- function that gets each line for the operator (else they go to standard error). What is wrong in the options, or with
-- the library, keeps Vector from starting and says what to do.

local hooks = {}

local NAME = "oddline.so"

-- The folder of this file, as `require` found it.
local function folder()
  local path = package.searchpath("oddline_hooks", package.path)
  return path and path:match("^(.*)[/\\][^/\\]*$") or "."
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then
    file:close()
  end
  return file ~= nil
end

local function load_module(path)
  if _VERSION ~= "Lua 5.4" then
    error("oddline: this is " .. _VERSION .. ", and " .. NAME .. " is for Lua 5.4: use a Vector whose lua "
      .. "transform runs that, as 0.58 does", 0)
  end
  if not exists(path) then
    error("oddline: cannot read " .. path .. ": put " .. NAME .. " beside oddline_hooks.lua "
      .. "(`cargo xtask plugin` builds both), or give its place as `module`", 0)
  end
  local open, fault, place
  if package.loadlib then
    open, fault, place = package.loadlib(path, "luaopen_oddline")
  else
    fault, place = "package.loadlib is missing", "absent"
  end
  if open then
    return open("oddline", path)
  end
  if place == "init" then
    error("oddline: " .. path .. " is not Oddline's Lua module, or was built without `--features module`: " .. fault, 0)
  end
  error("oddline: this Vector cannot load " .. path .. ": " .. tostring(fault) .. ". Native modules need a Vector that is "
    .. "linked dynamically (the packages for Debian and RPM and the -gnu archives are, the -musl archives and the Alpine "
    .. "and distroless-static images are not) and of this machine's architecture; elsewhere use the VRL program: `oddline vrl`", 0)
end

-- The hooks of a transform with these options.
function hooks.start(options)
  local own = {}
  for name, value in pairs(options or {}) do
    own[name] = value
  end
  local path, log = own.module or (folder() .. "/" .. NAME), own.log
  own.module, own.log = nil, nil
  local oddline = load_module(path)
  oddline.log = log or oddline.log
  local detector = oddline.new(own)
  return {
    detector = detector,
    process = function(event, emit)
      detector:process(event, emit)
    end,
    timer = function(emit)
      detector:timer(emit)
    end,
    shutdown = function()
      detector:shutdown()
    end,
  }
end

return hooks
