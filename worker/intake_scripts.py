"""The Lua scripts of IntakeStore: reservations of idempotency keys, and resumable uploads before they are jobs.

As in worker.store_scripts each is one atomic step, time is the clock of Redis alone, and each starts with a write that
a full memory refuses, but for those that only take away.
"""

__all__ = ["ASK_FOR", "DROP_UPLOAD", "EXTEND", "FREE", "OPEN_UPLOAD", "PUT_OFFSET", "RESERVE"]

RESERVE = """
-- KEYS: reservation; ARGV: holder, ttl_ms. Answers who holds it: the caller, another request, or the job made by one.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  local job_id = string.match(holder, '^job:(%x+)$')
  if not job_id or redis.call('EXISTS', 'emoclip:job:' .. job_id) == 1 then return holder end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
"""

EXTEND = """
-- KEYS: reservation; ARGV: holder, ttl_ms
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

FREE = """
-- KEYS: reservation; ARGV: holder
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

_CLOCK = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function whole(number) return string.format('%.0f', number) end
"""

OPEN_UPLOAD = (
    _CLOCK
    + """
-- KEYS: upload, uploads of its owner, bells; ARGV: id, record, ttl_ms, most at the same time, ttl_ms of the bells
local upload, uploads, bells = unpack(KEYS)
local expires = now + tonumber(ARGV[3])
if redis.call('EXISTS', upload) == 1 then return 1 end
if redis.call('ZCOUNT', uploads, whole(now), '+inf') >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', upload, 'record', ARGV[2], 'offset', '0')
redis.call('PEXPIRE', upload, ARGV[3])
redis.call('ZREMRANGEBYSCORE', uploads, '-inf', whole(now))
redis.call('ZADD', uploads, whole(expires), ARGV[1])
redis.call('PEXPIRE', uploads, ARGV[3])
-- when it has expired its bytes are erased
redis.call('ZADD', bells, whole(expires), 'upload|' .. ARGV[1])
redis.call('PEXPIRE', bells, whole(math.max(redis.call('PTTL', bells), tonumber(ARGV[5]))))
return 1
"""
)

PUT_OFFSET = (
    _CLOCK
    + """
-- KEYS: upload, uploads of its owner; ARGV: id, offset, ttl_ms
local upload, uploads = unpack(KEYS)
if redis.call('EXISTS', upload) == 0 then return 0 end
redis.call('HSET', upload, 'offset', ARGV[2])
redis.call('PEXPIRE', upload, ARGV[3])
redis.call('ZADD', uploads, whole(now + tonumber(ARGV[3])), ARGV[1])
redis.call('PEXPIRE', uploads, ARGV[3])
return 1
"""
)

ASK_FOR = """
-- KEYS: upload; ARGV: 1 to ask for it, 0 when it is held
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return redis.call('HSET', KEYS[1], 'wanted', ARGV[1])
"""

DROP_UPLOAD = (
    _CLOCK
    + """
-- KEYS: upload, uploads of its owner, bells, job; ARGV: id
-- Answers 0 where a job was made of it: that is what has to be erased then.
local upload, uploads, bells, job = unpack(KEYS)
if redis.call('EXISTS', job) == 1 then return 0 end
redis.call('UNLINK', upload)
redis.call('ZREM', uploads, ARGV[1])
-- the bytes lie outside of Redis: the bell rings until someone says that they are gone. It is added before the other is
-- taken away: a set that is empty in between loses its time to live.
redis.call('ZADD', bells, whole(now), 'erase|' .. ARGV[1])
redis.call('ZREM', bells, 'upload|' .. ARGV[1])
return 1
"""
)
