"""The Lua scripts of JobStore: every change of a job that must happen as a whole or not at all.

Redis runs a script to its end before it does anything else, so each is one atomic step whatever else happens. Time is
the clock of Redis alone, so clocks of hosts may differ. Where memory is full, Redis refuses a script's first write that
needs memory and lets a script that has written go on: so each starts with a write that can be refused, but for DELETE,
which must always work.

All scripts that concern one job get the same keys and the same first arguments, and start with the same prelude.
"""

__all__ = [
    "BEAT",
    "CANCEL",
    "CLAIM",
    "CREATE",
    "DELETE",
    "FAIL",
    "PLAN",
    "PUT",
    "RELEASE",
    "RENEW",
    "STITCH",
    "SUCCEED",
    "SWEEP",
]

_PRELUDE = """
local job, plans, work, raw, rows, row_ends, bells = unpack(KEYS)
local webhooks, metrics = 'emoclip:webhooks', 'emoclip:metrics'
local job_id, unfinished_ttl, result_ttl, bell_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function whole(number) return string.format('%.0f', number) end

local function is_open()
  local state = redis.call('HGET', job, 'state')
  return state == 'queued' or state == 'processing'
end

local function holds(unit, token)
  return is_open() and redis.call('HGET', work, unit .. ':token') == token
end

local function count(field) return tonumber(redis.call('HGET', job, field) or '0') end

-- when the sweeper looks whether anyone works on the unit
local function schedule(unit, due) redis.call('ZADD', bells, whole(due), unit .. '|' .. job_id) end

local function unschedule(unit) redis.call('ZREM', bells, unit .. '|' .. job_id) end

local function unschedule_all()
  unschedule('index')
  unschedule('finish')
  for segment = 0, count('segments') - 1 do unschedule(segment) end
end

local function keep(ttl)
  for i = 1, 6 do redis.call('PEXPIRE', KEYS[i], whole(ttl)) end
  -- how the job came in is forgotten with it
  local reservation = redis.call('HGET', job, 'reservation')
  if reservation then redis.call('PEXPIRE', reservation, whole(ttl)) end
  redis.call('PEXPIRE', 'emoclip:upload:' .. job_id, whole(ttl))
  local owner = redis.call('HGET', job, 'owner') or ''
  -- these outlive every job they name: no job lives longer without a script that comes by here
  for _, key in ipairs({bells, 'emoclip:jobs:' .. owner, 'emoclip:open:' .. owner, 'emoclip:queued',
      'emoclip:processing', metrics}) do
    redis.call('PEXPIRE', key, whole(unfinished_ttl + result_ttl))
  end
end

-- a job that has an end, or is gone, is on its way no more
local function leave(owner)
  redis.call('ZREM', 'emoclip:open:' .. owner, job_id)
  redis.call('ZREM', 'emoclip:queued', job_id)
  redis.call('ZREM', 'emoclip:processing', job_id)
end

local function end_job(state, field, value)
  redis.call('HSET', job, 'state', state, 'finished_at', whole(now), field, value)
  leave(redis.call('HGET', job, 'owner') or '')
  redis.call('HINCRBY', metrics, 'ended:' .. state, 1)
  if field == 'failure' then redis.call('HINCRBY', metrics, 'failed:' .. cjson.decode(value).code, 1) end
  unschedule_all()
  redis.call('DEL', plans, work, raw)
  schedule('erase', now)
  keep(result_ttl)
  if redis.call('HGET', job, 'webhook_state') == 'waiting' then
    redis.call('HSET', job, 'webhook_state', 'pending', 'webhook_due', whole(now))
    redis.call('ZADD', webhooks, whole(now), job_id)
    redis.call('PEXPIRE', webhooks, whole(unfinished_ttl + result_ttl))
  end
end
"""

