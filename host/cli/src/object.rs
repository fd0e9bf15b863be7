//! The object that a command is about.

use clap::Args;
use ostrakon_client::{ObjectId, ShardKey, Target};

use crate::failure::Failure;

/// Which object.
#[derive(Debug, Clone, Args)]
pub(crate) struct ObjectArgs {
    /// Client id: whose object it is
    #[arg(value_name = "CLIENT")]
    client: String,

    /// Data type
    #[arg(value_name = "TYPE")]
    data_type: String,

    /// Name
    #[arg(value_name = "NAME")]
    name: String,

    /// Shard key that you believe the object has: another one recorded is an error; a new object is recorded under it
    #[arg(long, value_name = "KEY")]
    shard_key: Option<u64>,
}

impl ObjectArgs {
    /// The object and the claimed key, checked.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        Ok(Target {
            object: ObjectId::new(&self.client, &self.data_type, &self.name)?,
            shard_key: self.shard_key.map(ShardKey::new),
        })
    }
}
