// Writes fixtures/*.json: calls, and what policy.js answers to them under plain Node. A component of the same source
// has to answer them alike. With --check nothing is written, and the exit code is 1 when a file would change.

import { readFileSync, writeFileSync } from 'node:fs';
import { shardKey } from './policy.js';

const HOUR_MS = 3_600_000n;
const NOON_MS = 1_767_268_800_000n;
const U64_MAX = 2n ** 64n - 1n;

const COLD = { clientPpm: 0, typePpm: 0, windowPpm: 0, writePpm: 0, callers: 0, idleMs: 0n, shards: 0 };
const BUSY = {
  clientPpm: 1_000_000,
  typePpm: 250_000,
  windowPpm: 9,
  writePpm: 363_112,
  callers: 4_294_967_295,
  idleMs: U64_MAX,
  shards: 2,
};

// Client, type, name, time, recorded key, heat.
const CALLS = [
  ['acme', 'volume', 'vol-1', NOON_MS, 0n, COLD],
  ['acme', 'volume', 'vol-2', NOON_MS, 0n, BUSY],
  ['acme', 'volume', 'vol-1', NOON_MS + HOUR_MS - 1n, 0n, COLD],
  ['acme', 'volume', 'vol-1', NOON_MS + HOUR_MS, 0n, COLD],
  ['acme', 'instance', 'i-0abc', NOON_MS, 0n, COLD],
  ['acmf', 'volume', 'vol-1', NOON_MS, 1n << 60n, COLD],
  ['', '', '', 0n, 0n, COLD],
  ['client', 'policy/rôle', 'ένα', NOON_MS, 0n, BUSY],
  ['client', 'a pair: 🏺', 'ostrakon', NOON_MS, 0n, COLD],
  // Beyond what a Number holds exactly.
  ['acme', 'volume', 'vol-1', 2n ** 53n + 1n, 0n, COLD],
  ['acme', 'volume', 'vol-1', 2n ** 63n, U64_MAX, COLD],
  ['acme', 'volume', 'vol-1', U64_MAX, U64_MAX, BUSY],
];

const FILES = {
  'defaults.json': {},
  'weights.json': { 'client-bits': 32, 'type-bits': 0, 'window-bits': 20, 'window-ms': 60_000 },
  'one-bit.json': { 'client-bits': 1, 'type-bits': 0, 'window-bits': 0 },
};

let changed = false;
for (const [file, settings] of Object.entries(FILES)) {
  const path = new URL(`fixtures/${file}`, import.meta.url);
  const text = recording(settings);
  if (!process.argv.includes('--check')) {
    writeFileSync(path, text);
  } else if (readFileSync(path, 'utf8') !== text) {
    console.error(`fixtures/${file} is not what policy.js answers`);
    changed = true;
  }
}
process.exitCode = changed ? 1 : 0;

function recording(settings) {
  shardKey.configure(JSON.stringify(settings), new Uint8Array());
  const calls = CALLS.map((call) =>
    json({ answer: shardKey.getShardKey(...call), arguments: call, function: 'get-shard-key' }),
  );
  return `{"settings":${JSON.stringify(settings)},"state":"","calls":[\n${calls.join(',\n')}\n]}\n`;
}

// As the recordings of the other policies have it: members sorted and named as in the contract, u64 as plain digits,
// which JSON.stringify does not write.
function json(value) {
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return `[${value.map(json).join(',')}]`;
  if (typeof value !== 'object') return JSON.stringify(value);
  const members = Object.entries(value).map(([name, member]) => [kebab(name), json(member)]);
  members.sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${member}`).join(',')}}`;
}

function kebab(name) {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