CREATE = (
    _PRELUDE
    + """
-- ARGV: record, owner, 1 with a webhook, key of the reservation or '', its token, size of the resumable upload or ''
-- Answers 1 created, or it was before; 2 the reservation is somebody else's by now; 3 the resumable upload is gone.
local index, reservation, upload = 'emoclip:jobs:' .. ARGV[6], ARGV[8], 'emoclip:upload:' .. job_id
if redis.call('EXISTS', job) == 1 then return 1 end
if reservation ~= '' then
  local holder = redis.call('GET', reservation)
  if holder and holder ~= ARGV[9] then return 2 end
end
if ARGV[10] ~= '' and redis.call('EXISTS', upload) == 0 then return 3 end
redis.call('HSET', job, 'record', ARGV[5], 'owner', ARGV[6], 'state', 'queued', 'created_at', whole(now))
redis.call('ZADD', index, 0, job_id)
redis.call('ZADD', 'emoclip:open:' .. ARGV[6], '+inf', job_id)
redis.call('ZADD', 'emoclip:queued', whole(now), job_id)
if ARGV[7] == '1' then redis.call('HSET', job, 'webhook_state', 'waiting') end
if reservation ~= '' then
  redis.call('SET', reservation, 'job:' .. job_id)
  redis.call('HSET', job, 'reservation', reservation)
end
if ARGV[10] ~= '' then
  redis.call('HSET', upload, 'offset', ARGV[10])
  redis.call('ZREM', 'emoclip:uploads:' .. ARGV[6], job_id)
  unschedule('upload')
end
schedule('index', now + bell_ms)
keep(unfinished_ttl)
-- jobs that expired leave their name behind: each new one clears away some of the oldest
for _, old in ipairs(redis.call('ZRANGE', index, 0, 9)) do
  if redis.call('EXISTS', 'emoclip:job:' .. old) == 0 then redis.call('ZREM', index, old) end
end
return 1
"""
)

CLAIM = (
    _PRELUDE
    + """
-- ARGV: unit, token, lease_ms, max_attempts, failure as poison
local unit, token, lease_ms, max_attempts = ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
if not is_open() then return 0 end
local segments = count('segments')
if unit == 'index' then
  if segments > 0 then return 0 end
elseif unit == 'finish' then
  if segments == 0 or count('segments_put') < segments then return 0 end
else
  local segment = tonumber(unit)
  if segment >= segments or segment < count('stitched') or redis.call('HEXISTS', raw, unit) == 1 then return 0 end
end
-- the same token again is a claim whose answer was lost on the way
if redis.call('HGET', work, unit .. ':token') == token then
  return tonumber(redis.call('HGET', work, unit .. ':attempts'))
end
local expires = tonumber(redis.call('HGET', work, unit .. ':expires') or '0')
if expires > now then return 0 end
if tonumber(redis.call('HGET', work, unit .. ':attempts') or '0') >= max_attempts then
  end_job('failed', 'failure', ARGV[9])
  return 0
end
redis.call('HSET', work, unit .. ':token', token, unit .. ':expires', whole(now + lease_ms))
local attempt = redis.call('HINCRBY', work, unit .. ':attempts', 1)
if unit == 'index' then
  redis.call('HSET', job, 'state', 'processing')
  redis.call('HSETNX', job, 'started_at', whole(now))
  redis.call('ZREM', 'emoclip:queued', job_id)
  redis.call('ZADD', 'emoclip:processing', 'NX', whole(now), job_id)
end
schedule(unit, now + lease_ms)
keep(unfinished_ttl)
return attempt
"""
)

RENEW = (
    _PRELUDE
    + """
-- ARGV: unit, token, lease_ms, frames_done
local unit, frames = ARGV[5], tonumber(ARGV[8])
if not holds(unit, ARGV[6]) then return 0 end
redis.call('HSET', work, unit .. ':expires', whole(now + tonumber(ARGV[7])))
schedule(unit, now + tonumber(ARGV[7]))
-- a second attempt starts at zero, but progress that a client saw is not taken back
local before = tonumber(redis.call('HGET', work, unit .. ':frames') or '0')
if frames > before then
  redis.call('HSET', work, unit .. ':frames', frames)
  redis.call('HINCRBY', job, 'frames_done', frames - before)
end
return 1
"""
)

