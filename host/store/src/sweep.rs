//! Brings history to fewer versions, once, when the setting was lowered.

use fjall::PersistMode;
use ostrakon_core::ShardMap;
use ostrakon_wire::bounds::GROUP_CHANGES_MAX;

use crate::disk::Disk;
use crate::error::ReadError;
use crate::keyspaces::Keyspaces;
use crate::record::meta::Retention;
use crate::record::row::{self, Row};

/// Removes every version beyond the number that is kept of each object.
pub(crate) fn history(
    disk: &Disk,
    keyspaces: &Keyspaces,
    map: &ShardMap,
    retention: &Retention,
) -> Result<(), ReadError> {
    for shard in map.shards() {
        let Ok(keyspace) = keyspaces.shard(shard) else { continue };
        let fresh = || disk.batch(GROUP_CHANGES_MAX, PersistMode::Buffer);
        let mut batch = fresh();
        let (mut object_prefix, mut seen, mut kept) = (Vec::new(), 0, 0);
        for pair in disk.snapshot().iter(keyspace) {
            let (key, value) = pair?;
            row::parse_key(&key)?;
            let prefix = &key[..row::PREFIX_BYTES];
            if object_prefix != prefix {
                object_prefix = prefix.to_vec();
                seen = 0;
                kept = retention.of(Row::decode(&value)?.object.data_type()).versions;
            }
            seen += 1;
            if seen > kept {
                batch.remove(keyspace, key);
            }
            if batch.len() >= GROUP_CHANGES_MAX {
                std::mem::replace(&mut batch, fresh()).commit()?;
            }
        }
        batch.commit()?;
    }
    Ok(())
}
