-- The methods of a detector. What must not be lost stands here: an event is emitted whatever happens to its tags, and
-- an error of `emit` is Vector's own and goes back to it as it is.
local native, version = ...

local oddline = { version = version }

-- Where lines for the operator go; Vector's own log is on standard error too.
function oddline.log(line)
  io.stderr:write("oddline: ", line, "\n")
end

local judge, copy, tick, stop, notices, failed =
  native.judge, native.copy, native.tick, native.stop, native.notices, native.failed
local COPY = native.COPY

local Detector = {}
Detector.__index = Detector

local function tell(core)
  for _, line in ipairs(notices(core)) do
    pcall(oddline.log, line)
  end
end

-- A detector with these options; an error that names everything that is wrong in them.
function oddline.new(options)
  local core, fault = native.new(options)
  if not core then
    error("oddline: " .. fault, 0)
  end
  tell(core)
  return setmetatable({ core = core }, Detector)
end

-- For hooks.process. `tag` is optional: what Fluent Bit would call the tag, where the fields do not say it.
function Detector:process(event, emit, tag)
  local core = self.core
  local ok, more = pcall(judge, core, event.log, tag)
  emit(event)
  if more then
    if not ok then
      failed(core, tostring(more))
    elseif more == COPY and copy(core, event.log) then
      emit(event)
    end
    tell(core)
  end
end

-- For a timer, once a second.
function Detector:timer(emit)
  local core = self.core
  local summary = tick(core)
  tell(core)
  if summary then
    emit(summary)
  end
end

-- For hooks.shutdown.
function Detector:shutdown()
  stop(self.core)
  tell(self.core)
end

-- What has been done since the start, by name.
function Detector:counters()
  return native.counters(self.core)
end

return oddline