RELEASE = (
    _PRELUDE
    + """
-- ARGV: unit, token, 1 if the attempt counts
local unit = ARGV[5]
if not holds(unit, ARGV[6]) then return 0 end
redis.call('HSET', work, unit .. ':expires', '0')
redis.call('HDEL', work, unit .. ':token')
if ARGV[7] == '0' then redis.call('HINCRBY', work, unit .. ':attempts', -1) end
schedule(unit, now)
return 1
"""
)

PLAN = (
    _PRELUDE
    + """
-- ARGV: unit, token, facts, frames_total, plan, plan, ...
-- Both the first plan and the one that replaces it: whatever was made by the old one is forgotten, its leases included.
if not holds(ARGV[5], ARGV[6]) then return 0 end
redis.call('HSET', job, 'video', ARGV[7], 'frames_total', ARGV[8])
unschedule_all()
redis.call('DEL', plans, work, raw, rows, row_ends)
redis.call('HINCRBY', job, 'generation', 1)
redis.call('HSET', job, 'segments', #ARGV - 8, 'segments_put', 0, 'stitched', 0, 'rows_ready', 0, 'frames_done', 0,
  'planned_at', whole(now))
redis.call('HDEL', job, 'stitch', 'models')
for segment = 0, #ARGV - 9 do
  redis.call('HSET', plans, segment, ARGV[9 + segment])
  schedule(segment, now + bell_ms)
end
keep(unfinished_ttl)
return 1
"""
)

PUT = (
    _PRELUDE
    + """
-- ARGV: unit, token, rows of the segment, model, frames in it, then what is counted: field, amount, field, amount, ...
-- answers 0 refused, 1 stored, 2 stored as the last
local unit, frames = ARGV[5], tonumber(ARGV[9])
if not holds(unit, ARGV[6]) then return 0 end
redis.call('HSET', raw, unit, ARGV[7])
-- one line for each different model: workers may differ in weights, device or libraries
local models = redis.call('HGET', job, 'models') or ''
if not string.find(models, ARGV[8] .. '\\n', 1, true) then
  redis.call('HSET', job, 'models', models .. ARGV[8] .. '\\n')
end
redis.call('HINCRBY', job, 'frames_done', frames - tonumber(redis.call('HGET', work, unit .. ':frames') or '0'))
redis.call('HDEL', work, unit .. ':token', unit .. ':expires', unit .. ':attempts', unit .. ':frames')
unschedule(unit)
local last = redis.call('HINCRBY', job, 'segments_put', 1) == count('segments')
if last then schedule('finish', now + bell_ms) end
for i = 10, #ARGV, 2 do redis.call('HINCRBYFLOAT', metrics, ARGV[i], ARGV[i + 1]) end
keep(unfinished_ttl)
return last and 2 or 1
"""
)

STITCH = (
    _PRELUDE
    + """
-- ARGV: generation, segment, state after it, rows in all, then for each blob the place after its last row and itself
local segment = ARGV[6]
if not is_open() or count('generation') ~= tonumber(ARGV[5]) or count('stitched') ~= tonumber(segment) then return 0 end
redis.call('HSET', job, 'stitch', ARGV[7], 'stitched', segment + 1, 'rows_ready', ARGV[8])
for i = 9, #ARGV, 2 do
  redis.call('HSET', rows, redis.call('LLEN', row_ends), ARGV[i + 1])
  redis.call('RPUSH', row_ends, ARGV[i])
end
redis.call('HDEL', raw, segment)
keep(unfinished_ttl)
return 1
"""
)

