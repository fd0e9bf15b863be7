// The policy under plain Node: order, contiguity, u64 and refusals. `node --test`.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { shardKey } from './policy.js';

const HOUR_MS = 3_600_000n;
const COLD = { clientPpm: 0, typePpm: 0, windowPpm: 0, writePpm: 0, callers: 0, idleMs: 0n, shards: 0 };

function place(client, dataType, timestampMs, settings = {}) {
  shardKey.configure(JSON.stringify(settings), new Uint8Array());
  return shardKey.getShardKey(client, dataType, 'n', timestampMs, 0n, COLD);
}

test('default keys are stable across releases', () => {
  const placement = place('acme', 'volume', 500_000n * HOUR_MS);
  assert.deepEqual(placement, { key: 8674129699479224320n, bits: 48 });
});

test('a client and its types are contiguous', () => {
  const [one, later] = [0n, 77n].map((hour) => place('acme', 'volume', hour * HOUR_MS).key);
  const other = place('acme', 'instance', 0n).key;
  assert.equal(one >> 28n, later >> 28n);
  assert.equal(one >> 40n, other >> 40n);
  assert.notEqual(one >> 28n, other >> 28n);
  assert.notEqual(one >> 40n, place('acmf', 'volume', 0n).key >> 40n);
});

test('windows of one type stand in order until they wrap around', () => {
  const at = (window) => place('acme', 'volume', window * HOUR_MS).key;
  for (let window = 0n; window < 4095n; window += 1n) assert.ok(at(window) < at(window + 1n));
  assert.equal(at(0n), at(4096n));
});

test('a key is a u64 and its bits that are not meant are zero', () => {
  for (const [client, type, window] of [[24, 12, 12], [0, 0, 52], [32, 20, 0], [0, 1, 0], [32, 0, 20], [0, 32, 20]]) {
    const settings = { 'client-bits': client, 'type-bits': type, 'window-bits': window, 'window-ms': 1 };
    for (const timestampMs of [0n, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
      const { key, bits } = place('acme', 'volume', timestampMs, settings);
      assert.equal(bits, client + type + window);
      assert.equal(BigInt.asUintN(64, key), key);
      assert.equal(BigInt.asUintN(64 - bits, key), 0n);
    }
  }
});

test('clients spread over the whole range', () => {
  const taken = new Set();
  for (let at = 0; at < 1000; at += 1) taken.add(place(`client-${at}`, 'volume', 0n).key >> 60n);
  assert.equal(taken.size, 16);
});

test('refused settings name the member', () => {
  const check = (text, path) => {
    assert.throws(
      () => shardKey.configure(text, new Uint8Array()),
      // The error case of `configure`: an Error would be a trap of the component.
      (thrown) => !(thrown instanceof Error) && thrown.path === path && typeof thrown.message === 'string',
      text,
    );
  };
  check('{"client-bits":33}', '/client-bits');
  check('{"client-bits":"24"}', '/client-bits');
  check('{"type-bits":-1}', '/type-bits');
  check('{"window-bits":1.5}', '/window-bits');
  check('{"window-ms":0}', '/window-ms');
  check('{"window-ms":9007199254740993}', '/window-ms');
  check('{"window-ms":null}', '/window-ms');
  check('{"client_bits":1}', '/client_bits');
  check('{"a/b~c":1}', '/a~1b~0c');
  check('{"__proto__":{"client-bits":1}}', '/__proto__');
  check('{"client-bits":24,"type-bits":24,"window-bits":24}', '');
  check('{"client-bits":0,"type-bits":0,"window-bits":0}', '');
  check('[]', '');
  check('null', '');
  check('{', '');
});

test('the fixtures are what the policy answers', () => {
  const script = fileURLToPath(new URL('fixtures.mjs', import.meta.url));
  const run = spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8' });
  assert.equal(run.status, 0, run.stderr);
});
