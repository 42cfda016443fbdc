//! Unix sockets: their names, their listeners, and who made them.

mod listeners;
mod maker;
mod name;

pub(crate) use self::{
    listeners::{find, remember},
    maker::maker,
    name::{Name, Root},
};
