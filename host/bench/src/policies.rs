//! Scenarios of policies that change while a host serves: `swap`, `shadow`, `rollback`, `containment`.

pub(crate) mod containment;
mod load;
mod pusher;
pub(crate) mod rollback;
pub(crate) mod shadow;
pub(crate) mod swap;
