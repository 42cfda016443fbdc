//! Processes whose failures alone are shown: a command that is started, or processes that are there.

mod command;
mod tree;
mod user;

pub(crate) use self::{
    command::{Command, WaitingCommand},
    tree::{Process, follow_tree, has_own_numbers, is_there},
    user::User,
};
