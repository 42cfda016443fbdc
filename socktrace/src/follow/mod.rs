//! Followed processes, to which reports are restricted: a command to start, or existing processes.

mod command;
mod tree;
mod user;

pub(crate) use self::{
    command::{Command, WaitingCommand},
    tree::{Process, follow_tree, has_own_numbers, is_there},
    user::User,
};
