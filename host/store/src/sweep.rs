//! Brings history to fewer versions, once, when the setting was lowered.

use fjall::PersistMode;
use ostrakon_core::ShardMap;
use ostrakon_wire::bounds::GROUP_CHANGES_MAX;

use crate::disk::Disk;
use crate::error::ReadError;
use crate::keyspaces::Keyspaces;
use crate::record::row;

/// Removes every version but the newest `kept` of each object.
pub(crate) fn history(disk: &Disk, keyspaces: &Keyspaces, map: &ShardMap, kept: u32) -> Result<(), ReadError> {
    for range in map.ranges() {
        let Ok(keyspace) = keyspaces.shard(range.shard) else { continue };
        let fresh = || disk.batch(GROUP_CHANGES_MAX, PersistMode::Buffer);
        let mut batch = fresh();
        let (mut object_prefix, mut seen) = (Vec::new(), 0);
        for pair in disk.snapshot().iter(keyspace) {
            let (key, _) = pair?;
            row::parse_key(&key)?;
            let prefix = &key[..row::PREFIX_BYTES];
            if object_prefix != prefix {
                object_prefix = prefix.to_vec();
                seen = 0;
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