SUCCEED = (
    _PRELUDE
    + """
-- ARGV: token, summary, facts, rows
if not holds('finish', ARGV[5]) or count('stitched') ~= count('segments') then return 0 end
redis.call('HSET', job, 'video', ARGV[7], 'frames_total', ARGV[8], 'frames_done', ARGV[8])
end_job('succeeded', 'summary', ARGV[6])
return 1
"""
)

FAIL = (
    _PRELUDE
    + """
-- ARGV: unit, token, failure
if not holds(ARGV[5], ARGV[6]) then return 0 end
end_job('failed', 'failure', ARGV[7])
return 1
"""
)

CANCEL = (
    _PRELUDE
    + """
if not is_open() then return 0 end
end_job('canceled', 'canceled_at', whole(now))
return 1
"""
)

DELETE = (
    _PRELUDE
    + """
-- No tombstone: a worker that still runs finds no job, and every script refuses it.
local owner = redis.call('HGET', job, 'owner')
if not owner then return 0 end
local reservation = redis.call('HGET', job, 'reservation')
unschedule_all()
for i = 1, 6 do redis.call('UNLINK', KEYS[i]) end
redis.call('UNLINK', 'emoclip:upload:' .. job_id)
if reservation then redis.call('UNLINK', reservation) end
redis.call('ZREM', 'emoclip:jobs:' .. owner, job_id)
leave(owner)
redis.call('ZREM', webhooks, job_id)
-- the upload lies outside of Redis: the bell rings until someone says that it is gone
schedule('erase', now)
redis.call('PEXPIRE', bells, whole(unfinished_ttl + result_ttl))
return 1
"""
)

SWEEP = """
-- KEYS: bells; ARGV: bell_ms, longest_bell_ms, messages waiting in the queue, most to return, unfinished_ttl
local bells, bell_ms, longest_ms, waiting = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function whole(number) return string.format('%.0f', number) end
local ring = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', bells, '-inf', whole(now), 'LIMIT', 0, ARGV[4])) do
  local unit, job_id = string.match(member, '^(%w+)|(%x+)$')
  local job = 'emoclip:job:' .. job_id
  local fields = redis.call('HMGET', job, 'state', 'planned_at', 'created_at')
  if unit == 'erase' then
    redis.call('ZADD', bells, whole(now + bell_ms), member)
    table.insert(ring, member)
  elseif unit == 'upload' then
    -- a resumable upload that may have expired; each of its pieces gives it time anew
    local left = redis.call('PTTL', 'emoclip:upload:' .. job_id)
    if left > 0 then
      redis.call('ZADD', bells, whole(now + left), member)
    else
      -- added before the other is taken away: a set that is empty in between loses its time to live
      redis.call('ZADD', bells, whole(now + bell_ms), 'erase|' .. job_id)
      redis.call('ZREM', bells, member)
      table.insert(ring, 'erase|' .. job_id)
    end
  elseif fields[1] ~= 'queued' and fields[1] ~= 'processing' then
    redis.call('ZREM', bells, member)
  elseif redis.call('HGET', job .. ':work', unit .. ':expires') then
    -- someone had it and let it go or fell silent
    redis.call('ZADD', bells, whole(now + bell_ms), member)
    table.insert(ring, member)
  else
    -- nobody had it yet. While messages wait in the queue its own is most likely among them; when it has waited for
    -- long it is rung all the same, ever more rarely.
    local age = now - tonumber(fields[2] or fields[3])
    local patient = waiting > 0 and age < longest_ms
    local pause = patient and bell_ms or math.min(math.max(age, bell_ms), longest_ms)
    redis.call('ZADD', bells, whole(now + pause), member)
    if not patient then table.insert(ring, member) end
  end
  for _, suffix in ipairs({'', ':plans', ':work', ':raw', ':rows', ':row_ends'}) do
    if fields[1] == 'queued' or fields[1] == 'processing' then redis.call('PEXPIRE', job .. suffix, ARGV[5]) end
  end
end
return ring
"""

BEAT = """
-- KEYS: workers; ARGV: name, horizon_ms
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - tonumber(ARGV[2])))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
