// A shard-key policy: the client in the high bits of a key, the data type in the middle, the time window in the low.
//
// So a client's objects lie together, its types lie together inside it, and the windows of a type follow each other.
// The bits that the policy does not mean are zero; the host fills them from the object's name. The answer depends on
// nothing but the arguments and the settings.

// The host keeps at least twelve bits of the 64 for the object's name.
const BITS_MAX = 52;
// A hash has no more bits than this to give.
const HASH_BITS = 32;

// Each setting: its default, and the least and the most it may be.
const RULES = {
  'client-bits': [24, 0, HASH_BITS],
  'type-bits': [12, 0, HASH_BITS],
  'window-bits': [12, 0, BITS_MAX],
  'window-ms': [3_600_000, 1, Number.MAX_SAFE_INTEGER],
};

// The settings of this instance, with the window's length ready for u64 arithmetic.
let settings;

function describe() {
  return { name: 'js-shard-key', version: '0.1.0', needsState: false };
}

function configure(text, _state) {
  settings = parse(text);
}

function getShardKey(client, dataType, _name, timestampMs, _current, _heat) {
  const { clientBits, typeBits, windowBits, windowMs } = settings;
  const window = BigInt.asUintN(windowBits, timestampMs / windowMs);
  // Numbers are exact up to 2^53 and bit operators cut to 32: a key is put together as a BigInt.
  const prefix = (BigInt(high(client, clientBits)) << BigInt(typeBits)) | BigInt(high(dataType, typeBits));
  const bits = clientBits + typeBits + windowBits;
  const meant = (prefix << BigInt(windowBits)) | window;
  return { key: meant << BigInt(64 - bits), bits };
}

// What the host finds under `ostrakon:policy/shard-key`.
export const shardKey = { describe, configure, getShardKey };

function parse(text) {
  const given = jsonObject(text);
  const known = {};
  for (const [name, [fallback, least, most]] of Object.entries(RULES)) {
    const value = Object.hasOwn(given, name) ? given[name] : fallback;
    if (!Number.isSafeInteger(value) || value < least || value > most) {
      refuse(pointer(name), `must be a whole number from ${least} to ${most}`);
    }
    known[name] = value;
  }
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(RULES, name)) refuse(pointer(name), `unknown; known are ${Object.keys(RULES).join(', ')}`);
  }
  const bits = known['client-bits'] + known['type-bits'] + known['window-bits'];
  if (bits < 1 || bits > BITS_MAX) refuse('', `the bits add up to ${bits}; they must be 1 to ${BITS_MAX}`);
  return {
    clientBits: known['client-bits'],
    typeBits: known['type-bits'],
    windowBits: known['window-bits'],
    windowMs: BigInt(known['window-ms']),
  };
}

function jsonObject(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    refuse('', `not JSON: ${error.message}`);
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) refuse('', 'must be a JSON object');
  return value;
}

// The error case of `configure`. It is thrown as a plain object: an `Error` would be a trap.
function refuse(path, message) {
  throw { path, message };
}

// A JSON pointer to a member.
function pointer(name) {
  return `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

// The `bits` highest bits of a text's hash, as a number.
function high(text, bits) {
  // A shift by 32 is a shift by 0.
  return bits === 0 ? 0 : stableHash(text) >>> (HASH_BITS - bits);
}

// FNV-1a over UTF-16 units, then Murmur3's finalizer, for the high bits of short texts are poor without it. It never
// changes: keys are recorded with objects, and another hash would ask for all of them to move.
function stableHash(text) {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
