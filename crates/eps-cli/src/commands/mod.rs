//! The subcommands: each has its arguments and a `run`.

pub(crate) mod data;
pub(crate) mod evaluate;
pub(crate) mod import;
pub(crate) mod measure;
pub(crate) mod model;
pub(crate) mod operator;
pub(crate) mod restore;
pub(crate) mod train;
