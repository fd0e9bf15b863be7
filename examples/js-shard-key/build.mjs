// Makes a component of policy.js.

import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { componentize } from '@bytecodealliance/componentize-js';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

const { component } = await componentize({
  sourcePath: path('policy.js'),
  witPath: path('../../wit'),
  worldName: 'shard-key-policy',
  // All that a policy may not have. What is left imports nothing.
  disableFeatures: ['random', 'stdio', 'clocks', 'http', 'fetch-event'],
});
await writeFile(path('js-shard-key.wasm'), component);
